//! Golden files: `tests/golden/NAME.json` is a report and at the same time what `-o json` must write for it, byte for
//! byte; `NAME.*.txt` beside it is what people see. `UPDATE_GOLDEN=1 cargo test -p portolan --test golden` writes the
//! texts anew.

use portolan_cli::exit::Exit;
use portolan_cli::render::preflight::{View, preflight};
use portolan_cli::render::screen::Screen;
use portolan_cli::render::{json, profile as view, text};
use portolan_cli::report::{Document, PreflightReport, Summary};
use probe_matrix::profile::NodeProfile;
use std::fs;
use std::path::{Path, PathBuf};

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<(String, String, PreflightReport)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(golden_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let document: Document<PreflightReport> =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, text, document.content)
        })
        .collect()
}

fn check(name: &str, shown: &str) {
    let path = golden_dir().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == expected,
        "{name} differs; UPDATE_GOLDEN=1 writes it anew\n--- expected\n{expected}\n--- shown\n{shown}"
    );
}

fn shown(report: &PreflightReport, view: View, columns: usize, color: bool) -> String {
    preflight(report, Exit::of(&report.summary, false), view, &Screen { columns, color })
}

#[test]
fn json_is_the_report_in_a_stable_order_of_keys() {
    for (name, text, report) in cases() {
        let written = json::document(&Document::new("PreflightReport", report)).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text, "{name}");
    }
}

#[test]
fn counts_are_those_of_the_programs() {
    for (name, _, report) in cases() {
        assert_eq!(Summary::of(&report.programs), report.summary, "{name}");
    }
}

#[test]
fn tables() {
    for (name, _, report) in cases() {
        check(&format!("{name}.table.txt"), &shown(&report, View::default(), 100, false));
    }
}

#[test]
fn narrow_tables() {
    for (name, _, report) in cases() {
        check(&format!("{name}.narrow.txt"), &shown(&report, View::default(), 64, false));
    }
}

#[test]
fn decision_trees() {
    for (name, _, report) in cases() {
        let view = View { explain: true, verbose: false };
        check(&format!("{name}.explain.txt"), &shown(&report, view, 120, false));
    }
}

#[test]
fn profiles() {
    let bytes = fs::read(golden_dir().join("profile/node.json")).unwrap();
    let profile = NodeProfile::read(&bytes).unwrap();
    assert_eq!(json::document(&profile).unwrap(), bytes);
    let plain = view::profile(&profile, view::Extent::Full, &Screen { columns: 100, color: false });
    let bad = plain.chars().find(|&c| (c.is_control() && c != '\n') || text::is_deceptive(c));
    assert_eq!(bad, None, "{plain}");
    check("profile/node.txt", &plain);
}

#[test]
fn nothing_foreign_reaches_the_terminal() {
    let view = View { explain: true, verbose: true };
    for (name, _, report) in cases() {
        let plain = shown(&report, view, 100, false);
        let bad = plain.chars().find(|&c| (c.is_control() && c != '\n') || text::is_deceptive(c));
        assert_eq!(bad, None, "{name}: {plain}");
        // With colour the only sequences are those of the tones, which all end with `m`.
        for sequence in shown(&report, view, 100, true).split('\x1b').skip(1) {
            let parameters = sequence.strip_prefix('[').and_then(|rest| rest.split_once('m')).unwrap().0;
            assert!(parameters.chars().all(|c| c.is_ascii_digit() || c == ';'), "{name}: {sequence:?}");
        }
    }
}

#[test]
fn no_line_of_a_table_is_wider_than_the_screen() {
    for (name, _, report) in cases() {
        for columns in [60, 80, 100, 200] {
            let text = shown(&report, View::default(), columns, false);
            for line in text.lines() {
                let width = unicode_width::UnicodeWidthStr::width(line);
                assert!(width <= columns, "{name} at {columns}: {width} columns: {line}");
            }
        }
    }
}
