//! One type and its parts, read where they lie.

use super::{Btf, TypeId};
use crate::raw::{BtfKind, INFO_KIND, INFO_VLEN, TYPE_SZ, u32_at};
use std::ops::Range;

/// One type of a [`Btf`].
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub(super) btf: &'a Btf,
    pub(super) id: TypeId,
    /// Where it begins in the bytes; 0 for `void` and for what cannot be seen.
    pub(super) off: usize,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Name; empty for an anonymous struct or union.
    pub name: &'a str,
    /// Type.
    pub ty: TypeId,
    /// Offset in bits from the start of the struct.
    pub bit_off: u32,
    /// Width in bits of a bitfield, 0 for any other member.
    pub bitfield_sz: u32,
}

/// A [`Member`] whose name was not looked up.
pub(crate) struct RawMember {
    pub(crate) name_off: u32,
    pub(crate) ty: TypeId,
    pub(crate) bit_off: u32,
    pub(crate) bitfield_sz: u32,
}

/// A value of an enumeration, sign-extended or zero-extended to 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Enumerator<'a> {
    /// Name.
    pub name: &'a str,
    /// Value as the bits of a 64-bit integer.
    pub value: u64,
}

/// A parameter of a function prototype; the last one of a variadic function has no name and type `void`.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    /// Name, often empty.
    pub name: &'a str,
    /// Type.
    pub ty: TypeId,
}

/// An array.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    /// Type of an element.
    pub elem: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// Number of elements.
    pub nelems: u32,
}

impl<'a> Type<'a> {
    /// Its number.
    pub fn id(self) -> TypeId {
        self.id
    }

    /// Where it begins in [`Btf::bytes`] of the BTF that has it; 0 for `void` and for what cannot be seen.
    pub fn byte_off(self) -> usize {
        self.off
    }

    fn word(self, at: usize) -> u32 {
        u32_at(&self.btf.data, self.off + at, self.btf.big_endian)
    }

    fn info(self) -> u32 {
        if self.off == 0 { 0 } else { self.word(4) }
    }

    /// Its kind.
    pub fn kind(self) -> BtfKind {
        match (self.off, self.id) {
            (0, TypeId::VOID) => BtfKind::Void,
            (0, _) => BtfKind::Unknown,
            _ => BtfKind::from_raw((self.info() >> 24 & INFO_KIND) as u8),
        }
    }

    /// `vlen`: members, enumerators, parameters, variables.
    pub fn vlen(self) -> usize {
        (self.info() & INFO_VLEN) as usize
    }

    /// `kind_flag`: bitfield offsets in a struct, signedness of an enum, union of a forward declaration.
    pub fn kind_flag(self) -> bool {
        self.info() >> 31 != 0
    }

