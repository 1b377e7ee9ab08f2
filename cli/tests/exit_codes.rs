//! Exit codes and streams, as a process: what a script sees.

use std::fs::File;
use std::process::{Command, Output, Stdio};

fn portolan(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(args).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    portolan(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("portolan exits, it is not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every command that gives a result without asking the node.
const QUIET: [&[&str]; 6] = [
    &["explain"],
    &["explain", "-o", "json"],
    &["schema"],
    &["schema", "PreflightReport"],
    &["catalog", "list"],
    &["catalog", "list", "-o", "json"],
];

#[test]
fn results_go_to_stdout_and_nothing_else_does() {
    for args in QUIET {
        let output = run(args);
        assert_eq!(code(&output), 0, "{args:?}: {}", text(&output.stderr));
        assert!(!output.stdout.is_empty(), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn bad_usage_is_2_and_says_what_was_meant() {
    for (args, hint) in [
        (&[][..], "Usage"),
        (&["preflght"], "preflight"),
        (&["preflight", "--no-laod"], "--no-load"),
        (&["preflight", "-o", "yaml"], "table"),
        (&["preflight", "--fail-on", "everything"], "degraded"),
        (&["preflight", "--timeout", "0"], "1..=3600"),
        (&["preflight", "--program", "tcp-rrt"], "did you mean tcp-rtt?"),
        (&["preflight", "--program", "tcp-rtt", "--variant", "nonesuch"], "nonesuch"),
        (&["preflight", "--profile", "/nonexistent.json"], "/nonexistent.json"),
        (&["preflight", "--profile", "/proc/self/mem"], "/proc/self/mem"),
        (&["preflight", "--catalog", "/nonexistent"], "/nonexistent"),
        (&["preflight", "--host-root", "/nonexistent"], "/nonexistent"),
        (&["preflight", "--profile", "/dev/null"], "neither a file nor a pipe"),
        (&["probe", "--function", ""], "no kernel function"),
        (&["probe", "--function", "../../etc/passwd"], "no kernel function"),
        (&["probe", "--function", "two\nlines"], "no kernel function"),
        (&["probe", "--depth", "read", "--only", "symbol"], "--function"),
        (&["probe", "--only", "secruity"], "did you mean security?"),
        (&["probe", "--only", "bpf.helper,weather"], "weather"),
        (&["explain", "PTL9999"], "PTL9999"),
        (&["explain", "PTL0299"], "codes of its kind are PTL0201 to"),
        (&["scan"], "PATH"),
        (&["scan", "/etc/passwd", "--for-loader", "libbqf"], "known are libbpf, aya, cilium-ebpf"),
        (&["scan", "/nonexistent"], "/nonexistent"),
        (&["scan", "/dev/zero"], "a character device"),
        (&["schema", "NodeProfil"], "did you mean NodeProfile?"),
        (&["catalog", "show", "flow-metre"], "did you mean flow-meter?"),
        (&["catalog", "lint", "--catalog", "/etc/passwd"], "catalog"),
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{args:?}: {stderr}");
        assert!(stderr.contains(hint), "{args:?} does not mention {hint}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
}

#[test]
fn help_and_version_are_a_success_on_stdout() {
    for args in
        [&["--help"][..], &["-h"], &["--version"], &["help"], &["preflight", "--help"], &["probe", "-h"]]
    {
        let output = run(args);
        assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""), "{args:?}");
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    assert!(!text(&run(&["--help"]).stdout).contains("__worker"));
}

#[test]
fn a_full_disk_is_1_with_a_message() {
    for args in QUIET.iter().copied().chain([&["--help"][..], &["preflight", "--no-load"]]) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = portolan(args).stdout(full).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 1, "{args:?}: {stderr}");
        assert!(stderr.contains("ENOSPC: no space left on device"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_keeps_the_exit_code() {
    let plain = run(&["preflight", "--no-load"]);
    for (args, expected) in
        [(&["explain"][..], 0), (&["--help"], 0), (&["preflight", "--no-load"], code(&plain))]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = portolan(args).stdout(writer).output().unwrap();
        assert_eq!(code(&output), expected, "{args:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).to_lowercase().contains("pipe"), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn no_colours_without_a_terminal() {
    for args in
        [&["--help"][..], &["explain"], &["catalog", "list"], &["preflight", "--no-load"], &["nonesuch"]]
    {
        let output = run(args);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{args:?}");
    }
}

#[test]
fn two_runs_at_once_agree() {
    let start = || {
        portolan(&["preflight", "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs = [start(), start()].map(|run| run.wait_with_output().unwrap());
    let answers = runs.map(|output| {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (code(&output), report["summary"].clone(), report["programs"].clone())
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn broken_objects_are_bad_input_and_a_broken_catalog_is_bad_input() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf");
    let dir = tempfile::TempDir::new().unwrap();
    let objects = dir.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let manifest = std::fs::read(format!("{source}/catalog.toml")).unwrap();
    std::fs::write(dir.path().join("catalog.toml"), &manifest).unwrap();
    for entry in std::fs::read_dir(format!("{source}/objects")).unwrap().flatten() {
        let object = std::fs::read(entry.path()).unwrap();
        std::fs::write(objects.join(entry.file_name()), &object[..object.len() / 2]).unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let output = run(&["preflight", "--no-load", "--catalog", path]);
    assert_eq!(code(&output), 2, "no verdict is about the node: {}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("objects of the catalog cannot be used"),
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains("Exit code 2."), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("PTL0101"), "{}", text(&output.stdout));
    assert_eq!(code(&run(&["catalog", "lint", "--catalog", path])), 10);

    std::fs::write(dir.path().join("catalog.toml"), &manifest[..manifest.len() / 2]).unwrap();
    for args in [&["preflight", "--catalog", path][..], &["catalog", "list", "--catalog", path]] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("catalog.toml line"), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn one_broken_object_is_told_and_the_verdict_stands() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf");
    let dir = tempfile::TempDir::new().unwrap();
    let objects = dir.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::copy(format!("{source}/catalog.toml"), dir.path().join("catalog.toml")).unwrap();
    for entry in std::fs::read_dir(format!("{source}/objects")).unwrap().flatten() {
        std::fs::copy(entry.path(), objects.join(entry.file_name())).unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let preflight = || run(&["preflight", "--no-load", "--program", "flow-meter", "--catalog", path]);
    let whole = preflight();
    assert!(!text(&whole.stderr).contains("cannot be used"), "{}", text(&whole.stderr));
    // The last by rank: whatever is chosen here stands before it, or is undecided as well.
    for entry in std::fs::read_dir(&objects).unwrap().flatten() {
        if entry.file_name().to_str().unwrap().starts_with("flow-meter-socket") {
            std::fs::write(entry.path(), b"no object").unwrap();
        }
    }
    let broken = preflight();
    assert!(
        text(&broken.stderr).contains("1 object of the catalog cannot be used"),
        "{}",
        text(&broken.stderr)
    );
    assert_eq!(code(&broken), code(&whole), "{}", text(&broken.stdout));
}

/// A pipe with a name and no writer: opening it would wait for one.
#[test]
fn a_profile_that_nobody_writes_is_refused_at_once() {
    let dir = tempfile::TempDir::new().unwrap();
    let fifo = dir.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let output = run(&["preflight", "--profile", fifo.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("nobody writes to this pipe"), "{}", text(&output.stderr));
}

#[test]
fn a_profile_may_come_through_a_pipe() {
    use std::io::Write;
    let profile = br#"{"apiVersion":"portolan.dev/v1alpha1","kind":"NodeProfile","schema":1,"host":{"arch":"x86_64"},"facts":{}}"#;
    let mut child = portolan(&["preflight", "--profile", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It waits for a slow writer.
    std::thread::sleep(std::time::Duration::from_millis(200));
    stdin.write_all(profile).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 12, "{}", text(&output.stderr));
    // Nothing is known, and nothing is taken to be.
    assert!(!text(&output.stdout).contains("assumed"), "{}", text(&output.stdout));
}

#[test]
fn what_is_no_profile_is_said_once() {
    let stderr = text(&run(&["preflight", "--profile", "/etc/passwd"]).stderr);
    assert_eq!(stderr.matches("expected value").count(), 1, "{stderr}");
}

#[test]
fn more_functions_than_are_looked_for_are_refused() {
    let names: Vec<String> = (0..=4096).map(|number| format!("--function=f{number}")).collect();
    let args: Vec<&str> = std::iter::once("probe").chain(names.iter().map(String::as_str)).collect();
    let output = run(&args);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("4096"), "{}", text(&output.stderr));
}

#[test]
fn a_limit_on_the_size_of_files_is_1_with_a_message() {
    let dir = tempfile::TempDir::new().unwrap();
    let script = r#"ulimit -f 0 && exec "$0" explain > "$1""#;
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_portolan")])
        .arg(dir.path().join("out"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("EFBIG"), "{}", text(&output.stderr));
}

#[test]
fn lint_has_exit_codes_of_its_own() {
    let help = text(&run(&["catalog", "lint", "--help"]).stdout);
    assert!(help.contains("some check failed") && !help.contains("--fail-on"), "{help}");
}

#[test]
fn a_full_disk_is_1_wherever_something_is_written() {
    let objects = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects");
    let output = run(&["scan", objects, "--report", "/dev/full"]);
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ENOSPC"), "{}", text(&output.stderr));
    let output = run(&["scan", objects, "--report", "/nowhere/at/all"]);
    assert_eq!(code(&output), 2, "{}", text(&output.stderr));
}

#[test]
fn a_name_with_a_line_break_makes_no_message_of_its_own() {
    let output = run(&["scan", "/nowhere\nportolan: all is well\u{1b}[2J"]);
    assert_eq!((code(&output), text(&output.stderr).lines().count()), (2, 1), "{}", text(&output.stderr));
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn a_loader_that_nobody_looked_at_is_undecided_where_nothing_is_known_to_be_lacking() {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects");
    for (loader, expected) in [("libbpf", 0), ("libbpf=99.0", 0), ("libbpf=0.0.1", 12)] {
        let output = run(&["scan", object, "--for-loader", loader, "-o", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let gaps = report["objects"].to_string().contains("\"verdict\":\"blocked\"");
        assert!(code(&output) == expected || gaps && code(&output) == 10, "{loader}: {}", code(&output));
    }
}

#[test]
fn an_interrupt_is_told() {
    use rustix::process::{Pid, Signal, kill_process};
    let child =
        portolan(&["scan", "/usr", "/lib", "/bin"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let child = child.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 130);
    assert!(text(&output.stderr).contains("interrupted: no result was given"), "{}", text(&output.stderr));
}
