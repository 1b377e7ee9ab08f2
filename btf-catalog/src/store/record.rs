//! What a store says of a kernel: one small file each, so that writers never wait for each other.

use super::pack::{MAX_BTF_SZ, MAX_DEPTH};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Version of the record's form.
const FORMAT: u32 = 1;

/// SHA-256 as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(hex(&Sha256::digest(bytes)))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Digest, &'static str> {
        // The text becomes part of a path.
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && digits { Ok(Digest(text)) } else { Err("a digest is 64 hexadecimal digits") }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A part of a kernel: what it is when it is unpacked, and the packs that give it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Number of its bytes.
    pub size: u64,
    /// Digests of the packs: one that stands alone, then each over what the one before it gives.
    pub packs: Vec<Digest>,
}

/// Name of the part that holds vmlinux's BTF.
pub const BTF: &str = "btf";
/// Name of the part that holds the configuration, an option a line.
pub const CONFIG: &str = "config";
/// Name of the part that holds the modules: their BTF and what functions they define.
pub const MODULES: &str = "modules";

/// Name of the part that holds the image's symbols and what its tables say of each.
pub const SYMBOLS: &str = "symbols";
/// Name of the part that holds what else only the image tells.
pub const INSIDE: &str = "inside";

/// A kernel in a store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of this form.
    pub format: u32,
    /// Kernel release, as `uname -r` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Machine, as `uname -m` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// GNU build ID, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The banner, as `/proc/version` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    /// What it was read from: file names without directories.
    pub sources: Vec<String>,
    /// Where the configuration was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config_source: String,
    /// Whether all modules of the kernel are there.
    pub modules_whole: bool,
    /// What was not looked at or could not be read when it was added.
    pub notes: Vec<String>,
    /// Its parts by name.
    pub parts: BTreeMap<String, Part>,
}

impl Record {
    /// A record without parts.
    pub(super) fn new() -> Record {
        Record {
            format: FORMAT,
            release: None,
            arch: None,
            build_id: None,
            banner: None,
            sources: Vec::new(),
            config_source: String::new(),
            modules_whole: false,
            notes: Vec::new(),
            parts: BTreeMap::new(),
        }
    }

    /// The kernel's name in the store: 16 digits, the same for the same kernel whoever adds it.
    pub fn id(&self) -> String {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let btf = self.parts.get(BTF).map_or("", |part| part.sha256.as_str());
        let identity = [&text(&self.release), &text(&self.arch), &text(&self.build_id), btf].join("\n");
        Digest::of(identity.as_bytes()).0[..16].to_owned()
    }

    /// What it tells of the kernel: the record without the packs.
    pub(super) fn unpacked(&self) -> Record {
        let mut record = self.clone();
        record.parts.values_mut().for_each(|part| part.packs.clear());
        record
    }

    /// Reads a record and checks that nothing in it is out of bounds.
    pub(super) fn parse(bytes: &[u8]) -> Result<Record, String> {
        let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            let known = record.format;
            return Err(format!(
                "the record has form {known}, this build knows form {FORMAT}: add the kernel again"
            ));
        }
        for (name, part) in &record.parts {
            if part.packs.is_empty() || part.packs.len() > MAX_DEPTH || part.size > MAX_BTF_SZ as u64 {
                let packs = part.packs.len();
                return Err(format!(
                    "part {name} of {} bytes in {packs} packs is out of bounds: add its kernel again",
                    part.size
                ));
            }
        }
        Ok(record)
    }

    /// Whether `selector` means this kernel: its release (`*` stands for anything), the beginning of its build ID or of
    /// its name in the store (at least six digits).
    pub fn is(&self, selector: &str) -> bool {
        let begins = |text: &str| selector.len() >= 6 && text.starts_with(selector);
        self.release.as_deref().is_some_and(|release| matches(selector, release))
            || self.build_id.as_deref().is_some_and(begins)
            || begins(&self.id())
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_releases_with_stars_or_beginnings_of_names() {
        let mut record = Record::new();
        record.release = Some("6.1.0-44-cloud-amd64".to_owned());
        record.build_id = Some("0123456789abcdef".to_owned());
        for (selector, means) in [
            ("6.1.0-44-cloud-amd64", true),
            ("6.1.*", true),
            ("*cloud*64", true),
            ("*", true),
            ("6.1.0", false),
            ("*arm64", false),
            ("6.1.0-44-cloud-amd64*cloud-amd64", false),
            ("012345", true),
            ("01234", false),
            ("", false),
        ] {
            assert_eq!(record.is(selector), means, "{selector}");
        }
        assert!(record.is(&record.id()));
    }

    #[test]
    fn a_digest_is_never_a_path() {
        for text in ["", "../../etc/passwd", &"A".repeat(64), &"../".repeat(22)[..64]] {
            assert!(Digest::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
