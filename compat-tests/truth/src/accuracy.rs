//! Predictions held against what kernels did.
//!
//! `degraded` counts as `runs`: it loads. `unknown`, and no prediction at all, count as disagreement.

use crate::phase::{LOADERS_PART, NOT_MEASURED, Outcome};
use crate::table::{Entry, Truth};
use probe_matrix::facts::Evidence;
use probe_matrix::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What was predicted of one entry on one kernel.
#[derive(Debug)]
pub struct Prediction {
    /// The object as the truth names it.
    pub object: String,
    /// Function of the entry.
    pub program: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Whether it loads.
    pub verdict: Verdict,
    /// How sure that is.
    pub evidence: Evidence,
    /// Why it is not `runs`.
    pub reasons: Vec<String>,
}

/// Counts of one confusion matrix: what the kernel did by what was predicted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Matrix {
    /// Rows: loads, is refused. Columns: runs, blocked, unknown, not predicted.
    pub counts: [[usize; 4]; 2],
}

impl Matrix {
    /// All that was judged.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Predictions that agree with the kernel.
    pub fn agree(&self) -> usize {
        self.counts[0][0] + self.counts[1][1]
    }

    /// Predictions that are `runs` or `blocked`.
    pub fn decided(&self) -> usize {
        self.counts.iter().map(|row| row[0] + row[1]).sum()
    }

    /// Of all, in hundredths of a per cent, rounded down, so that 100 % is said of nothing less.
    fn share(&self, part: usize) -> String {
        let share = part * 10_000 / self.total().max(1);
        format!("{}.{:02} %", share / 100, share % 100)
    }

    fn show(&self, title: &str) -> String {
        let mut text = format!(
            "{title}\n{:12}{:>10}{:>10}{:>10}{:>14}\n",
            "", "runs", "blocked", "unknown", "not predicted"
        );
        for (name, row) in ["loads", "is refused"].iter().zip(self.counts) {
            let _ = writeln!(text, "{name:12}{:>10}{:>10}{:>10}{:>14}", row[0], row[1], row[2], row[3]);
        }
        let (agree, decided) = (self.agree(), self.decided());
        let _ = writeln!(
            text,
            "agree {agree} of {} = {}; decided {decided} = {}",
            self.total(),
            self.share(agree),
            self.share(decided)
        );
        text
    }
}

