//! What a loader's version cannot do with an object. The table is `data/loaders.tsv`; each row says where it was seen.

use crate::BpfObject;
use crate::core::CoreReloKind;
use crate::insn::JUMP_BY_REGISTER;
use crate::object::ExternKind;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A loader in one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loader {
    name: &'static str,
    version: Version,
}

/// A version: numbers between dots, missing ones being 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version([u32; 3]);

/// Why a text names no loader.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoaderError {
    /// No row of the table.
    #[error("no loader is called {name:?}; known are {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Not numbers between dots.
    #[error("{version:?} is no version: write LOADER=1.4 or LOADER=1.4.2")]
    Version {
        /// What was asked for.
        version: String,
    },
}

/// What becomes of an object that needs what its loader cannot do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// The whole object is refused.
    Object,
    /// The programs that need it are.
    Entry,
    /// Nothing is said, and the program does not do what it should.
    Silent,
}

impl Effect {
    /// One word for it, as the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Object => "object",
            Effect::Entry => "entry",
            Effect::Silent => "silent",
        }
    }
}

/// Something that an object needs and its loader cannot do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// What: `section:tcx/ingress`, `relocation:type_matches`.
    pub feature: String,
    /// What becomes of the object.
    pub effect: Effect,
    /// The first version that was seen to have it, if one was.
    pub since: Option<&'static str>,
    /// The programs that need it; none if it is the object itself.
    pub entries: Vec<String>,
    /// Where the loader was looked at.
    pub source: &'static str,
}

struct Row {
    loader: &'static str,
    feature: &'static str,
    since: &'static str,
    effect: Option<Effect>,
    source: &'static str,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/loaders.tsv").lines();
    rows.filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [loader, feature, since, effect, source] = columns[..] else {
                panic!("loaders.tsv has five columns: {line}")
            };
            let effect =
                [Effect::Object, Effect::Entry, Effect::Silent].into_iter().find(|e| e.name() == effect);
            assert_eq!(effect.is_none(), feature == CHECKED, "an effect: {line}");
            Row { loader, feature, since, effect, source }
        })
        .collect()
});

/// The feature of the row that tells which versions were looked at.
const CHECKED: &str = "checked";

/// The loaders of the table.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().filter(|row| row.feature == CHECKED).map(|row| row.loader).collect()
}

impl FromStr for Version {
    type Err = LoaderError;

    fn from_str(text: &str) -> Result<Version, LoaderError> {
        let mut version = [0; 3];
        let parts: Vec<&str> = text.trim_start_matches('v').split('.').collect();
        let bad = || LoaderError::Version { version: text.to_owned() };
        if parts.len() > version.len() {
            return Err(bad());
        }
        for (number, part) in version.iter_mut().zip(parts) {
            *number = part.parse().map_err(|_| bad())?;
        }
        Ok(Version(version))
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.version.0;
        write!(f, "{} {major}.{minor}.{patch}", self.name)
    }
}

impl FromStr for Loader {
    type Err = LoaderError;

    /// Reads `LOADER` or `LOADER=VERSION`; without a version it is the newest that was looked at.
    fn from_str(text: &str) -> Result<Loader, LoaderError> {
        let (name, version) =
            text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
        let row = TABLE.iter().find(|row| row.feature == CHECKED && row.loader == name);
        let row = row.ok_or_else(|| LoaderError::Unknown { name: name.to_owned() })?;
        let version = version.unwrap_or_else(|| range(row).1);
        Ok(Loader { name: row.loader, version: version.parse()? })
    }
}

/// Oldest and newest version of a row `checked`.
fn range(row: &Row) -> (&'static str, &'static str) {
    row.since.split_once("..").expect("the row `checked` has two versions")
}

impl Loader {
    /// What `object` needs and this loader cannot do, by feature.
    pub fn gaps(&self, object: &BpfObject) -> Vec<Gap> {
        let mut gaps: BTreeMap<&str, Gap> = BTreeMap::new();
        for (feature, entry) in features(object) {
            let Some(row) = TABLE.iter().find(|row| row.loader == self.name && row.feature == feature) else {
                continue;
            };
            let since = Some(row.since).filter(|since| *since != "-");
            if since.and_then(|since| since.parse().ok()).is_some_and(|since: Version| since <= self.version)
            {
                continue;
            }
            let Some(effect) = row.effect else { continue };
            let gap = gaps.entry(row.feature).or_insert_with(|| Gap {
                feature: feature.clone(),
                effect,
                since,
                entries: Vec::new(),
                source: row.source,
            });
            gap.entries.extend(entry.filter(|entry| !gap.entries.contains(entry)));
        }
        gaps.into_values().collect()
    }

