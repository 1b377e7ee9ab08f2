//! What has changed between the types of two kernels, in words.

use crate::btf::{Btf, BtfKind, Type, TypeId, essential_name};
use crate::core::CoreReloKind;
use crate::ext::CoreReloRecord;
use crate::object::BpfObject;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What has changed about one name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// What it is: `struct`, `enum`, `func`, …
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The changes, offsets in bytes from the beginning of the type.
    pub what: Vec<String>,
}

/// Names by the kind of what they name. One name may be a struct's and a function's.
pub type Names = BTreeMap<&'static str, BTreeSet<String>>;

/// The names that an object depends on: of the types its relocations begin at, and of the functions it is attached to or
/// calls.
pub fn names_of(object: &BpfObject) -> Names {
    let of_entries = object.entries.iter().flat_map(|entry| &entry.core_relos);
    // Those of functions that no entry reaches can fail, and the object with them.
    let of_text = object.text_relos.iter().map(|relo| &relo.record);
    let of_kernel = |record: &&CoreReloRecord| record.kind != CoreReloKind::TypeIdLocal as u32;
    let records = of_entries.chain(of_text).filter(of_kernel);
    let types = object.btf.iter().flat_map(|btf| {
        records.clone().filter_map(|record| {
            let ty = btf.ty(record.type_id);
            Some((compared_as(ty)?, essential_name(ty.name()).to_owned()))
        })
    });
    let targets = object.entries.iter().filter_map(|entry| {
        let (_, target) = entry.section.split_once('/')?;
        // Behind a function's name an offset may follow.
        Some(target.split(['+', ':']).next().unwrap_or_default().to_owned())
    });
    let functions = targets.chain(object.externs.iter().map(|ext| ext.name.clone()));
    let mut names = Names::new();
    for (kind, name) in types.chain(functions.map(|name| (BtfKind::Func.name(), name))) {
        names.entry(kind).or_default().insert(name);
    }
    names
}

/// The kind that a type is compared under, if it is one of those that are. Enumerations of both widths are one kind.
fn compared_as(ty: Type) -> Option<&'static str> {
    match ty.kind() {
        BtfKind::Enum64 => Some(BtfKind::Enum.name()),
        kind @ (BtfKind::Struct
        | BtfKind::Union
        | BtfKind::Enum
        | BtfKind::Typedef
        | BtfKind::Func
        | BtfKind::Int) => Some(kind.name()),
        _ => None,
    }
}

/// What is different in `new` from `old`: of `names`, or of everything that has a name.
pub fn diff(old: &Btf, new: &Btf, names: Option<&Names>) -> Vec<Change> {
    let (old_names, new_names) = (by_name(old, names), by_name(new, names));
    let keys: BTreeSet<_> = old_names.keys().chain(new_names.keys()).collect();
    let changes = keys.into_iter().filter_map(|key| {
        let what = match (old_names.get(key), new_names.get(key)) {
            (Some(_), None) => vec!["removed".to_owned()],
            (None, Some(_)) => vec!["added".to_owned()],
            (Some(a), Some(b)) => changed(old, a, new, b),
            (None, None) => Vec::new(),
        };
        (!what.is_empty()).then(|| Change { kind: key.0, name: key.1.to_owned(), what })
    });
    changes.collect()
}

type Named<'a> = BTreeMap<(&'static str, &'a str), Vec<TypeId>>;

/// Types by kind and name.
fn by_name<'a>(btf: &'a Btf, names: Option<&Names>) -> Named<'a> {
    let mut named = Named::new();
    for id in btf.own_ids() {
        let ty = btf.ty(id);
        let Some(kind) = compared_as(ty).filter(|_| !ty.name().is_empty()) else { continue };
        let is_one =
            |names: &BTreeSet<String>| names.contains(essential_name(ty.name())) || names.contains(ty.name());
        if names.is_none_or(|names| names.get(kind).is_some_and(is_one)) {
            named.entry((kind, ty.name())).or_default().push(id);
        }
    }
    named
}

/// What differs between the types of one name; where there are several, all texts are compared.
fn changed(old: &Btf, before: &[TypeId], new: &Btf, after: &[TypeId]) -> Vec<String> {
    if let ([a], [b]) = (before, after) {
        return differences(old, old.ty(*a), new, new.ty(*b));
    }
    let texts = |btf: &Btf, ids: &[TypeId]| -> BTreeSet<String> {
        ids.iter().map(|id| format!("{:?}", Shown::of(btf, btf.ty(*id)))).collect()
    };
    if texts(old, before) == texts(new, after) {
        return Vec::new();
    }
    vec![format!("{} declarations of this name were, {} are, and they differ", before.len(), after.len())]
}

