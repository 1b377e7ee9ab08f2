//! What a load has to know about the machine it runs on.

use super::outcome::Cause;
use btf_catalog::MapType;
use probe_matrix::probe::caller::{BPF_CAPABILITIES, Caller};
use probe_matrix::probe::kernel::version_code;
use probe_matrix::sys::{Kernel, MapCreate};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

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
    /// Whether this kernel charges maps, programs and BTF against a limit of locked memory, and answers EPERM where it
    /// does not suffice: [`lift_memlock`].
    pub(super) memlock_limited: bool,
    /// This process.
    caller: Caller,
}

impl Node {
    /// The running machine. What cannot be read is taken for the most careful value.
    pub(super) fn read(memlock_limited: bool) -> Node {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Node {
            page_sz: rustix::param::page_size() as u64,
            possible_cpus: last_cpu(&file("/sys/devices/system/cpu/possible")).map_or(1, |last| last + 1),
            available_byte_sz: field(&file("/proc/meminfo"), "MemAvailable:")
                .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)),
            // Kernels before v5.0 compare it for kprobe programs.
            kern_version: version_code(
                &text(uname.release()),
                &text(uname.version()),
                Some(&file("/proc/version_signature")),
            )
            .map_or(0, |(code, _)| code),
            memlock_limited,
            caller: Caller::observe(),
        }
    }

    /// Whether every capability that bpf(2) asks for is held, with effect, no filter answers in the kernel's place, and
    /// neither a security module nor a limit holds back this process more than others.
    pub(super) fn is_privileged(&self) -> bool {
        self.handicap().is_none()
    }

    /// Whether every capability that bpf(2) asks for is held, with effect: what the verifier makes its rules of.
    pub(super) fn is_capable(&self) -> bool {
        self.caller.initial_user_namespace == Some(true) && self.lacks().is_empty()
    }

    /// Whose fault an EPERM is.
    pub(super) fn cause_of_denial(&self) -> Cause {
        if self.is_privileged() { Cause::Policy } else { Cause::Privilege }
    }

    /// What this process lacks, with what to do about it.
    pub(super) fn lack(&self) -> String {
        self.handicap().unwrap_or_else(|| "this process has every capability".to_owned())
    }

    /// What may earn this process an EPERM that another one would not get.
    fn handicap(&self) -> Option<String> {
        let missing = self.lacks();
        if !missing.is_empty() {
            return Some(format!("this process lacks {}; run it as root on the host", missing.join(", ")));
        }
        if self.caller.initial_user_namespace != Some(true) {
            let why = "this process is root of a user namespace only; run it as root on the host";
            return Some(why.to_owned());
        }
        if self.is_filtered() {
            let why = "a seccomp filter stands between this process and bpf(2); run it without (privileged, or \
                       unconfined)";
            return Some(why.to_owned());
        }
        if let Some(label) = self.caller.confinement() {
            return Some(format!(
                "this process is confined by a security module (label {label}), which may refuse it what others are \
                 granted; run it unconfined"
            ));
        }
        self.memlock_limited.then(|| {
            "this kernel (before v5.11) charges it to RLIMIT_MEMLOCK, which this process could not raise for want of \
             CAP_SYS_RESOURCE; try `ulimit -l unlimited`"
                .to_owned()
        })
    }

    fn lacks(&self) -> Vec<String> {
        self.caller.lacks(&BPF_CAPABILITIES)
    }

    /// Whether a seccomp filter sees this process' system calls. A kernel without seccomp says nothing of it.
    pub(super) fn is_filtered(&self) -> bool {
        self.caller.seccomp.is_some_and(|mode| mode != 0)
    }

    #[cfg(test)]
    pub(super) fn for_tests(privileged: bool) -> Node {
        Node {
            page_sz: 4096,
            possible_cpus: 4,
            available_byte_sz: Some(1 << 30),
            kern_version: 0,
            memlock_limited: false,
            caller: Caller {
                effective: Some(probe_matrix::probe::caller::CapSet(if privileged { u64::MAX } else { 0 })),
                initial_user_namespace: Some(true),
                seccomp: Some(0),
                lsm_label: None,
                ..Caller::observe()
            },
        }
    }

    /// Behind a seccomp filter.
    #[cfg(test)]
    pub(super) fn filtered_for_tests() -> Node {
        let mut node = Node::for_tests(true);
        node.caller.seccomp = Some(2);
        node
    }
}

/// Lifts the limit of locked memory, which kernels before v5.11 charge maps and programs against, as far as this process
/// may. Returns whether one is left that counts: a kernel that creates a map under a limit of 0 charges nothing to it.
pub(super) fn lift_memlock(kernel: &mut Kernel) -> bool {
    let set = |limit: Rlimit| setrlimit(Resource::Memlock, limit);
    if set(Rlimit { current: None, maximum: None }).is_ok() {
        return false;
    }
    let maximum = getrlimit(Resource::Memlock).maximum;
    let charged = set(Rlimit { current: Some(0), maximum }).is_err()
        || kernel.map_create(&MapCreate::new(MapType::ARRAY, 4, 8, 1)).is_err();
    let _ = set(Rlimit { current: maximum, maximum });
    charged
}

/// The value of a `Name:   value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The highest number in a list such as `0-3,8-11`.
fn last_cpu(list: &str) -> Option<u64> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        node.caller.initial_user_namespace = Some(false);
        assert_eq!(node.cause_of_denial(), Cause::Privilege);
        assert!(node.lack().contains("user namespace"));
        assert!(Node::for_tests(false).lack().contains("CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"));
    }

    #[test]
    fn what_holds_back_this_process_alone_is_no_policy_of_the_node() {
        let mut confined = Node::for_tests(true);
        confined.caller.lsm_label = Some("system_u:system_r:container_t:s0:c1,c2".to_owned());
        let limited = Node { memlock_limited: true, ..Node::for_tests(true) };
        let cases =
            [(Node::filtered_for_tests(), "seccomp"), (confined, "container_t"), (limited, "RLIMIT_MEMLOCK")];
        for (node, words) in cases {
            assert_eq!(node.cause_of_denial(), Cause::Privilege, "{words}");
            assert!(node.lack().contains(words), "{}", node.lack());
        }
    }
}
