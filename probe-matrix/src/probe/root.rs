//! The host's files: those of this machine, or those of the host that a container sees under a directory.
//!
//! Under a directory every path is resolved by the kernel inside it (`openat2(2)` with `RESOLVE_IN_ROOT`, since v5.6):
//! a symbolic link there can point nowhere else. Reads are bounded, and never wait for a peer (a FIFO, a device).

use super::caller::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN, CapSet};

use crate::facts::{Evidence, Fact, Support};
use crate::sys::{errno_name, map_vmlinux_btf};
use bytes::Bytes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, Dir, FileType, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat, openat2,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// `f_type` of sysfs (include/uapi/linux/magic.h).
const SYSFS_MAGIC: FsWord = 0x6265_6572;
/// Most entries that are read of any one directory.
const DIR_ENTRIES_MAX: usize = 8192;

/// Where the host's `/proc`, `/sys`, `/boot`, `/lib/modules` and `/etc` are.
#[derive(Debug)]
pub struct HostRoot {
    /// The directory the host is seen under; none for `/`.
    dir: Option<OwnedFd>,
    /// That directory as the user wrote it, put before paths that are shown.
    prefix: String,
    /// What the process that reads may do.
    caps: CapSet,
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The kernel's answer.
    Errno(Errno),
    /// There is more than the reader takes.
    TooLarge {
        /// What the reader takes.
        limit_byte_sz: usize,
    },
    /// Not a regular file, where only those are read.
    NotRegular,
    /// Empty, which such a file never is.
    Empty,
}

impl HostRoot {
    /// The machine's own root.
    pub fn local() -> HostRoot {
        HostRoot { dir: None, prefix: String::new(), caps: CapSet::effective() }
    }

