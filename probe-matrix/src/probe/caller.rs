//! The process that asks: its capabilities, limits and confinement, as the user started it.
//!
//! Observed before anything is given up, so that the profile tells of the user's privileges and not of those of a
//! worker that has dropped most of them.

use rustix::fs::{AtFlags, CWD, statat};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// Names by number, include/uapi/linux/capability.h of v6.18.
const CAP_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// `CAP_DAC_OVERRIDE`.
pub(crate) const CAP_DAC_OVERRIDE: u32 = 1;
/// `CAP_DAC_READ_SEARCH`.
pub(crate) const CAP_DAC_READ_SEARCH: u32 = 2;
/// `CAP_NET_ADMIN`.
pub(crate) const CAP_NET_ADMIN: u32 = 12;
/// `CAP_PERFMON`, since v5.8.
pub(crate) const CAP_PERFMON: u32 = 38;
/// `CAP_BPF`, since v5.8.
pub(crate) const CAP_BPF: u32 = 39;
/// All that bpf(2) may ask for, of any program or map.
pub const BPF_CAPABILITIES: [u32; 3] = [CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN];
/// `CAP_SYS_ADMIN`.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Inode of the initial user namespace, include/linux/proc_ns.h (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE_INO: u64 = 0xefff_fffd;

/// A set of capabilities, bit by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapSet(pub u64);

impl CapSet {
    /// The effective set of the running process; empty where `/proc` does not tell.
    pub(crate) fn effective() -> CapSet {
        Status::of_this_process().effective.unwrap_or_default()
    }

    /// The set of these numbers.
    #[cfg(test)]
    pub(crate) fn of(numbers: &[u32]) -> CapSet {
        CapSet(numbers.iter().fold(0, |set, number| set | 1 << number))
    }

    /// Whether the capability of that number is in it.
    pub fn has(self, number: u32) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }

    /// Its members by name, by number; `CAP_63` where the number is newer than this build.
    pub fn names(self) -> Vec<String> {
        (0..64u32)
            .filter(|number| self.has(*number))
            .map(|number| {
                CAP_NAMES
                    .get(number as usize)
                    .map_or_else(|| format!("CAP_{number}"), |&name| name.to_owned())
            })
            .collect()
    }
}

/// The process that asks. What could not be read is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Effective capabilities.
    pub effective: Option<CapSet>,
    /// Bounding set.
    pub bounding: Option<CapSet>,
    /// Seccomp mode: 0 disabled, 1 strict, 2 filter.
    pub seccomp: Option<u8>,
    /// Whether execve(2) can no longer raise privileges.
    pub no_new_privs: Option<bool>,
    /// Whether it lives in the machine's first user namespace.
    pub initial_user_namespace: Option<bool>,
    /// Label of the major security module, such as an AppArmor profile or an SELinux context.
    pub lsm_label: Option<String>,
    /// Soft limit of locked memory, bytes; none is unlimited.
    pub memlock_soft_byte_sz: Option<u64>,
    /// Hard limit of locked memory, bytes; none is unlimited.
    pub memlock_hard_byte_sz: Option<u64>,
}

impl Caller {
    /// The running process.
    pub fn observe() -> Caller {
        let status = Status::of_this_process();
        let memlock = getrlimit(Resource::Memlock);
        Caller {
            effective: status.effective,
            bounding: status.bounding,
            seccomp: status.seccomp,
            no_new_privs: status.no_new_privs,
            initial_user_namespace: statat(CWD, "/proc/self/ns/user", AtFlags::empty())
                .ok()
                .map(|stat| stat.st_ino == INITIAL_USER_NAMESPACE_INO),
            lsm_label: std::fs::read_to_string("/proc/self/attr/current")
                .ok()
                .map(|label| super::printable::printable(&label, 256))
                .filter(|label| !label.is_empty()),
            memlock_soft_byte_sz: memlock.current,
            memlock_hard_byte_sz: memlock.maximum,
        }
    }
}

