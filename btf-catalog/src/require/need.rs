//! What an entry's instructions need, one by one: what, where in the source, and how surely the verifier comes there.

use super::insns::IsaFeature;
use crate::core::{POISON_IMM, POISON_KFUNC_BASE};
use crate::insn::{CALL, INSN_SZ, Insn, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL};
use crate::object::{BpfObject, Entry, ExternKind};
use crate::reach::{ContextAccess, Reach, Walk, slots};
use crate::uapi::{HelperId, ProgType};
use std::collections::BTreeMap;
use std::fmt;

/// One thing that instructions need.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Needed {
    /// A helper.
    Helper(HelperId),
    /// A kernel function, by the name the object declares.
    Kfunc(String),
    /// A kernel function that was declared weak and is missing: the verifier refuses the call.
    MissingKfunc(String),
    /// A kernel variable.
    Ksym(String),
    /// A configuration value.
    Kconfig(String),
    /// A map, as index into [`BpfObject::maps`].
    Map(usize),
    /// A part of the instruction set.
    Isa(IsaFeature),
    /// A function of the entry's own, verified with its callers.
    Subprogram(String),
    /// A function of the entry's own, verified by itself.
    GlobalFunction(String),
    /// A function of the entry's own whose address is taken, to be called back.
    Callback(String),
    /// `bpf_tail_call()`.
    TailCall,
    /// An argument of the traced function or tracepoint, counted from 0.
    Argument(u32),
    /// An access of the context.
    Context {
        /// Bytes from its beginning.
        off: i32,
        /// Bytes that are accessed.
        byte_sz: u32,
        /// Whether it writes.
        write: bool,
    },
}

/// Where a need first shows, at the place that is reached most surely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// What is needed.
    pub what: Needed,
    /// How surely the verifier comes there.
    pub walk: Walk,
    /// Index of the instruction.
    pub insn_off: usize,
    /// Its source line, where the object has it.
    pub line: Option<SourceLine>,
}

/// A line of source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    /// File as the compiler recorded it.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted from 1; 0 if it was not recorded.
    pub column: u32,
    /// Text of the line; empty if it was not recorded.
    pub text: String,
}

impl fmt::Display for SourceLine {
    /// The file's last component and the line: `foo.bpf.c:42`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.rsplit('/').next().unwrap_or_default(), self.line)
    }
}

/// The source line of an instruction of a linked entry.
pub fn source_line(object: &BpfObject, entry: &Entry, insn_off: usize) -> Option<SourceLine> {
    let btf = object.btf.as_ref()?;
    let byte_off = (insn_off * INSN_SZ) as u32;
    let after = entry.lines.partition_point(|line| line.byte_off <= byte_off);
    let record = entry.lines.get(after.checked_sub(1)?)?;
    // A line of the function before says nothing about this one.
    let function =
        entry.functions.partition_point(|function| function.insn_off <= insn_off).checked_sub(1)?;
    if (record.byte_off as usize) < entry.functions[function].insn_off * INSN_SZ {
        return None;
    }
    Some(SourceLine {
        file: btf.string(record.file_name_off).to_owned(),
        line: record.line_col >> 10,
        column: record.line_col & 0x3ff,
        text: btf.string(record.line_off).trim().to_owned(),
    })
}

