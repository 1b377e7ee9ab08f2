//! Objects as compilers write them, read.

use btf_catalog::insn::{JUMP_BY_REGISTER, PSEUDO_MAP_VALUE};
use btf_catalog::reach::{Constants, Walk, reach};
use btf_catalog::scan::loaders::Loader;
use btf_catalog::{BpfObject, MapType};
use std::path::Path;

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
