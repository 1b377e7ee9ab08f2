//! Tracing programs and LSM programs: on functions and tracepoints that are hardly ever reached, each of which this
//! process can reach by itself without changing anything.

use super::{Bench, Event, Untried, Way, bare};
use crate::facts::{Evidence, Fact, Facts, Support};
use crate::probe::ask::{probed, unknown};
use crate::probe::attach::event_source;
use crate::probe::pseudo::{PseudoFs, TRACEFS};
use crate::probe::root::{HostRoot, unread_fact};
use crate::probe::security::not_open_fact;
use crate::sys::hook::{self, PerfEvent};
use crate::sys::{Errno, Kernel, LinkDetail, LinkTarget};
use btf_catalog::{AttachType, ProgType};
use rustix::thread::{name, set_name};
use std::ffi::CStr;
use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The function that names a thread, and the tracepoint in it. `prctl(PR_SET_NAME)` reaches them.
const NAMING: &CStr = c"__set_task_comm";
const NAMED: &CStr = c"task_rename";
/// Number of the tracepoint, in tracefs.
const NAMED_ID: &str = "events/task/task_rename/id";
/// What `BPF_PROG_TEST_RUN` of a tracing program calls, and nobody else: net/bpf/test_run.c.
const TESTED: &str = "bpf_fentry_test1";
const TESTED_MODIFY: &str = "bpf_modify_return_test";
/// The hook of getsid(2) for another process, or this one by its number.
const GETSID: &str = "bpf_lsm_task_getsid";
const SELF_EXE: &CStr = c"/proc/self/exe";
const RAW_TRACEPOINT_OPEN: &str = "BPF_RAW_TRACEPOINT_OPEN";
const SET_BPF: &str = "PERF_EVENT_IOC_SET_BPF";
/// The kernel's ENOTSUPP, which is not EOPNOTSUPP: the architecture has no trampolines.
const ENOTSUPP: Errno = Errno::from_raw_os_error(524);

pub(super) fn try_all(bench: &mut Bench<'_, '_>) {
    tracepoints(bench);
    kprobes(bench);
    uprobes(bench);
    trampolines(bench);
    iterator(bench);
    clock(bench);
}

/// Gives this thread the name that it has.
fn rename() -> Result<(), Errno> {
    set_name(&name()?)
}

fn tracepoints(bench: &mut Bench<'_, '_>) {
    match bench.seat(ProgType::TRACING, AttachType::TRACE_RAW_TP, &["btf_trace_task_rename"]) {
        Ok(seat) => bench.attempt(
            Way { name: "tp_btf", source: RAW_TRACEPOINT_OPEN, seat, neutral: 0, absent: &[] },
            |kernel, prog| kernel.raw_tracepoint_open(None, prog),
            Event::AtOnce(&mut |_, _, _| rename()),
        ),
        Err(why) => bench.untried(&["tp_btf"], &why),
    }
    let raw = Way {
        name: "raw_tracepoint",
        source: RAW_TRACEPOINT_OPEN,
        seat: bare(ProgType::RAW_TRACEPOINT),
        neutral: 0,
        absent: &[Errno::INVAL],
    };
    bench.attempt(
        raw,
        |kernel, prog| kernel.raw_tracepoint_open(Some(NAMED), prog),
        Event::AtOnce(&mut |_, _, _| rename()),
    );
    match tracepoint_id() {
        Ok(id) => bench.attempt(
            on_event("tracepoint", ProgType::TRACEPOINT),
            |_, prog| hang(PerfEvent::Tracepoint { id }, prog),
            Event::AtOnce(&mut |_, _, _| rename()),
        ),
        Err(why) => bench.untried(&["tracepoint"], &why),
    }
}

/// The tracepoint's number, from tracefs.
fn tracepoint_id() -> Result<u64, Untried> {
    const MOST_BYTE_SZ: usize = 64;
    let root = HostRoot::local();
    let tracefs =
        PseudoFs::open(&root, TRACEFS).map_err(|why| not_open_fact(root.caps(), TRACEFS.name, &why))?;
    let shown = tracefs.shown(NAMED_ID);
    let text =
        tracefs.read(NAMED_ID, MOST_BYTE_SZ).map_err(|why| unread_fact(root.caps(), shown.clone(), &why))?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| probed(Support::Unknown, &shown).reason("not a number").into())
}

