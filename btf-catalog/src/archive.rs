//! Archives and packages as streams of members: `ar`, `tar`, `cpio` (newc), `.deb` and `.rpm`; [`compress`] unpacks what
//! they and others are packed with, zip is read from its end.
//!
//! Nothing is held but the member that is read: what the visitor leaves of one is skipped.

pub mod compress;
pub(crate) mod zip;

use crate::raw::{u32_at, u64_at};
use compress::{Bounded, Compression, Frames, bound, decoder, detect};
use std::io::{self, Read};

/// What an ar archive begins with. A thin archive (`!<thin>`) has no members in it.
pub(crate) const AR_MAGIC: &[u8] = b"!<arch>\n";
/// What an rpm package begins with.
pub(crate) const RPM_MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];

/// Bytes that a whole package may unpack to. Packages of debug information reach 6 GiB.
const PACKAGE_LIMIT: u64 = 16 << 30;
/// Members that an archive may have. A source tree of the kernel has 90,000.
const MEMBERS: usize = 4_000_000;
/// Bytes of a path.
const PATH: u64 = 4096;
/// Bytes of an ar archive's table of long names.
const AR_NAMES: u64 = 16 << 20;
/// Bytes of an rpm's header, the most that rpm itself reads.
const RPM_HEADER: u64 = 256 << 20;

/// Why an archive, or what is packed, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Bytes that are not what they should be.
    #[error("{what} at byte {off}: {problem}")]
    Damaged {
        /// The format, or the member.
        what: String,
        /// Bytes from its beginning.
        off: u64,
        /// What is wrong.
        problem: String,
    },
    /// Compressed bytes that do not unpack.
    #[error("{} stream: {problem}", compression.name())]
    Compression {
        /// The compression.
        compression: Compression,
        /// What is wrong.
        problem: String,
    },
    /// A member that is larger than anything that is read.
    #[error("{what}: {bytes} bytes, more than {most}")]
    TooLarge {
        /// The member.
        what: String,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        most: u64,
    },
}

/// A member of an archive.
pub struct Member<'a> {
    /// Its path as it is written there.
    pub path: &'a str,
    /// Whether it is a regular file. Directories, links and devices have no bytes.
    pub is_file: bool,
    /// Its size in bytes.
    pub byte_sz: u64,
    /// Its bytes.
    pub data: &'a mut dyn Read,
}

impl Member<'_> {
    /// All of its bytes, at most `most`.
    pub fn bytes(&mut self, most: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.byte_sz > most {
            return Err(ArchiveError::TooLarge { what: self.path.to_owned(), bytes: self.byte_sz, most });
        }
        let mut bytes = Vec::with_capacity(self.byte_sz.min(1 << 20) as usize);
        self.data
            .take(self.byte_sz)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(self.path, 0, error.to_string()))?;
        if (bytes.len() as u64) < self.byte_sz {
            return Err(damaged(self.path, bytes.len() as u64, "it ends early"));
        }
        Ok(bytes)
    }
}

/// What is called with each member. Its error ends the walk.
pub type Visit<'a, E> = &'a mut dyn FnMut(Member<'_>) -> Result<(), E>;

fn damaged(what: &str, off: u64, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged { what: what.to_owned(), off, problem: problem.into() }
}

/// A stream that knows how far it is, for errors, and names what it reads.
struct Source<'a> {
    inner: &'a mut dyn Read,
    what: &'static str,
    off: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.off += n as u64;
        Ok(n)
    }
}

