//! What a load has to know about the machine it runs on.

use super::outcome::Cause;
use std::fs;

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The machine and this process' privileges on it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Bytes of a page.
    pub(super) page_sz: u64,
    /// CPUs that can ever come online: the slots of a per-CPU value.
    pub(super) possible_cpus: u64,
    /// Bytes that can be taken without swapping; `None` if unreadable.
    pub(super) available_byte_sz: Option<u64>,
    /// `LINUX_VERSION_CODE`.
    pub(super) kern_version: u32,
    /// Effective capabilities, one bit each.
    capabilities: u64,
    /// Whether the capabilities hold in the initial user namespace, the one that bpf(2) asks.
    initial_user_ns: bool,
    /// Whether a seccomp filter sees this process' system calls.
    seccomp: bool,
}

impl Node {
    /// The running machine. What cannot be read is taken for the most careful value.
    pub(super) fn read() -> Node {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = file("/proc/self/status");
        let uname = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Node {
            page_sz: rustix::param::page_size() as u64,
            possible_cpus: last_cpu(&file("/sys/devices/system/cpu/possible")).map_or(1, |last| last + 1),
            available_byte_sz: field(&file("/proc/meminfo"), "MemAvailable:")
                .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)),
            kern_version: kern_version(
                &file("/proc/version_signature"),
                &text(uname.version()),
                &text(uname.release()),
            ),
            capabilities: field(&status, "CapEff:")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .unwrap_or(0),
            initial_user_ns: file("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
            seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode != "0"),
        }
    }

    /// Whether every capability that bpf(2) asks for is held, with effect, and no filter answers in the kernel's place.
    pub(super) fn is_privileged(&self) -> bool {
        self.initial_user_ns && !self.seccomp && self.missing_capabilities().is_empty()
    }

    /// Whose fault an EPERM is.
    pub(super) fn cause_of_denial(&self) -> Cause {
        if self.is_privileged() { Cause::Policy } else { Cause::Privilege }
    }

    /// What this process lacks, with what to do about it.
    pub(super) fn lack(&self) -> String {
        let missing = self.missing_capabilities();
        if !missing.is_empty() {
            format!("this process lacks {}; run it as root on the host", missing.join(", "))
        } else if !self.initial_user_ns {
            "this process is root of a user namespace only; run it as root on the host".to_owned()
        } else if self.seccomp {
            "a seccomp filter stands between this process and bpf(2); run it without (privileged, or unconfined)".to_owned()
        } else {
            "this process has every capability".to_owned()
        }
    }

    fn missing_capabilities(&self) -> Vec<&'static str> {
        let held = |bit: u32| self.capabilities >> bit & 1 == 1;
        // Before v5.8 CAP_SYS_ADMIN stood for CAP_BPF and CAP_PERFMON, and it still implies them.
        let wanted = [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON), ("CAP_NET_ADMIN", CAP_NET_ADMIN)];
        let implied = |bit: u32| bit != CAP_NET_ADMIN && held(CAP_SYS_ADMIN);
        wanted.into_iter().filter(|(_, bit)| !held(*bit) && !implied(*bit)).map(|(name, _)| name).collect()
    }

    #[cfg(test)]
    pub(super) fn for_tests(privileged: bool) -> Node {
        Node {
            page_sz: 4096,
            possible_cpus: 4,
            available_byte_sz: Some(1 << 30),
            kern_version: 0,
            capabilities: if privileged { u64::MAX } else { 0 },
            initial_user_ns: true,
            seccomp: false,
        }
    }
}

/// The value of a `Name:   value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The highest number in a list such as `0-3,8-11`.
fn last_cpu(list: &str) -> Option<u64> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// `LINUX_VERSION_CODE` of the running kernel; 0 if no source has a version.
///
/// Distributions keep it apart from `uname -r`: Ubuntu in /proc/version_signature (`Ubuntu 5.15.0-91.101-generic
/// 5.15.131`), Debian in `uname -v` (`#1 SMP Debian 5.10.226-1`). Kernels before v5.0 compare it for kprobe programs.
fn kern_version(signature: &str, version: &str, release: &str) -> u32 {
    let ubuntu = signature.split_whitespace().last();
    let debian = version.split_once("Debian ").map(|(_, rest)| rest);
    [ubuntu, debian, Some(release)].into_iter().flatten().find_map(version_code).unwrap_or(0)
}

/// `(a << 16) + (b << 8) + min(c, 255)` of `a.b.c…`.
fn version_code(text: &str) -> Option<u32> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    (major < 1 << 16 && minor < 1 << 8).then(|| (major << 16) + (minor << 8) + patch.min(255))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_where_the_distribution_keeps_it() {
        let cases = [
            ("", "#1 SMP", "6.18.5-cloud", 0x06_12_05),
            ("Ubuntu 5.15.0-91.101-generic 5.15.131\n", "#101-Ubuntu", "5.15.0-91-generic", 0x05_0f_83),
            ("", "#1 SMP Debian 5.10.226-1 (2024-10-03)", "5.10.0-33-amd64", 0x05_0a_e2),
            ("", "#1 SMP", "4.19.300", 0x04_13_ff),
            ("", "", "unreadable", 0),
        ];
        for (signature, version, release, expected) in cases {
            assert_eq!(kern_version(signature, version, release), expected, "{signature}{version}{release}");
        }
    }

    #[test]
    fn possible_cpus_end_at_the_last_number() {
        let cases = [("0\n", Some(0)), ("0-3\n", Some(3)), ("0-3,8-11", Some(11)), ("", None)];
        for (list, expected) in cases {
            assert_eq!(last_cpu(list), expected, "{list}");
        }
    }

    #[test]
    fn a_root_in_a_user_namespace_is_not_privileged() {
        let mut node = Node::for_tests(true);
        assert_eq!(node.cause_of_denial(), Cause::Policy);
        node.initial_user_ns = false;
        assert_eq!(node.cause_of_denial(), Cause::Privilege);
        assert!(node.lack().contains("user namespace"));
        assert!(Node::for_tests(false).lack().contains("CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN"));
    }
}
