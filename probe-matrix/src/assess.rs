//! Requirements against facts: every need of an object becomes one [`Check`].
//!
//! A need that a fact denies fails, one that no fact answers stays undecided; nothing is guessed in between. A need that
//! may stand behind a test which the object makes at load time ([`EntryRequirements::guarded`]) cannot fail here: only
//! loading tells whether it is reached.

mod attach;

pub use attach::{traced_functions, tracepoints};

use crate::facts::{Evidence, Fact, Facts, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::btf::{Btf, BtfKind};
use btf_catalog::core::TargetBtf;
use btf_catalog::require::{EntryRequirements, MapRequirement, Requirements};
use btf_catalog::{MapType, ProgType};
use serde_json::Value;
use std::borrow::Cow;

/// `BPF_F_*` that maps can be made with, include/uapi/linux/bpf.h, by the names that facts have.
pub(crate) const MAP_FLAGS: [(u32, &str); 16] = [
    (1 << 0, "no_prealloc"),
    (1 << 1, "no_common_lru"),
    (1 << 2, "numa_node"),
    (1 << 3, "rdonly"),
    (1 << 4, "wronly"),
    (1 << 5, "stack_build_id"),
    (1 << 6, "zero_seed"),
    (1 << 7, "rdonly_prog"),
    (1 << 8, "wronly_prog"),
    (1 << 9, "clone"),
    (1 << 10, "mmapable"),
    (1 << 11, "preserve_elems"),
    (1 << 12, "inner_map"),
    (1 << 17, "segv_on_fault"),
    (1 << 18, "no_user_conv"),
    (1 << 19, "rb_overwrite"),
];

/// What an object's needs are held against.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// The node's facts.
    pub facts: &'a Facts,
    /// The types of its kernel, where they could be read; of its modules those that are loaded.
    pub btf: Option<&'a TargetBtf>,
}

/// Whatever answers for a node: its facts, or the files of its kernel.
pub(crate) trait Ground {
    /// A fact, where it was looked at.
    fn fact(&self, name: &str) -> Option<Cow<'_, Fact>>;
    /// Where the kernel's types have something of that name and kind.
    fn in_types(&self, name: &str, kind: BtfKind) -> InTypes;
    /// How many arguments programs get at a tracepoint, where the kernel's types have it.
    fn tracepoint_arguments(&self, name: &str) -> Option<u32>;
}

/// Where a kernel's types have something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum InTypes {
    /// They could not be read.
    NoTypes,
    /// In the kernel's own or those of a loaded module.
    Found,
    /// In a module, which may be loaded or not.
    Module(String),
    /// In nothing that was read; this was not, in words.
    Unread(String),
    /// Not in the kernel's own; not all its modules are known.
    ModulesUnknown,
    /// Nowhere.
    Nowhere,
}

impl Ground for Node<'_> {
    fn fact(&self, name: &str) -> Option<Cow<'_, Fact>> {
        self.facts.get(name).map(Cow::Borrowed)
    }

    fn in_types(&self, name: &str, kind: BtfKind) -> InTypes {
        let Some(types) = self.btf else { return InTypes::NoTypes };
        if all(types).any(|btf| btf.find_by_name_kind(name, kind).is_some()) {
            return InTypes::Found;
        }
        if types.vmlinux().stopped_at().is_some() {
            return InTypes::Unread("a part of vmlinux's".to_owned());
        }
        let modules = self.facts.get("btf.modules").and_then(|fact| fact.value.as_ref()?.get("unusable"));
        let unusable = modules.and_then(Value::as_array).into_iter().flatten();
        let unusable: Vec<&str> = unusable.filter_map(Value::as_str).collect();
        if unusable.is_empty() {
            InTypes::Nowhere
        } else {
            InTypes::Unread(format!("that of {}", unusable.join(", ")))
        }
    }

    fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        tracepoint_arguments(self.btf?, name)
    }
}

/// The types of the kernel and of its modules.
pub(crate) fn all(types: &TargetBtf) -> impl Iterator<Item = &Btf> {
    let modules = types.modules().iter().map(|(_, module)| module);
    std::iter::once(types.vmlinux()).chain(modules).map(AsRef::as_ref)
}

/// As [`Ground::tracepoint_arguments`], of these types.
pub(crate) fn tracepoint_arguments(types: &TargetBtf, name: &str) -> Option<u32> {
    all(types).find_map(|btf| {
        let typedef = btf.find_by_name_kind(&format!("btf_trace_{name}"), BtfKind::Typedef)?;
        let function = btf.resolve(btf.resolve(typedef).type_id());
        // The first parameter is the tracepoint's own data.
        u32::try_from(function.params().count().saturating_sub(1)).ok()
    })
}

