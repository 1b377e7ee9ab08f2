//! From data to bytes. Only this module writes results to stdout.

pub mod catalog;
pub mod json;
pub mod kernel;
pub mod matrix;
pub mod minimize;
pub mod preflight;
pub mod profile;
pub mod progress;
pub mod reasons;
pub mod relocate;
pub mod scan;
pub mod screen;
pub mod table;
pub mod text;

use anyhow::Context;
use probe_matrix::sys::name_errnos;
use std::io::{self, Write};

/// Writes a whole result to stdout.
///
/// A reader that went away (EPIPE) is no failure: it had what it wanted, and the verdict's exit code stands.
pub fn to_stdout(result: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(result).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("the result could not be written to stdout"),
    }
}

/// Writes one message to stderr, on one line, with the system's errors by name: a name of a file may hold line breaks, and
/// what follows one would pass for a message. Where stderr is gone there is nobody to tell.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr().lock(), "portolan: {}", text::whole_line(&name_errnos(text)));
}
