//! The part of a BTF that has some names.

use btf_catalog::btf::Type;
use btf_catalog::{Btf, BtfKind, TypeId};
use std::collections::{BTreeSet, HashMap};

/// Of `btf` what is named as `wanted` says, with its members, and what these need; and the new id of each type that is kept.
///
/// A struct that is needed and not wanted keeps its name and its size, an enumeration its name. Types keep their order, so
/// that what was sorted by name still is.
pub(super) fn part(btf: &Btf, wanted: &dyn Fn(&str) -> bool) -> (Vec<u8>, HashMap<TypeId, TypeId>) {
    let is_root = |ty: Type| match ty.kind() {
        BtfKind::Datasec | BtfKind::DeclTag => false,
        _ if ty.is_any_enum() && ty.name().is_empty() => ty.enumerators().any(|value| wanted(value.name)),
        _ => wanted(ty.name()),
    };
    let mut kept = BTreeSet::new();
    let mut open: Vec<TypeId> = btf.own_ids().filter(|id| is_root(btf.ty(*id))).collect();
    let whole = |ty: Type| ty.name().is_empty() || is_root(ty);
    loop {
        while let Some(id) = open.pop() {
            if id == TypeId::VOID || !kept.insert(id) {
                continue;
            }
            let ty = btf.ty(id);
            open.push(ty.type_id());
            open.extend(ty.array().into_iter().flat_map(|array| [array.elem, array.index]));
            open.extend(ty.params().map(|param| param.ty));
            if whole(ty) {
                open.extend(ty.members().map(|member| member.ty));
            }
        }
        // A tag of a function or a parameter is kept with its function.
        let of_kept = |id: &TypeId| {
            let ty = btf.ty(*id);
            let target = btf.ty(ty.type_id());
            ty.kind() == BtfKind::DeclTag && target.kind() == BtfKind::Func && kept.contains(&target.id())
        };
        open.extend(btf.own_ids().filter(|id| !kept.contains(id)).filter(of_kept));
        if open.is_empty() {
            break;
        }
    }
    let ids: HashMap<TypeId, TypeId> = kept.iter().copied().zip((1..).map(TypeId)).collect();
    let mut out = Writer { ids: &ids, types: Vec::new(), strings: vec![0], offsets: HashMap::new() };
    for id in &kept {
        let ty = btf.ty(*id);
        out.one(ty, whole(ty));
    }
    (out.finish(), ids)
}

/// BTF of this machine's byte order as it is written.
struct Writer<'a> {
    ids: &'a HashMap<TypeId, TypeId>,
    types: Vec<u8>,
    strings: Vec<u8>,
    offsets: HashMap<&'a str, u32>,
}

impl<'a> Writer<'a> {
    fn words<const N: usize>(&mut self, words: [u32; N]) {
        self.types.extend(words.into_iter().flat_map(u32::to_le_bytes));
    }

    fn string(&mut self, string: &'a str) -> u32 {
        if string.is_empty() {
            return 0;
        }
        let next = self.strings.len() as u32;
        *self.offsets.entry(string).or_insert_with(|| {
            self.strings.extend(string.bytes().chain([0]));
            next
        })
    }

    fn refer(&self, id: TypeId) -> u32 {
        self.ids.get(&id).map_or(0, |id| id.0)
    }

    fn one(&mut self, ty: Type<'a>, whole: bool) {
        let kind = ty.kind();
        let has_parts = ty.is_composite() || ty.is_any_enum();
        let vlen = if has_parts && !whole { 0 } else { ty.vlen() as u32 };
        let third = if ty.type_id() == TypeId::VOID { ty.size() } else { self.refer(ty.type_id()) };
        let name = self.string(ty.name());
        self.words([name, u32::from(ty.kind_flag()) << 31 | (kind as u32) << 24 | vlen, third]);
        for member in ty.members().take(vlen as usize) {
            let name = self.string(member.name);
            self.words([name, self.refer(member.ty), member.bitfield_sz << 24 | member.bit_off]);
        }
        for value in ty.enumerators().take(vlen as usize) {
            let name = self.string(value.name);
            self.words([name, value.value as u32]);
            if kind == BtfKind::Enum64 {
                self.words([(value.value >> 32) as u32]);
            }
        }
        for param in ty.params() {
            let name = self.string(param.name);
            self.words([name, self.refer(param.ty)]);
        }
        if let Some((encoding, bit_off, bits)) = ty.int() {
            self.words([u32::from(encoding) << 24 | u32::from(bit_off) << 16 | u32::from(bits)]);
        }
        if let Some(array) = ty.array() {
            self.words([self.refer(array.elem), self.refer(array.index), array.nelems]);
        }
        if let Some(extra) = ty.extra() {
            self.words([extra]);
        }
    }

    fn finish(self) -> Vec<u8> {
        const HEADER_SZ: u32 = 24;
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend([HEADER_SZ, 0, types, types, strings].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}
