//! Instructions that no kernel takes, whatever registers hold: `bpf_opcode_in_insntable()` of kernel/bpf/core.c,
//! `resolve_pseudo_ldimm64()`, `check_alu_op()` and `do_check()` of kernel/bpf/verifier.c, v5.10 to v6.18, and
//! `check_and_resolve_insns()` there, v7.2. What only some of these kernels know is in [`super::IsaFeature`].
//!
//! | instruction | must be |
//! |---|---|
//! | any | registers r0 to r10; r11 in 8-byte accesses, which are arguments on the stack since v7.2 |
//! | `ldimm64` | `off` 0, `src` 0 to 6, second slot empty but for `imm` |
//! | `ld abs`, `ld ind` | `dst` and `off` 0, `src` of `abs` 0; socket filters, tc classifiers and actions only |
//! | `ldx` | `imm` 0 |
//! | `st`, `stx` | `src` of `st` 0, `imm` of `stx` 0 |
//! | atomic | an operation there is; on 1 or 2 bytes load-acquire and store-release only |
//! | `neg` | `src`, `off`, `imm` 0 |
//! | `end` | `src`, `off` 0, `imm` 16, 32 or 64 |
//! | `mov` | of a register: `imm` 0, `off` 0, 8, 16 or, in 64 bits, 32; or a cast where there is an arena. Of a number: `src`, `off` 0 |
//! | other arithmetic | `off` 0, 1 in divisions; `imm` or `src` 0; a divisor not 0, a shift less than the width |
//! | `call` | `dst` 0, `src` 0 to 2, `off` 0 but for kernel functions |
//! | `ja`, `exit` | registers 0, `imm` 0, `off` 0 in `gotol` and `exit` |
//! | `ja` by a register | `src`, `off`, `imm` 0 |
//! | `may_goto` | registers, `imm` 0 |
//! | other jumps | `imm` or `src` 0 |

use crate::insn::{ATOMIC, CALL, EXIT, Insn, JUMP_BY_REGISTER, LOAD_ACQ, MODE, PSEUDO_KFUNC_CALL, STORE_REL};
use crate::object::{BpfObject, Entry};
use crate::reach::slots;
use crate::uapi::{MapType, ProgType};

/// An instruction that no kernel takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidInsn {
    /// Its index.
    pub insn_off: usize,
    /// What is wrong with it.
    pub why: &'static str,
    /// Whether it is refused wherever it stands, not only where it is walked.
    pub everywhere: bool,
}

const REGISTERS: u8 = 11;
/// `BPF_REG_PARAMS` of include/linux/filter.h, v7.2.
const STACK_ARGUMENTS: u8 = 11;
const DOUBLE_WORD: u8 = 0x18;
const MEM: u8 = 0x60;
const ABS: u8 = 0x20;
const FROM_REGISTER: u8 = 0x08;
const JUMP: u8 = 0x05;
const GOTOL: u8 = 0x06;
const MAY_GOTO: u8 = 0xe5;

/// The instructions of `entry`, `insns` once relocated, that no kernel takes, in their order.
pub fn invalid_insns(object: &BpfObject, entry: &Entry, insns: &[Insn]) -> Vec<InvalidInsn> {
    let uses = |map_type: MapType| {
        let mut maps = entry.map_refs.iter().filter_map(|reference| object.maps.get(reference.map));
        maps.any(|map| map.map_type == map_type)
    };
    let prog_type = entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
    let surroundings = Surroundings {
        arena: uses(MapType::ARENA),
        packets: [ProgType::SOCKET_FILTER, ProgType::SCHED_CLS, ProgType::SCHED_ACT, ProgType::UNSPEC]
            .contains(&prog_type),
    };
    let invalid = slots(insns).filter_map(|(insn_off, insn)| {
        let everywhere = at_sight(insn, insns.get(insn_off + 1).copied());
        let why = everywhere.or_else(|| surroundings.fault(insn))?;
        Some(InvalidInsn { insn_off, why, everywhere: everywhere.is_some() })
    });
    invalid.collect()
}

