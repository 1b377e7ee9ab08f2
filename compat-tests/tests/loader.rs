//! The loader on this machine's kernel, through a worker process. Everything here needs root; nothing is attached.

use btf_catalog::core::{Accesses, Relocator, StructOpsLink, TargetBtf};
use btf_catalog::insn::{CALL, EXIT, Insn, LD_IMM64};
use btf_catalog::object::{Entry, Function, MapDef, MapRef};
use btf_catalog::{AttachType, BpfObject, Btf, BtfKind, MapType, ProgType};
use bytes::Bytes;
use compat_tests::loader::{self, Cause, EntryLoad, LoadOptions, LoadReport, Stage};
use ebpf::Catalog;
use libtest_mimic::{Arguments, Failed, Trial};
use probe_matrix::probe::linkage::Linkage;
use probe_matrix::probe::root::HostRoot;
use probe_matrix::sys::{Kernel, ObjectKind};
use probe_matrix::worker::{self, WorkerError};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

macro_rules! tests {
    ($($test:ident)*) => { [$((concat!("root_", stringify!($test)), $test as fn())),*] };
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(worker::ARGUMENT) {
        return worker::serve(|request, sender| loader::serve(&request, sender));
    }
    let tests = tests![
        maps_of_every_type_are_made_and_nothing_is_left
        an_object_of_clang_loads_with_its_btf
        externs_of_a_program_that_is_not_loaded_change_nothing
        externs_are_linked_as_libbpf_does
        structures_of_programs_are_linked_as_libbpf_does
        every_shipped_variant_loads_or_is_refused_for_a_reason
        rodata_is_constant_to_the_verifier
        a_refusal_carries_the_verifiers_words
        a_reached_poison_is_named
        one_refused_entry_does_not_hide_the_next
        a_denied_fentry_is_policy_not_verifier
        absurd_maps_are_refused_with_words
        without_capabilities_it_is_the_observer
        a_slow_verifier_is_unknown
        a_killed_worker_is_unknown
        two_loads_at_once
    ];
    let root = rustix::process::geteuid().is_root();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            if !root {
                return Err(Failed::from(
                    "needs root: run `sudo -E cargo test -p compat-tests --test loader`",
                ));
            }
            test();
            Ok(())
        })
    });
    let cached = Trial::test("root_objects_of_the_cache_load_as_with_libbpf", || {
        objects_of_the_cache_load_as_with_libbpf();
        Ok(())
    });
    let trials = trials.chain([cached.with_ignored_flag(true)]);
    // One at a time: the lists of what the kernel holds are compared.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}

