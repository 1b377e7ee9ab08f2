//! What portolan writes against the schemas that it prints.

mod validate;

use portolan_cli::run::schema::SCHEMAS;
use serde_json::Value;
use std::process::Command;
use validate::Schema;

fn schema(kind: &str) -> Value {
    let row =
        SCHEMAS.iter().find(|schema| schema.kind == kind).unwrap_or_else(|| panic!("no schema of {kind}"));
    serde_json::from_str(row.text).unwrap()
}

fn assert_valid(document: &Value) {
    let kind = document["kind"].as_str().expect("a document has a kind");
    let schema = schema(kind);
    let faults = Schema::new(&schema).faults(document);
    assert!(faults.is_empty(), "{kind}:\n{}", faults.join("\n"));
}

/// The document that a command writes, whatever its verdict.
fn written_by(args: &[&str]) -> Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_portolan")).args(args).args(["-o", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn every_schema_names_its_own_kind() {
    for row in &SCHEMAS {
        let schema = schema(row.kind);
        assert_eq!(schema["properties"]["kind"]["const"], row.kind);
        assert_eq!(schema["title"], row.kind);
        assert_eq!(schema["properties"]["apiVersion"]["const"], probe_matrix::profile::API_VERSION);
    }
}

#[test]
fn golden_reports_are_valid() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let entries = ["", "/profile", "/scan"].map(|sub| std::fs::read_dir(format!("{dir}{sub}")).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    let documents: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    assert!(documents.len() >= 4);
    for path in documents {
        assert_valid(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    }
}

#[test]
fn what_the_commands_write_is_valid() {
    for args in [
        &["explain"][..],
        &["scan", concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects"), "--for-loader", "aya"],
        &["catalog", "list"],
        &["catalog", "lint"],
        &["probe", "--depth", "read"],
        &["probe"],
        &["preflight", "--depth", "read"],
        &["preflight"],
    ] {
        assert_valid(&written_by(args));
    }
}

#[test]
fn a_fault_is_found() {
    let mut document = written_by(&["catalog", "list"]);
    assert_valid(&document);
    document["programs"][0]["variants"][0]["rank"] = Value::from("first");
    document["programs"][0]["colour"] = Value::from("blue");
    document["catalog"].as_object_mut().unwrap().remove("name");
    let schema = schema("CatalogReport");
    let mut faults = Schema::new(&schema).faults(&document);
    faults.sort();
    assert_eq!(
        faults,
        [
            "$.catalog: `name` is missing",
            "$.programs[0].variants[0].rank: is no integer",
            "$.programs[0]: `colour` is not in the schema",
        ]
    );
}
