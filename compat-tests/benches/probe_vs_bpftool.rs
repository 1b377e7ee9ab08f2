//! `portolan probe` against `bpftool feature probe`, in pairs: wall time and peak memory of each, and their ratio.
//!
//! `cargo build --release && cargo bench -p compat-tests --bench probe_vs_bpftool`, as root, on a quiet machine. Never
//! part of the tests: a loaded machine would decide. The commands run in turn, so that both see the same machine; the
//! ratio is that of the medians.

use probe_matrix::sys::{Ending, wait_for};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const PAIRS: usize = 15;
/// What is aimed at.
const MOST_RATIO: f64 = 0.5;
const MOST_KIB: u64 = 40 << 10;

/// One run of a command.
#[derive(Clone, Copy)]
struct Run {
    wall: Duration,
    max_rss_kib: u64,
}

fn main() -> ExitCode {
    // `cargo test --benches` runs this too; it measures only when told to by `cargo bench`.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("a benchmark: run it with cargo bench");
        return ExitCode::SUCCESS;
    }
    let portolan = portolan();
    let ours = [portolan.as_os_str(), "probe".as_ref(), "-o".as_ref(), "json".as_ref()];
    let theirs = ["bpftool".as_ref(), "-j".as_ref(), "feature".as_ref(), "probe".as_ref(), "kernel".as_ref()];
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for pair in 0..=PAIRS {
        let pair_of_runs = run(&ours).and_then(|ours| Ok((ours, run(&theirs)?)));
        let (ours, theirs) = match pair_of_runs {
            Ok(runs) => runs,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        // The first pair warms the caches.
        if pair > 0 {
            println!(
                "pair {pair:2}   portolan {:6.1} ms {:6} KiB   bpftool {:6.1} ms {:6} KiB   ratio {:.2}",
                ours.wall.as_secs_f64() * 1e3,
                ours.max_rss_kib,
                theirs.wall.as_secs_f64() * 1e3,
                theirs.max_rss_kib,
                ours.wall.as_secs_f64() / theirs.wall.as_secs_f64(),
            );
            of_ours.push(ours);
            of_theirs.push(theirs);
        }
    }
    let ratio = median(&of_ours) / median(&of_theirs);
    let max_rss_kib = of_ours.iter().map(|run| run.max_rss_kib).max().unwrap_or(0);
    println!(
        "ratio of medians {ratio:.2} (aimed at: {MOST_RATIO}), most memory {max_rss_kib} KiB (aimed at: {MOST_KIB})"
    );
    if ratio <= MOST_RATIO && max_rss_kib <= MOST_KIB { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The release build that lies beside this benchmark: `target/release/deps/probe_vs_bpftool-…`.
fn portolan() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().and_then(Path::parent).unwrap_or(Path::new("target/release"));
    dir.join("portolan")
}

/// Runs a command to its end. Memory is the most that it or a child of it had resident.
fn run(command: &[&std::ffi::OsStr]) -> Result<Run, String> {
    let shown = || command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let null =
        File::options().write(true).open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    let started = Instant::now();
    let child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(null)
        .spawn()
        .map_err(|error| format!("{}: {error}; is it built, or installed?", shown()))?;
    let (ending, usage) = wait_for(child.id()).map_err(|errno| format!("{}: {errno}", shown()))?;
    let wall = started.elapsed();
    match ending {
        Ending::Exited(0) => Ok(Run { wall, max_rss_kib: usage.max_rss_kib }),
        other => Err(format!("{}: {other:?}", shown())),
    }
}

fn median(runs: &[Run]) -> f64 {
    let mut walls: Vec<f64> = runs.iter().map(|run| run.wall.as_secs_f64()).collect();
    walls.sort_by(f64::total_cmp);
    walls.get(walls.len() / 2).copied().unwrap_or(f64::NAN)
}
