//! Instructions and calls that the kernel refuses whatever its registers hold.

use super::reached::Reached;
use super::{Predictor, told, undecided};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::insn::{CALL, Insn, JUMP_BY_REGISTER, PSEUDO_FUNC, PSEUDO_KFUNC_CALL};
use btf_catalog::reach::Walk;
use btf_catalog::require::{call_chains, context_fault, invalid_insns};
use btf_catalog::{BtfKind, ProgType};

/// `MAX_CALL_FRAMES` of include/linux/bpf_verifier.h before v7.2.
const LEAST_MAX_FRAMES: u32 = 8;
/// `MAX_BPF_STACK` of include/linux/filter.h.
const MAX_STACK_BYTE_SZ: u32 = 512;
/// What functions may have on the stack where another one makes a tail call.
const MAX_BELOW_TAIL_CALL_BYTE_SZ: u32 = 255;
/// `BPF_REG_PARAMS` of include/linux/filter.h, v7.2.
const STACK_ARGUMENTS: u8 = 11;
/// A call of `bpf_tail_call()`.
const TAIL_CALL: (u8, u8, i32) = (CALL, 0, 12);
/// What arm64's JIT shows of tail calls beside other functions: not whether BTF lacks it, but whether the image does.
const SUBPROG_TAIL_CALLS: &str = "func:bpf_jit_supports_subprog_tailcalls|symbol:bpf_jit_supports_subprog_tailcalls/bpf_prog_select_runtime";
/// `BPF_ATOMIC`, a mode of stores.
const ATOMIC: u8 = 0xc0;
/// `BPF_JMP | BPF_JCOND`.
const MAY_GOTO: u8 = 0xe5;
/// `bpf_get_smp_processor_id()`, the helper whose callers put registers aside (`BPF_FUNC_get_smp_processor_id`).
const FASTCALL: (u8, i32) = (0, 8);
/// Types whose programs may have a stack each function (`bpf_enable_priv_stack()` of kernel/bpf/verifier.c, v7.2).
const STACK_EACH_FUNCTION: [ProgType; 7] = [
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::RAW_TRACEPOINT,
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::STRUCT_OPS,
];

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
        checks.extend(self.calls(reached));
        checks.extend(self.by_machine(reached));
        checks
    }

    /// Tail calls beside other functions and calls of the kernel's functions, for which a JIT must be made: x86-64's is, wherever
    /// the verifier has them; others came to be, each by itself (`allow_tail_call_in_subprogs()`,
    /// `bpf_jit_supports_kfunc_call()`).
    fn by_machine(&self, reached: &Reached) -> Vec<Check> {
        let arch = self.kernel.arch().filter(|arch| arch != "x86_64");
        let Some(arch) = arch else { return Vec::new() };
        let walked = |wanted: &dyn Fn(&Insn) -> bool| {
            let mut insns = reached.insns.iter().enumerate();
            insns.find(|(at, insn)| wanted(insn) && reached.reach.walk(*at) > Walk::Never).map(|(at, _)| at)
        };
        // That of arm64 makes the first since v6.0, which brought the function that tells of it, the second since v5.18.
        let tail_call = reached.entry.functions.len() > 1;
        let tail_call =
            tail_call.then(|| walked(&|insn| (insn.code, insn.src, insn.imm) == TAIL_CALL)).flatten();
        let kfunc = walked(&|insn| insn.code == CALL && insn.src == PSEUDO_KFUNC_CALL);
        let needs = [
            (tail_call, "a tail call beside other functions", SUBPROG_TAIL_CALLS),
            (kfunc, "a call of a function of the kernel", "~enum:BPF_FUNC_kptr_xchg"),
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

    fn calls(&self, reached: &Reached) -> Vec<Check> {
        let entry = reached.entry;
        if entry.functions.len() < 2 {
            return Vec::new();
        }
        let requirement = |what: &str| format!("{what} of {}", entry.name);
        let Some(chains) = call_chains(entry, &reached.insns, &reached.reach.sure_stack) else {
            return vec![refused(requirement("the calls"), "a function calls itself, or one that calls it")];
        };
        let max = self.kernel.call_frames();
        let apart = self.kernel.shown("type:bpf_subprog_call_depth_info").support == Support::Yes;
        let counted = if apart { chains.static_frames } else { chains.frames };
        let frames = (counted > max.unwrap_or(LEAST_MAX_FRAMES)).then(|| {
            let support = if max.is_some() { Support::No } else { Support::Unknown };
            let why = format!("{counted} functions call each other in a chain");
            let fact = Fact::new(support, Evidence::Derived, "the kernel's BTF").reason(why);
            against(Stage::Load, "PTL0222", requirement("the calls"), "btf.vmlinux", Some(&fact), false)
        });
        let stack = (chains.stack_byte_sz > MAX_STACK_BYTE_SZ).then(|| {
            let why = format!("its functions use {} bytes of stack together", chains.stack_byte_sz);
            let prog_type = entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
            let own = self.kernel.shown("member:bpf_prog_aux.priv_stack_ptr").support;
            // What is put aside around some calls is taken off again, since v6.12.
            let aside =
                reached.insns.iter().any(|insn| insn.code == CALL && (insn.src, insn.imm) == FASTCALL)
                    && self.kernel.shown("member:bpf_subprog_info.fastcall_stack_off").support != Support::No;
            let support = match own {
                _ if aside => Support::Unknown,
                _ if !STACK_EACH_FUNCTION.contains(&prog_type) => Support::No,
                Support::No => Support::No,
                _ => Support::Unknown,
            };
            // x86-64 was the first to have it; others followed one by one.
            let has_its_own = support == Support::Unknown
                && own == Support::Yes
                && self.kernel.arch().as_deref() == Some("x86_64")
                && STACK_EACH_FUNCTION[..4].contains(&prog_type);
            let fact = Fact::new(support, Evidence::Derived, "the instructions").reason(why);
            let requirement = requirement("the stack");
            (!has_its_own)
                .then(|| against(Stage::Load, "PTL0222", requirement, "btf.vmlinux", Some(&fact), false))
        });
        let tail_call = (chains.below_tail_call_byte_sz > MAX_BELOW_TAIL_CALL_BYTE_SZ).then(|| {
            let byte_sz = chains.below_tail_call_byte_sz;
            let why =
                format!("a tail call is made where {byte_sz} bytes of stack are in use; 255 are allowed");
            refused(requirement("the tail calls"), &why)
        });
        let of_numbers = self.returning_no_number(reached);
        [frames, stack.flatten(), tail_call, of_numbers].into_iter().flatten().collect()
    }
}

impl Predictor<'_> {
    /// Functions that make tail calls or read packets by `ld abs` return a number (`check_btf_func()`).
    fn returning_no_number(&self, reached: &Reached) -> Option<Check> {
        let btf = self.object.btf.as_ref()?;
        let functions = &reached.entry.functions;
        let ends = functions.iter().skip(1).map(|next| next.insn_off).chain([reached.insns.len()]);
        let told = functions.iter().zip(ends).skip(1).find_map(|(function, end)| {
            let func = function.type_id.map(|id| btf.ty(id)).filter(|ty| ty.kind() == BtfKind::Func)?;
            let returned = btf.resolve(btf.ty(func.type_id()).type_id());
            let number = returned.kind() == BtfKind::Int && returned.size() <= 8 || returned.is_any_enum();
            let by_abs = |insn: &Insn| insn.class() == 0 && matches!(insn.code & 0xe0, 0x20 | 0x40);
            let special = |insn: &Insn| by_abs(insn) || (insn.code, insn.src, insn.imm) == TAIL_CALL;
            let insns = reached.insns.get(function.insn_off..end)?;
            insns.iter().any(special).then_some(function).filter(|_| !number)
        })?;
        let why = "it makes a tail call or reads a packet by ld abs, and returns no number";
        Some(refused(format!("the function {}()", told.name), why))
    }
}

fn refused(requirement: String, why: &str) -> Check {
    told(Stage::Load, "PTL0222", requirement, "object", Support::No, why)
}
