//! How the probes read the kernel's answers, with the answers given in its place. Each test is a wrong answer that a
//! well-known tool gives.

use btf_catalog::{AttachType, ProgType};
use probe_matrix::facts::{Evidence, Fact, Facts, Support};
use probe_matrix::probe::caller::CapSet;
use probe_matrix::probe::{self, ProbeOptions};
use probe_matrix::sys::{Answer, Command, Errno, Kernel, ProgLoad, Question};

/// What the verifier says when it took all that a probe asked about.
const TAKEN: &str = "R9 !read_ok\nprocessed 1 insns (limit 1000000) max_states_per_insn 0\n";

fn taken() -> Answer {
    Answer::Refuse(Errno::ACCESS, TAKEN.to_owned())
}

fn silent(errno: Errno) -> Answer {
    Answer::Refuse(errno, String::new())
}

/// The facts under `bpf` of a kernel that gives these answers, asked by root.
fn probe(answer: impl FnMut(Question<'_>) -> Option<Answer> + 'static) -> Facts {
    probe_as(CapSet(u64::MAX), answer)
}

fn probe_as(effective: CapSet, answer: impl FnMut(Question<'_>) -> Option<Answer> + 'static) -> Facts {
    let mut options = ProbeOptions::default();
    options.caller.effective = Some(effective);
    options.caller.initial_user_namespace = Some(true);
    options.caller.seccomp = Some(0);
    options.caller.lsm_label = None;
    options.caller.memlock_soft_byte_sz = None;
    let kernel = Kernel::injected(Box::new(answer));
    let mut facts = Facts::default();
    probe::run(&options, kernel, &mut |_| Ok(()), &mut |name, fact| facts.insert(name, fact)).unwrap();
    facts.retain_under(&["bpf".to_owned()]);
    facts
}

/// The same answer to every program, map, BTF, link and token.
fn always(answer: Answer) -> impl FnMut(Question<'_>) -> Option<Answer> {
    move |question| match question {
        Question::ProgLoad(_)
        | Question::MapCreate(_)
        | Question::Other(
            Command::BtfLoad
            | Command::LinkCreate
            | Command::ProgAttach
            | Command::TokenCreate
            | Command::RawTracepointOpen,
        ) => Some(answer.clone()),
        _ => None,
    }
}

fn calls_a_helper(load: &ProgLoad<'_>) -> bool {
    load.insns.as_chunks::<8>().0.iter().any(|insn| insn[0] == 0x85 && insn[1] == 0)
}

/// Facts that rest on the kernel's answers, not on files and signatures. What sysfs says is not injected.
fn asked(facts: &Facts) -> impl Iterator<Item = (&str, &Fact)> {
    facts.iter().filter(|(_, fact)| fact.evidence == Evidence::Probed && fact.source.starts_with("BPF_"))
}

#[test]
fn eperm_is_not_a_no() {
    let facts = probe(always(silent(Errno::PERM)));
    assert!(asked(&facts).count() > 100);
    for (name, fact) in asked(&facts) {
        assert!(!matches!(fact.support, Support::Yes | Support::No), "{name}: {fact:?}");
    }
    assert_eq!(facts.support("bpf.prog_type.xdp"), Support::DeniedWorkload);
    assert_eq!(facts.support("bpf.map_type.hash"), Support::DeniedWorkload);
    let group = facts.get("bpf.helper.xdp").expect("one fact for the group");
    assert_eq!(group.support, Support::DeniedWorkload);
}

#[test]
fn without_capabilities_it_is_the_observer_who_is_denied() {
    let facts = probe_as(CapSet(0), always(silent(Errno::PERM)));
    let fact = facts.get("bpf.prog_type.xdp").unwrap();
    assert_eq!((fact.support, fact.errno.as_deref()), (Support::DeniedObserver, Some("EPERM")));
    assert_eq!(fact.reason.as_deref(), Some("this caller lacks CAP_NET_ADMIN, CAP_BPF"));
    let fact = facts.get("bpf.prog_type.kprobe").unwrap();
    assert_eq!(fact.reason.as_deref(), Some("this caller lacks CAP_PERFMON, CAP_BPF"));
    assert!(asked(&facts).all(|(_, fact)| fact.support != Support::DeniedWorkload));
}

#[test]
fn enomem_and_its_like_are_neither_yes_nor_no() {
    for errno in [Errno::NOMEM, Errno::AGAIN, Errno::MFILE] {
        let facts = probe(always(silent(errno)));
        for (name, fact) in asked(&facts) {
            assert_eq!(fact.support, Support::Unknown, "{errno:?} {name}: {fact:?}");
        }
    }
}

#[test]
fn enomem_of_a_helper_is_neither_yes_nor_no() {
    let facts = probe(|question| match question {
        Question::ProgLoad(load) if calls_a_helper(load) => Some(silent(Errno::NOMEM)),
        Question::ProgLoad(_) => Some(taken()),
        _ => None,
    });
    assert_eq!(facts.support("bpf.prog_type.xdp"), Support::Yes);
    let fact = facts.get("bpf.helper.xdp.redirect").unwrap();
    assert_eq!((fact.support, fact.errno.as_deref()), (Support::Unknown, Some("ENOMEM")));
    let yes: Vec<&str> = facts
        .under("bpf.helper")
        .filter(|(_, fact)| fact.support == Support::Yes)
        .map(|(name, _)| name)
        .collect();
    assert!(yes.is_empty(), "{yes:?}");
}

#[test]
fn a_silent_einval_is_a_no() {
    let facts = probe(always(silent(Errno::INVAL)));
    assert_eq!(facts.support("bpf.prog_type.xdp"), Support::No);
    assert_eq!(facts.support("bpf.map_type.hash"), Support::No);
}

#[test]
fn a_program_type_is_not_its_attach_types() {
    // As on a kernel whose security module refuses fentry and its like.
    let refused = [AttachType::TRACE_FENTRY, AttachType::TRACE_FEXIT, AttachType::MODIFY_RETURN];
    let facts = probe(move |question| match question {
        Question::ProgLoad(load) if load.prog_type == ProgType::TRACING => {
            let attach = load.expected_attach_type;
            if attach.is_some_and(|attach| refused.contains(&attach)) {
                Some(silent(Errno::PERM))
            } else {
                Some(taken())
            }
        }
        _ => None,
    });
    assert_eq!(facts.support("bpf.prog_type.tracing"), Support::Yes);
    assert_eq!(facts.support("bpf.attach_type.trace_raw_tp"), Support::Yes);
    assert_eq!(facts.support("bpf.attach_type.trace_fentry"), Support::DeniedWorkload);
    assert_eq!(facts.support("bpf.attach.fentry"), Support::DeniedWorkload);
}

#[test]
fn load_is_not_attach() {
    // As on a kernel that knows the types but was built without what attaches.
    let facts = probe(|question| match question {
        Question::ProgLoad(load) if load.insns.len() == 16 && load.insns[0] == 0xb7 => Some(Answer::Accept),
        Question::ProgLoad(_) => Some(taken()),
        Question::Other(Command::LinkCreate) => Some(silent(Errno::OPNOTSUPP)),
        _ => None,
    });
    assert_eq!(facts.support("bpf.prog_type.kprobe"), Support::Yes);
    assert_eq!(facts.support("bpf.attach_type.trace_kprobe_multi"), Support::No);
    assert_eq!(facts.support("bpf.attach.kprobe_multi"), Support::No);
    assert_eq!(facts.support("bpf.link.kprobe_multi"), Support::No);
    // EOPNOTSUPP is not how a kernel without tcx answers.
    assert_eq!(facts.support("bpf.attach.tcx"), Support::Unknown);
}

/// A kernel that takes every program, has no links, and answers this to BPF_PROG_ATTACH.
fn without_links(prog_attach: Errno) -> Facts {
    probe(move |question| match question {
        Question::ProgLoad(load) if load.insns.len() == 16 && load.insns[0] == 0xb7 => Some(Answer::Accept),
        Question::ProgLoad(_) => Some(taken()),
        Question::Other(Command::LinkCreate) => Some(silent(Errno::INVAL)),
        Question::Other(Command::ProgAttach) => Some(silent(prog_attach)),
        _ => None,
    })
}

#[test]
fn no_link_is_not_no_way_to_attach() {
    // As before v5.7.
    let facts = without_links(Errno::BADF);
    for name in ["bpf.attach.cgroup", "bpf.attach.perf_event", "bpf.attach.xdp", "bpf.attach.sockmap"] {
        assert_eq!(facts.support(name), Support::Yes, "{name}: {:?}", facts.get(name));
    }
    for name in ["bpf.link.cgroup", "bpf.link.perf_event", "bpf.attach.tcx", "bpf.attach.uprobe_multi"] {
        assert_eq!(facts.support(name), Support::No, "{name}: {:?}", facts.get(name));
    }
    for name in ["cgroup_inet_ingress", "cgroup_device", "cgroup_sysctl", "cgroup_sock_ops", "sk_msg_verdict"]
    {
        let name = format!("bpf.attach_type.{name}");
        assert_eq!(facts.support(&name), Support::Yes, "{name}: {:?}", facts.get(&name));
    }
    // Read from the program's type and the event sources: no call shows them.
    for name in ["bpf.attach.perf_event", "bpf.attach.xdp"] {
        let evidence = facts.get(name).unwrap().evidence;
        assert!(matches!(evidence, Evidence::Derived), "{name}: {evidence}");
    }
}

#[test]
fn without_a_link_prog_attach_is_read_like_any_other_answer() {
    for (errno, support) in [
        (Errno::INVAL, Support::No),
        (Errno::PERM, Support::DeniedWorkload),
        (Errno::NOMEM, Support::Unknown),
        (Errno::NOENT, Support::Unknown),
    ] {
        let facts = without_links(errno);
        assert_eq!(facts.support("bpf.attach.cgroup"), support, "{errno:?}");
        assert_eq!(facts.support("bpf.attach_type.cgroup_device"), support, "{errno:?}");
    }
}

#[test]
fn a_log_that_is_not_understood_is_unknown() {
    let facts = probe(|question| match question {
        Question::ProgLoad(load) if calls_a_helper(load) => {
            Some(Answer::Refuse(Errno::INVAL, "the stars are not right\n".to_owned()))
        }
        Question::ProgLoad(_) => Some(taken()),
        _ => None,
    });
    let fact = facts.get("bpf.helper.xdp.redirect").unwrap();
    assert_eq!(fact.support, Support::Unknown);
    assert!(fact.reason.as_deref().unwrap().contains("the stars are not right"));
}

#[test]
fn a_verifier_that_takes_all_has_all() {
    let kernel = Kernel::injected(Box::new(always(Answer::Refuse(Errno::ACCESS, TAKEN.to_owned()))));
    let mut facts = Facts::default();
    let options = ProbeOptions::default();
    let stats =
        probe::run(&options, kernel, &mut |_| Ok(()), &mut |name, fact| facts.insert(name, fact)).unwrap();
    assert_eq!(stats.bpf.accepted_loads, 0, "no probe program needs to be accepted for these");
    assert_eq!(facts.support("bpf.verifier.large_programs"), Support::Yes);
    assert_eq!(facts.get("bpf.verifier.complexity_limit").unwrap().value, Some(1_000_000.into()));
    assert_eq!(facts.support("bpf.helper.xdp.redirect_map"), Support::Yes);
    let fact = facts.get("bpf.helper.xdp.skb_store_bytes").unwrap();
    assert_eq!((fact.support, fact.evidence), (Support::No, Evidence::Derived), "needs another context");
}

#[test]
fn noisy_questions_are_asked_only_when_told_to() {
    let noisy = |noisy| {
        let mut asked = false;
        let seen = std::rc::Rc::new(std::cell::Cell::new(false));
        let told = std::rc::Rc::clone(&seen);
        let kernel = Kernel::injected(Box::new(move |question| match question {
            Question::ProgLoad(load) => {
                let trace_printk =
                    |insn: &[u8; 8]| insn[0] == 0x85 && insn[1] == 0 && insn[4..] == 6_i32.to_ne_bytes();
                told.set(told.get() || load.insns.as_chunks().0.iter().any(trace_printk));
                Some(taken())
            }
            _ => None,
        }));
        let options = ProbeOptions { noisy, only: vec!["bpf.helper".to_owned()], ..ProbeOptions::default() };
        probe::run(&options, kernel, &mut |_| Ok(()), &mut |name, fact| {
            asked |= name == "bpf.helper.xdp.trace_printk" && fact.support == Support::Yes;
        })
        .unwrap();
        (asked, seen.get())
    };
    assert_eq!(noisy(false), (false, false));
    assert_eq!(noisy(true), (true, true));
}

#[test]
fn only_what_was_asked_for_is_asked() {
    let options = ProbeOptions { only: vec!["bpf.map_type".to_owned()], ..ProbeOptions::default() };
    let kernel = Kernel::injected(Box::new(always(Answer::Refuse(Errno::ACCESS, TAKEN.to_owned()))));
    let mut names = Vec::new();
    let stats = probe::run(&options, kernel, &mut |_| Ok(()), &mut |name, _| names.push(name)).unwrap();
    assert!(names.iter().all(|name| name.starts_with("bpf.map_type.")), "{names:?}");
    assert!(names.len() > 30 && stats.bpf.loads < 300);
}
