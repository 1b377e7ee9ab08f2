//! What can be attached, as far as it can be told without attaching anything.
//!
//! `BPF_LINK_CREATE` is asked to hang an accepted program on something that does not exist. A kernel that has the link
//! answers that the target is not there (EBADF, ENODEV); one that does not, that it knows no such link (EINVAL,
//! EOPNOTSUPP). Nothing can come of it, and yet more is learnt than from an enumeration, which names types that were
//! left out of the build. Where the two cannot be told apart, the kernel's BTF tells whether the function that
//! attaches was built in, and event sources in sysfs tell of kprobes and uprobes.

use super::Out;
use super::ask::{Named, Needs, Node, beyond, needs, probed, tell, unknown};
use super::asm;
use super::program::{Seat, Seats};
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, LinkDetail, LinkTarget, ProgLoad, errno_name};
use btf_catalog::{AttachType, HelperId, LinkType, MapType, ProgType};
use std::os::fd::{AsFd, OwnedFd};

const LINK_CREATE: &str = "BPF_LINK_CREATE";
const TOKEN_CREATE: &str = "BPF_TOKEN_CREATE";
const RAW_TRACEPOINT_OPEN: &str = "BPF_RAW_TRACEPOINT_OPEN";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const EVENT_SOURCES: &str = "/sys/bus/event_source/devices";

/// No interface has this number.
const NO_INTERFACE: LinkTarget<'_> = LinkTarget::Interface(i32::MAX as u32);
/// Not a protocol family.
const NO_FAMILY: u32 = 255;

/// One way to attach a program and how it is asked about.
struct Way {
    /// Name of the fact `bpf.attach.*`.
    name: &'static str,
    prog_type: ProgType,
    attach: AttachType,
    link: LinkType,
    target: LinkTarget<'static>,
    detail: LinkDetail<'static>,
    /// Answers by which the kernel says that it has the link and only misses the target.
    reached: &'static [Errno],
    /// Answers by which it says that it has no such link. EINVAL says so only if nothing else is wrong.
    absent: &'static [Errno],
}

const fn link(id: u32) -> LinkType {
    LinkType(id)
}

const CGROUP: LinkType = link(3);
const NETNS: LinkType = link(5);
const XDP: LinkType = link(6);
const PERF_EVENT: LinkType = link(7);
const KPROBE_MULTI: LinkType = link(8);
const NETFILTER: LinkType = link(10);
const TCX: LinkType = link(11);
const UPROBE_MULTI: LinkType = link(12);
const NETKIT: LinkType = link(13);
const SOCKMAP: LinkType = link(14);

/// A symbol that no kernel has, and a path that is no file.
const KPROBE_NOWHERE: LinkDetail<'_> =
    LinkDetail::KprobeMulti { symbol: c"portolan_no_such_function", flags: 0 };
const UPROBE_NOWHERE: LinkDetail<'_> = LinkDetail::UprobeMulti { path: c"/", off: 1, pid: 0 };

