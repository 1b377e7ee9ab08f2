//! Who may call which kernel function: the image's sets of them, and `data/kfunc_sets.tsv`.

use super::Offline;
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::kernel::IdSet;
use btf_catalog::{ProgType, TypeId};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Program types by the name of a set; `None` for sets that every type may call.
static SETS: LazyLock<HashMap<&'static str, Option<Vec<ProgType>>>> = LazyLock::new(|| {
    let rows = include_str!("../../data/kfunc_sets.tsv").lines();
    let rows = rows.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let (set, types) = line.split_once('\t').expect("kfunc_sets.tsv has two columns");
        let named = |name| ProgType::from_name(name).expect("kfunc_sets.tsv names program types");
        (set, (!types.split(',').any(|name| name == "any")).then(|| types.split(',').map(named).collect()))
    })
    .collect()
});

/// The hook of each program type, and what shows it.
static HOOKS: LazyLock<HashMap<ProgType, (&'static str, Option<&'static str>)>> = LazyLock::new(|| {
    let rows = include_str!("../../data/kfunc_hooks.tsv").lines().filter(|line| !line.starts_with('#'));
    let of_row = |line: &'static str| {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [types, hook, shown] = columns[..] else { panic!("kfunc_hooks.tsv: {line}") };
        let named = |name| ProgType::from_name(name).expect("kfunc_hooks.tsv names program types");
        types.split(',').map(move |name| (named(name), (hook, (shown != "-").then_some(shown))))
    };
    rows.flat_map(of_row).collect()
});

/// Whether what is registered for one type is for the other as well.
fn alike(one: ProgType, other: ProgType) -> bool {
    let hook = |of| HOOKS.get(&of).map(|(hook, _)| hook);
    hook(one).is_some() && hook(one) == hook(other)
}

/// What of a program decides whether it may call a kernel function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CallingProgram {
    /// Whether it may sleep where it calls.
    pub(crate) sleeps: bool,
    /// Whether it is an iterator.
    pub(crate) iterator: bool,
}

impl Offline<'_> {
    /// What a kernel function asks of the program that calls it beside its type, in words.
    pub(crate) fn kfunc_wants(&self, function: TypeId, program: CallingProgram) -> Option<&'static str> {
        /// include/linux/btf.h, since v6.1.
        const KF_SLEEPABLE: u32 = 1 << 5;
        let sets = self.inside()?.id_sets.as_ref()?.iter().filter(|set| set.flagged);
        let mut of =
            sets.flat_map(|set| set.ids.iter().map(move |(id, flags)| (set.name.as_str(), *id, *flags)));
        of.find_map(|(set, id, flags)| match set {
            _ if id != function => None,
            // dev_bound_kfunc_id(), net/core/xdp.c, since v6.3.
            "xdp_metadata_kfunc_ids" => Some("only programs that are loaded for one device may call it"),
            "bpf_sk_iter_kfunc_ids" if !program.iterator => Some("only iterators may call it"),
            _ if flags & KF_SLEEPABLE != 0 && !program.sleeps => {
                Some("only programs that may sleep may call it")
            }
            _ => None,
        })
    }

    /// Whether programs of this type may call one of the kernel's own functions: `btf_kfunc_id_set_contains()` of
    /// kernel/bpf/btf.c.
    pub(crate) fn offers_kfunc(&self, function: TypeId, prog_type: ProgType) -> Fact {
        let fact = |support, why: String| {
            Fact::new(support, Evidence::Derived, "the image's sets of kfuncs").reason(why)
        };
        let calls = self.shown("type:bpf_kfunc_desc_tab");
        if calls.support != Support::Yes {
            return calls.reason("whether programs may call functions of this kernel at all");
        }
        let unknown = || fact(Support::Unknown, "which programs it is for is not known".to_owned());
        let Some(sets) = self.inside().and_then(|inside| inside.id_sets.as_ref()) else { return unknown() };
        // Sets of kfuncs have flags since v6.0; before, nothing tells them from others.
        let of_kfuncs = |set: &&IdSet| {
            set.flagged && !set.name.contains("fmodret") && !set.name.contains("modify_return")
        };
        if !sets.iter().any(|set| set.flagged) {
            return unknown();
        }
        let found = sets.iter().filter(of_kfuncs).filter(|set| set.ids.iter().any(|(id, _)| *id == function));
        let names: Vec<&str> = found.map(|set| set.name.as_str()).collect();
        if names.is_empty() {
            return fact(Support::No, "in no set of functions that programs may call".to_owned());
        }
        let mut known = true;
        for name in &names {
            match SETS.get(name) {
                Some(None) => return fact(Support::Yes, format!("{name} is for all program types")),
                Some(Some(types)) if types.iter().any(|other| alike(*other, prog_type)) => {
                    let shown = HOOKS.get(&prog_type).and_then(|(_, shown)| *shown);
                    let yes = || fact(Support::Yes, format!("{name} is for {prog_type} programs"));
                    return shown.map_or_else(yes, |shown| self.shown(shown));
                }
                Some(Some(_)) => {}
                None => known = false,
            }
        }
        let names = names.join(", ");
        if known {
            fact(Support::No, format!("{names} is for other program types"))
        } else {
            fact(Support::Unknown, format!("which programs {names} is for is not known"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_one_hook_share_their_functions() {
        assert!(alike(ProgType::TRACEPOINT, ProgType::TRACING));
        assert!(alike(ProgType::CGROUP_SKB, ProgType::CGROUP_SOCK));
        assert!(!alike(ProgType::XDP, ProgType::TRACING));
        assert!(!alike(ProgType::SK_LOOKUP, ProgType::SK_LOOKUP), "has no hook");
        assert!(SETS["common_btf_ids"].is_none());
        let all = SETS.values().flatten().flatten();
        assert_eq!(all.filter(|prog_type| !HOOKS.contains_key(prog_type)).count(), 0);
    }
}
