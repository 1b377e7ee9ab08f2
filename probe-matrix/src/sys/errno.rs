//! Names of errnos.

use super::Errno;

/// The name of an errno: `EPERM`; `errno 4711` for one that has none here.
///
/// The kernel's internal ENOTSUPP (524) does leak from bpf(2).
pub fn errno_name(errno: Errno) -> String {
    let raw = errno.raw_os_error();
    match ERRNO_NAMES.iter().find(|(number, _)| *number == raw) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("errno {raw}"),
    }
}

macro_rules! errno_names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name)),)* (524, "ENOTSUPP")] };
}

static ERRNO_NAMES: &[(i32, &str)] = errno_names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG
    ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EOVERFLOW EILSEQ EUSERS ENOTSOCK EMSGSIZE EPROTO EPROTOTYPE ENOPROTOOPT
    EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EALREADY EINPROGRESS ESTALE EDQUOT ENOKEY
    EKEYEXPIRED EKEYREVOKED EKEYREJECTED ECANCELED ENODATA ETIME ENOLINK EBADMSG ELIBBAD
};
