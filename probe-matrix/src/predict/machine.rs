//! Objects that were built for another machine than the kernel.

use super::{Predictor, told};
use crate::facts::Support;
use crate::verdict::{Check, Stage};
use btf_catalog::BtfKind;
use btf_catalog::require::EntryRequirements;

/// Registers by which `struct pt_regs` of a machine is told from others': those that an object may have of it, the one that
/// its kernels have, and the machine as `uname -m` prints it (arch/*/include/asm/ptrace.h, v6.12).
const REGISTERS: [(&[&str], &str, &str); 5] = [
    (&["di", "rdi"], "member:pt_regs.di", "x86_64"),
    (&["orig_x0"], "member:pt_regs.orig_x0", "aarch64"),
    (&["epc"], "member:pt_regs.epc", "riscv64"),
    (&["orig_gpr2"], "member:pt_regs.orig_gpr2", "s390x"),
    (&["csr_era"], "member:pt_regs.csr_era", "loongarch64"),
];

impl Predictor<'_> {
    /// That the object has another byte order than the kernel, which loaders refuse, or that the entry reads registers of
    /// another machine.
    pub(super) fn machine(&self, needs: &EntryRequirements) -> Option<Check> {
        let kernel = self.kernel.big_endian()?;
        if kernel != self.object.big_endian {
            let order = |big| if big { "most" } else { "least" };
            let (ours, theirs) = (order(self.object.big_endian), order(kernel));
            let why =
                format!("it has the {ours} significant byte first, the kernel the {theirs} significant one");
            return Some(another("the object's byte order".to_owned(), &why));
        }
        let machine = self.other_machine().filter(|_| needs.reads_pt_regs)?;
        Some(another("the registers that are read".to_owned(), &built_for(machine)))
    }

    /// The machine that the object is built for, where its registers are not those of the kernel's machine.
    pub(super) fn other_machine(&self) -> Option<&'static str> {
        let btf = self.object.btf.as_ref()?;
        let registers = btf.ty(btf.find_by_name_kind("pt_regs", BtfKind::Struct)?);
        let has = |names: &[&str]| registers.members().any(|member| names.contains(&member.name));
        let (_, witness, machine) = REGISTERS.into_iter().find(|(names, ..)| has(names))?;
        // Types of a kernel may be minimised: what another machine has must be there.
        let shown = |witness: &'static str| self.kernel.shown(witness).support;
        let other = |(_, other, _): &(_, &'static str, _)| *other != witness && shown(other) == Support::Yes;
        (shown(witness) == Support::No && REGISTERS.iter().any(other)).then_some(machine)
    }
}

pub(super) fn built_for(machine: &str) -> String {
    format!("the object is built for {machine}, and this kernel is of another machine")
}

fn another(requirement: String, why: &str) -> Check {
    told(Stage::Load, "PTL0102", requirement, "object", Support::No, why)
}
