//! Whether the kernel makes the maps that an object defines, as libbpf asks for them: `data/map_create.tsv`.

use super::asked::Asked;
use super::{told, undecided};
use crate::assess::{MAP_FLAGS, against};
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::object::MapDef;
use btf_catalog::{BpfObject, Btf, BtfKind, MapType};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Map flags of include/uapi/linux/bpf.h.
const NO_COMMON_LRU: u32 = 1 << 1;
const NUMA_NODE: u32 = 1 << 2;
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
const STACK_BUILD_ID: u32 = 1 << 5;
const RDONLY_PROG: u32 = 1 << 7;
const WRONLY_PROG: u32 = 1 << 8;
/// Flags that exclude each other: `bpf_get_file_flag()`, `bpf_map_flags_access_ok()`, `htab_map_alloc_check()`.
const EITHER: [u32; 3] = [RDONLY | WRONLY, RDONLY_PROG | WRONLY_PROG, NO_COMMON_LRU | NUMA_NODE];
/// `KMALLOC_MAX_SIZE` where pages have 4 KiB: what elements that are allocated one by one may have.
const KMALLOC_MAX: u64 = 4 << 20;
/// Types whose elements are, keys and values in one.
const ALLOCATED: [MapType; 5] =
    [MapType::HASH, MapType::LRU_HASH, MapType::LPM_TRIE, MapType::QUEUE, MapType::STACK];
/// `MAX_BPF_STACK`, which bounded the keys of hash maps before v5.11.
const MAX_STACK: u32 = 512;
const HASHES: [MapType; 5] =
    [MapType::HASH, MapType::PERCPU_HASH, MapType::LRU_HASH, MapType::LRU_PERCPU_HASH, MapType::HASH_OF_MAPS];
/// Came with v5.11 as well.
const LONG_KEYS: &str = "~enum:BPF_MAP_TYPE_TASK_STORAGE";
/// Came after arrays were given values larger than what is allocated in one piece: v6.1 has both, v5.10 neither.
const LARGE_VALUES: &str = "~enum:BPF_FUNC_user_ringbuf_drain";
/// Pages of 64 KiB.
const LARGE_PAGES: &str =
    "config:CONFIG_ARM64_64K_PAGES|config:CONFIG_PPC_64K_PAGES|config:CONFIG_PAGE_SIZE_64KB";
/// Frames of a stack trace where nobody sets `kernel.perf_event_max_stack`; `sizeof(struct bpf_stack_build_id)`.
const MAX_FRAMES: u32 = 127;
const BUILD_ID_SZ: u32 = 32;

struct Row {
    flags: u32,
    must: u32,
    key: Sizes,
    value: Sizes,
    entries: Sizes,
    extra: Sizes,
    typed: bool,
    inner: bool,
}

/// Numbers that are allowed: alternatives.
struct Sizes(Vec<Range>);

struct Range {
    from: u64,
    to: Bound,
    multiple_of: u64,
}

enum Bound {
    Number(u64),
    /// `CONFIG_NR_CPUS`.
    Processors,
    /// `PCPU_MIN_UNIT_SIZE` (include/linux/percpu.h): 32 KiB, or one page where pages have 64 KiB.
    PerCpu,
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<HashMap<MapType, Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/map_create.tsv").lines();
    rows.filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [name, flags, must, key, value, entries, extra, btf, inner] = columns[..] else {
                panic!("map_create.tsv: {line}")
            };
            let row = Row {
                flags: bits(flags),
                must: bits(must),
                key: Sizes::read(key),
                value: Sizes::read(value),
                entries: Sizes::read(entries),
                extra: Sizes::read(extra),
                typed: btf == "i32",
                inner: inner == "inner",
            };
            (MapType::from_name(name).expect("map_create.tsv names map types"), row)
        })
        .collect()
});

fn bits(names: &str) -> u32 {
    let bit = |name: &str| {
        let known = MAP_FLAGS.iter().find(|(_, known)| *known == name);
        let access = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG;
        if name == "access" { access } else { known.expect("map_create.tsv names flags").0 }
    };
    names.split(',').filter(|name| *name != "-").fold(0, |bits, name| bits | bit(name))
}

