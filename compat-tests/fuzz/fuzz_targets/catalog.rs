//! Catalog manifests: whatever text, an answer and no panic.
#![no_main]

use ebpf::Catalog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Catalog::parse_manifest(text);
});
