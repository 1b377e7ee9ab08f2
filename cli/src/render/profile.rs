//! A node profile for people: single facts in tables, families of facts (helpers, map types) as lists by answer.

use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::NodeSummary;
use probe_matrix::facts::{self, Evidence, Fact, Facts, Support};
use probe_matrix::profile::NodeProfile;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A family with fewer members is shown fact by fact.
const FAMILY_LEAST: usize = 4;
/// A family with more is only counted in an overview: the helpers of each program type.
const LISTED_MOST: usize = 100;

/// How much is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Large families as numbers.
    Overview,
    /// Every name.
    Full,
}

/// The profile: which node it is of, how many facts there are, and the facts.
pub fn profile(profile: &NodeProfile, extent: Extent, screen: &Screen) -> String {
    let mut text = String::new();
    // With --only, what a node is recognised by may not have been asked for.
    if profile.host.release.is_some() {
        let node = named(&NodeSummary::of(profile));
        text.push_str(&labelled("Node", 0, &node, 9, screen.columns));
    }
    text.push_str(&labelled("Depth", 0, profile.depth.word(), 9, screen.columns));
    text.push_str(&facts(&profile.facts, extent, screen));
    text
}

/// Facts by the first part of their names, each group with its rows first and its families after them.
fn facts(facts: &Facts, extent: Extent, screen: &Screen) -> String {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (name, fact) in facts.iter() {
        let group = groups.entry(name.split('.').next().unwrap_or(name)).or_default();
        match family(name) {
            Some(family) => group.families.entry(family).or_default().push((name, fact)),
            None => group.rows.push((name, fact)),
        }
    }
    let count = match facts.len() {
        0 => "none".to_owned(),
        count => format!("{count}: {}", tally(facts.iter().map(|(_, fact)| fact))),
    };
    let mut text = labelled("Facts", 0, &count, 9, screen.columns);
    let mut counted = None;
    for (name, group) in &mut groups {
        group.dissolve_small_families();
        let _ = write!(text, "\n{}\n", screen.paint(Tone::Strong, &line(name)));
        if !group.rows.is_empty() {
            text.push_str(&rows(&group.rows, screen));
        }
        let mut after_count = false;
        for (family, members) in &group.families {
            let count = extent == Extent::Overview && members.len() > LISTED_MOST;
            if count {
                counted = Some(*family);
                let tally = tally(members.iter().map(|(_, fact)| *fact));
                // Counts stand line by line, lists are set apart.
                let space = if after_count { "" } else { "\n" };
                let name = line(family);
                let count = paragraph(&format!("{name} ({}): {tally}", members.len()), 2, screen.columns);
                text.push_str(space);
                text.push_str(&count.replacen(&name, &screen.paint(Tone::Strong, &name), 1));
            } else {
                text.push_str(&family_lists(family, members, screen));
            }
            after_count = count;
        }
    }
    if let Some(family) = counted {
        let hint =
            format!("What is only counted is listed by name with --only, as in `--only {}`.", line(family));
        text.push('\n');
        text.push_str(&paragraph(&hint, 0, screen.columns));
    }
    text
}

/// What a reader recognises a node by, in one line.
pub fn named(node: &NodeSummary) -> String {
    let known = |value: &Option<String>| value.as_deref().map(line);
    let mut parts = vec![match (known(&node.release), known(&node.arch)) {
        (Some(release), Some(arch)) => format!("Linux {release} {arch}"),
        (Some(release), None) => format!("Linux {release}"),
        _ => "kernel unknown".to_owned(),
    }];
    parts.extend(known(&node.os));
    parts.extend(known(&node.lockdown).map(|mode| format!("lockdown {mode}")));
    parts.join(", ")
}

#[derive(Default)]
struct Group<'a> {
    rows: Vec<(&'a str, &'a Fact)>,
    families: BTreeMap<&'a str, Vec<(&'a str, &'a Fact)>>,
}

impl Group<'_> {
    fn dissolve_small_families(&mut self) {
        let rows = &mut self.rows;
        self.families.retain(|_, members| {
            let keep = members.len() >= FAMILY_LEAST;
            if !keep {
                rows.append(members);
            }
            keep
        });
    }
}

/// The part of a fact's name that it shares with its family, if the table has a pattern for it:
/// `bpf.helper.xdp` of `bpf.helper.xdp.redirect`.
fn family(name: &str) -> Option<&str> {
    let pattern = &facts::row(name)?.name;
    let (parents, last) = pattern.rsplit_once('.')?;
    // The last placeholder takes all that follows: the family ends where it begins.
    let end = name.match_indices('.').nth(parents.split('.').count() - 1)?.0;
    last.starts_with('<').then(|| &name[..end])
}

