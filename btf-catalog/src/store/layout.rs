//! Layouts: what of a kernel's types decides how an object is relocated there, as one number a name.
//!
//! Over many kernels nearly all types are the same: an object meets few distinct sets of layouts, and what was found out
//! about one kernel holds for every other whose layouts of the touched names are equal. [`Layouts`] is the index of a
//! kernel, eight bytes a name; [`Touched`] is what an object's relocations begin at.
//!
//! A layout is hashed as far as relocation can look (`core/matching.rs`): into members and their types, behind pointers
//! to the kind and name of what they point at, into the parameters of functions that are pointed at, and into
//! enumerations wherever they stand. Type numbers are no part of it.

use crate::btf::{Btf, BtfKind, Type, TypeId, essential_name};
use crate::core::CoreReloKind;
use crate::object::BpfObject;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How deep types are followed; relocation itself gives up at 32 levels.
const MAX_DEPTH: u32 = 64;

/// The layouts of a kernel by essential name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layouts {
    /// Hash of the name, hash of all whose names have that hash; ascending. Names that share one are told apart by what
    /// is hashed of them: that one of them changes looks as if the others did too.
    entries: Vec<(u32, u64)>,
}

/// The types that an object's relocations begin at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// Essential names.
    names: BTreeSet<String>,
    /// Whether an answer is the number of one of the kernel's types: kernels never share it.
    type_ids: bool,
    /// Whether a relocation begins at a type that the index does not list.
    unlisted: bool,
}

impl Touched {
    /// What the relocations of an object begin at.
    pub fn by(object: &BpfObject) -> Touched {
        let mut touched = Touched::default();
        let Some(btf) = &object.btf else { return touched };
        let of_entries = object.entries.iter().flat_map(|entry| &entry.core_relos);
        // Those of functions that no entry reaches can fail, and the object with them.
        let of_text = object.text_relos.iter().map(|relo| &relo.record);
        for record in of_entries.chain(of_text) {
            let kind = CoreReloKind::from_raw(record.kind);
            if kind == Some(CoreReloKind::TypeIdLocal) {
                continue;
            }
            touched.type_ids |= kind == Some(CoreReloKind::TypeIdTarget);
            let ty = btf.ty(record.type_id);
            touched.unlisted |= !listed(ty);
            touched.names.insert(essential_name(ty.name()).to_owned());
        }
        touched
    }

    /// The essential names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// Whether a type is in the index: what objects can name, without functions and variables.
fn listed(ty: Type) -> bool {
    use BtfKind as K;
    let kind = matches!(
        ty.kind(),
        K::Int | K::Struct | K::Union | K::Enum | K::Enum64 | K::Fwd | K::Typedef | K::Float
    );
    kind && !ty.name().is_empty()
}

impl Layouts {
    /// The index of a kernel's BTF.
    pub fn of(btf: &Btf) -> Layouts {
        let mut hasher = Hasher { btf, whole: HashMap::new(), pointed: HashMap::new() };
        let mut by_name: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for id in btf.own_ids() {
            let ty = btf.ty(id);
            if listed(ty) {
                by_name.entry(name_hash(ty.name())).or_default().push(hasher.whole(id, MAX_DEPTH));
            }
        }
        let entries = by_name.into_iter().map(|(name, mut layouts)| {
            // In which order candidates come does not matter: they must agree.
            layouts.sort_unstable();
            (name, hash_words(&layouts) >> (64 - 8 * LAYOUT_SZ))
        });
        Layouts { entries: entries.collect() }
    }

    /// How many names of different hashes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The layout of what is called `name`, `None` if nothing is. Where nothing is, it can be the one of another name.
    pub fn get(&self, name: &str) -> Option<u64> {
        let name = name_hash(name);
        let at = self.entries.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        Some(self.entries[at].1)
    }

    /// One number for all layouts that an object touches: kernels of the same number relocate it in the same way.
    ///
    /// `None` where the index cannot tell: an answer is the number of a type, or a relocation begins at a type that is
    /// not listed. A name that vmlinux does not have counts as absent; modules may still have it.
    pub fn digest(&self, touched: &Touched) -> Option<u64> {
        if touched.type_ids || touched.unlisted {
            return None;
        }
        let words = touched.names().flat_map(|name| {
            let layout = self.get(name);
            [u64::from(layout.is_some()), layout.unwrap_or_default()]
        });
        Some(hash_words(&words.collect::<Vec<_>>()))
    }

