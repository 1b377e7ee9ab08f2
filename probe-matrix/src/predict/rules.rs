//! Rules of the verifier that the instructions decide alone, and what is left to its analysis.

use super::reached::Reached;
use super::told;
use crate::assess::against;
use crate::derive::CallingProgram;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::insn::{CALL, EXIT, PSEUDO_FUNC};
use btf_catalog::reach::{Walk, broken_flow};
use btf_catalog::require::source_line;
use btf_catalog::{HelperId, ProgType};

/// The frame pointer, which programs may not write.
const R10: u8 = 10;
/// Helpers without arguments: there is nothing to be wrong about.
const WITHOUT_ARGUMENTS: [&str; 9] = [
    "ktime_get_ns",
    "ktime_get_boot_ns",
    "get_prandom_u32",
    "get_smp_processor_id",
    "get_numa_node_id",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_task",
    "get_current_cgroup_id",
];
impl Reached<'_> {
    /// What the verifier of every kernel refuses, and a note of what only its analysis tells. `returns_allowed` says whether
    /// every verifier sees that the program may return what it does.
    pub(super) fn rules(&self, returns_allowed: bool) -> Vec<Check> {
        let mut checks: Vec<Check> = self.flow().into_iter().chain(self.frame_pointer()).collect();
        checks.extend(self.analysis(returns_allowed));
        checks
    }

    fn flow(&self) -> Option<Check> {
        let functions: Vec<usize> = self.entry.functions.iter().map(|function| function.insn_off).collect();
        let (at, why) = broken_flow(&self.insns, &functions)?;
        Some(told(Stage::Load, "PTL0222", self.place(at), "object", Support::No, why))
    }

    fn frame_pointer(&self) -> Option<Check> {
        // ALU, ALU64, LDX and 64-bit immediates write their destination.
        let writes = |at: &usize| {
            let insn = self.insns[*at];
            insn.dst == R10 && (matches!(insn.class(), 1 | 4 | 7) || insn.is_ld_imm64())
        };
        let at = (0..self.insns.len()).filter(writes).max_by_key(|at| self.reach.walk(*at))?;
        let why = "the frame pointer may not be written";
        self.refused("PTL0222", at, why)
    }

    /// A refusal of the instruction there, if it is walked.
    pub(super) fn refused(&self, code: &str, at: usize, why: &str) -> Option<Check> {
        let walk = self.reach.walk(at);
        let fact = Fact::new(Support::No, Evidence::Derived, "the instructions").reason(why);
        (walk > Walk::Never)
            .then(|| against(Stage::Load, code, self.place(at), "object", Some(&fact), walk < Walk::Sure))
    }

    pub(super) fn place(&self, at: usize) -> String {
        source_line(self.object, self.entry, at)
            .map_or_else(|| format!("instruction {at}"), |line| format!("instruction {at} ({line})"))
    }

    /// What no file tells: bounds and types of what memory holds, how long the verifier walks. Where the instructions leave
    /// it something of that to find out, the verdict is no more than assumed.
    fn analysis(&self, returns_allowed: bool) -> Option<Check> {
        (!(returns_allowed && self.plain())).then(|| Check {
            stage: Stage::Load,
            requirement: format!("the verifier's analysis of {}", self.entry.name),
            fact: "bpf.verifier.complexity_limit".to_owned(),
            support: Support::Yes,
            evidence: Evidence::Assumed,
            outcome: Outcome::Pass,
            code: "PTL0602".to_owned(),
            detail: Some("what the verifier finds out of memory, bounds and loops is in no file".to_owned()),
        })
    }

    /// Whether the instructions leave the verifier nothing to find out: they go forward only, read the context at constant
    /// offsets, write their stack there, compute with numbers and call helpers without arguments.
    fn plain(&self) -> bool {
        let reads_context = |at: usize| {
            self.reach
                .context
                .iter()
                .any(|access| access.insn_off == at && access.off.is_some() && !access.write)
        };
        let simple = |at: usize| {
            let insn = self.insns[at];
            match insn.class() {
                0 => insn.is_ld_imm64() && insn.src == 0 || insn.code == 0,
                1 => reads_context(at),
                2 | 3 => insn.dst == R10 && (-512..0).contains(&insn.off) && insn.code & 0xe0 == 0x60,
                5 if insn.code == CALL => {
                    let name = HelperId(insn.imm.cast_unsigned()).name();
                    insn.src == 0 && name.is_some_and(|name| WITHOUT_ARGUMENTS.contains(&name))
                }
                5 | 6 => insn.code == EXIT || insn.off >= 0,
                _ => true,
            }
        };
        self.entry.functions.len() == 1
            && !self.reach.context_escapes
            && (0..self.insns.len()).filter(|at| self.reach.walk(*at) > Walk::Never).all(simple)
    }

    /// What of the program decides which functions of the kernel it may call. Callbacks may sleep where the program that
    /// hands them over may not (`bpf_wq_set_callback()`, since v6.10).
    pub(super) fn calling(&self) -> CallingProgram {
        let kind = self.entry.kind.as_ref();
        let how = kind.map_or("", |kind| kind.prefix);
        let hands_over = self.insns.iter().any(|insn| insn.is_ld_imm64() && insn.src == PSEUDO_FUNC);
        CallingProgram {
            sleeps: hands_over
                || kind.is_none_or(|kind| kind.sleepable || kind.prog_type == ProgType::SYSCALL),
            iterator: how.starts_with("iter"),
        }
    }
}
