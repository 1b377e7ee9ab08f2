//! Minimised BTF for people.

use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::line;
use crate::report::minimize::MinimizeReport;
use std::collections::BTreeMap;

/// Which file each kernel got, and what found nothing.
pub fn table(report: &MinimizeReport, screen: &Screen) -> String {
    let mut files = Table::new(["KERNEL", "FILE", "BYTES", "UNRESOLVED"]);
    let mut missing: BTreeMap<(&str, &str, bool), usize> = BTreeMap::new();
    for kernel in &report.kernels {
        files.row([
            Cell::toned(line(&kernel.kernel), Tone::Strong),
            line(&kernel.file).into(),
            kernel.bytes.to_string().into(),
            kernel.unresolved.len().to_string().into(),
        ]);
        for entry in &kernel.unresolved {
            *missing.entry((&entry.object, &entry.access, entry.question)).or_default() += 1;
        }
    }
    let mut text = files.render(screen, 0);
    if !missing.is_empty() {
        let mut table = Table::new(["OBJECT", "FOUND NOTHING", "KERNELS", "ASKED AS"]);
        for ((object, access, question), kernels) in missing {
            let asked = if question { "a question" } else { "a need" };
            table.row([line(object).into(), line(access).into(), kernels.to_string().into(), asked.into()]);
        }
        text.push('\n');
        text.push_str(&table.render(screen, 0));
    }
    text
}
