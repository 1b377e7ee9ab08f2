//! The part of a `ScanReport` that tells on which kernels the programs run.

use super::Summary;
use btf_catalog::BpfObject;
use btf_catalog::reach::Constants;
use probe_matrix::derive::Offline;
use probe_matrix::facts::Evidence;
use probe_matrix::predict::EntryVerdict;
use probe_matrix::verdict::{Outcome, Reason, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Programs by kernels.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Matrix {
    /// The kernels, as they were given.
    pub kernels: Vec<KernelEntry>,
    /// The programs, in the order of the objects.
    pub rows: Vec<MatrixRow>,
}

/// A kernel, as far as its files tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KernelEntry {
    /// Its release, or the files that it was read from.
    pub name: String,
    /// Its machine, as `uname -m` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Where it was read from.
    pub sources: Vec<String>,
    /// What could not be read of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MatrixRow {
    /// SHA-256 of its object.
    pub object: String,
    /// Name of its function.
    pub program: String,
    /// Name of its section.
    pub section: String,
    /// Whether it is loaded unasked: neither the object nor `--no-autoload` turns that off.
    pub autoload: bool,
    /// Its verdicts, one a kernel. Equal ones are one.
    pub verdicts: Vec<Arc<KernelVerdict>>,
}

/// The verdict on a program on one kernel, decided from files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KernelVerdict {
    /// Whether it runs: the worse of the next two.
    pub verdict: Verdict,
    /// Whether the kernel accepts it.
    pub load: Verdict,
    /// Whether it can then be attached.
    pub attach: Verdict,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// Why it is not `runs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What is taken for granted where it runs on evidence no better than `assumed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumes: Vec<Assumption>,
}

/// Something that a verdict takes for granted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assumption {
    /// What must hold.
    pub requirement: String,
    /// Why the kernel's files do not show that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl KernelVerdict {
    fn of(entry: &EntryVerdict) -> KernelVerdict {
        let overall = entry.overall();
        let taken = overall.verdict == Verdict::Runs && overall.evidence == Evidence::Assumed;
        let assumed = entry
            .checks
            .iter()
            .filter(|check| taken && check.outcome == Outcome::Pass && check.evidence == Evidence::Assumed);
        let assumes = assumed
            .map(|check| Assumption { requirement: check.requirement.clone(), why: check.detail.clone() })
            .collect();
        KernelVerdict {
            verdict: overall.verdict,
            load: entry.load.verdict,
            attach: entry.attach.verdict,
            evidence: overall.evidence,
            reasons: overall.reasons,
            assumes,
        }
    }
}

impl KernelEntry {
    /// What is told of a kernel beside the verdicts.
    pub fn of(kernel: &Offline) -> KernelEntry {
        let about = kernel.kernel();
        KernelEntry {
            name: about.release.clone().unwrap_or_else(|| about.sources.join(", ")),
            arch: about.arch.clone(),
            sources: about.sources.clone(),
            notes: kernel.notes(),
        }
    }
}

impl Matrix {
    /// The programs of these objects by digest, not judged yet.
    pub fn new<'a>(objects: impl Iterator<Item = (&'a str, &'a (BpfObject, Constants))>) -> Matrix {
        let rows = objects.flat_map(|(digest, (object, constants))| {
            object.entries.iter().map(move |entry| MatrixRow {
                object: digest.to_owned(),
                program: entry.name.clone(),
                section: entry.section.clone(),
                autoload: constants.loads(entry),
                verdicts: Vec::new(),
            })
        });
        Matrix { kernels: Vec::new(), rows: rows.collect() }
    }

    /// Adds a kernel with the verdicts on all entries of all objects, in their order.
    pub fn judge(&mut self, kernel: KernelEntry, verdicts: &[Arc<EntryVerdict>]) {
        self.add(kernel, verdicts.iter().map(|entry| Arc::new(KernelVerdict::of(entry))));
    }

    /// Adds a kernel with verdicts that were given before.
    pub fn add(&mut self, kernel: KernelEntry, verdicts: impl IntoIterator<Item = Arc<KernelVerdict>>) {
        self.kernels.push(kernel);
        for (row, verdict) in self.rows.iter_mut().zip(verdicts) {
            let known = row.verdicts.iter().rev().find(|known| **known == verdict).map(Arc::clone);
            row.verdicts.push(known.unwrap_or(verdict));
        }
    }

    /// How many programs that are loaded unasked run on how many kernels, counted by pairs.
    pub fn summary(&self) -> Summary {
        Summary::of(self.cells().map(|cell| cell.verdict))
    }

    /// The verdicts on programs that are loaded unasked.
    pub fn cells(&self) -> impl Iterator<Item = &KernelVerdict> {
        self.rows.iter().filter(|row| row.autoload).flat_map(|row| &row.verdicts).map(AsRef::as_ref)
    }
}
