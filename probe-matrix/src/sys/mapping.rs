//! The kernel's BTF as memory: 5 MB that read(2) hands out a page at a time.

use bytes::Bytes;
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, fstatfs, openat2};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// `SYSFS_MAGIC` of include/uapi/linux/magic.h.
const SYSFS_MAGIC: u64 = 0x6265_6572;
/// The inode of the root of every kernfs, of which sysfs is one (`kernfs_create_root()`, fs/kernfs/dir.c).
const ROOT_INO: u64 = 1;

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
        // SAFETY: `byte_sz` bytes from `at` are mapped until the drop, and nobody writes to them: they are pages of the
        // kernel's image between `__start_BTF` and `__stop_BTF`, which is read-only data, and which
        // `btf_sysfs_vmlinux_mmap()` maps only whole (kernel/bpf/sysfs_btf.c). That it is this file, `map_vmlinux_btf`
        // made sure of.
        unsafe { std::slice::from_raw_parts(self.at, self.byte_sz) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map_vmlinux_btf` with this size, and no slice outlives the value.
        let _ = unsafe { munmap(self.at.cast_mut().cast(), self.byte_sz) };
    }
}

/// The BTF of vmlinux in the sysfs whose root is `sysfs`, without a copy: since v6.16, ENODEV before. At most
/// `limit_byte_sz` bytes (EFBIG).
///
/// Other files of sysfs change under a mapping (the registers of PCI devices), and files of other file systems can be cut
/// short: so `sysfs` has to be the root of a sysfs (EXDEV), and the way from there crosses neither a link nor a mount.
pub fn map_vmlinux_btf(sysfs: impl AsFd, limit_byte_sz: usize) -> Result<Bytes, Errno> {
    if fstatfs(&sysfs)?.f_type as u64 != SYSFS_MAGIC || fstat(&sysfs)?.st_ino != ROOT_INO {
        return Err(Errno::XDEV);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(&sysfs, "kernel/btf/vmlinux", flags, Mode::empty(), resolve)?;
    let byte_sz = usize::try_from(fstat(&file)?.st_size).map_err(|_| Errno::FBIG)?;
    if byte_sz > limit_byte_sz {
        return Err(Errno::FBIG);
    }
    // SAFETY: a new mapping at an address of the kernel's choosing touches no memory of ours.
    let at = unsafe { mmap(std::ptr::null_mut(), byte_sz, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }?;
    Ok(Bytes::from_owner(Mapping { at: at.cast_const().cast(), byte_sz }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn nothing_but_the_root_of_sysfs_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kernel/btf")).unwrap();
        std::fs::write(dir.path().join("kernel/btf/vmlinux"), [0; 4096]).unwrap();
        let map = |path: &std::path::Path| map_vmlinux_btf(File::open(path).unwrap(), 64 << 20);
        assert_eq!(map(dir.path()).unwrap_err(), Errno::XDEV);
        assert_eq!(map("/sys/kernel".as_ref()).unwrap_err(), Errno::XDEV, "another directory of sysfs");
        assert_eq!(map("/proc".as_ref()).unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn what_is_mapped_is_what_is_read() {
        let sysfs = || File::open("/sys").unwrap();
        match map_vmlinux_btf(sysfs(), 64 << 20) {
            Ok(mapped) => {
                assert!(mapped[..] == std::fs::read("/sys/kernel/btf/vmlinux").unwrap()[..]);
                assert_eq!(map_vmlinux_btf(sysfs(), mapped.len() - 1).unwrap_err(), Errno::FBIG);
            }
            Err(errno) => assert_eq!(errno, Errno::NODEV, "kernels before v6.16 map none"),
        }
    }
}
