//! Which helpers a kernel offers to programs of which type, after `data/helpers_by_type.tsv`.

use super::{Offline, Setting};
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::{BtfKind, HelperId, ProgType};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Only some programs of a type are offered a helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// Those that may sleep.
    Sleepable,
    /// Iterators.
    Iter,
}

impl Condition {
    fn words(self) -> &'static str {
        match self {
            Condition::Sleepable => "only in sleepable programs",
            Condition::Iter => "only in iterators",
        }
    }
}

/// What types came to be offered a helper later than it came, with what shows that a kernel is from before or from after.
///
/// Both are signs of a series, and so `assumed`. Before is told by what came right after the older version that the table
/// was read from, after by what came with the newer one; between them nothing is known.
const STEPS: [Step; 3] = [
    Step {
        before: Sign::Enumerator("BPF_FUNC_task_storage_get"),
        after: Sign::Enumerator("BPF_FUNC_user_ringbuf_drain"),
    },
    Step {
        before: Sign::Enumerator("BPF_MAP_TYPE_CGRP_STORAGE"),
        after: Sign::Function("bpf_copy_from_user_str"),
    },
    Step { before: Sign::Function("bpf_send_signal_task"), after: Sign::Function("bpf_dynptr_memset") },
];

struct Step {
    before: Sign,
    after: Sign,
}

/// Enumerators are there or not; kfuncs are global functions, which BTF has where it has functions at all.
enum Sign {
    Enumerator(&'static str),
    Function(&'static str),
}

/// An option of the configuration that decides, for all types or for some.
struct Needed {
    option: &'static str,
    /// Whether it must be off. Hardly any kernel has such options on, so that it is assumed where that is not known.
    off: bool,
    types: Option<Vec<ProgType>>,
}

struct Row {
    options: Vec<Needed>,
    condition: Option<Condition>,
    /// Types that were offered it from its beginning, then by each of [`STEPS`].
    types: [Vec<ProgType>; 4],
}

static TABLE: LazyLock<HashMap<HelperId, Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/helpers_by_type.tsv").lines();
    let rows = rows.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, options, condition, steps @ ..] = &columns[..] else {
            panic!("helpers_by_type.tsv: {line}")
        };
        let row = Row {
            options: options.split(',').filter(|option| *option != "-").map(needed).collect(),
            condition: match *condition {
                "sleepable" => Some(Condition::Sleepable),
                "iter" => Some(Condition::Iter),
                _ => None,
            },
            types: std::array::from_fn(|step| types(steps[step])),
        };
        (HelperId::from_name(name).expect("helpers_by_type.tsv names helpers"), row)
    })
    .collect()
});

/// `all` are the types whose functions fall back on `bpf_base_func_proto()`; those after a minus are not meant.
fn types(text: &str) -> Vec<ProgType> {
    let named = |name: &str| ProgType::from_name(name).expect("helpers_by_type.tsv names program types");
    let lirc = named("lirc_mode2");
    let mut types = Vec::new();
    for word in text.split(',').filter(|word| *word != "-") {
        match (word, word.strip_prefix('-')) {
            ("all", _) => types.extend(ProgType::all().filter(|t| ![ProgType::EXT, lirc].contains(t))),
            (_, Some(name)) => types.retain(|t| *t != named(name)),
            (name, None) => types.push(named(name)),
        }
    }
    types
}

/// `OPTION`, `!OPTION` or `OPTION@TYPE+TYPE`, with `@!` for all types but those.
fn needed(text: &'static str) -> Needed {
    let (text, of_types) = text.split_once('@').map_or((text, None), |(text, types)| (text, Some(types)));
    let types = of_types.map(|types| {
        let named = |name| ProgType::from_name(name).expect("helpers_by_type.tsv names program types");
        let (but, names) = types.strip_prefix('!').map_or((false, types), |names| (true, names));
        let names: Vec<ProgType> = names.split('+').map(named).collect();
        ProgType::all().filter(|prog_type| names.contains(prog_type) != but).collect()
    });
    let (off, option) = text.strip_prefix('!').map_or((false, text), |option| (true, option));
    Needed { option, off, types }
}

/// The condition under which some types are offered a helper.
pub(crate) fn condition(helper: HelperId) -> Option<Condition> {
    TABLE.get(&helper)?.condition
}

