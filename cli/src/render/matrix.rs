//! Programs by kernels, for people: a letter for each group of kernels that agree on everything, a mark for each verdict.

use super::scan::count;
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::matrix::{KernelEntry, Matrix, MatrixRow};
use crate::report::scan::ObjectEntry;
use probe_matrix::verdict::{Reason, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Kernels of a group, and reasons, that the short form shows.
const KERNELS_SHOWN: usize = 3;
const REASONS_SHOWN: usize = 30;
/// Programs that a reason names in the short form.
const PROGRAMS_SHOWN: usize = 4;

/// The matrix, and below it the reasons with their remedies.
pub fn matrix(matrix: &Matrix, objects: &[ObjectEntry], whole: bool, screen: &Screen) -> String {
    let groups = groups(matrix);
    let summary = matrix.summary();
    let head = format!(
        "{} on {}: {} run, {} blocked, {} undecided (+ runs, - blocked, ? undecided; kernels that agree share a letter)",
        count(matrix.rows.len(), "program"),
        count(matrix.kernels.len(), "kernel"),
        summary.runs,
        summary.blocked,
        summary.unknown,
    );
    let mut text = format!("\n{}", paragraph(&head, 0, screen.columns));
    for (at, group) in groups.iter().enumerate() {
        let most = if whole { usize::MAX } else { KERNELS_SHOWN };
        let mut names: Vec<String> =
            group.iter().take(most).map(|&kernel| name(&matrix.kernels[kernel])).collect();
        if group.len() > most {
            names.push(format!("and {} more, with -o wide", group.len() - most));
        }
        text.push_str(&labelled(&letter(at), 2, &names.join(", "), 6, screen.columns));
    }
    text.push('\n');
    let letters: String = (0..groups.len()).map(letter).collect::<Vec<_>>().join(" ");
    let mut table = Table::new(["OBJECT", "PROGRAM", &letters]);
    let mut object = "";
    for row in &matrix.rows {
        let shown = objects.iter().find(|entry| entry.sha256 == row.object && row.object != object);
        let name = shown.map_or(String::new(), |entry| line(&entry.name));
        object = &row.object;
        let program =
            if row.autoload { line(&row.program) } else { format!("{} (not loaded)", line(&row.program)) };
        table.row([Cell::toned(name, Tone::Strong), program.into(), marks(row, &groups)]);
    }
    text.push_str(&table.render(screen, 0));
    text + &reasons(matrix, &groups, whole, screen)
}

fn name(kernel: &KernelEntry) -> String {
    let arch = kernel.arch.as_deref().map_or(String::new(), |arch| format!(" {}", line(arch)));
    format!("{}{arch}", line(&kernel.name))
}

/// A, B, …, Z, AA, AB, …
fn letter(at: usize) -> String {
    let last = char::from(b'A' + (at % 26) as u8);
    if at < 26 { last.to_string() } else { letter(at / 26 - 1) + &last.to_string() }
}

/// Kernels on which every program has the same verdict for the same reasons, in the order of their first.
fn groups(matrix: &Matrix) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for kernel in 0..matrix.kernels.len() {
        let agrees = |other: usize| {
            matrix.rows.iter().all(|row| {
                let (one, other) = (&row.verdicts[kernel], &row.verdicts[other]);
                one.verdict == other.verdict && one.reasons == other.reasons
            })
        };
        match groups.iter_mut().find(|group| agrees(group[0])) {
            Some(group) => group.push(kernel),
            None => groups.push(vec![kernel]),
        }
    }
    groups
}

fn marks(row: &MatrixRow, groups: &[Vec<usize>]) -> Cell {
    let verdicts: Vec<Verdict> = groups.iter().map(|group| row.verdicts[group[0]].verdict).collect();
    let mark = |(at, verdict): (usize, &Verdict)| {
        let mark = match verdict {
            Verdict::Runs => "+",
            Verdict::Degraded => "~",
            Verdict::Blocked => "-",
            Verdict::Unknown => "?",
        };
        format!("{mark:<width$}", width = letter(at).len())
    };
    let marks: Vec<String> = verdicts.iter().enumerate().map(mark).collect();
    let tone = match () {
        () if verdicts.contains(&Verdict::Blocked) => Tone::Bad,
        () if verdicts.contains(&Verdict::Unknown) => Tone::Unsure,
        () => Tone::Good,
    };
    Cell::toned(marks.join(" "), tone)
}

/// Where a reason applies.
#[derive(Default)]
struct Affected<'a> {
    kernels: Vec<String>,
    programs: Vec<&'a str>,
    remedy: &'a str,
}

fn reasons(matrix: &Matrix, groups: &[Vec<usize>], whole: bool, screen: &Screen) -> String {
    let mut by_reason: BTreeMap<(&str, &str), Affected> = BTreeMap::new();
    for row in &matrix.rows {
        for (at, group) in groups.iter().enumerate() {
            for Reason { code, message, remedy, .. } in &row.verdicts[group[0]].reasons {
                let affected = by_reason.entry((code, message)).or_default();
                affected.remedy = remedy;
                let letter = letter(at);
                if !affected.kernels.contains(&letter) {
                    affected.kernels.push(letter);
                }
                if !affected.programs.contains(&row.program.as_str()) {
                    affected.programs.push(&row.program);
                }
            }
        }
    }
    let most = if whole { usize::MAX } else { REASONS_SHOWN };
    let mut text = String::new();
    for ((code, message), affected) in by_reason.iter().take(most) {
        let programs = if whole { usize::MAX } else { PROGRAMS_SHOWN };
        let mut names =
            affected.programs.iter().take(programs).map(|name| line(name)).collect::<Vec<_>>().join(", ");
        if affected.programs.len() > programs {
            let _ = write!(names, " and {} more", affected.programs.len() - programs);
        }
        let what = format!("{}: {} ({names})", affected.kernels.join(" "), line(message));
        let _ = write!(text, "\n{}", labelled(&line(code), 0, &what, 9, screen.columns));
        text.push_str(&paragraph(&line(affected.remedy), 9, screen.columns));
    }
    if by_reason.len() > most {
        let more = count(by_reason.len() - most, "more reason");
        let _ = write!(text, "\n{}", paragraph(&format!("and {more}, with -o wide"), 0, screen.columns));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_letters_whatever_their_number() {
        assert_eq!([0, 25, 26, 51, 52, 701, 702].map(letter), ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    }
}
