//! Requirements against facts: every need of an object becomes one [`Check`].
//!
//! A need that a fact denies fails, one that no fact answers stays undecided; nothing is guessed in between. A need that
//! may stand behind a test which the object makes at load time ([`EntryRequirements::guarded`]) cannot fail here: only
//! loading tells whether it is reached.

use crate::facts::{Evidence, Fact, Facts, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::core::TargetBtf;
use btf_catalog::require::{EntryRequirements, MapRequirement, Requirements};
use btf_catalog::{BtfKind, MapType, ProgType};
use std::sync::LazyLock;

/// What an object's needs are held against.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// The node's facts.
    pub facts: &'a Facts,
    /// The types of its kernel, where they could be read.
    pub btf: Option<&'a TargetBtf>,
}

/// One row of `data/attach.tsv`.
struct AttachRow {
    prefix: &'static str,
    target: &'static str,
    facts: Vec<&'static str>,
}

static ATTACH: LazyLock<Vec<AttachRow>> = LazyLock::new(|| {
    include_str!("../data/attach.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().expect("attach.tsv has three columns");
            let (prefix, target, facts) = (next(), next(), next());
            AttachRow { prefix, target, facts: facts.split(',').filter(|fact| *fact != "-").collect() }
        })
        .collect()
});

/// The functions that an object attaches to by name and whose existence no BTF settles: what a probe should look for.
pub fn traced_functions(requirements: &Requirements) -> Vec<String> {
    let traced = requirements.entries.iter().filter(|entry| {
        ATTACH.iter().any(|row| row.prefix == entry.attach_by && matches!(row.target, "symbol" | "btf_func"))
    });
    traced.filter_map(|entry| entry.target.clone()).collect()
}

/// Holds every need of an object against the node's facts.
pub fn assess(requirements: &Requirements, node: Node) -> Vec<Check> {
    let mut checks = Checks { node, list: Vec::new() };
    for entry in requirements.entries.iter().filter(|entry| entry.autoload) {
        checks.types(entry);
        checks.instructions(entry);
        checks.attach(entry);
    }
    for map in &requirements.maps {
        checks.map(map);
    }
    checks.list
}

