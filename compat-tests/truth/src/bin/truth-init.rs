//! Init of a micro-VM: loads every entry of the objects named in the plan with libbpf and reports over the port.
//!
//! Process 1 only watches; a second process does the loading. Where that one dies, or takes too long over an entry, the
//! entry is reported as lost and the work goes on with the next.

use compat_tests::vm::Guest;
use libbpf_peer::load::{self, Attempt};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use truth::wire::{self, Row};

/// Time for one entry. The verifier at its limit of a million instructions takes a minute under TCG on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Bytes kept of the end of a log: the verifier's last words and what libbpf adds to them.
const LOG_SZ: usize = 3000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, work, object, from] = &args[..]
        && work == "work"
    {
        return report(labour(object, from));
    }
    if std::process::id() != 1 {
        eprintln!("truth-init is the init of a micro-VM; see `cargo xtask truth`");
        return ExitCode::from(2);
    }
    report(Guest::boot().and_then(|mut guest| {
        watch(&mut guest)?;
        Err(guest.power_off())
    }))
}

fn report(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("truth-init: {err}");
            ExitCode::FAILURE
        }
    }
}

/// Process 1.
fn watch(guest: &mut Guest) -> std::io::Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    // Where libbpf looks for the configuration.
    std::fs::create_dir_all("/boot")?;
    let has_config = std::fs::rename("/config", format!("/boot/config-{release}")).is_ok();
    let missing = guest.missing().join(" ");
    let hello = [release.as_str(), &missing, if has_config { "config" } else { "" }].join("\u{1f}");
    guest.send(wire::HELLO, hello.as_bytes())?;
    let plan = std::fs::read_to_string(format!("/{}", wire::PLAN))?;
    let plan: Vec<(&str, &str)> = plan.lines().filter_map(|line| line.split_once('\t')).collect();
    // A fresh worker goes on where the last one was lost.
    let (mut object, mut entry) = (0, plan.first().map_or(wire::WHOLE, |first| first.1).to_owned());
    while object < plan.len() {
        let Some(lost) = spell(guest, object, &entry)? else {
            break;
        };
        guest.send(wire::LOST, [plan[lost.at].0, &lost.index, lost.how].join("\u{1f}").as_bytes())?;
        (object, entry) = match lost.index.parse::<usize>() {
            Ok(index) => (lost.at, (index + 1).to_string()),
            // Not even all of it at once: then each alone, and if it cannot be opened, the next object.
            Err(_) if lost.opened => (lost.at, "0".to_owned()),
            Err(_) => {
                let next = lost.at + 1;
                (next, plan.get(next).map_or(wire::WHOLE, |next| next.1).to_owned())
            }
        };
    }
    guest.send(wire::DONE, b"")
}

/// Where a worker was when it was lost.
struct Lost {
    at: usize,
    index: String,
    opened: bool,
    how: &'static str,
}

/// One life of the worker; `None` when it came to the plan's end.
fn spell(guest: &mut Guest, object: usize, entry: &str) -> std::io::Result<Option<Lost>> {
    let mut worker = Command::new("/init")
        .args(["work", &object.to_string(), entry])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let (send, receive) = channel();
    if let Some(pipe) = worker.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(0).map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let mut lost = Lost { at: object, index: wire::WHOLE.to_owned(), opened: false, how: "crash" };
    loop {
        match receive.recv_timeout(PATIENCE) {
            Ok(line) => match line.split_first() {
                Some((&wire::BEGIN, payload)) => {
                    // The object's place in the plan, its path, the entry.
                    let text = String::from_utf8_lossy(payload);
                    let fields: Vec<&str> = text.split(wire::SEPARATOR).collect();
                    if let [at, path, index] = fields[..] {
                        let at = at.parse().unwrap_or(lost.at);
                        lost.opened = at == lost.at && lost.opened;
                        // What is said twice of the whole object: that it is opened, and that it is loaded.
                        lost.opened |= at == lost.at && lost.index == wire::WHOLE && index == wire::WHOLE;
                        (lost.at, lost.index) = (at, index.to_owned());
                        guest.send(wire::BEGIN, [path, index].join("\u{1f}").as_bytes())?;
                    }
                }
                Some((&kind, payload)) => guest.send(kind, payload)?,
                None => {}
            },
            Err(RecvTimeoutError::Timeout) => {
                end(&mut worker);
                lost.how = "timeout";
                return Ok(Some(lost));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok((!worker.wait()?.success()).then_some(lost)),
        }
    }
}

fn end(worker: &mut Child) {
    // A worker that hangs in the kernel cannot be waited for.
    let _ = worker.kill();
    std::thread::sleep(Duration::from_millis(500));
    let _ = worker.try_wait();
}

/// The worker: all objects of the plan from the one at `first` on, that one from entry `from` on. Its messages are ended by
/// a zero byte.
///
/// An object is first loaded with all its entries at once: where that succeeds each would load alone too, and
/// most loads are saved. Where it fails, each is loaded alone.
fn labour(first: &str, from: &str) -> std::io::Result<()> {
    let first: usize = first.parse().unwrap_or(0);
    let plan = std::fs::read_to_string(format!("/{}", wire::PLAN))?;
    for (at, line) in plan.lines().enumerate().skip(first) {
        let Some((object, begin)) = line.split_once('\t') else {
            continue;
        };
        let begin = if at == first { from } else { begin };
        let bytes = std::fs::read(format!("/{object}"))?;
        let say_begin = |index: &str| say(wire::BEGIN, &format!("{at}\u{1f}{object}\u{1f}{index}"));
        say_begin(wire::WHOLE)?;
        let entries = match load::entries(&bytes) {
            Ok(entries) => entries,
            Err(attempt) => {
                say(wire::ROW, &Row { marks: "o".to_owned(), ..row(object, &attempt) }.encode())?;
                continue;
            }
        };
        if entries.is_empty() {
            say(wire::ROW, &row(object, &Attempt { errno: 0, log: String::new() }).encode())?;
        }
        let mut all_load = false;
        if begin == wire::WHOLE && entries.len() > 1 {
            say_begin(wire::WHOLE)?;
            all_load = load::load(&bytes, None).errno == 0;
        }
        for (index, entry) in entries.iter().enumerate().skip(begin.parse().unwrap_or(0)) {
            say_begin(&index.to_string())?;
            let attempt = if all_load {
                Attempt { errno: 0, log: String::new() }
            } else {
                load::load(&bytes, Some(index))
            };
            let mut marks = String::new();
            marks.extend(entry.unset.map_size.then_some('s'));
            marks.extend(entry.unset.inner_map.then_some('i'));
            let row = Row {
                index,
                section: entry.section.clone(),
                program: entry.program.clone(),
                prog_type: entry.prog_type.clone(),
                attach_type: entry.attach_type.clone(),
                autoload: entry.autoload,
                insns: entry.insns,
                marks,
                ..row(object, &attempt)
            };
            say(wire::ROW, &row.encode())?;
        }
    }
    Ok(())
}

fn row(object: &str, attempt: &Attempt) -> Row {
    let mut cut = attempt.log.len().saturating_sub(LOG_SZ);
    while !attempt.log.is_char_boundary(cut) {
        cut += 1;
    }
    let log = attempt.log[cut..].to_owned();
    Row { object: object.to_owned(), errno: attempt.errno, log, ..Row::default() }
}

fn say(kind: u8, payload: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(&[kind])?;
    out.write_all(payload.replace('\0', " ").as_bytes())?;
    out.write_all(&[0])?;
    out.flush()
}
