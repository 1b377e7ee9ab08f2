//! Objects and what they need, for people.

use super::matrix;
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, paragraph};
use crate::report::scan::{
    EntryNeeds, GapEntry, LoaderEntry, MapNeeds, NeedEntry, ObjectEntry, PlaceEntry, ScanReport,
};
use std::fmt::Write as _;

/// Places of one object that the short form shows.
const PLACES_SHOWN: usize = 3;
/// Notes that the short form shows.
const NOTES_SHOWN: usize = 20;

/// A line for each program.
pub fn table(report: &ScanReport, screen: &Screen) -> String {
    let mut text = headline(report, screen);
    for object in &report.objects {
        // Where verdicts were asked for, only what stands in their way is told of the objects.
        let told = object.error.is_some() || !object.loaders.is_empty();
        if report.matrix.is_some() && (object.removed || !told) {
            continue;
        }
        text.push_str(&title(object, PLACES_SHOWN, screen));
        let needs =
            object.needs.as_ref().filter(|needs| report.matrix.is_none() && !needs.entries.is_empty());
        let Some(needs) = needs else { continue };
        let mut table = Table::new(["PROGRAM", "TYPE", "ATTACHES TO", "NEEDS"]);
        for entry in &needs.entries {
            table.row([line(&entry.name).into(), kind(entry), target(entry).into(), in_short(entry).into()]);
        }
        text.push_str(&table.render(screen, 2));
    }
    if let Some(shown) = &report.matrix {
        text.push_str(&matrix::matrix(shown, &report.objects, false, screen));
    }
    text + &notes(report, NOTES_SHOWN, screen)
}

/// All that is known of each object.
pub fn wide(report: &ScanReport, screen: &Screen) -> String {
    let mut text = headline(report, screen);
    for object in &report.objects {
        text.push_str(&title(object, usize::MAX, screen));
        let Some(needs) = &object.needs else { continue };
        for (label, content) in [
            ("byte order", needs.byte_order.clone()),
            ("BTF kinds", needs.btf_kinds.join(", ")),
            ("left to its loader", needs.left_to_loader.join("; ")),
        ] {
            text.push_str(&part(label, &content, 2, screen));
        }
        for entry in &needs.entries {
            text.push_str(&program(entry, screen));
        }
        if !needs.maps.is_empty() {
            text.push('\n');
            text.push_str(&maps(&needs.maps, screen));
        }
    }
    if let Some(shown) = &report.matrix {
        text.push_str(&matrix::matrix(shown, &report.objects, true, screen));
    }
    text + &notes(report, usize::MAX, screen)
}

fn headline(report: &ScanReport, screen: &Screen) -> String {
    let (summary, incomplete) = (&report.summary, !report.incomplete.is_empty());
    let mut text = format!(
        "{} with {} at {}; looked at {}",
        count(summary.objects, "object"),
        count(summary.entries, "program"),
        count(summary.places, "place"),
        count(summary.files as usize, "file"),
    );
    if summary.members > 0 {
        let _ = write!(text, " with {}", count(summary.members as usize, "member"));
    }
    let _ = write!(text, ", {}", size(summary.bytes));
    if summary.removed > 0 {
        let _ = write!(text, "; {} that later layers remove", count(summary.removed, "more object"));
    }
    if summary.damaged > 0 {
        let _ = write!(text, "; {} cannot be read", count(summary.damaged, "object"));
    }
    if summary.unreadable > 0 {
        let _ = write!(text, "; {} could not be read", count(summary.unreadable as usize, "file"));
    }
    if incomplete {
        text.push_str("; INCOMPLETE, see below");
    }
    paragraph(&text, 0, screen.columns)
}

fn title(object: &ObjectEntry, places: usize, screen: &Screen) -> String {
    let name = line(&object.name);
    let license = object.needs.as_ref().map_or(String::new(), |needs| {
        if needs.license.is_empty() {
            ", no licence".to_owned()
        } else {
            format!(", {}", line(&needs.license))
        }
    });
    let about = format!("{name} ({} bytes, sha256 {}{license})", object.bytes, &object.sha256[..12]);
    let about = paragraph(&about, 0, screen.columns);
    let mut text = format!("\n{}", about.replacen(&name, &screen.paint(Tone::Strong, &name), 1));
    for shown in object.places.iter().take(places) {
        text.push_str(&paragraph(&place(shown), 2, screen.columns));
    }
    if object.places.len() > places {
        let more = count(object.places.len() - places, "more place");
        text.push_str(&paragraph(&format!("and {more}, with -o wide"), 2, screen.columns));
    }
    for loader in &object.loaders {
        text.push_str(&gaps(loader, screen));
    }
    if let Some(error) = &object.error {
        let error = paragraph(&format!("cannot be read: {}", line(error)), 2, screen.columns);
        text.push_str(&screen.paint(Tone::Bad, error.trim_end()));
        text.push('\n');
    }
    text
}