/// How many facts have which answer: `12 yes, 3 no`.
fn tally<'a>(facts: impl Iterator<Item = &'a Fact>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for fact in facts {
        *counts.entry(fact.support.word()).or_default() += 1;
    }
    let counts: Vec<String> = ["yes", "no", "denied", "unknown"]
        .iter()
        .filter_map(|word| Some(format!("{} {word}", counts.get(word)?)))
        .collect();
    counts.join(", ")
}

fn tone(support: Support) -> Tone {
    match support {
        Support::Yes => Tone::Good,
        Support::No => Tone::Faint,
        Support::DeniedWorkload => Tone::Bad,
        Support::DeniedObserver | Support::Unknown => Tone::Unsure,
    }
}

fn rows(facts: &[(&str, &Fact)], screen: &Screen) -> String {
    let mut table = Table::new(["FACT", "ANSWER", "VALUE", "EVIDENCE", "ASKED OF"]);
    for (name, fact) in facts {
        table.row([
            line(name).into(),
            Cell::toned(fact.support.word(), tone(fact.support)),
            detail(fact).into(),
            fact.evidence.to_string().into(),
            line(&fact.source).into(),
        ]);
    }
    table.render(screen, 2)
}

/// A fact's value, or why there is none.
fn detail(fact: &Fact) -> String {
    let errno = fact.errno.as_deref().map(line);
    let parts = [fact.value.as_ref().map(value), whom(fact.support), errno, fact.reason.as_deref().map(line)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// To whom a denial is addressed.
fn whom(support: Support) -> Option<String> {
    match support {
        Support::DeniedWorkload => Some("to every workload".to_owned()),
        Support::DeniedObserver => Some("to portolan".to_owned()),
        Support::Yes | Support::No | Support::Unknown => None,
    }
}

/// A value in words: `byte_sz=5515646, kinds=int ptr array`.
fn value(value: &Value) -> String {
    let words =
        |items: &[Value], separator: &str| items.iter().map(self::value).collect::<Vec<_>>().join(separator);
    let shown = match value {
        Value::String(text) => text.clone(),
        // A part of the answer that could not be had.
        Value::Null => "not known".to_owned(),
        Value::Array(items) if items.iter().any(Value::is_object) => words(items, "; "),
        Value::Array(items) => words(items, ", "),
        Value::Object(fields) => {
            let field = |(key, inner): (&String, &Value)| match inner {
                Value::Array(items) if items.is_empty() => format!("{key}=none"),
                Value::Array(items) => format!("{key}={}", words(items, " ")),
                other => format!("{key}={}", self::value(other)),
            };
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    line(&shown)
}

/// The members of a family under each answer that some of them have.
fn family_lists(family: &str, members: &[(&str, &Fact)], screen: &Screen) -> String {
    let mut answers: Vec<(Answer, Vec<String>)> = Vec::new();
    for (name, fact) in members {
        // The errno that a yes or a no was read from tells a reader of lists nothing.
        let decided = matches!(fact.support, Support::Yes | Support::No);
        let errno = fact.errno.as_deref().filter(|_| !decided);
        let answer = Answer { support: fact.support, evidence: fact.evidence, errno };
        let member = line(name.strip_prefix(family).unwrap_or(name).trim_start_matches('.'));
        let shown = match &fact.value {
            Some(Value::String(text)) => format!("{member}={}", line(text)),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => format!("{member}={value}"),
            // A list or an object is for the JSON.
            _ => member,
        };
        match answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, names)) => names.push(shown),
            None => answers.push((answer, vec![shown])),
        }
    }
    answers.sort_by_key(|(answer, _)| (answer.support as u8, std::cmp::Reverse(answer.evidence)));
    let name = line(family);
    let title = paragraph(&format!("{name} ({})", members.len()), 2, screen.columns);
    let mut text = format!("\n{}", title.replacen(&name, &screen.paint(Tone::Strong, &name), 1));
    for (answer, names) in &answers {
        let label = answer.words();
        let mut list = labelled(&label, 4, &names.join(", "), 28, screen.columns);
        if screen.color {
            list = list.replacen(&label, &screen.paint(tone(answer.support), &label), 1);
        }
        text.push_str(&list);
    }
    text
}

/// What members of a family have in common.
#[derive(PartialEq)]
struct Answer<'a> {
    support: Support,
    evidence: Evidence,
    errno: Option<&'a str>,
}

impl Answer<'_> {
    fn words(&self) -> String {
        let whom = whom(self.support).map(|whom| format!(" {whom}")).unwrap_or_default();
        let errno = self.errno.map(|errno| format!(", {}", line(errno))).unwrap_or_default();
        format!("{}{whom} ({}{errno})", self.support.word(), self.evidence)
    }
}
