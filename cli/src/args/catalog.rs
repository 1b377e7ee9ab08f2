//! Arguments of `portolan catalog`.

use super::LINT_EXIT_CODES;
use super::output::OutputArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Shows and checks the catalog of programs.
#[derive(Subcommand, Debug)]
pub enum CatalogCommand {
    /// Lists the programs and their variants by rank
    List(CatalogArgs),
    /// Shows a program: its variants, what each needs (derived from its object), provides and loses
    Show(CatalogShowArgs),
    /// Checks the catalog against its objects; exit code 10 if a check fails
    #[command(after_help = LINT_EXIT_CODES)]
    Lint(CatalogArgs),
}

/// Which catalog, and how it is shown.
#[derive(Args, Debug)]
pub struct CatalogArgs {
    /// A catalog directory (or its catalog.toml) instead of the built-in catalog.
    #[arg(long, value_name = "PATH")]
    pub catalog: Option<PathBuf>,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which program of which catalog.
#[derive(Args, Debug)]
pub struct CatalogShowArgs {
    /// The program's name, as `portolan catalog list` gives it.
    #[arg(value_name = "PROGRAM")]
    pub program: String,

    /// Which catalog, and how it is shown.
    #[command(flatten)]
    pub catalog: CatalogArgs,
}
