//! Whether a type or a field of the kernel is the one that an object means.
//!
//! Three relations, each libbpf's: *compatible fields* (loose, for offsets), *compatible types* (for `exists` and
//! `size`), *matching types* (strict, for `bpf_core_type_matches()`).

use super::spec::{Accessor, MAX_LEN, Spec};
use crate::btf::{Array, Btf, BtfKind, Type, TypeId, essential_name};
use crate::raw::INT_SIGNED;

/// How deep types are compared: 32, as in libbpf.
const MAX_DEPTH: u32 = 32;

/// Types and members that the relocations of one object may look at in all. A real object needs thousands; hostile types
/// nest and repeat without end.
pub(crate) struct Visits(u32);

impl Default for Visits {
    fn default() -> Visits {
        Visits(1 << 26)
    }
}

impl Visits {
    fn count(&mut self) -> Result<(), &'static str> {
        self.count_all(1)
    }

    /// Candidates stay in memory for each local type that is asked about: they count for more.
    pub(super) fn count_candidates(&mut self, candidates: usize) -> Result<(), &'static str> {
        self.count_all(candidates.saturating_mul(64))
    }

    fn count_all(&mut self, visits: usize) -> Result<(), &'static str> {
        self.0 = u32::try_from(visits)
            .ok()
            .and_then(|visits| self.0.checked_sub(visits))
            .ok_or("the object's relocations look at more than 2^26 types and members")?;
        Ok(())
    }
}

/// What libbpf says when it gives up on depth.
const TOO_DEEP: &str = "types nest deeper than 32 levels";

/// Whether an array is flexible: without elements and the last member of its struct (`is_flex_arr()`).
pub(super) fn is_flexible_array(btf: &Btf, holder: &Accessor, array: &Array) -> bool {
    holder.name.is_some() && array.nelems == 0 && holder.index as usize + 1 == btf.ty(holder.ty).vlen()
}

fn same_kind(local: Type, target: Type) -> bool {
    local.kind() == target.kind() || local.is_any_enum() && target.is_any_enum()
}

fn no_offset(ty: Type) -> bool {
    ty.int().is_some_and(|(_, bit_off, _)| bit_off == 0)
}

/// Matches an access against a candidate; `None` if the candidate lacks what is accessed.
pub(super) fn match_spec(
    local: &Btf,
    spec: &Spec,
    target: &Btf,
    candidate: TypeId,
    visits: &mut Visits,
) -> Result<Option<Spec>, &'static str> {
    visits.count()?;
    let mut found = Spec::at(candidate, spec.kind);
    if spec.kind.is_type() {
        let matches = if spec.kind == super::CoreReloKind::TypeMatches {
            types_match(local, spec.root, target, candidate, false, MAX_DEPTH, visits)?
        } else {
            types_compatible(local, spec.root, target, candidate, MAX_DEPTH, visits)?
        };
        return Ok(matches.then_some(found));
    }
    if spec.kind.is_enumval() {
        let wanted = spec.accessors[0].name.as_deref().map_or("", essential_name);
        let ty = target.resolve(candidate);
        visits.count_all(if ty.is_any_enum() { ty.vlen() } else { 0 })?;
        let Some(index) = ty.enumerators().position(|value| essential_name(value.name) == wanted) else {
            return Ok(None);
        };
        let name = spec.accessors[0].name.clone();
        found.accessors.push(Accessor { ty: ty.id(), index: index as u32, name });
        return Ok(Some(found));
    }
    let mut at = candidate;
    for (step, wanted) in spec.accessors.iter().enumerate() {
        let ty = target.resolve(at);
        if wanted.name.is_some() {
            match match_member(local, wanted, target, ty.id(), &mut found, visits)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
            continue;
        }
        at = ty.id();
        // The first step indexes the root type itself; later ones are into an array.
        if step > 0 {
            let Some(array) = ty.array() else { return Ok(None) };
            let flexible = found.accessors.last().is_some_and(|last| is_flexible_array(target, last, &array));
            if !flexible && wanted.index >= array.nelems {
                return Ok(None);
            }
            at = target.resolve(array.elem).id();
        }
        if found.raw_len == MAX_LEN {
            return Err("an access of more than 64 steps");
        }
        found.raw_len += 1;
        found.accessors.push(Accessor { ty: at, index: wanted.index, name: None });
        let size = target.size_of(at).ok_or("an element of the kernel's type has no size")?;
        let bits = wanted.index.checked_mul(size).and_then(|bytes| bytes.checked_mul(8));
        found.bit_off = bits
            .and_then(|bits| found.bit_off.checked_add(bits))
            .ok_or("an offset beyond 2^32 bits in the kernel")?;
    }
    Ok(Some(found))
}