/// What `insns`, the instructions of `entry` once relocated, need; without what the verifier never comes to.
///
/// With no `reach` every instruction counts as perhaps reached, and the context is not followed.
pub fn needs(object: &BpfObject, entry: &Entry, insns: &[Insn], reach: Option<&Reach>) -> Vec<Need> {
    let mut found: BTreeMap<Needed, (Walk, usize)> = BTreeMap::new();
    let walk_of = |at: usize| reach.map_or(Walk::May, |reach| reach.walk(at));
    let mut note = |what: Needed, walk: Walk, at: usize| {
        if walk == Walk::Never {
            return;
        }
        let first = found.entry(what).or_insert((walk, at));
        if (walk, std::cmp::Reverse(at)) > (first.0, std::cmp::Reverse(first.1)) {
            *first = (walk, at);
        }
    };
    for (at, insn) in slots(insns) {
        let walk = walk_of(at);
        if let Some(feature) = IsaFeature::of(insn) {
            // Unknown operation codes are refused wherever they stand (`resolve_pseudo_ldimm64()`).
            let everywhere = reach.is_some() && IsaFeature::at_sight(insn).is_some();
            note(Needed::Isa(feature), if everywhere { Walk::Sure } else { walk }, at);
        }
        let called = usize::try_from(at as i64 + 1 + i64::from(insn.imm)).ok();
        let function = || entry.functions.iter().find(|function| Some(function.insn_off) == called);
        match (insn.code, insn.src) {
            (CALL, 0) if is_poison(insn) => {
                let ext = insn.imm.checked_sub(POISON_KFUNC_BASE).and_then(|ext| usize::try_from(ext).ok());
                if let Some(ext) = ext.and_then(|ext| object.externs.get(ext)) {
                    note(Needed::MissingKfunc(ext.name.clone()), walk, at);
                }
            }
            (CALL, 0) => {
                let helper = HelperId(insn.imm as u32);
                note(Needed::Helper(helper), walk, at);
                if helper.name() == Some("tail_call") {
                    note(Needed::TailCall, walk, at);
                }
            }
            (CALL, PSEUDO_CALL) => {
                if let Some(function) = function() {
                    let name = function.name.clone();
                    let what =
                        if function.global { Needed::GlobalFunction(name) } else { Needed::Subprogram(name) };
                    note(what, walk, at);
                }
            }
            (_, PSEUDO_FUNC) if insn.is_ld_imm64() => {
                if let Some(function) = function() {
                    note(Needed::Callback(function.name.clone()), walk, at);
                }
            }
            _ => {}
        }
    }
    for reference in &entry.map_refs {
        note(Needed::Map(reference.map), walk_of(reference.insn_off), reference.insn_off);
    }
    for reference in &entry.extern_refs {
        let (at, ext) = (reference.insn_off, &object.externs[reference.ext]);
        let what = match ext.kind {
            ExternKind::Kconfig => Needed::Kconfig(ext.name.clone()),
            ExternKind::Ksym => Needed::Ksym(ext.name.clone()),
            ExternKind::Kfunc if insns.get(at).is_some_and(|insn| insn.src == PSEUDO_KFUNC_CALL) => {
                Needed::Kfunc(ext.name.clone())
            }
            // The call of a missing function, noted above, or its address.
            ExternKind::Kfunc => continue,
        };
        note(what, walk_of(at), at);
    }
    let by_argument = reads_arguments(entry);
    for access in reach.iter().flat_map(|reach| &reach.context) {
        let walk = walk_of(access.insn_off);
        let ContextAccess { off: Some(off), byte_sz, write, .. } = *access else { continue };
        note(Needed::Context { off, byte_sz, write }, walk, access.insn_off);
        if let (true, Ok(off)) = (by_argument, u32::try_from(off)) {
            note(Needed::Argument(off / 8), walk, access.insn_off);
        }
    }
    let place =
        |(what, (walk, insn_off))| Need { what, walk, insn_off, line: source_line(object, entry, insn_off) };
    found.into_iter().map(place).collect()
}

/// Whether the context is an array of arguments, 8 bytes each.
fn reads_arguments(entry: &Entry) -> bool {
    let prog_type = entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
    let arrays =
        [ProgType::TRACING, ProgType::LSM, ProgType::RAW_TRACEPOINT, ProgType::RAW_TRACEPOINT_WRITABLE];
    // An iterator's context is a struct of its own.
    arrays.contains(&prog_type) && entry.kind.as_ref().is_some_and(|kind| !kind.prefix.starts_with("iter"))
}

/// Whether a call stands for something that relocation did not find, and for no helper.
fn is_poison(insn: Insn) -> bool {
    insn.imm >= POISON_IMM
}
