//! CO-RE: compile once, run everywhere. Relocates an entry's instructions against the types of a kernel.
//!
//! The rules are libbpf's, since objects are compiled for them (`tools/lib/bpf/relo_core.c` and
//! `bpf_object__relocate_core()` in `libbpf.c`, v6.12); where the two could differ, libbpf is right. Unlike there, the
//! answer to every relocation is kept: a poisoned instruction is only a failure if it can be reached, and that is for
//! others to find out.
//!
//! `answers` remembers: an object reads its accesses once, a kernel answers a question once.
//!
//! `externs` answers what an object declares and the kernel or its configuration must define, `struct_ops` which of the
//! kernel's structures an object's are.
//!
//! `spec` reads an access as the compiler recorded it, `candidate` finds the kernel's types of the same name,
//! `matching` decides whether types and fields agree, `resolve` computes the value, `patch` writes it.

mod answers;
mod candidate;
mod externs;
mod kconfig;
mod matching;
mod patch;
mod resolve;
mod spec;
mod struct_ops;
#[cfg(test)]
pub(crate) mod tests;
mod touched;

pub use answers::Accesses;
pub use candidate::TargetBtf;
pub use externs::{ExternOutcome, KernelSide, KernelSymbol, POISON_KFUNC_BASE, Resolution};
pub use patch::POISON_IMM;
pub use spec::CoreReloKind;
pub use struct_ops::{StructOpsLink, StructOpsOutcome, StructOpsSlot};

use crate::btf::{Btf, TypeId};
use crate::ext::CoreReloRecord;
use crate::insn::{INSN_SZ, Insn};
use crate::object::{BpfObject, Entry};
use answers::{Access, Shape};
use candidate::Candidates;
pub(crate) use matching::Visits;
use resolve::Resolved;
use std::collections::hash_map::{self, HashMap};
use std::sync::{Arc, RwLockReadGuard};
pub(crate) use touched::{Touched, touched};

/// Why an entry could not be relocated at all: the object contradicts itself, or the kernel's types contradict each other.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("relocation of instruction {insn_off} ({access}): {what}")]
pub struct CoreError {
    /// Index of the instruction in the linked entry.
    pub insn_off: usize,
    /// What the relocation is about, as text: `struct task_struct.pid, field_byte_offset`.
    pub access: String,
    /// What is wrong.
    pub what: String,
}

/// The answer to one relocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relocated {
    /// Index of the instruction in the linked entry.
    pub insn_off: usize,
    /// What was asked.
    pub kind: CoreReloKind,
    /// The type of the object that it is about.
    pub ty: TypeId,
    /// The access, as text: `struct task_struct.pid`.
    pub access: Arc<str>,
    /// What came out.
    pub outcome: ReloOutcome,
    /// Where the kernel has types of that name.
    pub found: Found,
}

/// Where the kernel has the types that a relocation may mean. Modules are only looked at where the kernel itself has none:
/// with other modules another answer may come out of anything but [`Found::Kernel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// In the kernel itself, or no type of the kernel was asked for.
    Kernel,
    /// In modules: the first one's index in [`TargetBtf::modules`].
    Module(usize),
    /// In nothing that was looked at.
    Nowhere,
}

/// What came out of one relocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReloOutcome {
    /// An offset, size, shift, type id or enumeration value.
    Value(u64),
    /// The answer to an `exists` or `matches` question.
    Exists(bool),
    /// The kernel has no such type, field or value: the instruction is replaced by one that the verifier rejects if it
    /// can be reached.
    Poisoned(&'static str),
}

/// An entry's instructions with all CO-RE relocations applied, and the answer to each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelocatedEntry {
    /// The instructions; references to maps and externs are still open.
    pub insns: Vec<Insn>,
    /// One answer a relocation, in the order of the instructions.
    pub outcomes: Vec<Relocated>,
}

impl RelocatedEntry {
    /// The relocations that found nothing usable, each with the reason.
    pub fn poisoned(&self) -> impl Iterator<Item = (&Relocated, &'static str)> {
        self.outcomes.iter().filter_map(|relocated| match relocated.outcome {
            ReloOutcome::Poisoned(why) => Some((relocated, why)),
            _ => None,
        })
    }
}

/// Applies the CO-RE relocations of `entry` against a kernel's types, as libbpf does for an object of which this entry
/// alone is loaded.
pub fn relocate(object: &BpfObject, entry: &Entry, target: &TargetBtf) -> Result<RelocatedEntry, CoreError> {
    Relocator::new(object, target).relocate(entry)
}

/// Relocates the entries of one object.
pub struct Relocator<'a> {
    object: &'a BpfObject,
    target: &'a TargetBtf,
    /// Candidates of local types before any relocation ruled some out.
    found: HashMap<TypeId, Candidates>,
    /// Answers that no other relocation has a say in and that are this object's alone, by the record's place in it.
    answers: HashMap<u32, (Resolved, Found)>,
    /// Relocations of `.text` that are not known to succeed whatever entries are relocated.
    text_open: Vec<usize>,
    visits: Visits,
}