impl<'a> Source<'a> {
    fn new(inner: &'a mut dyn Read, what: &'static str) -> Source<'a> {
        Source { inner, what, off: 0 }
    }

    fn fail(&self, problem: impl Into<String>) -> ArchiveError {
        damaged(self.what, self.off, problem)
    }

    /// The next `N` bytes, `None` where the stream has ended.
    fn head<const N: usize>(&mut self) -> Result<Option<[u8; N]>, ArchiveError> {
        let bytes = self.upto(N as u64)?;
        match bytes.len() {
            0 => Ok(None),
            _ => bytes.try_into().map(Some).map_err(|_| self.fail("it ends inside a header")),
        }
    }

    fn upto(&mut self, len: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let read = self.by_ref().take(len).read_to_end(&mut bytes);
        read.map_err(|error| self.fail(error.to_string()))?;
        Ok(bytes)
    }

    fn exactly(&mut self, len: u64) -> Result<Vec<u8>, ArchiveError> {
        let bytes = self.upto(len)?;
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(self.fail("it ends early")) }
    }

    fn skip(&mut self, len: u64) -> Result<(), ArchiveError> {
        let copied = io::copy(&mut self.by_ref().take(len), &mut io::sink());
        let copied = copied.map_err(|error| self.fail(error.to_string()))?;
        if copied == len { Ok(()) } else { Err(self.fail("it ends inside a member")) }
    }

    /// Shows a member of `byte_sz` bytes and goes to the end of its padding to a multiple of `align`. Many an archive ends
    /// without the padding of its last member.
    fn member<E: From<ArchiveError>>(
        &mut self,
        (path, is_file, byte_sz): (&str, bool, u64),
        align: u64,
        visit: Visit<'_, E>,
    ) -> Result<(), E> {
        let padded =
            byte_sz.checked_next_multiple_of(align).ok_or_else(|| self.fail("a member is too large"))?;
        let mut data = self.by_ref().take(byte_sz);
        visit(Member { path, is_file, byte_sz, data: &mut data })?;
        let left = data.limit();
        self.skip(left)?;
        self.upto(padded - byte_sz)?;
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?.trim_matches(['\0', ' ']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, radix).ok() }
}

/// Goes through the members of an `ar` archive: Debian packages, and static libraries with GNU's and BSD's long names.
pub fn ar<E: From<ArchiveError>>(from: &mut dyn Read, visit: Visit<'_, E>) -> Result<(), E> {
    let mut source = Source::new(from, "ar archive");
    if source.head::<8>()?.is_none_or(|magic| magic != AR_MAGIC) {
        return Err(source.fail("it does not begin with `!<arch>`").into());
    }
    let mut long_names = Vec::new();
    for _ in 0..MEMBERS {
        let Some(head) = source.head::<60>()? else { return Ok(()) };
        let byte_sz = number(&head[48..58], 10).filter(|_| head[58..] == *b"`\n");
        let byte_sz = byte_sz.ok_or_else(|| source.fail("malformed member header"))?;
        let name = text(&head[..16]).trim_end().to_owned();
        if name == "//" {
            if byte_sz > AR_NAMES {
                return Err(source.fail(format!("a table of names of {byte_sz} bytes")).into());
            }
            long_names = source.exactly(byte_sz)?;
            source.upto(byte_sz % 2)?;
            continue;
        }
        // BSD: the name precedes the bytes, and counts as some of them.
        let (name, name_sz) = match name.strip_prefix("#1/").and_then(|length| length.parse().ok()) {
            Some(length) if length > byte_sz.min(PATH) => {
                return Err(source.fail(format!("a name of {length} bytes")).into());
            }
            Some(length) => (text(&source.exactly(length)?), length),
            None => (gnu_name(&name, &long_names), 0),
        };
        source.member((&name, true, byte_sz - name_sz), 1, visit)?;
        source.upto(byte_sz % 2)?;
    }
    Err(source.fail(format!("more than {MEMBERS} members")).into())
}

/// The name that `/123` refers to, or what stands before the `/` that ends a short one.
fn gnu_name(name: &str, long_names: &[u8]) -> String {
    let long = name.strip_prefix('/').and_then(|off| long_names.get(off.parse::<usize>().ok()?..));
    match long.and_then(|names| names.split(|byte| matches!(byte, b'\n' | 0)).next()) {
        Some(long) => String::from_utf8_lossy(long).trim_end_matches('/').to_owned(),
        None if matches!(name, "/" | "/SYM64/") => name.to_owned(),
        None => name.trim_end_matches('/').to_owned(),
    }
}

