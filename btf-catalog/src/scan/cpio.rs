//! cpio archives in the "new" format (`newc`, `crc`), which rpm packages and initramfs images are made of, and the
//! headers that lie before it in an rpm package.

use std::io::{self, Read};

/// The longest name that is read, in bytes.
const NAME_MAX: u64 = 4096;
const HEADER_SZ: usize = 110;

/// What an rpm package begins with.
pub(super) const RPM_MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];
const RPM_LEAD_SZ: u64 = 96;
const RPM_HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
/// The largest of the two headers of a package that is skipped, in bytes.
const RPM_HEADER_MAX: u64 = 512 << 20;

/// Whether a stream begins like a cpio archive that is read here.
pub(super) fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// A member's header.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) byte_sz: u64,
    /// Bytes to skip behind it.
    pub(super) padding: u64,
    /// Whether it is a regular file.
    pub(super) is_file: bool,
}

/// The next member of an archive, whose bytes follow; `None` at its trailer or where only zeros follow.
pub(super) fn next(reader: &mut impl Read) -> io::Result<Option<Member>> {
    let mut header = [0; HEADER_SZ];
    let got = super::finder::read_full(reader, &mut header)?;
    if got == 0 || header[..got].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if got < HEADER_SZ || !is_cpio(&header) {
        return Err(damaged("a member of the cpio archive has no header"));
    }
    let field = |index: usize| {
        let text = std::str::from_utf8(&header[6 + index * 8..14 + index * 8]).ok();
        text.and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or_else(|| damaged("a field in the header of a cpio member is no number"))
    };
    let (mode, byte_sz, name_sz) = (field(1)?, field(6)?, field(11)?);
    if name_sz > NAME_MAX {
        return Err(damaged("a member of the cpio archive has a name of more than 4096 bytes"));
    }
    let mut name = Vec::new();
    let padded = (HEADER_SZ as u64 + name_sz).next_multiple_of(4) - HEADER_SZ as u64;
    reader.take(padded).read_to_end(&mut name)?;
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    if name == "TRAILER!!!" {
        return Ok(None);
    }
    let padding = byte_sz.next_multiple_of(4) - byte_sz;
    Ok(Some(Member { name, byte_sz, padding, is_file: mode & 0o170_000 == 0o100_000 }))
}

/// Skips the lead, the signature and the header of an rpm package: its payload follows.
pub(super) fn skip_rpm_headers(reader: &mut dyn Read) -> io::Result<()> {
    super::finder::skip(reader, RPM_LEAD_SZ)?;
    for is_signature in [true, false] {
        let mut intro = [0; 16];
        reader.read_exact(&mut intro)?;
        let word = |at: usize| {
            u64::from(u32::from_be_bytes([intro[at], intro[at + 1], intro[at + 2], intro[at + 3]]))
        };
        if intro[..4] != RPM_HEADER_MAGIC {
            return Err(damaged("the rpm package has no header behind its lead"));
        }
        let byte_sz = word(8) * 16 + word(12);
        if byte_sz > RPM_HEADER_MAX {
            return Err(damaged("the header of the rpm package is too large"));
        }
        // Only the signature is padded.
        super::finder::skip(reader, if is_signature { byte_sz.next_multiple_of(8) } else { byte_sz })?;
    }
    Ok(())
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
