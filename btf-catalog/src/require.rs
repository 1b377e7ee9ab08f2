//! What an object needs of a kernel, read from the object and never typed by hand.
//!
//! What stands in an entry's instructions is collected whether or not it can be reached: where an entry also carries
//! something a branch can be decided by at load time (`bpf_core_field_exists()`, a configuration extern, a constant in
//! `.rodata`), [`EntryRequirements::guarded`] says that a need may stand behind such a test, and only loading tells.

mod arguments;
mod calls;
mod context;
mod insns;
mod need;
mod validity;
mod value;

pub use arguments::dereferenced_arguments;
pub use calls::{CallChains, Counting, call_chains};
pub use context::context_fault;
pub use insns::{ContextReads, IsaFeature};
pub use need::{Need, Needed, SourceLine, needs, source_line};
pub use validity::{InvalidInsn, invalid_insns};
pub(crate) use value::STRUCTURES;
pub use value::{Managing, managed_fields, managing};

use crate::btf::essential_name;
use crate::core::CoreReloKind;
use crate::object::{BpfObject, Entry, ExternKind, Pinning};
use crate::reach::slots;
use crate::uapi::{AttachType, HelperId, MapType, ProgType};
use insns::{context_reads, has_loop};
use std::collections::BTreeSet;

/// What an object needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirements {
    /// Byte order of the machine it is built for.
    pub big_endian: bool,
    /// Its licence.
    pub license: String,
    /// Whether the kernel lets it call GPL-only helpers.
    pub gpl_compatible: bool,
    /// Its programs.
    pub entries: Vec<EntryRequirements>,
    /// Its maps.
    pub maps: Vec<MapRequirement>,
}

/// What one entry needs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent needs")]
pub struct EntryRequirements {
    /// Name of the entry's function.
    pub name: String,
    /// Name of its section.
    pub section: String,
    /// Whether a loader loads it unasked.
    pub autoload: bool,
    /// Program type; [`ProgType::UNSPEC`] for a section that no loader knows.
    pub prog_type: ProgType,
    /// Attach type where the section fixes one.
    pub attach_type: Option<AttachType>,
    /// Whether kernels that do not know the attach type still take the program.
    pub attach_type_optional: bool,
    /// The section's prefix: how it is attached (`kprobe`, `uprobe`, `tracepoint`, …).
    pub attach_by: String,
    /// Function, tracepoint or hook that it attaches to.
    pub target: Option<String>,
    /// The module that the target must belong to (`fentry/module:function`).
    pub target_module: Option<String>,
    /// Whether the target is looked up in the kernel's own BTF.
    pub attach_btf: bool,
    /// For struct_ops: the structure, and the member of it, that the first map which refers to it has it in.
    pub struct_ops: Option<(String, String)>,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// Helpers that it calls.
    pub helpers: BTreeSet<HelperId>,
    /// Kernel functions that it calls and cannot do without.
    pub kfuncs: BTreeSet<String>,
    /// Configuration values that it reads.
    pub kconfigs: BTreeSet<String>,
    /// Kernel variables that it refers to and cannot do without.
    pub ksyms: BTreeSet<String>,
    /// Maps that it uses, as indices into [`Requirements::maps`].
    pub maps: BTreeSet<usize>,
    /// How many CO-RE relocations it has; above 0 the kernel's types must be known when it is relocated.
    pub core_relos: usize,
    /// Parts of the instruction set beyond the first version.
    pub isa: BTreeSet<IsaFeature>,
    /// Instructions, subprograms included.
    pub insns: usize,
    /// Whether it calls functions of its own.
    pub subprograms: bool,
    /// Whether one of these is verified by itself.
    pub global_functions: bool,
    /// Whether it has loops that are not unrolled.
    pub loops: bool,
    /// Whether it reads registers of the traced function, which differ between architectures.
    pub reads_pt_regs: bool,
    /// What it reads of its context.
    pub context: ContextReads,
    /// Whether it takes packets in fragments (`BPF_F_XDP_HAS_FRAGS`).
    pub xdp_frags: bool,
    /// Whether a branch may be decided when it is loaded, so that some of these needs may never be reached.
    pub guarded: bool,
}

/// What one map needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapRequirement {
    /// Its name.
    pub name: String,
    /// Its type.
    pub map_type: MapType,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Largest number of entries; bytes for a ring buffer.
    pub max_entries: u32,
    /// Type of the maps inside it.
    pub inner: Option<MapType>,
    /// Whether it holds global variables.
    pub global_data: bool,
    /// Whether user space cannot write it once it is loaded.
    pub frozen: bool,
    /// Whether it wants a path in bpffs.
    pub pinned: bool,
}

/// Reads what an object needs.
pub fn derive(object: &BpfObject) -> Requirements {
    Requirements {
        big_endian: object.big_endian,
        license: object.license.clone(),
        gpl_compatible: object.gpl_compatible(),
        entries: object.entries.iter().map(|entry| of_entry(object, entry)).collect(),
        maps: object
            .maps
            .iter()
            .map(|map| MapRequirement {
                name: map.name.clone(),
                map_type: map.map_type,
                flags: map.flags,
                max_entries: map.max_entries,
                inner: map.inner.as_ref().map(|inner| inner.map_type),
                global_data: map.data.is_some(),
                frozen: map.frozen,
                pinned: map.pinning == Pinning::ByName,
            })
            .collect(),
    }
}