fn kprobes(bench: &mut Bench<'_, '_>) {
    for (name, at_return) in [("kprobe", false), ("kretprobe", true)] {
        match source_number(bench, "kprobe") {
            Ok(source) => bench.attempt(
                on_event(name, ProgType::KPROBE),
                |_, prog| hang(PerfEvent::Kprobe { source, function: NAMING, at_return }, prog),
                Event::AtOnce(&mut |_, _, _| rename()),
            ),
            Err(why) => absent_source(bench, name, &why),
        }
    }
    for (name, attach) in [
        ("kprobe_multi", AttachType::TRACE_KPROBE_MULTI),
        ("kprobe_session", AttachType::TRACE_KPROBE_SESSION),
    ] {
        bench.attempt(
            Way::link(name, ProgType::KPROBE, attach, 0),
            |kernel, prog| {
                let detail = LinkDetail::KprobeMulti { symbol: NAMING, flags: 0 };
                kernel.link_create(prog, LinkTarget::None, attach, 0, detail)
            },
            Event::AtOnce(&mut |_, _, _| rename()),
        );
    }
}

/// Uprobes, on functions of this executable. They are not detached but end with the process: a process that is killed
/// while it takes breakpoints out of its own memory leaves the kernel with uprobes that it cannot free ("leaking uprobe",
/// `uprobe_unregister_nosync()`, kernel/events/uprobes.c of v6.18). When it has ended there is no such memory.
fn uprobes(bench: &mut Bench<'_, '_>) {
    for (name, at_return, landing) in
        [("uprobe", false, landing::<1> as Landing), ("uretprobe", true, landing::<2>)]
    {
        let source = match source_number(bench, "uprobe") {
            Ok(source) => source,
            Err(why) => {
                absent_source(bench, name, &why);
                continue;
            }
        };
        on_landing(bench, on_event(name, ProgType::KPROBE), landing, &|_, prog, off| {
            hang(PerfEvent::Uprobe { source, path: SELF_EXE, off, at_return }, prog)
        });
    }
    for (name, attach, landing) in [
        ("uprobe_multi", AttachType::TRACE_UPROBE_MULTI, landing::<3> as Landing),
        ("uprobe_session", AttachType::TRACE_UPROBE_SESSION, landing::<4>),
    ] {
        on_landing(bench, Way::link(name, ProgType::KPROBE, attach, 0), landing, &|kernel, prog, off| {
            let detail = LinkDetail::UprobeMulti { path: SELF_EXE, off, pid: std::process::id() };
            kernel.link_create(prog, LinkTarget::None, attach, 0, detail)
        });
    }
}

/// Tries a way at the offset of a function in the executable, for good.
fn on_landing(
    bench: &mut Bench<'_, '_>,
    way: Way,
    landing: Landing,
    attach: &dyn Fn(&mut Kernel, BorrowedFd<'_>, u64) -> Result<OwnedFd, Errno>,
) {
    let Some(off) = file_off(landing) else {
        let why =
            probed(Support::Unknown, "/proc/self/maps").reason("its own function is not in an executable");
        return bench.untried(&[way.name], &why);
    };
    bench.attempt(
        way,
        |kernel, prog| attach(kernel, prog, off).map(ManuallyDrop::new),
        Event::AtOnce(&mut |_, _, _| {
            landing();
            Ok(())
        }),
    );
}

type Landing = extern "C" fn() -> u32;

/// A function that uprobes are put on. Nothing else calls it, and no other does the same.
#[inline(never)]
extern "C" fn landing<const NUMBER: u32>() -> u32 {
    black_box(NUMBER)
}

/// Where a function is in the file of this executable.
fn file_off(function: Landing) -> Option<u64> {
    let address = (function as *const ()).addr() as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        // `first-end perms offset …`
        let mut fields = line.split(' ');
        let (first, end) = fields.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (first, end, off) = (hex(first)?, hex(end)?, hex(fields.nth(1)?)?);
        (first..end).contains(&address).then(|| address - first + off)
    })
}

/// fentry, fexit, fmod_ret and LSM: the kernel patches the function's entry, or its call, for as long as they last.
fn trampolines(bench: &mut Bench<'_, '_>) {
    let ways = [
        ("fentry", AttachType::TRACE_FENTRY, TESTED),
        ("fexit", AttachType::TRACE_FEXIT, TESTED),
        ("fmod_ret", AttachType::MODIFY_RETURN, TESTED_MODIFY),
    ];
    for (name, attach, function) in ways {
        match bench.seat(ProgType::TRACING, attach, &[function]) {
            Ok(seat) => bench.attempt(
                Way { name, source: RAW_TRACEPOINT_OPEN, seat, neutral: 0, absent: &[ENOTSUPP] },
                |kernel, prog| kernel.raw_tracepoint_open(None, prog),
                Event::AtOnce(&mut |kernel, prog, _| kernel.prog_test_run(prog, &[]).map(drop)),
            ),
            Err(why) => bench.untried(&[name], &why),
        }
    }
    match bench.seat(ProgType::LSM, AttachType::LSM_MAC, &[GETSID]) {
        Ok(seat) => bench.attempt(
            Way { name: "lsm", source: RAW_TRACEPOINT_OPEN, seat, neutral: 0, absent: &[ENOTSUPP] },
            |kernel, prog| kernel.raw_tracepoint_open(None, prog),
            Event::AtOnce(&mut |_, _, _| rustix::process::getsid(Some(rustix::process::getpid())).map(drop)),
        ),
        Err(why) => bench.untried(&["lsm"], &why),
    }
    if let Some(fact) = never_runs(bench.node.files) {
        bench.found.push(("bpf.fires.lsm".to_owned(), fact));
    }
}

