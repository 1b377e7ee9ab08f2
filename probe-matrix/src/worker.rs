//! The worker: this program run again as a small child process that talks to the kernel.
//!
//! The child has one thread, the lowest priority, stays off isolated CPUs, keeps only the capabilities that probing and
//! loading need, and dies with its parent. The parent keeps the deadline: a verifier that does not come back, or a
//! worker that was taken over, costs the parent neither time nor memory beyond fixed bounds.
//!
//! The request is one file on the child's standard input: a JSON line (`Header`) and then the blobs, one after the
//! other. The answers are JSON lines on its standard output (`Message`); the last is `done` or `failed`, or the worker
//! did not finish.

pub use crate::sys::Usage;
use crate::sys::{self, Ending, Errno, errno_name};
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::process::{Pid, Signal};
use rustix::thread::{CapabilitySet, CpuSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// First argument of a process that is a worker.
pub const ARGUMENT: &str = "__worker";

/// Longest answer line that the parent takes. A verifier's log of a large program fits.
const MOST_LINE_SZ: usize = 16 << 20;
/// Most answers in bytes over the worker's life.
const MOST_ANSWER_SZ: usize = 128 << 20;
/// Most request in bytes that the child takes.
const MOST_REQUEST_SZ: u64 = 256 << 20;
/// How much of the child's standard error is kept.
const MOST_STDERR_SZ: usize = 4 << 10;
/// Longest wait between two looks at `cancelled`.
const TICK: Duration = Duration::from_millis(50);

/// What a worker is to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which of the worker's handlers is meant.
    pub verb: String,
    /// The request, as that handler reads it.
    pub request: Value,
    /// Bytes that go with it: objects, BTF.
    pub blobs: Vec<Bytes>,
}

/// Why a worker did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The system refused to make one.
    #[error("failed to start the worker: {what}: {error}{}", remedy(error))]
    Start {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// The deadline passed; the worker was killed.
    #[error("the worker was killed after {elapsed_ms} ms at step `{last_step}`")]
    TimedOut {
        /// How long it ran.
        elapsed_ms: u64,
        /// The last step it announced.
        last_step: String,
    },
    /// The caller's flag was raised; the worker was killed.
    #[error("interrupted at step `{last_step}`")]
    Cancelled {
        /// The last step it announced.
        last_step: String,
    },
    /// Its answers are more than the parent takes, or are not what it should say; it was killed.
    #[error("the worker's answer at step `{last_step}` is unusable: {why}")]
    Protocol {
        /// The last step it announced.
        last_step: String,
        /// What is wrong.
        why: String,
    },
    /// The handler failed.
    #[error("{message}")]
    Failed {
        /// The handler's own message.
        message: String,
    },
    /// The child ended without saying that it was done.
    #[error("the worker {ending} at step `{last_step}`{}{stderr}", if stderr.is_empty() { "" } else { ": " })]
    Died {
        /// `exited with code 101`, `was killed by signal 9`.
        ending: String,
        /// The last step it announced.
        last_step: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
}

/// What to do about a worker that cannot be started.
fn remedy(error: &std::io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::ACCESS) => "; is /proc mounted, and may this user execute portolan?",
        Some(Errno::MFILE | Errno::NFILE) => "; too few files may be open: raise `ulimit -n`",
        Some(Errno::AGAIN) => "; too few processes are allowed: raise `ulimit -u` or the cgroup's pids.max",
        Some(Errno::NOMEM) => "; too little memory is allowed: raise the cgroup's limit or `ulimit -v`",
        _ => "",
    }
}

/// First line of a request.
#[derive(Serialize, Deserialize)]
struct Header {
    verb: String,
    request: Value,
    blob_szs: Vec<u64>,
    parent: u32,
}

/// One line of an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message<A> {
    /// What is being done from here on.
    Step(String),
    /// An answer of the handler.
    Answer(A),
    /// All answers were given.
    Done,
    /// The handler failed.
    Failed(String),
}

/// Runs `job` in a worker of its own until it is done, `deadline` passes or `cancelled` is raised. The handler's answers
/// go to `on_answer` as they come: those of a worker that was killed are not lost. One that is no `A` ends the
/// conversation ([`WorkerError::Protocol`]).
pub fn run<A: DeserializeOwned>(
    job: &Job,
    deadline: Instant,
    cancelled: &AtomicBool,
    on_answer: &mut dyn FnMut(A),
) -> Result<Usage, WorkerError> {
    let start = |what| move |error| WorkerError::Start { what, error };
    let request = request_file(job).map_err(start("writing the request"))?;
    sys::keep_descriptors_from_children();
    let started = Instant::now();
    let mut child = Command::new("/proc/self/exe")
        .arg0("portolan")
        .arg(ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(request)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start("/proc/self/exe"))?;
    let mut conversation = Conversation::default();
    let stop = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => conversation.listen(stdout, stderr, deadline, cancelled, on_answer),
        _ => Stop::Protocol("its output is not piped".to_owned()),
    };
    if stop != Stop::Closed {
        // The pid cannot have been reused: the child was not waited for.
        let _ = rustix::process::kill_process(Pid::from_child(&child), Signal::KILL);
    }
    let waited = sys::wait_for(child.id());
    let (ending, usage) =
        waited.map_err(|errno| WorkerError::Start { what: "wait4", error: errno.into() })?;
    conversation.conclude(stop, ending, started.elapsed()).map(|()| usage)
}

