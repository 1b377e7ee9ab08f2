//! Fields of map values that the kernel keeps: locks, timers, lists, pointers to its objects.

use crate::btf::{Btf, BtfKind, TypeId};
use crate::object::{BpfObject, MapDef};

/// Types that are looked at in one map's value.
const MAX_TYPES: usize = 256;

/// Whether a map's value may have such fields.
pub(super) fn has_special_fields(object: &BpfObject, map: &MapDef) -> bool {
    let (Some(btf), Some(ty)) = (&object.btf, map.value_type) else { return false };
    let mut left = MAX_TYPES;
    special(btf, ty, &mut left)
}

/// Where in a map's value structures of that name begin, in bytes: those that are not inside another, which all kernels
/// find.
pub(super) fn fields(object: &BpfObject, map: &MapDef, name: &str) -> Vec<i64> {
    let Some((btf, ty)) = object.btf.as_ref().zip(map.value_type) else { return Vec::new() };
    let value = btf.resolve(ty);
    let named = |ty: TypeId| btf.resolve(ty).name() == name;
    if value.kind() == BtfKind::Datasec {
        let variables = value.secinfos().filter(|(variable, ..)| named(btf.ty(*variable).type_id()));
        return variables.map(|(_, off, _)| i64::from(off)).collect();
    }
    value.members().filter(|member| named(member.ty)).map(|member| i64::from(member.bit_off / 8)).collect()
}

/// `btf_get_field_type()` of kernel/bpf/btf.c, v7.2.
const KEPT: [&str; 10] = [
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

fn special(btf: &Btf, ty: TypeId, left: &mut usize) -> bool {
    if *left == 0 {
        return true;
    }
    *left -= 1;
    let resolved = btf.resolve(ty);
    match resolved.kind() {
        BtfKind::Ptr => btf.ty(resolved.type_id()).kind() == BtfKind::TypeTag,
        BtfKind::Array => resolved.array().is_some_and(|array| special(btf, array.elem, left)),
        BtfKind::Struct | BtfKind::Union => {
            KEPT.contains(&resolved.name()) || resolved.members().any(|member| special(btf, member.ty, left))
        }
        BtfKind::Datasec => {
            let mut variables = resolved.secinfos();
            variables.any(|(variable, ..)| special(btf, btf.ty(variable).type_id(), left))
        }
        _ => false,
    }
}
