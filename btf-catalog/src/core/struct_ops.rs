//! struct_ops on a kernel: the kernel's structure of the same name, and the member that each program stands for.
//!
//! The rules are those of libbpf's `bpf_map__init_kern_struct_ops()` and `bpf_object_adjust_struct_ops_autoload()`
//! (libbpf.c, v6.12). What differs is that a structure which may be in a module that nobody read is unknown.

use super::candidate::TargetBtf;
use crate::btf::{Btf, BtfKind, TypeId, essential_name};
use crate::object::{BpfObject, StructOps};
use crate::uapi::ProgType;

/// What came out of one structure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StructOpsOutcome {
    /// The kernel has it.
    Placed {
        /// `struct bpf_struct_ops_NAME`, the value of the map.
        value: TypeId,
        /// Index of its module in [`TargetBtf::modules`]; `None` for the kernel itself.
        module: Option<usize>,
    },
    /// Its map is not created, so that nothing is asked of the kernel.
    Left,
    /// The kernel has none, or another: libbpf refuses the object.
    Refused(String),
    /// Whether the kernel has it is not known.
    Unknown(String),
}

/// What a struct_ops program is loaded for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StructOpsSlot {
    /// The kernel's structure: `attach_btf_id`.
    pub structure: TypeId,
    /// Index of the member in it: `expected_attach_type`.
    pub member: u32,
    /// Index of the structure's module in [`TargetBtf::modules`]; `None` for the kernel itself.
    pub module: Option<usize>,
}

/// The answers to all structures of an object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StructOpsLink {
    /// One outcome a structure, in the order of [`BpfObject::struct_ops`].
    pub outcomes: Vec<StructOpsOutcome>,
    /// One an entry of the object: what it is loaded for, `None` where no structure that is created refers to it.
    pub slots: Vec<Option<StructOpsSlot>>,
    /// One an entry of the object: whether it is loaded unasked on this kernel.
    pub autoload: Vec<bool>,
}

impl StructOpsLink {
    /// Finds the structures of `object` in the kernel's types. `modules_whole`: whether these have every module that the
    /// kernel can have.
    pub fn new(object: &BpfObject, types: &TargetBtf, modules_whole: bool) -> StructOpsLink {
        let mut link = StructOpsLink {
            outcomes: Vec::new(),
            slots: vec![None; object.entries.len()],
            autoload: object.entries.iter().map(|entry| entry.autoload).collect(),
        };
        let mut used = vec![None; object.entries.len()];
        for map in &object.struct_ops {
            let outcome = match &object.btf {
                Some(local) if map.autocreate => link.place(local, map, types, modules_whole),
                _ => StructOpsOutcome::Left,
            };
            link.outcomes.push(outcome);
            for (_, entry) in &map.programs {
                let wanted: &mut Option<bool> = &mut used[*entry];
                *wanted = Some(wanted.unwrap_or(false) || map.autocreate);
            }
        }
        let is_struct_ops = |entry: usize| {
            object.entries[entry].kind.as_ref().is_some_and(|kind| kind.prog_type == ProgType::STRUCT_OPS)
        };
        for (entry, used) in used.into_iter().enumerate().filter(|(entry, _)| is_struct_ops(*entry)) {
            link.autoload[entry] = used.unwrap_or(link.autoload[entry]);
        }
        link
    }

    /// Why libbpf would refuse the object as a whole, if it would: the first structure that does not fit.
    pub fn refused<'a>(&'a self, object: &'a BpfObject) -> Option<(&'a StructOps, &'a str)> {
        object.struct_ops.iter().zip(&self.outcomes).find_map(|(map, outcome)| match outcome {
            StructOpsOutcome::Refused(why) => Some((map, why.as_str())),
            _ => None,
        })
    }

    /// Finds one structure, and the slots of its programs.
    fn place(
        &mut self,
        local: &Btf,
        map: &StructOps,
        types: &TargetBtf,
        modules_whole: bool,
    ) -> StructOpsOutcome {
        let refused = StructOpsOutcome::Refused;
        let ours = local.ty(map.ty);
        let name = essential_name(ours.name());
        let value_name = format!("bpf_struct_ops_{name}");
        let Some((value, module)) = types.find(&value_name, BtfKind::Struct) else {
            if modules_whole {
                return refused(format!("the kernel has no struct {value_name}"));
            }
            let why =
                format!("no struct {value_name} in the kernel itself; not all its modules were looked at");
            return StructOpsOutcome::Unknown(why);
        };
        let btf = types.btf(module.map_or(0, |module| module + 1));
        let Some(structure) = btf.find_by_name_kind(name, BtfKind::Struct) else {
            return refused(format!("the kernel has no struct {name}"));
        };
        if !btf.ty(value).members().any(|member| member.ty == structure) {
            return refused(format!("struct {value_name} has no struct {name}"));
        }
        let theirs = btf.ty(structure);
        for (index, member) in ours.members().enumerate() {
            let name = member.name;
            let Some(byte_sz) = local.size_of(member.ty) else {
                return refused(format!("member {name} has no size"));
            };
            let start = member.bit_off as usize / 8;
            let bytes = start.checked_add(byte_sz as usize).and_then(|end| map.value.get(start..end));
            let Some(bytes) = bytes else {
                return refused(format!("member {name} reaches beyond its value"));
            };
            let zero = bytes.iter().all(|byte| *byte == 0);
            let program = map.programs.iter().find(|(of, _)| *of == index);
            let found = theirs.members().enumerate().find(|(_, other)| other.name == name);
            let Some((place, other)) = found else {
                // A program is a value other than zero.
                if zero && program.is_none() {
                    continue;
                }
                return refused(format!("the kernel's struct has no member {name}, and the object sets it"));
            };
            if member.bitfield_sz > 0 || other.bitfield_sz > 0 {
                return refused(format!("member {name} is a bitfield"));
            }
            let (kind, other) = (local.resolve(member.ty), btf.resolve(other.ty));
            if kind.kind() != other.kind() {
                return refused(format!("member {name} is of another kind in the kernel"));
            }
            if kind.kind() != BtfKind::Ptr {
                if btf.size_of(other.id()) != Some(byte_sz) {
                    return refused(format!("member {name} has another size in the kernel"));
                }
                continue;
            }
            let Some((_, entry)) = program else {
                if zero {
                    continue;
                }
                return refused(format!("member {name} points to what is no program"));
            };
            if btf.resolve(other.type_id()).kind() != BtfKind::FuncProto {
                return refused(format!("the kernel's member {name} is no pointer to a function"));
            }
            let slot = StructOpsSlot { structure, member: place as u32, module };
            if self.slots[*entry].is_some_and(|known| known != slot) {
                return refused(format!("member {name} reuses a program of another structure or member"));
            }
            self.slots[*entry] = Some(slot);
        }
        StructOpsOutcome::Placed { value, module }
    }
}
