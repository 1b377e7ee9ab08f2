//! ar archives: static libraries (GNU and BSD names) and the outside of Debian packages.

use std::io::{self, Read};

/// What an archive begins with. A thin archive (`!<thin>`) has no members in it.
pub(super) const MAGIC: &[u8] = b"!<arch>\n";

const HEADER_SZ: usize = 60;
/// The longest name, and the largest table of names, that is read. Bytes.
const NAMES_MAX: u64 = 16 << 20;

/// The members of an archive, one after the other.
pub(super) struct Archive<R> {
    reader: R,
    /// GNU: names that are too long for a header, from the member `//`.
    names: Vec<u8>,
}

/// A member's header.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) byte_sz: u64,
    /// Bytes to skip behind it.
    pub(super) padding: u64,
}

impl<R: Read> Archive<R> {
    /// The archive behind its magic.
    pub(super) fn new(reader: R) -> Archive<R> {
        Archive { reader, names: Vec::new() }
    }

    /// The stream, which stands at the beginning of the member's bytes.
    pub(super) fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next member; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        loop {
            let mut header = [0; HEADER_SZ];
            match super::finder::read_full(&mut self.reader, &mut header)? {
                0 => return Ok(None),
                HEADER_SZ if header[58..] == *b"`\n" => {}
                _ => return Err(damaged("a member of the ar archive has no header")),
            }
            let text =
                |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
            let byte_sz: u64 =
                text(48..58).parse().map_err(|_| damaged("a member of the ar archive has no size"))?;
            let name = text(0..16);
            let padding = byte_sz % 2;
            if name == "//" {
                if byte_sz > NAMES_MAX {
                    return Err(damaged("the table of names of the ar archive is too large"));
                }
                self.names.clear();
                (&mut self.reader).take(byte_sz + padding).read_to_end(&mut self.names)?;
            } else if let Some(length) = name.strip_prefix("#1/").and_then(|length| length.parse().ok()) {
                if length > byte_sz.min(NAMES_MAX) {
                    return Err(damaged("a member of the ar archive has a name longer than itself"));
                }
                let mut name = Vec::new();
                (&mut self.reader).take(length).read_to_end(&mut name)?;
                let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
                return Ok(Some(Member { name, byte_sz: byte_sz - length, padding }));
            } else {
                let name = self.long_name(&name).unwrap_or_else(|| match name.as_str() {
                    "/" | "/SYM64/" => name.clone(),
                    short => short.trim_end_matches('/').to_owned(),
                });
                return Ok(Some(Member { name, byte_sz, padding }));
            }
        }
    }

    /// The name that `/123` refers to.
    fn long_name(&self, name: &str) -> Option<String> {
        let off: usize = name.strip_prefix('/')?.parse().ok()?;
        let name = self.names.get(off..)?.split(|byte| matches!(byte, b'\n' | 0)).next()?;
        Some(String::from_utf8_lossy(name).trim_end_matches('/').to_owned())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, body.len()).into_bytes();
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    #[test]
    fn names_are_read_in_all_their_forms() {
        let long = "a_name_that_is_too_long_for_its_header.bpf.o";
        let archive = [
            member("//", format!("{long}/\n").as_bytes()),
            member("short.o/", b"abc"),
            member("/0", b"de"),
            member("#1/5", b"bsd.ofgh"),
            member("debian-binary", b"2.0\n"),
        ]
        .concat();
        let mut archive = Archive::new(&archive[..]);
        let mut seen = Vec::new();
        while let Some(member) = archive.next().unwrap() {
            let mut body = Vec::new();
            archive.reader().take(member.byte_sz).read_to_end(&mut body).unwrap();
            io::copy(&mut archive.reader().take(member.padding), &mut io::sink()).unwrap();
            seen.push((member.name, String::from_utf8(body).unwrap()));
        }
        let expected = [("short.o", "abc"), (long, "de"), ("bsd.o", "fgh"), ("debian-binary", "2.0\n")];
        assert_eq!(seen, expected.map(|(name, body)| (name.to_owned(), body.to_owned())));
    }

    #[test]
    fn a_size_that_nothing_can_have_costs_nothing() {
        let mut huge = member("//", b"");
        huge[48..58].copy_from_slice(b"9999999999");
        assert!(Archive::new(&huge[..]).next().is_err());
        assert!(Archive::new(&huge[..30]).next().is_err());
    }
}
