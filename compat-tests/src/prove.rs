//! Preflight: every program of a catalog against one node, from the objects to the variant that the node gets.
//!
//! Objects → requirements → checks against facts; what the facts do not rule out is relocated against the node's types
//! and put to its kernel, the best variant first, until one runs. Asking the kernel is the caller's ([`Loader`]), so that
//! the same plan serves this host, a micro-VM and a saved profile.

use crate::loader::{self, Cause, EntryLoad, LoadOptions, LoadReport, Stage, has_special_fields, job};
use btf_catalog::core::{ExternOutcome, RelocatedEntry, Relocator, Resolution, TargetBtf};
use btf_catalog::object::Entry;
use btf_catalog::require::{self, Requirements};
use btf_catalog::{BpfObject, BtfKind, ProgType, TypeId};
use ebpf::{Catalog, Program, Variant};
use probe_matrix::assess::{self, Node};
use probe_matrix::facts::{Evidence, Facts, Support};
use probe_matrix::probe::linkage::Linkage;
use probe_matrix::reasons::reason;
use probe_matrix::select::{Candidate, Load, select};
use probe_matrix::sys::name_errnos;
use probe_matrix::verdict::{self, Check, Outcome, ProgramVerdict, Reason, VariantVerdict, Verdict};
use probe_matrix::worker::{Job, WorkerError};

/// What is to be judged.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of programs; all of them if empty.
    pub programs: Vec<String>,
    /// The one variant to look at.
    pub variant: Option<String>,
    /// How objects are loaded.
    pub load: LoadOptions,
}

/// The node: what was found out about it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Its machine, as `uname -m` prints it.
    pub arch: &'a str,
    /// Its byte order.
    pub big_endian: bool,
    /// Its facts.
    pub facts: &'a Facts,
    /// The types of its kernel.
    pub btf: Option<&'a TargetBtf>,
    /// What its kernel defines beside types; looked at where there are types.
    pub linkage: Option<&'a Linkage>,
}

/// Puts a job to the node's kernel.
pub type Loader<'a> = dyn FnMut(&Job) -> Result<LoadReport, WorkerError> + 'a;

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The kernel is asked to load a variant.
    Loading {
        /// The program.
        program: &'a str,
        /// The variant.
        variant: &'a str,
    },
}

/// Why there is no verdict at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A name that is not in the catalog.
    #[error("the catalog has no {what} {name:?}; it has {known}")]
    NotInCatalog {
        /// `program` or `variant`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Nothing to judge, which is no success.
    #[error("the catalog has no program")]
    EmptyCatalog,
    /// The worker that loads could not be run, or was interrupted.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A request that cannot be written down.
    #[error("failed to write the load request")]
    Request(#[from] serde_json::Error),
}

/// The programs that are asked for, each with the variants that are.
fn chosen<'a>(
    catalog: &'a Catalog,
    options: &Options,
) -> Result<Vec<(&'a Program, Vec<&'a Variant>)>, ProveError> {
    let known = |names: Vec<&str>| names.join(", ");
    if catalog.programs.is_empty() {
        return Err(ProveError::EmptyCatalog);
    }
    for name in &options.programs {
        if catalog.program(name).is_none() {
            let known = known(catalog.programs.iter().map(|program| program.name.as_str()).collect());
            return Err(ProveError::NotInCatalog { what: "program", name: name.clone(), known });
        }
    }
    let programs = catalog.programs.iter();
    let programs: Vec<&Program> = programs
        .filter(|program| options.programs.is_empty() || options.programs.contains(&program.name))
        .collect();
    let Some(wanted) = &options.variant else {
        return Ok(programs
            .into_iter()
            .map(|program| (program, program.variants.iter().collect()))
            .collect());
    };
    let mut with_variant = Vec::new();
    for program in programs {
        match program.variant(wanted) {
            Some(variant) => with_variant.push((program, vec![variant])),
            // Of programs that were not asked for by name, those with such a variant are meant.
            None if options.programs.is_empty() => {}
            None => {
                let known = known(program.variants.iter().map(|variant| variant.name.as_str()).collect());
                return Err(ProveError::NotInCatalog { what: "variant", name: wanted.clone(), known });
            }
        }
    }
    if with_variant.is_empty() {
        let all = catalog.programs.iter().flat_map(|program| &program.variants);
        let known = known(all.map(|variant| variant.name.as_str()).collect());
        return Err(ProveError::NotInCatalog { what: "variant", name: wanted.clone(), known });
    }
    Ok(with_variant)
}