const WAYS: [Way; 11] = [
    Way {
        name: "cgroup",
        prog_type: ProgType::CGROUP_SKB,
        attach: AttachType::CGROUP_INET_INGRESS,
        link: CGROUP,
        target: LinkTarget::NoFd,
        detail: LinkDetail::None,
        reached: &[Errno::BADF],
        absent: &[Errno::INVAL],
    },
    Way {
        name: "sk_lookup",
        prog_type: ProgType::SK_LOOKUP,
        attach: AttachType::SK_LOOKUP,
        link: NETNS,
        target: LinkTarget::NoFd,
        detail: LinkDetail::None,
        reached: &[Errno::BADF],
        absent: &[],
    },
    Way {
        name: "flow_dissector",
        prog_type: ProgType::FLOW_DISSECTOR,
        attach: AttachType::FLOW_DISSECTOR,
        link: NETNS,
        target: LinkTarget::NoFd,
        detail: LinkDetail::None,
        reached: &[Errno::BADF],
        absent: &[],
    },
    Way {
        name: "perf_event",
        prog_type: ProgType::PERF_EVENT,
        attach: AttachType::PERF_EVENT,
        link: PERF_EVENT,
        target: LinkTarget::NoFd,
        detail: LinkDetail::PerfCookie(0),
        reached: &[Errno::BADF],
        absent: &[Errno::INVAL, Errno::OPNOTSUPP],
    },
    Way {
        name: "kprobe_multi",
        prog_type: ProgType::KPROBE,
        attach: AttachType::TRACE_KPROBE_MULTI,
        link: KPROBE_MULTI,
        target: LinkTarget::None,
        detail: KPROBE_NOWHERE,
        reached: &[Errno::SRCH],
        absent: &[Errno::OPNOTSUPP],
    },
    Way {
        name: "kprobe_session",
        prog_type: ProgType::KPROBE,
        attach: AttachType::TRACE_KPROBE_SESSION,
        link: KPROBE_MULTI,
        target: LinkTarget::None,
        detail: KPROBE_NOWHERE,
        reached: &[Errno::SRCH],
        absent: &[Errno::OPNOTSUPP],
    },
    Way {
        name: "uprobe_multi",
        prog_type: ProgType::KPROBE,
        attach: AttachType::TRACE_UPROBE_MULTI,
        link: UPROBE_MULTI,
        target: LinkTarget::None,
        detail: UPROBE_NOWHERE,
        reached: &[Errno::BADF],
        absent: &[Errno::OPNOTSUPP, Errno::INVAL],
    },
    Way {
        name: "uprobe_session",
        prog_type: ProgType::KPROBE,
        attach: AttachType::TRACE_UPROBE_SESSION,
        link: UPROBE_MULTI,
        target: LinkTarget::None,
        detail: UPROBE_NOWHERE,
        reached: &[Errno::BADF],
        absent: &[Errno::OPNOTSUPP, Errno::INVAL],
    },
    Way {
        name: "netfilter",
        prog_type: ProgType::NETFILTER,
        attach: AttachType::NETFILTER,
        link: NETFILTER,
        target: LinkTarget::None,
        detail: LinkDetail::Netfilter { pf: NO_FAMILY, hook: 0, priority: 0 },
        reached: &[Errno::AFNOSUPPORT],
        absent: &[Errno::OPNOTSUPP, Errno::INVAL],
    },
    Way {
        name: "tcx",
        prog_type: ProgType::SCHED_CLS,
        attach: AttachType::TCX_INGRESS,
        link: TCX,
        target: NO_INTERFACE,
        detail: LinkDetail::None,
        reached: &[Errno::NODEV],
        absent: &[Errno::INVAL],
    },
    Way {
        name: "netkit",
        prog_type: ProgType::SCHED_CLS,
        attach: AttachType::NETKIT_PRIMARY,
        link: NETKIT,
        target: NO_INTERFACE,
        detail: LinkDetail::None,
        reached: &[Errno::NODEV],
        absent: &[Errno::INVAL],
    },
];

/// Facts `bpf.attach.*`, `bpf.link.*` and the attach types that no load decides.
pub(crate) fn facts(node: &mut Node<'_>, seats: &Seats, undecided: &[AttachType], out: &mut Out<'_>) {
    let mut by_link: Vec<(LinkType, Fact)> = Vec::new();
    let mut by_attach: Vec<(AttachType, Fact)> = Vec::new();
    for way in &WAYS {
        let fact = match unknown_number(node, way) {
            Some(fact) => fact,
            None => ask(node, seats, way),
        };
        by_attach.push((way.attach, fact.clone()));
        by_link.push((way.link, fact.clone()));
        tell(out, format!("bpf.attach.{}", way.name), fact);
    }
    for (name, link, function) in BUILT_IN {
        let fact = built_in(node, function);
        by_link.push((link, fact.clone()));
        tell(out, format!("bpf.attach.{name}"), fact);
    }
    tell(out, "bpf.attach.raw_tracepoint", raw_tracepoint(node, seats, &mut by_link));
    tell(out, "bpf.attach.tc", classifier(node));
    tracing_facts(node, seats, &mut by_link, out);
    event_source_facts(node, out);
    for attach in undecided {
        let of_type =
            seats.get(&attach.prog_type().unwrap_or(ProgType::UNSPEC)).map_or(&[][..], Vec::as_slice);
        let fact = attach_type(node, *attach, of_type, &by_attach);
        tell(out, attach.fact(), fact);
    }
    link_facts(node, &by_link, out);
}

