//! What is already loaded and attached: programs, links, and the hooks of interfaces and cgroups.
//!
//! Nothing here can tell of an absence it may not look for: where a privilege is missing the fact is `denied`, and what
//! another network namespace holds is `unknown`.

mod netlink;

use super::Out;
use super::caller::CAP_SYS_ADMIN;
use super::printable::printable;
use super::root::HostRoot;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Kernel, LinkTarget, ObjectKind, errno_name};
use btf_catalog::{AttachType, LinkType, ProgType};
use netlink::{Interface, Netlink};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, statat};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most programs, links and interfaces that are looked at, each.
const OBJECTS_MAX: usize = 4096;
/// Most cgroups below the root that are asked.
const CGROUPS_MAX: usize = 256;
/// Most entries that one fact lists.
const LISTED_MAX: usize = 256;

/// Families that the links tell of; XDP, tcx, netkit and cgroup hooks are asked of their interfaces and cgroups, which
/// also know what is attached without a link.
const LINK_FAMILIES: [&str; 11] = [
    "iter",
    "kprobe_multi",
    "lsm",
    "netfilter",
    "netns",
    "perf_event",
    "raw_tracepoint",
    "sockmap",
    "struct_ops",
    "tracing",
    "uprobe_multi",
];

/// Program types that can be attached without a link, which is then not seen: by ioctl(2) on perf events, by
/// `BPF_PROG_ATTACH` to maps and network namespaces, by updating a struct_ops map.
const UNLINKED: [(&str, &[ProgType]); 4] = [
    ("netns", &[ProgType::FLOW_DISSECTOR]),
    ("perf_event", &[ProgType::KPROBE, ProgType::TRACEPOINT, ProgType::PERF_EVENT]),
    ("sockmap", &[ProgType::SK_SKB, ProgType::SK_MSG]),
    ("struct_ops", &[ProgType::STRUCT_OPS]),
];

/// Facts named `inventory.*`. `cgroup2` is where the whole cgroup v2 hierarchy is mounted.
pub(crate) fn facts(root: &HostRoot, kernel: &mut Kernel, cgroup2: Option<&str>, out: &mut Out<'_>) {
    let present = programs(root, kernel, out);
    links(root, kernel, present.as_ref(), out);
    let elsewhere = (!in_initial_network_namespace())
        .then_some("this is not the machine's first network namespace, or that cannot be told: there may be more in others");
    interfaces(root, kernel, present.as_ref(), elsewhere, out);
    let fact = match cgroup2 {
        Some(path) => cgroup_fact(root, kernel, path, present.as_ref()),
        None => Fact::new(Support::Unknown, Evidence::Probed, "BPF_PROG_QUERY")
            .reason("no cgroup v2 hierarchy is mounted whole, so none can be asked"),
    };
    out("inventory.cgroup".into(), fact);
}

/// A fact of what was found. Finding nothing is a no only where everything was looked at.
fn found(source: &str, entries: Vec<Value>, partial: Option<&str>) -> Fact {
    let count = entries.len();
    let support = match (count, partial) {
        (0, None) => Support::No,
        (0, Some(_)) => Support::Unknown,
        _ => Support::Yes,
    };
    let listed: Vec<Value> = entries.into_iter().take(LISTED_MAX).collect();
    let fact = Fact::new(support, Evidence::Probed, source).value(listed);
    let cut = (count > LISTED_MAX).then(|| format!("the first {LISTED_MAX} of {count}"));
    match (partial, cut) {
        (None, None) => fact,
        (Some(partial), None) => fact.reason(partial),
        (None, Some(cut)) => fact.reason(cut),
        (Some(partial), Some(cut)) => fact.reason(format!("{cut}; {partial}")),
    }
}

/// The fact of a question that the kernel refused. A refusal is the node's policy only where the capability is held.
fn refused(root: &HostRoot, source: &str, errno: Errno, capability: u32, name: &str) -> Fact {
    let fact = |support| Fact::new(support, Evidence::Probed, source).errno(errno_name(errno));
    match errno {
        Errno::PERM | Errno::ACCESS if root.caps().has(capability) => {
            fact(Support::DeniedWorkload).reason(format!("refused although {name} is held"))
        }
        Errno::PERM | Errno::ACCESS => {
            fact(Support::DeniedObserver).reason(format!("{name} would be needed"))
        }
        Errno::INVAL => fact(Support::Unknown).reason("the kernel does not know the question"),
        _ => fact(Support::Unknown),
    }
}

