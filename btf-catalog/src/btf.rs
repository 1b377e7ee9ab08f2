//! A checked view of BTF, the kernel's type information.
//!
//! [`Btf::parse`] walks the types once, checks every size, name and reference, and keeps the bytes as they are: what it
//! holds beside them is one offset a type. After that every accessor is infallible. Names are found through a hash table
//! over *essential* names (without the `___flavour`), built at the first look-up and shared by all threads.

mod names;
mod types;

pub use crate::raw::BtfKind;
use crate::raw::{
    HEADER_LAYOUT_SZ, HEADER_SZ, INFO_KIND, INFO_VLEN, LAYOUT_SZ, MAGIC, TYPE_SZ, VERSION, u16_at, u32_at,
};
use bytes::Bytes;
use memchr::memchr;
use names::NameTable;
pub use names::essential_name;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
pub use types::{Array, Enumerator, Member, Param, Type};

/// The number of a type. 0 is `void`, and a real value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
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
    strings: Range<usize>,
    /// The string offset of the first own string: the base's string bytes.
    first_str: u32,
    kinds: u128,
    stopped: Option<(TypeId, u8)>,
    names: OnceLock<NameTable>,
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
        if std::str::from_utf8(strings).is_err() {
            return Err(BtfError::Strings("is not UTF-8"));
        }
        let mut btf = Btf {
            big_endian: header.big_endian,
            header_len: header.len,
            offsets: Vec::with_capacity(header.types.len() / 20),
            first_id: base.as_ref().map_or(0, |base| base.type_count()),
            first_str: base.as_ref().map_or(0, |base| base.str_end()),
            strings: header.strings.clone(),
            kinds: 0,
            stopped: None,
            names: OnceLock::new(),
            data,
            base,
        };
        btf.walk(&header)?;
        Ok(btf)
    }

    /// Finds every type and checks its size, its names and its references.
    fn walk(&mut self, header: &Header) -> Result<(), BtfError> {
        let str_end = u64::from(self.first_str) + self.strings.len() as u64;
        if self.base.is_none() {
            // void has no bytes; its offset is never read.
            self.offsets.push(0);
        }
        let data = self.data.clone();
        let mut at = header.types.start;
        let mut largest_ref = 0;
        while at < header.types.end {
            let id = self.first_id + self.offsets.len() as u32;
            let bad = |what: String| BtfError::Type { id, off: at, what };
            let left = header.types.end - at;
            if left < TYPE_SZ {
                return Err(bad(format!("needs {TYPE_SZ} bytes, {left} are left")));
            }
            let info = u32_at(&data, at + 4, self.big_endian);
            let raw_kind = (info >> 24 & INFO_KIND) as u8;
            let vlen = (info & INFO_VLEN) as usize;
            let kind = BtfKind::from_raw(raw_kind);
            if kind == BtfKind::Void {
                return Err(bad("has kind 0".to_owned()));
            }
            let Some((fixed, each)) = kind.tail().or_else(|| header.layout_of(&data, raw_kind)) else {
                self.stopped = Some((TypeId(id), raw_kind));
                break;
            };
            let size = TYPE_SZ + fixed + each * vlen;
            if left < size {
                return Err(bad(format!("{} of {size} bytes, {left} are left", kind.name())));
            }
            self.kinds |= 1 << raw_kind;
            self.offsets.push(at as u32);
            let tail = at + TYPE_SZ;
            let check_name = |off: u32| {
                if u64::from(off) < str_end || off == 0 {
                    return Ok(());
                }
                Err(bad(format!("name at byte {off} of {str_end} bytes of strings")))
            };
            check_name(u32_at(&data, at, self.big_endian))?;
            let mut refer = |to: u32| largest_ref = largest_ref.max(to);
            if kind.refers() {
                refer(u32_at(&data, at + 8, self.big_endian));
            }
            match kind {
                BtfKind::Array => {
                    refer(u32_at(&data, tail, self.big_endian));
                    refer(u32_at(&data, tail + 4, self.big_endian));
                }
                BtfKind::Struct | BtfKind::Union | BtfKind::FuncProto => {
                    for element in 0..vlen {
                        check_name(u32_at(&data, tail + element * each, self.big_endian))?;
                        refer(u32_at(&data, tail + element * each + 4, self.big_endian));
                    }
                }
                BtfKind::Datasec => {
                    for element in 0..vlen {
                        refer(u32_at(&data, tail + element * each, self.big_endian));
                    }
                }
                BtfKind::Enum | BtfKind::Enum64 => {
                    for element in 0..vlen {
                        check_name(u32_at(&data, tail + element * each, self.big_endian))?;
                    }
                }
                _ => {}
            }
            at += size;
        }
        // Behind an unknown kind without a layout record types may exist that cannot be seen: references to them stay.
        if largest_ref >= self.type_count() && self.stopped.is_none() {
            return Err(self.dangling_reference());
        }
        Ok(())
    }

    /// The error for a reference past the last type, found by a second walk since good BTF never needs it.
    fn dangling_reference(&self) -> BtfError {
        let count = self.type_count();
        for id in (self.first_id..count).map(TypeId) {
            let ty = self.ty(id);
            let mut refs: Vec<TypeId> = ty.members().map(|m| m.ty).chain(ty.params().map(|p| p.ty)).collect();
            refs.extend(ty.secinfos().map(|(var, _, _)| var));
            refs.extend(ty.array().into_iter().flat_map(|a| [a.elem, a.index]));
            if ty.kind().refers() {
                refs.push(ty.type_id());
            }
            if let Some(to) = refs.iter().find(|to| to.0 >= count) {
                let what = format!("refers to type {}, the last is {}", to.0, count - 1);
                return BtfError::Type { id: id.0, off: ty.off, what };
            }
        }
        unreachable!("called only when a reference is dangling")
    }

    /// How many types there are, those of the base and `void` included: ids run from 0 to one less.
    pub fn type_count(&self) -> u32 {
        self.first_id + self.offsets.len() as u32
    }

    /// The ids of this BTF's own types, without the base's and without `void`.
    pub fn own_ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (self.first_id.max(1)..self.type_count()).map(TypeId)
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
        (0..128u8).filter(|kind| self.kinds & 1 << kind != 0).map(BtfKind::from_raw)
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
        self.base.as_ref().and_then(|base| base.find_by_name_kind(name, kind)).or_else(|| {
            self.own_with_essential_name(essential_name(name)).find(|id| {
                let ty = self.ty(*id);
                ty.kind() == kind && ty.name() == name
            })
        })
    }

    /// This BTF's own types (not the base's) whose essential name is `name`, ascending by id.
    pub fn own_with_essential_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + 'a {
        let table = self.names.get_or_init(|| NameTable::build(self));
        table.chain(name).map(TypeId).filter(move |id| essential_name(self.ty(*id).name()) == name)
    }

    fn own_strings(&self) -> &[u8] {
        &self.data[self.strings.clone()]
    }

    fn str_end(&self) -> u32 {
        self.first_str + self.strings.len() as u32
    }

    /// The string at that offset; offset 0 is the empty string. A string that begins past the end is empty.
    pub(crate) fn string(&self, off: u32) -> &str {
        if off < self.first_str {
            return self.base.as_ref().map_or("", |base| base.string(off));
        }
        let Some(rest) = self.own_strings().get((off - self.first_str) as usize..) else {
            return "";
        };
        let len = memchr(0, rest).unwrap_or(rest.len());
        // The section as a whole is UTF-8, and NUL ends a character wherever it stands; an offset into the middle of
        // a character gives the empty name.
        std::str::from_utf8(&rest[..len]).unwrap_or("")
    }
}

