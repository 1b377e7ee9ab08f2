//! Which instructions of an entry the verifier walks, once relocations, configuration and constants are known.
//!
//! A program may carry code for kernels that it does not run on, behind a test of something that is constant when it is
//! loaded: `bpf_core_field_exists()`, the value of an enumerator, a configuration extern, the kernel's version, a
//! `const volatile` in `.rodata`. The verifier follows the branches that can be taken and never looks at the others. So
//! must whoever judges the program without a kernel.
//!
//! [`reach`] walks an entry as the verifier does, and has three answers for an instruction ([`Walk`]). `Never` and `Sure`
//! are only given where every verifier since v5.10 agrees, so knowledge is kept with two marks: *soft*, what some
//! verifiers do not know (a branch that it decides is walked on both sides, one of them perhaps), and *vague*, what the
//! verifier may know better (a branch that it does not decide is walked on both sides perhaps). Kernels differ in this:
//!
//! - values of frozen `BPF_F_RDONLY_PROG` maps (`.rodata`, `.kconfig`) are constants since v5.5 (`bpf_map_direct_read()`);
//! - 32-bit jumps are decided by bounds since v5.7 (`is_branch32_taken()`), by constants since v5.1;
//! - numbers spilled to the stack in less than 8 bytes are followed since v5.16, immediates stored there since v6.8;
//! - copies of a number learn from a test of one of them since v5.11 (`find_equal_scalars()`);
//! - two ranges are compared since v6.8; before, one side must be a constant;
//! - a global function that nothing calls is verified before v6.8 and not since;
//! - a loader without CAP_PERFMON has the verifier also walk the branches that a processor might speculate into
//!   (`sanitize_speculative_path()`, v5.13): nothing is `Never` there.
//!
//! Ways through a program multiply. At each place where they meet a few states are kept apart, as the verifier does;
//! beyond that they are joined, and what differs between them becomes vague. What every way from a walked instruction to
//! the end passes is walked as well.

mod explore;
mod flow;
mod returned;
pub(crate) mod scalar;
mod state;
#[cfg(test)]
mod tests;
mod transfer;

pub use flow::{broken_flow, without_end};
pub(crate) use flow::{falls_into_loop, live_registers, meeting_points, slots, successors};
pub use returned::Returned;
pub(crate) use transfer::{access_sz, number};

use crate::btf::{Btf, BtfKind};
use crate::core::{Relocated, RelocatedEntry, Resolution};
use crate::insn::{CALL, INSN_SZ, Insn, PSEUDO_KFUNC_CALL};
use crate::object::{BpfObject, Entry, ExternKind};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Whether the verifier walks an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Walk {
    /// Surely not.
    Never,
    /// Perhaps.
    May,
    /// Surely, unless it refuses the program before it comes there.
    Sure,
}

/// What is constant when an object is loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Constants {
    /// The value of each of the object's frozen maps, by index into [`BpfObject::maps`].
    pub maps: BTreeMap<usize, Bytes>,
    /// What the kernel made of the object's externs; without it they are unknown.
    pub externs: Option<Resolution>,
    /// Entries that the loader leaves out.
    pub no_autoload: BTreeSet<String>,
    /// Whether the kernel also verifies global functions that nothing calls, as before v6.8; `None` if that is not known.
    pub verifies_uncalled: Option<bool>,
}