    /// The host as it is mounted under `dir`.
    pub fn at(dir: &Path) -> Result<HostRoot, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, dir, flags, Mode::empty())?;
        let prefix = dir.display().to_string().trim_end_matches('/').to_owned();
        Ok(HostRoot { dir: Some(fd), prefix, caps: CapSet::effective() })
    }

    /// Whether the host is seen under a directory.
    pub fn is_foreign(&self) -> bool {
        self.dir.is_some()
    }

    /// The path as the user would type it.
    pub fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// What the process that reads may do.
    pub(crate) fn caps(&self) -> CapSet {
        self.caps
    }

    fn open_flags(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let Some(dir) = &self.dir else { return open(path, flags, Mode::empty()) };
        let relative = path.trim_start_matches('/');
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(dir, relative, flags, Mode::empty(), resolve) {
            // Before v5.6, or a seccomp profile that does not know the call: step by step, and no link is followed.
            Err(Errno::NOSYS | Errno::PERM) => open_without_links(dir.as_fd(), relative, flags),
            other => other,
        }
    }

    /// The directory at the absolute `path`.
    pub(crate) fn open_dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_flags(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Whether the root is that of the machine this process runs on: its `/proc` tells the boot that ours tells. None
    /// if one of them does not tell.
    pub fn is_of_this_boot(&self) -> Option<bool> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let there = self.read_text(BOOT_ID, 64).ok()?;
        let here = HostRoot::local().read_text(BOOT_ID, 64).ok()?;
        Some(there.trim() == here.trim())
    }

    /// The file at the absolute `path`, open for reading.
    pub(crate) fn open_file(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_flags(path, OFlags::RDONLY)
    }

    /// The whole regular file at the absolute `path`, at most `limit_byte_sz` bytes of it.
    pub(crate) fn read(&self, path: &str, limit_byte_sz: usize) -> Result<Vec<u8>, Unread> {
        read_open(self.open_file(path).map_err(Unread::Errno)?, limit_byte_sz)
    }

    /// The same of a BTF of the kernel's: that of vmlinux is mapped where the kernel can (v6.16), any other read.
    pub(crate) fn map_or_read(&self, path: &str, limit_byte_sz: usize) -> Result<Bytes, Unread> {
        if path == "/sys/kernel/btf/vmlinux"
            && let Ok(mapped) = self.open_dir("/sys").and_then(|sysfs| map_vmlinux_btf(sysfs, limit_byte_sz))
        {
            return Ok(mapped);
        }
        self.read(path, limit_byte_sz).map(Bytes::from)
    }

    /// The file as text; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn read_text(&self, path: &str, limit_byte_sz: usize) -> Result<String, Unread> {
        Ok(String::from_utf8_lossy(&self.read(path, limit_byte_sz)?).into_owned())
    }

    /// Names in the directory at `path` in their order, without `.` and `..`.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Unread> {
        let fd = self.open_dir(path).map_err(Unread::Errno)?;
        names_in(fd.as_fd()).map_err(Unread::Errno)
    }

    /// Whether the kernel itself says that there is no `path` in /sys: the nearest directory above that exists is sysfs.
    ///
    /// Container runtimes mount over parts of /sys, and a host root may only look like one: what is missing there says
    /// nothing.
    pub(crate) fn sysfs_lacks(&self, path: &str) -> bool {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
            above = parent;
            match self.open_dir(above) {
                Ok(dir) => return fstatfs(&dir).is_ok_and(|stat| stat.f_type == SYSFS_MAGIC),
                Err(Errno::NOENT) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// The fact of a question that could not be put, because `path` could not be read.
    ///
    /// A denial is the node's policy only if this process holds the capability that overrides file modes (EACCES) or
    /// that the pseudo file systems ask for (EPERM); else it is portolan that lacks a privilege.
    pub(crate) fn unread(&self, path: &str, why: &Unread) -> Fact {
        unread_fact(self.caps, self.shown(path), why)
    }
}

/// [`HostRoot::unread`] for a file that has no path of its own, of which `source` tells.
pub(crate) fn unread_fact(caps: CapSet, source: String, why: &Unread) -> Fact {
    let unknown = |source| Fact::new(Support::Unknown, Evidence::Probed, source);
    match why {
        Unread::TooLarge { limit_byte_sz } => {
            unknown(source).reason(format!("longer than the {limit_byte_sz} bytes that are read"))
        }
        Unread::NotRegular => unknown(source).reason("not a regular file"),
        Unread::Empty => unknown(source).reason("empty: another file may be mounted over it"),
        Unread::Errno(errno) => {
            let (support, reason) = match *errno {
                Errno::ACCESS | Errno::PERM => denial(caps, *errno),
                Errno::NOENT | Errno::NOTDIR => (Support::Unknown, "there is no such file"),
                Errno::LOOP => {
                    (Support::Unknown, "a symbolic link, which cannot be followed safely before Linux 5.6")
                }
                _ => (Support::Unknown, "cannot be read"),
            };
            Fact::new(support, Evidence::Probed, source).errno(errno_name(*errno)).reason(reason)
        }
    }
}

fn denial(caps: CapSet, errno: Errno) -> (Support, &'static str) {
    let overrides = match errno {
        Errno::ACCESS => caps.has(CAP_DAC_OVERRIDE) || caps.has(CAP_DAC_READ_SEARCH),
        _ => caps.has(CAP_SYS_ADMIN),
    };
    match (overrides, errno) {
        (true, _) => (
            Support::DeniedWorkload,
            "refused although the capability is held: by lockdown or another security module",
        ),
        (false, Errno::ACCESS) => {
            (Support::DeniedObserver, "file permissions; CAP_DAC_READ_SEARCH or root would be needed")
        }
        (false, _) => (Support::DeniedObserver, "CAP_SYS_ADMIN would be needed"),
    }
}

fn open_without_links(dir: BorrowedFd<'_>, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parts = relative.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        if part == ".." {
            return Err(Errno::INVAL);
        }
        let step = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { flags };
        let from = at.as_ref().map_or(dir, AsFd::as_fd);
        at = Some(openat(from, part, step | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    }
    at.map_or_else(|| openat(dir, ".", flags, Mode::empty()), Ok)
}

/// All of an open regular file, at most `limit_byte_sz` bytes.
pub(crate) fn read_open(fd: OwnedFd, limit_byte_sz: usize) -> Result<Vec<u8>, Unread> {
    let stat = fstat(&fd).map_err(Unread::Errno)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unread::NotRegular);
    }
    // Files of procfs and of many others report size 0 or 4096 whatever they hold.
    let expected = usize::try_from(stat.st_size).unwrap_or(0).min(limit_byte_sz);
    let mut bytes = Vec::with_capacity(expected + 1);
    let read = File::from(fd).take(limit_byte_sz as u64 + 1).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() > limit_byte_sz => Err(Unread::TooLarge { limit_byte_sz }),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Unread::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
    }
}

