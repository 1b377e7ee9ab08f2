//! What can be attached, as far as it can be told without attaching anything.
//!
//! By a link, if there is one ([`link`]); else in the way that is older than links and still there: BPF_PROG_ATTACH asked
//! with a target that does not exist, or what the kernel's BTF and the event sources in sysfs tell of.

use super::Out;
use super::ask::{Named, Needs, Node, beyond, probed, standing, tell};
use super::asm;
use super::link::{self, BTF, BUILT_IN, Older, WAYS, built_in};
use super::program::{PROG_LOAD, Seat, Seats, loads};
use super::root::HostRoot;
use super::traffic;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, LinkTarget, ProgLoad, errno_name};
use btf_catalog::{AttachType, HelperId, LinkType, MapType, ProgType};
use std::os::fd::{AsFd, OwnedFd};

const PROG_ATTACH: &str = "BPF_PROG_ATTACH";
const TOKEN_CREATE: &str = "BPF_TOKEN_CREATE";
const RAW_TRACEPOINT_OPEN: &str = "BPF_RAW_TRACEPOINT_OPEN";
const EVENT_SOURCES: &str = "/sys/bus/event_source/devices";

/// Facts `bpf.attach.*`, `bpf.link.*` and the attach types that no load decides.
pub(crate) fn facts(node: &mut Node<'_>, seats: &Seats, undecided: &[AttachType], out: &mut Out<'_>) {
    let mut by_link: Vec<(LinkType, Fact)> = Vec::new();
    let mut by_attach: Vec<(AttachType, Fact)> = Vec::new();
    for way in &WAYS {
        let link = link::fact(node, seats, way);
        let fact = attachable(node, seats, way.prog_type, way.older, &link);
        // An ioctl has no attach type.
        let of_attach = if matches!(way.older, Older::EventSource(_)) { &link } else { &fact };
        by_attach.push((way.attach, of_attach.clone()));
        by_link.push((way.link, link));
        tell(out, format!("bpf.attach.{}", way.name), fact);
    }
    for way in &BUILT_IN {
        let link = built_in(node, way.function);
        let fact = attachable(node, seats, way.prog_type, way.older, &link);
        by_link.push((way.link, link));
        tell(out, format!("bpf.attach.{}", way.name), fact);
    }
    tell(out, "bpf.attach.raw_tracepoint", raw_tracepoint(node, seats, &mut by_link));
    tell(out, "bpf.attach.tc", traffic::fact(node, traffic::CLASSIFIER));
    tell(out, "bpf.attach.tc_action", traffic::fact(node, traffic::ACTION));
    tracing_facts(node, seats, &mut by_link, out);
    event_source_facts(node, out);
    for attach in undecided {
        let fact = attach_type(node, seats, *attach, &by_attach);
        tell(out, attach.fact(), fact);
    }
    link::facts(node, &by_link, out);
}

/// Whether programs of a type can be attached: by a link, of which `link` tells, or else in the older way.
fn attachable(node: &mut Node<'_>, seats: &Seats, prog_type: ProgType, older: Older, link: &Fact) -> Fact {
    // A link that was probed was refused only for its target, with a program that had been accepted.
    let shown = link.support == Support::Yes && link.evidence == Evidence::Probed;
    if shown || matches!(older, Older::Nothing) {
        return link.clone();
    }
    match loads(seats, prog_type) {
        Support::Yes if link.support == Support::Yes => link.clone(),
        Support::Yes => {
            let other = without_link(node, prog_type, older);
            [&other, link].into_iter().min_by_key(|fact| standing(fact)).unwrap_or(link).clone()
        }
        support => beyond(prog_type.0, node.bounds.prog_type, "bpf_prog_type")
            .unwrap_or_else(|| probed(support, PROG_LOAD).reason(format!("no {prog_type} program loads"))),
    }
}

