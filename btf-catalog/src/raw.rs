//! BTF as it lies on disk: the constants of `include/uapi/linux/btf.h` and unaligned reads in either byte order.

/// `BTF_MAGIC`.
pub const MAGIC: u16 = 0xeb9f;
/// `BTF_VERSION`.
pub const VERSION: u8 = 1;
/// Bytes of `struct btf_header` up to v7.0; a longer one carries a layout section (v7.1).
pub const HEADER_SZ: usize = 24;
/// Bytes of `struct btf_header` with `layout_off` and `layout_len` (v7.1).
pub const HEADER_LAYOUT_SZ: usize = 32;
/// Bytes of `struct btf_type`, the part that every type begins with.
pub const TYPE_SZ: usize = 12;
/// Bytes of `struct btf_layout`: `info_sz`, `elem_sz`, `flags` (v7.1).
pub const LAYOUT_SZ: usize = 4;

/// `BTF_INFO_VLEN`: 24 bits. Kernels that take 16 demand that the others are 0, so one mask serves both.
pub(crate) const INFO_VLEN: u32 = 0xff_ffff;
/// `BTF_INFO_KIND`, shifted down: 7 bits, of which older kernels use 5.
pub(crate) const INFO_KIND: u32 = 0x7f;

/// `BTF_KIND_*`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the kernel's own names")]
#[repr(u8)]
pub enum BtfKind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
    /// A kind that this build does not know, stepped over by its layout record; also any type behind one that could
    /// not be stepped over.
    Unknown = 127,
}

impl BtfKind {
    /// The kind of a raw number.
    pub const fn from_raw(kind: u8) -> BtfKind {
        const KINDS: [BtfKind; 20] = [
            BtfKind::Void,
            BtfKind::Int,
            BtfKind::Ptr,
            BtfKind::Array,
            BtfKind::Struct,
            BtfKind::Union,
            BtfKind::Enum,
            BtfKind::Fwd,
            BtfKind::Typedef,
            BtfKind::Volatile,
            BtfKind::Const,
            BtfKind::Restrict,
            BtfKind::Func,
            BtfKind::FuncProto,
            BtfKind::Var,
            BtfKind::Datasec,
            BtfKind::Float,
            BtfKind::DeclTag,
            BtfKind::TypeTag,
            BtfKind::Enum64,
        ];
        if (kind as usize) < KINDS.len() { KINDS[kind as usize] } else { BtfKind::Unknown }
    }

    /// The kernel's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            BtfKind::Void => "void",
            BtfKind::Int => "int",
            BtfKind::Ptr => "ptr",
            BtfKind::Array => "array",
            BtfKind::Struct => "struct",
            BtfKind::Union => "union",
            BtfKind::Enum => "enum",
            BtfKind::Fwd => "fwd",
            BtfKind::Typedef => "typedef",
            BtfKind::Volatile => "volatile",
            BtfKind::Const => "const",
            BtfKind::Restrict => "restrict",
            BtfKind::Func => "func",
            BtfKind::FuncProto => "func_proto",
            BtfKind::Var => "var",
            BtfKind::Datasec => "datasec",
            BtfKind::Float => "float",
            BtfKind::DeclTag => "decl_tag",
            BtfKind::TypeTag => "type_tag",
            BtfKind::Enum64 => "enum64",
            BtfKind::Unknown => "unknown",
        }
    }

    /// `(bytes after btf_type, bytes of each of its vlen elements)`, or `None` for an unknown kind.
    pub(crate) const fn tail(self) -> Option<(usize, usize)> {
        Some(match self {
            BtfKind::Int | BtfKind::Var | BtfKind::DeclTag => (4, 0),
            BtfKind::Array => (12, 0),
            BtfKind::Struct | BtfKind::Union | BtfKind::Datasec | BtfKind::Enum64 => (0, 12),
            BtfKind::Enum | BtfKind::FuncProto => (0, 8),
            BtfKind::Void
            | BtfKind::Ptr
            | BtfKind::Fwd
            | BtfKind::Typedef
            | BtfKind::Volatile
            | BtfKind::Const
            | BtfKind::Restrict
            | BtfKind::Func
            | BtfKind::Float
            | BtfKind::TypeTag => (0, 0),
            BtfKind::Unknown => return None,
        })
    }

    /// Whether `btf_type.type` is a reference to another type in this kind.
    pub(crate) const fn refers(self) -> bool {
        matches!(
            self,
            BtfKind::Ptr
                | BtfKind::Typedef
                | BtfKind::Volatile
                | BtfKind::Const
                | BtfKind::Restrict
                | BtfKind::Func
                | BtfKind::FuncProto
                | BtfKind::Var
                | BtfKind::DeclTag
                | BtfKind::TypeTag
        )
    }
}

/// `BTF_INT_SIGNED`.
pub const INT_SIGNED: u8 = 1;
/// `BTF_INT_BOOL`.
pub const INT_BOOL: u8 = 4;

/// Reads a `u16` at `off`; the caller has checked the bounds.
pub(crate) fn u16_at(data: &[u8], off: usize, big_endian: bool) -> u16 {
    let bytes = [data[off], data[off + 1]];
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

/// Reads a `u32` at `off`; the caller has checked the bounds.
pub(crate) fn u32_at(data: &[u8], off: usize, big_endian: bool) -> u32 {
    let bytes: [u8; 4] = data[off..off + 4].try_into().expect("four bytes");
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// The 64-bit word at `off`. Panics where there is none.
pub(crate) fn u64_at(data: &[u8], off: usize, big_endian: bool) -> u64 {
    let bytes = data[off..off + 8].try_into().expect("eight bytes");
    if big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
}
