//! Our probe against bpftool's, on the kernel of this machine.
//!
//! What bpftool finds, ours must find. Where they disagree the kernel is asked once more, in the plainest way there is:
//! one program, one call, and what the verifier says. Each kind of disagreement is a row of [`ACCEPTED`] with the reason
//! who is right.

use btf_catalog::insn::{self, Insn};
use btf_catalog::{AttachType, HelperId, MapType, ProgType};
use probe_matrix::facts::{Facts, Support};
use probe_matrix::probe::{self, ProbeOptions};
use probe_matrix::sys::{F_SLEEPABLE, Kernel, LogBuf, ProgLoad};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Disagreements that are understood: the name of the kind, and the reason.
const ACCEPTED: [(&str, &str); 4] = [
    (
        "words",
        "the kernel says `program of this type cannot use helper`; libbpf before 1.5 looks for `unknown func` and takes \
         any other refusal for a complaint about the arguments: ours is right",
    ),
    ("noisy", "bpftool full makes the kernel write to its log; ours asks only with --noisy: both are right"),
    (
        "lockdown",
        "the kernel offers the helper, lockdown hides it from every program: ours says denied, and why",
    ),
    (
        "attach type",
        "bpftool loads without an attach type or a BTF id, and takes the refusal for a missing program type: ours is \
         right",
    ),
];

const TRACE_PRINTK: u32 = 6;
const PROBE_WRITE_USER: u32 = 36;
const TRACE_VPRINTK: u32 = 177;

fn accepted(kind: &str) -> &'static str {
    ACCEPTED.iter().find(|(name, _)| *name == kind).expect("a row of ACCEPTED").0
}

fn root_only() {
    assert!(
        rustix::process::geteuid().is_root(),
        "needs root: sudo -E cargo test -p compat-tests --test bpftool_differential"
    );
}

fn bpftool() -> Value {
    let output = Command::new("bpftool").args(["-j", "feature", "probe", "kernel"]).output();
    let output = output.unwrap_or_else(|error| panic!("bpftool: {error}; apt-get install bpftool"));
    assert!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("bpftool prints JSON")
}

fn ours() -> Facts {
    let mut facts = Facts::default();
    let options = ProbeOptions { only: vec!["bpf".to_owned()], ..ProbeOptions::default() };
    probe::run(&options, Kernel::live(), &mut |_| Ok(()), &mut |name, fact| facts.insert(name, fact))
        .unwrap();
    facts
}

/// What bpftool found: names of the members of `section` that are true, without `have_` and `suffix`.
fn found<'a>(report: &'a Value, section: &str, suffix: &str) -> Vec<(&'a str, bool)> {
    let members = report[section].as_object().unwrap_or_else(|| panic!("bpftool tells no {section}"));
    members
        .iter()
        .map(|(key, value)| {
            let name = key.strip_prefix("have_").and_then(|key| key.strip_suffix(suffix));
            (name.unwrap_or_else(|| panic!("{key}")), value.as_bool().unwrap_or(false))
        })
        .collect()
}

#[test]
fn root_program_types_and_map_types_agree() {
    root_only();
    let (report, facts) = (bpftool(), ours());
    for (name, has) in found(&report, "program_types", "_prog_type") {
        assert!(ProgType::from_name(name).is_some(), "{name}");
        let support = facts.support(&format!("bpf.prog_type.{name}"));
        if has {
            assert_eq!(support, Support::Yes, "program type {name}");
        } else if support == Support::Yes {
            let by_attach_type = AttachType::all().any(|attach| {
                attach.prog_type() == ProgType::from_name(name)
                    && facts.support(&format!("bpf.attach_type.{attach}")) == Support::Yes
            });
            assert!(by_attach_type, "program type {name} is not a case of `{}`", accepted("attach type"));
        }
    }
    for (name, has) in found(&report, "map_types", "_map_type") {
        assert!(MapType::from_name(name).is_some(), "{name}");
        let support = facts.support(&format!("bpf.map_type.{name}"));
        assert_eq!(support == Support::Yes, has, "map type {name}");
    }
    let misc = &report["misc"];
    for (key, name) in [
        ("have_large_insn_limit", "bpf.verifier.large_programs"),
        ("have_bounded_loops", "bpf.verifier.bounded_loops"),
        ("have_v2_isa_extension", "bpf.isa.v2"),
        ("have_v3_isa_extension", "bpf.isa.v3"),
    ] {
        assert_eq!(facts.support(name) == Support::Yes, misc[key].as_bool().unwrap_or(false), "{name}");
    }
}

