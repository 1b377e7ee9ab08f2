//! `portolan scan`.

use super::kernels::{self, Kernels, Source, unreadable};
use super::remembered::Remembered;
use super::replace::{Unfinished, replace, same_file, unwritable};
use crate::args::scan::{ScanArgs, ScanFormat};
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::text::line;
use crate::render::{self, json, scan as view};
use crate::report::Document;
use crate::report::matrix::{KernelEntry, KernelVerdict, Matrix};
use crate::report::scan::{NoteEntry, Parsed, ScanReport, ScanSummary};
use anyhow::anyhow;
use btf_catalog::BpfObject;
use btf_catalog::kernel;
use btf_catalog::reach::{ConstantError, Constants};
use btf_catalog::scan::{Finder, Finds, Limits, files};
use probe_matrix::derive::Offline;
use probe_matrix::predict::{EntryVerdict, Predictions};
use probe_matrix::verdict::Verdict;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that read kernels: each has one in memory, with its modules.
const THREADS: usize = 4;

/// Of what could not be looked at, how much is told on stderr.
const TOLD: usize = 5;

/// Bytes of an object's name in the name of the file that it is written to.
const NAME_MAX: usize = 80;

/// Finds objects, and writes what each needs.
pub fn command(args: &ScanArgs, screen: &Screen) -> Result<Exit, Failure> {
    if let Some(report) = &args.report
        && args.paths.iter().chain(&args.kernels).any(|input| same_file(input, report))
    {
        return Err(bad_input(anyhow!("{} is an input; name another report", report.display())));
    }
    let mut finder = Finder::new(Limits::default());
    let mut unusable = 0;
    for path in &args.paths {
        let before = finder.looked();
        files::look(&mut finder, path);
        let after = finder.looked();
        let (files, unreadable) = (after.files - before.files, after.unreadable - before.unreadable);
        unusable += usize::from(files == unreadable);
    }
    let finds = finder.finish();
    if unusable == args.paths.len() {
        let why: Vec<String> =
            finds.notes.iter().map(|note| format!("{} {}", note.place, note.what)).collect();
        let why = if why.is_empty() { "no files are there".to_owned() } else { why.join("; ") };
        return Err(bad_input(anyhow!("nothing could be searched: {why}")));
    }
    let parsed = parse(args, &finds)?;
    let mut report = ScanReport::new(&finds, &parsed, &args.loaders, unusable);
    if !args.kernels.is_empty() || args.store.is_some() {
        judge_all(args, &finds, &parsed, &mut report)?;
    }
    tell_incomplete(&report);
    let exit = exit(&report);
    let document = Document::new("ScanReport", report);
    if let Some(path) = &args.report {
        replace(path, &json::document(&document)?)?;
    }
    let result = match args.output {
        ScanFormat::Json => json::document(&document)?,
        ScanFormat::Table => view::table(&document.content, screen).into_bytes(),
        ScanFormat::Wide => view::wide(&document.content, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    // What was found is told whatever becomes of the files.
    if let Some(dir) = &args.extract {
        extract(&finds, &document.content, dir)?;
    }
    Ok(exit)
}

/// Finding no object is an answer; finding only such as cannot be read is none.
fn exit(report: &ScanReport) -> Exit {
    let matrix = report.matrix.as_ref().map(Matrix::summary).unwrap_or_default();
    let present = report.objects.iter().filter(|object| !object.removed);
    let loaders: Vec<Verdict> =
        present.flat_map(|object| &object.loaders).map(|loader| loader.verdict).collect();
    let ScanSummary { objects, damaged, unusable, .. } = report.summary;
    if unusable > 0 || objects > 0 && objects == damaged {
        Exit::BadInput
    } else if loaders.contains(&Verdict::Blocked) || matrix.blocked > 0 {
        Exit::Blocked
    } else if damaged > 0 || !report.incomplete.is_empty() || loaders.contains(&Verdict::Unknown) {
        // Nobody knows what is in an object that cannot be read, or in what was not looked at, or what a loader does that
        // nobody looked at.
        Exit::Undecided
    } else {
        Exit::of(&matrix, false)
    }
}

/// Says on stderr what could not be looked at: a result is often read by programs alone.
fn tell_incomplete(report: &ScanReport) {
    for note in report.incomplete.iter().take(TOLD) {
        render::message(&format!("{}: {}", line(&note.place), line(&note.message)));
    }
    if let Some(more @ 1..) = report.incomplete.len().checked_sub(TOLD) {
        render::message(&format!("{more} more could not be looked at; the result names them"));
    }
}

/// Reads the objects, with the constants that were given. Names that fit no object at all are errors.
fn parse(args: &ScanArgs, finds: &Finds) -> Result<Vec<Parsed>, Failure> {
    let objects = finds.objects.iter().map(|found| BpfObject::parse(found.bytes.clone()));
    let with_own = |object: BpfObject| {
        let constants = Constants::of(&object);
        (object, constants)
    };
    let mut parsed: Vec<Parsed> = objects.map(|object| object.map(with_own)).collect();
    // What some object takes is meant for that one; why none takes it is told by the one that comes nearest.
    let mut set = |apply: &dyn Fn(&BpfObject, &mut Constants) -> Result<(), ConstantError>| {
        let results = parsed.iter_mut().flatten().map(|(object, constants)| apply(object, constants));
        let (fit, errors): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        let mut errors: Vec<ConstantError> = errors.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| !matches!(error, ConstantError::Value { .. }));
        let wrong = errors.first().is_some_and(|error| matches!(error, ConstantError::Value { .. }));
        match errors.into_iter().next() {
            Some(error) if fit.is_empty() || wrong => Err(bad_input(error)),
            None if fit.is_empty() => Err(bad_input(anyhow!("no object was found that can be read"))),
            _ => Ok(()),
        }
    };
    for (name, value) in &args.rodata {
        set(&|object, constants| constants.set_rodata(object, name, value))?;
    }
    for name in &args.no_autoload {
        set(&|object, constants| constants.leave_out(object, name))?;
    }
    Ok(parsed)
}

/// Judges every program that was found on every kernel that was given. Each thread takes the next kernel; what kernels
/// have in common is decided once for all threads. A kernel that cannot be read costs itself.
fn judge_all(
    args: &ScanArgs,
    finds: &Finds,
    parsed: &[Parsed],
    report: &mut ScanReport,
) -> Result<(), Failure> {
    let objects = finds.objects.iter().zip(parsed);
    let present = objects.filter(|(found, _)| !found.is_removed());
    let objects = present.filter_map(|(found, parsed)| Some((found, parsed.as_ref().ok()?)));
    let objects: Vec<_> = objects.map(|(found, parsed)| (found.digest.to_string(), parsed)).collect();
    if objects.iter().all(|(_, (object, _))| object.entries.is_empty()) {
        return Err(bad_input(anyhow!("no program was found that could be judged on a kernel")));
    }
    let kernels = Kernels::named(&args.kernels, args.store.as_deref())?;
    let programs = objects.iter().map(|(_, (object, constants))| (object, Some(constants.clone())));
    let predictions = Predictions::new(programs);
    let mut remembered = kernels.store.as_ref().and_then(|store| Remembered::of(store, &objects));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut judged = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = kernels.sources.get(at) else { return judged };
            judged.push((at, judge(source, &kernels, remembered.as_ref(), &predictions)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let mut judged: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    // The order of threads must not show.
    judged.sort_by_key(|(at, _)| *at);
    let mut matrix = Matrix::new(objects.iter().map(|(digest, parsed)| (digest.as_str(), *parsed)));
    let mut failed = Vec::new();
    for (at, judged) in judged {
        let source = &kernels.sources[at];
        for judged in judged {
            match judged {
                Ok((kernel, Verdicts::Known(verdicts))) => matrix.add(kernel, verdicts),
                Ok((kernel, Verdicts::Decided(verdicts))) => {
                    matrix.judge(kernel, &verdicts);
                    if let (Source::Stored(record), Some(remembered)) = (source, &mut remembered) {
                        remembered.learn(record, &matrix);
                    }
                }
                Err(error) => failed.push((error, matches!(source, Source::Files(_)))),
            }
        }
    }
    if let Some(remembered) = remembered {
        remembered.keep();
    }
    if matrix.kernels.is_empty() {
        let first = failed.into_iter().next().map(|(error, _)| error);
        return Err(unreadable(
            first.unwrap_or_else(|| anyhow!("no kernel is in what --kernel and --store name")),
        ));
    }
    let note = |place: &str, message| NoteEntry { place: place.to_owned(), message };
    for (error, named) in failed {
        report.summary.unusable += usize::from(named);
        report.incomplete.push(note(if named { "--kernel" } else { "--store" }, format!("{error:#}")));
    }
    report.incomplete.extend(kernels.damaged.into_iter().map(|damage| note("--store", damage)));
    report.matrix = Some(matrix);
    Ok(())
}

/// A kernel with the verdicts on all programs, or why there are none.
type Judged = anyhow::Result<(KernelEntry, Verdicts)>;

/// Verdicts on all programs on one kernel.
enum Verdicts {
    Decided(Vec<Arc<EntryVerdict>>),
    /// As they were when they were decided.
    Known(Vec<Arc<KernelVerdict>>),
}

/// Judges the programs on the kernels of a source.
fn judge(
    source: &Source,
    kernels: &Kernels,
    remembered: Option<&Remembered>,
    predictions: &Predictions,
) -> Vec<Judged> {
    if let (Source::Stored(record), Some(remembered)) = (source, remembered)
        && let Some((kernel, verdicts)) = remembered.on(record)
    {
        return vec![Ok((kernel, Verdicts::Known(verdicts)))];
    }
    let read = match kernels.read(source, kernel::Options::ALL) {
        Ok(read) => read,
        Err(error) => return vec![Err(error)],
    };
    let judge = |kernel| {
        let offline = Offline::new(kernel);
        kernels::check(&offline)?;
        let verdicts = predictions.on(&offline, None).into_iter().flatten().collect();
        Ok((KernelEntry::of(&offline), Verdicts::Decided(verdicts)))
    };
    read.iter().map(judge).collect()
}

/// Writes each object to a file named after it and its digest. A file that is there already is kept: the same bytes are
/// what was asked for, others are an error.
fn extract(finds: &Finds, report: &ScanReport, dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| unwritable(dir, error))?;
    let all = finds.objects.len();
    for (written, (found, entry)) in finds.objects.iter().zip(&report.objects).enumerate() {
        let path = dir.join(file_name(&entry.name, &entry.sha256));
        let failed = |error| match unwritable(&path, error) {
            Failure::Tool(error) => {
                Failure::Tool(error.context(format!("{written} of {all} objects were extracted")))
            }
            failure => failure,
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                let _unfinished = Unfinished::begin(&path);
                file.write_all(&found.bytes).map_err(|error| {
                    // Half an object is none.
                    let _ = fs::remove_file(&path);
                    failed(error)
                })?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|bytes| bytes == found.bytes) {
                    continue;
                }
                return Err(bad_input(anyhow!("{} is there already, with other contents", path.display())));
            }
            Err(error) => return Err(failed(error)),
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