    /// The index as bytes: how many names, the difference of each name's hash from the one before, seven bits a byte,
    /// then all layouts. Apart, both are nearly the same from kernel to kernel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.entries.len() as u32).to_le_bytes().to_vec();
        let mut last = 0;
        for (name, _) in &self.entries {
            let mut step = name - std::mem::replace(&mut last, *name);
            while step >= 0x80 {
                bytes.push(step as u8 | 0x80);
                step >>= 7;
            }
            bytes.push(step as u8);
        }
        bytes.extend(
            self.entries.iter().flat_map(|(_, layout)| layout.to_le_bytes().into_iter().take(LAYOUT_SZ)),
        );
        bytes
    }

    /// Reads what [`Layouts::to_bytes`] wrote; `None` if it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Layouts> {
        let (count, bytes) = bytes.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (steps, layouts) =
            bytes.split_at_checked(bytes.len().checked_sub(count.checked_mul(LAYOUT_SZ)?)?)?;
        let mut steps = steps.iter();
        let mut name = 0u32;
        let mut entries = Vec::with_capacity(count);
        for (index, layout) in layouts.chunks_exact(LAYOUT_SZ).enumerate() {
            let mut step = 0;
            for shift in (0..28).step_by(7) {
                let byte = *steps.next()?;
                step |= u32::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            name = name.checked_add(step).filter(|_| step > 0 || index == 0)?;
            let mut word = [0; 8];
            word[..LAYOUT_SZ].copy_from_slice(layout);
            entries.push((name, u64::from_le_bytes(word)));
        }
        steps.next().is_none().then_some(Layouts { entries })
    }
}

/// Bytes of a layout's hash. A name has few layouts over all kernels: that two of them share one of 2^48 numbers does not
/// happen by chance.
const LAYOUT_SZ: usize = 6;
/// Bits of a name's hash: few of the 20,000 names of a kernel share one.
const NAME_BITS: u32 = 24;

fn name_hash(name: &str) -> u32 {
    (hash(&[essential_name(name).as_bytes()]) >> (64 - NAME_BITS)) as u32
}

struct Hasher<'a> {
    btf: &'a Btf,
    whole: HashMap<TypeId, u64>,
    pointed: HashMap<TypeId, u64>,
}

impl Hasher<'_> {
    /// A type as it lies within another one.
    fn whole(&mut self, id: TypeId, depth: u32) -> u64 {
        if let Some(known) = self.whole.get(&id) {
            return *known;
        }
        let value = self.compute(id, depth, false);
        self.whole.insert(id, value);
        value
    }

    /// A type as it is seen through a pointer.
    fn pointed(&mut self, id: TypeId, depth: u32) -> u64 {
        if let Some(known) = self.pointed.get(&id) {
            return *known;
        }
        let value = self.compute(id, depth, true);
        self.pointed.insert(id, value);
        value
    }

    fn compute(&mut self, id: TypeId, depth: u32, pointed: bool) -> u64 {
        let btf = self.btf;
        let ty = btf.ty(id);
        let kind = ty.kind();
        let Some(depth) = depth.checked_sub(1) else {
            // Deeper than relocation looks, or a cycle. Equal to nothing in any other kernel.
            return hash(&[b"deep", btf.bytes(), &id.0.to_le_bytes()]);
        };
        let mut words = vec![kind as u64, u64::from(ty.kind_flag()), hash(&[ty.name().as_bytes()])];
        match kind {
            BtfKind::Struct | BtfKind::Union if pointed => {}
            BtfKind::Struct | BtfKind::Union => {
                words.push(u64::from(ty.size()));
                for member in ty.members() {
                    let at = u64::from(member.bit_off) << 32 | u64::from(member.bitfield_sz);
                    words.extend([hash(&[member.name.as_bytes()]), at, self.whole(member.ty, depth)]);
                }
            }
            BtfKind::Enum | BtfKind::Enum64 => {
                words.push(u64::from(ty.size()));
                words
                    .extend(ty.enumerators().flat_map(|value| [hash(&[value.name.as_bytes()]), value.value]));
            }
            BtfKind::Ptr => words.push(self.pointed(ty.type_id(), depth)),
            BtfKind::Array => {
                let array = ty.array().expect("an array");
                words.push(u64::from(array.nelems));
                words.push(if pointed {
                    self.pointed(array.elem, depth)
                } else {
                    self.whole(array.elem, depth)
                });
            }
            // Of a function that is not behind a pointer, structs it takes or returns are looked into.
            BtfKind::FuncProto => {
                let types = std::iter::once(ty.type_id()).chain(ty.params().map(|param| param.ty));
                words.extend(
                    types.map(|id| if pointed { self.pointed(id, depth) } else { self.whole(id, depth) }),
                );
            }
            BtfKind::Int => {
                let (encoding, bit_off, bits) = ty.int().unwrap_or_default();
                words.extend([encoding, bit_off, bits].map(u64::from));
                words.push(u64::from(ty.size()));
            }
            _ if kind.refers() => {
                words.push(if pointed {
                    self.pointed(ty.type_id(), depth)
                } else {
                    self.whole(ty.type_id(), depth)
                });
            }
            _ => words.push(u64::from(ty.size())),
        }
        hash_words(&words)
    }
}