/// What every kernel since v5.10 looks at before it walks any instruction.
fn at_sight(insn: Insn, second: Option<Insn>) -> Option<&'static str> {
    if insn.is_ld_imm64() {
        let empty = second.is_some_and(|second| Insn { imm: 0, ..second } == Insn::default());
        return match insn.src {
            _ if !empty => Some("the second half of a 64-bit immediate must be empty but for its number"),
            7.. => Some("no kernel knows such a 64-bit immediate"),
            _ => None,
        };
    }
    if !is_operation(insn.code) {
        return Some("no kernel knows this operation code");
    }
    (insn.class() == 1 && insn.imm != 0).then_some("reserved fields of the load must be 0")
}

/// Whether some kernel up to v7.2 has the operation code.
fn is_operation(code: u8) -> bool {
    let (op, from_register) = (code & 0xf0, code & FROM_REGISTER != 0);
    match code & 7 {
        // Bytes of a packet, by a fixed offset or another; not 8 of them.
        0 => matches!(code & MODE, 0x20 | 0x40) && code & DOUBLE_WORD != DOUBLE_WORD,
        1 => code & MODE == MEM || code & MODE == 0x80 && code & DOUBLE_WORD != DOUBLE_WORD,
        2 => code & MODE == MEM,
        3 => matches!(code & MODE, MEM | ATOMIC),
        class @ (4 | 7) => match op {
            0x80 => !from_register,
            0xd0 => class == 4 || !from_register,
            _ => op < 0xd0,
        },
        // JA, the comparisons, CALL, EXIT, JCOND.
        5 => match op {
            0x80 | 0x90 | 0xe0 => !from_register,
            _ => op <= 0xd0,
        },
        _ => op == 0 && !from_register || (0x10..=0xd0).contains(&op) && !matches!(op, 0x80 | 0x90),
    }
}

/// What decides beside the instruction itself.
struct Surroundings {
    arena: bool,
    /// Whether programs of the type may read packets by [`ABS`].
    packets: bool,
}

impl Surroundings {
    /// What kernels before v7.2 look at only where they walk.
    fn fault(&self, insn: Insn) -> Option<&'static str> {
        let Insn { code, dst, src, off, imm } = insn;
        let from_register = code & FROM_REGISTER != 0;
        let on_stack = |register: u8| register == STACK_ARGUMENTS && code & DOUBLE_WORD == DOUBLE_WORD;
        let known = match insn.class() {
            1 => dst < REGISTERS && (src < REGISTERS || on_stack(src)),
            2 | 3 => src < REGISTERS && (dst < REGISTERS || on_stack(dst)),
            _ => dst < REGISTERS && src < REGISTERS,
        };
        if !known {
            return Some("there is no such register");
        }
        let reserved = |broken: bool| broken.then_some("reserved fields must be 0");
        match insn.class() {
            0 if insn.is_ld_imm64() => reserved(off != 0),
            0 if !self.packets => Some("programs of this type may not read packets this way"),
            0 => reserved(dst != 0 || off != 0 || code & MODE == ABS && src != 0),
            2 => reserved(src != 0),
            3 if code & MODE == ATOMIC => of_atomic(insn),
            3 => reserved(imm != 0),
            4 | 7 => self.of_arithmetic(insn),
            5 | 6 => match code {
                CALL => reserved(dst != 0 || src > PSEUDO_KFUNC_CALL || src != PSEUDO_KFUNC_CALL && off != 0),
                EXIT | JUMP | MAY_GOTO => reserved(dst != 0 || src != 0 || imm != 0),
                GOTOL => reserved(dst != 0 || src != 0 || off != 0),
                JUMP_BY_REGISTER => reserved(src != 0 || off != 0 || imm != 0),
                _ => reserved(if from_register { imm != 0 } else { src != 0 }),
            },
            _ => None,
        }
    }

    fn of_arithmetic(&self, insn: Insn) -> Option<&'static str> {
        const CAST: i16 = 1;
        let Insn { code, src, off, imm, .. } = insn;
        let from_register = code & FROM_REGISTER != 0;
        let wide = insn.class() == 7;
        let reserved = |broken: bool| broken.then_some("reserved fields must be 0");
        match code & 0xf0 {
            0x80 => reserved(src != 0 || off != 0 || imm != 0),
            0xd0 => reserved(src != 0 || off != 0 || !matches!(imm, 16 | 32 | 64)),
            0xb0 if from_register && wide && off == CAST && matches!(imm, 1 | 0x1_0000) => {
                (!self.arena).then_some("addresses are cast where the program uses an arena only")
            }
            0xb0 if from_register => reserved(imm != 0 || !(matches!(off, 0 | 8 | 16) || wide && off == 32)),
            0xb0 => reserved(src != 0 || off != 0),
            operation => {
                let division = matches!(operation, 0x30 | 0x90);
                let shift = matches!(operation, 0x60 | 0x70 | 0xc0);
                if off != 0 && !(division && off == 1) || if from_register { imm != 0 } else { src != 0 } {
                    return reserved(true);
                }
                match (from_register, imm) {
                    (false, 0) if division => Some("a division by 0"),
                    (false, imm) if shift && !(0..if wide { 64 } else { 32 }).contains(&imm) => {
                        Some("a shift by more than there is")
                    }
                    _ => None,
                }
            }
        }
    }
}

