//! Kernels of a store for people.

use super::scan::count;
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::kernel::{KernelDiff, KernelEntry, KernelReport};
use std::fmt::Write as _;

/// Kernels, one line each, and what is damaged.
pub fn list(report: &KernelReport, screen: &Screen) -> String {
    let kernels = count(report.kernels.len(), "kernel");
    let shown = match report.verified {
        Some(verified) => format!("{} verified, {} damaged", count(verified, "kernel"), report.damage.len()),
        None => format!("{kernels} shown"),
    };
    let headline = format!("Store {} ({} in all): {shown}", line(&report.store), size(report.store_bytes));
    let mut text = paragraph(&headline, 0, screen.columns);
    if !report.kernels.is_empty() {
        let mut table = Table::new(["KERNEL", "ARCH", "BUILD ID", "KEPT", "STATE"]);
        for kernel in &report.kernels {
            let build_id = kernel.build_id.as_deref().map_or("", |id| id.get(..12).unwrap_or(id));
            let kept: Vec<&str> = kernel.parts.iter().map(|part| part.name.as_str()).collect();
            let state = kernel.state.as_deref().unwrap_or_default();
            let written = kernel.written_bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
            table.row([
                Cell::toned(line(name(kernel)), Tone::Strong),
                line(kernel.arch.as_deref().unwrap_or_default()).into(),
                line(build_id).into(),
                line(&kept.join(" ")).into(),
                format!("{state}{written}").into(),
            ]);
        }
        let _ = write!(text, "\n{}", table.render(screen, 0));
    }
    if !report.unneeded.is_empty() {
        let bytes = report.unneeded.iter().map(|file| file.bytes).sum();
        let unneeded = count(report.unneeded.len(), "file");
        text.push_str(&paragraph(
            &format!("{unneeded} that no kernel needs: {}", size(bytes)),
            0,
            screen.columns,
        ));
    }
    for damage in &report.damage {
        text.push_str(&paragraph(&line(damage), 0, screen.columns));
    }
    text
}

/// All that is kept of some kernels.
pub fn show(report: &KernelReport, screen: &Screen) -> String {
    let mut text = String::new();
    for kernel in &report.kernels {
        let _ = writeln!(text, "{}", screen.paint(Tone::Strong, &line(name(kernel))));
        let mut part = |label: &str, content: &str| {
            if !content.is_empty() {
                text.push_str(&labelled(label, 2, &line(content), 14, screen.columns));
            }
        };
        part("name", &kernel.id);
        part("machine", kernel.arch.as_deref().unwrap_or_default());
        part("build ID", kernel.build_id.as_deref().unwrap_or_default());
        part("banner", kernel.banner.as_deref().unwrap_or_default());
        part("read from", &kernel.sources.join("; "));
        for kept in &kernel.parts {
            let packs = if kept.packs == 1 { "1 pack".to_owned() } else { format!("{} packs", kept.packs) };
            part(&kept.name, &format!("{}, {packs}, sha256 {}", size(kept.bytes), kept.sha256));
        }
        kernel.notes.iter().for_each(|note| part("note", note));
    }
    text
}

/// What has changed.
pub fn diff(report: &KernelDiff, screen: &Screen) -> String {
    let between = format!("from {} to {}", line(&report.old), line(&report.new));
    let names: Vec<String> =
        report.changes.iter().map(|change| format!("{} {}", change.kind, line(&change.name))).collect();
    let headline = match &report.object {
        Some(object) if names.is_empty() => {
            format!("Nothing that {} uses has changed {between}.", line(object))
        }
        Some(object) => format!("Of what {} uses has changed {between}: {}.", line(object), names.join(", ")),
        None => format!("{} changed {between}", count(names.len(), "name")),
    };
    let mut text = paragraph(&headline, 0, screen.columns);
    for change in &report.changes {
        let title = format!("{} {}", change.kind, line(&change.name));
        let _ = write!(text, "\n{}\n", screen.paint(Tone::Strong, &title));
        for what in &change.what {
            text.push_str(&paragraph(&line(what), 2, screen.columns));
        }
    }
    for note in &report.notes {
        text.push_str(&paragraph(&format!("note: {}", line(note)), 0, screen.columns));
    }
    text
}

/// What a kernel is called: its release, or what it was read from.
pub fn name(kernel: &KernelEntry) -> &str {
    kernel.release.as_deref().or(kernel.sources.first().map(String::as_str)).unwrap_or(&kernel.id)
}

/// Bytes in words.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
