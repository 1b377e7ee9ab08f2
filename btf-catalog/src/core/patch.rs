//! Writing a relocation's answer into its instruction: libbpf's `bpf_core_patch_insn()`.

use super::resolve::Resolved;
use crate::insn::{CALL, Insn};

/// The immediate of the call that stands for a relocation without an answer: the verifier prints `invalid func
/// unknown#195896080` when it gets there. libbpf writes the same, so people can search for it.
pub const POISON_IMM: i32 = 0x0bad_2310;

/// Load modes and sizes of `include/uapi/linux/bpf_common.h`.
const CLASS_LD: u8 = 0;
const CLASS_LDX: u8 = 1;
const CLASS_ST: u8 = 2;
const CLASS_STX: u8 = 3;
const CLASS_ALU: u8 = 4;
const CLASS_ALU64: u8 = 7;
const SRC_X: u8 = 0x08;
const SIZE_MASK: u8 = 0x18;
const SIZE_W: u8 = 0x00;
const SIZE_H: u8 = 0x08;
const SIZE_B: u8 = 0x10;
const SIZE_DW: u8 = 0x18;

/// Writes `resolved` into the instruction at `at`. Returns why the instruction was poisoned here, if it was.
pub(super) fn patch(
    insns: &mut [Insn],
    at: usize,
    resolved: &Resolved,
) -> Result<Option<&'static str>, String> {
    let Some(insn) = insns.get(at).copied() else {
        return Err(format!("there is no instruction {at}"));
    };
    if let Some(why) = resolved.poisoned {
        poison(insns, at);
        return Ok(Some(why));
    }
    let stale = |found: i64| {
        format!("the instruction carries {found}, the object's types say {}", resolved.orig_value)
    };
    let checks = |found: i64| resolved.validate && found as u64 != resolved.orig_value;
    match insn.class() {
        CLASS_ALU | CLASS_ALU64 => {
            if insn.code & SRC_X != 0 {
                return Err(format!("instruction of code {:#04x} has no immediate", insn.code));
            }
            if resolved.validate && insn.imm as u32 != resolved.orig_value as u32 {
                return Err(stale(i64::from(insn.imm)));
            }
            insns[at].imm = resolved.new_value as i32;
        }
        CLASS_LDX | CLASS_ST | CLASS_STX => {
            if checks(i64::from(insn.off)) {
                return Err(stale(i64::from(insn.off)));
            }
            let Ok(off) = i16::try_from(resolved.new_value as i64) else {
                return Err(format!("offset {} does not fit into an instruction", resolved.new_value));
            };
            if resolved.cannot_resize {
                poison(insns, at);
                return Ok(Some(
                    "the kernel's field has another size and is not an unsigned integer or a pointer",
                ));
            }
            insns[at].off = off;
            if resolved.orig_sz != resolved.new_sz {
                if u32::from(size_of(insn.code)) != resolved.orig_sz {
                    return Err(format!(
                        "the instruction moves {} bytes of a field of {}",
                        size_of(insn.code),
                        resolved.orig_sz
                    ));
                }
                let size = match resolved.new_sz {
                    1 => SIZE_B,
                    2 => SIZE_H,
                    4 => SIZE_W,
                    8 => SIZE_DW,
                    other => return Err(format!("no instruction moves {other} bytes")),
                };
                insns[at].code = insn.code & !SIZE_MASK | size;
            }
        }
        CLASS_LD => {
            let next = insns.get(at + 1).copied().unwrap_or_default();
            let plain = insn.is_ld_imm64() && insn.src == 0 && insn.off == 0 && at + 1 < insns.len();
            if !plain || next.code != 0 || next.dst != 0 || next.src != 0 || next.off != 0 {
                return Err("not a plain 64-bit load of an immediate".to_owned());
            }
            let found = u64::from(insn.imm as u32) | u64::from(next.imm as u32) << 32;
            if checks(found as i64) {
                return Err(stale(found as i64));
            }
            insns[at].imm = resolved.new_value as i32;
            insns[at + 1].imm = (resolved.new_value >> 32) as i32;
        }
        _ => {
            return Err(format!("instruction of code {:#04x} cannot be relocated", insn.code));
        }
    }
    Ok(None)
}

fn size_of(code: u8) -> u8 {
    match code & SIZE_MASK {
        SIZE_B => 1,
        SIZE_H => 2,
        SIZE_W => 4,
        _ => 8,
    }
}

/// Replaces an instruction, both halves of a 64-bit load, by a call that no kernel has.
fn poison(insns: &mut [Insn], at: usize) {
    let halves = if insns[at].is_ld_imm64() { 2 } else { 1 };
    for insn in insns.iter_mut().skip(at).take(halves) {
        *insn = Insn { code: CALL, imm: POISON_IMM, ..Insn::default() };
    }
}
