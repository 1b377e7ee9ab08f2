//! Instructions and calls that the kernel refuses whatever its registers hold.

use super::reached::Reached;
use super::{Predictor, told, undecided};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::MapType;
use btf_catalog::insn::{CALL, Insn, JUMP_BY_REGISTER, PSEUDO_FUNC, PSEUDO_KFUNC_CALL};
use btf_catalog::reach::Walk;
use btf_catalog::require::{context_fault, invalid_insns};

/// `BPF_REG_PARAMS` of include/linux/filter.h, v7.2.
const STACK_ARGUMENTS: u8 = 11;
/// A call of `bpf_tail_call()`.
pub(super) const TAIL_CALL: (u8, u8, i32) = (CALL, 0, 12);
/// What arm64's JIT shows of tail calls beside other functions: not whether BTF lacks it, but whether the image does.
const SUBPROG_TAIL_CALLS: &str = "func:bpf_jit_supports_subprog_tailcalls|symbol:bpf_jit_supports_subprog_tailcalls/bpf_prog_select_runtime";
/// `BPF_ATOMIC`, a mode of stores.
const ATOMIC: u8 = 0xc0;
/// `BPF_ADD` without `BPF_FETCH`, as the immediate of an atomic operation.
const ADD: i32 = 0;
/// `BPF_JMP | BPF_JCOND`.
const MAY_GOTO: u8 = 0xe5;
impl Predictor<'_> {
    /// What holds of instructions and of the ways between functions.
    pub(super) fn instructions(&self, reached: &Reached) -> Vec<Check> {
        let mut checks: Vec<Check> = invalid_insns(self.object, reached.entry, &reached.insns)
            .into_iter()
            .filter_map(|invalid| {
                if invalid.everywhere {
                    Some(refused(reached.place(invalid.insn_off), invalid.why))
                } else {
                    reached.trapped(invalid.insn_off, invalid.why)
                }
            })
            .collect();
        checks.extend(self.by_kernel(reached));
        checks.extend(self.context_faults(reached));
        checks.extend(self.numbers(reached));
        checks.extend(self.by_machine(reached));
        checks
    }

    /// Tail calls beside other functions, calls of the kernel's functions, atomic operations and arenas, for which a JIT must be
    /// made: x86-64's is, wherever the verifier has them; others came to be, each by itself (`allow_tail_call_in_subprogs()`,
    /// `bpf_jit_supports_kfunc_call()`, `bpf_jit_supports_arena()`).
    fn by_machine(&self, reached: &Reached) -> Vec<Check> {
        let arch = self.kernel.arch().filter(|arch| arch != "x86_64");
        let Some(arch) = arch else { return Vec::new() };
        let walked = |wanted: &dyn Fn(&Insn) -> bool| {
            let mut insns = reached.insns.iter().enumerate();
            insns.find(|(at, insn)| wanted(insn) && reached.reach.walk(*at) > Walk::Never).map(|(at, _)| at)
        };
        // That of arm64 makes the first since v6.0, which brought the function that tells of it, the second since v5.18, arenas since
        // v6.10.
        let tail_call = reached.entry.functions.len() > 1;
        let tail_call =
            tail_call.then(|| walked(&|insn| (insn.code, insn.src, insn.imm) == TAIL_CALL)).flatten();
        let kfunc = walked(&|insn| insn.code == CALL && insn.src == PSEUDO_KFUNC_CALL);
        // Sums are made where they are stored; what tells more came to be made since v5.18 too.
        let fetches = walked(&|insn| insn.class() == 3 && insn.code & 0xe0 == ATOMIC && insn.imm != ADD);
        let in_arena = |at: &usize| {
            let maps = reached.entry.map_refs.iter().filter(|reference| reference.insn_off == *at);
            let mut maps = maps.filter_map(|reference| self.object.maps.get(reference.map));
            maps.any(|map| map.map_type == MapType::ARENA)
        };
        let arena = reached.entry.map_refs.iter().map(|reference| reference.insn_off).find(in_arena);
        let needs = [
            (tail_call, "a tail call beside other functions", SUBPROG_TAIL_CALLS),
            (kfunc, "a call of a function of the kernel", "~enum:BPF_FUNC_kptr_xchg"),
            (fetches, "an atomic operation other than adding", "~enum:BPF_FUNC_kptr_xchg"),
            (arena, "an arena", "~func:bpf_preempt_disable"),
        ];
        let check = |(at, what, shown): (Option<usize>, &str, &'static str)| {
            let fact = match arch.as_str() {
                "aarch64" => self.kernel.shown(shown),
                _ => Fact::new(Support::Unknown, Evidence::Derived, "the kernel's files")
                    .reason(format!("the files do not tell what the JIT of {arch} can do")),
            };
            let place = format!("{what} on {arch}, {}", reached.place(at?));
            let walk = reached.reach.walk(at?);
            (fact.support != Support::Yes).then(|| {
                against(Stage::Load, "PTL0208", place, "btf.vmlinux", Some(&fact), walk < Walk::Sure)
            })
        };
        needs.into_iter().filter_map(check).collect()
    }

    /// Where the machine may not read words that are not aligned, the verifier is strict about them (`strict_alignment`).
    pub(super) fn alignment(&self, reached: &Reached) -> Option<Check> {
        let lenient = self.kernel.shown("config:CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS").support;
        (lenient == Support::No)
            .then(|| reached.assumed("whether all that it reads is aligned is not followed".to_owned()))
    }

    /// Instructions that only some kernels have and that no fact is about.
    fn by_kernel(&self, reached: &Reached) -> Vec<Check> {
        let mut checks = Vec::new();
        let first = |wanted: &dyn Fn(usize) -> bool| (0..reached.insns.len()).find(|at| wanted(*at));
        let insn = |at: usize| reached.insns[at];
        let by_register = first(&|at| insn(at).code == JUMP_BY_REGISTER);
        checks.extend(by_register.map(|at| {
            let place = reached.place(at);
            match self.kernel.shown("enum:BPF_MAP_TYPE_INSN_ARRAY").support {
                Support::No => told(
                    Stage::Load,
                    "PTL0208",
                    place,
                    "btf.vmlinux",
                    Support::No,
                    "the kernel has no jumps by a register",
                ),
                _ => undecided(
                    "PTL0208",
                    place,
                    "object",
                    "where the jumps of its tables lead is not followed",
                ),
            }
        }));
        // Refused where it is walked before v7.2, taken since.
        let nowhere = first(&|at| {
            insn(at).code == MAY_GOTO && insn(at).off == 0 && reached.reach.walk(at) > Walk::Never
        });
        checks.extend(nowhere.map(|at| {
            undecided(
                "PTL0208",
                reached.place(at),
                "object",
                "not all kernels take a may_goto that goes nowhere",
            )
        }));
        let on_stack = first(&|at| [insn(at).dst, insn(at).src].contains(&STACK_ARGUMENTS));
        checks.extend(on_stack.map(|at| {
            let fact = self.kernel.shown("member:bpf_subprog_info.stack_arg_cnt");
            let requirement = format!("arguments on the stack, {}", reached.place(at));
            against(Stage::Load, "PTL0208", requirement, "btf.vmlinux", Some(&fact), false)
        }));
        let callback = first(&|at| insn(at).is_ld_imm64() && insn(at).src == PSEUDO_FUNC);
        checks.extend(callback.map(|at| {
            // Came with the helper, in v5.13.
            let fact = self.kernel.shown("enum:BPF_FUNC_for_each_map_elem");
            let requirement = format!("a function that is called back, {}", reached.place(at));
            against(Stage::Load, "PTL0209", requirement, "btf.vmlinux", Some(&fact), false)
        }));
        checks
    }

    /// Accesses of the context that a program of the type and attach type may not make.
    fn context_faults(&self, reached: &Reached) -> Vec<Check> {
        let Some(kind) = &reached.entry.kind else { return Vec::new() };
        let has = |witness| match self.kernel.shown(witness).support {
            Support::Yes => Some(true),
            Support::No => Some(false),
            _ => None,
        };
        let faults = reached.reach.context.iter().filter_map(|access| {
            let why = match reached.insns[access.insn_off] {
                insn if insn.class() == 3 && insn.code & 0xe0 == ATOMIC => {
                    "the context is not for atomic operations".to_owned()
                }
                _ => context_fault(kind.prog_type, kind.attach_type, access, &has)?,
            };
            reached.refused("PTL0219", access.insn_off, &why)
        });
        let mut faults: Vec<Check> = faults.collect();
        // Numbers are put there by kernels since v6.4.
        let numbers = reached.reach.context.iter().filter(|access| access.write);
        let number = numbers.map(|access| access.insn_off).find(|at| reached.insns[*at].class() == 2);
        faults.extend(number.filter(|at| reached.reach.walk(*at) > Walk::Never).map(|at| {
            let fact = self.kernel.shown("~enum:BPF_F_LINK");
            let requirement = format!("a number put into the context, {}", reached.place(at));
            against(Stage::Load, "PTL0208", requirement, "btf.vmlinux", Some(&fact), false)
        }));
        faults
    }
}

pub(super) fn refused(requirement: String, why: &str) -> Check {
    told(Stage::Load, "PTL0222", requirement, "object", Support::No, why)
}
