//! The value of a relocation: what the object assumed, what the kernel says, and whether all candidates agree.

use super::candidate::{Candidate, Candidates, TargetBtf};
use super::matching::{Visits, match_spec};
use super::spec::{CoreReloKind, Spec};
use crate::btf::{Btf, BtfKind, TypeId};
use crate::raw::INT_SIGNED;

/// A relocation's answer, ready to be written into an instruction (`struct bpf_core_relo_res`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Resolved {
    /// What the compiler wrote into the instruction.
    pub(super) orig_value: u64,
    /// What belongs there.
    pub(super) new_value: u64,
    /// Whether the instruction must carry `orig_value` now.
    pub(super) validate: bool,
    /// Why the instruction is to be replaced by a poisoned one.
    pub(super) poisoned: Option<&'static str>,
    /// Bytes that the load or store moved in the object and moves in the kernel; 0 where it does not matter.
    pub(super) orig_sz: u32,
    pub(super) new_sz: u32,
    /// Whether a load or store cannot be resized: neither pointers nor unsigned integers on both sides.
    pub(super) cannot_resize: bool,
}

impl Resolved {
    /// The relocation that only asks for the object's own type.
    pub(super) fn local_type_id(ty: TypeId) -> Resolved {
        Resolved { orig_value: u64::from(ty.0), new_value: u64::from(ty.0), ..Resolved::default() }
    }
}

/// Asks every candidate and demands one answer: libbpf's `bpf_core_calc_relo_insn()`.
pub(super) fn resolve(
    local: &Btf,
    spec: &Spec,
    candidates: &mut Candidates,
    target: &TargetBtf,
    visits: &mut Visits,
) -> Result<Resolved, String> {
    if local.ty(spec.root).name().is_empty() {
        return Err("an anonymous type cannot be found in the kernel".to_owned());
    }
    let mut agreed: Option<(Resolved, u32)> = None;
    let mut matching = Vec::new();
    for candidate in &candidates.0 {
        let btf = target.btf(candidate.place);
        let Some(found) = match_spec(local, spec, btf, candidate.ty, visits)? else {
            continue;
        };
        let resolved = answer(local, spec, Some((btf, &found)))?;
        if let Some((first, bit_off)) = &agreed {
            let differs = *bit_off != found.bit_off
                || first.poisoned.is_some() != resolved.poisoned.is_some()
                || first.new_value != resolved.new_value;
            if differs {
                let at = matching.iter().chain([candidate]).map(|c: &Candidate| c.ty.to_string());
                let types: Vec<_> = at.collect();
                return Err(format!(
                    "ambiguous: the kernel's types {} give different answers",
                    types.join(" ")
                ));
            }
        } else {
            agreed = Some((resolved, found.bit_off));
        }
        matching.push(*candidate);
    }
    match agreed {
        Some((resolved, _)) => {
            // What does not have this field is not the type that the object means. Where nothing has it, nothing is
            // learned: the access may stand behind a test for the field.
            candidates.0 = matching;
            Ok(resolved)
        }
        None => answer(local, spec, None),
    }
}

/// One candidate's answer, or that of no candidate: `bpf_core_calc_relo()`.
fn answer(local: &Btf, spec: &Spec, found: Option<(&Btf, &Spec)>) -> Result<Resolved, String> {
    let mut resolved = Resolved { validate: true, ..Resolved::default() };
    let missing = if spec.kind.is_field() {
        let orig = field_value(local, spec)?;
        resolved.orig_value = orig.value;
        resolved.validate = orig.validate;
        match found {
            None if spec.kind == CoreReloKind::FieldExists => None,
            None => Some("the kernel has no such field"),
            Some((target, found)) => {
                let new = field_value(target, found)?;
                resolved.new_value = new.value;
                // A bitfield moves nothing that could be resized: void of no bytes.
                let (orig_ty, orig_sz) = orig.moves.unwrap_or_default();
                let (new_ty, new_sz) = new.moves.unwrap_or_default();
                (resolved.orig_sz, resolved.new_sz) = (orig_sz, new_sz);
                resolved.cannot_resize = orig_sz != new_sz && !resizable(local, orig_ty, target, new_ty);
                None
            }
        }
    } else if spec.kind.is_type() {
        resolved.validate = spec.kind != CoreReloKind::TypeIdTarget;
        resolved.orig_value = type_value(local, spec)?;
        // A type that is not there has size 0 and id 0; nothing is poisoned.
        resolved.new_value = found.map_or(Ok(0), |(target, found)| type_value(target, found))?;
        None
    } else {
        resolved.orig_value = enum_value(local, spec);
        resolved.new_value = found.map_or(0, |(target, found)| enum_value(target, found));
        (found.is_none() && spec.kind == CoreReloKind::EnumvalValue)
            .then_some("the kernel has no such enumeration value")
    };
    resolved.poisoned = missing;
    Ok(resolved)
}

/// Whether a load may move fewer or more bytes: pointers (a 32-bit kernel's are narrower) and unsigned integers, which
/// are extended by zeros either way.
fn resizable(local: &Btf, orig: TypeId, target: &Btf, new: TypeId) -> bool {
    let (orig, new) = (local.ty(orig), target.ty(new));
    let both = |kind| orig.kind() == kind && new.kind() == kind;
    both(BtfKind::Ptr)
        || both(BtfKind::Int)
            && [orig, new].iter().all(|ty| ty.int().is_some_and(|(encoding, ..)| encoding != INT_SIGNED))
}

