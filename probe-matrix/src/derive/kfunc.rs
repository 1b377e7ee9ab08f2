//! Who may call which kernel function: the image's sets of them, and `data/kfunc_sets.tsv`.

use super::Offline;
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::kernel::IdSet;
use btf_catalog::{ProgType, TypeId};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Who may call the functions of a set.
struct Callers {
    /// Program types, each with what shows that it is among them; `None` for sets that every type may call.
    types: Option<Vec<(ProgType, Option<&'static str>)>>,
    only: Option<Only>,
}

/// Some programs of these types: `filter` of struct btf_kfunc_id_set.
enum Only {
    Lsm,
    Session,
    StructOps(&'static str),
}

static SETS: LazyLock<HashMap<&'static str, Callers>> = LazyLock::new(|| {
    let rows = include_str!("../../data/kfunc_sets.tsv").lines();
    let rows = rows.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [set, types, only] = columns[..] else { panic!("kfunc_sets.tsv: {line}") };
        let named = |text: &'static str| {
            let (name, shown) =
                text.split_once('@').map_or((text, None), |(name, shown)| (name, Some(shown)));
            (ProgType::from_name(name).expect("kfunc_sets.tsv names program types"), shown)
        };
        let types = (types != "any").then(|| types.split(',').map(named).collect());
        let only = match only {
            "-" => None,
            "lsm" => Some(Only::Lsm),
            "session" => Some(Only::Session),
            structure => Some(Only::StructOps(structure)),
        };
        (set, Callers { types, only })
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
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CallingProgram {
    /// Whether it may sleep where it calls.
    pub(crate) sleeps: bool,
    /// Its type, where its section tells it.
    pub(crate) prog_type: Option<ProgType>,
    /// Prefix of its section: how it is attached.
    pub(crate) how: &'static str,
    /// The structure of the kernel that it implements a member of.
    pub(crate) structure: Option<String>,
}

impl Offline<'_> {
    /// What a kernel function asks of the program that calls it beside its type, in words.
    pub(crate) fn kfunc_wants(&self, function: TypeId, program: &CallingProgram) -> Option<&'static str> {
        /// include/linux/btf.h, since v6.1.
        const KF_SLEEPABLE: u32 = 1 << 5;
        let sets = self.inside()?.id_sets.as_ref()?.iter().filter(|set| set.flagged);
        let mut of =
            sets.flat_map(|set| set.ids.iter().map(move |(id, flags)| (set.name.as_str(), *id, *flags)));
        of.find_map(|(set, id, flags)| match set {
            _ if id != function => None,
            // dev_bound_kfunc_id(), net/core/xdp.c, since v6.3.
            "xdp_metadata_kfunc_ids" => Some("only programs that are loaded for one device may call it"),
            "bpf_sk_iter_kfunc_ids" if !program.how.starts_with("iter") => Some("only iterators may call it"),
            _ if flags & KF_SLEEPABLE != 0 && !program.sleeps => {
                Some("only programs that may sleep may call it")
            }
            _ => match SETS.get(set)?.only.as_ref()? {
                Only::Lsm if program.prog_type.is_some_and(|of| of != ProgType::LSM) => {
                    Some("only LSM programs may call it")
                }
                Only::Session if !program.how.contains("session") => {
                    Some("only programs of a session may call it")
                }
                Only::StructOps(structure)
                    if program.structure.as_deref().is_some_and(|of| of != *structure) =>
                {
                    Some("only programs of another structure of operations may call it")
                }
                _ => None,
            },
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
            let Some(callers) = SETS.get(name) else {
                known = false;
                continue;
            };
            let Some(types) = &callers.types else {
                return fact(Support::Yes, format!("{name} is for all program types"));
            };
            let mut types = types.iter().filter(|(other, _)| alike(*other, prog_type));
            if let Some((_, registered)) = types.next() {
                let hook = HOOKS.get(&prog_type).and_then(|(_, shown)| *shown);
                let yes = fact(Support::Yes, format!("{name} is for {prog_type} programs"));
                let shown = hook.into_iter().chain(*registered).map(|shown| self.shown(shown));
                // One that does not show suffices; a yes is as strong as the weakest that it needs.
                return shown.fold(yes, |one, other| match (one.support, other.support) {
                    (Support::Yes, Support::Yes) if one.evidence <= other.evidence => one,
                    (Support::Yes, _) => other,
                    _ => one,
                });
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
    fn who_shares_a_hook_may_be_filtered() {
        assert!(matches!(SETS["bpf_fs_kfunc_set_ids"].only, Some(Only::Lsm)));
        assert!(matches!(SETS["qdisc_kfunc_ids"].only, Some(Only::StructOps("Qdisc_ops"))));
        for callers in SETS.values() {
            for shown in callers.types.iter().flatten().filter_map(|(_, shown)| *shown) {
                let _ = Offline::new(&btf_catalog::kernel::Kernel::default()).shown(shown);
            }
        }
    }

    #[test]
    fn types_of_one_hook_share_their_functions() {
        assert!(alike(ProgType::TRACEPOINT, ProgType::TRACING));
        assert!(alike(ProgType::CGROUP_SKB, ProgType::CGROUP_SOCK));
        assert!(!alike(ProgType::XDP, ProgType::TRACING));
        assert!(!alike(ProgType::SK_LOOKUP, ProgType::SK_LOOKUP), "has no hook");
        assert!(SETS["common_btf_ids"].types.is_none());
        let all = SETS.values().filter_map(|callers| callers.types.as_ref()).flatten();
        assert_eq!(all.filter(|(prog_type, _)| !HOOKS.contains_key(prog_type)).count(), 0);
    }
}
