//! Minimised BTF: of a kernel's types the parts that the relocations of some objects look at, and nothing else.
//!
//! Relocating an object against the minimised BTF gives what relocating it against the whole gives, but for type ids,
//! which are those of the BTF that is used. Types of modules are laid in with vmlinux's: libbpf looks at no module where
//! it is given BTF (`btf_custom_path`). Same format and purpose as `bpftool gen min_core_btf`; unlike there, a relocation
//! that finds nothing is told, and many objects share one pass.

use crate::btf::{Btf, BtfKind, Type, TypeId};
use crate::core::{CoreReloKind, TargetBtf, Touched, Visits, touched};
use crate::object::BpfObject;
use crate::raw::{HEADER_SZ, MAGIC, VERSION};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How deep types are followed, as deep as relocations compare them.
const MAX_DEPTH: u32 = 32;
/// Structs that are looked into for an anonymous member: the kernel's largest has fewer than a hundred.
const MAX_STEPS: usize = 4096;

/// Collects what objects look at in one kernel's types.
pub struct Minimizer<'a> {
    target: &'a TargetBtf,
    /// By BTF (0 for vmlinux) and id.
    kept: BTreeMap<(usize, TypeId), Kept>,
    /// Types that were kept whole, and how deep below them types were followed.
    seen: HashMap<((usize, TypeId), bool), u32>,
    unresolved: Vec<Unresolved>,
}

/// What is kept of a type.
#[derive(Default)]
struct Kept {
    /// Members or enumerators, by index. Of a struct or an enumeration only these stay.
    parts: BTreeSet<u32>,
    /// Whether the type that a pointer points to stays; `void` takes its place if not.
    pointee: bool,
}

/// A relocation that finds nothing in the kernel's types.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unresolved {
    /// The object, as it was named to [`Minimizer::add`].
    pub object: String,
    /// What was asked: `struct task_struct.state`.
    pub access: String,
    /// Whether it is a question that has an answer all the same (`exists`, `matches`): no.
    pub question: bool,
    /// What is wrong, where it is more than that nothing matches.
    pub why: Option<String>,
}

/// The result of a [`Minimizer`].
#[derive(Debug)]
pub struct Minimized {
    /// The BTF, in the kernel's byte order.
    pub btf: Vec<u8>,
    /// Every relocation that found nothing, sorted, each once.
    pub unresolved: Vec<Unresolved>,
}

impl<'a> Minimizer<'a> {
    /// For a kernel with these types.
    pub fn new(target: &'a TargetBtf) -> Minimizer<'a> {
        Minimizer { target, kept: BTreeMap::new(), seen: HashMap::new(), unresolved: Vec::new() }
    }

    /// Keeps what the relocations of an object look at.
    pub fn add(&mut self, name: &str, object: &BpfObject) {
        let Some(local) = &object.btf else { return };
        let mut visits = Visits::default();
        let mut seen = HashSet::new();
        let records = object.entries.iter().flat_map(|entry| &entry.core_relos);
        for record in records.chain(object.text_relos.iter().map(|relo| &relo.record)) {
            if !seen.insert((record.type_id, record.access_str_off, record.kind)) {
                continue;
            }
            let unresolved =
                |access: String, question, why| Unresolved { object: name.to_owned(), access, question, why };
            match touched(local, record, self.target, &mut visits) {
                Ok(touched) if touched.found.is_empty() && touched.kind != CoreReloKind::TypeIdLocal => {
                    let question = touched.kind.is_question();
                    self.unresolved.push(unresolved(touched.access, question, None));
                }
                Ok(touched) => self.keep(&touched),
                Err(why) => {
                    let access = format!("type {} {:?}", record.type_id, local.string(record.access_str_off));
                    self.unresolved.push(unresolved(access, false, Some(why)));
                }
            }
        }
    }

    /// The BTF of all that is kept.
    pub fn finish(mut self) -> Minimized {
        self.unresolved.sort();
        self.unresolved.dedup();
        Minimized { btf: self.write(), unresolved: self.unresolved }
    }

    fn btf(&self, place: usize) -> &'a Btf {
        self.target.btf(place)
    }

    /// The type's key: types that split BTF takes from its base are vmlinux's.
    fn key(&self, place: usize, id: TypeId) -> (usize, TypeId) {
        if place > 0 && self.btf(place).is_own(id) { (place, id) } else { (0, id) }
    }

