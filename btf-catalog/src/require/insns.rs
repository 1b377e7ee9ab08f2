//! What is read from an entry's instructions alone: the instruction set, loops, reads of the context.

use crate::insn::{ATOMIC, CALL, CMPXCHG, Insn, LOAD_ACQ, MEMSX, MODE, PSEUDO_CALL, STORE_REL};
use crate::object::Entry;
use crate::reach::{slots, successors};

/// A part of the instruction set that came after its first version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IsaFeature {
    /// `jlt` and its kin (`-mcpu=v2`).
    V2,
    /// 32-bit jumps (`-mcpu=v3`).
    V3,
    /// Sign-extending moves and loads, signed division, byte swaps (`-mcpu=v4`).
    V4,
    /// Jumps by 32 bits, of `-mcpu=v4` too; stable kernels of v6.1 have them without the rest.
    Gotol,
    /// Atomic operations that are not a plain addition: with the old value, and bitwise ones.
    AtomicFetch,
    /// Atomic exchange.
    AtomicXchg,
    /// Atomic compare and exchange.
    AtomicCmpxchg,
    /// Load-acquire.
    LoadAcquire,
    /// Store-release.
    StoreRelease,
    /// `may_goto`.
    MayGoto,
}

impl IsaFeature {
    /// The name that facts carry: `v2`, `atomics`, …
    pub fn name(self) -> &'static str {
        match self {
            IsaFeature::V2 => "v2",
            IsaFeature::V3 => "v3",
            IsaFeature::V4 => "v4",
            IsaFeature::Gotol => "gotol",
            IsaFeature::AtomicFetch => "atomic_fetch",
            IsaFeature::AtomicXchg => "atomic_xchg",
            IsaFeature::AtomicCmpxchg => "atomic_cmpxchg",
            IsaFeature::LoadAcquire => "load_acquire",
            IsaFeature::StoreRelease => "store_release",
            IsaFeature::MayGoto => "may_goto",
        }
    }

    /// The feature that an instruction belongs to, where a kernel without it refuses the instruction wherever it stands:
    /// the operation codes of all are looked at before any is walked (`bpf_opcode_in_insntable()` of
    /// kernel/bpf/core.c), and so are the immediates of stores where no atomic operation has any
    /// (`resolve_pseudo_ldimm64()` of kernel/bpf/verifier.c, v5.10).
    pub fn at_sight(insn: Insn) -> Option<IsaFeature> {
        const BSWAP: u8 = 0xd7;
        let feature = IsaFeature::of(insn)?;
        let by_code = match feature {
            IsaFeature::V2
            | IsaFeature::V3
            | IsaFeature::Gotol
            | IsaFeature::MayGoto
            | IsaFeature::AtomicFetch
            | IsaFeature::AtomicXchg
            | IsaFeature::AtomicCmpxchg => true,
            IsaFeature::V4 => insn.class() == 1 || insn.code == BSWAP,
            // Of 1 and 2 bytes; the others are told by their immediate.
            IsaFeature::LoadAcquire | IsaFeature::StoreRelease => matches!(insn.code & 0x18, 0x08 | 0x10),
        };
        by_code.then_some(feature)
    }

    /// The feature that an instruction belongs to, `None` for the first version.
    ///
    /// Source: Documentation/bpf/standardization/instruction-set.rst (RFC 9669) and `-mcpu` of LLVM's BPF back end.
    pub(super) fn of(insn: Insn) -> Option<IsaFeature> {
        const OP: u8 = 0xf0;
        const ADD: i32 = 0;
        const XCHG: i32 = 0xe1;
        let op = insn.code & OP;
        match insn.class() {
            1 if insn.code & MODE == MEMSX => Some(IsaFeature::V4),
            3 if insn.code & MODE == ATOMIC => match insn.imm {
                ADD => None,
                LOAD_ACQ => Some(IsaFeature::LoadAcquire),
                STORE_REL => Some(IsaFeature::StoreRelease),
                XCHG => Some(IsaFeature::AtomicXchg),
                CMPXCHG => Some(IsaFeature::AtomicCmpxchg),
                _ => Some(IsaFeature::AtomicFetch),
            },
            // Offset 1 casts between address spaces, which arenas come with; 8, 16 and 32 extend the sign.
            7 if op == 0xb0 && insn.off == 1 => None,
            4 | 7 if op == 0xb0 && insn.off != 0 => Some(IsaFeature::V4),
            4 | 7 if matches!(op, 0x30 | 0x90) && insn.off == 1 => Some(IsaFeature::V4),
            7 if op == 0xd0 => Some(IsaFeature::V4),
            5 if op == 0xe0 => Some(IsaFeature::MayGoto),
            5 if matches!(op, 0xa0..=0xd0) => Some(IsaFeature::V2),
            6 if op == 0x00 => Some(IsaFeature::Gotol),
            6 => Some(IsaFeature::V3),
            _ => None,
        }
    }
}

/// Whether an entry has a loop: a jump back to an instruction that leads to it.
///
/// That is what `check_cfg()` (kernel/bpf/verifier.c) refused before v5.3; a jump backwards alone is none, compilers lay
/// out code that way.
pub(super) fn has_loop(insns: &[Insn]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        OnPath,
        Done,
    }
    let mut seen = vec![Seen::Not; insns.len()];
    // Functions follow one another and are only called: a search from every instruction not seen yet covers them.
    for (start, _) in slots(insns) {
        let mut path = vec![(start, 0)];
        while let Some((at, branch)) = path.pop() {
            if branch == 0 {
                if seen[at] != Seen::Not {
                    continue;
                }
                seen[at] = Seen::OnPath;
            }
            let Some(to) = successors(insns[at], at).get(branch).copied() else {
                seen[at] = Seen::Done;
                continue;
            };
            path.push((at, branch + 1));
            match to.and_then(|to| Some((to, seen.get(to)?))) {
                Some((_, Seen::OnPath)) => return true,
                Some((to, Seen::Not)) => path.push((to, 0)),
                _ => {}
            }
        }
    }
    false
}