/// Why a constant cannot be set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstantError {
    /// No constant variable has that name.
    #[error("no variable {name} in read-only data; there are: {known}")]
    NoVariable {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The value does not read as the variable's type.
    #[error("value {value:?} for {name}: {what}")]
    Value {
        /// The variable.
        name: String,
        /// The value that was given.
        value: String,
        /// Why it does not fit.
        what: String,
    },
    /// No entry has that name.
    #[error("no entry {name}; there are: {known}")]
    NoEntry {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Constants {
    /// What the object itself says: its `.rodata` as the compiler left it, every extern unknown.
    pub fn of(object: &BpfObject) -> Constants {
        let frozen = object.maps.iter().enumerate().filter(|(_, map)| map.frozen);
        let maps = frozen.filter_map(|(index, map)| Some((index, map.data.clone()?))).collect();
        Constants { maps, ..Constants::default() }
    }

    /// Sets a `const volatile` variable, as a loader does before it loads. `value` is a number (decimal, `0x…`,
    /// negative), `true`, `false`, or a text in double quotes for an array of characters.
    pub fn set_rodata(&mut self, object: &BpfObject, name: &str, value: &str) -> Result<(), ConstantError> {
        let variables = || object.btf.iter().flat_map(|btf| rodata_variables(object, btf));
        let Some((_, map, off, byte_sz, text)) = variables().find(|(known, ..)| *known == name) else {
            let known = variables().map(|(name, ..)| name).collect();
            return Err(ConstantError::NoVariable { name: name.to_owned(), known: listed(known) });
        };
        let bytes = constant_bytes(value, byte_sz, text, object.big_endian)
            .map_err(|what| ConstantError::Value { name: name.to_owned(), value: value.to_owned(), what })?;
        let Some(data) = self.maps.get_mut(&map) else { return Ok(()) };
        let mut all = data.to_vec();
        if let Some(place) = all.get_mut(off..off + byte_sz) {
            place.copy_from_slice(&bytes);
        }
        *data = all.into();
        Ok(())
    }

    /// Leaves an entry out, as a loader does that turns its loading off.
    pub fn leave_out(&mut self, object: &BpfObject, entry: &str) -> Result<(), ConstantError> {
        if object.entries.iter().all(|known| known.name != entry) {
            let known = object.entries.iter().map(|entry| entry.name.as_str()).collect();
            return Err(ConstantError::NoEntry { name: entry.to_owned(), known: listed(known) });
        }
        self.no_autoload.insert(entry.to_owned());
        Ok(())
    }

    /// Whether the loader loads this entry.
    pub fn loads(&self, entry: &Entry) -> bool {
        entry.autoload && !self.no_autoload.contains(&entry.name)
    }
}

fn listed(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `(name, map, offset, bytes, whether an array of characters)` of every variable in read-only data.
fn rodata_variables<'a>(
    object: &'a BpfObject,
    btf: &'a Btf,
) -> impl Iterator<Item = (&'a str, usize, usize, usize, bool)> {
    object.maps.iter().enumerate().filter(|(_, map)| map.frozen).flat_map(move |(index, map)| {
        let section = map.value_type.map(|id| btf.ty(id));
        section.into_iter().flat_map(crate::btf::Type::secinfos).map(move |(var, off, byte_sz)| {
            let var = btf.ty(var);
            let array = btf.resolve(var.type_id()).array();
            let text = array.is_some_and(|array| {
                let elem = btf.resolve(array.elem);
                elem.kind() == BtfKind::Int && elem.size() == 1
            });
            (var.name(), index, off as usize, byte_sz as usize, text)
        })
    })
}

fn constant_bytes(value: &str, byte_sz: usize, text: bool, big_endian: bool) -> Result<Vec<u8>, String> {
    if let Some(quoted) = value.strip_prefix('"') {
        let content = quoted.strip_suffix('"').ok_or("the closing quote is missing")?;
        if !text {
            return Err("the variable is not an array of characters".to_owned());
        }
        if content.len() >= byte_sz {
            return Err(format!("{} bytes and a NUL do not fit into {byte_sz}", content.len()));
        }
        let mut bytes = content.as_bytes().to_vec();
        bytes.resize(byte_sz, 0);
        return Ok(bytes);
    }
    if text {
        return Err("an array of characters takes a text in double quotes".to_owned());
    }
    if !matches!(byte_sz, 1 | 2 | 4 | 8) {
        return Err(format!("the variable has {byte_sz} bytes, which is no number"));
    }
    let (negative, digits) = value.strip_prefix('-').map_or((false, value), |rest| (true, rest));
    let number = match (value, digits.strip_prefix("0x")) {
        ("true", _) => Ok(1),
        ("false", _) => Ok(0),
        (_, Some(hex)) => u64::from_str_radix(hex, 16),
        _ => digits.parse(),
    }
    .map_err(|_| "not a number, true, false or a text in double quotes".to_owned())?;
    let bits = 8 * byte_sz as u32;
    let fits = if negative { number <= 1 << (bits - 1) } else { bits == 64 || number >> bits == 0 };
    if !fits {
        return Err(format!("does not fit into {byte_sz} bytes"));
    }
    let number = if negative { number.wrapping_neg() } else { number };
    Ok(if big_endian {
        number.to_be_bytes()[8 - byte_sz..].to_vec()
    } else {
        number.to_le_bytes()[..byte_sz].to_vec()
    })
}

/// An access of the context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContextAccess {
    /// Index of the instruction.
    pub insn_off: usize,
    /// Bytes from the context's beginning; `None` where that is not known.
    pub off: Option<i32>,
    /// Bytes that are read or written.
    pub byte_sz: u32,
    /// Whether it writes.
    pub write: bool,
    /// Whether it goes through a pointer that something was surely added to.
    pub moved: bool,
    /// Whether it extends the sign of what it reads.
    pub signed: bool,
}

/// What the verifier walks of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    walks: Vec<Walk>,
    /// Accesses of the context, by instruction.
    pub context: Vec<ContextAccess>,
    /// Whether the context goes where it was not followed (into memory, to a global function), so that more of it may
    /// be accessed.
    pub context_escapes: bool,
    /// With what walks leave the entry; empty where values were not followed ([`Reach::cut_short`]).
    pub returns: Vec<Returned>,
    /// The maps that helpers are given, by the call's instruction and the register, 1 or 2: indices into the object's
    /// maps, `None` where it is something else or is not known.
    pub handed_maps: BTreeMap<(usize, u8), BTreeSet<Option<usize>>>,
    /// Bytes of stack that each function of the entry uses, in the order of [`Entry::functions`].
    pub stack: Vec<u32>,
    /// Bytes of it that are surely used.
    pub sure_stack: Vec<u32>,
    /// Whether the program was too large or too tangled to follow values: every instruction that a path of jumps leads
    /// to is at least [`Walk::May`] then, whatever the branches test.
    pub cut_short: bool,
}

