//! CO-RE: compile once, run everywhere. Relocates an entry's instructions against the types of a kernel.
//!
//! The rules are libbpf's, since objects are compiled for them (`tools/lib/bpf/relo_core.c` and
//! `bpf_object__relocate_core()` in `libbpf.c`, v6.12); where the two could differ, libbpf is right. Unlike there, the
//! answer to every relocation is kept: a poisoned instruction is only a failure if it can be reached, and that is for
//! others to find out.
//!
//! `externs` answers what an object declares and the kernel or its configuration must define.
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
#[cfg(test)]
mod tests;

pub use candidate::TargetBtf;
pub use externs::{ExternOutcome, KernelSide, KernelSymbol, POISON_KFUNC_BASE, Resolution};
pub use patch::POISON_IMM;
pub use spec::CoreReloKind;

use crate::btf::{Btf, TypeId};
use crate::ext::CoreReloRecord;
use crate::insn::{INSN_SZ, Insn};
use crate::object::{BpfObject, Entry};
use candidate::Candidates;
use matching::Visits;
use resolve::Resolved;
use std::collections::HashMap;

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
    /// The access, as text: `struct task_struct.pid`.
    pub access: String,
    /// What came out.
    pub outcome: ReloOutcome,
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

/// Applies the CO-RE relocations of `entry` against a kernel's types.
///
/// Candidates that one relocation rules out stay ruled out for the later ones of the same local type and entry, as in
/// libbpf, where this state is kept for the whole object; the entries of one object are therefore relocated in order.
pub fn relocate(object: &BpfObject, entry: &Entry, target: &TargetBtf) -> Result<RelocatedEntry, CoreError> {
    Relocator::new(object, target).relocate(entry)
}

/// Relocates the entries of one object; keeps what was learned about candidates between them.
pub struct Relocator<'a> {
    local: Option<&'a Btf>,
    target: &'a TargetBtf,
    candidates: HashMap<TypeId, Candidates>,
    visits: Visits,
}

impl<'a> Relocator<'a> {
    /// For the entries of `object` on a kernel with these types.
    pub fn new(object: &'a BpfObject, target: &'a TargetBtf) -> Relocator<'a> {
        Relocator {
            local: object.btf.as_ref(),
            target,
            candidates: HashMap::new(),
            visits: Visits::default(),
        }
    }

    /// Applies the relocations of one entry.
    pub fn relocate(&mut self, entry: &Entry) -> Result<RelocatedEntry, CoreError> {
        let mut relocated = RelocatedEntry { insns: entry.insns.clone(), outcomes: Vec::new() };
        // Records of .BTF.ext are only read where there is .BTF.
        let Some(local) = self.local else {
            return Ok(relocated);
        };
        for record in &entry.core_relos {
            let answer = self.one(local, record, &mut relocated.insns)?;
            relocated.outcomes.push(answer);
        }
        Ok(relocated)
    }

    fn one(
        &mut self,
        local: &Btf,
        record: &CoreReloRecord,
        insns: &mut [Insn],
    ) -> Result<Relocated, CoreError> {
        let insn_off = record.byte_off as usize / INSN_SZ;
        let access_string = local.string(record.access_str_off);
        let fail = |access: String, what: String| CoreError { insn_off, access, what };
        let raw = || format!("type {} access {access_string:?}", record.type_id);
        let kind = CoreReloKind::from_raw(record.kind)
            .ok_or_else(|| fail(raw(), format!("unknown kind {} of relocation", record.kind)))?;
        let spec =
            spec::parse(local, record.type_id, access_string, kind).map_err(|what| fail(raw(), what))?;
        let access = spec.describe(local);
        let resolved = if kind == CoreReloKind::TypeIdLocal {
            Resolved::local_type_id(record.type_id)
        } else {
            let candidates = self
                .candidates
                .entry(record.type_id)
                .or_insert_with(|| Candidates::find(local, record.type_id, self.target));
            resolve::resolve(local, &spec, candidates, self.target, &mut self.visits)
                .map_err(|what| fail(access.clone(), what))?
        };
        let outcome = match (&resolved.poisoned, kind.is_question()) {
            (Some(why), _) => ReloOutcome::Poisoned(why),
            (None, true) => ReloOutcome::Exists(resolved.new_value != 0),
            (None, false) => ReloOutcome::Value(resolved.new_value),
        };
        let poisoned = patch::patch(insns, insn_off, &resolved).map_err(|what| fail(access.clone(), what))?;
        let outcome = poisoned.map_or(outcome, ReloOutcome::Poisoned);
        Ok(Relocated { insn_off, kind, access, outcome })
    }
}
