//! From checks to verdicts, and from verdicts to the variant that a node gets.

use crate::facts::{Evidence, Support};
use crate::reasons::reason;
use crate::verdict::{Check, Outcome, ProgramVerdict, Reason, Stage, VariantVerdict, Verdict};

/// What loading said of a variant.
#[derive(Clone, Debug)]
pub enum Load {
    /// It was not asked: a fact had already decided, a better variant was found, or loading was not wanted.
    NotTried,
    /// The kernel accepted every entry. The verifier's log where it was kept.
    Accepted(Option<String>),
    /// The kernel refused, for these reasons.
    Refused(Vec<Reason>, Option<String>),
    /// The kernel gave no answer that says anything about the object.
    NoAnswer(Vec<Reason>, Option<String>),
}

/// What is judged: a variant of the catalog with its checks.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub variant: String,
    /// Its rank.
    pub rank: u32,
    /// What is lost in it.
    pub loses: Vec<String>,
    /// Its needs against the facts.
    pub checks: Vec<Check>,
    /// What is wrong with it before any kernel is asked: unreadable, no object for this machine, relocations that
    /// cannot be answered.
    pub faults: Vec<Reason>,
}

impl Candidate {
    /// Whether the facts alone rule it out, so that loading it would tell nothing new.
    pub fn is_ruled_out(&self) -> bool {
        !self.faults.is_empty() || self.checks.iter().any(|check| check.outcome == Outcome::Fail)
    }

    /// The verdict, given what loading said.
    ///
    /// An accepted load settles every check of the load stage: the kernel is right, whatever was derived. It settles
    /// nothing about attaching.
    pub fn judge(mut self, load: Load) -> VariantVerdict {
        let mut reasons = std::mem::take(&mut self.faults);
        let accepted = matches!(load, Load::Accepted(_));
        if accepted {
            for check in self.checks.iter_mut().filter(|check| check.stage == Stage::Load) {
                check.outcome = Outcome::Pass;
                check.evidence = Evidence::Loaded;
            }
        }
        let refused = matches!(load, Load::Refused(..));
        let mut open = matches!(load, Load::NoAnswer(..));
        let load_tried = !matches!(load, Load::NotTried);
        let verifier_log = match load {
            Load::NotTried => None,
            Load::Accepted(log) => log,
            Load::Refused(why, log) | Load::NoAnswer(why, log) => {
                reasons.extend(why);
                log
            }
        };
        let blocked = refused || self.is_ruled_out() || !reasons.is_empty() && !open;
        // What the facts said the node lacks explains a refusal better than the verifier's words.
        let lacking = |check: &&Check| refused && check.stage == Stage::Load && check.support == Support::No;
        let failing = |check: &&Check| check.outcome == Outcome::Fail || lacking(check);
        let of_facts: Vec<Reason> = self.checks.iter().filter(failing).map(reason_of).collect();
        reasons.splice(0..0, of_facts);
        if !blocked {
            let undecided: Vec<_> =
                self.checks.iter().filter(|check| check.outcome == Outcome::Undecided).collect();
            open |= !undecided.is_empty();
            reasons.extend(undecided.into_iter().map(reason_of));
        }
        let verdict = if blocked {
            Verdict::Blocked
        } else if open {
            Verdict::Unknown
        } else if self.loses.is_empty() {
            Verdict::Runs
        } else {
            reasons.push(reason("PTL0701", &self.variant, self.loses.join("; ")));
            Verdict::Degraded
        };
        VariantVerdict {
            evidence: if refused { Evidence::Probed } else { self.evidence(Stage::Load, verdict, accepted) },
            attach_evidence: self.evidence(Stage::Attach, verdict, false),
            variant: self.variant,
            rank: self.rank,
            verdict,
            reasons,
            loses: self.loses,
            checks: self.checks,
            load_tried,
            notes: Vec::new(),
            verifier_log,
        }
    }

    /// The evidence of a verdict in one stage. What runs needs all of its checks, so it rests on the weakest; what is
    /// blocked rests on the strongest of those that failed, since each of them suffices.
    fn evidence(&self, stage: Stage, verdict: Verdict, accepted: bool) -> Evidence {
        if accepted {
            return Evidence::Loaded;
        }
        let checks = self.checks.iter();
        let found = if verdict == Verdict::Blocked {
            checks.filter(|check| check.outcome == Outcome::Fail).map(|check| check.evidence).max()
        } else {
            checks.filter(|check| check.stage == stage).map(|check| check.evidence).min()
        };
        found.unwrap_or(Evidence::Derived)
    }
}