fn hash_words(words: &[u64]) -> u64 {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update(word.to_le_bytes());
    }
    first_word(&hasher.finalize())
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    first_word(&hasher.finalize())
}

fn first_word(digest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::super::pack::tests::{Declared, build, declared};
    use super::*;
    use crate::btf::TypeId;
    use crate::core::{Relocator, TargetBtf};
    use crate::ext::CoreReloRecord;
    use crate::insn::Insn;
    use crate::object::Entry;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// What relocation answers to every question about every named type of `local`, each in an entry of its own.
    fn answers(object: &BpfObject, target: &Arc<Btf>) -> Vec<String> {
        let target = TargetBtf::new(Arc::clone(target));
        object
            .entries
            .iter()
            .map(|entry| {
                let answer = Relocator::new(object, &target).relocate(entry);
                // In an error, types have their numbers.
                answer.map_or_else(|_| "error".to_owned(), |answer| format!("{:?}", answer.outcomes))
            })
            .collect()
    }

    /// An object that asks about type `id`: its size, its existence, and each of its members.
    fn asking(types: &[Declared], id: u32) -> BpfObject {
        let access_off = |bytes: &mut Vec<u8>, access: &str| {
            let at = bytes.len() as u32;
            bytes.extend(access.bytes().chain([0]));
            at
        };
        let mut data = build(types, 0, false);
        let strings = u32::from_le_bytes([data[16], data[17], data[18], data[19]]) + 24;
        let mut records = Vec::new();
        let plain = Btf::parse(data.clone()).unwrap();
        let ty = plain.ty(TypeId(id));
        let at = access_off(&mut data, "0") - strings;
        let size = plain.size_of(TypeId(id)).unwrap_or_default();
        records.extend([(at, 8, 1), (at, 9, size), (at, 12, 1)]);
        for (index, member) in ty.members().enumerate() {
            let at = access_off(&mut data, &format!("0:{index}")) - strings;
            let size = plain.size_of(member.ty).unwrap_or_default();
            records.extend([(at, 0, member.bit_off / 8), (at, 1, size), (at, 2, 1)]);
        }
        for (index, value) in ty.enumerators().enumerate() {
            let at = access_off(&mut data, &index.to_string()) - strings;
            records.extend([(at, 10, 1), (at, 11, value.value as u32)]);
        }
        let strings_len = data.len() as u32 - strings;
        data[20..24].copy_from_slice(&strings_len.to_le_bytes());
        let entry = |(access_str_off, kind, imm): (u32, u32, u32)| Entry {
            name: "entry".to_owned(),
            section: "socket".to_owned(),
            kind: None,
            autoload: true,
            // A move of an immediate into r1, and an exit.
            insns: vec![Insn { code: 0xb7, dst: 1, src: 0, off: 0, imm: imm as i32 }],
            functions: Vec::new(),
            map_refs: Vec::new(),
            extern_refs: Vec::new(),
            core_relos: vec![CoreReloRecord {
                byte_off: 0,
                type_id: TypeId(id),
                access_str_off,
                kind,
                order: 0,
            }],
            lines: Vec::new(),
        };
        BpfObject {
            big_endian: false,
            license: String::new(),
            kern_version: None,
            btf: Some(Btf::parse(data).unwrap()),
            entries: records.into_iter().map(entry).collect(),
            maps: Vec::new(),
            externs: Vec::new(),
            struct_ops: Vec::new(),
            left_to_loader: Vec::new(),
            text_relos: Vec::new(),
            accesses: crate::core::Accesses::default(),
        }
    }

    /// The same types with other numbers: each moved `by` places.
    fn renumbered(types: &[Declared], by: usize) -> Vec<Declared> {
        let count = types.len() as u32;
        let moved = |id: u32| match id % (count + 1) {
            0 => 0,
            id => (id - 1 + count - by as u32 % count) % count + 1,
        };
        let mut types = types.to_vec();
        for ty in &mut types {
            if ty.kind.refers() || ty.kind == BtfKind::Array {
                ty.refers = if ty.kind == BtfKind::Array { ty.refers } else { moved(ty.refers) };
            }
            ty.elements.iter_mut().for_each(|element| element.1 = moved(element.1));
        }
        let by = by % types.len();
        types.rotate_left(by);
        types
    }

    proptest! {
        #[test]
        fn kernels_of_equal_layouts_relocate_an_object_alike(
            types in prop::collection::vec(declared(), 1..12),
            change in any::<(prop::sample::Index, prop::sample::Index)>(),
            by in 0usize..12,
            other in declared(),
        ) {
            // References of arrays serve as length too: left out so that numbers can change.
            let types: Vec<_> = types.into_iter().filter(|ty| ty.kind != BtfKind::Array).collect();
            prop_assume!(!types.is_empty() && other.kind != BtfKind::Array);
            let kernel = |types: &[Declared]| Arc::new(Btf::parse(build(types, 0, false)).unwrap());
            let mut changed = types.clone();
            *change.0.get_mut(&mut changed) = other;
            let kernels = [kernel(&types), kernel(&renumbered(&types, by)), kernel(&changed)];
            let layouts = kernels.each_ref().map(|kernel| Layouts::of(kernel));
            let id = change.1.index(types.len()) as u32 + 1;
            let object = asking(&types, id);
            let touched = Touched::by(&object);
            let first = answers(&object, &kernels[0]);
            for (kernel, layouts) in kernels.iter().zip(&layouts).skip(1) {
                if layouts.digest(&touched).is_some() && layouts.digest(&touched) == self::digest(&kernels[0], &touched) {
                    prop_assert_eq!(&answers(&object, kernel), &first);
                }
            }
        }
    }

    fn digest(kernel: &Btf, touched: &Touched) -> Option<u64> {
        Layouts::of(kernel).digest(touched)
    }

    #[test]
    fn numbers_of_types_do_not_count_and_offsets_do() {
        let types: Vec<Declared> =
            [(BtfKind::Int, 1, 4, vec![]), (BtfKind::Struct, 2, 8, vec![(3, 1, 0), (4, 3, 32)])]
                .into_iter()
                .chain([(BtfKind::Const, 0, 1, vec![]), (BtfKind::Ptr, 0, 2, vec![])])
                .map(|(kind, name, refers, elements)| Declared { kind, name, refers, elements })
                .collect();
        let kernel = |types: &[Declared]| Btf::parse(build(types, 0, false)).unwrap();
        let touched = Touched::by(&asking(&types, 2));
        assert_eq!(touched.names().collect::<Vec<_>>(), ["name_2"]);
        let of = |types: &[Declared]| digest(&kernel(types), &touched);
        assert!(of(&types).is_some());
        assert_eq!(of(&types), of(&renumbered(&types, 1)));
        let mut moved = types.clone();
        moved[1].elements[1].2 = 64;
        assert_ne!(of(&types), of(&moved));
        moved[1].name = 9;
        assert_ne!(of(&types), of(&moved));
    }
}
