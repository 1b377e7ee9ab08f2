//! `btf-catalog/data/loaders.tsv` against the loaders that are at hand.

use aya_obj::obj::ProgramSection;
use std::collections::BTreeSet;

const SECTIONS: &str = include_str!("../../btf-catalog/data/sections.tsv");
const LOADERS: &str = include_str!("../../btf-catalog/data/loaders.tsv");

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
}

/// Sections that no version checked of a loader knows.
fn lacking(loader: &str) -> BTreeSet<&str> {
    rows(LOADERS)
        .filter(|row| row[0] == loader && row[2] == "-")
        .filter_map(|row| row[1].strip_prefix("section:"))
        .collect()
}

#[test]
fn aya_knows_all_sections_but_those_of_the_table() {
    let lacking = lacking("aya");
    let mut sections: Vec<String> = rows(SECTIONS).map(|row| row[0].to_owned()).collect();
    sections.push("?".to_owned());
    for section in sections {
        let name = section.trim_end_matches('+');
        let written = match name {
            "?" => "?kprobe/f".to_owned(),
            name if section.ends_with('+') => format!("{name}/f"),
            name => name.to_owned(),
        };
        let known = written.parse::<ProgramSection>().is_ok();
        assert_eq!(known, !lacking.contains(name), "{written}");
    }
}