/// Reads a variant's object for a machine, and what it needs.
fn prepare(
    catalog: &Catalog,
    variant: &Variant,
    arch: &str,
    big_endian: bool,
) -> Result<(BpfObject, Requirements), Reason> {
    let target = variant.target_for_host(arch, big_endian).ok_or_else(|| {
        let order = if big_endian { "big" } else { "little" };
        let have: Vec<String> = variant.objects.keys().map(ToString::to_string).collect();
        let message = format!("built for {}; this machine is {arch}, {order}-endian", have.join(", "));
        reason("PTL0102", &variant.name, message)
    })?;
    let unreadable =
        |error: &dyn std::fmt::Display| reason("PTL0101", &variant.name, name_errnos(&error.to_string()));
    let bytes = catalog.object(variant, &target).map_err(|error| unreadable(&error))?;
    let object = BpfObject::parse(bytes).map_err(|error| unreadable(&error))?;
    if object.big_endian != big_endian {
        let message = format!("the object for {target} has the other byte order");
        return Err(reason("PTL0102", &variant.name, message));
    }
    let requirements = require::derive(&object);
    Ok((object, requirements))
}

/// What the chosen variants attach to by name: what the probe is to look for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttachTargets {
    /// Kernel functions.
    pub functions: Vec<String>,
    /// Events of tracefs, as `group/name`.
    pub tracepoints: Vec<String>,
}

/// Collects what the chosen variants attach to by name.
pub fn attach_targets(
    catalog: &Catalog,
    options: &Options,
    arch: &str,
    big_endian: bool,
) -> Result<AttachTargets, ProveError> {
    let mut targets = AttachTargets::default();
    for (_, variants) in chosen(catalog, options)? {
        for variant in variants {
            if let Ok((_, requirements)) = prepare(catalog, variant, arch, big_endian) {
                targets.functions.extend(assess::traced_functions(&requirements));
                targets.tracepoints.extend(assess::tracepoints(&requirements));
            }
        }
    }
    for names in [&mut targets.functions, &mut targets.tracepoints] {
        names.sort();
        names.dedup();
    }
    Ok(targets)
}

/// Judges every chosen program. Without a `loader`, everything rests on facts.
pub fn preflight(
    catalog: &Catalog,
    target: Target,
    options: &Options,
    mut loader: Option<&mut Loader>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Vec<ProgramVerdict>, ProveError> {
    let mut verdicts = Vec::new();
    for (program, variants) in chosen(catalog, options)? {
        let mut found_one = false;
        let mut judged = Vec::new();
        for variant in variants {
            let mut candidate = Candidate {
                variant: variant.name.clone(),
                rank: variant.rank,
                loses: variant.loses.clone(),
                checks: Vec::new(),
                faults: Vec::new(),
            };
            let (object, requirements) = match prepare(catalog, variant, target.arch, target.big_endian) {
                Ok(read) => read,
                Err(fault) => {
                    candidate.faults.push(fault);
                    judged.push(candidate.judge(Load::NotTried));
                    continue;
                }
            };
            candidate.checks = assess::assess(&requirements, Node { facts: target.facts, btf: target.btf });
            let ask_kernel = loader.is_some();
            if ask_kernel {
                leave_to_the_verifier(&mut candidate.checks);
            }
            let relocated = relocate(&object, &requirements, target, ask_kernel, &mut candidate);
            let mut notes = Vec::new();
            let load = match (&mut loader, relocated) {
                // A degraded variant is not loaded once one runs without loss: nothing would come of it.
                (Some(loader), Some(relocated)) if !candidate.is_ruled_out() && !found_one => {
                    on_event(Event::Loading { program: &program.name, variant: &variant.name });
                    load(&object, &relocated, target, options, loader, &mut notes)?
                }
                _ => Load::NotTried,
            };
            let verdict = VariantVerdict { notes, ..candidate.judge(load) };
            found_one |= verdict.verdict == Verdict::Runs;
            judged.push(verdict);
        }
        verdicts.push(select(&program.name, judged));
    }
    Ok(verdicts)
}

/// What an object's instructions need may stand where they are never reached, which the verifier finds out by following
/// them. Where it will be asked, such a need cannot fail before.
fn leave_to_the_verifier(checks: &mut [Check]) {
    let groups = ["bpf.helper.", "bpf.isa.", "bpf.verifier."];
    let of_instructions = |check: &&mut Check| {
        // By the fact, too: a helper that is denied has the code of the denial.
        matches!(check.code.as_str(), "PTL0105" | "PTL0207" | "PTL0208" | "PTL0209")
            || groups.iter().any(|group| check.fact.starts_with(group))
    };
    for check in checks.iter_mut().filter(of_instructions) {
        if check.outcome == Outcome::Fail {
            check.outcome = Outcome::Undecided;
        }
    }
}

/// An entry ready to be loaded: what it is, its instructions, and the id of what it attaches to.
struct Ready<'a> {
    entry: &'a Entry,
    relocated: RelocatedEntry,
    attach: AttachTarget<'a>,
}

