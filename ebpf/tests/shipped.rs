//! The catalog that is linked into the binary.

use btf_catalog::BpfObject;
use btf_catalog::core::{TargetBtf, relocate};
use ebpf::{Catalog, Target, lint, sha256};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

#[test]
fn lints_clean() {
    let findings = lint::lint(&Catalog::embedded().unwrap());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn every_object_is_embedded_and_none_besides() {
    let catalog = Catalog::embedded().unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let on_disk = Catalog::open(directory).unwrap();
    let mut named = BTreeSet::new();
    for variant in catalog.programs.iter().flat_map(|program| &program.variants) {
        for (target, file) in &variant.objects {
            let embedded = catalog.object(variant, target).unwrap();
            assert_eq!(sha256(&embedded), sha256(&on_disk.object(variant, target).unwrap()), "{file}");
            named.insert(file.clone());
        }
    }
    let files: BTreeSet<String> = directory
        .join("objects")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "COMPILER")
        .collect();
    assert_eq!(named, files);
}

#[test]
fn each_program_has_a_variant_for_common_hosts() {
    let catalog = Catalog::embedded().unwrap();
    for program in &catalog.programs {
        assert!(program.variants.len() >= 3, "{}", program.name);
        assert!(program.variants.is_sorted_by_key(|variant| variant.rank));
        assert!(!program.variants[0].is_degraded(), "{}", program.name);
        for (arch, big_endian) in [("x86_64", false), ("aarch64", false), ("riscv64", false), ("s390x", true)]
        {
            let with_object =
                program.variants.iter().filter(|v| v.target_for_host(arch, big_endian).is_some());
            assert!(with_object.count() >= 3, "{} on {arch}", program.name);
        }
    }
    let kprobe = catalog.program("tcp-rtt").unwrap().variant("kprobe").unwrap();
    assert_eq!(kprobe.target_for_host("x86_64", false), Some("bpfel-x86_64".parse::<Target>().unwrap()));
    assert_eq!(kprobe.target_for_host("s390x", true), None);
}

#[test]
fn a_kernel_without_drop_reasons_refuses_the_variants_that_give_one() {
    // The types that tracepoint-noreason declares are those of a kernel before v5.17, as far as drops go.
    let catalog = Catalog::embedded().unwrap();
    let program = catalog.program("packet-drop").unwrap();
    let object = |name: &str| {
        let variant = program.variant(name).unwrap();
        BpfObject::parse(catalog.object(variant, &Target::generic(cfg!(target_endian = "big"))).unwrap())
            .unwrap()
    };
    let old_kernel = TargetBtf::new(Arc::new(object("tracepoint-noreason").btf.unwrap()));
    for variant in &program.variants {
        let object = object(&variant.name);
        let relocated = relocate(&object, &object.entries[0], &old_kernel).unwrap();
        let refused = relocated.poisoned().any(|(poisoned, _)| poisoned.access.contains("skb_drop_reason"));
        assert_eq!(refused, variant.provides.iter().any(|what| what == "drop reason"), "{}", variant.name);
    }
}
