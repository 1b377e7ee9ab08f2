//! Program types and attach types: what loads.
//!
//! A program type is judged by its *seats*: an attach type with the kernel function or structure that the verifier wants
//! to know. `tracing` loads as tp_btf on kernels that refuse it as fentry, so one load is no answer for the type.

use super::Out;
use super::ask::{Answer, Named, Node, beyond, first_line, needs, probed, standing, tell, unknown};
use super::asm;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, F_SLEEPABLE, ProgLoad, errno_name};
use btf_catalog::{AttachType, BtfKind, ProgType, TypeId};
use std::collections::BTreeMap;

/// Source of the facts that loads give.
pub(crate) const PROG_LOAD: &str = "BPF_PROG_LOAD";
/// An attach type that no kernel has.
const NO_ATTACH_TYPE: AttachType = AttachType(0xffff);

/// A way to load a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seat {
    pub(crate) prog_type: ProgType,
    pub(crate) attach: Option<AttachType>,
    /// Type in the kernel's BTF that the program attaches to.
    pub(crate) target: Option<TypeId>,
    pub(crate) flags: u32,
}

impl Seat {
    /// The load of `insns` at this seat.
    pub(crate) fn load(self, insns: &[u8]) -> ProgLoad<'_> {
        ProgLoad {
            expected_attach_type: self.attach,
            attach_btf_id: self.target.map_or(0, |id| id.0),
            flags: self.flags,
            ..ProgLoad::new(self.prog_type, insns)
        }
    }

    /// The seat's name in reasons: `tracing at trace_fentry`.
    pub(crate) fn label(self) -> String {
        match self.attach {
            Some(attach) => format!("{} at {attach}", self.prog_type),
            None => self.prog_type.to_string(),
        }
    }
}

/// Seats of every program type, those that load first.
pub(crate) type Seats = BTreeMap<ProgType, Vec<(Seat, Support)>>;

/// Whether any program of a type loads; unknown if none was tried.
pub(crate) fn loads(seats: &Seats, prog_type: ProgType) -> Support {
    seats.get(&prog_type).and_then(|seats| seats.first()).map_or(Support::Unknown, |(_, support)| *support)
}

/// What an attach type wants from the kernel's BTF: any one of the names, of that kind.
fn target(attach: AttachType) -> Option<(BtfKind, &'static [&'static str])> {
    Some(match attach {
        AttachType::TRACE_RAW_TP => {
            (BtfKind::Typedef, &["btf_trace_task_newtask", "btf_trace_sched_switch", "btf_trace_sys_enter"])
        }
        AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT => {
            (BtfKind::Func, &["bpf_fentry_test1", "vfs_read"])
        }
        AttachType::MODIFY_RETURN => (BtfKind::Func, &["bpf_modify_return_test", "should_failslab"]),
        AttachType::LSM_MAC => (BtfKind::Func, &["bpf_lsm_file_open"]),
        AttachType::LSM_CGROUP => (BtfKind::Func, &["bpf_lsm_socket_bind"]),
        AttachType::TRACE_ITER => (BtfKind::Func, &["bpf_iter_task", "bpf_iter_bpf_map"]),
        AttachType::STRUCT_OPS => (BtfKind::Struct, &["tcp_congestion_ops"]),
        _ => return None,
    })
}

/// The structure member that a struct_ops program is written for, in place of an attach type: `ssthresh`, whose
/// arguments and result need nothing.
fn struct_ops_member(node: &Node<'_>, structure: TypeId) -> Option<AttachType> {
    let index = node.btf?.ty(structure).members().position(|member| member.name == "ssthresh")?;
    Some(AttachType(index as u32))
}

