//! A relocated object on disk: the file that was given, with the answers of one kernel written in.
//!
//! Instructions are patched where they lie, so that sections, subprograms, map references, functions and source lines
//! stay what they were. CO-RE records leave `.BTF.ext`; options of the kernel's configuration become data of the section
//! [`KCONFIG_SECTION`]. What only a running kernel can answer stays open, and [`RelocatedObject::needs_kernel_btf`] says
//! what that is. The same input gives the same bytes, and relocating the output changes nothing.

mod elf;
mod types;

use crate::btf::BtfError;
use crate::core::{
    CoreError, CoreReloKind, ExternOutcome, KernelSide, ReloOutcome, Relocated, Relocator, Resolution,
};
use crate::ext::{BtfExt, ExtError};
use crate::insn::{INSN_SZ, Insn, to_bytes};
use crate::object::{BpfObject, Entry, ExternKind, ObjectError, SectionKind};
use crate::{Btf, ProgType};
use bytes::Bytes;
use elf::Elf;

/// The read-only data section that the options of `.kconfig` become.
pub const KCONFIG_SECTION: &str = ".rodata.kconfig";

/// Why a relocated object could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The kernel's types contradict the object or each other.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The kernel's byte order is not the object's.
    #[error("an object of {} byte order, for a kernel of the other", if *big_endian { "big-endian" } else { "little-endian" })]
    ByteOrder {
        /// That of the object.
        big_endian: bool,
    },
    /// An extern that the object cannot do without.
    #[error("extern {name}: {why}")]
    Extern {
        /// Its name.
        name: String,
        /// Why there is no value for it.
        why: String,
    },
    /// An extern whose value the kernel's files do not tell.
    #[error("extern {name} is not known: {why}")]
    Unknown {
        /// Its name.
        name: String,
        /// What was not at hand.
        why: String,
    },
    /// The object's own type information.
    #[error("section .BTF: {0}")]
    Btf(#[from] BtfError),
    /// The records of instructions.
    #[error("section {0}")]
    Ext(#[from] ExtError),
    /// A file that is read, but whose layout is not one that can be written anew.
    #[error("the ELF file cannot be written anew: {0}")]
    Elf(String),
    /// What was written is no object: one whose relocations contradict each other, as no compiler makes it.
    #[error("relocated, the object cannot be read: {0}")]
    Unreadable(#[from] ObjectError),
}

/// A relocated object.
#[derive(Debug)]
pub struct RelocatedObject {
    /// The ELF file.
    pub bytes: Vec<u8>,
    /// The answer to every CO-RE relocation, by section; `insn_off` counts from the section's start.
    pub relocations: Vec<(String, Relocated)>,
    /// What still needs BTF of the kernel that loads it, by entry, in words.
    pub needs_kernel_btf: Vec<(String, String)>,
    /// Options of the kernel's configuration that became data.
    pub options: Vec<String>,
}

impl RelocatedObject {
    /// The relocations that found nothing usable: their instructions are replaced by ones that the verifier refuses where
    /// it gets there.
    pub fn poisoned(&self) -> impl Iterator<Item = (&str, &Relocated, &'static str)> {
        self.relocations.iter().filter_map(|(section, relocated)| match relocated.outcome {
            ReloOutcome::Poisoned(why) => Some((section.as_str(), relocated, why)),
            _ => None,
        })
    }
}

/// Writes `data`, the bytes that `object` was read from, relocated against `kernel`.
pub fn relocated(
    data: &Bytes,
    object: &BpfObject,
    kernel: &KernelSide,
) -> Result<RelocatedObject, WriteError> {
    if kernel.types.vmlinux().big_endian() != object.big_endian {
        return Err(WriteError::ByteOrder { big_endian: object.big_endian });
    }
    let mut elf = Elf::read(data)?;
    let mut written = RelocatedObject {
        bytes: Vec::new(),
        relocations: Vec::new(),
        needs_kernel_btf: needs_kernel_btf(object),
        options: Vec::new(),
    };
    // The types as they stand in the file: what a loader completes in them, it completes again.
    if let Some(types) = elf.find(".BTF") {
        let btf = Btf::parse(Bytes::copy_from_slice(&elf.sections[types].data))?;
        if let Some(records) = elf.find(".BTF.ext") {
            let ext = BtfExt::parse(&elf.sections[records].data, &btf)?;
            written.relocations = patch(&mut elf, object, &ext, kernel)?;
            let kept = types::without_core_records(&elf.sections[records].data, object.big_endian);
            elf.keep_relocations(records, |off| kept.moved(off));
            elf.sections[records].data = kept.data;
        }
        if object.externs.iter().any(|ext| ext.slot.is_some()) {
            written.options = options(&mut elf, types, &btf, object, kernel)?;
        }
    }
    for (section, relocated) in &written.relocations {
        if relocated.kind == CoreReloKind::TypeIdTarget
            && matches!(relocated.outcome, ReloOutcome::Value(1..))
        {
            let what = format!("the id of {} is one of this kernel build's BTF", relocated.access);
            written.needs_kernel_btf.push((section.clone(), what));
        }
    }
    written.bytes = elf.write()?;
    // Whoever loads it gets nothing that is not read here as well.
    BpfObject::parse(written.bytes.clone())?;
    Ok(written)
}

/// Relocates the instructions of every section in place.
fn patch(
    elf: &mut Elf,
    object: &BpfObject,
    ext: &BtfExt,
    kernel: &KernelSide,
) -> Result<Vec<(String, Relocated)>, WriteError> {
    let with_records = elf.sections.iter().enumerate().filter_map(|(index, section)| {
        let records = ext.core_relos.get(&section.name)?;
        let (insns, _) = section.data.as_chunks::<INSN_SZ>();
        // A section is relocated as an entry of all its instructions would be: nothing is linked here.
        let whole = Entry {
            name: section.name.clone(),
            section: section.name.clone(),
            insns: insns.iter().map(|insn| Insn::read(insn, object.big_endian)).collect(),
            core_relos: records.clone(),
            ..Entry::default()
        };
        Some((index, whole))
    });
    let (places, wholes): (Vec<usize>, Vec<Entry>) = with_records.unzip();
    let together = wholes.iter().collect::<Vec<_>>();
    let relocated = Relocator::new(object, kernel.types).relocate_together(&together)?;
    let mut relocations = Vec::new();
    for (index, relocated) in places.into_iter().zip(relocated) {
        let section = &mut elf.sections[index];
        let patched = to_bytes(&relocated.insns, object.big_endian);
        section.data[..patched.len()].copy_from_slice(&patched);
        relocations.extend(relocated.outcomes.into_iter().map(|outcome| (section.name.clone(), outcome)));
    }
    Ok(relocations)
}

/// Turns the options of `.kconfig` into variables of a read-only data section.
fn options(
    elf: &mut Elf,
    types: usize,
    btf: &Btf,
    object: &BpfObject,
    kernel: &KernelSide,
) -> Result<Vec<String>, WriteError> {
    let resolution = Resolution::new(object, kernel);
    let mut names = Vec::new();
    let section = elf.add_data(KCONFIG_SECTION, resolution.kconfig.clone())?;
    for (ext, outcome) in object.externs.iter().zip(&resolution.outcomes) {
        let Some(slot) = ext.slot else { continue };
        let name = || ext.name.clone();
        match outcome {
            ExternOutcome::Refused(why) => return Err(WriteError::Extern { name: name(), why: why.clone() }),
            ExternOutcome::Unknown(why) => {
                return Err(WriteError::Unknown { name: name(), why: why.clone() });
            }
            _ => {}
        }
        elf.define(&ext.name, section, u64::from(slot.byte_off), u64::from(slot.byte_sz));
        names.push(ext.name.clone());
    }
    elf.sections[types].data = types::kconfig_as_data(btf, object, resolution.kconfig.len() as u32);
    Ok(names)
}

/// What of an object the kernel looks up in its own BTF when it loads it.
fn needs_kernel_btf(object: &BpfObject) -> Vec<(String, String)> {
    let mut needs = Vec::new();
    for entry in &object.entries {
        let by_id = |kind: &SectionKind| {
            kind.attach_btf || matches!(kind.prog_type, ProgType::LSM | ProgType::STRUCT_OPS)
        };
        if let Some(kind) = entry.kind.as_ref().filter(|kind| by_id(kind)) {
            let what =
                format!("{} programs are attached by BTF id", kind.prefix.trim_end_matches(['/', '+']));
            needs.push((entry.name.clone(), what));
        }
        let mut externs: Vec<usize> = entry.extern_refs.iter().map(|reference| reference.ext).collect();
        externs.sort_unstable();
        externs.dedup();
        for ext in externs.into_iter().map(|index| &object.externs[index]) {
            match ext.kind {
                ExternKind::Kfunc => {
                    needs.push((entry.name.clone(), format!("{} is a function called by BTF id", ext.name)));
                }
                ExternKind::Ksym if ext.ty.0 != 0 => {
                    needs.push((entry.name.clone(), format!("{} is a variable known by BTF id", ext.name)));
                }
                ExternKind::Ksym | ExternKind::Kconfig => {}
            }
        }
    }
    needs
}
