//! Every reason code is given where its row says so, and only codes of the table are given.
//!
//! The shipped catalog is judged on made-up nodes: one where everything is there, with one thing taken away at a time,
//! and a kernel whose answer to a load is chosen.

mod offline;

use btf_catalog::core::TargetBtf;
use btf_catalog::require::{ContextReads, EntryRequirements, IsaFeature, MapRequirement, Requirements};
use btf_catalog::{AttachType, Btf, HelperId, MapType, ProgType};
use compat_tests::loader::{Accepted, Cause, LoadOutcome, LoadReport, Stage};
use compat_tests::prove::{Options, Target, preflight};
use ebpf::Catalog;
use probe_matrix::assess::{Node, assess};
use probe_matrix::derive::Offline;
use probe_matrix::facts::{Evidence, Fact, Facts, Support};
use probe_matrix::predict::predict;
use probe_matrix::reasons;
use probe_matrix::verdict::{ProgramVerdict, Verdict};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn fact(support: Support) -> Fact {
    Fact::new(support, Evidence::Probed, "a made-up node")
}

/// One entry with one need of every kind that the shipped objects do not have.
fn requirements() -> Requirements {
    let entry = EntryRequirements {
        name: "entry".to_owned(),
        section: "lsm/file_open".to_owned(),
        autoload: true,
        prog_type: ProgType::LSM,
        attach_type: Some(AttachType::LSM_MAC),
        attach_type_optional: false,
        attach_by: "lsm".to_owned(),
        target: Some("file_open".to_owned()),
        target_module: None,
        attach_btf: true,
        struct_ops: None,
        sleepable: false,
        // map_lookup_elem, and trace_printk, which wants the GPL.
        helpers: BTreeSet::from([HelperId(1), HelperId(6)]),
        kfuncs: BTreeSet::new(),
        kconfigs: BTreeSet::new(),
        ksyms: BTreeSet::new(),
        maps: BTreeSet::from([0]),
        core_relos: 0,
        isa: BTreeSet::from([IsaFeature::V4]),
        insns: 10,
        subprograms: false,
        global_functions: false,
        loops: true,
        reads_pt_regs: false,
        context: ContextReads::default(),
        xdp_frags: false,
        guarded: false,
    };
    let unknown = EntryRequirements { prog_type: ProgType::UNSPEC, attach_type: None, ..entry.clone() };
    let traced = EntryRequirements {
        prog_type: ProgType::KPROBE,
        attach_type: None,
        attach_by: "kprobe".to_owned(),
        target: Some("copied".to_owned()),
        attach_btf: false,
        ..entry.clone()
    };
    let forbidden = EntryRequirements { target: Some("forbidden".to_owned()), ..traced.clone() };
    let map = MapRequirement {
        name: "map".to_owned(),
        map_type: MapType::HASH,
        flags: 1,
        max_entries: 1,
        inner: None,
        global_data: false,
        frozen: false,
        pinned: true,
    };
    Requirements {
        big_endian: false,
        license: "Proprietary".to_owned(),
        gpl_compatible: false,
        entries: vec![entry, unknown, traced, forbidden],
        maps: vec![map],
    }
}

/// Codes of the checks of [`requirements`] on a node whose facts all say `support`.
fn codes_of_checks(support: Support) -> BTreeSet<String> {
    let mut facts = Facts::default();
    for name in [
        "bpf.attach_type.lsm_mac",
        "bpf.prog_type.kprobe",
        "bpf.helper.lsm.map_lookup_elem",
        "bpf.isa.v4",
        "bpf.verifier.bounded_loops",
        "bpf.map_type.hash",
        "bpf.map_flag.no_prealloc",
        "bpf.attach.kprobe",
        "bpf.attach.lsm",
        "security.lsm.bpf",
        "mounts.bpffs",
        "btf.vmlinux",
    ] {
        facts.insert(name, fact(support));
    }
    facts.insert("symbol.copied", fact(Support::No).value(json!({ "copies": ["copied.isra.0"] })));
    facts.insert("symbol.forbidden", fact(Support::Yes).value(json!({ "blacklisted": true, "copies": [] })));
    let empty = TargetBtf::new(Arc::new(empty_btf()));
    let checks = assess(&requirements(), Node { facts: &facts, btf: Some(&empty) });
    checks.into_iter().map(|check| check.code).collect()
}