    fn keep(&mut self, touched: &Touched) {
        for found in &touched.found {
            let btf = self.btf(found.place);
            match touched.kind {
                CoreReloKind::TypeMatches => self.whole(found.place, found.root, true, MAX_DEPTH),
                kind if kind.is_type() => self.whole(found.place, found.root, false, MAX_DEPTH),
                _ => self.shallow(found.place, found.root),
            }
            let mut holder = btf.resolve(found.root);
            for (ty, index) in &found.steps {
                // Between the last step and this one may lie arrays, then anonymous members.
                while let Some(array) = holder.array() {
                    holder = btf.resolve(array.elem);
                }
                self.anonymous_way(found.place, holder, *ty, &mut HashSet::new());
                self.part(found.place, *ty, *index);
                if let Some(member) = btf.ty(*ty).member(*index) {
                    self.shallow(found.place, member.ty);
                    holder = btf.resolve(member.ty);
                }
            }
        }
    }

    /// Keeps one member or enumerator of a type.
    fn part(&mut self, place: usize, ty: TypeId, index: u32) {
        let key = self.key(place, ty);
        let ty = self.btf(place).ty(ty);
        let parts = &mut self.kept.entry(key).or_default().parts;
        parts.insert(index);
        // An array without elements is flexible as the last member only: what is not last may not become so.
        let is_empty_array = |index| {
            let member = ty.member(index)?;
            Some(self.target.btf(place).resolve(member.ty).array()?.nelems == 0)
        };
        if is_empty_array(index) == Some(true) && ty.vlen() > 0 {
            let last = ty.vlen() as u32 - 1;
            if parts.insert(last) {
                let member = ty.member(last).map(|member| member.ty);
                if let Some(member) = member {
                    self.shallow(place, member);
                }
            }
        }
    }

    /// Keeps the members through which an anonymous struct or union lies in another; whether it does. Those of `not` do
    /// not lead there.
    fn anonymous_way(&mut self, place: usize, from: Type<'a>, to: TypeId, not: &mut HashSet<TypeId>) -> bool {
        if from.id() == to {
            return true;
        }
        // A way of more steps than an access may have leads nowhere that a relocation got to.
        if not.len() > MAX_STEPS || !not.insert(from.id()) {
            return false;
        }
        for (index, member) in from.members().enumerate().filter(|(_, member)| member.name.is_empty()) {
            let inner = self.btf(place).resolve(member.ty);
            if inner.is_composite() && self.anonymous_way(place, inner, to, not) {
                self.part(place, from.id(), index as u32);
                self.shallow(place, member.ty);
                return true;
            }
        }
        false
    }

    /// Keeps a type as the type of a field: its kind, size and sign, not what it is made of or points to.
    fn shallow(&mut self, place: usize, id: TypeId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let key = self.key(place, id);
            // What is kept already has all that it consists of.
            let Entry::Vacant(vacant) = self.kept.entry(key) else { continue };
            vacant.insert(Kept::default());
            let ty = self.btf(place).ty(id);
            match ty.array() {
                Some(array) => open.extend([array.elem, array.index]),
                None if ty.kind() != BtfKind::Ptr => open.push(ty.type_id()),
                None => {}
            }
        }
    }

    /// Keeps a type as `exists` and `size` compare it, with what pointers point to; for `matches` with the members of
    /// structs and the values of enumerations, but for those behind pointers.
    fn whole(&mut self, place: usize, id: TypeId, matches: bool, level: u32) {
        self.shallow(place, id);
        let key = self.key(place, id);
        // Seen from nearer the root, more of it may count.
        let seen = self.seen.entry((key, matches)).or_default();
        if *seen >= level {
            return;
        }
        *seen = level;
        let ty = self.btf(place).ty(id);
        let kept = self.kept.entry(key).or_default();
        kept.pointee = true;
        let mut next: Vec<(TypeId, bool)> = Vec::new();
        match ty.kind() {
            BtfKind::Struct | BtfKind::Union | BtfKind::Enum | BtfKind::Enum64 if matches => {
                kept.parts.extend(0..ty.vlen() as u32);
                next.extend(ty.members().map(|member| (member.ty, true)));
            }
            // Behind a pointer only name and kind of a struct are compared.
            BtfKind::Ptr => {
                let behind = self.btf(place).resolve(ty.type_id());
                next.push((ty.type_id(), matches && !behind.is_composite()));
            }
            BtfKind::Array => next.extend(
                ty.array().into_iter().flat_map(|array| [(array.elem, matches), (array.index, matches)]),
            ),
            BtfKind::FuncProto => {
                next.extend(ty.params().map(|param| (param.ty, matches)));
                next.push((ty.type_id(), matches));
            }
            _ => next.push((ty.type_id(), matches)),
        }
        for (id, matches) in next.into_iter().filter(|(id, _)| *id != TypeId::VOID) {
            self.whole(place, id, matches, level - 1);
        }
    }

    fn write(&self) -> Vec<u8> {
        let big_endian = self.target.vmlinux().big_endian();
        let mut out = Writer { big_endian, types: Vec::new(), strings: vec![0], offsets: HashMap::new() };
        let kept = self.kept.iter().filter(|((_, id), _)| *id != TypeId::VOID);
        let ids: HashMap<(usize, TypeId), u32> =
            kept.clone().enumerate().map(|(index, (key, _))| (*key, index as u32 + 1)).collect();
        for ((place, id), kept) in kept {
            let ty = self.btf(*place).ty(*id);
            let refer = |id: TypeId| ids.get(&self.key(*place, id)).copied().unwrap_or(0);
            out.one(ty, kept, &refer);
        }
        out.finish()
    }
}

