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

/// Whether a structure of that name is a member of a map's value, at byte `off`.
pub(super) fn has_field(object: &BpfObject, map: &MapDef, off: i64, name: &str) -> bool {
    let Some(btf) = &object.btf else { return false };
    let value = map.value_type.map(|ty| btf.resolve(ty));
    let at = |bit_off: u32| i64::from(bit_off) == off.saturating_mul(8);
    value.is_some_and(|value| match value.kind() {
        BtfKind::Datasec => value.secinfos().any(|(variable, at, _)| {
            i64::from(at) == off && btf.resolve(btf.ty(variable).type_id()).name() == name
        }),
        _ => value.members().any(|member| at(member.bit_off) && btf.resolve(member.ty).name() == name),
    })
}

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
            resolved.name().starts_with("bpf_")
                || resolved.members().any(|member| special(btf, member.ty, left))
        }
        BtfKind::Datasec => {
            let mut variables = resolved.secinfos();
            variables.any(|(variable, ..)| special(btf, btf.ty(variable).type_id(), left))
        }
        _ => false,
    }
}