/// Why the parent stopped listening.
#[derive(PartialEq, Eq)]
enum Stop {
    /// The child closed its standard output.
    Closed,
    TimedOut,
    Cancelled,
    Protocol(String),
}

/// What the parent has heard so far.
#[derive(Default)]
struct Conversation {
    last_step: String,
    done: bool,
    failed: Option<String>,
    stderr: Vec<u8>,
}

impl WorkerError {
    /// The last step that the worker announced before it was lost.
    pub fn last_step(&self) -> Option<&str> {
        match self {
            WorkerError::TimedOut { last_step, .. }
            | WorkerError::Cancelled { last_step }
            | WorkerError::Protocol { last_step, .. }
            | WorkerError::Died { last_step, .. } => Some(last_step),
            _ => None,
        }
    }
}

impl Conversation {
    fn listen<A: DeserializeOwned>(
        &mut self,
        mut stdout: impl Read + AsFd,
        mut stderr: impl Read + AsFd,
        deadline: Instant,
        cancelled: &AtomicBool,
        on_answer: &mut dyn FnMut(A),
    ) -> Stop {
        let mut chunk = vec![0; 64 << 10];
        let mut line = Vec::new();
        let mut heard_sz = 0;
        let mut stderr_open = true;
        loop {
            if cancelled.load(Ordering::Relaxed) {
                return Stop::Cancelled;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Stop::TimedOut;
            }
            let mut fds = vec![PollFd::new(&stdout, PollFlags::IN)];
            if stderr_open {
                fds.push(PollFd::new(&stderr, PollFlags::IN));
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.min(TICK).as_nanos() as i64 };
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Stop::Protocol(format!("poll: {}", errno_name(errno))),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready.get(1) == Some(&true) {
                match stderr.read(&mut chunk) {
                    Ok(0) | Err(_) => stderr_open = false,
                    Ok(count) => self.keep_stderr(&chunk[..count]),
                }
            }
            if !ready[0] {
                continue;
            }
            let count = match stdout.read(&mut chunk) {
                Ok(0) => return Stop::Closed,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Stop::Protocol(error.to_string()),
            };
            heard_sz += count;
            if heard_sz > MOST_ANSWER_SZ || line.len() + count > MOST_LINE_SZ {
                return Stop::Protocol("it says more than it may".to_owned());
            }
            for part in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.last() == Some(&b'\n') {
                    if let Err(error) = self.hear(&line, on_answer) {
                        return Stop::Protocol(error.to_string());
                    }
                    line.clear();
                }
            }
        }
    }

    fn hear<A: DeserializeOwned>(
        &mut self,
        line: &[u8],
        on_answer: &mut dyn FnMut(A),
    ) -> serde_json::Result<()> {
        match serde_json::from_slice(line)? {
            Message::Step(step) => self.last_step = step,
            Message::Answer(answer) => on_answer(answer),
            Message::Done => self.done = true,
            Message::Failed(message) => self.failed = Some(message),
        }
        Ok(())
    }

    /// Keeps the end: that is where a panic's message is.
    fn keep_stderr(&mut self, text: &[u8]) {
        self.stderr.extend_from_slice(text);
        let excess = self.stderr.len().saturating_sub(MOST_STDERR_SZ);
        self.stderr.drain(..excess);
    }

    fn conclude(self, stop: Stop, ending: Ending, elapsed: Duration) -> Result<(), WorkerError> {
        let last_step = if self.last_step.is_empty() { "start".to_owned() } else { self.last_step };
        match stop {
            Stop::TimedOut => {
                Err(WorkerError::TimedOut { elapsed_ms: elapsed.as_millis() as u64, last_step })
            }
            Stop::Cancelled => Err(WorkerError::Cancelled { last_step }),
            Stop::Protocol(why) => Err(WorkerError::Protocol { last_step, why }),
            Stop::Closed => match self.failed {
                Some(message) => Err(WorkerError::Failed { message }),
                None if self.done && ending == Ending::Exited(0) => Ok(()),
                None => Err(WorkerError::Died {
                    ending: match ending {
                        Ending::Exited(code) => format!("exited with code {code}"),
                        Ending::Killed(signal) => format!("was killed by signal {signal}"),
                    },
                    last_step,
                    stderr: String::from_utf8_lossy(&self.stderr).trim().to_owned(),
                }),
            },
        }
    }
}

