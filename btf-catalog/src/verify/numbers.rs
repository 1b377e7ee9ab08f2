//! Whose numbers matter: registers whose value may decide a branch, an address, or what a call is given.
//!
//! The verifier leaves off where a state that was walked before covers the one at hand, and takes any number for
//! another that nothing depends on (`mark_chain_precision()`). It finds those on its way; here they are those that
//! no branch, address or call can come to depend on, which are fewer.

use crate::insn::{CALL, EXIT, Insn};
use crate::reach::scalar::op;
use crate::reach::{slots, successors};

/// Registers whose numbers may matter before each instruction, one bit each.
pub(super) fn numbers_that_matter(insns: &[Insn]) -> Vec<u16> {
    let mut matter = vec![0u16; insns.len()];
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); insns.len()];
    for (at, insn) in slots(insns) {
        for to in successors(insn, at).into_iter().flatten().filter(|to| *to < insns.len()) {
            before[to].push(at as u32);
        }
    }
    let mut open: Vec<usize> = slots(insns).map(|(at, _)| at).collect();
    while let Some(at) = open.pop() {
        let insn = insns[at];
        let after = successors(insn, at).into_iter().flatten().filter_map(|to| matter.get(to));
        let into = matter_before(insn, after.fold(0, |all, mask| all | mask));
        if into | matter[at] != matter[at] {
            matter[at] |= into;
            open.extend(before[at].iter().map(|at| *at as usize));
        }
    }
    matter
}

fn matter_before(insn: Insn, after: u16) -> u16 {
    const ARGUMENTS: u16 = 0b11_1110;
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let from_register = insn.code & 0x08 != 0;
    let second = if from_register { src } else { 0 };
    match insn.class() {
        _ if insn.code == EXIT => 1,
        _ if insn.code == CALL => after & !(1 | ARGUMENTS) | ARGUMENTS,
        0 if insn.is_ld_imm64() => after & !dst,
        0 => after & !(1 | ARGUMENTS) | 1 << 6 | src,
        1 => after & !dst | src,
        2 => after | dst,
        // What is stored may be loaded again.
        3 => after | dst | src | 1,
        4 | 7 if insn.code & 0xf0 == op::MOV => after & !dst | if after & dst != 0 { second } else { 0 },
        4 | 7 if insn.code & 0xf0 == op::END => after,
        4 | 7 => after | if after & dst != 0 { second } else { 0 },
        _ if insn.code & 0xf0 == 0 => after,
        _ => after | dst | second,
    }
}
