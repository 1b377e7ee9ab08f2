//! What an object needs of a kernel, read from the object and never typed by hand.
//!
//! What stands in an entry's instructions is collected whether or not it can be reached: where an entry also carries
//! something a branch can be decided by at load time (`bpf_core_field_exists()`, a configuration extern, a constant in
//! `.rodata`), [`EntryRequirements::guarded`] says that a need may stand behind such a test, and only loading tells.

use crate::core::CoreReloKind;
use crate::insn::{CALL, EXIT, Insn, PSEUDO_CALL};
use crate::object::{BpfObject, Entry, ExternKind, Pinning};
use crate::uapi::{AttachType, HelperId, MapType, ProgType};
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
    /// Whether the target is looked up in the kernel's own BTF.
    pub attach_btf: bool,
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
    /// Whether it jumps backwards: loops that are not unrolled.
    pub loops: bool,
    /// Whether it reads registers of the traced function, which differ between architectures.
    pub reads_pt_regs: bool,
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

/// A part of the instruction set that came after its first version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IsaFeature {
    /// `jlt` and its kin (`-mcpu=v2`).
    V2,
    /// 32-bit jumps (`-mcpu=v3`).
    V3,
    /// Sign-extending moves and loads, signed division, byte swaps, long jumps (`-mcpu=v4`).
    V4,
    /// Atomic operations that are not a plain 64- or 32-bit addition.
    Atomics,
    /// Load-acquire and store-release.
    LoadAcquire,
    /// `may_goto`.
    MayGoto,
    /// Casts between address spaces, for arenas.
    AddrSpaceCast,
}

impl IsaFeature {
    /// The name that facts carry: `v2`, `atomics`, …
    pub fn name(self) -> &'static str {
        match self {
            IsaFeature::V2 => "v2",
            IsaFeature::V3 => "v3",
            IsaFeature::V4 => "v4",
            IsaFeature::Atomics => "atomics",
            IsaFeature::LoadAcquire => "load_acquire",
            IsaFeature::MayGoto => "may_goto",
            IsaFeature::AddrSpaceCast => "addr_space_cast",
        }
    }

    /// The feature that an instruction belongs to, `None` for the first version.
    ///
    /// Source: Documentation/bpf/standardization/instruction-set.rst (RFC 9669) and `-mcpu` of LLVM's BPF back end.
    fn of(insn: Insn) -> Option<IsaFeature> {
        const ATOMIC: u8 = 0xc0;
        const MEMSX: u8 = 0x80;
        const MODE: u8 = 0xe0;
        const OP: u8 = 0xf0;
        const ADD: i32 = 0;
        const LOAD_ACQ: i32 = 0x100;
        const STORE_REL: i32 = 0x110;
        let op = insn.code & OP;
        match insn.class() {
            1 if insn.code & MODE == MEMSX => Some(IsaFeature::V4),
            3 if insn.code & MODE == ATOMIC => match insn.imm {
                ADD => None,
                LOAD_ACQ | STORE_REL => Some(IsaFeature::LoadAcquire),
                _ => Some(IsaFeature::Atomics),
            },
            // movsx 8, 16, 32; address space cast has offset 1.
            7 if op == 0xb0 && insn.off == 1 => Some(IsaFeature::AddrSpaceCast),
            4 | 7 if op == 0xb0 && insn.off != 0 => Some(IsaFeature::V4),
            4 | 7 if matches!(op, 0x30 | 0x90) && insn.off == 1 => Some(IsaFeature::V4),
            7 if op == 0xd0 => Some(IsaFeature::V4),
            5 if op == 0xe0 => Some(IsaFeature::MayGoto),
            5 if matches!(op, 0xa0..=0xd0) => Some(IsaFeature::V2),
            6 if op == 0x00 => Some(IsaFeature::V4),
            6 => Some(IsaFeature::V3),
            _ => None,
        }
    }
}

/// Reads what an object needs.
pub fn derive(object: &BpfObject) -> Requirements {
    Requirements {
        big_endian: object.big_endian,
        license: object.license.clone(),
        gpl_compatible: object.gpl_compatible(),
        entries: object.entries.iter().map(|entry| entry_requirements(object, entry)).collect(),
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

fn entry_requirements(object: &BpfObject, entry: &Entry) -> EntryRequirements {
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
    let asks_types = entry.core_relos.iter().any(|relo| {
        CoreReloKind::from_raw(relo.kind).is_some_and(|kind| !kind.is_field() || kind.is_question())
    });
    let kind = entry.kind.as_ref();
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
        attach_btf: kind.is_some_and(|kind| kind.attach_btf),
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
        loops: slots(&entry.insns).any(|(_, insn)| jumps_back(insn)),
        reads_pt_regs: prog_type == ProgType::KPROBE && reads_context(entry),
        guarded: reads_rodata || asks_types || !entry.extern_refs.is_empty(),
    }
}

/// Instructions with their index, without the second halves of 64-bit loads.
fn slots(insns: &[Insn]) -> impl Iterator<Item = (usize, Insn)> {
    let mut second_half = false;
    insns.iter().copied().enumerate().filter(move |(_, insn)| {
        let skip = std::mem::take(&mut second_half);
        second_half = !skip && insn.is_ld_imm64();
        !skip
    })
}

fn jumps_back(insn: Insn) -> bool {
    match insn.class() {
        5 if insn.code == CALL || insn.code == EXIT => false,
        // A long jump keeps its distance in the immediate.
        6 if insn.code & 0xf0 == 0 => insn.imm < 0,
        5 | 6 => insn.off < 0,
        _ => false,
    }
}

/// Whether the entry's own function loads through its context, followed through copies between registers.
fn reads_context(entry: &Entry) -> bool {
    let end = entry.functions.get(1).map_or(entry.insns.len(), |next| next.insn_off);
    let mut holds_context = [false; 16];
    holds_context[1] = true;
    for (_, insn) in slots(&entry.insns[..end]) {
        let (dst, src) = (insn.dst as usize, insn.src as usize);
        match insn.class() {
            1 if holds_context[src] => return true,
            // A copy of 64 bits, or an offset added to what is there (a field's place in the context).
            7 if insn.code == 0xbf => holds_context[dst] = holds_context[src],
            7 if insn.code & 0xf0 == 0 => {}
            0 | 1 | 4 | 7 => holds_context[dst] = false,
            5 if insn.code == CALL => {
                // A context handed to a function of the entry may be read there.
                if insn.src == PSEUDO_CALL && holds_context[1..=5].contains(&true) {
                    return true;
                }
                holds_context[0..=5].fill(false);
            }
            _ => {}
        }
    }
    false
}
