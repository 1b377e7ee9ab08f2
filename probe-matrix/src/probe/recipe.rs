//! Calls of helpers that the verifier takes: `data/helper_calls.tsv`, and the maps they need.

use super::ask::Node;
use super::asm::{self, FP, op};
use super::types;
use crate::sys::{Map, MapCreate};
use btf_catalog::insn::{Insn, LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use btf_catalog::{HelperId, MapType};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::LazyLock;

/// Register that keeps the context over the calls, and the one that keeps what prepares an argument.
const CTX: u8 = 6;
const KEPT: u8 = 7;

/// Places on the stack for three dynptrs.
const SLOT: i32 = -16;
const MEM_DYNPTR: i32 = -32;
const RING_DYNPTR: i32 = -48;
/// Size of the map value that stands for written memory: it needs no instructions to write it.
const BUF_SZ: u32 = 64;

const RINGBUF_RESERVE: u32 = 131;
const GET_CURRENT_TASK_BTF: u32 = 158;
const DYNPTR_FROM_MEM: u32 = 197;
const RINGBUF_RESERVE_DYNPTR: u32 = 198;

/// `BPF_F_RDONLY_PROG`: programs only read the map; frozen, its strings are constants to the verifier.
const RDONLY_PROG: u32 = 1 << 7;
const NO_PREALLOC: u32 = 1;

/// One argument of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arg {
    Ctx,
    Buf,
    Slot,
    Str,
    Task,
    Mem,
    MemDynptr,
    RingDynptr,
    Map(MapType),
    Number(i32),
}

/// The table of calls.
static CALLS: LazyLock<BTreeMap<HelperId, Vec<Arg>>> = LazyLock::new(|| {
    include_str!("../../data/helper_calls.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, args) = line.split_once('\t').unwrap_or((line, ""));
            let helper = HelperId::from_name(name).expect("data/helper_calls.tsv names helpers");
            (helper, args.split_whitespace().map(arg).collect())
        })
        .collect()
});

fn arg(word: &str) -> Arg {
    match word {
        "ctx" => Arg::Ctx,
        "buf" | "key" => Arg::Buf,
        "slot" => Arg::Slot,
        "str" => Arg::Str,
        "task" => Arg::Task,
        "mem" => Arg::Mem,
        "mem_dynptr" => Arg::MemDynptr,
        "ring_dynptr" => Arg::RingDynptr,
        other => match MapType::from_name(other) {
            Some(map_type) => Arg::Map(map_type),
            None => Arg::Number(other.parse().expect("data/helper_calls.tsv has maps and numbers")),
        },
    }
}

/// What a program begins with: the context saved.
pub(crate) const PROLOGUE: [Insn; 1] = [asm::mov_reg(CTX, 1)];

/// What calls are made with, made once for all program types.
pub(crate) struct Kit {
    maps: BTreeMap<MapType, Map>,
    str: Option<Map>,
}

impl Kit {
    pub(crate) fn new(node: &mut Node<'_>) -> Kit {
        let page_sz = rustix::param::page_size() as u32;
        let btf = node.kernel.btf_load(&types::integer(), None);
        let wanted = [
            MapCreate::new(MapType::ARRAY, 4, BUF_SZ, 1),
            MapCreate::new(MapType::PROG_ARRAY, 4, 4, 1),
            MapCreate::new(MapType::PERF_EVENT_ARRAY, 4, 4, 1),
            MapCreate::new(MapType::CGROUP_ARRAY, 4, 4, 1),
            MapCreate::new(MapType::PERCPU_ARRAY, 4, 8, 1),
            MapCreate::new(MapType::STACK_TRACE, 4, 8, 1),
            MapCreate::new(MapType::QUEUE, 0, 8, 1),
            MapCreate::new(MapType::RINGBUF, 0, 0, page_sz),
            MapCreate {
                flags: NO_PREALLOC,
                btf_fd: btf.as_ref().ok().map(AsFd::as_fd),
                btf_key_type_id: types::INTEGER,
                btf_value_type_id: types::INTEGER,
                ..MapCreate::new(MapType::TASK_STORAGE, 4, 4, 0)
            },
        ];
        let maps =
            wanted.iter().filter_map(|create| Some((create.map_type, node.map(create).ok()?))).collect();
        Kit { maps, str: frozen_string(node) }
    }

