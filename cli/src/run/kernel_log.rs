//! Lines that the kernel writes to its log while something runs.

use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// A record of /dev/kmsg is at most this long (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h, v6.18).
const RECORD_MAX_BYTE_SZ: usize = 2048;
/// More records than this are not counted: something else floods the log.
const RECORDS_MAX: usize = 10_000;

/// What was written to the log since it was opened, by anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Written {
    /// Records of the audit subsystem. The kernel writes one for each program loaded and one for each unloaded (since
    /// v5.6), if auditing is on; they go here only if no audit daemon takes them.
    pub(super) audit: usize,
    /// All others.
    pub(super) other: usize,
}

/// The log from a certain moment on.
#[derive(Debug)]
pub(super) struct KernelLog(File);

impl KernelLog {
    /// The log from now on. Needs CAP_SYSLOG where `kernel.dmesg_restrict` is set.
    pub(super) fn from_now() -> io::Result<KernelLog> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut log = File::options().read(true).custom_flags(flags).open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(KernelLog(log))
    }

    /// What was written since.
    pub(super) fn written(mut self) -> io::Result<Written> {
        let mut written = Written::default();
        let mut record = [0; RECORD_MAX_BYTE_SZ];
        for _ in 0..RECORDS_MAX {
            // One read gives one record: `priority,sequence,time,flags;text`.
            match self.0.read(&mut record) {
                Ok(0) => break,
                Ok(byte_sz) => {
                    let text = record[..byte_sz].splitn(2, |byte| *byte == b';').nth(1).unwrap_or_default();
                    *if text.starts_with(b"audit:") { &mut written.audit } else { &mut written.other } += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // EPIPE: records were overwritten before they were read; the next read goes on after them.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
