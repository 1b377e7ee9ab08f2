//! `portolan scan`.

use crate::args::scan::{ScanArgs, ScanFormat};
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::{self, json, scan as view};
use crate::report::Document;
use crate::report::matrix::Matrix;
use crate::report::scan::ScanReport;
use anyhow::{Context, anyhow};
use btf_catalog::scan::{Finder, Finds, Limits, files};
use btf_catalog::{BpfObject, kernel};
use probe_matrix::derive::Offline;
use probe_matrix::predict::{Options, predict};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Bytes of an object's name in the name of the file that it is written to.
const NAME_MAX: usize = 80;

/// Finds objects, and writes what each needs.
pub fn command(args: &ScanArgs, screen: &Screen) -> Result<Exit, Failure> {
    let mut finder = Finder::new(Limits::default());
    for path in &args.paths {
        files::look(&mut finder, path);
    }
    let finds = finder.finish();
    if finds.looked.files == finds.looked.unreadable {
        let why: Vec<String> =
            finds.notes.iter().map(|note| format!("{} {}", note.place, note.what)).collect();
        let why = if why.is_empty() { "no files are there".to_owned() } else { why.join("; ") };
        return Err(bad_input(anyhow!("nothing could be searched: {why}")));
    }
    let mut report = ScanReport::new(&finds, &args.loaders);
    if !args.kernels.is_empty() {
        report.matrix = Some(matrix(args, &finds)?);
    }
    let exit = exit(&report);
    if let Some(dir) = &args.extract {
        extract(&finds, &report, dir)?;
    }
    let document = Document::new("ScanReport", report);
    if let Some(path) = &args.report {
        let written = fs::write(path, json::document(&document)?);
        written
            .with_context(|| format!("the report {} cannot be written", path.display()))
            .map_err(bad_input)?;
    }
    let result = match args.output {
        ScanFormat::Json => json::document(&document)?,
        ScanFormat::Table => view::table(&document.content, screen).into_bytes(),
        ScanFormat::Wide => view::wide(&document.content, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(exit)
}

/// Finding no object is an answer; finding only such as cannot be read is none.
fn exit(report: &ScanReport) -> Exit {
    let matrix = report.matrix.as_ref().map(Matrix::summary).unwrap_or_default();
    let loaders = report.objects.iter().flat_map(|object| &object.loaders);
    if report.summary.objects > 0 && report.summary.objects == report.summary.damaged {
        Exit::BadInput
    } else if loaders.into_iter().any(|loader| !loader.gaps.is_empty()) {
        Exit::Blocked
    } else if matrix.blocked == 0 && report.matrix.is_some() && report.summary.damaged > 0 {
        // Nobody knows what an object needs that cannot be read.
        Exit::Undecided
    } else {
        Exit::of(&matrix, false)
    }
}

/// Judges every program that was found on every kernel that was given.
fn matrix(args: &ScanArgs, finds: &Finds) -> Result<Matrix, Failure> {
    let objects = finds.objects.iter();
    let objects = objects.filter_map(|found| Some((found, BpfObject::parse(found.bytes.clone()).ok()?)));
    let objects: Vec<_> = objects.map(|(found, object)| (found.digest.to_string(), object)).collect();
    let programs = objects.iter().flat_map(|(_, object)| &object.entries).map(|entry| entry.name.as_str());
    let programs: BTreeSet<&str> = programs.collect();
    if programs.is_empty() {
        return Err(bad_input(anyhow!("no program was found that could be judged on a kernel")));
    }
    for name in &args.no_autoload {
        if !programs.contains(name.as_str()) {
            let hint = did_you_mean(name, programs.iter().copied());
            return Err(bad_input(anyhow!("no object that was found has a program {name}{hint}")));
        }
    }
    let kernels = kernel::read(&args.kernels, kernel::Options::ALL)
        .context("the kernels cannot be read")
        .map_err(bad_input)?;
    if kernels.is_empty() {
        return Err(bad_input(anyhow!("no kernel is in what --kernel names")));
    }
    let mut matrix =
        Matrix::new(objects.iter().map(|(digest, object)| (digest.as_str(), object)), &args.no_autoload);
    for kernel in &kernels {
        let offline = Offline::new(kernel);
        let judge = |object: &BpfObject| predict(object, &offline, &Options::default());
        matrix.judge(&offline, objects.iter().map(|(_, object)| judge(object)));
    }
    Ok(matrix)
}

/// Writes each object to a file named after it and its digest. A file that is there already is kept: the same bytes are
/// what was asked for, others are an error.
fn extract(finds: &Finds, report: &ScanReport, dir: &Path) -> Result<(), Failure> {
    let unusable = || format!("the objects cannot be written to {}", dir.display());
    fs::create_dir_all(dir).with_context(unusable).map_err(bad_input)?;
    for (found, entry) in finds.objects.iter().zip(&report.objects) {
        let path = dir.join(file_name(&entry.name, &entry.sha256));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(&found.bytes).with_context(unusable)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|bytes| bytes == found.bytes) {
                    continue;
                }
                return Err(bad_input(anyhow!("{} is there already, with other contents", path.display())));
            }
            Err(error) => return Err(bad_input(anyhow::Error::new(error).context(unusable()))),
        }
    }
    Ok(())
}

/// A name that is safe everywhere: `opensnoop-0123456789ab.bpf.o`.
fn file_name(name: &str, sha256: &str) -> String {
    let stem = name.trim_end_matches(".o").trim_end_matches(".bpf");
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let stem: String = stem.chars().map(safe).take(NAME_MAX).collect();
    let stem = stem.trim_start_matches(['.', '-']);
    let dash = if stem.is_empty() { "" } else { "-" };
    format!("{stem}{dash}{}.bpf.o", &sha256[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_extracted_files_lead_nowhere_else() {
        let sha256 = "0123456789abcdef";
        for (name, file) in [
            ("opensnoop", "opensnoop-0123456789ab.bpf.o"),
            ("tcp.bpf.o", "tcp-0123456789ab.bpf.o"),
            ("..", "0123456789ab.bpf.o"),
            ("../../etc/passwd", "_.._etc_passwd-0123456789ab.bpf.o"),
            ("-rf\n\u{202e}", "rf__-0123456789ab.bpf.o"),
            ("", "0123456789ab.bpf.o"),
        ] {
            assert_eq!(file_name(name, sha256), file, "{name:?}");
        }
    }
}
