//! The search: one stream after the other, whatever lies inside first.

use super::oci::{Layout, Listing};
use super::{Digest, Finds, Found, Limits, Note, Place, Trail, carve, host, oci};
use crate::archive::compress::{Compression, Frames, decoder, detect};
use crate::archive::{self, ArchiveError, Member, zip};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

/// Bytes that tell what a stream is: up to the magic of a tar.
const HEAD_SZ: usize = 512;
/// The most notes that are kept.
const NOTES_MAX: usize = 10_000;

/// Looks for objects in streams of bytes and keeps what it finds.
#[derive(Debug, Default)]
pub struct Finder {
    limits: Limits,
    finds: Finds,
    by_digest: HashMap<Digest, usize>,
    places: usize,
    objects_byte_sz: u64,
    /// Bytes that may still be read for the file at hand.
    budget: Rc<Cell<u64>>,
    /// Members that may still be looked at in the file at hand.
    members: u64,
}

/// A stream could not be read to its end; why has been noted.
struct Broken;

/// Why the walk through an archive ended early.
enum Left {
    /// It has been noted.
    Noted,
    /// It is damaged.
    Damaged(ArchiveError),
}

impl From<ArchiveError> for Left {
    fn from(error: ArchiveError) -> Left {
        Left::Damaged(error)
    }
}

impl From<Broken> for Left {
    fn from(_: Broken) -> Left {
        Left::Noted
    }
}

type Looked = Result<Option<Listing>, Broken>;

/// What a stream is, by its first bytes.
enum Format {
    Packed(Compression),
    Ar,
    Tar,
    Cpio,
    Rpm,
    Zip,
    Other,
}

impl Format {
    fn of(head: &[u8]) -> Format {
        match head {
            _ if head.starts_with(archive::AR_MAGIC) => Format::Ar,
            _ if head.starts_with(archive::RPM_MAGIC) => Format::Rpm,
            _ if head.starts_with(zip::MAGIC) => Format::Zip,
            _ if archive::is_cpio(head) => Format::Cpio,
            _ if head.get(257..262) == Some(b"ustar") => Format::Tar,
            _ => detect(head).map_or(Format::Other, Format::Packed),
        }
    }
}

impl Finder {
    /// A search under these limits.
    pub fn new(limits: Limits) -> Finder {
        Finder { limits, ..Finder::default() }
    }

    /// Looks at a file of `byte_sz` bytes, shown as `path`.
    pub fn look(&mut self, path: &str, file: &mut dyn Read, byte_sz: u64) {
        self.begin(byte_sz);
        self.finds.looked.files += 1;
        let trail = Trail::of_file(path);
        let before = self.finds.looked.byte_sz;
        if self.stream(file, &trail).is_err() && self.finds.looked.byte_sz == before {
            self.finds.looked.unreadable += 1;
        }
    }

    /// Looks at the files of a directory that is an image layout; `open` gives each by its name below the directory.
    pub(super) fn look_layout(
        &mut self,
        path: &str,
        names: &[(String, u64)],
        mut open: impl FnMut(&str) -> io::Result<Box<dyn Read>>,
    ) {
        let trail = Trail::of_file(path);
        let mut layout = Layout::default();
        for (name, byte_sz) in names {
            layout.add_member(name);
            self.begin(*byte_sz);
            self.finds.looked.files += 1;
            match open(name) {
                Ok(mut file) => drop(self.layout_member(&mut file, name, *byte_sz, &mut layout, &trail)),
                Err(error) => {
                    self.finds.looked.unreadable += 1;
                    self.note(&trail.member(name), format!("cannot be opened: {error}"));
                }
            }
        }
        self.name_layers(&layout, &trail);
    }

    /// Takes note of something that is left out on purpose, and why.
    pub fn skipped(&mut self, path: &str, why: String) {
        self.keep(path.to_owned(), why, false);
    }

