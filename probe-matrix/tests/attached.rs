//! Depth attach on the kernel of this machine, in a worker: this test is its own worker. Needs root:
//! `sudo -E cargo test -p probe-matrix --test attached`.

use libtest_mimic::{Arguments, Trial};
use probe_matrix::facts::{self, Evidence, Facts, Support};
use probe_matrix::probe::{self, Collected, Depth, ProbeOptions};
use probe_matrix::sys::{Answer, Command as Bpf, Errno, Kernel, ObjectKind, Question};
use probe_matrix::worker::{self, Request, Sender};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// First argument of a process that probes, to be killed or to have less privilege.
const COLLECT: &str = "collect";
const COLLECT_WITHOUT_SYS_ADMIN: &str = "collect-without-sys-admin";
/// Set for a worker whose kernel has no BPF links.
const WITHOUT_LINKS: &str = "without-links";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(worker::ARGUMENT) => return worker::serve(handle),
        Some(COLLECT) => {
            collect();
            return ExitCode::SUCCESS;
        }
        Some(COLLECT_WITHOUT_SYS_ADMIN) => {
            print_without_sys_admin();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let trials = vec![
        trial("root_what_is_attached_runs", root_what_is_attached_runs),
        trial("root_the_configuration_agrees", root_the_configuration_agrees),
        trial("root_nothing_is_left", root_nothing_is_left),
        trial("root_what_a_killed_probe_leaves_is_swept", root_what_a_killed_probe_leaves_is_swept),
        trial("root_a_probe_that_is_cut_short_leaves_nothing", root_a_probe_that_is_cut_short_leaves_nothing),
        trial(
            "root_without_links_programs_are_attached_as_before",
            root_without_links_programs_are_attached_as_before,
        ),
        trial("root_a_missing_capability_is_not_a_no", root_a_missing_capability_is_not_a_no),
    ];
    // One after the other: each looks at what the others would leave.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        assert!(
            rustix::process::geteuid().is_root(),
            "needs root: sudo -E cargo test -p probe-matrix --test attached"
        );
        test();
        Ok(())
    })
}

/// The worker's side.
fn handle(mut request: Request, sender: &mut Sender) -> Result<(), String> {
    if request.verb == probe::VERB && request.body["functions"][0] != WITHOUT_LINKS {
        return probe::serve(request, sender);
    }
    request.body["functions"] = serde_json::json!([]);
    let kernel = Kernel::injected(Box::new(|question| match question {
        Question::Other(Bpf::LinkCreate) => Some(Answer::Refuse(Errno::INVAL, String::new())),
        _ => None,
    }));
    probe::serve_on(kernel, request, sender)
}

fn options() -> ProbeOptions {
    let only = ["bpf.attach", "bpf.fires", "kernel.config"].map(str::to_owned).to_vec();
    ProbeOptions { depth: Depth::Attach, only, ..ProbeOptions::default() }
}

fn collect_with(options: &ProbeOptions) -> Collected {
    let deadline = Instant::now() + Duration::from_secs(60);
    let collected = probe::collect(options, deadline, &AtomicBool::new(false)).unwrap();
    assert_eq!(collected.cut_short, None);
    collected
}

fn collect() -> Facts {
    collect_with(&options()).facts
}

/// Names of the ways, and what was found of attaching and of running.
fn ways(facts: &Facts) -> Vec<(&str, Support, Support)> {
    let attached = facts
        .under("bpf.attach")
        .filter_map(|(name, fact)| Some((name.strip_prefix("bpf.attach.")?, fact.support)));
    attached.map(|(way, attach)| (way, attach, facts.support(&format!("bpf.fires.{way}")))).collect()
}