/// BTF that has the `void` type alone.
fn empty_btf() -> Btf {
    let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    bytes.extend([0; 12]);
    bytes.extend([1, 0, 0, 0, 0]);
    Btf::parse(bytes).expect("a header and the empty string")
}

/// A node where every fact that the table can name for a shipped object is `yes`.
fn everything() -> Facts {
    let mut facts = Facts::default();
    for prog_type in ProgType::all() {
        facts.insert(format!("bpf.prog_type.{prog_type}"), fact(Support::Yes));
        for helper in HelperId::all() {
            facts.insert(format!("bpf.helper.{prog_type}.{helper}"), fact(Support::Yes));
        }
    }
    for attach in AttachType::all() {
        facts.insert(format!("bpf.attach_type.{attach}"), fact(Support::Yes));
    }
    for map_type in MapType::all() {
        facts.insert(format!("bpf.map_type.{map_type}"), fact(Support::Yes));
    }
    for way in [
        "fentry",
        "fexit",
        "tp_btf",
        "raw_tracepoint",
        "tracepoint",
        "kprobe",
        "iter",
        "tcx",
        "tc",
        "xdp",
        "cgroup",
    ] {
        facts.insert(format!("bpf.attach.{way}"), fact(Support::Yes));
    }
    for name in ["mounts.cgroup_v2", "btf.vmlinux", "bpf.verifier.bounded_loops", "bpf.verifier.subprograms"]
    {
        facts.insert(name, fact(Support::Yes));
    }
    facts
}

