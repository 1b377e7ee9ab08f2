//! `portolan preflight`.

use super::{catalog, probe};
use crate::args::output::Format;
use crate::args::preflight::{FailOn, PreflightArgs, PreflightDepth};
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::interrupt::Interrupt;
use crate::render::preflight::View;
use crate::render::progress::Progress;
use crate::render::screen::Screen;
use crate::render::{self, json};
use crate::report::{Document, NodeSummary, PreflightReport, Summary, UnusableObjects};
use anyhow::{Context, anyhow, bail};
use btf_catalog::core::TargetBtf;
use btf_catalog::open::{Takes, open};
use compat_tests::loader::{self, LoadOptions};
use compat_tests::prove::{self, Event, Options, ProveError, Target};
use ebpf::Catalog;
use probe_matrix::probe::btf;
use probe_matrix::probe::linkage::Linkage;
use probe_matrix::probe::root::HostRoot;
use probe_matrix::probe::{Depth, ProbeOptions};
use probe_matrix::profile::{NodeProfile, PROFILE_BYTE_SZ_MAX, Tool};
use probe_matrix::verdict::ProgramVerdict;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Judges the programs of a catalog on this node, or on the one of a saved profile, and writes the report.
pub fn command(args: &PreflightArgs, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = catalog::open(args.catalog.as_deref())?;
    let options = options(args, &catalog)?;
    // Before signals are caught: it may be a pipe that nobody writes to.
    let saved = args.profile.as_deref().map(Node::saved).transpose()?;
    let interrupt = Interrupt::install().context("signals could not be caught")?;
    let load = args.profile.is_none() && args.depth == PreflightDepth::Load && !args.no_load;
    let (profile, programs) = {
        let mut progress = Progress::on_stderr(args.verbose);
        let node = match saved {
            Some(node) => node,
            None => Node::here(args, &catalog, &options, &interrupt, &mut progress)?,
        };
        let programs = judge(args, &catalog, &options, &node, load, &interrupt, &mut progress)?;
        (node.profile, programs)
    };
    let strict = args.fail_on == Some(FailOn::Degraded);
    let report = PreflightReport {
        tool: Tool::default(),
        node: NodeSummary::of(&profile),
        catalog: catalog::summary(&catalog, args.catalog.as_deref()),
        load,
        summary: Summary::of(programs.iter().map(|program| program.verdict)),
        programs,
    };
    let exit = match UnusableObjects::of(&report.programs) {
        UnusableObjects { count: 0, .. } => Exit::of(&report.summary, strict),
        UnusableObjects { count, of_whole_program } => {
            let noun = if count == 1 { "object" } else { "objects" };
            render::message(&format!(
                "{count} {noun} of the catalog cannot be used; run `portolan catalog lint`"
            ));
            if of_whole_program { Exit::BadInput } else { Exit::of(&report.summary, strict) }
        }
    };
    let result = match args.output.output {
        Format::Json => json::document(&Document::new("PreflightReport", report))?,
        Format::Table => {
            let view = View { explain: args.explain, verbose: args.verbose };
            render::preflight::preflight(&report, exit, view, screen).into_bytes()
        }
    };
    interrupt.disarm();
    render::to_stdout(&result)?;
    Ok(exit)
}

/// What is judged. A name that the catalog does not have is refused here, before anything is asked of the node.
fn options(args: &PreflightArgs, catalog: &Catalog) -> Result<Options, Failure> {
    for name in &args.programs {
        catalog::program(catalog, name)?;
    }
    if let Some(name) = &args.variant {
        let programs = catalog.programs.iter();
        let asked =
            programs.filter(|program| args.programs.is_empty() || args.programs.contains(&program.name));
        let known: Vec<&str> =
            asked.flat_map(|program| &program.variants).map(|variant| variant.name.as_str()).collect();
        if !known.contains(&name.as_str()) {
            let hint = did_you_mean(name, known);
            return Err(bad_input(anyhow!("no program that is asked for has a variant {name}{hint}")));
        }
    }
    Ok(Options {
        programs: args.programs.clone(),
        variant: args.variant.clone(),
        load: LoadOptions { verbose: args.verbose, ..LoadOptions::default() },
    })
}

