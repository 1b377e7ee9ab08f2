//! Arguments of `portolan probe`.

use super::EXIT_CODES;
use super::output::OutputArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  portolan probe
      the facts of this node; the helpers of each program type as numbers
  portolan probe -o json > node7.json
      all of them, for `portolan preflight --profile node7.json`
  portolan probe --only bpf.helper.xdp,security
      two groups only, with every name
  portolan probe --depth attach --only bpf.attach,bpf.fires
      what can be attached, and does it run? For test machines
  portolan probe --function tcp_v4_rcv --only symbol
      can this kernel function be traced?

";

/// What is asked, how far, and what is shown.
#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub struct ProbeArgs {
    /// How far to go.
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t)]
    pub depth: DepthArg,

    /// Only these groups of facts, by the beginning of their names: `bpf.helper,security`.
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Also makes the loads about which the kernel writes to its log (trace_printk, probe_write_user).
    #[arg(long)]
    pub noisy: bool,

    /// Also tells whether this kernel function can be traced; may be given several times.
    #[arg(long = "function", value_name = "NAME")]
    pub functions: Vec<String>,

    /// Reports on stderr what the probe cost the node: bpf(2) calls, accepted loads, CPU time in the kernel, log lines.
    #[arg(short, long)]
    pub verbose: bool,

    /// Where the node's root directory is mounted, for a container that looks at its host.
    #[arg(long, value_name = "DIR")]
    pub host_root: Option<PathBuf>,

    /// Time for all probes, in seconds. What is not answered by then is `unknown`.
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The depths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum DepthArg {
    /// Reads files and kernel type information; makes no BPF program and no map.
    Read,
    /// Has the kernel judge small programs and maps, which are closed again. Nothing is attached.
    #[default]
    Load,
    /// Also attaches small programs, to objects made for this and to kernel functions that are hardly ever called, and
    /// looks whether they run. For test machines.
    Attach,
}
