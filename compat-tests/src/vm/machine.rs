//! The host's side: QEMU with a kernel and an initramfs, for a limited time.

use super::cpio::Initramfs;
use super::frame::{Decoder, Frame};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Time that a guest under KVM gets for its first frame. It needs one second; KVM that only seems to be there (the device
/// opens, guests do not run) shows within it.
const KVM_PATIENCE: Duration = Duration::from_secs(15);

/// Whether a guest has really run under KVM on this machine; unset until one was tried.
static KVM: OnceLock<bool> = OnceLock::new();

/// Bytes of the console that are kept, from its end. A kernel that panics says why at the end.
const CONSOLE_SZ: u64 = 256 << 10;

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// A file that the run needs cannot be read or written.
    #[error("failed to {what} {path}: {source}")]
    File {
        /// `read`, `write`, …
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// QEMU is not there or cannot be started.
    #[error("failed to start {program}: {source}; install qemu-system-x86")]
    Start {
        /// The program.
        program: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// QEMU refused what it was asked for.
    #[error("failed to boot: QEMU exited with {status}: {message}")]
    Qemu {
        /// Its exit status.
        status: String,
        /// What it wrote to standard error.
        message: String,
    },
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator: about 20 times slower, but runs everywhere.
    Tcg,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The guest powered off.
    PoweredOff,
    /// The kernel panicked; its message.
    Panicked(String),
    /// The guest was stopped because its time was over, or because no frame came for too long.
    TimedOut,
    /// Whoever takes the frames wanted no more.
    Stopped,
}

/// What a run gave.
#[derive(Debug)]
pub struct Output {
    /// How it ended. Frames that came before count whatever the end was.
    pub end: End,
    /// The kernel's messages, at most the last 256 KiB.
    pub console: String,
    /// Bytes on the port for frames that belonged to no frame; 0 unless the port was disturbed.
    pub noise_sz: u64,
    /// What executed it.
    pub accelerator: Accelerator,
    /// From the start of QEMU to its end.
    pub elapsed: Duration,
}

/// A machine to be booted: x86-64, one processor, two serial ports and nothing else.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Kernel image (bzImage).
    pub kernel: PathBuf,
    /// Memory in MiB. The initramfs is in it twice while it is unpacked.
    pub memory_mib: u32,
    /// Time for the whole run.
    pub limit: Duration,
    /// Longest time without a frame, from the start of the machine on.
    pub silence: Duration,
    /// Words added to the kernel's command line.
    pub append: Vec<String>,
    /// What to run on; `None` takes KVM if a guest has really run on it, else TCG.
    pub accelerator: Option<Accelerator>,
}

impl Vm {
    /// A machine with 1 GiB, five minutes in all and one minute between frames.
    pub fn new(kernel: impl Into<PathBuf>) -> Vm {
        Vm {
            kernel: kernel.into(),
            memory_mib: 1024,
            limit: Duration::from_secs(300),
            silence: Duration::from_secs(60),
            append: Vec::new(),
            accelerator: None,
        }
    }

    /// Boots the kernel with `initramfs` and hands each frame to `each` as it comes; `false` ends the run. QEMU has ended
    /// when this returns, and ends when this process is killed.
    pub fn run(&self, initramfs: Initramfs, mut each: impl FnMut(Frame) -> bool) -> Result<Output, VmError> {
        let scratch = Scratch::new()?;
        let initrd = scratch.0.join("initramfs");
        std::fs::write(&initrd, initramfs.finish()).map_err(|err| file("write", &initrd, err))?;
        if let Some(accelerator) = self.accelerator {
            return self.boot(accelerator, &scratch, &initrd, self.silence, &mut each);
        }
        if KVM.get() != Some(&false) && Path::new("/dev/kvm").exists() {
            let mut seen = false;
            let silence = if KVM.get().is_some() { self.silence } else { KVM_PATIENCE.min(self.silence) };
            let result = self.boot(Accelerator::Kvm, &scratch, &initrd, silence, &mut |frame| {
                seen = true;
                each(frame)
            });
            if seen || KVM.get() == Some(&true) {
                let _ = KVM.set(true);
                return result;
            }
            let _ = KVM.set(false);
        }
        self.boot(Accelerator::Tcg, &scratch, &initrd, self.silence, &mut each)
    }

    fn boot(
        &self,
        accelerator: Accelerator,
        scratch: &Scratch,
        initrd: &Path,
        silence: Duration,
        each: &mut dyn FnMut(Frame) -> bool,
    ) -> Result<Output, VmError> {
        let console = scratch.0.join("console");
        let began = Instant::now();
        let mut qemu = Qemu::start(&mut self.command(accelerator, initrd, &console))?;
        let frames = qemu.frames();
        let mut decoder = Decoder::default();
        let end = 'run: loop {
            let left = self.limit.saturating_sub(began.elapsed()).min(silence);
            match frames.recv_timeout(left) {
                Ok(bytes) => {
                    decoder.push(&bytes);
                    while let Some(frame) = decoder.next_frame() {
                        if !each(frame) {
                            break 'run Some(End::Stopped);
                        }
                    }
                    if began.elapsed() >= self.limit {
                        break Some(End::TimedOut);
                    }
                }
                Err(RecvTimeoutError::Timeout) => break Some(End::TimedOut),
                // QEMU closed its standard output: it is ending.
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        let status = qemu.end(end.is_some())?;
        let console = tail(&console)?;
        let end = match (end, panic_message(&console)) {
            (_, Some(message)) => End::Panicked(message),
            (Some(end), None) => end,
            (None, None) if status.success => End::PoweredOff,
            (None, None) => return Err(VmError::Qemu { status: status.text, message: status.message }),
        };
        Ok(Output { end, console, noise_sz: decoder.noise_sz(), accelerator, elapsed: began.elapsed() })
    }

    fn command(&self, accelerator: Accelerator, initrd: &Path, console: &Path) -> Command {
        // QEMU is to die with this process even where it is killed: setpriv (util-linux) asks the kernel for that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        match accelerator {
            Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Tcg => command.args(["-accel", "tcg", "-cpu", "max"]),
        };
        command.args(["-machine", "pc", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.arg("-m").arg(self.memory_mib.to_string());
        command.arg("-chardev").arg(format!("file,id=console,path={}", console.display()));
        command.args(["-chardev", "stdio,id=frames,signal=off"]);
        command.args(["-serial", "chardev:console", "-serial", "chardev:frames"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(initrd);
        // An oops ends the run: what came after it would say little of a sane kernel.
        let mut line = "console=ttyS0 quiet loglevel=4 oops=panic panic=-1".to_owned();
        for word in &self.append {
            line.push(' ');
            line.push_str(word);
        }
        command.arg("-append").arg(line);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

struct Status {
    success: bool,
    text: String,
    message: String,
}

/// A QEMU process, killed with its owner.
struct Qemu(Child);

impl Qemu {
    fn start(command: &mut Command) -> Result<Qemu, VmError> {
        command.spawn().map(Qemu).map_err(|source| VmError::Start { program: "setpriv", source })
    }

    /// Chunks of what comes over the port for frames; disconnected at its end.
    fn frames(&mut self) -> Receiver<Vec<u8>> {
        let (send, receive) = channel();
        if let Some(mut port) = self.0.stdout.take() {
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(count @ 1..) = port.read(&mut buffer) {
                    if send.send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        receive
    }

    fn end(mut self, kill: bool) -> Result<Status, VmError> {
        let wait = |source| VmError::Start { program: "qemu-system-x86_64", source };
        if kill {
            self.0.kill().map_err(wait)?;
        }
        let status = self.0.wait().map_err(wait)?;
        let mut message = String::new();
        if let Some(stderr) = self.0.stderr.take() {
            // Bounded, since a broken QEMU may write without end; and it has ended, so that nothing blocks.
            let _ = stderr.take(64 << 10).read_to_string(&mut message);
        }
        let message = message.trim().to_owned();
        Ok(Status { success: status.success(), text: status.to_string(), message })
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail harmlessly for a process that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of our own, removed with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, VmError> {
        use std::os::unix::fs::DirBuilderExt;
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("portolan-vm-{}-{count}", std::process::id()));
        // Not taken if it is there: it would be somebody else's.
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|err| file("make", &path, err))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn file(what: &'static str, path: &Path, source: io::Error) -> VmError {
    VmError::File { what, path: path.to_owned(), source }
}

/// The last part of the console.
fn tail(path: &Path) -> Result<String, VmError> {
    use std::io::{Seek, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut console = std::fs::File::open(path)?;
        let sz = console.metadata()?.len();
        console.seek(SeekFrom::Start(sz.saturating_sub(CONSOLE_SZ)))?;
        let mut bytes = Vec::new();
        console.take(CONSOLE_SZ).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // QEMU never came as far as to make it.
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(err) => Err(file("read", path, err)),
    }
}

/// What the kernel says of its panic (`panic()`, kernel/panic.c).
fn panic_message(console: &str) -> Option<String> {
    let at = console.find("Kernel panic - not syncing: ")?;
    Some(console[at..].lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::panic_message;

    #[test]
    fn a_panic_is_told_by_its_message() {
        let console = "[    0.5] Run /init as init process\r\n\
                       [    0.9] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n\
                       [    0.9] CPU: 0 UID: 0\r\n";
        let message = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100";
        assert_eq!(panic_message(console).as_deref(), Some(message));
        assert_eq!(panic_message("[    0.9] reboot: Power down"), None);
    }
}