/// Whether programs of a type that loads can be attached in the way that is older than links.
fn without_link(node: &mut Node<'_>, prog_type: ProgType, older: Older) -> Fact {
    let derived = |support, source: &str| Fact::new(support, Evidence::Derived, source);
    match older {
        Older::Nothing => derived(Support::No, BTF).reason("there is no way but by a link"),
        Older::ProgAttach(attach) => prog_attach(node, prog_type, attach),
        Older::EventSource(name) => match event_source(node, name) {
            fact if fact.support == Support::Yes => derived(Support::Yes, &fact.source)
                .reason("loads, and the kernel has the event to hang it on by ioctl (since v4.9)"),
            other => other,
        },
        Older::Functions(functions) => {
            match functions.iter().find(|function| node.has_function(function) == Some(true)) {
                Some(function) => {
                    derived(Support::Yes, BTF).reason(format!("loads, and {function}() is built in"))
                }
                None => derived(Support::Unknown, BTF).reason(format!(
                    "loads; the kernel's BTF does not tell of {}()",
                    functions.join("() or ")
                )),
            }
        }
        Older::ProgType(reason) => derived(Support::Yes, PROG_LOAD).reason(format!("loads; {reason}")),
    }
}

/// Has BPF_PROG_ATTACH refuse a program for its missing target. Only for attach types that look up a descriptor: cgroups
/// (`cgroup_bpf_prog_attach()`, kernel/bpf/cgroup.c, since v4.10) and socket maps (`sock_map_get_from_fd()`,
/// net/core/sock_map.c, since v4.14).
fn prog_attach(node: &mut Node<'_>, prog_type: ProgType, attach: AttachType) -> Fact {
    let insns = asm::bytes(&asm::NOTHING);
    match node.accept(&ProgLoad::new(prog_type, &insns)) {
        Ok(prog) => {
            let answer = node.kernel.prog_attach(prog.as_fd(), LinkTarget::NoFd, attach);
            let absent = [Errno::INVAL, Errno::OPNOTSUPP];
            link::judge(node, answer, PROG_ATTACH, &[Errno::BADF], &absent, Needs::NetAdmin)
        }
        Err(errno) => link::not_accepted(node, errno, prog_type),
    }
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
                Ok(_) => link::unknown_acceptance(RAW_TRACEPOINT_OPEN),
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
    by_link.push((link::RAW_TRACEPOINT, fact.clone()));
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
    by_link.push((link::ITER, iter.clone()));
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
    by_link.push((link::TRACING, tp_btf.clone()));
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
    if HostRoot::local().sysfs_lacks(&path) && node.btf.is_some() {
        // perf_tp_register(), kernel/events/core.c, v6.12.
        let option = match source {
            "kprobe" => "CONFIG_KPROBES and CONFIG_KPROBE_EVENTS",
            "uprobe" => "CONFIG_UPROBES and CONFIG_UPROBE_EVENTS",
            _ => "CONFIG_EVENT_TRACING",
        };
        return Fact::new(Support::No, Evidence::Probed, path)
            .errno("ENOENT")
            .reason(format!("no such event source: needs {option}"));
    }
    Fact::new(Support::Unknown, Evidence::Probed, path)
        .reason("sysfs is not there or mounted over, or the kernel is older than its event sources (v4.17)")
}