/// The seat of an attach type, or the fact that tells why there is none.
fn seat(node: &Node<'_>, attach: AttachType, prog_type: ProgType) -> Result<Seat, Box<Fact>> {
    let plain = Seat { prog_type, attach: Some(attach), target: None, flags: 0 };
    let Some((kind, names)) = target(attach) else { return Ok(plain) };
    if node.btf.is_none() {
        let fact = Fact::new(Support::Unknown, Evidence::Derived, "/sys/kernel/btf/vmlinux");
        return Err(Box::new(
            fact.reason("the target's BTF id cannot be found: the kernel's BTF is missing or not readable"),
        ));
    }
    let Some((_, target)) = node.find(names, kind) else {
        let fact = |support| Fact::new(support, Evidence::Derived, "/sys/kernel/btf/vmlinux");
        return Err(Box::new(match attach {
            // These are made by the configuration that makes the attach type.
            AttachType::LSM_MAC | AttachType::LSM_CGROUP => fact(Support::No)
                .reason(format!("the kernel has no function {}: CONFIG_BPF_LSM is off", names[0])),
            _ => fact(Support::Unknown)
                .reason(format!("no target to try: the kernel's BTF has no {}", names.join(", no "))),
        }));
    };
    let attach = match attach {
        AttachType::STRUCT_OPS => struct_ops_member(node, target),
        other => Some(other),
    };
    Ok(Seat { attach, target: Some(target), ..plain })
}

/// Judges the load at a seat.
fn judge(node: &mut Node<'_>, seat: Seat) -> Fact {
    let insns = asm::refused_after(&[]);
    match node.load(&seat.load(&insns)) {
        Answer::Taken => probed(Support::Yes, PROG_LOAD),
        Answer::Silent(errno) => {
            node.no_answer(errno, needs(seat.prog_type), PROG_LOAD).unwrap_or_else(|| {
                probed(Support::No, PROG_LOAD)
                    .errno(errno_name(errno))
                    .reason("the kernel does not know this program type with this attach type")
            })
        }
        Answer::Refused(errno, log) => refused(errno, &log),
    }
}

/// The verifier was reached, so the type is known, but it did not take the seat.
fn refused(errno: Errno, log: &str) -> Fact {
    let line = first_line(log);
    if line.contains("is not supported")
        || line.contains("is not modifiable")
        || line.contains("not an fmod_ret")
    {
        return probed(Support::No, PROG_LOAD).errno(errno_name(errno)).reason(line);
    }
    unknown(errno, PROG_LOAD, line)
}

/// Whether loads of the type are verified for an attach type: one that cannot exist is refused.
fn is_checked(node: &mut Node<'_>, prog_type: ProgType) -> bool {
    let insns = asm::refused_after(&[]);
    let load = ProgLoad { expected_attach_type: Some(NO_ATTACH_TYPE), ..ProgLoad::new(prog_type, &insns) };
    !matches!(node.load(&load), Answer::Taken)
}

/// Facts `bpf.prog_type.*`, and those `bpf.attach_type.*` that a load decides; returns the seats.
///
/// Attach types that a load does not depend on (tcx, netkit, kprobe.multi, …) are not told here: load is not attach.
pub(crate) fn facts(node: &mut Node<'_>, out: &mut Out<'_>) -> (Seats, Vec<AttachType>) {
    let mut seats = Seats::new();
    let mut undecided = Vec::new();
    let most = ProgType::all().map(|ty| ty.0).max().unwrap_or(0).max(node.bounds.prog_type.unwrap_or(0));
    for prog_type in (1..=most).map(ProgType) {
        let attaches: Vec<AttachType> =
            AttachType::all().filter(|attach| attach.prog_type() == Some(prog_type)).collect();
        if let Some(fact) = beyond(prog_type.0, node.bounds.prog_type, "bpf_prog_type") {
            for attach in attaches {
                tell(out, attach.fact(), fact.clone());
            }
            tell(out, prog_type.fact(), fact);
            continue;
        }
        let mut found = Vec::new();
        let mut told = Vec::new();
        let bare = Seat { prog_type, attach: None, target: None, flags: bare_flags(prog_type) };
        let wants_target = attaches.iter().any(|attach| target(*attach).is_some());
        if !wants_target {
            let fact = judge(node, bare);
            found.push((bare, fact.support));
            told.push(fact);
        }
        let checked = wants_target || !attaches.is_empty() && is_checked(node, prog_type);
        for attach in attaches {
            if let Some(fact) = beyond(attach.0, node.bounds.attach_type, "bpf_attach_type") {
                tell(out, attach.fact(), fact);
                continue;
            }
            if !checked {
                undecided.push(attach);
                continue;
            }
            let fact = match seat(node, attach, prog_type) {
                Ok(seat) => {
                    let fact = judge(node, seat);
                    found.push((seat, fact.support));
                    fact
                }
                Err(fact) => *fact,
            };
            told.push(fact.clone());
            tell(out, attach.fact(), fact);
        }
        if let Some(fact) = of_seats(prog_type, &found, told) {
            tell(out, prog_type.fact(), fact);
        }
        found.sort_by_key(|(_, support)| *support != Support::Yes);
        seats.insert(prog_type, found);
    }
    (seats, undecided)
}