/// An object ready to be loaded.
struct Linked<'a> {
    entries: Vec<Ready<'a>>,
    resolution: Option<Resolution>,
}

/// A type of the kernel that an entry attaches to: its id, and its module where it is one's.
#[derive(Clone, Copy, Default)]
struct AttachTarget<'a> {
    btf_id: TypeId,
    module: Option<&'a str>,
}

/// Applies the CO-RE relocations of all entries that are loaded, and notes what they found missing.
///
/// `None` if the object cannot be put to the kernel as its own loader would do it; the check or fault that is added says
/// why. A load that is tried all the same would be refused for our reasons and not for the node's.
fn relocate<'a>(
    object: &'a BpfObject,
    requirements: &Requirements,
    target: Target<'a>,
    ask_kernel: bool,
    candidate: &mut Candidate,
) -> Option<Linked<'a>> {
    let btf = target.btf;
    let open = candidate.checks.len();
    if object.entries.is_empty() {
        candidate.faults.push(reason("PTL0101", &candidate.variant, "the object has no program"));
        return None;
    }
    if object.entries.iter().all(|entry| !entry.autoload) {
        let why =
            "every program of the object waits for its loader to choose it (`?` before the section's name)";
        candidate.checks.push(undecided("PTL0104", "choosing a program".to_owned(), why.to_owned()));
    }
    let resolution = target.linkage.zip(btf).map(|(linkage, btf)| linkage.resolve(object, btf));
    // Those of entries that are not loaded too: libbpf resolves all of them, and fails with any.
    for (at, ext) in object.externs.iter().enumerate() {
        let open = match resolution.as_ref().map(|resolution| &resolution.outcomes[at]) {
            None => "the node's kernel is not at hand".to_owned(),
            Some(ExternOutcome::Unknown(why)) => why.clone(),
            Some(ExternOutcome::Address(None)) => "its address is not known".to_owned(),
            Some(ExternOutcome::Refused(why)) => {
                candidate.faults.push(reason("PTL0217", &ext.name, why.clone()));
                continue;
            }
            Some(_) => continue,
        };
        candidate.checks.push(undecided("PTL0104", format!("extern {}", ext.name), open));
    }
    for map in object.maps.iter().filter(|map| map.data.is_some()) {
        let types = object.btf.as_ref().zip(map.value_type);
        if types.is_some_and(|(btf, value_type)| has_special_fields(btf, value_type)) {
            let why = "its value has a lock or the like; libbpf maps such a section into memory, which kernels refuse";
            candidate.checks.push(undecided("PTL0104", format!("global data {}", map.name), why.to_owned()));
        }
    }
    for part in &object.left_to_loader {
        let why = "this build's loader does not do that".to_owned();
        candidate.checks.push(undecided("PTL0104", part.clone(), why));
    }
    let mut ready = Vec::new();
    let mut relocator = btf.map(|btf| Relocator::new(object, btf));
    for (entry, needs) in object.entries.iter().zip(&requirements.entries).filter(|(entry, _)| entry.autoload)
    {
        if let Some(why) = beyond_this_loader(entry, btf) {
            candidate.checks.push(undecided("PTL0104", format!("loading {}", entry.name), why));
            continue;
        }
        let unseen = btf.is_some_and(|btf| btf.vmlinux().stopped_at().is_some());
        if unseen && (needs.core_relos > 0 || needs.attach_btf) {
            let why = "a part of the kernel's types could not be read".to_owned();
            candidate.checks.push(undecided("PTL0602", format!("relocating {}", entry.name), why));
            continue;
        }
        let relocated = match &mut relocator {
            Some(relocator) => relocator.relocate(entry),
            None if needs.core_relos == 0 => {
                Ok(RelocatedEntry { insns: entry.insns.clone(), outcomes: Vec::new() })
            }
            None => {
                let why = "the types of the node's kernel are not at hand".to_owned();
                candidate.checks.push(undecided("PTL0602", format!("relocating {}", entry.name), why));
                continue;
            }
        };
        let relocated = match relocated {
            Ok(mut relocated) => {
                if let Some(resolution) = &resolution {
                    resolution.apply(object, entry, &mut relocated.insns);
                }
                relocated
            }
            Err(error) => {
                candidate.faults.push(reason("PTL0302", &entry.name, error.to_string()));
                continue;
            }
        };
        for (miss, why) in relocated.poisoned() {
            let what = format!("{} (instruction {} of {})", miss.access, miss.insn_off, entry.name);
            if needs.guarded || ask_kernel {
                // Behind a test that the object makes when it is loaded, a miss may be meant; the verifier knows.
                candidate.checks.push(undecided(
                    "PTL0301",
                    what,
                    format!("{why}, and perhaps never reached"),
                ));
            } else {
                candidate.faults.push(reason("PTL0301", &entry.name, format!("{what}: {why}")));
            }
        }
        let attach = btf.and_then(|btf| attach_target(entry, btf)).unwrap_or_default();
        ready.push(Ready { entry, relocated, attach });
    }
    let loadable = candidate.checks[open..].iter().all(|check| check.code == "PTL0301");
    (loadable && candidate.faults.is_empty()).then_some(Linked { entries: ready, resolution })
}

