//! What the kernel counts of an entry, and how much of it it takes: functions, chains of calls and their stack, maps.

use super::insns::{TAIL_CALL, refused};
use super::reached::Reached;
use super::{Predictor, undecided};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::insn::{CALL, Insn, PSEUDO_FUNC, PSEUDO_KFUNC_CALL};
use btf_catalog::require::{CallChains, Counting, call_chains};
use btf_catalog::{BtfKind, HelperId, MapType, ProgType};
use std::collections::BTreeSet;

/// `BPF_MAX_SUBPROGS` of include/linux/bpf_verifier.h, the first function included.
const MAX_FUNCTIONS: usize = 256;
/// `MAX_USED_MAPS` of include/linux/bpf_verifier.h.
const MAX_MAPS: usize = 64;
/// Maps of which a program uses one of each type (`bpf_cgroup_storage_assign()`, `__add_used_map()`).
const ONE_OF_EACH: [MapType; 3] = [MapType::CGROUP_STORAGE, MapType::PERCPU_CGROUP_STORAGE, MapType::ARENA];
/// `MAX_CALL_FRAMES` of include/linux/bpf_verifier.h before v7.2.
const LEAST_MAX_FRAMES: u32 = 8;
/// `MAX_BPF_STACK` of include/linux/filter.h.
const MAX_STACK_BYTE_SZ: u32 = 512;
/// What functions may have on the stack where another one makes a tail call.
const MAX_BELOW_TAIL_CALL_BYTE_SZ: u32 = 255;
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
    pub(super) fn numbers(&self, reached: &Reached) -> Vec<Check> {
        let entry = reached.entry;
        let mut checks = self.maps_used(reached);
        let functions = entry.functions.len();
        if functions > MAX_FUNCTIONS {
            let why = format!("it has {functions} functions; {MAX_FUNCTIONS} are allowed");
            checks.push(refused(format!("the functions of {}", entry.name), &why));
        }
        if functions > 1 {
            checks.extend(self.chains(reached));
            checks.extend(self.returning_no_number(reached));
        }
        checks
    }

    /// Maps count wherever they stand (`resolve_pseudo_ldimm64()`).
    fn maps_used(&self, reached: &Reached) -> Vec<Check> {
        let refs: BTreeSet<usize> = reached.entry.map_refs.iter().map(|reference| reference.map).collect();
        let of = |map_type| {
            let of_type =
                |map: &&usize| self.object.maps.get(**map).is_some_and(|map| map.map_type == map_type);
            refs.iter().filter(of_type).count()
        };
        let several = ONE_OF_EACH.into_iter().filter(|map_type| of(*map_type) > 1);
        let several = several.map(|map_type| format!("a program may use one map of type {map_type}"));
        let many =
            (refs.len() > MAX_MAPS).then(|| format!("it uses {} maps; {MAX_MAPS} are allowed", refs.len()));
        let requirement = || format!("the maps of {}", reached.entry.name);
        several.chain(many).map(|why| refused(requirement(), &why)).collect()
    }

    /// Chains of calls: `check_max_stack_depth()`.
    fn chains(&self, reached: &Reached) -> Vec<Check> {
        let count =
            |counting| call_chains(reached.entry, &reached.insns, &reached.reach.sure_stack, counting);
        let Some(called) = count(Counting::LENIENT) else {
            let requirement = format!("the calls of {}", reached.entry.name);
            return vec![refused(requirement, "a function calls itself, or one that calls it")];
        };
        let older = Counting { granule_byte_sz: 32, ..Counting::LENIENT };
        if !reached.insns.iter().any(|insn| insn.is_ld_imm64() && insn.src == PSEUDO_FUNC) {
            return self.chain(reached, called, count(older).unwrap_or_default(), None);
        }
        // What is called back later has a stack of its own; what hands it over are these, and functions of the kernel.
        let later = |insn: &Insn| {
            let helper = HelperId(insn.imm.cast_unsigned()).name();
            insn.code == CALL
                && (insn.src == PSEUDO_KFUNC_CALL || insn.src == 0 && helper == Some("timer_set_callback"))
        };
        let open = reached
            .insns
            .iter()
            .any(later)
            .then_some("which functions are called back later is not followed");
        let Some(all) = count(Counting { callbacks: true, ..Counting::LENIENT }) else {
            let mut checks = self.chain(reached, called, count(older).unwrap_or_default(), None);
            // A timer is commonly started anew by what it calls.
            checks.extend(open.is_none().then(|| {
                let requirement = format!("the calls of {}", reached.entry.name);
                undecided(
                    "PTL0222",
                    requirement,
                    "object",
                    "a function is called back in the midst of itself",
                )
            }));
            return checks;
        };
        // Those that are called count, whatever is called back later.
        let surely = self.chain(reached, called, CallChains::default(), None);
        if open.is_some() && !surely.is_empty() {
            return surely;
        }
        let older = count(Counting { callbacks: true, ..older }).unwrap_or_default();
        self.chain(reached, all, older, open)
    }

    /// What is wrong with chains of calls, as kernels of today and `older` ones count them. Where something is `open`, that is
    /// not sure.
    fn chain(
        &self,
        reached: &Reached,
        chains: CallChains,
        older: CallChains,
        open: Option<&str>,
    ) -> Vec<Check> {
        let requirement = |what: &str| format!("{what} of {}", reached.entry.name);
        let check = |what: &str, support: Support, evidence: Evidence, why: String| {
            let why = open.map_or_else(|| why.clone(), |open| format!("{why}; {open}"));
            let fact = Fact::new(support, evidence, "the kernel's BTF").reason(why);
            against(Stage::Load, "PTL0222", requirement(what), "btf.vmlinux", Some(&fact), open.is_some())
        };
        let mut checks = Vec::new();
        let max = self.kernel.call_frames();
        let apart = self.kernel.shown("type:bpf_subprog_call_depth_info").support == Support::Yes;
        let counted = if apart { chains.static_frames } else { chains.frames };
        if counted > max.unwrap_or(LEAST_MAX_FRAMES) {
            let support = if max.is_some() { Support::No } else { Support::Unknown };
            let why = format!("{counted} functions call each other in a chain");
            checks.push(check("the calls", support, Evidence::Derived, why));
        }
        // What kernels before v6.8 count; those that do not compile programs do so still.
        let finer = self.kernel.shown("~type:bpf_retval_range");
        let by_series = |support: Support| {
            let known = matches!(finer.support, Support::Yes | Support::No);
            if known { (support, finer.evidence) } else { (Support::Unknown, Evidence::Derived) }
        };
        let stack = |byte_sz: u32| format!("its functions use {byte_sz} bytes of stack together");
        if chains.stack_byte_sz > MAX_STACK_BYTE_SZ {
            let support = self.together(reached);
            checks.extend(
                support.map(|support| {
                    check("the stack", support, Evidence::Derived, stack(chains.stack_byte_sz))
                }),
            );
        } else if older.stack_byte_sz > MAX_STACK_BYTE_SZ {
            let (support, evidence) = by_series(finer.support);
            checks.push(check("the stack", support, evidence, stack(older.stack_byte_sz)));
        }
        let below = |byte_sz: u32| {
            format!("a tail call is made where {byte_sz} bytes of stack are in use; 255 are allowed")
        };
        if chains.below_tail_call_byte_sz > MAX_BELOW_TAIL_CALL_BYTE_SZ {
            let why = below(chains.below_tail_call_byte_sz);
            checks.push(check("the tail calls", Support::No, Evidence::Derived, why));
        } else if older.below_tail_call_byte_sz > MAX_BELOW_TAIL_CALL_BYTE_SZ {
            let (support, evidence) = by_series(finer.support);
            checks.push(check("the tail calls", support, evidence, below(older.below_tail_call_byte_sz)));
        }
        checks
    }

    /// Whether a kernel takes functions that use more than 512 bytes of stack together; `None` where it does.
    fn together(&self, reached: &Reached) -> Option<Support> {
        let prog_type = reached.entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
        let own = self.kernel.shown("member:bpf_prog_aux.priv_stack_ptr").support;
        // What is put aside around some calls is taken off again, since v6.12.
        let aside = reached.insns.iter().any(|insn| insn.code == CALL && (insn.src, insn.imm) == FASTCALL)
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
        (!has_its_own).then_some(support)
    }

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
