//! `portolan explain`.

use crate::args::documents::ExplainArgs;
use crate::args::output::Format;
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::{self, json, reasons as view};
use crate::report::{Document, ReasonEntry, ReasonList};
use anyhow::anyhow;
use probe_matrix::reasons;

/// Writes one reason code, or all of them.
pub fn command(args: &ExplainArgs, screen: &Screen) -> Result<Exit, Failure> {
    let entries = match &args.code {
        Some(code) => vec![find(code)?],
        None => reasons::table().iter().map(ReasonEntry::from).collect(),
    };
    let result = match (args.output.output, entries.as_slice()) {
        (Format::Json, _) => json::document(&Document::new("ReasonList", ReasonList { reasons: entries }))?,
        (Format::Table, [entry]) if args.code.is_some() => view::one(entry, screen).into_bytes(),
        (Format::Table, entries) => view::list(entries, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

fn find(code: &str) -> Result<ReasonEntry, Failure> {
    reasons::find(&code.to_uppercase()).map(ReasonEntry::from).ok_or_else(|| {
        let known = reasons::table().iter().map(|row| row.code.as_str());
        bad_input(anyhow!("there is no reason code {code}{}", did_you_mean(code, known)))
    })
}