/// Names in an open directory in their order, without `.` and `..`.
pub(crate) fn names_in(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)?.take(DIR_ENTRIES_MAX) {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn host() -> (tempfile::TempDir, HostRoot) {
        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn links_stay_inside_the_host_root() {
        let (dir, root) = host();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/inside"), "inside").unwrap();
        symlink("/etc/inside", dir.path().join("etc/absolute")).unwrap();
        symlink("../../../../../../etc/passwd", dir.path().join("etc/outside")).unwrap();
        symlink("/proc/self/root/etc/passwd", dir.path().join("etc/magic")).unwrap();
        assert_eq!(root.read("/etc/absolute", 100), Ok(b"inside".to_vec()));
        assert_eq!(root.read("/etc/outside", 100), Err(Unread::Errno(Errno::NOENT)));
        assert_eq!(root.read("/etc/magic", 100), Err(Unread::Errno(Errno::NOENT)));
        assert_eq!(root.read("/../etc/inside", 100), Ok(b"inside".to_vec()));
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (dir, root) = host();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/inside"), "inside").unwrap();
        symlink("/etc", dir.path().join("link")).unwrap();
        let at = root.dir.as_ref().unwrap().as_fd();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        assert!(open_without_links(at, "etc/inside", flags).is_ok());
        assert_eq!(open_without_links(at, "link/passwd", flags).unwrap_err(), Errno::NOTDIR);
        assert_eq!(open_without_links(at, "etc/../../passwd", flags).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn what_is_not_a_file_or_too_large_is_refused_at_once() {
        let (dir, root) = host();
        std::fs::write(dir.path().join("large"), [0; 11]).unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(root.read("/large", 10), Err(Unread::TooLarge { limit_byte_sz: 10 }));
        assert_eq!(root.read("/large", 11).map(|bytes| bytes.len()), Ok(11));
        assert_eq!(root.read("/fifo", 10), Err(Unread::NotRegular));
    }

    #[test]
    fn only_sysfs_itself_tells_what_it_lacks() {
        let (dir, root) = host();
        let missing = "/sys/kernel/portolan/none";
        assert!(!root.sysfs_lacks(missing), "no /sys at all");
        std::fs::create_dir_all(dir.path().join("sys/kernel")).unwrap();
        assert!(!root.sysfs_lacks(missing), "directories of another file system");
        let own = HostRoot::local();
        assert!(own.sysfs_lacks(missing));
        assert!(!own.sysfs_lacks("/proc/portolan"));
        assert!(!own.sysfs_lacks("/portolan"));
    }

    #[test]
    fn a_denial_names_whom() {
        let file = Unread::Errno(Errno::ACCESS);
        let support = |caps, why| unread_fact(caps, "x".to_owned(), why).support;
        assert_eq!(support(CapSet::default(), &file), Support::DeniedObserver);
        assert_eq!(support(CapSet::of(&[CAP_DAC_OVERRIDE]), &file), Support::DeniedWorkload);
        let call = Unread::Errno(Errno::PERM);
        assert_eq!(support(CapSet::of(&[CAP_DAC_OVERRIDE]), &call), Support::DeniedObserver);
        assert_eq!(support(CapSet::of(&[CAP_SYS_ADMIN]), &call), Support::DeniedWorkload);
        assert_eq!(support(CapSet::default(), &Unread::Errno(Errno::NOENT)), Support::Unknown);
    }
}
