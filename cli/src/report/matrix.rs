//! The part of a `ScanReport` that tells on which kernels the programs run.

use super::Summary;
use btf_catalog::BpfObject;
use btf_catalog::reach::Constants;
use probe_matrix::derive::Offline;
use probe_matrix::facts::Evidence;
use probe_matrix::predict::EntryVerdict;
use probe_matrix::verdict::{Reason, Verdict};
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
        self.kernels.push(kernel);
        for (row, entry) in self.rows.iter_mut().zip(verdicts) {
            let overall = entry.overall();
            let verdict = KernelVerdict {
                verdict: overall.verdict,
                load: entry.load.verdict,
                attach: entry.attach.verdict,
                evidence: overall.evidence,
                reasons: overall.reasons,
            };
            let known = row.verdicts.iter().rev().find(|known| ***known == verdict).map(Arc::clone);
            row.verdicts.push(known.unwrap_or_else(|| Arc::new(verdict)));
        }
    }

    /// How many programs that are loaded unasked run on how many kernels, counted by pairs.
    pub fn summary(&self) -> Summary {
        let cells = self.rows.iter().filter(|row| row.autoload).flat_map(|row| &row.verdicts);
        Summary::of(cells.map(|cell| cell.verdict))
    }
}
