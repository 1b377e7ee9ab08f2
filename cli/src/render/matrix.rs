//! Programs by kernels, for people: a letter for each group of kernels that agree on everything, a mark for each verdict.

use super::scan::count;
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::matrix::{Assumption, KernelEntry, KernelVerdict, Matrix, MatrixRow};
use crate::report::scan::ObjectEntry;
use probe_matrix::facts::Evidence;
use probe_matrix::verdict::{Reason, Verdict};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Kernels of a group, reasons of a code, and assumptions that the short form shows.
const KERNELS_SHOWN: usize = 3;
const REASONS_SHOWN: usize = 5;
const ASSUMPTIONS_SHOWN: usize = 8;
/// Programs that a reason names in the short form.
const PROGRAMS_SHOWN: usize = 4;

/// The matrix, and below it the reasons with their remedies.
pub fn matrix(matrix: &Matrix, objects: &[ObjectEntry], whole: bool, screen: &Screen) -> String {
    let groups = groups(matrix);
    let summary = matrix.summary();
    let marked = |mark, what| match matrix.cells().filter(|cell| Mark::of(cell) == mark).count() {
        0 => String::new(),
        cells => format!(" ({cells} of them {what})"),
    };
    let head = format!(
        "{} on {}: {} run{}, {} blocked, {} undecided{}",
        count(matrix.rows.len(), "program"),
        count(matrix.kernels.len(), "kernel"),
        summary.runs,
        marked(Mark::Assumed, "as far as can be told"),
        summary.blocked,
        summary.unknown,
        marked(Mark::Loads, "load"),
    );
    let mut text = format!("\n{}", paragraph(&head, 0, screen.columns));
    let shown: Vec<Mark> = Mark::ALL.into_iter().filter(|mark| of_any(matrix, *mark)).collect();
    for mark in shown {
        text.push_str(&labelled(mark.sign(), 2, mark.meaning(), 6, screen.columns));
    }
    text.push_str(&paragraph("Kernels that agree share a letter:", 0, screen.columns));
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
        let name = shown.map_or(String::new(), |entry| told_apart(entry, objects));
        object = &row.object;
        let program =
            if row.autoload { line(&row.program) } else { format!("{} (not loaded)", line(&row.program)) };
        table.row([Cell::toned(name, Tone::Strong), program.into(), marks(row, &groups)]);
    }
    text.push_str(&table.render(screen, 0));
    text.push_str(&reasons(matrix, &groups, whole, screen));
    text + &assumptions(matrix, &groups, whole, screen)
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
                Mark::of(one) == Mark::of(other) && one.reasons == other.reasons
            })
        };
        match groups.iter_mut().find(|group| agrees(group[0])) {
            Some(group) => group.push(kernel),
            None => groups.push(vec![kernel]),
        }
    }
    groups
}

/// What stands in a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Runs,
    Assumed,
    Loads,
    Blocked,
    Unknown,
}

impl Mark {
    const ALL: [Mark; 5] = [Mark::Runs, Mark::Assumed, Mark::Loads, Mark::Blocked, Mark::Unknown];

    fn of(cell: &KernelVerdict) -> Mark {
        match (cell.verdict, cell.load) {
            (Verdict::Runs, _) if cell.evidence > Evidence::Assumed => Mark::Runs,
            (Verdict::Runs | Verdict::Degraded, _) => Mark::Assumed,
            (Verdict::Blocked, _) => Mark::Blocked,
            (Verdict::Unknown, Verdict::Runs) => Mark::Loads,
            (Verdict::Unknown, _) => Mark::Unknown,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Mark::Runs => "+",
            Mark::Assumed => "~",
            Mark::Loads => "l",
            Mark::Blocked => "-",
            Mark::Unknown => "?",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Mark::Runs => "runs: the kernel's files show it",
            Mark::Assumed => {
                "runs as far as can be told: nothing stands against it, but something is assumed, which is named below"
            }
            Mark::Loads => "loads; whether it can be attached is not in the kernel's files",
            Mark::Blocked => "blocked",
            Mark::Unknown => "undecided",
        }
    }
}

fn of_any(matrix: &Matrix, mark: Mark) -> bool {
    matrix.rows.iter().flat_map(|row| &row.verdicts).any(|cell| Mark::of(cell) == mark)
}

/// The object's name, with its digest where another object has the same name.
fn told_apart(object: &ObjectEntry, all: &[ObjectEntry]) -> String {
    let alike = all.iter().filter(|other| other.name == object.name && !other.removed).count();
    let name = line(&object.name);
    if alike > 1 { format!("{name} ({})", &object.sha256[..12]) } else { name }
}

