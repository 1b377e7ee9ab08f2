//! Each check of the lint, on shipped objects put where they do not belong or with bytes changed.

use btf_catalog::BpfObject;
use ebpf::lint::{Check, Finding, lint};
use ebpf::{Catalog, Target};
use std::fmt::Write;
use std::fs;
use tempfile::TempDir;

/// The bytes of a shipped object.
fn shipped(file: &str) -> Vec<u8> {
    let catalog = Catalog::embedded().unwrap();
    let variants = catalog.programs.iter().flat_map(|program| &program.variants);
    let (variant, target) = variants
        .flat_map(|variant| variant.objects.iter().map(move |(target, name)| (variant, target, name)))
        .find_map(|(variant, target, name)| (name == file).then_some((variant, target)))
        .unwrap_or_else(|| panic!("{file} is not shipped"));
    catalog.object(variant, target).unwrap().to_vec()
}

struct Variant {
    loses: &'static str,
    provides: &'static str,
    objects: Vec<(&'static str, Vec<u8>)>,
}

fn variant(objects: Vec<(&'static str, Vec<u8>)>) -> Variant {
    Variant { loses: "", provides: "\"all\"", objects }
}

/// The findings on a catalog of one program with these variants, called v0, v1, ….
fn findings(variants: &[Variant]) -> Vec<Finding> {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("objects")).unwrap();
    let mut manifest =
        "schema = 1\nname = \"c\"\nversion = \"1.0.0\"\n[[program]]\nname = \"p\"\nsummary = \"s\"\n"
            .to_owned();
    for (rank, Variant { loses, provides, objects }) in variants.iter().enumerate() {
        let targets: Vec<_> = objects.iter().map(|(target, _)| format!("{target:?}")).collect();
        write!(
            manifest,
            "[[program.variant]]\nname = \"v{rank}\"\nrank = {rank}\nsummary = \"s\"\nwhy = \"w\"\n\
             provides = [{provides}]\nloses = [{loses}]\ntargets = [{}]\n",
            targets.join(", ")
        )
        .unwrap();
        for (target, bytes) in objects {
            fs::write(directory.path().join(format!("objects/p-v{rank}.{target}.o")), bytes).unwrap();
        }
    }
    fs::write(directory.path().join("catalog.toml"), manifest).unwrap();
    lint(&Catalog::open(directory.path()).unwrap())
}

fn checks(findings: &[Finding]) -> Vec<Check> {
    findings.iter().map(|finding| finding.check).collect()
}

fn pair(name: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![("bpfel", shipped(&format!("{name}.bpfel.o"))), ("bpfeb", shipped(&format!("{name}.bpfeb.o")))]
}

/// Replaces the only occurrence of `from`.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    let [at] = places[..] else { panic!("{from:?} stands at {places:?}") };
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_shipped_variant_is_clean() {
    assert_eq!(findings(&[variant(pair("tcp-rtt-tp-btf"))]), []);
}

#[test]
fn an_object_that_is_none_or_missing() {
    let mut objects = pair("flow-meter-tc");
    objects[0].1.truncate(1000);
    let found = findings(&[variant(objects)]);
    assert_eq!(checks(&found), [Check::Object]);
    assert_eq!(found[0].object.as_deref(), Some("p-v0.bpfel.o"));
}

#[test]
fn byte_orders_swapped() {
    let objects =
        vec![("bpfel", shipped("flow-meter-tc.bpfeb.o")), ("bpfeb", shipped("flow-meter-tc.bpfel.o"))];
    assert_eq!(checks(&findings(&[variant(objects)])), [Check::ByteOrder, Check::ByteOrder]);
}

#[test]
fn one_byte_order_missing() {
    let found = findings(&[variant(vec![("bpfel", shipped("flow-meter-tc.bpfel.o"))])]);
    assert_eq!(checks(&found), [Check::Targets]);
    assert!(found[0].message.contains(&Target::generic(true).to_string()), "{}", found[0].message);
}

#[test]
fn registers_read_in_an_object_for_all_architectures() {
    let kprobe = shipped("tcp-rtt-kprobe.bpfel-x86_64.o");
    let found = findings(&[variant(vec![("bpfel", kprobe)])]);
    assert!(found.iter().any(|finding| finding.message.contains("reads registers")), "{found:#?}");
}

#[test]
fn no_registers_read_in_an_object_for_one_architecture() {
    let found = findings(&[variant(vec![("bpfel-x86_64", shipped("flow-meter-xdp.bpfel.o"))])]);
    assert_eq!(checks(&found), [Check::Targets]);
    assert!(found[0].message.contains("confined to x86_64"), "{}", found[0].message);
}

#[test]
fn a_ring_buffer_for_small_pages_only() {
    let object = shipped("tcp-rtt-tp-btf.bpfel.o");
    // The size is the dimension of an array in the object's BTF: struct btf_array {type, index_type, nelems}.
    let btf = BpfObject::parse(object.clone()).unwrap().btf.unwrap();
    let array =
        btf.own_ids().filter_map(|id| btf.ty(id).array()).find(|array| array.nelems == 256 << 10).unwrap();
    let record = |byte_sz: u32| [array.elem.0, array.index.0, byte_sz].map(u32::to_le_bytes).concat();
    for (byte_sz, wrong) in [(4096, true), (32 << 10, true), (192 << 10, true), (64 << 10, false)] {
        let resized = patched(object.clone(), &record(256 << 10), &record(byte_sz));
        let found =
            findings(&[variant(vec![("bpfel", resized), ("bpfeb", shipped("tcp-rtt-tp-btf.bpfeb.o"))])]);
        assert_eq!(checks(&found).contains(&Check::RingBuffer), wrong, "{byte_sz}: {found:#?}");
        // The object for the other byte order has kept its size.
        assert!(checks(&found).contains(&Check::SameProgram), "{found:#?}");
    }
}

#[test]
fn a_licence_that_forbids_the_helpers() {
    let proprietary = |name: &str| {
        let close = |(target, bytes)| (target, patched(bytes, b"Dual MIT/GPL", b"Proprietary\0"));
        findings(&[variant(pair(name).into_iter().map(close).collect())])
    };
    // bpf_seq_write() is GPL only; what flow-meter calls is not.
    let found = proprietary("tcp-rtt-iter");
    assert_eq!(checks(&found), [Check::Licence, Check::Licence]);
    assert!(
        found[0].message.contains("`Proprietary` is not GPL compatible, as seq_write"),
        "{}",
        found[0].message
    );
    assert_eq!(proprietary("flow-meter-tc"), []);
}

#[test]
fn objects_of_different_programs_in_one_variant() {
    let objects =
        vec![("bpfel", shipped("flow-meter-tc.bpfel.o")), ("bpfeb", shipped("flow-meter-tcx.bpfeb.o"))];
    assert_eq!(checks(&findings(&[variant(objects)])), [Check::SameProgram]);
    let objects =
        vec![("bpfel", shipped("flow-meter-tc.bpfel.o")), ("bpfeb", shipped("packet-drop-tp-btf.bpfeb.o"))];
    assert_eq!(checks(&findings(&[variant(objects)])), [Check::SameProgram, Check::SameProgram]);
}

#[test]
fn a_variant_that_is_never_chosen() {
    let twice =
        [variant(pair("flow-meter-tc")), variant(pair("flow-meter-tcx")), variant(pair("flow-meter-tc"))];
    let found = findings(&twice);
    assert_eq!(checks(&found), [Check::SameRequirements]);
    assert_eq!(found[0].variant, "v2");
    assert!(found[0].message.contains("`v0`"), "{}", found[0].message);
}

#[test]
fn a_loss_that_is_not_named() {
    let with = |loses| {
        let best = Variant { provides: "\"ingress\", \"egress\"", ..variant(pair("flow-meter-tc")) };
        let lesser = Variant { provides: "\"ingress\"", loses, objects: pair("flow-meter-xdp") };
        findings(&[best, lesser])
    };
    assert_eq!(with("\"egress: XDP sees only what is received\""), []);
    let found = with("\"something else\"");
    assert_eq!(checks(&found), [Check::Loses]);
    assert!(found[0].message.contains("`egress`"), "{}", found[0].message);
    assert_eq!(checks(&with("")), [Check::Loses]);
}

#[test]
fn claims_that_mislead() {
    let found = findings(&[Variant { provides: "", loses: "\"x\"", objects: pair("flow-meter-tc") }]);
    assert_eq!(checks(&found), [Check::Loses, Check::Loses]);
    assert!(found.iter().all(|finding| finding.severity == ebpf::lint::Severity::Warning));
}
