//! The verdict offline: whether each entry of an object loads and can be attached on a kernel that is known by its files.
//!
//! An object's entry is relocated against the kernel's types, what it then needs is held against the facts that
//! [`crate::derive`] tells of the kernel, and what it attaches to is looked up with its arguments. Loading and attaching
//! are told apart, since a kernel may do the one and not the other. What only a running node has (mounts, active security
//! modules) is listed and decides nothing.

mod analysis;
mod asked;
mod create;
mod decided;
mod global;
mod insns;
mod kfunc;
mod limits;
mod machine;
mod map;
mod memory;
mod pair;
mod reached;
mod returns;
mod rules;
mod struct_ops;
mod target;

use crate::assess::{self, against};
use crate::derive::{Condition, Offline, Place, condition};
use crate::facts::{Evidence, Fact, Support};
use crate::reasons;
use crate::select::reason_of;
use crate::verdict::{Check, Outcome, Reason, Stage, Verdict};
use analysis::Open;
use asked::{Asked, KernelFiles};
use btf_catalog::btf::essential_name;
use btf_catalog::core::{
    CoreError, ExternOutcome, Found, KernelSide, KernelSymbol, Relocated, RelocatedEntry, Resolution,
    TargetBtf,
};
use btf_catalog::object::Extern;
use btf_catalog::reach::{Constants, Walk};
use btf_catalog::require::{EntryRequirements, Requirements};
use btf_catalog::verify::Traits;
use btf_catalog::{BpfObject, ProgType};
pub use memory::Predictions;
use memory::Situation;
use reached::Reached;
use returns::Returns;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of the node beside the kernel's files.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// The modules that are loaded. `None`: not known, so that whatever needs a module is undecided and names it.
    pub loaded_modules: Option<BTreeSet<String>>,
    /// What the loader sets before it loads. `None`: the object as its compiler left it.
    pub constants: Option<Constants>,
}

/// The verdict on one stage of an entry.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StageVerdict {
    /// What was decided; never `degraded`.
    pub verdict: Verdict,
    /// What it rests on: for `runs` the weakest of all that is needed, for `blocked` the strongest reason.
    pub evidence: Evidence,
    /// Why it is not `runs`.
    pub reasons: Vec<Reason>,
}

/// The verdict on one entry.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryVerdict {
    /// The entry's section.
    pub section: String,
    /// Name of its function.
    pub program: String,
    /// Whether a loader loads it unasked.
    pub autoload: bool,
    /// Whether the kernel accepts it.
    pub load: StageVerdict,
    /// Whether what was accepted can be attached.
    pub attach: StageVerdict,
    /// What a running node must have beside the kernel, in words.
    pub on_node: Vec<String>,
    /// Everything that was checked.
    pub checks: Vec<Check>,
}

impl EntryVerdict {
    /// Both stages in one: the worse verdict, with the reasons for it. `runs` rests on the weaker evidence of the two.
    pub fn overall(&self) -> StageVerdict {
        let stages = [&self.load, &self.attach];
        let of = |verdict| stages.into_iter().filter(move |stage| stage.verdict == verdict);
        let verdict = [Verdict::Blocked, Verdict::Unknown].into_iter().find(|&bad| of(bad).next().is_some());
        let verdict = verdict.unwrap_or(Verdict::Runs);
        let evidence = of(verdict).map(|stage| stage.evidence);
        let evidence = if verdict == Verdict::Runs { evidence.min() } else { evidence.max() };
        let reasons = of(verdict).flat_map(|stage| stage.reasons.iter().cloned()).collect();
        StageVerdict { verdict, evidence: evidence.unwrap_or(Evidence::Assumed), reasons }
    }
}

/// Predicts every entry of an object as if it were loaded alone, by libbpf and with all capabilities.
pub fn predict(object: &BpfObject, kernel: &Offline, options: &Options) -> Vec<EntryVerdict> {
    let predictions = Predictions::new([(object, options.constants.clone())]);
    let verdicts = predictions.on(kernel, options.loaded_modules.as_ref());
    drop(predictions);
    verdicts.into_iter().flatten().map(Arc::unwrap_or_clone).collect()
}

fn resolve_externs(object: &BpfObject, kernel: &KernelFiles, types: &TargetBtf) -> Resolution {
    let files = kernel.files;
    let symbols = |name: &str| match files.has_symbol(name) {
        Some(true) if files.has_namesakes(name) => KernelSymbol::Ambiguous,
        Some(true) => KernelSymbol::Present,
        Some(false) if kernel.loaded_modules.is_some_and(BTreeSet::is_empty) => KernelSymbol::Missing,
        _ => KernelSymbol::Unknown,
    };
    let side = KernelSide {
        types,
        modules_whole: kernel.modules_whole(),
        config: files.config(),
        version: files.version_code(),
        symbols: files.has_symbol("").is_some().then_some(&symbols),
    };
    Resolution::new(object, &side)
}