/// Goes through the members of a tar archive: ustar, with GNU's and pax's long names and sizes. Of a sparse file the bytes
/// that are stored are shown.
pub fn tar<E: From<ArchiveError>>(from: &mut dyn Read, visit: Visit<'_, E>) -> Result<(), E> {
    let mut source = Source::new(from, "tar archive");
    let (mut long_path, mut long_size) = (None, None);
    for _ in 0..MEMBERS {
        let Some(head) = source.head::<512>()? else { return Ok(()) };
        if head.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let sum: u64 = head
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if number(&head[148..156], 8) != Some(sum) {
            return Err(source.fail("a header's checksum is wrong").into());
        }
        // Sizes of 8 GiB and more are binary, behind a set bit.
        let byte_sz =
            if head[124] & 0x80 == 0 { number(&head[124..136], 8) } else { Some(u64_at(&head, 128, true)) };
        let byte_sz = byte_sz.ok_or_else(|| source.fail("malformed size of a member"))?;
        match head[156] {
            kind @ (b'L' | b'x') => {
                if byte_sz > PATH * 16 {
                    return Err(source.fail(format!("a name of {byte_sz} bytes")).into());
                }
                let record = source.exactly(byte_sz)?;
                source.skip(byte_sz.next_multiple_of(512) - byte_sz)?;
                if kind == b'L' {
                    long_path = Some(text(&record));
                } else {
                    pax(&record, &mut long_path, &mut long_size);
                }
            }
            // A long name that a link leads to; what holds for all members that follow.
            b'K' | b'g' => source.member::<E>(("", false, byte_sz), 512, &mut |_| Ok(()))?,
            kind => {
                let byte_sz = long_size.take().unwrap_or(byte_sz);
                let path = long_path.take().unwrap_or_else(|| path_of(&head));
                if path.len() as u64 > PATH {
                    return Err(source.fail(format!("a name of {} bytes", path.len())).into());
                }
                // Where the stored bytes of a sparse file belong takes further blocks when there are many.
                let mut more = kind == b'S' && head[482] != 0;
                while more {
                    let block = source.head::<512>()?;
                    more = block.ok_or_else(|| source.fail("it ends inside a header"))?[504] != 0;
                }
                match kind {
                    b'0' | 0 | b'7' | b'S' => source.member((&path, true, byte_sz), 512, visit)?,
                    // Links, devices and directories have no bytes whatever their size says.
                    b'1'..=b'6' => source.member((&path, false, 0), 512, visit)?,
                    _ => source.member((&path, false, byte_sz), 512, visit)?,
                }
            }
        }
    }
    Err(source.fail(format!("more than {MEMBERS} members")).into())
}

/// The path in a header.
fn path_of(head: &[u8; 512]) -> String {
    match (&head[257..262], text(&head[345..500])) {
        (b"ustar", prefix) if !prefix.is_empty() && head[263..265] == *b"00" => {
            format!("{prefix}/{}", text(&head[..100]))
        }
        _ => text(&head[..100]),
    }
}

/// Reads `LENGTH key=value\n` records.
fn pax(record: &[u8], path: &mut Option<String>, byte_sz: &mut Option<u64>) {
    let mut rest = record;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let Some(len) =
            number(&rest[..space], 10).filter(|len| (space as u64 + 1..=rest.len() as u64).contains(len))
        else {
            return;
        };
        let (line, next) = rest.split_at(len as usize);
        let line = line[space + 1..].strip_suffix(b"\n").unwrap_or(&line[space + 1..]);
        if let Some(value) = line.strip_prefix(b"path=") {
            *path = Some(text(value));
        } else if let Some(value) = line.strip_prefix(b"size=") {
            *byte_sz = number(value, 10);
        }
        rest = next;
    }
}