/// Longest chain of modifiers, typedefs and arrays that is followed. libbpf stops at 32 (`MAX_RESOLVE_DEPTH`).
const MAX_CHAIN: usize = 32;

/// The checked header.
struct Header {
    len: usize,
    big_endian: bool,
    types: Range<usize>,
    strings: Range<usize>,
    layout: Range<usize>,
}

impl Header {
    fn parse(data: &[u8]) -> Result<Header, BtfError> {
        let have = data.len();
        if have < HEADER_SZ {
            return Err(BtfError::Truncated {
                what: "the header",
                need: HEADER_SZ as u64,
                have: have as u64,
            });
        }
        let big_endian = match u16_at(data, 0, false) {
            MAGIC => false,
            magic if magic.swap_bytes() == MAGIC => true,
            magic => return Err(BtfError::Magic(magic)),
        };
        if data[2] != VERSION {
            return Err(BtfError::Version(data[2]));
        }
        let len = u32_at(data, 4, big_endian) as usize;
        if len < HEADER_SZ || len > have {
            return Err(BtfError::Truncated {
                what: "the header",
                need: len.max(HEADER_SZ) as u64,
                have: have as u64,
            });
        }
        let section = |what, field: usize| {
            let off = len as u64 + u64::from(u32_at(data, field, big_endian));
            let end = off + u64::from(u32_at(data, field + 4, big_endian));
            if end > have as u64 {
                return Err(BtfError::Truncated { what, need: end, have: have as u64 });
            }
            Ok(off as usize..end as usize)
        };
        let layout = if len >= HEADER_LAYOUT_SZ { section("the layout section", HEADER_SZ)? } else { 0..0 };
        Ok(Header {
            len,
            big_endian,
            types: section("the type section", 8)?,
            strings: section("the string section", 16)?,
            layout,
        })
    }

    /// Tail sizes of a kind from the layout section: `struct btf_layout` of `include/uapi/linux/btf.h` (v7.1).
    fn layout_of(&self, data: &[u8], raw_kind: u8) -> Option<(usize, usize)> {
        let record = data[self.layout.clone()].get(raw_kind as usize * LAYOUT_SZ..)?.get(..2)?;
        Some((record[0] as usize, record[1] as usize))
    }
}

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