impl Sizes {
    fn read(text: &str) -> Sizes {
        let number = |text: &str| text.parse().expect("map_create.tsv has numbers");
        let range = |text: &str| {
            let (text, multiple_of) =
                text.split_once('x').map_or((text, 1), |(text, step)| (text, number(step)));
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let to = match to {
                "" => Bound::Number(u64::MAX),
                "cpus" => Bound::Processors,
                "percpu" => Bound::PerCpu,
                to => Bound::Number(number(to)),
            };
            Range { from: number(from), to, multiple_of }
        };
        Sizes(text.split('|').map(range).collect())
    }

    /// Whether the number is allowed; `None` where the configuration decides and is not known.
    fn allow(&self, number: u64, kernel: &Asked) -> Option<bool> {
        let one = |range: &Range| {
            if number < range.from || !number.is_multiple_of(range.multiple_of) {
                return Some(false);
            }
            match range.to {
                Bound::Number(to) => Some(number <= to),
                Bound::Processors => kernel.number_option("CONFIG_NR_CPUS").map(|to| number <= to),
                Bound::PerCpu if number <= 32 << 10 => Some(true),
                Bound::PerCpu if number > 64 << 10 => Some(false),
                Bound::PerCpu => match kernel.shown(LARGE_PAGES).support {
                    Support::Yes => Some(true),
                    Support::No => Some(false),
                    _ => None,
                },
            }
        };
        let answers: Vec<_> = self.0.iter().map(one).collect();
        if answers.contains(&Some(true)) {
            Some(true)
        } else {
            answers.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
        }
    }
}

/// What the kernel refuses of an object's maps, which are all made before any of its programs is loaded.
pub(super) fn maps(object: &BpfObject, kernel: &Asked) -> Vec<Check> {
    let mut checks = Vec::new();
    let btf = object.btf.as_ref();
    for map in &object.maps {
        let mut of = Making { btf, kernel, map, checks: Vec::new() };
        of.look();
        checks.append(&mut of.checks);
        let Some(inner) = map.inner.as_deref() else { continue };
        let mut of = Making { btf, kernel, map: inner, checks: Vec::new() };
        of.look();
        if TABLE.get(&inner.map_type).is_some_and(|row| !row.inner) {
            of.refuse("PTL0224", &format!("{} maps may not stand in maps of maps", inner.map_type));
        }
        checks.append(&mut of.checks);
    }
    checks
}

/// One map and what was found of it.
struct Making<'a> {
    btf: Option<&'a Btf>,
    kernel: &'a Asked<'a, 'a>,
    map: &'a MapDef,
    checks: Vec<Check>,
}

