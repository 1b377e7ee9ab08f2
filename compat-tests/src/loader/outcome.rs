//! What came of a load, and what an errno means where it came from.

use super::log;
use super::node::Node;
use probe_matrix::sys::{Errno, errno_name};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kernel's internal ENOTSUPP, which leaks from bpf(2).
const ENOTSUPP: i32 = 524;

/// The part of a load that an outcome belongs to, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the object.
    Parse,
    /// CO-RE relocation against the node's BTF.
    Relocate,
    /// Loading the object's own BTF.
    Btf,
    /// Creating the maps.
    Maps,
    /// The verifier, the JIT and what else stands between an entry and its descriptor.
    Load,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::Parse => "parse",
            Stage::Relocate => "relocate",
            Stage::Btf => "BTF",
            Stage::Maps => "maps",
            Stage::Load => "load",
        })
    }
}

/// Why a load came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The object itself is at fault; no kernel would take it.
    Object,
    /// The verifier refused the program and says why in its log.
    Verifier,
    /// This kernel does not know a program type, map type, flag or attribute that is needed: refused before the verifier
    /// looked.
    Unsupported,
    /// The verifier accepted, the JIT (or the rewriting of instructions for it) did not.
    Jit,
    /// A policy of the node (an LSM, lockdown) refuses it, although every capability is held.
    Policy,
    /// This process lacks a privilege; another caller might get another answer.
    Privilege,
    /// No answer: out of memory, out of time, a transient errno. Also what a newer version's cause is read as.
    #[serde(other)]
    Unknown,
}

/// One failure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LoadOutcome {
    /// Where it failed.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
    /// The entry, or the map, that failed; none for the object as a whole.
    pub subject: Option<String>,
    /// The kernel's answer, by name; none where the kernel was not asked.
    pub errno: Option<String>,
    /// What was tried, on what, what the kernel said and what to do, in one line.
    pub message: String,
    /// The verifier's or the BTF loader's log; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

impl LoadOutcome {
    /// A failure without asking the kernel.
    pub fn unasked(
        stage: Stage,
        cause: Cause,
        subject: Option<&str>,
        message: impl Into<String>,
    ) -> LoadOutcome {
        LoadOutcome {
            stage,
            cause,
            subject: subject.map(str::to_owned),
            errno: None,
            message: message.into(),
            log: String::new(),
        }
    }
}

/// What came of an object: its failures, of which there are none if the kernel accepted all of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// Entries that the kernel accepted, with their logs where these were asked for.
    pub accepted: Vec<Accepted>,
    /// Failures, in the order of the stages. A failure before [`Stage::Load`] ends the load.
    pub failures: Vec<LoadOutcome>,
    /// What was done without that an older kernel does not know, in words.
    pub notes: Vec<String>,
}

/// An entry that the kernel accepted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// The entry's name.
    pub entry: String,
    /// The verifier's log, if it was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}

impl LoadReport {
    /// A report of a single failure.
    pub fn failed(outcome: LoadOutcome) -> LoadReport {
        LoadReport { failures: vec![outcome], ..LoadReport::default() }
    }

    /// Takes over what a later step has found out.
    pub fn extend(&mut self, later: LoadReport) {
        self.accepted.extend(later.accepted);
        self.failures.extend(later.failures);
        self.notes.extend(later.notes);
    }

    /// Whether the kernel accepted every entry.
    pub fn is_accepted(&self) -> bool {
        self.failures.is_empty()
    }
}

