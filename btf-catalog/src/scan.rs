//! eBPF objects wherever they are: as files, in archives and packages, in container images, inside executables.
//!
//! [`Finder`] is given streams of bytes and opens whatever it knows, one inside the other: ar, tar, cpio, rpm, zip, and
//! what gzip, xz, lzma, zstd, bzip2 and lz4 have packed. Everything else is searched for the header of an eBPF object, so that an object in
//! the read-only data of an executable is found as surely as one in a file of its own. [`files`] gives it the files of
//! a directory. [`loaders`] tells what a loader cannot do with an object.
//!
//! Only what is held in memory at a time is bounded by the size of one member: archives are read as streams. What is
//! not looked at is said in [`Finds::notes`], never left out in silence.

mod carve;
pub mod files;
mod finder;
mod host;
pub mod loaders;
mod oci;
#[cfg(test)]
mod tests;

pub use finder::Finder;

use bytes::Bytes;
use std::fmt;

/// What a search may cost. The defaults let everything pass that people build.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How deep containers and compressions may lie in one another.
    pub depth: usize,
    /// The largest member that is searched, in bytes; of a larger one only this much.
    pub member_byte_sz: u64,
    /// Bytes read for one file, all that is unpacked from it included, beyond [`Limits::ratio`] times its size.
    pub base_byte_sz: u64,
    /// Bytes read for each byte of a file.
    pub ratio: u64,
    /// Members of one file.
    pub members: u64,
    /// Objects, and places of objects.
    pub places: usize,
    /// Bytes of all objects, each counted once.
    pub objects_byte_sz: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            depth: 12,
            member_byte_sz: 1 << 30,
            base_byte_sz: 128 << 20,
            ratio: 100,
            members: 4_000_000,
            places: 100_000,
            objects_byte_sz: 1 << 30,
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Finds {
    /// The objects, in the order they were found, each once.
    pub objects: Vec<Found>,
    /// What was not looked at, or could not be read.
    pub notes: Vec<Note>,
    /// What was looked at.
    pub looked: Looked,
}

/// An object.
#[derive(Clone, Debug)]
pub struct Found {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
    /// Everywhere it was found; never empty.
    pub places: Vec<Place>,
}

impl Found {
    /// Whether no container sees it: later layers delete or replace it wherever it was found.
    pub fn is_removed(&self) -> bool {
        self.places.iter().all(|place| place.removed)
    }
}

/// Where an object is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, or the directory of a container image.
    pub path: String,
    /// Members of archives from the outermost to the innermost: `data.tar.xz`, `./usr/sbin/opensnoop`.
    pub members: Vec<String>,
    /// Bytes from the beginning of the innermost member (of the file without members), unpacked.
    pub off: u64,
    /// How it is packed there, if it is.
    pub packed: Option<&'static str>,
    /// The section of an executable that it lies in.
    pub section: Option<String>,
    /// The symbol of an executable that covers it.
    pub symbol: Option<String>,
    /// The container image and its layer.
    pub image: Option<String>,
    /// Whether a later layer of the image deletes or replaces it, so that a container does not see it.
    pub removed: bool,
}

impl fmt::Display for Place {
    /// `tools.deb > data.tar.xz > ./usr/sbin/opensnoop`, without what lies within the innermost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.members.iter().try_for_each(|member| write!(f, " > {member}"))
    }
}

/// Something that was not looked at, or could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The file, and the members that lead to it, as [`Place`] shows them.
    pub place: String,
    /// Why.
    pub what: String,
    /// Whether it should have been looked at; a search leaves out on purpose what lies elsewhere and what is no file.
    pub incomplete: bool,
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Files.
    pub files: u64,
    /// Files that could not be opened or read.
    pub unreadable: u64,
    /// Members of archives.
    pub members: u64,
    /// Bytes, unpacked.
    pub byte_sz: u64,
}

/// SHA-256 of an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Bytes of a member's name that are shown: `PATH_MAX` of include/uapi/linux/limits.h.
const NAME_MAX: usize = 4096;

/// The place of a container, member by member.
struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    /// The path of the outermost, the name of a member, nothing for what was packed.
    name: Option<&'a str>,
    depth: usize,
}

impl<'a> Trail<'a> {
    fn of_file(path: &'a str) -> Trail<'a> {
        Trail { parent: None, name: Some(path), depth: 0 }
    }

    /// Of a longer name than a path may have, the beginning is shown: it stands in every note and place below it.
    fn member(&'a self, name: &'a str) -> Trail<'a> {
        let end = (0..=NAME_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
        let name = &name[..end.unwrap_or(0)];
        Trail { parent: Some(self), name: Some(name), depth: self.depth + 1 }
    }

    fn unpacked(&'a self) -> Trail<'a> {
        Trail { parent: Some(self), name: None, depth: self.depth + 1 }
    }

    /// The path and the names of the members.
    fn names(&self) -> Vec<String> {
        let mut names = self.parent.map_or_else(Vec::new, Trail::names);
        names.extend(self.name.map(str::to_owned));
        names
    }
}