/// The fact of LSM programs where `bpf` is not an active security module: whoever may attach one, it never runs.
fn never_runs(files: &Facts) -> Option<Fact> {
    let inactive = files.get("security.lsm.bpf").filter(|fact| fact.support == Support::No)?;
    let fact = Fact::new(Support::No, Evidence::Probed, inactive.source.clone());
    Some(fact.reason("bpf is not among the active security modules: such a program loads and never runs"))
}

fn iterator(bench: &mut Bench<'_, '_>) {
    let seat =
        match bench.seat(ProgType::TRACING, AttachType::TRACE_ITER, &["bpf_iter_bpf_map", "bpf_iter_task"]) {
            Ok(seat) => seat,
            Err(why) => return bench.untried(&["iter"], &why),
        };
    bench.attempt(
        Way { seat, ..Way::link("iter", ProgType::TRACING, AttachType::TRACE_ITER, 0) },
        |kernel, prog| {
            kernel.link_create(prog, LinkTarget::None, AttachType::TRACE_ITER, 0, LinkDetail::None)
        },
        Event::AtOnce(&mut |kernel, _, link: &OwnedFd| {
            let iterator = kernel.iter_create(link.as_fd())?;
            let mut printed = [0; 64];
            // It prints nothing: the first read walks through all of them and is at the end.
            rustix::io::retry_on_intr(|| rustix::io::read(&iterator, &mut printed)).map(drop)
        }),
    );
}

/// A perf event that comes with every tenth of a millisecond that this thread runs.
fn clock(bench: &mut Bench<'_, '_>) {
    const EVENT: PerfEvent<'_> = PerfEvent::TaskClock { period_ns: 100_000 };
    const LONG_ENOUGH: Duration = Duration::from_millis(10);
    let mut run = |_: &mut Kernel, _: BorrowedFd<'_>, _: &OwnedFd| {
        let started = Instant::now();
        while started.elapsed() < LONG_ENOUGH {
            black_box(0);
        }
        Ok(())
    };
    let way = on_event("perf_event", ProgType::PERF_EVENT);
    bench.attempt(way, |_, prog| hang(EVENT, prog), Event::Soon(&mut run));
}

/// A way by a perf event.
const fn on_event(name: &'static str, prog_type: ProgType) -> Way {
    Way { name, source: SET_BPF, seat: bare(prog_type), neutral: 0, absent: &[] }
}

/// Opens the event and hangs the program on it.
fn hang(event: PerfEvent<'_>, prog: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let event = hook::perf_event_open(event)?;
    hook::perf_event_set_bpf(event.as_fd(), prog).map(|()| event)
}

/// Number of an event source, or the fact that there is none.
fn source_number(bench: &Bench<'_, '_>, source: &str) -> Result<u32, Untried> {
    let path = format!("/sys/bus/event_source/devices/{source}/type");
    let text = std::fs::read_to_string(&path).map_err(|_| event_source(bench.node, source))?;
    text.trim().parse().map_err(|_| unknown(Errno::INVAL, &path, "not a number").into())
}

/// A way whose event source the kernel does not have.
fn absent_source(bench: &mut Bench<'_, '_>, name: &'static str, why: &Fact) {
    bench.tell(name, why.clone(), Fact::clone(why).reason("it cannot be attached"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsm_program_never_runs_where_bpf_is_known_to_be_inactive() {
        let runs = |active| {
            let mut files = Facts::default();
            files.insert("security.lsm.bpf", probed(active, "/sys/kernel/security/lsm"));
            never_runs(&files).map(|fact| fact.support)
        };
        assert_eq!(runs(Support::No), Some(Support::No));
        assert_eq!(runs(Support::Yes), None, "it is tried");
        assert_eq!(runs(Support::DeniedObserver), None, "not known");
    }

    #[test]
    fn functions_for_uprobes_are_at_places_of_their_own_in_the_executable() {
        let places = [landing::<1> as Landing, landing::<2>, landing::<3>, landing::<4>].map(file_off);
        let byte_sz = std::fs::metadata("/proc/self/exe").unwrap().len();
        for (index, place) in places.iter().enumerate() {
            assert!(place.is_some_and(|off| off < byte_sz));
            assert!(!places[..index].contains(place), "{places:?}");
        }
    }
}
