//! The tables: what was loaded where, and what came of it.
//!
//! Each [set](SETS) of objects has its own directory of tables:
//!
//! - `kernels.tsv`: release, package file.
//! - `objects.tsv`: object (`CORPUS/PACKAGE_VERSION/FILE`), SHA-256.
//! - `outcomes.tsv`: key, result, phase, detail. The few outcomes that there are, once each; the key is made of the rest, so
//!   that a new outcome changes no row but its own.
//! - `entries.tsv`: a row for each entry of an object, a column for each kernel with the key of its outcome; an empty
//!   field was not measured.

use crate::phase::Outcome;
use crate::wire::Row;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// What objects are told apart by, each with tables and figures of its own: those that people run, those that are written
/// to be accepted or refused, and the kernel's own tests.
pub const SETS: [&str; 3] = ["third-party", "suite", "selftests"];

/// The set of an object, by its corpus.
pub fn set_of(object: &str) -> &'static str {
    let corpus = object.split('/').next();
    SETS[1..].iter().find(|set| corpus == Some(**set)).unwrap_or(&SETS[0])
}

/// The tables of all sets.
#[derive(Clone, Debug, Default)]
pub struct Tables(BTreeMap<&'static str, Truth>);

impl Tables {
    /// Reads the tables in the sets' directories under `directory`; what is not there is empty.
    pub fn read(directory: &Path) -> io::Result<Tables> {
        let read = |set: &'static str| Ok((set, Truth::read(&directory.join(set))?));
        SETS.into_iter().map(read).collect::<io::Result<_>>().map(Tables)
    }

    /// Writes the tables of the sets that have any objects.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        for (set, truth) in self.0.iter().filter(|(_, truth)| !truth.objects.is_empty()) {
            std::fs::create_dir_all(directory.join(set))?;
            truth.write(&directory.join(set))?;
        }
        Ok(())
    }

    /// The tables that have `object`, or would.
    pub fn of(&mut self, object: &str) -> &mut Truth {
        self.0.entry(set_of(object)).or_default()
    }

    /// The sets by name, in the order of [`SETS`].
    pub fn sets(&self) -> impl Iterator<Item = (&'static str, &Truth)> {
        SETS.into_iter().filter_map(|set| Some((set, self.0.get(set)?)))
    }

    /// What was measured of these sets on the kernels whose package's name contains one of these names; all sets, all
    /// kernels where none are given.
    #[must_use]
    pub fn only(mut self, sets: &[String], kernels: &[String]) -> Tables {
        self.0.retain(|set, _| sets.is_empty() || sets.iter().any(|only| only == set));
        for truth in self.0.values_mut() {
            truth.keep_kernels(kernels);
        }
        self
    }
}

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
    /// Forgets all kernels but those whose package's name contains one of these; none where none are given.
    fn keep_kernels(&mut self, names: &[String]) {
        if !names.is_empty() {
            self.kernels.retain(|_, package| names.iter().any(|name| package.contains(name)));
            for entry in self.entries.values_mut() {
                entry.outcomes.retain(|release, _| self.kernels.contains_key(release));
            }
        }
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
        let mut keys: BTreeMap<&Outcome, String> = BTreeMap::new();
        for outcome in outcomes {
            let mut key = key(outcome);
            while keys.values().any(|taken| *taken == key) {
                key.push('+');
            }
            let Outcome { result, phase, detail } = outcome;
            let _ = writeln!(text, "{key}\t{result}\t{phase}\t{}", detail.replace('\t', " "));
            keys.insert(outcome, key);
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
                let key = outcomes.get(*release).and_then(|outcome| keys.get(outcome));
                text.push('\t');
                text += key.map_or("", String::as_str);
            }
            text.push('\n');
        }
        std::fs::write(directory.join("entries.tsv"), text)
    }

    /// One line for each entry and kernel: the form that other tools read. [`LONG`] are its columns.
    pub fn long(&self) -> String {
        let mut text = String::new();
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

/// Names of the columns of [`Truth::long`].
pub const LONG: &str = "corpus\tobject\tsha256\tsection\tprogram\tprog_type\tkernel\tresult\tphase\tdetail\tattach_type\tautoload\tinsns";

/// `ok`, or four characters of the digest of what the outcome says.
fn key(outcome: &Outcome) -> String {
    if outcome.phase == "ok" {
        return "ok".to_owned();
    }
    let Outcome { result, phase, detail } = outcome;
    let digest = Sha256::digest(format!("{result}\t{phase}\t{detail}"));
    let characters = b"abcdefghijklmnopqrstuvwxyz234567";
    digest.iter().take(4).map(|byte| char::from(characters[usize::from(byte % 32)])).collect()
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
    use super::{Truth, key, set_of};
    use crate::phase::Outcome;
    use crate::wire::Row;

    #[test]
    fn a_set_is_told_by_the_corpus_and_a_key_by_the_outcome_alone() {
        assert_eq!(set_of("selftests/linux-source-6.12_6.12.117-1/verifier_and.o"), "selftests");
        assert_eq!(set_of("xdp-tools/xdp-tools_1.6.3-1/suite.o"), "third-party");
        let outcome = |phase: &str| Outcome { phase: phase.into(), ..Outcome::lost("crash") };
        assert_eq!(key(&outcome("ok")), "ok");
        assert_eq!(key(&outcome("verifier")), key(&outcome("verifier")));
        assert_ne!(key(&outcome("verifier")), key(&outcome("extern")));
    }

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
        assert_eq!(read.long().lines().count(), 3);
    }
}
