//! Requests to the route netlink socket that make interfaces, queueing disciplines and filters. Used in a network
//! namespace of its own only.
//!
//! Layouts: include/uapi/linux/{netlink,rtnetlink,if_link,veth,pkt_sched,pkt_cls}.h, v6.18.

use crate::sys::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const MAKE: u16 = 0x600;
const CHANGE: u16 = 0;
/// `NLA_F_NESTED`, which kernels ask for that check attributes strictly.
const NESTED: u16 = 1 << 15;
/// Handle of clsact, and its parent.
const CLSACT: (u32, u32) = (0xffff_0000, 0xffff_fff1);
/// Where filters for what comes in hang: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
const CLSACT_INGRESS: u32 = 0xffff_fff2;

/// The socket of a network namespace.
pub(super) struct Rtnetlink {
    fd: OwnedFd,
    seq: u32,
}

impl Rtnetlink {
    /// The socket of the calling thread's network namespace.
    pub(super) fn open() -> Result<Rtnetlink, Errno> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(5)))?;
        Ok(Rtnetlink { fd, seq: 0 })
    }

    /// Makes two interfaces of a kind (`veth`, `netkit`) that are each other's end. Both kinds have the other end's
    /// description as attribute 1.
    pub(super) fn make_pair(
        &mut self,
        kind: &str,
        near: Interface<'_>,
        far: Interface<'_>,
    ) -> Result<(), Errno> {
        const INFO_KIND: u16 = 1;
        const INFO_DATA: u16 = 2;
        const PEER: u16 = 1;
        const LINKINFO: u16 = 18;
        let peer = attribute(PEER, &far.description());
        let info = [attribute(INFO_KIND, kind.as_bytes()), attribute(INFO_DATA, &peer)].concat();
        let body = [near.description(), attribute(LINKINFO, &info)].concat();
        self.request(RTM_NEWLINK, MAKE, &body)
    }

    /// Sets an interface up.
    pub(super) fn set_up(&mut self, ifindex: u32) -> Result<(), Errno> {
        const IFF_UP: u32 = 1;
        let mut body = interface_header(ifindex);
        body[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        body[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
        self.request(RTM_NEWLINK, CHANGE, &body)
    }

    /// Gives an interface an IPv4 address in a network of 256.
    pub(super) fn add_address(&mut self, ifindex: u32, address: [u8; 4]) -> Result<(), Errno> {
        const IFA_ADDRESS: u16 = 1;
        const IFA_LOCAL: u16 = 2;
        const IFA_BROADCAST: u16 = 4;
        const AF_INET: u8 = 2;
        let [a, b, c, _] = address;
        let mut body = vec![AF_INET, 24, 0, 0];
        body.extend(ifindex.to_ne_bytes());
        for (kind, value) in [(IFA_LOCAL, address), (IFA_ADDRESS, address), (IFA_BROADCAST, [a, b, c, 255])] {
            body.extend(attribute(kind, &value));
        }
        self.request(RTM_NEWADDR, MAKE, &body)
    }

    /// Sets the interface's XDP program, or takes it away, in the mode that the flags tell (`XDP_FLAGS_*`).
    pub(super) fn set_xdp(
        &mut self,
        ifindex: u32,
        prog: Option<BorrowedFd<'_>>,
        flags: u32,
    ) -> Result<(), Errno> {
        const XDP: u16 = 43;
        const XDP_FD: u16 = 1;
        const XDP_FLAGS: u16 = 3;
        let fd = prog.map_or(-1, |prog| prog.as_raw_fd());
        let xdp = [attribute(XDP_FD, &fd.to_ne_bytes()), attribute(XDP_FLAGS, &flags.to_ne_bytes())];
        self.request(
            RTM_SETLINK,
            CHANGE,
            &[interface_header(ifindex), attribute(NESTED | XDP, &xdp.concat())].concat(),
        )
    }

    /// Adds the queueing discipline clsact and hangs the program on its ingress side, as a filter whose result is the
    /// action.
    pub(super) fn add_filter(&mut self, ifindex: u32, prog: BorrowedFd<'_>) -> Result<(), Errno> {
        const KIND: u16 = 1;
        const OPTIONS: u16 = 2;
        const BPF_FD: u16 = 6;
        const BPF_NAME: u16 = 7;
        const BPF_FLAGS: u16 = 8;
        const ACT_DIRECT: u32 = 1;
        const PRIORITY: u32 = 1;
        const ETH_P_ALL: u16 = 3;
        let clsact = [traffic_header(ifindex, CLSACT, 0), attribute(KIND, b"clsact\0")].concat();
        self.request(RTM_NEWQDISC, MAKE, &clsact)?;
        let options = [
            attribute(BPF_FD, &(prog.as_raw_fd() as u32).to_ne_bytes()),
            attribute(BPF_NAME, b"portolan\0"),
            attribute(BPF_FLAGS, &ACT_DIRECT.to_ne_bytes()),
        ];
        let info = PRIORITY << 16 | u32::from(ETH_P_ALL.to_be());
        let filter = [
            traffic_header(ifindex, (0, CLSACT_INGRESS), info),
            attribute(KIND, b"bpf\0"),
            attribute(OPTIONS, &options.concat()),
        ];
        let added = self.request(RTM_NEWTFILTER, MAKE, &filter.concat());
        if added.is_err() {
            let _ = self.remove_filters(ifindex);
        }
        added
    }

    /// Takes away clsact and all that hangs on it.
    pub(super) fn remove_filters(&mut self, ifindex: u32) -> Result<(), Errno> {
        self.request(RTM_DELQDISC, CHANGE, &traffic_header(ifindex, CLSACT, 0))
    }

    /// Sends a request and waits for its acknowledgement.
    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
        const HEADER_BYTE_SZ: usize = 16;
        const REQUEST_ACK: u16 = 1 | 4;
        const NLMSG_ERROR: u16 = 2;
        self.seq += 1;
        let mut message = Vec::with_capacity(HEADER_BYTE_SZ + body.len());
        message.extend(((HEADER_BYTE_SZ + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST_ACK | flags).to_ne_bytes());
        message.extend(self.seq.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        send(&self.fd, &message, SendFlags::empty())?;
        let mut answer = [0; 4096];
        loop {
            let received = match recv(&self.fd, &mut answer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?.0,
            };
            let Some((header, error)) = answer[..received].split_at_checked(HEADER_BYTE_SZ) else {
                return Err(Errno::BADMSG);
            };
            // An acknowledgement of an earlier request that was given up.
            if header[8..12] != self.seq.to_ne_bytes() {
                continue;
            }
            if header[4..6] != NLMSG_ERROR.to_ne_bytes() {
                return Err(Errno::BADMSG);
            }
            let Some(error) = error.first_chunk::<4>() else { return Err(Errno::BADMSG) };
            return match i32::from_ne_bytes(*error).wrapping_neg() {
                0 => Ok(()),
                errno @ 1..=4095 => Err(Errno::from_raw_os_error(errno)),
                _ => Err(Errno::BADMSG),
            };
        }
    }
}

/// An interface to be made.
#[derive(Clone, Copy)]
pub(super) struct Interface<'a> {
    pub(super) ifindex: u32,
    pub(super) name: &'a str,
}

impl Interface<'_> {
    /// `struct ifinfomsg` and the name.
    fn description(self) -> Vec<u8> {
        const IFNAME: u16 = 3;
        let name = [self.name.as_bytes(), &[0]].concat();
        [interface_header(self.ifindex), attribute(IFNAME, &name)].concat()
    }
}

/// `struct ifinfomsg`.
fn interface_header(ifindex: u32) -> Vec<u8> {
    let mut header = vec![0; 16];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    header
}

/// `struct tcmsg`.
fn traffic_header(ifindex: u32, (handle, parent): (u32, u32), info: u32) -> Vec<u8> {
    [0, ifindex, handle, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// Length, type and value, filled up to a multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