/// A check of the load stage that only loading can settle, or a loader that can do more.
fn undecided(code: &str, requirement: String, detail: String) -> Check {
    Check {
        stage: verdict::Stage::Load,
        requirement,
        fact: "btf.vmlinux".to_owned(),
        support: if code == "PTL0301" { Support::No } else { Support::Unknown },
        evidence: Evidence::Derived,
        outcome: Outcome::Undecided,
        code: code.to_owned(),
        detail: Some(detail),
    }
}

/// Why an entry cannot be loaded by this build, where its own loader could.
fn beyond_this_loader(entry: &Entry, btf: Option<&TargetBtf>) -> Option<String> {
    let kind = entry.kind.as_ref()?;
    if matches!(kind.prog_type, ProgType::STRUCT_OPS | ProgType::EXT) {
        return Some(format!("{} programs are not loaded by this build", kind.prog_type));
    }
    if !kind.attach_btf {
        return None;
    }
    let Some(target) = &kind.target else {
        return Some("what it attaches to is chosen when it is loaded".to_owned());
    };
    let Some(btf) = btf else { return Some("the types of the node's kernel are not at hand".to_owned()) };
    // Where all types are read, that it is missing is a fact and a check of its own.
    (btf.vmlinux().stopped_at().is_some() && attach_target(entry, btf).is_none())
        .then(|| format!("{target} may be among the types of the kernel that could not be read"))
}

