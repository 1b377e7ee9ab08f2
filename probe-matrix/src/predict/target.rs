//! The function, tracepoint or hook that an entry names: whether the kernel lets such a program be made for it, and
//! whether it has what is read.

use super::reached::Reached;
use super::{Predictor, told, undecided};
use crate::assess::against;
use crate::derive::{Arguments, Word};
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage, count};
use btf_catalog::reach::Walk;
use btf_catalog::require::EntryRequirements;

impl Predictor<'_> {
    /// What loading asks of a target: `bpf_check_attach_target()`, `check_attach_btf_id()` and `btf_ctx_access()` of
    /// kernel/bpf/{verifier,btf}.c, `bpf_lsm_verify_prog()` of kernel/bpf/bpf_lsm.c. That the kernel's types have it at
    /// all is looked at elsewhere.
    pub(super) fn target(&self, needs: &EntryRequirements, reached: &Reached, at_least: Walk) -> Vec<Check> {
        let how = how(needs);
        if how == "iter" {
            return self.iterated(needs).into_iter().collect();
        }
        let Some((target, arguments)) = self.arguments(needs) else { return Vec::new() };
        if how == "struct_ops" {
            return arguments_read(target, arguments, arguments.words, needs, reached, at_least);
        }
        let returned =
            matches!(how, "fexit" | "fmod_ret" | "fsession" | "lsm" | "lsm_cgroup") && arguments.returns;
        let hook = || format!("bpf_lsm_{target}");
        let mut checks = match how {
            "tp_btf" => Vec::new(),
            "lsm" | "lsm_cgroup" => self.hook(target, &hook(), needs),
            _ => self.function_target(target, how, arguments, needs),
        };
        if how == "lsm_cgroup"
            && !arguments.returns
            && needs.helpers.iter().any(|helper| helper.name() == Some("set_retval"))
        {
            let requirement = format!("a return value of LSM hook {target}");
            checks.push(no(
                "PTL0218",
                requirement,
                "the hook returns nothing; its return value cannot be set",
            ));
        }
        if how != "tp_btf" {
            checks.extend(self.passed_on(target, arguments));
        }
        let words = arguments.words + u32::from(returned);
        checks.extend(arguments_read(target, arguments, words, needs, reached, at_least));
        checks
    }

    /// Reads beyond what an iterator is given of each object. Some of its pointers are to memory that it may read, so that no
    /// more is told of them.
    fn iterated(&self, needs: &EntryRequirements) -> Option<Check> {
        let target = needs.target.as_deref().filter(|_| needs.attach_btf)?;
        let given = self.kernel.function(format!("bpf_iter_{target}"))?;
        beyond(target, given, given.words, needs)
    }

    /// What an entry attaches to, and the arguments that it is given.
    fn arguments<'n>(&self, needs: &'n EntryRequirements) -> Option<(&'n str, Arguments)> {
        if let ("struct_ops", Some((structure, member))) = (how(needs), &needs.struct_ops) {
            return Some((member, self.kernel.callback(structure, member)?));
        }
        let target = needs.target.as_deref().filter(|_| needs.attach_btf)?;
        let arguments = match how(needs) {
            "tp_btf" => self.kernel.tracepoint(target)?,
            "fentry" | "fexit" | "fmod_ret" | "fsession" => self.kernel.function(target)?,
            "lsm" | "lsm_cgroup" => self.kernel.function(format!("bpf_lsm_{target}"))?,
            _ => return None,
        };
        Some((target, arguments))
    }

    /// Arguments that a kernel does not let a program read, though it has them: `btf_ctx_access()` of kernel/bpf/btf.c.
    pub(super) fn arguments_kept(&self, reached: &Reached) -> Vec<Check> {
        let needs = reached.perhaps();
        let Some((target, arguments)) = self.arguments(needs) else { return Vec::new() };
        let reads = reached.reach.context.iter().filter(|access| !access.write);
        let checks = reads.filter_map(|access| {
            let index = u32::try_from(access.off?).ok()? / 8;
            let word = arguments.word(index)?;
            let walk = reached.reach.walk(access.insn_off);
            let kept = || {
                let what = match word {
                    Word::Integers => "a pointer to integers",
                    Word::ConstVoid => "a pointer to constant memory of no type",
                    Word::Other => "a pointer to something without members",
                    _ => "neither a number nor a pointer",
                };
                Some((
                    self.keeps(word)?,
                    format!("word {index} of {target}'s arguments is {what}, which is not read"),
                ))
            };
            let cut = || {
                let byte_sz = access.byte_sz;
                let narrow = (byte_sz != 8 && word.is_pointer()).then(|| self.reads_pointers_whole())??;
                Some((
                    narrow,
                    format!("{byte_sz} bytes of word {index} of {target}'s arguments, a pointer, are read"),
                ))
            };
            let (support, why) =
                kept().filter(|(support, _)| *support == Support::No).or_else(cut).or_else(kept)?;
            let fact = Fact::new(support, Evidence::Derived, "the kernel's BTF").reason(why);
            let requirement =
                format!("the arguments that {} reads, {}", needs.name, reached.place(access.insn_off));
            (walk > Walk::Never).then(|| {
                against(Stage::Load, "PTL0218", requirement, "btf.vmlinux", Some(&fact), walk < Walk::Sure)
            })
        });
        checks.collect()
    }

    /// `No` where the kernel refuses to have such a word read, `None` where it does not.
    fn keeps(&self, word: Word) -> Option<Support> {
        let shown = |witness| self.kernel.shown(witness).support;
        // The helper came with the change that lets programs have pointers to integers.
        let integers = shown("enum:BPF_FUNC_get_func_arg");
        // What is not of any other kind became a number after this became a function of its own.
        let index = shown("symbol:btf_ctx_arg_idx/btf_ctx_access");
        let refused = match word {
            Word::Number | Word::Part | Word::Structure | Word::Address => return None,
            Word::Unreadable => Support::No,
            Word::Integers => integers,
            Word::ConstVoid => match (integers, index) {
                (Support::No, _) => Support::No,
                (_, Support::Yes) => Support::Yes,
                _ => Support::Unknown,
            },
            Word::Other => match (index, shown("type:btf_type_tag_match")) {
                (Support::No, _) => Support::No,
                (_, Support::Yes) => Support::Yes,
                _ => Support::Unknown,
            },
        };
        (refused != Support::Yes).then_some(refused)
    }

    /// `No` where the kernel refuses to have a part of a pointer read, `None` where it does not.
    fn reads_pointers_whole(&self) -> Option<Support> {
        let shown = |witness| self.kernel.shown(witness).support;
        // Of the fixes of the same week, which went to v6.12 together; v6.6 has this one alone, v6.1 neither.
        match (shown("type:bpf_raw_tp_null_args"), shown("enum:BPF_TCX_INGRESS")) {
            (Support::Yes, _) => Some(Support::No),
            (Support::No, Support::No) => None,
            _ => Some(Support::Unknown),
        }
    }

    /// Arguments beyond those that are passed in registers, which trampolines came to pass on later
    /// (`arch_prepare_bpf_trampoline()`): of x86-64 since v6.6, of arm64 since v6.16.
    fn passed_on(&self, target: &str, arguments: Arguments) -> Option<Check> {
        let (registers, shown) = match self.kernel.arch().as_deref() {
            Some("x86_64") => (6, Some("func:get_nr_used_regs|~enum:BPF_TCX_INGRESS")),
            Some("aarch64") => (8, Some("func:calc_arg_aux")),
            _ => (5, None),
        };
        let words = arguments.words;
        let fact = shown.map_or_else(
            || Fact::new(Support::Unknown, Evidence::Derived, "the kernel's files"),
            |shown| self.kernel.shown(shown),
        );
        let why = format!("it has {words} words of arguments; trampolines once passed on {registers}");
        let requirement = format!("tracing of function {target}");
        let sure = fact.support == Support::Yes && fact.evidence > Evidence::Assumed;
        (words > registers && !sure).then(|| {
            against(Stage::Attach, "PTL0216", requirement, "btf.vmlinux", Some(&fact.reason(why)), false)
        })
    }

    fn hook(&self, target: &str, hook: &str, needs: &EntryRequirements) -> Vec<Check> {
        let mut checks = Vec::new();
        let requirement = format!("LSM hook {target}");
        if self.kernel.in_set("bpf_lsm_disabled_hooks", hook) == Some(true) {
            checks.push(no("PTL0216", requirement.clone(), "no program may be made for this hook"));
        }
        // The set's name in v5.10, and since.
        let sets = ["sleepable_lsm_hooks", "btf_sleepable_lsm_hooks"];
        match sets.into_iter().find_map(|set| self.kernel.in_set(set, hook)) {
            Some(false) if needs.sleepable => {
                checks.push(no("PTL0216", requirement, "programs of this hook may not sleep"));
            }
            None if needs.sleepable => {
                let why = "whether programs of this hook may sleep is not in the files";
                checks.push(undecided("PTL0216", requirement, "btf.vmlinux", why));
            }
            _ => {}
        }
        if !self.object.gpl_compatible() {
            let requirement = "LSM programs under this licence".to_owned();
            checks.push(no(
                "PTL0105",
                requirement,
                "the kernel takes them under a GPL compatible licence only",
            ));
        }
        checks
    }

    fn function_target(
        &self,
        target: &str,
        how: &str,
        arguments: Arguments,
        needs: &EntryRequirements,
    ) -> Vec<Check> {
        let kernel = self.kernel;
        let overridable = kernel.is_overridable(target);
        let listed = |set: &str| kernel.in_set(set, target) == Some(true);
        // Sleeping and changing the return value are allowed where errors may be injected, but for a few of these.
        let may_sleep = overridable
            .is_none_or(|by| by.by_set || by.by_error && !listed("btf_non_sleepable_error_inject"));
        let hooked = target.starts_with("security_");
        let may_change = hooked || overridable.is_none_or(|by| by.by_set || by.by_error);
        let refusals = [
            (arguments.untraceable, "too many arguments, a large one, or any number of them"),
            (
                arguments.by_value && !kernel.passes_structures(),
                "an argument is a structure, which this kernel's trampolines do not pass",
            ),
            (listed("btf_id_deny"), "the kernel lets nobody trace it"),
            (how != "fentry" && listed("noreturn_deny"), "it does not return"),
            (needs.sleepable && !may_sleep, "programs attached to it may not sleep"),
            (!needs.sleepable && how == "fmod_ret" && !may_change, "its return value may not be changed"),
        ];
        let refused = refusals.into_iter().filter(|(refused, _)| *refused);
        let mut checks: Vec<Check> =
            refused.map(|(_, why)| no("PTL0216", format!("tracing of function {target}"), why)).collect();
        if overridable.is_none() && (needs.sleepable || how == "fmod_ret" && !hooked) {
            let why = "whether it may be attached to in this way is not in the files";
            checks.push(undecided("PTL0216", format!("tracing of function {target}"), "btf.vmlinux", why));
        }
        if kernel.has_symbol(target) == Some(false) {
            let why = "in the kernel's types, but without an address of its own";
            checks.push(no("PTL0215", format!("function {target}"), why));
        }
        checks
    }
}

