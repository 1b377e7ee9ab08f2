//! A part of the suite that is committed: some of its objects, and of two kernels what these ask for, so that the rules are
//! held against real kernels where no kernel is at hand.
//!
//! Of a kernel are kept the types, options, symbols and tables that have a name which occurs in the engine or in one of the
//! objects. Only objects are taken that are judged on the part as on the whole, and rightly.

mod types;

use crate::accuracy::{self, Prediction};
use crate::predict;
use crate::table::{Tables, Truth, digest};
use btf_catalog::kernel::{Image, Inside, Kernel, Symbols};
use btf_catalog::store::{Directory, Store};
use btf_catalog::{BpfObject, Btf};
use probe_matrix::derive::Offline;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// The kernels, by how their releases begin: the oldest and the newest that the suite is measured on.
const KERNELS: [&str; 2] = ["5.10.", "7.2."];
/// Objects of each class.
const PER_CLASS: usize = 6;
/// Bytes of an object.
const OBJECT_SZ: usize = 4096;
/// The engine, from this crate's manifest: what it asks a kernel for is named there.
const ENGINE: [&str; 2] = ["../../probe-matrix", "../../btf-catalog"];

/// Predicts the objects of a directory on these kernels, and says what the tables of the suite have of them.
pub fn run(directory: &Path, tables: &Tables) -> Result<accuracy::Report, String> {
    let mut truth = suite(tables)?.clone();
    let mut objects = BTreeMap::new();
    for path in listed(directory, "o")? {
        let (bytes, file) = (read(&path)?, path.file_name().unwrap_or_default().to_string_lossy());
        let name = truth.objects.iter().find(|(name, _)| name.ends_with(&format!("/{file}")));
        let (name, measured) = name.ok_or_else(|| format!("{file} is not in the tables"))?;
        if *measured != digest(&bytes) {
            return Err(format!("{file}: not the object that was measured"));
        }
        objects.insert(name.clone(), parse(name, bytes)?);
    }
    let kernels = stored(&store(directory))?;
    let releases: BTreeSet<&str> = kernels.iter().filter_map(|kernel| kernel.release.as_deref()).collect();
    truth.entries.retain(|(object, _), _| objects.contains_key(object));
    for entry in truth.entries.values_mut() {
        entry.outcomes.retain(|release, _| releases.contains(release.as_str()));
    }
    let predictions: Vec<Prediction> = kernels.iter().flat_map(|kernel| all(kernel, &objects)).collect();
    Ok(accuracy::compare(&truth, &predictions))
}

/// Chooses the sample anew from what was measured, and writes it to a directory that is emptied before.
pub fn make(tables: &Tables, kernels: &Path, objects: &Path, to: &Path) -> Result<(), String> {
    let truth = suite(tables)?;
    let mut candidates = BTreeMap::new();
    let mut names = identifiers_of_engine()?;
    for name in truth.objects.keys() {
        let bytes = read(&objects.join(name))?;
        if bytes.len() <= OBJECT_SZ {
            names.extend(identifiers(&bytes));
            candidates.insert(name.clone(), parse(name, bytes)?);
        }
    }
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    let store = store(to);
    for (release, package) in &truth.kernels {
        if KERNELS.iter().any(|kernel| release.starts_with(kernel)) {
            let whole = predict::read_kernel(kernels, release, package)?;
            let part = part(&whole, &names)?;
            store.add(&part).map_err(|error| format!("{release}: {error}"))?;
            let same = same(all(&whole, &candidates), all(&part, &candidates));
            candidates.retain(|name, _| same.contains(name) && measured(truth, name, release));
            let report = accuracy::compare(&only(truth, &candidates, release), &all(&part, &candidates));
            let wrong = |name: &str| report.disagreements.keys().any(|(_, line)| line.starts_with(name));
            candidates.retain(|name, _| !wrong(name));
        }
    }
    for name in spread(candidates.keys()) {
        let file = Path::new(name).file_name().unwrap_or_default();
        write(&to.join(file), &read(&objects.join(name))?)?;
    }
    Ok(())
}

fn suite(tables: &Tables) -> Result<&Truth, String> {
    let found = tables.sets().find(|(set, _)| *set == "suite").map(|(_, truth)| truth);
    found.ok_or_else(|| "there are no tables of the suite".to_owned())
}

/// The kernels of the sample, in a directory of it.
fn store(directory: &Path) -> Store {
    Store::new(Directory::new(directory.join("kernels")))
}

fn stored(store: &Store) -> Result<Vec<Kernel>, String> {
    let records = store.list().map_err(|error| error.to_string())?.records;
    let kernel = |record| store.kernel(record).map_err(|error| error.to_string());
    records.iter().map(kernel).collect()
}