/// `dst = imm`.
fn set(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

const RETURN: Insn = Insn { code: EXIT, dst: 0, src: 0, off: 0, imm: 0 };

fn entry(name: &str, insns: Vec<Insn>) -> Entry {
    Entry {
        name: name.to_owned(),
        section: "socket".to_owned(),
        kind: None,
        autoload: true,
        functions: vec![Function { name: name.to_owned(), insn_off: 0, type_id: None, global: true }],
        insns,
        map_refs: Vec::new(),
        extern_refs: Vec::new(),
        core_relos: Vec::new(),
        lines: Vec::new(),
    }
}

fn object(entries: Vec<Entry>, maps: Vec<MapDef>) -> BpfObject {
    BpfObject {
        big_endian: cfg!(target_endian = "big"),
        license: "GPL".to_owned(),
        kern_version: None,
        btf: None,
        entries,
        maps,
        externs: Vec::new(),
        struct_ops: Vec::new(),
        left_to_loader: Vec::new(),
        text_relos: Vec::new(),
        accesses: Accesses::default(),
    }
}

fn map(name: &str, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    let mut map = MapDef::default();
    name.clone_into(&mut map.name);
    map.map_type = map_type;
    map.key_size = key_size;
    map.value_size = value_size;
    map.max_entries = max_entries;
    map
}

fn rodata(value: u32) -> MapDef {
    let mut rodata = map(".rodata", MapType::ARRAY, 4, 4, 1);
    rodata.flags = 1 << 7;
    rodata.data = Some(Bytes::copy_from_slice(&value.to_ne_bytes()));
    rodata.frozen = true;
    rodata
}

fn try_load(
    object: &BpfObject,
    prog_type: ProgType,
    attach: Option<(AttachType, u32)>,
    options: LoadOptions,
    deadline: Duration,
) -> Result<LoadReport, WorkerError> {
    let loads: Vec<EntryLoad> = object
        .entries
        .iter()
        .map(|entry| EntryLoad {
            entry,
            insns: &entry.insns,
            prog_type,
            attach_type: attach.map(|(attach, _)| attach),
            flags: 0,
            attach_btf_id: attach.map_or(0, |(_, id)| id),
            attach_module: None,
        })
        .collect();
    let job = loader::job(object, &loads, None, options).expect("a request is JSON");
    loader::run(&job, Instant::now() + deadline, &AtomicBool::new(false)).map(|(report, _)| report)
}

fn load(object: &BpfObject) -> LoadReport {
    try_load(object, ProgType::SOCKET_FILTER, None, LoadOptions::default(), Duration::from_secs(60))
        .expect("a worker")
}

/// Ids of everything that the kernel holds.
fn held() -> BTreeSet<(u8, u32)> {
    let mut kernel = Kernel::live();
    let mut ids = BTreeSet::new();
    for kind in [ObjectKind::Prog, ObjectKind::Map, ObjectKind::Btf, ObjectKind::Link] {
        let mut after = 0;
        while let Some(id) = kernel.next_id(kind, after).expect("root may list ids") {
            ids.insert((kind as u8, id));
            after = id;
        }
    }
    ids
}

/// What is held now and was not before. The kernel frees in the background, and other programs come and go: only what
/// stays for seconds was left behind.
fn left_since(before: &BTreeSet<(u8, u32)>) -> Vec<(u8, u32)> {
    let mut left: Vec<_> = held().difference(before).copied().collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        let now = held();
        left.retain(|id| now.contains(id));
    }
    left
}

fn maps_of_every_type_are_made_and_nothing_is_left() {
    let before = held();
    let no_prealloc = |mut map: MapDef| {
        map.flags |= 1;
        map
    };
    let inner = |mut map: MapDef| {
        map.inner = Some(Box::new(self::map("inner", MapType::ARRAY, 4, 8, 1)));
        map
    };
    let maps = vec![
        map("hash", MapType::HASH, 4, 8, 16),
        map("array", MapType::ARRAY, 4, 8, 16),
        map("progs", MapType::PROG_ARRAY, 4, 4, 2),
        map("perf", MapType::PERF_EVENT_ARRAY, 4, 4, 0),
        map("percpu_hash", MapType::PERCPU_HASH, 4, 8, 16),
        map("percpu_array", MapType::PERCPU_ARRAY, 4, 8, 1),
        map("stacks", MapType::STACK_TRACE, 4, 8 * 16, 16),
        map("lru", MapType::LRU_HASH, 4, 8, 16),
        map("lru_percpu", MapType::LRU_PERCPU_HASH, 4, 8, 16),
        no_prealloc(map("trie", MapType::LPM_TRIE, 8, 8, 16)),
        inner(map("arrays", MapType::ARRAY_OF_MAPS, 4, 4, 2)),
        inner(map("hashes", MapType::HASH_OF_MAPS, 4, 4, 2)),
        map("queue", MapType::QUEUE, 0, 8, 4),
        map("bloom", MapType::BLOOM_FILTER, 0, 8, 16),
        // Neither a power of two nor whole pages.
        map("ring", MapType::RINGBUF, 0, 0, 5000),
        map(".bss", MapType::ARRAY, 4, 64, 1),
        rodata(7),
    ];
    let mut first = entry("first", vec![insn(LD_IMM64, 1, 0, 0, 0), insn(0, 0, 0, 0, 0), set(0, 0), RETURN]);
    first.map_refs = vec![MapRef { insn_off: 0, map: 0, value_off: None }];
    let report = load(&object(vec![first, entry("second", vec![set(0, 0), RETURN])], maps));
    assert!(report.is_accepted(), "{report:#?}");
    let accepted: Vec<_> = report.accepted.iter().map(|accepted| accepted.entry.as_str()).collect();
    assert_eq!(accepted, ["first", "second"]);
    assert_eq!(left_since(&before), [], "something was left in the kernel");
}

