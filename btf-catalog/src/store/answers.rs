//! Answers that were found once: what an object comes to on kernels, so that nobody has to find it out again.
//!
//! A question is an object and all else that its answers depend on but the kernel: the digest of it names a file of the
//! store. In it each kernel, by [`Record::content`], has the number of its answer. Many kernels have few distinct answers,
//! and each is there once. What an answer says is its asker's business. Answers are as good as the store that they are read from: they
//! are not checked against the kernel, which would be to find them out again.

use super::pack::MAX_BTF_SZ;
use super::record::{Digest, Record};
use super::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;

/// Where answers lie in a store.
pub(super) const ANSWERS: &str = "answers";
/// Bytes of all answers to a question.
const MOST: u64 = MAX_BTF_SZ as u64;
/// Level of zstd: answers are written as often as something new is found out.
const LEVEL: i32 = 3;

/// Answers to one question, by subject.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Subjects, each with the number of its answer.
    subjects: BTreeMap<String, usize>,
    /// Each distinct answer once.
    distinct: Vec<String>,
}

impl Answers {
    /// The answer about a subject, if it is known.
    pub fn get(&self, subject: &str) -> Option<&str> {
        self.distinct.get(*self.subjects.get(subject)?).map(String::as_str)
    }

    /// Adds what was found out about a subject.
    pub fn insert(&mut self, subject: &str, answer: &str) {
        let known = self.distinct.iter().position(|known| known == answer);
        let number = known.unwrap_or_else(|| {
            self.distinct.push(answer.to_owned());
            self.distinct.len() - 1
        });
        self.subjects.insert(subject.to_owned(), number);
    }

    /// How many subjects there are, and how many distinct answers.
    pub fn counts(&self) -> (usize, usize) {
        (self.subjects.len(), self.distinct.len())
    }
}

impl Record {
    /// Digest of all that is kept of the kernel, however it is packed: kernels of the same one have the same answers to
    /// everything.
    pub fn content(&self) -> Digest {
        Digest::of(&json(&self.unpacked()))
    }
}

impl Store {
    /// The answers to a question that are known here. Damage costs them, not the asker.
    pub fn answers(&self, question: &Digest) -> Result<Answers, StoreError> {
        let read = self.backend.read(&path(question), MOST)?;
        Ok(read.and_then(|bytes| parse(&bytes)).unwrap_or_default())
    }

    /// Adds to the answers to a question. Of two who add at the same time, what one of them adds may be lost, and is found
    /// out again.
    pub fn remember(&self, question: &Digest, answers: &Answers) -> Result<(), StoreError> {
        let mut all = self.answers(question)?;
        for (subject, number) in &answers.subjects {
            all.insert(subject, &answers.distinct[*number]);
        }
        let text = json(&all);
        let failed = |error: std::io::Error| StoreError::damaged(&path(question), error.to_string());
        let packed = zstd::bulk::compress(&text, LEVEL).map_err(failed)?;
        let digest = Digest::of(&packed);
        self.backend.write(&path(question), &[digest.as_str().as_bytes(), &packed].concat())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data has a form in JSON")
}

fn path(question: &Digest) -> String {
    format!("{ANSWERS}/{}", question.as_str())
}

/// Reads what [`Store::remember`] wrote: the digest of what follows, and that, compressed.
fn parse(bytes: &[u8]) -> Option<Answers> {
    let (digest, packed) = bytes.split_at_checked(64)?;
    if Digest::of(packed).as_str().as_bytes() != digest {
        return None;
    }
    let mut text = Vec::new();
    zstd::stream::read::Decoder::new(packed).ok()?.take(MOST + 1).read_to_end(&mut text).ok()?;
    let answers: Answers = serde_json::from_slice(&text).ok().filter(|_| text.len() as u64 <= MOST)?;
    answers.subjects.values().all(|number| *number < answers.distinct.len()).then_some(answers)
}

#[cfg(test)]
mod tests {
    use super::super::Directory;
    use super::*;

    #[test]
    fn equal_answers_are_kept_once_and_added_to_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Directory::new(dir.path()));
        let question = Digest::of(b"an object");
        assert_eq!(store.answers(&question).unwrap(), Answers::default());
        for half in 0..2 {
            let mut found = Answers::default();
            for n in 0..60 {
                found.insert(&format!("{half}-{n}"), if n % 3 == 0 { "runs" } else { "blocked" });
            }
            store.remember(&question, &found).unwrap();
        }
        let answers = Store::new(Directory::new(dir.path())).answers(&question).unwrap();
        assert_eq!(answers.counts(), (120, 2));
        assert_eq!(
            (answers.get("1-3"), answers.get("0-1"), answers.get("2-0")),
            (Some("runs"), Some("blocked"), None)
        );
        assert_eq!(store.answers(&Digest::of(b"another")).unwrap().counts(), (0, 0));
    }

    #[test]
    fn damaged_answers_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Directory::new(dir.path()));
        let question = Digest::of(b"an object");
        let mut found = Answers::default();
        found.insert("a kernel", "runs");
        store.remember(&question, &found).unwrap();
        let file = dir.path().join(path(&question));
        let good = std::fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            assert_eq!(store.answers(&question).unwrap(), Answers::default(), "byte {at}");
            assert!(parse(&good[..at]).is_none(), "byte {at}");
        }
    }
}
