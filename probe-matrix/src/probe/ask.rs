//! Putting a question to bpf(2) and telling a no from a refusal to answer.
//!
//! Most questions are loads of a program that ends in [`asm::REFUSED`]. If the verifier comes that far, it took all that
//! stands before it. Answers that say nothing about the question (EPERM, ENOMEM, EAGAIN, a log that is not understood)
//! become denied or unknown, never yes and never no.

use super::Out;
use super::asm;
use super::caller::{CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, Caller};
use crate::facts::{Evidence, Fact, Facts, Support};
use crate::sys::{CallStats, Errno, Kernel, LogBuf, Map, MapCreate, ProgLoad, errno_name};
use btf_catalog::{AttachType, Btf, BtfKind, HelperId, LinkType, MapType, ProgType, TypeId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Longest time that one probe program may be verified.
const LOAD_LIMIT: Duration = Duration::from_millis(500);
/// The verifier's log. Probes ask for errors and statistics only, which is a few lines.
const LOG_SZ: usize = 64 << 10;

/// What the load of a probe program came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The verifier took all that was asked about.
    Taken,
    /// It refused; the log has at least one line.
    Refused(Errno, String),
    /// The kernel refused before the verifier said anything.
    Silent(Errno),
}

/// The capabilities that a question needs beside CAP_BPF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    Bpf,
    NetAdmin,
    Perfmon,
    Both,
}

/// The largest numbers that the kernel's own BTF knows; none where it cannot be read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Bounds {
    pub(crate) prog_type: Option<u32>,
    pub(crate) attach_type: Option<u32>,
    pub(crate) map_type: Option<u32>,
    pub(crate) link_type: Option<u32>,
    pub(crate) helper: Option<u32>,
}

impl Bounds {
    pub(crate) fn of(btf: &Btf) -> Bounds {
        let largest = |name: &str| {
            let id = btf.find_by_name_kind(name, BtfKind::Enum)?;
            btf.ty(id).enumerators().filter(|e| !e.name.starts_with("__")).map(|e| e.value as u32).max()
        };
        Bounds {
            prog_type: largest("bpf_prog_type"),
            attach_type: largest("bpf_attach_type"),
            map_type: largest("bpf_map_type"),
            link_type: largest("bpf_link_type"),
            helper: largest("bpf_func_id"),
        }
    }
}

/// The fact of a number that the kernel's own enumeration does not reach: it costs no call.
pub(crate) fn beyond(number: u32, bound: Option<u32>, enumeration: &str) -> Option<Fact> {
    let bound = bound?;
    (number > bound).then(|| {
        Fact::new(Support::No, Evidence::Derived, "/sys/kernel/btf/vmlinux")
            .reason(format!("enum {enumeration} of this kernel ends at {bound}"))
    })
}

/// The node that is asked.
pub(crate) struct Node<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) btf: Option<&'a Btf>,
    pub(crate) bounds: Bounds,
    /// What the files said: lockdown, security modules, configuration.
    pub(crate) files: &'a Facts,
    pub(crate) noisy: bool,
    caller: &'a Caller,
    /// The limit of locked memory stands: the caller had one, and it could not be lifted.
    memlock_limited: bool,
    log: LogBuf,
}

