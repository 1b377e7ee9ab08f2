//! ELF objects: whatever is accepted is linked consistently, and can be relocated and judged.
#![no_main]

use btf_catalog::core::{Relocator, TargetBtf};
use btf_catalog::{BpfObject, Btf, require};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = BpfObject::parse(data.to_vec()) else { return };
    for entry in &object.entries {
        for reference in &entry.map_refs {
            assert!(
                reference.insn_off < entry.insns.len(),
                "{}: map reference out of the program",
                entry.name
            );
            assert!(reference.map < object.maps.len(), "{}: reference to no map", entry.name);
        }
        for reference in &entry.extern_refs {
            assert!(
                reference.insn_off < entry.insns.len(),
                "{}: extern reference out of the program",
                entry.name
            );
            assert!(reference.ext < object.externs.len(), "{}: reference to no extern", entry.name);
        }
        assert!(
            entry.functions.is_sorted_by_key(|function| function.insn_off),
            "{}: functions in disorder",
            entry.name
        );
    }
    let _ = require::derive(&object);

    // The object's own types stand in for the kernel's: every local type finds a candidate, hostile ones among them.
    let Some(btf) = &object.btf else { return };
    let own = Btf::parse(btf.bytes().clone()).expect("was parsed before");
    let target = TargetBtf::new(Arc::new(own));
    let mut relocator = Relocator::new(&object, &target);
    for entry in &object.entries {
        if let Ok(relocated) = relocator.relocate(entry) {
            assert_eq!(
                relocated.insns.len(),
                entry.insns.len(),
                "{}: relocation moves instructions",
                entry.name
            );
        }
    }
});
