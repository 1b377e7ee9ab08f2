//! eBPF objects: an ELF file of machine `EM_BPF`, read into programs, maps and externs.
//!
//! [`BpfObject::parse`] checks the file and links each entry: the subprograms it reaches are appended behind it and calls
//! between them are resolved, as libbpf does before it loads. What remains open is what only a kernel can answer: CO-RE
//! relocations, maps, externs.

mod complete;
mod elf;
mod externs;
mod link;
mod maps;
mod section;
mod struct_ops;

pub use externs::{Extern, ExternKind, KconfigFormat, KconfigSlot};
pub(crate) use maps::{F_RDONLY_PROG, F_WRONLY_PROG};
pub use maps::{MapDef, Pinning};
pub use section::SectionKind;
pub use struct_ops::StructOps;

use crate::btf::{Btf, BtfError, TypeId};
use crate::core::Accesses;
use crate::ext::{BtfExt, CoreReloRecord, ExtError, LineInfo};
use crate::insn::Insn;
use bytes::Bytes;

/// What is wrong with bytes that should be an eBPF object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Not a readable ELF file.
    #[error("not a readable ELF file: {0}")]
    Elf(object::Error),
    /// An ELF file for another machine.
    #[error("an ELF file for machine {0}, not for eBPF (247)")]
    Machine(u16),
    /// Larger than [`MAX_OBJECT_SZ`].
    #[error("an object of {0} bytes; the largest that is read has {MAX_OBJECT_SZ}")]
    TooLarge(usize),
    /// The object's BTF is malformed.
    #[error("section .BTF: {0}")]
    Btf(#[from] BtfError),
    /// The object's `.BTF.ext` is malformed.
    #[error("section {0}")]
    Ext(#[from] ExtError),
    /// A section holds what it cannot hold.
    #[error("section {section}: {what}")]
    Section {
        /// The section's name.
        section: String,
        /// What is wrong.
        what: String,
    },
    /// A map's definition is malformed.
    #[error("map {map}: {what}")]
    Map {
        /// The map's name.
        map: String,
        /// What is wrong.
        what: String,
    },
    /// An undefined symbol is not declared as an extern should be.
    #[error("extern {name}: {what}")]
    Extern {
        /// The symbol's name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// Linking an entry's subprograms needs more instructions than the kernel verifies.
    #[error("entry {entry}: more than {} instructions with its subprograms", link::MAX_INSNS)]
    TooManyInsns {
        /// The entry's name.
        entry: String,
    },
}

impl From<object::Error> for ObjectError {
    // It is told in the message: as the source too, a chain of causes would say it twice.
    fn from(error: object::Error) -> ObjectError {
        ObjectError::Elf(error)
    }
}

/// The largest object that is read, in bytes.
pub const MAX_OBJECT_SZ: usize = 64 << 20;

/// An eBPF object, checked and linked.
#[derive(Debug)]
pub struct BpfObject {
    /// Byte order of the object.
    pub big_endian: bool,
    /// Contents of the `license` section, empty without one.
    pub license: String,
    /// `LINUX_VERSION_CODE` in the `version` section, where there is one.
    pub kern_version: Option<u32>,
    /// The object's own types.
    pub btf: Option<Btf>,
    /// Its programs, by section and offset.
    pub entries: Vec<Entry>,
    /// CO-RE relocations of all functions in `.text`, also of those that no entry reaches: libbpf answers them too, and
    /// fails with any.
    pub text_relos: Vec<TextRelo>,
    /// What the relocations of all its records ask, read once.
    pub accesses: Accesses,
    /// Its maps, global data sections among them.
    pub maps: Vec<MapDef>,
    /// Symbols that the kernel must provide, in libbpf's order.
    pub externs: Vec<Extern>,
    /// The structures of programs that it gives to the kernel.
    pub struct_ops: Vec<StructOps>,
    /// What else its loader has to do before the kernel sees it, in words: values to put into maps, struct_ops to
    /// register.
    pub left_to_loader: Vec<String>,
}

/// A program of an object: what is loaded by one `BPF_PROG_LOAD`.
#[derive(Debug, Default)]
pub struct Entry {
    /// Name of its function.
    pub name: String,
    /// Name of its section as it stands in the file.
    pub section: String,
    /// What the section's name says; `None` if no loader knows it.
    pub kind: Option<SectionKind>,
    /// Whether a loader loads it unasked (`?` before the section's name turns that off).
    pub autoload: bool,
    /// Instructions, its own first, then those of the subprograms it reaches.
    pub insns: Vec<Insn>,
    /// Where each function begins in `insns`, ascending; the first is the entry itself.
    pub functions: Vec<Function>,
    /// References to maps.
    pub map_refs: Vec<MapRef>,
    /// References to externs.
    pub extern_refs: Vec<ExternRef>,
    /// CO-RE relocations, `byte_off` being that in `insns`.
    pub core_relos: Vec<CoreReloRecord>,
    /// Source lines, `byte_off` being that in `insns`.
    pub lines: Vec<LineInfo>,
}

/// A function within an entry's instructions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Index of its first instruction.
    pub insn_off: usize,
    /// Its type as the object's records have it: a `FUNC` of the object's BTF in a well-formed one.
    pub type_id: Option<TypeId>,
    /// Whether it is verified by itself (a global function), not inlined into its callers' verification.
    pub global: bool,
}

/// A CO-RE relocation of a function in `.text`, before it is linked into entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextRelo {
    /// The record, `byte_off` being that in `.text`.
    pub record: CoreReloRecord,
    /// The instruction and the one behind it.
    pub insns: [Insn; 2],
}

