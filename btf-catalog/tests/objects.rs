//! Objects as compilers write them, read.

use btf_catalog::core::{KernelSide, Relocator, TargetBtf};
use btf_catalog::insn::{Insn, JUMP_BY_REGISTER, PSEUDO_MAP_VALUE};
use btf_catalog::kernel::KernelConfig;
use btf_catalog::reach::{Constants, Walk, reach};
use btf_catalog::scan::loaders::Loader;
use btf_catalog::write::{self, WriteError};
use btf_catalog::{BpfObject, Btf, MapType};
use bytes::Bytes;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

fn case(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)).expect(name)
}

/// The features that this loader has not.
fn gaps(loader: &str, object: &BpfObject) -> Vec<String> {
    let loader: Loader = loader.parse().expect("is in the table");
    loader.gaps(object).into_iter().map(|gap| gap.feature).collect()
}

#[test]
fn maps_without_types_are_read_in_either_byte_order() {
    for name in ["untyped_maps.bpfel.o", "untyped_maps.bpfeb.o"] {
        let object = BpfObject::parse(case(name)).expect(name);
        let map = |name: &str| object.maps.iter().find(|map| map.name == name).expect("a map of that name");
        let numbers = |name: &str| {
            let map = map(name);
            (map.map_type, map.key_size, map.value_size, map.max_entries, map.flags)
        };
        assert_eq!(object.maps.len(), 4, "{name}");
        assert!(object.maps.iter().all(|map| map.untyped), "{name}");
        assert_eq!(numbers("first"), (MapType::HASH, 4, 8, 16, 1));
        assert_eq!(numbers("second"), (MapType::ARRAY, 4, 64, 2, 0));
        assert_eq!(numbers("third"), (MapType::PERCPU_HASH, 4, 8, 1, 0));
        assert_eq!(numbers("fourth"), (MapType::ARRAY, 4, 4, 1, 0));
        let used = |entry: usize| -> Vec<&str> {
            let references = object.entries[entry].map_refs.iter();
            references.map(|reference| object.maps[reference.map].name.as_str()).collect()
        };
        assert_eq!((used(0), used(1)), (vec!["first", "second"], vec!["third", "fourth"]), "{name}");
        assert_eq!(object.left_to_loader, ["what section maps/third says of its maps behind their flags"]);
        assert_eq!(gaps("libbpf", &object), ["map:untyped"]);
        assert!(gaps("aya", &object).is_empty() && gaps("cilium-ebpf", &object).is_empty());
    }
}

/// An object of this byte order written for the newer kernel of the same, and its bytes.
fn written(order: &str) -> (BpfObject, BpfObject, TargetBtf) {
    let kernel =
        BpfObject::parse(case(&format!("types_new.{order}.o"))).expect("an object").btf.expect("types");
    let types = TargetBtf::new(Arc::new(Btf::parse(kernel.bytes().clone()).expect("types")));
    let bytes = Bytes::from(case(&format!("guards.{order}.o")));
    let object = BpfObject::parse(bytes.clone()).expect("an object");
    let options = [("CONFIG_HZ", "250"), ("CONFIG_NET", "y")];
    let options = options.map(|(option, value)| (option.to_owned(), value.to_owned()));
    let config = KernelConfig { options: options.into(), source: "a test".to_owned() };
    let side = KernelSide {
        types: &types,
        modules_whole: true,
        config: Some(&config),
        version: Some(0x06_0c_00),
        symbols: None,
    };
    let relocated = write::relocated(&bytes, &object, &side).expect("written");
    let again = BpfObject::parse(relocated.bytes).expect("a written object that can be read");
    (object, again, types)
}

fn write_for(object: &BpfObject, types: &TargetBtf) -> Result<write::RelocatedObject, WriteError> {
    let side = KernelSide { types, modules_whole: true, config: None, version: None, symbols: None };
    write::relocated(&Bytes::from(case("guards.bpfeb.o")), object, &side)
}

