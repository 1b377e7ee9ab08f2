//! `portolan probe`.

use super::kernel_log::{KernelLog, Written};
use crate::args::output::Format;
use crate::args::probe::{DepthArg, ProbeArgs};
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::interrupt::Interrupt;
use crate::render::profile::Extent;
use crate::render::progress::Progress;
use crate::render::screen::Screen;
use crate::render::{self, json, profile as view};
use anyhow::{Context, anyhow};
use probe_matrix::facts;
use probe_matrix::probe::root::HostRoot;
use probe_matrix::probe::{self, Collected, Depth, ProbeOptions, symbols};
use probe_matrix::profile::NodeProfile;
use probe_matrix::sys::errno_name;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Probes this node and writes its profile.
pub fn command(args: &ProbeArgs, screen: &Screen) -> Result<Exit, Failure> {
    let options = ProbeOptions {
        depth: depth(args.depth),
        noisy: args.noisy,
        functions: functions(&args.functions)?,
        host_root: host_root(args.host_root.as_deref())?,
        only: args.only.iter().map(|group| known_group(group)).collect::<Result<_, _>>()?,
        ..ProbeOptions::default()
    };
    let interrupt = Interrupt::install().context("signals could not be caught")?;
    let log = args.verbose.then(KernelLog::from_now);
    let (profile, collected) = {
        let mut progress = Progress::on_stderr(args.verbose);
        profile(&options, args.timeout, &interrupt, &mut progress)?
    };
    missed(&options.only, &profile, &collected)?;
    if let Some(log) = log {
        render::message(&cost(&collected, log.and_then(KernelLog::written)));
    }
    let result = match args.output.output {
        Format::Json => json::document(&profile)?,
        Format::Table => {
            let extent = if args.only.is_empty() { Extent::Overview } else { Extent::Full };
            view::profile(&profile, extent, screen).into_bytes()
        }
    };
    interrupt.disarm();
    render::to_stdout(&result)?;
    // What there is was written, and it is not all.
    Ok(if collected.cut_short.is_some() { Exit::ToolFailed } else { Exit::Success })
}

/// The profile of this node, and what it cost. A probe that was cut short is told on stderr; what it did not reach is
/// `unknown` in the profile.
pub fn profile(
    options: &ProbeOptions,
    timeout_s: u64,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<(NodeProfile, Collected), Failure> {
    progress.phase(&format!("probing this node (depth {})", options.depth));
    let deadline = Instant::now() + Duration::from_secs(timeout_s);
    let collected = probe::collect(options, deadline, interrupt.cancel());
    interrupt.check()?;
    let mut collected = collected.context("this node could not be probed")?;
    if let Some(why) = &collected.cut_short {
        render::message(&format!("the probe was cut short, what it did not reach is unknown: {why}"));
    }
    let mut profile = NodeProfile::new(options.depth, std::mem::take(&mut collected.facts));
    profile.stats = serde_json::to_value(collected.stats).context("the probe's cost could not be written")?;
    Ok((profile, collected))
}

/// The host's root as it was given; it must be a directory.
pub fn host_root(dir: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(dir) = dir else { return Ok(None) };
    let is_dir = dir.metadata().with_context(|| format!("the host root {} cannot be used", dir.display()));
    if !is_dir.map_err(bad_input)?.is_dir() {
        return Err(bad_input(anyhow!("the host root {} is not a directory", dir.display())));
    }
    // The worker's working directory is another one.
    let absolute =
        std::path::absolute(dir).with_context(|| format!("the host root {} cannot be used", dir.display()));
    let absolute = absolute.map_err(bad_input)?;
    let root = HostRoot::at(&absolute).map_err(|errno| {
        bad_input(anyhow!("the host root {} cannot be used: {}", dir.display(), errno_name(errno)))
    })?;
    if root.is_of_this_boot() != Some(true) {
        // Its files would be judged together with another kernel's answers.
        return Err(bad_input(anyhow!(
            "the host root {} is not known to be this machine's: its /proc/sys/kernel/random/boot_id is missing or \
             another than ours; mount the host's /proc below it, or judge another machine by its profile \
             (preflight --profile)",
            dir.display()
        )));
    }
    Ok(Some(absolute))
}

fn depth(depth: DepthArg) -> Depth {
    match depth {
        DepthArg::Read => Depth::Read,
        DepthArg::Load => Depth::Load,
        DepthArg::Attach => Depth::Attach,
    }
}

/// Names of kernel functions. What can be no symbol is refused rather than passed over.
fn functions(names: &[String]) -> Result<Vec<String>, Failure> {
    if let Some(name) = names.iter().find(|name| !symbols::is_symbol(name)) {
        let what = "a name has 1 to 511 letters, digits, `_`, `.` and `$`";
        return Err(bad_input(anyhow!("no kernel function can be called {name:?}: {what}")));
    }
    if names.len() > symbols::FUNCTIONS_MAX {
        return Err(bad_input(anyhow!(
            "{} functions are more than the {} that are looked for at once",
            names.len(),
            symbols::FUNCTIONS_MAX
        )));
    }
    Ok(names.to_vec())
}

/// Tells of the groups that were asked for and have no fact; fails if none has.
fn missed(only: &[String], profile: &NodeProfile, collected: &Collected) -> Result<(), Failure> {
    let found = |group: &&String| profile.facts.iter().any(|(name, _)| facts::lies_under(name, group));
    let (found, missed): (Vec<_>, Vec<_>) = only.iter().partition(found);
    // Of a probe that was cut short it was told before.
    if missed.is_empty() || collected.cut_short.is_some() {
        return Ok(());
    }
    let names = missed.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", ");
    let message = format!(
        "this probe has no fact under {names}; some need --depth load or attach, `symbol` needs --function"
    );
    if found.is_empty() {
        return Err(bad_input(anyhow!(message)));
    }
    render::message(&message);
    Ok(())
}

