//! `catalog.toml`: its shape and everything that is refused in it.

use crate::catalog::{Catalog, CatalogError, Program, Variant};
use crate::target::Target;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The version of the manifest's format that this build reads and the shipped catalog is written in.
pub const SCHEMA: u64 = 1;

/// The longest manifest read.
pub(crate) const MANIFEST_MAX_BYTE_SZ: u64 = 1 << 20;

/// Names become parts of file names; two of them, a target and the dots stay below the 255 bytes of a file name.
const NAME_MAX_LEN: usize = 64;

/// Everything that stands in a `catalog.toml`, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The catalog's name.
    pub name: String,
    /// The catalog's version.
    pub version: semver::Version,
    /// The programs, in the order of the file.
    pub programs: Vec<Program>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[serde(rename = "schema")]
    _schema: toml::Value,
    name: String,
    version: semver::Version,
    #[serde(default, rename = "program")]
    programs: Vec<RawProgram>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    name: String,
    summary: String,
    #[serde(default, rename = "variant")]
    variants: Vec<RawVariant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariant {
    name: String,
    rank: u32,
    summary: String,
    why: String,
    provides: Vec<String>,
    loses: Vec<String>,
    targets: Vec<Target>,
}

impl Catalog {
    /// Reads the text of a `catalog.toml` and checks everything that can be checked without its objects.
    ///
    /// Refused: more than 1 MiB, another [`SCHEMA`], unknown or missing keys, names other than `[a-z0-9-]`, control
    /// characters or nothing in a text, two programs of one name, two variants of one name or rank, a target named twice,
    /// a program without variants, a variant without targets, two variants whose objects would be one file.
    pub fn parse_manifest(text: &str) -> Result<Manifest, CatalogError> {
        if text.len() as u64 > MANIFEST_MAX_BYTE_SZ {
            return Err(CatalogError::ManifestTooLarge {
                byte_sz: text.len() as u64,
                max: MANIFEST_MAX_BYTE_SZ,
            });
        }
        let syntax = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text
                .char_indices()
                .take_while(|(offset, _)| *offset < at)
                .filter(|(_, c)| *c == '\n')
                .count();
            // Messages quote the manifest, which may hold escape sequences meant for the reader's terminal.
            CatalogError::Syntax { line, message: printable(error.message()) }
        };
        // The schema is read before the rest: a newer one may well have keys that are unknown here.
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        match table.get("schema").map(toml::Value::as_integer) {
            Some(Some(schema)) if schema == SCHEMA as i64 => {}
            Some(found) => {
                let found = found.map_or_else(|| "no whole number".to_owned(), |schema| schema.to_string());
                return Err(CatalogError::Schema { found, expected: SCHEMA });
            }
            None => return Err(CatalogError::Schema { found: "none".to_owned(), expected: SCHEMA }),
        }
        let raw: RawManifest = toml::from_str(text).map_err(syntax)?;

        let name = checked_name("the catalog", raw.name)?;
        let mut programs = Vec::with_capacity(raw.programs.len());
        let mut program_names = BTreeSet::new();
        let mut files = BTreeSet::new();
        for raw in raw.programs {
            let program = checked_program(raw)?;
            if !program_names.insert(program.name.clone()) {
                return Err(duplicate("the catalog", "program", &program.name));
            }
            for file in program.variants.iter().flat_map(|variant| variant.objects.values()) {
                if !files.insert(file.clone()) {
                    return Err(duplicate("the catalog", "object file", file));
                }
            }
            programs.push(program);
        }
        Ok(Manifest { name, version: raw.version, programs })
    }
}

fn checked_program(raw: RawProgram) -> Result<Program, CatalogError> {
    let name = checked_name("a program", raw.name)?;
    let place = format!("program `{name}`");
    let summary = checked_text(&place, "summary", raw.summary)?;
    if raw.variants.is_empty() {
        return Err(CatalogError::Empty { place, what: "variants" });
    }
    let mut variants = Vec::with_capacity(raw.variants.len());
    let mut names = BTreeSet::new();
    let mut ranks = BTreeSet::new();
    for raw in raw.variants {
        let variant = checked_variant(&name, raw)?;
        if !names.insert(variant.name.clone()) {
            return Err(duplicate(&place, "variant", &variant.name));
        }
        if !ranks.insert(variant.rank) {
            return Err(duplicate(&place, "rank", &variant.rank.to_string()));
        }
        variants.push(variant);
    }
    variants.sort_by_key(|variant| variant.rank);
    Ok(Program { name, summary, variants })
}

fn checked_variant(program: &str, raw: RawVariant) -> Result<Variant, CatalogError> {
    let name = checked_name(&format!("a variant of `{program}`"), raw.name)?;
    let place = format!("variant `{program}/{name}`");
    let texts = |key: &'static str, texts: Vec<String>| {
        texts.into_iter().map(|text| checked_text(&place, key, text)).collect::<Result<Vec<_>, _>>()
    };
    let summary = checked_text(&place, "summary", raw.summary)?;
    let why = checked_text(&place, "why", raw.why)?;
    let provides = texts("provides", raw.provides)?;
    let loses = texts("loses", raw.loses)?;
    if raw.targets.is_empty() {
        return Err(CatalogError::Empty { place, what: "targets" });
    }
    let mut objects = BTreeMap::new();
    for target in raw.targets {
        // The file's name follows from checked names: a manifest has no means to name a path.
        let file = format!("{program}-{name}.{target}.o");
        let text = target.to_string();
        if objects.insert(target, file).is_some() {
            return Err(duplicate(&place, "target", &text));
        }
    }
    Ok(Variant { name, rank: raw.rank, summary, why, provides, loses, objects })
}

fn checked_name(place: &str, name: String) -> Result<String, CatalogError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let well_formed = (1..=NAME_MAX_LEN).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if well_formed {
        return Ok(name);
    }
    let shown: String = name.chars().take(NAME_MAX_LEN).collect();
    Err(CatalogError::Name { place: place.to_owned(), name: printable(&shown) })
}

fn checked_text(place: &str, key: &'static str, text: String) -> Result<String, CatalogError> {
    if text.trim().is_empty() {
        return Err(CatalogError::EmptyText { place: place.to_owned(), key });
    }
    match text.chars().find(|c| c.is_control() || is_format(*c)) {
        Some(c) => Err(CatalogError::ControlCharacter { place: place.to_owned(), key, code_point: c as u32 }),
        None => Ok(text),
    }
}

/// Whether a character reorders or hides the text around it: the bidirectional controls and zero-width marks.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn printable(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).collect::<String>().replace("\\'", "'").replace("\\\"", "\"")
}

fn duplicate(place: &str, what: &'static str, which: &str) -> CatalogError {
    CatalogError::Duplicate { place: place.to_owned(), what, which: which.to_owned() }
}
