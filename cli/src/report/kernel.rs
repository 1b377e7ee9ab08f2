//! The documents of `portolan kernel`.

use btf_catalog::store::diff::Change;
use btf_catalog::store::{Record, Stored};
use serde::{Deserialize, Serialize};

/// `KernelReport`: kernels of a store, after `add`, `fetch`, `list`, `show`, `verify` or `prune`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelReport {
    /// Where the store is.
    pub store: String,
    /// Bytes of the whole store.
    pub store_bytes: u64,
    /// The kernels that it is about.
    pub kernels: Vec<KernelEntry>,
    /// How many kernels were read from beginning to end; of `verify` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<usize>,
    /// What is damaged or could not be had, a message each.
    pub damage: Vec<String>,
    /// Files that no kernel needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unneeded: Vec<UnneededFile>,
}

/// A kernel of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelEntry {
    /// Its name in the store.
    pub id: String,
    /// `uname -r`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// `uname -m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// GNU build ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// `/proc/version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    /// What it was read from.
    pub sources: Vec<String>,
    /// What happened to it: `added`, `known`, `damaged`, `removed`, `would be removed`,
    /// `would be fetched`; absent where it is only shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Bytes that were written for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Whether all of its modules are kept.
    pub modules_whole: bool,
    /// What is kept of it.
    pub parts: Vec<KernelPart>,
    /// What was not looked at or could not be read when it was added.
    pub notes: Vec<String>,
}

/// A part of a kernel: `btf`, `config`, `inside`, `layouts`, `modules`, `symbols`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KernelPart {
    /// Which part.
    pub name: String,
    /// Bytes, unpacked.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// How many packs have to be read for it.
    pub packs: usize,
}

/// A file that no kernel needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnneededFile {
    /// Its path within the store.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
}

impl KernelEntry {
    /// What a record says.
    pub fn of(record: &Record, state: Option<&str>) -> KernelEntry {
        let part = |(name, part): (&String, &btf_catalog::store::Part)| KernelPart {
            name: name.clone(),
            bytes: part.size,
            sha256: part.sha256.as_str().to_owned(),
            packs: part.packs.len(),
        };
        KernelEntry {
            id: record.id(),
            release: record.release.clone(),
            arch: record.arch.clone(),
            build_id: record.build_id.clone(),
            banner: record.banner.clone(),
            sources: record.sources.clone(),
            state: state.map(str::to_owned),
            written_bytes: None,
            modules_whole: record.modules_whole,
            parts: record.parts.iter().map(part).collect(),
            notes: record.notes.clone(),
        }
    }
}

impl From<&Stored> for UnneededFile {
    fn from(file: &Stored) -> UnneededFile {
        UnneededFile { path: file.path.clone(), bytes: file.size }
    }
}

/// `KernelDiff`: what has changed between the types of two kernels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KernelDiff {
    /// The older kernel.
    pub old: String,
    /// The newer kernel.
    pub new: String,
    /// The object whose types were looked at; absent where all were.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The changes, by kind and name.
    pub changes: Vec<ChangeEntry>,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// What has changed about one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangeEntry {
    /// `struct`, `union`, `enum`, `typedef`, `func` or `int`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The changes in words.
    pub what: Vec<String>,
}

impl From<Change> for ChangeEntry {
    fn from(change: Change) -> ChangeEntry {
        ChangeEntry { kind: change.kind.to_owned(), name: change.name, what: change.what }
    }
}
