//! Arguments of `portolan preflight`.

use super::EXIT_CODES;
use super::output::OutputArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  portolan preflight
      every program of the built-in catalog, proved on this kernel
  portolan preflight --program tcp-rtt --explain
      one program, with every requirement and what answered it
  portolan preflight --no-load -o json
      from facts alone; nothing of the catalog is loaded
  portolan preflight --profile node7.json
      another node, from what `portolan probe -o json` wrote there

";

/// What is judged, on which facts, and what is shown.
#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub struct PreflightArgs {
    /// A catalog directory (or its catalog.toml) instead of the built-in catalog.
    #[arg(long, value_name = "PATH")]
    pub catalog: Option<PathBuf>,

    /// Only this program; may be given several times.
    #[arg(long = "program", value_name = "NAME")]
    pub programs: Vec<String>,

    /// Only this variant of each program, whatever its rank.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,

    /// Shows the decision tree: each requirement, the fact that answers it, its value and its evidence.
    #[arg(long)]
    pub explain: bool,

    /// Decides from facts alone: no object of the catalog is loaded into the kernel.
    #[arg(long)]
    pub no_load: bool,

    /// Keeps and shows the verifier's log of every load.
    #[arg(short, long)]
    pub verbose: bool,

    /// How far the probes go. `read` also implies --no-load.
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t, conflicts_with = "profile")]
    pub depth: PreflightDepth,

    /// Where the node's root directory is mounted, for a container that looks at its host.
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub host_root: Option<PathBuf>,

    /// A saved node profile instead of this node; nothing is probed and nothing is loaded.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,

    /// Also fail, with exit code 11, where a program runs only with a loss.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,

    /// Time for the probes, and again for the loads, in seconds. What is not answered by then is `unknown`.
    #[arg(long, value_name = "SECS", default_value_t = 60, conflicts_with = "profile", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The depths of a preflight. `attach` is left to `portolan probe`: it changes the node while it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum PreflightDepth {
    /// Reads files and kernel type information; makes no BPF program and no map.
    Read,
    /// Has the kernel judge small programs and maps, which are closed again.
    #[default]
    Load,
}

/// What else makes a preflight fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FailOn {
    /// A program whose best variant here loses something.
    Degraded,
}
