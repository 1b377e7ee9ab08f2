//! Reason codes for people.

use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, lines, paragraph};
use crate::report::ReasonEntry;

/// Everything about one code.
pub fn one(reason: &ReasonEntry, screen: &Screen) -> String {
    let retired = if reason.retired { " (no longer given)" } else { "" };
    let title = labelled(reason.code, 0, &format!("{}{retired}", reason.title), 9, screen.columns);
    let part = |heading: &str, text: &str| {
        format!("\n{}\n{}", screen.paint(Tone::Strong, heading), paragraph(&lines(text), 0, screen.columns))
    };
    let offline = reason
        .offline
        .map_or(String::new(), |remedy| part("Where only the kernel's files are at hand", remedy));
    format!(
        "{}\n{}{}{offline}",
        title.replacen(reason.code, &screen.paint(Tone::Strong, reason.code), 1),
        paragraph(&lines(reason.explanation), 0, screen.columns),
        part("What to do", reason.remedy),
    )
}

/// Codes and titles.
pub fn list(reasons: &[ReasonEntry], screen: &Screen) -> String {
    let mut table = Table::new(["CODE", "TITLE"]);
    for reason in reasons {
        let tone = if reason.retired { Tone::Faint } else { Tone::Strong };
        table.row([Cell::toned(reason.code, tone), reason.title.into()]);
    }
    table.render(screen, 0)
}