/// A type as far as it is compared: facts by what they are about.
#[derive(Debug, Default)]
struct Shown {
    size: Option<u32>,
    /// What the type is: a function's prototype, a typedef's type.
    text: Option<String>,
    /// Fields: bit offset, bits of a bitfield, type.
    fields: BTreeMap<String, (u64, u32, String)>,
    /// Values of an enumeration.
    values: BTreeMap<String, u64>,
}

impl Shown {
    fn of(btf: &Btf, ty: Type) -> Shown {
        let mut shown = Shown::default();
        match ty.kind() {
            BtfKind::Struct | BtfKind::Union => {
                shown.size = Some(ty.size());
                fields(btf, ty, 0, &mut shown.fields, 0);
            }
            BtfKind::Enum | BtfKind::Enum64 => {
                shown.size = Some(ty.size());
                shown.values = ty.enumerators().map(|value| (value.name.to_owned(), value.value)).collect();
            }
            BtfKind::Int => {
                shown.size = Some(ty.size());
                shown.text = ty.int().map(|(encoding, ..)| {
                    if encoding & crate::raw::INT_SIGNED == 0 { "unsigned" } else { "signed" }.to_owned()
                });
            }
            _ => shown.text = Some(declaration(btf, ty.type_id(), 0)),
        }
        shown
    }
}

/// How deep anonymous members and declarations are followed.
const MAX_DEPTH: u32 = 16;

/// The fields of a struct, those of anonymous members among them.
fn fields(btf: &Btf, ty: Type, base: u64, into: &mut BTreeMap<String, (u64, u32, String)>, depth: u32) {
    for member in ty.members() {
        let at = base + u64::from(member.bit_off);
        let inner = btf.resolve(member.ty);
        if member.name.is_empty() && inner.is_composite() && depth < MAX_DEPTH {
            fields(btf, inner, at, into, depth + 1);
        } else if !member.name.is_empty() {
            let text = declaration(btf, member.ty, 0);
            into.insert(member.name.to_owned(), (at, member.bitfield_sz, text));
        }
    }
}

/// A type as C would name it.
fn declaration(btf: &Btf, id: TypeId, depth: u32) -> String {
    let ty = btf.ty(id);
    if depth == MAX_DEPTH {
        return "…".to_owned();
    }
    let inner = |id| declaration(btf, id, depth + 1);
    let name = if ty.name().is_empty() { "{…}" } else { ty.name() };
    match ty.kind() {
        BtfKind::Void => "void".to_owned(),
        BtfKind::Struct | BtfKind::Union => format!("{} {name}", ty.kind().name()),
        BtfKind::Fwd if ty.kind_flag() => format!("union {name}"),
        BtfKind::Fwd => format!("struct {name}"),
        BtfKind::Enum | BtfKind::Enum64 => format!("enum {name}"),
        BtfKind::Ptr => {
            let to = inner(ty.type_id());
            if to.ends_with('*') { format!("{to}*") } else { format!("{to} *") }
        }
        BtfKind::Const | BtfKind::Volatile | BtfKind::Restrict => {
            format!("{} {}", ty.kind().name(), inner(ty.type_id()))
        }
        BtfKind::TypeTag => inner(ty.type_id()),
        BtfKind::Array => {
            ty.array().map_or_else(String::new, |array| format!("{}[{}]", inner(array.elem), array.nelems))
        }
        BtfKind::FuncProto => {
            let mut text = format!("{} (", inner(ty.type_id()));
            for (index, param) in ty.params().enumerate() {
                let last = param.ty == TypeId::VOID && param.name.is_empty();
                let of = if last { "...".to_owned() } else { inner(param.ty) };
                let comma = if index > 0 { ", " } else { "" };
                let _ = write!(text, "{comma}{of} {}", param.name);
                text.truncate(text.trim_end().len());
            }
            text + ")"
        }
        _ => name.to_owned(),
    }
}