/// Holds every need of an object against the node's facts.
pub fn assess(requirements: &Requirements, node: Node) -> Vec<Check> {
    let entries = requirements.entries.iter().filter(|entry| entry.autoload);
    assess_on(entries, &requirements.maps, requirements.gpl_compatible, &node)
}

/// Holds the needs of entries, and of maps, against a node.
pub(crate) fn assess_on<'a>(
    entries: impl IntoIterator<Item = &'a EntryRequirements>,
    maps: &[MapRequirement],
    gpl_compatible: bool,
    ground: &dyn Ground,
) -> Vec<Check> {
    let mut checks = Checks { ground, list: Vec::new() };
    for entry in entries {
        checks.types(entry);
        checks.instructions(entry, gpl_compatible);
        checks.attach(entry);
    }
    for map in maps {
        checks.map(map);
    }
    checks.list
}

struct Checks<'a> {
    ground: &'a dyn Ground,
    list: Vec<Check>,
}

impl Checks<'_> {
    /// Adds a check; the same need of two entries is listed once.
    fn push(&mut self, check: Check) {
        let seen = |old: &Check| old.fact == check.fact && old.requirement == check.requirement;
        if !self.list.iter().any(seen) {
            self.list.push(check);
        }
    }

    /// Asks one fact.
    fn ask(&mut self, stage: Stage, code: &str, requirement: String, fact: &str, guarded: bool) {
        let told = self.ground.fact(fact);
        let check = against(stage, code, requirement, fact, told.as_deref(), guarded);
        self.push(check);
    }

    fn types(&mut self, entry: &EntryRequirements) {
        let name = &entry.name;
        if entry.prog_type == ProgType::UNSPEC {
            let requirement = format!("section {:?} of entry {name}", entry.section);
            let fact = Fact::new(Support::No, Evidence::Derived, "the table of section names");
            self.push(against(Stage::Load, "PTL0103", requirement, "object", Some(&fact), false));
            return;
        }
        match entry.attach_type {
            // Without its attach type, the program is still taken by older kernels.
            Some(attach) if !entry.attach_type_optional => {
                let requirement = format!("{} programs at {attach}", entry.prog_type);
                let fact = format!("bpf.attach_type.{attach}");
                // bpf_prog_load_check_attach() of kernel/bpf/syscall.c looks at those of other types only; of sk_reuseport
                // where there is a choice.
                let unseen = [ProgType::KPROBE, ProgType::SCHED_CLS, ProgType::SK_REUSEPORT];
                let stage = if unseen.contains(&entry.prog_type) { Stage::Attach } else { Stage::Load };
                self.ask(stage, "PTL0202", requirement, &fact, false);
                if stage == Stage::Attach {
                    let fact = format!("bpf.prog_type.{}", entry.prog_type);
                    self.ask(Stage::Load, "PTL0201", format!("{} programs", entry.prog_type), &fact, false);
                }
            }
            _ => {
                let fact = format!("bpf.prog_type.{}", entry.prog_type);
                self.ask(Stage::Load, "PTL0201", format!("{} programs", entry.prog_type), &fact, false);
            }
        }
        if entry.sleepable {
            let fact = format!("bpf.sleepable.{}", sleepable_kind(&entry.attach_by));
            let requirement = format!("{} programs that sleep", entry.attach_by);
            self.ask(Stage::Load, "PTL0202", requirement, &fact, false);
        }
        if entry.core_relos > 0 || entry.attach_btf {
            self.ask(Stage::Load, "PTL0210", "the kernel's types (BTF)".to_owned(), "btf.vmlinux", false);
        }
    }

    fn instructions(&mut self, entry: &EntryRequirements, gpl_compatible: bool) {
        let guarded = entry.guarded;
        for helper in entry.helpers.iter().filter(|helper| helper.gpl_only() && !gpl_compatible) {
            let fact = Fact::new(Support::No, Evidence::Derived, "the object's licence")
                .reason("the licence is not compatible with the GPL, as the helper demands");
            let requirement = format!("calling bpf_{helper} under this licence");
            self.push(against(Stage::Load, "PTL0105", requirement, "object", Some(&fact), guarded));
        }
        for helper in &entry.helpers {
            let member = format!("bpf.helper.{}.{helper}", entry.prog_type);
            // A type none of whose helpers could be asked for has one fact for all of them.
            let group = format!("bpf.helper.{}", entry.prog_type);
            let grouped = self.ground.fact(&member).is_none() && self.ground.fact(&group).is_some();
            let fact = if grouped { &group } else { &member };
            let requirement = format!("helper bpf_{helper} in {} programs", entry.prog_type);
            self.ask(Stage::Load, "PTL0207", requirement, fact, guarded);
        }
        for feature in &entry.isa {
            let fact = format!("bpf.isa.{}", feature.name());
            self.ask(Stage::Load, "PTL0208", format!("instructions of {}", feature.name()), &fact, guarded);
        }
        // BPF_MAXINSNS of include/uapi/linux/bpf_common.h.
        let features = [
            (entry.loops, "bounded_loops", "loops that are not unrolled"),
            (entry.subprograms, "subprograms", "functions of its own"),
            (entry.insns > 4096, "large_programs", "more than 4096 instructions"),
        ];
        for (_, feature, requirement) in features.into_iter().filter(|(needed, ..)| *needed) {
            let fact = format!("bpf.verifier.{feature}");
            self.ask(Stage::Load, "PTL0209", requirement.to_owned(), &fact, guarded);
        }
        if entry.global_functions {
            let requirement = "functions that are verified by themselves".to_owned();
            self.ask(Stage::Load, "PTL0209", requirement, "bpf.btf.func_global", guarded);
        }
    }

    fn map(&mut self, map: &MapRequirement) {
        let types = [Some(map.map_type), map.inner];
        for map_type in types.into_iter().flatten() {
            let fact = format!("bpf.map_type.{map_type}");
            self.ask(Stage::Load, "PTL0205", format!("maps of type {map_type}"), &fact, false);
        }
        // Local storage cannot be made without this flag, so it says nothing more than the type.
        let implied = |flag: &str| {
            flag == "no_prealloc"
                && [MapType::SK_STORAGE, MapType::TASK_STORAGE, MapType::INODE_STORAGE, MapType::CGRP_STORAGE]
                    .contains(&map.map_type)
        };
        let named = MAP_FLAGS.into_iter().filter(|(bit, flag)| map.flags & bit != 0 && !implied(flag));
        let known = MAP_FLAGS.into_iter().fold(0, |bits, (bit, _)| bits | bit);
        let others =
            (0..32).filter(|bit| (map.flags & !known) >> bit & 1 != 0).map(|bit| format!("bit_{bit}"));
        for flag in named.map(|(_, flag)| flag.to_owned()).chain(others) {
            let fact = format!("bpf.map_flag.{flag}");
            self.ask(Stage::Load, "PTL0206", format!("maps with flag {flag}"), &fact, false);
        }
        if map.pinned {
            self.ask(
                Stage::Attach,
                "PTL0213",
                format!("a path in bpffs for map {}", map.name),
                "mounts.bpffs",
                false,
            );
        }
    }
}

