//! The tables: what was loaded where, and what came of it.
//!
//! - `kernels.tsv`: release, package file.
//! - `objects.tsv`: object (`CORPUS/PACKAGE_VERSION/FILE`), SHA-256.
//! - `outcomes.tsv`: number, result, phase, detail. The few outcomes that there are, once each.
//! - `entries.tsv`: a row for each entry of an object, a column for each kernel with the number of its outcome; an empty
//!   field was not measured.

use crate::phase::Outcome;
use crate::wire::Row;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// An entry and its outcomes.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Section; empty where the object has no entry.
    pub section: String,
    /// Function; empty where the object has no entry.
    pub program: String,
    /// Program type in libbpf's words.
    pub prog_type: String,
    /// Attach type in libbpf's words; `cgroup_inet_ingress`, the type 0, where there is none.
    pub attach_type: String,
    /// Whether it is loaded unless a loader says otherwise.
    pub autoload: bool,
    /// Instructions before linking.
    pub insns: usize,
    /// By kernel release.
    pub outcomes: BTreeMap<String, Outcome>,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Package file by release.
    pub kernels: BTreeMap<String, String>,
    /// SHA-256 by object.
    pub objects: BTreeMap<String, String>,
    /// By object and index of the entry in it.
    pub entries: BTreeMap<(String, usize), Entry>,
}

/// SHA-256 of an object, in lowercase hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Truth {
    /// What was measured on the kernels whose package's name contains one of these; on all where none are given.
    #[must_use]
    pub fn of_kernels(mut self, names: &[String]) -> Truth {
        if !names.is_empty() {
            self.kernels.retain(|_, package| names.iter().any(|name| package.contains(name)));
            for entry in self.entries.values_mut() {
                entry.outcomes.retain(|release, _| self.kernels.contains_key(release));
            }
        }
        self
    }

    /// Adds the outcome of `row` under `release`.
    pub fn add(&mut self, release: &str, row: &Row, outcome: Outcome) {
        let entry = self.entries.entry((row.object.clone(), row.index)).or_default();
        // A lost entry comes without what libbpf knows of it.
        if !row.program.is_empty() {
            entry.section.clone_from(&row.section);
            entry.program.clone_from(&row.program);
            entry.prog_type.clone_from(&row.prog_type);
            entry.attach_type.clone_from(&row.attach_type);
            entry.autoload = row.autoload;
            entry.insns = row.insns;
        }
        entry.outcomes.insert(release.to_owned(), outcome);
    }

    /// Reads the tables in `directory`; tables that are not there are empty.
    pub fn read(directory: &Path) -> io::Result<Truth> {
        let mut truth = Truth::default();
        let pair = |fields: &[&str]| (fields[0].to_owned(), fields[1].to_owned());
        truth.kernels.extend(lines(directory, "kernels.tsv", 2)?.1.iter().map(|line| pair(&split(line))));
        truth.objects.extend(lines(directory, "objects.tsv", 2)?.1.iter().map(|line| pair(&split(line))));
        let mut outcomes = BTreeMap::new();
        for line in lines(directory, "outcomes.tsv", 4)?.1 {
            let fields = split(&line);
            let outcome = Outcome {
                result: fields[1].to_owned(),
                phase: fields[2].to_owned(),
                detail: fields[3].to_owned(),
            };
            outcomes.insert(fields[0].to_owned(), outcome);
        }
        let (header, rows) = lines(directory, "entries.tsv", FIXED.len())?;
        let releases: Vec<&str> = split(&header).into_iter().skip(FIXED.len()).collect();
        for line in rows {
            let fields = split(&line);
            let number =
                |text: &str| text.parse().map_err(|_| invalid(format!("entries.tsv: no number: {text}")));
            let mut entry = Entry {
                section: fields[2].to_owned(),
                program: fields[3].to_owned(),
                prog_type: fields[4].to_owned(),
                attach_type: fields[5].to_owned(),
                autoload: fields[6] == "1",
                insns: number(fields[7])?,
                outcomes: BTreeMap::new(),
            };
            for (release, code) in
                releases.iter().zip(&fields[FIXED.len()..]).filter(|(_, code)| !code.is_empty())
            {
                let unknown = || invalid(format!("entries.tsv: outcome {code} is not in outcomes.tsv"));
                let outcome = outcomes.get(*code).ok_or_else(unknown)?;
                entry.outcomes.insert((*release).to_owned(), outcome.clone());
            }
            truth.entries.insert((fields[0].to_owned(), number(fields[1])?), entry);
        }
        Ok(truth)
    }

    /// Writes the tables to `directory`.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let pairs = |header: &str, map: &BTreeMap<String, String>| {
            let rows = map.iter().map(|(key, value)| format!("{key}\t{value}\n"));
            std::iter::once(format!("{header}\n")).chain(rows).collect::<String>()
        };
        std::fs::write(directory.join("kernels.tsv"), pairs("release\tpackage", &self.kernels))?;
        std::fs::write(directory.join("objects.tsv"), pairs("object\tsha256", &self.objects))?;
        let outcomes: BTreeSet<&Outcome> =
            self.entries.values().flat_map(|entry| entry.outcomes.values()).collect();
        let mut text = "outcome\tresult\tphase\tdetail\n".to_owned();
        let mut numbers = BTreeMap::new();
        for (number, outcome) in outcomes.into_iter().enumerate() {
            numbers.insert(outcome, number);
            let _ = writeln!(
                text,
                "{number}\t{}\t{}\t{}",
                outcome.result,
                outcome.phase,
                outcome.detail.replace('\t', " ")
            );
        }
        std::fs::write(directory.join("outcomes.tsv"), text)?;
        let releases: Vec<&String> = self.kernels.keys().collect();
        let mut text = FIXED.join("\t");
        for release in &releases {
            let _ = write!(text, "\t{release}");
        }
        text.push('\n');
        for ((object, index), entry) in &self.entries {
            let Entry { section, program, prog_type, attach_type, autoload, insns, outcomes } = entry;
            let autoload = u8::from(*autoload);
            let _ = write!(
                text,
                "{object}\t{index}\t{section}\t{program}\t{prog_type}\t{attach_type}\t{autoload}\t{insns}"
            );
            for release in &releases {
                let number = outcomes.get(*release).and_then(|outcome| numbers.get(outcome));
                text += &number.map_or_else(|| "\t".to_owned(), |number| format!("\t{number}"));
            }
            text.push('\n');
        }
        std::fs::write(directory.join("entries.tsv"), text)
    }

    /// One line for each entry and kernel, with a header: the form that other tools read.
    pub fn long(&self) -> String {
        let mut text = "corpus\tobject\tsha256\tsection\tprogram\tprog_type\tkernel\tresult\tphase\tdetail\tattach_type\t\
                        autoload\tinsns\n"
            .to_owned();
        for ((object, _), entry) in &self.entries {
            let corpus = object.split('/').next().unwrap_or_default();
            let sha256 = self.objects.get(object).map_or("", String::as_str);
            let Entry { section, program, prog_type, attach_type, autoload, insns, outcomes } = entry;
            for (release, Outcome { result, phase, detail }) in outcomes {
                let autoload = u8::from(*autoload);
                let _ = writeln!(
                    text,
                    "{corpus}\t{object}\t{sha256}\t{section}\t{program}\t{prog_type}\t{release}\t{result}\t{phase}\t\
                     {detail}\t{attach_type}\t{autoload}\t{insns}"
                );
            }
        }
        text
    }
}