/// Finds a member by name, through anonymous members; returns its type (`bpf_core_match_member()`).
fn match_member(
    local: &Btf,
    wanted: &Accessor,
    target: &Btf,
    holder: TypeId,
    found: &mut Spec,
    visits: &mut Visits,
) -> Result<Option<TypeId>, &'static str> {
    let ty = target.resolve(holder);
    let (Some(wanted_name), Some(local_member)) =
        (wanted.name.as_deref(), local.ty(wanted.ty).member(wanted.index))
    else {
        return Ok(None);
    };
    for (index, member) in ty.raw_members().enumerate() {
        if found.raw_len == MAX_LEN {
            return Err("an access of more than 64 steps");
        }
        visits.count()?;
        let before = found.bit_off;
        found.bit_off = before.wrapping_add(member.bit_off);
        found.raw_len += 1;
        if target.string_is(member.name_off, "") {
            if let Some(next) = match_member(local, wanted, target, member.ty, found, visits)? {
                return Ok(Some(next));
            }
        } else if target.string_is(member.name_off, wanted_name) {
            if !fields_compatible(local, local_member.ty, target, member.ty)? {
                return Ok(None);
            }
            let name = wanted.name.clone();
            found.accessors.push(Accessor { ty: ty.id(), index: index as u32, name });
            return Ok(Some(member.ty));
        }
        found.bit_off = before;
        found.raw_len -= 1;
    }
    Ok(None)
}

/// `bpf_core_fields_are_compat()`: the same kind after modifiers; structs are never looked into.
fn fields_compatible(local: &Btf, mut l: TypeId, target: &Btf, mut t: TypeId) -> Result<bool, &'static str> {
    for _ in 0..MAX_DEPTH {
        let (lt, tt) = (local.resolve(l), target.resolve(t));
        if lt.is_composite() && tt.is_composite() {
            return Ok(true);
        }
        if !same_kind(lt, tt) {
            return Ok(false);
        }
        match lt.kind() {
            BtfKind::Ptr | BtfKind::Float => return Ok(true),
            BtfKind::Fwd | BtfKind::Enum | BtfKind::Enum64 => {
                // One of them anonymous, or both of the same name.
                let (lname, tname) = (essential_name(lt.name()), essential_name(tt.name()));
                return Ok(lname.is_empty() || tname.is_empty() || lname == tname);
            }
            // Integers that are bitfields by themselves are long deprecated; any others agree.
            BtfKind::Int => return Ok(no_offset(lt) && no_offset(tt)),
            BtfKind::Array => match (lt.array(), tt.array()) {
                (Some(la), Some(ta)) => (l, t) = (la.elem, ta.elem),
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
    }
    Err(TOO_DEEP)
}

/// All that [`fields_compatible`] can find out of the object's side, step by step: a kind (of integers, with whether they
/// begin at their first bit), and a name where names are compared.
pub(super) fn compared_of_field(local: &Btf, mut l: TypeId, mut tell: impl FnMut(u8, &str)) {
    for _ in 0..MAX_DEPTH {
        let lt = local.resolve(l);
        let kind = lt.kind() as u8;
        match lt.kind() {
            // Structs and unions go together.
            BtfKind::Struct | BtfKind::Union => return tell(BtfKind::Struct as u8, ""),
            BtfKind::Fwd | BtfKind::Enum | BtfKind::Enum64 => return tell(kind, essential_name(lt.name())),
            BtfKind::Int => return tell(kind, if no_offset(lt) { "0" } else { "" }),
            BtfKind::Array => {
                let Some(array) = lt.array() else { return };
                tell(kind, "");
                l = array.elem;
            }
            _ => return tell(kind, ""),
        }
    }
}

/// Whether the type of an extern is the kernel's: [`types_compatible`] from the full depth.
pub(super) fn types_compatible_at_root(
    local: &Btf,
    l: TypeId,
    target: &Btf,
    t: TypeId,
    visits: &mut Visits,
) -> Result<bool, &'static str> {
    types_compatible(local, l, target, t, MAX_DEPTH, visits)
}

