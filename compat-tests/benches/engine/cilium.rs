//! cilium/ebpf as a peer: a program in Go, built when it is first asked for.

use crate::inputs::cache;
use crate::turns::{Turn, read_turn};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where its source is.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/cilium");

fn program() -> Result<PathBuf, String> {
    Ok(cache()?.join("bench/cilium"))
}

/// Builds it; the error says why it cannot run here.
pub(crate) fn ready() -> Result<(), String> {
    let mut go = Command::new("go");
    go.current_dir(SOURCE).args(["build", "-o"]).arg(program()?).arg(".").stdout(Stdio::null());
    match go.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("go build in {SOURCE}: {status}")),
        Err(error) => Err(format!("go: {error}")),
    }
}

/// One turn: `mode` is `cold` or `warm`.
pub(crate) fn turn(mode: &str, times: usize, kernel: &Path, objects: &[PathBuf]) -> Result<Turn, String> {
    let mut command = Command::new(program()?);
    command.args([mode, &times.to_string()]).arg(kernel).args(objects).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot start cilium/ebpf: {error}"))?;
    read_turn(&output.stdout).ok_or_else(|| format!("cilium/ebpf: {}", output.status))
}
