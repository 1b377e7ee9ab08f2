//! A catalog: its programs, and the objects from the binary or a directory.

use crate::embedded;
use crate::manifest::{MANIFEST_MAX_BYTE_SZ, Manifest};
use crate::target::Target;
use btf_catalog::open::{Takes, open};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest object read. The largest objects of published eBPF products have about 5 MiB with debug information.
const OBJECT_MAX_BYTE_SZ: u64 = 16 << 20;

/// A set of programs with the objects of their variants.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The catalog's name.
    pub name: String,
    /// The catalog's version.
    pub version: semver::Version,
    /// The programs, in the order of the manifest.
    pub programs: Vec<Program>,
    source: Source,
}

/// A thing wanted from the dataplane, in one or more variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's name, unique in its catalog.
    pub name: String,
    /// One sentence for a table or a list.
    pub summary: String,
    /// The variants, best rank first; never empty.
    pub variants: Vec<Variant>,
}

/// One way to build a program, with an object for each target.
///
/// What it needs of a kernel is not stated: it is derived from the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The variant's name, unique in its program.
    pub name: String,
    /// The place in the order of preference, unique in its program; the lowest is tried first.
    pub rank: u32,
    /// One sentence for a table or a list.
    pub summary: String,
    /// Why the variant exists: what is met in the field that the others do not serve.
    pub why: String,
    /// What its user gets, in short phrases.
    pub provides: Vec<String>,
    /// What its user does not get although a better variant provides it; empty if nothing.
    pub loses: Vec<String>,
    /// The name of the object file for each target; never empty.
    pub objects: BTreeMap<Target, String>,
}

#[derive(Clone, Debug)]
enum Source {
    Embedded,
    /// The directory that holds the manifest and `objects/`, resolved.
    Directory {
        root: PathBuf,
    },
}