    /// As [`Finder::skipped`], for a file that should have been looked at.
    pub fn unreadable(&mut self, path: &str, why: String) {
        self.finds.looked.files += 1;
        self.finds.looked.unreadable += 1;
        self.keep(path.to_owned(), why, true);
    }

    /// How much was looked at so far.
    pub fn looked(&self) -> super::Looked {
        self.finds.looked
    }

    /// What was found.
    pub fn finish(self) -> Finds {
        self.finds
    }

    fn begin(&mut self, byte_sz: u64) {
        let budget = byte_sz.saturating_mul(self.limits.ratio).saturating_add(self.limits.base_byte_sz);
        self.budget.set(budget);
        self.members = self.limits.members;
    }

    fn note(&mut self, trail: &Trail, what: String) {
        self.keep(trail.names().join(" > "), what, true);
    }

    fn keep(&mut self, place: String, what: String, incomplete: bool) {
        let (what, incomplete) = match self.finds.notes.len() {
            NOTES_MAX => {
                (format!("more than {NOTES_MAX} notes; this one and those after it are left out"), true)
            }
            len if len > NOTES_MAX => return,
            _ => (what, incomplete),
        };
        self.finds.notes.push(Note { place, what, incomplete });
    }

    /// Notes why a stream ended early. Where the file's allowance is used up, that is the cause, whatever a reader above says.
    fn broken(&mut self, trail: &Trail, error: &dyn Display) -> Broken {
        let what = if self.budget.get() == 0 {
            "unpacks to too much for its size; only what came before was looked at".to_owned()
        } else {
            format!("cannot be read to its end: {error}; only what came before was looked at")
        };
        self.note(trail, what);
        Broken
    }

    fn stream(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        let mut head = [0; HEAD_SZ];
        let got = read_full(stream, &mut head).map_err(|error| self.broken(trail, &error))?;
        let head = &head[..got];
        let format = Format::of(head);
        let mut whole = head.chain(stream);
        if trail.depth >= self.limits.depth && !matches!(format, Format::Other) {
            self.note(trail, format!("lies more than {} containers deep; not opened", self.limits.depth));
            return Ok(None);
        }
        match format {
            Format::Packed(compression) => self.packed(compression, &mut whole, trail),
            Format::Ar => self.ar(&mut whole, trail),
            Format::Tar => self.tar(&mut whole, trail),
            Format::Cpio => self.cpio(&mut whole, trail),
            Format::Rpm => {
                archive::skip_rpm_headers(&mut whole).map_err(|error| self.broken(trail, &error))?;
                self.stream(&mut whole, &trail.unpacked())
            }
            Format::Zip => self.zip(&mut whole, trail),
            Format::Other => self.bytes(&mut whole, trail),
        }
    }

    fn packed(&mut self, compression: Compression, stream: &mut dyn Read, trail: &Trail) -> Looked {
        let budget = Rc::clone(&self.budget);
        match decoder(compression, Frames::All, stream) {
            Ok(unpacked) => self.stream(&mut Charged { inner: unpacked, budget }, &trail.unpacked()),
            Err(error) => Err(self.broken(trail, &error)),
        }
    }

    fn tar(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        let mut listing = Listing::default();
        let mut layout = Layout::default();
        self.members(stream, trail, archive::tar, |finder, member| {
            listing.add(member.path);
            layout.add_member(member.path);
            if member.is_file {
                finder.layout_member(member.data, member.path, member.byte_sz, &mut layout, trail)
            } else {
                Ok(())
            }
        })?;
        self.name_layers(&layout, trail);
        Ok(Some(listing))
    }

