//! Networking programs: in a network namespace of its own, on its own sockets, and in a cgroup of its own.

use super::cgroup::{self, Stay};
use super::net::{self, Net, Pair};
use super::{Bench, Event, Untried, Way, bare};
use crate::facts::{Evidence, Fact, Support};
use crate::probe::ask::{Node, unknown};
use crate::sys::{Errno, Kernel, LinkDetail, LinkTarget, hook};
use btf_catalog::{AttachType, ProgType};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE`, include/uapi/linux/if_link.h.
const XDP_SKB_MODE: u32 = 2;
const XDP_DRV_MODE: u32 = 4;
/// How XDP programs and those of cgroups are attached: by the second where the kernel does not have the first.
const XDP_ATTACH: &str = "BPF_LINK_CREATE, RTM_SETLINK";
const CGROUP_ATTACH: &str = "BPF_LINK_CREATE, BPF_PROG_ATTACH";
/// What programs return so that a packet goes on as if they were not there.
const XDP_PASS: i32 = 2;
const TCX_NEXT: i32 = -1;
const TC_ACT_UNSPEC: i32 = -1;
const NETKIT_NEXT: i32 = -1;
const SK_PASS: i32 = 1;
const NF_ACCEPT: i32 = 1;
const WHOLE_PACKET: i32 = -1;
const ALLOW: i32 = 1;

/// What netfilter shows of packets of IPv4 that are sent (`NFPROTO_IPV4`, `NF_INET_LOCAL_OUT`).
const LOCAL_OUT: LinkDetail<'_> = LinkDetail::Netfilter { pf: 2, hook: 3, priority: 1 };

/// What needs interfaces.
const ON_INTERFACES: [&str; 6] = ["xdp_generic", "xdp_native", "xdp", "tcx", "tcx_egress", "tc"];
/// What needs the namespace and no interface but the loopback one.
const IN_NAMESPACE: [&str; 5] = ["netkit", "sk_lookup", "flow_dissector", "netfilter", "socket_filter"];
/// What needs a cgroup.
const IN_CGROUP: [&str; 5] = ["cgroup_skb", "cgroup", "cgroup_sock", "cgroup_sock_addr", "sock_ops"];

/// A way of BPF_LINK_CREATE whose program is not loaded for its attach type.
const fn plain_link(name: &'static str, prog_type: ProgType) -> Way {
    Way { seat: bare(prog_type), ..Way::link(name, prog_type, AttachType(0), 0) }
}

/// All of them. `cgroup` is an empty one, or why there is none.
pub(super) fn try_all(bench: &mut Bench<'_, '_>, cgroup: &Result<PathBuf, String>) {
    match Net::unshare() {
        Ok(mut net) => {
            on_interfaces(bench, &mut net);
            in_namespace(bench, &mut net);
            in_cgroup(bench, cgroup);
        }
        Err(errno) => {
            let what = "no network namespace of its own could be made to try it in";
            let source = "unshare(CLONE_NEWNET)";
            let why = match bench.denied(errno, source) {
                Some(fact) if fact.support == Support::DeniedObserver => fact,
                _ => unknown(errno, source, what),
            };
            bench.untried(&ON_INTERFACES, &why);
            bench.untried(&IN_NAMESPACE, &why);
            bench.untried(&IN_CGROUP, &why);
        }
    }
}

/// XDP, tcx and tc on one end of a veth pair, or on the loopback interface where there is no veth.
fn on_interfaces(bench: &mut Bench<'_, '_>, net: &mut Net) {
    let veth = offered(bench.node, "veth", "veth_xmit").and_then(|()| {
        net.pair("veth").map_err(|errno| unknown(errno, "RTM_NEWLINK", "no veth pair could be made").into())
    });
    let pair = *veth.as_ref().unwrap_or(&Net::loopback());
    let far = LinkTarget::Interface(pair.far);
    for (name, flags) in [("xdp_generic", XDP_SKB_MODE), ("xdp_native", XDP_DRV_MODE)] {
        if let (XDP_DRV_MODE, Err(why)) = (flags, &veth) {
            bench.untried(&[name], why);
            continue;
        }
        let way = Way { source: XDP_ATTACH, neutral: XDP_PASS, ..plain_link(name, ProgType::XDP) };
        bench.attempt(
            way,
            |kernel, prog| match kernel.link_create(prog, far, AttachType::XDP, flags, LinkDetail::None) {
                // Before v5.9 there is no such link.
                Err(Errno::INVAL) => net.set_xdp(pair.far, Some(prog), flags).map(|()| None),
                link => link.map(Some),
            },
            Event::Soon(&mut |_, _, _| pair.send()),
        );
        // Nothing but what was set without a link is taken away by this.
        let _ = net.set_xdp(pair.far, None, flags);
    }
    bench.tell_best("xdp", &["xdp_native", "xdp_generic"]);
    for (name, ifindex, attach) in
        [("tcx", pair.far, AttachType::TCX_INGRESS), ("tcx_egress", pair.near, AttachType::TCX_EGRESS)]
    {
        let target = LinkTarget::Interface(ifindex);
        bench.attempt(
            Way { neutral: TCX_NEXT, ..plain_link(name, ProgType::SCHED_CLS) },
            |kernel, prog| kernel.link_create(prog, target, attach, 0, LinkDetail::None),
            Event::Soon(&mut |_, _, _| pair.send()),
        );
    }
    let modules = offered(bench.node, "sch_ingress", "clsact_init")
        .and_then(|()| offered(bench.node, "cls_bpf", "cls_bpf_classify"));
    if let Err(why) = modules {
        return bench.untried(&["tc"], &why);
    }
    let tc = Way {
        source: "RTM_NEWTFILTER",
        neutral: TC_ACT_UNSPEC,
        absent: &[Errno::NOENT, Errno::OPNOTSUPP],
        ..plain_link("tc", ProgType::SCHED_CLS)
    };
    bench.attempt(tc, |_, prog| net.add_filter(pair.far, prog), Event::Soon(&mut |_, _, ()| pair.send()));
    net.remove_filter(pair.far);
}

fn in_namespace(bench: &mut Bench<'_, '_>, net: &mut Net) {
    netkit(bench, net);
    match Net::namespace() {
        Ok(namespace) => {
            let target = LinkTarget::Fd(namespace.as_fd());
            bench.attempt(
                Way::link("sk_lookup", ProgType::SK_LOOKUP, AttachType::SK_LOOKUP, SK_PASS),
                |kernel, prog| kernel.link_create(prog, target, AttachType::SK_LOOKUP, 0, LinkDetail::None),
                Event::Soon(&mut |_, _, _| net::connect()),
            );
            bench.attempt(
                Way::link("flow_dissector", ProgType::FLOW_DISSECTOR, AttachType::FLOW_DISSECTOR, 0),
                |kernel, prog| {
                    kernel.link_create(prog, target, AttachType::FLOW_DISSECTOR, 0, LinkDetail::None)
                },
                Event::None("nothing that could be caused here is sure to dissect a packet"),
            );
        }
        Err(errno) => {
            let why = unknown(errno, "/proc/thread-self/ns/net", "the network namespace could not be opened");
            bench.untried(&["sk_lookup", "flow_dissector"], &why);
        }
    }
    bench.attempt(
        Way::link("netfilter", ProgType::NETFILTER, AttachType::NETFILTER, NF_ACCEPT),
        |kernel, prog| kernel.link_create(prog, LinkTarget::None, AttachType::NETFILTER, 0, LOCAL_OUT),
        Event::AtOnce(&mut |_, _, _| Net::loopback().send()),
    );
    let filter = Way {
        name: "socket_filter",
        source: "SO_ATTACH_BPF",
        seat: bare(ProgType::SOCKET_FILTER),
        neutral: WHOLE_PACKET,
        absent: &[Errno::NOPROTOOPT],
    };
    bench.attempt(
        filter,
        |_, prog| {
            let socket = net::socket()?;
            hook::socket_attach_bpf(socket.as_fd(), prog).map(|()| socket)
        },
        Event::Soon(&mut |_, _, socket| net::send_to_itself(socket)),
    );
}

/// netkit, on a pair of such interfaces.
fn netkit(bench: &mut Bench<'_, '_>, net: &mut Net) {
    let pair: Result<Pair, Untried> = offered(bench.node, "netkit", "netkit_xmit").and_then(|()| {
        net.pair("netkit").map_err(|errno| match errno {
            Errno::OPNOTSUPP => Fact::new(Support::No, Evidence::Probed, "RTM_NEWLINK")
                .errno("EOPNOTSUPP")
                .reason("the kernel does not know interfaces of this kind")
                .into(),
            errno => unknown(errno, "RTM_NEWLINK", "no netkit pair could be made").into(),
        })
    });
    let pair = match pair {
        Ok(pair) => pair,
        Err(why) if why.support == Support::No => return bench.tell("netkit", *why.clone(), *why),
        Err(why) => return bench.untried(&["netkit"], &why),
    };
    let near = LinkTarget::Interface(pair.near);
    bench.attempt(
        Way { neutral: NETKIT_NEXT, ..plain_link("netkit", ProgType::SCHED_CLS) },
        |kernel, prog| kernel.link_create(prog, near, AttachType::NETKIT_PRIMARY, 0, LinkDetail::None),
        Event::Soon(&mut |_, _, _| pair.send()),
    );
}

/// What runs for the sockets of a cgroup's processes: this process goes in while it is tried.
fn in_cgroup(bench: &mut Bench<'_, '_>, path: &Result<PathBuf, String>) {
    const SOURCE: &str = "cgroup v2";
    let opened = match path {
        Ok(path) => cgroup::open(path).map_err(|errno| unknown(errno, SOURCE, "it cannot be opened")),
        Err(why) => Err(Fact::new(Support::Unknown, Evidence::Probed, SOURCE).reason(why.as_str())),
    };
    let cgroup = match opened {
        Ok(cgroup) => cgroup,
        Err(why) => return bench.untried(&IN_CGROUP, &why),
    };
    let entered = Stay::enter(cgroup.as_fd());
    let cause = |prog_type| match prog_type {
        ProgType::CGROUP_SKB => Net::loopback().send(),
        ProgType::CGROUP_SOCK => net::socket().map(drop),
        _ => net::connect(),
    };
    let target = LinkTarget::Fd(cgroup.as_fd());
    let ways = [
        ("cgroup_skb", ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS),
        ("cgroup_sock", ProgType::CGROUP_SOCK, AttachType::CGROUP_INET_SOCK_CREATE),
        ("cgroup_sock_addr", ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_CONNECT),
        ("sock_ops", ProgType::SOCK_OPS, AttachType::CGROUP_SOCK_OPS),
    ];
    for (name, prog_type, attach) in ways {
        let create = |kernel: &mut Kernel, prog: BorrowedFd<'_>| {
            match kernel.link_create(prog, target, attach, 0, LinkDetail::None) {
                // Before v5.7 there is no such link. The program stays until the cgroup is removed.
                Err(Errno::INVAL) => kernel.prog_attach(prog, target, attach).map(|()| None),
                link => link.map(Some),
            }
        };
        let way = Way { source: CGROUP_ATTACH, ..Way::link(name, prog_type, attach, ALLOW) };
        match &entered {
            Ok(_) => bench.attempt(way, create, Event::AtOnce(&mut |_, _, _| cause(prog_type))),
            Err(_) => bench.attempt(way, create, Event::None("this process could not enter the cgroup")),
        }
    }
    bench.tell_best("cgroup", &["cgroup_skb"]);
}

/// Whether what a module brings can be used without one being loaded for it: the kernel would load it by itself, and it
/// would stay. It can if it is built in or loaded; or the kernel answers without, because it loads no modules at all.
fn offered(node: &Node<'_>, module: &str, function: &str) -> Result<(), Untried> {
    if node.has_function(function) == Some(true) {
        return Ok(());
    }
    // Written by CONFIG_MODULES alone.
    let loads_none =
        Path::new("/proc/sys/kernel/ostype").exists() && !Path::new("/proc/sys/kernel/modprobe").exists();
    let loaded = std::fs::read_to_string("/proc/modules")
        .is_ok_and(|modules| modules.lines().any(|line| line.split(' ').next() == Some(module)));
    if loads_none || loaded {
        return Ok(());
    }
    Err(Fact::new(Support::Unknown, Evidence::Probed, "/proc/modules")
        .reason(format!("{module} is not loaded, and no module is loaded for a probe"))
        .into())
}
