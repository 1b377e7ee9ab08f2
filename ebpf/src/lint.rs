//! What is wrong with a catalog that can be read: objects against the manifest and against each other.

use crate::catalog::{Catalog, Program, Variant};
use crate::target::Target;
use btf_catalog::require::{self, ContextReads, EntryRequirements, Requirements};
use btf_catalog::{BpfObject, HelperId, MapType, ProgType};
use std::collections::BTreeMap;
use std::fmt;

/// The largest page size of the kernels that a catalog is for: arm64 and ppc64 have kernels with 64 KiB pages.
const PAGE_MAX_BYTE_SZ: u32 = 64 << 10;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was checked.
    pub check: Check,
    /// The program it is about.
    pub program: String,
    /// The variant it is about.
    pub variant: String,
    /// The object file it is about, if it is about one.
    pub object: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, and its user is misled.
    Warning,
    /// It does not work on some node.
    Error,
}

/// What [`lint`] looks at; printed as `ring-buffer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Each object is there and can be parsed.
    Object,
    /// Each section names a program type.
    Section,
    /// An object's byte order is its target's.
    ByteOrder,
    /// There is an object for each byte order; per architecture exactly where registers are read.
    Targets,
    /// A ring buffer's size is right for pages of 4, 16 and 64 KiB.
    RingBuffer,
    /// The licence allows the helpers that are called.
    Licence,
    /// All objects of a variant are the same program.
    SameProgram,
    /// No two variants of a program ask the same of a kernel.
    SameRequirements,
    /// A variant names what it lacks of what the best one provides.
    Loses,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Check::Object => "object",
            Check::Section => "section",
            Check::ByteOrder => "byte-order",
            Check::Targets => "targets",
            Check::RingBuffer => "ring-buffer",
            Check::Licence => "licence",
            Check::SameProgram => "same-program",
            Check::SameRequirements => "same-requirements",
            Check::Loses => "loses",
        })
    }
}

/// What the objects of one variant ask of a kernel, by target.
type ByTarget = BTreeMap<Target, Requirements>;

/// Everything that is wrong with the catalog, program by program and variant by variant; empty if nothing.
pub fn lint(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for program in &catalog.programs {
        let mut seen: Vec<(&Variant, ByTarget)> = Vec::new();
        for variant in &program.variants {
            let mut report = Report { program, variant, findings: &mut findings };
            let objects = check_objects(catalog, variant, &mut report);
            check_targets(&objects, &mut report);
            check_same_program(&objects, &mut report);
            check_same_requirements(&objects, &seen, &mut report);
            check_loses(&program.variants[0], &mut report);
            seen.push((variant, objects));
        }
    }
    findings
}

/// Where the findings of one variant go.
struct Report<'a> {
    program: &'a Program,
    variant: &'a Variant,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, severity: Severity, check: Check, target: Option<&Target>, message: String) {
        self.findings.push(Finding {
            severity,
            check,
            program: self.program.name.clone(),
            variant: self.variant.name.clone(),
            object: target.and_then(|target| self.variant.objects.get(target).cloned()),
            message,
        });
    }

    fn error(&mut self, check: Check, target: Option<&Target>, message: String) {
        self.add(Severity::Error, check, target, message);
    }
}

/// Reads a variant's objects and checks each by itself.
fn check_objects(catalog: &Catalog, variant: &Variant, report: &mut Report) -> ByTarget {
    let mut objects = ByTarget::new();
    for target in variant.objects.keys() {
        let parsed = catalog
            .object(variant, target)
            .map_err(|error| error.to_string())
            .and_then(|bytes| BpfObject::parse(bytes).map_err(|error| format!("cannot be parsed: {error}")));
        match parsed {
            Ok(object) => {
                let requirements = require::derive(&object);
                check_object(target, &requirements, report);
                objects.insert(target.clone(), requirements);
            }
            Err(message) => report.error(Check::Object, Some(target), message),
        }
    }
    objects
}

