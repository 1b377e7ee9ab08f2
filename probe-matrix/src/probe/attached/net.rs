//! A network namespace of its own, with two interfaces in it that are each other's end, and traffic between them.
//!
//! It belongs to the calling thread alone and is gone, with all that is in it, when the thread ends. Addresses are those
//! kept for tests (198.18.0.0/15, RFC 2544); no packet leaves the namespace.

use super::rtnetlink::{Interface, Rtnetlink};
use crate::sys::{Errno, hook};
use std::io;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A port on which nobody listens: discard.
const PORT: u16 = 9;
/// The loopback interface, in every network namespace.
const LOOPBACK: u32 = 1;

/// The namespace.
pub(super) struct Net {
    rtnetlink: Rtnetlink,
    pairs_made: u32,
}

/// Two interfaces: what leaves by `near` comes in by `far`.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) near: u32,
    pub(super) far: u32,
    from: Ipv4Addr,
    to: Ipv4Addr,
}

impl Net {
    /// Moves the calling thread into a network namespace of its own, with the loopback interface up. Needs
    /// CAP_SYS_ADMIN.
    pub(super) fn unshare() -> Result<Net, Errno> {
        hook::unshare_network()?;
        // Both settings are inherited from the host, and would have the kernel write to its log about interfaces that
        // come up and packets whose sender is this host. They may be read-only: then it does.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let _ = std::fs::write("/proc/sys/net/ipv4/conf/all/log_martians", "0");
        let _ = std::fs::write("/proc/sys/net/ipv4/conf/default/log_martians", "0");
        let mut rtnetlink = Rtnetlink::open()?;
        rtnetlink.set_up(LOOPBACK)?;
        Ok(Net { rtnetlink, pairs_made: 0 })
    }

    /// A descriptor of the namespace.
    pub(super) fn namespace() -> Result<OwnedFd, Errno> {
        use rustix::fs::{Mode, OFlags, open};
        open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// The loopback interface, whose one end is also the other.
    pub(super) fn loopback() -> Pair {
        Pair { near: LOOPBACK, far: LOOPBACK, from: Ipv4Addr::LOCALHOST, to: Ipv4Addr::LOCALHOST }
    }

    /// Makes a pair of that kind, both ends up, `near` with an address.
    pub(super) fn pair(&mut self, kind: &str) -> Result<Pair, Errno> {
        // Above the numbers that the kernel gives to interfaces it makes in every namespace.
        let near = 1000 + 2 * self.pairs_made;
        let far = near + 1;
        let third = self.pairs_made as u8;
        self.pairs_made += 1;
        let names = [near, far].map(|ifindex| format!("portolan{ifindex}"));
        self.rtnetlink.make_pair(
            kind,
            Interface { ifindex: near, name: &names[0] },
            Interface { ifindex: far, name: &names[1] },
        )?;
        // The end that comes up last can send at once.
        self.rtnetlink.set_up(far)?;
        self.rtnetlink.set_up(near)?;
        let address = [198, 18, third, 1];
        self.rtnetlink.add_address(near, address)?;
        Ok(Pair { near, far, from: address.into(), to: [198, 18, third, 255].into() })
    }

    /// Sets an interface's XDP program, or takes it away, in the mode that the flags tell.
    pub(super) fn set_xdp(
        &mut self,
        ifindex: u32,
        prog: Option<BorrowedFd<'_>>,
        flags: u32,
    ) -> Result<(), Errno> {
        self.rtnetlink.set_xdp(ifindex, prog, flags)
    }

    /// Hangs the program on the ingress side of clsact.
    pub(super) fn add_filter(&mut self, ifindex: u32, prog: BorrowedFd<'_>) -> Result<(), Errno> {
        self.rtnetlink.add_filter(ifindex, prog)
    }

    /// Takes it away again. What cannot be taken away is gone with the namespace.
    pub(super) fn remove_filter(&mut self, ifindex: u32) {
        let _ = self.rtnetlink.remove_filters(ifindex);
    }
}

impl Pair {
    /// Sends one packet from the near end to whoever is at the far end.
    pub(super) fn send(self) -> Result<(), Errno> {
        errno(|| {
            let socket = UdpSocket::bind((self.from, 0))?;
            socket.set_broadcast(true)?;
            socket.send_to(b"portolan", (self.to, PORT)).map(drop)
        })
    }
}

/// Connects to a port of this namespace on which nobody listens: the answer is a refusal.
pub(super) fn connect() -> Result<(), Errno> {
    match errno(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).map(drop)) {
        Err(Errno::CONNREFUSED) => Ok(()),
        other => other,
    }
}

/// A socket that has an address of this namespace.
pub(super) fn socket() -> Result<UdpSocket, Errno> {
    errno(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
}

/// Sends a packet to the socket from itself.
pub(super) fn send_to_itself(socket: &UdpSocket) -> Result<(), Errno> {
    errno(|| socket.send_to(b"portolan", socket.local_addr()?).map(drop))
}

/// The result of calls to the standard library, by errno.
fn errno<T>(calls: impl FnOnce() -> io::Result<T>) -> Result<T, Errno> {
    calls().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
