//! Peers in turns: one process each, many rounds, the median of medians.
//!
//! Beside the time that passes, the time that processors worked is told: it says more where a machine is shared.

use rustix::time::{ClockId, clock_gettime};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds in which every peer has one turn.
const ROUNDS: usize = 5;

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
    pub(crate) wall: Duration,
    /// Median time that processors worked on it, for the kernel's part too, in this process and in those that it started;
    /// of these in steps of 10 ms.
    pub(crate) cpu: Option<Duration>,
    /// The most that a process had resident, in KiB.
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
    let (mut walls, mut cpus) = (Vec::with_capacity(times), Vec::with_capacity(times));
    for _ in 0..=times {
        let given = fresh()?;
        let (began, worked) = (Instant::now(), cpu()?);
        let done = work(given)?;
        walls.push(began.elapsed());
        cpus.push(cpu()?.saturating_sub(worked));
        drop(done);
    }
    let (walls, cpus) = (walls.split_off(1), cpus.split_off(1));
    Ok(Turn { wall: median(walls), cpu: Some(median(cpus)), peak_kib: peak_kib()? })
}

/// How long processors have worked for this process and for those that it waited for.
pub(crate) fn cpu() -> Result<Duration, String> {
    /// `USER_HZ` of all that Linux runs on today.
    const TICKS: u64 = 100;
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec as u64, own.tv_nsec as u32);
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    // cutime and cstime, fields 16 and 17; the second may have blanks and ends with the last parenthesis.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(13).take(2));
    let ticks: u64 = fields.into_iter().flatten().filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(own + Duration::from_millis(ticks * 1000 / TICKS))
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
    let cpu = turn.cpu.map(|cpu| format!(" {}", cpu.as_nanos())).unwrap_or_default();
    println!("{} {}{cpu}", turn.wall.as_nanos(), turn.peak_kib);
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
        let of = |turns: &[Turn]| {
            let wall = median(turns.iter().map(|turn| turn.wall).collect());
            let cpus: Vec<Duration> = turns.iter().filter_map(|turn| turn.cpu).collect();
            (wall, (!cpus.is_empty()).then(|| median(cpus)))
        };
        let (ours, our_cpu) = turns.first().map(|(_, turns)| of(turns)).unwrap_or_default();
        println!(
            "  {:28} {:>13} {:>10} {:>13} {:>10} {:>12}",
            "", "wall", "", "processors", "", "peak memory"
        );
        for (peer, turns) in &turns {
            let peak_kib = median(turns.iter().map(|turn| turn.peak_kib).collect());
            let ((wall, cpu), ms) = (of(turns), |time: Duration| time.as_secs_f64() * 1e3);
            let ratio = ms(wall) / ms(ours);
            print!("  {peer:28} {:10.3} ms {ratio:8.2} x", ms(wall));
            match cpu.zip(our_cpu) {
                Some((cpu, ours)) => print!(" {:10.3} ms {:8.2} x", ms(cpu), ms(cpu) / ms(ours)),
                None => print!(" {:>13} {:>10}", "-", "-"),
            }
            println!(" {peak_kib:8} KiB");
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

fn child(case: &str, peer: &str) -> Result<Turn, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .args(["--bench", "--turn", case, peer])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start a turn: {error}"))?;
    read_turn(&output.stdout).ok_or_else(|| format!("{case}: the turn of {peer} failed: {}", output.status))
}

/// `NANOSECONDS KIB [NANOSECONDS OF PROCESSORS]`, as a turn reports itself.
pub(crate) fn read_turn(line: &[u8]) -> Option<Turn> {
    let numbers = std::str::from_utf8(line).ok()?.split_whitespace().map(str::parse);
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
    let [wall, peak_kib, cpu @ ..] = &numbers[..] else { return None };
    let cpu = cpu.first().copied().map(Duration::from_nanos);
    Some(Turn { wall: Duration::from_nanos(*wall), cpu, peak_kib: *peak_kib })
}
