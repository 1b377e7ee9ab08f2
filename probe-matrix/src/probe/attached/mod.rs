//! What can be attached, by attaching it; and whether what is attached runs.
//!
//! Depth `attach` only. Programs are hung on objects that are made for this: interfaces in a network namespace of its
//! own ([`net`]), a cgroup of its own ([`cgroup`]), sockets and perf events of this process; and, since there is no other
//! way, on functions of the kernel that are hardly ever called ([`tracing`]), whose code is patched meanwhile. Each
//! program counts its runs in a map ([`counter`]), returns what changes nothing, and is detached before the next one, or when
//! the process ends (uprobes).
//!
//! All of it belongs to descriptors and to the network namespace of the thread, and is gone with them however the
//! process ends, but for the cgroup, which the parent removes once the worker has ended; or the next run, if the parent
//! was killed too.

use super::Out;
use super::ProbeOptions;
use super::ask::{Needs, Node, beyond, needs, probed, standing, tell, unknown};
use super::caller::{CAP_SYS_ADMIN, CapSet};
use super::program::{PROG_LOAD, Seat, Seats};
use crate::facts::{Evidence, Fact, Facts, Support};
use crate::sys::{Errno, Kernel, errno_name};
use btf_catalog::{AttachType, BtfKind, ProgType};
use cgroup::OwnCgroup;
use counter::Counter;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::Duration;

mod cgroup;
mod counter;
mod net;
mod network;
mod rtnetlink;
mod tracing;

/// How often an attachment is tried that a signal interrupted.
const TRIES: u32 = 5;
/// How long an event may take to reach the program, and how often it is looked.
const PATIENCE: (u32, Duration) = (100, Duration::from_millis(2));

/// Facts `bpf.attach.*` by attaching, and `bpf.fires.*`. `told` is what was told of `bpf.attach.*` before: it stands
/// where nothing could be tried.
///
/// The calling thread is in another network namespace afterwards.
pub(crate) fn facts(
    node: &mut Node<'_>,
    seats: &Seats,
    told: &Facts,
    options: &ProbeOptions,
    out: &mut Out<'_>,
) {
    let mut found = Vec::new();
    match Counter::make(node) {
        Ok(counter) => {
            let effective = options.caller.effective.unwrap_or_default();
            let mut bench = Bench { node, seats, told, effective, counter, found };
            network::try_all(&mut bench, &options.cgroup);
            tracing::try_all(&mut bench);
            found = bench.found;
        }
        Err(errno) => {
            let fact = unknown(errno, "BPF_MAP_CREATE", "there is no map for the programs to count in");
            found.extend([("bpf.attach".to_owned(), fact.clone()), ("bpf.fires".to_owned(), fact)]);
        }
    }
    for (name, fact) in found {
        tell(out, name, fact);
    }
}

/// Makes the cgroup for a worker, and removes those of runs that were killed. It is removed with what is returned; the
/// options tell the worker where it is.
pub(super) fn prepare(options: &mut ProbeOptions) -> Option<OwnCgroup> {
    cgroup::sweep();
    let cgroup = OwnCgroup::make();
    options.cgroup = match &cgroup {
        Ok(cgroup) => Ok(cgroup.path().to_owned()),
        Err(errno) => Err(format!("none could be made: {}", errno_name(*errno))),
    };
    cgroup.ok()
}

/// One way to attach a program, and what is loaded for it.
#[derive(Clone, Copy)]
struct Way {
    /// Name of the facts `bpf.attach.*` and `bpf.fires.*`.
    name: &'static str,
    /// How it is attached, as the fact's source.
    source: &'static str,
    seat: Seat,
    /// What the program returns: whatever changes nothing.
    neutral: i32,
    /// Answers by which the kernel says that it has no such way. The request is right in all else.
    absent: &'static [Errno],
}

impl Way {
    /// A way of BPF_LINK_CREATE. Kernels without it answer EINVAL to the attach type, or EOPNOTSUPP where a stub took
    /// the place of what was left out of the build.
    const fn link(name: &'static str, prog_type: ProgType, attach: AttachType, neutral: i32) -> Way {
        let seat = Seat { prog_type, attach: Some(attach), target: None, flags: 0 };
        Way { name, source: "BPF_LINK_CREATE", seat, neutral, absent: &[Errno::INVAL, Errno::OPNOTSUPP] }
    }
}

