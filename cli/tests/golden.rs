//! Golden files: `tests/golden/NAME.json` is a report and at the same time what `-o json` must write for it, byte for
//! byte; `NAME.*.txt` beside it is what people see. `UPDATE_GOLDEN=1 cargo test -p portolan --test golden` writes the
//! texts anew.

use portolan_cli::exit::Exit;
use portolan_cli::render::preflight::{View, preflight};
use portolan_cli::render::screen::Screen;
use portolan_cli::render::{json, profile as view, scan, text};
use portolan_cli::report::scan::ScanReport;
use portolan_cli::report::{Document, PreflightReport, Summary};
use probe_matrix::profile::NodeProfile;
use probe_matrix::verdict::{ProgramVerdict, Reason, VariantVerdict, Verdict};
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
        assert_eq!(
            Summary::of(report.programs.iter().map(|program| program.verdict)),
            report.summary,
            "{name}"
        );
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
fn scans() {
    let path = golden_dir().join("scan/kernels.json");
    let written = fs::read(&path).unwrap();
    let document: Document<ScanReport> = serde_json::from_slice(&written).unwrap();
    let again = json::document(&document).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &again).unwrap();
    }
    assert_eq!(again, fs::read(&path).unwrap());
    let screen = Screen { columns: 100, color: false };
    for (name, shown) in [
        ("scan/kernels.table.txt", scan::table(&document.content, &screen)),
        ("scan/kernels.wide.txt", scan::wide(&document.content, &screen)),
    ] {
        let bad = shown.chars().find(|&c| (c.is_control() && c != '\n') || text::is_deceptive(c));
        assert_eq!(bad, None, "{shown}");
        check(name, &shown);
    }
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
        for columns in [20, 40, 59, 60, 80, 100, 200] {
            for explain in [false, true] {
                let report = PreflightReport { programs: without_logs(&report), ..report.clone() };
                let text = shown(&report, View { explain, verbose: false }, columns, false);
                assert_no_wider(&name, &text, columns);
            }
        }
    }
    let profile = NodeProfile::read(&fs::read(golden_dir().join("profile/node.json")).unwrap()).unwrap();
    for columns in [20, 40, 59, 60, 100] {
        let text = view::profile(&profile, view::Extent::Full, &Screen { columns, color: false });
        assert_no_wider("profile", &text, columns);
    }
}

/// A verifier's log is shown as the verifier wrote it.
fn without_logs(report: &PreflightReport) -> Vec<ProgramVerdict> {
    let mut programs = report.programs.clone();
    for variant in programs.iter_mut().flat_map(|program| &mut program.variants) {
        variant.verifier_log = None;
    }
    programs
}

fn assert_no_wider(name: &str, text: &str, columns: usize) {
    for line in text.lines() {
        let width = unicode_width::UnicodeWidthStr::width(line);
        assert!(width <= columns, "{name} at {columns}: {width} columns: {line}");
    }
}

/// A report of one program whose variants have these verdicts, each for a reason of its own; the first that runs is chosen.
fn report_of(verdicts: &[(&str, Verdict, &str)]) -> PreflightReport {
    let (_, _, report) = cases().into_iter().find(|(name, ..)| name == "all-verdicts").unwrap();
    let unknown = report.programs.iter().find(|program| program.verdict == Verdict::Unknown).unwrap();
    let pattern = &unknown.variants[0];
    let variants = verdicts.iter().map(|(name, verdict, message)| {
        let reason = Reason { message: (*message).to_owned(), errno: None, ..pattern.reasons[0].clone() };
        let reasons = if *verdict == Verdict::Runs { Vec::new() } else { vec![reason] };
        let notes = vec![format!("{name} without its name")];
        let variant = (*name).to_owned();
        VariantVerdict { variant, verdict: *verdict, reasons, loses: Vec::new(), notes, ..pattern.clone() }
    });
    let variants: Vec<VariantVerdict> = variants.collect();
    let runs = variants.iter().find(|variant| variant.verdict == Verdict::Runs);
    let program = ProgramVerdict {
        selected: runs.map(|variant| variant.variant.clone()),
        verdict: runs.map_or(Verdict::Unknown, |variant| variant.verdict),
        variants: variants.clone(),
        ..unknown.clone()
    };
    let programs = vec![program];
    PreflightReport {
        summary: Summary::of(programs.iter().map(|program| program.verdict)),
        programs,
        ..report
    }
}

#[test]
fn only_variants_with_the_same_reason_share_a_row() {
    let unknown = Verdict::Unknown;
    let report =
        report_of(&[("one", unknown, "first"), ("two", unknown, "first"), ("three", unknown, "second")]);
    let text = shown(&report, View::default(), 100, false);
    assert_eq!((text.matches(" first").count(), text.matches(" second").count()), (1, 1), "{text}");
}

#[test]
fn a_better_variant_that_is_undecided_is_told() {
    let report = report_of(&[("best", Verdict::Unknown, "not asked"), ("next", Verdict::Runs, "")]);
    let text = shown(&report, View::default(), 100, false);
    assert!(text.contains("What to do"), "{text}");
    assert!(text.contains("a better variant than next runs could not be decided: best"), "{text}");
    let decided = report_of(&[("best", Verdict::Blocked, "refused"), ("next", Verdict::Runs, "")]);
    let text = shown(&decided, View::default(), 100, false);
    assert!(!text.contains("What to do"), "{text}");
}

#[test]
fn notes_are_shown_where_details_are() {
    let report = report_of(&[("best", Verdict::Runs, "")]);
    for (explain, verbose, count) in [(false, false, 0), (true, false, 1), (false, true, 1), (true, true, 1)]
    {
        let text = shown(&report, View { explain, verbose }, 100, false);
        assert_eq!(text.matches("note: best without its name").count(), count, "{text}");
    }
}
