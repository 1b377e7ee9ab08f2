//! Who may call which kernel function: the image's sets of them, and `data/kfunc_sets.tsv`.

use super::Offline;
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

/// Types that share what is registered for one of them: `bpf_prog_type_to_kfunc_hook()` of kernel/bpf/btf.c, v7.2, where
/// the groups are largest.
const GROUPS: [&[&str]; 3] = [
    &["tracing", "tracepoint", "raw_tracepoint", "raw_tracepoint_writable", "perf_event", "lsm"],
    &[
        "cgroup_skb",
        "cgroup_sock",
        "cgroup_device",
        "cgroup_sock_addr",
        "cgroup_sockopt",
        "cgroup_sysctl",
        "sock_ops",
    ],
    &["lwt_out", "lwt_in", "lwt_xmit", "lwt_seg6local"],
];

fn alike(one: ProgType, other: ProgType) -> bool {
    let in_group = |group: &[&str], of: ProgType| of.name().is_some_and(|name| group.contains(&name));
    one == other || GROUPS.iter().any(|group| in_group(group, one) && in_group(group, other))
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

    /// Whether the kernel surely lets no program of this type call one of its own functions: it is in sets that are all
    /// registered for others, or in none.
    pub(crate) fn forbids_kfunc(&self, function: TypeId, prog_type: ProgType) -> Option<String> {
        let sets = self.inside()?.id_sets.as_ref()?;
        // Sets of kfuncs have flags since v6.0; before, nothing tells them from others.
        if !sets.iter().any(|set| set.flagged) {
            return None;
        }
        let mut found =
            sets.iter().filter(|set| set.flagged && set.ids.iter().any(|(id, _)| *id == function));
        let mut names = Vec::new();
        let forbidden = found.all(|set| {
            names.push(set.name.as_str());
            let types = SETS.get(set.name.as_str()).and_then(Option::as_ref);
            types.is_some_and(|types| !types.iter().any(|other| alike(*other, prog_type)))
        });
        forbidden.then(|| match &names[..] {
            [] => "in no set of functions that programs may call".to_owned(),
            names => format!("{} is for other program types", names.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracepoints_call_what_tracing_programs_do() {
        assert!(alike(ProgType::TRACEPOINT, ProgType::TRACING));
        assert!(!alike(ProgType::XDP, ProgType::TRACING));
        assert!(SETS["common_btf_ids"].is_none());
        assert!(GROUPS.iter().copied().flatten().all(|name| ProgType::from_name(name).is_some()));
    }
}