    /// Whether the helper can be called with others: its call is in the table, and what it needs could be made.
    pub(crate) fn has_recipe(&self, helper: HelperId) -> bool {
        CALLS.get(&helper).is_some_and(|args| {
            args.iter().all(|arg| match arg {
                Arg::Map(map_type) => self.maps.contains_key(map_type),
                Arg::Str => self.str.is_some(),
                Arg::Buf | Arg::MemDynptr => self.maps.contains_key(&MapType::ARRAY),
                Arg::Mem | Arg::RingDynptr => self.maps.contains_key(&MapType::RINGBUF),
                _ => true,
            })
        })
    }

    /// The instructions that call a helper, by its recipe if it [has one](Kit::has_recipe), else with the context alone;
    /// the call is the last.
    pub(crate) fn call(&self, helper: HelperId) -> Vec<Insn> {
        let args = if self.has_recipe(helper) { &CALLS[&helper][..] } else { &[Arg::Ctx][..] };
        let mut insns = Vec::new();
        for arg in args {
            self.prepare(*arg, &mut insns);
        }
        self.pass(args, &mut insns);
        insns.push(asm::call(helper.0));
        insns
    }

    /// Calls that an argument comes from.
    fn prepare(&self, arg: Arg, insns: &mut Vec<Insn>) {
        let (args, helper): (&[Arg], u32) = match arg {
            Arg::Task => (&[], GET_CURRENT_TASK_BTF),
            Arg::Mem => (&[Arg::Map(MapType::RINGBUF), Arg::Number(8), Arg::Number(0)], RINGBUF_RESERVE),
            Arg::MemDynptr => (&[Arg::Buf, Arg::Number(8), Arg::Number(0), Arg::MemDynptr], DYNPTR_FROM_MEM),
            Arg::RingDynptr => (
                &[Arg::Map(MapType::RINGBUF), Arg::Number(8), Arg::Number(0), Arg::RingDynptr],
                RINGBUF_RESERVE_DYNPTR,
            ),
            _ => return,
        };
        self.pass(args, insns);
        insns.push(asm::call(helper));
        if arg == Arg::Mem {
            // `if r0 == 0 goto +0`: the verifier goes on with a pointer that is not null, and is refused before it would
            // come back to the other branch.
            insns.push(op(0x15, 0, 0, 0, 0));
        }
        if matches!(arg, Arg::Task | Arg::Mem) {
            insns.push(asm::mov_reg(KEPT, 0));
        }
    }

    /// Puts the arguments into r1 and up.
    fn pass(&self, args: &[Arg], insns: &mut Vec<Insn>) {
        for (register, arg) in (1..).zip(args) {
            match arg {
                Arg::Ctx => insns.push(asm::mov_reg(register, CTX)),
                Arg::Task | Arg::Mem => insns.push(asm::mov_reg(register, KEPT)),
                Arg::Slot => insns.extend(stack(register, SLOT)),
                Arg::MemDynptr => insns.extend(stack(register, MEM_DYNPTR)),
                Arg::RingDynptr => insns.extend(stack(register, RING_DYNPTR)),
                Arg::Map(map_type) => insns.extend(map(register, PSEUDO_MAP_FD, self.maps.get(map_type))),
                Arg::Buf => insns.extend(map(register, PSEUDO_MAP_VALUE, self.maps.get(&MapType::ARRAY))),
                Arg::Str => insns.extend(map(register, PSEUDO_MAP_VALUE, self.str.as_ref())),
                Arg::Number(number) => insns.push(asm::mov(register, *number)),
            }
        }
    }
}

/// A map of one string, the empty one, that nobody can change.
fn frozen_string(node: &mut Node<'_>) -> Option<Map> {
    let map = node.map(&MapCreate { flags: RDONLY_PROG, ..MapCreate::new(MapType::ARRAY, 4, 8, 1) }).ok()?;
    node.kernel.map_freeze(&map).ok()?;
    Some(map)
}

fn stack(register: u8, off: i32) -> [Insn; 2] {
    [asm::mov_reg(register, FP), asm::add(register, off)]
}

fn map(register: u8, pseudo: u8, map: Option<&Map>) -> [Insn; 2] {
    let fd = map.map_or(-1, |map| map.as_fd().as_raw_fd());
    [op(LD_IMM64, register, pseudo, 0, fd), Insn::default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_calls_is_well_formed() {
        assert!(CALLS.values().all(|args| args.len() <= 5));
        assert!(CALLS.len() > 100);
    }
}
