//! The store of kernels: BTF, modules and configurations of many kernels in the bytes of a few.
//!
//! A store is a set of files, in a directory or wherever a [`Backend`] keeps them. `kernels/ID.json` is a [`Record`] of
//! one kernel, `packs/DIGEST` a pack ([`pack`]): a part of a kernel in terms of another one's. A pack's name is the
//! digest of its bytes, a part's digest is in the record, and both are checked whenever something is read, so that a
//! store on untrusted ground can withhold a kernel but not change one. Nothing is ever changed in place and there is no
//! index to keep in step: a writer writes packs, then the record; if it dies in between, packs are left over that
//! [`Store::prune`] removes. Writers need not know of each other.

pub mod answers;
pub mod backend;
pub mod diff;
#[cfg(feature = "remote")]
pub mod fetch;
mod inputs;
#[cfg(all(test, feature = "remote"))]
mod loopback;
pub mod pack;
mod parts;
pub mod record;
#[cfg(feature = "remote")]
mod remote;
mod symbols;
#[cfg(test)]
mod tests;

pub use answers::Answers;
pub use backend::{Backend, Directory, Stored};
pub use record::{Digest, Part, Record};
#[cfg(feature = "remote")]
pub use remote::Remote;

use crate::kernel::Kernel;
use bytes::Bytes;
use pack::{MAX_BTF_SZ, MAX_DEPTH, PackError, Unpacked};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file, with the store's place.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A remote store failed.
    #[error("{place}: {error}")]
    Remote {
        /// The store's place and the file.
        place: String,
        /// What it said.
        error: String,
    },
    /// A file of the store is not what it should be.
    #[error("{path} of the store is damaged: {what}")]
    Damaged {
        /// The file within the store.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A kernel that the store cannot keep.
    #[error("{kernel}: {what}")]
    Unsuitable {
        /// The kernel's release, or where it was read from.
        kernel: String,
        /// Why it cannot be kept.
        what: String,
    },
    /// A pack could not be made.
    #[error("packing {kernel}: {error}")]
    Pack {
        /// The kernel's release, or where it was read from.
        kernel: String,
        /// What went wrong.
        error: PackError,
    },
}

impl StoreError {
    /// Whether it says that this file is damaged.
    fn is_of(&self, file: &str) -> bool {
        matches!(self, StoreError::Damaged { path, .. } if path == file)
    }

    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// Most bytes of a record; those of real kernels have 2 kB.
const MAX_RECORD_SZ: u64 = 1 << 20;
/// Most bytes of a pack.
const MAX_PACK_SZ: u64 = MAX_BTF_SZ as u64;
/// A pack over another kernel that is at most this large ends the search for a better one.
const SMALL_PACK_SZ: usize = 4 << 10;
/// Bytes that a longer chain has to save for each pack more, where a kernel is the first of its series: all others of it,
/// and later series, will be as deep or deeper.
const WORTH_A_STEP: usize = 48 << 10;
/// The same where the series is known.
const WORTH_A_STEP_WITHIN: usize = 6 << 10;
/// Unpacked kernels that are kept for the next pack over them.
const REMEMBERED: usize = 4;

/// Kernels that are kept.
pub struct Store {
    backend: Box<dyn Backend>,
    /// What the last chains of packs gave, the latest first.
    unpacked: Mutex<VecDeque<(Vec<Digest>, Arc<Unpacked>)>>,
}

/// What adding a kernel came to.
#[derive(Clone, Debug)]
pub struct Added {
    /// The record that is now in the store.
    pub record: Record,
    /// Whether the store had it already, as it is.
    pub known: bool,
    /// Bytes of packs that were written for it.
    pub written: u64,
}

/// The kernels of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that can be read, by release.
    pub records: Vec<Record>,
    /// Records that cannot be read, each with what is wrong.
    pub damaged: Vec<StoreError>,
}

/// What reading a whole store came to.
#[derive(Debug)]
pub struct Verified {
    /// Kernels that were read.
    pub kernels: usize,
    /// What is damaged, with the kernel where its record could be read.
    pub damage: Vec<(Option<Record>, StoreError)>,
}