/// How a prediction disagrees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `runs`, and the kernel refuses it.
    WrongRuns(Evidence),
    /// `blocked`, and the kernel loads it.
    WrongBlocked(Evidence),
    /// `unknown`, or nothing was predicted.
    Undecided,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Report {
    /// All entries on all kernels.
    pub whole: Matrix,
    /// Entries alone that load on some of the kernels and not on others.
    pub varying: Matrix,
    /// By release of the kernel.
    pub kernels: BTreeMap<String, Matrix>,
    /// Of what was decided, by prediction and evidence: how many, and how many of them the kernel gainsays.
    pub evidence: BTreeMap<(&'static str, Evidence), (usize, usize)>,
    /// What was left out, by phase: objects, with the number of (entry, kernel).
    pub left_out: BTreeMap<String, BTreeMap<String, usize>>,
    /// Disagreements in words, with the kernels on which they are the same.
    pub disagreements: BTreeMap<(Kind, String), BTreeSet<String>>,
}

/// Compares.
pub fn compare(truth: &Truth, predictions: &[Prediction]) -> Report {
    let mut report = Report::default();
    let mut by_name: BTreeMap<(&str, &str, &str), &Prediction> = BTreeMap::new();
    for prediction in predictions {
        let key = (prediction.object.as_str(), prediction.program.as_str(), prediction.kernel.as_str());
        by_name.insert(key, prediction);
    }
    for ((object, _), entry) in &truth.entries {
        let varying = varies(entry);
        for (release, outcome) in &entry.outcomes {
            if !counts(outcome) {
                let objects = report.left_out.entry(outcome.phase.clone()).or_default();
                *objects.entry(object.clone()).or_default() += 1;
                continue;
            }
            let found = by_name.get(&(object.as_str(), entry.program.as_str(), release.as_str())).copied();
            let refused = outcome.phase != "ok";
            let (column, kind) = report.judge(found, refused);
            let of_kernel = report.kernels.entry(release.clone()).or_default();
            for matrix in
                [&mut report.whole, of_kernel].into_iter().chain(varying.then_some(&mut report.varying))
            {
                matrix.counts[usize::from(refused)][column] += 1;
            }
            if let Some(kind) = kind {
                let reasons = found.map(|prediction| prediction.reasons.join("; ")).unwrap_or_default();
                let Outcome { result, phase, detail } = outcome;
                let line = format!(
                    "{object} {} {}: kernel: {result} {phase} {detail}; predicted: {reasons}",
                    entry.section, entry.program
                );
                report.disagreements.entry((kind, line)).or_default().insert(release.clone());
            }
        }
    }
    report
}

/// Whether the outcome tells of the kernel and of the entry.
pub(crate) fn counts(outcome: &Outcome) -> bool {
    let phase = outcome.phase.as_str();
    !LOADERS_PART.contains(&phase) && !NOT_MEASURED.contains(&phase)
}

/// Whether the entry loads on some kernels and is refused by others.
fn varies(entry: &Entry) -> bool {
    let mut judged = entry.outcomes.values().filter(|outcome| counts(outcome));
    let first = judged.next().map(|outcome| outcome.phase == "ok");
    judged.any(|outcome| Some(outcome.phase == "ok") != first)
}

impl Report {
    /// Column of the matrix, and how the prediction disagrees if it does.
    fn judge(&mut self, found: Option<&Prediction>, refused: bool) -> (usize, Option<Kind>) {
        let Some(Prediction { verdict, evidence, .. }) = found else {
            return (3, Some(Kind::Undecided));
        };
        let (column, name, wrong) = match verdict {
            Verdict::Runs | Verdict::Degraded => (0, "runs", refused.then_some(Kind::WrongRuns(*evidence))),
            Verdict::Blocked => (1, "blocked", (!refused).then_some(Kind::WrongBlocked(*evidence))),
            Verdict::Unknown => return (2, Some(Kind::Undecided)),
        };
        let (all, gainsaid) = self.evidence.entry((name, *evidence)).or_default();
        *all += 1;
        *gainsaid += usize::from(wrong.is_some());
        (column, wrong)
    }

    /// As text, with every disagreement.
    pub fn show(&self, set: &str) -> String {
        let mut text = format!("== {set}\n\n{}\n", self.whole.show("all entries"));
        text += &self.varying.show("entries whose outcome differs between kernels");
        text += "\nby kernel: agree; wrongly runs, wrongly blocked, not decided\n";
        for (release, matrix) in &self.kernels {
            let [[_, blocked, ..], [runs, ..]] = matrix.counts;
            let (agree, total) = (matrix.agree(), matrix.total());
            let (share, open) = (matrix.share(agree), total - matrix.decided());
            let release = short(release);
            let _ =
                writeln!(text, "  {release:16}{agree:>6} of {total} = {share}; {runs}, {blocked}, {open}");
        }
        text += "\nwhat was decided, by evidence:\n";
        for ((verdict, evidence), (all, gainsaid)) in &self.evidence {
            let _ = writeln!(text, "  {verdict}, {evidence}: {all}, of which the kernel gainsays {gainsaid}");
        }
        text += "\nleft out, since they say nothing of the kernel (entries times kernels):\n";
        for (phase, objects) in &self.left_out {
            let _ = writeln!(text, "  {phase}: {}", objects.values().sum::<usize>());
            for (object, count) in objects {
                let _ = writeln!(text, "    {object}: {count}");
            }
        }
        let mut of_kind: BTreeMap<Kind, Vec<(&str, &BTreeSet<String>)>> = BTreeMap::new();
        for ((kind, line), kernels) in &self.disagreements {
            of_kind.entry(*kind).or_default().push((line, kernels));
        }
        for (kind, lines) in of_kind {
            let title = match kind {
                Kind::WrongRuns(evidence) => format!("predicted runs, {evidence}, but is refused"),
                Kind::WrongBlocked(evidence) => format!("predicted blocked, {evidence}, but loads"),
                Kind::Undecided => "not decided".to_owned(),
            };
            let count: usize = lines.iter().map(|(_, kernels)| kernels.len()).sum();
            let _ = writeln!(text, "\n{title}: {count}");
            for (line, kernels) in lines {
                let kernels: Vec<&str> = kernels.iter().map(|release| short(release)).collect();
                let _ = writeln!(text, "  [{}] {line}", kernels.join(" "));
            }
        }
        text.push('\n');
        text
    }
}

/// A release without what all of them end in.
fn short(release: &str) -> &str {
    release.trim_end_matches("-amd64").trim_end_matches("-cloud")
}

#[cfg(test)]
mod tests {
    use super::{Kind, Prediction, compare};
    use crate::phase::Outcome;
    use crate::table::Truth;
    use crate::wire::Row;
    use probe_matrix::facts::Evidence;
    use probe_matrix::verdict::Verdict;

    fn truth(outcomes: &[(&str, &str, &str)]) -> Truth {
        let mut truth = Truth::default();
        for (index, (program, release, phase)) in outcomes.iter().enumerate() {
            let row =
                Row { object: "c/p/a.o".into(), index, program: (*program).to_owned(), ..Row::default() };
            let outcome = Outcome { result: "x".into(), phase: (*phase).to_owned(), detail: String::new() };
            truth.add(release, &row, outcome);
        }
        truth
    }

    fn prediction(program: &str, kernel: &str, verdict: Verdict) -> Prediction {
        let object = "c/p/a.o".into();
        let (program, kernel, evidence) = (program.into(), kernel.into(), Evidence::Assumed);
        Prediction { object, program, kernel, verdict, evidence, reasons: vec!["PTL0201".into()] }
    }

    #[test]
    fn unknown_and_unpredicted_are_disagreement_and_a_wrong_runs_is_listed_by_its_evidence() {
        let truth = truth(&[
            ("loads", "6.1", "ok"),
            ("refused", "6.1", "verifier"),
            ("undecided", "6.1", "ok"),
            ("forgotten", "6.1", "ok"),
            ("unset", "6.1", "map_create_size_unset"),
        ]);
        let predictions = [
            prediction("loads", "6.1", Verdict::Degraded),
            prediction("refused", "6.1", Verdict::Runs),
            prediction("undecided", "6.1", Verdict::Unknown),
            prediction("unset", "6.1", Verdict::Runs),
        ];
        let report = compare(&truth, &predictions);
        assert_eq!(report.whole.counts, [[1, 0, 1, 1], [1, 0, 0, 0]]);
        assert_eq!((report.whole.agree(), report.whole.decided(), report.whole.total()), (1, 2, 4));
        assert_eq!(report.kernels["6.1"], report.whole);
        assert_eq!(report.left_out["map_create_size_unset"]["c/p/a.o"], 1);
        assert_eq!(report.evidence[&("runs", Evidence::Assumed)], (2, 1));
        let kinds: Vec<Kind> = report.disagreements.keys().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::WrongRuns(Evidence::Assumed), Kind::Undecided, Kind::Undecided]);
        assert!(report.show("suite").contains("predicted runs, assumed, but is refused: 1\n  [6.1] c/p/a.o"));
    }

    #[test]
    fn only_entries_that_differ_between_kernels_are_in_the_second_matrix() {
        let mut truth = truth(&[("varies", "6.1", "ok"), ("always", "6.1", "ok")]);
        let row = Row { object: "c/p/a.o".into(), index: 0, program: "varies".into(), ..Row::default() };
        truth.add(
            "5.10",
            &row,
            Outcome { result: "EINVAL".into(), phase: "verifier".into(), detail: String::new() },
        );
        let predictions =
            [prediction("varies", "6.1", Verdict::Runs), prediction("varies", "5.10", Verdict::Blocked)];
        let report = compare(&truth, &predictions);
        assert_eq!(report.varying.counts, [[1, 0, 0, 0], [0, 1, 0, 0]]);
        assert_eq!(report.whole.total(), 3);
    }
}
