//! `portolan relocate`.

use super::kernels::{self, Kernels};
use super::object_file;
use super::replace::{replace, same_file};
use crate::args::output::Format;
use crate::args::relocate::RelocateArgs;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::{self, json, relocate as view};
use crate::report::Document;
use crate::report::relocate::RelocateReport;
use anyhow::{Context, anyhow};
use btf_catalog::core::{KernelSide, KernelSymbol};
use btf_catalog::kernel::{Kernel, Options};
use btf_catalog::write::{self, WriteError};
use btf_catalog::{BpfObject, BtfKind};
use probe_matrix::derive::Offline;
use std::path::Path;

/// Relocates one object for one kernel and writes it.
pub fn command(args: &RelocateArgs, screen: &Screen) -> Result<Exit, Failure> {
    let data = object_file::read(&args.object)?;
    let object =
        BpfObject::parse(data.clone()).with_context(|| unreadable(&args.object)).map_err(bad_input)?;
    if ["json", "table"].iter().any(|format| args.output.as_os_str() == *format) {
        return Err(bad_input(anyhow!(
            "-o names the file to write; the report's format is --format (a file named {0} is ./{0})",
            args.output.display()
        )));
    }
    if args.kernel.iter().chain([&args.object]).any(|input| same_file(input, &args.output)) {
        return Err(bad_input(anyhow!("{} is an input; name another output", args.output.display())));
    }
    let kernel = one_kernel(args)?;
    let offline = Offline::new(&kernel);
    kernels::check(&offline).map_err(kernels::unreadable)?;
    let modules = kernel.modules.keys().cloned().collect();
    let types = offline.types_with(Some(&modules)).ok_or_else(|| {
        bad_input(anyhow!("the kernel's files have no BTF that can be read: {}", offline.notes().join("; ")))
    })?;
    // Nothing but functions is looked for by name, and those that matter are in BTF; what is not there may be elsewhere.
    let symbols = |name: &str| match types.vmlinux().find_by_name_kind(name, BtfKind::Func) {
        Some(_) => KernelSymbol::Present,
        None => KernelSymbol::Unknown,
    };
    let side = KernelSide {
        types: &types,
        modules_whole: offline.modules_whole(),
        config: offline.config(),
        version: offline.version_code(),
        symbols: Some(&symbols),
    };
    let written = match write::relocated(&data, &object, &side) {
        Ok(written) => written,
        Err(error @ (WriteError::ByteOrder { .. } | WriteError::Core(_) | WriteError::Extern { .. })) => {
            render::message(&format!("{} cannot be relocated: {error}", args.object.display()));
            return Ok(Exit::Blocked);
        }
        Err(error @ WriteError::Unknown { .. }) => {
            render::message(&format!("{} cannot be relocated: {error}", args.object.display()));
            return Ok(Exit::Undecided);
        }
        Err(error) => return Err(bad_input(anyhow::Error::new(error).context(unreadable(&args.object)))),
    };
    replace(&args.output, &written.bytes)?;

    let shown = |path: &Path| path.display().to_string();
    let mut report = RelocateReport::new(shown(&args.object), shown(&args.output), &written);
    report.release.clone_from(&kernel.release);
    report.notes = offline.notes();
    let document = Document::new("RelocateReport", report);
    let result = match args.format {
        Format::Json => json::document(&document)?,
        Format::Table => view::table(&document.content, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

fn unreadable(path: &Path) -> String {
    format!("{} cannot be used", path.display())
}

/// The kernel whose parts the paths are.
fn one_kernel(args: &RelocateArgs) -> Result<Kernel, Failure> {
    let named = Kernels::named(&args.kernel, args.store.as_deref())?;
    let mut kernels = named.all(Options { modules: true, image: false })?;
    match (kernels.pop(), kernels.is_empty()) {
        (Some(kernel), true) => Ok(kernel),
        (last, _) => {
            let names: Vec<String> = kernels.iter().chain(&last).map(kernels::name).collect();
            let names = names.join(", ");
            Err(bad_input(anyhow!(
                "--kernel names several kernels ({names}); an object is relocated for one"
            )))
        }
    }
}