/// The rules, applied to one object. What they depend on is here; of the kernel they know what they ask it.
struct Predictor<'a> {
    object: &'a BpfObject,
    kernel: &'a Asked<'a, 'a>,
    situation: &'a Situation,
    /// The object's needs as a whole, for its maps.
    all: &'a Requirements,
}

impl Predictor<'_> {
    fn entry(
        &self,
        reached: &Reached,
        relocated: Option<&Result<RelocatedEntry, CoreError>>,
    ) -> EntryVerdict {
        let entry = reached.entry;
        let (relocated, failed) = match relocated {
            Some(Ok(relocated)) => (Some(relocated), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let constants = &self.situation.constants;
        let mut checks = self.of_needs(reached);
        checks.extend(failed.map(|error| {
            told(Stage::Load, "PTL0302", error.access.clone(), "btf.vmlinux", Support::No, &error.what)
        }));
        let in_modules: Vec<_> =
            relocated.iter().flat_map(|relocated| self.in_modules(reached, relocated)).collect();
        let open: BTreeSet<usize> = in_modules.iter().map(|(insn_off, _)| *insn_off).collect();
        checks.extend(in_modules.into_iter().map(|(_, check)| check));
        let other = self.other_machine();
        checks.extend(relocated.iter().flat_map(|relocated| poison(reached, relocated, &open, other)));
        checks.extend(create::maps(self.object, self.kernel));
        checks.extend(self.struct_ops(entry));
        let returns = self.returns(entry, reached);
        checks.extend(reached.rules());
        checks.extend(reached.pairs());
        checks.extend(returns.checks.iter().cloned());
        checks.extend(self.instructions(reached));
        checks.extend(self.arguments_kept(reached));
        checks.extend(self.global_functions(reached));
        checks.extend(
            self.externs(reached, entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type)),
        );
        let unsettled = Open { insns: relocated.is_none(), some: !open.is_empty() };
        let analysis = reached.analysis(constants, &unsettled, self.traits(&returns), returns.allowed);
        checks.extend(analysis);
        checks.extend(self.alignment(reached));
        let on_node = |check: &Check| ["mounts.", "security."].iter().any(|of| check.fact.starts_with(of));
        let (of_node, checks): (Vec<_>, Vec<_>) = checks.into_iter().partition(on_node);
        EntryVerdict {
            section: entry.section.clone(),
            program: entry.name.clone(),
            autoload: constants.loads(entry),
            load: judge(&checks, Stage::Load),
            attach: judge(&checks, Stage::Attach),
            on_node: of_node.into_iter().map(|check| check.requirement).collect(),
            checks,
        }
    }

    /// Whether the kernel knows `struct bpf_timer`.
    fn keeps_timers(&self) -> Option<bool> {
        match self.kernel.shown("enum:BPF_FUNC_timer_init").support {
            Support::Yes => Some(true),
            Support::No => Some(false),
            _ => None,
        }
    }

    /// What the verifier of this kernel does that others do not.
    fn traits(&self, returns: &Returns) -> Traits {
        // What rests on the series alone must not make a fault sure.
        let shown = |witness| {
            let fact = self.kernel.shown(witness);
            match fact.support {
                Support::Yes => Some(true),
                Support::No if fact.evidence > Evidence::Assumed => Some(false),
                _ => None,
            }
        };
        Traits {
            // Since v6.8, and in later stable kernels of v6.1; v5.10 has it in none.
            stack_grows_by_reads: match shown("~enum:BPF_FUNC_for_each_map_elem") {
                Some(true) => shown("type:bpf_retval_range").filter(|shown| *shown),
                told => told,
            },
            // Both came in v6.8.
            takes_all_loops: shown("type:bpf_retval_range").filter(|shown| *shown),
            keeps_timers: self.keeps_timers(),
            knows_array_entries: shown("member:bpf_call_arg_meta.const_map_key"),
            returns: returns.range.filter(|_| returns.checks.is_empty()),
            ..Traits::default()
        }
    }

    /// Everything that the walked instructions need. What is only walked perhaps cannot block.
    fn of_needs(&self, reached: &Reached) -> Vec<Check> {
        let perhaps = reached.perhaps();
        let mut checks = self.of(perhaps, reached, Walk::May);
        if checks.iter().all(|check| check.outcome != Outcome::Fail) {
            return checks;
        }
        let surely = reached.surely();
        let sure = self.of(surely, reached, Walk::Sure);
        for check in checks.iter_mut().filter(|check| check.outcome == Outcome::Fail) {
            let same = |sure: &Check| (&sure.fact, &sure.code) == (&check.fact, &check.code);
            if !sure.iter().any(|sure| sure.outcome == Outcome::Fail && same(sure)) {
                check.outcome = Outcome::Undecided;
            }
        }
        checks
    }

    fn of(&self, needs: &EntryRequirements, reached: &Reached, at_least: Walk) -> Vec<Check> {
        let all = self.all;
        let mut checks: Vec<Check> = self.machine(needs).into_iter().collect();
        checks.extend(assess::assess_on([needs], &all.maps, all.gpl_compatible, self.kernel));
        checks.extend(left_to_loader(needs));
        checks.extend(conditions(needs, self.kernel));
        checks.extend(self.fragments(needs));
        checks.extend(self.target(needs, reached, at_least));
        checks.extend(self.map_use(needs));
        checks.extend(self.context(needs));
        checks
    }

    /// What the object as a whole declares and the kernel must define: one that is refused costs all entries. What is
    /// declared weak costs those that call it untested.
    fn externs(&self, reached: &Reached, prog_type: ProgType) -> Vec<Check> {
        let Some(resolution) = &self.situation.constants.externs else { return Vec::new() };
        let of = |(ext, outcome): (&Extern, &ExternOutcome)| {
            let name = format!("{} of the kernel", ext.name);
            if ext.name == "LINUX_KERNEL_VERSION" && self.kernel.tells_version() == Some(false) {
                let why = "libbpf reads no version of three numbers from this kernel's release";
                return Some(told(Stage::Load, "PTL0217", name, "kernel.release", Support::No, why));
            }
            match outcome {
                ExternOutcome::Refused(why) => {
                    Some(told(Stage::Load, "PTL0217", name, "btf.vmlinux", Support::No, why))
                }
                ExternOutcome::Unknown(why) if !ext.weak => {
                    Some(undecided("PTL0217", name, "btf.vmlinux", why))
                }
                _ => None,
            }
        };
        let declared = self.object.externs.iter().zip(&resolution.outcomes).filter_map(of);
        declared.chain(self.kfunc_calls(reached, resolution, prog_type)).collect()
    }

    /// `BPF_F_XDP_HAS_FRAGS`, which kernels since v5.18 know.
    fn fragments(&self, needs: &EntryRequirements) -> Option<Check> {
        let fact = needs.xdp_frags.then(|| self.kernel.shown("member:bpf_prog_aux.xdp_has_frags"))?;
        let requirement = format!("packets in fragments, which {} takes", needs.name);
        Some(against(Stage::Load, "PTL0405", requirement, "btf.vmlinux", Some(&fact), false))
    }

    /// Relocations that are walked, about a type that the kernel itself does not have and a module may: the answer is
    /// another one once it is loaded. Each with its instruction.
    fn in_modules(&self, reached: &Reached, relocated: &RelocatedEntry) -> Vec<(usize, Check)> {
        let Some(local) = self.object.btf.as_ref().filter(|_| !self.kernel.modules_told()) else {
            return Vec::new();
        };
        let nowhere = relocated.outcomes.iter().filter(|relocated| relocated.found == Found::Nowhere);
        let walked = nowhere.filter(|relocated| reached.reach.walk(relocated.insn_off) > Walk::Never);
        let check = |relocated: &Relocated| {
            let ty = local.ty(relocated.ty);
            let why = match self.kernel.module_with(essential_name(ty.name()), ty.kind()) {
                Some(module) => format!("the module {module} has the type, the kernel itself has not"),
                None if self.kernel.modules_whole() => return None,
                None => "the kernel itself does not have the type; not all its modules were read".to_owned(),
            };
            Some((
                relocated.insn_off,
                undecided("PTL0301", relocated.access.to_string(), "btf.modules", &why),
            ))
        };
        walked.filter_map(check).collect()
    }

    /// Reads beyond the end of the structure that programs of the type are given.
    fn context(&self, needs: &EntryRequirements) -> Option<Check> {
        let structure = context_structure(needs.prog_type)?;
        let size = self.kernel.size_of(structure)?;
        let read = needs.context.end_byte;
        (read > size).then(|| {
            let why = format!("struct {structure} has {size} bytes in this kernel; byte {read} is read");
            let fact = Fact::new(Support::No, Evidence::Derived, "the kernel's BTF").reason(why);
            let requirement = format!("what {} reads of its context", needs.name);
            against(Stage::Load, "PTL0219", requirement, "btf.vmlinux", Some(&fact), needs.guarded)
        })
    }
}