/// A reference from an instruction to a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRef {
    /// Index of the `ldimm64`.
    pub insn_off: usize,
    /// Index into [`BpfObject::maps`].
    pub map: usize,
    /// Offset into the map's value for a reference to global data; `None` for the map itself.
    pub value_off: Option<u32>,
}

/// A reference from an instruction to an extern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExternRef {
    /// Index of the `ldimm64` or call.
    pub insn_off: usize,
    /// Index into [`BpfObject::externs`].
    pub ext: usize,
}

impl BpfObject {
    /// Reads and links an object.
    pub fn parse(data: impl Into<Bytes>) -> Result<BpfObject, ObjectError> {
        let data = data.into();
        if data.len() > MAX_OBJECT_SZ {
            return Err(ObjectError::TooLarge(data.len()));
        }
        let file = elf::File::parse(&data)?;
        let btf = file
            .section(".BTF")
            .map(|section| Btf::parse(Bytes::copy_from_slice(section.data)))
            .transpose()?;
        let btf = btf.map(|btf| Btf::parse(complete::completed(&btf, &file))).transpose()?;
        let ext = match (&btf, file.section(".BTF.ext")) {
            (Some(btf), Some(section)) => BtfExt::parse(section.data, btf)?,
            _ => BtfExt::default(),
        };
        let maps = maps::read(&file, btf.as_ref())?;
        let externs = externs::read(&file, btf.as_ref())?;
        let license = file.section("license").map_or_else(String::new, |section| {
            let text = section.data.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        });
        let kern_version = file.section("version").and_then(|section| {
            let word: [u8; 4] = section.data.try_into().ok()?;
            Some(if file.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
        });
        let left_to_loader = left_to_loader(&file);
        let entries = link::entries(&file, &ext, btf.as_ref(), &maps, &externs)?;
        let struct_ops = struct_ops::read(&file, btf.as_ref(), &entries)?;
        Ok(BpfObject {
            big_endian: file.big_endian,
            license,
            kern_version,
            btf,
            entries,
            text_relos: link::text_relos(&file, &ext),
            accesses: Accesses::default(),
            maps,
            externs,
            struct_ops,
            left_to_loader,
        })
    }

    /// Whether the kernel takes the licence for GPL compatible: `license_is_gpl_compatible()` of
    /// `include/linux/license.h`.
    pub fn gpl_compatible(&self) -> bool {
        matches!(
            self.license.as_str(),
            "GPL" | "GPL v2" | "GPL and additional rights" | "Dual BSD/GPL" | "Dual MIT/GPL" | "Dual MPL/GPL"
        )
    }
}

/// Parts of a file that are read, but that only its loader can bring to life.
fn left_to_loader(file: &elf::File) -> Vec<String> {
    let sections = file.sections.iter().filter_map(|section| match section.name {
        ".maps" if !section.relocs.is_empty() => Some("initial values of its maps".to_owned()),
        name if name.trim_start_matches('?').starts_with(".struct_ops") => {
            Some(format!("the structures of section {name}"))
        }
        name if name.starts_with(".addr_space.") => Some(format!("the arena's variables of section {name}")),
        _ => None,
    });
    let untyped = maps::said_to_the_loader(file).into_iter();
    sections
        .chain(untyped.map(|name| format!("what section {name} says of its maps behind their flags")))
        .collect()
}