/// Whether a stream begins like a cpio archive that is read here.
pub(crate) fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// Goes through the members of a cpio archive in the `newc` format, with or without checksums, and leaves the stream behind
/// its trailer: an initramfs may go on with another archive.
pub fn cpio<E: From<ArchiveError>>(from: &mut dyn Read, visit: Visit<'_, E>) -> Result<(), E> {
    const TYPE: u64 = 0o170_000;
    const REGULAR: u64 = 0o100_000;
    let mut source = Source::new(from, "cpio archive");
    for _ in 0..MEMBERS {
        let Some(head) = source.head::<110>()? else { return Ok(()) };
        if !is_cpio(&head) {
            return Err(source.fail("a header does not begin with 070701 or 070702").into());
        }
        let field = |index: usize| number(&head[6 + index * 8..14 + index * 8], 16);
        let (Some(mode), Some(byte_sz), Some(name_sz)) = (field(1), field(6), field(11)) else {
            return Err(source.fail("malformed number in a header").into());
        };
        if name_sz > PATH {
            return Err(source.fail(format!("a name of {name_sz} bytes")).into());
        }
        let name = text(&source.exactly(name_sz)?);
        source.upto((110 + name_sz).next_multiple_of(4) - (110 + name_sz))?;
        if name == "TRAILER!!!" {
            return Ok(());
        }
        source.member((&name, mode & TYPE == REGULAR, byte_sz), 4, visit)?;
    }
    Err(source.fail(format!("more than {MEMBERS} members")).into())
}

/// The stream that `from` unpacks to; itself where it is not compressed.
fn unpacked<'a>(from: &'a mut dyn Read, packed_sz: u64) -> Result<Box<dyn Read + 'a>, ArchiveError> {
    let mut head = Vec::new();
    from.take(16).read_to_end(&mut head).map_err(|error| damaged("package", 0, error.to_string()))?;
    let compression = detect(&head);
    let whole = io::BufReader::with_capacity(1 << 16, io::Cursor::new(head).chain(from));
    Ok(match compression {
        Some(compression) => {
            let stream =
                Bounded::new(decoder(compression, Frames::All, whole)?, bound(packed_sz, PACKAGE_LIMIT));
            Box::new(io::BufReader::with_capacity(1 << 18, stream))
        }
        None => Box::new(whole),
    })
}

/// Goes through the members of a tar archive that may be compressed and has `packed_sz` bytes so.
pub fn compressed_tar<E: From<ArchiveError>>(
    from: &mut dyn Read,
    packed_sz: u64,
    visit: Visit<'_, E>,
) -> Result<(), E> {
    tar(&mut unpacked(from, packed_sz)?, visit)
}

/// Goes through what a Debian package installs.
pub fn deb<E: From<ArchiveError>>(from: &mut dyn Read, visit: Visit<'_, E>) -> Result<(), E> {
    let mut data = false;
    ar(from, &mut |member| {
        if !member.path.starts_with("data.tar") {
            return Ok(());
        }
        data = true;
        compressed_tar(member.data, member.byte_sz, visit)
    })?;
    if data { Ok(()) } else { Err(damaged("Debian package", 0, "it has no data.tar").into()) }
}

/// Goes through what an rpm package of `packed_sz` bytes installs.
pub fn rpm<E: From<ArchiveError>>(from: &mut dyn Read, packed_sz: u64, visit: Visit<'_, E>) -> Result<(), E> {
    skip_rpm_headers(from)?;
    cpio(&mut unpacked(from, packed_sz)?, visit)
}

/// Goes to the payload of an rpm package: behind a lead of 96 bytes and two headers (signatures, then what the package is)
/// there is a cpio archive in any compression. It is told by its first bytes, whatever the header says of it.
pub(crate) fn skip_rpm_headers(from: &mut dyn Read) -> Result<(), ArchiveError> {
    let mut source = Source::new(from, "rpm package");
    if source.head::<96>()?.is_none_or(|lead| !lead.starts_with(RPM_MAGIC)) {
        return Err(source.fail("it does not begin with the lead of an rpm"));
    }
    // The signatures are padded.
    for align in [8, 1] {
        let head = source.head::<16>()?.filter(|head| head[..3] == [0x8e, 0xad, 0xe8]);
        let head = head.ok_or_else(|| source.fail("it has no header where one must be"))?;
        let word = |at| u64::from(u32_at(&head, at, true));
        let byte_sz = word(8) * 16 + word(12);
        if byte_sz > RPM_HEADER {
            return Err(source.fail(format!("a header of {byte_sz} bytes")));
        }
        source.skip(byte_sz.next_multiple_of(align))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
