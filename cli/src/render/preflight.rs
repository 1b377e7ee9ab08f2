//! A preflight report for people: the answer for every program first, then what to do, then, if asked, every check.

use super::catalog;
use super::profile;
use super::screen::{Screen, Tone};
use super::table::{Cell, Table};
use super::text::{labelled, line, lines, paragraph};
use crate::exit::Exit;
use crate::report::PreflightReport;
use probe_matrix::facts::{Evidence, Support};
use probe_matrix::reasons;
use probe_matrix::verdict::{Check, Outcome, ProgramVerdict, Reason, VariantVerdict, Verdict};
use std::fmt::Write as _;

/// Lines of a verifier's log that are shown for a refused load unless all are asked for; the refusal stands at the end.
const LOG_TAIL: usize = 12;

/// What is shown besides the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The decision tree.
    pub explain: bool,
    /// The verifier's logs in full.
    pub verbose: bool,
}

/// The report as text.
pub fn preflight(report: &PreflightReport, exit: Exit, view: View, screen: &Screen) -> String {
    let mut text = header(report, screen);
    text.push('\n');
    text.push_str(&answers(&report.programs, screen));
    text.push('\n');
    text.push_str(&paragraph(&totals(report, exit), 0, screen.columns));
    text.push_str(&what_to_do(&report.programs, screen));
    if view.explain {
        for program in &report.programs {
            text.push_str(&decision_tree(program, screen));
        }
    } else if view.verbose {
        text.push_str(&notes(&report.programs, screen));
    }
    if view.explain || view.verbose {
        text.push_str(&logs(&report.programs, view.verbose, screen));
    }
    text
}

fn header(report: &PreflightReport, screen: &Screen) -> String {
    let node = &report.node;
    let variants = || report.programs.iter().flat_map(|program| &program.variants);
    let tried = variants().filter(|variant| variant.load_tried).count();
    let loaded = variants().filter(|variant| variant.evidence == Evidence::Loaded).count();
    let proof = match (report.load, tried) {
        (false, _) => "decided from facts, no object loaded".to_owned(),
        (true, 0) => "no object was loaded".to_owned(),
        (true, _) => format!(
            "{tried} {} put to this kernel, {loaded} accepted; nothing attached",
            if tried == 1 { "object" } else { "objects" }
        ),
    };
    let proof = format!("probes at depth {}, {proof}", node.depth);
    [("Node", profile::named(node)), ("Catalog", catalog::named(&report.catalog)), ("Proof", proof)]
        .iter()
        .map(|(label, content)| labelled(label, 0, content, 9, screen.columns))
        .collect()
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Runs => Tone::Good,
        Verdict::Degraded => Tone::Warn,
        Verdict::Blocked => Tone::Bad,
        Verdict::Unknown => Tone::Unsure,
    }
}

/// The variants that stand before the answer: those of better rank, or all where none was chosen.
fn tried_before(program: &ProgramVerdict) -> impl Iterator<Item = &VariantVerdict> {
    let selected = program.selected.as_deref();
    program.variants.iter().take_while(move |variant| Some(variant.variant.as_str()) != selected)
}

fn selected(program: &ProgramVerdict) -> Option<&VariantVerdict> {
    let name = program.selected.as_deref()?;
    program.variants.iter().find(|variant| variant.variant == name)
}

/// One block of rows a program: the answer, and below it, indented, what was tried before and why not.
fn answers(programs: &[ProgramVerdict], screen: &Screen) -> String {
    let mut table = Table::new(["PROGRAM", "VARIANT", "VERDICT", "EVIDENCE", "WHY"]);
    for program in programs {
        let tone = tone(program.verdict);
        let variant = program.selected.as_deref().map_or("(none)".to_owned(), line);
        table.row([
            Cell::toned(line(&program.program), Tone::Strong),
            Cell::toned(variant, Tone::Strong),
            Cell::toned(program.verdict.to_string(), tone),
            evidence(program.verdict, program.evidence, program.attach_evidence).into(),
            answer(program).into(),
        ]);
        for alike in alike(tried_before(program)) {
            let first = alike[0];
            let names: Vec<String> =
                alike.iter().map(|variant| format!("  {}", line(&variant.variant))).collect();
            table.row([
                Cell::default(),
                names.join("\n").into(),
                Cell::toned(first.verdict.to_string(), Tone::Faint),
                Cell::toned(rests_on(first.verdict, first.evidence), Tone::Faint),
                why_not(first).into(),
            ]);
        }
        table.rule();
    }
    table.render(screen, 0)
}