/// The type in the kernel's BTF that an entry attaches to, as libbpf's `libbpf_find_attach_btf_id()` names it: the
/// kernel's own, else the first module's, or that of the module that the section names.
fn attach_target<'a>(entry: &Entry, btf: &'a TargetBtf) -> Option<AttachTarget<'a>> {
    let kind = entry.kind.as_ref().filter(|kind| kind.attach_btf)?;
    let target = kind.target.as_deref()?;
    let (name, btf_kind) = match kind.prefix.split('.').next().unwrap_or(kind.prefix) {
        "tp_btf" => (format!("btf_trace_{target}"), BtfKind::Typedef),
        "lsm" | "lsm_cgroup" => (format!("bpf_lsm_{target}"), BtfKind::Func),
        "iter" => (format!("bpf_iter_{target}"), BtfKind::Func),
        _ => (target.to_owned(), BtfKind::Func),
    };
    let own = btf.vmlinux().find_by_name_kind(&name, btf_kind).filter(|_| kind.target_module.is_none());
    if let Some(btf_id) = own {
        return Some(AttachTarget { btf_id, module: None });
    }
    btf.modules()
        .iter()
        .filter(|(module, _)| kind.target_module.as_ref().is_none_or(|wanted| wanted == module))
        .find_map(|(module, types)| {
            let btf_id = types.find_own_by_name_kind(&name, btf_kind)?;
            Some(AttachTarget { btf_id, module: Some(module) })
        })
}

/// Loads all entries of an object and says what that means.
fn load(
    object: &BpfObject,
    linked: &Linked,
    target: Target,
    options: &Options,
    loader: &mut Loader,
    notes: &mut Vec<String>,
) -> Result<Load, ProveError> {
    let mut entries = Vec::new();
    for Ready { entry, relocated, attach } in &linked.entries {
        let Some(load) = EntryLoad::new(entry, &relocated.insns) else { continue };
        entries.push(EntryLoad { attach_btf_id: attach.btf_id.0, attach_module: attach.module, ..load });
    }
    let externs = linked.resolution.as_ref().zip(target.btf);
    let externs = externs.map(|(resolution, types)| loader::Linked { resolution, types });
    let report = loader(&job(object, &entries, externs, options.load)?)?;
    notes.clone_from(&report.notes);
    let accepted = report.accepted.iter().map(|accepted| (accepted.entry.as_str(), accepted.log.as_str()));
    let failed = report.failures.iter().map(|f| (f.subject.as_deref().unwrap_or("object"), f.log.as_str()));
    let logs: Vec<String> = accepted
        .chain(failed)
        .filter(|(_, log)| !log.is_empty())
        .map(|(subject, log)| format!("{subject}:\n{log}"))
        .collect();
    let log = (!logs.is_empty()).then(|| logs.join("\n"));
    if report.is_accepted() {
        let missing = entries.iter().find(|load| !report.accepted.iter().any(|a| a.entry == load.entry.name));
        if let Some(load) = missing {
            let silent = reason("PTL0603", &load.entry.name, "the worker said nothing about this entry");
            return Ok(Load::NoAnswer(vec![silent], log));
        }
        return Ok(Load::Accepted(log));
    }
    let reasons: Vec<Reason> = report
        .failures
        .iter()
        .map(|failure| {
            let code = match (failure.cause, failure.stage) {
                (Cause::Object, _) => "PTL0101",
                (Cause::Verifier, _) => "PTL0401",
                (Cause::Unsupported, Stage::Maps) => "PTL0402",
                (Cause::Unsupported, Stage::Btf) => "PTL0403",
                (Cause::Unsupported, _) => "PTL0405",
                (Cause::Jit, _) => "PTL0404",
                (Cause::Policy, _) => "PTL0501",
                (Cause::Privilege, _) => "PTL0601",
                (Cause::Unknown, _) => "PTL0603",
            };
            let subject = failure.subject.clone().unwrap_or_else(|| "object".to_owned());
            Reason { errno: failure.errno.clone(), ..reason(code, subject, failure.message.clone()) }
        })
        .collect();
    let decided = report.failures.iter().any(|f| !matches!(f.cause, Cause::Privilege | Cause::Unknown));
    Ok(if decided { Load::Refused(reasons, log) } else { Load::NoAnswer(reasons, log) })
}
