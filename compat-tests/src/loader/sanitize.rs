//! The object's BTF as a kernel takes it: externs made into what the kernel reads, and what an older kernel does not know
//! replaced by what it does.
//!
//! Ids stay what they are, so that functions, maps and relocations still refer to the same types; what is needed beside
//! them comes after the last. The same rewriting as libbpf's (`bpf_object__collect_externs()` and
//! `bpf_object__sanitize_btf()`, tools/lib/bpf/libbpf.c, v6.18).

use btf_catalog::btf::Type;
use btf_catalog::raw::{MAGIC, TYPE_SZ};
use btf_catalog::{Btf, BtfKind, TypeId};

/// Bytes of `struct btf_header` that clang writes.
const HEADER_SZ: usize = 24;
/// Bytes of `struct btf_var_secinfo`, `struct btf_member`: three words each.
const TRIPLE_SZ: usize = 12;
/// Bytes of `struct btf_param`: name, type.
const PARAM_SZ: usize = 8;
/// `BTF_FUNC_GLOBAL` and `BTF_VAR_GLOBAL_ALLOCATED`.
const GLOBAL: u32 = 1;
/// Name of what stands for the functions of `.ksyms`, and of their parameters.
const DUMMY: &str = "dummy_ksym";

/// What not every kernel with BTF knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feature {
    /// Functions, since v5.0.
    Func,
    /// Global functions, which are verified by themselves, since v5.6.
    FuncGlobal,
    /// Variables and data sections, since v5.2.
    Datasec,
    /// Floating point, since v5.13.
    Float,
    /// Attributes of declarations, since v5.16.
    DeclTag,
    /// Attributes of types, since v5.17.
    TypeTag,
    /// Enumerations of 64 bits, and the sign of others, since v6.0.
    Enum64,
}

impl Feature {
    pub(super) const ALL: [Feature; 7] = [
        Feature::Func,
        Feature::FuncGlobal,
        Feature::Datasec,
        Feature::Float,
        Feature::DeclTag,
        Feature::TypeTag,
        Feature::Enum64,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Feature::Func => "functions",
            Feature::FuncGlobal => "global functions",
            Feature::Datasec => "data sections",
            Feature::Float => "float",
            Feature::DeclTag => "declaration tags",
            Feature::TypeTag => "type tags",
            Feature::Enum64 => "64-bit or signed enumerations",
        }
    }

    /// Whether a type is written with it.
    fn is_of(self, ty: Type<'_>) -> bool {
        match self {
            Feature::Func => matches!(ty.kind(), BtfKind::Func | BtfKind::FuncProto),
            Feature::FuncGlobal => ty.kind() == BtfKind::Func && ty.vlen() as u32 == GLOBAL,
            Feature::Datasec => matches!(ty.kind(), BtfKind::Var | BtfKind::Datasec),
            Feature::Float => ty.kind() == BtfKind::Float,
            Feature::DeclTag => ty.kind() == BtfKind::DeclTag,
            Feature::TypeTag => ty.kind() == BtfKind::TypeTag,
            Feature::Enum64 => ty.kind() == BtfKind::Enum64 || ty.kind() == BtfKind::Enum && ty.kind_flag(),
        }
    }

    pub(super) fn is_used_by(self, btf: &Btf) -> bool {
        btf.own_ids().any(|id| self.is_of(btf.ty(id)))
    }

    /// The smallest BTF with it: a kernel that refuses this one does not know it.
    pub(super) fn sample(self) -> Vec<u8> {
        let var = [1, info(BtfKind::Var, 0), 1, 0];
        let func = |linkage| {
            let proto = [0, info(BtfKind::FuncProto, 1), 0, 1, 1];
            [&proto[..], &[1, info(BtfKind::Func, linkage), 2]].concat()
        };
        sample(&match self {
            Feature::Func => func(0),
            Feature::FuncGlobal => func(GLOBAL),
            Feature::Datasec => [&var[..], &[3, info(BtfKind::Datasec, 1), 4, 2, 0, 4]].concat(),
            Feature::Float => vec![1, info(BtfKind::Float, 0), 4],
            Feature::DeclTag => [&var[..], &[1, info(BtfKind::DeclTag, 0), 2, u32::MAX]].concat(),
            Feature::TypeTag => vec![1, info(BtfKind::TypeTag, 0), 1, 0, info(BtfKind::Ptr, 0), 2],
            Feature::Enum64 => vec![1, info(BtfKind::Enum64, 1), 8, 1, 0, 0],
        })
    }
}