/// What of a kernel has one of these names.
fn part(kernel: &Kernel, names: &HashSet<String>) -> Result<Kernel, String> {
    let missing = |what: &str| format!("{:?} has no {what}", kernel.sources);
    let bytes = kernel.btf.clone().ok_or_else(|| missing("BTF"))?;
    let btf = Btf::parse(bytes).map_err(|error| error.to_string())?;
    let image = kernel.image.as_ref().ok_or_else(|| missing("image"))?;
    let mut config = kernel.config.clone().ok_or_else(|| missing("configuration"))?;
    config.options.retain(|name, _| names.contains(name));
    // A tracepoint's name is in that of its types and functions.
    let wanted = |name: &str| {
        let stem = name.strip_prefix("btf_trace_").unwrap_or(name);
        names.contains(stem) || ["bpf_", "BPF_", "btf_"].iter().any(|prefix| stem.starts_with(prefix))
    };
    let (types, ids) = types::part(&btf, &wanted);
    let symbols = image.symbols.iter().filter(|symbol| wanted(symbol.name));
    let addresses: BTreeSet<u64> = symbols.clone().map(|symbol| symbol.address).collect();
    let mut inside = Inside::read(image, &btf);
    retain(&mut inside.traceable, |address| addresses.contains(address));
    retain(&mut inside.error_injection, |address| addresses.contains(address));
    retain(&mut inside.kprobe_blacklist, |range| addresses.range(range.clone()).next().is_some());
    retain(&mut inside.trace_events, |event| names.contains(&event.name));
    retain(&mut inside.raw_tracepoints, |tracepoint| names.contains(&tracepoint.name));
    for set in inside.id_sets.iter_mut().flatten() {
        set.ids = set.ids.iter().filter_map(|(id, flags)| Some((*ids.get(id)?, *flags))).collect();
    }
    let symbols = symbols.map(|symbol| (symbol.address, symbol.kind, symbol.name));
    Ok(Kernel {
        release: kernel.release.clone(),
        banner: kernel.banner.clone(),
        arch: kernel.arch.clone(),
        build_id: kernel.build_id.clone(),
        btf: Some(types.into()),
        config: Some(config),
        image: Some(Image { symbols: Symbols::from_unsorted(symbols), ..Image::default() }),
        inside: Some(inside),
        ..Kernel::default()
    })
}

fn retain<T>(list: &mut Option<Vec<T>>, keep: impl Fn(&T) -> bool) {
    if let Some(list) = list {
        list.retain(keep);
    }
}

fn all(kernel: &Kernel, objects: &BTreeMap<String, BpfObject>) -> Vec<Prediction> {
    let (release, kernel) = (kernel.release.as_deref().unwrap_or_default(), Offline::new(kernel));
    objects.iter().flat_map(|(name, object)| predict::of_object(&kernel, release, name, object)).collect()
}

/// The objects of which all is predicted the same twice.
fn same(one: Vec<Prediction>, other: Vec<Prediction>) -> BTreeSet<String> {
    let differs = |(one, other): &(Prediction, Prediction)| {
        (one.verdict, one.evidence) != (other.verdict, other.evidence)
    };
    let names = one.iter().map(|prediction| prediction.object.clone()).collect::<BTreeSet<_>>();
    let different: BTreeSet<String> =
        one.into_iter().zip(other).filter(differs).map(|(one, _)| one.object).collect();
    names.difference(&different).cloned().collect()
}

fn measured(truth: &Truth, object: &str, release: &str) -> bool {
    let mut entries =
        truth.entries.range((object.to_owned(), 0)..=(object.to_owned(), usize::MAX)).peekable();
    entries.peek().is_some()
        && entries.all(|(_, entry)| entry.outcomes.get(release).is_some_and(accuracy::counts))
}

/// What the tables have of these objects on one kernel.
fn only(truth: &Truth, objects: &BTreeMap<String, BpfObject>, release: &str) -> Truth {
    let mut truth = truth.clone();
    truth.entries.retain(|(object, _), _| objects.contains_key(object));
    for entry in truth.entries.values_mut() {
        entry.outcomes.retain(|measured, _| measured == release);
    }
    truth
}

/// Some of each class, which is what a file's name begins with.
fn spread<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut classes: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in names {
        let file = name.rsplit('/').next().unwrap_or_default();
        classes.entry(file.split('_').next().unwrap_or_default()).or_default().push(name);
    }
    let some = |names: Vec<&'a String>| {
        let step = names.len().div_ceil(PER_CLASS).max(1);
        names.into_iter().step_by(step)
    };
    classes.into_values().flat_map(some).collect()
}

fn identifiers_of_engine() -> Result<HashSet<String>, String> {
    let mut names = HashSet::new();
    for engine in ENGINE {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(engine);
        for extension in ["rs", "tsv", "toml"] {
            for path in listed(&directory, extension)? {
                names.extend(identifiers(&read(&path)?));
            }
        }
    }
    Ok(names)
}

/// Words of letters, digits and underscores.
fn identifiers(bytes: &[u8]) -> impl Iterator<Item = String> {
    let words = bytes.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    words.filter(|word| word.len() > 2).map(|word| String::from_utf8_lossy(word).into_owned())
}

fn parse(name: &str, bytes: Vec<u8>) -> Result<BpfObject, String> {
    BpfObject::parse(bytes).map_err(|error| format!("{name}: {error}"))
}

fn listed(directory: &Path, extension: &str) -> Result<Vec<std::path::PathBuf>, String> {
    crate::make::files(directory, extension)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}