/// `syscall` programs are sleepable or nothing.
fn bare_flags(prog_type: ProgType) -> u32 {
    if prog_type == ProgType::SYSCALL { F_SLEEPABLE } else { 0 }
}

/// The fact of a program type from those of its seats: one that loads is enough; a refusal outweighs a no.
fn of_seats(prog_type: ProgType, found: &[(Seat, Support)], told: Vec<Fact>) -> Option<Fact> {
    let best = told.into_iter().min_by_key(standing)?;
    let labels: Vec<String> =
        found.iter().filter(|(_, s)| *s == Support::Yes).map(|(seat, _)| seat.label()).collect();
    let partly = best.support == Support::Yes && labels.len() < found.len() && found.len() > 1;
    if partly && prog_type == ProgType::TRACING {
        return Some(best.reason(format!("loads as {}", labels.join(", "))));
    }
    Some(best)
}

/// Facts `bpf.sleepable.*`: the seats that may be sleepable. The verifier refuses others by name
/// ("Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"), since v5.10.
pub(crate) fn sleepable_facts(node: &mut Node<'_>, seats: &Seats, out: &mut Out<'_>) {
    const WANTED: [(&str, ProgType, Option<AttachType>); 6] = [
        ("fentry", ProgType::TRACING, Some(AttachType::TRACE_FENTRY)),
        ("fmod_ret", ProgType::TRACING, Some(AttachType::MODIFY_RETURN)),
        ("iter", ProgType::TRACING, Some(AttachType::TRACE_ITER)),
        ("lsm", ProgType::LSM, Some(AttachType::LSM_MAC)),
        ("uprobe", ProgType::KPROBE, None),
        ("syscall", ProgType::SYSCALL, None),
    ];
    let insns = asm::refused_after(&[]);
    for (name, prog_type, attach) in WANTED {
        let of_type = seats.get(&prog_type).map_or(&[][..], Vec::as_slice);
        let Some((seat, support)) = of_type.iter().find(|(seat, _)| seat.attach == attach) else {
            let fact = Fact::new(Support::Unknown, Evidence::Probed, PROG_LOAD);
            tell(out, format!("bpf.sleepable.{name}"), fact.reason("there was no such program to try"));
            continue;
        };
        let fact = match (support, node.load(&Seat { flags: seat.flags | F_SLEEPABLE, ..*seat }.load(&insns)))
        {
            (_, Answer::Taken) => probed(Support::Yes, PROG_LOAD),
            (Support::Yes, Answer::Silent(errno)) => node
                .no_answer(errno, needs(prog_type), PROG_LOAD)
                .unwrap_or_else(|| probed(Support::No, PROG_LOAD).errno(errno_name(errno))),
            (Support::Yes, Answer::Refused(errno, log)) if log.contains("sleepable") => {
                probed(Support::No, PROG_LOAD).errno(errno_name(errno)).reason(first_line(&log))
            }
            (_, Answer::Refused(errno, log)) => unknown(errno, PROG_LOAD, first_line(&log)),
            (Support::No, Answer::Silent(errno)) => probed(Support::No, PROG_LOAD).errno(errno_name(errno)),
            (_, Answer::Silent(errno)) => node
                .no_answer(errno, needs(prog_type), PROG_LOAD)
                .unwrap_or_else(|| unknown(errno, PROG_LOAD, "not known without the flag either")),
        };
        tell(out, format!("bpf.sleepable.{name}"), fact);
    }
}
