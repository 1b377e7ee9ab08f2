//! What changes in an object's type information: `.BTF.ext` without CO-RE records, `.kconfig` as data.

use super::KCONFIG_SECTION;
use crate::btf::{Btf, BtfKind};
use crate::object::BpfObject;
use crate::raw::{TYPE_SZ, u32_at};
use std::ops::Range;

/// `.BTF.ext` with functions and lines alone, and where these were before.
pub(super) struct Kept {
    pub(super) data: Vec<u8>,
    /// A part's place before, and its start now.
    parts: [(Range<u64>, u64); 2],
}

impl Kept {
    /// Where the byte at that offset is now, if it was kept.
    pub(super) fn moved(&self, off: u64) -> Option<u64> {
        self.parts.iter().find(|(was, _)| was.contains(&off)).map(|(was, now)| off - was.start + now)
    }
}

fn put(data: &mut [u8], off: usize, value: u32, big_endian: bool) {
    let bytes = if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    data[off..off + 4].copy_from_slice(&bytes);
}

/// Drops the CO-RE records of `.BTF.ext`, which was read before.
pub(super) fn without_core_records(ext: &[u8], big_endian: bool) -> Kept {
    let header_len = u32_at(ext, 4, big_endian) as usize;
    let mut data = ext[..header_len].to_vec();
    let mut parts = [(0..0, 0), (0..0, 0)];
    for (part, field) in [8, 16].into_iter().enumerate() {
        let start = header_len + u32_at(ext, field, big_endian) as usize;
        let end = start + u32_at(ext, field + 4, big_endian) as usize;
        parts[part] = (start as u64..end as u64, data.len() as u64);
        let off = (data.len() - header_len) as u32;
        put(&mut data, field, off, big_endian);
        data.extend(&ext[start..end]);
    }
    if header_len >= 32 {
        let off = (data.len() - header_len) as u32;
        put(&mut data, 24, off, big_endian);
        put(&mut data, 28, 0, big_endian);
    }
    Kept { data, parts }
}

/// The object's BTF with the data section `.kconfig` renamed, sized, and its variables defined instead of extern.
pub(super) fn kconfig_as_data(btf: &Btf, object: &BpfObject, byte_sz: u32) -> Vec<u8> {
    /// `BTF_VAR_GLOBAL_ALLOCATED`.
    const GLOBAL: u32 = 1;
    let big_endian = object.big_endian;
    let Some(datasec) = btf.find_by_name_kind(".kconfig", BtfKind::Datasec) else {
        return btf.bytes().to_vec();
    };
    let (mut data, name_off) = btf.with_string(KCONFIG_SECTION);
    let datasec = btf.ty(datasec);
    put(&mut data, datasec.byte_off(), name_off, big_endian);
    put(&mut data, datasec.byte_off() + 8, byte_sz, big_endian);
    let slot = |name: &str| object.externs.iter().find(|ext| ext.name == name).and_then(|ext| ext.slot);
    let mut infos: Vec<(u32, u32, u32)> = datasec
        .secinfos()
        .map(|(var, off, size)| match slot(btf.ty(var).name()) {
            Some(slot) => (slot.byte_off, var.0, slot.byte_sz),
            None => (off, var.0, size),
        })
        .collect();
    infos.sort_unstable();
    for (index, (off, var, size)) in infos.into_iter().enumerate() {
        let at = datasec.byte_off() + TYPE_SZ + index * 12;
        put(&mut data, at, var, big_endian);
        put(&mut data, at + 4, off, big_endian);
        put(&mut data, at + 8, size, big_endian);
        put(&mut data, btf.ty(crate::TypeId(var)).byte_off() + TYPE_SZ, GLOBAL, big_endian);
    }
    data
}