/// What a loader cannot do, a line for each effect.
fn gaps(loader: &LoaderEntry, screen: &Screen) -> String {
    let name = line(&loader.loader);
    let mut text = String::new();
    let mut say = |tone, what: String| {
        let what = paragraph(&what, 2, screen.columns);
        text.push_str(&what.lines().map(|row| screen.paint(tone, row) + "\n").collect::<String>());
    };
    for (effect, verdict) in [
        ("object", "refuses this object"),
        ("entry", "refuses some of its programs"),
        ("silent", "takes it and says nothing, but its programs go wrong"),
    ] {
        let gaps = loader.gaps.iter().filter(|gap| gap.effect == effect);
        let gaps: Vec<String> = gaps.map(gap_in_short).collect();
        if !gaps.is_empty() {
            say(Tone::Bad, format!("{name} {verdict}: it cannot do {}", gaps.join("; ")));
        }
    }
    if loader.gaps.is_empty() {
        say(Tone::Good, format!("{name}: nothing is known that it cannot do with this object"));
    }
    if let Some(unchecked) = &loader.unchecked {
        say(Tone::Unsure, line(unchecked));
    }
    text
}

fn gap_in_short(gap: &GapEntry) -> String {
    let entries =
        if gap.entries.is_empty() { String::new() } else { format!(" ({})", line(&gap.entries.join(", "))) };
    let since =
        gap.since.as_deref().map_or(String::new(), |since| format!(", which came by {}", line(since)));
    format!("{}{entries}{since}", line(&gap.feature))
}

fn place(place: &PlaceEntry) -> String {
    let mut text = line(&place.path);
    for member in &place.members {
        let _ = write!(text, " > {}", line(member));
    }
    let symbol = place.symbol.as_deref().map(|symbol| format!("symbol {}", line(symbol)));
    let within: Vec<String> = place.section.as_deref().map(line).into_iter().chain(symbol).collect();
    if place.offset > 0 || !within.is_empty() {
        let _ = write!(text, " at {:#x}", place.offset);
    }
    if !within.is_empty() {
        let _ = write!(text, " in {}", within.join(", "));
    }
    if let Some(packed) = &place.packed {
        let _ = write!(text, ", packed with {}", line(packed));
    }
    if let Some(image) = &place.image {
        let _ = write!(text, " ({})", line(image));
    }
    if place.removed {
        text.push_str(" (deleted or replaced by a later layer)");
    }
    text
}

fn kind(entry: &EntryNeeds) -> Cell {
    match &entry.prog_type {
        Some(kind) => line(kind).into(),
        None => Cell::toned("unknown section", Tone::Warn),
    }
}

fn target(entry: &EntryNeeds) -> String {
    match (&entry.target, &entry.target_module) {
        (Some(target), Some(module)) => format!("{}:{}", line(module), line(target)),
        (Some(target), None) => line(target),
        (None, _) => entry.attach_type.as_deref().map_or(String::new(), line),
    }
}

/// What decides most often whether a program runs.
fn in_short(entry: &EntryNeeds) -> String {
    let mut needs = vec![count(entry.insns, "instruction")];
    for (of, what) in [(&entry.helpers, "helper"), (&entry.maps, "map")] {
        let on = of.iter().filter(|need| need.certainty != "off").count();
        if on > 0 {
            needs.push(count(on, what));
        }
    }
    if entry.core_relocations > 0 {
        needs.push(count(entry.core_relocations, "CO-RE relocation"));
    }
    let named = [("kfuncs", &entry.kfuncs), ("kernel variables", &entry.ksyms), ("ISA", &entry.isa)];
    for (what, of) in named {
        let names = of.iter().filter_map(|need| match &need.certainty[..] {
            "off" => None,
            "perhaps" => Some(format!("{}?", line(&need.name))),
            _ => Some(line(&need.name)),
        });
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            needs.push(format!("{what} {}", names.join(" ")));
        }
    }
    if !entry.helpers_denied_by_license.is_empty() {
        needs.push(format!("a GPL licence for {}", line(&entry.helpers_denied_by_license.join(" "))));
    }
    if !entry.context_faults.is_empty() {
        needs.push("what no kernel allows of its context".to_owned());
    }
    needs.extend(marks(entry).map(str::to_owned));
    needs.join(", ")
}

fn marks(entry: &EntryNeeds) -> impl Iterator<Item = &'static str> {
    let marks = [
        (entry.sleepable, "may sleep"),
        (entry.loops, "loops"),
        (entry.subprograms, "subprograms"),
        (entry.tail_calls, "tail calls"),
        (entry.needs_kernel_btf, "the kernel's BTF"),
        (entry.reads_pt_regs, "registers of this architecture"),
        (!entry.autoload, "not loaded unasked"),
    ];
    marks.into_iter().filter(|(set, _)| *set).map(|(_, mark)| mark)
}

