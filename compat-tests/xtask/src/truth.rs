//! `cargo xtask truth` and `cargo xtask accuracy`: the tables in `compat-tests/truth/tables`.

use crate::command::{self, cargo, root};
use crate::{kernels, objects};

/// `[--alone] [--kernel NAME]… [--corpus NAME]…`: boots the kernels in the cache and loads the objects in the cache on each;
/// with `--alone` it takes no shortcut, writes nothing, and says what the tables have otherwise. `--sample`: chooses the
/// committed sample anew, from the tables and the cache.
pub(crate) fn make(args: &[&str]) -> Result<(), String> {
    let (what, args) = match args {
        ["--sample"] => return on_cache("sample", &[]),
        ["--alone", args @ ..] => ("check", args),
        args => ("make", args),
    };
    if !command::in_path("qemu-system-x86_64") {
        return Err("qemu-system-x86_64 is missing: install qemu-system-x86".into());
    }
    let init = init()?;
    let mut make = truth(&[what, "--init"]);
    make.arg(init).arg("--kernels").arg(kernels::directory()).arg("--objects").arg(objects::directory());
    command::run(make.args(args))
}

/// `[--kernel NAME]… [--set NAME]…`: predicts everything that was measured, from the files in the cache, and holds it against the tables.
pub(crate) fn accuracy(args: &[&str]) -> Result<(), String> {
    on_cache("accuracy", args)
}

fn on_cache(what: &str, args: &[&str]) -> Result<(), String> {
    let mut command = truth(&[what]);
    command.arg("--kernels").arg(kernels::directory()).arg("--objects").arg(objects::directory());
    command::run(command.args(args))
}

fn truth(args: &[&str]) -> std::process::Command {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", "truth", "--bin", "truth", "--"]);
    command.args(args);
    command
}

/// Builds the micro-VM's init, a static binary, and returns its path.
pub(crate) fn init() -> Result<std::path::PathBuf, String> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let mut build = cargo(&["build", "--package", "truth", "--bin", "truth-init", "--release"]);
    build.args(["--features", "static", "--target", TARGET]);
    // Flags of the environment would stand in place of any that a configuration adds.
    build.env("RUSTFLAGS", "-Ctarget-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Where Debian has libelf.a and libz.a.
    build.env("LIBBPF_SYS_LIBRARY_PATH", "/usr/lib/x86_64-linux-gnu");
    command::run(&mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Ok(target.join(TARGET).join("release/truth-init"))
}
