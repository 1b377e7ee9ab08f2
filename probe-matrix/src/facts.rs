//! Facts: one observed property of a node each, with a value, the evidence for it and what the kernel said.
//!
//! The names are in `data/facts/*.toml`, the one table that code, documentation and tests share.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

/// Whether a node has a property.
///
/// `Unknown` is what a reader of a newer profile makes of a value it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// The node has it.
    Yes,
    /// The node does not have it, and no privilege would change that.
    No,
    /// A policy of the node (lockdown, LSM, admission) refuses it to every workload, this one included.
    DeniedWorkload,
    /// portolan itself lacks a privilege that the question needs; another caller might get another answer.
    DeniedObserver,
    /// Not asked, or the answer cannot be read; `reason` tells why.
    #[serde(other)]
    Unknown,
}

impl Support {
    /// The word shown to people: both denials are `denied`.
    pub fn word(self) -> &'static str {
        match self {
            Support::Yes => "yes",
            Support::No => "no",
            Support::DeniedWorkload | Support::DeniedObserver => "denied",
            Support::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a statement rests on. The order is that of strength: `Evidence::Loaded > Evidence::Assumed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// This object was accepted by this kernel build, boot configuration and privileges.
    Loaded,
    /// Asked of the running kernel.
    Probed,
    /// Probed on the same build elsewhere, and only what boot configuration cannot change.
    Referenced,
    /// Read from the kernel's BTF, configuration or image. Enumerations over-report.
    Derived,
    /// From a version or the same series. Also what an evidence of a newer schema is read as.
    #[serde(other)]
    Assumed,
}

impl Ord for Evidence {
    fn cmp(&self, other: &Evidence) -> Ordering {
        (*other as u8).cmp(&(*self as u8))
    }
}

impl PartialOrd for Evidence {
    fn partial_cmp(&self, other: &Evidence) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Evidence::Loaded => "loaded",
            Evidence::Probed => "probed",
            Evidence::Referenced => "referenced",
            Evidence::Derived => "derived",
            Evidence::Assumed => "assumed",
        })
    }
}

/// One fact. `value` carries what a yes alone does not say: a release, a list of LSMs, a size in bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// Does the node have it?
    pub support: Support,
    /// The property's value where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// What the statement rests on.
    pub evidence: Evidence,
    /// How it was asked, in a few words: `/proc/config.gz`, `BPF_PROG_LOAD`, `/sys/kernel/btf/vmlinux`.
    pub source: String,
    /// The kernel's answer where the question failed, by name: `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Why the value is what it is, where `support` and `errno` do not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Keys of a newer schema, kept as they were read.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl Fact {
    /// A fact without value, errno or reason.
    pub fn new(support: Support, evidence: Evidence, source: impl Into<String>) -> Fact {
        Fact {
            support,
            value: None,
            evidence,
            source: source.into(),
            errno: None,
            reason: None,
            rest: BTreeMap::new(),
        }
    }

    /// The same with a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<serde_json::Value>) -> Fact {
        self.value = Some(value.into());
        self
    }

    /// The same with the name of an errno.
    #[must_use]
    pub fn errno(mut self, errno: impl Into<String>) -> Fact {
        self.errno = Some(errno.into());
        self
    }

    /// The same with a reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Fact {
        self.reason = Some(reason.into());
        self
    }

    /// The value as text, where it is text.
    pub fn text(&self) -> Option<&str> {
        self.value.as_ref()?.as_str()
    }
}

/// Facts by name, in the order of their names.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Fact>);

