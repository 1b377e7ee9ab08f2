//! zip archives (also jar, whl, apk and others): members by the central directory at the end.

use super::compress::{Compression, Frames, decoder};
use std::io::{self, Read};

/// What a zip archive begins with.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

const END_SZ: usize = 22;
const CENTRAL_SZ: usize = 46;
const LOCAL_SZ: usize = 30;
const ENCRYPTED: u16 = 1;

/// A member.
pub(crate) struct Member<'a> {
    pub(crate) name: String,
    method: u16,
    flags: u16,
    data: &'a [u8],
}

/// The members of the archive that ends where `data` ends.
pub(crate) fn members(data: &[u8]) -> io::Result<impl Iterator<Item = io::Result<Member<'_>>>> {
    // A comment of up to 64 KiB may follow the last record.
    let tail = data.len().saturating_sub(END_SZ + usize::from(u16::MAX));
    let end = memchr::memmem::rfind(&data[tail..], b"PK\x05\x06").map(|at| tail + at);
    let end = end.ok_or_else(|| damaged("the zip archive has no central directory"))?;
    let (count, begin) = (number::<2>(data, end + 10)?, number::<4>(data, end + 16)?);
    if count == 0xffff || begin == 0xffff_ffff {
        return Err(damaged("the zip archive is a large one (zip64), which is not read"));
    }
    let mut at = begin as usize;
    let mut left = count;
    Ok(std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let member = member(data, &mut at);
        if member.is_err() {
            left = 0;
        }
        Some(member)
    }))
}

fn member<'a>(data: &'a [u8], at: &mut usize) -> io::Result<Member<'a>> {
    let record = *at;
    if data.get(record..).is_none_or(|rest| !rest.starts_with(b"PK\x01\x02")) {
        return Err(damaged("the central directory of the zip archive is broken"));
    }
    let length = |off| number::<2>(data, record + off).map(|length| length as usize);
    let (name_sz, extra_sz, comment_sz) = (length(28)?, length(30)?, length(32)?);
    let name = slice(data, record + CENTRAL_SZ, name_sz)?;
    *at = record + CENTRAL_SZ + name_sz + extra_sz + comment_sz;
    let (packed_sz, local) =
        (number::<4>(data, record + 20)? as usize, number::<4>(data, record + 42)? as usize);
    // The local header has lengths of its own.
    let skip = |off| number::<2>(data, local + off).map(|length| length as usize);
    let begin = local + LOCAL_SZ + skip(26)? + skip(28)?;
    Ok(Member {
        name: String::from_utf8_lossy(name).into_owned(),
        method: number::<2>(data, record + 10)? as u16,
        flags: number::<2>(data, record + 8)? as u16,
        data: slice(data, begin, packed_sz)?,
    })
}

impl<'a> Member<'a> {
    /// What it unpacks to.
    pub(crate) fn unpack(&self) -> io::Result<Box<dyn Read + 'a>> {
        if self.flags & ENCRYPTED != 0 {
            return Err(damaged("it is encrypted"));
        }
        let packed = |compression| decoder(compression, Frames::All, self.data).map_err(io::Error::other);
        match self.method {
            0 => Ok(Box::new(self.data)),
            8 => Ok(Box::new(flate2::read::DeflateDecoder::new(self.data))),
            12 => packed(Compression::Bzip2),
            93 => packed(Compression::Zstd),
            95 => packed(Compression::Xz),
            other => Err(damaged(&format!("it is packed by method {other}, which is not read"))),
        }
    }
}

fn slice(data: &[u8], off: usize, byte_sz: usize) -> io::Result<&[u8]> {
    off.checked_add(byte_sz)
        .and_then(|end| data.get(off..end))
        .ok_or_else(|| damaged("a record of the zip archive points behind its end"))
}

fn number<const N: usize>(data: &[u8], off: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(slice(data, off, N)?);
    Ok(u64::from_le_bytes(bytes))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
