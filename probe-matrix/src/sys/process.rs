//! Processes: the time limit of loads, descriptors, and what a child used.

use super::{Errno, check};
use std::time::Duration;

pub(super) fn set_timer(interval: Duration) {
    let interval = libc::timeval {
        tv_sec: interval.as_secs() as libc::time_t,
        tv_usec: interval.subsec_micros() as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` is a valid itimerval for the duration of the call, and the old value is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// A SIGALRM handler that does nothing, without SA_RESTART, so that the signal is seen as pending and then forgotten.
pub(super) fn install_alarm_handler() -> Result<(), Errno> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction (no flags, empty mask); the handler is async-signal-safe: it does nothing.
    let ret = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut())
    };
    check(libc::c_long::from(ret)).map(drop)
}

/// Marks every open descriptor but the standard three close-on-exec, so that no child inherits what a shell or a
/// container runtime left open. Kernels before v5.11 cannot, and children then inherit it.
pub fn keep_descriptors_from_children() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no address is passed, and no descriptor is closed.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// What a process used, as the kernel counted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// CPU time in the kernel.
    pub stime_us: u64,
    /// CPU time in user space.
    pub utime_us: u64,
    /// Most memory resident at one time.
    pub max_rss_kib: u64,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// Waits until the child `pid` has ended and reaps it.
pub fn wait_for(pid: u32) -> Result<(Ending, Usage), Errno> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `status` and `usage` are valid for writing.
        let ret = unsafe { libc::wait4(pid as libc::pid_t, &raw mut status, 0, &raw mut usage) };
        match check(libc::c_long::from(ret)) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let ending = if libc::WIFEXITED(status) {
        Ending::Exited(libc::WEXITSTATUS(status))
    } else {
        Ending::Killed(libc::WTERMSIG(status))
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    let usage = Usage {
        stime_us: micros(usage.ru_stime),
        utime_us: micros(usage.ru_utime),
        max_rss_kib: usage.ru_maxrss as u64,
    };
    Ok((ending, usage))
}

/// Ids of the active security modules in their order, `enum lsm_id`: lsm_list_modules(2), since v6.8. Needs no privilege.
pub fn lsm_list_modules() -> Result<Vec<u64>, Errno> {
    // A number of its own architecture's table, and the same in all of them, as of every call since v5.1.
    const SYS_LSM_LIST_MODULES: libc::c_long = 461;
    let mut ids = [0u64; 64];
    let mut byte_sz = size_of_val(&ids) as u32;
    // SAFETY: `ids` is valid for writing `byte_sz` bytes, and `byte_sz` for reading and writing, until the call returns.
    let ret = unsafe { libc::syscall(SYS_LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut byte_sz, 0u32) };
    let count = check(ret)? as usize;
    Ok(ids[..count.min(ids.len())].to_vec())
}
