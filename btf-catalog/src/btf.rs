//! A checked view of BTF, the kernel's type information.
//!
//! [`Btf::parse`] walks the types once, checks every size, name and reference, and keeps the bytes as they are: what it
//! holds beside them is one offset a type, and which types are enumerations. After that every accessor is infallible. Names are found by *essential* name
//! (without the `___flavour`): in the types themselves where they are sorted by name, through a hash table where they are
//! not. Which of the two it is, is found out at the first look-up and shared by all threads.

mod distilled;
mod header;
mod names;
mod types;
mod walk;

pub use crate::raw::BtfKind;
use bytes::Bytes;
use header::Header;
use memchr::memchr;
use names::{NameIndex, Space};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
pub use types::{Array, Enumerator, Member, Param, Type};

/// The number of a type. 0 is `void`, and a real value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// What is wrong with bytes that should be BTF.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BtfError {
    /// Too short for what it says it holds.
    #[error("BTF is cut short: {what} needs {need} bytes, there are {have}")]
    Truncated {
        /// The part that does not fit.
        what: &'static str,
        /// Bytes it needs.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// Not BTF.
    #[error("not BTF: it begins with {0:#06x}, not with 0xeb9f in either byte order")]
    Magic(u16),
    /// A version that is not 1.
    #[error("BTF version {0} is not known, only version 1 is")]
    Version(u8),
    /// The string section is malformed.
    #[error("BTF string section {0}")]
    Strings(&'static str),
    /// A type is malformed.
    #[error("BTF type {id} at byte {off}: {what}")]
    Type {
        /// The type's number.
        id: u32,
        /// Where it begins in the file.
        off: usize,
        /// What is wrong.
        what: String,
    },
    /// Split BTF whose base has the other byte order.
    #[error("split BTF and its base differ in byte order")]
    BaseEndianness,
    /// Split BTF whose base has a type that could not be stepped over, so that the first own id is not known.
    #[error("split BTF over a base that could not be read past type {id} of unknown kind {kind}")]
    BaseStopped {
        /// The type that stopped the reader of the base.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// More than 4 GiB or more types than a number can name.
    #[error("BTF of {0} bytes is larger than the format can address")]
    TooLarge(usize),
}

/// BTF, checked. Cheap to share: `Arc<Btf>` is `Send + Sync`.
pub struct Btf {
    data: Bytes,
    base: Option<Arc<Btf>>,
    big_endian: bool,
    header_len: usize,
    /// Where each type of this BTF (not of its base) begins in `data`.
    offsets: Vec<u32>,
    /// The id of `offsets[0]`.
    first_id: u32,
    /// The enumerations among the own types, ascending.
    enums: Vec<TypeId>,
    strings: Range<usize>,
    /// The string offset of the first own string: the base's string bytes.
    first_str: u32,
    /// How many own types there are of each raw kind.
    counts: [u32; 128],
    stopped: Option<(TypeId, u8)>,
    types: OnceLock<NameIndex>,
    values: OnceLock<NameIndex>,
    /// The declaration tags among the own types, as `(tagged type, tag)`, ascending.
    tags: OnceLock<Vec<(TypeId, TypeId)>>,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.data.len())
            .field("types", &self.offsets.len())
            .field("split", &self.base.is_some())
            .finish_non_exhaustive()
    }
}

impl Btf {
    /// Reads BTF that stands alone: vmlinux's, or an object's.
    pub fn parse(data: impl Into<Bytes>) -> Result<Btf, BtfError> {
        Btf::parse_over(data.into(), None)
    }

    /// Reads split BTF, a module's, whose types and strings continue those of `base`.
    pub fn parse_split(data: impl Into<Bytes>, base: &Arc<Btf>) -> Result<Btf, BtfError> {
        Btf::parse_over(data.into(), Some(Arc::clone(base)))
    }