const FIXED: [&str; 8] =
    ["object", "index", "section", "program", "prog_type", "attach_type", "autoload", "insns"];

fn split(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Header and rows of a table, each row with as many fields as the header and at least `fields`.
fn lines(directory: &Path, name: &str, fields: usize) -> io::Result<(String, Vec<String>)> {
    let text = match std::fs::read_to_string(directory.join(name)) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(err) => return Err(err),
    };
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    if rows.is_empty() {
        return Ok(Default::default());
    }
    let header = rows.remove(0);
    let expected = split(&header).len();
    match rows.iter().position(|row| split(row).len() != expected || expected < fields) {
        Some(row) => Err(invalid(format!("{name}: line {} does not have {expected} fields", row + 2))),
        None => Ok((header, rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::Truth;
    use crate::phase::Outcome;
    use crate::wire::Row;

    #[test]
    fn tables_come_back_as_they_were() {
        let mut truth = Truth::default();
        truth.kernels.insert("6.1.0".into(), "one.deb".into());
        truth.kernels.insert("6.12.1".into(), "two.deb".into());
        truth.objects.insert("c/p/a.o".into(), "00".into());
        let row = |index, errno| Row {
            object: "c/p/a.o".into(),
            index,
            section: "kprobe/f".into(),
            program: format!("f{index}"),
            errno,
            insns: 7,
            ..Row::default()
        };
        for (release, row) in [("6.1.0", row(0, 0)), ("6.1.0", row(1, 22)), ("6.12.1", row(1, 0))] {
            truth.add(release, &row, Outcome::of(&row));
        }
        let directory = std::env::temp_dir().join(format!("portolan-truth-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        truth.write(&directory).unwrap();
        let read = Truth::read(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(read.long(), truth.long());
        assert_eq!(read.long().lines().count(), 4);
    }
}
