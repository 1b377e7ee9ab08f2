//! Whether a program may use a map that the kernel makes: `data/map_use.tsv`.

use super::{Predictor, told};
use crate::assess::against;
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::object::MapDef;
use btf_catalog::require::{EntryRequirements, Managing, managed_fields, managing};
use btf_catalog::{MapType, ProgType};
use std::sync::LazyLock;

/// Map flag of include/uapi/linux/bpf.h.
const BPF_F_NO_PREALLOC: u32 = 1;

struct Row {
    programs: Programs,
    /// What shows that the kernel looks; every one does where there is nothing.
    looks: Option<&'static str>,
    what: What,
    allowed: Option<&'static str>,
}

enum Programs {
    Sleepable,
    Types(Vec<ProgType>),
}

enum What {
    Field(&'static str),
    Type(MapType),
    Dynamic,
}

/// Panics on a malformed table: it is part of the program and read by its tests.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/map_use.tsv").lines();
    let named = |name| ProgType::from_name(name).expect("map_use.tsv names program types");
    rows.filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&'static str> = line.split('\t').collect();
            let [programs, map, allowed] = columns[..] else { panic!("map_use.tsv: {line}") };
            let (programs, looks) = match programs.split_once('@') {
                Some((programs, looks)) => (programs, Some(looks)),
                None => (programs, None),
            };
            let programs = match programs {
                "sleepable" => Programs::Sleepable,
                "tracing_like" => Programs::Types(TRACING_LIKE.into_iter().map(named).collect()),
                types => Programs::Types(types.split(',').map(named).collect()),
            };
            let what = match map.split_once(':') {
                Some(("field", name)) => What::Field(name),
                Some(("type", name)) => {
                    What::Type(MapType::from_name(name).expect("map_use.tsv names map types"))
                }
                _ => What::Dynamic,
            };
            Row { programs, looks, what, allowed: (allowed != "-").then_some(allowed) }
        })
        .collect()
});

/// `is_tracing_prog_type()` of kernel/bpf/verifier.c.
const TRACING_LIKE: [&str; 5] =
    ["kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"];

impl Predictor<'_> {
    /// The maps that an entry uses and may not.
    pub(super) fn map_use(&self, needs: &EntryRequirements) -> Vec<Check> {
        let maps = needs.maps.iter().filter_map(|index| self.object.maps.get(*index));
        maps.flat_map(|map| self.of_map(map, needs)).collect()
    }

    fn of_map(&self, map: &MapDef, needs: &EntryRequirements) -> Vec<Check> {
        let btf = self.object.btf.as_ref();
        let mut fields = btf.zip(map.value_type).map(|(btf, id)| managed_fields(btf, id)).unwrap_or_default();
        let managed = match btf.filter(|_| !fields.is_empty()) {
            Some(btf) => managing(btf, map, self.keeps_timers()),
            None => Managing::Never,
        };
        if managed == Managing::Never {
            fields.clear();
        }
        let meant = |row: &&Row| {
            let programs = match &row.programs {
                Programs::Sleepable => needs.sleepable,
                Programs::Types(types) => types.contains(&needs.prog_type),
            };
            programs
                && match row.what {
                    What::Field(name) => fields.contains(name),
                    What::Type(map_type) => map.map_type == map_type,
                    What::Dynamic => is_dynamic(map) || map.inner.as_deref().is_some_and(is_dynamic),
                }
        };
        let refused = |row: &Row| {
            let kind = if needs.sleepable { "sleepable" } else { needs.prog_type.name().unwrap_or("such") };
            let why = match row.what {
                What::Field(name) => {
                    format!("{kind} programs may not use maps with a {name} in their values")
                }
                What::Type(map_type) => format!("{kind} programs may not use maps of the type {map_type}"),
                What::Dynamic => {
                    format!("{kind} programs may not use hash maps without preallocated elements")
                }
            };
            let requirement = format!("map {} in {}", map.name, needs.name);
            // Hardly any kernel is built with what is asked for: where that is not known, none is.
            let looks = row.looks.map_or(Support::Yes, |looks| self.kernel.shown(looks).support);
            if looks == Support::No {
                return None;
            }
            let Some(allowed) = row.allowed else {
                return Some(told(Stage::Load, "PTL0221", requirement, "btf.vmlinux", Support::No, &why));
            };
            let fact = match allowed.strip_prefix('!') {
                None => self.kernel.shown(allowed),
                Some(refused) => {
                    let fact = self.kernel.shown(refused);
                    let refused = fact.support == Support::Yes;
                    Fact { support: if refused { Support::No } else { Support::Unknown }, ..fact }
                }
            };
            // What only one series shows is as good a sign of its presence as of its absence.
            let fact = Fact { reason: Some(why), ..fact };
            let fact = match (looks, fact.support) {
                (Support::Unknown, Support::No) => {
                    Fact { support: Support::Yes, evidence: Evidence::Assumed, ..fact }
                }
                _ => fact,
            };
            (fact.support != Support::Yes || fact.evidence == Evidence::Assumed)
                .then(|| against(Stage::Load, "PTL0221", requirement, "btf.vmlinux", Some(&fact), false))
        };
        // What only some kernels find in a value blocks nobody.
        let doubted = |row: &Row, check: Check| match row.what {
            What::Field(_) if managed == Managing::Perhaps => {
                Check { outcome: Outcome::Pass, evidence: Evidence::Assumed, ..check }
            }
            _ => check,
        };
        TABLE.iter().filter(meant).filter_map(|row| refused(row).map(|check| doubted(row, check))).collect()
    }
}

/// Whether elements of a map are allocated when they are added (`check_map_prealloc()`, v5.10).
fn is_dynamic(map: &MapDef) -> bool {
    let hash = [MapType::HASH, MapType::PERCPU_HASH, MapType::HASH_OF_MAPS].contains(&map.map_type);
    hash && map.flags & BPF_F_NO_PREALLOC != 0
}