fn an_object_of_clang_loads_with_its_btf() {
    let object =
        BpfObject::parse(&include_bytes!("../cases/loader/globals.bpfel.o")[..]).expect("clang's object");
    let report = load(&object);
    assert!(report.is_accepted(), "{report:#?}");
    assert_eq!(report.notes, [""; 0], "loaded whole");
    let verbose = LoadOptions { verbose: true, ..LoadOptions::default() };
    let report = try_load(&object, ProgType::SOCKET_FILTER, None, verbose, Duration::from_secs(60)).unwrap();
    let log = &report.accepted[0].log;
    assert!(log.contains("processed ") && log.contains("'twice'"), "{log}");
    assert!(!log.contains("'through'"), "a hidden function is not verified by itself: {log}");
}

fn externs_of_a_program_that_is_not_loaded_change_nothing() {
    let mut object =
        BpfObject::parse(&include_bytes!("../cases/loader/externs.bpfel.o")[..]).expect("clang's object");
    assert!(!object.externs.is_empty());
    object.entries.retain(|entry| entry.autoload);
    let report =
        try_load(&object, ProgType::SCHED_CLS, None, LoadOptions::default(), Duration::from_secs(60))
            .unwrap();
    assert_eq!(report.notes, [""; 0], "loaded whole");
    let accepted: Vec<_> = report.accepted.iter().map(|accepted| accepted.entry.as_str()).collect();
    assert_eq!(accepted, ["callback", "lock"], "{report:#?}");
    let [failure] = &report.failures[..] else { panic!("{report:#?}") };
    assert_eq!(
        (failure.subject.as_deref(), failure.cause),
        (Some("global"), Cause::Verifier),
        "{failure:#?}"
    );
}

/// Whether an entry was accepted, or why it was not.
type Answer = Result<(), String>;

/// What the kernel says of each entry, loaded alone, and what libbpf makes of it: name, ours, theirs.
fn beside_libbpf(bytes: &[u8], target: &TargetBtf) -> Vec<(String, Answer, Answer)> {
    let object = BpfObject::parse(bytes.to_vec()).expect("an object");
    let linkage = Linkage::read(HostRoot::local(), target);
    let resolution = linkage.resolve(&object, target);
    let ops = StructOpsLink::new(&object, target, true);
    let refused = resolution.refused(&object).map(|(ext, why)| format!("extern {}: {why}", ext.name));
    let refused = refused.or_else(|| ops.refused(&object).map(|(map, why)| format!("{}: {why}", map.name)));
    let mut relocator = Relocator::new(&object, target);
    let entries = libbpf_peer::load::entries(bytes).expect("libbpf opens it");
    let ours = |name: &str, relocator: &mut Relocator| {
        let entry = object.entries.iter().find(|entry| entry.name == name).ok_or("no such entry")?;
        if let Some(why) = &refused {
            return Err(why.clone());
        }
        let mut relocated = relocator.relocate(entry).map_err(|error| error.to_string())?;
        resolution.apply(&object, entry, &mut relocated.insns);
        let load = EntryLoad::new(entry, &relocated.insns).ok_or("a section that no loader knows")?;
        let slot = object.entries.iter().position(|other| other.name == name).and_then(|at| ops.slots[at]);
        let load = match slot {
            Some(slot) => EntryLoad {
                attach_btf_id: slot.structure.0,
                attach_type: Some(AttachType(slot.member)),
                ..load
            },
            None if load.prog_type == ProgType::STRUCT_OPS => {
                return Err("no structure refers to it".to_owned());
            }
            None => {
                let id = attach_btf_id(entry, target.vmlinux()).ok_or("a target that is not there")?;
                EntryLoad { attach_btf_id: id, ..load }
            }
        };
        let linked = loader::Linked { resolution: &resolution, types: target };
        let job =
            loader::job(&object, &[load], Some(linked), LoadOptions::default()).expect("a request is JSON");
        let deadline = Instant::now() + Duration::from_secs(60);
        let (report, _) = loader::run(&job, deadline, &AtomicBool::new(false)).expect("a worker");
        report.failures.first().map_or(Ok(()), |failure| Err(failure.message.clone()))
    };
    let mut compared = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let theirs = libbpf_peer::load::load(bytes, Some(index));
        let theirs =
            if theirs.errno == 0 { Ok(()) } else { Err(format!("errno {}: {}", theirs.errno, theirs.log)) };
        compared.push((entry.program.clone(), ours(&entry.program, &mut relocator), theirs));
    }
    compared
}

