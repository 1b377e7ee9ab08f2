//! Dumps of the route netlink socket: interfaces, queueing disciplines, traffic control filters. Read only.
//!
//! Layouts: include/uapi/linux/{netlink,rtnetlink,if_link,pkt_sched,pkt_cls}.h, v6.18. Numbers are in the machine's byte
//! order.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::time::Duration;

/// Most bytes that one dump may answer.
const DUMP_BYTE_SZ_MAX: usize = 64 << 20;
/// As large as the kernel ever fills a datagram of a dump (`NLMSG_GOODSIZE` up to 32 KiB).
const DATAGRAM_BYTE_SZ: usize = 32 << 10;
const HEADER_BYTE_SZ: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Interface {
    pub(super) ifindex: u32,
    pub(super) name: String,
    /// `veth`, `netkit`, …; empty for hardware.
    pub(super) kind: String,
    /// XDP programs: mode and program id.
    pub(super) xdp: Vec<(&'static str, u32)>,
}

/// A queueing discipline that filters hang on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Qdisc {
    pub(super) ifindex: u32,
    pub(super) handle: u32,
    pub(super) kind: String,
}

/// A traffic control filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// `bpf`, `flower`, `u32`, …
    pub(super) kind: String,
    pub(super) priority: u32,
    /// Name and id of the program of a BPF filter.
    pub(super) prog: Option<(String, u32)>,
    /// Whether what the program returns is the action.
    pub(super) direct_action: bool,
}

/// A route netlink socket.
pub(super) struct Netlink {
    fd: OwnedFd,
    seq: u32,
}

impl Netlink {
    pub(super) fn open() -> Result<Netlink, Errno> {
        // Protocol 0 is NETLINK_ROUTE. An unbound socket talks to the kernel.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(1)))?;
        Ok(Netlink { fd, seq: 0 })
    }

