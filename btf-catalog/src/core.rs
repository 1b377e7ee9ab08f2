//! CO-RE: compile once, run everywhere. Relocates an entry's instructions against the types of a kernel.
//!
//! The rules are libbpf's, since objects are compiled for them (`tools/lib/bpf/relo_core.c` and
//! `bpf_object__relocate_core()` in `libbpf.c`, v6.12); where the two could differ, libbpf is right. Unlike there, the
//! answer to every relocation is kept: a poisoned instruction is only a failure if it can be reached, and that is for
//! others to find out.
//!
//! `externs` answers what an object declares and the kernel or its configuration must define, `struct_ops` which of the
//! kernel's structures an object's are.
//!
//! `spec` reads an access as the compiler recorded it, `candidate` finds the kernel's types of the same name,
//! `matching` decides whether types and fields agree, `resolve` computes the value, `patch` writes it.

mod candidate;
mod externs;
mod kconfig;
mod matching;
mod patch;
mod resolve;
mod spec;
mod struct_ops;
#[cfg(test)]
mod tests;
mod touched;

pub use candidate::TargetBtf;
pub use externs::{ExternOutcome, KernelSide, KernelSymbol, POISON_KFUNC_BASE, Resolution};
pub use patch::POISON_IMM;
pub use spec::CoreReloKind;
pub use struct_ops::{StructOpsLink, StructOpsOutcome, StructOpsSlot};

use crate::btf::{Btf, TypeId};
use crate::ext::CoreReloRecord;
use crate::insn::{INSN_SZ, Insn};
use crate::object::{BpfObject, Entry};
use candidate::Candidates;
pub(crate) use matching::Visits;
use resolve::Resolved;
use std::collections::hash_map::{self, HashMap};
pub(crate) use touched::{Touched, touched};

/// Why an entry could not be relocated at all: the object contradicts itself, or the kernel's types contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
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
    pub access: String,
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
    /// Answers that no other relocation has a say in, by the record's place in the object.
    answers: HashMap<u32, Answer>,
    /// Relocations of `.text` that are not known to succeed whatever entries are relocated.
    text_open: Vec<usize>,
    visits: Visits,
}

/// What a record asks and what came out, before it is written into an instruction.
#[derive(Clone)]
struct Answer {
    kind: CoreReloKind,
    ty: TypeId,
    access: String,
    resolved: Resolved,
    found: Found,
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
        let mut queue: Vec<(CoreReloRecord, Place)> = Vec::new();
        queue.extend(self.text_open.iter().map(|at| (object.text_relos[*at].record, Place::Text(*at))));
        for (index, entry) in entries.iter().enumerate() {
            let relos = entry.core_relos.iter().enumerate();
            queue.extend(relos.map(|(at, record)| (*record, Place::Entry(index, at))));
        }
        queue.sort_by_key(|(record, _)| record.order);
        let mut narrowed = HashMap::new();
        let mut outcomes: Vec<Vec<_>> =
            entries.iter().map(|entry| vec![None; entry.core_relos.len()]).collect();
        let mut last: Option<(u32, Answer)> = None;
        for (record, place) in queue {
            // A function's relocation stands once in .text and once in each entry that reaches the function.
            let answer = match last.take() {
                Some((order, answer)) if order == record.order => answer,
                _ => self.answer(local, &record, &mut narrowed)?,
            };
            let insn_off = record.byte_off as usize / INSN_SZ;
            let fail = |what| CoreError { insn_off, access: answer.access.clone(), what };
            match place {
                Place::Text(at) => {
                    let mut insns = object.text_relos[at].insns;
                    patch::patch(&mut insns, 0, &answer.resolved).map_err(fail)?;
                }
                Place::Entry(index, at) => {
                    let insns = &mut relocated[index].insns;
                    let poisoned = patch::patch(insns, insn_off, &answer.resolved).map_err(fail)?;
                    outcomes[index][at] = Some(answer.relocated(insn_off, poisoned));
                }
            }
            last = Some((record.order, answer));
        }
        self.text_open.retain(|at| !self.answers.contains_key(&object.text_relos[*at].record.order));
        for (relocated, outcomes) in relocated.iter_mut().zip(outcomes) {
            relocated.outcomes = outcomes.into_iter().flatten().collect();
        }
        Ok(relocated)
    }

    /// The answer to one record; `narrowed` are the candidates that the relocations before it have left.
    fn answer(
        &mut self,
        local: &Btf,
        record: &CoreReloRecord,
        narrowed: &mut HashMap<TypeId, Candidates>,
    ) -> Result<Answer, CoreError> {
        if let Some(answer) = self.answers.get(&record.order) {
            return Ok(answer.clone());
        }
        let insn_off = record.byte_off as usize / INSN_SZ;
        let access_string = local.string(record.access_str_off);
        let fail = |access: String, what: String| CoreError { insn_off, access, what };
        let raw = || format!("type {} access {access_string:?}", record.type_id);
        let kind = CoreReloKind::from_raw(record.kind)
            .ok_or_else(|| fail(raw(), format!("unknown kind {} of relocation", record.kind)))?;
        let spec =
            spec::parse(local, record.type_id, access_string, kind).map_err(|what| fail(raw(), what))?;
        let access = spec.describe(local);
        if kind == CoreReloKind::TypeIdLocal {
            let resolved = Resolved::local_type_id(record.type_id);
            return Ok(Answer { kind, ty: record.type_id, access, resolved, found: Found::Kernel });
        }
        let found = match self.found.entry(record.type_id) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(vacant) => {
                let found = Candidates::find(local, record.type_id, self.target);
                self.visits
                    .count_candidates(found.0.len())
                    .map_err(|what| fail(access.clone(), what.to_owned()))?;
                vacant.insert(found)
            }
        };
        let place = match found.0.first().map(|first| first.place.checked_sub(1)) {
            None => Found::Nowhere,
            Some(None) => Found::Kernel,
            Some(Some(module)) => Found::Module(module),
        };
        // Of several, those that this relocation rules out are missing to the next.
        let alone = found.0.len() <= 1;
        let candidates =
            if alone { found } else { narrowed.entry(record.type_id).or_insert_with(|| found.clone()) };
        let resolved = resolve::resolve(local, &spec, candidates, self.target, &mut self.visits)
            .map_err(|what| fail(access.clone(), what))?;
        let answer = Answer { kind, ty: record.type_id, access, resolved, found: place };
        if alone {
            self.answers.insert(record.order, answer.clone());
        }
        Ok(answer)
    }
}

impl Answer {
    /// As it is told: `poisoned` is what writing it into its instruction came to.
    fn relocated(&self, insn_off: usize, poisoned: Option<&'static str>) -> Relocated {
        let outcome = match poisoned {
            Some(why) => ReloOutcome::Poisoned(why),
            None if self.kind.is_question() => ReloOutcome::Exists(self.resolved.new_value != 0),
            None => ReloOutcome::Value(self.resolved.new_value),
        };
        Relocated {
            insn_off,
            kind: self.kind,
            ty: self.ty,
            access: self.access.clone(),
            outcome,
            found: self.found,
        }
    }
}
