//! Pseudo file systems that may not be mounted: securityfs, tracefs, debugfs, efivarfs.
//!
//! Where one is mounted at its usual place it is read there. Else it is opened as a *detached* mount (`fsopen(2)` and
//! `fsmount(2)`, since v5.2): no mount namespace sees it, and it is gone when its descriptor is closed. `/proc/filesystems`
//! is asked first, since opening a file system that the kernel does not have would load a module.

use super::root::{HostRoot, Unread, names_in, read_open};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A pseudo file system, its usual place and its magic number (include/uapi/linux/magic.h, v6.18).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The name that `/proc/filesystems` has.
    pub(crate) name: &'static str,
    place: &'static str,
    magic: u64,
}

/// What security modules show.
pub(crate) const SECURITYFS: Kind =
    Kind { name: "securityfs", place: "/sys/kernel/security", magic: 0x7363_6673 };
/// What can be traced.
pub(crate) const TRACEFS: Kind = Kind { name: "tracefs", place: "/sys/kernel/tracing", magic: 0x7472_6163 };
/// What kernel developers show each other.
pub(crate) const DEBUGFS: Kind = Kind { name: "debugfs", place: "/sys/kernel/debug", magic: 0x6462_6720 };
/// Variables of the EFI firmware.
pub(crate) const EFIVARFS: Kind =
    Kind { name: "efivarfs", place: "/sys/firmware/efi/efivars", magic: 0xde5e_81e4 };

/// An open pseudo file system.
#[derive(Debug)]
pub(crate) struct PseudoFs {
    dir: OwnedFd,
    /// Where it is, for evidence.
    source: String,
}

/// Why a pseudo file system could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotOpen {
    /// The kernel does not have it, or not loaded.
    Unregistered,
    /// It is not mounted, and opening a detached mount of it failed.
    Errno(Errno),
}

impl PseudoFs {
    /// Opens it where it is mounted or else detached.
    pub(crate) fn open(root: &HostRoot, kind: Kind) -> Result<PseudoFs, NotOpen> {
        if let Ok(dir) = root.open_dir(kind.place)
            && fstatfs(&dir).is_ok_and(|stat| stat.f_type as u64 & 0xffff_ffff == kind.magic)
        {
            return Ok(PseudoFs { dir, source: root.shown(kind.place) });
        }
        // Under a host root too: the kernel is the same one.
        let registered = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !registered.lines().any(|line| line.split_whitespace().next_back() == Some(kind.name)) {
            return Err(NotOpen::Unregistered);
        }
        let dir = detached(kind.name).map_err(NotOpen::Errno)?;
        Ok(PseudoFs { dir, source: format!("{} (detached mount)", kind.name) })
    }

    /// How the file is named in evidence.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.source)
    }

    /// Opens the file at the relative `path`.
    pub(crate) fn open_file(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        openat(self.dir.as_fd(), path, flags, Mode::empty())
    }

    /// Names in the directory at the relative `path`.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        names_in(openat(self.dir.as_fd(), path, flags, Mode::empty())?.as_fd())
    }

    /// The whole file at the relative `path`.
    pub(crate) fn read(&self, path: &str, limit_byte_sz: usize) -> Result<Vec<u8>, Unread> {
        read_open(self.open_file(path).map_err(Unread::Errno)?, limit_byte_sz)
    }
}

fn detached(name: &str) -> Result<OwnedFd, Errno> {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_a_detached_mount_is_seen_by_nobody() {
        assert!(rustix::process::geteuid().is_root(), "needs CAP_SYS_ADMIN: run the tests as root");
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let securityfs = PseudoFs::open(&HostRoot::local(), SECURITYFS).unwrap();
        assert!(!securityfs.read("lsm", 4096).unwrap().is_empty());
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }

    #[test]
    fn a_file_system_that_is_not_there_is_not_asked_for() {
        let kind = Kind { name: "portolanfs", place: "/nowhere", magic: 1 };
        assert_eq!(PseudoFs::open(&HostRoot::local(), kind).unwrap_err(), NotOpen::Unregistered);
    }
}