fn marks(row: &MatrixRow, groups: &[Vec<usize>]) -> Cell {
    let marks: Vec<Mark> = groups.iter().map(|group| Mark::of(&row.verdicts[group[0]])).collect();
    let wide = |(at, mark): (usize, &Mark)| format!("{:<width$}", mark.sign(), width = letter(at).len());
    let tone = match () {
        () if marks.contains(&Mark::Blocked) => Tone::Bad,
        () if marks.iter().all(|mark| matches!(mark, Mark::Runs)) => Tone::Good,
        () => Tone::Unsure,
    };
    Cell::toned(marks.iter().enumerate().map(wide).collect::<Vec<_>>().join(" "), tone)
}

/// Where a reason applies.
#[derive(Default)]
struct Affected<'a> {
    kernels: Vec<String>,
    programs: Vec<&'a str>,
    remedy: &'a str,
}

impl<'a> Affected<'a> {
    fn add(&mut self, group: usize, row: &'a MatrixRow) {
        let letter = letter(group);
        if !self.kernels.contains(&letter) {
            self.kernels.push(letter);
        }
        if !self.programs.contains(&row.program.as_str()) {
            self.programs.push(&row.program);
        }
    }

    /// Something about them, with the letters of the kernels and the names of the programs.
    fn say(&self, what: &str, whole: bool) -> String {
        let most = if whole { usize::MAX } else { PROGRAMS_SHOWN };
        let mut names = self.programs.iter().take(most).map(|name| line(name)).collect::<Vec<_>>().join(", ");
        if self.programs.len() > most {
            let _ = write!(names, " and {} more", self.programs.len() - most);
        }
        format!("{}: {} ({names})", self.kernels.join(" "), line(what))
    }
}

/// What is taken for granted where a program runs as far as can be told.
fn assumptions(matrix: &Matrix, groups: &[Vec<usize>], whole: bool, screen: &Screen) -> String {
    let mut by_what: BTreeMap<String, Affected> = BTreeMap::new();
    for row in &matrix.rows {
        for (at, group) in groups.iter().enumerate() {
            for Assumption { requirement, why } in &row.verdicts[group[0]].assumes {
                let what = match why {
                    // Each program has its own, and why is the same for many.
                    Some(why) if requirement.starts_with("the verifier's analysis") => why.clone(),
                    Some(why) => format!("{requirement}: {why}"),
                    None => requirement.clone(),
                };
                by_what.entry(what).or_default().add(at, row);
            }
        }
    }
    // What most programs rest on comes first.
    let mut by_what: Vec<_> = by_what.into_iter().collect();
    by_what.sort_by_key(|(_, affected)| Reverse(affected.programs.len()));
    let most = if whole { usize::MAX } else { ASSUMPTIONS_SHOWN };
    let mut text = if by_what.is_empty() { String::new() } else { "\n".to_owned() };
    for (what, affected) in by_what.iter().take(most) {
        let what = affected.say(what, whole);
        text.push_str(&labelled("assumed", 0, &what, 9, screen.columns));
    }
    if by_what.len() > most {
        let more = count(by_what.len() - most, "more assumption");
        text.push_str(&paragraph(&format!("and {more}, with -o wide"), 0, screen.columns));
    }
    text
}

fn reasons(matrix: &Matrix, groups: &[Vec<usize>], whole: bool, screen: &Screen) -> String {
    let mut by_reason: BTreeMap<(&str, &str), Affected> = BTreeMap::new();
    for row in &matrix.rows {
        for (at, group) in groups.iter().enumerate() {
            for Reason { code, message, remedy, .. } in &row.verdicts[group[0]].reasons {
                let affected = by_reason.entry((code, message)).or_default();
                affected.remedy = remedy;
                affected.add(at, row);
            }
        }
    }
    let most = if whole { usize::MAX } else { REASONS_SHOWN };
    let mut by_code: BTreeMap<&str, Vec<(&str, &Affected)>> = BTreeMap::new();
    for ((code, message), affected) in &by_reason {
        by_code.entry(code).or_default().push((message, affected));
    }
    let mut text = String::new();
    for (code, mut reasons) in by_code {
        // What stands in the way of most programs comes first.
        reasons.sort_by_key(|(_, affected)| Reverse(affected.programs.len()));
        text.push('\n');
        for (at, (message, affected)) in reasons.iter().take(most).enumerate() {
            let label = if at == 0 { line(code) } else { String::new() };
            text.push_str(&labelled(&label, 0, &affected.say(message, whole), 9, screen.columns));
        }
        if reasons.len() > most {
            let more = count(reasons.len() - most, "more reason");
            text.push_str(&paragraph(&format!("and {more}, with -o wide"), 9, screen.columns));
        }
        let remedies: BTreeSet<&str> = reasons.iter().map(|(_, affected)| affected.remedy).collect();
        for remedy in remedies {
            text.push_str(&paragraph(&format!("> {}", line(remedy)), 9, screen.columns));
        }
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
