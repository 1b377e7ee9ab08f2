//! Objects within bytes: by the header of a relocatable ELF file of machine `EM_BPF`, sized by its section headers.

use crate::archive::compress::{Compression, Frames, decoder, detect};
use memchr::memmem;
use object::elf::{ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, EM_BPF, ET_REL, SHT_NOBITS};
use std::cell::Cell;
use std::io::Read;
use std::ops::Range;

/// Bytes of `Elf64_Ehdr`, and of `Elf64_Shdr`.
const HEADER_SZ: usize = 64;
/// Section header of an ELF file has this many bytes.
const SECTION_SZ: u64 = 64;
/// The largest object that is unpacked from within other bytes.
const PACKED_MAX: u64 = crate::object::MAX_OBJECT_SZ as u64;
/// How many beginnings of packed streams are tried in one member: each costs a decoder.
const PACKED_TRIES: usize = 20_000;

/// An object within bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Carved {
    /// Where it, or what it is packed in, begins; bytes.
    pub(super) off: usize,
    /// The object, if it is packed.
    pub(super) unpacked: Option<(Compression, Vec<u8>)>,
    /// Where it lies, if it is not packed.
    pub(super) range: Range<usize>,
}

/// All objects in `data`, by offset, and whether some packed streams were not tried. `budget` are the bytes that may still
/// be unpacked; what is kept of them is taken from it.
pub(super) fn objects(data: &[u8], budget: &Cell<u64>) -> (Vec<Carved>, bool) {
    let headers: Vec<usize> =
        memmem::find_iter(data, &ELFMAG).filter(|off| is_header(&data[*off..])).collect();
    let mut carved = Vec::new();
    let mut end = 0;
    for (at, &off) in headers.iter().enumerate() {
        // An object may hold the bytes of a header in its own data.
        if off < end {
            continue;
        }
        // A damaged one ends where it must: one whose size is wrong could hide all that follows.
        let size = object_sz(&data[off..]).unwrap_or_else(|| {
            let next = headers.get(at + 1).copied().unwrap_or(data.len());
            (next - off).min(crate::object::MAX_OBJECT_SZ)
        });
        end = off + size;
        carved.push(Carved { off, unpacked: None, range: off..end });
    }
    let mut tries = 0;
    for magic in [&[0x1f, 0x8b, 8][..], &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]] {
        for off in memmem::find_iter(data, magic) {
            tries += 1;
            if tries > PACKED_TRIES || budget.get() == 0 {
                tries = PACKED_TRIES + 1;
                break;
            }
            if let Some((compression, object)) = packed_object(&data[off..], budget) {
                carved.push(Carved { off, unpacked: Some((compression, object)), range: off..off });
            }
        }
    }
    carved.sort_by_key(|found| found.off);
    (carved, tries > PACKED_TRIES)
}

/// The object that a packed stream at the beginning of `data` unpacks to.
fn packed_object(data: &[u8], budget: &Cell<u64>) -> Option<(Compression, Vec<u8>)> {
    let compression = detect(data)?;
    let mut stream = decoder(compression, Frames::One, data).ok()?;
    let mut head = [0; HEADER_SZ];
    stream.read_exact(&mut head).ok()?;
    is_header(&head).then_some(())?;
    let mut object = head.to_vec();
    // Bytes behind the packed stream are no stream: what was unpacked before them counts.
    let _ = stream.take(PACKED_MAX.min(budget.get())).read_to_end(&mut object);
    budget.set(budget.get().saturating_sub(object.len() as u64));
    let size = object_sz(&object).unwrap_or(object.len());
    object.truncate(size);
    Some((compression, object))
}

/// Whether these are the first bytes of a relocatable eBPF object as compilers write it.
pub(super) fn is_header(data: &[u8]) -> bool {
    let Some(header) = Header::read(data) else { return false };
    data[..4] == ELFMAG
        && data[4] == ELFCLASS64
        && data[6] == 1
        && header.u16(16) == ET_REL
        && header.u16(18) == EM_BPF
        && header.u32(20) == 1
        && u64::from(header.u16(52)) == HEADER_SZ as u64
        && u64::from(header.u16(58)) == SECTION_SZ
        && header.u16(56) == 0
        && header.u64(40) >= HEADER_SZ as u64
}

/// Size in bytes of the object whose header `data` begins with; `None` if its sections do not lie within `data`.
fn object_sz(data: &[u8]) -> Option<usize> {
    let header = Header::read(data)?;
    let (table, count) = (header.u64(40), u64::from(header.u16(60)));
    let most = data.len().min(crate::object::MAX_OBJECT_SZ) as u64;
    let table_end = table.checked_add(count * SECTION_SZ).filter(|end| *end <= most)?;
    let mut end = table_end;
    for section in data[table as usize..table_end as usize].chunks_exact(SECTION_SZ as usize) {
        let section = Header { data: section, big_endian: header.big_endian };
        if section.u32(4) != SHT_NOBITS {
            end = end.max(section.u64(24).checked_add(section.u64(32))?);
        }
    }
    (end <= most).then_some(end as usize)
}

/// Numbers of a header in the byte order of its file.
struct Header<'a> {
    data: &'a [u8],
    big_endian: bool,
}

impl Header<'_> {
    fn read(data: &[u8]) -> Option<Header<'_>> {
        let data = data.get(..HEADER_SZ)?;
        match data[5] {
            ELFDATA2LSB => Some(Header { data, big_endian: false }),
            ELFDATA2MSB => Some(Header { data, big_endian: true }),
            _ => None,
        }
    }

    fn number<const N: usize>(&self, off: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.data[off..off + N]);
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn u16(&self, off: usize) -> u16 {
        u16::from_le_bytes(self.number(off))
    }

    fn u32(&self, off: usize) -> u32 {
        u32::from_le_bytes(self.number(off))
    }

    fn u64(&self, off: usize) -> u64 {
        u64::from_le_bytes(self.number(off))
    }
}