impl Reach {
    /// Whether the verifier walks that instruction; [`Walk::Never`] behind the last one.
    pub fn walk(&self, insn_off: usize) -> Walk {
        self.walks.get(insn_off).copied().unwrap_or(Walk::Never)
    }

    /// The relocations without an answer that may be reached, with the reason and how surely they are: `Sure` is a
    /// failure.
    pub fn poisoned<'a>(
        &'a self,
        relocated: &'a RelocatedEntry,
    ) -> impl Iterator<Item = (&'a Relocated, &'static str, Walk)> {
        relocated
            .poisoned()
            .map(|(relocated, why)| (relocated, why, self.walk(relocated.insn_off)))
            .filter(|(.., walk)| *walk != Walk::Never)
    }
}

/// Finds what the verifier walks of `entry`, whose instructions are `insns` once relocated.
pub fn reach(object: &BpfObject, entry: &Entry, insns: &[Insn], constants: &Constants) -> Reach {
    walk(object, entry, insns, constants, &BTreeSet::new())
}

/// What jumps alone tell: an instruction is surely walked if every way through the entry's own function passes it, whatever
/// the branches test. Newer verifiers decide more of these than [`reach`] follows.
pub fn whatever_is_tested(entry: &Entry, insns: &[Insn]) -> Reach {
    explore::by_jumps(entry, insns)
}

/// The instructions of `entry` as its compiler left them, calls of kernel functions marked as such, and what a verifier
/// walks of them on some kernel: what relocations will make of an instruction is not known.
pub fn before_relocation(object: &BpfObject, entry: &Entry, constants: &Constants) -> (Vec<Insn>, Reach) {
    let mut insns = entry.insns.clone();
    let of_kfunc = |ext: usize| object.externs[ext].kind == ExternKind::Kfunc;
    for reference in entry.extern_refs.iter().filter(|reference| of_kfunc(reference.ext)) {
        if let Some(insn) = insns.get_mut(reference.insn_off).filter(|insn| insn.code == CALL) {
            (insn.src, insn.imm) = (PSEUDO_KFUNC_CALL, 0);
        }
    }
    let open = entry.core_relos.iter().map(|relo| relo.byte_off as usize / INSN_SZ).collect();
    let reach = walk(object, entry, &insns, constants, &open);
    (insns, reach)
}

/// `open` are the instructions whose immediate is not known yet.
fn walk(
    object: &BpfObject,
    entry: &Entry,
    insns: &[Insn],
    constants: &Constants,
    open: &BTreeSet<usize>,
) -> Reach {
    // Few entries need more than the first try; the second joins all ways at every place where they meet.
    [explore::KEPT_APART, 0]
        .into_iter()
        .find_map(|kept_apart| {
            let mut explorer = explore::Explorer::new(object, entry, insns, constants, kept_apart);
            explorer.open = open;
            explorer.run()
        })
        .unwrap_or_else(|| explore::by_jumps(entry, insns))
}
