//! The node profile: all facts of one node, with what was asked, when, by which version and at what depth.
//!
//! The document is versioned twice over: `schema` grows with every change of form, and readers accept any that is theirs
//! or older. What a newer writer adds inside a known schema is kept as it was read; values that are not known become
//! `unknown`.

use crate::facts::{Fact, Facts};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// `apiVersion` of every document of this generation.
pub const API_VERSION: &str = "portolan.dev/v1alpha1";
/// `kind` of a node profile.
pub const KIND: &str = "NodeProfile";
/// The newest form that this build reads and the one that it writes.
pub const SCHEMA: u32 = 1;
/// Largest profile that is read, in bytes. A node's has about 500 kB.
pub const PROFILE_BYTE_SZ_MAX: usize = 64 << 20;

/// How far a probe goes. Each depth includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum Depth {
    /// Files, the kernel's type information and ids of objects are read; no program, map or BTF is made. Also what a
    /// depth of a newer schema is read as: the least that is sure.
    Read,
    /// The kernel judges small programs and maps, which are closed again. Nothing is attached, nothing pinned.
    #[default]
    Load,
    /// Programs are attached to objects made for it, and to kernel functions that are hardly ever called.
    Attach,
}

impl Depth {
    /// The word on the command line and in profiles.
    pub fn word(self) -> &'static str {
        match self {
            Depth::Read => "read",
            Depth::Load => "load",
            Depth::Attach => "attach",
        }
    }
}

impl From<String> for Depth {
    fn from(word: String) -> Depth {
        [Depth::Load, Depth::Attach].into_iter().find(|depth| depth.word() == word).unwrap_or(Depth::Read)
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The program that made the profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Default for Tool {
    fn default() -> Tool {
        Tool { name: "portolan".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// What identifies the node's kernel and this boot of it: a copy of the facts of the same name, so that a reader needs
/// not know fact names to tell two profiles apart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Host {
    /// `kernel.boot_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// `kernel.release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// `kernel.build_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// `kernel.arch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Mask of `kernel.taint`; none where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taint: Option<u64>,
    /// Names of `kernel.livepatches`; none where they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub livepatches: Option<Vec<String>>,
    /// Keys of a newer writer.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

impl Host {
    /// Reads it off the facts.
    pub fn of(facts: &Facts) -> Host {
        let text = |name| facts.get(name).and_then(Fact::text).map(str::to_owned);
        let value = |name| facts.get(name).and_then(|fact| fact.value.as_ref());
        let name = |patch: &Value| patch.get("name").and_then(Value::as_str).map(str::to_owned);
        Host {
            boot_id: text("kernel.boot_id"),
            release: text("kernel.release"),
            build_id: text("kernel.build_id"),
            arch: text("kernel.arch"),
            taint: value("kernel.taint").and_then(|taint| taint.get("mask")?.as_u64()),
            livepatches: value("kernel.livepatches")
                .and_then(Value::as_array)
                .map(|patches| patches.iter().filter_map(name).collect()),
            rest: BTreeMap::new(),
        }
    }
}

/// All facts of one node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProfile {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Form of the document; see [`SCHEMA`].
    pub schema: u32,
    /// What made it.
    #[serde(default)]
    pub tool: Tool,
    /// When the probe began, RFC 3339 in UTC.
    #[serde(default)]
    pub time: String,
    /// How far it went.
    #[serde(default)]
    pub depth: Depth,
    /// The kernel and its boot.
    #[serde(default)]
    pub host: Host,
    /// The facts.
    pub facts: Facts,
    /// What the probe cost, as the prober counts it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stats: Value,
    /// Keys of a newer writer, kept as they were read.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Why bytes are no node profile of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// More than is read.
    #[error("{byte_sz} bytes are more than the {PROFILE_BYTE_SZ_MAX} that a node profile may have")]
    TooLarge {
        /// How many there are.
        byte_sz: usize,
    },
    /// Not JSON, or not of the form.
    #[error("not a node profile: {0}")]
    Form(serde_json::Error),
    /// Another document.
    #[error(
        "not a node profile: apiVersion is `{api_version}` and kind is `{kind}`, wanted `{API_VERSION}` and `{KIND}`"
    )]
    Kind {
        /// What it says of its version.
        api_version: String,
        /// What it says of its kind.
        kind: String,
    },
    /// Written by a newer version.
    #[error("node profile has schema {schema}, and this version reads up to {SCHEMA}: use a newer portolan")]
    Schema {
        /// What it says.
        schema: u32,
    },
}

impl NodeProfile {
    /// A profile of these facts, made now by this build.
    pub fn new(depth: Depth, facts: Facts) -> NodeProfile {
        NodeProfile {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            schema: SCHEMA,
            tool: Tool::default(),
            time: rfc3339(SystemTime::now()),
            depth,
            host: Host::of(&facts),
            facts,
            stats: Value::Null,
            rest: BTreeMap::new(),
        }
    }

    /// Reads a profile of this or an older schema.
    pub fn read(bytes: &[u8]) -> Result<NodeProfile, ProfileError> {
        /// What every document has. Read first, so that another kind is called by its name.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Envelope {
            api_version: String,
            kind: String,
            schema: u32,
        }
        if bytes.len() > PROFILE_BYTE_SZ_MAX {
            return Err(ProfileError::TooLarge { byte_sz: bytes.len() });
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(ProfileError::Form)?;
        if envelope.api_version != API_VERSION || envelope.kind != KIND {
            let shown = |text: &str| crate::probe::printable::printable(text, 64);
            return Err(ProfileError::Kind {
                api_version: shown(&envelope.api_version),
                kind: shown(&envelope.kind),
            });
        }
        if envelope.schema > SCHEMA {
            return Err(ProfileError::Schema { schema: envelope.schema });
        }
        serde_json::from_slice(bytes).map_err(ProfileError::Form)
    }

    /// Writes the profile as JSON with a stable order of keys, and a newline at the end.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, self)?;
        to.write_all(b"\n")
    }
}

/// The time to the second in UTC: `2026-03-01T12:00:00Z`. A clock before 1970 shows the epoch.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from 1 March of the year 0, so that the leap day is a year's last: 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Evidence, Support};
    use serde_json::json;
    use std::time::Duration;