/// What an object or a kernel says of a field.
pub(super) struct FieldValue {
    pub(super) value: u64,
    pub(super) validate: bool,
    /// Type and bytes that a load of the field moves.
    pub(super) moves: Option<(TypeId, u32)>,
}

/// `bpf_core_calc_field_relo()`.
pub(super) fn field_value(btf: &Btf, spec: &Spec) -> Result<FieldValue, String> {
    use CoreReloKind as K;
    let plain = |value| FieldValue { value, validate: true, moves: None };
    if spec.kind == K::FieldExists {
        return Ok(plain(1));
    }
    let last = spec.accessors.last().ok_or("an access without steps")?;
    let no_size = || format!("the field's type {} has no size", last.ty);
    let Some(_) = last.name else {
        // The last step is into an array, or to the root type itself.
        let size = btf.size_of(last.ty).ok_or_else(no_size)?;
        return match spec.kind {
            K::FieldByteOffset => Ok(FieldValue {
                value: u64::from(spec.bit_off / 8),
                validate: true,
                moves: Some((last.ty, element_sz(btf, last.ty).ok_or_else(no_size)?)),
            }),
            K::FieldByteSize => Ok(plain(u64::from(size))),
            kind => Err(format!("{kind:?} of an array element")),
        };
    };
    let member = btf.ty(last.ty).member(last.index).ok_or("a member that is not there")?;
    let ty = btf.resolve(member.ty);
    let bitfield = member.bitfield_sz > 0;
    let mut bit_sz = member.bitfield_sz;
    let (byte_off, byte_sz);
    if bitfield {
        let mut unit = ty.size();
        if unit == 0 {
            return Err(no_size());
        }
        let mut off = spec.bit_off / 8 / unit * unit;
        // The smallest load, aligned to its size, that covers the bitfield.
        let end = u64::from(spec.bit_off) + u64::from(bit_sz);
        while end - u64::from(off) * 8 > u64::from(unit) * 8 {
            if unit >= 8 {
                return Err("a bitfield that no 64-bit load covers".to_owned());
            }
            unit *= 2;
            off = spec.bit_off / 8 / unit * unit;
        }
        (byte_off, byte_sz) = (off, unit);
    } else {
        byte_sz = btf.size_of(member.ty).ok_or_else(no_size)?;
        byte_off = spec.bit_off / 8;
        bit_sz = byte_sz.wrapping_mul(8);
    }
    let value = match spec.kind {
        K::FieldByteOffset => {
            let moves =
                if bitfield { None } else { Some((ty.id(), element_sz(btf, ty.id()).ok_or_else(no_size)?)) };
            return Ok(FieldValue { value: u64::from(byte_off), validate: !bitfield, moves });
        }
        // Of a bitfield, the compiler may choose other units than ours.
        K::FieldByteSize => {
            return Ok(FieldValue { value: u64::from(byte_sz), validate: !bitfield, moves: None });
        }
        K::FieldSigned => {
            let enum_signed = ty.is_any_enum() && ty.kind_flag();
            let int_signed = ty.int().is_some_and(|(encoding, ..)| encoding & INT_SIGNED != 0);
            u64::from(enum_signed || int_signed)
        }
        K::FieldLshiftU64 => {
            let shift = if btf.big_endian() {
                8i64 * (8 - i64::from(byte_sz)) + (i64::from(spec.bit_off) - i64::from(byte_off) * 8)
            } else {
                64 - (i64::from(spec.bit_off) + i64::from(bit_sz) - i64::from(byte_off) * 8)
            };
            return Ok(FieldValue { value: u64::from(shift as u32), validate: !bitfield, moves: None });
        }
        K::FieldRshiftU64 => u64::from(64u32.wrapping_sub(bit_sz)),
        kind => return Err(format!("{kind:?} is not about a field")),
    };
    Ok(plain(value))
}

/// Bytes that a load of a field moves: of an array, those of one element, however long the array is (libbpf 1.6).
fn element_sz(btf: &Btf, ty: TypeId) -> Option<u32> {
    let mut at = btf.resolve(ty);
    // As deep as types are followed anywhere; deeper arrays have no size either.
    for _ in 0..32 {
        match at.array() {
            Some(array) => at = btf.resolve(array.elem),
            None => break,
        }
    }
    btf.size_of(at.id())
}

/// `bpf_core_calc_type_relo()` of a type that is there.
pub(super) fn type_value(btf: &Btf, spec: &Spec) -> Result<u64, String> {
    match spec.kind {
        CoreReloKind::TypeIdTarget => Ok(u64::from(spec.root.0)),
        CoreReloKind::TypeSize => {
            btf.size_of(spec.root).map(u64::from).ok_or_else(|| format!("type {} has no size", spec.root))
        }
        _ => Ok(1),
    }
}

/// `bpf_core_calc_enumval_relo()` of a value that is there.
pub(super) fn enum_value(btf: &Btf, spec: &Spec) -> u64 {
    let Some(step) = spec.accessors.first() else {
        return 0;
    };
    if spec.kind == CoreReloKind::EnumvalExists {
        return 1;
    }
    btf.ty(step.ty).enumerator(step.index).map_or(0, |value| value.value)
}