/// Relocations without an answer: the verifier refuses what stands there, if it walks there. Not those of the
/// instructions `open`, which may have one.
fn poison(
    reached: &Reached,
    relocated: &RelocatedEntry,
    open: &BTreeSet<usize>,
    other_machine: Option<&str>,
) -> Vec<Check> {
    let check = |(relocated, why, walk): (&Relocated, &str, Walk)| {
        let access = relocated.access.to_string();
        let machine = other_machine.filter(|_| access.starts_with("struct pt_regs."));
        let why = machine.map_or_else(|| why.to_owned(), machine::built_for);
        let fact = Fact::new(Support::No, Evidence::Derived, "CO-RE").reason(why);
        let code = if machine.is_some() { "PTL0102" } else { "PTL0301" };
        against(Stage::Load, code, access, "btf.vmlinux", Some(&fact), walk < Walk::Sure)
    };
    let poisoned = reached.reach.poisoned(relocated);
    poisoned.filter(|(relocated, ..)| !open.contains(&relocated.insn_off)).map(check).collect()
}

/// What no file tells: the program that an extension replaces, the structure that a callback belongs to.
fn left_to_loader(needs: &EntryRequirements) -> Option<Check> {
    let why = match needs.prog_type {
        ProgType::EXT => "the program that it extends is chosen by its loader",
        _ if needs.attach_btf && needs.target.is_none() && needs.prog_type != ProgType::STRUCT_OPS => {
            "what it attaches to is chosen by its loader, before it is loaded"
        }
        _ => return None,
    };
    Some(undecided("PTL0104", format!("the target of {}", needs.name), "object", why))
}

