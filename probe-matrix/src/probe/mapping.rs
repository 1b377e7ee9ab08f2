//! Map types and map flags: what can be created.
//!
//! Every map is as small as its type allows and closed at once. Only what the type asks for is made beside it: one BTF
//! with an integer, and an inner map.

use super::Out;
use super::ask::{Named, Needs, Node, beyond, probed, tell};
use super::types;
use crate::facts::{Fact, Support};
use crate::sys::{Errno, Map, MapCreate, errno_name};
use btf_catalog::MapType;
use std::os::fd::{AsFd, OwnedFd};

/// Source of the facts here.
const MAP_CREATE: &str = "BPF_MAP_CREATE";

const NO_PREALLOC: u32 = 1 << 0;
const NO_COMMON_LRU: u32 = 1 << 1;
const NUMA_NODE: u32 = 1 << 2;
const MMAPABLE: u32 = 1 << 10;

/// Flags by name, with the map type they are tried on. `BPF_F_*`, include/uapi/linux/bpf.h.
const FLAGS: [(&str, u32, MapType); 15] = [
    ("no_prealloc", NO_PREALLOC, MapType::HASH),
    ("no_common_lru", NO_COMMON_LRU, MapType::LRU_HASH),
    ("numa_node", NUMA_NODE, MapType::HASH),
    ("rdonly", 1 << 3, MapType::ARRAY),
    ("wronly", 1 << 4, MapType::ARRAY),
    ("zero_seed", 1 << 6, MapType::HASH),
    ("rdonly_prog", 1 << 7, MapType::ARRAY),
    ("wronly_prog", 1 << 8, MapType::ARRAY),
    ("clone", 1 << 9, MapType::SK_STORAGE),
    ("mmapable", MMAPABLE, MapType::ARRAY),
    ("preserve_elems", 1 << 11, MapType::PERF_EVENT_ARRAY),
    ("inner_map", 1 << 12, MapType::ARRAY),
    ("segv_on_fault", 1 << 17, MapType::ARENA),
    ("no_user_conv", 1 << 18, MapType::ARENA),
    ("rb_overwrite", 1 << 19, MapType::RINGBUF),
];

/// What maps are made with.
struct Parts {
    page_sz: u32,
    btf: Result<OwnedFd, Errno>,
    inner: Result<Map, Errno>,
}

impl Parts {
    fn new(node: &mut Node<'_>) -> Parts {
        Parts {
            page_sz: rustix::param::page_size() as u32,
            btf: node.kernel.btf_load(&types::integer(), None),
            inner: node.map(&MapCreate::new(MapType::ARRAY, 4, 4, 1)),
        }
    }

    /// The smallest map of a type.
    fn smallest(&self, map_type: MapType) -> MapCreate<'_> {
        let map = |key_sz, value_sz, max_entries| MapCreate::new(map_type, key_sz, value_sz, max_entries);
        let storage = MapCreate {
            flags: NO_PREALLOC,
            // Without BTF a descriptor that is none: EBADF says that the type is known.
            btf_fd: self.btf.as_ref().ok().map(AsFd::as_fd),
            btf_key_type_id: types::INTEGER,
            btf_value_type_id: types::INTEGER,
            ..map(4, 4, 0)
        };
        match map_type {
            MapType::LPM_TRIE => MapCreate { flags: NO_PREALLOC, ..map(8, 8, 1) },
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => {
                MapCreate { inner_map_fd: self.inner.as_ref().ok().map(AsFd::as_fd), ..map(4, 4, 1) }
            }
            // struct bpf_cgroup_storage_key is 16 bytes.
            MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => map(16, 8, 0),
            MapType::QUEUE | MapType::STACK | MapType::BLOOM_FILTER => map(0, 4, 1),
            MapType::SK_STORAGE | MapType::INODE_STORAGE | MapType::TASK_STORAGE | MapType::CGRP_STORAGE => {
                storage
            }
            // Type 1 is an integer, no operations: ENOTSUPP says that the type is known. A real structure would have the
            // caller wait some 100 ms for RCU when the map is freed.
            MapType::STRUCT_OPS => MapCreate { btf_vmlinux_value_type_id: 1, ..map(4, 4, 1) },
            MapType::RINGBUF | MapType::USER_RINGBUF => map(0, 0, self.page_sz),
            MapType::STACK_TRACE | MapType::REUSEPORT_SOCKARRAY => map(4, 8, 1),
            MapType::ARENA => MapCreate { flags: MMAPABLE, ..map(0, 0, 1) },
            // struct bpf_insn_array_value is 16 bytes.
            MapType::INSN_ARRAY => map(4, 16, 1),
            MapType::RHASH => MapCreate { flags: NO_PREALLOC, ..map(4, 4, 1) },
            _ => map(4, 4, 1),
        }
    }
}

