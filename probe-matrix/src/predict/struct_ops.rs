//! Structures of programs that an object gives to the kernel, and the programs for them.

use super::{Predictor, told, undecided};
use crate::assess::against;
use crate::facts::Support;
use crate::verdict::{Check, Stage};
use btf_catalog::ProgType;
use btf_catalog::core::StructOpsOutcome;
use btf_catalog::object::{Entry, StructOps};

/// Members that the kernel calls itself only, of structures that programs may be given for: `unsupported_ops` and
/// `__bpf_ops_tcp_congestion_ops` of net/ipv4/bpf_tcp_ca.c, v5.10 to v7.2.
const UNSUPPORTED: [(&str, &str); 1] = [("tcp_congestion_ops", "get_info")];

impl Predictor<'_> {
    /// The structures that the object gives to the kernel: one that does not fit costs all entries. A program that no
    /// structure refers to is refused by its loader; others by the licence, or for a member that is not for programs.
    pub(super) fn struct_ops(&self, entry: &Entry) -> Vec<Check> {
        let Some(link) = &self.situation.struct_ops else { return Vec::new() };
        let of = |(map, outcome): (&StructOps, &StructOpsOutcome)| {
            let name = format!("the structure {} in the kernel", map.name);
            match outcome {
                StructOpsOutcome::Refused(why) => {
                    Some(told(Stage::Load, "PTL0217", name, "btf.vmlinux", Support::No, why))
                }
                StructOpsOutcome::Unknown(why) => Some(undecided("PTL0217", name, "btf.vmlinux", why)),
                // The flag that libbpf makes its map with, since v6.4.
                StructOpsOutcome::Placed { .. } if map.link => {
                    let fact = self.kernel.shown("enum:BPF_F_LINK");
                    let name = format!("a link for the structure {}", map.name);
                    Some(against(Stage::Load, "PTL0206", name, "btf.vmlinux", Some(&fact), false))
                }
                StructOpsOutcome::Placed { .. } | StructOpsOutcome::Left => None,
            }
        };
        let mut checks: Vec<_> = self.object.struct_ops.iter().zip(&link.outcomes).filter_map(of).collect();
        if entry.kind.as_ref().is_none_or(|kind| kind.prog_type != ProgType::STRUCT_OPS) {
            return checks;
        }
        let index = self.object.entries.iter().position(|other| other.name == entry.name);
        let placed = index.filter(|index| link.slots[*index].is_some());
        let Some(needs) = placed.and_then(|index| self.all.entries.get(index)) else {
            if checks.is_empty() {
                let why = "no structure that is created refers to it; its loader may set one";
                let requirement = format!("the member that {} stands for", entry.name);
                checks.push(undecided("PTL0104", requirement, "object", why));
            }
            return checks;
        };
        if !self.object.gpl_compatible() {
            let requirement = "struct_ops programs under this licence".to_owned();
            let why = "the kernel takes them under a GPL compatible licence only";
            checks.push(told(Stage::Load, "PTL0105", requirement, "object", Support::No, why));
        }
        if let Some((structure, member)) = &needs.struct_ops
            && UNSUPPORTED.contains(&(structure, member))
        {
            let requirement = format!("the member {member} of struct {structure}");
            let why = "the kernel takes no program for it";
            checks.push(told(Stage::Load, "PTL0216", requirement, "btf.vmlinux", Support::No, why));
        }
        checks
    }
}
