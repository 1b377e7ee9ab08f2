//! Functions that are verified by themselves: which results and arguments a kernel takes of them
//! (`btf_prepare_func_args()` of kernel/bpf/btf.c, v5.10 to v7.2).

use super::Predictor;
use super::reached::Reached;
use crate::assess::against;
use crate::derive::FunctionArguments;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::btf::Type;
use btf_catalog::insn::{CALL, PSEUDO_CALL};
use btf_catalog::object::Function;
use btf_catalog::reach::Walk;
use btf_catalog::{Btf, BtfKind, ProgType, TypeId};

/// Arguments that registers hold: `MAX_BPF_FUNC_REG_ARGS` of include/linux/bpf.h.
const ARGUMENTS_MAX: usize = 5;
/// The context of kprobe programs is a typedef of another type on each machine; both names count (`btf_get_prog_ctx_type()`).
const KPROBE_CONTEXT: &str = "bpf_user_pt_regs_t";
/// The tags of arguments that some kernel up to v7.2 knows (`btf_scan_decl_tags()`).
const TAGS: [&str; 6] = ["ctx", "nonnull", "trusted", "nullable", "arena", "untrusted"];

impl Predictor<'_> {
    /// The functions of an entry that the kernel does not take.
    pub(super) fn global_functions(&self, reached: &Reached) -> Vec<Check> {
        let Some(btf) = &self.object.btf else { return Vec::new() };
        let prog_type = reached.entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
        let functions = reached.entry.functions.iter().skip(1).filter(|function| function.global);
        let of = |function: &Function| {
            let walk = self.verified(function, reached);
            let func = function.type_id.map(|id| btf.ty(id)).filter(|ty| ty.kind() == BtfKind::Func)?;
            let (support, why) = self.global_fault(btf, func, prog_type).filter(|_| walk > Walk::Never)?;
            let fact = Fact::new(support, Evidence::Derived, "the types of the object and the kernel");
            let fact = fact.reason(why);
            let requirement = format!("the function {}(), which is verified by itself", function.name);
            Some(against(Stage::Load, "PTL0225", requirement, "btf.vmlinux", Some(&fact), walk < Walk::Sure))
        };
        functions.filter_map(of).collect()
    }

    /// How surely the kernel looks at a function: at all there are, since v6.8 at those that are called.
    fn verified(&self, function: &Function, reached: &Reached) -> Walk {
        let insns = reached.insns.iter().enumerate();
        let calls = insns.filter(|(at, insn)| {
            insn.code == CALL
                && insn.src == PSEUDO_CALL
                && usize::try_from(*at as i64 + 1 + i64::from(insn.imm)) == Ok(function.insn_off)
        });
        let called = calls.map(|(at, _)| reached.reach.walk(at)).max().unwrap_or(Walk::Never);
        match self.kernel.shown("member:bpf_func_info_aux.called").support {
            Support::No => Walk::Sure,
            Support::Yes => called,
            _ => called.max(Walk::May),
        }
    }

    fn global_fault(&self, btf: &Btf, func: Type, prog_type: ProgType) -> Option<(Support, String)> {
        let no = |why: &str| Some((Support::No, why.to_owned()));
        let proto = btf.ty(func.type_id());
        if proto.params().len() > ARGUMENTS_MAX {
            return no("it has more than 5 arguments");
        }
        let returned = btf.resolve(proto.type_id());
        let into_arena = returned.kind() == BtfKind::Ptr && has_type_tag(btf, proto.type_id());
        if returned.kind() == BtfKind::Void {
            // Both came in v7.1.
            let allowed = self.kernel.shown("func:subprog_returns_void").support == Support::Yes;
            match self.kernel.shown("member:bpf_reg_state.off").support {
                _ if allowed => {}
                Support::Yes => return no("it returns nothing; the kernel wants a number"),
                Support::No => {}
                _ => {
                    return Some((
                        Support::Unknown,
                        "it returns nothing; not all kernels take that".to_owned(),
                    ));
                }
            }
        } else if !is_number(returned) && !into_arena {
            return no("what it returns is no number");
        }
        let reads = self.kernel.function_arguments();
        proto.params().enumerate().find_map(|(index, param)| {
            let tags: Vec<&str> = argument_tags(btf, func.id(), index).collect();
            let (support, why) = self.argument_fault(btf, param.ty, &tags, reads, prog_type)?;
            Some((support, format!("argument {} {why}", index + 1)))
        })
    }

    fn argument_fault(
        &self,
        btf: &Btf,
        ty: TypeId,
        tags: &[&str],
        reads: Option<FunctionArguments>,
        prog_type: ProgType,
    ) -> Option<(Support, &'static str)> {
        let ty = btf.resolve(ty);
        let tagged = reads == Some(FunctionArguments::Tags);
        if tagged && tags.iter().any(|tag| !TAGS.contains(tag)) {
            return Some((Support::Unknown, "has a tag that no kernel up to v7.2 knows"));
        }
        match ty.kind() {
            _ if is_number(ty) => return None,
            BtfKind::Ptr => {}
            _ => return Some((Support::No, "is no number and no pointer")),
        }
        // libbpf gives kernels without tags the context's type instead.
        if tags.contains(&"ctx") || has_type_tag(btf, ty.id()) {
            return None;
        }
        let pointee = btf.resolve(ty.type_id());
        let named = (pointee.is_composite() || pointee.kind() == BtfKind::Fwd) && !pointee.name().is_empty();
        let is_context = match self.kernel.context_name(prog_type) {
            _ if !named => Some(false),
            _ if prog_type == ProgType::KPROBE && pointee.name() == KPROBE_CONTEXT => Some(true),
            context => context.map(|name| pointee.name() == name),
        };
        if reads == Some(FunctionArguments::Context) && is_context != Some(true) {
            let support = if is_context.is_none() { Support::Unknown } else { Support::No };
            return Some((support, "points to something else than the context"));
        }
        let sized = btf.size_of(pointee.id()).is_some() && pointee.kind() != BtfKind::Void;
        let known = sized
            || is_context == Some(true)
            || tagged && (!tags.is_empty() || pointee.name() == "bpf_dynptr");
        let support = if is_context.is_none() { Support::Unknown } else { Support::No };
        (!known).then_some((support, "points to something whose size is not known"))
    }
}

fn is_number(ty: Type) -> bool {
    ty.kind() == BtfKind::Int || ty.is_any_enum()
}

/// Whether a type tag stands on the way to what a pointer points to (`__arena`).
fn has_type_tag(btf: &Btf, pointer: TypeId) -> bool {
    let pointer = btf.resolve(pointer);
    let mut ty = btf.ty(pointer.type_id());
    for _ in 0..32 {
        match ty.kind() {
            BtfKind::TypeTag => return true,
            BtfKind::Const | BtfKind::Volatile | BtfKind::Typedef | BtfKind::Restrict => {
                ty = btf.ty(ty.type_id());
            }
            _ => return false,
        }
    }
    false
}

/// What `__attribute__((btf_decl_tag("arg:…")))` says of an argument.
fn argument_tags(btf: &Btf, func: TypeId, index: usize) -> impl Iterator<Item = &str> {
    let of = btf.decl_tags(func).filter(move |(argument, _)| *argument == u32::try_from(index).ok());
    of.filter_map(|(_, text)| text.strip_prefix("arg:"))
}
