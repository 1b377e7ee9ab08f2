//! The few instructions that probe programs are written in.

use btf_catalog::insn::{self, Insn};

/// The stack's frame pointer.
pub(crate) const FP: u8 = 10;

pub(crate) const fn op(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}

/// `dst = imm`.
pub(crate) const fn mov(dst: u8, imm: i32) -> Insn {
    op(0xb7, dst, 0, 0, imm)
}

/// `dst = src`.
pub(crate) const fn mov_reg(dst: u8, src: u8) -> Insn {
    op(0xbf, dst, src, 0, 0)
}

/// `dst += imm`.
pub(crate) const fn add(dst: u8, imm: i32) -> Insn {
    op(0x07, dst, 0, 0, imm)
}

/// `*(u64 *)(dst + off) = imm`.
pub(crate) const fn store(dst: u8, off: i16, imm: i32) -> Insn {
    op(0x7a, dst, 0, off, imm)
}

/// Calls the helper of that number.
pub(crate) const fn call(helper: u32) -> Insn {
    op(insn::CALL, 0, 0, 0, helper as i32)
}

pub(crate) const EXIT: Insn = op(insn::EXIT, 0, 0, 0, 0);

/// Reads r9, which no probe program ever writes: the verifier refuses here at the latest, so that nothing is compiled.
pub(crate) const REFUSED: [Insn; 2] = [mov_reg(0, 9), EXIT];

/// What the verifier says when it comes to [`REFUSED`], and so found nothing wrong before. The same since v3.18.
pub(crate) const REFUSED_SAYS: &str = "R9 !read_ok";

/// A program that is accepted by nearly every program type: `return 0`.
pub(crate) const NOTHING: [Insn; 2] = [mov(0, 0), EXIT];

/// Instructions as the kernel of this machine takes them.
pub(crate) fn bytes(insns: &[Insn]) -> Vec<u8> {
    insn::to_bytes(insns, cfg!(target_endian = "big"))
}

/// `insns` followed by [`REFUSED`], as bytes.
pub(crate) fn refused_after(insns: &[Insn]) -> Vec<u8> {
    bytes(&[insns, &REFUSED[..]].concat())
}
