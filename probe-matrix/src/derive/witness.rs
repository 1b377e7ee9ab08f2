//! The witnesses of `data/derived.tsv`: what in a kernel's files shows that it has something.

use super::{Offline, Setting};
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::BtfKind;
use std::collections::HashMap;
use std::sync::LazyLock;

/// One thing to look for.
#[derive(Clone, Copy)]
enum Witness {
    Enumerator(&'static str),
    Member(&'static str, &'static str),
    Parameters(&'static str, &'static str),
    Struct(&'static str),
    Function(&'static str),
    Parameter(&'static str, &'static str),
    Symbol(&'static str, &'static str),
    Option(&'static str),
    Fact(&'static str),
}

/// A witness, and whether it shows no more than that the kernel is of a series.
struct Alternative {
    witness: Witness,
    kinship: bool,
}

/// The witnesses of a fact: all of the outer, one of the inner.
type Conditions = Vec<Vec<Alternative>>;

static TABLE: LazyLock<HashMap<&'static str, Conditions>> = LazyLock::new(|| {
    let rows = include_str!("../../data/derived.tsv").lines();
    let rows = rows.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let (fact, conditions) = line.split_once('\t').expect("derived.tsv has two columns");
        let conditions = conditions.split(',').map(|all| all.split('|').map(alternative).collect());
        (fact, conditions.collect())
    })
    .collect()
});

/// Panics on a malformed table: it is part of the program and read by its tests.
fn alternative(text: &'static str) -> Alternative {
    let (kinship, text) = text.strip_prefix('~').map_or((false, text), |rest| (true, rest));
    let (kind, name) = text.split_once(':').expect("a witness has a kind and a name");
    let two = |mark| name.split_once(mark).expect("a witness of two names");
    let witness = match kind {
        "enum" => Witness::Enumerator(name),
        "member" => Witness::Member(two('.').0, two('.').1),
        "params" => Witness::Parameters(two('/').0, two('/').1),
        "type" => Witness::Struct(name),
        "func" => Witness::Function(name),
        "param" => Witness::Parameter(two('.').0, two('.').1),
        "symbol" => Witness::Symbol(two('/').0, two('/').1),
        "config" => Witness::Option(name),
        "fact" => Witness::Fact(name),
        _ => panic!("derived.tsv: no witness is called {kind}"),
    };
    Alternative { witness, kinship }
}

/// The facts of the table.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names.into_iter()
}

/// What a witness says.
struct Statement {
    support: Support,
    evidence: Evidence,
    reason: String,
}

