//! Maps: what the kernel is asked for, given what the object says, and their creation.

use super::node::Node;
use super::outcome::{Cause, LoadOutcome, Stage, cause_of_creation};
use btf_catalog::MapType;
use bytes::Bytes;
use probe_matrix::sys::{Errno, Kernel, Map, MapCreate, errno_name};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};

/// `BPF_F_NO_PREALLOC`.
const F_NO_PREALLOC: u32 = 1 << 0;

/// Bytes that an element of a hash costs beside key and value (`struct htab_elem`, its bucket and its list node).
const ELEMENT_OVERHEAD: u64 = 64;

/// A map of the object, as it travels to the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MapSpec {
    pub(super) name: String,
    pub(super) map_type: MapType,
    pub(super) key_sz: u32,
    pub(super) value_sz: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    pub(super) map_extra: u64,
    pub(super) numa_node: u32,
    pub(super) key_type_id: u32,
    pub(super) value_type_id: u32,
    pub(super) inner: Option<Box<MapSpec>>,
    /// Index of the blob that holds the initial value of a global data section.
    pub(super) data: Option<usize>,
    /// Whether user space may not write the map once it is filled.
    pub(super) frozen: bool,
    /// Whether it is another map without its BTF, or none: values with locks, timers and the like, and local storage.
    pub(super) needs_btf: bool,
}

impl MapSpec {
    /// Why no kernel creates the map as it is written down. Its own loader may complete it before it loads the object.
    fn fault(&self) -> Option<String> {
        let (sized, valued, counted) = match self.map_type {
            MapType::HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::LPM_TRIE
            | MapType::ARRAY
            | MapType::PERCPU_ARRAY
            | MapType::PROG_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::STACK_TRACE
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::DEVMAP
            | MapType::DEVMAP_HASH
            | MapType::SOCKMAP
            | MapType::SOCKHASH
            | MapType::CPUMAP
            | MapType::XSKMAP => (true, true, true),
            MapType::QUEUE | MapType::STACK | MapType::BLOOM_FILTER => (false, true, true),
            MapType::RINGBUF | MapType::USER_RINGBUF | MapType::ARENA => (false, false, true),
            _ => (false, false, false),
        };
        let is_of_maps = matches!(self.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS);
        let what = if sized && self.key_sz == 0 {
            "key_size"
        } else if valued && self.value_sz == 0 {
            "value_size"
        } else if counted && self.max_entries == 0 {
            "max_entries"
        } else if is_of_maps && self.inner.is_none() {
            "inner map"
        } else {
            return self.inner.as_ref()?.fault();
        };
        Some(format!("`{}` ({}) has no {what}", self.name, self.map_type))
    }

    /// The elements to ask for, after what libbpf's `map_set_def_max_entries()` and `adjust_ringbuf_sz()` do: a perf
    /// event array of no size has one slot a CPU, a ring buffer is a power of two of whole pages.
    fn entries(&self, node: &Node) -> u32 {
        match self.map_type {
            MapType::PERF_EVENT_ARRAY if self.max_entries == 0 => node.possible_cpus as u32,
            MapType::RINGBUF | MapType::USER_RINGBUF if self.max_entries > 0 => {
                let pages = u64::from(self.max_entries).div_ceil(node.page_sz).next_power_of_two();
                // One that cannot be rounded up stays, and the kernel refuses it.
                u32::try_from(pages * node.page_sz).unwrap_or(self.max_entries)
            }
            _ => self.max_entries,
        }
    }

    /// Bytes that creating the map takes at once, roughly.
    fn upfront_byte_sz(&self, node: &Node) -> u128 {
        let entries = u128::from(self.entries(node));
        let aligned = |byte_sz: u32| u128::from(byte_sz).next_multiple_of(8);
        let (key, value) = (aligned(self.key_sz), aligned(self.value_sz));
        let cpus = u128::from(node.possible_cpus);
        match self.map_type {
            MapType::RINGBUF | MapType::USER_RINGBUF => entries,
            MapType::ARRAY | MapType::QUEUE | MapType::STACK => entries * value,
            MapType::PERCPU_ARRAY => entries * value * cpus,
            MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH if self.flags & F_NO_PREALLOC == 0 => {
                entries * (key + value * cpus + u128::from(ELEMENT_OVERHEAD))
            }
            MapType::HASH | MapType::LRU_HASH | MapType::STACK_TRACE if self.flags & F_NO_PREALLOC == 0 => {
                entries * (key + value + u128::from(ELEMENT_OVERHEAD))
            }
            // Elements come one by one (tries, storage, hashes without preallocation); a slot or bucket each until then.
            _ => entries * 8,
        }
    }