fn differences(old: &Btf, before: Type, new: &Btf, after: Type) -> Vec<String> {
    let (a, b) = (Shown::of(old, before), Shown::of(new, after));
    let mut what = Vec::new();
    if let (Some(was), Some(is)) = (a.size, b.size)
        && was != is
    {
        what.push(format!("size: {was} bytes before, {is} now"));
    }
    if let (Some(was), Some(is)) = (&a.text, &b.text)
        && was != is
    {
        what.push(format!("was {was}, is {is}"));
    }
    for (name, (was_at, was_bits, was)) in &a.fields {
        let Some((at, bits, is)) = b.fields.get(name) else {
            what.push(format!("field {name} at {} removed", place(*was_at, *was_bits)));
            continue;
        };
        if (was_at, was_bits) != (at, bits) {
            what.push(format!(
                "field {name} moved from {} to {}",
                place(*was_at, *was_bits),
                place(*at, *bits)
            ));
        }
        if was != is {
            what.push(format!("field {name} was {was}, is {is}"));
        }
    }
    for (name, (at, bits, is)) in b.fields.iter().filter(|(name, _)| !a.fields.contains_key(*name)) {
        what.push(format!("field {name} ({is}) added at {}", place(*at, *bits)));
    }
    for (name, was) in &a.values {
        match b.values.get(name) {
            None => what.push(format!("value {name} = {} removed", *was as i64)),
            Some(is) if is != was => {
                what.push(format!("value {name} was {}, is {}", *was as i64, *is as i64));
            }
            Some(_) => {}
        }
    }
    for (name, is) in b.values.iter().filter(|(name, _)| !a.values.contains_key(*name)) {
        what.push(format!("value {name} = {} added", *is as i64));
    }
    what
}

/// An offset in words: in bytes, and in bits where a field is one of bits.
fn place(bit_off: u64, bits: u32) -> String {
    match (bit_off % 8, bits) {
        (0, 0) => format!("byte {}", bit_off / 8),
        _ => format!("bit {bit_off} ({bits} bits)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::{Declared, build};
    use super::*;

    type Row<'a> = (BtfKind, u8, u32, &'a [(u8, u32, u32)]);

    fn btf(types: &[Row]) -> Btf {
        let types: Vec<Declared> = types
            .iter()
            .map(|(kind, name, refers, elements)| Declared {
                kind: *kind,
                name: *name,
                refers: *refers,
                elements: elements.to_vec(),
            })
            .collect();
        Btf::parse(build(&types, 0, false)).unwrap()
    }

    #[test]
    fn fields_values_and_prototypes_are_told_with_offsets() {
        use BtfKind as K;
        let old = btf(&[
            (K::Int, 1, 4, &[]),
            (K::Struct, 2, 16, &[(3, 1, 0), (4, 1, 32), (5, 1, 64)]),
            (K::Enum, 6, 4, &[(7, 0, 1), (8, 0, 2)]),
            (K::FuncProto, 0, 1, &[(9, 1, 0)]),
            (K::Func, 10, 4, &[]),
            (K::Struct, 11, 4, &[]),
        ]);
        let new = btf(&[
            (K::Int, 1, 4, &[]),
            (K::Struct, 2, 24, &[(3, 1, 0), (4, 1, 64), (12, 1, 96)]),
            (K::Enum, 6, 4, &[(7, 0, 1), (8, 0, 3)]),
            (K::FuncProto, 0, 1, &[(9, 1, 0), (13, 1, 0)]),
            (K::Func, 10, 4, &[]),
        ]);
        let changes = diff(&old, &new, None);
        let text: Vec<String> =
            changes.iter().map(|c| format!("{} {}: {}", c.kind, c.name, c.what.join("; "))).collect();
        assert_eq!(
            text,
            [
                "enum name_6: value name_8 was 2, is 3",
                "func name_10: was name_1 (name_1 name_9), is name_1 (name_1 name_9, name_1 name_13)",
                "struct name_11: removed",
                "struct name_2: size: 16 bytes before, 24 now; field name_4 moved from byte 4 to byte 8; \
                 field name_5 at byte 8 removed; field name_12 (name_1) added at byte 12",
            ]
        );
        // A function of the name is not the enumeration that was asked for.
        for (kind, found) in [("enum", 1), ("func", 0)] {
            let only = Names::from([(kind, BTreeSet::from(["name_6".to_owned()]))]);
            assert_eq!(diff(&old, &new, Some(&only)).len(), found, "{kind}");
        }
        assert!(diff(&old, &old, None).is_empty());
    }
}