/// The answers to an entry's relocations. An entry for which two kernels give equal answers is relocated alike on both.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered(Vec<(Resolved, Found)>);

/// What relocations that are answered together know of each other.
struct Together<'a> {
    local: &'a Btf,
    /// What the kernel's types have answered before.
    known: RwLockReadGuard<'a, HashMap<Shape, (Resolved, Found)>>,
    /// What they answered now.
    learned: Vec<(Shape, (Resolved, Found))>,
    /// Candidates of local types that the relocations before have left.
    narrowed: HashMap<TypeId, Candidates>,
}

/// What came out of one record.
struct Answer {
    ty: TypeId,
    access: Arc<Access>,
    resolved: Resolved,
    found: Found,
    /// Whether no other relocation has a say in it.
    settled: bool,
}

/// Where the answer to a record is to be written.
enum Place {
    /// Entry and relocation of those that are relocated together.
    Entry(usize, usize),
    /// A relocation of `.text`, whether or not an entry reaches it.
    Text(usize),
}

impl<'a> Relocator<'a> {
    /// For the entries of `object` on a kernel with these types.
    pub fn new(object: &'a BpfObject, target: &'a TargetBtf) -> Relocator<'a> {
        Relocator {
            object,
            target,
            found: HashMap::new(),
            answers: HashMap::new(),
            text_open: (0..object.text_relos.len()).collect(),
            visits: Visits::default(),
        }
    }

    /// Applies the relocations of one entry, as if it alone were loaded.
    pub fn relocate(&mut self, entry: &Entry) -> Result<RelocatedEntry, CoreError> {
        let mut relocated = self.relocate_together(&[entry])?;
        Ok(relocated.remove(0))
    }

    /// The answers alone, for [`Relocator::relocate_by`]. `None` where they do not decide how the entry is relocated:
    /// something cannot be answered, or relocations of the object that are not the entry's have a say.
    pub fn answered(&mut self, entry: &Entry) -> Option<Answered> {
        let local = self.object.btf.as_ref().filter(|_| self.text_open.is_empty())?;
        let mut together = Together::new(local, self.target);
        let records = in_order(entry).map(|(_, record)| {
            let answer = self.answer(record, &mut together).ok()?;
            Some((answer.resolved, answer.found))
        });
        let answered = records.collect::<Option<_>>().map(Answered);
        together.learned_by(self.target);
        answered
    }

    /// What [`Relocator::relocate`] makes of an entry that has these answers.
    pub fn relocate_by(&self, entry: &Entry, answered: &Answered) -> Result<RelocatedEntry, CoreError> {
        let mut insns = entry.insns.clone();
        let mut outcomes = vec![None; entry.core_relos.len()];
        let local = self.object.btf.as_ref();
        for ((at, record), &(resolved, found)) in in_order(entry).zip(&answered.0) {
            let insn_off = record.byte_off as usize / INSN_SZ;
            let access = local.map(|local| self.object.accesses.of(self.object, local, record));
            // What was answered could be read.
            let Some(Ok(access)) = access else { continue };
            let answer = Answer { ty: record.type_id, access, resolved, found, settled: true };
            let fail = |what| CoreError { insn_off, access: answer.access.text.to_string(), what };
            let poisoned = patch::patch(&mut insns, insn_off, &resolved).map_err(fail)?;
            outcomes[at] = Some(answer.relocated(insn_off, poisoned));
        }
        Ok(RelocatedEntry { insns, outcomes: outcomes.into_iter().flatten().collect() })
    }

    /// Applies the relocations of entries that are loaded together.
    ///
    /// Relocations are answered in the order of the object's records. Candidates that one of them rules out stay ruled
    /// out for the later ones of the same local type, whichever function they are in; those of `.text` are answered
    /// even where no entry reaches them, and fail all entries if one of them fails.
    pub fn relocate_together(&mut self, entries: &[&Entry]) -> Result<Vec<RelocatedEntry>, CoreError> {
        let mut relocated: Vec<_> = entries
            .iter()
            .map(|entry| RelocatedEntry { insns: entry.insns.clone(), outcomes: Vec::new() })
            .collect();
        // Records of .BTF.ext are only read where there is .BTF.
        let object = self.object;
        let Some(local) = object.btf.as_ref() else {
            return Ok(relocated);
        };
        let mut queue: Vec<(&CoreReloRecord, Place)> = Vec::new();
        queue.extend(self.text_open.iter().map(|at| (&object.text_relos[*at].record, Place::Text(*at))));
        for (index, entry) in entries.iter().enumerate() {
            let relos = entry.core_relos.iter().enumerate();
            queue.extend(relos.map(|(at, record)| (record, Place::Entry(index, at))));
        }
        queue.sort_by_key(|(record, _)| record.order);
        let target = self.target;
        let mut together = Together::new(local, target);
        let mut outcomes: Vec<Vec<_>> =
            entries.iter().map(|entry| vec![None; entry.core_relos.len()]).collect();
        let mut settled = Vec::new();
        let mut last: Option<(u32, Answer)> = None;
        for (record, place) in queue {
            // A function's relocation stands once in .text and once in each entry that reaches the function.
            let answer = match last.take() {
                Some((order, answer)) if order == record.order => answer,
                _ => self.answer(record, &mut together)?,
            };
            let insn_off = record.byte_off as usize / INSN_SZ;
            let fail = |what| CoreError { insn_off, access: answer.access.text.to_string(), what };
            match place {
                Place::Text(at) => {
                    let mut insns = object.text_relos[at].insns;
                    patch::patch(&mut insns, 0, &answer.resolved).map_err(fail)?;
                    if answer.settled {
                        settled.push(at);
                    }
                }
                Place::Entry(index, at) => {
                    let insns = &mut relocated[index].insns;
                    let poisoned = patch::patch(insns, insn_off, &answer.resolved).map_err(fail)?;
                    outcomes[index][at] = Some(answer.relocated(insn_off, poisoned));
                }
            }
            last = Some((record.order, answer));
        }
        together.learned_by(target);
        if !settled.is_empty() {
            self.text_open.retain(|at| !settled.contains(at));
        }
        for (relocated, outcomes) in relocated.iter_mut().zip(outcomes) {
            relocated.outcomes = outcomes.into_iter().flatten().collect();
        }
        Ok(relocated)
    }

    /// The answer to one record.
    fn answer(&mut self, record: &CoreReloRecord, together: &mut Together) -> Result<Answer, CoreError> {
        let local = together.local;
        let insn_off = record.byte_off as usize / INSN_SZ;
        let access = self.object.accesses.of(self.object, local, record);
        let access = access.map_err(|(access, what)| CoreError { insn_off, access, what })?;
        let ty = record.type_id;
        let known = match &access.shape {
            _ if access.kind == CoreReloKind::TypeIdLocal => {
                Some((Resolved::local_type_id(ty), Found::Kernel))
            }
            Some(shape) => together.known.get(shape).copied(),
            None => self.answers.get(&record.order).copied(),
        };
        if let Some((resolved, found)) = known {
            return Ok(Answer { ty, access, resolved, found, settled: true });
        }
        let fail = |what| CoreError { insn_off, access: access.text.to_string(), what };
        let found = match self.found.entry(record.type_id) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(vacant) => {
                let found = Candidates::find(local, record.type_id, self.target);
                self.visits.count_candidates(found.0.len()).map_err(|what| fail(what.to_owned()))?;
                vacant.insert(found)
            }
        };
        let place = match found.0.first().map(|first| first.place.checked_sub(1)) {
            None => Found::Nowhere,
            Some(None) => Found::Kernel,
            Some(Some(module)) => Found::Module(module),
        };
        // Of several, those that this relocation rules out are missing to the next.
        let settled = found.0.len() <= 1;
        let candidates = if settled {
            found
        } else {
            together.narrowed.entry(record.type_id).or_insert_with(|| found.clone())
        };
        let resolved =
            resolve::resolve(local, &access.spec, candidates, self.target, &mut self.visits).map_err(fail)?;
        if settled {
            match &access.shape {
                Some(shape) => together.learned.push((shape.clone(), (resolved, place))),
                None => drop(self.answers.insert(record.order, (resolved, place))),
            }
        }
        Ok(Answer { ty, access, resolved, found: place, settled })
    }
}