/// Attaching functions that a call with a missing target does not show: by the fact's name, link type and function.
const BUILT_IN: [(&str, LinkType, &str); 3] = [
    ("xdp", XDP, "bpf_xdp_link_attach"),
    ("struct_ops", link(9), "bpf_struct_ops_link_create"),
    ("sockmap", SOCKMAP, "sock_map_link_create"),
];

/// Whether the kernel was built with a function, as a fact.
fn built_in(node: &Node<'_>, function: &str) -> Fact {
    let fact = |support| Fact::new(support, Evidence::Derived, BTF);
    match node.has_function(function) {
        Some(true) => fact(Support::Yes).reason(format!("{function}() is built in")),
        Some(false) => fact(Support::No).reason(format!("{function}() is not in the kernel's BTF")),
        None => fact(Support::Unknown).reason("the kernel's BTF is missing or not readable"),
    }
}

fn unknown_number(node: &Node<'_>, way: &Way) -> Option<Fact> {
    beyond(way.attach.0, node.bounds.attach_type, "bpf_attach_type")
        .or_else(|| beyond(way.link.0, node.bounds.link_type, "bpf_link_type"))
}

/// Has the link refused for its missing target.
fn ask(node: &mut Node<'_>, seats: &Seats, way: &Way) -> Fact {
    let of_type = seats.get(&way.prog_type).map_or(&[][..], Vec::as_slice);
    if !of_type.iter().any(|(_, support)| *support == Support::Yes) {
        let support = of_type.first().map_or(Support::Unknown, |(_, support)| *support);
        return probed(support, LINK_CREATE).reason(format!("no {} program loads", way.prog_type));
    }
    let insns = asm::bytes(&asm::NOTHING);
    let load = ProgLoad { expected_attach_type: Some(way.attach), ..ProgLoad::new(way.prog_type, &insns) };
    let prog = match node.accept(&load) {
        Ok(prog) => prog,
        Err(errno) => {
            return node
                .no_answer(errno, needs(way.prog_type), LINK_CREATE)
                .unwrap_or_else(|| unknown(errno, LINK_CREATE, "the program to attach was not accepted"));
        }
    };
    match node.kernel.link_create(prog.as_fd(), way.target, way.attach, 0, way.detail) {
        Ok(_) => unknown_acceptance(),
        Err(errno) if way.reached.contains(&errno) => probed(Support::Yes, LINK_CREATE)
            .errno(errno_name(errno))
            .reason("refused only for the missing target"),
        Err(errno) if way.absent.contains(&errno) => probed(Support::No, LINK_CREATE)
            .errno(errno_name(errno))
            .reason("the kernel has no such link, though it may name its type"),
        Err(errno) if matches!(errno, Errno::PERM | Errno::ACCESS) => node
            .no_answer(errno, Needs::Both, LINK_CREATE)
            .unwrap_or_else(|| unknown(errno, LINK_CREATE, "refused")),
        Err(errno) => unknown(errno, LINK_CREATE, "may be for want of the link or of the target"),
    }
}

/// A link to nothing that was made. It is closed by now.
fn unknown_acceptance() -> Fact {
    Fact::new(Support::Unknown, Evidence::Probed, LINK_CREATE).reason("a link without a target was accepted")
}

/// A raw tracepoint of a name that no kernel has: ENOENT, and nothing is attached.
fn raw_tracepoint(node: &mut Node<'_>, seats: &Seats, by_link: &mut Vec<(LinkType, Fact)>) -> Fact {
    let loads = seats.get(&ProgType::RAW_TRACEPOINT).and_then(|seats| seats.first());
    let fact = match loads {
        Some((seat, Support::Yes)) => {
            let seat: Seat = *seat;
            let insns = asm::bytes(&asm::NOTHING);
            let prog: Result<OwnedFd, Errno> = node.accept(&seat.load(&insns));
            match prog.and_then(|prog| node.kernel.raw_tracepoint_open(Some(c"portolan_none"), prog.as_fd()))
            {
                Ok(_) => unknown_acceptance(),
                Err(Errno::NOENT) => probed(Support::Yes, RAW_TRACEPOINT_OPEN)
                    .errno("ENOENT")
                    .reason("refused only for the missing tracepoint"),
                Err(errno) => node
                    .no_answer(errno, Needs::Perfmon, RAW_TRACEPOINT_OPEN)
                    .unwrap_or_else(|| probed(Support::No, RAW_TRACEPOINT_OPEN).errno(errno_name(errno))),
            }
        }
        Some((_, support)) => probed(*support, RAW_TRACEPOINT_OPEN).reason("no raw_tracepoint program loads"),
        None => probed(Support::Unknown, RAW_TRACEPOINT_OPEN).reason("not asked"),
    };
    by_link.push((link(1), fact.clone()));
    fact
}