fn this_kernel() -> TargetBtf {
    probe_matrix::probe::btf::types(&HostRoot::local()).expect("this kernel has BTF")
}

fn externs_are_linked_as_libbpf_does() {
    let bytes = include_bytes!("../cases/externs/linked.bpfel.o");
    let compared = beside_libbpf(bytes, &this_kernel());
    let names: Vec<_> = compared.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["options", "symbols", "functions", "untested"]);
    for (name, ours, theirs) in &compared {
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{name}: {ours:?} against {theirs:?}");
        // What `symbols` refers to has an address only with CONFIG_KALLSYMS_ALL.
        if name != "symbols" {
            assert_eq!(ours.is_ok(), name != "untested", "{name}: {ours:?}");
        }
    }
}

fn structures_of_programs_are_linked_as_libbpf_does() {
    let bytes = include_bytes!("../cases/externs/struct_ops.bpfel.o");
    let target = this_kernel();
    for (name, ours, theirs) in beside_libbpf(bytes, &target) {
        // libbpf leaves `left` out and loads the rest.
        assert!(theirs.is_ok(), "{name}: {theirs:?}");
        assert_eq!(ours.is_ok(), name != "left", "{name}: {ours:?}");
    }
    let mut object = BpfObject::parse(&bytes[..]).expect("clang's object");
    let ops = StructOpsLink::new(&object, &target, true);
    let member = |entry: usize| {
        let slot = ops.slots[entry]?;
        Some(target.vmlinux().ty(slot.structure).members().nth(slot.member as usize)?.name.to_owned())
    };
    for (at, entry) in object.entries.iter().enumerate() {
        let expected = Some(entry.name.clone()).filter(|name| name != "left");
        assert_eq!((ops.autoload[at], member(at)), (expected.is_some(), expected));
    }
    // A member that the kernel does not have may only be zero.
    object.struct_ops[1].autocreate = true;
    let ops = StructOpsLink::new(&object, &target, true);
    let (map, why) = ops.refused(&object).expect("the kernel has no such member");
    assert!(map.name == "not_created" && why.contains("portolan_of_no_kernel"), "{why}");
}