    /// Whether the type takes no BTF of key and value; libbpf leaves it out for the same ones.
    fn is_without_btf(&self) -> bool {
        matches!(
            self.map_type,
            MapType::PERF_EVENT_ARRAY
                | MapType::CGROUP_ARRAY
                | MapType::STACK_TRACE
                | MapType::ARRAY_OF_MAPS
                | MapType::HASH_OF_MAPS
                | MapType::DEVMAP
                | MapType::DEVMAP_HASH
                | MapType::CPUMAP
                | MapType::XSKMAP
                | MapType::SOCKMAP
                | MapType::SOCKHASH
                | MapType::QUEUE
                | MapType::STACK
                | MapType::ARENA
        )
    }

    fn create(&self, kernel: &mut Kernel, node: &Node, btf: Option<BorrowedFd<'_>>) -> Result<Map, Errno> {
        let inner = match &self.inner {
            Some(inner) => Some(inner.create(kernel, node, btf)?),
            None => None,
        };
        let mut create = MapCreate::new(self.map_type, self.key_sz, self.value_sz, self.entries(node));
        create.flags = self.flags;
        create.map_extra = self.map_extra;
        // As libbpf does, without BPF_F_NUMA_NODE of its own: the kernel reads it where the object sets the flag.
        create.numa_node = self.numa_node;
        create.name = &self.name;
        create.inner_map_fd = inner.as_ref().map(AsFd::as_fd);
        let typed = self.key_type_id != 0 || self.value_type_id != 0;
        let Some(btf) = btf.filter(|_| typed && !self.is_without_btf()) else {
            return kernel.map_create(&create);
        };
        create.btf_fd = Some(btf);
        create.btf_key_type_id = self.key_type_id;
        create.btf_value_type_id = self.value_type_id;
        match kernel.map_create(&create) {
            // Kernels differ in which types may carry BTF, and most maps do without.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => kernel.map_create(&MapCreate {
                btf_fd: None,
                btf_key_type_id: 0,
                btf_value_type_id: 0,
                ..create
            }),
            result => result,
        }
    }

    /// Puts the section's initial value into its only element, and closes a frozen one for good: the verifier then takes
    /// its contents for constants.
    fn fill(&self, kernel: &mut Kernel, map: &Map, blobs: &[Bytes]) -> Result<(), Errno> {
        let Some(data) = self.data else { return Ok(()) };
        let value = blobs.get(data).ok_or(Errno::INVAL)?;
        kernel.map_update_elem(map, &0u32.to_ne_bytes(), value, 0)?;
        match self.frozen.then(|| kernel.map_freeze(map)) {
            // Before v5.2 nothing can be frozen, and the verifier reads no constants out of maps.
            None | Some(Ok(()) | Err(Errno::INVAL)) => Ok(()),
            Some(Err(errno)) => Err(errno),
        }
    }
}

/// Creates all maps, in order. They live until they are dropped.
///
/// Maps that together want more than a quarter of the memory that is free are not tried: on a busy node even the attempt
/// would take it from others.
pub(super) fn create_all(
    specs: &[MapSpec],
    blobs: &[Bytes],
    btf: Option<BorrowedFd<'_>>,
    kernel: &mut Kernel,
    node: &Node,
) -> Result<Vec<Map>, LoadOutcome> {
    if let Some((spec, fault)) = specs.iter().find_map(|spec| Some((spec, spec.fault()?))) {
        let message =
            format!("map {fault}: no kernel creates it unless the object's own loader sets it before");
        return Err(LoadOutcome::unasked(Stage::Maps, Cause::Object, Some(&spec.name), message));
    }
    let wanted: u128 = specs.iter().map(|spec| spec.upfront_byte_sz(node)).sum();
    if let (Some(free), Some(largest)) =
        (node.available_byte_sz, specs.iter().max_by_key(|spec| spec.upfront_byte_sz(node)))
        && wanted > u128::from(free / 4)
    {
        let message = format!(
            "not tried: the maps take {} MiB at once, `{}` most of it, and this node has {} MiB of free memory, of which \
             a quarter may be taken for a trial",
            wanted >> 20,
            largest.name,
            free >> 20
        );
        return Err(LoadOutcome::unasked(Stage::Maps, Cause::Unknown, Some(&largest.name), message));
    }
    let mut maps = Vec::with_capacity(specs.len());
    for spec in specs {
        let map =
            spec.create(kernel, node, btf).map_err(|errno| refused(spec, "BPF_MAP_CREATE", errno, node))?;
        spec.fill(kernel, &map, blobs).map_err(|errno| refused(spec, "BPF_MAP_UPDATE_ELEM", errno, node))?;
        maps.push(map);
    }
    Ok(maps)
}