/// BTF as it is written: 24 bytes of header, types, strings.
struct Writer<'a> {
    big_endian: bool,
    types: Vec<u8>,
    strings: Vec<u8>,
    offsets: HashMap<&'a str, u32>,
}

impl<'a> Writer<'a> {
    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend(if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
        }
    }

    fn string(&mut self, string: &'a str) -> u32 {
        if string.is_empty() {
            return 0;
        }
        *self.offsets.entry(string).or_insert_with(|| {
            let off = self.strings.len() as u32;
            self.strings.extend(string.as_bytes());
            self.strings.push(0);
            off
        })
    }

    fn one(&mut self, ty: Type<'a>, kept: &Kept, refer: &dyn Fn(TypeId) -> u32) {
        let kind = ty.kind();
        let parts = || kept.parts.iter().copied();
        let has_parts = ty.is_composite() || ty.is_any_enum();
        let vlen = if has_parts { kept.parts.len() } else { ty.vlen() };
        let info = u32::from(ty.kind_flag()) << 31 | (kind as u32) << 24 | vlen as u32;
        let third = match kind {
            BtfKind::Ptr if !kept.pointee => 0,
            _ if ty.type_id() != TypeId::VOID => refer(ty.type_id()),
            _ => ty.size(),
        };
        let name = self.string(ty.name());
        self.words(&[name, info, third]);
        match kind {
            BtfKind::Int => self.words(&ty.int().map_or([0], |(encoding, bit_off, bits)| {
                [u32::from(encoding) << 24 | u32::from(bit_off) << 16 | u32::from(bits)]
            })),
            BtfKind::Array => {
                let words = ty.array().map(|array| [refer(array.elem), refer(array.index), array.nelems]);
                self.words(&words.unwrap_or_default());
            }
            BtfKind::Struct | BtfKind::Union => {
                for member in parts().filter_map(|index| ty.member(index)) {
                    let name = self.string(member.name);
                    self.words(&[name, refer(member.ty), member.bitfield_sz << 24 | member.bit_off]);
                }
            }
            BtfKind::Enum | BtfKind::Enum64 => {
                for value in parts().filter_map(|index| ty.enumerator(index)) {
                    let name = self.string(value.name);
                    let high = (value.value >> 32) as u32;
                    let wide = kind == BtfKind::Enum64;
                    self.words(&[name, value.value as u32, high][..if wide { 3 } else { 2 }]);
                }
            }
            BtfKind::FuncProto => {
                for param in ty.params() {
                    let name = self.string(param.name);
                    self.words(&[name, refer(param.ty)]);
                }
            }
            _ => {}
        }
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types;
        let mut header = Writer {
            big_endian: self.big_endian,
            types: Vec::new(),
            strings: Vec::new(),
            offsets: HashMap::new(),
        };
        let magic = if self.big_endian { MAGIC.to_be_bytes() } else { MAGIC.to_le_bytes() };
        header.types.extend(magic);
        header.types.extend([VERSION, 0]);
        let (types_len, strings_len) = (types.len() as u32, self.strings.len() as u32);
        header.words(&[HEADER_SZ as u32, 0, types_len, types_len, strings_len]);
        [header.types, types, self.strings].concat()
    }
}
