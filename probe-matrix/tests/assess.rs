//! Whether what loads can be attached: the cases in which other tools say yes, and the answers that must not be guessed.

use btf_catalog::ProgType;
use btf_catalog::require::{ContextReads, EntryRequirements, Requirements};
use probe_matrix::assess::{Node, assess, traced_functions, tracepoints};
use probe_matrix::facts::{Evidence, Fact, Facts, Support};
use probe_matrix::verdict::{Check, Outcome, Stage};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn object(attach_by: &str, target: Option<&str>, end_byte: u32) -> Requirements {
    let entry = EntryRequirements {
        name: "entry".to_owned(),
        section: attach_by.to_owned(),
        autoload: true,
        prog_type: ProgType::KPROBE,
        attach_type: None,
        attach_type_optional: false,
        attach_by: attach_by.to_owned(),
        target: target.map(str::to_owned),
        target_module: None,
        attach_btf: false,
        struct_ops: None,
        sleepable: false,
        helpers: BTreeSet::new(),
        kfuncs: BTreeSet::new(),
        kconfigs: BTreeSet::new(),
        ksyms: BTreeSet::new(),
        maps: BTreeSet::new(),
        core_relos: 0,
        isa: BTreeSet::new(),
        insns: 2,
        subprograms: false,
        global_functions: false,
        loops: false,
        reads_pt_regs: false,
        context: ContextReads { any: end_byte > 0, end_byte, more: false },
        xdp_frags: false,
        guarded: false,
    };
    Requirements {
        big_endian: false,
        license: "GPL".to_owned(),
        gpl_compatible: true,
        entries: vec![entry],
        maps: Vec::new(),
    }
}

/// The outcome of the check that is about the target, on a node where every way to attach works.
fn outcome(requirements: &Requirements, fact: &str, support: Support, value: Value) -> (Outcome, String) {
    let mut facts = Facts::default();
    let yes = || Fact::new(Support::Yes, Evidence::Probed, "a made-up node");
    for name in ["bpf.prog_type.kprobe", "bpf.attach.kprobe", "bpf.attach.tracepoint", "mounts.tracefs"] {
        facts.insert(name, yes());
    }
    facts.insert(fact, Fact { support, ..yes() }.value(value));
    let checks = assess(requirements, Node { facts: &facts, btf: None });
    let about_target = |check: &&Check| check.stage == Stage::Attach && check.fact == fact;
    let check = checks.iter().find(about_target).unwrap_or_else(|| panic!("no check of {fact}: {checks:#?}"));
    (check.outcome, check.code.clone())
}

#[test]
fn a_kprobe_needs_one_function_of_the_name_that_may_be_probed() {
    let object = object("kprobe", Some("f"), 0);
    assert_eq!(traced_functions(&object), ["f"]);
    let symbol = |in_kallsyms: u64, traced: Value, blacklisted: Value, copies: &[&str]| json!({ "in_kallsyms": in_kallsyms, "in_filter_functions": traced, "blacklisted": blacklisted, "copies": copies });
    let cases = [
        (Support::Yes, symbol(1, json!(true), json!(false), &[]), Outcome::Pass, "PTL0204"),
        (Support::Yes, symbol(1, json!(true), Value::Null, &[]), Outcome::Pass, "PTL0204"),
        (Support::Yes, symbol(3, json!(true), json!(false), &[]), Outcome::Undecided, "PTL0602"),
        (Support::Yes, symbol(1, json!(true), json!(true), &[]), Outcome::Fail, "PTL0216"),
        (Support::Yes, symbol(1, json!(false), json!(false), &[]), Outcome::Undecided, "PTL0602"),
        (Support::Yes, symbol(1, Value::Null, Value::Null, &[]), Outcome::Undecided, "PTL0602"),
        (Support::No, symbol(0, Value::Null, Value::Null, &["f.isra.0"]), Outcome::Fail, "PTL0215"),
        (Support::No, symbol(0, Value::Null, Value::Null, &[]), Outcome::Fail, "PTL0204"),
        (Support::DeniedObserver, Value::Null, Outcome::Undecided, "PTL0601"),
        (Support::DeniedWorkload, Value::Null, Outcome::Fail, "PTL0501"),
    ];
    for (support, value, expected, code) in cases {
        let found = outcome(&object, "symbol.f", support, value.clone());
        assert_eq!(found, (expected, code.to_owned()), "{support:?} {value}");
    }
}