    /// Every interface of this network namespace.
    pub(super) fn interfaces(&mut self) -> Result<Vec<Interface>, Errno> {
        const IFLA_EXT_MASK: u16 = 29;
        const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
        let mut request = vec![0; 16];
        request.extend(8u16.to_ne_bytes());
        request.extend(IFLA_EXT_MASK.to_ne_bytes());
        request.extend(RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        let mut found = Vec::new();
        self.dump(RTM_GETLINK, &request, |kind, body| {
            found.extend((kind == RTM_NEWLINK).then(|| interface(body)).flatten());
        })?;
        Ok(found)
    }

    /// Every queueing discipline of this network namespace.
    pub(super) fn qdiscs(&mut self) -> Result<Vec<Qdisc>, Errno> {
        let mut found = Vec::new();
        self.dump(RTM_GETQDISC, &[0; 20], |kind, body| {
            found.extend((kind == RTM_NEWQDISC).then(|| qdisc(body)).flatten());
        })?;
        Ok(found)
    }

    /// The filters of an interface at `parent`: a class, or one side of clsact.
    pub(super) fn filters(&mut self, ifindex: u32, parent: u32) -> Result<Vec<Filter>, Errno> {
        let mut request = [0; 20];
        request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        request[12..16].copy_from_slice(&parent.to_ne_bytes());
        let mut found = Vec::new();
        self.dump(RTM_GETTFILTER, &request, |kind, body| {
            found.extend((kind == RTM_NEWTFILTER).then(|| filter(body)).flatten());
        })?;
        Ok(found)
    }

    /// Asks for a dump and hands over type and body of every message of the answer.
    fn dump(&mut self, kind: u16, body: &[u8], mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        const NLM_F_REQUEST_DUMP: u16 = 0x301;
        self.seq += 1;
        let mut request = Vec::with_capacity(HEADER_BYTE_SZ + body.len());
        request.extend(((HEADER_BYTE_SZ + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
        request.extend(self.seq.to_ne_bytes());
        request.extend(0u32.to_ne_bytes());
        request.extend(body);
        send(&self.fd, &request, SendFlags::empty())?;
        let mut datagram = vec![0; DATAGRAM_BYTE_SZ];
        let mut total = 0;
        while total <= DUMP_BYTE_SZ_MAX {
            let (_, len) = recv(&self.fd, &mut datagram[..], RecvFlags::TRUNC)?;
            let Some(bytes) = datagram.get(..len) else { return Err(Errno::MSGSIZE) };
            if bytes.is_empty() {
                return Err(Errno::BADMSG);
            }
            total += len;
            if messages(bytes, self.seq, &mut each)? {
                return Ok(());
            }
        }
        Err(Errno::MSGSIZE)
    }
}

/// Hands over the messages of one datagram that answer request `seq`; true once the dump is over.
fn messages(mut bytes: &[u8], seq: u32, each: &mut impl FnMut(u16, &[u8])) -> Result<bool, Errno> {
    while let Some((len, kind)) = u32_at(bytes, 0).zip(u16_at(bytes, 4)) {
        let Some(body) = bytes.get(HEADER_BYTE_SZ..len as usize) else { return Err(Errno::BADMSG) };
        if u32_at(bytes, 8) == Some(seq) {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => match u32_at(body, 0).map(|error| (error as i32).wrapping_neg()) {
                    Some(errno @ 1..=4095) => return Err(Errno::from_raw_os_error(errno)),
                    _ => return Ok(true),
                },
                kind => each(kind, body),
            }
        }
        bytes = bytes.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn interface(body: &[u8]) -> Option<Interface> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_XDP: u16 = 43;
    let mut interface = Interface { ifindex: u32_at(body, 4)?, ..Interface::default() };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => interface.name = text(value),
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                interface.kind = kind.map_or_else(String::new, |(_, value)| text(value));
            }
            IFLA_XDP => interface.xdp = xdp(value),
            _ => {}
        }
    }
    Some(interface)
}

/// Mode and id of each program in `IFLA_XDP`. Since v4.19 each mode has an attribute of its own; before, one for all.
fn xdp(nested: &[u8]) -> Vec<(&'static str, u32)> {
    const ATTACHED: u16 = 2;
    const PROG_ID: u16 = 4;
    const MODES: [(u16, &str); 3] = [(5, "native"), (6, "generic"), (7, "offload")];
    let of = |wanted| attributes(nested).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let programs: Vec<_> = MODES
        .iter()
        .filter_map(|(kind, mode)| Some((*mode, u32_at(of(*kind)?, 0)?)))
        .filter(|(_, id)| *id != 0)
        .collect();
    if !programs.is_empty() {
        return programs;
    }
    let mode = match of(ATTACHED).and_then(|value| value.first()) {
        Some(1) => "native",
        Some(2) => "generic",
        Some(3) => "offload",
        _ => return Vec::new(),
    };
    vec![(mode, of(PROG_ID).and_then(|value| u32_at(value, 0)).unwrap_or(0))]
}

fn qdisc(body: &[u8]) -> Option<Qdisc> {
    const TCA_KIND: u16 = 1;
    let (_, kind) = attributes(body.get(20..)?).find(|(kind, _)| *kind == TCA_KIND)?;
    Some(Qdisc { ifindex: u32_at(body, 4)?, handle: u32_at(body, 8)?, kind: text(kind) })
}

fn filter(body: &[u8]) -> Option<Filter> {
    const TCA_KIND: u16 = 1;
    const TCA_OPTIONS: u16 = 2;
    const TCA_BPF_NAME: u16 = 7;
    const TCA_BPF_FLAGS: u16 = 8;
    const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
    const TCA_BPF_ID: u16 = 11;
    let of = |nested, wanted| attributes(nested).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let top = body.get(20..)?;
    let kind = text(of(top, TCA_KIND)?);
    // A chain's head is dumped as a filter without options.
    let options = of(top, TCA_OPTIONS)?;
    let prog = (kind == "bpf").then(|| {
        let name = of(options, TCA_BPF_NAME).map_or_else(String::new, text);
        (name, of(options, TCA_BPF_ID).and_then(|value| u32_at(value, 0)).unwrap_or(0))
    });
    let flags = of(options, TCA_BPF_FLAGS).and_then(|value| u32_at(value, 0)).unwrap_or(0);
    let direct_action = prog.is_some() && flags & TCA_BPF_FLAG_ACT_DIRECT != 0;
    Some(Filter { kind, priority: u32_at(body, 16)? >> 16, prog, direct_action })
}

/// Type and value of each attribute; ends at the first that is malformed.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // The upper two bits say whether it is nested and in network byte order.
    const TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let (len, kind) = (u16_at(bytes, 0)? as usize, u16_at(bytes, 2)? & TYPE_MASK);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    crate::probe::printable::printable(&String::from_utf8_lossy(&value[..end]), 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_interface_with_xdp_in_two_modes() {
        let xdp = [attribute(2, &[4]), attribute(5, &7u32.to_ne_bytes()), attribute(6, &9u32.to_ne_bytes())]
            .concat();
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&3u32.to_ne_bytes());
        body.extend(attribute(3, b"eth0\x1b\0"));
        body.extend(attribute(18, &attribute(1, b"netkit\0")));
        body.extend(attribute(0x802b, &xdp));
        let want = Interface {
            ifindex: 3,
            name: "eth0\u{fffd}".to_owned(),
            kind: "netkit".to_owned(),
            xdp: vec![("native", 7), ("generic", 9)],
        };
        assert_eq!(interface(&body), Some(want));
        for len in 0..body.len() {
            // Cut anywhere, it is read up to there.
            let _ = interface(&body[..len]);
        }
    }

