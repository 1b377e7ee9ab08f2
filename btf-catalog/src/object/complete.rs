//! Completing an object's BTF: clang leaves to the loader what only the ELF file knows.
//!
//! The kernel refuses data sections without size and variables out of order (`btf_datasec_check_meta()`,
//! kernel/bpf/btf.c, v6.18), and verifies hidden functions together with their callers only if their BTF calls them
//! static. libbpf does the same before it loads (`btf_fixup_datasec()` and `bpf_object__sanitize_btf()`).

use super::elf::File;
use crate::btf::{Btf, BtfKind};
use crate::raw::TYPE_SZ;
use std::collections::{HashMap, HashSet};

/// Bytes of `struct btf_var_secinfo`: type, offset, size.
const SECINFO_SZ: usize = 12;
/// `BTF_FUNC_GLOBAL`, kept where other kinds keep their `vlen`.
const FUNC_GLOBAL: usize = 1;

/// The BTF's bytes with the sizes of data sections, the offsets of their variables in ascending order, and the linkage
/// of hidden functions. Sections and variables that the file does not have stay as they are.
pub(super) fn completed(btf: &Btf, file: &File) -> Vec<u8> {
    let sections: HashMap<&str, usize> =
        file.sections.iter().enumerate().rev().map(|(index, section)| (section.name, index)).collect();
    let symbols = || file.symbols.iter().filter(|symbol| !symbol.is_section && !symbol.name.is_empty());
    let offsets: HashMap<(usize, &str), u32> = symbols()
        .filter_map(|symbol| Some(((symbol.section?, symbol.name), u32::try_from(symbol.value).ok()?)))
        .collect();
    let hidden: HashSet<&str> =
        symbols().filter(|symbol| symbol.is_func && symbol.hidden).map(|symbol| symbol.name).collect();

    let mut bytes = btf.bytes().to_vec();
    let mut put = |off: usize, value: u32| {
        let word = if file.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        bytes[off..off + 4].copy_from_slice(&word);
    };
    for ty in btf.own_ids().map(|id| btf.ty(id)) {
        match ty.kind() {
            BtfKind::Datasec => {
                let Some(index) = sections.get(ty.name()).copied() else {
                    continue;
                };
                let Ok(byte_sz) = u32::try_from(file.sections[index].byte_sz) else {
                    continue;
                };
                put(ty.byte_off() + 8, byte_sz);
                let mut infos: Vec<(u32, u32, u32)> = ty
                    .secinfos()
                    .map(|(var, off, byte_sz)| {
                        let name = btf.ty(var).name();
                        (offsets.get(&(index, name)).copied().unwrap_or(off), var.0, byte_sz)
                    })
                    .collect();
                infos.sort_unstable();
                for (position, (off, var, byte_sz)) in infos.into_iter().enumerate() {
                    let at = ty.byte_off() + TYPE_SZ + position * SECINFO_SZ;
                    put(at, var);
                    put(at + 4, off);
                    put(at + 8, byte_sz);
                }
            }
            BtfKind::Func if ty.vlen() == FUNC_GLOBAL && hidden.contains(ty.name()) => {
                // The kind alone, with `vlen` 0: BTF_FUNC_STATIC.
                put(ty.byte_off() + 4, (BtfKind::Func as u32) << 24);
            }
            _ => {}
        }
    }
    bytes
}