/// Why something cannot be tried, as the fact that is told in its place.
type Untried = Box<Fact>;

/// A seat that needs neither attach type nor target.
const fn bare(prog_type: ProgType) -> Seat {
    Seat { prog_type, attach: None, target: None, flags: 0 }
}

/// How an event is caused on which the program runs.
enum Event<'e, H> {
    /// It has run when the call is back, or never will.
    AtOnce(&'e mut Cause<'e, H>),
    /// It runs on its own time, soon.
    Soon(&'e mut Cause<'e, H>),
    /// It is not caused, for this reason.
    None(&'static str),
}

/// Causes an event, with the program and what it hangs by.
type Cause<'e, H> = dyn FnMut(&mut Kernel, BorrowedFd<'_>, &H) -> Result<(), Errno> + 'e;

/// Where ways are tried, one after the other.
struct Bench<'a, 'n> {
    node: &'a mut Node<'n>,
    seats: &'a Seats,
    told: &'a Facts,
    effective: CapSet,
    counter: Counter,
    found: Vec<(String, Fact)>,
}

impl Bench<'_, '_> {
    /// Tries a way: loads its program, has `attach` attach it, causes the event. It is detached when this returns.
    fn attempt<H>(
        &mut self,
        way: Way,
        mut attach: impl FnMut(&mut Kernel, BorrowedFd<'_>) -> Result<H, Errno>,
        event: Event<'_, H>,
    ) {
        let insns = self.counter.program(way.neutral);
        let prog = match self.node.accept(&way.seat.load(&insns)) {
            Ok(prog) => prog,
            Err(errno) => {
                let fact = self.not_loaded(way, errno);
                return self.tell(
                    way.name,
                    fact.clone(),
                    fact.reason("not attached: the program does not load"),
                );
            }
        };
        let mut tries = 0;
        let result = loop {
            tries += 1;
            match attach(&mut self.node.kernel, prog.as_fd()) {
                Err(Errno::INTR | Errno::AGAIN) if tries < TRIES => {}
                result => break result,
            }
        };
        match result {
            Ok(hold) => {
                let fires = self.fires(event, prog.as_fd(), &hold);
                self.tell(way.name, probed(Support::Yes, way.source), fires);
            }
            Err(errno) => {
                let fact = self.refused(way, errno);
                self.tell(way.name, fact.clone(), fact.reason("not attached"));
            }
        }
    }

    /// Whether the program runs on the event.
    fn fires<H>(&mut self, event: Event<'_, H>, prog: BorrowedFd<'_>, hold: &H) -> Fact {
        const SOURCE: &str = "runs counted in a map";
        let (cause, at_once) = match event {
            Event::AtOnce(cause) => (cause, true),
            Event::Soon(cause) => (cause, false),
            Event::None(why) => return probed(Support::Unknown, SOURCE).reason(why),
        };
        let kernel = &mut self.node.kernel;
        let Some(before) = self.counter.runs(kernel) else {
            return probed(Support::Unknown, SOURCE).reason("the map cannot be read");
        };
        let caused = cause(kernel, prog, hold);
        let (looks, pause) = if at_once { (1, Duration::ZERO) } else { PATIENCE };
        for _ in 0..looks {
            if self.counter.runs(kernel).is_some_and(|runs| runs > before) {
                return probed(Support::Yes, SOURCE);
            }
            sleep(pause);
        }
        match caused {
            Err(errno) => unknown(errno, SOURCE, "the event could not be caused"),
            Ok(()) if at_once => {
                probed(Support::No, SOURCE).reason("attached, and did not run when the event was caused")
            }
            Ok(()) => probed(Support::Unknown, SOURCE)
                .reason("attached, and did not run soon after the event was caused"),
        }
    }

    /// The fact of a program that was not accepted.
    fn not_loaded(&self, way: Way, errno: Errno) -> Fact {
        let bounds = self.node.bounds;
        let attach = way.seat.attach.map_or(0, |attach| attach.0);
        let unheard_of = beyond(way.seat.prog_type.0, bounds.prog_type, "bpf_prog_type")
            .or_else(|| beyond(attach, bounds.attach_type, "bpf_attach_type"));
        if let Some(fact) = unheard_of {
            return fact;
        }
        let of_type = self.seats.get(&way.seat.prog_type).map_or(&[][..], Vec::as_slice);
        let known = of_type.iter().find(|(seat, _)| seat.attach == way.seat.attach).or(of_type.first());
        let reason = format!("no program loads as {}", way.seat.label());
        if known.is_some_and(|(_, support)| *support == Support::No) {
            return probed(Support::No, PROG_LOAD).errno(errno_name(errno)).reason(reason);
        }
        self.node
            .no_answer(errno, needs(way.seat.prog_type), PROG_LOAD)
            .unwrap_or_else(|| unknown(errno, PROG_LOAD, &reason))
    }

    /// The fact of an attachment that was refused.
    fn refused(&self, way: Way, errno: Errno) -> Fact {
        if way.absent.contains(&errno) {
            return probed(Support::No, way.source)
                .errno(errno_name(errno))
                .reason("the kernel does not have this way to attach");
        }
        self.denied(errno, way.source).unwrap_or_else(|| {
            unknown(errno, way.source, "refused for a reason that may have nothing to do with the way")
        })
    }

    /// The fact of a refusal for want of privilege: EPERM and EACCES.
    fn denied(&self, errno: Errno, source: &str) -> Option<Fact> {
        if !matches!(errno, Errno::PERM | Errno::ACCESS) {
            return None;
        }
        if !self.effective.has(CAP_SYS_ADMIN) {
            let fact = Fact::new(Support::DeniedObserver, Evidence::Probed, source).errno(errno_name(errno));
            return Some(fact.reason("this caller lacks CAP_SYS_ADMIN"));
        }
        self.node.no_answer(errno, Needs::Both, source)
    }

    /// Ways that could not be tried. What is known of them otherwise stands.
    fn untried(&mut self, names: &[&'static str], why: &Fact) {
        for name in names {
            let attach = format!("bpf.attach.{name}");
            let fires = match self.told.get(&attach) {
                None => {
                    self.found.push((attach, why.clone()));
                    why.clone()
                }
                Some(told) if told.support == Support::No => {
                    Fact::clone(told).reason("it cannot be attached")
                }
                Some(_) => why.clone(),
            };
            self.found.push((format!("bpf.fires.{name}"), fires));
        }
    }

    fn tell(&mut self, name: &str, attach: Fact, fires: Fact) {
        self.found.push((format!("bpf.attach.{name}"), attach));
        self.found.push((format!("bpf.fires.{name}"), fires));
    }

    /// Tells under `name` the better of what was found of `others`: ways that serve the same programs.
    fn tell_best(&mut self, name: &str, others: &[&str]) {
        for family in ["bpf.attach", "bpf.fires"] {
            let of = |other: &&str| {
                let other = format!("{family}.{other}");
                self.found.iter().find(|(name, _)| *name == other).map(|(_, fact)| fact)
            };
            let best = others.iter().filter_map(of).min_by_key(|fact| standing(fact));
            if let Some(fact) = best.cloned() {
                self.found.push((format!("{family}.{name}"), fact));
            }
        }
    }

    /// The seat at the first of these names that the kernel's BTF has, or the fact that tells why there is none.
    fn seat(&self, prog_type: ProgType, attach: AttachType, names: &[&'static str]) -> Result<Seat, Untried> {
        let kind = if attach == AttachType::TRACE_RAW_TP { BtfKind::Typedef } else { BtfKind::Func };
        if let Some((_, id)) = self.node.find(names, kind) {
            return Ok(Seat { prog_type, attach: Some(attach), target: Some(id), flags: 0 });
        }
        let names = names.join(", no ");
        let fact = Fact::new(Support::Unknown, Evidence::Derived, "/sys/kernel/btf/vmlinux");
        Err(fact.reason(format!("the kernel's BTF has no {names} to attach to")).into())
    }
}
