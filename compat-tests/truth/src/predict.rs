//! Predictions for everything that the truth was measured of, made from the same packages and objects.

use crate::accuracy::Prediction;
use crate::table::Tables;
use btf_catalog::BpfObject;
use btf_catalog::kernel::{self, Kernel};
use probe_matrix::derive::Offline;
use probe_matrix::predict::{EntryVerdict, Options, predict};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads, each of which holds one kernel: 150 MB with the image's symbols.
const THREADS: usize = 2;

/// Predicts what loading does in the micro-VM, which has the kernel and none of its modules.
///
/// Kernels are looked for in `kernels` by their packages' names, objects in `objects` by the tables'. What is not there,
/// or is not the same file as was measured, is an error: half an accuracy would be none.
pub fn run(tables: &Tables, kernels: &Path, objects: &Path) -> Result<Vec<Prediction>, String> {
    let objects = read_objects(tables, objects)?;
    let packages: BTreeMap<_, _> = tables.sets().flat_map(|(_, truth)| &truth.kernels).collect();
    let packages: Vec<_> = packages.into_iter().collect();
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Ok(Vec::new())));
    let work = || {
        while let Some((release, package)) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let of_kernel =
                read_kernel(kernels, release, package).map(|kernel| all(&kernel, release, &objects));
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            match (of_kernel, made.as_mut()) {
                (Ok(more), Ok(all)) => all.extend(more),
                (Err(error), _) => *made = Err(error),
                (Ok(_), Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    made.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// An object and the kernels that it was measured on.
struct Measured {
    name: String,
    object: BpfObject,
    releases: BTreeSet<String>,
}

fn read_objects(tables: &Tables, directory: &Path) -> Result<Vec<Measured>, String> {
    let mut objects = Vec::new();
    for (_, truth) in tables.sets() {
        let mut measured: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for ((object, _), entry) in &truth.entries {
            measured.entry(object).or_default().extend(entry.outcomes.keys().cloned());
        }
        for (name, digest) in &truth.objects {
            let Some(releases) = measured.remove(name.as_str()).filter(|releases| !releases.is_empty())
            else {
                continue;
            };
            let path = directory.join(name);
            let bytes = std::fs::read(&path)
                .map_err(|error| format!("{}: {error}; run `cargo xtask objects`", path.display()))?;
            if crate::table::digest(&bytes) != *digest {
                return Err(format!("{}: not the object that was measured", path.display()));
            }
            // One that libbpf does not open either has no entries.
            if let Ok(object) = BpfObject::parse(bytes) {
                objects.push(Measured { name: name.clone(), object, releases });
            }
        }
    }
    Ok(objects)
}

/// The kernel of a release, from its package in `directory` and what belongs to it.
pub(crate) fn read_kernel(directory: &Path, release: &str, package: &str) -> Result<Kernel, String> {
    let base = package.replace("linux-binary-", "linux-base-");
    let names: BTreeSet<&str> = [package, &base].into();
    let paths = names.into_iter().map(|name| directory.join(name)).filter(|path| path.is_file());
    let paths: Vec<_> = paths.collect();
    if paths.is_empty() {
        return Err(format!("{package} is not in {}; run `cargo xtask kernels`", directory.display()));
    }
    let wanted = kernel::Options { modules: false, image: true };
    let found = kernel::read(&paths, wanted).map_err(|error| format!("{package}: {error}"))?;
    let mut found = found.into_iter().filter(|kernel| kernel.release.as_deref() == Some(release));
    found.next().ok_or_else(|| format!("{package}: no kernel {release} in it"))
}

fn all(kernel: &Kernel, release: &str, objects: &[Measured]) -> Vec<Prediction> {
    let kernel = Offline::new(kernel);
    let objects = objects.iter().filter(|measured| measured.releases.contains(release));
    objects.flat_map(|measured| of_object(&kernel, release, &measured.name, &measured.object)).collect()
}

/// What loading does with each entry of an object on a node without modules.
pub(crate) fn of_object(kernel: &Offline, release: &str, name: &str, object: &BpfObject) -> Vec<Prediction> {
    let options = Options { loaded_modules: Some(BTreeSet::new()), ..Options::default() };
    let entries = predict(object, kernel, &options).into_iter();
    entries.map(|entry| prediction(name, release, entry)).collect()
}

fn prediction(object: &str, release: &str, entry: EntryVerdict) -> Prediction {
    let reasons = entry.load.reasons.iter();
    Prediction {
        object: object.to_owned(),
        kernel: release.to_owned(),
        verdict: entry.load.verdict,
        evidence: entry.load.evidence,
        reasons: reasons.map(|reason| format!("{} {}", reason.code, reason.message)).collect(),
        program: entry.program,
    }
}