/// A group of facts by the beginning of their names; its plural is taken too.
fn known_group(typed: &str) -> Result<String, Failure> {
    let singular = typed.strip_suffix('s').unwrap_or(typed);
    if let Some(group) = [typed, singular].into_iter().find(|group| is_group(group)) {
        return Ok(group.to_owned());
    }
    let fixed = facts::table().iter().map(|row| row.name.split(".<").next().unwrap_or(&row.name));
    let groups: Vec<&str> =
        fixed.flat_map(|name| name.match_indices('.').map(|(at, _)| &name[..at]).chain([name])).collect();
    let hint = did_you_mean(typed, groups);
    Err(bad_input(anyhow!("there is no group of facts called `{typed}`{hint}")))
}

/// Whether a fact of the table can lie under `group`, or be it.
fn is_group(group: &str) -> bool {
    facts::table().iter().any(|row| {
        let mut pattern = row.name.split('.').peekable();
        group.split('.').all(|part| match pattern.next() {
            // The last placeholder stands for all that follows: what is left of the group is put to it again.
            Some(placeholder) if placeholder.starts_with('<') => !part.is_empty(),
            Some(fixed) => fixed == part,
            None => row.name.ends_with('>') && !part.is_empty(),
        })
    })
}

/// What a probe cost the node, in one line.
fn cost(collected: &Collected, log: io::Result<Written>) -> String {
    let usage = &collected.usage;
    let calls = collected.stats.map_or("bpf(2) calls unknown".to_owned(), |stats| {
        format!(
            "{} bpf(2) calls, {} loads asked and {} accepted, {} maps made, {} ms in all",
            stats.bpf.calls,
            stats.bpf.loads,
            stats.bpf.accepted_loads,
            stats.bpf.maps_created,
            stats.elapsed_us / 1000,
        )
    });
    let log = match log {
        Ok(written) => format!(
            "{} lines and {} audit records in the kernel's log meanwhile",
            written.other, written.audit
        ),
        Err(error) => format!("the kernel's log could not be read: {error}"),
    };
    format!(
        "{calls}; worker: {} ms CPU in the kernel, {} ms in user space, {} KiB at most; {log}",
        usage.stime_us / 1000,
        usage.utime_us / 1000,
        usage.max_rss_kib,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_beginnings_of_names() {
        for group in ["kernel", "kernel.release", "kernel.config.BPF", "security", "btf.module.nf.conntrack"]
        {
            assert!(is_group(group), "{group}");
        }
        for stranger in ["", "kern", "kernel.", "kernel.releases.x", "kernel..config"] {
            assert!(!is_group(stranger), "{stranger}");
        }
    }
}