fn of_atomic(insn: Insn) -> Option<&'static str> {
    match insn.imm {
        LOAD_ACQ | STORE_REL => None,
        0x00 | 0x01 | 0x40 | 0x41 | 0x50 | 0x51 | 0xa0 | 0xa1 | 0xe1 | 0xf1 => {
            matches!(insn.code & DOUBLE_WORD, 0x08 | 0x10)
                .then_some("atomic operations of 4 or 8 bytes there are only")
        }
        _ => Some("no kernel knows this atomic operation"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(insn: Insn) -> Option<&'static str> {
        let packets = Surroundings { arena: false, packets: false };
        at_sight(insn, Some(Insn::default())).or_else(|| packets.fault(insn))
    }

    #[test]
    fn every_operation_that_kernels_have_and_no_other() {
        // The public table of `bpf_opcode_in_insntable()` has 120 rows in v5.10; v6.6 adds gotol, bswap and three loads that
        // extend the sign, v6.9 may_goto, v6.15 atomics of 1 and 2 bytes, v6.19 jumps by a register.
        let known = (0..=255).filter(|code| is_operation(*code) || *code == crate::insn::LD_IMM64).count();
        assert_eq!(known, 120 + 5 + 1 + 2 + 1);
        for code in [0xff, 0x00, 0x38, 0x99, 0xdf, 0x8d, 0x86, 0x96, 0xe6] {
            assert!(!is_operation(code), "{code:#x}");
        }
    }

    #[test]
    fn fields_that_an_instruction_does_not_use_are_0() {
        let insn = |code, off, imm| Insn { code, off, imm, ..Insn::default() };
        for fine in [
            insn(0xbf, 0, 0),
            insn(0xbf, 32, 0),
            insn(0xbc, 8, 0),
            insn(0x3f, 1, 0),
            insn(0x67, 0, 63),
            insn(0xd7, 0, 16),
            insn(0xdb, -8, 0xf1),
            insn(0xd3, -1, 0x100),
            insn(0xe5, 1, 0),
            insn(0x06, 0, 7),
            Insn { src: PSEUDO_KFUNC_CALL, ..insn(CALL, 3, 100) },
            Insn { src: 4, ..insn(0x18, 0, 7) },
            Insn { src: STACK_ARGUMENTS, ..insn(0x79, 8, 0) },
        ] {
            assert_eq!(told(fine), None, "{fine:?}");
        }
        for (wrong, why) in [
            (insn(0xbf, -1, 0), "reserved"),
            (insn(0xbc, 32, 0), "reserved"),
            (insn(0xbf, 1, 1), "arena"),
            (Insn { src: 1, ..insn(0xb7, 0, 0) }, "reserved"),
            (insn(0x0f, 1, 0), "reserved"),
            (insn(0x37, 0, 0), "division by 0"),
            (insn(0x67, 0, 64), "shift"),
            (insn(0x64, 0, 32), "shift"),
            (insn(0xdb, -8, 0x20), "atomic operation"),
            (insn(0xd3, -8, 0), "4 or 8 bytes"),
            (insn(0x20, 0, 0), "packets"),
            (insn(0x79, 0, 1), "reserved fields of the load"),
            (insn(0xff, 0, 0), "operation code"),
            (Insn { src: 9, ..insn(0x18, 0, 0) }, "64-bit immediate"),
            (Insn { dst: 12, ..insn(0xb7, 0, 0) }, "no such register"),
        ] {
            let said = told(wrong).unwrap_or_default();
            assert!(said.contains(why), "{wrong:?}: {said}");
        }
        assert!(at_sight(insn(0x18, 0, 0), None).is_some(), "cut in two");
    }
}