/// The name that facts have for programs that sleep, by section prefix: a return probe is a kind of its probe.
fn sleepable_kind(prefix: &str) -> &str {
    match prefix.split('.').next().unwrap_or(prefix) {
        "fexit" => "fentry",
        "uretprobe" | "usdt" => "uprobe",
        kind => kind,
    }
}

/// One requirement against one fact.
pub(crate) fn against(
    stage: Stage,
    code: &str,
    requirement: String,
    name: &str,
    fact: Option<&Fact>,
    guarded: bool,
) -> Check {
    let (support, evidence) =
        fact.map_or((Support::Unknown, Evidence::Assumed), |fact| (fact.support, fact.evidence));
    let outcome = match support {
        Support::Yes => Outcome::Pass,
        // An assumption never blocks: what rests on the same series or a sibling, loading decides.
        Support::No | Support::DeniedWorkload if !guarded && evidence > Evidence::Assumed => Outcome::Fail,
        _ => Outcome::Undecided,
    };
    let code = match support {
        Support::DeniedWorkload => "PTL0501",
        Support::DeniedObserver => "PTL0601",
        Support::Unknown => "PTL0602",
        _ => code,
    };
    let detail = match fact {
        None => Some("this fact was not looked at".to_owned()),
        Some(fact) => {
            let parts = [fact.errno.clone(), fact.reason.clone()];
            let text: Vec<String> = parts.into_iter().flatten().collect();
            (!text.is_empty()).then(|| text.join(": "))
        }
    };
    Check {
        stage,
        requirement,
        fact: name.to_owned(),
        support,
        evidence,
        outcome,
        code: code.to_owned(),
        detail,
    }
}
