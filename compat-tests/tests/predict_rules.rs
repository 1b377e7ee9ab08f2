//! What the verdict offline says of instructions, calls and the context, on a small made-up kernel.

mod offline;

use btf_catalog::kernel::Kernel;
use offline::{kernel, kernel_of, object};
use probe_matrix::derive::Offline;
use probe_matrix::facts::{Evidence, Support};
use probe_matrix::predict::{EntryVerdict, Options, predict};
use probe_matrix::verdict::{Outcome, Verdict};
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
fn instructions_and_calls_that_no_verifier_takes_are_blocked() {
    let verdicts = verdicts(&kernel(), "instructions.bpfel.o", &Options::default());
    for (program, expected) in [
        ("reserved", (Verdict::Blocked, Some("PTL0222"))),
        ("divides", (Verdict::Blocked, Some("PTL0222"))),
        ("never_divides", (Verdict::Runs, None)),
        ("never_unknown", (Verdict::Blocked, Some("PTL0222"))),
        ("younger", (Verdict::Blocked, Some("PTL0208"))),
        ("endless", (Verdict::Blocked, Some("PTL0222"))),
    ] {
        assert_eq!(load(&verdicts[program]), expected, "{program}: {:?}", verdicts[program].load.reasons);
    }
    // Beside what else this small kernel lacks for them.
    let codes = |program: &str| {
        verdicts[program].load.reasons.iter().map(|reason| reason.code.clone()).collect::<BTreeSet<_>>()
    };
    for program in ["stacked", "recursive", "tail_behind", "tail_of_nothing"] {
        assert!(codes(program).contains("PTL0222"), "{program}: {:?}", codes(program));
    }
    assert!(!codes("shallow").contains("PTL0222"));
    assert!(codes("calls_back").contains("PTL0209"), "{:?}", codes("calls_back"));
}

#[test]
fn what_a_jit_must_be_made_for_is_sure_on_one_machine_only() {
    let on = |arch: &str| {
        let kernel = Kernel { arch: Some(arch.to_owned()), ..kernel() };
        let verdicts = verdicts(&kernel, "instructions.bpfel.o", &Options::default());
        let mut checks = verdicts["tail_behind"].checks.iter();
        checks.find(|check| check.requirement.starts_with("a tail call beside")).map(|check| check.outcome)
    };
    assert_eq!(on("x86_64"), None);
    for arch in ["aarch64", "s390x"] {
        assert_eq!(on(arch), Some(Outcome::Undecided), "{arch}");
    }
}

#[test]
fn functions_that_are_verified_by_themselves_take_what_the_kernel_knows() {
    let verdicts = verdicts(&kernel(), "functions.bpfel.o", &Options::default());
    let told = |program: &str| {
        let mut checks =
            verdicts[program].checks.iter().filter(|check| check.requirement.contains("by itself"));
        checks.next().map(|check| (check.code.clone(), check.outcome))
    };
    for program in ["takes_numbers", "takes_context", "takes_memory"] {
        assert_eq!(told(program), None, "{program}");
    }
    // Perhaps the context: which structure that is, this kernel does not tell.
    let unknown = Some(("PTL0602".to_owned(), Outcome::Undecided));
    assert_eq!(told("takes_nothing_known"), unknown);
    assert_eq!(told("returns_address"), Some(("PTL0225".to_owned(), Outcome::Fail)));
}

#[test]
fn arguments_are_read_where_the_kernel_hands_them_out() {
    use Verdict::{Blocked, Runs, Unknown};
    let told = |kernel: &Kernel| {
        let verdicts = verdicts(kernel, "arguments.bpfel.o", &Options::default());
        let programs =
            ["integers", "text", "nothing", "pointer", "structure", "half", "narrow", "result"].into_iter();
        programs.map(|program| load(&verdicts[program]).0).collect::<Vec<_>>()
    };
    // What became of pointers to pointers does not show in this kernel.
    assert_eq!(told(&kernel()), [Blocked, Runs, Blocked, Unknown, Runs, Runs, Runs, Runs]);
    let younger = kernel_of("younger.bpfel.o");
    assert_eq!(told(&younger), [Runs, Runs, Unknown, Runs, Runs, Blocked, Runs, Runs]);
}

#[test]
fn what_maps_hold_decides_who_may_use_them() {
    let told = |kernel: &Kernel| {
        let verdicts = verdicts(kernel, "map_use.bpfel.o", &Options::default());
        let told = |program: &str| {
            let mut checks =
                verdicts[program].checks.iter().filter(|check| check.requirement.starts_with("map "));
            checks.find(|check| check.requirement.ends_with(program)).map(|check| check.outcome)
        };
        ["plain", "writable", "holds", "probes"].map(told)
    };
    let (fail, undecided) = (Some(Outcome::Fail), Some(Outcome::Undecided));
    assert_eq!(told(&kernel()), [fail, undecided, fail, None]);
    assert_eq!(told(&kernel_of("younger.bpfel.o")), [fail, fail, None, None]);
    // Elements that are allocated while a program runs, where that may sleep.
    let real_time = |mut kernel: Kernel| {
        let config = kernel.config.as_mut().expect("a configuration");
        config.options.insert("CONFIG_PREEMPT_RT".to_owned(), "y".to_owned());
        kernel
    };
    assert_eq!(told(&real_time(kernel())), [fail, undecided, fail, fail]);
    assert_eq!(told(&real_time(kernel_of("younger.bpfel.o"))), [fail, fail, None, None]);
}

#[test]
fn what_is_strict_about_alignment_is_assumed_to_take_a_program() {
    let mut kernel = kernel();
    let evidence = |kernel: &Kernel| {
        verdicts(kernel, "instructions.bpfel.o", &Options::default())["never_divides"].load.evidence
    };
    assert_eq!(evidence(&kernel), Evidence::Derived);
    let config = kernel.config.as_mut().expect("a configuration");
    config.options.remove("CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS");
    assert_eq!(evidence(&kernel), Evidence::Assumed);
}

#[test]
fn storage_of_tasks_was_first_compiled_for_lsm_only() {
    let mut kernel = kernel_of("younger.bpfel.o");
    let told = |kernel: &Kernel| {
        Offline::new(kernel).fact("bpf.map_type.task_storage").map(|fact| (fact.support, fact.evidence))
    };
    assert_eq!(told(&kernel), Some((Support::No, Evidence::Derived)));
    let config = kernel.config.as_mut().expect("a configuration");
    config.options.insert("CONFIG_BPF_LSM".to_owned(), "y".to_owned());
    assert_eq!(told(&kernel), Some((Support::Yes, Evidence::Derived)));
}

#[test]
fn what_the_kernel_counts_is_counted_as_this_kernel_does() {
    let told = |types: &str| {
        let verdicts = verdicts(&kernel_of(types), "limits.bpfel.o", &Options::default());
        move |program: &str| {
            let of_limits = |check: &&_| {
                let check: &probe_matrix::verdict::Check = check;
                check.code == "PTL0222" || check.requirement.starts_with("the stack of")
            };
            verdicts[program].checks.iter().find(of_limits).map(|check| (check.support, check.outcome))
        }
    };
    let older = told("kernel.bpfel.o");
    let refused = Some((Support::No, Outcome::Fail));
    for program in ["calls_back", "two_storages", "too_many_maps", "too_many_functions"] {
        assert_eq!(older(program), refused, "{program}");
    }
    for program in ["shallow", "one_storage", "many_maps"] {
        assert_eq!(older(program), None, "{program}");
    }
    // By its series, which never blocks.
    assert_eq!(older("by_sixteen"), Some((Support::No, Outcome::Undecided)));
}