/// Neighbours that are undecided for one reason, most often that nothing could be asked.
fn alike<'a>(variants: impl Iterator<Item = &'a VariantVerdict>) -> Vec<Vec<&'a VariantVerdict>> {
    let mut groups: Vec<Vec<&VariantVerdict>> = Vec::new();
    for variant in variants {
        match groups.last_mut() {
            Some(group)
                if variant.verdict == Verdict::Unknown
                    && group[0].verdict == Verdict::Unknown
                    && group[0].reasons.first() == variant.reasons.first() =>
            {
                group.push(variant);
            }
            _ => groups.push(vec![variant]),
        }
    }
    groups
}

/// What a verdict rests on; what it rests on as to attaching is named where it differs.
fn evidence(verdict: Verdict, load: Evidence, attach: Evidence) -> String {
    let (load, attach) = (rests_on(verdict, load), rests_on(verdict, attach));
    if load == attach { load } else { format!("{load},\nattach {attach}") }
}

/// The word for evidence. What is not decided rests on no assumption.
fn rests_on(verdict: Verdict, evidence: Evidence) -> String {
    match (verdict, evidence) {
        (Verdict::Unknown, Evidence::Assumed) => "-".to_owned(),
        (_, evidence) => evidence.to_string(),
    }
}

/// The last cell of an answer.
fn answer(program: &ProgramVerdict) -> String {
    let tried = program.variants.len();
    match (program.verdict, selected(program)) {
        (Verdict::Blocked, _) => match tried {
            1 => "its only variant cannot run here".to_owned(),
            _ => format!("none of its {tried} variants can run here"),
        },
        (Verdict::Unknown, _) => "not decided".to_owned(),
        (Verdict::Degraded, Some(chosen)) => {
            let code =
                chosen.reasons.first().map(|reason| format!("{} ", line(&reason.code))).unwrap_or_default();
            format!("{code}without {}", line(&chosen.loses.join("; ")))
        }
        (Verdict::Runs, chosen) => {
            chosen.and_then(|chosen| chosen.reasons.first()).map(reason).unwrap_or_default()
        }
        (Verdict::Degraded, None) => String::new(),
    }
}

fn reason(reason: &Reason) -> String {
    let code = line(&reason.code);
    let message = line(&reason.message);
    match &reason.errno {
        Some(errno) if !reason.message.contains(errno.as_str()) => {
            format!("{code} {message} ({})", line(errno))
        }
        _ => format!("{code} {message}"),
    }
}

fn why_not(variant: &VariantVerdict) -> String {
    match variant.reasons.as_slice() {
        [] => String::new(),
        [only] => reason(only),
        [first, rest @ ..] => format!("{} (and {} more)", reason(first), rest.len()),
    }
}

