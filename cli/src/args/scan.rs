//! Arguments of `portolan scan`.

use btf_catalog::scan::loaders::Loader;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  portolan scan probe.bpf.o
      what each program of an object needs
  portolan scan libbpf-tools_0.31.0_amd64.deb
      the objects inside the executables of a package
  portolan scan /usr/sbin -o json
      everything below a directory, for programs
  portolan scan probe.bpf.o --for-loader aya --for-loader libbpf=1.2
      what these loaders cannot do with it
  portolan scan probe.bpf.o --kernel linux-image-6.1.0-44-amd64.deb --kernel /boot/vmlinuz-6.12.9
      on which of these kernels its programs run, and why not on the others
  portolan scan probe.bpf.o --store kernels/ --kernel '6.1.*' --rodata filter_pid=1
      the same on kernels of a store, with a constant as its loader would set it
  portolan scan image.tar --extract objects/
      the objects of a container image, written to files

Exit codes, the same in every output format:
  0    everything was looked at, and what was found could be read, or nothing was found
  1    portolan itself failed
  2    bad usage; of some path, or file of --kernel, that was given nothing could be read, or no object that was found
  10   some program is blocked on a kernel that --kernel or --store names, or a loader that --for-loader names refuses some object
       or lets some program go wrong
  12   some program could not be judged on such a kernel, or an object for a version of a loader that nobody looked at; or something could not be looked at wholly (a damaged archive,
       a missing layer, a damaged object, a damaged kernel of the store): what, is said on stderr and in the result
Where several apply, the first of 1, 2, 10, 12 is given. Programs that are not loaded unasked do not count.";

/// Where objects are looked for, and how they are shown.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ScanArgs {
    /// Files and directories: objects, archives (ar, tar, cpio, zip), packages (deb, rpm), container images (OCI layout
    /// or tar), executables and libraries.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Judges each program on this kernel, which need not have been booted: an image, a package, a directory of either,
    /// or bare BTF; may be given several times. The parts of a split package are one kernel.
    /// With --store also a kernel of the store, by its release (`*` stands for anything).
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub kernels: Vec<PathBuf>,

    /// Judges each program on the kernels of this store: on those that --kernel names, or on all.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,

    /// Leaves this program out of the judgement, as a loader does that turns its loading off; may be given several times.
    #[arg(long = "no-autoload", value_name = "PROGRAM")]
    pub no_autoload: Vec<String>,

    /// Sets a constant of read-only data, as a loader does before it loads: a number, true, false or a text in double
    /// quotes; may be given several times. An object without such a variable is left as it is.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub rodata: Vec<(String, String)>,

    /// Also says what this loader cannot do with the objects: libbpf, aya or cilium-ebpf, in its newest version known here
    /// or the one that is named; may be given several times.
    #[arg(long = "for-loader", value_name = "LOADER[=VERSION]")]
    pub loaders: Vec<Loader>,

    /// Writes every object that was found to a file of its own in this directory; files that are there are kept.
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,

    /// Also writes the result, as `-o json` does, to this file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Format of the result on stdout. Messages always go to stderr.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: ScanFormat,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The formats. Every one is rendered from the same data; none changes the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum ScanFormat {
    /// For people: a line for each program.
    #[default]
    Table,
    /// For people: each program with all that it needs, each map, every place.
    Wide,
    /// For programs: one JSON document; see `portolan schema ScanReport`.
    Json,
}
