//! The engine beside its peers: reading BTF, relocating, minimised BTF; and the store.
//!
//! `cargo bench -p compat-tests --bench engine [-- CASE…]`, on a quiet machine. Inputs are what `cargo xtask kernels` and
//! `cargo xtask objects` brought into the cache: every kernel's BTF, taken out of its package once and kept in `bench/btf`,
//! and one version of libbpf-tools. Never part of the tests: a loaded machine would decide.
//!
//! Each peer runs in a process of its own, which reads its input, does the work many times and reports the median and
//! its peak memory; the processes take turns, so that all meet the same load, and of their medians the median counts.

mod cilium;
mod inputs;
mod load;
mod objects;
mod store;
mod turns;

use std::process::ExitCode;
use turns::Case;

const LOAD: load::Load = load::Load { name: "load", release: "6.12" };
/// Sorted by name, with a header of 32 bytes.
const LOAD_SORTED: load::Load = load::Load { name: "load-sorted", release: "7.2" };

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too; it measures only when told to by `cargo bench`.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("a benchmark: run it with cargo bench");
        return ExitCode::SUCCESS;
    }
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    let cases: [&dyn Case; 5] =
        [&LOAD, &LOAD_SORTED, &objects::Relocate, &objects::Matrix, &objects::Minimize];
    let result = match words[..] {
        ["--turn", case, peer] => turns::turn(&cases, case, peer),
        ["store"] => inputs::prepare().and_then(|()| store::run()),
        [] => inputs::prepare().and_then(|()| turns::run(&cases, &words)).and_then(|()| store::run()),
        _ => inputs::prepare().and_then(|()| turns::run(&cases, &words)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
