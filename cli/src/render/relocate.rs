//! A relocated object for people.

use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{line, paragraph};
use crate::report::relocate::RelocateReport;
use std::fmt::Write as _;

/// What was written, what is poisoned in it, and what it still needs.
pub fn table(report: &RelocateReport, screen: &Screen) -> String {
    let kernel = report.release.as_deref().map_or_else(|| "the kernel given".to_owned(), line);
    let mut text = paragraph(
        &format!(
            "{} is {} relocated for {kernel}: {} relocations, {} poisoned.",
            line(&report.output),
            line(&report.object),
            report.relocations,
            report.poisoned.len()
        ),
        0,
        screen.columns,
    );
    if !report.poisoned.is_empty() {
        let mut table = Table::new(["SECTION", "INSN", "ACCESS", "WHY"]);
        for entry in &report.poisoned {
            let why = Cell::toned(line(&entry.why), Tone::Warn);
            table.row([
                line(&entry.section).into(),
                entry.instruction.to_string().into(),
                line(&entry.access).into(),
                why,
            ]);
        }
        let _ = write!(text, "\n{}", table.render(screen, 0));
    }
    if !report.options.is_empty() {
        let options: Vec<String> = report.options.iter().map(|option| line(option)).collect();
        let told = format!("Read-only data now: {}.", options.join(", "));
        let _ = write!(text, "\n{}", paragraph(&told, 0, screen.columns));
    }
    if report.needs_kernel_btf.is_empty() {
        text.push_str("\nNothing in it needs BTF of the kernel that loads it.\n");
    } else {
        text.push_str("\nIt still needs BTF of the kernel that loads it:\n");
        for need in &report.needs_kernel_btf {
            text.push_str(&paragraph(
                &format!("{}: {}", line(&need.entry), line(&need.what)),
                2,
                screen.columns,
            ));
        }
    }
    for note in &report.notes {
        let _ = write!(text, "\n{}", paragraph(&format!("Note: {}", line(note)), 0, screen.columns));
    }
    text
}
