//! What programs are hung on by other calls than bpf(2): perf events and sockets; and a network namespace to do it in.
//!
//! `struct perf_event_attr` is that of `include/uapi/linux/perf_event.h`, v6.18, in its second version (72 bytes, since
//! v2.6.33): every kernel that has BPF takes it.

use super::{Errno, check, own};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A perf event that programs can be hung on. The kernel counts the event for the calling thread, on any CPU.
#[derive(Clone, Copy, Debug)]
pub enum PerfEvent<'a> {
    /// Time that the thread runs (`PERF_COUNT_SW_TASK_CLOCK`).
    TaskClock {
        /// Time between two overflows; the program runs at each.
        period_ns: u64,
    },
    /// A tracepoint, by the number that tracefs shows.
    Tracepoint {
        /// The number.
        id: u64,
    },
    /// Entry of a kernel function, or its return.
    Kprobe {
        /// Number of the event source, from sysfs.
        source: u32,
        /// The function.
        function: &'a CStr,
        /// At the return.
        at_return: bool,
    },
    /// An instruction of an executable, or the return of the function that begins there.
    Uprobe {
        /// Number of the event source, from sysfs.
        source: u32,
        /// The executable.
        path: &'a CStr,
        /// Offset of the instruction in the file.
        off: u64,
        /// At the return.
        at_return: bool,
    },
}

/// perf_event_open(2): the event, which counts from now on until it is closed.
pub fn perf_event_open(event: PerfEvent<'_>) -> Result<OwnedFd, Errno> {
    const BYTE_SZ: usize = 72;
    const TYPE_SOFTWARE: u32 = 1;
    const TYPE_TRACEPOINT: u32 = 2;
    const SW_TASK_CLOCK: u64 = 1;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    // The attribute of a return probe in sysfs: `format/retprobe` is `config:0`.
    let retprobe = u64::from;
    let address = |text: &CStr| text.as_ptr().expose_provenance() as u64;
    let (kind, config, period, config1, config2) = match event {
        PerfEvent::TaskClock { period_ns } => (TYPE_SOFTWARE, SW_TASK_CLOCK, period_ns, 0, 0),
        PerfEvent::Tracepoint { id } => (TYPE_TRACEPOINT, id, 1, 0, 0),
        PerfEvent::Kprobe { source, function, at_return } => {
            (source, retprobe(at_return), 1, address(function), 0)
        }
        PerfEvent::Uprobe { source, path, off, at_return } => {
            (source, retprobe(at_return), 1, address(path), off)
        }
    };
    let mut attr = [0; BYTE_SZ];
    attr[0..4].copy_from_slice(&kind.to_ne_bytes());
    attr[4..8].copy_from_slice(&(BYTE_SZ as u32).to_ne_bytes());
    for (off, field) in [(8, config), (16, period), (56, config1), (64, config2)] {
        attr[off..off + 8].copy_from_slice(&field.to_ne_bytes());
    }
    let (this_thread, any_cpu, no_group): (libc::pid_t, libc::c_int, libc::c_int) = (0, -1, -1);
    // SAFETY: `attr` is valid for reading the `size` bytes it tells; the one address in it is that of a string with its
    // terminating zero, which `event` borrows until the call has returned.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attr.as_ptr(),
            this_thread,
            any_cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    check(ret).map(own)
}

/// `PERF_EVENT_IOC_SET_BPF`: hangs the program on the event until the event is closed.
pub fn perf_event_set_bpf(event: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> Result<(), Errno> {
    const SET_BPF: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<u32>(b'$', 8);
    // SAFETY: the argument is the descriptor itself, and no address.
    let ret = unsafe { libc::ioctl(event.as_raw_fd(), SET_BPF as _, prog.as_raw_fd()) };
    check(libc::c_long::from(ret)).map(drop)
}

/// `SO_ATTACH_BPF`: the program filters what the socket receives, until the socket is closed.
pub fn socket_attach_bpf(socket: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> Result<(), Errno> {
    let fd = prog.as_raw_fd();
    // SAFETY: the value is an int that lives until the call has returned, and its size is told.
    let ret = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const fd).cast(),
            size_of_val(&fd) as libc::socklen_t,
        )
    };
    check(libc::c_long::from(ret)).map(drop)
}

/// Gives the calling thread a network namespace of its own, which is empty but for a loopback interface that is down.
/// Needs CAP_SYS_ADMIN.
pub fn unshare_network() -> Result<(), Errno> {
    // SAFETY: no memory and no descriptor is shared or unshared by this flag.
    let ret = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    check(libc::c_long::from(ret)).map(drop)
}