/// Facts of programs that are bound to a kernel function at load: what cannot be loaded cannot be attached; that a
/// load is taken says nothing of the attachment, which patches the function's entry.
fn tracing_facts(node: &Node<'_>, seats: &Seats, by_link: &mut Vec<(LinkType, Fact)>, out: &mut Out<'_>) {
    let loads = |prog_type, attach| {
        let of_type = seats.get(&prog_type).map_or(&[][..], Vec::as_slice);
        of_type
            .iter()
            .find(|(seat, _)| seat.attach == attach)
            .map_or(Support::Unknown, |(_, support)| *support)
    };
    let derived = |support, reason: &str| Fact::new(support, Evidence::Derived, BTF).reason(reason);
    let tracing = |attach| loads(ProgType::TRACING, Some(attach));
    let tp_btf = match tracing(AttachType::TRACE_RAW_TP) {
        Support::Yes => derived(Support::Yes, "loads; attached as any raw tracepoint, without patching code"),
        other => derived(other, "such a program does not load"),
    };
    let iter = match tracing(AttachType::TRACE_ITER) {
        Support::Yes => built_in(node, "bpf_iter_link_attach"),
        other => derived(other, "such a program does not load"),
    };
    by_link.push((link(4), iter.clone()));
    tell(out, "bpf.attach.iter", iter);
    for (name, attach) in [
        ("fentry", AttachType::TRACE_FENTRY),
        ("fexit", AttachType::TRACE_FEXIT),
        ("fmod_ret", AttachType::MODIFY_RETURN),
    ] {
        let fact = match tracing(attach) {
            Support::Yes => trampoline(node),
            other => derived(other, "such a program does not load"),
        };
        tell(out, format!("bpf.attach.{name}"), fact);
    }
    by_link.push((link(2), tp_btf.clone()));
    tell(out, "bpf.attach.tp_btf", tp_btf);
    tell(out, "bpf.attach.lsm", lsm(node, loads(ProgType::LSM, lsm_attach(seats))));
}

fn lsm_attach(seats: &Seats) -> Option<AttachType> {
    seats.get(&ProgType::LSM).and_then(|seats| seats.first()).and_then(|(seat, _)| seat.attach)
}

/// A BPF LSM program that loads, and even attaches, is never called if `bpf` is not among the active modules.
fn lsm(node: &Node<'_>, loads: Support) -> Fact {
    if let Some(fact) = node.files.get("security.lsm.bpf").filter(|fact| fact.support == Support::No) {
        return Fact::new(Support::No, Evidence::Probed, fact.source.clone())
            .reason("bpf is not among the active security modules: the program would load and never run");
    }
    match (loads, node.files.support("security.lsm.bpf")) {
        (Support::Yes, Support::Yes) => trampoline(node),
        (Support::Yes, _) => Fact::new(Support::Unknown, Evidence::Derived, BTF)
            .reason("loads; whether bpf is an active security module is not known"),
        (other, _) => Fact::new(other, Evidence::Derived, BTF).reason("such a program does not load"),
    }
}

/// Whether the entry of a kernel function can be made to call a program: through ftrace, by its direct calls
/// (x86 since v5.5, arm64 since v6.4), without which `bpf_trampoline_link_prog()` answers EBUSY or ENOTSUPP.
fn trampoline(node: &Node<'_>) -> Fact {
    const OPTION: &str = "kernel.config.CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS";
    let fact = |support| Fact::new(support, Evidence::Derived, OPTION);
    if node.files.support("security.ftrace_enabled") == Support::No {
        return fact(Support::No).reason("loads, but ftrace is switched off (kernel.ftrace_enabled is 0)");
    }
    match node.files.support(OPTION) {
        Support::Yes => fact(Support::Yes).reason("loads, and ftrace can call programs directly"),
        Support::No => fact(Support::No).reason("loads, but ftrace was built without direct calls"),
        _ => fact(Support::Unknown).reason(
            "loads; the kernel's configuration, which tells whether ftrace calls directly, was not read",
        ),
    }
}

