//! The documents that portolan writes. Every format is rendered from these; JSON is these.

pub mod kernel;
pub mod matrix;
pub mod minimize;
pub mod relocate;
pub mod scan;

use probe_matrix::facts::Fact;
use probe_matrix::profile::{API_VERSION, Depth, NodeProfile, Tool};
use probe_matrix::reasons::ReasonRow;
use probe_matrix::sys::name_errnos;
use probe_matrix::verdict::{ProgramVerdict, VariantVerdict, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A document: its kind and its content, in one JSON object.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document<T> {
    /// The version of the document's schema.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Which document it is.
    pub kind: String,
    /// The content; its keys follow `kind`.
    #[serde(flatten)]
    pub content: T,
}

impl<T> Document<T> {
    /// A document of this build's version.
    pub fn new(kind: &str, content: T) -> Document<T> {
        Document { api_version: API_VERSION.to_owned(), kind: kind.to_owned(), content }
    }
}

/// `PreflightReport`: which variant of every program this node gets.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PreflightReport {
    /// What wrote it.
    pub tool: Tool,
    /// The node it is about.
    pub node: NodeSummary,
    /// The catalog it is about.
    pub catalog: CatalogSummary,
    /// Whether objects were loaded into the kernel, or all is decided from facts.
    pub load: bool,
    /// Programs by verdict.
    pub summary: Summary,
    /// Every program that was asked for, in the catalog's order.
    pub programs: Vec<ProgramVerdict>,
}

/// The node, as far as a reader needs it to know which one it was. What is not known is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// `uname -r`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// `uname -m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The distribution, as os-release calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The kernel's lockdown mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<String>,
    /// The boot at which the facts were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When the facts were taken: RFC 3339, UTC.
    pub time: String,
    /// How far the probes went.
    pub depth: Depth,
}

impl NodeSummary {
    /// The summary of a profile.
    pub fn of(profile: &NodeProfile) -> NodeSummary {
        let fact = |name| profile.facts.get(name).and_then(Fact::text).map(str::to_owned);
        NodeSummary {
            release: profile.host.release.clone(),
            arch: profile.host.arch.clone(),
            os: fact("os.pretty_name"),
            lockdown: fact("security.lockdown"),
            boot_id: profile.host.boot_id.clone(),
            time: profile.time.clone(),
            depth: profile.depth,
        }
    }
}

/// The catalog.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CatalogSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The path it was read from; absent for the catalog that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How many programs have which verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Run without loss.
    pub runs: usize,
    /// Run with a loss.
    pub degraded: usize,
    /// Have no variant that runs.
    pub blocked: usize,
    /// Could not be decided.
    pub unknown: usize,
}

impl Summary {
    /// The counts of these verdicts.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Summary {
        let mut summary = Summary::default();
        for verdict in verdicts {
            *match verdict {
                Verdict::Runs => &mut summary.runs,
                Verdict::Degraded => &mut summary.degraded,
                Verdict::Blocked => &mut summary.blocked,
                Verdict::Unknown => &mut summary.unknown,
            } += 1;
        }
        summary
    }
}

/// Objects of the catalog that could not be read, which says nothing about the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnusableObjects {
    /// How many variants have one.
    pub count: usize,
    /// Whether some program has no other object for this machine: no verdict about it is one about the node.
    pub of_whole_program: bool,
}

impl UnusableObjects {
    /// Those behind these verdicts.
    pub fn of(programs: &[ProgramVerdict]) -> UnusableObjects {
        let unreadable = |variant: &VariantVerdict| !variant.load_tried && gives(variant, "PTL0101");
        let mut unusable = UnusableObjects::default();
        for program in programs {
            let count = program.variants.iter().filter(|variant| unreadable(variant)).count();
            let for_others = program.variants.iter().filter(|variant| gives(variant, "PTL0102")).count();
            unusable.count += count;
            unusable.of_whole_program |= count > 0 && count + for_others == program.variants.len();
        }
        unusable
    }
}