/// What pruning removes, or would remove.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Kernels.
    pub records: Vec<Record>,
    /// Files that no kernel needs, and their bytes. No packs as long as there are records that cannot be read.
    pub files: Vec<Stored>,
    /// Those records, each with what is wrong.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// The store that `backend` keeps.
    pub fn new(backend: impl Backend + 'static) -> Store {
        Store { backend: Box::new(backend), unpacked: Mutex::default() }
    }

    /// The store at an address: a directory, `file://` and a directory, or whatever `Remote::open` takes with
    /// `options`.
    pub fn open(
        address: &str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Store, StoreError> {
        match address.split_once("://") {
            None => Ok(Store::new(Directory::new(address))),
            Some(("file", path)) if path.starts_with('/') => Ok(Store::new(Directory::new(path))),
            Some(_) => elsewhere(address, options),
        }
    }

    /// Where it is, for people.
    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// All kernels. A record that cannot be read does not hide the others.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let paths: Vec<String> = self.backend.list("kernels")?.into_iter().map(|file| file.path).collect();
        for (path, read) in paths.iter().zip(self.backend.read_all(&paths, MAX_RECORD_SZ)) {
            match record(path, read) {
                Ok(Some(record)) => listing.records.push(record),
                Ok(None) => {}
                Err(error) => listing.damaged.push(error),
            }
        }
        listing.records.sort_by_cached_key(|record| {
            (record.release.as_deref().map(numbers), record.release.clone(), record.id())
        });
        Ok(listing)
    }

    /// Adds a kernel, in terms of those that are there where that is smaller.
    pub fn add(&self, kernel: &Kernel) -> Result<Added, StoreError> {
        let mut record = parts::record_of(kernel);
        let parts = parts::of(kernel);
        let name = parts::name_of(kernel);
        if !parts.contains_key(record::BTF) {
            let what = "it has no BTF, and the store is one of BTF".to_owned();
            return Err(StoreError::Unsuitable { kernel: name, what });
        }
        if let Some((part, bytes)) = parts.iter().find(|(_, bytes)| bytes.len() > MAX_BTF_SZ) {
            let what = format!("{part} of {} bytes is larger than {MAX_BTF_SZ}", bytes.len());
            return Err(StoreError::Unsuitable { kernel: name, what });
        }
        let listing = self.list()?;
        // The id depends on the digest of the BTF alone, not on how it is packed.
        for (name, bytes) in &parts {
            let part = Part { sha256: Digest::of(bytes), size: bytes.len() as u64, packs: Vec::new() };
            record.parts.insert(name.clone(), part);
        }
        if let Some(known) = listing.records.iter().find(|known| known.id() == record.id())
            && known.unpacked() == record.unpacked()
            && self.check_packs(known).is_ok()
        {
            return Ok(Added { record: known.clone(), known: true, written: 0 });
        }
        let bases = bases(&record, &listing.records);
        let mut written = 0;
        for (name, bytes) in parts {
            let packed = self.pack_part(&name, &bytes, &record, &bases);
            let (mut packs, packed) =
                packed.map_err(|error| StoreError::Pack { kernel: parts::name_of(kernel), error })?;
            let digest = Digest::of(&packed);
            let path = pack_path(&digest);
            packs.push(digest);
            // A pack that is there may be damaged: it is written again.
            if self.backend.read(&path, MAX_PACK_SZ).ok().flatten().as_deref() != Some(&packed[..]) {
                self.backend.write(&path, &packed)?;
                written += packed.len() as u64;
            }
            let part = Part { sha256: Digest::of(&bytes), size: bytes.len() as u64, packs };
            record.parts.insert(name, part);
        }
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|error| StoreError::damaged(&record_path(&record), error.to_string()))?;
        self.backend.write(&record_path(&record), &text)?;
        // Somebody may have pruned what this kernel is packed over.
        if let Err(gone) = self.check_packs(&record) {
            let what = format!("what it is packed over went away while it was added, add it again: {gone}");
            return Err(StoreError::damaged(&record_path(&record), what));
        }
        Ok(Added { record, known: false, written })
    }

    /// What is wrong with the packs of a kernel, the first that is missing or damaged.
    fn check_packs(&self, record: &Record) -> Result<(), StoreError> {
        packs_of([record]).iter().try_for_each(|path| self.pack(path).map(drop))
    }

    /// The bytes of a pack, which its name is the digest of.
    fn pack(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        let packed = self.backend.read(path, MAX_PACK_SZ)?;
        let packed = packed.ok_or_else(|| StoreError::damaged(path, "it is missing"))?;
        if path.rsplit('/').next() == Some(Digest::of(&packed).as_str()) {
            Ok(packed)
        } else {
            Err(StoreError::damaged(path, "its bytes have another digest than its name says"))
        }
    }

    /// The chain of packs that a part is packed over, and its pack.
    fn pack_part(
        &self,
        name: &str,
        bytes: &[u8],
        record: &Record,
        bases: &[&Record],
    ) -> Result<(Vec<Digest>, Vec<u8>), PackError> {
        let bytes = bytes.to_vec();
        let ours = if name == record::BTF { Unpacked::btf(bytes) } else { Unpacked::other(bytes) };
        let mut best: Option<(Vec<Digest>, Vec<u8>)> = None;
        let mut tried = BTreeSet::new();
        let first = !bases.iter().any(|base| series(base) == series(record));
        let worth = if first { WORTH_A_STEP } else { WORTH_A_STEP_WITHIN };
        let over = bases.iter().filter_map(|base| base.parts.get(name));
        // The first of a series leaves room for the others.
        for part in over.filter(|part| !first || part.packs.len() <= MAX_DEPTH - 2) {
            let chain = &part.packs[..part.packs.len().min(MAX_DEPTH - 1)];
            if !tried.insert(chain) {
                continue;
            }
            // A base that is damaged is none.
            let Ok(base) = self.unpack(chain) else { continue };
            let packed = pack::pack(&ours, Some(&base))?;
            // Each pack of a chain is time whenever the kernel is asked for, which a few bytes are not worth.
            let cost = |chain: &[Digest], packed: &[u8]| packed.len() + chain.len() * worth;
            if best.as_ref().is_none_or(|(known, best)| cost(chain, &packed) < cost(known, best)) {
                best = Some((chain.to_vec(), packed));
            }
            if best.as_ref().is_some_and(|(_, best)| best.len() <= SMALL_PACK_SZ) {
                break;
            }
        }
        let alone = match &best {
            // Alone, BTF has a quarter of its bytes: a twelfth is not worth to be compared.
            Some((_, best)) if best.len() * 12 <= ours.bytes().len() => None,
            _ => Some(pack::pack(&ours, None)?),
        };
        Ok(match (best, alone) {
            (Some((chain, packed)), Some(alone)) if packed.len() < alone.len() / 3 * 2 => (chain, packed),
            (Some(best), None) => best,
            (_, alone) => (Vec::new(), alone.unwrap_or_default()),
        })
    }

    /// What a chain of packs gives.
    fn unpack(&self, chain: &[Digest]) -> Result<Arc<Unpacked>, StoreError> {
        let remembered = || self.unpacked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = (1..=chain.len()).rev().find_map(|len| {
            let unpacked = remembered();
            let found = unpacked.iter().find(|(of, _)| of == &chain[..len])?;
            Some((len, Arc::clone(&found.1)))
        });
        let (from, mut base) = known.map_or((0, None), |(len, unpacked)| (len, Some(unpacked)));
        for (at, digest) in chain.iter().enumerate().skip(from) {
            let path = pack_path(digest);
            let packed = self.pack(&path)?;
            let unpacked = pack::unpack(&packed, base.as_deref())
                .map_err(|error| StoreError::damaged(&path, error.to_string()))?;
            let unpacked = Arc::new(unpacked);
            // What kernels stand over that are asked for one after the other: all in between would be far more memory.
            if at + 2 == chain.len() || at == 0 {
                let mut kept = remembered();
                kept.push_front((chain[..=at].to_vec(), Arc::clone(&unpacked)));
                kept.truncate(REMEMBERED);
            }
            base = Some(unpacked);
        }
        base.ok_or_else(|| StoreError::damaged("a record", "a part without packs"))
    }

    /// The bytes of a part, exactly as they were added; `None` if the kernel has no such part.
    pub fn part(&self, record: &Record, name: &str) -> Result<Option<Bytes>, StoreError> {
        let Some(part) = record.parts.get(name) else { return Ok(None) };
        let unpacked = self.unpack(&part.packs)?;
        let bytes = match Arc::try_unwrap(unpacked) {
            Ok(unpacked) => unpacked.into_bytes(),
            Err(shared) => shared.bytes().to_vec(),
        };
        if Digest::of(&bytes) != part.sha256 {
            let what = format!("{name} has another digest than the record says");
            return Err(StoreError::damaged(&record_path(record), what));
        }
        Ok(Some(bytes.into()))
    }

    /// vmlinux's BTF, exactly as it was added.
    pub fn btf(&self, record: &Record) -> Result<Bytes, StoreError> {
        let btf = self.part(record, record::BTF)?;
        btf.ok_or_else(|| StoreError::damaged(&record_path(record), "the record has no BTF"))
    }

    /// The kernel, as far as the store keeps it: no image.
    pub fn kernel(&self, record: &Record) -> Result<Kernel, StoreError> {
        let mut parts = BTreeMap::new();
        for name in record.parts.keys() {
            parts.extend(self.part(record, name)?.map(|bytes| (name.as_str(), bytes)));
        }
        parts::kernel_of(record, &parts).map_err(|what| StoreError::damaged(&record_path(record), what))
    }

    /// Reads everything and tells what is damaged: kernels, and packs that no kernel needs.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let listing = self.list()?;
        let kernels = listing.records.len();
        let needed = packs_of(&listing.records);
        let mut damage: Vec<_> = listing.damaged.into_iter().map(|error| (None, error)).collect();
        for record in listing.records {
            if let Err(error) = self.kernel(&record) {
                damage.push((Some(record), error));
            }
        }
        let packs = self.backend.list(PACKS)?;
        let unneeded = packs.into_iter().map(|file| file.path).filter(|path| !needed.contains(path));
        damage.extend(unneeded.filter_map(|path| Some((None, self.pack(&path).err()?))));
        Ok(Verified { kernels, damage })
    }

    /// What pruning would remove: the kernels that `selected` says, and files that no other kernel needs. With `damaged`,
    /// what cannot be read goes too: kernels, their records where these cannot be read themselves, packs.
    ///
    /// A file younger than `grace` may belong to a kernel that is being added right now, and stays.
    pub fn prunable(
        &self,
        selected: impl Fn(&Record) -> bool,
        damaged: bool,
        grace: Duration,
    ) -> Result<Pruned, StoreError> {
        let mut listing = self.list()?;
        let mut files = Vec::new();
        if damaged {
            let unreadable = |file: &Stored| listing.damaged.iter().any(|error| error.is_of(&file.path));
            files.extend(self.backend.list("kernels")?.into_iter().filter(unreadable));
            listing.damaged.retain(|error| !files.iter().any(|file| error.is_of(&file.path)));
        }
        let goes = |record: &Record| selected(record) || damaged && self.kernel(record).is_err();
        let (records, kept): (Vec<_>, Vec<_>) = listing.records.into_iter().partition(goes);
        let (needed, of_removed) = (packs_of(&kept), packs_of(&records));
        let old = |file: &Stored| file.age.is_some_and(|age| age >= grace);
        // What a record needs that cannot be read cannot be told.
        if listing.damaged.is_empty() {
            let packs = self.backend.list(PACKS)?.into_iter().filter(|file| !needed.contains(&file.path));
            let goes = |file: &Stored| {
                of_removed.contains(&file.path) || old(file) || damaged && self.pack(&file.path).is_err()
            };
            files.extend(packs.filter(goes));
        }
        files.extend(self.backend.list(backend::UNFINISHED)?.into_iter().filter(old));
        // Those of programs and objects of the past are never asked for again, the others can be found out again.
        files.extend(self.backend.list(answers::ANSWERS)?);
        if !records.is_empty() {
            files.extend(self.backend.list(inputs::INPUTS)?);
        }
        Ok(Pruned { records, files, damaged: listing.damaged })
    }

    /// Removes what [`Store::prunable`] found: records first, so that none ever lacks a pack.
    pub fn prune(&self, pruned: &Pruned) -> Result<(), StoreError> {
        pruned.records.iter().try_for_each(|record| self.backend.remove(&record_path(record)))?;
        pruned.files.iter().try_for_each(|file| self.backend.remove(&file.path))
    }

    /// Bytes of all files of the store.
    pub fn size(&self) -> Result<u64, StoreError> {
        Ok(self.backend.list("")?.iter().map(|file| file.size).sum())
    }
}