    /// Looks at the members of an archive, which `walk` goes through.
    fn members(
        &mut self,
        stream: &mut dyn Read,
        trail: &Trail,
        walk: fn(&mut dyn Read, archive::Visit<'_, Left>) -> Result<(), Left>,
        mut look: impl FnMut(&mut Finder, Member<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        // What is damaged inside does not end the archive around it.
        let mut inner = Ok(());
        let walked = walk(stream, &mut |member| {
            self.member(trail)?;
            inner = look(self, member);
            Ok(())
        });
        match walked {
            Ok(()) => Ok(()),
            // Where the stream ended inside a member, that has been said.
            Err(Left::Damaged(error)) if inner.is_ok() => Err(self.broken(trail, &error)),
            Err(_) => Err(Broken),
        }
    }

    /// A member of what may be an image layout.
    fn layout_member(
        &mut self,
        stream: &mut dyn Read,
        name: &str,
        byte_sz: u64,
        layout: &mut Layout,
        trail: &Trail,
    ) -> Result<(), Broken> {
        let trail = trail.member(name);
        let listing = if Layout::may_be_document(name, byte_sz) {
            let (bytes, whole) = self.read(stream, oci::DOCUMENT_MAX, &trail);
            layout.add_document(name, &bytes);
            let listing = self.stream(&mut &bytes[..], &trail)?;
            whole?;
            listing
        } else {
            self.stream(stream, &trail)?
        };
        if let Some(listing) = listing {
            layout.add_listing(name, listing);
        }
        Ok(())
    }

    /// Says of the objects found below `trail` which layer they came from.
    fn name_layers(&mut self, layout: &Layout, trail: &Trail) {
        let oci::Layers { of: layers, lacks } = layout.layers();
        let names = trail.names();
        for oci::Lack { what, incomplete } in lacks {
            self.keep(names.join(" > "), what, incomplete);
        }
        if layers.is_empty() {
            return;
        }
        let (path, members) = names.split_first().expect("a trail begins with a path");
        for place in self.finds.objects.iter_mut().flat_map(|object| &mut object.places) {
            if place.path != *path || !place.members.starts_with(members) {
                continue;
            }
            let mut inside = place.members[members.len()..].iter();
            let Some(roles) = inside.next().and_then(|name| layers.get(oci::member(name))) else { continue };
            place.image = roles.first().map(|role| role.image.clone());
            place.removed = inside.next().is_some_and(|file| layout.is_removed(roles, file));
        }
    }

    fn ar(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        self.members(stream, trail, archive::ar, |finder, member| {
            finder.stream(member.data, &trail.member(member.path)).map(drop)
        })?;
        Ok(None)
    }

    /// An archive, and what follows it: an initramfs is several, packed or not, with zeros in between.
    fn cpio(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        self.members(stream, trail, archive::cpio, |finder, member| {
            finder.stream(member.data, &trail.member(member.path)).map(drop)
        })?;
        let mut head = [0; HEAD_SZ];
        loop {
            let got = read_full(stream, &mut head).map_err(|error| self.broken(trail, &error))?;
            if let Some(next) = head[..got].iter().position(|byte| *byte != 0) {
                return self.stream(&mut head[next..got].chain(stream), &trail.unpacked()).map(|_| None);
            }
            if got < HEAD_SZ {
                return Ok(None);
            }
        }
    }

    fn zip(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        let (bytes, whole) = self.read(stream, self.limits.member_byte_sz, trail);
        // Its directory is at its end.
        whole?;
        let members = zip::members(&bytes).map_err(|error| self.broken(trail, &error))?;
        for member in members {
            let member = member.map_err(|error| self.broken(trail, &error))?;
            self.member(trail)?;
            let trail = trail.member(&member.name);
            match member.unpack() {
                Ok(unpacked) => {
                    let budget = Rc::clone(&self.budget);
                    // A damaged member costs itself.
                    let _ = self.stream(&mut Charged { inner: unpacked, budget }, &trail);
                }
                Err(error) => self.note(&trail, format!("not looked at: {error}")),
            }
        }
        Ok(None)
    }

    /// Counts a member.
    fn member(&mut self, trail: &Trail) -> Result<(), Broken> {
        self.finds.looked.members += 1;
        if self.members == 0 {
            self.note(
                trail,
                format!("has more than {} members; the others were not looked at", self.limits.members),
            );
            return Err(Broken);
        }
        self.members -= 1;
        Ok(())
    }

    /// The bytes of a stream, as many as may be held, and whether it ended early.
    fn read(&mut self, stream: &mut dyn Read, most: u64, trail: &Trail) -> (Bytes, Result<(), Broken>) {
        let mut bytes = Vec::new();
        let mut charged = Charged { inner: stream, budget: Rc::clone(&self.budget) };
        let result = (&mut charged).take(most).read_to_end(&mut bytes);
        self.finds.looked.byte_sz += bytes.len() as u64;
        let result = result.map(drop).map_err(|error| self.broken(trail, &error));
        if result.is_ok() && bytes.len() as u64 == most && matches!(charged.read(&mut [0]), Ok(1)) {
            self.note(trail, format!("is larger than {most} bytes; the rest was not looked at"));
        }
        (bytes.into(), result)
    }

    /// Searches what is no container.
    fn bytes(&mut self, stream: &mut dyn Read, trail: &Trail) -> Looked {
        let (bytes, whole_stream) = self.read(stream, self.limits.member_byte_sz, trail);
        let (carved, untried) = carve::objects(&bytes, &self.budget);
        if untried {
            self.note(
                trail,
                "has too many packed streams, or such as unpack to too much for its size; not all were tried"
                    .to_owned(),
            );
        }
        let whole = carved.first().is_some_and(|first| first.range == (0..bytes.len()));
        let host = if carved.is_empty() || whole { None } else { host::Host::parse(&bytes) };
        for found in carved {
            let off = found.off as u64;
            let (packed, object) = match found.unpacked {
                Some((compression, object)) => (Some(compression.name()), Bytes::from(object)),
                None if whole => (None, bytes.clone()),
                // A copy, so that an object does not keep the executable around it.
                None => (None, Bytes::copy_from_slice(&bytes[found.range])),
            };
            let mut names = trail.names();
            let place = Place {
                path: names.remove(0),
                members: names,
                off,
                packed,
                section: host.as_ref().and_then(|host| host.section(off)),
                symbol: host.as_ref().and_then(|host| host.symbol(off)),
                image: None,
                removed: false,
            };
            self.found(object, place);
        }
        whole_stream.map(|()| None)
    }

    fn found(&mut self, bytes: Bytes, place: Place) {
        let full = |finder: &mut Finder, what: String| {
            // Said once.
            if finder.finds.notes.last().is_none_or(|note| note.what != what) {
                finder.keep(place.to_string(), what, true);
            }
        };
        if self.places == self.limits.places {
            let what =
                format!("more than {} objects were found; the others are left out", self.limits.places);
            return full(self, what);
        }
        let digest = Digest::of(&bytes);
        if let Some(&known) = self.by_digest.get(&digest) {
            self.finds.objects[known].places.push(place);
        } else {
            let byte_sz = self.objects_byte_sz + bytes.len() as u64;
            if byte_sz > self.limits.objects_byte_sz {
                let what = format!(
                    "more than {} bytes of objects were found; the others are left out",
                    self.limits.objects_byte_sz
                );
                return full(self, what);
            }
            self.objects_byte_sz = byte_sz;
            self.by_digest.insert(digest, self.finds.objects.len());
            self.finds.objects.push(Found { digest, bytes, places: vec![place] });
        }
        self.places += 1;
    }
}

/// A stream whose bytes count against the allowance of the file they come from.
struct Charged<R> {
    inner: R,
    budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Charged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("unpacks to too much for its size"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.inner.read(&mut buffer[..most])?;
        self.budget.set(left - got as u64);
        Ok(got)
    }
}

/// Fills `buffer` as far as the stream goes.
fn read_full(stream: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match stream.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