    fn parse_over(data: Bytes, base: Option<Arc<Btf>>) -> Result<Btf, BtfError> {
        if u32::try_from(data.len()).is_err() {
            return Err(BtfError::TooLarge(data.len()));
        }
        let header = Header::parse(&data)?;
        if base.as_ref().is_some_and(|base| base.big_endian != header.big_endian) {
            return Err(BtfError::BaseEndianness);
        }
        let strings = &data[header.strings.clone()];
        if strings.last().is_some_and(|last| *last != 0) {
            return Err(BtfError::Strings("does not end with a NUL"));
        }
        if base.is_none() && strings.first() != Some(&0) {
            return Err(BtfError::Strings("does not begin with the empty string"));
        }
        // Every string of twice that length has such a part.
        if strings.chunks_exact(MAX_STRING_SZ).any(|part| memchr(0, part).is_none()) {
            return Err(BtfError::Strings("has a string of more than 16 KiB"));
        }
        if std::str::from_utf8(strings).is_err() {
            return Err(BtfError::Strings("is not UTF-8"));
        }
        let mut btf = Btf {
            big_endian: header.big_endian,
            header_len: header.len,
            offsets: Vec::with_capacity(header.types.len() / 20),
            first_id: base.as_ref().map_or(0, |base| base.type_count()),
            enums: Vec::new(),
            first_str: base.as_ref().map_or(0, |base| base.str_end()),
            strings: header.strings.clone(),
            counts: [0; 128],
            stopped: None,
            types: OnceLock::new(),
            values: OnceLock::new(),
            tags: OnceLock::new(),
            data,
            base,
        };
        btf.walk(&header)?;
        Ok(btf)
    }

    /// How many types there are, those of the base and `void` included: ids run from 0 to one less.
    pub fn type_count(&self) -> u32 {
        self.first_id + self.offsets.len() as u32
    }

