//! The catalog for people.

use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::{CatalogReport, CatalogSummary, LintReport, VariantEntry};
use std::fmt::Write as _;

/// Programs and variants, one line each.
pub fn list(report: &CatalogReport, screen: &Screen) -> String {
    let mut table = Table::new(["PROGRAM", "RANK", "VARIANT", "SUMMARY"]);
    for program in &report.programs {
        table.row([
            Cell::toned(line(&program.name), Tone::Strong),
            Cell::default(),
            Cell::default(),
            line(&program.summary).into(),
        ]);
        for variant in &program.variants {
            let (name, summary) = (line(&variant.name), line(&variant.summary));
            table.row([Cell::default(), variant.rank.to_string().into(), name.into(), summary.into()]);
        }
        table.rule();
    }
    format!("{}\n{}", headline(&report.catalog, screen), table.render(screen, 0))
}

/// All that is known of the programs in the report.
pub fn show(report: &CatalogReport, screen: &Screen) -> String {
    let mut text = headline(&report.catalog, screen);
    for program in &report.programs {
        let _ = write!(text, "\n{}\n", screen.paint(Tone::Strong, &line(&program.name)));
        text.push_str(&paragraph(&line(&program.summary), 2, screen.columns));
        for variant in &program.variants {
            text.push_str(&show_variant(variant, screen));
        }
    }
    text
}

/// What is wrong with a catalog.
pub fn lint(report: &LintReport, screen: &Screen) -> String {
    let mut text = headline(&report.catalog, screen);
    if report.findings.is_empty() {
        text.push_str("Nothing is wrong with it.\n");
        return text;
    }
    let mut table = Table::new(["SEVERITY", "CHECK", "WHERE", "FINDING"]);
    for finding in &report.findings {
        let tone = if finding.severity == "error" { Tone::Bad } else { Tone::Warn };
        let place = match &finding.object {
            Some(object) => line(object),
            None => format!("{}/{}", line(&finding.program), line(&finding.variant)),
        };
        let severity = Cell::toned(finding.severity.as_str(), tone);
        table.row([severity, finding.check.as_str().into(), place.into(), line(&finding.message).into()]);
    }
    text.push('\n');
    text.push_str(&table.render(screen, 0));
    text
}

fn show_variant(variant: &VariantEntry, screen: &Screen) -> String {
    let name = line(&variant.name);
    let title = paragraph(&format!("{}. {name}", variant.rank), 2, screen.columns);
    let mut text = format!("\n{}", title.replacen(&name, &screen.paint(Tone::Strong, &name), 1));
    let mut part = |label: &str, content: &str| {
        if !content.is_empty() {
            text.push_str(&labelled(label, 5, &line(content), 16, screen.columns));
        }
    };
    part("is", &variant.summary);
    part("why", &variant.why);
    part("provides", &variant.provides.join("; "));
    part("loses", &variant.loses.join("; "));
    let objects: Vec<String> =
        variant.objects.iter().map(|(target, file)| format!("{target}: {file}")).collect();
    part("objects", &objects.join("; "));
    text
}

fn headline(catalog: &CatalogSummary, screen: &Screen) -> String {
    paragraph(&format!("Catalog {}", named(catalog)), 0, screen.columns)
}

/// Which catalog it is, in one line.
pub fn named(catalog: &CatalogSummary) -> String {
    let origin = catalog.path.as_deref().map_or("built in".to_owned(), line);
    format!("{} {} ({origin})", line(&catalog.name), line(&catalog.version))
}