fn gives(variant: &VariantVerdict, code: &str) -> bool {
    variant.reasons.iter().any(|reason| reason.code == code)
}

/// `ReasonList`: reason codes with what they mean.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReasonList {
    /// By code.
    pub reasons: Vec<ReasonEntry>,
}

/// One reason code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReasonEntry {
    /// `PTLnnnn`.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it means and why it happens.
    pub explanation: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What to do where nothing but the kernel's files is at hand, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline: Option<&'static str>,
    /// Whether it is no longer given.
    pub retired: bool,
}

impl From<&'static ReasonRow> for ReasonEntry {
    fn from(row: &'static ReasonRow) -> ReasonEntry {
        ReasonEntry {
            code: &row.code,
            title: &row.title,
            explanation: &row.explanation,
            remedy: &row.remedy,
            offline: row.offline.as_deref(),
            retired: row.retired,
        }
    }
}

/// `CatalogReport`: programs of a catalog.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CatalogReport {
    /// The catalog.
    pub catalog: CatalogSummary,
    /// Its programs, or those that were asked for.
    pub programs: Vec<ProgramEntry>,
}

/// One program of a catalog.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProgramEntry {
    /// Its name.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// By rank.
    pub variants: Vec<VariantEntry>,
}

/// One variant of a program.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VariantEntry {
    /// Its name.
    pub name: String,
    /// Its rank; the lowest is tried first.
    pub rank: u32,
    /// What it is, in one sentence.
    pub summary: String,
    /// What is met in the field that the other variants do not serve.
    pub why: String,
    /// What its user gets.
    pub provides: Vec<String>,
    /// What its user does not get.
    pub loses: Vec<String>,
    /// Object files by target.
    pub objects: BTreeMap<String, String>,
}

impl CatalogReport {
    /// The report of these programs.
    pub fn new(catalog: CatalogSummary, programs: &[ebpf::Program]) -> CatalogReport {
        CatalogReport { catalog, programs: programs.iter().map(ProgramEntry::from).collect() }
    }
}

impl From<&ebpf::Program> for ProgramEntry {
    fn from(program: &ebpf::Program) -> ProgramEntry {
        ProgramEntry {
            name: program.name.clone(),
            summary: program.summary.clone(),
            variants: program.variants.iter().map(VariantEntry::from).collect(),
        }
    }
}

impl From<&ebpf::Variant> for VariantEntry {
    fn from(variant: &ebpf::Variant) -> VariantEntry {
        VariantEntry {
            name: variant.name.clone(),
            rank: variant.rank,
            summary: variant.summary.clone(),
            why: variant.why.clone(),
            provides: variant.provides.clone(),
            loses: variant.loses.clone(),
            objects: variant
                .objects
                .iter()
                .map(|(target, file)| (target.to_string(), file.clone()))
                .collect(),
        }
    }
}

/// `LintReport`: what is wrong with a catalog.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LintReport {
    /// The catalog.
    pub catalog: CatalogSummary,
    /// Program by program; empty if nothing is wrong.
    pub findings: Vec<LintFinding>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LintFinding {
    /// `error` or `warning`.
    pub severity: String,
    /// Which check found it.
    pub check: String,
    /// The program.
    pub program: String,
    /// The variant.
    pub variant: String,
    /// The object file, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl LintReport {
    /// The report of these findings.
    pub fn new(catalog: CatalogSummary, findings: &[ebpf::lint::Finding]) -> LintReport {
        LintReport { catalog, findings: findings.iter().map(LintFinding::from).collect() }
    }
}

impl From<&ebpf::lint::Finding> for LintFinding {
    fn from(finding: &ebpf::lint::Finding) -> LintFinding {
        LintFinding {
            severity: finding.severity.to_string(),
            check: finding.check.to_string(),
            program: finding.program.clone(),
            variant: finding.variant.clone(),
            object: finding.object.clone(),
            message: name_errnos(&finding.message),
        }
    }
}
