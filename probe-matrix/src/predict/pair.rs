//! Whether helpers take the maps that they are given: `data/map_helpers.tsv`.

use super::reached::Reached;
use crate::verdict::{Check, Outcome};
use btf_catalog::insn::CALL;
use btf_catalog::{AttachType, HelperId, MapType, ProgType};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Program types that cannot hold a locked socket, `may_update_sockmap()`; of tracing programs iterators alone.
const WITHOUT_LOCKED_SOCKET: [ProgType; 7] = [
    ProgType::SOCKET_FILTER,
    ProgType::SCHED_CLS,
    ProgType::SCHED_ACT,
    ProgType::XDP,
    ProgType::SK_REUSEPORT,
    ProgType::FLOW_DISSECTOR,
    ProgType::SK_LOOKUP,
];

#[derive(Default)]
struct Pairs {
    /// Helpers by the type of a map that goes to them alone, and whether to them in programs without a locked socket only.
    of_map: HashMap<MapType, HashMap<HelperId, bool>>,
    /// The register that a helper is given its map in, and the types that it takes; `None` for any.
    of_helper: HashMap<HelperId, (u8, Option<Vec<MapType>>)>,
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<Pairs> = LazyLock::new(|| {
    let helper = |name: &str| HelperId::from_name(name).expect("map_helpers.tsv names helpers");
    let types = |names: &str| -> Vec<MapType> {
        let named = |name| MapType::from_name(name).expect("map_helpers.tsv names map types");
        names.split(',').map(named).collect()
    };
    let mut pairs = Pairs::default();
    for line in include_str!("../../data/map_helpers.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["map", maps, helpers] => {
                let one = |name: &str| match name.strip_prefix("safe:") {
                    Some(name) => (helper(name), true),
                    None => (helper(name), false),
                };
                let helpers: HashMap<_, _> =
                    helpers.split(',').filter(|name| *name != "-").map(one).collect();
                pairs.of_map.extend(types(maps).into_iter().map(|map_type| (map_type, helpers.clone())));
            }
            ["helper", helpers, register, maps] => {
                let register = register.parse().expect("map_helpers.tsv has registers");
                let maps = (maps != "any").then(|| types(maps));
                let all = helpers.split(',').map(|name| (helper(name), (register, maps.clone())));
                pairs.of_helper.extend(all);
            }
            _ => panic!("map_helpers.tsv: {line}"),
        }
    }
    pairs
});

/// Whether a helper takes maps of a type in a program that is, or is not, `safe` from locked sockets.
fn go_together(helper: HelperId, map_type: MapType, safe: bool) -> bool {
    let by_map = TABLE.of_map.get(&map_type);
    let by_helper = TABLE.of_helper.get(&helper).and_then(|(_, types)| types.as_ref());
    by_map.is_none_or(|helpers| helpers.get(&helper).is_some_and(|needs_safety| safe || !needs_safety))
        && by_helper.is_none_or(|types| types.contains(&map_type))
}

impl Reached<'_> {
    /// Calls of helpers with maps that they do not take.
    pub(super) fn pairs(&self) -> Vec<Check> {
        let kind = self.entry.kind.as_ref();
        let prog_type = kind.map_or(ProgType::UNSPEC, |kind| kind.prog_type);
        let iterator = kind.is_some_and(|kind| kind.attach_type == Some(AttachType::TRACE_ITER));
        // Whoever extends a program may do what that one may.
        let safe = iterator
            || WITHOUT_LOCKED_SOCKET.contains(&prog_type)
            || [ProgType::EXT, ProgType::UNSPEC].contains(&prog_type);
        let calls = self.insns.iter().enumerate().filter(|(_, insn)| insn.code == CALL && insn.src == 0);
        let mut checks = Vec::new();
        for (at, insn) in calls {
            let helper = HelperId(insn.imm.cast_unsigned());
            let Some((register, _)) = TABLE.of_helper.get(&helper) else { continue };
            let Some(maps) = self.reach.handed_maps.get(&(at, *register)) else { continue };
            // Those of sock_ops may remove a socket, and have a helper of their own to put one in.
            let safe = safe || prog_type == ProgType::SOCK_OPS && helper.name() == Some("map_delete_elem");
            let types = || {
                maps.iter().map(|map| map.and_then(|map| self.object.maps.get(map)).map(|map| map.map_type))
            };
            let wrong = |map_type: &Option<MapType>| {
                map_type.is_some_and(|map_type| !go_together(helper, map_type, safe))
            };
            let Some(Some(map_type)) = types().find(wrong) else { continue };
            let why = format!("bpf_{helper} does not take maps of type {map_type} here");
            let check = self.refused("PTL0221", at, &why);
            // Where it may also be given something else, the way on which it is this one may never be walked.
            let always = types().all(|map_type| wrong(&map_type));
            checks.extend(check.map(|check| {
                let outcome = if always { check.outcome } else { Outcome::Undecided };
                Check { outcome, ..check }
            }));
        }
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(name: &str) -> HelperId {
        HelperId::from_name(name).unwrap()
    }

    #[test]
    fn maps_and_helpers_choose_each_other() {
        assert!(go_together(helper("map_lookup_elem"), MapType::HASH, false));
        assert!(go_together(helper("map_lookup_elem"), MapType::XSKMAP, false));
        assert!(!go_together(helper("map_lookup_elem"), MapType::PROG_ARRAY, false));
        assert!(!go_together(helper("map_update_elem"), MapType::RINGBUF, false));
        assert!(!go_together(helper("perf_event_output"), MapType::HASH, false));
        assert!(!go_together(helper("for_each_map_elem"), MapType::LPM_TRIE, false));
        assert!(go_together(helper("map_update_elem"), MapType::SOCKMAP, true));
        assert!(!go_together(helper("map_update_elem"), MapType::SOCKMAP, false));
    }

    #[test]
    fn every_helper_that_a_map_is_kept_for_has_a_register() {
        for helper in TABLE.of_map.values().flat_map(HashMap::keys) {
            assert!(TABLE.of_helper.contains_key(helper), "{helper}");
        }
    }
}