    fn profile() -> NodeProfile {
        let mut facts = Facts::default();
        let yes = || Fact::new(Support::Yes, Evidence::Probed, "x");
        facts.insert("kernel.release", yes().value("6.1.0"));
        facts.insert("kernel.taint", yes().value(json!({ "mask": 4096, "letters": "O" })));
        facts.insert("kernel.livepatches", yes().value(json!([{ "name": "fix", "enabled": true }])));
        NodeProfile::new(Depth::Load, facts)
    }

    #[test]
    fn what_is_written_is_read() {
        let profile = profile();
        let mut bytes = Vec::new();
        profile.write(&mut bytes).unwrap();
        assert_eq!(NodeProfile::read(&bytes).unwrap(), profile);
        assert!(bytes.ends_with(b"}\n"));
        assert_eq!(
            (profile.host.taint, profile.host.livepatches),
            (Some(4096), Some(vec!["fix".to_owned()]))
        );
    }

    #[test]
    fn a_newer_writers_additions_are_kept() {
        let mut document = serde_json::to_value(profile()).unwrap();
        document["cluster"] = json!("west");
        document["host"]["chassis"] = json!(7);
        document["depth"] = json!("deeper");
        document["facts"]["kernel.release"]["support"] = json!("mostly");
        let read = NodeProfile::read(document.to_string().as_bytes()).unwrap();
        assert_eq!(read.depth, Depth::Read);
        assert_eq!(read.facts.support("kernel.release"), Support::Unknown);
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!((&written["cluster"], &written["host"]["chassis"]), (&json!("west"), &json!(7)));
    }

    #[test]
    fn an_older_writer_may_leave_out_what_came_later() {
        let text = r#"{"apiVersion":"portolan.dev/v1alpha1","kind":"NodeProfile","schema":0,"facts":{}}"#;
        let read = NodeProfile::read(text.as_bytes()).unwrap();
        assert!(read.facts.is_empty() && read.host.release.is_none());
    }

    #[test]
    fn other_documents_are_refused_by_what_they_are() {
        for (text, want) in [
            (
                r#"{"apiVersion":"v1","kind":"\u001b[31mPod"}"#,
                "apiVersion is `v1` and kind is `\u{fffd}[31mPod`",
            ),
            (
                r#"{"apiVersion":"portolan.dev/v1alpha1","kind":"Preflight","schema":1}"#,
                "kind is `Preflight`",
            ),
            (
                r#"{"apiVersion":"portolan.dev/v1alpha1","kind":"NodeProfile","schema":2,"facts":[]}"#,
                "schema 2",
            ),
            (r#"{"apiVersion":"portolan.dev/v1alpha1","kind":"NodeProfile","schema":1}"#, "facts"),
            ("{", "EOF"),
            ("", "EOF"),
            ("[]", "not a node profile"),
        ] {
            let error = NodeProfile::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        let deep = "[".repeat(1 << 20);
        assert!(matches!(NodeProfile::read(deep.as_bytes()), Err(ProfileError::Form(_))));
        let large = vec![b' '; PROFILE_BYTE_SZ_MAX + 1];
        assert!(matches!(NodeProfile::read(&large), Err(ProfileError::TooLarge { .. })));
    }

    #[test]
    fn times() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }
}