fn refused(spec: &MapSpec, command: &str, errno: Errno, node: &Node) -> LoadOutcome {
    let cause = cause_of_creation(errno, "", node);
    let why = match (cause, errno) {
        (Cause::Privilege, _) => node.lack(),
        (Cause::Policy, _) => {
            "every capability is held: a security module of this node refuses it".to_owned()
        }
        (Cause::Unknown, Errno::NOMEM) => {
            "the kernel has no memory for it now; this says nothing about the object".to_owned()
        }
        (Cause::Unknown, _) if node.is_filtered() => {
            "this may be the answer of this process' seccomp filter, which says nothing about the object"
                .to_owned()
        }
        (Cause::Unknown, _) => "this says nothing about the object".to_owned(),
        (_, Errno::TOOBIG) => "a size exceeds what the kernel allows for the type".to_owned(),
        _ => "this kernel does not know the type or a flag, or the definition is not valid for the type"
            .to_owned(),
    };
    let message = format!(
        "{command} of map `{}` ({}, key {} bytes, value {} bytes, {} entries, flags {:#x}) gave {}: {why}",
        spec.name,
        spec.map_type,
        spec.key_sz,
        spec.value_sz,
        spec.entries(node),
        spec.flags,
        errno_name(errno),
    );
    LoadOutcome {
        stage: Stage::Maps,
        cause,
        subject: Some(spec.name.clone()),
        errno: Some(errno_name(errno)),
        message,
        log: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_matrix::sys::{Answer, Question};
    use std::cell::RefCell;
    use std::rc::Rc;

    fn spec(map_type: MapType, max_entries: u32) -> MapSpec {
        MapSpec {
            name: "m".to_owned(),
            map_type,
            key_sz: 4,
            value_sz: 8,
            max_entries,
            flags: 0,
            map_extra: 0,
            numa_node: 0,
            key_type_id: 0,
            value_type_id: 0,
            inner: None,
            data: None,
            frozen: false,
            needs_btf: false,
        }
    }

    #[test]
    fn sizes_follow_the_node() {
        let mut node = Node::for_tests(true);
        let cases = [
            (MapType::PERF_EVENT_ARRAY, 0, 4096, 4),
            (MapType::PERF_EVENT_ARRAY, 2, 4096, 2),
            (MapType::RINGBUF, 4096, 4096, 4096),
            (MapType::RINGBUF, 1, 4096, 4096),
            (MapType::RINGBUF, 3 * 4096, 4096, 4 * 4096),
            (MapType::RINGBUF, 4096, 65536, 65536),
            (MapType::USER_RINGBUF, 5000, 4096, 8192),
            (MapType::RINGBUF, u32::MAX, 4096, u32::MAX),
            (MapType::HASH, 0, 4096, 0),
        ];
        for (map_type, max_entries, page_sz, expected) in cases {
            node.page_sz = page_sz;
            assert_eq!(
                spec(map_type, max_entries).entries(&node),
                expected,
                "{map_type} {max_entries} {page_sz}"
            );
        }
    }

    #[test]
    fn maps_that_would_eat_the_node_are_not_tried() {
        let mut kernel = Kernel::injected(Box::new(|_| Some(Answer::Accept)));
        let node = Node::for_tests(true);
        let huge = MapSpec { value_sz: u32::MAX, ..spec(MapType::ARRAY, u32::MAX) };
        let failure = create_all(&[spec(MapType::HASH, 1), huge], &[], None, &mut kernel, &node).unwrap_err();
        assert_eq!((failure.cause, failure.errno), (Cause::Unknown, None));
        assert_eq!(kernel.stats().calls, 0);
    }

    #[test]
    fn a_map_whose_btf_is_refused_is_tried_without() {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&asked);
        let mut kernel = Kernel::injected(Box::new(move |question| {
            let Question::MapCreate(create) = question else {
                return None;
            };
            seen.borrow_mut().push(create.btf_value_type_id);
            Some(if create.btf_value_type_id == 0 {
                Answer::Accept
            } else {
                Answer::Refuse(Errno::OPNOTSUPP, String::new())
            })
        }));
        let null = std::fs::File::open("/dev/null").unwrap();
        let typed = MapSpec { value_type_id: 7, ..spec(MapType::HASH, 1) };
        let untyped = MapSpec { value_type_id: 7, ..spec(MapType::PERF_EVENT_ARRAY, 1) };
        let node = Node::for_tests(true);
        create_all(&[typed, untyped], &[], Some(null.as_fd()), &mut kernel, &node).unwrap();
        assert_eq!(*asked.borrow(), [7, 0, 0]);
    }

    #[test]
    fn a_refused_map_is_explained() {
        let mut limited = Node::for_tests(true);
        limited.memlock_limited = true;
        let cases = [
            (Errno::PERM, Node::for_tests(true), Cause::Policy, "security module"),
            (Errno::PERM, limited, Cause::Privilege, "RLIMIT_MEMLOCK"),
            (Errno::PERM, Node::for_tests(false), Cause::Privilege, "CAP_BPF"),
            (Errno::NOMEM, Node::for_tests(true), Cause::Unknown, "no memory"),
            (Errno::TOOBIG, Node::for_tests(true), Cause::Unsupported, "exceeds"),
            (Errno::INVAL, Node::for_tests(true), Cause::Unsupported, "or the definition is not valid"),
            (Errno::INVAL, Node::filtered_for_tests(), Cause::Unknown, "seccomp"),
        ];
        for (errno, node, cause, words) in cases {
            let mut kernel = Kernel::injected(Box::new(move |_| Some(Answer::Refuse(errno, String::new()))));
            let failure = create_all(&[spec(MapType::HASH, 1)], &[], None, &mut kernel, &node).unwrap_err();
            assert_eq!(failure.cause, cause, "{failure:?}");
            assert!(failure.message.contains(words), "{failure:?}");
        }
    }

    #[test]
    fn an_incomplete_definition_is_the_objects_fault() {
        let of_maps = |inner| MapSpec { inner, ..spec(MapType::ARRAY_OF_MAPS, 1) };
        let cases = [
            (spec(MapType::HASH, 0), "max_entries"),
            (spec(MapType::RINGBUF, 0), "max_entries"),
            (MapSpec { key_sz: 0, ..spec(MapType::HASH, 1) }, "key_size"),
            (MapSpec { value_sz: 0, ..spec(MapType::QUEUE, 1) }, "value_size"),
            (of_maps(None), "inner map"),
            (of_maps(Some(Box::new(spec(MapType::HASH, 0)))), "max_entries"),
        ];
        let mut kernel = Kernel::injected(Box::new(|_| Some(Answer::Accept)));
        let node = Node::for_tests(true);
        for (spec, words) in cases {
            let failure = create_all(&[spec], &[], None, &mut kernel, &node).unwrap_err();
            assert_eq!(failure.cause, Cause::Object, "{failure:?}");
            assert!(failure.message.contains(words), "{failure:?}");
        }
        assert_eq!(kernel.stats().calls, 0);
        let complete = [
            spec(MapType::PERF_EVENT_ARRAY, 0),
            spec(MapType::SK_STORAGE, 0),
            MapSpec { key_sz: 0, value_sz: 0, ..spec(MapType::RINGBUF, 4096) },
            MapSpec { key_sz: 0, ..spec(MapType::STACK, 1) },
        ];
        create_all(&complete, &[], None, &mut kernel, &node).unwrap();
    }

    #[test]
    fn the_numa_node_is_asked_for() {
        let mut kernel = Kernel::injected(Box::new(|question| match question {
            Question::MapCreate(create) if create.numa_node == 7 && create.flags == 4 => Some(Answer::Accept),
            _ => None,
        }));
        let placed = MapSpec { numa_node: 7, flags: 4, ..spec(MapType::HASH, 1) };
        create_all(&[placed], &[], None, &mut kernel, &Node::for_tests(true)).unwrap();
    }
}