#[cfg(feature = "remote")]
fn elsewhere(
    address: &str,
    options: impl IntoIterator<Item = (String, String)>,
) -> Result<Store, StoreError> {
    Remote::open(address, options).map(Store::new)
}

#[cfg(not(feature = "remote"))]
fn elsewhere(
    address: &str,
    _options: impl IntoIterator<Item = (String, String)>,
) -> Result<Store, StoreError> {
    let error = "this build knows stores in directories only".to_owned();
    Err(StoreError::Remote { place: address.to_owned(), error })
}

fn record(path: &str, read: Result<Option<Vec<u8>>, StoreError>) -> Result<Option<Record>, StoreError> {
    let Some(bytes) = read? else { return Ok(None) };
    let record = Record::parse(&bytes).map_err(|what| StoreError::damaged(path, what))?;
    if record_path(&record) != path {
        return Err(StoreError::damaged(path, "the record is of another kernel than its name says"));
    }
    Ok(Some(record))
}

fn record_path(record: &Record) -> String {
    format!("kernels/{}.json", record.id())
}

/// Where packs lie in a store.
const PACKS: &str = "packs";

fn pack_path(digest: &Digest) -> String {
    let digest = digest.as_str();
    format!("{PACKS}/{}/{digest}", &digest[..2])
}