/// Helpers that only some programs of a type are offered.
fn conditions(needs: &EntryRequirements, kernel: &Asked) -> Vec<Check> {
    let how = needs.attach_by.split('.').next().unwrap_or_default();
    let place = Place {
        prog_type: needs.prog_type,
        attach_type: needs.attach_type.unwrap_or_default(),
        target: needs.target.clone(),
    };
    let check = |helper: &btf_catalog::HelperId| {
        let unmet = match condition(*helper) {
            Some(Condition::Sleepable) if !needs.sleepable => Some("offered to sleepable programs only"),
            Some(Condition::Iter) if how != "iter" => Some("offered to iterators only"),
            _ => None,
        };
        let no = |why| Fact::new(Support::No, Evidence::Derived, "helpers by type").reason(why);
        let fact = unmet.map(no).or_else(|| kernel.offered_at(*helper, place.clone()))?;
        let requirement = format!("helper bpf_{helper} in {}", needs.name);
        let name = format!("bpf.helper.{}.{helper}", needs.prog_type);
        Some(against(Stage::Load, "PTL0207", requirement, &name, Some(&fact), needs.guarded))
    };
    needs.helpers.iter().filter_map(check).collect()
}

/// The structure by which programs of a type see their context (include/linux/bpf_types.h).
fn context_structure(prog_type: ProgType) -> Option<&'static str> {
    Some(match prog_type.context()? {
        "skb" => "__sk_buff",
        "xdp" => "xdp_md",
        "sock" => "bpf_sock",
        "sock_ops" => "bpf_sock_ops",
        "sk_msg" => "sk_msg_md",
        "sock_addr" => "bpf_sock_addr",
        "perf_event" => "bpf_perf_event_data",
        "pt_regs" => "pt_regs",
        "cgroup_dev" => "bpf_cgroup_dev_ctx",
        "sk_reuseport" => "sk_reuseport_md",
        "sysctl" => "bpf_sysctl",
        "sockopt" => "bpf_sockopt",
        "sk_lookup" => "bpf_sk_lookup",
        "nf" => "bpf_nf_ctx",
        _ => return None,
    })
}

fn told(stage: Stage, code: &str, requirement: String, name: &str, support: Support, why: &str) -> Check {
    let fact = Fact::new(support, Evidence::Derived, "the kernel's files").reason(why);
    against(stage, code, requirement, name, Some(&fact), false)
}

/// A check that nothing decides, under a code that says more than that it is not known.
fn undecided(code: &str, requirement: String, name: &str, why: &str) -> Check {
    Check { code: code.to_owned(), ..told(Stage::Load, code, requirement, name, Support::Unknown, why) }
}

fn judge(checks: &[Check], stage: Stage) -> StageVerdict {
    let of = |outcome| checks.iter().filter(move |check| check.stage == stage && check.outcome == outcome);
    let reasons = |outcome| of(outcome).map(reason_of).map(reasons::offline).collect::<Vec<_>>();
    if let Some(evidence) = of(Outcome::Fail).map(|check| check.evidence).max() {
        return StageVerdict { verdict: Verdict::Blocked, evidence, reasons: reasons(Outcome::Fail) };
    }
    if of(Outcome::Undecided).next().is_some() {
        let evidence = Evidence::Assumed;
        return StageVerdict { verdict: Verdict::Unknown, evidence, reasons: reasons(Outcome::Undecided) };
    }
    let evidence = of(Outcome::Pass).map(|check| check.evidence).min().unwrap_or(Evidence::Derived);
    StageVerdict { verdict: Verdict::Runs, evidence, reasons: Vec::new() }
}
