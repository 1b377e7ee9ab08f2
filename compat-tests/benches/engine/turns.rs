//! Peers in turns: one process each, many rounds, the median of medians.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds in which every peer has one turn.
const ROUNDS: usize = 7;

/// Something that several peers can do.
pub(crate) trait Case {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// What is measured, in words.
    fn title(&self) -> String;
    /// Who can do it, ours first; a peer that cannot run here is `Err` with the reason.
    fn peers(&self) -> Vec<(&'static str, Result<(), String>)>;
    /// One turn of a peer in this process.
    fn turn(&self, peer: &str) -> Result<Turn, String>;
}

/// What one turn of a peer took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Median wall time of one piece of work.
    pub(crate) median: Duration,
    /// The most that the process had resident, in KiB.
    pub(crate) peak_kib: u64,
}

/// Does `work` `times` times, after once unmeasured, and takes the median.
pub(crate) fn repeat<T>(times: usize, mut work: impl FnMut() -> Result<T, String>) -> Result<Turn, String> {
    repeat_on(times, || Ok(()), |()| work())
}

/// Does `work` `times` times, each time on something that is made anew without being measured.
pub(crate) fn repeat_on<S, T>(
    times: usize,
    mut fresh: impl FnMut() -> Result<S, String>,
    mut work: impl FnMut(S) -> Result<T, String>,
) -> Result<Turn, String> {
    let mut walls = Vec::with_capacity(times);
    for _ in 0..=times {
        let given = fresh()?;
        let began = Instant::now();
        let done = work(given)?;
        walls.push(began.elapsed());
        drop(done);
    }
    let walls = walls.split_off(1);
    Ok(Turn { median: median(walls), peak_kib: peak_kib()? })
}

/// `VmHWM` of this process.
pub(crate) fn peak_kib() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| "no VmHWM in /proc/self/status".to_owned())
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The child's side: one turn, reported as one line.
pub(crate) fn turn(cases: &[&dyn Case], case: &str, peer: &str) -> Result<(), String> {
    let case = find(cases, case)?;
    let turn = case.turn(peer)?;
    println!("{} {}", turn.median.as_nanos(), turn.peak_kib);
    Ok(())
}

/// Runs the named cases, or all, and prints a table of each.
pub(crate) fn run(cases: &[&dyn Case], names: &[&str]) -> Result<(), String> {
    let chosen: Vec<&dyn Case> = if names.is_empty() {
        cases.to_vec()
    } else {
        names.iter().map(|name| find(cases, name)).collect::<Result<_, _>>()?
    };
    for case in chosen {
        println!("{}: {}", case.name(), case.title());
        let mut turns: Vec<(&str, Vec<Turn>)> = Vec::new();
        for (peer, can) in case.peers() {
            match can {
                Ok(()) => turns.push((peer, Vec::new())),
                Err(why) => println!("  {peer:28} skipped: {why}"),
            }
        }
        for _ in 0..ROUNDS {
            for (peer, of_peer) in &mut turns {
                of_peer.push(child(case.name(), peer)?);
            }
        }
        let ours = turns.first().map(|(_, turns)| wall(turns)).unwrap_or_default();
        for (peer, turns) in &turns {
            let peak_kib = median(turns.iter().map(|turn| turn.peak_kib).collect());
            println!(
                "  {peer:28} {:10.3} ms   {:6.2} x   {:8} KiB",
                wall(turns).as_secs_f64() * 1e3,
                wall(turns).as_secs_f64() / ours.as_secs_f64(),
                peak_kib
            );
        }
        println!();
    }
    Ok(())
}

fn find<'a>(cases: &[&'a dyn Case], name: &str) -> Result<&'a dyn Case, String> {
    let known = || cases.iter().map(|case| case.name()).collect::<Vec<_>>().join(", ");
    cases
        .iter()
        .copied()
        .find(|case| case.name() == name)
        .ok_or_else(|| format!("no case {name:?}; there are {}", known()))
}

fn wall(turns: &[Turn]) -> Duration {
    median(turns.iter().map(|turn| turn.median).collect())
}

fn child(case: &str, peer: &str) -> Result<Turn, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .args(["--bench", "--turn", case, peer])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start a turn: {error}"))?;
    read_turn(&output.stdout).ok_or_else(|| format!("{case}: the turn of {peer} failed: {}", output.status))
}

/// `NANOSECONDS KIB`, as a turn reports itself.
pub(crate) fn read_turn(line: &[u8]) -> Option<Turn> {
    let line = std::str::from_utf8(line).ok()?;
    let (nanos, kib) = line.trim().split_once(' ')?;
    Some(Turn { median: Duration::from_nanos(nanos.parse().ok()?), peak_kib: kib.parse().ok()? })
}
