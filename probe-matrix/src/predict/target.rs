//! The function, tracepoint or hook that an entry names: whether the kernel can find it, and whether it has what is read.

use super::{Predictor, told};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::require::EntryRequirements;

impl Predictor<'_> {
    /// What loading asks of a target: `bpf_check_attach_target()` and `btf_ctx_access()` of kernel/bpf/{verifier,btf}.c.
    /// That the kernel's types have it at all is looked at elsewhere.
    pub(super) fn target(&self, needs: &EntryRequirements) -> Vec<Check> {
        let Some(target) = needs.target.as_deref().filter(|_| needs.attach_btf) else { return Vec::new() };
        let mut checks = Vec::new();
        let how = needs.attach_by.split('.').next().unwrap_or_default();
        let (arguments, more) = match how {
            "tp_btf" => (self.kernel.tracepoint(target), 0),
            "fentry" => (self.kernel.function(target), 0),
            "fexit" | "fmod_ret" => (self.kernel.function(target), 1),
            "lsm" | "lsm_cgroup" => (self.kernel.function(&format!("bpf_lsm_{target}")), 1),
            _ => return checks,
        };
        let Some(arguments) = arguments else { return checks };
        let traced = matches!(how, "fentry" | "fexit" | "fmod_ret");
        if traced && arguments.untraceable {
            let why = "too many arguments, a large one, or any number of them";
            checks.push(told(
                Stage::Load,
                "PTL0216",
                format!("function {target} can be traced"),
                "btf.vmlinux",
                Support::No,
                why,
            ));
        }
        // Structures by value: since `arg_flags` tells trampolines which arguments are.
        if traced && arguments.by_value && !self.kernel.passes_structures() {
            let why = "an argument is a structure, which this kernel's trampolines do not pass";
            checks.push(told(
                Stage::Load,
                "PTL0216",
                format!("function {target} can be traced"),
                "btf.vmlinux",
                Support::No,
                why,
            ));
        }
        if traced && self.kernel.has_symbol(target) == Some(false) {
            let why = "in the kernel's types, but without an address of its own";
            checks.push(told(
                Stage::Load,
                "PTL0215",
                format!("function {target}"),
                &format!("symbol.{target}"),
                Support::No,
                why,
            ));
        }
        let words = arguments.words + if arguments.returns { more } else { 0 };
        let read = needs.context.end_byte;
        if read > words * 8 {
            let why = format!("{target} has {} arguments; byte {read} of them is read", arguments.count);
            let fact = Fact::new(Support::No, Evidence::Derived, "the kernel's BTF").reason(why);
            let requirement = format!("the arguments that {} reads", needs.name);
            checks.push(against(
                Stage::Load,
                "PTL0218",
                requirement,
                "btf.vmlinux",
                Some(&fact),
                needs.guarded,
            ));
        }
        checks
    }
}