/// The smallest BTF there is: one integer. A kernel that refuses it knows no BTF (before v4.18).
pub(super) fn smallest() -> Vec<u8> {
    sample(&[])
}

/// An integer, and types after it whose names are at 1 (`x`) and 3 (`.data`).
fn sample(types: &[u32]) -> Vec<u8> {
    let mut draft = Draft {
        types: Vec::new(),
        strings: b"\0x\0.data\0".to_vec(),
        big_endian: cfg!(target_endian = "big"),
        next_id: 1,
    };
    draft.push_int(4);
    draft.push(types);
    draft.finish()
}

/// `btf_type.info` of a kind with its `vlen`, or its linkage, and no flag.
const fn info(kind: BtfKind, vlen: u32) -> u32 {
    (kind as u32) << 24 | vlen
}

/// `btf_type` words of an integer of that size without a name.
const fn int(byte_sz: u32) -> [u32; 4] {
    [0, info(BtfKind::Int, 0), byte_sz, 8 * byte_sz]
}

/// BTF that is being rewritten.
struct Draft {
    types: Vec<u8>,
    strings: Vec<u8>,
    big_endian: bool,
    next_id: u32,
}

impl Draft {
    /// `None` for BTF that cannot be rewritten in place: of a form that no compiler for BPF writes.
    fn new(btf: &Btf) -> Option<Draft> {
        let bytes = btf.bytes();
        let word = |at: usize| {
            let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(if btf.big_endian() { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) } as usize)
        };
        let section = |off: usize, byte_sz: usize| bytes.get(HEADER_SZ + off..HEADER_SZ + off + byte_sz);
        if btf.header_len() != HEADER_SZ || word(8)? != 0 || btf.stopped_at().is_some() {
            return None;
        }
        Some(Draft {
            types: section(0, word(12)?)?.to_vec(),
            strings: section(word(16)?, word(20)?)?.to_vec(),
            big_endian: btf.big_endian(),
            next_id: btf.type_count(),
        })
    }

    fn bytes_of(&self, words: &[u32]) -> Vec<u8> {
        let bytes = |word: &u32| if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        words.iter().flat_map(bytes).collect()
    }

    /// Writes words at an offset into a type.
    fn put(&mut self, ty: Type<'_>, off: usize, words: &[u32]) {
        let at = ty.byte_off() - HEADER_SZ + off;
        let bytes = self.bytes_of(words);
        self.types[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    /// Appends a type and returns its id.
    fn push(&mut self, words: &[u32]) -> u32 {
        let bytes = self.bytes_of(words);
        self.types.extend(bytes);
        self.next_id += 1;
        self.next_id - 1
    }

    fn push_int(&mut self, byte_sz: u32) -> u32 {
        self.push(&int(byte_sz))
    }

    fn push_string(&mut self, text: &str) -> u32 {
        let off = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        off
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let magic = if self.big_endian { MAGIC.to_be_bytes() } else { MAGIC.to_le_bytes() };
        // Version 1, no flags.
        let mut bytes = [magic[0], magic[1], 1, 0].to_vec();
        bytes.extend(self.bytes_of(&[HEADER_SZ as u32, 0, types, types, strings]));
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

/// The BTF with its externs defined, or `None` if it has none.
///
/// The kernel knows no externs: it refuses data sections without size, linkage `extern`, and functions whose parameters
/// have no names (`btf_datasec_check_meta()`, `btf_var_check_meta()` and `btf_func_check()`, kernel/bpf/btf.c, v6.18). An
/// extern of `.ksyms` becomes a variable of four bytes; one of `.kconfig` keeps its size and gets a place.
pub(super) fn with_externs_defined(btf: &Btf) -> Option<Vec<u8>> {
    let sections = [".ksyms", ".kconfig"].map(|name| btf.find_by_name_kind(name, BtfKind::Datasec));
    if sections == [None; 2] {
        return None;
    }
    let mut draft = Draft::new(btf)?;
    let [ksyms, kconfig] = sections;
    if let Some(section) = ksyms.map(|id| btf.ty(id)) {
        let int = draft.push_int(4);
        let name = draft.push_string(DUMMY);
        let dummy = draft.push(&[name, info(BtfKind::Var, 0), int, GLOBAL]);
        let mut byte_sz = 0;
        for (position, (id, _, _)) in section.secinfos().enumerate() {
            let ext = btf.ty(id);
            let proto = btf.ty(ext.type_id());
            let var = if (ext.kind(), proto.kind()) == (BtfKind::Func, BtfKind::FuncProto) {
                draft.put(ext, 4, &[info(BtfKind::Func, GLOBAL)]);
                for (position, param) in proto.params().enumerate() {
                    if param.name.is_empty() && param.ty != TypeId::VOID {
                        draft.put(proto, TYPE_SZ + position * PARAM_SZ, &[name]);
                    }
                }
                dummy
            } else if ext.kind() == BtfKind::Var {
                draft.put(ext, 8, &[int, GLOBAL]);
                id.0
            } else {
                return None;
            };
            draft.put(section, TYPE_SZ + position * TRIPLE_SZ, &[var, byte_sz, 4]);
            byte_sz += 4;
        }
        draft.put(section, 8, &[byte_sz]);
    }
    if let Some(section) = kconfig.map(|id| btf.ty(id)) {
        let mut end = 0u32;
        for (position, (id, _, byte_sz)) in section.secinfos().enumerate() {
            let ext = Some(btf.ty(id)).filter(|ext| ext.kind() == BtfKind::Var)?;
            draft.put(ext, TYPE_SZ, &[GLOBAL]);
            let off = end.checked_next_multiple_of(8)?;
            draft.put(section, TYPE_SZ + position * TRIPLE_SZ + 4, &[off]);
            end = off.checked_add(byte_sz)?;
        }
        draft.put(section, 8, &[end]);
    }
    Some(draft.finish())
}

/// The BTF without what the kernel does not know, in the words of one that knows less.
pub(super) fn without(btf: &Btf, missing: &[Feature]) -> Option<Vec<u8>> {
    let mut draft = Draft::new(btf)?;
    let lacks = |feature| missing.contains(&feature);
    let mut placeholder = None;
    for ty in btf.own_ids().map(|id| btf.ty(id)) {
        let vlen = ty.vlen() as u32;
        match ty.kind() {
            // One byte: larger than the variable it must not be.
            BtfKind::Var if lacks(Feature::Datasec) => draft.put(ty, 4, &int(1)[1..]),
            BtfKind::DeclTag if lacks(Feature::DeclTag) => draft.put(ty, 4, &int(1)[1..]),
            BtfKind::Datasec if lacks(Feature::Datasec) => {
                // A struct's name has to be an identifier.
                let name = draft.push_string(&ty.name().replace(['.', '?'], "_"));
                draft.put(ty, 0, &[name, info(BtfKind::Struct, vlen)]);
                for (position, (var, off, _)) in ty.secinfos().enumerate() {
                    let name = btf.ty(var).name_off();
                    draft.put(ty, TYPE_SZ + position * TRIPLE_SZ, &[name, var.0, off.wrapping_mul(8)]);
                }
            }
            BtfKind::FuncProto if lacks(Feature::Func) => draft.put(ty, 4, &[info(BtfKind::Enum, vlen), 4]),
            BtfKind::Func if lacks(Feature::Func) => draft.put(ty, 4, &[info(BtfKind::Typedef, 0)]),
            BtfKind::Func if lacks(Feature::FuncGlobal) => draft.put(ty, 4, &[info(BtfKind::Func, 0)]),
            BtfKind::Float if lacks(Feature::Float) => draft.put(ty, 0, &[0, info(BtfKind::Struct, 0)]),
            BtfKind::TypeTag if lacks(Feature::TypeTag) => draft.put(ty, 0, &[0, info(BtfKind::Const, 0)]),
            BtfKind::Enum if lacks(Feature::Enum64) => draft.put(ty, 4, &[info(BtfKind::Enum, vlen)]),
            BtfKind::Enum64 if lacks(Feature::Enum64) => {
                let member = *placeholder.get_or_insert_with(|| draft.push_int(1));
                draft.put(ty, 4, &[info(BtfKind::Union, vlen)]);
                for position in 0..ty.vlen() {
                    // The name stays: it is the first word of an enumerator and of a member.
                    draft.put(ty, TYPE_SZ + position * TRIPLE_SZ + 4, &[member, 0]);
                }
            }
            _ => {}
        }
    }
    Some(draft.finish())
}

/// Whether a value of the type has fields that the kernel finds by BTF alone: locks, timers, list heads (structs whose
/// names begin with `bpf_`), and pointers with a tag (`btf_parse_fields()`, kernel/bpf/btf.c, v6.18).
pub(crate) fn has_special_fields(btf: &Btf, id: TypeId) -> bool {
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        let ty = btf.resolve(id);
        if !seen.insert(ty.id()) {
            continue;
        }
        match ty.kind() {
            BtfKind::Struct | BtfKind::Union => {
                if ty.name().starts_with("bpf_") {
                    return true;
                }
                open.extend(ty.members().map(|member| member.ty));
            }
            BtfKind::Array => open.extend(ty.array().map(|array| array.elem)),
            BtfKind::Var => open.push(ty.type_id()),
            BtfKind::Datasec => open.extend(ty.secinfos().map(|(var, _, _)| var)),
            BtfKind::Ptr if btf.ty(ty.type_id()).kind() == BtfKind::TypeTag => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.ksyms` with a function whose parameter has no name and a variable, `.kconfig` with a variable.
    fn externs() -> Btf {
        let mut draft = Draft {
            types: Vec::new(),
            strings: b"\0f\0v\0C\0.ksyms\0.kconfig\0".to_vec(),
            big_endian: cfg!(target_endian = "big"),
            next_id: 1,
        };
        let (linkage_extern, int) = (2, draft.push_int(4));
        let proto = draft.push(&[0, info(BtfKind::FuncProto, 1), 0, 0, int]);
        let func = draft.push(&[1, info(BtfKind::Func, linkage_extern), proto]);
        let var = draft.push(&[3, info(BtfKind::Var, 0), 0, linkage_extern]);
        let option = draft.push(&[5, info(BtfKind::Var, 0), int, linkage_extern]);
        draft.push(&[7, info(BtfKind::Datasec, 2), 0, func, 0, 0, var, 0, 0]);
        draft.push(&[14, info(BtfKind::Datasec, 1), 0, option, 0, 4]);
        Btf::parse(draft.finish()).expect("well formed")
    }

    #[test]
    fn externs_become_variables_with_a_place() {
        let btf = Btf::parse(with_externs_defined(&externs()).expect("it has externs")).expect("well formed");
        let dummy = btf.find_by_name_kind(DUMMY, BtfKind::Var).expect("appended");
        let section = |name| btf.ty(btf.find_by_name_kind(name, BtfKind::Datasec).expect("kept"));
        let ksyms = section(".ksyms");
        assert_eq!(ksyms.size(), 8);
        assert!(ksyms.secinfos().eq([(dummy, 0, 4), (TypeId(4), 4, 4)]));
        let kconfig = section(".kconfig");
        assert_eq!(kconfig.size(), 4);
        assert!(kconfig.secinfos().eq([(TypeId(5), 0, 4)]));
        assert_eq!(btf.ty(TypeId(3)).vlen() as u32, GLOBAL);
        assert_eq!(btf.ty(TypeId(2)).params().next().map(|param| param.name), Some(DUMMY));
        assert_eq!([4, 5].map(|id| btf.ty(TypeId(id)).extra()), [Some(GLOBAL); 2]);
    }

    #[test]
    fn no_externs_no_change() {
        let btf = Btf::parse(Feature::Datasec.sample()).expect("well formed");
        assert_eq!(with_externs_defined(&btf), None);
    }

    #[test]
    fn what_a_kernel_lacks_is_gone_and_ids_stay() {
        for feature in Feature::ALL {
            let btf = Btf::parse(feature.sample()).expect("well formed");
            assert!(feature.is_used_by(&btf), "{feature:?}");
            let less =
                Btf::parse(without(&btf, &[feature]).expect("of the usual form")).expect("well formed");
            assert!(!feature.is_used_by(&less), "{feature:?}");
            assert!(less.type_count() >= btf.type_count(), "{feature:?}");
        }
        let nothing = Btf::parse(smallest()).expect("well formed");
        assert!(Feature::ALL.iter().all(|feature| !feature.is_used_by(&nothing)));
    }

    #[test]
    fn fields_that_only_btf_shows_are_found() {
        let mut draft = Draft {
            types: Vec::new(),
            strings: b"\0bpf_timer\0value\0kptr\0".to_vec(),
            big_endian: cfg!(target_endian = "big"),
            next_id: 1,
        };
        let int = draft.push_int(4);
        let timer = draft.push(&[1, info(BtfKind::Struct, 0), 16]);
        let holder = draft.push(&[11, info(BtfKind::Struct, 1), 16, 0, timer, 0]);
        let array = draft.push(&[0, info(BtfKind::Array, 0), 0, holder, int, 2]);
        let tag = draft.push(&[17, info(BtfKind::TypeTag, 0), int]);
        let kptr = draft.push(&[0, info(BtfKind::Ptr, 0), tag]);
        let plain = draft.push(&[0, info(BtfKind::Ptr, 0), timer]);
        let btf = Btf::parse(draft.finish()).expect("well formed");
        for (id, special) in [(int, false), (holder, true), (array, true), (kptr, true), (plain, false)] {
            assert_eq!(has_special_fields(&btf, TypeId(id)), special, "type {id}");
        }
    }
}