impl Making<'_> {
    fn look(&mut self) {
        let Some(row) = TABLE.get(&self.map.map_type) else { return };
        self.flags(row);
        self.sizes(row);
        if row.typed && !self.is_typed() {
            self.refuse("PTL0224", "its key must have a type, a 32-bit integer, and its value one");
        }
    }

    fn flags(&mut self, row: &Row) {
        let flags = self.map.flags;
        let of_type = self.map.map_type;
        let named =
            |bits: u32| MAP_FLAGS.into_iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| name);
        for flag in named(flags & !row.flags) {
            self.refuse("PTL0206", &format!("maps of type {of_type} do not take the flag {flag}"));
        }
        for flag in named(row.must & !flags) {
            self.refuse("PTL0206", &format!("maps of type {of_type} must have the flag {flag}"));
        }
        for both in EITHER.into_iter().filter(|both| flags & both == *both) {
            let names: Vec<_> = named(both).collect();
            self.refuse("PTL0206", &format!("the flags {} exclude each other", names.join(" and ")));
        }
        // NUMA_NO_NODE is as good as none.
        if flags & NUMA_NODE != 0 && self.map.numa_node.is_some_and(|node| node != 0 && node != u32::MAX) {
            self.leave_open("the node must have the NUMA node that it wants its memory from");
        }
    }

    fn sizes(&mut self, row: &Row) {
        let map = self.map;
        let (key, value) = (u64::from(map.key_size), u64::from(map.value_size));
        self.size("bytes a key", key, &row.key);
        if value == 0 && row.value.allow(0, self.kernel) == Some(false) {
            self.leave_open("the size of its values is left to its loader");
        } else {
            self.size("bytes a value", value, &row.value);
        }
        // libbpf makes one entry for each processor.
        let by_libbpf = map.map_type == MapType::PERF_EVENT_ARRAY;
        match row.entries.allow(0, self.kernel) {
            Some(false) if map.max_entries == 0 => {
                if !by_libbpf {
                    self.assume("its largest number of entries is left to its loader");
                }
            }
            _ => self.size("entries", u64::from(map.max_entries), &row.entries),
        }
        self.size("as map_extra", map.map_extra, &row.extra);
        if HASHES.contains(&map.map_type) && map.key_size > MAX_STACK {
            self.once_refused(LONG_KEYS, "hash maps had keys of at most 512 bytes");
        }
        if map.map_type == MapType::ARRAY && value > KMALLOC_MAX {
            self.once_refused(LARGE_VALUES, "arrays had values of at most 4 MiB, where pages have 4 KiB");
        }
        if ALLOCATED.contains(&map.map_type) && key + value > KMALLOC_MAX - u64::from(MAX_STACK) {
            self.leave_open(
                "its elements are larger than what a kernel with pages of 4 KiB allocates in one piece",
            );
        }
        if map.map_type == MapType::STACK_TRACE {
            self.stack_trace();
        }
    }

    /// What kernels refused before they had what `shown` is a sign of.
    fn once_refused(&mut self, shown: &'static str, why: &str) {
        let fact = self.kernel.shown(shown);
        if fact.support != Support::Yes {
            let fact = fact.reason(why);
            self.checks.push(against(Stage::Load, "PTL0224", self.name(), "btf.vmlinux", Some(&fact), false));
        }
    }

    fn stack_trace(&mut self) {
        let by_id = self.map.flags & STACK_BUILD_ID != 0;
        let frame = if by_id { BUILD_ID_SZ } else { 8 };
        if by_id && !self.map.value_size.is_multiple_of(BUILD_ID_SZ) {
            self.refuse("PTL0224", &format!("frames by build ID have {BUILD_ID_SZ} bytes each"));
        }
        if self.map.value_size / frame > MAX_FRAMES {
            self.leave_open(
                "it holds more frames than kernel.perf_event_max_stack is where nobody sets it, 127",
            );
        }
    }

    fn size(&mut self, what: &str, number: u64, allowed: &Sizes) {
        match allowed.allow(number, self.kernel) {
            Some(true) => {}
            Some(false) => {
                let of_type = self.map.map_type;
                self.refuse("PTL0224", &format!("maps of type {of_type} do not have {number} {what}"));
            }
            None => {
                let why = format!("the kernel's configuration tells whether it may have {number} {what}");
                self.leave_open(&why);
            }
        }
    }

    fn is_typed(&self) -> bool {
        let Some(btf) = self.btf else { return false };
        let i32 = |id| {
            let ty = btf.resolve(id);
            ty.kind() == BtfKind::Int && ty.size() == 4
        };
        self.map.key_type.is_some_and(i32) && self.map.value_type.is_some()
    }

    fn name(&self) -> String {
        format!("map {}", self.map.name)
    }

    fn refuse(&mut self, code: &str, why: &str) {
        self.checks.push(told(Stage::Load, code, self.name(), "object", Support::No, why));
    }

    fn leave_open(&mut self, why: &str) {
        self.checks.push(undecided("PTL0224", self.name(), "object", why));
    }

    /// What its own loader is sure to do, or nobody would use the object.
    fn assume(&mut self, why: &str) {
        let fact = Fact::new(Support::Yes, Evidence::Assumed, "the object's loader").reason(why);
        let check = against(Stage::Load, "PTL0104", self.name(), "object", Some(&fact), false);
        self.checks.push(Check { outcome: Outcome::Pass, ..check });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::Offline;
    use crate::predict::asked::KernelFiles;
    use btf_catalog::kernel::Kernel;
    use std::sync::Mutex;

    const NO_PREALLOC: u32 = 1;

    fn outcomes(map: &MapDef) -> Vec<Outcome> {
        let kernel = Kernel::default();
        let files = Offline::new(&kernel);
        let (files, book) =
            (KernelFiles { files: &files, types: None, loaded_modules: None }, Mutex::default());
        let kernel = Asked::new(files, &book);
        let mut of = Making { btf: None, kernel: &kernel, map, checks: Vec::new() };
        of.look();
        of.checks.into_iter().map(|check| check.outcome).collect()
    }

    fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> MapDef {
        let mut map = MapDef::default();
        (map.map_type, map.flags) = (map_type, flags);
        (map.key_size, map.value_size, map.max_entries) = (key_size, value_size, max_entries);
        map
    }

    #[test]
    fn maps_that_are_made_everywhere() {
        for map in [
            map(MapType::HASH, 4, 8, 8, NO_PREALLOC),
            map(MapType::ARRAY, 4, 8, 1, RDONLY_PROG | 1 << 10),
            map(MapType::PERF_EVENT_ARRAY, 4, 4, 0, 0),
            map(MapType::STACK_TRACE, 4, 1016, 16, 0),
            map(MapType::LPM_TRIE, 8, 8, 8, NO_PREALLOC),
            // libbpf makes 8192 of it.
            map(MapType::RINGBUF, 0, 0, 5000, 0),
            map(MapType::CGROUP_STORAGE, 16, 8, 0, 0),
            map(MapType::REUSEPORT_SOCKARRAY, 4, 8, 8, 0),
        ] {
            assert_eq!(outcomes(&map), [], "{map:?}");
        }
    }

    #[test]
    fn maps_that_are_made_nowhere() {
        for map in [
            map(MapType::ARRAY, 8, 8, 8, 0),
            map(MapType::ARRAY, 4, 8, 8, NO_PREALLOC),
            map(MapType::ARRAY, 4, 8, 8, RDONLY_PROG | WRONLY_PROG),
            map(MapType::HASH, 0, 8, 8, 0),
            map(MapType::HASH, 4, 8, 8, 1 << 10),
            map(MapType::HASH, 4, 8, 8, NO_COMMON_LRU),
            map(MapType::LRU_HASH, 4, 8, 8, NO_PREALLOC),
            map(MapType::PERCPU_ARRAY, 4, 70_000, 8, 0),
            map(MapType::PERF_EVENT_ARRAY, 4, 8, 8, 0),
            map(MapType::LPM_TRIE, 8, 8, 8, 0),
            map(MapType::QUEUE, 4, 8, 8, 0),
            map(MapType::RINGBUF, 4, 0, 4096, 0),
            map(MapType::CGROUP_STORAGE, 16, 8, 5, 0),
            map(MapType::STACK_TRACE, 4, 12, 16, 0),
            map(MapType::TASK_STORAGE, 4, 8, 0, NO_PREALLOC),
            map(MapType::HASH, 4, 8, (1 << 27) + 1, NO_PREALLOC),
        ] {
            assert_eq!(outcomes(&map), [Outcome::Fail], "{map:?}");
        }
    }

    #[test]
    fn what_the_files_or_the_object_leave_open() {
        assert_eq!(outcomes(&map(MapType::HASH, 600, 8, 8, 0)), [Outcome::Undecided], "before v5.11 not");
        assert_eq!(outcomes(&map(MapType::ARRAY, 4, 8 << 20, 1, 0)), [Outcome::Undecided], "not in v5.10");
        assert_eq!(outcomes(&map(MapType::HASH, 4, 0, 8, 0)), [Outcome::Undecided], "set by its loader");
        assert_eq!(outcomes(&map(MapType::HASH, 4, 8, 0, 0)), [Outcome::Pass], "set by its loader");
        assert_eq!(outcomes(&map(MapType::CPUMAP, 4, 8, 64, 0)), [Outcome::Undecided], "CONFIG_NR_CPUS");
        assert_eq!(outcomes(&map(MapType::PERCPU_ARRAY, 4, 40_000, 8, 0)), [Outcome::Undecided], "pages");
        assert_eq!(outcomes(&map(MapType::STACK_TRACE, 4, 2048, 16, 0)), [Outcome::Undecided], "a sysctl");
    }
}