impl<'a> Node<'a> {
    pub(crate) fn new(
        kernel: Kernel,
        btf: Option<&'a Btf>,
        files: &'a Facts,
        caller: &'a Caller,
        noisy: bool,
    ) -> Node<'a> {
        let bounds = btf.map(Bounds::of).unwrap_or_default();
        let memlock_limited =
            caller.memlock_soft_byte_sz.is_some() && getrlimit(Resource::Memlock).current.is_some();
        let log = LogBuf::new(LOG_SZ, LogBuf::LEVEL_STATS);
        Node { kernel, btf, bounds, files, noisy, caller, memlock_limited, log }
    }

    /// Chooses the log level: kernels before v5.2 know no statistics, and some refuse the level (EINVAL).
    pub(crate) fn calibrate(&mut self) {
        let insns = asm::refused_after(&[]);
        for level in [LogBuf::LEVEL_STATS, LogBuf::LEVEL_INSNS] {
            self.log.set_level(level);
            for prog_type in [ProgType::SOCKET_FILTER, ProgType::KPROBE, ProgType::XDP] {
                if self.load(&ProgLoad::new(prog_type, &insns)) == Answer::Taken {
                    return;
                }
            }
        }
        self.log.set_level(LogBuf::LEVEL_STATS);
    }

    pub(crate) fn stats(&self) -> CallStats {
        self.kernel.stats()
    }

    /// Loads a program that ends in [`asm::REFUSED`].
    pub(crate) fn load(&mut self, load: &ProgLoad<'_>) -> Answer {
        match self.kernel.prog_load(load, Some(&mut self.log)) {
            Ok(_) => Answer::Taken,
            Err(errno) => {
                let log = self.log.text();
                if first_line(&log) == asm::REFUSED_SAYS || log.contains(asm::REFUSED_SAYS) {
                    Answer::Taken
                } else if log.trim().is_empty() {
                    Answer::Silent(errno)
                } else {
                    Answer::Refused(errno, log.into_owned())
                }
            }
        }
    }

    /// Loads a program that shall be accepted.
    pub(crate) fn accept(&mut self, load: &ProgLoad<'_>) -> Result<OwnedFd, Errno> {
        self.kernel.prog_load(load, None)
    }

    pub(crate) fn map(&mut self, create: &MapCreate<'_>) -> Result<Map, Errno> {
        self.kernel.map_create(create)
    }

    /// The first of these names that the kernel's BTF has as that kind.
    pub(crate) fn find(&self, names: &[&'static str], kind: BtfKind) -> Option<(&'static str, TypeId)> {
        let btf = self.btf?;
        names.iter().find_map(|name| Some((*name, btf.find_by_name_kind(name, kind)?)))
    }

    /// Whether the kernel was built with that function; none without BTF.
    pub(crate) fn has_function(&self, name: &str) -> Option<bool> {
        Some(self.btf?.find_by_name_kind(name, BtfKind::Func).is_some())
    }

    /// The level of lockdown as far as it is known.
    pub(crate) fn lockdown(&self) -> Option<&str> {
        self.files.get("security.lockdown")?.text()
    }

    /// The fact of a refusal that says nothing about the question, or none if `errno` is one by which the kernel says
    /// that it does not know the thing asked about.
    ///
    /// EPERM and EACCES without a log come from the capability checks or a security module; anything else, such as
    /// ENOMEM, EAGAIN or EMFILE, from the state of the node.
    pub(crate) fn no_answer(&self, errno: Errno, needs: Needs, source: &str) -> Option<Fact> {
        match errno {
            Errno::INVAL | Errno::TOOBIG | Errno::OPNOTSUPP => None,
            Errno::PERM | Errno::ACCESS => Some(self.denied(errno, needs, source)),
            Errno::AGAIN => Some(unknown(errno, source, "not judged within the time a load may take")),
            Errno::NOSYS => {
                Some(unknown(errno, source, "no bpf(2): CONFIG_BPF_SYSCALL is off, or seccomp hides it"))
            }
            _ => Some(unknown(errno, source, "the kernel's answer says nothing about the question")),
        }
    }

    /// Who is refused: this caller, for want of a privilege, or every caller.
    fn denied(&self, errno: Errno, needs: Needs, source: &str) -> Fact {
        let fact = |support| Fact::new(support, Evidence::Probed, source).errno(errno_name(errno));
        let missing = self.missing(needs);
        if !missing.is_empty() {
            return fact(Support::DeniedObserver).reason(format!("this caller lacks {}", missing.join(", ")));
        }
        if self.caller.initial_user_namespace == Some(false) {
            return fact(Support::DeniedObserver)
                .reason("the capabilities held count only in this user namespace, which is not the first");
        }
        if self.caller.seccomp.is_some_and(|mode| mode != 0) {
            return fact(Support::DeniedObserver).reason(
                "all capabilities are held; the seccomp filter of this caller or a security module refuses",
            );
        }
        if self.memlock_limited && errno == Errno::PERM && self.may_charge_memlock() {
            return fact(Support::DeniedObserver).reason(
                "the kernel may charge it to RLIMIT_MEMLOCK (before v5.11), which this caller cannot raise for want of \
                 CAP_SYS_RESOURCE",
            );
        }
        if let Some(label) = self.caller.confinement() {
            return fact(Support::DeniedObserver).reason(format!(
                "all capabilities are held; this caller is confined by a security module (label {label}), which may \
                 refuse it what others are granted"
            ));
        }
        fact(Support::DeniedWorkload)
            .reason("refused although all capabilities asked for are held: a security module or lockdown")
    }

    /// Whether maps and programs may count against the limit of locked memory: unless the kernel was seen not to.
    fn may_charge_memlock(&self) -> bool {
        self.files.support("memory.bpf_memcg_accounting") != Support::Yes
    }

    /// Names of the capabilities that the question needs and the caller lacks.
    fn missing(&self, needs: Needs) -> Vec<String> {
        self.caller.lacks(match needs {
            Needs::Bpf => &[CAP_BPF],
            Needs::NetAdmin => &[CAP_BPF, CAP_NET_ADMIN],
            Needs::Perfmon => &[CAP_BPF, CAP_PERFMON],
            Needs::Both => &[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN],
        })
    }
}