    /// The ids of this BTF's own types, without the base's and without `void`.
    pub fn own_ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (self.first_id.max(1)..self.type_count()).map(TypeId)
    }

    /// What `__attribute__((btf_decl_tag(…)))` says of a type: which of its members or arguments the tag is about (`None` for
    /// the whole) and the tag's text. Tags of the base's types are the base's.
    pub fn decl_tags(&self, of: TypeId) -> impl Iterator<Item = (Option<u32>, &str)> {
        let tags = self.tags.get_or_init(|| {
            let tags = self.own_ids().filter(|id| self.ty(*id).kind() == BtfKind::DeclTag);
            let mut tags: Vec<_> = tags.map(|tag| (self.ty(tag).type_id(), tag)).collect();
            tags.sort_unstable();
            tags
        });
        let first = tags.partition_point(|(tagged, _)| *tagged < of);
        let tags = tags[first..].iter().take_while(move |(tagged, _)| *tagged == of);
        tags.map(|(_, tag)| {
            let tag = self.ty(*tag);
            (tag.extra().filter(|component| *component != u32::MAX), tag.name())
        })
    }

    /// This BTF's own enumerations, of either width.
    pub fn enums(&self) -> impl Iterator<Item = Type<'_>> {
        self.enums.iter().map(|id| self.ty(*id))
    }

    /// Whether the type `id` is of this BTF and not of its base.
    pub(crate) fn is_own(&self, id: TypeId) -> bool {
        id.0 >= self.first_id
    }

    /// Whether the bytes are in big-endian order.
    pub fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// Bytes of the header: 24, or 32 with a layout section (kernel v7.1 and later).
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The bytes as they were given.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The kinds that occur, ascending; `Unknown` stands for all that this build does not know.
    pub fn kinds_used(&self) -> impl Iterator<Item = BtfKind> + '_ {
        (0..128u8).filter(|kind| self.counts[*kind as usize] > 0).map(BtfKind::from_raw)
    }

    /// The first type that could not be read because its kind is unknown and no layout tells its size, and that kind.
    ///
    /// Types behind it are not seen; what is asked about them is unknown, not absent.
    pub fn stopped_at(&self) -> Option<(TypeId, u8)> {
        self.stopped
    }

    /// The type `id`. An id that cannot be seen gives a type of kind `Unknown`.
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        if id.0 < self.first_id {
            // first_id is above 0 only over a base.
            return self.base.as_ref().map_or(Type { btf: self, id, off: 0 }, |base| base.ty(id));
        }
        let off = self.offsets.get((id.0 - self.first_id) as usize).map_or(0, |off| *off as usize);
        Type { btf: self, id, off }
    }

    /// The offset of a member in bytes, also of one in an anonymous struct or union; `None` where there is none within a
    /// bounded number of members.
    pub fn offset_of(&self, ty: Type<'_>, member: &str) -> Option<u64> {
        let mut left = MAX_MEMBERS;
        let mut open = vec![(ty, 0)];
        while let Some((ty, off)) = open.pop() {
            for found in ty.members() {
                left = left.checked_sub(1)?;
                let off = off + u64::from(found.bit_off / 8);
                match found.name {
                    name if name == member => return Some(off),
                    "" => open.push((self.resolve(found.ty), off)),
                    _ => {}
                }
            }
        }
        None
    }

    /// The type behind modifiers and typedefs, with its id: libbpf's `skip_mods_and_typedefs()`.
    ///
    /// A chain longer than the number of types is a cycle and ends where it is then.
    pub fn resolve(&self, mut id: TypeId) -> Type<'_> {
        for _ in 0..MAX_CHAIN {
            let ty = self.ty(id);
            match ty.kind() {
                BtfKind::Typedef
                | BtfKind::Volatile
                | BtfKind::Const
                | BtfKind::Restrict
                | BtfKind::TypeTag => {
                    id = ty.type_id();
                }
                _ => return ty,
            }
        }
        Type { btf: self, id: TypeId(u32::MAX), off: 0 }
    }

    /// Size of a value of the type in bytes, or `None` where it has none (`void`, functions, forward declarations) or
    /// where it does not fit in 32 bits: libbpf's `btf__resolve_size()`.
    pub fn size_of(&self, mut id: TypeId) -> Option<u32> {
        let mut count = 1u32;
        for _ in 0..MAX_CHAIN {
            let ty = self.ty(id);
            let size = match ty.kind() {
                BtfKind::Int
                | BtfKind::Struct
                | BtfKind::Union
                | BtfKind::Enum
                | BtfKind::Enum64
                | BtfKind::Datasec
                | BtfKind::Float => ty.size(),
                BtfKind::Ptr => 8,
                BtfKind::Typedef
                | BtfKind::Volatile
                | BtfKind::Const
                | BtfKind::Restrict
                | BtfKind::Var
                | BtfKind::DeclTag
                | BtfKind::TypeTag => {
                    id = ty.type_id();
                    continue;
                }
                BtfKind::Array => {
                    let array = ty.array()?;
                    count = count.checked_mul(array.nelems)?;
                    id = array.elem;
                    continue;
                }
                _ => return None,
            };
            return count.checked_mul(size);
        }
        None
    }

    /// The first own or base type of that kind with exactly that name.
    pub fn find_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<TypeId> {
        let base = self.base.as_ref().and_then(|base| base.find_by_name_kind(name, kind));
        base.or_else(|| self.find_own_by_name_kind(name, kind))
    }

    /// The same without its base: of a module, what it adds to the kernel.
    pub fn find_own_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<TypeId> {
        self.own_with_essential_name(essential_name(name), kind).find(|id| {
            let ty = self.ty(*id);
            ty.kind() == kind && ty.name() == name
        })
    }

    /// This BTF's own types (not the base's) whose essential name is `name`, ascending by id: functions, variables and
    /// data sections if `kind` is one of these, any other types if it is not.
    ///
    /// A kernel has more functions than named types; whoever looks for types alone does not pay for them.
    pub fn own_with_essential_name<'a>(
        &'a self,
        name: &'a str,
        kind: BtfKind,
    ) -> impl Iterator<Item = TypeId> + 'a {
        let space = Space::of(kind);
        let index = match space {
            Space::Types => &self.types,
            Space::Values => &self.values,
        };
        let index = index.get_or_init(|| NameIndex::build(self, space));
        index.candidates(self, name).filter(move |id| {
            let ty = self.ty(*id);
            Space::of(ty.kind()) == space && essential_name(ty.name()) == name
        })
    }

    /// The bytes with one string more, behind all others, and its offset. Types stay where they are.
    pub(crate) fn with_string(&self, string: &str) -> (Vec<u8>, u32) {
        let mut data = self.data.to_vec();
        let put = |data: &mut Vec<u8>, field: usize, value: usize| {
            let word = value as u32;
            let bytes = if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
            data[field..field + 4].copy_from_slice(&bytes);
        };
        if self.strings.end != data.len() {
            // Something lies behind the strings: they move to the end.
            put(&mut data, 16, self.data.len() - self.header_len);
            data.extend(self.own_strings());
        }
        let name_off = self.str_end();
        data.extend(string.as_bytes());
        data.push(0);
        put(&mut data, 20, self.strings.len() + string.len() + 1);
        (data, name_off)
    }

    fn own_strings(&self) -> &[u8] {
        &self.data[self.strings.clone()]
    }

    fn str_end(&self) -> u32 {
        self.first_str + self.strings.len() as u32
    }

    /// The string at that offset; offset 0 is the empty string. A string that begins past the end is empty.
    pub(crate) fn string(&self, off: u32) -> &str {
        // The section as a whole is UTF-8, and NUL ends a character wherever it stands; an offset into the middle of
        // a character gives the empty name.
        std::str::from_utf8(self.name_bytes(off)).unwrap_or("")
    }

    /// Whether the string at that offset is `text`, which has no NUL, without looking for the string's end.
    pub(crate) fn string_is(&self, off: u32, text: &str) -> bool {
        let rest = self.strings_from(off).strip_prefix(text.as_bytes());
        // What begins past the end is empty.
        rest.is_some_and(|rest| rest.first().is_none_or(|next| *next == 0))
    }

    /// The bytes of the string at that offset, without its NUL.
    fn name_bytes(&self, off: u32) -> &[u8] {
        let rest = self.strings_from(off);
        &rest[..memchr(0, rest).unwrap_or(rest.len())]
    }

    /// The strings from that offset on, to the end of the section that has it; none where it lies past the end.
    fn strings_from(&self, off: u32) -> &[u8] {
        if off < self.first_str {
            return self.base.as_ref().map_or(&[], |base| base.strings_from(off));
        }
        self.own_strings().get((off - self.first_str) as usize..).unwrap_or_default()
    }
}

