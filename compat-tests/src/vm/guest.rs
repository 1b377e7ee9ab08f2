//! The guest's side: what init does before and after the work.

use super::frame::Frame;
use rustix::mount::{MountFlags, mount};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};

/// File systems, where they are mounted, and their options. Kernels without one of them go without it.
const MOUNTS: [(&str, &str, &str); 9] = [
    ("devtmpfs", "/dev", ""),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("bpf", "/sys/fs/bpf", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("tmpfs", "/tmp", "mode=1777"),
];

/// A booted guest, seen by its init.
#[derive(Debug)]
pub struct Guest {
    port: File,
    missing: Vec<&'static str>,
}

impl Guest {
    /// Mounts what programs expect and opens the port for frames.
    ///
    /// # Errors
    /// There is no second serial port: this is no guest of [`Vm`](super::Vm).
    pub fn boot() -> io::Result<Guest> {
        let mut missing = Vec::new();
        for (kind, target, options) in MOUNTS {
            // What is under /sys are the kernel's own mount points; only /proc, /sys and /tmp are ours to make.
            let _ = std::fs::create_dir(target);
            let options = std::ffi::CString::new(options)?;
            if mount(kind, target, kind, MountFlags::empty(), options.as_c_str()).is_err() {
                missing.push(kind);
            }
        }
        Ok(Guest { port: port()?, missing })
    }

    /// File systems that this kernel would not mount, by type.
    pub fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The payload is above [`MAX_PAYLOAD_SZ`](super::MAX_PAYLOAD_SZ), or the port cannot be written.
    pub fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let frame = Frame::encode(kind, payload).ok_or(io::ErrorKind::InvalidInput)?;
        self.port.write_all(&frame)
    }

    /// Waits until everything sent is out and powers off. Returns only if the kernel does not let it.
    pub fn power_off(self) -> io::Error {
        if let Err(err) = rustix::termios::tcdrain(&self.port) {
            return err.into();
        }
        match rustix::system::reboot(rustix::system::RebootCommand::PowerOff) {
            Ok(()) => io::Error::other("the kernel went on after reboot(2)"),
            Err(err) => err.into(),
        }
    }
}

/// The second serial port, with all 256 bytes going through as they are.
fn port() -> io::Result<File> {
    let port = OpenOptions::new().read(true).write(true).open("/dev/ttyS1")?;
    let mut terminal = tcgetattr(&port)?;
    terminal.make_raw();
    tcsetattr(&port, OptionalActions::Now, &terminal)?;
    Ok(port)
}
