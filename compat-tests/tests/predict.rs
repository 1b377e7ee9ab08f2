//! The verdict offline, on the types of a small made-up kernel (`cases/offline/kernel.c`).

mod offline;

use btf_catalog::kernel::Kernel;
use btf_catalog::store::{Directory, Store};
use offline::{kernel, object};
use probe_matrix::derive::Offline;
use probe_matrix::facts::{Evidence, Support};
use probe_matrix::predict::{EntryVerdict, Options, StageVerdict, predict};
use probe_matrix::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

fn verdicts(kernel: &Kernel, name: &str, options: &Options) -> BTreeMap<String, EntryVerdict> {
    let verdicts = predict(&object(name), &Offline::new(kernel), options);
    verdicts.into_iter().map(|verdict| (verdict.program.clone(), verdict)).collect()
}

/// The verdict on loading, with the code of its first reason.
fn load(verdict: &EntryVerdict) -> (Verdict, Option<&str>) {
    (verdict.load.verdict, verdict.load.reasons.first().map(|reason| reason.code.as_str()))
}

#[test]
fn each_entry_loads_or_not_for_its_own_reason() {
    let verdicts = verdicts(&kernel(), "entries.bpfel.o", &Options::default());
    for (program, expected) in [
        ("second", (Verdict::Runs, None)),
        ("third", (Verdict::Blocked, Some("PTL0218"))),
        ("result", (Verdict::Runs, None)),
        ("too_wide", (Verdict::Blocked, Some("PTL0216"))),
        ("gone", (Verdict::Blocked, Some("PTL0204"))),
        ("in_module", (Verdict::Unknown, Some("PTL0604"))),
        ("length", (Verdict::Runs, None)),
        ("beyond", (Verdict::Blocked, Some("PTL0218"))),
        ("packet", (Verdict::Runs, None)),
        ("ifindex", (Verdict::Blocked, Some("PTL0219"))),
        ("helper", (Verdict::Runs, None)),
        ("younger_helper", (Verdict::Blocked, Some("PTL0207"))),
        ("stranger_helper", (Verdict::Blocked, Some("PTL0207"))),
        ("wakeful_helper", (Verdict::Blocked, Some("PTL0207"))),
        ("younger_type", (Verdict::Blocked, Some("PTL0201"))),
    ] {
        assert_eq!(load(&verdicts[program]), expected, "{program}: {:?}", verdicts[program].load.reasons);
    }
    assert!(verdicts.values().all(|verdict| verdict.load.evidence <= Evidence::Derived));
}

#[test]
fn a_kernel_from_a_store_is_judged_as_its_files_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(Directory::new(dir.path()));
    let of_files = kernel();
    let record = store.add(&of_files).unwrap().record;
    let of_store = store.kernel(&record).unwrap();
    for object in ["entries.bpfel.o", "kfuncs.bpfel.o", "links.bpfel.o"] {
        let judged = |kernel| verdicts(kernel, object, &Options::default());
        assert_eq!(judged(&of_store), judged(&of_files), "{object}");
    }
    // And so is one that was taken out of one store and put into another.
    assert!(store.add(&of_store).unwrap().known);
}

#[test]
fn a_module_that_is_named_as_loaded_decides() {
    let with = |modules: &[&str]| Options {
        loaded_modules: Some(modules.iter().map(|module| (*module).to_owned()).collect::<BTreeSet<_>>()),
        ..Options::default()
    };
    let kernel = kernel();
    let loaded = verdicts(&kernel, "entries.bpfel.o", &with(&["made"]));
    assert_eq!(load(&loaded["in_module"]), (Verdict::Runs, None));
    let unloaded = verdicts(&kernel, "entries.bpfel.o", &with(&[]));
    assert_eq!(load(&unloaded["in_module"]), (Verdict::Blocked, Some("PTL0204")));
}

#[test]
fn an_extern_that_is_not_there_costs_the_whole_object() {
    let verdicts = verdicts(&kernel(), "links.bpfel.o", &Options::default());
    for program in ["links", "does_not"] {
        assert_eq!(load(&verdicts[program]), (Verdict::Blocked, Some("PTL0217")), "{program}");
    }
}

#[test]
fn a_map_that_no_kernel_makes_costs_the_whole_object() {
    let verdicts = verdicts(&kernel(), "maps.bpfel.o", &Options::default());
    assert_eq!(load(&verdicts["uses_none"]), (Verdict::Blocked, Some("PTL0224")));
}

#[test]
fn what_every_verifier_refuses_at_sight_is_blocked() {
    let verdicts = verdicts(&kernel(), "rules.bpfel.o", &Options::default());
    for (program, expected) in [
        ("locked", (Verdict::Blocked, Some("PTL0221"))),
        ("unlocked", (Verdict::Runs, None)),
        ("wrong_map", (Verdict::Blocked, Some("PTL0221"))),
        ("simple", (Verdict::Runs, None)),
        ("frame", (Verdict::Blocked, Some("PTL0222"))),
        ("unreached", (Verdict::Blocked, Some("PTL0222"))),
        ("too_early", (Verdict::Blocked, Some("PTL0219"))),
    ] {
        assert_eq!(load(&verdicts[program]), expected, "{program}: {:?}", verdicts[program].load.reasons);
    }
    assert_eq!(verdicts["simple"].load.evidence, Evidence::Derived);
}