/// What a refused `BPF_PROG_LOAD` means. `log` is what the verifier wrote, `timed_out` whether the load's time was over.
pub(super) fn cause_of_load(errno: Errno, log: &str, timed_out: bool, node: &Node) -> Cause {
    let verified = log::was_verified(log);
    let complained = !log::decisive_lines(log).is_empty();
    match errno {
        _ if timed_out => Cause::Unknown,
        Errno::NOMEM | Errno::AGAIN | Errno::INTR | Errno::NFILE | Errno::MFILE | Errno::NOSPC => {
            Cause::Unknown
        }
        Errno::PERM if complained && node.is_capable() => Cause::Verifier,
        Errno::ACCESS if complained => Cause::Verifier,
        Errno::PERM | Errno::ACCESS => node.cause_of_denial(),
        _ if complained => Cause::Verifier,
        Errno::TOOBIG | Errno::FAULT if verified => Cause::Jit,
        _ if verified && errno.raw_os_error() == ENOTSUPP => Cause::Jit,
        _ => cause_of_refusal(errno, log, node),
    }
}

/// What a refused `BPF_MAP_CREATE`, which writes no log, or `BPF_BTF_LOAD` means.
pub(super) fn cause_of_creation(errno: Errno, log: &str, node: &Node) -> Cause {
    match errno {
        Errno::PERM | Errno::ACCESS => node.cause_of_denial(),
        _ => cause_of_refusal(errno, log, node),
    }
}

/// What an errno means that is not about privileges. The kernel says EINVAL, E2BIG or EOPNOTSUPP to what it does not know
/// or does not allow; ENOSYS comes of seccomp filters, and all others of the state of the machine. A filter may answer
/// anything, but it writes no log.
fn cause_of_refusal(errno: Errno, log: &str, node: &Node) -> Cause {
    match errno {
        _ if node.is_filtered() && log.is_empty() => Cause::Unknown,
        Errno::INVAL | Errno::TOOBIG | Errno::OPNOTSUPP => Cause::Unsupported,
        _ if errno.raw_os_error() == ENOTSUPP => Cause::Unsupported,
        _ => Cause::Unknown,
    }
}

