//! What the user typed. Nothing here touches the system; `run` turns it into what is done.

pub mod catalog;
pub mod documents;
pub mod kernel;
pub mod minimize;
pub mod output;
pub mod preflight;
pub mod probe;
pub mod relocate;
pub mod scan;
pub mod suggest;

use clap::{Parser, Subcommand};

/// Exit codes as every `--help` shows them.
const EXIT_CODES: &str = "\
Exit codes, the same in every output format:
  0    every program has a variant that runs
  1    portolan itself failed
  2    bad usage, or an input that cannot be used; also if no object of a program can be read
  10   some program has no variant that runs
  11   every program runs, some with a loss (only with --fail-on degraded)
  12   some program could not be decided, most often for lack of privilege
  130  interrupted (SIGINT); 143 ended (SIGTERM)
Where several apply, the first of 1, 2, 10, 12, 11 is given.";

/// Those of `catalog lint`.
const LINT_EXIT_CODES: &str = "\
Exit codes, the same in every output format:
  0    nothing is wrong, or warnings only
  1    portolan itself failed
  2    bad usage, or a catalog that cannot be used
  10   some check failed (a finding of severity `error`)";

/// Tells which eBPF programs run on this node, proves it on the running kernel, and says what to do about the others.
#[derive(Parser, Debug)]
#[command(name = "portolan", version, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Never write colours. Colours are used on a terminal only, and not if NO_COLOR is set.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Says for every program of the catalog which variant this node gets, why, and what to do about the rest
    ///
    /// The node is probed, each variant's needs are derived from its object and compared, and the best that fits is
    /// relocated and loaded into the verifier, then closed again. Nothing is attached or pinned, no kernel module is
    /// loaded. Root gets an answer to everything; without root it still runs: what may not be asked is `denied`, what
    /// depends on it `unknown`.
    Preflight(preflight::PreflightArgs),
    /// Asks this node's kernel what it offers to eBPF programs: the node profile
    ///
    /// Every fact is yes, no, denied or unknown, with its evidence and, where a question failed, the errno. What the
    /// kernel refuses to answer is `denied`, never taken for a no.
    Probe(probe::ProbeArgs),
    /// Finds eBPF objects in files, archives, packages, images and executables, and says what each needs
    ///
    /// Nothing is loaded and nothing is run: the objects are read. Each entry's needs are derived from its instructions,
    /// its section and its types. What was not looked at is said.
    Scan(scan::ScanArgs),
    /// Writes an object relocated for one kernel, which needs no BTF to be loaded where its programs allow it
    ///
    /// CO-RE relocations are answered from the kernel's files and written into the instructions, options of its
    /// configuration become read-only data. What still needs the kernel's own BTF is said.
    Relocate(relocate::RelocateArgs),
    /// Explains a reason code; without a code, lists them all
    Explain(documents::ExplainArgs),
    /// Shows and checks the catalog of programs
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Keeps kernels' types and configurations in a store, and tells what differs between them
    #[command(subcommand)]
    Kernel(kernel::KernelCommand),
    /// Prints the JSON Schema of a document that portolan writes
    Schema(documents::SchemaArgs),
    /// Does what needs privileges, for a portolan process that waits for it
    #[command(name = probe_matrix::worker::ARGUMENT, hide = true)]
    Worker,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_its_exit_codes_or_has_none_of_its_own() {
        for name in ["preflight", "probe", "scan"] {
            let mut cli = Cli::command();
            let help = cli.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains("Exit codes"), "{name}");
            assert!(help.contains("Examples"), "{name}");
        }
    }
}
