//! `union bpf_attr` as bytes, and the one call of bpf(2).

use super::{Command, Errno};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `union bpf_attr`, zero where nothing was put; its length is the end of the highest field put.
pub(super) struct Attr {
    pub(super) bytes: [u8; Attr::MAX_SZ],
    pub(super) len: usize,
}

impl Attr {
    const MAX_SZ: usize = 160;

    pub(super) fn new() -> Attr {
        Attr { bytes: [0; Attr::MAX_SZ], len: 0 }
    }

    /// Puts a field's bytes. A field that is all zero does not lengthen the attribute.
    pub(super) fn put(&mut self, off: usize, field: &[u8]) -> &mut Attr {
        let end = off + field.len();
        self.bytes[off..end].copy_from_slice(field);
        if field.iter().any(|byte| *byte != 0) {
            self.len = self.len.max(end);
        }
        self
    }

    pub(super) fn u32(&mut self, off: usize, value: u32) -> &mut Attr {
        self.put(off, &value.to_ne_bytes())
    }

    pub(super) fn u64(&mut self, off: usize, value: u64) -> &mut Attr {
        self.put(off, &value.to_ne_bytes())
    }

    pub(super) fn fd(&mut self, off: usize, fd: Option<BorrowedFd<'_>>) -> &mut Attr {
        self.u32(off, fd.map_or(0, |fd| fd.as_raw_fd() as u32))
    }

    /// Puts the address of what the kernel reads. The caller keeps `data` alive until the call has returned.
    pub(super) fn address(&mut self, off: usize, data: &[u8]) -> &mut Attr {
        let address = data.as_ptr().expose_provenance() as u64;
        self.u64(off, if data.is_empty() { 0 } else { address })
    }

    /// Puts the address of what the kernel writes.
    pub(super) fn address_mut(&mut self, off: usize, data: &mut [u8]) -> &mut Attr {
        let address = data.as_mut_ptr().expose_provenance() as u64;
        self.u64(off, if data.is_empty() { 0 } else { address })
    }

    /// Puts an object name: at most 15 characters of `[A-Za-z0-9_.]`, as `bpf_obj_name_cpy()` allows.
    pub(super) fn name(&mut self, off: usize, name: &str) -> &mut Attr {
        let mut field = [0; 16];
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
        for (to, from) in field[..15].iter_mut().zip(name.bytes().filter(allowed)) {
            *to = from;
        }
        self.put(off, &field)
    }

    pub(super) fn read_u32(&self, off: usize) -> u32 {
        let mut field = [0; 4];
        field.copy_from_slice(&self.bytes[off..off + 4]);
        u32::from_ne_bytes(field)
    }

    /// Calls bpf(2). `at_least` is the length that the command has to be given, beside the fields that were put.
    pub(super) fn call(&mut self, command: Command, at_least: usize) -> Result<RawFd, Errno> {
        let len = self.len.max(at_least);
        // SAFETY: the kernel reads `len` bytes, and writes answers to the command's fields whatever `len` is
        // (BPF_PROG_QUERY of tcx writes `revision`, bytes 56 to 64): all of `bytes` is ours to be written, and no field
        // that a kernel answers in lies beyond it (the last is `log_true_size` of BPF_PROG_LOAD, which ends at 140).
        // Every address in it was put by `address` or `address_mut` from a slice that the calling function of this module
        // borrows until here, beside a length that it took from the same slice (or from a map's key and value sizes,
        // checked against it).
        let ret =
            unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, self.bytes.as_mut_ptr(), len) };
        check(ret)
    }
}

/// The result of a system call that returns -1 and sets errno.
pub(super) fn check(ret: libc::c_long) -> Result<RawFd, Errno> {
    if ret >= 0 {
        return Ok(ret as RawFd);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Takes over a descriptor that the kernel has just made.
pub(super) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: `fd` was returned by a successful system call that creates a descriptor; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