fn judge(
    catalog: &Catalog,
    arch: &str,
    facts: &Facts,
    btf: Option<&TargetBtf>,
    answer: Option<&LoadReport>,
) -> Vec<ProgramVerdict> {
    let target = Target { arch, big_endian: false, facts, btf, linkage: None };
    let accept_all = |job: &probe_matrix::worker::Job| {
        let names = job.request["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["name"].as_str());
        names.map(|name| Accepted { entry: name.to_owned(), log: String::new() }).collect()
    };
    let mut loader = |job: &_| {
        Ok(answer
            .cloned()
            .unwrap_or_else(|| LoadReport { accepted: accept_all(job), ..LoadReport::default() }))
    };
    preflight(catalog, target, &Options::default(), Some(&mut loader), &mut |_| {}).expect("verdicts")
}

fn codes(verdicts: &[ProgramVerdict]) -> BTreeSet<String> {
    verdicts
        .iter()
        .flat_map(|p| &p.variants)
        .flat_map(|v| &v.reasons)
        .map(|reason| reason.code.clone())
        .collect()
}

fn refused(stage: Stage, cause: Cause) -> LoadReport {
    LoadReport::failed(LoadOutcome::unasked(stage, cause, Some("entry"), "a made-up answer"))
}

/// A copy of the shipped catalog in which every object has been changed.
fn damaged(dir: &Path, damage: impl Fn(&mut Vec<u8>)) -> Catalog {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf");
    std::fs::create_dir_all(dir.join("objects")).expect("a directory");
    std::fs::copy(shipped.join("catalog.toml"), dir.join("catalog.toml")).expect("the catalog");
    for entry in std::fs::read_dir(shipped.join("objects")).expect("the objects") {
        let path = entry.expect("a directory entry").path();
        let mut bytes = std::fs::read(&path).expect("an object");
        if path.extension().is_some_and(|ext| ext == "o") {
            damage(&mut bytes);
        }
        std::fs::write(dir.join("objects").join(path.file_name().expect("a name")), bytes).expect("a copy");
    }
    Catalog::open(dir).expect("the copy")
}

#[test]
fn every_code_of_the_table_is_given() {
    let catalog = Catalog::embedded().expect("the built-in catalog");
    let no_types = TargetBtf::new(Arc::new(empty_btf()));
    let all = everything();
    let mut given = BTreeSet::new();

    for support in [Support::No, Support::DeniedWorkload, Support::DeniedObserver, Support::Unknown] {
        given.extend(codes_of_checks(support));
    }
    // A kernel without the types that the objects know, whose verifier finds out.
    let verifier = refused(Stage::Load, Cause::Verifier);
    given.extend(codes(&judge(&catalog, "x86_64", &all, Some(&no_types), Some(&verifier))));
    for (stage, cause) in [
        (Stage::Load, Cause::Verifier),
        (Stage::Load, Cause::Unsupported),
        (Stage::Load, Cause::Jit),
        (Stage::Load, Cause::Policy),
        (Stage::Load, Cause::Privilege),
        (Stage::Load, Cause::Unknown),
        (Stage::Maps, Cause::Unsupported),
        (Stage::Btf, Cause::Unsupported),
    ] {
        given.extend(codes(&judge(&catalog, "x86_64", &all, None, Some(&refused(stage, cause)))));
    }
    // Without BTF: only what needs no types can be loaded, and some of it is degraded.
    let mut without = all.clone();
    without.insert("btf.vmlinux", fact(Support::No));
    without.insert("bpf.attach_type.tcx_ingress", fact(Support::No));
    without.insert("bpf.prog_type.sched_cls", fact(Support::No));
    without.insert("bpf.map_type.lru_percpu_hash", fact(Support::No));
    without.insert("bpf.helper.tracing.map_lookup_elem", fact(Support::No));
    given.extend(codes(&judge(&catalog, "x86_64", &without, None, None)));
    // A machine that the kprobe variant is not built for.
    given.extend(codes(&judge(&catalog, "riscv64", &all, None, None)));
    let dir = tempfile::tempdir().expect("a directory");
    let cut = damaged(&dir.path().join("cut"), |bytes| bytes.truncate(100));
    given.extend(codes(&judge(&cut, "x86_64", &all, None, None)));
    // A relocation of a kind that does not exist: the word after `0:0`-like accesses, at the end of .BTF.ext.
    let stale = damaged(&dir.path().join("stale"), make_last_relocation_absurd);
    given.extend(codes(&judge(&stale, "x86_64", &all, Some(&no_types), None)));
    // An extern, and a hook whose name the loader would choose.
    let open = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/catalogs/extern");
    let open = Catalog::open(&open).expect("the case's catalog");
    given.extend(codes(&judge(&open, "x86_64", &all, Some(&no_types), None)));
    // A kernel known by its files alone.
    let files = offline::kernel();
    let kernel = Offline::new(&files);
    let objects = ["entries", "links", "kfuncs", "rules", "returns", "functions", "maps"];
    for name in objects.map(|name| format!("{name}.bpfel.o")) {
        let verdicts = predict(&offline::object(&name), &kernel, &probe_matrix::predict::Options::default());
        let reasons = verdicts.into_iter().flat_map(|verdict| verdict.load.reasons);
        given.extend(reasons.map(|reason| reason.code));
    }

    let table: BTreeSet<String> =
        reasons::table().iter().filter(|row| !row.retired).map(|row| row.code.clone()).collect();
    let never: Vec<_> = table.difference(&given).collect();
    let strangers: Vec<_> = given.difference(&table).collect();
    assert!(never.is_empty(), "never given: {never:?}");
    assert!(strangers.is_empty(), "not in the table: {strangers:?}");
}

/// Sets the kind of the last CO-RE relocation to a number that libbpf does not know.
#[expect(clippy::ptr_arg, reason = "one signature for every kind of damage")]
fn make_last_relocation_absurd(object: &mut Vec<u8>) {
    let word = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().expect("four bytes")) as usize;
    // .BTF.ext begins with the magic and a header of 32 bytes; the CO-RE part is the third.
    let header = [0x9f, 0xeb, 1, 0, 32, 0, 0, 0];
    let Some(at) = object.windows(8).position(|window| window == header) else { return };
    let (off, len) = (word(at + 24), word(at + 28));
    if len > 4 {
        let kind = at + 32 + off + len - 4;
        object[kind..kind + 4].copy_from_slice(&99u32.to_le_bytes());
    }
}