/// `bpf_core_types_are_compat()`: names were compared at the root; below it only kinds count.
fn types_compatible(
    local: &Btf,
    mut l: TypeId,
    target: &Btf,
    mut t: TypeId,
    level: u32,
    visits: &mut Visits,
) -> Result<bool, &'static str> {
    if level == 0 {
        return Err(TOO_DEEP);
    }
    if !same_kind(local.ty(l), target.ty(t)) {
        return Ok(false);
    }
    for _ in 0..MAX_DEPTH {
        visits.count()?;
        let (lt, tt) = (local.resolve(l), target.resolve(t));
        if !same_kind(lt, tt) {
            return Ok(false);
        }
        match lt.kind() {
            BtfKind::Void
            | BtfKind::Struct
            | BtfKind::Union
            | BtfKind::Enum
            | BtfKind::Enum64
            | BtfKind::Fwd => return Ok(true),
            BtfKind::Int => return Ok(no_offset(lt) && no_offset(tt)),
            BtfKind::Ptr => (l, t) = (lt.type_id(), tt.type_id()),
            BtfKind::Array => match (lt.array(), tt.array()) {
                (Some(la), Some(ta)) => (l, t) = (la.elem, ta.elem),
                _ => return Ok(false),
            },
            BtfKind::FuncProto => {
                if lt.vlen() != tt.vlen() {
                    return Ok(false);
                }
                for (lp, tp) in lt.params().zip(tt.params()) {
                    let (lp, tp) = (local.resolve(lp.ty).id(), target.resolve(tp.ty).id());
                    if !types_compatible(local, lp, target, tp, level - 1, visits)? {
                        return Ok(false);
                    }
                }
                (l, t) = (local.resolve(lt.type_id()).id(), target.resolve(tt.type_id()).id());
            }
            _ => return Ok(false),
        }
    }
    Err(TOO_DEEP)
}

fn names_match(local: &str, target: &str) -> bool {
    if target.is_empty() { local.is_empty() } else { essential_name(local) == essential_name(target) }
}

/// `__bpf_core_types_match()`: `bpf_core_type_matches()` of an object.
fn types_match(
    local: &Btf,
    mut l: TypeId,
    target: &Btf,
    mut t: TypeId,
    mut behind_ptr: bool,
    level: u32,
    visits: &mut Visits,
) -> Result<bool, &'static str> {
    if level == 0 {
        return Err(TOO_DEEP);
    }
    for _ in 0..MAX_DEPTH {
        visits.count()?;
        let (lt, tt) = (local.resolve(l), target.resolve(t));
        if !names_match(lt.name(), tt.name()) {
            return Ok(false);
        }
        let (lk, tk) = (lt.kind(), tt.kind());
        match lk {
            BtfKind::Void => return Ok(lk == tk),
            BtfKind::Fwd => {
                // The flag of a forward declaration says union.
                let is_union = lt.kind_flag();
                return Ok(match tk {
                    BtfKind::Fwd => tt.kind_flag() == is_union,
                    BtfKind::Struct => behind_ptr && !is_union,
                    BtfKind::Union => behind_ptr && is_union,
                    _ => false,
                });
            }
            BtfKind::Enum | BtfKind::Enum64 => {
                if !tt.is_any_enum() || lt.vlen() > tt.vlen() {
                    return Ok(false);
                }
                for lv in lt.enumerators() {
                    visits.count_all(tt.vlen())?;
                    if !tt.enumerators().any(|tv| names_match(lv.name, tv.name)) {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            BtfKind::Struct | BtfKind::Union => {
                if behind_ptr {
                    let fwd = tk == BtfKind::Fwd && (lk == BtfKind::Union) == tt.kind_flag();
                    return Ok(lk == tk || fwd);
                }
                return Ok(lk == tk && members_match(local, lt, target, tt, level, visits)?);
            }
            BtfKind::Int => {
                let signed = |ty: Type| ty.int().is_some_and(|(encoding, ..)| encoding & INT_SIGNED != 0);
                return Ok(lk == tk && lt.size() == tt.size() && signed(lt) == signed(tt));
            }
            BtfKind::Ptr => {
                if lk != tk {
                    return Ok(false);
                }
                behind_ptr = true;
                (l, t) = (lt.type_id(), tt.type_id());
            }
            BtfKind::Array => match (lt.array(), tt.array()) {
                (Some(la), Some(ta)) if la.nelems == ta.nelems => (l, t) = (la.elem, ta.elem),
                _ => return Ok(false),
            },
            BtfKind::FuncProto => {
                if lk != tk || lt.vlen() != tt.vlen() {
                    return Ok(false);
                }
                for (lp, tp) in lt.params().zip(tt.params()) {
                    if !types_match(local, lp.ty, target, tp.ty, behind_ptr, level - 1, visits)? {
                        return Ok(false);
                    }
                }
                (l, t) = (lt.type_id(), tt.type_id());
            }
            _ => return Ok(false),
        }
    }
    Err(TOO_DEEP)
}

/// Every local member has one of the same name and a matching type in the target.
fn members_match(
    local: &Btf,
    lt: Type,
    target: &Btf,
    tt: Type,
    level: u32,
    visits: &mut Visits,
) -> Result<bool, &'static str> {
    if lt.vlen() > tt.vlen() {
        return Ok(false);
    }
    for lm in lt.members() {
        visits.count_all(tt.vlen())?;
        let mut matched = false;
        for tm in tt.members().filter(|tm| names_match(lm.name, tm.name)) {
            if types_match(local, lm.ty, target, tm.ty, false, level - 1, visits)? {
                matched = true;
                break;
            }
        }
        if !matched {
            return Ok(false);
        }
    }
    Ok(true)
}
