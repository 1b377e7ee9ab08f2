//! Accesses: what an instruction does with a type, as the compiler recorded it (`0:1:2`), read against the object's
//! own types.

use super::matching::is_flexible_array;
use crate::btf::{Btf, BtfKind, TypeId};
use std::sync::Arc;

/// `enum bpf_core_relo_kind` of `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum CoreReloKind {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLshiftU64 = 4,
    FieldRshiftU64 = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumvalExists = 10,
    EnumvalValue = 11,
    TypeMatches = 12,
}

impl CoreReloKind {
    /// The kind of a raw number.
    pub fn from_raw(kind: u32) -> Option<CoreReloKind> {
        use CoreReloKind as K;
        const KINDS: [CoreReloKind; 13] = [
            K::FieldByteOffset,
            K::FieldByteSize,
            K::FieldExists,
            K::FieldSigned,
            K::FieldLshiftU64,
            K::FieldRshiftU64,
            K::TypeIdLocal,
            K::TypeIdTarget,
            K::TypeExists,
            K::TypeSize,
            K::EnumvalExists,
            K::EnumvalValue,
            K::TypeMatches,
        ];
        KINDS.get(kind as usize).copied()
    }

    /// Whether it is about a field.
    pub fn is_field(self) -> bool {
        (self as u32) <= CoreReloKind::FieldRshiftU64 as u32
    }

    /// Whether it is about an enumeration's value.
    pub fn is_enumval(self) -> bool {
        matches!(self, CoreReloKind::EnumvalExists | CoreReloKind::EnumvalValue)
    }

    /// Whether it is about a type as a whole.
    pub fn is_type(self) -> bool {
        !self.is_field() && !self.is_enumval()
    }

    /// Whether the answer is yes or no, never a failure.
    pub fn is_question(self) -> bool {
        matches!(
            self,
            CoreReloKind::FieldExists
                | CoreReloKind::TypeExists
                | CoreReloKind::EnumvalExists
                | CoreReloKind::TypeMatches
        )
    }
}

/// `BPF_CORE_SPEC_MAX_LEN`: the deepest access.
pub(super) const MAX_LEN: usize = 64;

/// One step of an access.
#[derive(Clone, Debug)]
pub(super) struct Accessor {
    /// The struct, union, array element or enumeration that is stepped into.
    pub(super) ty: TypeId,
    /// Which member, element or enumerator.
    pub(super) index: u32,
    /// The member's or enumerator's name in the object; `None` for a step into an array.
    pub(super) name: Option<Arc<str>>,
}

/// An access to a type, in an object's types or in the kernel's.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) root: TypeId,
    pub(super) kind: CoreReloKind,
    /// The named steps and array steps; steps through anonymous members are left out.
    pub(super) accessors: Vec<Accessor>,
    /// How many steps there are with those through anonymous members.
    pub(super) raw_len: usize,
    /// Offset of the field in bits from the start of the root type.
    pub(super) bit_off: u32,
}

impl Spec {
    /// An access that has not stepped anywhere yet.
    pub(super) fn at(root: TypeId, kind: CoreReloKind) -> Spec {
        Spec { root, kind, accessors: Vec::new(), raw_len: 0, bit_off: 0 }
    }

    /// The access as text: `struct sock.__sk_common.skc_dport`.
    pub(super) fn describe(&self, btf: &Btf) -> String {
        let root = btf.ty(self.root);
        let mut text = match root.kind() {
            BtfKind::Struct | BtfKind::Union | BtfKind::Enum | BtfKind::Typedef => {
                format!("{} {}", root.kind().name(), root.name())
            }
            BtfKind::Enum64 => format!("enum {}", root.name()),
            _ => root.name().to_owned(),
        };
        let steps =
            if self.kind.is_enumval() { &self.accessors[..] } else { self.accessors.get(1..).unwrap_or(&[]) };
        for step in steps {
            let (before, what) = match &step.name {
                Some(name) if self.kind.is_enumval() => ("::", name.to_string()),
                Some(name) => (".", name.to_string()),
                None => ("", format!("[{}]", step.index)),
            };
            text.push_str(before);
            text.push_str(&what);
        }
        text
    }
}

/// Reads an access against the object's own types: libbpf's `bpf_core_parse_spec()`.
pub(super) fn parse(btf: &Btf, root: TypeId, access: &str, kind: CoreReloKind) -> Result<Spec, String> {
    let mut spec = Spec::at(root, kind);
    if btf.ty(root).kind() == BtfKind::Unknown {
        return Err(format!("type {root} does not exist"));
    }
    if kind.is_type() {
        if access != "0" {
            return Err(format!("access {access:?} to a whole type"));
        }
        return Ok(spec);
    }
    let steps = steps(access)?;
    spec.raw_len = steps.len();
    let mut ty = btf.resolve(root);
    let (first, rest) = steps.split_first().ok_or_else(|| "an empty access".to_owned())?;
    if kind.is_enumval() {
        if !ty.is_any_enum() || !rest.is_empty() {
            return Err(format!("access {access:?} to a {}", ty.kind().name()));
        }
        let value = ty.enumerator(*first).ok_or_else(|| format!("no enumerator {first} in {}", ty.name()))?;
        spec.accessors.push(Accessor { ty: ty.id(), index: *first, name: Some(value.name.into()) });
        return Ok(spec);
    }
    let too_far = || "an offset beyond 2^32 bits".to_owned();
    let advance = |spec: &mut Spec, index: u32, elem: TypeId| -> Result<(), String> {
        let size = btf.size_of(elem).ok_or_else(|| format!("type {elem} has no size"))?;
        let bits = index.checked_mul(size).and_then(|bytes| bytes.checked_mul(8)).ok_or_else(too_far)?;
        spec.bit_off = spec.bit_off.checked_add(bits).ok_or_else(too_far)?;
        Ok(())
    };
    spec.accessors.push(Accessor { ty: ty.id(), index: *first, name: None });
    advance(&mut spec, *first, ty.id())?;
    for index in rest {
        if ty.is_composite() {
            let member = ty
                .member(*index)
                .ok_or_else(|| format!("no member {index} in {} {}", ty.kind().name(), ty.name()))?;
            spec.bit_off = spec.bit_off.checked_add(member.bit_off).ok_or_else(too_far)?;
            if !member.name.is_empty() {
                spec.accessors.push(Accessor { ty: ty.id(), index: *index, name: Some(member.name.into()) });
            }
            ty = btf.resolve(member.ty);
        } else if let Some(array) = ty.array() {
            let elem = btf.resolve(array.elem);
            let flexible = spec.accessors.last().is_some_and(|last| is_flexible_array(btf, last, &array));
            if !flexible && *index >= array.nelems {
                return Err(format!("element {index} of an array of {}", array.nelems));
            }
            spec.accessors.push(Accessor { ty: elem.id(), index: *index, name: None });
            advance(&mut spec, *index, elem.id())?;
            ty = elem;
        } else {
            return Err(format!("step {index} into a {}", ty.kind().name()));
        }
    }
    Ok(spec)
}

/// The numbers of `0:1:2`.
fn steps(access: &str) -> Result<Vec<u32>, String> {
    let steps: Vec<u32> = access
        .split(':')
        .take(MAX_LEN + 1)
        .map(|step| step.parse().map_err(|_| format!("access {access:?} is not numbers between colons")))
        .collect::<Result<_, _>>()?;
    if steps.len() > MAX_LEN {
        return Err(format!("an access of more than {MAX_LEN} steps"));
    }
    Ok(steps)
}
