//! The header of BTF: which bytes are types, strings and layout.

use super::BtfError;
use crate::raw::{HEADER_LAYOUT_SZ, HEADER_SZ, LAYOUT_SZ, MAGIC, VERSION, u16_at, u32_at};
use std::ops::Range;

/// The checked header.
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) big_endian: bool,
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    layout: Range<usize>,
}

impl Header {
    pub(super) fn parse(data: &[u8]) -> Result<Header, BtfError> {
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
    pub(super) fn layout_of(&self, data: &[u8], raw_kind: u8) -> Option<(usize, usize)> {
        let record = data[self.layout.clone()].get(raw_kind as usize * LAYOUT_SZ..)?.get(..2)?;
        Some((record[0] as usize, record[1] as usize))
    }
}