/// Where the packs of some kernels lie.
fn packs_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeSet<String> {
    let parts = records.into_iter().flat_map(|record| record.parts.values());
    parts.flat_map(|part| &part.packs).map(pack_path).collect()
}

/// The numbers of a release, for order and distance: 6.1.0-44-cloud-amd64 is 6, 1, 0, 44, 64.
fn numbers(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .collect()
}

/// Version and patch level: kernels of one series have nearly everything in common.
fn series(record: &Record) -> Option<Vec<u64>> {
    record.release.as_deref().map(|release| numbers(release).into_iter().take(2).collect())
}

/// Kernels of one series that are tried as a base, and of others.
const TRIED: usize = 3;

/// The kernels that `record` may be packed over, the first to be tried first.
///
/// Of its own series, as far as that has kernels of the same machine: the one of the shortest chain, and the nearest
/// versions; those whose releases have the same words (flavour, distribution) before others. Else, of each of the
/// nearest series, the one of the shortest chain.
fn bases<'a>(record: &Record, others: &'a [Record]) -> Vec<&'a Record> {
    let words = |release: &str| -> Vec<String> {
        let words = release.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
    };
    let release = |record: &'a Record| record.release.as_deref().unwrap_or_default();
    let our_release = record.release.as_deref().unwrap_or_default();
    let (ours, our_words, our_series) = (numbers(our_release), words(our_release), series(record));
    let depth = |other: &Record| other.parts.get(record::BTF).map_or(usize::MAX, |part| part.packs.len());
    let mut others: Vec<_> = others.iter().filter(|other| other.id() != record.id()).collect();
    if others.iter().any(|other| other.arch == record.arch) {
        others.retain(|other| other.arch == record.arch);
    }
    // Series have no distance but how many there are in between: 6.19 stands beside 7.0.
    let all: BTreeSet<_> = others.iter().map(|other| series(other)).chain([our_series.clone()]).collect();
    let place = |series: &Option<Vec<u64>>| all.iter().position(|other| other == series).unwrap_or_default();
    let our_place = place(&our_series);
    let away = |other: &Record| our_place.abs_diff(place(&series(other)));
    others.sort_by_cached_key(|other| (away(other), words(release(other)) != our_words, depth(other)));
    let within: Vec<_> = others.iter().copied().filter(|other| away(other) == 0).collect();
    if within.is_empty() {
        let mut seen = BTreeSet::new();
        others.retain(|other| seen.insert(series(other)));
        others.truncate(TRIED);
        return others;
    }
    let mut near = within.clone();
    near.sort_by_cached_key(|other| {
        let theirs = numbers(release(other));
        let number = |of: &[u64], at: usize| of.get(at).copied().unwrap_or_default();
        let distance = [2, 3].map(|at| number(&ours, at).abs_diff(number(&theirs, at)));
        (words(release(other)) != our_words, distance)
    });
    let mut bases = vec![within[0]];
    bases.extend(near.into_iter().filter(|other| other.id() != within[0].id()).take(TRIED - 1));
    bases
}