/// How an entry attaches, without what says more of it (`fentry` of `fentry.s`).
fn how(needs: &EntryRequirements) -> &str {
    needs.attach_by.split('.').next().unwrap_or_default()
}

fn no(code: &str, requirement: String, why: &str) -> Check {
    told(Stage::Load, code, requirement, "btf.vmlinux", Support::No, why)
}

/// What is read of the first `words` words of arguments, and taken for addresses.
fn arguments_read(
    target: &str,
    arguments: Arguments,
    words: u32,
    needs: &EntryRequirements,
    reached: &Reached,
    at_least: Walk,
) -> Vec<Check> {
    let mut checks = Vec::from_iter(beyond(target, arguments, words, needs));
    let number = |word: u32| word < arguments.words && arguments.word(word).is_some_and(Word::is_number);
    let through = reached.dereferenced(at_least).find(|word| number(*word));
    checks.extend(through.map(|word| {
        let why = format!("word {word} of {target}'s arguments is a number; it is taken for an address");
        of_arguments(needs, &why)
    }));
    checks
}

/// A read behind the first `words` words of arguments.
fn beyond(target: &str, arguments: Arguments, words: u32, needs: &EntryRequirements) -> Option<Check> {
    let read = needs.context.end_byte;
    let why = || format!("byte {read} is read, and {target} has {}", count(arguments.count, "argument"));
    (read > words * 8).then(|| of_arguments(needs, &why()))
}

fn of_arguments(needs: &EntryRequirements, why: &str) -> Check {
    let fact = Fact::new(Support::No, Evidence::Derived, "the kernel's BTF").reason(why);
    let requirement = format!("the arguments that {} reads", needs.name);
    against(Stage::Load, "PTL0218", requirement, "btf.vmlinux", Some(&fact), needs.guarded)
}
