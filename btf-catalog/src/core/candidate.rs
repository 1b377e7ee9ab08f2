//! Candidates: the kernel's types that may be what an object means by a name.

use super::answers::Answers;
use crate::btf::{Btf, BtfKind, TypeId, essential_name};
use std::sync::Arc;

/// The types of a kernel: vmlinux's and those of its modules. They remember their answers, which clones share.
#[derive(Clone, Debug)]
pub struct TargetBtf {
    vmlinux: Arc<Btf>,
    modules: Vec<(String, Arc<Btf>)>,
    answers: Arc<Answers>,
}

impl TargetBtf {
    /// The types of a kernel without modules.
    pub fn new(vmlinux: Arc<Btf>) -> TargetBtf {
        TargetBtf::with_modules(vmlinux, Vec::new())
    }

    /// The types of a kernel and of its modules, by their names.
    pub fn with_modules(vmlinux: Arc<Btf>, modules: Vec<(String, Arc<Btf>)>) -> TargetBtf {
        TargetBtf { vmlinux, modules, answers: Arc::default() }
    }

    /// vmlinux's types.
    pub fn vmlinux(&self) -> &Arc<Btf> {
        &self.vmlinux
    }

    /// Modules' types by module name. Looked at only where vmlinux has no candidate.
    pub fn modules(&self) -> &[(String, Arc<Btf>)] {
        &self.modules
    }

    /// What these types have answered before, to any object.
    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The BTF number `place`: 0 for vmlinux, one more than the module's index for a module.
    pub(crate) fn btf(&self, place: usize) -> &Btf {
        place.checked_sub(1).map_or(&self.vmlinux, |module| &self.modules[module].1)
    }

    /// The kernel's own type of that name, else the first module's, with the module's index: libbpf's
    /// `find_ksym_btf_id()`.
    pub(super) fn find(&self, name: &str, kind: BtfKind) -> Option<(TypeId, Option<usize>)> {
        let own = self.vmlinux.find_by_name_kind(name, kind).map(|id| (id, None));
        own.or_else(|| {
            let mut modules = self.modules.iter().enumerate();
            modules
                .find_map(|(module, (_, btf))| Some((btf.find_own_by_name_kind(name, kind)?, Some(module))))
        })
    }
}

/// A type of the kernel that has the right name and kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// 0 for vmlinux, one more than the module's index for a module.
    pub(super) place: usize,
    pub(super) ty: TypeId,
}

/// The candidates of one local type. A relocation that matches some of them drops the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates(pub(super) Vec<Candidate>);

impl Candidates {
    /// All types with the local type's essential name and kind: libbpf's `bpf_core_find_cands()`.
    pub(super) fn find(local: &Btf, ty: TypeId, target: &TargetBtf) -> Candidates {
        let ty = local.ty(ty);
        let name = essential_name(ty.name());
        if name.is_empty() {
            return Candidates::default();
        }
        let of = |place: usize| {
            let btf = target.btf(place);
            btf.own_with_essential_name(name, ty.kind())
                .filter(move |id| {
                    let candidate = btf.ty(*id);
                    candidate.kind() == ty.kind() || candidate.is_any_enum() && ty.is_any_enum()
                })
                .map(move |ty| Candidate { place, ty })
        };
        let vmlinux: Vec<_> = of(0).collect();
        if !vmlinux.is_empty() {
            return Candidates(vmlinux);
        }
        Candidates((1..=target.modules.len()).flat_map(of).collect())
    }
}
