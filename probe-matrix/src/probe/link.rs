//! Links: which types of them `BPF_LINK_CREATE` makes.
//!
//! It is asked to hang an accepted program on something that does not exist. A kernel that has the link answers that the
//! target is not there (EBADF, ENODEV); one that does not, that it knows no such link (EINVAL, EOPNOTSUPP). Nothing can
//! come of it, and yet more is learnt than from an enumeration, which names types that were left out of the build. Where
//! the two cannot be told apart, the kernel's BTF tells whether the function that makes the link was built in.
//!
//! Links came late (v5.7) and one by one: that there is no link is no answer to whether programs can be attached.

use super::Out;
use super::ask::{Named, Needs, Node, beyond, needs, probed, tell, unknown};
use super::asm;
use super::program::{PROG_LOAD, Seats, loads};
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, LinkDetail, LinkTarget, ProgLoad, errno_name};
use btf_catalog::{AttachType, LinkType, ProgType};
use std::os::fd::AsFd;

const LINK_CREATE: &str = "BPF_LINK_CREATE";
/// Where the kernel's own BTF is, as the source of facts.
pub(crate) const BTF: &str = "/sys/kernel/btf/vmlinux";

/// How the same programs are attached without a link.
#[derive(Clone, Copy)]
pub(crate) enum Older {
    /// Not at all: the link came first.
    Nothing,
    /// By `BPF_PROG_ATTACH` as this type, which looks up the target before it does anything.
    ProgAttach(AttachType),
    /// By an ioctl of perf events, where the kernel has this source of them.
    EventSource(&'static str),
    /// By any one of these functions; the program type has them.
    Functions(&'static [&'static str]),
    /// By a part of the kernel that is built with the program type.
    ProgType(&'static str),
}

/// No interface has this number.
const NO_INTERFACE: LinkTarget<'_> = LinkTarget::Interface(i32::MAX as u32);
/// Not a protocol family.
const NO_FAMILY: u32 = 255;

/// One way to attach a program and how it is asked about.
pub(crate) struct Way {
    /// Name of the fact `bpf.attach.*`.
    pub(crate) name: &'static str,
    pub(crate) prog_type: ProgType,
    pub(crate) attach: AttachType,
    pub(crate) link: LinkType,
    target: LinkTarget<'static>,
    detail: LinkDetail<'static>,
    /// Answers by which the kernel says that it has the link and only misses the target.
    reached: &'static [Errno],
    /// Answers by which it says that it has no such link. EINVAL says so only if nothing else is wrong.
    absent: &'static [Errno],
    pub(crate) older: Older,
}

// enum bpf_link_type, include/uapi/linux/bpf.h.
pub(crate) const RAW_TRACEPOINT: LinkType = LinkType(1);
pub(crate) const TRACING: LinkType = LinkType(2);
const CGROUP: LinkType = LinkType(3);
pub(crate) const ITER: LinkType = LinkType(4);
const NETNS: LinkType = LinkType(5);
const XDP: LinkType = LinkType(6);
const PERF_EVENT: LinkType = LinkType(7);
const KPROBE_MULTI: LinkType = LinkType(8);
const STRUCT_OPS: LinkType = LinkType(9);
const NETFILTER: LinkType = LinkType(10);
const TCX: LinkType = LinkType(11);
const UPROBE_MULTI: LinkType = LinkType(12);
const NETKIT: LinkType = LinkType(13);
const SOCKMAP: LinkType = LinkType(14);

/// A symbol that no kernel has, and a path that is no file.
const KPROBE_NOWHERE: LinkDetail<'_> =
    LinkDetail::KprobeMulti { symbol: c"portolan_no_such_function", flags: 0 };
const UPROBE_NOWHERE: LinkDetail<'_> = LinkDetail::UprobeMulti { path: c"/", off: 1, pid: 0 };

pub(crate) const WAYS: [Way; 11] = [
    Way {
        name: "cgroup",
        prog_type: ProgType::CGROUP_SKB,
        attach: AttachType::CGROUP_INET_INGRESS,
        link: CGROUP,
        target: LinkTarget::NoFd,
        detail: LinkDetail::None,
        reached: &[Errno::BADF],
        absent: &[Errno::INVAL],
        older: Older::ProgAttach(AttachType::CGROUP_INET_INGRESS),
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
        older: Older::Nothing,
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
        // Not asked of BPF_PROG_ATTACH: before v5.8 it looks at no target and attaches to the caller's namespace.
        older: Older::Functions(&["netns_bpf_prog_attach", "skb_flow_dissector_bpf_prog_attach"]),
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
        older: Older::EventSource("software"),
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
        older: Older::Nothing,
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
        older: Older::Nothing,
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
        older: Older::Nothing,
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
        older: Older::Nothing,
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
        older: Older::Nothing,
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
        older: Older::Nothing,
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
        older: Older::Nothing,
    },
];

/// A link that a call with a missing target does not show.
pub(crate) struct BuiltIn {
    /// Name of the fact `bpf.attach.*`.
    pub(crate) name: &'static str,
    pub(crate) prog_type: ProgType,
    pub(crate) link: LinkType,
    /// What makes the link.
    pub(crate) function: &'static str,
    pub(crate) older: Older,
}

pub(crate) const BUILT_IN: [BuiltIn; 3] = [
    BuiltIn {
        name: "xdp",
        prog_type: ProgType::XDP,
        link: XDP,
        function: "bpf_xdp_link_attach",
        older: Older::ProgType("attached through netlink, since v4.8; to any interface since v4.12"),
    },
    BuiltIn {
        name: "struct_ops",
        prog_type: ProgType::STRUCT_OPS,
        link: STRUCT_OPS,
        function: "bpf_struct_ops_link_create",
        // Registered when its map is updated, since v5.6; by a link since v6.4.
        older: Older::Functions(&["bpf_struct_ops_map_update_elem"]),
    },
    BuiltIn {
        name: "sockmap",
        prog_type: ProgType::SK_MSG,
        link: SOCKMAP,
        function: "sock_map_link_create",
        older: Older::ProgAttach(AttachType::SK_MSG_VERDICT),
    },
];

/// Whether the kernel was built with a function, as a fact.
pub(crate) fn built_in(node: &Node<'_>, function: &str) -> Fact {
    let fact = |support| Fact::new(support, Evidence::Derived, BTF);
    match node.has_function(function) {
        Some(true) => fact(Support::Yes).reason(format!("{function}() is built in")),
        Some(false) => fact(Support::No).reason(format!("{function}() is not in the kernel's BTF")),
        None => fact(Support::Unknown).reason("the kernel's BTF is missing or not readable"),
    }
}

/// The fact of a link that a call shows.
pub(crate) fn fact(node: &mut Node<'_>, seats: &Seats, way: &Way) -> Fact {
    let unheard_of = beyond(way.attach.0, node.bounds.attach_type, "bpf_attach_type")
        .or_else(|| beyond(way.link.0, node.bounds.link_type, "bpf_link_type"));
    unheard_of.unwrap_or_else(|| ask(node, seats, way))
}

/// Has the link refused for its missing target.
fn ask(node: &mut Node<'_>, seats: &Seats, way: &Way) -> Fact {
    match loads(seats, way.prog_type) {
        Support::Yes => {}
        support => return probed(support, LINK_CREATE).reason(format!("no {} program loads", way.prog_type)),
    }
    let insns = asm::bytes(&asm::NOTHING);
    let load = ProgLoad { expected_attach_type: Some(way.attach), ..ProgLoad::new(way.prog_type, &insns) };
    match node.accept(&load) {
        Ok(prog) => {
            let answer = node.kernel.link_create(prog.as_fd(), way.target, way.attach, 0, way.detail);
            judge(node, answer.map(drop), LINK_CREATE, way.reached, way.absent, Needs::Both)
        }
        Err(errno) => not_accepted(node, errno, way.prog_type),
    }
}

/// The fact of a program that loads as a probe and could not be had to be attached.
pub(crate) fn not_accepted(node: &Node<'_>, errno: Errno, prog_type: ProgType) -> Fact {
    node.no_answer(errno, needs(prog_type), PROG_LOAD)
        .unwrap_or_else(|| unknown(errno, PROG_LOAD, "the program to attach was not accepted"))
}

/// What an attachment without a target says of the way to attach: `reached` and `absent` are the answers by which the
/// kernel says that it has it and that it has not.
pub(crate) fn judge(
    node: &Node<'_>,
    answer: Result<(), Errno>,
    source: &str,
    reached: &[Errno],
    absent: &[Errno],
    privilege: Needs,
) -> Fact {
    let fact = |support, errno| probed(support, source).errno(errno_name(errno));
    match answer {
        Ok(()) => unknown_acceptance(source),
        Err(errno) if reached.contains(&errno) => {
            fact(Support::Yes, errno).reason("refused only for the missing target")
        }
        Err(errno) if absent.contains(&errno) => fact(Support::No, errno)
            .reason("the kernel does not attach programs so, though it may name the type"),
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => {
            node.no_answer(errno, privilege, source).unwrap_or_else(|| unknown(errno, source, "refused"))
        }
        Err(errno) => unknown(errno, source, "may be for want of the way to attach or of the target"),
    }
}

/// The fact of what cannot be: something was attached to nothing. It is closed by now.
pub(crate) fn unknown_acceptance(source: &str) -> Fact {
    probed(Support::Unknown, source).reason("accepted without a target")
}

/// Facts `bpf.link.*`: the best answer of those that used the link.
pub(crate) fn facts(node: &Node<'_>, answers: &[(LinkType, Fact)], out: &mut Out<'_>) {
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
