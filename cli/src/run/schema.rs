//! `portolan schema`.

use crate::args::documents::SchemaArgs;
use crate::args::suggest::did_you_mean;
use crate::exit::{Exit, Failure, bad_input};
use crate::render;
use crate::render::screen::Screen;
use crate::render::table::Table;
use anyhow::anyhow;

/// A document, what writes it, and its JSON Schema.
#[derive(Debug)]
pub struct Schema {
    /// The document's `kind`.
    pub kind: &'static str,
    /// The command that writes it.
    pub command: &'static str,
    /// The schema, draft 2020-12.
    pub text: &'static str,
}

/// Every document that portolan writes.
pub const SCHEMAS: [Schema; 10] = [
    Schema {
        kind: "PreflightReport",
        command: "portolan preflight -o json",
        text: include_str!("../../schema/preflight-report.json"),
    },
    Schema {
        kind: "NodeProfile",
        command: "portolan probe -o json",
        text: include_str!("../../schema/node-profile.json"),
    },
    Schema {
        kind: "ScanReport",
        command: "portolan scan PATH -o json",
        text: include_str!("../../schema/scan-report.json"),
    },
    Schema {
        kind: "CatalogReport",
        command: "portolan catalog list|show -o json",
        text: include_str!("../../schema/catalog-report.json"),
    },
    Schema {
        kind: "LintReport",
        command: "portolan catalog lint -o json",
        text: include_str!("../../schema/lint-report.json"),
    },
    Schema {
        kind: "RelocateReport",
        command: "portolan relocate --format json",
        text: include_str!("../../schema/relocate-report.json"),
    },
    Schema {
        kind: "KernelReport",
        command: "portolan kernel add|fetch|list|show|verify|prune -o json",
        text: include_str!("../../schema/kernel-report.json"),
    },
    Schema {
        kind: "KernelDiff",
        command: "portolan kernel diff -o json",
        text: include_str!("../../schema/kernel-diff.json"),
    },
    Schema {
        kind: "MinimizeReport",
        command: "portolan kernel minimize -o json",
        text: include_str!("../../schema/minimize-report.json"),
    },
    Schema {
        kind: "ReasonList",
        command: "portolan explain -o json",
        text: include_str!("../../schema/reason-list.json"),
    },
];

/// Writes one schema, or the list of documents.
pub fn command(args: &SchemaArgs, screen: &Screen) -> Result<Exit, Failure> {
    let text = if let Some(kind) = &args.kind {
        find(kind)?.text.to_owned()
    } else {
        let mut table = Table::new(["KIND", "WRITTEN BY"]);
        for schema in &SCHEMAS {
            table.row([schema.kind.into(), schema.command.into()]);
        }
        table.render(screen, 0)
    };
    render::to_stdout(text.as_bytes())?;
    Ok(Exit::Success)
}

fn find(kind: &str) -> Result<&'static Schema, Failure> {
    SCHEMAS.iter().find(|schema| schema.kind.eq_ignore_ascii_case(kind)).ok_or_else(|| {
        let known = SCHEMAS.iter().map(|schema| schema.kind);
        bad_input(anyhow!("there is no document of kind {kind}{}", did_you_mean(kind, known)))
    })
}
