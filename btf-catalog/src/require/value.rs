//! Fields of map values that the kernel manages itself.

use crate::btf::{Btf, BtfKind, TypeId};
use crate::object::{F_RDONLY_PROG, F_WRONLY_PROG, MapDef};
use crate::uapi::MapType;
use std::collections::BTreeSet;

/// Structures that the kernel looks for in a map's value: `btf_parse_fields()` of kernel/bpf/btf.c, v7.2.
pub(crate) const STRUCTURES: [&str; 10] = [
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];
/// Tags of pointers that the kernel keeps count of.
const TAGS: [&str; 5] = ["kptr", "kptr_untrusted", "kptr_ref", "percpu_kptr", "uptr"];
/// Those that no kernel refuses which knows any.
const SURE_TAGS: [&str; 2] = ["kptr", "kptr_untrusted"];
/// Types that are looked at in one value, so that a small object cannot ask for much.
const MAX_TYPES: usize = 10_000;

/// Types of maps whose values may have locks.
const LOCKED: [MapType; 8] = [
    MapType::HASH,
    MapType::RHASH,
    MapType::ARRAY,
    MapType::CGROUP_STORAGE,
    MapType::SK_STORAGE,
    MapType::INODE_STORAGE,
    MapType::TASK_STORAGE,
    MapType::CGRP_STORAGE,
];
/// Types of maps whose values may have timers, and whatever else is no lock.
const TIMED: [MapType; 4] = [MapType::HASH, MapType::RHASH, MapType::LRU_HASH, MapType::ARRAY];

/// Whether a kernel manages the fields of a map's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Managing {
    /// Those that it knows, in every map that is like this.
    Sure,
    /// Kernels differ.
    Perhaps,
    /// None: it ignores them, or refuses to make the map with its types, and libbpf then makes it without.
    Never,
}

/// Whether kernels manage the fields of this map's values (`map_check_btf()` of kernel/bpf/syscall.c, v5.10 to v7.2). What
/// they manage by itself is refused in maps of other types, as is more than one lock. `times` says whether the kernel knows
/// `struct bpf_timer`; before that came, variables in sections were not looked at.
pub fn managing(btf: &Btf, map: &MapDef, times: Option<bool>) -> Managing {
    let Some(value) = map.value_type.map(|id| btf.resolve(id)) else { return Managing::Never };
    let mut members = match value.kind() {
        BtfKind::Struct => value.members().map(|member| member.ty).collect::<Vec<_>>(),
        BtfKind::Datasec if times == Some(false) => return Managing::Never,
        BtfKind::Datasec if times == Some(true) => {
            value.secinfos().map(|(var, _, _)| btf.ty(var).type_id()).collect()
        }
        _ => return Managing::Perhaps,
    };
    members.retain(|id| !managed_fields(btf, *id).is_empty() || is_tagged(btf, *id));
    let (mut locks, mut timers, mut others, mut deeper) = (0, 0, 0, false);
    for id in members {
        let ty = btf.ty(id);
        match (ty.kind(), ty.name()) {
            (BtfKind::Struct, "bpf_spin_lock") => locks += 1,
            (BtfKind::Struct, "bpf_timer") => timers += 1,
            (BtfKind::Struct, name) if STRUCTURES.contains(&name) => others += 1,
            (BtfKind::Ptr, _) if SURE_TAGS.contains(&btf.ty(ty.type_id()).name()) => others += 1,
            _ => deeper = true,
        }
    }
    let alone = others == 0 && !deeper;
    if locks == 1 && (!LOCKED.contains(&map.map_type) || map.flags & F_RDONLY_PROG != 0) {
        return Managing::Never;
    }
    let (lockable, timeable) = (LOCKED.contains(&map.map_type), TIMED.contains(&map.map_type));
    let access = map.flags & (F_RDONLY_PROG | F_WRONLY_PROG);
    let not_timed = timers > 1 || !timeable || access & F_RDONLY_PROG != 0;
    match (locks, timers) {
        (2.., 0) if alone => Managing::Never,
        (0, 1..) if alone && not_timed => Managing::Never,
        _ if deeper || locks > 1 || timers > 1 || access != 0 => Managing::Perhaps,
        (1, 0) if alone && lockable => Managing::Sure,
        _ if timeable => Managing::Sure,
        _ => Managing::Perhaps,
    }
}

fn is_tagged(btf: &Btf, id: TypeId) -> bool {
    let ty = btf.resolve(id);
    ty.kind() == BtfKind::Ptr && btf.ty(ty.type_id()).kind() == BtfKind::TypeTag
}

/// The managed fields in a value of the type `id`: `bpf_timer`, `kptr`, …
pub fn managed_fields(btf: &Btf, id: TypeId) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop().filter(|_| seen.len() < MAX_TYPES) {
        if !seen.insert(id) {
            continue;
        }
        let ty = btf.ty(id);
        match ty.kind() {
            BtfKind::Struct | BtfKind::Union => match STRUCTURES.iter().find(|name| **name == ty.name()) {
                Some(name) => drop(found.insert(*name)),
                None => open.extend(ty.members().map(|member| member.ty)),
            },
            BtfKind::Array => open.extend(ty.array().map(|array| array.elem)),
            BtfKind::Datasec => open.extend(ty.secinfos().map(|(var, _, _)| var)),
            BtfKind::Ptr => {
                let tag = btf.ty(ty.type_id());
                if tag.kind() == BtfKind::TypeTag {
                    found.extend(TAGS.iter().find(|name| **name == tag.name()));
                }
            }
            BtfKind::Typedef | BtfKind::Const | BtfKind::Volatile | BtfKind::Restrict | BtfKind::Var => {
                open.push(ty.type_id());
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::Writer;

    #[test]
    fn what_libbpf_makes_a_map_without_types_for_is_not_managed() {
        let mut types = Writer::default();
        let int = types.int("int", 4, 0);
        let long = types.int("long", 8, 0);
        let lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
        let timer = types.structure("bpf_timer", 8, &[("opaque", long, 0)]);
        let locked = types.structure("locked", 8, &[("lock", lock, 0), ("a", int, 32)]);
        let twice = types.structure("twice", 8, &[("lock", lock, 0), ("other", lock, 32)]);
        let nested = types.structure("nested", 16, &[("inner", locked, 0), ("a", int, 64)]);
        let timed = types.structure("timed", 16, &[("timer", timer, 0), ("a", int, 64)]);
        let btf = types.btf();
        for (map_type, value, flags, expected) in [
            (MapType::HASH, locked, 0, Managing::Sure),
            (MapType::SK_STORAGE, locked, 0, Managing::Sure),
            (MapType::LRU_HASH, locked, 0, Managing::Never),
            (MapType::PERCPU_ARRAY, locked, 0, Managing::Never),
            (MapType::ARRAY, locked, F_RDONLY_PROG, Managing::Never),
            (MapType::HASH, locked, F_WRONLY_PROG, Managing::Perhaps),
            (MapType::HASH, twice, 0, Managing::Never),
            (MapType::HASH, nested, 0, Managing::Perhaps),
            (MapType::LRU_HASH, timed, 0, Managing::Sure),
            (MapType::PERCPU_HASH, timed, 0, Managing::Never),
        ] {
            let mut map = MapDef::default();
            (map.map_type, map.flags, map.value_type) = (map_type, flags, Some(TypeId(value)));
            assert_eq!(managing(&btf, &map, Some(true)), expected, "{map_type} {value}");
        }
    }
}
