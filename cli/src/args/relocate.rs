//! Arguments of `portolan relocate`.

use super::output::Format;
use clap::Args;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  portolan relocate tcp.bpf.o --kernel linux-image-6.12.117+deb13-amd64.deb -o tcp-6.12.bpf.o
      for a kernel that was never booted here, with its configuration and its modules
  portolan relocate tcp.bpf.o --kernel /sys/kernel/btf/vmlinux -o tcp-here.bpf.o
      from BTF alone: enough for an object that asks for no option of the configuration

Exit codes, the same in every output format:
  0    the relocated object is written; what was poisoned in it is listed
  1    portolan itself failed
  2    bad usage, or an input that cannot be used
  10   the object cannot be relocated for this kernel; nothing is written
  12   the kernel's files do not tell what the object asks for; nothing is written";

/// Which object, for which kernel, and where to.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct RelocateArgs {
    /// The eBPF object.
    #[arg(value_name = "OBJECT")]
    pub object: PathBuf,

    /// The kernel: an image, a package, a directory, or BTF; with --store also a kernel of the store, by its release. Given
    /// several times, the parts of one kernel.
    #[arg(long = "kernel", value_name = "KERNEL", required = true)]
    pub kernel: Vec<PathBuf>,

    /// Where kernels are looked for that are no files: the store, as `portolan kernel` takes it.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,

    /// Where to write the relocated object. A file that is there is replaced; the input never is.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,

    /// Format of the report on stdout. Messages always go to stderr.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}
