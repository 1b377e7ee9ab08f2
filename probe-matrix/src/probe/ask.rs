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
        Node { kernel, btf, bounds, files, noisy, caller, log: LogBuf::new(LOG_SZ, LogBuf::LEVEL_STATS) }
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
        fact(Support::DeniedWorkload)
            .reason("refused although all capabilities asked for are held: a security module or lockdown")
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
/// are charged against before v5.11 and which would then answer EPERM.
pub(crate) fn settle(kernel: &mut Kernel) {
    let _ = kernel.limit_loads(LOAD_LIMIT);
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
}

/// Capabilities of a program type: `is_net_admin_prog_type()` and `is_perfmon_prog_type()`, kernel/bpf/syscall.c.
pub(crate) fn needs(prog_type: ProgType) -> Needs {
    match prog_type {
        ProgType::KPROBE
        | ProgType::TRACEPOINT
        | ProgType::PERF_EVENT
        | ProgType::RAW_TRACEPOINT
        | ProgType::RAW_TRACEPOINT_WRITABLE
        | ProgType::TRACING
        | ProgType::LSM => Needs::Perfmon,
        ProgType::STRUCT_OPS | ProgType::EXT => Needs::Both,
        ProgType::SOCKET_FILTER | ProgType::SK_REUSEPORT | ProgType::SYSCALL => Needs::Bpf,
        _ => Needs::NetAdmin,
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
