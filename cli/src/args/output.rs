//! How a result is written.

use clap::{Args, ValueEnum};

/// The formats. Every one is rendered from the same data; none changes the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document with `apiVersion` and `kind`; see `portolan schema`.
    Json,
}

/// The options of every command that gives a result.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Format of the result on stdout. Messages always go to stderr.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
}
