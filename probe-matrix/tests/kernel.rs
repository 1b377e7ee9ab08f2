//! The probes on the kernel of this machine. Needs root: `sudo -E cargo test -p probe-matrix --test kernel`.

use probe_matrix::facts::{self, Facts, Support};
use probe_matrix::probe::{self, ProbeOptions, ProbeStats};
use probe_matrix::sys::{Kernel, ObjectKind};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

fn probe() -> (Facts, ProbeStats) {
    assert!(
        rustix::process::geteuid().is_root(),
        "needs root: sudo -E cargo test -p probe-matrix --test kernel"
    );
    let mut facts = Facts::default();
    let stats = probe::run(&ProbeOptions::default(), Kernel::live(), &mut |_| Ok(()), &mut |name, fact| {
        facts.insert(name, fact);
    });
    (facts, stats.unwrap())
}

#[test]
fn root_every_fact_is_in_the_table_and_tells_why() {
    let (facts, _) = probe();
    assert!(facts.len() > 5000);
    for (name, fact) in facts.iter() {
        assert!(facts::row(name).is_some(), "{name} is not in data/facts");
        let plain = matches!(fact.support, Support::Yes | Support::No);
        assert!(plain || fact.reason.is_some() || fact.errno.is_some(), "{name}: {fact:?}");
    }
}

/// What the kernel's enumerations name although the configuration left it out.
#[test]
fn root_named_by_the_kernel_is_not_built_in() {
    let (facts, _) = probe();
    for (name, option) in [
        ("bpf.attach.netkit", "CONFIG_NETKIT"),
        ("bpf.attach_type.netkit_primary", "CONFIG_NETKIT"),
        ("bpf.link.netkit", "CONFIG_NETKIT"),
        ("bpf.prog_type.lirc_mode2", "CONFIG_BPF_LIRC_MODE2"),
        ("bpf.attach_type.lirc_mode2", "CONFIG_BPF_LIRC_MODE2"),
        ("bpf.attach_type.trace_kprobe_multi", "CONFIG_KPROBES"),
        ("bpf.attach.kprobe_multi", "CONFIG_KPROBES"),
        ("bpf.attach.kprobe", "CONFIG_KPROBES"),
        ("bpf.attach.uprobe", "CONFIG_UPROBES"),
        ("bpf.attach.netfilter", "CONFIG_NETFILTER_BPF_LINK"),
        ("bpf.prog_type.cgroup_skb", "CONFIG_CGROUP_BPF"),
        ("bpf.prog_type.lwt_in", "CONFIG_LWTUNNEL_BPF"),
    ] {
        let config = facts.support(&format!("kernel.config.{option}"));
        let fact = facts.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        match config {
            Support::No => assert_eq!(fact.support, Support::No, "{name} without {option}: {fact:?}"),
            Support::Yes => assert_ne!(fact.support, Support::No, "{name} with {option}: {fact:?}"),
            _ => {}
        }
    }
}

#[test]
fn root_nothing_is_left_loaded_logged_or_pulled_in() {
    let mut kernel = Kernel::live();
    let mut ids = |kind| {
        let mut ids = BTreeSet::new();
        let mut last = 0;
        while let Some(id) = kernel.next_id(kind, last).unwrap() {
            ids.insert(id);
            last = id;
        }
        ids
    };
    let modules = || std::fs::read_to_string("/proc/modules").unwrap_or_default().lines().count();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg").unwrap();
    log.seek(SeekFrom::End(0)).unwrap();
    let before = (ids(ObjectKind::Link), modules());

    let (_, stats) = probe();

    assert_eq!((ids(ObjectKind::Link), modules()), before);
    assert!(stats.bpf.accepted_loads < 32, "{stats:?}");
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("/dev/kmsg: {error}"),
            Ok(count) => {
                let text = String::from_utf8_lossy(&record[..count]).to_lowercase();
                let ours =
                    ["bpf", "lockdown", "trace_printk", "verifier"].iter().any(|word| text.contains(word));
                assert!(!ours, "the probe made the kernel write: {text}");
            }
        }
    }
}