fn program(entry: &EntryNeeds, screen: &Screen) -> String {
    let name = line(&entry.name);
    let heading = paragraph(&format!("{name} ({})", line(&entry.section)), 2, screen.columns);
    let mut text = format!("\n{}", heading.replacen(&name, &screen.paint(Tone::Strong, &name), 1));
    let kind = entry.prog_type.as_deref().unwrap_or("unknown section");
    let attach_type =
        entry.attach_type.as_deref().map_or(String::new(), |kind| format!(", attached as {kind}"));
    let relocations =
        if entry.core_relocations == 0 { String::new() } else { entry.core_relocations.to_string() };
    let stack = entry.stack.map_or_else(
        || "not known: its functions call each other in circles".to_owned(),
        |stack| {
            format!("{} in {}", count(stack.bytes as usize, "byte"), count(stack.frames as usize, "frame"))
        },
    );
    let guarded = if entry.guarded { guarded(entry) } else { String::new() };
    for (label, content) in [
        ("type", format!("{kind}{attach_type}")),
        ("attaches to", entry.target.as_ref().map_or(String::new(), |_| target(entry))),
        ("instructions", entry.insns.to_string()),
        ("stack", stack),
        ("instruction set", placed(&entry.isa)),
        ("helpers", placed(&entry.helpers)),
        ("denied by licence", entry.helpers_denied_by_license.join(", ")),
        ("kfuncs", placed(&entry.kfuncs)),
        ("configuration", placed(&entry.kconfigs)),
        ("kernel variables", placed(&entry.ksyms)),
        ("maps", placed(&entry.maps)),
        ("arguments", placed(&entry.arguments)),
        ("functions", placed(&entry.functions)),
        ("context faults", placed(&entry.context_faults)),
        ("CO-RE relocations", relocations),
        ("also", marks(entry).collect::<Vec<_>>().join(", ")),
        ("guarded", guarded),
    ] {
        text.push_str(&part(label, &content, 4, screen));
    }
    text
}

/// What the object's own tests may switch off when it is loaded.
fn guarded(entry: &EntryNeeds) -> String {
    let all = [
        &entry.isa,
        &entry.helpers,
        &entry.kfuncs,
        &entry.kconfigs,
        &entry.ksyms,
        &entry.maps,
        &entry.arguments,
        &entry.functions,
    ];
    let needs = all.into_iter().flatten().filter(|need| need.certainty != "sure");
    let names: Vec<&str> = needs.map(|need| need.name.as_str()).collect();
    if names.is_empty() {
        "the object tests the kernel when it is loaded; none of these needs stands behind such a test"
            .to_owned()
    } else {
        format!("may be switched off when it is loaded: {}", names.join(", "))
    }
}

/// Needs with their places, and how surely each is reached where that is not certain.
fn placed(needs: &[NeedEntry]) -> String {
    let placed = needs.iter().map(|need| {
        let unsure = (need.certainty != "sure").then_some(&need.certainty);
        let about: Vec<&str> = need.source.iter().chain(unsure).map(String::as_str).collect();
        if about.is_empty() { need.name.clone() } else { format!("{} ({})", need.name, about.join(" ")) }
    });
    placed.collect::<Vec<_>>().join(", ")
}

fn part(label: &str, content: &str, indent: usize, screen: &Screen) -> String {
    if content.is_empty() {
        String::new()
    } else {
        labelled(label, indent, &line_or_more(content), 24, screen.columns)
    }
}

/// Lists are longer than a line of foreign text may be: each name is made safe by itself.
fn line_or_more(content: &str) -> String {
    content.split(", ").map(line).collect::<Vec<_>>().join(", ")
}

fn maps(maps: &[MapNeeds], screen: &Screen) -> String {
    let mut table = Table::new(["MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "FLAGS", "ALSO"]);
    for map in maps {
        let inner = map.inner.as_deref().map(|inner| format!("of {}", line(inner)));
        let data = map.global_data.then(|| "global variables".to_owned());
        let pinned = map.pinned.then(|| "pinned by name".to_owned());
        let fields = map.value_fields.iter().cloned();
        let also: Vec<String> = inner.into_iter().chain(data).chain(pinned).chain(fields).collect();
        table.row([
            line(&map.name).into(),
            line(&map.map_type).into(),
            map.key_size.to_string().into(),
            map.value_size.to_string().into(),
            map.max_entries.to_string().into(),
            if map.flags == 0 { String::new() } else { format!("{:#x}", map.flags) }.into(),
            also.join(", ").into(),
        ]);
    }
    table.render(screen, 2)
}

fn notes(report: &ScanReport, most: usize, screen: &Screen) -> String {
    let mut text = String::new();
    for (label, notes) in [("incomplete", &report.incomplete), ("note", &report.notes)] {
        for note in notes.iter().take(most) {
            let note = format!("{label}: {}: {}", line(&note.place), line(&note.message));
            text.push_str(&paragraph(&note, 0, screen.columns));
        }
        if notes.len() > most {
            let more = notes.len() - most;
            text.push_str(&paragraph(&format!("{label}: and {more} more, with -o wide"), 0, screen.columns));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => count(bytes as usize, "byte"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}