fn check_object(target: &Target, requirements: &Requirements, report: &mut Report) {
    let at = Some(target);
    if requirements.entries.is_empty() {
        report.error(Check::Object, at, "has no entries: there is nothing to load".to_owned());
    }
    if requirements.big_endian != target.big_endian() {
        let order = if requirements.big_endian { "big" } else { "little" };
        report.error(Check::ByteOrder, at, format!("is {order} endian, its target {target} is not"));
    }
    for entry in &requirements.entries {
        if entry.prog_type == ProgType::UNSPEC {
            let message = format!("entry {}: section `{}` names no program type", entry.name, entry.section);
            report.error(Check::Section, at, message);
        }
        match (target.arch(), entry.reads_pt_regs) {
            (None, true) => report.error(
                Check::Targets,
                at,
                format!(
                    "entry {} reads registers, which differ between architectures: build it for each",
                    entry.name
                ),
            ),
            (Some(arch), false) if !requirements.entries.iter().any(|entry| entry.reads_pt_regs) => report
                .error(
                    Check::Targets,
                    at,
                    format!(
                        "is confined to {arch}, but entry {} reads no registers: build it for all",
                        entry.name
                    ),
                ),
            _ => {}
        }
        check_licence(entry, requirements, target, report);
    }
    for map in requirements.maps.iter().filter(|map| map.map_type == MapType::RINGBUF) {
        let byte_sz = map.max_entries;
        if !byte_sz.is_power_of_two() || byte_sz % PAGE_MAX_BYTE_SZ != 0 {
            let message = format!(
                "ring buffer {} has {byte_sz} bytes; kernels want a power of two and whole pages, which may have \
                 {PAGE_MAX_BYTE_SZ} bytes",
                map.name
            );
            report.error(Check::RingBuffer, at, message);
        }
    }
}

fn check_licence(
    entry: &EntryRequirements,
    requirements: &Requirements,
    target: &Target,
    report: &mut Report,
) {
    if requirements.gpl_compatible {
        return;
    }
    let gpl_only: Vec<_> =
        entry.helpers.iter().filter(|helper| helper.gpl_only()).map(HelperId::to_string).collect();
    if !gpl_only.is_empty() {
        let message = format!(
            "entry {}: licence `{}` is not GPL compatible, as {} want it to be",
            entry.name,
            requirements.license.escape_debug(),
            gpl_only.join(", ")
        );
        report.error(Check::Licence, Some(target), message);
    }
}

/// Objects for all architectures come in both byte orders.
fn check_targets(objects: &ByTarget, report: &mut Report) {
    for target in objects.keys().filter(|target| target.arch().is_none()) {
        let other = Target::generic(!target.big_endian());
        if !report.variant.objects.contains_key(&other) {
            report.error(Check::Targets, None, format!("has an object for {target}, but none for {other}"));
        }
    }
}

/// All objects of a variant are built from one source: the same entries, maps and helpers.
fn check_same_program(objects: &ByTarget, report: &mut Report) {
    let mut objects = objects.iter();
    let Some((first_target, first)) = objects.next() else { return };
    for (target, other) in objects {
        if first.maps != other.maps {
            let message = format!("has other maps than the object for {first_target}");
            report.error(Check::SameProgram, Some(target), message);
        }
        let entries = |requirements: &Requirements| {
            let mut entries: Vec<_> = requirements.entries.iter().map(without_size).collect();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            entries
        };
        if entries(first) != entries(other) {
            let message = format!("has other entries, helpers or types than the object for {first_target}");
            report.error(Check::SameProgram, Some(target), message);
        }
    }
}

/// An entry's needs without what differs between byte orders: the number of instructions, and which bytes of a field are
/// read.
fn without_size(entry: &EntryRequirements) -> EntryRequirements {
    EntryRequirements { insns: 0, context: ContextReads::default(), ..entry.clone() }
}

/// A variant with the requirements of a better one would never be chosen.
fn check_same_requirements(objects: &ByTarget, seen: &[(&Variant, ByTarget)], report: &mut Report) {
    let needs = |requirements: &Requirements| {
        let nameless =
            |entry: &EntryRequirements| EntryRequirements { name: String::new(), ..without_size(entry) };
        let entries: Vec<_> = requirements.entries.iter().map(nameless).collect();
        (entries, requirements.maps.clone())
    };
    for (better, others) in seen {
        let common = objects.iter().find_map(|(target, object)| Some((target, object, others.get(target)?)));
        if let Some((target, object, other)) = common
            && needs(object) == needs(other)
        {
            let message =
                format!("asks the same of a kernel as `{}`, which is preferred: never chosen", better.name);
            report.error(Check::SameRequirements, Some(target), message);
        }
    }
}

/// What the best variant provides and this one does not stands, in the same words, in one of the texts of `loses`.
fn check_loses(best: &Variant, report: &mut Report) {
    let variant = report.variant;
    if variant.provides.is_empty() {
        report.add(Severity::Warning, Check::Loses, None, "says nothing of what it provides".to_owned());
    }
    if variant.rank == best.rank && variant.is_degraded() {
        let message =
            "is the best variant and yet said to lose something: there is nothing to lose against".to_owned();
        report.add(Severity::Warning, Check::Loses, None, message);
    }
    for lost in best.provides.iter().filter(|provided| !variant.provides.contains(provided)) {
        if !variant.loses.iter().any(|text| text.contains(lost.as_str())) {
            let message =
                format!("does not provide `{lost}`, as `{}` does, and does not say so in `loses`", best.name);
            report.error(Check::Loses, None, message);
        }
    }
}