impl Offline<'_> {
    /// A fact of the table.
    pub(super) fn witnessed(&self, name: &str) -> Option<Fact> {
        let conditions = TABLE.get(name)?;
        let statements: Vec<Statement> = conditions.iter().map(|all| self.one_of(all)).collect();
        // One no suffices, and the best founded one is told; a yes is as strong as the weakest that it needs.
        let of = |support| statements.iter().filter(move |said| said.support == support);
        let said = of(Support::No)
            .max_by_key(|said| said.evidence)
            .or_else(|| of(Support::Unknown).next())
            .or_else(|| of(Support::Yes).min_by_key(|said| said.evidence))?;
        Some(Fact::new(said.support, said.evidence, "the kernel's files").reason(said.reason.clone()))
    }

    /// What a witness shows, or one of alternatives, in the words of the table. One of kinship (`~`) is `assumed`.
    pub(crate) fn shown(&self, witness: &'static str) -> Fact {
        let alternatives: Vec<_> = witness.split('|').map(alternative).collect();
        let said = self.one_of(&alternatives);
        Fact::new(said.support, said.evidence, "the kernel's files").reason(said.reason)
    }

    fn one_of(&self, alternatives: &[Alternative]) -> Statement {
        let mut said = alternatives.iter().map(|alternative| {
            let (support, reason) = self.witness(alternative.witness);
            let evidence = if alternative.kinship { Evidence::Assumed } else { Evidence::Derived };
            Statement { support, evidence, reason }
        });
        // In the order of the table, the better founded first: the first that knows decides, and a yes over a no.
        let mut best: Option<Statement> = None;
        for statement in said.by_ref() {
            let better = match &best {
                None => true,
                Some(best) => {
                    best.support == Support::Unknown
                        || best.support == Support::No && statement.support == Support::Yes
                }
            };
            if better {
                best = Some(statement);
            }
        }
        best.unwrap_or(Statement {
            support: Support::Unknown,
            evidence: Evidence::Assumed,
            reason: "nothing was looked for".to_owned(),
        })
    }

    fn witness(&self, witness: Witness) -> (Support, String) {
        let no_btf = || (Support::Unknown, "the kernel's BTF is not known".to_owned());
        // What is missing in types that were read in part may stand in the rest.
        let whole = self.vmlinux.as_ref().is_some_and(|btf| btf.vmlinux().stopped_at().is_none());
        let absent = if whole { Support::No } else { Support::Unknown };
        let told = |there: bool, what: String| {
            if there { (Support::Yes, what) } else { (absent, format!("no {what}")) }
        };
        match witness {
            Witness::Enumerator(_) | Witness::Member(..) | Witness::Parameters(..) | Witness::Struct(_)
                if self.vmlinux.is_none() =>
            {
                no_btf()
            }
            Witness::Enumerator(name) => {
                told(self.enumerators.contains(name), format!("enumerator {name} in the kernel's BTF"))
            }
            Witness::Struct(name) => {
                told(self.structure(name).is_some(), format!("struct {name} in the kernel's BTF"))
            }
            Witness::Parameters(name, at_least) => {
                let called = name.split_once('.').and_then(|(name, member)| self.callback(name, member));
                match (called, at_least.parse::<u32>()) {
                    (Some(called), Ok(at_least)) => {
                        told(called.count >= at_least, format!("{at_least} parameters of {name}()"))
                    }
                    _ => (Support::Unknown, format!("no {name}() in the kernel's BTF")),
                }
            }
            Witness::Member(name, member) => match self.vmlinux.as_ref().zip(self.structure(name)) {
                None => (Support::Unknown, format!("no struct {name} in the kernel's BTF")),
                // Vendors put members that they backport into anonymous unions.
                Some((btf, ty)) => told(
                    btf.vmlinux().offset_of(ty, member).is_some(),
                    format!("member {member} of struct {name} in the kernel's BTF"),
                ),
            },
            Witness::Function(name) => {
                if self.in_vmlinux(name, BtfKind::Func) || self.has_symbol(name) == Some(true) {
                    (Support::Yes, format!("function {name}()"))
                } else {
                    (Support::Unknown, format!("function {name}() does not show"))
                }
            }
            Witness::Parameter(name, parameter) => match self.has_parameter(name, parameter) {
                None => (Support::Unknown, format!("no function {name} in the kernel's BTF")),
                Some(there) => told(there, format!("parameter {parameter} of {name}() in the kernel's BTF")),
            },
            Witness::Symbol(name, other) => match (self.has_symbol(name), self.has_symbol(other)) {
                (Some(true), _) => (Support::Yes, format!("symbol {name}")),
                (Some(false), Some(true)) => (Support::No, format!("no symbol {name}")),
                _ => (Support::Unknown, format!("the image's symbols do not tell of {name}")),
            },
            Witness::Option(name) => match self.option(name) {
                Setting::Unknown => (Support::Unknown, "the kernel's configuration is not known".to_owned()),
                Setting::On(value) => (Support::Yes, format!("{name}={value}")),
                Setting::Off => (Support::No, format!("{name} is not set")),
            },
            Witness::Fact(name) => {
                let fact = self.fact(name);
                let support = fact.as_ref().map_or(Support::Unknown, |fact| fact.support);
                (support, fact.and_then(|fact| fact.reason).unwrap_or_else(|| name.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;

    #[test]
    fn the_table_names_facts_and_rests_on_facts_that_it_has() {
        for (name, conditions) in TABLE.iter() {
            assert!(facts::row(name).is_some(), "{name} is not in data/facts");
            for alternative in conditions.iter().flatten() {
                if let Witness::Fact(other) = alternative.witness {
                    assert!(TABLE.contains_key(other) || other == "btf.vmlinux", "{name}: {other}");
                    assert_ne!(*name, other);
                }
            }
        }
    }
}