/// A catalog could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The manifest is larger than any that is taken.
    #[error("catalog.toml has {byte_sz} bytes; at most {max} are read")]
    ManifestTooLarge {
        /// Its size.
        byte_sz: u64,
        /// The limit.
        max: u64,
    },
    /// The manifest is no TOML, or a key is unknown, missing or of another type.
    #[error("catalog.toml line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says; names the key.
        message: String,
    },
    /// The manifest is no text.
    #[error("catalog.toml is not UTF-8 text from byte {valid_up_to} on")]
    NotText {
        /// How many bytes are text.
        valid_up_to: usize,
    },
    /// The manifest is of a format that this build does not read.
    #[error("catalog.toml has schema {found}; this build reads schema {expected}")]
    Schema {
        /// What stands there.
        found: String,
        /// What is read.
        expected: u64,
    },
    /// A name holds something else than `[a-z0-9-]`, begins or ends with `-`, or is too long.
    #[error("the name of {place}, `{name}`, is not 1 to 64 characters of a-z, 0-9 and inner `-`")]
    Name {
        /// What is named so.
        place: String,
        /// The name.
        name: String,
    },
    /// A text is empty.
    #[error("{place}: `{key}` is empty")]
    EmptyText {
        /// The program or variant.
        place: String,
        /// The key.
        key: &'static str,
    },
    /// A text holds a control character.
    #[error("{place}: `{key}` holds the control character U+{code_point:04X}")]
    ControlCharacter {
        /// The program or variant.
        place: String,
        /// The key.
        key: &'static str,
        /// The character.
        code_point: u32,
    },
    /// A program has no variants, or a variant no targets.
    #[error("{place} has no {what}")]
    Empty {
        /// The program or variant.
        place: String,
        /// What is missing.
        what: &'static str,
    },
    /// Something that must be unique is there twice.
    #[error("{place} has two of {what} `{which}`")]
    Duplicate {
        /// The catalog, program or variant.
        place: String,
        /// What must be unique.
        what: &'static str,
        /// The value.
        which: String,
    },
    /// A variant has no object for a target.
    #[error("variant `{variant}` has no object for {target}")]
    NoObject {
        /// The variant.
        variant: String,
        /// The target asked for.
        target: Target,
    },
    /// The embedded catalog names an object that is not in the binary.
    #[error("object {file} is not in this binary")]
    NotEmbedded {
        /// The object's file name.
        file: String,
    },
    /// An object is larger than any that is taken.
    #[error("object {} has {byte_sz} bytes; at most {max} are read", path.display())]
    ObjectTooLarge {
        /// The object.
        path: PathBuf,
        /// Its size.
        byte_sz: u64,
        /// The limit.
        max: u64,
    },
    /// A symbolic link leads out of the catalog's directory.
    #[error("{} leads out of the catalog's directory, to {}", path.display(), resolved.display())]
    Escapes {
        /// The path in the catalog.
        path: PathBuf,
        /// Where it leads.
        resolved: PathBuf,
    },
    /// Something else than a regular file stands where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The system refused to read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Catalog {
    /// The catalog that is linked into this binary.
    pub fn embedded() -> Result<Catalog, CatalogError> {
        let manifest = Catalog::parse_manifest(embedded::MANIFEST)?;
        Ok(Catalog::from_manifest(manifest, Source::Embedded))
    }

    /// The catalog at `path`: a directory with a `catalog.toml`, or that file itself; objects lie in `objects/` beside it.
    ///
    /// Only the manifest is read here. Nothing outside the directory is read, even through symbolic links; links
    /// inside it are followed, since a Kubernetes ConfigMap volume consists of them.
    pub fn open(path: &Path) -> Result<Catalog, CatalogError> {
        let resolved = resolve(path)?;
        let (root, manifest) = if resolved.is_dir() {
            let manifest = resolved.join("catalog.toml");
            (resolved, manifest)
        } else {
            // The directory is that of the path as given: what a link leads to elsewhere has no objects beside it.
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (resolve(parent)?, path.to_owned())
        };
        let bytes = read_inside(&root, &manifest, MANIFEST_MAX_BYTE_SZ)?
            .map_err(|byte_sz| CatalogError::ManifestTooLarge { byte_sz, max: MANIFEST_MAX_BYTE_SZ })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| CatalogError::NotText { valid_up_to: error.valid_up_to() })?;
        Ok(Catalog::from_manifest(Catalog::parse_manifest(text)?, Source::Directory { root }))
    }

    fn from_manifest(manifest: Manifest, source: Source) -> Catalog {
        Catalog { name: manifest.name, version: manifest.version, programs: manifest.programs, source }
    }

    /// The program called `name`.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The bytes of a variant's object for `target`, at most 16 MiB, unparsed.
    pub fn object(&self, variant: &Variant, target: &Target) -> Result<Bytes, CatalogError> {
        let file = variant.objects.get(target).ok_or_else(|| CatalogError::NoObject {
            variant: variant.name.clone(),
            target: target.clone(),
        })?;
        match &self.source {
            Source::Embedded => embedded::OBJECTS
                .iter()
                .find(|(name, _)| name == file)
                .map(|(_, bytes)| Bytes::from_static(bytes))
                .ok_or_else(|| CatalogError::NotEmbedded { file: file.clone() }),
            Source::Directory { root } => {
                let path = root.join("objects").join(file);
                let bytes = read_inside(root, &path, OBJECT_MAX_BYTE_SZ)?.map_err(|byte_sz| {
                    CatalogError::ObjectTooLarge { path, byte_sz, max: OBJECT_MAX_BYTE_SZ }
                })?;
                Ok(Bytes::from(bytes))
            }
        }
    }
}

impl Program {
    /// The variant called `name`.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

impl Variant {
    /// Whether something that a better variant provides is lost in this one.
    pub fn is_degraded(&self) -> bool {
        !self.loses.is_empty()
    }

    /// The target to load on a host, `arch` as `uname -m` prints it; `None` if there is no object for it.
    pub fn target_for_host(&self, arch: &str, big_endian: bool) -> Option<Target> {
        Target::for_host(arch, big_endian).into_iter().find(|target| self.objects.contains_key(target))
    }
}

/// The SHA-256 digest of an object in lower-case hexadecimal: the object's identity in reports and lock files.
pub fn sha256(object: &[u8]) -> String {
    Sha256::digest(object).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CatalogError {
    let path = path.to_owned();
    |error| CatalogError::Io { path, error }
}

fn resolve(path: &Path) -> Result<PathBuf, CatalogError> {
    path.canonicalize().map_err(io_error(path))
}

/// The content of the regular file at `path`, which must lie below the resolved directory `root`; its size in the inner
/// `Err` where that exceeds `max`.
fn read_inside(root: &Path, path: &Path, max: u64) -> Result<Result<Vec<u8>, u64>, CatalogError> {
    let resolved = resolve(path)?;
    if !resolved.starts_with(root) {
        return Err(CatalogError::Escapes { path: path.to_owned(), resolved });
    }
    // Asked before opening: opening a FIFO would wait for its writer.
    let metadata = resolved.metadata().map_err(io_error(path))?;
    if !metadata.is_file() {
        return Err(CatalogError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let file = open(&resolved, Takes::Files).map_err(io_error(path))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    let byte_sz = bytes.len() as u64;
    Ok(if byte_sz > max { Err(byte_sz.max(metadata.len())) } else { Ok(bytes) })
}
