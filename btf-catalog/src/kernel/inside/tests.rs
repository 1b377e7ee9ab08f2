//! A kernel of one page, laid out here: BTF of the structs that its tables have, the tables, and their symbols.

use super::*;
use crate::kernel::{Segment, Symbols};

const BASE: u64 = 0xffff_ffff_8100_0000;

/// A struct's name, its size, and its members with their offsets.
type Struct<'a> = (&'a str, u32, &'a [(&'a str, u32)]);

/// BTF of these structs; what a member's type is does not matter here.
fn btf_of(structs: &[Struct<'_>]) -> Btf {
    let mut strings = vec![0];
    let mut string = |text: &str| {
        let off = strings.len() as u32;
        strings.extend(text.as_bytes());
        strings.push(0);
        off
    };
    let mut types: Vec<u32> = vec![string("int"), 1 << 24, 4, 32];
    for (name, size, members) in structs {
        types.extend([string(name), (BtfKind::Struct as u32) << 24 | members.len() as u32, *size]);
        for (member, off) in *members {
            types.extend([string(member), 1, off * 8]);
        }
    }
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut data = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
        data.extend(word.to_le_bytes());
    }
    data.extend(types);
    data.extend(strings);
    Btf::parse(data).unwrap()
}

fn kernel_btf() -> Btf {
    btf_of(&[
        ("trace_event_call", 40, &[("class", 16), ("name", 24), ("data", 32)]),
        ("trace_event_class", 24, &[("system", 0), ("fields_array", 16)]),
        ("trace_event_fields", 24, &[("type", 0), ("name", 8), ("size", 16), ("align", 20)]),
        ("tracepoint", 8, &[("name", 0)]),
        ("syscall_metadata", 16, &[("name", 0), ("nb_args", 12)]),
        ("bpf_raw_event_map", 32, &[("tp", 0), ("bpf_func", 8), ("num_args", 16), ("writable_size", 20)]),
    ])
}

/// An image that is filled from its start.
#[derive(Default)]
struct Writer {
    data: Vec<u8>,
    symbols: Vec<(u64, u8, &'static str)>,
}

impl Writer {
    fn here(&mut self) -> u64 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        BASE + self.data.len() as u64
    }

    fn symbol(&mut self, kind: u8, name: &'static str) -> u64 {
        let here = self.here();
        self.symbols.push((here, kind, name));
        here
    }

    fn words(&mut self, words: &[u64]) -> u64 {
        let here = self.here();
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        here
    }

    fn halves(&mut self, words: &[u32]) -> u64 {
        let here = self.here();
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        here
    }

    fn text(&mut self, text: &str) -> u64 {
        let here = self.here();
        self.data.extend(text.as_bytes());
        self.data.push(0);
        here
    }

    fn function(&mut self, name: &'static str) -> u64 {
        let here = self.symbol(b't', name);
        self.data.extend([0x90; 16]);
        here
    }

    fn table(&mut self, start: &'static str, words: &[u64], stop: &'static str) {
        self.symbol(b'D', start);
        self.words(words);
        self.symbol(b'D', stop);
    }

    fn image(self) -> Image {
        Image {
            segments: vec![Segment { address: BASE, data: self.data.into() }],
            big_endian: false,
            symbols: Symbols::from_unsorted(self.symbols.into_iter()),
        }
    }
}

#[test]
fn functions_are_traceable_where_they_are_patched() {
    let mut w = Writer::default();
    let plain = w.function("plain");
    let branch_target = w.function("with_endbr");
    w.function("notrace");
    w.symbol(b'T', "_sinittext");
    let init = w.function("init");
    w.symbol(b'T', "_einittext");
    w.table("__start_mcount_loc", &[plain, branch_target + 4, 0, init], "__stop_mcount_loc");
    let image = w.image();
    let inside = Inside::read(&image, &kernel_btf());
    assert_eq!(inside.is_traceable(&image, "plain"), Some(true));
    assert_eq!(inside.is_traceable(&image, "with_endbr"), Some(true));
    assert_eq!(inside.is_traceable(&image, "notrace"), Some(false));
    assert_eq!(inside.is_traceable(&image, "init"), Some(false));
}

