//! The programs that are attached: each adds one to a number in a map and returns.

use crate::probe::ask::Node;
use crate::probe::asm::{self, EXIT, FP, op};
use crate::sys::{Errno, Kernel, Map, MapCreate};
use btf_catalog::MapType;
use btf_catalog::insn::{Insn, LD_IMM64, PSEUDO_MAP_FD};
use std::os::fd::{AsFd, AsRawFd};

/// `bpf_map_lookup_elem()`, which programs of every type are offered, since v3.19.
const MAP_LOOKUP_ELEM: u32 = 1;

/// A map with the number of runs of all programs.
pub(super) struct Counter {
    map: Map,
}

impl Counter {
    pub(super) fn make(node: &mut Node<'_>) -> Result<Counter, Errno> {
        node.map(&MapCreate::new(MapType::ARRAY, 4, 8, 1)).map(|map| Counter { map })
    }

    /// How many runs there were; none if the map cannot be read.
    pub(super) fn runs(&self, kernel: &mut Kernel) -> Option<u64> {
        let value = kernel.map_lookup_elem(&self.map, &[0; 4]).ok()?;
        Some(u64::from_ne_bytes(value.try_into().ok()?))
    }

    /// A program that counts and returns `result`.
    pub(super) fn program(&self, result: i32) -> Vec<u8> {
        const JEQ_IMM: u8 = 0x15;
        const ATOMIC_DW: u8 = 0xdb;
        let map = self.map.as_fd().as_raw_fd();
        asm::bytes(&[
            // The key, which is 0 in either byte order.
            asm::store(FP, -8, 0),
            asm::mov_reg(2, FP),
            asm::add(2, -8),
            op(LD_IMM64, 1, PSEUDO_MAP_FD, 0, map),
            Insn::default(),
            asm::call(MAP_LOOKUP_ELEM),
            op(JEQ_IMM, 0, 0, 2, 0),
            asm::mov(1, 1),
            // *(u64 *)(r0 + 0) += r1, in one piece, as all kernels since v3.18 take it.
            op(ATOMIC_DW, 0, 1, 0, 0),
            asm::mov(0, result),
            EXIT,
        ])
    }
}
