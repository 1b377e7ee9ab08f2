//! struct_ops: the structures of programs that an object gives to the kernel in place of its own functions.
//!
//! `init_struct_ops_maps()` and `bpf_object__collect_st_ops_relos()` of tools/lib/bpf/libbpf.c, v6.12.

use super::elf::{File, Section};
use super::{Entry, ObjectError};
use crate::btf::{Btf, BtfKind, TypeId};
use crate::uapi::ProgType;
use bytes::Bytes;

/// A variable of a `.struct_ops` section: a map of one structure, which the kernel calls into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StructOps {
    /// Name of the variable.
    pub name: String,
    /// Its structure, in the object's BTF.
    pub ty: TypeId,
    /// Whether a loader creates it unasked: `?` before the section's name turns that off for the section's first.
    pub autocreate: bool,
    /// Whether it is attached by a link (`.struct_ops.link`, since v6.4).
    pub link: bool,
    /// Its value as the compiler left it; pointers to programs are zero.
    pub value: Bytes,
    /// Index of a member, and of the entry that it points to in [`super::BpfObject::entries`].
    pub programs: Vec<(usize, usize)>,
}

/// All structures, by section and offset.
pub(super) fn read(file: &File, btf: Option<&Btf>, entries: &[Entry]) -> Result<Vec<StructOps>, ObjectError> {
    let mut found = Vec::new();
    for section in &file.sections {
        let optional = section.name.strip_prefix('?');
        let link = match optional.unwrap_or(section.name) {
            ".struct_ops" => false,
            ".struct_ops.link" => true,
            _ => continue,
        };
        let bad = |what: String| ObjectError::Section { section: section.name.to_owned(), what };
        let btf = btf.ok_or_else(|| bad("its BTF is missing".to_owned()))?;
        let datasec = btf
            .find_by_name_kind(section.name, BtfKind::Datasec)
            .ok_or_else(|| bad("no section of that name in BTF".to_owned()))?;
        for (nth, (var, off, _)) in btf.ty(datasec).secinfos().enumerate() {
            let name = btf.ty(var).name();
            let ty = btf.resolve(btf.ty(var).type_id());
            if ty.kind() != BtfKind::Struct || ty.name().is_empty() {
                return Err(bad(format!("{name} is not of a structure with a name")));
            }
            let start = off as usize;
            let value = start.checked_add(ty.size() as usize).and_then(|end| section.data.get(start..end));
            let value = value.ok_or_else(|| bad(format!("{name} reaches beyond the section")))?;
            found.push(StructOps {
                name: name.to_owned(),
                ty: ty.id(),
                autocreate: optional.is_none() || nth > 0,
                link,
                value: Bytes::copy_from_slice(value),
                programs: programs(file, section, btf, ty.id(), start, entries).map_err(bad)?,
            });
        }
    }
    Ok(found)
}

/// The programs that the structure at byte `start` of the section points to.
fn programs(
    file: &File,
    section: &Section,
    btf: &Btf,
    ty: TypeId,
    start: usize,
    entries: &[Entry],
) -> Result<Vec<(usize, usize)>, String> {
    let ty = btf.ty(ty);
    let inside = start as u64..start as u64 + u64::from(ty.size());
    let mut programs = Vec::new();
    for reloc in section.relocs.iter().filter(|reloc| inside.contains(&reloc.byte_off)) {
        let symbol = file.symbol(reloc.symbol, section).map_err(|error| error.to_string())?;
        let bit_off = (reloc.byte_off - inside.start) * 8;
        let member = ty.members().position(|member| u64::from(member.bit_off) == bit_off);
        let member = member.ok_or_else(|| format!("byte {} is no member's", reloc.byte_off))?;
        let function = |symbol: &&super::elf::Symbol, other: &super::elf::Symbol| {
            other.is_func && (other.section, other.value) == (symbol.section, symbol.value)
        };
        let function = file.symbols.iter().find(|other| function(&symbol, other));
        let entry =
            function.and_then(|function| entries.iter().position(|entry| entry.name == function.name));
        let is_struct_ops = |entry: &usize| {
            entries[*entry].kind.as_ref().is_some_and(|kind| kind.prog_type == ProgType::STRUCT_OPS)
        };
        let entry = entry.filter(is_struct_ops).ok_or_else(|| {
            format!("byte {} refers to {:?}, which is no struct_ops program", reloc.byte_off, symbol.name)
        })?;
        programs.push((member, entry));
    }
    Ok(programs)
}
