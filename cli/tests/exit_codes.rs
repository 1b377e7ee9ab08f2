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
        (&["probe", "--only", "secruity"], "did you mean security?"),
        (&["probe", "--only", "bpf.helper,weather"], "weather"),
        (&["explain", "PTL9999"], "PTL9999"),
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
        assert!(stderr.contains("No space left"), "{args:?}: {stderr}");
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
fn a_broken_object_is_a_reason_and_a_broken_catalog_is_bad_input() {
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
    assert_eq!(code(&output), 10, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("PTL0101"), "{}", text(&output.stdout));
    assert_eq!(code(&run(&["catalog", "lint", "--catalog", path])), 10);

    std::fs::write(dir.path().join("catalog.toml"), &manifest[..manifest.len() / 2]).unwrap();
    for args in [&["preflight", "--catalog", path][..], &["catalog", "list", "--catalog", path]] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("catalog.toml line"), "{args:?}: {}", text(&output.stderr));
    }
}