    /// Its name, empty for an anonymous type.
    pub fn name(self) -> &'a str {
        self.btf.string(self.name_off())
    }

    /// Its name, as an offset into the BTF's strings; 0 for an anonymous type.
    pub fn name_off(self) -> u32 {
        if self.off == 0 { 0 } else { self.word(0) }
    }

    /// Size in bytes where the kind has one, else 0.
    pub fn size(self) -> u32 {
        match self.kind() {
            BtfKind::Int
            | BtfKind::Struct
            | BtfKind::Union
            | BtfKind::Enum
            | BtfKind::Enum64
            | BtfKind::Datasec
            | BtfKind::Float => self.word(8),
            _ => 0,
        }
    }

    /// The type it refers to, for pointers, modifiers, typedefs, functions (their prototype) and prototypes (what
    /// they return); `void` for every other kind.
    pub fn type_id(self) -> TypeId {
        if self.kind().refers() { TypeId(self.word(8)) } else { TypeId::VOID }
    }

    /// Whether it is a struct or a union.
    pub fn is_composite(self) -> bool {
        matches!(self.kind(), BtfKind::Struct | BtfKind::Union)
    }

    /// Whether it is an enumeration of either width.
    pub fn is_any_enum(self) -> bool {
        matches!(self.kind(), BtfKind::Enum | BtfKind::Enum64)
    }

    /// Member number `index` of a struct or union.
    pub fn member(self, index: u32) -> Option<Member<'a>> {
        (self.is_composite() && (index as usize) < self.vlen()).then(|| {
            let RawMember { name_off, ty, bit_off, bitfield_sz } = self.raw_member(index as usize);
            Member { name: self.btf.string(name_off), ty, bit_off, bitfield_sz }
        })
    }

    /// Member number `index`, which there is.
    fn raw_member(self, index: usize) -> RawMember {
        let at = TYPE_SZ + index * 12;
        let raw = self.word(at + 8);
        let (bit_off, bitfield_sz) = if self.kind_flag() { (raw & 0xff_ffff, raw >> 24) } else { (raw, 0) };
        RawMember { name_off: self.word(at), ty: TypeId(self.word(at + 4)), bit_off, bitfield_sz }
    }

    /// The members of a struct or union, for who looks for one of many; none for other kinds.
    pub(crate) fn raw_members(self) -> impl Iterator<Item = RawMember> + use<'a> {
        let count = if self.is_composite() { self.vlen() } else { 0 };
        (0..count).map(move |index| self.raw_member(index))
    }

    /// The members of a struct or union; none for other kinds.
    pub fn members(self) -> impl Iterator<Item = Member<'a>> + Clone {
        (0..self.vlen() as u32).map_while(move |index| self.member(index))
    }

    /// Value number `index` of an enumeration.
    pub fn enumerator(self, index: u32) -> Option<Enumerator<'a>> {
        if !self.is_any_enum() || index as usize >= self.vlen() {
            return None;
        }
        let wide = self.kind() == BtfKind::Enum64;
        let at = TYPE_SZ + index as usize * if wide { 12 } else { 8 };
        let low = self.word(at + 4);
        let value = match (wide, self.kind_flag()) {
            (true, _) => u64::from(self.word(at + 8)) << 32 | u64::from(low),
            (false, true) => i64::from(low as i32) as u64,
            (false, false) => u64::from(low),
        };
        Some(Enumerator { name: self.btf.string(self.word(at)), value })
    }

    /// The values of an enumeration; none for other kinds.
    pub fn enumerators(self) -> impl Iterator<Item = Enumerator<'a>> + Clone {
        (0..self.vlen() as u32).map_while(move |index| self.enumerator(index))
    }

    /// The names of an enumeration's values that begin so, for who looks for few of many; none for other kinds.
    pub fn enumerators_named(self, prefix: &str) -> impl Iterator<Item = &'a str> {
        let each = if self.kind() == BtfKind::Enum64 { 12 } else { 8 };
        let count = if self.is_any_enum() { self.vlen() } else { 0 };
        let name_offs = (0..count).map(move |index| self.word(TYPE_SZ + index * each));
        name_offs
            .filter(move |off| self.btf.strings_from(*off).starts_with(prefix.as_bytes()))
            .map(move |off| self.btf.string(off))
    }

    fn elements(self, kind: BtfKind) -> Range<usize> {
        if self.kind() == kind { 0..self.vlen() } else { 0..0 }
    }

    /// The parameters of a function prototype; none for other kinds.
    pub fn params(self) -> impl ExactSizeIterator<Item = Param<'a>> + Clone {
        self.elements(BtfKind::FuncProto).map(move |index| {
            let at = TYPE_SZ + index * 8;
            Param { name: self.btf.string(self.word(at)), ty: TypeId(self.word(at + 4)) }
        })
    }

    /// `(variable, offset in bytes, size in bytes)` for each variable of a data section; none for other kinds.
    pub fn secinfos(self) -> impl ExactSizeIterator<Item = (TypeId, u32, u32)> + Clone + use<'a> {
        self.elements(BtfKind::Datasec).map(move |index| {
            let at = TYPE_SZ + index * 12;
            (TypeId(self.word(at)), self.word(at + 4), self.word(at + 8))
        })
    }

    /// The array's element type and length.
    pub fn array(self) -> Option<Array> {
        (self.kind() == BtfKind::Array).then(|| Array {
            elem: TypeId(self.word(TYPE_SZ)),
            index: TypeId(self.word(TYPE_SZ + 4)),
            nelems: self.word(TYPE_SZ + 8),
        })
    }

    /// `(encoding, bit offset, bits)` of an integer.
    pub fn int(self) -> Option<(u8, u8, u8)> {
        (self.kind() == BtfKind::Int).then(|| {
            let raw = self.word(TYPE_SZ);
            ((raw >> 24 & 0xf) as u8, (raw >> 16) as u8, raw as u8)
        })
    }

    /// The word after `btf_type`: linkage of a variable, component index of a declaration tag.
    pub fn extra(self) -> Option<u32> {
        matches!(self.kind(), BtfKind::Var | BtfKind::DeclTag).then(|| self.word(TYPE_SZ))
    }
}