/// An entry's relocations in the order of the object's records, each with its place among the entry's.
fn in_order(entry: &Entry) -> impl Iterator<Item = (usize, &CoreReloRecord)> {
    let mut records: Vec<_> = entry.core_relos.iter().enumerate().collect();
    records.sort_by_key(|(_, record)| record.order);
    records.into_iter()
}

impl<'a> Together<'a> {
    fn new(local: &'a Btf, target: &'a TargetBtf) -> Together<'a> {
        Together { local, known: target.answers().read(), learned: Vec::new(), narrowed: HashMap::new() }
    }

    /// Keeps what was learned for whoever asks next.
    fn learned_by(self, target: &TargetBtf) {
        drop(self.known);
        target.answers().learn(self.learned);
    }
}

impl Answer {
    /// As it is told: `poisoned` is what writing it into its instruction came to.
    fn relocated(&self, insn_off: usize, poisoned: Option<&'static str>) -> Relocated {
        let kind = self.access.kind;
        let outcome = match poisoned {
            Some(why) => ReloOutcome::Poisoned(why),
            None if kind.is_question() => ReloOutcome::Exists(self.resolved.new_value != 0),
            None => ReloOutcome::Value(self.resolved.new_value),
        };
        let access = Arc::clone(&self.access.text);
        Relocated { insn_off, kind, ty: self.ty, access, outcome, found: self.found }
    }
}