    /// Whether this version is older or newer than all that were looked at.
    pub fn beyond(&self) -> Option<Ordering> {
        let (oldest, newest) = self.checked()?;
        let compared = |version: &str| Some(self.version.cmp(&version.parse().ok()?));
        let older = compared(oldest) == Some(Ordering::Less);
        let newer = compared(newest) == Some(Ordering::Greater);
        older.then_some(Ordering::Less).or_else(|| newer.then_some(Ordering::Greater))
    }

    /// What is not known of this version, in words.
    pub fn unchecked(&self) -> Option<String> {
        let (oldest, newest) = self.checked()?;
        let (is, has) = match self.beyond()? {
            Ordering::Less => ("older", "lack"),
            _ => ("newer", "have"),
        };
        Some(format!("{self} is {is} than what was looked at ({oldest} to {newest}): it may {has} more"))
    }

    /// The oldest and the newest version that were looked at.
    fn checked(&self) -> Option<(&'static str, &'static str)> {
        TABLE.iter().find(|row| row.feature == CHECKED && row.loader == self.name).map(range)
    }
}

/// What an object asks of its loader, and the program that does, if it is one.
fn features(object: &BpfObject) -> Vec<(String, Option<String>)> {
    let mut features = Vec::new();
    for entry in &object.entries {
        let mut asks = |feature: String| features.push((feature, Some(entry.name.clone())));
        if entry.section.starts_with('?') {
            asks("section:?".to_owned());
        }
        if let Some(kind) = &entry.kind {
            asks(format!("section:{}", kind.prefix));
        }
        let matches = |kind| CoreReloKind::from_raw(kind) == Some(CoreReloKind::TypeMatches);
        if entry.core_relos.iter().any(|relo| matches(relo.kind)) {
            asks("relocation:type_matches".to_owned());
        }
        if entry.insns.iter().any(|insn| insn.code == JUMP_BY_REGISTER) {
            asks("jump:register".to_owned());
        }
        for reference in &entry.extern_refs {
            asks(format!("extern:{}", extern_kind(object.externs[reference.ext].kind)));
        }
    }
    features.extend(object.maps.iter().map(|map| (format!("map:{}", map.map_type), None)));
    features.extend(object.maps.iter().filter(|map| map.untyped).map(|_| ("map:untyped".to_owned(), None)));
    // The words that the parser has for what it leaves to the loader.
    let data = object.left_to_loader.iter().filter_map(|left| left.split_once("the structures of section "));
    features.extend(data.map(|(_, section)| (format!("data:{section}"), None)));
    features
}

fn extern_kind(kind: ExternKind) -> &'static str {
    match kind {
        ExternKind::Kconfig => "kconfig",
        ExternKind::Kfunc => "kfunc",
        ExternKind::Ksym => "ksym",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_are_named_with_or_without_a_version() {
        let shown = |text: &str| text.parse::<Loader>().map(|loader| loader.to_string());
        assert_eq!(shown("libbpf=v1.2").unwrap(), "libbpf 1.2.0");
        assert_eq!(shown("aya").unwrap(), "aya 0.3.0");
        assert_eq!(shown("libbpf=new"), Err(LoaderError::Version { version: "new".to_owned() }));
        assert_eq!(shown("libbqf"), Err(LoaderError::Unknown { name: "libbqf".to_owned() }));
        let unchecked = |text: &str| text.parse::<Loader>().unwrap().unchecked();
        assert!(unchecked("libbpf=0.8").unwrap().contains("older"));
        assert!(unchecked("cilium-ebpf=0.99").unwrap().contains("newer"));
        assert_eq!(unchecked("libbpf=1.3.1"), None);
    }

    #[test]
    fn every_row_names_what_an_object_can_ask_for() {
        for row in TABLE.iter().filter(|row| row.feature != CHECKED) {
            let (kind, name) = row.feature.split_once(':').unwrap();
            let known = match kind {
                "section" => true,
                "relocation" => name == "type_matches",
                "extern" => ["kconfig", "kfunc", "ksym"].contains(&name),
                "map" => name == "untyped" || crate::MapType::from_name(name).is_some(),
                "jump" => name == "register",
                "data" => name.starts_with(".struct_ops"),
                _ => false,
            };
            assert!(known, "{}", row.feature);
            assert!(row.since == "-" || row.since.parse::<Version>().is_ok(), "{}", row.feature);
        }
    }
}