    #[test]
    fn a_bpf_filter() {
        let options = [
            attribute(7, b"from_pod\0"),
            attribute(8, &1u32.to_ne_bytes()),
            attribute(11, &5u32.to_ne_bytes()),
        ];
        let mut body = vec![0; 20];
        body[16..20].copy_from_slice(&(2u32 << 16 | 0x0300).to_ne_bytes());
        body.extend(attribute(1, b"bpf\0"));
        assert_eq!(filter(&body), None, "the head of a chain");
        body.extend(attribute(2, &options.concat()));
        let got = filter(&body).unwrap();
        assert_eq!((got.priority, got.direct_action, got.prog), (2, true, Some(("from_pod".to_owned(), 5))));
    }

    #[test]
    fn malformed_answers_end() {
        let none: &mut dyn FnMut(u16, &[u8]) = &mut |_, _| panic!("no message is whole");
        let mut each = |kind: u16, body: &[u8]| none(kind, body);
        for len in [0u32, 15, 17, u32::MAX] {
            let mut datagram = vec![0; 16];
            datagram[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&datagram, 0, &mut each), Err(Errno::BADMSG), "length {len}");
        }
        assert_eq!(messages(&[0; 3], 0, &mut each), Ok(false));
        let mut refused = vec![0; 20];
        refused[..4].copy_from_slice(&20u32.to_ne_bytes());
        refused[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        refused[16..].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(messages(&refused, 0, &mut each), Err(Errno::PERM));
        for bytes in [&[1, 0, 0, 0][..], &[3, 0, 0, 0], &[255, 255, 0, 0]] {
            assert_eq!(attributes(bytes).count(), 0);
        }
    }

    #[test]
    fn the_loopback_interface_is_seen() {
        let interfaces = Netlink::open().unwrap().interfaces().unwrap();
        assert!(
            interfaces.iter().any(|interface| interface.name == "lo" && interface.ifindex == 1),
            "{interfaces:?}"
        );
        Netlink::open().unwrap().qdiscs().unwrap();
    }
}