impl Facts {
    /// Adds a fact. A later one replaces an earlier one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, fact: Fact) {
        self.0.insert(name.into(), fact);
    }

    /// The fact of that name, if it was looked at.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.get(name)
    }

    /// The support of a fact; a fact that was not looked at is `Unknown`, never yes and never no.
    pub fn support(&self, name: &str) -> Support {
        self.get(name).map_or(Support::Unknown, |fact| fact.support)
    }

    /// All facts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// Facts whose name is `group` or lies under it: `bpf.helper` selects `bpf.helper.xdp.redirect`.
    pub fn under<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (&'a str, &'a Fact)> {
        self.0
            .range(group.to_owned()..)
            .map(|(name, fact)| (name.as_str(), fact))
            .take_while(move |(name, _)| name.starts_with(group))
            .filter(move |(name, _)| lies_under(name, group))
    }

    /// How many facts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over all facts of `other`.
    pub fn extend(&mut self, other: Facts) {
        self.0.extend(other.0);
    }

    /// Keeps only the facts that lie under one of `groups`.
    pub fn retain_under(&mut self, groups: &[String]) {
        self.0.retain(|name, _| groups.iter().any(|group| lies_under(name, group)));
    }
}

/// Whether the fact `name` is `group` or one of its members.
pub fn lies_under(name: &str, group: &str) -> bool {
    name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// One row of `data/facts/*.toml`.
#[derive(Debug, Deserialize)]
pub struct FactRow {
    /// The dotted name; a part in angle brackets stands for any one part or, at the end, for all that follow.
    pub name: String,
    /// What a value of the fact is: `string`, `integer`, `list`, `object`; absent where support says it all.
    pub value: Option<String>,
    /// What it tells.
    pub doc: String,
}

#[derive(Deserialize)]
struct FactTable {
    fact: Vec<FactRow>,
}

/// The table of all facts that this build can tell.
///
/// # Panics
/// Never in a build whose tests pass: the table is part of the program.
pub fn table() -> &'static [FactRow] {
    static TABLE: LazyLock<Vec<FactRow>> = LazyLock::new(|| {
        [include_str!("../data/facts/node.toml"), include_str!("../data/facts/bpf.toml")]
            .into_iter()
            .flat_map(|text| toml::from_str::<FactTable>(text).expect("data/facts is well formed").fact)
            .collect()
    });
    &TABLE
}

/// The row that describes the fact `name`: of several that match, the one with the most parts.
pub fn row(name: &str) -> Option<&'static FactRow> {
    let matching = table().iter().filter(|row| matches_pattern(name, &row.name));
    matching.max_by_key(|row| row.name.split('.').count())
}

fn matches_pattern(name: &str, pattern: &str) -> bool {
    let mut parts = name.split('.');
    let mut wanted = pattern.split('.').peekable();
    while let Some(want) = wanted.next() {
        let Some(part) = parts.next() else { return false };
        let placeholder = want.starts_with('<');
        if !placeholder && part != want {
            return false;
        }
        if placeholder && wanted.peek().is_none() {
            return true;
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unseen_fact_is_unknown() {
        assert_eq!(Facts::default().support("bpf.map_type.ringbuf"), Support::Unknown);
    }

    #[test]
    fn values_of_a_newer_schema_are_unknown_and_unknown_keys_are_kept() {
        let text = r#"{"support":"perhaps","evidence":"dreamt","source":"x","colour":"blue"}"#;
        let fact: Fact = serde_json::from_str(text).unwrap();
        assert_eq!((fact.support, fact.evidence), (Support::Unknown, Evidence::Assumed));
        assert!(serde_json::to_string(&fact).unwrap().contains(r#""colour":"blue""#));
    }

    #[test]
    fn groups_end_at_dots() {
        assert!(lies_under("bpf.map_type.hash", "bpf.map_type"));
        assert!(lies_under("bpf.map_type", "bpf.map_type"));
        assert!(!lies_under("bpf.map_type_flags.x", "bpf.map_type"));
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches_pattern("bpf.helper.xdp.redirect", "bpf.helper.<type>.<helper>"));
        assert!(!matches_pattern("bpf.helper.xdp", "bpf.helper.<type>.<helper>"));
        assert!(matches_pattern("btf.module.a.b", "btf.module.<name>"));
        assert!(!matches_pattern("kernel.release.x", "kernel.release"));
    }
}