/// Facts `bpf.map_type.*`, `bpf.map_flag.*` and `bpf.map_name`.
pub(crate) fn facts(node: &mut Node<'_>, out: &mut Out<'_>) {
    let parts = Parts::new(node);
    let most = MapType::all().map(|ty| ty.0).max().unwrap_or(0).max(node.bounds.map_type.unwrap_or(0));
    let mut known = Vec::new();
    for map_type in (1..=most).map(MapType) {
        let fact = match beyond(map_type.0, node.bounds.map_type, "bpf_map_type") {
            Some(fact) => fact,
            None if map_type.name().is_none() => {
                probed(Support::Unknown, MAP_CREATE).reason("a map type newer than this build of portolan")
            }
            None => {
                let answer = node.map(&parts.smallest(map_type));
                judge(node, &answer, map_type)
            }
        };
        if fact.support == Support::Yes {
            known.push(map_type);
        }
        tell(out, map_type.fact(), fact);
    }
    for (name, flag, map_type) in FLAGS {
        let fact = if known.contains(&map_type) {
            let smallest = parts.smallest(map_type);
            let answer = node.map(&MapCreate { flags: smallest.flags | flag, ..smallest });
            judge(node, &answer, map_type)
        } else {
            probed(Support::Unknown, MAP_CREATE).reason(format!("there is no {map_type} map to try it on"))
        };
        tell(out, format!("bpf.map_flag.{name}"), fact);
    }
    let answer = node.map(&MapCreate { name: "portolan", ..parts.smallest(MapType::ARRAY) });
    let fact = judge(node, &answer, MapType::ARRAY);
    tell(out, "bpf.map_name", fact);
}

fn judge(node: &Node<'_>, answer: &Result<Map, Errno>, map_type: MapType) -> Fact {
    match *answer {
        Ok(_) => probed(Support::Yes, MAP_CREATE),
        // The kernel came as far as looking at the BTF or the structure, which the type's own checks precede.
        Err(errno) if takes_btf(map_type) && (errno == Errno::BADF || errno.raw_os_error() == ENOTSUPP) => {
            probed(Support::Yes, MAP_CREATE)
                .errno(errno_name(errno))
                .reason("known; the BTF given was refused")
        }
        Err(errno) => node
            .no_answer(errno, capabilities(map_type), MAP_CREATE)
            .unwrap_or_else(|| probed(Support::No, MAP_CREATE).errno(errno_name(errno))),
    }
}

/// The kernel's internal errno of struct_ops with a structure that is none.
const ENOTSUPP: i32 = 524;

fn takes_btf(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::SK_STORAGE
            | MapType::INODE_STORAGE
            | MapType::TASK_STORAGE
            | MapType::CGRP_STORAGE
            | MapType::STRUCT_OPS
    )
}

/// `map_create()`, kernel/bpf/syscall.c: maps of sockets and devices need CAP_NET_ADMIN.
fn capabilities(map_type: MapType) -> Needs {
    match map_type {
        MapType::SOCKMAP | MapType::SOCKHASH | MapType::DEVMAP | MapType::DEVMAP_HASH | MapType::XSKMAP => {
            Needs::NetAdmin
        }
        _ => Needs::Bpf,
    }
}