/// The objects that `cargo xtask objects` brings.
fn objects_of_the_cache_load_as_with_libbpf() {
    let home = std::env::var_os("HOME").expect("a home directory");
    let cache = Path::new(&home).join(".cache/portolan/objects");
    let target = this_kernel();
    let (mut agree, mut with_externs) = ([0, 0], 0);
    let mut differ = Vec::new();
    let mut open = vec![cache];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory");
            open.extend(entries.map(|entry| entry.expect("a directory entry").path()));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        if libbpf_peer::load::entries(&bytes).is_err() || BpfObject::parse(bytes.clone()).is_err() {
            continue;
        }
        with_externs += usize::from(!BpfObject::parse(bytes.clone()).expect("as before").externs.is_empty());
        for (name, ours, theirs) in beside_libbpf(&bytes, &target) {
            if ours.is_ok() == theirs.is_ok() {
                agree[usize::from(ours.is_ok())] += 1;
            } else {
                differ.push(format!("{} {name}: {ours:?} against {theirs:?}", path.display()));
            }
        }
    }
    println!(
        "{} accepted by both, {} refused by both, {with_externs} objects with externs",
        agree[1], agree[0]
    );
    println!("{} differ:\n{}", differ.len(), differ.join("\n"));
    assert!(agree[1] > 0, "`cargo xtask objects` brings the objects");
}

/// BTF id of what an entry attaches to, 0 where that is not looked up in the kernel's BTF; `None` if it is not there.
fn attach_btf_id(entry: &Entry, btf: &Btf) -> Option<u32> {
    let kind = entry.kind.as_ref().expect("the shipped sections are known");
    let Some(target) = kind.target.as_ref().filter(|_| kind.attach_btf) else { return Some(0) };
    let (name, btf_kind) = match kind.attach_type {
        Some(AttachType::TRACE_RAW_TP) => (format!("btf_trace_{target}"), BtfKind::Typedef),
        Some(AttachType::TRACE_ITER) => (format!("bpf_iter_{target}"), BtfKind::Func),
        _ => (target.clone(), BtfKind::Func),
    };
    btf.find_by_name_kind(&name, btf_kind).map(|id| id.0)
}

