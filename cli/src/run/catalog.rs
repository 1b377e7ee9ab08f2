//! `portolan catalog`.

use crate::args::catalog::{CatalogArgs, CatalogCommand};
use crate::args::output::Format;
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::render::screen::Screen;
use crate::render::{self, catalog as view, json};
use crate::report::{CatalogReport, CatalogSummary, Document, LintReport};
use anyhow::{Context, anyhow};
use ebpf::lint::{self, Severity};
use ebpf::{Catalog, Program};
use std::path::Path;

/// Lists, shows or checks a catalog.
pub fn command(command: &CatalogCommand, screen: &Screen) -> Result<Exit, Failure> {
    match command {
        CatalogCommand::List(args) => list(args, screen),
        CatalogCommand::Show(args) => show(&args.program, &args.catalog, screen),
        CatalogCommand::Lint(args) => check(args, screen),
    }
}

/// The catalog at `path`, or the one that is built in.
pub fn open(path: Option<&Path>) -> Result<Catalog, Failure> {
    match path {
        Some(path) => {
            let catalog =
                Catalog::open(path).with_context(|| format!("the catalog {} cannot be used", path.display()));
            catalog.map_err(bad_input)
        }
        None => Ok(Catalog::embedded().context("the built-in catalog cannot be used")?),
    }
}

/// What a report says of a catalog.
pub fn summary(catalog: &Catalog, path: Option<&Path>) -> CatalogSummary {
    CatalogSummary {
        name: catalog.name.clone(),
        version: catalog.version.to_string(),
        path: path.map(|path| path.display().to_string()),
    }
}

/// The program called `name`, or an error that names the one that was probably meant.
pub fn program<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Program, Failure> {
    catalog.program(name).ok_or_else(|| {
        let known = catalog.programs.iter().map(|program| program.name.as_str());
        let hint = did_you_mean(name, known);
        bad_input(anyhow!("the catalog {} has no program {name}{hint}", catalog.name))
    })
}

fn list(args: &CatalogArgs, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = open(args.catalog.as_deref())?;
    let report = CatalogReport::new(summary(&catalog, args.catalog.as_deref()), &catalog.programs);
    let result = match args.output.output {
        Format::Json => json::document(&Document::new("CatalogReport", report))?,
        Format::Table => view::list(&report, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

fn show(name: &str, args: &CatalogArgs, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = open(args.catalog.as_deref())?;
    let program = program(&catalog, name)?;
    let report =
        CatalogReport::new(summary(&catalog, args.catalog.as_deref()), std::slice::from_ref(program));
    let result = match args.output.output {
        Format::Json => json::document(&Document::new("CatalogReport", report))?,
        Format::Table => view::show(&report, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(Exit::Success)
}

fn check(args: &CatalogArgs, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = open(args.catalog.as_deref())?;
    let findings = lint::lint(&catalog);
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    let report = LintReport::new(summary(&catalog, args.catalog.as_deref()), &findings);
    let result = match args.output.output {
        Format::Json => json::document(&Document::new("LintReport", report))?,
        Format::Table => view::lint(&report, screen).into_bytes(),
    };
    render::to_stdout(&result)?;
    Ok(if failed { Exit::Blocked } else { Exit::Success })
}