struct Checks<'a> {
    node: Node<'a>,
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
        let check = against(stage, code, requirement, fact, self.node.facts.get(fact), guarded);
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
                let fact = format!("bpf.attach_type.{attach}");
                self.ask(
                    Stage::Load,
                    "PTL0202",
                    format!("{} programs at {attach}", entry.prog_type),
                    &fact,
                    false,
                );
                if entry.sleepable {
                    let fact = format!("bpf.sleepable.{attach}");
                    let requirement = format!("sleepable {} programs at {attach}", entry.prog_type);
                    self.ask(Stage::Load, "PTL0202", requirement, &fact, false);
                }
            }
            _ => {
                let fact = format!("bpf.prog_type.{}", entry.prog_type);
                self.ask(Stage::Load, "PTL0201", format!("{} programs", entry.prog_type), &fact, false);
            }
        }
        if entry.core_relos > 0 || entry.attach_btf {
            self.ask(Stage::Load, "PTL0210", "the kernel's types (BTF)".to_owned(), "btf.vmlinux", false);
        }
    }

    fn instructions(&mut self, entry: &EntryRequirements) {
        let guarded = entry.guarded;
        for helper in &entry.helpers {
            let member = format!("bpf.helper.{}.{helper}", entry.prog_type);
            // A type none of whose helpers could be asked for has one fact for all of them.
            let group = format!("bpf.helper.{}", entry.prog_type);
            let fact = if self.node.facts.get(&member).is_none() && self.node.facts.get(&group).is_some() {
                &group
            } else {
                &member
            };
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
            (entry.global_functions, "global_functions", "functions that are verified by themselves"),
            (entry.insns > 4096, "large_programs", "more than 4096 instructions"),
        ];
        for (_, feature, requirement) in features.into_iter().filter(|(needed, ..)| *needed) {
            let fact = format!("bpf.verifier.{feature}");
            self.ask(Stage::Load, "PTL0209", requirement.to_owned(), &fact, guarded);
        }
    }

    fn attach(&mut self, entry: &EntryRequirements) {
        let Some(row) = ATTACH.iter().find(|row| row.prefix == entry.attach_by) else {
            let fact = Fact::new(Support::Unknown, Evidence::Assumed, "the table of ways to attach")
                .reason("no fact tells whether this can be attached");
            let requirement = format!("attaching {} programs", entry.attach_by);
            self.push(against(Stage::Attach, "PTL0203", requirement, "object", Some(&fact), false));
            return;
        };
        for fact in &row.facts {
            let (code, requirement) = match *fact {
                "security.lsm.bpf" => ("PTL0212", "bpf among the active security modules".to_owned()),
                "mounts.cgroup_v2" => ("PTL0203", "a mount of cgroup v2".to_owned()),
                _ => ("PTL0203", format!("attaching {} programs", entry.attach_by)),
            };
            self.ask(Stage::Attach, code, requirement, fact, false);
        }
        let Some(target) = &entry.target else { return };
        match row.target {
            "btf_func" => {
                self.in_btf(Stage::Load, format!("function {target}"), target, BtfKind::Func);
                self.symbol(target, true);
            }
            "btf_tracepoint" => {
                // The name may stand behind its group: tracepoint/skb/kfree_skb.
                let name = target.rsplit('/').next().unwrap_or(target);
                let typedef = format!("btf_trace_{name}");
                let stage = if entry.attach_btf { Stage::Load } else { Stage::Attach };
                self.in_btf(stage, format!("tracepoint {name}"), &typedef, BtfKind::Typedef);
            }
            "btf_lsm" => {
                self.in_btf(
                    Stage::Load,
                    format!("LSM hook {target}"),
                    &format!("bpf_lsm_{target}"),
                    BtfKind::Func,
                );
            }
            "btf_iter" => {
                self.in_btf(
                    Stage::Load,
                    format!("iterator {target}"),
                    &format!("bpf_iter_{target}"),
                    BtfKind::Func,
                );
            }
            "symbol" => self.symbol(target, false),
            _ => {}
        }
    }

    /// Whether the kernel's types have the attach target.
    ///
    /// That they lack it means that it is not there only where the target is looked up in BTF at load: a tracepoint of a
    /// module without BTF can be attached to by name.
    fn in_btf(&mut self, stage: Stage, requirement: String, name: &str, kind: BtfKind) {
        let fact = |support| Fact::new(support, Evidence::Derived, "/sys/kernel/btf");
        let fact = match self.node.btf {
            None => fact(Support::Unknown).reason("the kernel's BTF could not be read"),
            Some(btf) => {
                let modules = btf.modules.iter().map(|(_, module)| module);
                let mut all = std::iter::once(&btf.vmlinux).chain(modules);
                let missing =
                    format!("no {} {name} in the BTF of the kernel and of its modules", kind.name());
                if all.any(|btf| btf.find_by_name_kind(name, kind).is_some()) {
                    fact(Support::Yes)
                } else if let Some(unread) = self.unread_btf(btf) {
                    fact(Support::Unknown).reason(format!("{missing}, but {unread} could not be read"))
                } else if stage == Stage::Attach {
                    fact(Support::Unknown).reason(format!("{missing}; a module without BTF may have it"))
                } else {
                    fact(Support::No).reason(missing)
                }
            }
        };
        self.push(against(stage, "PTL0204", requirement, "btf.vmlinux", Some(&fact), false));
    }

    /// What part of the kernel's types was not seen.
    fn unread_btf(&self, btf: &TargetBtf) -> Option<String> {
        if btf.vmlinux.stopped_at().is_some() {
            return Some("a part of vmlinux's".to_owned());
        }
        let unusable = self.node.facts.get("btf.modules")?.value.as_ref()?.get("unusable")?.as_array()?;
        let names: Vec<&str> = unusable.iter().filter_map(serde_json::Value::as_str).collect();
        (!names.is_empty()).then(|| format!("that of {}", names.join(", ")))
    }

    /// Whether a function can be traced by its name: by ftrace (fentry) or by a kprobe.
    fn symbol(&mut self, function: &str, by_ftrace: bool) {
        let name = format!("symbol.{function}");
        let requirement = format!("function {function} can be traced");
        let Some(fact) = self.node.facts.get(&name) else {
            self.ask(Stage::Attach, "PTL0204", requirement, &name, false);
            return;
        };
        let told = |key: &str| {
            fact.value.as_ref().and_then(|value| value.get(key)).and_then(serde_json::Value::as_bool)
        };
        let copies = fact
            .value
            .as_ref()
            .and_then(|value| value.get("copies")?.as_array())
            .is_some_and(|c| !c.is_empty());
        let (code, answer) = match fact.support {
            Support::No if copies => ("PTL0215", fact.clone()),
            Support::Yes if by_ftrace && told("in_filter_functions") == Some(false) => (
                "PTL0216",
                Fact { support: Support::No, ..fact.clone() }.reason("not among available_filter_functions"),
            ),
            Support::Yes if by_ftrace && told("in_filter_functions").is_none() => (
                "PTL0216",
                Fact { support: Support::Unknown, ..fact.clone() }
                    .reason("available_filter_functions could not be read"),
            ),
            Support::Yes if !by_ftrace && told("blacklisted") == Some(true) => {
                ("PTL0216", Fact { support: Support::No, ..fact.clone() }.reason("on the kprobes blacklist"))
            }
            _ => ("PTL0204", fact.clone()),
        };
        self.push(against(Stage::Attach, code, requirement, &name, Some(&answer), false));
    }

    fn map(&mut self, map: &MapRequirement) {
        // BPF_F_* of include/uapi/linux/bpf.h, by the names that facts have.
        const FLAGS: [(u32, &str); 6] = [
            (1 << 0, "no_prealloc"),
            (1 << 1, "no_common_lru"),
            (1 << 2, "numa_node"),
            (1 << 6, "zero_seed"),
            (1 << 7, "rdonly_prog"),
            (1 << 10, "mmapable"),
        ];
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
        for (_, flag) in FLAGS.into_iter().filter(|(bit, flag)| map.flags & bit != 0 && !implied(flag)) {
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

/// One requirement against one fact.
fn against(
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