fn totals(report: &PreflightReport, exit: Exit) -> String {
    let summary = &report.summary;
    let counts: Vec<String> = [
        (summary.runs, if summary.runs == 1 { "runs" } else { "run" }),
        (summary.degraded, "degraded"),
        (summary.blocked, "blocked"),
        (summary.unknown, "unknown"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let total = report.programs.len();
    let noun = if total == 1 { "program" } else { "programs" };
    format!("{total} {noun}: {}. Exit code {}.", counts.join(", "), exit.code())
}

/// One entry of the list of remedies.
struct Advice<'a> {
    code: &'a str,
    /// `program/variant`, in the order of the report.
    places: Vec<String>,
    remedies: Vec<&'a str>,
}

/// Whether something can be done about a variant that is chosen or was tried before.
///
/// Nothing need be done for a program that runs, unless a variant of better rank, without loss, could not be decided.
fn needs_advice(program: &ProgramVerdict, variant: &VariantVerdict) -> bool {
    program.verdict != Verdict::Runs || variant.verdict == Verdict::Unknown && variant.loses.is_empty()
}

/// Says which programs might get a better variant if more were known.
fn maybe_better(programs: &[ProgramVerdict], screen: &Screen) -> String {
    let mut text = String::new();
    for (program, chosen) in programs.iter().filter_map(|program| Some((program, selected(program)?))) {
        let open: Vec<String> = tried_before(program)
            .filter(|variant| variant.verdict == Verdict::Unknown && needs_advice(program, variant))
            .map(|variant| line(&variant.variant))
            .collect();
        if !open.is_empty() {
            let (name, chosen) = (line(&program.program), line(&chosen.variant));
            let open = open.join(", ");
            let words =
                format!("{name}: whether a better variant than {chosen} runs could not be decided: {open}.");
            text.push_str(&paragraph(&words, 2, screen.columns));
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Remedies by code, for everything that keeps a program from running without loss.
fn what_to_do(programs: &[ProgramVerdict], screen: &Screen) -> String {
    let mut advice: Vec<Advice> = Vec::new();
    for program in programs {
        let variants = tried_before(program).chain(selected(program));
        for variant in variants.filter(|variant| needs_advice(program, variant)) {
            let place = format!("{}/{}", line(&program.program), line(&variant.variant));
            for reason in &variant.reasons {
                let at = advice.iter().position(|entry| entry.code == reason.code).unwrap_or_else(|| {
                    advice.push(Advice { code: &reason.code, places: Vec::new(), remedies: Vec::new() });
                    advice.len() - 1
                });
                let entry = &mut advice[at];
                if !entry.places.contains(&place) {
                    entry.places.push(place.clone());
                }
                if !entry.remedies.contains(&reason.remedy.as_str()) {
                    entry.remedies.push(&reason.remedy);
                }
            }
        }
    }
    if advice.is_empty() {
        return String::new();
    }
    // What helps in most places comes first.
    advice.sort_by_key(|entry| std::cmp::Reverse(entry.places.len()));
    let mut text = format!("\n{}\n", screen.paint(Tone::Strong, "What to do"));
    text.push_str(&maybe_better(programs, screen));
    for entry in &advice {
        let code = line(entry.code);
        let mut body: Vec<String> =
            reasons::find(entry.code).map(|row| row.title.clone()).into_iter().collect();
        body.push(format!("in {}", entry.places.join(", ")));
        body.extend(entry.remedies.iter().map(|remedy| lines(remedy)));
        let entry = labelled(&code, 2, &body.join("\n"), 11, screen.columns);
        text.push('\n');
        text.push_str(&entry.replacen(&code, &screen.paint(Tone::Strong, &code), 1));
    }
    text.push('\n');
    text.push_str(&paragraph(
        "One variant is enough for a program. `portolan explain CODE` tells more about a code, \
         `portolan preflight --explain` shows every requirement and what answered it.",
        0,
        screen.columns,
    ));
    text
}

fn decision_tree(program: &ProgramVerdict, screen: &Screen) -> String {
    let name = line(&program.program);
    let chosen = program.selected.as_deref().map_or(String::new(), |name| format!(" with {}", line(name)));
    let title = paragraph(&format!("{name}: {}{chosen}", program.verdict), 0, screen.columns);
    let painted = format!(
        "{}: {}",
        screen.paint(Tone::Strong, &name),
        screen.paint(tone(program.verdict), &program.verdict.to_string())
    );
    let mut text = format!("\n{}", title.replacen(&format!("{name}: {}", program.verdict), &painted, 1));
    for variant in &program.variants {
        let load = if variant.load_tried { "tried" } else { "not tried" };
        let chosen = if program.selected.as_ref() == Some(&variant.variant) { ", chosen" } else { "" };
        let name = line(&variant.variant);
        let verdict = variant.verdict.to_string();
        let evidence = evidence(variant.verdict, variant.evidence, variant.attach_evidence);
        let title = format!(
            "{}. {name}: {verdict}{chosen} (evidence: {}, load: {load})",
            variant.rank,
            evidence.replace('\n', " ")
        );
        let painted = format!(
            "{}: {}",
            screen.paint(Tone::Strong, &name),
            screen.paint(tone(variant.verdict), &verdict)
        );
        let title = paragraph(&title, 2, screen.columns);
        let _ = write!(text, "\n{}", title.replacen(&format!("{name}: {verdict}"), &painted, 1));
        for given in &variant.reasons {
            text.push_str(&paragraph(&reason(given), 5, screen.columns));
        }
        if !variant.loses.is_empty() {
            text.push_str(&paragraph(
                &format!("without {}", line(&variant.loses.join("; "))),
                5,
                screen.columns,
            ));
        }
        for note in &variant.notes {
            text.push_str(&paragraph(&format!("note: {}", line(note)), 5, screen.columns));
        }
        if !variant.checks.is_empty() {
            text.push_str(&checks(&variant.checks, screen));
        }
    }
    text
}

/// What there is to know about how the variants were loaded, where the decision tree does not show it.
fn notes(programs: &[ProgramVerdict], screen: &Screen) -> String {
    let mut text = String::new();
    for program in programs {
        for variant in &program.variants {
            for note in &variant.notes {
                let place = format!("{}/{}", line(&program.program), line(&variant.variant));
                text.push_str(&paragraph(&format!("{place}: note: {}", line(note)), 0, screen.columns));
            }
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn checks(checks: &[Check], screen: &Screen) -> String {
    let mut table = Table::new(["OUTCOME", "REQUIREMENT", "FACT", "NODE SAYS", "EVIDENCE"]);
    for check in checks {
        let (outcome, tone) = match check.outcome {
            Outcome::Pass => ("pass", Tone::Good),
            Outcome::Fail => ("FAIL", Tone::Bad),
            Outcome::Undecided => ("?", Tone::Unsure),
        };
        table.row([
            Cell::toned(outcome, tone),
            line(&check.requirement).into(),
            line(&check.fact).into(),
            says(check).into(),
            check.evidence.to_string().into(),
        ]);
    }
    table.render(screen, 4)
}

/// What the node answers, and whom a denial is for.
fn says(check: &Check) -> String {
    let word = match check.support {
        Support::DeniedWorkload => "denied to every workload",
        Support::DeniedObserver => "denied to portolan",
        other => other.word(),
    };
    check.detail.as_deref().map_or(word.to_owned(), |detail| format!("{word}: {}", line(detail)))
}

fn logs(programs: &[ProgramVerdict], all: bool, screen: &Screen) -> String {
    let mut text = String::new();
    for program in programs {
        for variant in &program.variants {
            let Some(log) = variant.verifier_log.as_deref().filter(|log| !log.trim().is_empty()) else {
                continue;
            };
            if !all && matches!(variant.verdict, Verdict::Runs | Verdict::Degraded) {
                continue;
            }
            let title = format!("Verifier's log of {}/{}", line(&program.program), line(&variant.variant));
            let _ = write!(text, "\n{}\n", screen.paint(Tone::Strong, &title));
            let safe = lines(log.trim_end());
            let skipped = if all { 0 } else { safe.lines().count().saturating_sub(LOG_TAIL) };
            if skipped > 0 {
                let _ = writeln!(text, "  ({skipped} lines before, with --verbose)");
            }
            for row in safe.lines().skip(skipped) {
                let _ = writeln!(text, "  {row}");
            }
        }
    }
    text
}
