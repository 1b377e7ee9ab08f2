//! Archives and packages as streams of members: `ar`, `tar`, `cpio` (newc), `.deb` and `.rpm`.
//!
//! Nothing is held but the member that is read: what the visitor leaves of one is skipped.

use super::KernelError;
use super::compress::{Bounded, Frames, bound, decoder, detect};
use crate::raw::{u32_at, u64_at};
use std::io::{self, Read};

/// Bytes that a whole package may unpack to. Packages of debug information reach 6 GiB.
const PACKAGE_LIMIT: u64 = 16 << 30;
/// Members that an archive may have.
const MEMBERS: usize = 1 << 18;
/// Bytes of a path.
const PATH: u64 = 4096;
/// Bytes of an rpm's header: file lists of kernel packages take 2 MiB.
const RPM_HEADER: u64 = 64 << 20;

/// A regular file in an archive.
pub struct Member<'a> {
    /// Its path as it is written there.
    pub path: &'a str,
    /// Its size in bytes.
    pub byte_sz: u64,
    /// Its bytes.
    pub data: &'a mut dyn Read,
}

impl Member<'_> {
    /// All of its bytes, at most `most`.
    pub fn bytes(&mut self, most: u64) -> Result<Vec<u8>, KernelError> {
        if self.byte_sz > most {
            return Err(KernelError::TooLarge { what: self.path.to_owned(), bytes: self.byte_sz, most });
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

/// What is called with each member.
pub type Visit<'a> = &'a mut dyn FnMut(Member<'_>) -> Result<(), KernelError>;

fn damaged(what: &str, off: u64, problem: impl Into<String>) -> KernelError {
    KernelError::Damaged { what: what.to_owned(), off, problem: problem.into() }
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

    fn fail(&self, problem: impl Into<String>) -> KernelError {
        damaged(self.what, self.off, problem)
    }

    /// The next `N` bytes, `None` where the stream has ended.
    fn head<const N: usize>(&mut self) -> Result<Option<[u8; N]>, KernelError> {
        let bytes = self.upto(N as u64)?;
        match bytes.len() {
            0 => Ok(None),
            _ => bytes.try_into().map(Some).map_err(|_| self.fail("it ends inside a header")),
        }
    }

    fn upto(&mut self, len: u64) -> Result<Vec<u8>, KernelError> {
        let mut bytes = Vec::new();
        let read = self.by_ref().take(len).read_to_end(&mut bytes);
        read.map_err(|error| self.fail(error.to_string()))?;
        Ok(bytes)
    }

    fn exactly(&mut self, len: u64) -> Result<Vec<u8>, KernelError> {
        let bytes = self.upto(len)?;
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(self.fail("it ends early")) }
    }

    fn skip(&mut self, len: u64) -> Result<(), KernelError> {
        let copied = io::copy(&mut self.by_ref().take(len), &mut io::sink());
        let copied = copied.map_err(|error| self.fail(error.to_string()))?;
        if copied == len { Ok(()) } else { Err(self.fail("it ends inside a member")) }
    }

    /// Shows a member of `byte_sz` bytes and goes to the end of its padding to a multiple of `align`.
    fn member(&mut self, path: &str, byte_sz: u64, align: u64, visit: Visit<'_>) -> Result<(), KernelError> {
        let padded =
            byte_sz.checked_next_multiple_of(align).ok_or_else(|| self.fail("a member is too large"))?;
        let mut data = self.by_ref().take(byte_sz);
        visit(Member { path, byte_sz, data: &mut data })?;
        let left = data.limit() + (padded - byte_sz);
        self.skip(left)
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

/// Goes through the members of an `ar` archive.
pub fn ar(from: &mut dyn Read, visit: Visit<'_>) -> Result<(), KernelError> {
    let mut source = Source::new(from, "ar archive");
    if source.head::<8>()?.is_none_or(|magic| magic != *b"!<arch>\n") {
        return Err(source.fail("it does not begin with `!<arch>`"));
    }
    for _ in 0..MEMBERS {
        let Some(head) = source.head::<60>()? else { return Ok(()) };
        let byte_sz = number(&head[48..58], 10).filter(|_| head[58..] == *b"`\n");
        let byte_sz = byte_sz.ok_or_else(|| source.fail("malformed member header"))?;
        let name = text(&head[..16]);
        let name = name.trim_end().trim_end_matches('/');
        // Some writers leave out the padding of the last member.
        let padded = byte_sz % 2;
        source.member(name, byte_sz, 1, visit)?;
        if padded == 1 {
            source.head::<1>()?;
        }
    }
    Err(source.fail(format!("more than {MEMBERS} members")))
}

/// Goes through the regular files of a tar archive: ustar, with GNU's and pax's long names and sizes.
///
/// Hard links are not followed: a kernel's files are none.
pub fn tar(from: &mut dyn Read, visit: Visit<'_>) -> Result<(), KernelError> {
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
            return Err(source.fail("a header's checksum is wrong"));
        }
        // Sizes of 8 GiB and more are binary, behind a set bit.
        let byte_sz =
            if head[124] & 0x80 == 0 { number(&head[124..136], 8) } else { Some(u64_at(&head, 128, true)) };
        let byte_sz = byte_sz.ok_or_else(|| source.fail("malformed size of a member"))?;
        match head[156] {
            kind @ (b'L' | b'x') => {
                if byte_sz > PATH * 16 {
                    return Err(source.fail(format!("a name of {byte_sz} bytes")));
                }
                let record = source.exactly(byte_sz)?;
                source.skip(byte_sz.next_multiple_of(512) - byte_sz)?;
                if kind == b'L' {
                    long_path = Some(text(&record));
                } else {
                    pax(&record, &mut long_path, &mut long_size);
                }
            }
            kind => {
                let byte_sz = long_size.take().unwrap_or(byte_sz);
                let path =
                    long_path.take().unwrap_or_else(|| match (&head[257..262], text(&head[345..500])) {
                        (b"ustar", prefix) if !prefix.is_empty() && head[263..265] == *b"00" => {
                            format!("{prefix}/{}", text(&head[..100]))
                        }
                        _ => text(&head[..100]),
                    });
                if path.len() as u64 > PATH {
                    return Err(source.fail(format!("a name of {} bytes", path.len())));
                }
                match kind {
                    b'0' | 0 | b'7' => source.member(&path, byte_sz, 512, visit)?,
                    // Links, devices and directories have no bytes whatever their size says.
                    b'1'..=b'6' => {}
                    _ => source.member(&path, byte_sz, 512, &mut |_| Ok(()))?,
                }
            }
        }
    }
    Err(source.fail(format!("more than {MEMBERS} members")))
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

/// Goes through the regular files of a cpio archive in the `newc` format, with or without checksums.
pub fn cpio(from: &mut dyn Read, visit: Visit<'_>) -> Result<(), KernelError> {
    const TYPE: u64 = 0o170_000;
    const REGULAR: u64 = 0o100_000;
    let mut source = Source::new(from, "cpio archive");
    for _ in 0..MEMBERS {
        let Some(head) = source.head::<110>()? else { return Ok(()) };
        if !matches!(&head[..6], b"070701" | b"070702") {
            return Err(source.fail("a header does not begin with 070701 or 070702"));
        }
        let field = |index: usize| number(&head[6 + index * 8..14 + index * 8], 16);
        let (Some(mode), Some(byte_sz), Some(name_sz)) = (field(1), field(6), field(11)) else {
            return Err(source.fail("malformed number in a header"));
        };
        if name_sz > PATH {
            return Err(source.fail(format!("a name of {name_sz} bytes")));
        }
        let name = text(&source.exactly(name_sz)?);
        source.skip((110 + name_sz).next_multiple_of(4) - (110 + name_sz))?;
        if name == "TRAILER!!!" {
            return Ok(());
        }
        if mode & TYPE == REGULAR {
            source.member(&name, byte_sz, 4, visit)?;
        } else {
            source.member(&name, byte_sz, 4, &mut |_| Ok(()))?;
        }
    }
    Err(source.fail(format!("more than {MEMBERS} members")))
}

/// The stream that `from` unpacks to; itself where it is not compressed.
fn unpacked<'a>(from: &'a mut dyn Read, packed_sz: u64) -> Result<Box<dyn Read + 'a>, KernelError> {
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

/// Goes through the regular files of a tar archive that may be compressed and has `packed_sz` bytes so.
pub fn compressed_tar(from: &mut dyn Read, packed_sz: u64, visit: Visit<'_>) -> Result<(), KernelError> {
    tar(&mut unpacked(from, packed_sz)?, visit)
}

/// Goes through the regular files that a Debian package installs.
pub fn deb(from: &mut dyn Read, visit: Visit<'_>) -> Result<(), KernelError> {
    let mut data = false;
    ar(from, &mut |member| {
        if !member.path.starts_with("data.tar") {
            return Ok(());
        }
        data = true;
        compressed_tar(member.data, member.byte_sz, visit)
    })?;
    if data { Ok(()) } else { Err(damaged("Debian package", 0, "it has no data.tar")) }
}

/// Goes through the regular files that an rpm package of `packed_sz` bytes installs.
///
/// A lead of 96 bytes, two headers (signatures, then what the package is), and a cpio archive in any compression: it is
/// told by its first bytes, whatever the header says of it.
pub fn rpm(from: &mut dyn Read, packed_sz: u64, visit: Visit<'_>) -> Result<(), KernelError> {
    let mut source = Source::new(from, "rpm package");
    if source.head::<96>()?.is_none_or(|lead| lead[..4] != [0xed, 0xab, 0xee, 0xdb]) {
        return Err(source.fail("it does not begin with the lead of an rpm"));
    }
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
    cpio(&mut unpacked(&mut source, packed_sz)?, visit)
}

#[cfg(test)]
mod tests;