fn every_shipped_variant_loads_or_is_refused_for_a_reason() {
    let before = held();
    let vmlinux = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
    let vmlinux = Arc::new(Btf::parse(vmlinux).expect("the kernel's BTF is well formed"));
    let target = TargetBtf::new(Arc::clone(&vmlinux));
    let catalog = Catalog::embedded().expect("the shipped catalog is well formed");
    for program in &catalog.programs {
        let mut accepted = 0;
        for variant in &program.variants {
            let place = format!("{}/{}", program.name, variant.name);
            let Some(host) = variant.target_for_host(std::env::consts::ARCH, cfg!(target_endian = "big"))
            else {
                continue;
            };
            let object = BpfObject::parse(catalog.object(variant, &host).unwrap()).expect(&place);
            let mut relocator = Relocator::new(&object, &target);
            let relocated: Vec<_> =
                object.entries.iter().map(|entry| relocator.relocate(entry).expect(&place)).collect();
            let loads = object.entries.iter().zip(&relocated).map(|(entry, relocated)| {
                let load = EntryLoad::new(entry, &relocated.insns).expect("the shipped sections are known");
                Some(EntryLoad { attach_btf_id: attach_btf_id(entry, &vmlinux)?, ..load })
            });
            let loads: Option<Vec<EntryLoad>> = loads.collect();
            // A target that this kernel does not have.
            let Some(loads) = loads else { continue };
            let job = loader::job(&object, &loads, None, LoadOptions::default()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            let (report, _) = loader::run(&job, deadline, &AtomicBool::new(false)).unwrap();
            accepted += u32::from(report.is_accepted());
            assert_eq!(report.notes, [""; 0], "{place}: loaded whole");
            for failure in &report.failures {
                assert!(
                    matches!(failure.cause, Cause::Policy | Cause::Unsupported | Cause::Verifier),
                    "{place}: {failure:#?}"
                );
            }
        }
        assert!(accepted > 0, "{}: this kernel takes none of its variants", program.name);
    }
    assert_eq!(left_since(&before), [], "something was left in the kernel");
}

fn rodata_is_constant_to_the_verifier() {
    let with_value = |value| {
        // Calls a helper that no kernel has unless the word in .rodata is 7.
        let mut guarded = entry(
            "guarded",
            vec![
                insn(LD_IMM64, 1, 0, 0, 0),
                insn(0, 0, 0, 0, 0),
                insn(0x61, 1, 1, 0, 0),
                insn(0x15, 1, 0, 1, 7),
                insn(CALL, 0, 0, 0, 9999),
                set(0, 0),
                RETURN,
            ],
        );
        guarded.map_refs = vec![MapRef { insn_off: 0, map: 0, value_off: Some(0) }];
        object(vec![guarded], vec![rodata(value)])
    };
    let report = load(&with_value(7));
    assert!(report.is_accepted(), "{report:#?}");
    let report = load(&with_value(8));
    assert_eq!(report.failures[0].cause, Cause::Verifier, "{report:#?}");
    assert!(report.failures[0].message.contains("9999"), "{report:#?}");
}

fn a_refusal_carries_the_verifiers_words() {
    let report = load(&object(vec![entry("uninitialised", vec![RETURN])], Vec::new()));
    let failure = &report.failures[0];
    assert_eq!((failure.stage, failure.cause), (Stage::Load, Cause::Verifier));
    assert_eq!(failure.subject.as_deref(), Some("uninitialised"));
    assert!(failure.message.contains("R0 !read_ok"), "{failure:#?}");
    assert!(failure.log.contains("processed 1 insns"), "{failure:#?}");
    assert!(report.accepted.is_empty());
}

fn a_reached_poison_is_named() {
    let report = load(&object(vec![entry("e", vec![insn(CALL, 0, 0, 0, 0x0bad_2310), RETURN])], Vec::new()));
    assert!(report.failures[0].message.contains("CO-RE"), "{report:#?}");
}

fn one_refused_entry_does_not_hide_the_next() {
    let entries = vec![entry("bad", vec![RETURN]), entry("good", vec![set(0, 0), RETURN])];
    let report = load(&object(entries, Vec::new()));
    assert_eq!((report.failures.len(), report.accepted.len()), (1, 1), "{report:#?}");
    assert!(!report.is_accepted());
}

fn a_denied_fentry_is_policy_not_verifier() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
    let btf = Btf::parse(bytes).expect("the kernel's BTF is well formed");
    let target = btf.find_by_name_kind("vfs_read", BtfKind::Func).expect("every kernel has vfs_read");
    let object = object(vec![entry("on_read", vec![set(0, 0), RETURN])], Vec::new());
    let attach = Some((AttachType::TRACE_FENTRY, target.0));
    let report =
        try_load(&object, ProgType::TRACING, attach, LoadOptions::default(), Duration::from_secs(60))
            .unwrap();
    // Most kernels accept it. Where a security module denies it, that is what must be said.
    if let Some(failure) = report.failures.first() {
        let denied = matches!(failure.errno.as_deref(), Some("EPERM" | "EACCES"));
        assert_eq!(failure.cause == Cause::Policy, denied, "{failure:#?}");
        assert_ne!(failure.cause, Cause::Verifier, "{failure:#?}");
    }
}

fn absurd_maps_are_refused_with_words() {
    let one = |map| load(&object(vec![entry("e", vec![set(0, 0), RETURN])], vec![map]));
    let report = one(map("huge", MapType::ARRAY, 4, u32::MAX, u32::MAX));
    assert_eq!(
        (report.failures[0].stage, report.failures[0].cause),
        (Stage::Maps, Cause::Unknown),
        "{report:#?}"
    );
    assert!(report.failures[0].message.contains("`huge`"), "{report:#?}");

    let report = one(map("wide", MapType::HASH, 8 << 20, 8, 1));
    assert_eq!(report.failures[0].cause, Cause::Unsupported, "{report:#?}");
    assert_eq!(report.failures[0].errno.as_deref(), Some("E2BIG"), "{report:#?}");
    assert!(report.accepted.is_empty(), "no entry is loaded without its maps");

    let report = one(map("empty", MapType::HASH, 4, 8, 0));
    assert_eq!(report.failures[0].cause, Cause::Object, "{report:#?}");

    let mut elsewhere = map("elsewhere", MapType::HASH, 4, 8, 1);
    // BPF_F_NUMA_NODE
    elsewhere.flags = 1 << 2;
    elsewhere.numa_node = Some(1000);
    assert_eq!(
        one(elsewhere.clone()).failures[0].errno.as_deref(),
        Some("EINVAL"),
        "no machine has that node"
    );
    elsewhere.numa_node = Some(0);
    assert!(one(elsewhere).is_accepted());

    let report = one(map("nonsense", MapType(4000), 4, 8, 1));
    assert_eq!(
        (report.failures[0].stage, report.failures[0].cause),
        (Stage::Maps, Cause::Unsupported),
        "{report:#?}"
    );
}

