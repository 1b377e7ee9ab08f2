//! `portolan kernel`.

#[cfg(feature = "remote")]
mod fetch;

use super::kernels;
use super::object_file;
use super::replace::replace;
use crate::args::kernel::{AddArgs, DiffArgs, KernelCommand, ListArgs, PruneArgs, ShowArgs, StoreArgs};
use crate::args::output::{Format, OutputArgs};
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::text::line;
use crate::render::{self, json, kernel as view};
use crate::report::Document;
use crate::report::kernel::{KernelDiff, KernelEntry, KernelReport};
use anyhow::{Context, anyhow};
use btf_catalog::kernel::{self, Kernel, Options};
use btf_catalog::open::{Takes, open as open_file};
use btf_catalog::store::{Digest, Directory, Record, Store, StoreError, diff};
use btf_catalog::{BpfObject, Btf};
use bytes::Bytes;
use probe_matrix::derive::Offline;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file this young may belong to a kernel that is being added.
const GRACE: Duration = Duration::from_secs(3600);

/// Bytes of the largest file that is read to learn whether it was added before; images and packages are smaller.
const NAMED: u64 = 1 << 30;

/// Works on a store of kernels.
pub fn command(command: &KernelCommand, screen: &Screen) -> Result<Exit, Failure> {
    match command {
        KernelCommand::Add(args) => add(args, screen),
        #[cfg(feature = "remote")]
        KernelCommand::Fetch(args) => fetch::command(args, screen),
        KernelCommand::List(args) => list(args, screen),
        KernelCommand::Show(args) => show(args, screen),
        KernelCommand::Diff(args) => compare(args, screen),
        KernelCommand::Verify(args) => verify(args, screen),
        KernelCommand::Prune(args) => prune(args, screen),
        KernelCommand::Minimize(args) => super::minimize::command(args, screen),
    }
}

/// The store at an address, or the one of this user.
pub fn open(address: Option<&str>) -> Result<Store, Failure> {
    let Some(address) = address else { return Ok(Store::new(Directory::new(home().map_err(bad_input)?))) };
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let of_clouds = |(name, _): &(String, String)| {
        ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|cloud| name.starts_with(cloud))
    };
    let options = std::env::vars_os().filter_map(text).filter(of_clouds);
    Store::open(address, options).map_err(bad_input)
}

/// The store at an address, which must be there, or the one of this user, which may be empty.
pub fn open_existing(address: Option<&str>) -> Result<Store, Failure> {
    let store = open(address)?;
    let dir = address.map(|address| address.strip_prefix("file://").unwrap_or(address));
    let dir = dir.filter(|dir| !dir.contains("://")).map(Path::new);
    match dir {
        Some(dir) if !dir.is_dir() => Err(bad_input(anyhow!("there is no store at {}", dir.display()))),
        // The first `add` may have been interrupted before there was a kernel.
        Some(dir) if !["kernels", "packs"].iter().any(|of_stores| dir.join(of_stores).is_dir()) => {
            Err(bad_input(anyhow!("{} is no store of kernels: it has no directory `kernels`", dir.display())))
        }
        _ => Ok(store),
    }
}

/// `$XDG_DATA_HOME/portolan/store`, as the XDG base directory specification has it.
fn home() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let data = data.context("neither XDG_DATA_HOME nor HOME is set: give the store with --store")?;
    Ok(data.join("portolan/store"))
}

fn add(args: &AddArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open(args.store.store.as_deref())?;
    let options = Options { modules: !args.no_modules, image: true };
    let mut report = KernelReport::default();
    // Kernels are read one after the other, and those that can be read are added whatever is wrong with others.
    for path in args.paths.iter().filter(|path| !path.exists()) {
        report.damage.push(format!("{}: there is no such file", path.display()));
    }
    let there: Vec<&PathBuf> = args.paths.iter().filter(|path| path.exists()).collect();
    for files in kernel::groups(&there).map_err(bad_input)? {
        let shown = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let inputs = digest(&files, options);
        if let Some(records) = inputs.as_ref().and_then(|inputs| store.given_by(inputs).transpose()) {
            for record in records.map_err(anyhow::Error::from)? {
                let entry = KernelEntry::of(&record, Some("known"));
                render::message(&format!(
                    "{}: known, not read again ({})",
                    line(view::name(&entry)),
                    line(&shown())
                ));
                report.kernels.push(entry);
            }
            continue;
        }
        match kernel::read(&files, options) {
            Ok(kernels) if kernels.is_empty() => {
                report.damage.push(format!("{}: no kernel was found", shown()));
            }
            Ok(kernels) => {
                let (before, damage) = (report.kernels.len(), report.damage.len());
                for kernel in &kernels {
                    add_one(&store, kernel, &mut report)?;
                }
                if let Some(inputs) = inputs.filter(|_| report.damage.len() == damage) {
                    let ids: Vec<String> =
                        report.kernels[before..].iter().map(|kernel| kernel.id.clone()).collect();
                    store.remember_inputs(&inputs, &ids).map_err(anyhow::Error::from)?;
                }
            }
            Err(error) => report.damage.push(error.to_string()),
        }
    }
    report.damage.iter().for_each(|damage| render::message(&line(damage)));
    let exit = if report.damage.is_empty() { Exit::Success } else { Exit::BadInput };
    if !report.kernels.is_empty() {
        finish(&store, report, args.store.output, screen, view::list)?;
    }
    Ok(exit)
}