#[test]
fn an_object_of_the_other_byte_order_is_relocated_and_written_alike() {
    let (little, little_written, little_types) = written("bpfel");
    let (big, big_written, big_types) = written("bpfeb");
    assert!(big.big_endian && big_written.big_endian && !little.big_endian);
    assert_eq!(big.entries.len(), little.entries.len());
    let relocate = |object: &BpfObject, types: &TargetBtf| -> Vec<_> {
        let mut relocator = Relocator::new(object, types);
        let entries = object.entries.iter().map(|entry| relocator.relocate(entry).expect("relocated"));
        entries
            .map(|entry| (entry.insns, entry.outcomes.into_iter().map(|one| one.outcome).collect::<Vec<_>>()))
            .collect()
    };
    let (of_little, of_big) = (relocate(&little, &little_types), relocate(&big, &big_types));
    assert_eq!(of_big, of_little);
    assert!(of_big.iter().any(|(_, outcomes)| !outcomes.is_empty()), "nothing was relocated");
    let insns = |object: &BpfObject| -> Vec<Vec<Insn>> {
        object.entries.iter().map(|entry| entry.insns.clone()).collect()
    };
    assert_eq!(insns(&big_written), insns(&little_written));
    for (written, (insns, _)) in big_written.entries.iter().zip(&of_big) {
        assert!(written.core_relos.is_empty(), "{}: relocations are left", written.name);
        // Options are references to data once written, and open before.
        let open: Vec<usize> = written.map_refs.iter().map(|reference| reference.insn_off).collect();
        let differs = |at: &usize| written.insns[*at] != insns[*at];
        let differing: Vec<usize> = (0..insns.len()).filter(differs).collect();
        assert!(differing.iter().all(|at| open.contains(at) || open.contains(&(at - 1))), "{differing:?}");
    }
    let error = write_for(&big, &little_types).expect_err("a kernel of the other byte order");
    assert_eq!(error.to_string(), "an object of big-endian byte order, for a kernel of the other");
    let lines =
        |object: &BpfObject| object.entries.iter().map(|entry| entry.lines.clone()).collect::<Vec<_>>();
    assert_eq!(lines(&big_written), lines(&big));
}

#[test]
fn a_definition_that_is_cut_off_is_refused() {
    let mut bytes = case("untyped_maps.bpfel.o");
    // The first number of the first definition: a map of no type.
    let first = [1u32, 4, 8, 16, 1].map(u32::to_le_bytes).concat();
    let at = bytes.windows(first.len()).position(|window| window == first).expect("the definition");
    bytes[at] = 0;
    let error = BpfObject::parse(bytes).expect_err("a map without a type").to_string();
    assert_eq!(error, "map first: has no type");
}

proptest! {
    #[test]
    fn damaged_objects_are_read_or_refused(
        name in prop_oneof![Just("untyped_maps.bpfel.o"), Just("untyped_maps.bpfeb.o"), Just("jump_tables.bpfel.o")],
        damage in prop::collection::vec((0usize..1504, any::<u8>()), 1..4),
    ) {
        let mut bytes = case(name);
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        if let Ok(object) = BpfObject::parse(bytes) {
            let constants = Constants::of(&object);
            for entry in &object.entries {
                let _ = reach(&object, entry, &entry.insns, &constants);
            }
        }
    }
}

#[test]
fn a_jump_by_a_register_may_lead_anywhere_and_costs_no_other_program() {
    let object = BpfObject::parse(case("jump_tables.bpfel.o")).expect("an object");
    let [by_table, plain] = &object.entries[..] else { panic!("two programs: {:?}", object.entries) };
    assert_eq!(by_table.insns[0].src, PSEUDO_MAP_VALUE);
    assert_eq!(by_table.insns[3].code, JUMP_BY_REGISTER);
    let constants = Constants::of(&object);
    let reached = reach(&object, by_table, &by_table.insns, &constants);
    assert!(reached.cut_short);
    let walks: Vec<Walk> = (0..by_table.insns.len()).map(|at| reached.walk(at)).collect();
    assert_eq!(walks[0], Walk::Sure);
    assert!(walks.iter().all(|walk| *walk >= Walk::May), "{walks:?}");
    assert!(walks[4..].iter().all(|walk| *walk == Walk::May), "{walks:?}");
    assert_eq!(gaps("libbpf=1.6.3", &object), ["jump:register"]);
    assert!(gaps("libbpf=1.7", &object).is_empty());
    assert!(!reach(&object, plain, &plain.insns, &constants).cut_short);
}
