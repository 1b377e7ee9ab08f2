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

/// `text` with the system's errors by name: `ENOSPC: no space left on device` where std wrote `No space left on device
/// (os error 28)`.
pub fn name_errnos(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let number = after.split_once(')').and_then(|(number, tail)| Some((number.parse().ok()?, tail)));
        let Some((raw, tail)) = number.filter(|(raw, _)| (1..4096).contains(raw)) else {
            named.push_str(&rest[..before.len() + MARK.len()]);
            rest = after;
            continue;
        };
        // What strerror(3) says has no colon in it: it begins after the last one.
        let (context, words) = before.split_at(before.rfind(": ").map_or(0, |at| at + 2));
        named.push_str(context);
        named.push_str(&errno_name(Errno::from_raw_os_error(raw)));
        named.push_str(": ");
        let mut chars = words.chars();
        named.extend(chars.next().map(|first| first.to_ascii_lowercase()));
        named.push_str(chars.as_str());
        rest = tail;
    }
    named + rest
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

#[cfg(test)]
mod tests {
    use super::name_errnos;

    #[test]
    fn errors_of_the_system_are_called_by_name() {
        let error = std::io::Error::from_raw_os_error(libc::ENOSPC);
        for (text, want) in [
            (error.to_string(), "ENOSPC: no space left on device"),
            (format!("cannot write x: {error}; y: {error}!"), {
                "cannot write x: ENOSPC: no space left on device; y: ENOSPC: no space left on device!"
            }),
            ("odd (os error 99999) (os error x".to_owned(), "odd (os error 99999) (os error x"),
            ("Unknown error 524 (os error 524)".to_owned(), "ENOTSUPP: unknown error 524"),
            (String::new(), ""),
        ] {
            assert_eq!(name_errnos(&text), want);
        }
    }
}
