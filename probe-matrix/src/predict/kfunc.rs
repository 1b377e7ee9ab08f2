//! Calls of the kernel's own functions.

use super::reached::Reached;
use super::{Predictor, told, undecided};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::core::{ExternOutcome, Resolution};
use btf_catalog::insn::CALL;
use btf_catalog::reach::Walk;
use btf_catalog::{ProgType, TypeId};

/// One call, and how surely it is walked.
struct Call<'a> {
    name: &'a str,
    weak: bool,
    outcome: &'a ExternOutcome,
    walk: Walk,
}

impl Predictor<'_> {
    /// `add_kfunc_call()` and `check_kfunc_call()` of kernel/bpf/verifier.c.
    pub(super) fn kfunc_calls(
        &self,
        reached: &Reached,
        resolution: &Resolution,
        prog_type: ProgType,
    ) -> Vec<Check> {
        let calls = reached.kfunc_calls(resolution);
        let mut checks = Vec::new();
        // This is looked at in all instructions, before any is walked.
        let there = |call: &&Call| matches!(call.outcome, ExternOutcome::Typed { .. });
        if let Some(call) = calls.iter().find(there).filter(|_| !self.object.gpl_compatible()) {
            let requirement = format!("calling {}() under this licence", call.name);
            let why = "programs may call the kernel's functions under a GPL compatible licence only";
            checks.push(told(Stage::Load, "PTL0105", requirement, "object", Support::No, why));
        }
        let calls = calls.into_iter().filter(|call| call.walk > Walk::Never);
        checks.extend(calls.filter_map(|call| self.kfunc_call(&call, reached, prog_type)));
        checks
    }

    fn kfunc_call(&self, call: &Call, reached: &Reached, prog_type: ProgType) -> Option<Check> {
        let of_kernel = format!("{} of the kernel", call.name);
        let perhaps = call.walk < Walk::Sure;
        match call.outcome {
            ExternOutcome::MissingWeak => {
                let fact = Fact::new(Support::No, Evidence::Derived, "the kernel's BTF")
                    .reason("it is called where it is missing");
                Some(against(Stage::Load, "PTL0217", of_kernel, "btf.vmlinux", Some(&fact), perhaps))
            }
            // Of one that is not weak, the object as a whole is told.
            ExternOutcome::Unknown(why) if call.weak => {
                Some(undecided("PTL0217", of_kernel, "btf.vmlinux", why))
            }
            ExternOutcome::Typed { id, module: None, .. } => {
                let fact = self.kernel.offers_kfunc(*id, prog_type);
                if fact.support != Support::Yes || fact.evidence == Evidence::Assumed {
                    let requirement = format!("{}() in {prog_type} programs", call.name);
                    return Some(against(
                        Stage::Load,
                        "PTL0220",
                        requirement,
                        "btf.vmlinux",
                        Some(&fact),
                        perhaps,
                    ));
                }
                self.unmet(*id, call, reached)
            }
            _ => None,
        }
    }

    fn unmet(&self, id: TypeId, call: &Call, reached: &Reached) -> Option<Check> {
        let why = self.kernel.kfunc_wants(id, reached.calling())?;
        let fact = Fact::new(Support::No, Evidence::Derived, "the image's sets of kfuncs").reason(why);
        let requirement = format!("{}() in this program", call.name);
        let perhaps = call.walk < Walk::Sure;
        Some(against(Stage::Load, "PTL0220", requirement, "btf.vmlinux", Some(&fact), perhaps))
    }
}

impl Reached<'_> {
    fn kfunc_calls<'b>(&'b self, externs: &'b Resolution) -> Vec<Call<'b>> {
        let calls =
            self.entry.extern_refs.iter().filter(|reference| self.insns[reference.insn_off].code == CALL);
        let call = |reference: &btf_catalog::object::ExternRef| Call {
            name: self.object.externs[reference.ext].name.as_str(),
            weak: self.object.externs[reference.ext].weak,
            outcome: &externs.outcomes[reference.ext],
            walk: self.reach.walk(reference.insn_off),
        };
        calls.map(call).collect()
    }
}
