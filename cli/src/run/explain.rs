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
        let known = || reasons::table().iter().map(|row| row.code.as_str());
        // Numbers that look alike are not about the same thing; those of one hundred are.
        let hint = kindred(code, known()).unwrap_or_else(|| did_you_mean(code, known()));
        bad_input(anyhow!("there is no reason code {code}{hint}"))
    })
}

/// The codes of the same hundred, which are about the same kind of thing.
fn kindred<'a>(code: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let hundred = code.get(..5)?.to_uppercase();
    let near: Vec<&str> = known.filter(|known| known.starts_with(&hundred)).collect();
    Some(format!("; codes of its kind are {} to {}", near.first()?, near.last()?))
}