fn root_what_is_attached_runs() {
    let facts = collect();
    // Nobody attaches these two, and nothing here makes a packet be dissected.
    let not_run = ["struct_ops", "sockmap", "flow_dissector"];
    let mut ran = 0;
    for (way, attach, fires) in ways(&facts).into_iter().filter(|(way, ..)| !not_run.contains(way)) {
        match attach {
            Support::Yes => {
                assert_eq!(fires, Support::Yes, "{way}: {:?}", facts.get(&format!("bpf.fires.{way}")));
                ran += 1;
            }
            _ => assert_ne!(fires, Support::Yes, "{way} runs and is not attached"),
        }
    }
    assert!(ran >= 10, "only {ran} ways can be attached: {:?}", ways(&facts));
    for (name, fact) in facts.under("bpf.attach").chain(facts.under("bpf.fires")) {
        assert!(facts::row(name).is_some(), "{name} is not in data/facts");
        assert!(fact.support != Support::Unknown || fact.reason.is_some(), "{name}: {fact:?}");
        assert!(
            fact.support != Support::Yes
                || fact.evidence == Evidence::Probed
                || not_run.iter().any(|way| name.ends_with(way)),
            "{name}: {fact:?}"
        );
    }
}

fn root_the_configuration_agrees() {
    let facts = collect();
    let mut compared = 0;
    for (way, option) in [
        ("kprobe", "CONFIG_KPROBES"),
        ("kretprobe", "CONFIG_KPROBES"),
        ("kprobe_multi", "CONFIG_FPROBE"),
        ("uprobe", "CONFIG_UPROBES"),
        ("uretprobe", "CONFIG_UPROBES"),
        ("netkit", "CONFIG_NETKIT"),
        ("netfilter", "CONFIG_NETFILTER_BPF_LINK"),
        ("cgroup_skb", "CONFIG_CGROUP_BPF"),
        ("tp_btf", "CONFIG_BPF_EVENTS"),
        ("xdp_native", "CONFIG_VETH"),
    ] {
        let attach = facts.get(&format!("bpf.attach.{way}")).unwrap_or_else(|| panic!("{way} is missing"));
        match facts.support(&format!("kernel.config.{option}")) {
            Support::Yes => assert_ne!(attach.support, Support::No, "{way} with {option}: {attach:?}"),
            Support::No => assert_ne!(attach.support, Support::Yes, "{way} without {option}: {attach:?}"),
            _ => continue,
        }
        compared += 1;
    }
    assert!(compared > 0, "the kernel's configuration is not readable");
}

/// What a probe may change: kernel objects by id, interfaces, cgroups.
fn node() -> (BTreeSet<(u8, u32)>, BTreeSet<PathBuf>) {
    let mut kernel = Kernel::live();
    let mut ids = BTreeSet::new();
    for (which, kind) in (0..).zip([ObjectKind::Prog, ObjectKind::Map, ObjectKind::Link]) {
        let mut last = 0;
        while let Some(id) = kernel.next_id(kind, last).unwrap() {
            ids.insert((which, id));
            last = id;
        }
    }
    let mut paths = entries(Path::new("/sys/class/net"));
    paths.extend(cgroup_mount().map(|mount| entries(&mount)).unwrap_or_default());
    (ids, paths)
}

fn entries(dir: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn cgroup_mount() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn root_nothing_is_left() {
    collect(); // Sweeps what others left.
    let namespace = || std::fs::read_link("/proc/self/ns/net").unwrap();
    let (before, home) = (node(), namespace());
    let log = kernel_log();
    collect();
    assert_eq!(written(log), "");
    // The kernel frees some objects a little later. Other processes' objects may go, and may not come.
    assert!(
        settles(|| {
            let after = node();
            after.0.is_subset(&before.0) && after.1 == before.1
        }),
        "before {before:?}, after {:?}",
        node()
    );
    assert_eq!(namespace(), home);
}

/// The kernel's log from here on.
fn kernel_log() -> File {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg").unwrap();
    log.seek(SeekFrom::End(0)).unwrap();
    log
}

/// What has been written to it of interfaces, packets and probes like ours.
fn written(mut log: File) -> String {
    let mut records = String::new();
    let mut record = [0; 8192];
    while let Ok(byte_sz) = log.read(&mut record) {
        let text = String::from_utf8_lossy(&record[..byte_sz]);
        if ["portolan", "martian", "uprobe"].iter().any(|word| text.contains(word)) {
            records.push_str(&text);
        }
    }
    records
}

/// Whether `condition` comes true within five seconds.
fn settles(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        sleep(Duration::from_millis(1));
    }
    false
}

