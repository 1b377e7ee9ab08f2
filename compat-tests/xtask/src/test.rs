//! `cargo xtask test`: everything that has to hold before a change goes in, and the count that it ends with.

use crate::command::{self, cargo, command};
use crate::{Done, deps, ebpf, kernels, truth};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Seconds that each fuzz target runs: enough to walk the seeds and their near neighbours, not to search.
const FUZZ_SECONDS: u32 = 10;

/// Version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Tests counted by `cargo test`, and the steps that could not run here.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs every step in order and stops at the first that fails. Always ends with the count.
pub(crate) fn run() -> Result<(), String> {
    let mut count = Count::default();
    let began = Instant::now();
    let result = steps(&mut count);
    eprintln!("xtask: {} s in all", began.elapsed().as_secs());
    // A step that fails without a failed test is one failure.
    count.failed = count.failed.max(u64::from(result.is_err()));
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    result
}

fn steps(count: &mut Count) -> Result<(), String> {
    step("packages", count, |_| deps::install().map(passed))?;
    step("build", count, |_| run_cargo(&["build", "--release", "--package", "portolan"]))?;
    step("rustfmt", count, |_| run_cargo(&["fmt", "--all", "--check"]))?;
    step("clippy", count, |_| {
        run_cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
    })?;
    step("cargo-deny", count, |_| deny(&["bans", "licenses", "sources"]).map(passed))?;
    step("advisories", count, |_| advisories())?;
    step("docs", count, |_| {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
        command::run(doc.env("RUSTDOCFLAGS", "--deny warnings")).map(passed)
    })?;
    step("eBPF objects", count, |_| ebpf::run(true))?;
    step("tests", count, tests)?;
    step("micro-VM", count, |_| micro_vm())?;
    step("fuzz targets", count, |_| fuzz().map(passed))
}

/// Runs one step, says how long it took, and puts its name before its error.
fn step(
    name: &str,
    count: &mut Count,
    work: impl FnOnce(&mut Count) -> Result<Done, String>,
) -> Result<(), String> {
    eprintln!("xtask: {name}");
    let began = Instant::now();
    match work(count).map_err(|err| format!("step `{name}` failed: {err}"))? {
        Done::Passed => eprintln!("xtask: {name}: {:.1} s", began.elapsed().as_secs_f32()),
        Done::Skipped(why) => {
            count.skipped += 1;
            eprintln!("xtask: {name}: SKIPPED: {why}");
        }
    }
    Ok(())
}

fn passed((): ()) -> Done {
    Done::Passed
}

fn run_cargo(args: &[&str]) -> Result<Done, String> {
    command::run(&mut cargo(args)).map(passed)
}

/// All tests of the workspace; goes on after a failed one, so that the count is of all.
fn tests(count: &mut Count) -> Result<Done, String> {
    let mut test = cargo(&["test", "--workspace", "--no-fail-fast"]);
    command::run_lines(&mut test, |line| count.add(line))?;
    if count.passed == 0 {
        return Err("cargo test reported no test at all".into());
    }
    Ok(Done::Passed)
}

/// Boots one kernel of Debian's and loads objects of ours in it. Without Debian's archive there is no kernel to boot.
fn micro_vm() -> Result<Done, String> {
    const SERIES: &str = "6.12";
    let cached = std::fs::read_dir(kernels::directory()).into_iter().flatten().filter_map(Result::ok);
    let is = |name: &str| name.starts_with("linux-image-6.12.") && name.ends_with("_amd64.deb");
    if !cached.into_iter().any(|entry| is(&entry.file_name().to_string_lossy()))
        && let Err(err) = kernels::run(&[SERIES])
    {
        return Ok(Done::Skipped(format!("no kernel to boot: {err}")));
    }
    let init = truth::init()?;
    let mut test = cargo(&["test", "--package", "truth", "--test", "micro_vm", "--", "--ignored"]);
    test.env("PORTOLAN_INIT", init).env("PORTOLAN_KERNELS", kernels::directory());
    command::run(&mut test).map(passed)
}

impl Count {
    /// Adds the numbers of a `test result: ok. 3 passed; 0 failed; 1 ignored; …` line; any other line adds nothing.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

fn deny_command(checks: &[&str]) -> Result<Command, String> {
    let mut deny = command(deps::cargo_tool("cargo-deny", CARGO_DENY)?, &["check"]);
    deny.args(checks);
    Ok(deny)
}

fn deny(checks: &[&str]) -> Result<(), String> {
    command::run(&mut deny_command(checks)?)
}

/// Known vulnerabilities. The database is a git repository: where it cannot be fetched the step is skipped.
fn advisories() -> Result<Done, String> {
    let (ok, _, report) = command::output(&mut deny_command(&["advisories"])?)?;
    if ok {
        return Ok(Done::Passed);
    }
    // What follows is how git failed.
    match report.lines().find_map(|line| line.find("failed to fetch advisory database").map(|at| &line[at..]))
    {
        Some(words) => Ok(Done::Skipped(words.to_owned())),
        None => Err(report),
    }
}

/// Builds the fuzz targets and runs each from its committed seeds.
///
/// The coverage counters that libFuzzer steers by are LLVM passes that stable rustc takes; only its sanitizers need a
/// nightly, and code without `unsafe` gains little from them.
fn fuzz() -> Result<(), String> {
    const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
         -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
         -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on";
    let directory = command::root().join("compat-tests/fuzz");
    let target = host()?;
    // `--target`, because without it the flags would reach build scripts, which do not link libFuzzer.
    let mut build = cargo(&["build", "--release", "--target", &target]);
    command::run(build.current_dir(&directory).env("RUSTFLAGS", FLAGS))?;

    let built = fuzz_target_directory(&directory).join(&target).join("release");
    for name in fuzz_targets(&directory)? {
        let found = std::env::temp_dir().join(format!("portolan-fuzz-{}-{name}", std::process::id()));
        std::fs::create_dir_all(found.join("corpus")).map_err(|err| format!("{}: {err}", found.display()))?;
        let mut target = Command::new(built.join(&name));
        target.current_dir(&found).arg(format!("-max_total_time={FUZZ_SECONDS}")).args([
            "-timeout=5",
            "-rss_limit_mb=1024",
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
        // New inputs go to the first directory; the committed seeds and what once failed are only read.
        let once_failed = command::root().join("compat-tests/cases/fuzz").join(&name);
        let inputs = [found.join("corpus"), directory.join("corpus").join(&name), once_failed];
        let result = command::run(target.args(inputs.iter().filter(|input| input.is_dir())));
        match result {
            Ok(()) => std::fs::remove_dir_all(&found).map_err(|err| format!("{}: {err}", found.display()))?,
            Err(err) => return Err(format!("{err}; the input that did it is in {}", found.display())),
        }
    }
    Ok(())
}

/// The names of `fuzz_targets/*.rs`, sorted.
fn fuzz_targets(directory: &std::path::Path) -> Result<Vec<String>, String> {
    let targets = directory.join("fuzz_targets");
    let entries = std::fs::read_dir(&targets).map_err(|err| format!("{}: {err}", targets.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn fuzz_target_directory(directory: &std::path::Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| directory.join("target"), PathBuf::from)
}

/// The triple that this rustc builds for.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let (_, version, _) = command::output(&mut command(rustc, &["--version", "--verbose"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc --version --verbose names no host".into())
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn counts_are_summed_over_result_lines_only() {
        let mut count = Count::default();
        for line in [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
            "test verdict::tests::9 passed ... ok",
        ] {
            count.add(line);
        }
        assert_eq!((count.passed, count.failed, count.skipped), (8, 2, 1));
    }
}
