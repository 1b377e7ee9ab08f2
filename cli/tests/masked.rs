//! What is mounted over: a file that this process cannot see is not one that the kernel does not have.

use serde_json::Value;
use std::process::Command;

/// The facts of a probe in a mount namespace of its own, after `mounts`.
fn facts(mounts: &str, args: &str) -> Value {
    assert!(
        rustix::process::geteuid().is_root(),
        "mounts file systems: run the tests as root (sudo cargo test)"
    );
    let script = format!("mount --make-rprivate / && {mounts} && exec \"$0\" probe -o json {args}");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-ec", &script, env!("CARGO_BIN_EXE_portolan")])
        .output()
        .expect("this test needs unshare(1) of util-linux");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let profile: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    profile["facts"].clone()
}

#[test]
fn root_btf_that_is_mounted_over_is_unknown() {
    for mounts in
        ["mount -t tmpfs t /sys/kernel/btf", "mount -t tmpfs t /sys/kernel", "mount -t tmpfs t /sys"]
    {
        let facts = facts(mounts, "--depth read --only btf");
        for name in ["btf.vmlinux", "btf.modules"] {
            assert_eq!(facts[name]["support"], "unknown", "{name} after {mounts}: {facts}");
        }
    }
}

/// /sys/kernel is another directory of sysfs here, which has no BTF, as that of a kernel without it.
#[test]
fn root_sysfs_itself_says_no_unless_the_configuration_says_yes() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().display();
    // A host root is that of this machine: its boot_id is there to see.
    let random = "/proc/sys/kernel/random";
    let mounts = format!(
        "mkdir -p {root}/sys/kernel {root}{random} && mount --bind /sys/kernel/mm {root}/sys/kernel \
         && mount --bind {random} {root}{random}"
    );
    let args = format!("--depth read --only btf --host-root {root}");
    assert_eq!(facts(&mounts, &args)["btf.vmlinux"]["support"], "no");
    let config = dir.path().join("boot");
    std::fs::create_dir(&config).unwrap();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    std::fs::write(config.join(format!("config-{release}")), "CONFIG_DEBUG_INFO_BTF=y\n").unwrap();
    assert_eq!(facts(&mounts, &args)["btf.vmlinux"]["support"], "unknown");
}

#[test]
fn root_event_sources_that_are_mounted_over_are_unknown() {
    let facts = facts("mount -t tmpfs t /sys/bus/event_source/devices", "--only bpf.attach");
    for name in ["bpf.attach.kprobe", "bpf.attach.uprobe"] {
        assert_ne!(facts[name]["support"], "no", "{name}: {}", facts[name]);
    }
}
