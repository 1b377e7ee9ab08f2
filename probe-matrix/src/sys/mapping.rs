//! Files of sysfs as memory: the kernel's BTF is 5 MB that read(2) hands out a page at a time.

use bytes::Bytes;
use rustix::fd::AsFd;
use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// `SYSFS_MAGIC` of include/uapi/linux/magic.h.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// A private, read-only mapping, unmapped with its owner.
struct Mapping {
    at: *const u8,
    byte_sz: usize,
}

// SAFETY: the mapping is owned by this value alone and read-only; a thread may hold it as well as another.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Mapping {}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `byte_sz` bytes from `at` are mapped until the drop, and what is there does not change: sysfs maps
        // attributes of which the kernel keeps one constant copy (`btf_sysfs_vmlinux_mmap()`, kernel/bpf/sysfs_btf.c).
        unsafe { std::slice::from_raw_parts(self.at, self.byte_sz) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map_sysfs` with this size, and no slice outlives the value.
        let _ = unsafe { munmap(self.at.cast_mut().cast(), self.byte_sz) };
    }
}

/// The first `byte_sz` bytes of an open file of sysfs, without a copy. Since v6.16 for vmlinux's BTF; ENODEV before.
///
/// Refuses files of other file systems (EXDEV): they can be cut short while they are mapped.
pub fn map_sysfs(file: impl AsFd, byte_sz: usize) -> Result<Bytes, Errno> {
    let fs = fstatfs(&file)?;
    if fs.f_type as u64 != SYSFS_MAGIC {
        return Err(Errno::XDEV);
    }
    if byte_sz == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: a new mapping at an address of the kernel's choosing touches no memory of ours.
    let at = unsafe { mmap(std::ptr::null_mut(), byte_sz, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }?;
    Ok(Bytes::from_owner(Mapping { at: at.cast_const().cast(), byte_sz }))
}
