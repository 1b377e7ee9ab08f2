//! Helpers that not all programs of a type are offered: `data/helpers_by_attach.tsv`.

use super::Offline;
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::{AttachType, HelperId, ProgType};
use std::collections::HashMap;
use std::sync::LazyLock;

struct Row {
    programs: Vec<ProgType>,
    at: At,
    target: Target,
    shown: Vec<&'static str>,
}

enum At {
    Any,
    These(Vec<AttachType>),
    AllBut(Vec<AttachType>),
}

enum Target {
    Any,
    Is(&'static str),
    InSets(Vec<&'static str>),
}

/// Where a program goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: AttachType,
    /// Function, tracepoint or hook, as the section names it.
    pub(crate) target: Option<String>,
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<HashMap<HelperId, Vec<Row>>> = LazyLock::new(|| {
    let rows = include_str!("../../data/helpers_by_attach.tsv").lines();
    let mut table: HashMap<HelperId, Vec<Row>> = HashMap::new();
    for line in rows.filter(|line| !line.starts_with('#')) {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [helpers, programs, at, target, shown] = columns[..] else {
            panic!("helpers_by_attach.tsv: {line}")
        };
        for helper in helpers.split(',') {
            let programs = programs.split(',').map(|name| ProgType::from_name(name).expect("a program type"));
            let row = Row {
                programs: programs.collect(),
                at: At::read(at),
                target: Target::read(target),
                shown: shown.split(',').filter(|witness| *witness != "-").collect(),
            };
            table.entry(HelperId::from_name(helper).expect("a helper")).or_default().push(row);
        }
    }
    table
});

impl At {
    fn read(text: &str) -> At {
        let types = |text: &str| -> Vec<AttachType> {
            let named = |name| AttachType::from_name(name).expect("an attach type");
            text.split(',').map(named).collect()
        };
        match (text, text.strip_prefix('!')) {
            ("any", _) => At::Any,
            ("!any", _) => At::These(Vec::new()),
            (_, Some(others)) => At::AllBut(types(others)),
            (text, None) => At::These(types(text)),
        }
    }

    fn has(&self, attach_type: AttachType) -> bool {
        match self {
            At::Any => true,
            At::These(types) => types.contains(&attach_type),
            At::AllBut(types) => !types.contains(&attach_type),
        }
    }
}

impl Target {
    fn read(text: &'static str) -> Target {
        match (text, text.strip_prefix('=')) {
            ("-", _) => Target::Any,
            (_, Some(name)) => Target::Is(name),
            (sets, None) => Target::InSets(sets.split('|').collect()),
        }
    }
}

impl Offline<'_> {
    /// Whether a program is offered a helper where it goes; `None` where its type alone decides.
    pub(crate) fn offered_at(&self, helper: HelperId, place: &Place) -> Option<Fact> {
        let mut rows =
            TABLE.get(&helper)?.iter().filter(|row| row.programs.contains(&place.prog_type)).peekable();
        rows.peek()?;
        let answers: Vec<Fact> =
            rows.filter(|row| row.at.has(place.attach_type)).map(|row| self.answer(row, place)).collect();
        let of = |support| answers.iter().filter(move |fact| fact.support == support);
        let best = of(Support::Yes)
            .max_by_key(|fact| fact.evidence)
            .or_else(|| of(Support::Unknown).next())
            .or_else(|| of(Support::No).min_by_key(|fact| fact.evidence));
        Some(best.cloned().unwrap_or_else(|| {
            Fact::new(Support::No, Evidence::Derived, "the kernel's files")
                .reason("not offered to programs of this attach type")
        }))
    }

    /// The same for all programs of a type, where where they go does not matter.
    pub(super) fn offered_to(&self, helper: HelperId, prog_type: ProgType) -> Option<Fact> {
        let mut rows = TABLE.get(&helper)?.iter().filter(|row| row.programs.contains(&prog_type));
        let row = rows.next().filter(|row| matches!((&row.at, &row.target), (At::Any, Target::Any)))?;
        rows.next()
            .is_none()
            .then(|| self.answer(row, &Place { prog_type, attach_type: AttachType(0), target: None }))
    }

    /// What a witness shows, turned round where an exclamation mark precedes it.
    fn shows_or_not(&self, witness: &'static str) -> Fact {
        let Some(witness) = witness.strip_prefix('!') else { return self.shown(witness) };
        let fact = self.shown(witness);
        let support = match fact.support {
            Support::Yes => Support::No,
            Support::No => Support::Yes,
            other => other,
        };
        Fact { support, ..fact }
    }

    fn answer(&self, row: &Row, place: &Place) -> Fact {
        let derived =
            |support, why: &str| Fact::new(support, Evidence::Derived, "the kernel's files").reason(why);
        let by_target = match (&row.target, place.target.as_deref()) {
            (Target::Any, _) => Support::Yes,
            (_, None) => Support::Unknown,
            (Target::Is(name), Some(target)) if target == *name => Support::Yes,
            (Target::Is(_), Some(_)) => Support::No,
            (Target::InSets(sets), Some(target)) => {
                let function = match place.prog_type {
                    ProgType::LSM => format!("bpf_lsm_{target}"),
                    _ => target.to_owned(),
                };
                let found: Vec<_> = sets.iter().map(|set| self.in_set(set, &function)).collect();
                match (found.contains(&Some(true)), found.contains(&None)) {
                    (true, _) => Support::Yes,
                    (false, true) => Support::Unknown,
                    (false, false) => Support::No,
                }
            }
        };
        let by_kernel = row.shown.iter().map(|witness| self.shows_or_not(witness));
        // One no suffices; a yes is as strong as the weakest that it needs.
        let by_kernel = by_kernel.min_by_key(|fact| {
            let rank =
                [Support::No, Support::Unknown, Support::Yes].iter().position(|known| *known == fact.support);
            (rank, fact.evidence)
        });
        match (by_kernel, by_target) {
            (Some(fact), _) if fact.support == Support::No => fact,
            (_, Support::No) => derived(Support::No, "not offered at this target"),
            (Some(fact), Support::Yes) => fact,
            (None, Support::Yes) => derived(Support::Yes, "offered at this attach type"),
            _ => derived(Support::Unknown, "the files do not tell whether it is offered at this target"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btf_catalog::kernel::Kernel;

    fn support(helper: &str, prog_type: ProgType, attach_type: AttachType) -> Option<Support> {
        let kernel = Kernel::default();
        let place = Place { prog_type, attach_type, target: None };
        let fact = Offline::new(&kernel).offered_at(HelperId::from_name(helper).unwrap(), &place);
        fact.map(|fact| fact.support)
    }

    #[test]
    fn attach_types_decide_where_the_table_says_so() {
        let at_bind = |helper| support(helper, ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_BIND);
        assert_eq!(at_bind("bind"), Some(Support::No));
        assert_eq!(at_bind("setsockopt"), Some(Support::Unknown), "the kernel's series decides");
        assert_eq!(
            at_bind("get_retval"),
            Some(Support::Unknown),
            "it came to device, sysctl and sockopt first"
        );
        let device = AttachType::from_name("cgroup_device").unwrap();
        assert_eq!(support("get_retval", ProgType::CGROUP_DEVICE, device), Some(Support::Yes));
        assert_eq!(at_bind("map_lookup_elem"), None);
        let connect = support("bind", ProgType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_CONNECT);
        assert_eq!(connect, Some(Support::Yes));
        let ingress = support("get_retval", ProgType::CGROUP_SKB, AttachType::CGROUP_INET_INGRESS);
        assert_eq!(ingress, Some(Support::No));
        assert_eq!(support("get_func_ip", ProgType::TRACING, AttachType::TRACE_RAW_TP), Some(Support::No));
        assert_eq!(support("d_path", ProgType::TRACING, AttachType::TRACE_RAW_TP), Some(Support::No));
        assert_eq!(support("d_path", ProgType::TRACING, AttachType::TRACE_FENTRY), Some(Support::Unknown));
    }
}
