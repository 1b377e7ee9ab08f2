//! Rules of the verifier that the instructions decide alone, and what is left to its analysis.

use super::reached::Reached;
use super::told;
use crate::assess::against;
use crate::derive::CallingProgram;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::ProgType;
use btf_catalog::btf::essential_name;
use btf_catalog::insn::PSEUDO_FUNC;
use btf_catalog::reach::{Walk, broken_flow, whatever_is_tested, without_end};
use btf_catalog::require::source_line;

/// The frame pointer, which programs may not write.
const R10: u8 = 10;

impl Reached<'_> {
    /// What the verifier of every kernel refuses at sight.
    pub(super) fn rules(&self) -> Vec<Check> {
        [self.flow(), self.endless(), self.frame_pointer()].into_iter().flatten().collect()
    }

    fn flow(&self) -> Option<Check> {
        let functions: Vec<usize> = self.entry.functions.iter().map(|function| function.insn_off).collect();
        let (at, why) = broken_flow(&self.insns, &functions)?;
        Some(told(Stage::Load, "PTL0222", self.place(at), "object", Support::No, why))
    }

    fn endless(&self) -> Option<Check> {
        let why = "no way leads from here to an end of the program";
        let endless = without_end(&self.insns);
        if endless.first() == Some(&0) {
            return self.refused("PTL0222", 0, why);
        }
        self.trapped(endless.into_iter().max_by_key(|at| self.reach.walk(*at))?, why)
    }

    fn frame_pointer(&self) -> Option<Check> {
        // ALU, ALU64, LDX and 64-bit immediates write their destination.
        let writes = |at: &usize| {
            let insn = self.insns[*at];
            insn.dst == R10 && (matches!(insn.class(), 1 | 4 | 7) || insn.is_ld_imm64())
        };
        let at = (0..self.insns.len()).filter(writes).max_by_key(|at| self.reach.walk(*at))?;
        self.trapped(at, "the frame pointer may not be written")
    }

    /// A refusal of the instruction there, if it is walked.
    pub(super) fn refused(&self, code: &str, at: usize, why: &str) -> Option<Check> {
        let walk = self.reach.walk(at);
        let fact = Fact::new(Support::No, Evidence::Derived, "the instructions").reason(why);
        (walk > Walk::Never)
            .then(|| against(Stage::Load, code, self.place(at), "object", Some(&fact), walk < Walk::Sure))
    }

    /// A refusal of an instruction that nobody writes to be walked: where a branch keeps the verifier from it, that is what it
    /// is for, and a newer one may know better what the branch does.
    pub(super) fn trapped(&self, at: usize, why: &str) -> Option<Check> {
        let sure = whatever_is_tested(self.entry, &self.insns).walk(at) == Walk::Sure;
        let walk = self.reach.walk(at);
        let fact = Fact::new(Support::No, Evidence::Derived, "the instructions").reason(why);
        let guarded = walk < Walk::Sure || !sure;
        (walk > Walk::Never)
            .then(|| against(Stage::Load, "PTL0222", self.place(at), "object", Some(&fact), guarded))
    }

    pub(super) fn place(&self, at: usize) -> String {
        source_line(self.object, self.entry, at)
            .map_or_else(|| format!("instruction {at}"), |line| format!("instruction {at} ({line})"))
    }

    /// What of the program decides which functions of the kernel it may call. Callbacks may sleep where the program that
    /// hands them over may not (`bpf_wq_set_callback()`, since v6.10).
    pub(super) fn calling(&self) -> CallingProgram {
        let kind = self.entry.kind.as_ref();
        let structure = self.perhaps().struct_ops.as_ref();
        let hands_over = self.insns.iter().any(|insn| insn.is_ld_imm64() && insn.src == PSEUDO_FUNC);
        CallingProgram {
            sleeps: hands_over
                || kind.is_none_or(|kind| kind.sleepable || kind.prog_type == ProgType::SYSCALL),
            prog_type: kind.map(|kind| kind.prog_type),
            how: kind.map_or("", |kind| kind.prefix),
            structure: structure.map(|(name, _)| essential_name(name).to_owned()),
        }
    }
}