/// What names these files by their names and bytes; nothing where some is a directory, cannot be read, or is larger than
/// [`NAMED`].
fn digest(files: &[PathBuf], options: Options) -> Option<Digest> {
    if files.iter().any(|file| file.metadata().is_ok_and(|file| file.len() > NAMED)) {
        return None;
    }
    let opened = files.iter().map(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, open_file(file, Takes::Files)?))
    });
    Digest::of_inputs(opened, if options.modules { "modules" } else { "no modules" }).ok()
}

/// Adds a kernel, and says so: packages take seconds each.
fn add_one(store: &Store, kernel: &Kernel, report: &mut KernelReport) -> Result<(), Failure> {
    let added = kernels::check(&Offline::new(kernel)).map_err(bad_input).and_then(|()| added(store, kernel));
    match added {
        Ok(entry) => {
            let state = entry.state.as_deref().unwrap_or_default();
            let written = entry.written_bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
            let name = kernels::name(kernel);
            render::message(&format!(
                "{}: {state}{written} ({})",
                line(&name),
                line(&kernel.sources.join(", "))
            ));
            report.kernels.push(entry);
        }
        Err(Failure::BadInput(error)) => report.damage.push(format!("{error:#}")),
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// What adding a kernel came to.
fn added(store: &Store, kernel: &Kernel) -> Result<KernelEntry, Failure> {
    let added = store.add(kernel).map_err(|error| match error {
        error @ StoreError::Unsuitable { .. } => bad_input(error),
        error => Failure::Tool(error.into()),
    })?;
    let mut entry = KernelEntry::of(&added.record, Some(if added.known { "known" } else { "added" }));
    entry.written_bytes = (!added.known).then_some(added.written);
    Ok(entry)
}

fn list(args: &ListArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open_existing(args.store.store.as_deref())?;
    if let Some(selector) = &args.kernel {
        find(&store, selector)?;
    }
    let listing = store.list().map_err(anyhow::Error::from)?;
    let wanted = |record: &&Record| args.kernel.as_deref().is_none_or(|kernel| record.is(kernel));
    let report = KernelReport {
        kernels: listing.records.iter().filter(wanted).map(|record| KernelEntry::of(record, None)).collect(),
        damage: listing.damaged.iter().map(ToString::to_string).collect(),
        ..KernelReport::default()
    };
    let exit = if report.damage.is_empty() { Exit::Success } else { Exit::Blocked };
    finish(&store, report, args.store.output, screen, view::list)?;
    Ok(exit)
}

fn show(args: &ShowArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open_existing(args.store.store.as_deref())?;
    let records = find(&store, &args.kernel)?;
    if let Some(path) = &args.btf {
        let [record] = &records[..] else {
            let count = records.len();
            return Err(bad_input(anyhow!(
                "{} means {count} kernels: --btf writes the BTF of one",
                args.kernel
            )));
        };
        let btf = store.btf(record).map_err(anyhow::Error::from)?;
        replace(path, &btf)?;
    }
    let report = KernelReport {
        kernels: records.iter().map(|record| KernelEntry::of(record, None)).collect(),
        ..KernelReport::default()
    };
    finish(&store, report, args.store.output, screen, view::show)?;
    Ok(Exit::Success)
}

fn verify(args: &StoreArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open_existing(args.store.as_deref())?;
    let verified = store.verify().map_err(anyhow::Error::from)?;
    if verified.kernels == 0 && verified.damage.is_empty() {
        return Err(bad_input(anyhow!("the store {} has no kernels", store.describe())));
    }
    let mut report = KernelReport { verified: Some(verified.kernels), ..KernelReport::default() };
    for (record, error) in &verified.damage {
        let name = record.as_ref().and_then(|record| record.release.as_deref());
        report.damage.push(name.map_or_else(|| error.to_string(), |name| format!("{name}: {error}")));
        report.kernels.extend(record.as_ref().map(|record| KernelEntry::of(record, Some("damaged"))));
    }
    finish(&store, report, args.output, screen, view::list)?;
    Ok(if verified.damage.is_empty() { Exit::Success } else { Exit::Blocked })
}

fn prune(args: &PruneArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = open_existing(args.store.store.as_deref())?;
    for selector in &args.kernels {
        find(&store, selector)?;
    }
    let selected = |record: &Record| args.kernels.iter().any(|kernel| record.is(kernel));
    let pruned = store.prunable(selected, args.damaged, GRACE).map_err(anyhow::Error::from)?;
    let state = if args.yes { "removed" } else { "would be removed" };
    let report = KernelReport {
        kernels: pruned.records.iter().map(|record| KernelEntry::of(record, Some(state))).collect(),
        unneeded: pruned.files.iter().map(Into::into).collect(),
        damage: pruned.damaged.iter().map(ToString::to_string).collect(),
        ..KernelReport::default()
    };
    if args.yes {
        store.prune(&pruned).map_err(anyhow::Error::from)?;
    } else if !report.kernels.is_empty() || !report.unneeded.is_empty() {
        render::message("nothing was removed: with --yes it is");
    }
    if !report.damage.is_empty() {
        render::message(
            "packs are kept as long as a record cannot be read, since it may need them: \
             remove it with --damaged, or add its kernel again",
        );
    }
    let exit = if report.damage.is_empty() { Exit::Success } else { Exit::Blocked };
    finish(&store, report, args.store.output, screen, view::list)?;
    Ok(exit)
}

fn compare(args: &DiffArgs, screen: &Screen) -> Result<Exit, Failure> {
    let store = args.store.store.as_deref();
    let object = args.object.as_deref().map(|path| {
        let bytes = object_file::read(path)?;
        let parsed = BpfObject::parse(bytes);
        parsed.with_context(|| format!("{} is no object that can be read", path.display())).map_err(bad_input)
    });
    let object = object.transpose()?;
    let names = object.as_ref().map(diff::names_of);
    let mut notes = vec!["types of modules were not compared".to_owned()];
    let mut types = |kernel: &str| -> Result<Btf, Failure> {
        let btf = Btf::parse(btf_of(store, kernel)?);
        let btf = btf.with_context(|| format!("the BTF of {kernel} cannot be read")).map_err(bad_input)?;
        if let Some((id, kind)) = btf.stopped_at() {
            notes.push(format!("{kernel}: types from {id} on were not looked at, kind {kind} is not known"));
        }
        Ok(btf)
    };
    let (old, new) = (types(&args.old)?, types(&args.new)?);
    let changes = diff::diff(&old, &new, names.as_ref()).into_iter().map(Into::into).collect();
    let object = args.object.as_ref().map(|path| path.display().to_string());
    let report = KernelDiff { old: args.old.clone(), new: args.new.clone(), object, changes, notes };
    let result = match args.store.output.output {
        Format::Json => json::document(&Document::new("KernelDiff", report))?,
        Format::Table => view::diff(&report, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

/// The BTF of a kernel of the store, or of one in a file.
fn btf_of(store: Option<&str>, kernel: &str) -> Result<Bytes, Failure> {
    if Path::new(kernel).exists() {
        let kernels = kernel::read(&[kernel], Options { modules: false, image: false }).map_err(bad_input)?;
        let mut found = kernels.into_iter().filter_map(|kernel| kernel.btf);
        return match (found.next(), found.next()) {
            (Some(btf), None) => Ok(btf),
            (None, _) => Err(bad_input(anyhow!("{kernel} has no BTF"))),
            (Some(_), Some(_)) => Err(bad_input(anyhow!("{kernel} holds several kernels"))),
        };
    }
    let store = open_existing(store)?;
    match &find(&store, kernel)?[..] {
        [record] => Ok(store.btf(record).map_err(anyhow::Error::from)?),
        records => Err(bad_input(anyhow!("{kernel} means {} kernels of the store", records.len()))),
    }
}

/// The kernels that a selector means: at least one.
pub fn find(store: &Store, selector: &str) -> Result<Vec<Record>, Failure> {
    let listing = store.list().map_err(anyhow::Error::from)?;
    let known: Vec<String> = listing.records.iter().filter_map(|record| record.release.clone()).collect();
    let found: Vec<Record> = listing.records.into_iter().filter(|record| record.is(selector)).collect();
    if found.is_empty() {
        let hint = crate::args::suggest::did_you_mean(selector, known.iter().map(String::as_str));
        return Err(bad_input(anyhow!("the store {} has no kernel {selector}{hint}", store.describe())));
    }
    Ok(found)
}

/// Completes a report with what it says of the store, and writes it.
fn finish(
    store: &Store,
    report: KernelReport,
    output: OutputArgs,
    screen: &Screen,
    view: fn(&KernelReport, &Screen) -> String,
) -> Result<(), Failure> {
    let store_bytes = store.size().map_err(anyhow::Error::from)?;
    let report = KernelReport { store: store.describe(), store_bytes, ..report };
    let result = match output.output {
        Format::Json => json::document(&Document::new("KernelReport", report))?,
        Format::Table => view(&report, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(())
}
