//! The tables inside of an image: whatever the symbols, the structs and the pointers say, reading them ends.
//!
//! The input: two bytes of length and the kernel's BTF; a byte that says where the image lies and in which order its bytes
//! are; a byte that counts symbols, each a byte for its name and two for its place; the rest is the image.
#![no_main]

use btf_catalog::Btf;
use btf_catalog::kernel::{Image, Inside, Segment, Symbols};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 24] = [
    "__start_mcount_loc",
    "__stop_mcount_loc",
    "_sinittext",
    "_einittext",
    "__start_kprobe_blacklist",
    "__stop_kprobe_blacklist",
    "__noinstr_text_start",
    "__noinstr_text_end",
    "__idmap_text_start",
    "__idmap_text_end",
    "__start_error_injection_whitelist",
    "__stop_error_injection_whitelist",
    "__start__bpf_raw_tp",
    "__stop__bpf_raw_tp",
    "__start_ftrace_events",
    "__stop_ftrace_events",
    "sys_call_table",
    "__x64_sys_openat",
    "__BTF_ID__set__bpf_lsm_disabled_hooks",
    "__BTF_ID__set8__tracing_kfuncs",
    "__BTF_ID__set8__",
    "function",
    "other",
    "_text",
];

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (btf, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    let Ok(btf) = Btf::parse(btf.to_vec()) else { return };
    let Some(([place, count], rest)) = rest.split_first_chunk::<2>() else { return };
    let address = [0x1000, 0xffff_ffff_8100_0000, u64::MAX - 0x800, 0][usize::from(place & 3)];
    let (symbols, image) = rest.split_at(rest.len().min(usize::from(*count) * 3));
    let (symbols, _) = symbols.as_chunks::<3>();
    let symbols = symbols.iter().map(|[name, low, high]| {
        let off = u64::from(u16::from_le_bytes([*low, *high]));
        (address.wrapping_add(off), b't', NAMES[usize::from(*name) % NAMES.len()])
    });
    let image = Image {
        segments: vec![Segment { address, data: image.to_vec().into() }],
        big_endian: place & 4 != 0,
        symbols: Symbols::from_unsorted(symbols),
    };
    let inside = Inside::read(&image, &btf);
    for symbol in image.symbols.iter() {
        let _ = (inside.is_traceable(&image, symbol.name), inside.is_blacklisted(symbol.address));
        let _ = inside.id_set(symbol.name.trim_start_matches("__BTF_ID__set8__"));
    }
    if let Some(traceable) = &inside.traceable {
        assert!(traceable.is_sorted(), "traceable functions in disorder");
    }
});