/// The node that is judged.
struct Node {
    profile: NodeProfile,
    arch: String,
    big_endian: bool,
    /// The types of its kernel; those of a saved profile's node are not at hand.
    btf: Option<TargetBtf>,
    /// What that kernel defines beside types.
    linkage: Option<Linkage>,
}

impl Node {
    fn here(
        args: &PreflightArgs,
        catalog: &Catalog,
        options: &Options,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Node, Failure> {
        let arch = rustix::system::uname().machine().to_string_lossy().into_owned();
        let big_endian = cfg!(target_endian = "big");
        let targets = prove::attach_targets(catalog, options, &arch, big_endian).map_err(unproven)?;
        let host_root = probe::host_root(args.host_root.as_deref())?;
        let depth = match args.depth {
            PreflightDepth::Read => Depth::Read,
            PreflightDepth::Load => Depth::Load,
        };
        let root = match &host_root {
            Some(dir) => HostRoot::at(dir)
                .with_context(|| format!("the host root {} cannot be used", dir.display()))
                .map_err(bad_input)?,
            None => HostRoot::local(),
        };
        let prove::AttachTargets { functions, tracepoints } = targets;
        let asked = ProbeOptions { depth, functions, tracepoints, host_root, ..ProbeOptions::default() };
        let (profile, _) = probe::profile(&asked, args.timeout, interrupt, progress)?;
        let btf = btf::types(&root);
        let linkage = btf.as_ref().map(|types| Linkage::read(root, types));
        Ok(Node { profile, arch, big_endian, btf, linkage })
    }

    fn saved(path: &Path) -> Result<Node, Failure> {
        let unusable = || format!("the profile {} cannot be used", path.display());
        let bytes = read_profile(path).with_context(unusable).map_err(bad_input)?;
        let profile = NodeProfile::read(&bytes).with_context(unusable).map_err(bad_input)?;
        let arch = profile.host.arch.clone().ok_or_else(|| {
            bad_input(anyhow!("the profile {} does not tell the machine (host.arch)", path.display()))
        })?;
        let big_endian = is_big_endian(&arch);
        Ok(Node { profile, arch, big_endian, btf: None, linkage: None })
    }
}

/// The bytes of a file, or of a pipe that somebody writes to. Opening one that nobody writes to would wait for ever.
fn read_profile(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = open(path, Takes::FilesAndPipes)?;
    let is_pipe = !file.metadata()?.is_file();
    let mut bytes = Vec::new();
    // One byte more than is taken: the reader of profiles says what is wrong with it.
    file.take(PROFILE_BYTE_SZ_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.is_empty() && is_pipe {
        bail!("nobody writes to this pipe");
    }
    Ok(bytes)
}

/// Whether a machine, as `uname -m` prints it, has its most significant byte first. MIPS and 32-bit Arm may be either; they
/// are taken for little-endian, as nearly all of them are.
fn is_big_endian(arch: &str) -> bool {
    matches!(arch, "s390x" | "ppc64" | "ppc" | "sparc64" | "aarch64_be" | "m68k")
}

fn judge(
    args: &PreflightArgs,
    catalog: &Catalog,
    options: &Options,
    node: &Node,
    load: bool,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Vec<ProgramVerdict>, Failure> {
    progress.phase("judging the programs of the catalog");
    let target = Target {
        arch: &node.arch,
        big_endian: node.big_endian,
        facts: &node.profile.facts,
        btf: node.btf.as_ref(),
        linkage: node.linkage.as_ref(),
    };
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let mut loader = |job: &_| loader::run(job, deadline, interrupt.cancel()).map(|(report, _)| report);
    let verdicts = prove::preflight(
        catalog,
        target,
        options,
        load.then_some(&mut loader as &mut prove::Loader),
        &mut |Event::Loading { program, variant }| progress.detail(&format!("loading {program}/{variant}")),
    );
    interrupt.check()?;
    verdicts.map_err(unproven)
}

fn unproven(error: ProveError) -> Failure {
    match error {
        ProveError::NotInCatalog { .. } | ProveError::EmptyCatalog => bad_input(error),
        other => Failure::Tool(anyhow::Error::new(other).context("the programs could not be judged")),
    }
}
