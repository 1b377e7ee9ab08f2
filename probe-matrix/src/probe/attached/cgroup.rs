//! A cgroup of its own, under the mount of cgroup v2.
//!
//! The parent makes it, since the worker lacks the capability to write there (CAP_DAC_OVERRIDE: the hierarchy's root is
//! read-only even to its owner), and removes it when the worker has ended. It is the one thing of depth attach that does
//! not end with the processes. It is locked (flock(2)) as long as its maker lives, whatever pid namespace that is in; one
//! that is not locked is left over from a process that was killed, holds nothing, and is removed by the next run.

use crate::probe::mounts;
use crate::probe::root::{HostRoot, names_in};
use crate::sys::Errno;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, statat, unlinkat};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Beginning of the names of such cgroups; the maker's pid and the time since boot follow.
const PREFIX: &str = "portolan-probe-";
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The parent's side: the cgroup, which is removed with this.
pub(crate) struct OwnCgroup {
    parent: OwnedFd,
    /// Holds the lock.
    _dir: OwnedFd,
    name: String,
    path: PathBuf,
}

impl OwnCgroup {
    /// Makes one. ENOENT if no cgroup v2 hierarchy is mounted.
    pub(super) fn make() -> Result<OwnCgroup, Errno> {
        let (parent, place) = hierarchy()?;
        let since_boot = clock_gettime(ClockId::Boottime);
        let pid = std::process::id();
        let name = format!("{PREFIX}{pid}-{}{:09}", since_boot.tv_sec, since_boot.tv_nsec);
        mkdirat(&parent, &name, Mode::from_raw_mode(0o755))?;
        // Before it is locked, another run may take it for a left-over and remove it: then it is not there (ENOENT).
        let locked = openat(&parent, &name, DIR, Mode::empty()).and_then(|dir| {
            flock(&dir, FlockOperation::LockExclusive)?;
            statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map(|_| dir)
        });
        match locked {
            Ok(dir) => Ok(OwnCgroup { parent, _dir: dir, path: place.join(&name), name }),
            Err(errno) => {
                let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
                Err(errno)
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // If it cannot be removed now, the next run does.
        let _ = remove(self.parent.as_fd(), &self.name);
    }
}

/// The worker's side: a stay in the cgroup, since sockets belong to the cgroup in which they are made. The process goes
/// back to where it came from when this is dropped.
pub(super) struct Stay {
    home: OwnedFd,
}

impl Stay {
    /// Moves this process into the cgroup.
    pub(super) fn enter(cgroup: BorrowedFd<'_>) -> Result<Stay, Errno> {
        let own = std::fs::read_to_string("/proc/self/cgroup")
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        // Hierarchy 0 is v2; the path begins at the root of the cgroup namespace, as the mount does.
        let path = own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(Errno::NOENT)?;
        let path = if path.is_empty() { "." } else { path };
        let home = processes(openat(hierarchy()?.0, path, DIR, Mode::empty())?.as_fd())?;
        rustix::io::write(processes(cgroup)?, b"0")?;
        Ok(Stay { home })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // If it cannot go back, it leaves the cgroup when it ends.
        let _ = rustix::io::write(&self.home, b"0");
    }
}

/// Opens a cgroup.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, DIR, Mode::empty())
}

/// Removes the cgroups whose makers are gone.
pub(super) fn sweep() {
    let Ok((hierarchy, _)) = hierarchy() else { return };
    let Ok(names) = names_in(hierarchy.as_fd()) else { return };
    for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
        let Ok(dir) = openat(&hierarchy, name, DIR, Mode::empty()) else { continue };
        if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove(hierarchy.as_fd(), name);
        }
    }
}

/// Removes a cgroup. A process that has just ended is still in it for a moment (EBUSY).
fn remove(parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    for _ in 0..20 {
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    Err(Errno::BUSY)
}

/// The root of the cgroup v2 hierarchy, and where it is mounted here.
fn hierarchy() -> Result<(OwnedFd, PathBuf), Errno> {
    let table = HostRoot::local().read_text("/proc/self/mountinfo", mounts::TABLE_BYTE_SZ_MAX);
    let mounts = mounts::parse(&table.map_err(|_| Errno::NOENT)?);
    let place = mounts::cgroup2(&mounts).ok_or(Errno::NOENT)?;
    Ok((open(Path::new(place))?, PathBuf::from(place)))
}

fn processes(cgroup: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(cgroup, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}
