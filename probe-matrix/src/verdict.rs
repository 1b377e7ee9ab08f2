//! Verdicts: whether a variant runs on a node, on what evidence, and what to do where it does not.

use crate::facts::{Evidence, Support};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether something runs on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It runs and loses nothing.
    Runs,
    /// It runs; what is lost is named.
    Degraded,
    /// It cannot run, for the reasons given.
    Blocked,
    /// Not decided. Also what a verdict of a newer schema is read as.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Runs => "runs",
            Verdict::Degraded => "degraded",
            Verdict::Blocked => "blocked",
            Verdict::Unknown => "unknown",
        })
    }
}

/// Why a verdict is not `runs`: a stable code with what it is about. Title, explanation and remedy are in
/// `data/reasons.toml`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// `PTLnnnn`, a code of `data/reasons.toml`.
    pub code: String,
    /// What it is about: a fact's name, an entry, a map.
    pub subject: String,
    /// The particular case, in one line.
    pub message: String,
    /// The kernel's answer, by name, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// What to do about it.
    pub remedy: String,
}

/// A number of things: `1 argument`, `2 arguments`.
pub(crate) fn count(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// How one requirement met the facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Met.
    Pass,
    /// Not met, and this blocks.
    Fail,
    /// Neither is known.
    #[serde(other)]
    Undecided,
}

/// When a requirement must be met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// For the kernel to accept the object. Loading settles it, whatever the facts say.
    Load,
    /// For it to be attached and to fire. Loading says nothing about it.
    Attach,
}

/// One line of the decision tree: a requirement of the object against a fact of the node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// When it must be met.
    pub stage: Stage,
    /// What the object needs, in words: `helper ringbuf_output in tracing programs`.
    pub requirement: String,
    /// The fact that answers it.
    pub fact: String,
    /// What the node says.
    pub support: Support,
    /// On what evidence.
    pub evidence: Evidence,
    /// What follows.
    pub outcome: Outcome,
    /// The reason code that a failure of this check has.
    pub code: String,
    /// The fact's own reason, errno or value, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The judgement of one variant on one node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantVerdict {
    /// The variant's name in the catalog.
    pub variant: String,
    /// Its rank; 1 is tried first.
    pub rank: u32,
    /// What was decided.
    pub verdict: Verdict,
    /// What the part of the verdict rests on that says whether the kernel accepts it.
    pub evidence: Evidence,
    /// What the part rests on that says whether it can be attached and fires: the weakest of the facts it needs.
    pub attach_evidence: Evidence,
    /// Why it is not `runs`, the decisive reason first.
    pub reasons: Vec<Reason>,
    /// What is lost where the verdict is `degraded`; also what would be lost in a variant that is not chosen.
    pub loses: Vec<String>,
    /// The decision tree.
    pub checks: Vec<Check>,
    /// Whether the kernel was asked to load it.
    pub load_tried: bool,
    /// What it was loaded without that an older kernel does not know, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The verifier's log where it was kept (`--verbose`) or where the load was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier_log: Option<String>,
}

/// The judgement of one program of the catalog: all its variants, and the one that this node gets.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramVerdict {
    /// The program's name in the catalog.
    pub program: String,
    /// The chosen variant's name, if one is chosen.
    pub selected: Option<String>,
    /// Verdict of the program: that of the chosen variant; `unknown` if none is chosen and one is undecided.
    pub verdict: Verdict,
    /// What the verdict rests on, as in [`VariantVerdict::evidence`].
    pub evidence: Evidence,
    /// As in [`VariantVerdict::attach_evidence`].
    pub attach_evidence: Evidence,
    /// Every variant, by rank.
    pub variants: Vec<VariantVerdict>,
}