/// One call in one program: whether the verifier says that the type is not offered the helper.
fn refused_by_name(kernel: &mut Kernel, prog_type: ProgType, helper: HelperId) -> Option<String> {
    let call = Insn { code: insn::CALL, imm: helper.0 as i32, ..Insn::default() };
    let unread = Insn { code: 0xbf, dst: 0, src: 9, ..Insn::default() };
    let exit = Insn { code: insn::EXIT, ..Insn::default() };
    let insns = insn::to_bytes(&[call, unread, exit], cfg!(target_endian = "big"));
    let attach = match prog_type {
        ProgType::CGROUP_SOCK_ADDR => Some(AttachType::CGROUP_INET4_CONNECT),
        ProgType::CGROUP_SOCKOPT => Some(AttachType::CGROUP_SETSOCKOPT),
        ProgType::SK_LOOKUP => Some(AttachType::SK_LOOKUP),
        ProgType::NETFILTER => Some(AttachType::NETFILTER),
        _ => None,
    };
    let flags = if prog_type == ProgType::SYSCALL { F_SLEEPABLE } else { 0 };
    let load = ProgLoad { expected_attach_type: attach, flags, ..ProgLoad::new(prog_type, &insns) };
    let mut log = LogBuf::new(8192, LogBuf::LEVEL_STATS);
    kernel.prog_load(&load, Some(&mut log)).expect_err("r9 is never written");
    let line = log.text().lines().next().unwrap_or_default().to_owned();
    assert!(!line.is_empty(), "{prog_type} {helper}: the verifier was not reached");
    let says = [
        "program of this type cannot use helper",
        "unknown func",
        "invalid func",
        "not supported",
        "supported only",
    ];
    says.iter().any(|text| line.contains(text)).then_some(line)
}

#[test]
fn root_helpers_agree() {
    root_only();
    let (report, facts) = (bpftool(), ours());
    let mut kernel = Kernel::live();
    let mut disagreements: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for (key, listed) in report["helpers"].as_object().expect("bpftool tells helpers") {
        let name = key.strip_suffix("_available_helpers").expect("bpftool's own suffix");
        let prog_type = ProgType::from_name(name).unwrap_or_else(|| panic!("{name}"));
        let listed: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for helper in listed.iter().map(|helper| HelperId::from_name(helper.trim_start_matches("bpf_"))) {
            let helper = helper.expect("a helper that our table names");
            pairs += 1;
            let support = facts.support(&format!("bpf.helper.{prog_type}.{helper}"));
            if support == Support::Yes {
                continue;
            }
            let kind = match (support, helper.0) {
                (Support::Unknown, TRACE_PRINTK | TRACE_VPRINTK | PROBE_WRITE_USER) => "noisy",
                (Support::DeniedWorkload, PROBE_WRITE_USER) => "lockdown",
                (Support::No, _) if refused_by_name(&mut kernel, prog_type, helper).is_some() => "words",
                _ => {
                    wrong.push(format!("{prog_type} {helper}: bpftool finds it, ours says {support}"));
                    continue;
                }
            };
            *disagreements.entry(accepted(kind)).or_default() += 1;
        }
    }
    println!("{pairs} pairs listed by bpftool; accepted disagreements: {disagreements:?}");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every answer, also those that were batched, shared or derived, against one plain load each.
#[test]
fn root_helpers_agree_with_one_load_each() {
    root_only();
    let facts = ours();
    let mut kernel = Kernel::live();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for prog_type in ProgType::all() {
        // These need a BTF id, which the plainest load does not have.
        if matches!(prog_type, ProgType::TRACING | ProgType::STRUCT_OPS | ProgType::EXT | ProgType::LSM)
            || facts.support(&format!("bpf.prog_type.{prog_type}")) != Support::Yes
        {
            continue;
        }
        for helper in HelperId::all() {
            if [TRACE_PRINTK, PROBE_WRITE_USER, TRACE_VPRINTK].contains(&helper.0) {
                continue;
            }
            let support = facts.support(&format!("bpf.helper.{prog_type}.{helper}"));
            let refused = refused_by_name(&mut kernel, prog_type, helper);
            compared += 1;
            let agrees = match support {
                Support::Yes => refused.is_none(),
                Support::No => refused.is_some(),
                _ => false,
            };
            if !agrees {
                wrong.push(format!("{prog_type} {helper}: ours {support}, the kernel {refused:?}"));
            }
        }
    }
    println!("{compared} pairs compared");
    assert!(compared > 5000 && wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}
