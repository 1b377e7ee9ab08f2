//! What a program may return: `data/returns.tsv`.

use super::Predictor;
use super::reached::Reached;
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Stage};
use btf_catalog::object::Entry;
use btf_catalog::verify::ReturnRange;
use btf_catalog::{AttachType, ProgType};
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// The largest number that is an error where negative: `MAX_ERRNO` of include/linux/err.h.
const MAX_ERRNO: i64 = 4095;

struct Row {
    prog_type: ProgType,
    /// `None`: any.
    attach_types: Option<Vec<AttachType>>,
    range: Range,
    rule: Option<&'static str>,
}

#[derive(Clone)]
enum Range {
    Any,
    Numbers(RangeInclusive<i64>),
    Lsm,
    LsmCgroup,
}

/// The range that a kernel asks for.
struct Allowed {
    numbers: RangeInclusive<i64>,
    /// Whether the lower 32 bits are looked at alone.
    half: bool,
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/returns.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [prog_type, attach_types, range, rule] = columns[..] else { panic!("returns.tsv: {line}") };
        let attach_type = |name| AttachType::from_name(name).expect("returns.tsv names attach types");
        let number = |text: &str| text.parse::<i64>().expect("returns.tsv: a range has two numbers");
        Row {
            prog_type: ProgType::from_name(prog_type).expect("returns.tsv names program types"),
            attach_types: (attach_types != "*").then(|| attach_types.split(',').map(attach_type).collect()),
            range: match range.split_once("..") {
                Some((min, max)) => Range::Numbers(number(min)..=number(max)),
                None if range == "lsm" => Range::Lsm,
                None if range == "lsm_cgroup" => Range::LsmCgroup,
                None => Range::Any,
            },
            rule: (rule != "-").then_some(rule),
        }
    };
    rows.map(row).collect()
});

/// What comes of the numbers that an entry returns.
pub(super) struct Returns {
    /// Whether every verifier sees that the program may return all of them.
    pub(super) allowed: bool,
    /// The range that this kernel's verifier asks for.
    pub(super) range: Option<ReturnRange>,
    pub(super) checks: Vec<Check>,
}

impl Predictor<'_> {
    /// Holds what an entry returns against what its type may.
    pub(super) fn returns(&self, entry: &Entry, reached: &Reached) -> Returns {
        let unknown = Returns { allowed: false, range: None, checks: Vec::new() };
        let Some(kind) = &entry.kind else { return unknown };
        let meant = |row: &&Row| {
            let attach_types = row.attach_types.as_ref();
            row.prog_type == kind.prog_type
                && attach_types.is_none_or(|types| kind.attach_type.is_some_and(|ty| types.contains(&ty)))
        };
        let rule = |row: &Row| row.rule.map_or(Support::Yes, |rule| self.kernel.shown(rule).support);
        let mut rows = TABLE.iter().filter(meant).map(|row| (row, rule(row)));
        let Some((row, rule)) = rows.find(|(_, rule)| *rule != Support::No) else { return unknown };
        let target = kind.target.as_deref().unwrap_or_default();
        let asked = match &row.range {
            Range::Any => return Returns { allowed: true, ..unknown },
            Range::Numbers(numbers) => Allowed { numbers: numbers.clone(), half: false },
            Range::Lsm | Range::LsmCgroup => match self.hook_range(target, &row.range) {
                Some(asked) => asked,
                None => return unknown,
            },
        };
        let (range, half) = (&asked.numbers, asked.half);
        let outside = |returned: &&btf_catalog::reach::Returned| returned.within(range, half) == Some(false);
        let refused = reached.reach.returns.iter().find(outside).map(|returned| {
            let what =
                returned.constant(half).map_or_else(|| "a pointer".to_owned(), |number| number.to_string());
            let (min, max) = (range.start(), range.end());
            let why = if min == max {
                format!("returns {what}; it may return {min} only")
            } else {
                format!("returns {what}; it may return {min} to {max}")
            };
            let fact = Fact::new(Support::No, Evidence::Derived, "the instructions").reason(why);
            let requirement = reached.place(returned.insn_off);
            // Before v6.8, verifiers take a result for another that they have seen leave there.
            let others = reached.reach.returns.iter().filter(|other| other.insn_off == returned.insn_off);
            let heard = self.kernel.shown("type:bpf_retval_range").support == Support::Yes
                || others.into_iter().all(|other| outside(&other));
            against(
                Stage::Load,
                "PTL0223",
                requirement,
                "object",
                Some(&fact),
                rule != Support::Yes || !heard,
            )
        });
        let mut returns = reached.reach.returns.iter();
        let (min, max) = (*range.start(), *range.end());
        Returns {
            range: (rule == Support::Yes).then_some(ReturnRange { min, max, half }),
            allowed: !reached.reach.cut_short
                && returns.all(|returned| returned.within(range, half) == Some(true)),
            checks: refused.into_iter().collect(),
        }
    }

    /// What the programs of an LSM hook may return; `None` where the hook is not known or anything may be returned.
    fn hook_range(&self, target: &str, range: &Range) -> Option<Allowed> {
        let hook = format!("bpf_lsm_{target}");
        let returns = self.kernel.function(&hook)?.returns;
        match range {
            Range::LsmCgroup if returns => Some(Allowed { numbers: 0..=1, half: false }),
            Range::LsmCgroup => Some(Allowed { numbers: 1..=1, half: false }),
            _ if !returns => None,
            _ => match self.kernel.in_set("bool_lsm_hooks", &hook) {
                Some(true) => Some(Allowed { numbers: 0..=1, half: true }),
                Some(false) => Some(Allowed { numbers: -MAX_ERRNO..=0, half: true }),
                // Of one of the two kinds.
                None => Some(Allowed { numbers: -MAX_ERRNO..=1, half: true }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_a_kind_of_program_is_the_rule_of_all_kernels() {
        for prog_type in ProgType::all() {
            let rows: Vec<_> = TABLE.iter().filter(|row| row.prog_type == prog_type).collect();
            let left_out = [ProgType::UNSPEC, ProgType::STRUCT_OPS, ProgType::EXT].contains(&prog_type);
            assert_eq!(rows.is_empty(), left_out, "{prog_type}");
            assert!(rows.last().is_none_or(|row| row.rule.is_none()), "{prog_type}");
        }
    }
}
