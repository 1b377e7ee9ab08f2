//! The exit code of every verdict, in every format: node profiles that answer all questions of the catalog alike.

use serde_json::{Map, Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Profiles for `--profile`, and what the catalog asks of them.
struct Nodes {
    dir: TempDir,
    /// Every fact that a requirement of the built-in catalog refers to.
    asked: Vec<String>,
}

impl Nodes {
    fn new() -> Nodes {
        let mut nodes = Nodes { dir: TempDir::new().unwrap(), asked: Vec::new() };
        let (_, report) = Nodes::preflight(&nodes.profile(|_| None), &["-o", "json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        let mut stack = vec![&report];
        while let Some(value) = stack.pop() {
            match value {
                Value::Array(items) => stack.extend(items),
                Value::Object(fields) => {
                    stack.extend(fields.values());
                    if let (Some(Value::String(fact)), Some(_)) =
                        (fields.get("fact"), fields.get("requirement"))
                    {
                        nodes.asked.push(fact.clone());
                    }
                }
                _ => {}
            }
        }
        assert!(nodes.asked.len() > 50, "the catalog asks for {} facts only", nodes.asked.len());
        nodes
    }

    /// A profile in which `support` answers for each fact.
    fn profile(&self, support: impl Fn(&str) -> Option<&'static str>) -> PathBuf {
        let facts: Map<String, Value> = self
            .asked
            .iter()
            .filter_map(|name| {
                Some((
                    name.clone(),
                    json!({ "support": support(name)?, "evidence": "probed", "source": "test" }),
                ))
            })
            .collect();
        let profile = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "NodeProfile", "schema": 1, "depth": "load",
            "host": { "arch": "x86_64", "release": "6.1.0" }, "facts": facts,
        });
        let path = self.dir.path().join("profile.json");
        std::fs::write(&path, profile.to_string()).unwrap();
        path
    }

    fn preflight(profile: &Path, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
            .args(["preflight", "--profile"])
            .arg(profile)
            .args(args)
            .output()
            .unwrap();
        let code = output.status.code().expect("it exits, it is not killed");
        assert!(code != 1 && code != 2, "{}", String::from_utf8_lossy(&output.stderr));
        (code, String::from_utf8(output.stdout).unwrap())
    }

    fn assert_code(&self, support: impl Fn(&str) -> Option<&'static str>, args: &[&str], expected: i32) {
        let profile = self.profile(support);
        for format in ["table", "json"] {
            let (code, shown) = Self::preflight(&profile, &[args, &["-o", format]].concat());
            assert_eq!(code, expected, "{args:?} -o {format}: {shown}");
        }
        let (code, shown) = Self::preflight(&profile, &[args, &["--explain", "--verbose"]].concat());
        assert_eq!(code, expected, "{args:?} --explain --verbose: {shown}");
        assert!(shown.contains(&format!("Exit code {expected}.")), "{shown}");
    }
}

/// A variant that needs no BTF and loses nothing.
const PLAIN: [&str; 4] = ["--program", "flow-meter", "--variant", "tcx"];
/// One that needs no BTF and loses something.
const LOSING: [&str; 4] = ["--program", "tcp-rtt", "--variant", "sockops"];
const STRICT: [&str; 2] = ["--fail-on", "degraded"];

#[test]
fn all_that_is_needed_is_there() {
    Nodes::new().assert_code(|_| Some("yes"), &PLAIN, 0);
    Nodes::new().assert_code(|_| Some("yes"), &[&PLAIN[..], &STRICT].concat(), 0);
}

#[test]
fn a_loss_is_a_failure_only_where_asked() {
    Nodes::new().assert_code(|_| Some("yes"), &LOSING, 0);
    Nodes::new().assert_code(|_| Some("yes"), &[&LOSING[..], &STRICT].concat(), 11);
}

#[test]
fn what_is_missing_or_denied_to_everybody_blocks() {
    for support in ["no", "denied_workload"] {
        Nodes::new().assert_code(move |_| Some(support), &[], 10);
    }
}

#[test]
fn what_is_denied_to_portolan_or_not_known_leaves_it_undecided() {
    for support in [Some("denied_observer"), Some("unknown"), Some("a value of the future"), None] {
        Nodes::new().assert_code(move |_| support, &[], 12);
        Nodes::new().assert_code(move |_| support, &STRICT, 12);
    }
}

#[test]
fn blocked_outweighs_undecided() {
    // Of flow-meter's facts some are refused, tcp-rtt's own stay unknown.
    let networking = |name: &str| {
        ["sched_cls", "socket_filter", "xdp", "cgroup_skb", "tcx"].iter().any(|part| name.contains(part))
    };
    let nodes = Nodes::new();
    nodes.assert_code(|name| networking(name).then_some("no"), &["--program", "flow-meter"], 10);
    nodes.assert_code(|name| networking(name).then_some("no"), &["--program", "tcp-rtt"], 12);
    nodes.assert_code(|name| networking(name).then_some("no"), &[], 10);
}

/// Copies the binary to where anybody may run it and runs it as nobody, without capabilities.
#[test]
fn root_without_privilege_nothing_is_decided_and_the_remedy_is_said() {
    assert!(
        rustix::process::geteuid().is_root(),
        "changes its user: run the tests as root (sudo cargo test)"
    );
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let binary = dir.path().join("portolan");
    std::fs::copy(env!("CARGO_BIN_EXE_portolan"), &binary).unwrap();
    for format in ["table", "json"] {
        let output =
            Command::new(&binary).args(["preflight", "-o", format]).uid(65534).gid(65534).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(12), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        for word in ["PTL0601", "CAP_BPF"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
    }
}