#[test]
fn an_event_must_be_there_and_have_what_is_read() {
    let fact = "tracepoint.skb.kfree_skb";
    let reads = |end_byte| object("tracepoint", Some("skb/kfree_skb"), end_byte);
    assert_eq!(tracepoints(&reads(0)), ["skb/kfree_skb"]);
    let ask =
        |object: &Requirements, support| outcome(object, fact, support, json!({ "id": 1, "byte_sz": 40 })).0;
    assert_eq!(ask(&reads(40), Support::Yes), Outcome::Pass);
    assert_eq!(ask(&reads(44), Support::Yes), Outcome::Undecided, "more is read than the event has");
    assert_eq!(ask(&reads(8), Support::No), Outcome::Fail);
    assert_eq!(ask(&reads(8), Support::Unknown), Outcome::Undecided);
    let of_ftrace = object("tracepoint", Some("ftrace/print"), 0);
    assert_eq!(outcome(&of_ftrace, "tracepoint.ftrace.print", Support::Yes, Value::Null).0, Outcome::Fail);
    let without_group = object("tracepoint", Some("kfree_skb"), 0);
    assert_eq!(outcome(&without_group, "tracepoint.kfree_skb", Support::Yes, Value::Null).0, Outcome::Fail);
}

#[test]
fn what_is_chosen_later_or_not_looked_at_is_not_known() {
    for (attach_by, target) in
        [("kprobe", None), ("uprobe", Some("/bin/true:main")), ("ksyscall", Some("openat"))]
    {
        let checks = assess(&object(attach_by, target, 0), Node { facts: &Facts::default(), btf: None });
        let open = checks
            .iter()
            .any(|c| c.stage == Stage::Attach && c.fact == "object" && c.outcome == Outcome::Undecided);
        assert!(open, "{attach_by}: {checks:#?}");
    }
}

#[test]
fn an_assumption_never_blocks() {
    let mut facts = Facts::default();
    facts.insert("bpf.prog_type.kprobe", Fact::new(Support::No, Evidence::Assumed, "a sibling"));
    let checks = assess(&object("kprobe", None, 0), Node { facts: &facts, btf: None });
    assert_eq!(checks[0].outcome, Outcome::Undecided, "{checks:#?}");
}

#[test]
fn a_kprobe_behind_the_beginning_of_a_function_asks_for_that_function() {
    let probe = |attach_by: &str, target: &str| {
        let object = object(attach_by, Some(target), 0);
        assert_eq!(traced_functions(&object), ["f"]);
        let mut facts = Facts::default();
        for name in ["bpf.prog_type.kprobe", "bpf.attach.kprobe", "symbol.f"] {
            let traced = json!({ "in_kallsyms": 1, "in_filter_functions": true });
            facts.insert(name, Fact::new(Support::Yes, Evidence::Probed, "a made-up node").value(traced));
        }
        let checks = assess(&object, Node { facts: &facts, btf: None });
        let attach = |outcome| {
            checks
                .iter()
                .filter(move |check| check.stage == Stage::Attach && check.outcome == outcome)
                .count()
        };
        (attach(Outcome::Fail), attach(Outcome::Undecided))
    };
    assert_eq!(probe("kprobe", "f"), (0, 0));
    assert_eq!(probe("kprobe", "f+0"), (0, 0));
    assert_eq!(probe("kprobe", "f+0x4"), (0, 1));
    assert_eq!(probe("kretprobe", "f+0x4"), (1, 0));
}