/// Prepares a process of its own for probing: a time limit for each load, and no memlock limit, which maps and programs
/// are charged against before v5.11 and which would then answer EPERM. A limit that cannot be lifted, for want of
/// CAP_SYS_RESOURCE, is taken into account when an EPERM is read.
pub(crate) fn settle(kernel: &mut Kernel) {
    let _ = kernel.limit_loads(LOAD_LIMIT);
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Capabilities of a program type: `is_net_admin_prog_type()` and `is_perfmon_prog_type()`, kernel/bpf/syscall.c, v5.8 to
/// v6.18. Types that are newer may need any.
pub(crate) fn needs(prog_type: ProgType) -> Needs {
    match prog_type {
        ProgType::KPROBE
        | ProgType::TRACEPOINT
        | ProgType::PERF_EVENT
        | ProgType::RAW_TRACEPOINT
        | ProgType::RAW_TRACEPOINT_WRITABLE
        | ProgType::TRACING
        | ProgType::LSM
        | ProgType::STRUCT_OPS => Needs::Perfmon,
        ProgType::SCHED_CLS
        | ProgType::SCHED_ACT
        | ProgType::XDP
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::SK_SKB
        | ProgType::SK_MSG
        | ProgType::LIRC_MODE2
        | ProgType::FLOW_DISSECTOR
        | ProgType::CGROUP_DEVICE
        | ProgType::CGROUP_SOCK
        | ProgType::CGROUP_SOCK_ADDR
        | ProgType::CGROUP_SOCKOPT
        | ProgType::CGROUP_SYSCTL
        | ProgType::SOCK_OPS
        | ProgType::NETFILTER => Needs::NetAdmin,
        ProgType::SOCKET_FILTER
        | ProgType::CGROUP_SKB
        | ProgType::SK_REUSEPORT
        | ProgType::SK_LOOKUP
        | ProgType::SYSCALL => Needs::Bpf,
        _ => Needs::Both,
    }
}

/// The fact of an answer that cannot be read.
pub(crate) fn unknown(errno: Errno, source: &str, reason: &str) -> Fact {
    Fact::new(Support::Unknown, Evidence::Probed, source).errno(errno_name(errno)).reason(reason)
}

/// The fact of a question that the kernel answered.
pub(crate) fn probed(support: Support, source: &str) -> Fact {
    Fact::new(support, Evidence::Probed, source)
}

/// Order of facts about ways to the same end, the one to be told first: one way is enough, and a refusal or an open
/// question outweighs a no.
pub(crate) fn standing(fact: &Fact) -> u8 {
    match fact.support {
        Support::Yes => 0,
        Support::DeniedWorkload => 1,
        Support::DeniedObserver => 2,
        Support::Unknown => 3,
        Support::No => 4,
    }
}

/// The log's first line that says something.
pub(crate) fn first_line(log: &str) -> &str {
    log.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// What is numbered by an enumeration and named after it in facts.
pub(crate) trait Named: std::fmt::Display {
    const GROUP: &'static str;

    fn fact(&self) -> String {
        format!("{}.{self}", Self::GROUP)
    }
}

impl Named for ProgType {
    const GROUP: &'static str = "bpf.prog_type";
}
impl Named for AttachType {
    const GROUP: &'static str = "bpf.attach_type";
}
impl Named for MapType {
    const GROUP: &'static str = "bpf.map_type";
}
impl Named for LinkType {
    const GROUP: &'static str = "bpf.link";
}

/// The fact's name of a helper in programs of a type.
pub(crate) fn helper_fact(prog_type: ProgType, helper: HelperId) -> String {
    format!("bpf.helper.{prog_type}.{helper}")
}

/// Puts a fact out under a name that is put together.
pub(crate) fn tell(out: &mut Out<'_>, name: impl Into<String>, fact: Fact) {
    out(name.into(), fact);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::caller::CapSet;

    /// Root of the machine, neither filtered nor confined nor limited.
    fn root() -> Caller {
        Caller {
            effective: Some(CapSet(u64::MAX)),
            bounding: Some(CapSet(u64::MAX)),
            seccomp: Some(0),
            no_new_privs: Some(false),
            initial_user_namespace: Some(true),
            lsm_label: None,
            memlock_soft_byte_sz: None,
            memlock_hard_byte_sz: None,
        }
    }

    /// How an errno is read: whom it denies, and why.
    fn read(caller: &Caller, memlock_limited: bool, accounting: Support, errno: Errno) -> (Support, String) {
        let mut files = Facts::default();
        files.insert("memory.bpf_memcg_accounting", Fact::new(accounting, Evidence::Probed, "test"));
        let node = Node { memlock_limited, ..Node::new(Kernel::live(), None, &files, caller, false) };
        let fact = node.no_answer(errno, Needs::Bpf, "BPF_MAP_CREATE").unwrap();
        (fact.support, fact.reason.unwrap_or_default())
    }

    #[test]
    fn a_refusal_of_a_confined_caller_is_its_own() {
        for (label, support) in [
            ("system_u:system_r:container_t:s0:c1,c2", Support::DeniedObserver),
            ("docker-default (enforce)", Support::DeniedObserver),
            ("unconfined", Support::DeniedWorkload),
            ("system_u:system_r:spc_t:s0", Support::DeniedWorkload),
        ] {
            let caller = Caller { lsm_label: Some(label.to_owned()), ..root() };
            for errno in [Errno::PERM, Errno::ACCESS] {
                let (found, reason) = read(&caller, false, Support::Yes, errno);
                assert_eq!(found, support, "{label}");
                assert_eq!(reason.contains(label), support == Support::DeniedObserver, "{reason}");
            }
        }
    }

    #[test]
    fn a_limit_of_locked_memory_that_stands_explains_eperm() {
        let support = |limited, accounting, errno| read(&root(), limited, accounting, errno).0;
        assert_eq!(support(true, Support::Unknown, Errno::PERM), Support::DeniedObserver);
        assert_eq!(support(true, Support::No, Errno::PERM), Support::DeniedObserver);
        assert_eq!(support(true, Support::Yes, Errno::PERM), Support::DeniedWorkload, "not charged to it");
        assert_eq!(support(true, Support::No, Errno::ACCESS), Support::DeniedWorkload);
        assert_eq!(support(false, Support::No, Errno::PERM), Support::DeniedWorkload, "lifted");
        let reason = read(&root(), true, Support::No, Errno::PERM).1;
        assert!(reason.contains("RLIMIT_MEMLOCK") && reason.contains("CAP_SYS_RESOURCE"), "{reason}");
    }
}