/// One line about a refused load: the decisive lines of the log where there are any.
pub(super) fn explain_load(entry: &str, errno: Errno, log: &str, cause: Cause, node: &Node) -> String {
    let name = errno_name(errno);
    let words = log::decisive_lines(log).join(" / ");
    match cause {
        Cause::Verifier if log::reached_poison(log) => format!(
            "the verifier refused `{entry}` with {name}: it reaches a CO-RE relocation that this kernel's BTF has no \
             answer for ({words})"
        ),
        Cause::Verifier => format!("the verifier refused `{entry}` with {name}: {words}"),
        Cause::Jit => format!(
            "the verifier accepted `{entry}`, but a later step refused it with {name}: this architecture's JIT does not \
             know all of its instructions, or their translation is too large"
        ),
        Cause::Policy => format!(
            "BPF_PROG_LOAD of `{entry}` gave {name} although every capability is held: a security module or a \
             lockdown of this node refuses programs of its kind"
        ),
        Cause::Privilege => format!("BPF_PROG_LOAD of `{entry}` gave {name}: {}", node.lack()),
        Cause::Unsupported if log::was_verified(log) => format!(
            "the verifier accepted `{entry}`, but this kernel refused it with {name} in a later step and does not say \
             why"
        ),
        Cause::Unsupported => format!(
            "BPF_PROG_LOAD of `{entry}` gave {name} before the verifier looked at it: this kernel does not know or \
             does not allow its program type, what it attaches to, a flag or an attribute"
        ),
        Cause::Unknown if node.is_filtered() && log.is_empty() => format!(
            "BPF_PROG_LOAD of `{entry}` gave {name}, which may be the answer of this process' seccomp filter; run it \
             without (privileged, or unconfined)"
        ),
        Cause::Object | Cause::Unknown => {
            format!("BPF_PROG_LOAD of `{entry}` gave {name}, which says nothing about it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_means_what_log_and_privilege_make_of_it() {
        let root = Node::for_tests(true);
        let user = Node::for_tests(false);
        let filtered = Node::filtered_for_tests();
        let complaint = "0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n";
        let verified = "0: (b7) r0 = 0\n1: (95) exit\nprocessed 2 insns (limit 1000000)\n";
        let notsupp = Errno::from_raw_os_error(ENOTSUPP);
        let cases = [
            (Errno::PERM, "", &root, Cause::Policy),
            (Errno::PERM, "", &user, Cause::Privilege),
            (Errno::PERM, complaint, &user, Cause::Privilege),
            (Errno::ACCESS, complaint, &root, Cause::Verifier),
            (Errno::ACCESS, "", &user, Cause::Privilege),
            (Errno::INVAL, complaint, &root, Cause::Verifier),
            (Errno::INVAL, "", &root, Cause::Unsupported),
            (Errno::TOOBIG, "", &root, Cause::Unsupported),
            (Errno::TOOBIG, verified, &root, Cause::Jit),
            (Errno::TOOBIG, "BPF program is too large. Processed 1000001 insn\n", &root, Cause::Verifier),
            (notsupp, verified, &root, Cause::Jit),
            (notsupp, "", &root, Cause::Unsupported),
            (Errno::INVAL, verified, &root, Cause::Unsupported),
            (Errno::INVAL, "", &filtered, Cause::Unknown),
            (Errno::INVAL, complaint, &filtered, Cause::Verifier),
            (Errno::INVAL, verified, &filtered, Cause::Unsupported),
            (Errno::FAULT, verified, &root, Cause::Jit),
            (Errno::FAULT, "", &root, Cause::Unknown),
            (Errno::NOMEM, "", &root, Cause::Unknown),
            (Errno::NOMEM, complaint, &root, Cause::Unknown),
            (Errno::AGAIN, complaint, &root, Cause::Unknown),
        ];
        for (errno, log, node, expected) in cases {
            assert_eq!(cause_of_load(errno, log, false, node), expected, "{} {log}", errno_name(errno));
        }
        assert_eq!(cause_of_load(Errno::INVAL, complaint, true, &root), Cause::Unknown, "time was over");
    }

    #[test]
    fn an_errno_of_the_machine_is_no_answer() {
        let root = Node::for_tests(true);
        for errno in [
            Errno::NOSYS,
            Errno::BUSY,
            Errno::IO,
            Errno::BADF,
            Errno::FAULT,
            Errno::SRCH,
            Errno::NOENT,
            Errno::NODEV,
            Errno::TIMEDOUT,
            Errno::MFILE,
            Errno::from_raw_os_error(512),
        ] {
            assert_eq!(cause_of_load(errno, "", false, &root), Cause::Unknown, "{}", errno_name(errno));
            assert_eq!(cause_of_creation(errno, "", &root), Cause::Unknown, "{}", errno_name(errno));
        }
        for (node, expected) in [(&root, Cause::Unsupported), (&Node::filtered_for_tests(), Cause::Unknown)] {
            assert_eq!(cause_of_creation(Errno::INVAL, "", node), expected);
            assert_eq!(cause_of_creation(Errno::INVAL, "[3] FLOAT f Invalid\n", node), Cause::Unsupported);
        }
    }

    #[test]
    fn a_late_einval_is_not_blamed_on_the_jit() {
        let verified = "0: (b7) r0 = 0\n1: (95) exit\nprocessed 2 insns (limit 1000000)\n";
        let unseen = "processed 0 insns (limit 1000000)\n";
        for (log, words) in [(verified, "in a later step"), (unseen, "before the verifier looked")] {
            let root = Node::for_tests(true);
            let cause = cause_of_load(Errno::INVAL, log, false, &root);
            let message = explain_load("e", Errno::INVAL, log, cause, &root);
            assert!(message.contains(words) && !message.contains("JIT"), "{message}");
        }
    }

    #[test]
    fn a_cause_of_a_newer_version_is_unknown() {
        assert_eq!(serde_json::from_str::<Cause>("\"eclipse\"").unwrap(), Cause::Unknown);
    }
}