/// Whether a classifier can be put on a clsact qdisc through netlink. Most distributions build both as modules, which
/// the kernel loads when they are first used; nothing is loaded to find out.
fn classifier(node: &Node<'_>) -> Fact {
    const PARTS: [(&str, &str); 2] = [("NET_CLS_BPF", "cls_bpf"), ("NET_SCH_INGRESS", "sch_ingress")];
    let fact = |support| Fact::new(support, Evidence::Derived, "kernel.config.CONFIG_NET_CLS_BPF");
    let mut to_load = Vec::new();
    for (option, module) in PARTS {
        let configured = node.files.get(&format!("kernel.config.CONFIG_{option}"));
        let installed = node.files.get(&format!("kernel.module.{module}"));
        match configured.map_or(Support::Unknown, |fact| fact.support) {
            Support::No => return fact(Support::No).reason(format!("CONFIG_{option} is off")),
            Support::Yes if configured.and_then(Fact::text) != Some("m") => {}
            // As a module, or nobody knows how: the file decides.
            configured => match installed.map(|fact| (fact.support, fact.text())) {
                Some((Support::Yes, Some("installed"))) => to_load.push(module),
                Some((Support::Yes, _)) => {}
                Some((Support::No, _)) if configured == Support::Yes => {
                    return fact(Support::No).reason(format!("the module {module} is not installed"));
                }
                _ => {
                    let reason = format!("neither CONFIG_{option} nor the list of modules tells");
                    return fact(Support::Unknown).reason(reason);
                }
            },
        }
    }
    if to_load.is_empty() {
        return fact(Support::Yes).reason("built in, or loaded");
    }
    let modules = to_load.join(" and ");
    match node.files.support("security.modules_disabled") {
        Support::Yes => fact(Support::DeniedWorkload)
            .reason(format!("{modules} not loaded, and no module can be until the next boot")),
        _ => fact(Support::Yes)
            .reason(format!("the kernel loads {modules} when first used, if the node lets it")),
    }
}

/// Facts of what is attached through perf events.
fn event_source_facts(node: &Node<'_>, out: &mut Out<'_>) {
    for source in ["kprobe", "uprobe", "tracepoint"] {
        tell(out, format!("bpf.attach.{source}"), event_source(node, source));
    }
}

/// The fact of an event source: it is in sysfs since v4.17.
pub(crate) fn event_source(node: &Node<'_>, source: &str) -> Fact {
    let path = format!("{EVENT_SOURCES}/{source}/type");
    if std::path::Path::new(&path).exists() {
        return Fact::new(Support::Yes, Evidence::Probed, path).reason("the event source is there");
    }
    if std::path::Path::new(EVENT_SOURCES).is_dir() && node.btf.is_some() {
        return Fact::new(Support::No, Evidence::Probed, path)
            .errno("ENOENT")
            .reason("no such event source: the kernel was built without it, though the program type loads");
    }
    Fact::new(Support::Unknown, Evidence::Probed, path)
        .reason("sysfs is not readable, or the kernel is older than its event sources (v4.17)")
}

/// The fact of an attach type that a load does not depend on.
fn attach_type(
    node: &mut Node<'_>,
    attach: AttachType,
    of_type: &[(Seat, Support)],
    by_attach: &[(AttachType, Fact)],
) -> Fact {
    if !of_type.iter().any(|(_, support)| *support == Support::Yes) {
        let support = of_type.first().map_or(Support::Unknown, |(_, support)| *support);
        return probed(support, super::program::PROG_LOAD).reason("no program of its type loads");
    }
    // What answers for another of the same family answers for it.
    let like = match attach {
        AttachType::TCX_EGRESS => AttachType::TCX_INGRESS,
        AttachType::NETKIT_PEER => AttachType::NETKIT_PRIMARY,
        other => other,
    };
    if let Some((_, fact)) = by_attach.iter().find(|(of, _)| *of == like) {
        return fact.clone();
    }
    match attach {
        AttachType::XDP_DEVMAP => redirect_program(node, MapType::DEVMAP),
        AttachType::XDP_CPUMAP => redirect_program(node, MapType::CPUMAP),
        AttachType::XDP => built_in(node, "bpf_xdp_link_attach"),
        _ => Fact::new(Support::Unknown, Evidence::Derived, BTF)
            .reason("programs of its type load, but a load does not depend on it: load is not attach"),
    }
}

