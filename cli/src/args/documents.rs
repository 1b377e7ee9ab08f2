//! Arguments of the commands that print what portolan knows about itself.

use super::output::OutputArgs;
use clap::Args;

/// Explains a reason code: what it means, why it happens, what to do about it.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The code, as a report gives it: PTL0201. Without it, all codes are listed.
    #[arg(value_name = "CODE")]
    pub code: Option<String>,

    /// Format of the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Prints the JSON Schema of a document that portolan writes with `-o json`.
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// The document's kind, as its `kind` gives it: PreflightReport. Without it, the kinds are listed.
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
}