fn without_capabilities_it_is_the_observer() {
    use rustix::thread::CapabilitySet;
    // Capabilities belong to a thread, and so does the limit on what a program started from it may have.
    let thread = std::thread::spawn(|| {
        let dropped =
            [CapabilitySet::SYS_ADMIN, CapabilitySet::BPF, CapabilitySet::PERFMON, CapabilitySet::NET_ADMIN];
        for capability in dropped {
            rustix::thread::remove_capability_from_bounding_set(capability)
                .expect("root may give up capabilities");
        }
        let object =
            object(vec![entry("e", vec![set(0, 0), RETURN])], vec![map("hash", MapType::HASH, 4, 4, 1)]);
        try_load(&object, ProgType::TRACEPOINT, None, LoadOptions::default(), Duration::from_secs(60))
    });
    let report = thread.join().expect("the thread ends").expect("a worker");
    assert_eq!(report.failures[0].cause, Cause::Privilege, "{report:#?}");
    assert!(report.failures[0].message.contains("CAP_BPF"), "{report:#?}");
}

/// A program that takes the verifier hundreds of thousands of steps: a loop that it has to walk through.
fn slow() -> BpfObject {
    let insns = vec![set(1, 0), insn(0x07, 1, 0, 0, 1), insn(0xa5, 1, 0, -2, 300_000), set(0, 0), RETURN];
    object(vec![entry("slow", insns)], Vec::new())
}

fn a_slow_verifier_is_unknown() {
    let limited = LoadOptions { limit: Duration::from_millis(5), ..LoadOptions::default() };
    let report = try_load(&slow(), ProgType::SOCKET_FILTER, None, limited, Duration::from_secs(60)).unwrap();
    let failure = &report.failures[0];
    assert_eq!((failure.cause, failure.errno.as_deref()), (Cause::Unknown, Some("EAGAIN")), "{failure:#?}");
    assert!(failure.message.contains("within 5 ms"), "{failure:#?}");
    let report = load(&slow());
    assert!(report.is_accepted(), "with time enough it is accepted: {report:#?}");
}

fn a_killed_worker_is_unknown() {
    let before = held();
    let many = (0..200).map(|_| slow().entries.remove(0)).collect();
    let object = object(many, Vec::new());
    let deadline = Duration::from_millis(500);
    let report = try_load(&object, ProgType::SOCKET_FILTER, None, LoadOptions::default(), deadline).unwrap();
    let failure = report.failures.last().expect("200 slow programs do not load within half a second");
    assert_eq!((failure.cause, failure.subject.as_deref()), (Cause::Unknown, Some("slow")), "{failure:#?}");
    assert!(failure.message.contains("killed"), "{failure:#?}");
    assert_eq!(left_since(&before), [], "the kernel takes back what a killed worker held");
}

fn two_loads_at_once() {
    let both = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| {
            scope.spawn(|| load(&object(vec![entry("e", vec![set(0, 0), RETURN])], vec![rodata(1)])))
        });
        threads.map(|thread| thread.join().expect("the thread ends"))
    });
    assert!(both.iter().all(LoadReport::is_accepted), "{both:#?}");
}
