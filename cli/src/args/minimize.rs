//! Arguments of `portolan kernel minimize`.

use super::output::OutputArgs;
use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// Which objects, which kernels, and where to.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("of").args(["kernels", "store"]).required(true).multiple(true)))]
pub struct MinimizeArgs {
    /// eBPF objects.
    #[arg(value_name = "OBJECT", required = true)]
    pub objects: Vec<PathBuf>,

    /// Kernels: images, packages, directories, BTF files. Packages that hold parts of one kernel belong together. With
    /// --store also kernels of the store, by release (`*` stands for anything).
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub kernels: Vec<PathBuf>,

    /// The store, as `portolan kernel` takes it: those of its kernels that --kernel names, or all.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,

    /// The directory to write to: BTF files, each distinct one once, and index.json, which says whose they are.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}