/// The request in a file that lives in memory: no pipe that both sides could wait on, none that could break.
fn request_file(job: &Job) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("portolan-request", MemfdFlags::CLOEXEC)?);
    let header = Header {
        verb: job.verb.clone(),
        request: job.request.clone(),
        blob_szs: job.blobs.iter().map(|blob| blob.len() as u64).collect(),
        parent: std::process::id(),
    };
    let mut line = serde_json::to_vec(&header)?;
    line.push(b'\n');
    file.write_all(&line)?;
    for blob in &job.blobs {
        file.write_all(blob)?;
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

/// A request as the child's handler gets it.
pub struct Request {
    /// Which handler is meant.
    pub verb: String,
    /// The request.
    pub body: Value,
    /// The bytes that go with it.
    pub blobs: Vec<Bytes>,
}

/// Where the child's handler sends its answers.
pub struct Sender {
    out: BufWriter<std::io::Stdout>,
}

impl Sender {
    /// Announces what is done from here on, and sends all that waits to be sent.
    pub fn step(&mut self, step: impl Into<String>) -> std::io::Result<()> {
        self.send(&Message::<()>::Step(step.into()))?;
        self.out.flush()
    }

    /// Answers. The parent has it when the next step is announced, or earlier.
    pub fn answer(&mut self, answer: &impl Serialize) -> std::io::Result<()> {
        self.send(&Message::Answer(answer))
    }

    fn send(&mut self, message: &Message<impl Serialize>) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.out, message)?;
        self.out.write_all(b"\n")
    }
}

/// The child's main function: gives up what it does not need, reads the request, calls `handler`.
pub fn serve(handler: impl FnOnce(Request, &mut Sender) -> Result<(), String>) -> ExitCode {
    let mut sender = Sender { out: BufWriter::with_capacity(64 << 10, std::io::stdout()) };
    let result = receive().and_then(|request| handler(request, &mut sender));
    let last = match result {
        Ok(()) => Message::<()>::Done,
        Err(message) => Message::Failed(message),
    };
    match sender.send(&last).and_then(|()| sender.out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn receive() -> Result<Request, String> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MOST_REQUEST_SZ).read_to_end(&mut bytes);
    read.map_err(|error| format!("failed to read the request: {error}"))?;
    let bytes = Bytes::from(bytes);
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("the request has no header")?;
    let header: Header = serde_json::from_slice(&bytes[..end])
        .map_err(|error| format!("failed to read the request: {error}"))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32);
    if parent != Some(header.parent) {
        // It died before its death could be signalled.
        return Err("the parent is gone".to_owned());
    }
    let mut blobs = Vec::new();
    let mut rest = bytes.slice(end + 1..);
    for blob_sz in header.blob_szs {
        if blob_sz > rest.len() as u64 {
            return Err("the request is truncated".to_owned());
        }
        blobs.push(rest.split_to(blob_sz as usize));
    }
    make_humble();
    drop_capabilities().map_err(|errno| format!("failed to drop capabilities: {}", errno_name(errno)))?;
    Ok(Request { verb: header.verb, body: header.request, blobs })
}

/// Lowest priority, off isolated CPUs. Neither is worth failing for.
fn make_humble() {
    let _ = rustix::process::setpriority_process(None, 19);
    let _ = rustix::thread::set_no_new_privs(true);
    let isolated = std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let isolated = cpu_list(isolated.trim());
    if isolated.is_empty() {
        return;
    }
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None) {
        let mut rest = allowed;
        for cpu in isolated.into_iter().filter(|cpu| *cpu < CpuSet::MAX_CPU) {
            rest.unset(cpu);
        }
        if rest.count() > 0 {
            let _ = rustix::thread::sched_setaffinity(None, &rest);
        }
    }
}

/// The CPUs of a list as sysfs prints it: `2-3,8`. What cannot be read is left out.
fn cpu_list(text: &str) -> Vec<usize> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            (last < CpuSet::MAX_CPU).then_some(first..=last)
        })
        .flatten()
        .collect()
}

/// What bpf(2) asks for, and no more:
/// - `BPF`: programs, maps and BTF, since v5.8;
/// - `PERFMON`: tracing programs, and reading kernel memory by programs, since v5.8;
/// - `NET_ADMIN`: networking programs, and attaching them;
/// - `SYS_ADMIN`: all of these before v5.8; objects by id; tokens; LSM and cgroup device programs' queries;
/// - `SYS_RESOURCE`: raising the memlock limit, which maps and programs are charged against before v5.11.
const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_RESOURCE);

/// Keeps the capabilities of [`NEEDED`] that the process has, effective and permitted; none is inherited by a program
/// it might run. Without CAP_SETPCAP the bounding set stays: with `no_new_privs` nothing can be gained from it.
fn drop_capabilities() -> Result<(), Errno> {
    for capability in CapabilitySet::all().difference(NEEDED).iter() {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let mut sets = rustix::thread::capabilities(None)?;
    sets.permitted &= NEEDED;
    sets.effective = sets.permitted;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_of_sysfs() {
        assert_eq!(cpu_list("2-4,7"), [2, 3, 4, 7]);
        assert!(cpu_list("").is_empty());
        assert_eq!(cpu_list("0-99999999999,x,5"), [5], "hostile ranges are left out");
    }
}