/// Ids of all objects of a kind, and whether there are more than are looked at.
fn ids(kernel: &mut Kernel, kind: ObjectKind) -> Result<(Vec<u32>, bool), Errno> {
    let mut ids = Vec::new();
    while let Some(id) = kernel.next_id(kind, ids.last().copied().unwrap_or(0))? {
        if ids.len() == OBJECTS_MAX {
            return Ok((ids, true));
        }
        ids.push(id);
    }
    Ok((ids, false))
}

/// The object's `struct bpf_*_info`, as far as it fits. None if it went away meanwhile.
fn info<const BYTE_SZ: usize>(
    kernel: &mut Kernel,
    kind: ObjectKind,
    id: u32,
) -> Result<Option<[u8; BYTE_SZ]>, Errno> {
    let fd = match kernel.fd_by_id(kind, id) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let mut info = [0; BYTE_SZ];
    kernel.obj_get_info_by_fd(fd.as_fd(), &mut info)?;
    Ok(Some(info))
}

fn u32_at(info: &[u8], at: usize) -> u32 {
    info.get(at..at + 4).and_then(|field| field.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// The fact `inventory.programs`. Returns the types of which there are programs, where that is known for all of them.
fn programs(root: &HostRoot, kernel: &mut Kernel, out: &mut Out<'_>) -> Option<BTreeSet<u32>> {
    const SOURCE: &str = "BPF_PROG_GET_NEXT_ID";
    let looked = ids(kernel, ObjectKind::Prog).and_then(|(ids, more)| {
        let (mut entries, mut present) = (Vec::new(), BTreeSet::new());
        for id in ids {
            // struct bpf_prog_info: type at 0, name at 64.
            let Some(info) = info::<80>(kernel, ObjectKind::Prog, id)? else { continue };
            let prog_type = ProgType(u32_at(&info, 0));
            let name: Vec<u8> = info[64..80].iter().copied().take_while(|byte| *byte != 0).collect();
            present.insert(prog_type.0);
            entries.push(json!({
                "id": id,
                "type": prog_type.to_string(),
                "name": printable(&String::from_utf8_lossy(&name), 16),
            }));
        }
        Ok((entries, present, more))
    });
    match looked {
        Ok((entries, present, more)) => {
            let partial = more.then_some("there are more programs than are looked at");
            out("inventory.programs".into(), found(SOURCE, entries, partial));
            (!more).then_some(present)
        }
        Err(errno) => {
            out("inventory.programs".into(), refused(root, SOURCE, errno, CAP_SYS_ADMIN, "CAP_SYS_ADMIN"));
            None
        }
    }
}

/// The facts of [`LINK_FAMILIES`].
fn links(root: &HostRoot, kernel: &mut Kernel, present: Option<&BTreeSet<u32>>, out: &mut Out<'_>) {
    const SOURCE: &str = "BPF_LINK_GET_NEXT_ID";
    let looked = ids(kernel, ObjectKind::Link).and_then(|(ids, more)| {
        let mut families: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for id in ids {
            let Some(info) = info::<64>(kernel, ObjectKind::Link, id)? else { continue };
            if let Some((family, entry)) = link(&info) {
                families.entry(family).or_default().push(entry);
            }
        }
        Ok((families, more))
    });
    match looked {
        Ok((mut families, more)) => {
            for family in LINK_FAMILIES {
                let partial = if more {
                    Some("there are more links than are looked at")
                } else {
                    may_be_unlinked(family, present).then_some(
                        "programs are loaded that can be attached without a link, which is not seen",
                    )
                };
                let fact = found(SOURCE, families.remove(family).unwrap_or_default(), partial);
                out(format!("inventory.{family}"), fact);
            }
        }
        Err(errno) => {
            let fact = refused(root, SOURCE, errno, CAP_SYS_ADMIN, "CAP_SYS_ADMIN");
            for family in LINK_FAMILIES {
                out(format!("inventory.{family}"), fact.clone());
            }
        }
    }
}

/// Whether programs are loaded, or may be, that can hang on hooks of the family without a link.
fn may_be_unlinked(family: &str, present: Option<&BTreeSet<u32>>) -> bool {
    let types = UNLINKED.iter().find(|(unlinked, _)| *unlinked == family).map_or(&[][..], |(_, types)| types);
    types.iter().any(|prog_type| present.is_none_or(|present| present.contains(&prog_type.0)))
}

/// Family and description of a link, from `struct bpf_link_info`: type at 0, id at 4, prog_id at 8, a union at 16.
fn link(info: &[u8]) -> Option<(&'static str, Value)> {
    const PERF_EVENTS: [&str; 7] =
        ["unspec", "uprobe", "uretprobe", "kprobe", "kretprobe", "tracepoint", "event"];
    let mut entry = json!({ "link_id": u32_at(info, 4), "prog_id": u32_at(info, 8) });
    let first = u32_at(info, 16);
    let kind = LinkType(u32_at(info, 0)).name()?;
    let family = LINK_FAMILIES.into_iter().find(|family| *family == kind)?;
    match family {
        "tracing" => {
            entry["attach_type"] = json!(AttachType(first).to_string());
            if AttachType(first) == AttachType::LSM_MAC {
                return Some(("lsm", entry));
            }
        }
        "perf_event" => entry["event"] = json!(PERF_EVENTS.get(first as usize).unwrap_or(&"unknown")),
        "netns" => entry["attach_type"] = json!(AttachType(u32_at(info, 20)).to_string()),
        _ => {}
    }
    Some((family, entry))
}

/// Whether this process lives in the machine's first network namespace.
///
/// Its inode has no fixed number, and comparing it with that of process 1 takes more privilege than asking; but sysctls of
/// the whole machine are shown in that namespace only (`net_core_table` in net/core/sysctl_net_core.c, v6.18).
fn in_initial_network_namespace() -> bool {
    statat(CWD, "/proc/sys/net/core/netdev_budget", AtFlags::empty()).is_ok()
}

/// Facts of XDP, tc, tcx and netkit.
fn interfaces(
    root: &HostRoot,
    kernel: &mut Kernel,
    present: Option<&BTreeSet<u32>>,
    elsewhere: Option<&str>,
    out: &mut Out<'_>,
) {
    let mut netlink = Netlink::open();
    let interfaces = netlink.as_mut().map_err(|errno| *errno).and_then(Netlink::interfaces);
    let interfaces = match interfaces {
        Ok(interfaces) => interfaces,
        Err(errno) => {
            for family in ["xdp", "tc", "tcx", "netkit"] {
                let fact =
                    Fact::new(Support::Unknown, Evidence::Probed, "RTM_GETLINK").errno(errno_name(errno));
                out(format!("inventory.{family}"), fact);
            }
            return;
        }
    };
    let xdp = interfaces.iter().flat_map(|interface| {
        interface
            .xdp
            .iter()
            .map(|(mode, prog_id)| json!({ "interface": interface.name, "mode": mode, "prog_id": prog_id }))
    });
    out("inventory.xdp".into(), found("RTM_GETLINK IFLA_XDP", xdp.collect(), elsewhere));
    let tc = netlink.and_then(|mut netlink| filters(&mut netlink, &interfaces));
    out(
        "inventory.tc".into(),
        match tc {
            Ok(entries) => found("RTM_GETTFILTER", entries, elsewhere),
            Err(errno) => {
                Fact::new(Support::Unknown, Evidence::Probed, "RTM_GETTFILTER").errno(errno_name(errno))
            }
        },
    );
    let hooks = [("tcx_ingress", AttachType::TCX_INGRESS), ("tcx_egress", AttachType::TCX_EGRESS)];
    let tcx = query_interfaces(root, kernel, present, elsewhere, &interfaces, &hooks);
    out("inventory.tcx".into(), tcx);
    let netkits: Vec<Interface> =
        interfaces.into_iter().filter(|interface| interface.kind == "netkit").collect();
    let hooks = [("netkit_primary", AttachType::NETKIT_PRIMARY), ("netkit_peer", AttachType::NETKIT_PEER)];
    let netkit = query_interfaces(root, kernel, present, elsewhere, &netkits, &hooks);
    out("inventory.netkit".into(), netkit);
}

/// Filters on clsact, and on the root of classful disciplines.
fn filters(netlink: &mut Netlink, interfaces: &[Interface]) -> Result<Vec<Value>, Errno> {
    const INGRESS: u32 = 0xffff_fff2;
    const EGRESS: u32 = 0xffff_fff3;
    let names: BTreeMap<u32, &str> =
        interfaces.iter().map(|interface| (interface.ifindex, interface.name.as_str())).collect();
    let mut entries = Vec::new();
    for qdisc in netlink.qdiscs()?.into_iter().take(OBJECTS_MAX) {
        let sides: &[(&str, u32)] = match qdisc.kind.as_str() {
            "clsact" => &[("ingress", INGRESS), ("egress", EGRESS)],
            "ingress" => &[("ingress", INGRESS)],
            // Those of a discipline without filters answer none.
            _ if qdisc.handle != 0 => &[("qdisc", qdisc.handle)],
            _ => continue,
        };
        for (side, parent) in sides {
            // A discipline that takes no filters refuses the question.
            let filters = match netlink.filters(qdisc.ifindex, *parent) {
                Err(Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP) => continue,
                other => other?,
            };
            for filter in filters.into_iter().take(OBJECTS_MAX) {
                let mut entry = json!({
                    "interface": names.get(&qdisc.ifindex),
                    "at": side,
                    "qdisc": qdisc.kind,
                    "kind": filter.kind,
                    "priority": filter.priority,
                });
                if let Some((name, prog_id)) = filter.prog {
                    entry["name"] = json!(name);
                    entry["prog_id"] = json!(prog_id);
                    entry["direct_action"] = json!(filter.direct_action);
                }
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

fn query_interfaces(
    root: &HostRoot,
    kernel: &mut Kernel,
    present: Option<&BTreeSet<u32>>,
    elsewhere: Option<&str>,
    interfaces: &[Interface],
    hooks: &[(&str, AttachType)],
) -> Fact {
    const SOURCE: &str = "BPF_PROG_QUERY";
    // Whatever is attached is loaded, so without a program of the type no interface of any namespace has one.
    if present.is_some_and(|present| !present.contains(&ProgType::SCHED_CLS.0)) {
        return found("BPF_PROG_GET_NEXT_ID", Vec::new(), None)
            .reason("no program of type sched_cls is loaded");
    }
    let mut entries = Vec::new();
    for interface in interfaces.iter().take(OBJECTS_MAX) {
        for (hook, attach) in hooks {
            match kernel.prog_query(LinkTarget::Interface(interface.ifindex), *attach) {
                Ok(attached) if attached.prog_ids.is_empty() => {}
                Ok(attached) => {
                    entries.push(
                        json!({ "interface": interface.name, "at": hook, "prog_ids": attached.prog_ids }),
                    );
                }
                // Nothing was ever attached, or the interface is gone.
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                    return Fact::new(Support::No, Evidence::Probed, SOURCE)
                        .errno("EINVAL")
                        .reason("the kernel does not have this hook");
                }
                Err(errno) => {
                    return refused(root, SOURCE, errno, super::caller::CAP_NET_ADMIN, "CAP_NET_ADMIN");
                }
            }
        }
    }
    found(SOURCE, entries, elsewhere)
}

/// What is attached to the cgroup at `path` and to the first cgroups below it, nearest to the root first.
fn cgroup_fact(root: &HostRoot, kernel: &mut Kernel, path: &str, present: Option<&BTreeSet<u32>>) -> Fact {
    const SOURCE: &str = "BPF_PROG_QUERY";
    let hooks: Vec<AttachType> = AttachType::all()
        .filter(|attach| {
            attach.name().is_some_and(|name| name.starts_with("cgroup_") || name == "lsm_cgroup")
        })
        .filter(|attach| match (present, attach.prog_type()) {
            (Some(present), Some(prog_type)) => present.contains(&prog_type.0),
            _ => true,
        })
        .collect();
    if hooks.is_empty() {
        return found("BPF_PROG_GET_NEXT_ID", Vec::new(), None)
            .reason("no program of a cgroup type is loaded");
    }
    let mut entries = Vec::new();
    let (mut waiting, mut asked) = (VecDeque::from([path.to_owned()]), 0);
    while let Some(path) = waiting.pop_front() {
        if asked == CGROUPS_MAX {
            return found(SOURCE, entries, Some("only the cgroups nearest to the root were asked"));
        }
        let dir = match root.open_dir(&path) {
            Ok(dir) => dir,
            Err(errno) if asked == 0 => return root.unread(&path, &super::root::Unread::Errno(errno)),
            Err(_) => continue,
        };
        asked += 1;
        for attach in &hooks {
            match kernel.prog_query(LinkTarget::Fd(dir.as_fd()), *attach) {
                Ok(attached) if attached.prog_ids.is_empty() => {}
                Ok(attached) => entries.push(json!({
                    "cgroup": printable(&path, 256),
                    "at": attach.to_string(),
                    "prog_ids": attached.prog_ids,
                    "attach_flags": attached.attach_flags,
                })),
                // An attach type that is newer than the kernel.
                Err(Errno::INVAL) => {}
                Err(errno) => {
                    return refused(root, SOURCE, errno, super::caller::CAP_NET_ADMIN, "CAP_NET_ADMIN");
                }
            }
        }
        if waiting.len() <= CGROUPS_MAX {
            waiting.extend(children(&dir).into_iter().map(|name| format!("{path}/{name}")));
        }
    }
    found(SOURCE, entries, None)
}

fn children(dir: &OwnedFd) -> Vec<String> {
    let Ok(entries) = Dir::read_from(dir) else { return Vec::new() };
    entries
        .take(OBJECTS_MAX)
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type() == FileType::Directory)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use crate::sys::{Answer, Command, LinkDetail, ProgLoad, Question};

    /// A cgroup that goes with the test; `remove_dir_all` cannot remove one, since its files stay.
    struct Cgroup(String);

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    fn collect(mut kernel: Kernel, cgroup2: Option<&str>) -> Facts {
        let mut facts = Facts::default();
        super::facts(&HostRoot::local(), &mut kernel, cgroup2, &mut |name, fact| facts.insert(name, fact));
        facts
    }

    #[test]
    fn what_may_not_be_seen_is_not_absent() {
        let kernel = Kernel::injected(Box::new(|question| match question {
            Question::Other(Command::ProgGetNextId | Command::LinkGetNextId | Command::ProgQuery) => {
                Some(Answer::Refuse(Errno::PERM, String::new()))
            }
            _ => None,
        }));
        let facts = collect(kernel, Some("/proc"));
        for name in
            ["inventory.programs", "inventory.tracing", "inventory.lsm", "inventory.tcx", "inventory.cgroup"]
        {
            let fact = facts.get(name).unwrap();
            assert!(
                matches!(fact.support, Support::DeniedObserver | Support::DeniedWorkload),
                "{name}: {fact:?}"
            );
            assert_eq!(fact.errno.as_deref(), Some("EPERM"));
        }
    }

    #[test]
    fn nothing_found_is_a_no_only_where_all_was_seen() {
        assert_eq!(found("x", Vec::new(), None).support, Support::No);
        assert_eq!(found("x", Vec::new(), Some("half")).support, Support::Unknown);
        assert_eq!(found("x", vec![json!(1)], Some("half")).support, Support::Yes);
        let many = found("x", vec![json!(1); LISTED_MAX + 1], None);
        assert_eq!(many.value.unwrap().as_array().unwrap().len(), LISTED_MAX);
        assert!(many.reason.unwrap().contains("of 257"));
    }

    #[test]
    fn what_has_no_link_is_not_denied_by_the_links() {
        let present =
            |types: &[ProgType]| types.iter().map(|prog_type| prog_type.0).collect::<BTreeSet<u32>>();
        assert!(!may_be_unlinked("perf_event", Some(&present(&[ProgType::XDP]))));
        assert!(may_be_unlinked("perf_event", Some(&present(&[ProgType::KPROBE]))));
        assert!(may_be_unlinked("perf_event", None));
        assert!(!may_be_unlinked("tracing", None), "tracing programs have links only");
    }

    #[test]
    fn links_by_family() {
        let info = |kind: u32, at16: u32, at20: u32| {
            let mut info = [0; 64];
            for (at, word) in [(0, kind), (4, 70), (8, 80), (16, at16), (20, at20)] {
                info[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            info
        };
        let (family, entry) = link(&info(2, AttachType::LSM_MAC.0, 0)).unwrap();
        assert_eq!((family, &entry["prog_id"]), ("lsm", &json!(80)));
        let (family, entry) = link(&info(2, AttachType::TRACE_FEXIT.0, 0)).unwrap();
        assert_eq!((family, &entry["attach_type"]), ("tracing", &json!("trace_fexit")));
        let (family, entry) = link(&info(7, 3, 0)).unwrap();
        assert_eq!((family, &entry["event"]), ("perf_event", &json!("kprobe")));
        let (family, entry) = link(&info(5, 0, AttachType::SK_LOOKUP.0)).unwrap();
        assert_eq!((family, &entry["attach_type"]), ("netns", &json!("sk_lookup")));
        assert_eq!(link(&info(6, 1, 0)), None, "XDP is asked of the interfaces");
        assert_eq!(link(&info(4000, 1, 0)), None);
    }

    /// `XDP_FLAGS_SKB_MODE`: in the network stack, which every driver can.
    const SKB_MODE: u32 = 1 << 1;

    /// Runs as the only test of a process of its own, in a network namespace of its own.
    #[test]
    #[ignore = "run by root_what_is_attached_is_seen"]
    fn root_attached_in_a_namespace_of_its_own() {
        let insns = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        let cgroup2 =
            crate::probe::mounts::facts(&HostRoot::local(), &mut |_, _| {}).expect("needs cgroup v2");
        let cgroup = Cgroup(format!("{cgroup2}/portolan-inventory-{}", std::process::id()));
        std::fs::create_dir(&cgroup.0).unwrap();
        let cgroup_fd = HostRoot::local().open_dir(&cgroup.0).unwrap();
        let mut kernel = Kernel::live();
        let links: Vec<OwnedFd> = [
            (ProgType::XDP, AttachType::XDP, LinkTarget::Interface(1), SKB_MODE),
            (ProgType::SCHED_CLS, AttachType::TCX_INGRESS, LinkTarget::Interface(1), 0),
            (ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS, LinkTarget::Fd(cgroup_fd.as_fd()), 0),
        ]
        .into_iter()
        .map(|(prog_type, attach, target, flags)| {
            let mut load = ProgLoad::new(prog_type, &insns);
            load.expected_attach_type = Some(attach);
            let prog = kernel.prog_load(&load, None).unwrap();
            kernel.link_create(prog.as_fd(), target, attach, flags, LinkDetail::None).unwrap()
        })
        .collect();
        let facts = collect(Kernel::live(), Some(&cgroup2));
        for (name, pointer, want) in [
            ("inventory.xdp", "/0/mode", json!("generic")),
            ("inventory.xdp", "/0/interface", json!("lo")),
            ("inventory.tcx", "/0/at", json!("tcx_ingress")),
        ] {
            let fact = facts.get(name).unwrap();
            assert_eq!(fact.value.as_ref().unwrap().pointer(pointer), Some(&want), "{name}: {fact:?}");
            assert!(fact.reason.is_some(), "another network namespace may hold more");
        }
        let fact = facts.get("inventory.cgroup").unwrap();
        let entries = fact.value.as_ref().unwrap().as_array().unwrap();
        assert!(
            entries.iter().any(|entry| entry["cgroup"] == cgroup.0 && entry["at"] == "cgroup_inet_egress"),
            "{fact:?}"
        );
        assert_eq!(facts.support("inventory.tc"), Support::Unknown, "none here, and others are not seen");
        drop(links);
        assert_ne!(collect(Kernel::live(), None).support("inventory.xdp"), Support::Yes);
    }

    #[test]
    fn root_what_is_attached_is_seen() {
        let this = std::env::current_exe().unwrap();
        let name = "probe::inventory::tests::root_attached_in_a_namespace_of_its_own";
        let output = std::process::Command::new("unshare")
            .arg("--net")
            .arg(this)
            .args(["--exact", name, "--include-ignored"])
            .output()
            .expect("needs unshare(1) of util-linux");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "needs root and cgroup v2: {said}");
    }

    #[test]
    fn root_a_loaded_program_is_listed_and_gone_afterwards() {
        let insns = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        let mut kernel = Kernel::live();
        let mut load = ProgLoad::new(ProgType::SOCKET_FILTER, &insns);
        load.name = "inventory_test";
        let prog = kernel.prog_load(&load, None).expect("needs CAP_BPF: run the tests as root");
        let listed = |facts: &Facts| {
            let programs = facts.get("inventory.programs").unwrap().value.clone().unwrap();
            programs.as_array().unwrap().iter().any(|entry| entry["name"] == "inventory_test")
        };
        assert!(listed(&collect(Kernel::live(), None)));
        drop(prog);
        // The kernel frees a program after a grace period.
        let gone = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            !listed(&collect(Kernel::live(), None))
        });
        assert!(gone);
    }
}
