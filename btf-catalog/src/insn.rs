//! eBPF instructions: `struct bpf_insn` of `include/uapi/linux/bpf.h`, 8 bytes each.

/// One instruction slot. `ldimm64` takes two; the second has only an immediate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insn {
    /// Operation code.
    pub code: u8,
    /// Destination register, 4 bits.
    pub dst: u8,
    /// Source register, 4 bits.
    pub src: u8,
    /// Signed offset: a jump's distance in instructions or a memory operand's in bytes.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

/// Bytes of one instruction.
pub const INSN_SZ: usize = 8;

/// `BPF_LD | BPF_IMM | BPF_DW`: the two-slot load of a 64-bit immediate.
pub const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
pub const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_EXIT`.
pub const EXIT: u8 = 0x95;

/// `BPF_JMP | BPF_JA | BPF_X`: a jump to where the register says, by a table. Since v6.19.
pub const JUMP_BY_REGISTER: u8 = 0x0d;

/// The bits of a load's or store's code that tell its mode: `BPF_MODE()`.
pub const MODE: u8 = 0xe0;
/// Mode of a load that extends the sign: `BPF_MEMSX`.
pub const MEMSX: u8 = 0x80;
/// Mode of a store that is an atomic operation, which the immediate names: `BPF_ATOMIC`.
pub const ATOMIC: u8 = 0xc0;
/// Bit of an atomic operation that gives back what was there: `BPF_FETCH`.
pub const FETCH: i32 = 1;
/// Atomic operation: `BPF_CMPXCHG`.
pub const CMPXCHG: i32 = 0xf1;
/// Atomic operation: `BPF_LOAD_ACQ`.
pub const LOAD_ACQ: i32 = 0x100;
/// Atomic operation: `BPF_STORE_REL`.
pub const STORE_REL: i32 = 0x110;

/// `src` of a [`CALL`]: the immediate is the distance to a function of this program.
pub const PSEUDO_CALL: u8 = 1;
/// `src` of a [`CALL`]: the immediate is the BTF id of a kernel function.
pub const PSEUDO_KFUNC_CALL: u8 = 2;
/// `src` of an [`LD_IMM64`]: the immediate is a map's file descriptor.
pub const PSEUDO_MAP_FD: u8 = 1;
/// `src` of an [`LD_IMM64`]: a map's file descriptor and, in the second slot, an offset into its value.
pub const PSEUDO_MAP_VALUE: u8 = 2;
/// `src` of an [`LD_IMM64`]: the BTF id of a kernel variable.
pub const PSEUDO_BTF_ID: u8 = 3;
/// `src` of an [`LD_IMM64`]: the distance to a function of this program.
pub const PSEUDO_FUNC: u8 = 4;

impl Insn {
    /// Reads one slot. `big_endian` says how the object was built: the register nibbles swap as well.
    pub fn read(bytes: &[u8; INSN_SZ], big_endian: bool) -> Insn {
        let [code, regs, o0, o1, i0, i1, i2, i3] = *bytes;
        let (dst, src) = if big_endian { (regs >> 4, regs & 0xf) } else { (regs & 0xf, regs >> 4) };
        let (off, imm) = if big_endian {
            (i16::from_be_bytes([o0, o1]), i32::from_be_bytes([i0, i1, i2, i3]))
        } else {
            (i16::from_le_bytes([o0, o1]), i32::from_le_bytes([i0, i1, i2, i3]))
        };
        Insn { code, dst, src, off, imm }
    }

    /// The slot as bytes, the inverse of [`Insn::read`].
    pub fn write(self, big_endian: bool) -> [u8; INSN_SZ] {
        let regs = if big_endian { self.dst << 4 | self.src } else { self.src << 4 | self.dst };
        let off = if big_endian { self.off.to_be_bytes() } else { self.off.to_le_bytes() };
        let imm = if big_endian { self.imm.to_be_bytes() } else { self.imm.to_le_bytes() };
        [self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// The three bits that name the instruction's class (`BPF_CLASS`).
    pub fn class(self) -> u8 {
        self.code & 0x07
    }

    /// Whether this slot begins a two-slot `ldimm64`.
    pub fn is_ld_imm64(self) -> bool {
        self.code == LD_IMM64
    }

    /// Whether this calls a helper by number (not a subprogram, not a kernel function).
    pub fn is_helper_call(self) -> bool {
        self.code == CALL && self.src == 0
    }
}

/// The instructions as the bytes the kernel of this machine's byte order takes.
pub fn to_bytes(insns: &[Insn], big_endian: bool) -> Vec<u8> {
    insns.iter().flat_map(|insn| insn.write(big_endian)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn write_then_read_is_identity(bytes: [u8; 8], big_endian: bool) {
            prop_assert_eq!(Insn::read(&bytes, big_endian).write(big_endian), bytes);
        }
    }
}