#[test]
fn a_table_that_points_nowhere_is_not_believed() {
    let mut w = Writer::default();
    w.function("plain");
    w.table("__start_mcount_loc", &[1, 2, 3], "__stop_mcount_loc");
    w.table("__start_ftrace_events", &[BASE + 0x1000_0000], "__stop_ftrace_events");
    let image = w.image();
    let inside = Inside::read(&image, &kernel_btf());
    assert_eq!(inside.is_traceable(&image, "plain"), None);
    assert_eq!(inside.trace_events, None);
    assert_eq!(inside.is_blacklisted(BASE), None);
    // One note for each table: nothing is left out in silence.
    assert_eq!(inside.notes.len(), 6, "{:?}", inside.notes);
}

#[test]
fn kprobes_are_kept_out_of_functions_and_sections() {
    let mut w = Writer::default();
    let listed = w.function("listed");
    let free = w.function("free");
    w.symbol(b'T', "__noinstr_text_start");
    let noinstr = w.function("noinstr");
    w.symbol(b'T', "__noinstr_text_end");
    w.table("__start_kprobe_blacklist", &[listed], "__stop_kprobe_blacklist");
    let inside = Inside::read(&w.image(), &kernel_btf());
    let blacklisted = [listed, listed + 15, free, noinstr + 4].map(|at| inside.is_blacklisted(at).unwrap());
    assert_eq!(blacklisted, [true, true, false, true]);
}

#[test]
fn events_have_a_group_a_name_and_a_size() {
    let mut w = Writer::default();
    let (group, name, ty) = (w.text("sched"), w.text("sched_switch"), w.text("char[16]"));
    let tracepoint = w.words(&[name]);
    // 16 bytes at 8, a byte at 24, 8 at 32; then the end.
    let fields = w.words(&[ty, 0, 1 << 32 | 16, ty, 0, 1 << 32 | 1, ty, 0, 8 << 32 | 8, 0, 0, 0]);
    let class = w.words(&[group, 0, fields]);
    let event = w.words(&[0, 0, class, tracepoint, 0]);
    let openat = w.function("__x64_sys_openat");
    w.table("sys_call_table", &[openat], "after");
    let (syscalls, enter) = (w.text("syscalls"), w.text("sys_enter_openat"));
    let by_function = w.words(&[u64::MAX, 0, 0]);
    let enter_class = w.words(&[syscalls, 0, by_function]);
    let metadata = w.words(&[0, 4 << 32]);
    let syscall = w.words(&[0, 0, enter_class, enter, metadata]);
    let not_in_the_table = w.text("sys_enter_chown16");
    let chown16 = w.words(&[0, 0, enter_class, not_in_the_table, metadata]);
    w.table("__start_ftrace_events", &[syscall, chown16, event], "__stop_ftrace_events");
    let inside = Inside::read(&w.image(), &kernel_btf());
    let event =
        |group: &str, name: &str, record_sz| TraceEvent { group: group.into(), name: name.into(), record_sz };
    assert_eq!(
        inside.trace_events.unwrap(),
        [event("sched", "sched_switch", Some(40)), event("syscalls", "sys_enter_openat", Some(48))]
    );
}

#[test]
fn raw_tracepoints_have_arguments() {
    let mut w = Writer::default();
    let name = w.text("bpf_test_finish");
    let tracepoint = w.words(&[name]);
    w.table("__start__bpf_raw_tp", &[tracepoint, 0, 4 << 32 | 1, 0], "__stop__bpf_raw_tp");
    let inside = Inside::read(&w.image(), &kernel_btf());
    let point = RawTracepoint { name: "bpf_test_finish".into(), num_args: 1, writable_sz: 4 };
    assert_eq!(inside.raw_tracepoints.unwrap(), [point]);
}

#[test]
fn sets_of_ids_with_and_without_flags() {
    let mut w = Writer::default();
    w.symbol(b'r', "__BTF_ID__set__bpf_lsm_disabled_hooks");
    w.halves(&[2, 3, 5]);
    w.symbol(b'r', "__BTF_ID__set8__tracing_kfuncs");
    w.halves(&[1, 1, 4, 32]);
    let inside = Inside::read(&w.image(), &kernel_btf());
    let disabled = inside.id_set("bpf_lsm_disabled_hooks").unwrap();
    assert_eq!((&disabled.ids[..], disabled.flagged), (&[(TypeId(3), 0), (TypeId(5), 0)][..], false));
    let kfuncs = inside.id_set("tracing_kfuncs").unwrap();
    assert_eq!((&kfuncs.ids[..], kfuncs.flagged, kfuncs.flags), (&[(TypeId(4), 32)][..], true, 1));
    assert_eq!(inside.id_set("other"), None);
}