/// Why a check does not pass. What its files tell of a kernel says it all; what a running one answered is told in words
/// beside it.
pub(crate) fn reason_of(check: &Check) -> Reason {
    let word = match check.support {
        Support::Yes => "there",
        Support::No => "not there",
        Support::DeniedWorkload => "denied to everybody on this node",
        Support::DeniedObserver => "not visible to this process",
        Support::Unknown => "not known",
    };
    let why = match &check.detail {
        None => word.to_owned(),
        Some(detail) if check.support == Support::No && check.evidence == Evidence::Derived => detail.clone(),
        Some(detail) => format!("{word} ({detail})"),
    };
    reason(&check.code, &check.fact, format!("{}: {why}", check.requirement))
}

/// Picks the variant that the node gets: the first by rank that runs, else the first that is degraded.
///
/// A variant that nobody could judge is never picked, and does not stand in the way of one behind it that runs.
pub fn select(program: &str, mut variants: Vec<VariantVerdict>) -> ProgramVerdict {
    variants.sort_by_key(|variant| variant.rank);
    let first = |verdict| variants.iter().find(|variant| variant.verdict == verdict);
    let chosen = first(Verdict::Runs).or_else(|| first(Verdict::Degraded));
    let decisive = chosen.or_else(|| first(Verdict::Unknown)).or(variants.first());
    ProgramVerdict {
        program: program.to_owned(),
        selected: chosen.map(|variant| variant.variant.clone()),
        verdict: decisive.map_or(Verdict::Blocked, |variant| variant.verdict),
        evidence: decisive.map_or(Evidence::Assumed, |variant| variant.evidence),
        attach_evidence: decisive.map_or(Evidence::Assumed, |variant| variant.attach_evidence),
        variants,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stage: Stage, support: Support, outcome: Outcome) -> Check {
        Check {
            stage,
            requirement: "something".to_owned(),
            fact: "bpf.something".to_owned(),
            support,
            evidence: Evidence::Derived,
            outcome,
            code: "PTL0203".to_owned(),
            detail: None,
        }
    }

    fn candidate(checks: Vec<Check>, loses: &[&str]) -> Candidate {
        let loses = loses.iter().map(|&lost| lost.to_owned()).collect();
        Candidate { variant: "v".to_owned(), rank: 1, loses, checks, faults: Vec::new() }
    }

    #[test]
    fn an_accepted_load_settles_loading_and_nothing_else() {
        let undecided = |stage| check(stage, Support::Unknown, Outcome::Undecided);
        let settled = candidate(vec![undecided(Stage::Load)], &[]).judge(Load::Accepted(None));
        assert_eq!((settled.verdict, settled.evidence), (Verdict::Runs, Evidence::Loaded));
        let open = candidate(vec![undecided(Stage::Attach)], &[]).judge(Load::Accepted(None));
        assert_eq!(open.verdict, Verdict::Unknown);
        let cannot = candidate(vec![check(Stage::Attach, Support::No, Outcome::Fail)], &[]);
        assert_eq!(cannot.judge(Load::Accepted(None)).verdict, Verdict::Blocked);
    }

    #[test]
    fn a_refusal_blocks_and_silence_does_not() {
        let why = || vec![reason("PTL0401", "entry", "refused")];
        assert_eq!(candidate(vec![], &[]).judge(Load::Refused(why(), None)).verdict, Verdict::Blocked);
        assert_eq!(candidate(vec![], &[]).judge(Load::NoAnswer(why(), None)).verdict, Verdict::Unknown);
        let denied = check(Stage::Load, Support::DeniedObserver, Outcome::Undecided);
        assert_eq!(candidate(vec![denied], &[]).judge(Load::NotTried).verdict, Verdict::Unknown);
    }

    #[test]
    fn faults_block_without_a_load() {
        let mut faulty = candidate(vec![], &[]);
        faulty.faults.push(reason("PTL0101", "object", "cut short"));
        assert!(faulty.is_ruled_out());
        assert_eq!(faulty.judge(Load::NotTried).verdict, Verdict::Blocked);
    }

    #[test]
    fn what_runs_wins_over_what_is_degraded_and_over_what_is_unknown() {
        let verdict = |rank, verdict| VariantVerdict {
            variant: format!("v{rank}"),
            rank,
            verdict,
            ..candidate(vec![], &[]).judge(Load::NotTried)
        };
        let selected = |list: Vec<VariantVerdict>| select("p", list).selected;
        let degraded_first = vec![verdict(1, Verdict::Degraded), verdict(2, Verdict::Runs)];
        assert_eq!(selected(degraded_first).as_deref(), Some("v2"));
        let unknown_first = vec![verdict(1, Verdict::Unknown), verdict(2, Verdict::Degraded)];
        assert_eq!(selected(unknown_first).as_deref(), Some("v2"));
        let none = select("p", vec![verdict(1, Verdict::Blocked), verdict(2, Verdict::Unknown)]);
        assert_eq!((none.selected, none.verdict), (None, Verdict::Unknown));
    }
}
