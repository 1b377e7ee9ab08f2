//! Signals in the middle of a probe: the right exit code, and no worker left behind.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A process with its worker, which is stopped (SIGSTOP): the process waits for it until its deadline.
struct Waiting {
    parent: Child,
    worker: Pid,
}

impl Waiting {
    /// A probe is over soon, so the moment may be missed: then another one is started.
    fn catch(args: &[&str]) -> Waiting {
        for _ in 0..100 {
            let mut parent = Command::new(env!("CARGO_BIN_EXE_portolan"))
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            while parent.try_wait().unwrap().is_none() {
                if let Some(worker) = child_of(parent.id())
                    && kill_process(worker, Signal::STOP).is_ok()
                    && settles(|| state(worker) == Some('T'))
                {
                    return Waiting { parent, worker };
                }
            }
        }
        panic!("no worker was seen in 100 runs");
    }

    /// Signals the parent and returns its exit code and what it said.
    fn end(mut self, signal: Signal) -> (i32, String) {
        kill_process(Pid::from_child(&self.parent), signal).unwrap();
        let ended = settles(|| self.parent.try_wait().unwrap().is_some());
        if !ended {
            self.parent.kill().unwrap();
        }
        let code = self.parent.wait().unwrap().code();
        let mut stderr = String::new();
        self.parent.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(ended, "still there after the signal: {stderr}");
        assert!(settles(|| state(self.worker).is_none_or(|state| state == 'Z')), "the worker is left behind");
        (code.expect("it exits, it is not killed"), stderr)
    }
}

/// Whether `condition` comes true within five seconds.
fn settles(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        sleep(Duration::from_millis(2));
    }
    false
}

/// State and parent of a process, from /proc/PID/stat.
fn stat(pid: &str) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn state(pid: Pid) -> Option<char> {
    stat(&pid.as_raw_nonzero().to_string()).map(|(state, _)| state)
}

fn child_of(parent: u32) -> Option<Pid> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        let pid = Pid::from_raw(name.parse().ok()?)?;
        // Between fork and exec it is still a copy of its parent.
        let worker =
            fs::read(format!("/proc/{name}/cmdline")).is_ok_and(|line| line.ends_with(b"__worker\0"));
        (worker && stat(name)?.1 == parent).then_some(pid)
    })
}

#[test]
fn sigint_ends_the_worker_and_exits_130() {
    let (code, stderr) = Waiting::catch(&["probe"]).end(Signal::INT);
    assert_eq!(code, 130, "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
}

#[test]
fn sigterm_ends_the_worker_and_exits_143() {
    let (code, stderr) = Waiting::catch(&["preflight"]).end(Signal::TERM);
    assert_eq!(code, 143, "{stderr}");
}

#[test]
fn a_killed_parent_leaves_no_worker() {
    let Waiting { mut parent, worker } = Waiting::catch(&["probe"]);
    parent.kill().unwrap();
    parent.wait().unwrap();
    // It may have been stopped before it asked to be killed with its parent: then it finds its parent gone.
    let _ = kill_process(worker, Signal::CONT);
    assert!(settles(|| state(worker).is_none_or(|state| state == 'Z')), "the worker is left behind");
}

#[test]
fn a_worker_that_does_not_answer_is_ended_at_the_deadline() {
    let Waiting { mut parent, worker } = Waiting::catch(&["probe", "--timeout", "1"]);
    assert!(settles(|| parent.try_wait().unwrap().is_some()), "the deadline passed without effect");
    assert!(settles(|| state(worker).is_none_or(|state| state == 'Z')), "the worker is left behind");
}
