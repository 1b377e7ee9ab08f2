//! Predictions as JSON lines, one an entry and kernel, for the accuracy command to hold against the truth:
//! `predict [--modules none] KERNEL… -- OBJECT…`, where a kernel is any file or directory that holds some.
//!
//! A line has `object` (its path), `section`, `program`, `kernel` (the release), `verdict` and `evidence` on loading,
//! `reasons`, and the same on attaching.

use btf_catalog::BpfObject;
use btf_catalog::kernel;
use probe_matrix::derive::Offline;
use probe_matrix::predict::{Options, StageVerdict, predict};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::default();
    if args.starts_with(&["--modules".to_owned(), "none".to_owned()]) {
        options.loaded_modules = Some(BTreeSet::new());
        args.drain(..2);
    }
    let split =
        args.iter().position(|arg| arg == "--").ok_or("predict [--modules none] KERNEL… -- OBJECT…")?;
    let objects: Vec<(&str, BpfObject)> = args[split + 1..]
        .iter()
        .map(|path| Ok((path.as_str(), BpfObject::parse(std::fs::read(path)?)?)))
        .filter_map(|object: Result<_, Box<dyn Error>>| {
            object.inspect_err(|error| eprintln!("not read: {error}")).ok()
        })
        .collect();
    let mut out = std::io::stdout().lock();
    for kernel in kernel::read(&args[..split], kernel::Options::ALL)? {
        let offline = Offline::new(&kernel);
        for (path, object) in &objects {
            for line in lines(&offline, path, object, &options) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

fn lines(kernel: &Offline, path: &str, object: &BpfObject, options: &Options) -> Vec<Value> {
    let reasons = |stage: &StageVerdict| -> Vec<String> {
        stage.reasons.iter().map(|reason| format!("{} {}", reason.code, reason.message)).collect()
    };
    let verdicts = predict(object, kernel, options);
    let line = |entry: probe_matrix::predict::EntryVerdict| {
        json!({
            "object": path,
            "section": entry.section,
            "program": entry.program,
            "kernel": kernel.kernel().release,
            "verdict": entry.load.verdict,
            "evidence": entry.load.evidence,
            "reasons": reasons(&entry.load),
            "attach": entry.attach.verdict,
            "attach_reasons": reasons(&entry.attach),
        })
    };
    verdicts.into_iter().map(line).collect()
}