/// What one entry needs; an entry of `object`, or one made of a part of its instructions.
pub fn of_entry(object: &BpfObject, entry: &Entry) -> EntryRequirements {
    let externs = |kind: ExternKind, with_weak: bool| -> BTreeSet<String> {
        entry
            .extern_refs
            .iter()
            .map(|reference| &object.externs[reference.ext])
            .filter(|ext| ext.kind == kind && (with_weak || !ext.weak))
            .map(|ext| ext.name.clone())
            .collect()
    };
    let reads_rodata = entry.map_refs.iter().any(|reference| object.maps[reference.map].frozen);
    // Anything but an offset becomes a constant that a branch may be decided by.
    let asks_types = entry.core_relos.iter().any(|relo| {
        CoreReloKind::from_raw(relo.kind).is_some_and(|kind| kind != CoreReloKind::FieldByteOffset)
    });
    let kind = entry.kind.as_ref();
    let context = context_reads(entry);
    let prog_type = kind.map_or(ProgType::UNSPEC, |kind| kind.prog_type);
    EntryRequirements {
        name: entry.name.clone(),
        section: entry.section.clone(),
        autoload: entry.autoload,
        prog_type,
        attach_type: kind.and_then(|kind| kind.attach_type),
        attach_type_optional: kind.is_some_and(|kind| kind.attach_type_optional),
        attach_by: kind.map_or_else(String::new, |kind| kind.prefix.to_owned()),
        target: kind.and_then(|kind| kind.target.clone()),
        target_module: kind.and_then(|kind| kind.target_module.clone()),
        attach_btf: kind.is_some_and(|kind| kind.attach_btf),
        struct_ops: struct_ops_member(object, entry),
        sleepable: kind.is_some_and(|kind| kind.sleepable),
        helpers: slots(&entry.insns)
            .filter(|(_, insn)| insn.is_helper_call())
            .map(|(_, insn)| HelperId(insn.imm as u32))
            .collect(),
        kfuncs: externs(ExternKind::Kfunc, false),
        kconfigs: externs(ExternKind::Kconfig, true),
        ksyms: externs(ExternKind::Ksym, false),
        maps: entry.map_refs.iter().map(|reference| reference.map).collect(),
        core_relos: entry.core_relos.len(),
        isa: slots(&entry.insns).filter_map(|(_, insn)| IsaFeature::of(insn)).collect(),
        insns: entry.insns.len(),
        subprograms: entry.functions.len() > 1,
        global_functions: entry.functions.iter().skip(1).any(|function| function.global),
        loops: has_loop(&entry.insns),
        reads_pt_regs: prog_type == ProgType::KPROBE && (context.any || context.more),
        context,
        xdp_frags: kind.is_some_and(|kind| kind.xdp_frags),
        guarded: reads_rodata || asks_types || !entry.extern_refs.is_empty(),
    }
}

/// Names of the structure and of the member that a struct_ops program is written for.
fn struct_ops_member(object: &BpfObject, entry: &Entry) -> Option<(String, String)> {
    let btf = object.btf.as_ref()?;
    object.struct_ops.iter().find_map(|map| {
        let of = |(_, index): &&(usize, usize)| object.entries[*index].name == entry.name;
        let (member, _) = map.programs.iter().find(of)?;
        let structure = btf.ty(map.ty);
        let member = structure.members().nth(*member)?;
        Some((essential_name(structure.name()).to_owned(), member.name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::TypeId;
    use crate::ext::CoreReloRecord;

    #[test]
    fn whatever_a_relocation_makes_a_constant_of_may_guard_and_an_offset_may_not() {
        for kind in 0..=CoreReloKind::TypeMatches as u32 {
            let relo = CoreReloRecord { byte_off: 0, type_id: TypeId(1), access_str_off: 0, kind, order: 0 };
            let entry = Entry {
                name: "entry".to_owned(),
                section: "raw_tp".to_owned(),
                kind: None,
                autoload: true,
                insns: Vec::new(),
                functions: Vec::new(),
                map_refs: Vec::new(),
                extern_refs: Vec::new(),
                core_relos: vec![relo],
                lines: Vec::new(),
            };
            let object = BpfObject {
                big_endian: false,
                license: "GPL".to_owned(),
                kern_version: None,
                btf: None,
                entries: vec![entry],
                maps: Vec::new(),
                externs: Vec::new(),
                struct_ops: Vec::new(),
                left_to_loader: Vec::new(),
                text_relos: Vec::new(),
                accesses: crate::core::Accesses::default(),
            };
            let guarded = derive(&object).entries[0].guarded;
            assert_eq!(guarded, kind != CoreReloKind::FieldByteOffset as u32, "kind {kind}");
        }
    }
}