#[test]
fn one_missing_thing_moves_the_choice_to_the_next_variant() {
    let catalog = Catalog::embedded().expect("the built-in catalog");
    let flow_meter = |facts: &Facts| {
        let verdicts = judge(&catalog, "x86_64", facts, None, None);
        verdicts.into_iter().find(|verdict| verdict.program == "flow-meter").expect("flow-meter")
    };
    let mut facts = everything();
    assert_eq!(flow_meter(&facts).selected.as_deref(), Some("tcx"));
    facts.insert("bpf.attach.tcx", fact(Support::No));
    assert_eq!(flow_meter(&facts).selected.as_deref(), Some("tc"));
    facts.insert("bpf.attach.tc", fact(Support::Unknown));
    assert_eq!(flow_meter(&facts).selected.as_deref(), Some("socket-filter"), "unknown is not chosen");
    facts.insert("bpf.prog_type.socket_filter", fact(Support::DeniedWorkload));
    let degraded = flow_meter(&facts);
    assert_eq!((degraded.selected.as_deref(), degraded.verdict), (Some("xdp"), Verdict::Degraded));
    facts.insert("bpf.map_type.lru_percpu_hash", fact(Support::No));
    let map_types = ["lru_hash", "hash", "percpu_hash", "lru_percpu_hash", "percpu_array", "array"];
    for map_type in map_types {
        facts.insert(format!("bpf.map_type.{map_type}"), fact(Support::No));
    }
    let blocked = flow_meter(&facts);
    assert_eq!(blocked.selected, None);
    assert_ne!(blocked.verdict, Verdict::Runs);
}

#[test]
fn no_facts_at_all_decide_nothing() {
    let catalog = Catalog::embedded().expect("the built-in catalog");
    let target =
        Target { arch: "x86_64", big_endian: false, facts: &Facts::default(), btf: None, linkage: None };
    let verdicts = preflight(&catalog, target, &Options::default(), None, &mut |_| {}).expect("verdicts");
    for variant in verdicts.iter().flat_map(|verdict| &verdict.variants) {
        assert_eq!(variant.verdict, Verdict::Unknown, "{}", variant.variant);
        assert!(!variant.load_tried);
    }
}

#[test]
fn a_helper_that_is_missing_or_denied_is_left_to_the_verifier_where_it_is_asked() {
    let catalog = Catalog::embedded().expect("the built-in catalog");
    for support in [Support::No, Support::DeniedWorkload] {
        let mut facts = everything();
        facts.insert("bpf.helper.sched_cls.map_lookup_elem", fact(support));
        let tcx = |verdicts: Vec<ProgramVerdict>| {
            let of_flows = verdicts.into_iter().find(|verdict| verdict.program == "flow-meter");
            let variants = of_flows.expect("flow-meter").variants;
            variants.into_iter().find(|variant| variant.variant == "tcx").expect("tcx")
        };
        let accepted = tcx(judge(&catalog, "x86_64", &facts, None, None));
        assert_eq!((accepted.verdict, accepted.load_tried), (Verdict::Runs, true), "{support:?}");
        let target = Target { arch: "x86_64", big_endian: false, facts: &facts, btf: None, linkage: None };
        let unasked = preflight(&catalog, target, &Options::default(), None, &mut |_| {}).expect("verdicts");
        assert_eq!(tcx(unasked).verdict, Verdict::Blocked, "{support:?}");
    }
}