/// Essential name: the text before the last `X___Y` where neither X nor Y is `_`.
///
/// Same rule as libbpf's `bpf_core_essential_name_len()` (tools/lib/bpf/relo_core.c).
pub fn essential_name(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator =
        bytes.windows(5).rposition(|w| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_').map(|at| at + 1);
    separator.map_or(name, |end| &name[..end])
}

/// Longest chain of modifiers, typedefs and arrays that is followed. libbpf stops at 32 (`MAX_RESOLVE_DEPTH`).
const MAX_CHAIN: usize = 32;
/// Members that are looked through for one, with those of anonymous structs and unions: types may hold themselves.
const MAX_MEMBERS: usize = 1 << 14;
/// Bytes of a string that is read, or a source line: many types may share one long name, and each look at it costs all of
/// it. The kernel takes names of 512 bytes (`KSYM_NAME_LEN`).
const MAX_STRING_SZ: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essential_names_follow_libbpf() {
        for (name, essential) in [
            ("task_struct", "task_struct"),
            ("task_struct___v2", "task_struct"),
            ("a___b___c", "a___b"),
            ("___flavour", "___flavour"),
            ("a____b", "a____b"),
            ("a___", "a___"),
            ("a___b", "a"),
            ("", ""),
        ] {
            assert_eq!(essential_name(name), essential, "{name}");
        }
    }

    fn header(types: &[u8], strings: &[u8]) -> Vec<u8> {
        let mut data = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            data.extend(word.to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_dangling_reference_is_named() {
        let types = words(&[0, (BtfKind::Ptr as u32) << 24, 9]);
        let error = Btf::parse(header(&types, b"\0")).unwrap_err();
        assert_eq!(error.to_string(), "BTF type 1 at byte 24: refers to type 9, the last is 1");
    }

    #[test]
    fn a_chain_of_modifiers_that_is_a_cycle_ends() {
        let types = words(&[0, (BtfKind::Const as u32) << 24, 2, 0, (BtfKind::Volatile as u32) << 24, 1]);
        let btf = Btf::parse(header(&types, b"\0")).unwrap();
        assert_eq!(btf.resolve(TypeId(1)).kind(), BtfKind::Unknown);
        assert_eq!(btf.size_of(TypeId(1)), None);
    }

    #[test]
    fn types_before_an_unknown_kind_are_used_and_the_stop_is_told() {
        let types = words(&[1, (BtfKind::Int as u32) << 24, 4, 32, 0, 29 << 24, 0]);
        let btf = Btf::parse(header(&types, b"\0int\0")).unwrap();
        assert_eq!(btf.find_by_name_kind("int", BtfKind::Int), Some(TypeId(1)));
        assert_eq!(btf.stopped_at(), Some((TypeId(2), 29)));
        assert_eq!(btf.ty(TypeId(2)).kind(), BtfKind::Unknown);
    }

    #[test]
    fn an_unknown_kind_is_stepped_over_by_its_layout_record() {
        // 4 bytes, then 8 for each of two elements, none of which is a name or a reference that is looked at.
        let unknown = [0, 29 << 24 | 2, 0, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX];
        let types = [words(&unknown), words(&[1, (BtfKind::Int as u32) << 24, 4, 32])].concat();
        let mut layout = vec![0; 30 * 4];
        layout[29 * 4..29 * 4 + 2].copy_from_slice(&[4, 8]);
        let strings = b"\0int\0";
        let mut data = vec![0x9f, 0xeb, 1, 0];
        let (types_sz, strings_sz) = (types.len() as u32, strings.len() as u32);
        data.extend(words(&[
            32,
            0,
            types_sz,
            types_sz,
            strings_sz,
            types_sz + strings_sz,
            layout.len() as u32,
        ]));
        let btf = Btf::parse([&data[..], &types, strings, &layout].concat()).unwrap();
        assert_eq!(btf.stopped_at(), None);
        assert_eq!(btf.ty(TypeId(1)).kind(), BtfKind::Unknown);
        assert_eq!(btf.find_by_name_kind("int", BtfKind::Int), Some(TypeId(2)));
    }

    #[test]
    fn a_string_that_is_no_name_is_refused() {
        let of = |byte_sz: usize| {
            Btf::parse(header(&[], &["\0", &"a".repeat(byte_sz), "\0"].concat().into_bytes()))
        };
        assert!(of(2 * MAX_STRING_SZ).is_err());
        assert!(of(MAX_STRING_SZ - 1).is_ok());
    }

    #[test]
    fn every_truncation_of_good_bytes_is_an_error_or_reads() {
        let types = words(&[
            1,
            (BtfKind::Struct as u32) << 24 | 1,
            4,
            5,
            2,
            0,
            5,
            (BtfKind::Int as u32) << 24,
            4,
            32,
        ]);
        let good = header(&types, b"\0foo\0int\0");
        assert!(Btf::parse(good.clone()).is_ok());
        for len in 0..good.len() {
            assert!(Btf::parse(good[..len].to_vec()).is_err(), "{len} bytes");
        }
    }
}