/// This test again, probing.
fn run_again(argument: &str) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The cgroup of a probe of that process, and the worker in it.
fn caught(mount: &Path, maker: u32) -> Option<(PathBuf, Pid)> {
    let prefix = format!("portolan-probe-{maker}-");
    let cgroup = entries(mount)
        .into_iter()
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix))?;
    let worker = std::fs::read_to_string(cgroup.join("cgroup.procs"))
        .ok()?
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)?;
    kill_process(worker, Signal::STOP).ok()?;
    Some((cgroup, worker))
}

fn root_what_a_killed_probe_leaves_is_swept() {
    let Some(mount) = cgroup_mount() else { return };
    let interfaces = || entries(Path::new("/sys/class/net"));
    let before = interfaces();
    let (mut parent, cgroup, worker) = (0..100)
        .find_map(|_| {
            let mut parent = run_again(COLLECT);
            while parent.try_wait().unwrap().is_none() {
                if let Some((cgroup, worker)) = caught(&mount, parent.id()) {
                    return Some((parent, cgroup, worker));
                }
            }
            None
        })
        .expect("a worker is seen in its cgroup once in 100 runs");
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(settles(|| test_kill_process(worker).is_err()), "the worker is left behind");
    assert_eq!(interfaces(), before);
    assert!(cgroup.is_dir(), "it is all that is left");
    assert!(settles(|| std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap().is_empty()));
    collect();
    assert!(!cgroup.exists(), "the next run removes it");
}

fn root_a_probe_that_is_cut_short_leaves_nothing() {
    let Some(mount) = cgroup_mount() else { return };
    let log = kernel_log();
    let mut cut_short = 0;
    for limit_ms in (20..800).step_by(30) {
        let deadline = Instant::now() + Duration::from_millis(limit_ms);
        let collected = probe::collect(&options(), deadline, &AtomicBool::new(false)).unwrap();
        cut_short += u32::from(collected.cut_short.is_some());
        let own = format!("portolan-probe-{}-", std::process::id());
        let left = entries(&mount).into_iter().find(|path| path.to_str().unwrap().contains(&own));
        assert_eq!(left, None, "after {limit_ms} ms");
    }
    assert!(cut_short > 0);
    assert_eq!(written(log), "");
}

fn root_without_links_programs_are_attached_as_before() {
    let facts = collect_with(&ProbeOptions { functions: vec![WITHOUT_LINKS.to_owned()], ..options() }).facts;
    for way in ["xdp_generic", "cgroup_skb", "cgroup_sock_addr", "sock_ops"] {
        for family in ["bpf.attach", "bpf.fires"] {
            let fact = facts.get(&format!("{family}.{way}")).unwrap();
            assert_eq!(fact.support, Support::Yes, "{family}.{way}: {fact:?}");
        }
    }
    assert_eq!(facts.support("bpf.attach.tcx"), Support::No, "which is a link or nothing");
}

fn root_a_missing_capability_is_not_a_no() {
    let output = run_again(COLLECT_WITHOUT_SYS_ADMIN).wait_with_output().unwrap();
    assert!(output.status.success());
    let facts: Facts = serde_json::from_slice(&output.stdout).unwrap();
    for way in ["xdp_native", "netfilter", "tcx", "cgroup_skb"] {
        let fact = facts.get(&format!("bpf.fires.{way}")).unwrap();
        assert_eq!(fact.support, Support::DeniedObserver, "{way}: {fact:?}");
        assert!(fact.reason.as_ref().unwrap().contains("CAP_SYS_ADMIN"), "{fact:?}");
    }
    assert_eq!(facts.support("bpf.attach.tcx"), Support::Yes, "what is known without attaching stands");
    assert_eq!(facts.support("bpf.fires.tp_btf"), Support::Yes, "CAP_BPF and CAP_PERFMON are enough");
}

fn print_without_sys_admin() {
    let mut sets = capabilities(None).unwrap();
    sets.permitted = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
    sets.effective = sets.permitted;
    sets.inheritable = CapabilitySet::empty();
    // Root gains all of the bounding set at the next execve(2), which is that of the worker. The set of all has bits of
    // no capability, which are refused.
    for capability in CapabilitySet::all().difference(sets.permitted).iter() {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    set_capabilities(None, sets).unwrap();
    println!("{}", serde_json::to_string(&collect()).unwrap());
}
