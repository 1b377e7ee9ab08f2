//! Running other programs: each command line is shown before it runs, its output goes straight through.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's top directory.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")) // compat-tests/xtask/../..
}

/// The directory for what is built once and used by every run: `$XDG_CACHE_HOME/portolan`, else
/// `~/.cache/portolan`. Outside the repository, so that a clean checkout finds it warm.
pub(crate) fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("portolan")
}

/// `cargo`, the one that started this program, in the repository's top directory.
pub(crate) fn cargo(args: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// `program` with `args`, in the repository's top directory.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Runs `command` to its end; anything but exit status 0 is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    show(command);
    let status = command.status().map_err(|err| not_started(command, &err))?;
    if status.success() { Ok(()) } else { Err(format!("`{}`: {status}", line(command))) }
}

/// Runs `command` and hands every line of its standard output to `each` as it passes it on.
pub(crate) fn run_lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<(), String> {
    show(command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|err| not_started(command, &err))?;
    let pipe = child.stdout.take().ok_or("a child without standard output")?;
    let mut out = std::io::stdout();
    for chunk in BufReader::new(pipe).split(b'\n') {
        let chunk = chunk.map_err(|err| format!("output of `{}`: {err}", line(command)))?;
        let text = String::from_utf8_lossy(&chunk);
        // A reader that went away is no reason to leave the tests half run.
        let _ = writeln!(out, "{text}");
        each(&text);
    }
    let status = child.wait().map_err(|err| format!("`{}`: {err}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}`: {status}", line(command))) }
}

/// Runs `command` with nothing shown and returns what it wrote to standard output and standard error.
pub(crate) fn output(command: &mut Command) -> Result<(bool, String, String), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|err| not_started(command, &err))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// Whether `program` is found in `PATH`.
pub(crate) fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // bpftool and ip live in sbin, which is not in everybody's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

fn show(command: &Command) {
    eprintln!("+ {}", line(command));
}

fn not_started(command: &Command, err: &std::io::Error) -> String {
    format!("cannot start `{}`: {err}", line(command))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
