//! `cargo xtask bench`: the engine beside its peers, and `portolan probe` beside `bpftool feature probe`, in pairs, so that
//! both meet the same load.

use crate::command::{self, cargo, command, root};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PAIRS: usize = 15;

/// `[CASE…]`: of the engine's cases these; without any, all of them and the probe.
pub(crate) fn run(cases: &[&str]) -> Result<(), String> {
    let engine = ["bench", "--package", "compat-tests", "--bench", "engine", "--"];
    command::run(&mut cargo(&[&engine, cases].concat()))?;
    if cases.is_empty() { probe() } else { Ok(()) }
}

/// Builds the release binary, runs the pairs and prints the medians, their ratio and the peak memory.
fn probe() -> Result<(), String> {
    command::run(&mut cargo(&["build", "--release", "--package", "portolan"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let portolan = target.join("release/portolan");

    let mut ours = Vec::with_capacity(PAIRS);
    let mut theirs = Vec::with_capacity(PAIRS);
    for _ in 0..PAIRS {
        ours.push(time(&mut command(&portolan, &["probe", "-o", "json"]))?);
        theirs.push(time(&mut command("bpftool", &["feature", "probe", "full"]))?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("portolan probe:              {:7.1} ms", ours.as_secs_f64() * 1e3);
    println!("bpftool feature probe full:  {:7.1} ms", theirs.as_secs_f64() * 1e3);
    println!(
        "ratio of the medians:        {:7.2} over {PAIRS} pairs",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    println!("portolan probe, peak memory: {:7} KiB", peak_kib(&portolan)?);
    Ok(())
}

fn time(command: &mut Command) -> Result<Duration, String> {
    let name = format!("{command:?}");
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let elapsed = began.elapsed();
    match status {
        Ok(status) if status.success() => Ok(elapsed),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(err) => Err(format!("cannot start {name}: {err}")),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Peak resident memory in KiB of the process that had most, the parent or its worker, as GNU time reports it.
fn peak_kib(portolan: &std::path::Path) -> Result<u64, String> {
    let mut time = command("/usr/bin/time", &["--format", "%M"]);
    let (_, _, report) = command::output(time.arg(portolan).args(["probe", "-o", "json"]))?;
    let last = report.lines().last().unwrap_or_default();
    last.trim().parse().map_err(|_| format!("GNU time did not report a size but `{last}`"))
}
