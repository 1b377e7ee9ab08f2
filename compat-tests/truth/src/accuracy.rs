//! Predictions held against what kernels did.
//!
//! `degraded` counts as `runs`: it loads. `unknown`, and no prediction at all, count as disagreement.

use crate::phase::{LOADERS_PART, NOT_MEASURED};
use crate::table::{Entry, Truth};
use std::collections::BTreeMap;
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
    /// `runs`, `degraded`, `blocked` or `unknown`.
    pub verdict: String,
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

    fn show(&self, title: &str) -> String {
        // Hundredths of a per cent, rounded down, so that 100 % is said of nothing less.
        let share = |part: usize| {
            let share = part * 10_000 / self.total().max(1);
            format!("{}.{:02} %", share / 100, share % 100)
        };
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
            share(agree),
            share(decided)
        );
        text
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Report {
    /// All entries on all kernels.
    pub whole: Matrix,
    /// Entries alone that load on some of the kernels and not on others.
    pub varying: Matrix,
    /// Number of (entry, kernel) left out, by phase.
    pub left_out: BTreeMap<String, usize>,
    /// Disagreements that were decided: what the kernel said, what was predicted and why.
    pub wrong_runs: Vec<String>,
    /// As above, for `blocked` where it loads.
    pub wrong_blocked: Vec<String>,
    /// What was not decided, or not predicted.
    pub undecided: Vec<String>,
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
            let phase = outcome.phase.as_str();
            let found = by_name.get(&(object.as_str(), entry.program.as_str(), release.as_str()));
            if LOADERS_PART.contains(&phase) || NOT_MEASURED.contains(&phase) {
                *report.left_out.entry(phase.to_owned()).or_default() += 1;
                continue;
            }
            let refused = usize::from(phase != "ok");
            let predicted = match found.map(|prediction| prediction.verdict.as_str()) {
                Some("runs" | "degraded") => 0,
                Some("blocked") => 1,
                Some(_) => 2,
                None => 3,
            };
            report.whole.counts[refused][predicted] += 1;
            if varying {
                report.varying.counts[refused][predicted] += 1;
            }
            let line = || {
                let reasons = found.map(|prediction| prediction.reasons.join("; ")).unwrap_or_default();
                let said = format!("{} {phase} {}", outcome.result, outcome.detail);
                format!(
                    "{object} {} {} on {release}: kernel: {said}; predicted: {reasons}",
                    entry.section, entry.program
                )
            };
            match (refused, predicted) {
                (1, 0) => report.wrong_runs.push(line()),
                (0, 1) => report.wrong_blocked.push(line()),
                (_, 2 | 3) => report.undecided.push(line()),
                _ => {}
            }
        }
    }
    report
}

/// Whether the entry loads on some kernels and is refused by others.
fn varies(entry: &Entry) -> bool {
    let judged = || {
        let phases = entry.outcomes.values().map(|outcome| outcome.phase.as_str());
        phases.filter(|phase| !LOADERS_PART.contains(phase) && !NOT_MEASURED.contains(phase))
    };
    judged().any(|phase| phase == "ok") && judged().any(|phase| phase != "ok")
}

impl Report {
    /// As text, every wrong `runs` with its reason.
    pub fn show(&self) -> String {
        let mut text = self.whole.show("all entries");
        text.push('\n');
        text += &self.varying.show("entries whose outcome differs between kernels");
        text += "\nleft out, since they say nothing of the kernel:\n";
        for (phase, count) in &self.left_out {
            let _ = writeln!(text, "  {phase}: {count}");
        }
        let wrong = [
            ("predicted runs, but is refused", &self.wrong_runs),
            ("predicted blocked, but loads", &self.wrong_blocked),
            ("not decided", &self.undecided),
        ];
        for (title, lines) in wrong {
            let _ = writeln!(text, "\n{title}: {}", lines.len());
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Prediction, compare};
    use crate::phase::Outcome;
    use crate::table::Truth;
    use crate::wire::Row;

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

    fn prediction(program: &str, kernel: &str, verdict: &str) -> Prediction {
        let object = "c/p/a.o".into();
        let (program, kernel, verdict) = (program.into(), kernel.into(), verdict.into());
        Prediction { object, program, kernel, verdict, reasons: vec!["PTL0201".into()] }
    }

    #[test]
    fn unknown_and_unpredicted_are_disagreement_and_a_wrong_runs_is_listed() {
        let truth = truth(&[
            ("loads", "6.1", "ok"),
            ("refused", "6.1", "verifier"),
            ("undecided", "6.1", "ok"),
            ("forgotten", "6.1", "ok"),
            ("unset", "6.1", "map_create_size_unset"),
        ]);
        let predictions = [
            prediction("loads", "6.1", "degraded"),
            prediction("refused", "6.1", "runs"),
            prediction("undecided", "6.1", "unknown"),
            prediction("unset", "6.1", "runs"),
        ];
        let report = compare(&truth, &predictions);
        assert_eq!(report.whole.counts, [[1, 0, 1, 1], [1, 0, 0, 0]]);
        assert_eq!((report.whole.agree(), report.whole.decided(), report.whole.total()), (1, 2, 4));
        assert_eq!(report.left_out.get("map_create_size_unset"), Some(&1));
        assert_eq!(report.undecided.len(), 2);
        assert_eq!(report.wrong_runs.len(), 1);
        assert!(report.wrong_runs[0].contains("PTL0201"), "{}", report.wrong_runs[0]);
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
        let predictions = [prediction("varies", "6.1", "runs"), prediction("varies", "5.10", "blocked")];
        let report = compare(&truth, &predictions);
        assert_eq!(report.varying.counts, [[1, 0, 0, 0], [0, 1, 0, 0]]);
        assert_eq!(report.whole.total(), 3);
    }
}