/// What an entry reads of its context, as far as it shows without following branches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContextReads {
    /// Whether it reads anything.
    pub any: bool,
    /// Where the furthest read ends, in bytes from the context's beginning.
    pub end_byte: u32,
    /// Whether the context also goes where it was not followed, so that more may be read.
    pub more: bool,
}

/// Follows the context through copies between registers in the entry's own function, along every way through it.
pub(super) fn context_reads(entry: &Entry) -> ContextReads {
    let end = entry.functions.get(1).map_or(entry.insns.len(), |next| next.insn_off);
    let insns = &entry.insns[..end];
    let mut reads = ContextReads::default();
    // Registers that may hold the context before an instruction. Bits are only added, so this comes to an end.
    let mut before = vec![0u16; insns.len()];
    if let Some(first) = before.first_mut() {
        *first = 1 << 1;
    }
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        let Some(&insn) = insns.get(at) else { continue };
        let mut held = before[at];
        let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
        match insn.class() {
            1 => {
                if held & src != 0 {
                    let byte_sz = [4, 2, 1, 8][(insn.code >> 3 & 3) as usize];
                    reads.any = true;
                    reads.end_byte = reads.end_byte.max(u32::from(insn.off.max(0) as u16) + byte_sz);
                }
                held &= !dst;
            }
            // The context put aside on the stack.
            3 if held & src != 0 => reads.more = true,
            7 if insn.code == 0xbf => held = if held & src != 0 { held | dst } else { held & !dst },
            // An offset added to the context: a field's place in it.
            7 if insn.code & 0xf0 == 0 => reads.more |= held & dst != 0,
            0 | 4 | 7 => held &= !dst,
            5 if insn.code == CALL => {
                // Helpers take the context as it is; a function of the entry may read it.
                reads.more |= insn.src == PSEUDO_CALL && held & 0b11_1110 != 0;
                held &= !0b11_1111;
            }
            _ => {}
        }
        for to in successors(insn, at).into_iter().flatten() {
            if let Some(known) = before.get_mut(to).filter(|known| **known | held != **known) {
                *known |= held;
                open.push(to);
            }
        }
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::EXIT;

    fn jump(off: i16) -> Insn {
        Insn { code: 0x05, off, ..Insn::default() }
    }

    #[test]
    fn a_loop_is_a_way_back_to_where_one_came_from() {
        let nop = Insn { code: 0xbf, ..Insn::default() };
        let exit = Insn { code: EXIT, ..Insn::default() };
        let branch = |off| Insn { code: 0x15, off, ..Insn::default() };
        assert!(has_loop(&[nop, branch(-2), exit]));
        // Out of line: forward over the exit, and back to it.
        assert!(!has_loop(&[branch(1), exit, nop, jump(-3)]));
        assert!(!has_loop(&[branch(1), nop, exit]));
        assert!(has_loop(&[exit, nop, jump(-2)]), "in code that only a call reaches");
        assert!(!has_loop(&[jump(-9)]), "out of the program");
    }

    #[test]
    fn atomic_operations_that_give_back_are_refused_at_sight_where_there_are_none() {
        let atomic = |imm| Insn { code: 0xdb, dst: 2, src: 1, imm, ..Insn::default() };
        assert_eq!(IsaFeature::at_sight(atomic(1)), Some(IsaFeature::AtomicFetch));
        assert_eq!(IsaFeature::at_sight(atomic(CMPXCHG)), Some(IsaFeature::AtomicCmpxchg));
        assert_eq!(IsaFeature::at_sight(atomic(0)), None, "an addition, which every kernel has");
    }

    fn reads(insns: &[Insn]) -> ContextReads {
        context_reads(&Entry {
            name: "entry".to_owned(),
            section: "raw_tp".to_owned(),
            kind: None,
            autoload: true,
            insns: insns.to_vec(),
            functions: Vec::new(),
            map_refs: Vec::new(),
            extern_refs: Vec::new(),
            core_relos: Vec::new(),
            lines: Vec::new(),
        })
    }

    #[test]
    fn the_context_is_followed_along_every_way() {
        let copy = |dst, src| Insn { code: 0xbf, dst, src, ..Insn::default() };
        let load = |src, off| Insn { code: 0x79, dst: 0, src, off, ..Insn::default() };
        let zero = |dst| Insn { code: 0xb7, dst, ..Insn::default() };
        let exit = Insn { code: EXIT, ..Insn::default() };
        let branch = |off| Insn { code: 0x15, off, ..Insn::default() };
        // r6 = r1; if …: r6 = 0, exit; else: read byte 40 to 48 through r6.
        let around = reads(&[copy(6, 1), branch(2), zero(6), exit, load(6, 40), exit]);
        assert_eq!((around.end_byte, around.more), (48, false));
        assert_eq!(reads(&[zero(1), load(1, 8), exit]), ContextReads::default());
        let spilled = reads(&[Insn { code: 0x7b, dst: 10, src: 1, off: -8, ..Insn::default() }, exit]);
        assert!(spilled.more && !spilled.any);
        let handed_on = reads(&[Insn { code: CALL, src: PSEUDO_CALL, ..Insn::default() }, exit]);
        assert!(handed_on.more);
    }
}
