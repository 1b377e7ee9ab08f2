//! Fields of map values that the kernel manages itself.

use crate::btf::{Btf, BtfKind, TypeId};
use std::collections::BTreeSet;

/// Structures that the kernel looks for in a map's value: `btf_parse_fields()` of kernel/bpf/btf.c, v7.2.
const STRUCTURES: [&str; 10] = [
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
/// Types that are looked at in one value, so that a small object cannot ask for much.
const MAX_TYPES: usize = 10_000;

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