impl Offline<'_> {
    /// Whether programs of a type are offered a helper.
    pub(super) fn helper(&self, prog_type: ProgType, helper: HelperId) -> Option<Fact> {
        let derived = |support| Fact::new(support, Evidence::Derived, "the kernel's files");
        let name = helper.name()?;
        let row = TABLE.get(&helper)?;
        if self.vmlinux.is_none() {
            return Some(derived(Support::Unknown).reason("the kernel's BTF is not known"));
        }
        if !self.enumerators.contains(&format!("BPF_FUNC_{name}")) {
            return Some(derived(Support::No).reason(format!("no BPF_FUNC_{name} in the kernel's BTF")));
        }
        // An extension is offered what the program that it extends is.
        if prog_type == ProgType::EXT {
            return Some(derived(Support::Unknown).reason("offered what the extended program is offered"));
        }
        let Some(step) = row.types.iter().position(|types| types.contains(&prog_type)) else {
            return Some(derived(Support::No).reason(format!("no kernel offers it to {prog_type} programs")));
        };
        let mut assumed_off = false;
        for Needed { option, off, types } in &row.options {
            if types.as_ref().is_some_and(|types| !types.contains(&prog_type)) {
                continue;
            }
            match (self.option(option), off) {
                (Setting::Off, false) => {
                    return Some(derived(Support::No).reason(format!("{option} is not set")));
                }
                (Setting::On(_), true) => {
                    return Some(derived(Support::No).reason(format!("{option} is set")));
                }
                (Setting::Unknown, false) => {
                    let why = format!("{option} decides, and the kernel's configuration is not known");
                    return Some(derived(Support::Unknown).reason(why));
                }
                (Setting::Unknown, true) => assumed_off = true,
                (Setting::On(_), false) | (Setting::Off, true) => {}
            }
        }
        if let Some(fact) = self.offered_to(helper, prog_type) {
            return Some(fact);
        }
        let condition = row.condition.map(Condition::words);
        let told = |fact: Fact| condition.map_or_else(|| fact.clone(), |words| fact.clone().reason(words));
        let assumed = |support| Fact::new(support, Evidence::Assumed, "the kernel's files");
        let Some(step) = step.checked_sub(1) else {
            // Of kernels older than the oldest that the table was read from, it does not tell.
            let older = !self.enumerators.contains("BPF_FUNC_redirect_peer");
            let support = Support::Yes;
            return Some(told(if assumed_off || older { assumed(support) } else { derived(support) }));
        };
        Some(match (self.shows(&STEPS[step].before), self.shows(&STEPS[step].after)) {
            (_, true) => told(assumed(Support::Yes)),
            (false, _) => assumed(Support::No)
                .reason(format!("other programs were offered it before {prog_type} ones were")),
            _ => assumed(Support::Unknown).reason(format!(
                "{prog_type} programs came to be offered it about when this kernel was made"
            )),
        })
    }

    fn shows(&self, sign: &Sign) -> bool {
        match sign {
            Sign::Enumerator(name) => self.enumerators.contains(*name),
            Sign::Function(name) => self.in_vmlinux(name, BtfKind::Func),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btf_catalog::Btf;
    use btf_catalog::core::TargetBtf;
    use btf_catalog::kernel::{Kernel, KernelConfig};
    use std::sync::Arc;

    /// BTF without types: a header and one empty name.
    const EMPTY: [u8; 25] =
        [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    #[test]
    fn every_helper_has_a_row_and_some_type() {
        for helper in HelperId::all().filter(|helper| helper.0 != 0) {
            let row = TABLE.get(&helper).unwrap_or_else(|| panic!("{helper} has no row"));
            assert!(row.types.iter().any(|types| !types.is_empty()), "{helper}");
        }
    }

    #[test]
    fn options_decide_for_the_types_that_they_are_meant_for() {
        let support = |helper: &str, prog_type, options: &[&str]| {
            let options = options.iter().map(|name| ((*name).to_owned(), "y".to_owned())).collect();
            let kernel =
                Kernel { config: Some(KernelConfig { options, source: String::new() }), ..Kernel::default() };
            let mut kernel = Offline::new(&kernel);
            // Of no types, with the enumerators that matter.
            kernel.vmlinux = Some(TargetBtf::new(Arc::new(Btf::parse(EMPTY.to_vec()).unwrap())));
            kernel.enumerators =
                HelperId::all().filter_map(|helper| Some(format!("BPF_FUNC_{}", helper.name()?))).collect();
            kernel.helper(prog_type, HelperId::from_name(helper).unwrap()).unwrap().support
        };
        assert_eq!(support("get_cgroup_classid", ProgType::SCHED_CLS, &[]), Support::Yes);
        assert_eq!(support("get_cgroup_classid", ProgType::CGROUP_SOCK, &[]), Support::No);
        let option = ["CONFIG_CGROUP_NET_CLASSID"];
        assert_eq!(support("get_cgroup_classid", ProgType::CGROUP_SOCK, &option), Support::Yes);
        assert_eq!(support("timer_init", ProgType::XDP, &[]), Support::Yes);
        assert_eq!(support("timer_init", ProgType::XDP, &["CONFIG_PREEMPT_RT"]), Support::No);
    }

    #[test]
    fn all_but_some() {
        let some = types("all,-xdp,lirc_mode2");
        assert!(some.contains(&ProgType::KPROBE) && !some.contains(&ProgType::XDP));
        assert!(some.contains(&ProgType::from_name("lirc_mode2").unwrap()));
    }
}