/// Programs run from a redirect map's entry need values of 8 bytes: index and program.
fn redirect_program(node: &mut Node<'_>, map_type: MapType) -> Fact {
    const SOURCE: &str = "BPF_MAP_CREATE";
    match node.map(&crate::sys::MapCreate::new(map_type, 4, 8, 1)) {
        Ok(_) => probed(Support::Yes, SOURCE).reason("the map takes values with a program"),
        Err(errno) => node
            .no_answer(errno, Needs::NetAdmin, SOURCE)
            .unwrap_or_else(|| probed(Support::No, SOURCE).errno(errno_name(errno))),
    }
}

/// Facts `bpf.link.*`: the best answer of those that used the link.
fn link_facts(node: &Node<'_>, answers: &[(LinkType, Fact)], out: &mut Out<'_>) {
    let most = LinkType::all().map(|ty| ty.0).max().unwrap_or(0).max(node.bounds.link_type.unwrap_or(0));
    for link_type in (1..=most).map(LinkType) {
        let of_link = answers.iter().filter(|(of, _)| *of == link_type).map(|(_, fact)| fact);
        let best = of_link.min_by_key(|fact| match fact.support {
            Support::Yes => 0,
            Support::No => 1,
            _ => 2,
        });
        let fact = beyond(link_type.0, node.bounds.link_type, "bpf_link_type")
            .or(best.cloned())
            .unwrap_or_else(|| {
                Fact::new(Support::Unknown, Evidence::Derived, BTF)
                    .reason("only named by the kernel, which proves nothing")
            });
        tell(out, link_type.fact(), fact);
    }
}

/// Facts `bpf.cookie.*` and `bpf.token`.
pub(crate) fn cookie_and_token_facts(node: &mut Node<'_>, helpers: &crate::facts::Facts, out: &mut Out<'_>) {
    let cookie = HelperId::from_name("get_attach_cookie").unwrap_or(HelperId(0));
    for prog_type in [
        ProgType::KPROBE,
        ProgType::TRACEPOINT,
        ProgType::PERF_EVENT,
        ProgType::TRACING,
        ProgType::RAW_TRACEPOINT,
    ] {
        let fact = match helpers.get(&super::ask::helper_fact(prog_type, cookie)) {
            Some(fact) => {
                Fact { reason: Some("helper get_attach_cookie in such programs".to_owned()), ..fact.clone() }
            }
            None => Fact::new(Support::Unknown, Evidence::Probed, super::program::PROG_LOAD)
                .reason("helper get_attach_cookie was not asked about"),
        };
        tell(out, format!("bpf.cookie.{prog_type}"), fact);
    }
    let fact = match node.kernel.token_create(None) {
        // Only a kernel that knows the command looks at the descriptor.
        Err(Errno::BADF) => {
            probed(Support::Yes, TOKEN_CREATE).errno("EBADF").reason("refused only for the missing bpffs")
        }
        Err(errno) => node
            .no_answer(errno, Needs::Bpf, TOKEN_CREATE)
            .unwrap_or_else(|| probed(Support::No, TOKEN_CREATE).errno(errno_name(errno))),
        Ok(_) => probed(Support::Unknown, TOKEN_CREATE).reason("a token was given without a bpffs"),
    };
    tell(out, "bpf.token", fact);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::probe::caller::Caller;
    use crate::sys::Kernel;

    #[test]
    fn an_lsm_program_that_loads_does_not_run_where_bpf_is_not_active() {
        let caller = Caller::observe();
        let answer = |active: Option<Support>, loads| {
            let mut files = Facts::default();
            if let Some(support) = active {
                files.insert(
                    "security.lsm.bpf",
                    Fact::new(support, Evidence::Probed, "/sys/kernel/security/lsm"),
                );
            }
            lsm(&Node::new(Kernel::live(), None, &files, &caller, false), loads).support
        };
        assert_eq!(answer(Some(Support::No), Support::Yes), Support::No);
        assert_eq!(answer(Some(Support::Yes), Support::Yes), Support::Unknown, "not attached to see");
        assert_eq!(answer(None, Support::Yes), Support::Unknown);
        assert_eq!(answer(Some(Support::Yes), Support::DeniedWorkload), Support::DeniedWorkload);
    }
}