#[test]
fn what_the_verifier_finds_out_by_its_own_analysis_blocks_or_is_assumed() {
    let verdicts = verdicts(&kernel(), "analysis.bpfel.o", &Options::default());
    for program in ["untested", "beyond", "unindexed", "unset", "number", "packet", "endless"] {
        let reasons = &verdicts[program].load.reasons;
        assert_eq!(load(&verdicts[program]), (Verdict::Blocked, Some("PTL0226")), "{program}: {reasons:?}");
    }
    for program in ["tested", "indexed"] {
        let StageVerdict { verdict, evidence, .. } = verdicts[program].load;
        assert_eq!(
            (verdict, evidence),
            (Verdict::Runs, Evidence::Derived),
            "{program}: {:?}",
            verdicts[program].checks
        );
    }
}

#[test]
fn what_is_returned_is_held_against_what_the_kernel_lets_such_a_program_return() {
    let verdicts = verdicts(&kernel(), "returns.bpfel.o", &Options::default());
    for (program, verdict, evidence) in [
        ("nothing", Verdict::Runs, Evidence::Derived),
        ("something", Verdict::Blocked, Evidence::Derived),
        ("anything", Verdict::Runs, Evidence::Derived),
        ("unknown", Verdict::Blocked, Evidence::Derived),
        // A verifier that is not shown to be of v6.8 may take it for what it returns on the other.
        ("on_one_way", Verdict::Unknown, Evidence::Assumed),
        ("pointer", Verdict::Blocked, Evidence::Derived),
    ] {
        let load = &verdicts[program].load;
        assert_eq!((load.verdict, load.evidence), (verdict, evidence), "{program}: {:?}", load.reasons);
        let code = load.reasons.first().map(|reason| reason.code.as_str());
        // What is no constant is found by the walk that knows what is in registers.
        let refused = if program == "unknown" { "PTL0226" } else { "PTL0223" };
        assert_eq!(code, (verdict != Verdict::Runs).then_some(refused), "{program}");
    }
}

#[test]
fn kernel_functions_are_called_where_they_are_there_and_meant_for_the_type() {
    let verdicts = verdicts(&kernel(), "kfuncs.bpfel.o", &Options::default());
    for (program, expected) in [
        ("calls", (Verdict::Runs, None)),
        ("calls_elsewhere", (Verdict::Blocked, Some("PTL0220"))),
        ("asks", (Verdict::Runs, None)),
        ("does_not_ask", (Verdict::Blocked, Some("PTL0217"))),
        ("through_a_number", (Verdict::Blocked, Some("PTL0218"))),
    ] {
        assert_eq!(load(&verdicts[program]), expected, "{program}: {:?}", verdicts[program].load.reasons);
    }
}

#[test]
fn kernel_functions_are_for_gpl_compatible_programs() {
    let verdicts = verdicts(&kernel(), "licence.bpfel.o", &Options::default());
    assert_eq!(load(&verdicts["calls"]), (Verdict::Blocked, Some("PTL0105")));
    assert_eq!(load(&verdicts["calls_nothing"]), (Verdict::Runs, None));
}

#[test]
fn who_may_call_a_kernel_function_is_known_from_the_image_alone() {
    let mut without = kernel();
    without.image = None;
    let verdicts = verdicts(&without, "kfuncs.bpfel.o", &Options::default());
    assert_eq!(load(&verdicts["calls"]).0, Verdict::Unknown, "which programs it is for is not known");
}

#[test]
fn without_files_nothing_is_known() {
    let nothing = Kernel::default();
    for (program, verdict) in verdicts(&nothing, "entries.bpfel.o", &Options::default()) {
        assert_ne!(verdict.load.verdict, Verdict::Runs, "{program}");
    }
    let profile = Offline::new(&nothing).profile();
    assert!(profile.facts.iter().all(|(_, fact)| fact.support == Support::Unknown));
}

#[test]
fn an_enumeration_alone_is_not_enough() {
    let mut kernel = kernel();
    kernel.config.as_mut().expect("it has one").options.remove("CONFIG_NET");
    let facts = Offline::new(&kernel).profile().facts;
    assert_eq!(facts.support("bpf.prog_type.kprobe"), Support::Yes);
    assert_eq!(facts.support("bpf.prog_type.xdp"), Support::No, "in the enumeration, but compiled out");
    kernel.config = None;
    let facts = Offline::new(&kernel).profile().facts;
    assert_eq!(facts.support("bpf.prog_type.xdp"), Support::Unknown, "nothing tells whether it was compiled");
    assert_eq!(facts.support("bpf.prog_type.syscall"), Support::No, "not even in the enumeration");
}
