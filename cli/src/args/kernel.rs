//! Arguments of `portolan kernel`.

use super::minimize::MinimizeArgs;
use super::output::OutputArgs;
#[cfg(feature = "remote")]
use btf_catalog::store::fetch::Wanted;
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  portolan kernel add linux-image-*.deb
      keeps the kernels of these packages
  portolan kernel list '6.1.*'
      those of one series
  portolan kernel diff 6.1.0-44-cloud-amd64 6.1.0-56-cloud-amd64 --for probe.bpf.o
      what has changed of the types that this object uses
";

const ADD_AFTER_HELP: &str = "\
Examples:
  portolan kernel add linux-image-*.deb
      keeps the kernels of these packages
  portolan kernel add /boot/vmlinuz-6.1.0-44-amd64 --store kernels/
      of an image, in a store of its own

Exit codes, the same in every output format:
  0    everything that was given is in the store
  1    portolan itself failed, or the store could not be written
  2    bad usage, or something that was given is no kernel or cannot be read; all others are in the store";

const LIST_EXIT_CODES: &str = "\
Exit codes, the same in every output format:
  0    done
  1    portolan itself failed, or the store could not be reached
  2    bad usage, or there is no such store or kernel
  10   a record of the store is damaged; all others are dealt with";

#[cfg(feature = "remote")]
const FETCH_AFTER_HELP: &str = "\
Examples:
  portolan kernel fetch https://btf.example.org/archive 'ubuntu/20.04/x86_64/5.15.*'
      those kernels of the server that the store does not have yet
  portolan kernel fetch https://btf.example.org/archive --list archive.txt --dry-run
      what would be fetched of a server that shows no pages of links

Exit codes, the same in every output format:
  0    everything that was wanted is in the store
  1    portolan itself failed, or the server or the store could not be reached
  2    bad usage; the server has nothing that was wanted
  10   something could not be fetched, or is no BTF; the rest is in the store";

const VERIFY_EXIT_CODES: &str = "\
Exit codes, the same in every output format:
  0    everything was read and is as it was added
  1    portolan itself failed, or the store could not be reached
  2    bad usage, or there is no store with kernels at that place
  10   something is damaged";

/// Keeps kernels' types and configurations, and tells what differs between them.
#[derive(Subcommand, Debug)]
pub enum KernelCommand {
    /// Adds the kernels of images, packages, directories and BTF files
    #[command(after_help = ADD_AFTER_HELP)]
    Add(AddArgs),
    /// Mirrors BTF of a server laid out as BTFHub's archive
    #[cfg(feature = "remote")]
    #[command(after_help = FETCH_AFTER_HELP)]
    Fetch(FetchArgs),
    /// Lists the kernels
    #[command(after_help = LIST_EXIT_CODES)]
    List(ListArgs),
    /// Shows all that is kept of a kernel
    Show(ShowArgs),
    /// Says what has changed from one kernel's types to another's, with offsets
    #[command(after_help = EXAMPLES)]
    Diff(DiffArgs),
    /// Reads everything and checks that it is as it was added
    #[command(after_help = VERIFY_EXIT_CODES)]
    Verify(StoreArgs),
    /// Removes kernels, and files that no kernel needs; without --yes it only says which
    #[command(after_help = LIST_EXIT_CODES)]
    Prune(PruneArgs),
    /// Writes of kernels' BTF what the relocations of objects look at, and says what they do not find
    Minimize(MinimizeArgs),
}

/// Which store, and how the result is shown.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// The store's directory instead of $XDG_DATA_HOME/portolan/store, or its address: file://, s3://, gs://, az://,
    /// http:// or https:// (WebDAV). How buckets are reached is read from AWS_*, GOOGLE_* and AZURE_* of the environment.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is added.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Images, packages, directories, BTF files. Packages that hold parts of one kernel belong together.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Leaves out the modules: their types cannot be asked for then.
    #[arg(long)]
    pub no_modules: bool,

    /// Where to.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What is fetched.
#[cfg(feature = "remote")]
#[derive(Args, Debug)]
pub struct FetchArgs {
    /// The server's address, http:// or https://, below which the distributions lie.
    #[arg(value_name = "URL")]
    pub url: String,

    /// Only these: DISTRIBUTION/VERSION/MACHINE/RELEASE, in which `*` stands for any text; parts may be left out at the
    /// end.
    #[arg(value_name = "KERNEL", default_value = "*")]
    pub wanted: Vec<Wanted>,

    /// A file that lists what the server has, a path a line, for servers that show no pages of links.
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,

    /// Only says what would be fetched.
    #[arg(long)]
    pub dry_run: bool,

    /// Where to.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Which kernels are listed.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only these: a release (`*` stands for anything), or the beginning of a build ID or of the name in the store.
    #[arg(value_name = "KERNEL")]
    pub kernel: Option<String>,

    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Which kernel is shown.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A release (`*` stands for anything), or the beginning of a build ID or of the name in the store.
    #[arg(value_name = "KERNEL")]
    pub kernel: String,

    /// Also writes its BTF to this file.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,

    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What is compared.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The older kernel: one of the store, or a file.
    #[arg(value_name = "OLD")]
    pub old: String,

    /// The newer kernel: one of the store, or a file.
    #[arg(value_name = "NEW")]
    pub new: String,

    /// Only what this object uses: the types of its relocations, the functions it attaches to or calls.
    #[arg(long = "for", value_name = "OBJECT")]
    pub object: Option<PathBuf>,

    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// What is removed.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Kernels to remove, as `list` takes them. Without any, only files that no kernel needs are removed.
    #[arg(value_name = "KERNEL")]
    pub kernels: Vec<String>,

    /// Also removes what is damaged: kernels that cannot be read, and files that are not what their names say.
    #[arg(long)]
    pub damaged: bool,

    /// Removes them.
    #[arg(long)]
    pub yes: bool,

    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}
