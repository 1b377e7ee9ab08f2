//! What the verifier finds wrong with an entry by its own analysis, without a kernel.
//!
//! [`verify`] walks an entry as kernel/bpf/verifier.c does: along every way, with registers and stack slots of known
//! kinds, never joining what comes from different ways, leaving off where a state is covered by one that was walked
//! before. Beside [`crate::reach`], which tells *which* instructions are walked and is blurred on purpose, this tells what
//! is *wrong* with them.
//!
//! A fault is *sure* where every verifier since v5.10 comes there and refuses what stands there; all others are doubtful:
//! verifiers differ, or know something that is not known here. So knowledge carries two marks, as it does in `reach`:
//! *soft*, what some verifiers do not know, and *vague*, what some may know better; and a state carries one, *doubt*, for
//! ways that not every verifier walks.
//!
//! | what | modelled |
//! |---|---|
//! | numbers | bits and bounds of 64 bits; copies; a 32-bit test of a 64-bit number is vague |
//! | stack | bytes, spilled values, constant and bounded offsets |
//! | map values | null, constant and bounded offsets, read-only maps, frozen constants |
//! | packets | ranges by comparison with the end |
//! | memory, sockets | null, size, writing |
//! | context | kinds of what is loaded (`data/context_types.tsv`); not which offsets exist |
//! | calls | subprograms in line, global functions by themselves; helpers: arguments, sizes, references, results
//!   (`data/helper_protos.tsv`), functions that they call back |
//! | kfuncs | references, sections (`data/kfunc_effects.tsv`); nothing else |
//! | BTF pointers, dynamic pointers, arenas, iterators | not: named in [`Verified::not_modelled`] |

mod alu;
mod argument;
mod branch;
mod call;
mod context;
mod fields;
mod helper;
mod kfunc;
mod memory;
mod numbers;
mod returned;
mod state;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use crate::insn::Insn;
use crate::object::{BpfObject, Entry};
use crate::reach::Constants;
use std::collections::BTreeSet;

/// What is walked.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The object.
    pub object: &'a BpfObject,
    /// One of its entries.
    pub entry: &'a Entry,
    /// The entry's instructions once relocated, externs included.
    pub insns: &'a [Insn],
    /// What is constant when it is loaded.
    pub constants: &'a Constants,
}

/// What is known of the verifier at hand; `None` is not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Traits {
    /// Whether programs may read stack that they never wrote.
    pub reads_unset_stack: Option<bool>,
    /// Whether reading stack below everything that was written makes it part of the stack. Otherwise such a read is refused,
    /// whether or not stack may be read that was never written.
    pub stack_grows_by_reads: Option<bool>,
    /// Whether it knows that a lookup in an array finds something where the key is a constant that the array has.
    pub knows_array_entries: Option<bool>,
    /// Whether it takes all loops that end, as verifiers since v6.8 do: also those that are entered further down than where an
    /// instruction falls into them, and those that count on the stack alone.
    pub takes_all_loops: Option<bool>,
    /// Whether it knows `struct bpf_timer` and keeps programs from it.
    pub keeps_timers: Option<bool>,
    /// What the entry may return; `None` for anything.
    pub returns: Option<ReturnRange>,
}

/// The numbers that a program may return.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReturnRange {
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// Whether the lower 32 bits are looked at alone, as a signed number.
    pub half: bool,
}

/// Something that the verifier refuses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fault {
    /// Index of the instruction.
    pub insn_off: usize,
    /// What is wrong, in words.
    pub why: String,
    /// Whether every verifier refuses it; only perhaps otherwise.
    pub sure: bool,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Faults: the first sure one ends the walk.
    pub faults: Vec<Fault>,
    /// What the walk met and knows nothing of, in words.
    pub not_modelled: BTreeSet<String>,
    /// Whether every way was walked to its end, or to a sure fault.
    pub complete: bool,
    /// Whether the walk relied on what some verifiers do not know.
    pub leans: bool,
}

impl Verified {
    /// The fault for which every verifier refuses the entry.
    pub fn refused(&self) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.sure)
    }

    /// Whether every verifier finds nothing wrong.
    pub fn is_clean(&self) -> bool {
        self.complete && !self.leans && self.faults.is_empty() && self.not_modelled.is_empty()
    }
}

/// Walks an entry as the verifier does.
pub fn verify(subject: Subject, traits: Traits) -> Verified {
    walk::Walker::new(subject, traits).run()
}