impl Caller {
    /// Names of those capabilities that bpf(2) would miss. CAP_SYS_ADMIN stands for each of
    /// [`BPF_CAPABILITIES`]: `bpf_ns_capable()`, kernel/bpf/token.c (v6.9), and before that each place by itself.
    pub fn lacks(&self, wanted: &[u32]) -> Vec<String> {
        let held = self.effective.unwrap_or_default();
        if held.has(CAP_SYS_ADMIN) {
            return Vec::new();
        }
        let lacking = wanted.iter().filter(|number| !held.has(**number));
        CapSet(lacking.fold(0, |set, number| set | 1 << number)).names()
    }

    /// The label by which a security module may refuse this caller what it grants others; none if it is unconfined or
    /// no module labels it.
    ///
    /// AppArmor: a profile with its mode, such as `docker-default (enforce)`. SELinux: a context, whose third field is
    /// the domain; `unconfined_t` and its kin, `spc_t` (privileged containers) and `kernel_t` are not held back.
    pub fn confinement(&self) -> Option<&str> {
        let label = self.lsm_label.as_deref()?;
        let mode = label.rsplit_once(" (").map(|(_, mode)| mode);
        let domain = label.split(':').nth(2).unwrap_or(label);
        let free = match mode {
            Some(mode) => matches!(mode, "unconfined)" | "complain)"),
            None => matches!(domain, "" | "spc_t" | "kernel_t") || domain.starts_with("unconfined"),
        };
        (!free).then_some(label)
    }
}

/// Lines of `/proc/self/status`.
#[derive(Debug, Default, PartialEq)]
struct Status {
    effective: Option<CapSet>,
    bounding: Option<CapSet>,
    seccomp: Option<u8>,
    no_new_privs: Option<bool>,
}

impl Status {
    fn of_this_process() -> Status {
        std::fs::read_to_string("/proc/self/status").map(|text| Status::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Status {
        let mut status = Status::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let set = || u64::from_str_radix(value, 16).ok().map(CapSet);
            match key {
                "CapEff" => status.effective = set(),
                "CapBnd" => status.bounding = set(),
                "Seccomp" => status.seccomp = value.parse().ok(),
                "NoNewPrivs" => status.no_new_privs = value.parse().ok().map(|flag: u8| flag != 0),
                _ => {}
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let text = "Name:\tCapEff: 1\nCapEff:\t000000c000200000\nCapBnd:\tzz\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let status = Status::parse(text);
        assert_eq!(status.effective.unwrap().names(), ["CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(status.bounding, None);
        assert_eq!((status.seccomp, status.no_new_privs), (Some(2), Some(true)));
        assert_eq!(Status::parse("\u{0}\nCapEff"), Status::default());
    }

    #[test]
    fn a_capability_newer_than_this_build_has_a_number() {
        assert_eq!(CapSet(1 << 63).names(), ["CAP_63"]);
    }

    #[test]
    fn a_confined_caller_is_told_from_a_free_one() {
        let cases = [
            ("", false),
            ("unconfined", false),
            ("snap.tool (complain)", false),
            ("runc (unconfined)", false),
            ("docker-default (enforce)", true),
            ("lxd-c1_</var/lib/lxd>//&:lxd-c1_<var-lib-lxd>:unconfined (mixed)", true),
            ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", false),
            ("system_u:system_r:unconfined_service_t:s0", false),
            ("system_u:system_r:spc_t:s0", false),
            ("system_u:system_r:kernel_t:s0", false),
            ("unconfined_u:unconfined_r:container_t:s0:c1,c2", true),
        ];
        for (label, confined) in cases {
            let caller = Caller { lsm_label: Some(label.to_owned()), ..Caller::observe() };
            assert_eq!(caller.confinement(), confined.then_some(label), "{label}");
        }
        assert_eq!(Caller { lsm_label: None, ..Caller::observe() }.confinement(), None);
    }

    #[test]
    fn the_running_process_is_seen() {
        let caller = Caller::observe();
        assert!(
            caller.effective.is_some()
                && caller.bounding.is_some()
                && caller.initial_user_namespace.is_some()
        );
    }
}
