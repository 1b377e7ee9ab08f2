//! `cargo xtask`: building the eBPF objects, every test, the benchmarks. Standard library only, so that it builds
//! before anything is installed.

mod apt;
mod bench;
mod command;
mod deps;
mod differential;
mod ebpf;
mod kernels;
mod objects;
mod selftests;
mod suite;
mod test;
mod truth;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>

commands:
  test            install what is missing, build, lint, run every test and the fuzz targets for a short while
  ebpf            build ebpf/objects from ebpf/programs
  ebpf --check    build them elsewhere and fail on any byte of difference
  kernels [SERIES…] [--arch amd64|arm64] [--all] [--list]
                  bring Debian's kernels into the cache: the newest of each series, with --all every one there is
  differential [--core-cases] [--all]
                  hold relocation against libbpf's on the cache's objects and kernels, or on the kernel's own cases
  objects [--whole] [CORPUS…]
                  bring objects that others wrote into the cache (libbpf-tools, xdp-tools, systemd, kernel selftests),
                  and build the suite of compat-tests/truth/suite there; with --whole also what is in no tables
  truth [--alone | --sample] [--kernel NAME]… [--corpus NAME]…
                  load the cache's objects on the cache's kernels, in micro-VMs, and write compat-tests/truth/tables;
                  with --alone load each entry alone and hold the tables against that; with --sample choose anew
                  what of objects, kernels and tables is committed for the tests
  accuracy [--kernel NAME]… [--set third-party|suite|selftests]…
                  predict all that compat-tests/truth measured, from the cache, and print the confusion matrices
  bench [CASE…]   time the engine beside its peers (load, load-sorted, relocate, matrix, minimize, store), then `portolan probe`
                  and `bpftool feature probe` in pairs
";

/// What a step came to when it did not fail.
pub(crate) enum Done {
    /// It ran.
    Passed,
    /// It could not run here, and this is why; never counted as passed.
    Skipped(String),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["test"] => test::run(),
        ["ebpf"] => ebpf::run(false).map(tell),
        ["ebpf", "--check"] => ebpf::run(true).map(tell),
        ["kernels", ref rest @ ..] => kernels::run(rest),
        ["differential", ref rest @ ..] => differential::run(rest),
        ["objects", ref rest @ ..] => objects::run(rest),
        ["truth", ref rest @ ..] => truth::make(rest),
        ["accuracy", ref rest @ ..] => truth::accuracy(rest),
        ["bench", ref cases @ ..] => bench::run(cases),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("xtask: {err}");
            ExitCode::FAILURE
        }
    }
}

fn tell(done: Done) {
    if let Done::Skipped(why) = done {
        eprintln!("xtask: skipped: {why}");
    }
}
