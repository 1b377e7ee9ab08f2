//! What scans of a store found out before: verdicts that are read again instead of decided again.
//!
//! A verdict is kept under all that it depends on: this program (its rules), the object, what its loader sets, and all
//! that the store keeps of the kernel. Where all objects are known on a kernel, nothing of it is restored.

use crate::report::matrix::{KernelEntry, KernelVerdict, Matrix};
use btf_catalog::BpfObject;
use btf_catalog::reach::Constants;
use btf_catalog::store::{Answers, Digest, Record, Store, StoreError};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// What is known of these objects on the kernels of a store.
pub(super) struct Remembered<'a> {
    store: &'a Store,
    /// What is told of the kernels themselves.
    kernels: Asked,
    /// The objects, in their order.
    objects: Vec<Asked>,
}

/// A question, with the answers that were there and those that were found out since.
struct Asked {
    question: Digest,
    /// How many programs an answer is about.
    programs: usize,
    known: Answers,
    learned: Answers,
}

impl Asked {
    fn read(store: &Store, about: &[&str], programs: usize) -> Result<Asked, StoreError> {
        let question = Digest::of(about.join("\n").as_bytes());
        Ok(Asked { known: store.answers(&question)?, question, programs, learned: Answers::default() })
    }

    fn get<T: DeserializeOwned>(&self, subject: &Digest) -> Option<T> {
        serde_json::from_str(self.known.get(subject.as_str())?).ok()
    }

    fn learn(&mut self, subject: &Digest, answer: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(answer) {
            self.learned.insert(subject.as_str(), &text);
        }
    }
}

impl<'a> Remembered<'a> {
    /// What the store knows of these objects, each with its digest. `None` where this program cannot tell itself from
    /// others that have other rules, or the store cannot be asked.
    pub(super) fn of(
        store: &'a Store,
        objects: &[(String, &(BpfObject, Constants))],
    ) -> Option<Remembered<'a>> {
        let program = Digest::of(&std::fs::read("/proc/self/exe").ok()?);
        let asked = |(digest, (object, constants)): &(String, &(BpfObject, Constants))| {
            let set = format!("{constants:?}");
            Asked::read(store, &["verdicts", program.as_str(), digest, &set], object.entries.len())
        };
        Some(Remembered {
            store,
            kernels: Asked::read(store, &["kernels", program.as_str()], 0).ok()?,
            objects: objects.iter().map(asked).collect::<Result<_, _>>().ok()?,
        })
    }

    /// The kernel with the verdicts on all programs, if all of them are known.
    pub(super) fn on(&self, record: &Record) -> Option<(KernelEntry, Vec<Arc<KernelVerdict>>)> {
        let subject = record.content();
        let kernel = self.kernels.get(&subject)?;
        let mut verdicts = Vec::new();
        for object in &self.objects {
            let of_object: Vec<Arc<KernelVerdict>> = object.get(&subject)?;
            if of_object.len() != object.programs {
                return None;
            }
            verdicts.extend(of_object);
        }
        Some((kernel, verdicts))
    }

    /// Takes the verdicts on the kernel that was added to the matrix last.
    pub(super) fn learn(&mut self, record: &Record, matrix: &Matrix) {
        let (Some(kernel), subject) = (matrix.kernels.last(), record.content()) else { return };
        self.kernels.learn(&subject, kernel);
        let mut rows = matrix.rows.iter().filter_map(|row| row.verdicts.last());
        for object in &mut self.objects {
            let verdicts: Vec<_> = rows.by_ref().take(object.programs).collect();
            object.learn(&subject, &verdicts);
        }
    }

    /// Writes what was found out to the store. A store that nothing can be written to is asked in vain the next time,
    /// which changes no verdict.
    pub(super) fn keep(self) {
        for asked in self.objects.iter().chain([&self.kernels]) {
            if asked.learned.counts().0 > 0 && self.store.remember(&asked.question, &asked.learned).is_err() {
                return;
            }
        }
    }
}