/// The fact of an attach type that a load does not depend on.
fn attach_type(
    node: &mut Node<'_>,
    seats: &Seats,
    attach: AttachType,
    by_attach: &[(AttachType, Fact)],
) -> Fact {
    let prog_type = attach.prog_type().unwrap_or(ProgType::UNSPEC);
    match loads(seats, prog_type) {
        Support::Yes => {}
        support => return probed(support, PROG_LOAD).reason("no program of its type loads"),
    }
    // What answers for another of the same family answers for it.
    let like = match attach {
        AttachType::TCX_EGRESS => AttachType::TCX_INGRESS,
        AttachType::NETKIT_PEER => AttachType::NETKIT_PRIMARY,
        AttachType::CGROUP_INET_EGRESS => AttachType::CGROUP_INET_INGRESS,
        other => other,
    };
    if let Some((_, fact)) = by_attach.iter().find(|(of, _)| *of == like) {
        return fact.clone();
    }
    match attach {
        AttachType::XDP_DEVMAP => redirect_program(node, MapType::DEVMAP),
        AttachType::XDP_CPUMAP => redirect_program(node, MapType::CPUMAP),
        AttachType::XDP => built_in(node, "bpf_xdp_link_attach"),
        AttachType::CGROUP_DEVICE
        | AttachType::CGROUP_SYSCTL
        | AttachType::CGROUP_SOCK_OPS
        | AttachType::SK_MSG_VERDICT
        | AttachType::SK_SKB_STREAM_PARSER
        | AttachType::SK_SKB_STREAM_VERDICT
        | AttachType::SK_SKB_VERDICT => prog_attach(node, prog_type, attach),
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
            None => Fact::new(Support::Unknown, Evidence::Probed, PROG_LOAD)
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
    use crate::sys::{Kernel, Question};
    use btf_catalog::Btf;

    /// A kernel's BTF that has this function and nothing else.
    fn btf_with(function: &str) -> Btf {
        const HEADER_SZ: u32 = 24;
        let names = [b"\0", function.as_bytes(), b"\0"].concat();
        // FUNC_PROTO of nothing and nothing, and the FUNC of it.
        let types = [0, 13 << 24, 0, 1, 12 << 24, 1];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        if cfg!(target_endian = "big") {
            bytes[..2].reverse();
        }
        let type_sz = size_of_val(&types) as u32;
        for word in [HEADER_SZ, 0, type_sz, type_sz, names.len() as u32].into_iter().chain(types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(names);
        Btf::parse(bytes).unwrap()
    }

    #[test]
    fn where_there_is_no_link_what_is_older_decides() {
        let (files, caller) = (Facts::default(), Caller::observe());
        let answer = |function: &str, name: &str, load: Support| {
            let btf = btf_with(function);
            let mut node = Node::new(Kernel::live(), Some(&btf), &files, &caller, false);
            let way = BUILT_IN.iter().find(|way| way.name == name).unwrap();
            let seat = Seat { prog_type: way.prog_type, attach: None, target: None, flags: 0 };
            let seats = Seats::from([(way.prog_type, vec![(seat, load)])]);
            let link = built_in(&node, way.function);
            (attachable(&mut node, &seats, way.prog_type, way.older, &link).support, link.support)
        };
        let (yes, no, unknown) = (Support::Yes, Support::No, Support::Unknown);
        assert_eq!(answer("bpf_struct_ops_map_update_elem", "struct_ops", yes), (yes, no));
        assert_eq!(answer("bpf_struct_ops_link_create", "struct_ops", yes), (yes, yes));
        assert_eq!(answer("vfs_read", "struct_ops", yes), (unknown, no));
        assert_eq!(answer("vfs_read", "xdp", yes), (yes, no));
        // What does not load is not attached, whatever is built in.
        for load in [no, unknown, Support::DeniedWorkload, Support::DeniedObserver] {
            assert_eq!(answer("bpf_xdp_link_attach", "xdp", load), (load, yes));
            assert_eq!(answer("vfs_read", "xdp", load), (load, no));
        }
    }

    #[test]
    fn a_flow_dissector_is_never_asked_to_be_attached() {
        let (files, caller) = (Facts::default(), Caller::observe());
        let kernel = Kernel::injected(Box::new(|question| {
            assert!(!matches!(question, Question::Other(_)), "it would be attached before v5.8");
            None
        }));
        let btf = btf_with("skb_flow_dissector_bpf_prog_attach");
        let mut node = Node::new(kernel, Some(&btf), &files, &caller, false);
        let way = WAYS.iter().find(|way| way.name == "flow_dissector").unwrap();
        assert_eq!(without_link(&mut node, way.prog_type, way.older).support, Support::Yes);
    }

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
