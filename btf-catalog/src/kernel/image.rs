//! Kernel images: bzImage, arm64 `Image`, EFI zboot and vmlinux, down to what lies at which virtual address.

use super::config::KernelConfig;
use super::{Kernel, KernelError, kallsyms, symbols::Symbols};
use crate::Btf;
use crate::archive::compress::{Frames, detect, unpack};
use crate::raw::{HEADER_SZ, u16_at, u32_at, u64_at};
use bytes::Bytes;
use memchr::memmem;
use object::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _};

/// Bytes of an unpacked image. A vmlinux with its debug information has 500 MB.
const IMAGE_LIMIT: u64 = 1 << 30;
/// Wrappings of a kernel: zboot around gzip around an `Image`, and one to spare.
const LAYERS: usize = 4;
/// Program headers of a vmlinux; there are fewer than ten. Each could cover all of the file.
const SEGMENTS: usize = 64;
/// Bytes of a symbol's name that are looked at; many symbols may share one long name.
const SYMBOL_NAME: usize = 64 << 10;

/// An unpacked kernel image: what lies at which virtual address, and its symbols.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Segments, by address.
    pub segments: Vec<Segment>,
    /// Byte order.
    pub big_endian: bool,
    /// Symbols of kallsyms or of the ELF file.
    pub symbols: Symbols,
}

/// Part of an image.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Virtual address of its first byte, as linked.
    pub address: u64,
    /// Its bytes.
    pub data: Bytes,
}

impl Image {
    /// The bytes from `address` to the end of its segment.
    fn from(&self, address: u64) -> Option<&[u8]> {
        let after = self.segments.partition_point(|segment| segment.address <= address);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        segment.data.get(usize::try_from(address - segment.address).ok()?..)
    }

    /// `len` bytes at a virtual address; `None` where the image has not all of them.
    pub fn read(&self, address: u64, len: usize) -> Option<&[u8]> {
        self.from(address)?.get(..len)
    }

    /// The 32-bit word at a virtual address.
    pub fn u32(&self, address: u64) -> Option<u32> {
        Some(u32_at(self.read(address, 4)?, 0, self.big_endian))
    }

    /// The 64-bit word, such as a pointer, at a virtual address.
    pub fn u64(&self, address: u64) -> Option<u64> {
        Some(u64_at(self.read(address, 8)?, 0, self.big_endian))
    }

    /// The C string at a virtual address, at most 4,095 bytes of UTF-8.
    pub fn text(&self, address: u64) -> Option<&str> {
        let bytes = self.from(address)?;
        let end = memchr::memchr(0, &bytes[..bytes.len().min(4096)])?;
        std::str::from_utf8(&bytes[..end]).ok()
    }

    /// The address of a symbol.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        Some(self.symbols.get(name)?.address)
    }

    /// The bytes between two symbols, as of a table that the linker script gathers, and the address of the first one.
    pub fn between(&self, start: &str, stop: &str) -> Option<(u64, &[u8])> {
        let (start, stop) = (self.address_of(start)?, self.address_of(stop)?);
        Some((start, self.read(start, usize::try_from(stop.checked_sub(start)?).ok()?)?))
    }
}

/// What lies under all wrappings.
enum Unpacked {
    Elf(Vec<u8>),
    /// An arm64 `Image`: the bytes of memory from `_text` on.
    Arm64(Vec<u8>),
}

fn damaged(what: &str, off: u64, problem: impl Into<String>) -> KernelError {
    KernelError::Damaged { what: what.to_owned(), off, problem: problem.into() }
}

fn is_bzimage(bytes: &[u8]) -> bool {
    bytes.get(0x202..0x206) == Some(b"HdrS")
}

fn is_zboot(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg")
}

fn is_arm64(bytes: &[u8]) -> bool {
    bytes.get(56..60) == Some(b"ARM\x64")
}

/// Whether `head` begins an image of a kernel, wrapped or not; an ELF file may be anything.
pub(super) fn is_image(head: &[u8]) -> bool {
    is_bzimage(head) || is_zboot(head) || is_arm64(head)
}

/// Takes off the wrappings of a kernel.
fn unwrap(image: &[u8]) -> Result<Unpacked, KernelError> {
    let mut bytes = std::borrow::Cow::Borrowed(image);
    for _ in 0..LAYERS {
        let payload = if bytes.starts_with(b"\x7fELF") {
            return Ok(Unpacked::Elf(bytes.into_owned()));
        } else if is_zboot(&bytes) {
            // drivers/firmware/efi/libstub/zboot-header.S (v6.1): offset and size of the payload.
            const WHAT: &str = "EFI zboot image";
            if bytes.len() < 16 {
                return Err(damaged(WHAT, bytes.len() as u64, "it ends inside its header"));
            }
            let at = |at: usize| u64::from(u32_at(&bytes, at, false));
            part(&bytes, WHAT, at(8), at(12))?
        } else if is_arm64(&bytes) {
            return Ok(Unpacked::Arm64(bytes.into_owned()));
        } else if is_bzimage(&bytes) {
            bzimage_payload(&bytes)?
        } else {
            &bytes[..]
        };
        let compression = detect(payload).ok_or_else(|| {
            let head: Vec<String> = payload.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            damaged(
                "kernel image",
                0,
                format!("the payload is of no known compression: it begins {}", head.join(" ")),
            )
        })?;
        bytes = std::borrow::Cow::Owned(unpack(compression, Frames::One, payload, IMAGE_LIMIT)?);
    }
    Err(damaged("kernel image", 0, format!("it is wrapped more than {LAYERS} times")))
}

fn part<'a>(bytes: &'a [u8], what: &str, off: u64, len: u64) -> Result<&'a [u8], KernelError> {
    let end = off.checked_add(len).and_then(|end| usize::try_from(end).ok());
    end.and_then(|end| bytes.get(off as usize..end)).ok_or_else(|| {
        damaged(
            what,
            off,
            format!("it says that {len} bytes of payload begin here, it has {} in all", bytes.len()),
        )
    })
}

/// The compressed kernel in a bzImage (Documentation/arch/x86/boot.rst, protocol 2.08 of v2.6.26 and later).
fn bzimage_payload(bytes: &[u8]) -> Result<&[u8], KernelError> {
    const WHAT: &str = "bzImage";
    if bytes.len() < 0x250 {
        return Err(damaged(WHAT, bytes.len() as u64, "it ends inside the setup header"));
    }
    let protocol = u16_at(bytes, 0x206, false);
    if protocol < 0x208 {
        return Err(damaged(WHAT, 0x206, format!("boot protocol {protocol:#x} tells no payload")));
    }
    let sectors = match bytes[0x1f1] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let off = (sectors + 1) * 512 + u64::from(u32_at(bytes, 0x248, false));
    part(bytes, WHAT, off, u64::from(u32_at(bytes, 0x24c, false)))
}

/// The text that `kernel_version` of a bzImage's setup header points to: release, builder, version.
fn bzimage_release(bytes: &[u8]) -> Option<String> {
    if !is_bzimage(bytes) {
        return None;
    }
    let at = usize::from(u16_at(bytes.get(..0x210)?, 0x20e, false)) + 0x200;
    let text = bytes.get(at..)?;
    let end = text.iter().position(|byte| matches!(byte, 0 | b' '))?;
    String::from_utf8(text[..end].to_vec()).ok().filter(|release| !release.is_empty())
}

/// What an image tells. With `symbols`, its symbols and its segments are kept.
pub(super) fn read(bytes: &[u8], symbols: bool) -> Result<Kernel, KernelError> {
    let mut kernel = Kernel { release: bzimage_release(bytes), ..Kernel::default() };
    match unwrap(bytes)? {
        Unpacked::Elf(elf) => read_elf(elf, &mut kernel, symbols)?,
        Unpacked::Arm64(image) => read_arm64(image, &mut kernel, symbols),
    }
    if kernel.btf.is_none() {
        kernel.notes.push("the image has no BTF (CONFIG_DEBUG_INFO_BTF)".to_owned());
    }
    Ok(kernel)
}

fn machine(architecture: object::Architecture, little_endian: bool) -> Option<&'static str> {
    use object::Architecture as A;
    Some(match architecture {
        A::X86_64 => "x86_64",
        A::I386 => "i686",
        A::Aarch64 => "aarch64",
        A::Arm => "armv7l",
        A::S390x => "s390x",
        A::PowerPc64 if little_endian => "ppc64le",
        A::PowerPc64 => "ppc64",
        A::Riscv64 => "riscv64",
        A::LoongArch64 => "loongarch64",
        _ => return None,
    })
}

fn read_elf(mut bytes: Vec<u8>, kernel: &mut Kernel, want_symbols: bool) -> Result<(), KernelError> {
    let elf = |error: object::Error| damaged("vmlinux", 0, error.to_string());
    if bytes.get(18..20) == Some(&183u16.to_le_bytes()) {
        relocate_arm64_elf(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let file = object::File::parse(&*bytes).map_err(elf)?;
    if file.segments().nth(SEGMENTS).is_some() {
        return Err(damaged("vmlinux", 0, format!("it has more than {SEGMENTS} segments")));
    }
    kernel.arch = machine(file.architecture(), file.is_little_endian()).map(str::to_owned);
    let section = |name: &str| {
        let data = file.section_by_name(name)?.data().ok()?;
        (!data.is_empty()).then_some(data)
    };
    // A copy, so that the BTF does not keep the whole image in memory.
    kernel.btf = section(".BTF").map(Bytes::copy_from_slice);
    kernel.build_id = section(".notes").and_then(|notes| build_id(notes, !file.is_little_endian()));
    kernel.config = KernelConfig::find(&bytes);
    let mut segments: Vec<Segment> = file
        .segments()
        .filter_map(|segment| {
            let data = segment.data().ok().filter(|data| !data.is_empty())?;
            Some(Segment { address: segment.address(), data: bytes.slice_ref(data) })
        })
        .collect();
    segments.sort_by_key(|segment| segment.address);
    set_banner(kernel, &bytes);
    // Every program is an ELF file.
    if kernel.btf.is_none() && kernel.banner.is_none() {
        let problem =
            "it has neither BTF nor a kernel's banner (`Linux version …`), so it is no kernel".to_owned();
        return Err(KernelError::NoKernel { what: "the ELF file".to_owned(), problem });
    }
    let mut image = Image { segments, big_endian: !file.is_little_endian(), symbols: Symbols::default() };
    if want_symbols {
        if file.symbols().all(|symbol| symbol.name_bytes().is_ok_and(|name| name.len() <= SYMBOL_NAME)) {
            image.symbols = elf_symbols(&file);
        } else {
            kernel.notes.push("the symbols of the ELF file have names that are none".to_owned());
        }
        if image.symbols.is_empty() {
            set_kallsyms(&mut image, kernel);
        }
        kernel.image = Some(image);
    }
    Ok(())
}

/// The symbols of a vmlinux that was not stripped, with the letters of nm(1).
fn elf_symbols(file: &object::File<'_>) -> Symbols {
    use object::{SectionKind, SymbolKind};
    Symbols::from_unsorted(file.symbols().filter_map(|symbol| {
        let name = symbol.name().ok().filter(|name| !name.is_empty() && !name.starts_with('$'))?;
        if symbol.is_undefined() || matches!(symbol.kind(), SymbolKind::File | SymbolKind::Section) {
            return None;
        }
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
        let letter = match section.map(|section| section.kind()) {
            _ if symbol.is_weak() => b'w',
            Some(SectionKind::Text) => b't',
            Some(SectionKind::ReadOnlyData | SectionKind::ReadOnlyString) => b'r',
            Some(SectionKind::UninitializedData) => b'b',
            Some(_) => b'd',
            None => b'a',
        };
        let kind = if symbol.is_local() { letter } else { letter.to_ascii_uppercase() };
        Some((symbol.address(), kind, name))
    }))
}

fn read_arm64(mut bytes: Vec<u8>, kernel: &mut Kernel, want_symbols: bool) {
    kernel.arch = Some("aarch64".to_owned());
    // Documentation/arch/arm64/booting.rst: bit 0 of the flags is the byte order.
    let big_endian = bytes.get(24).is_some_and(|flags| flags & 1 != 0);
    let address = relocate_arm64_image(&mut bytes);
    if address.is_none() {
        kernel.notes.push(
            "where the image is linked to was not found: its addresses count from its first byte".to_owned(),
        );
    }
    let data = Bytes::from(bytes);
    kernel.config = KernelConfig::find(&data);
    set_banner(kernel, &data);
    let segments = vec![Segment { address: address.unwrap_or(0), data: data.clone() }];
    let mut image = Image { segments, big_endian, symbols: Symbols::default() };
    set_kallsyms(&mut image, kernel);
    let sections = |start: &str, stop: &str| image.between(start, stop).map(|(_, bytes)| bytes);
    kernel.btf = match sections("__start_BTF", "__stop_BTF") {
        Some(btf) => Some(Bytes::copy_from_slice(btf)),
        None => find_btf(&data).map(Bytes::copy_from_slice),
    };
    kernel.build_id = sections("__start_notes", "__stop_notes").and_then(|notes| build_id(notes, big_endian));
    if kernel.build_id.is_none() {
        kernel.notes.push(
            "the image's build ID was not found: its notes lie between symbols that are not there".to_owned(),
        );
    }
    if want_symbols {
        kernel.image = Some(image);
    }
}

fn set_kallsyms(image: &mut Image, kernel: &mut Kernel) {
    match kallsyms::decode(image) {
        Ok(symbols) => image.symbols = symbols,
        Err(problem) => kernel.notes.push(format!("the image's symbols could not be read: {problem}")),
    }
}

/// Finds `linux_banner` (init/version-timestamp.c): the text itself tells where it is.
fn set_banner(kernel: &mut Kernel, image: &[u8]) {
    const START: &[u8] = b"Linux version ";
    let banners = memmem::find_iter(image, START).filter_map(|at| {
        let text = &image[at..image.len().min(at + 1024)];
        let end = text.iter().position(|byte| *byte == 0 || *byte == b'\n')?;
        let text = std::str::from_utf8(&text[..end]).ok()?;
        // Code and format strings have the words too, but no release and no builder behind them.
        (text.as_bytes().get(START.len())?.is_ascii_digit() && text.contains(" (")).then_some(text)
    });
    // The image may also hold the banner of an earlier link, whose number is not yet there: `# SMP`, not `#1 SMP`.
    let numbered = |text: &&str| {
        text.split_once(" #").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match banners.max_by_key(numbered) {
        Some(banner) => {
            kernel.release = banner[START.len()..].split(' ').next().map(str::to_owned);
            kernel.banner = Some(banner.to_owned());
        }
        None => kernel.notes.push("the image has no banner".to_owned()),
    }
}

/// The descriptor of the first `NT_GNU_BUILD_ID` among ELF notes.
fn build_id(mut notes: &[u8], big_endian: bool) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    while notes.len() >= 12 {
        let word = |at| u32_at(notes, at, big_endian) as usize;
        let (name_sz, desc_sz, kind) = (word(0), word(4), word(8) as u32);
        let desc = 12usize.checked_add(name_sz.checked_next_multiple_of(4)?)?;
        let end = desc.checked_add(desc_sz)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name_sz) == Some(b"GNU\0") {
            return notes.get(desc..end).map(<[u8]>::to_vec);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

/// The BTF in an image without sections: the longest run of bytes that parses as BTF.
fn find_btf(image: &[u8]) -> Option<&[u8]> {
    const LEAST: usize = 100_000;
    const MOST: usize = 256 << 20;
    const CANDIDATES: usize = 16;
    [&[0x9f, 0xeb, 1, 0][..], &[0xeb, 0x9f, 1, 0]]
        .iter()
        .flat_map(|magic| memmem::find_iter(image, magic).map(|at| &image[at..]))
        .filter_map(|bytes| bytes.get(..btf_len(bytes)?))
        // Objects that the kernel carries for itself (bpf_preload) have BTF too, far smaller.
        .filter(|bytes| (LEAST..=MOST).contains(&bytes.len()))
        .take(CANDIDATES)
        .filter(|bytes| Btf::parse(Bytes::copy_from_slice(bytes)).is_ok())
        .max_by_key(|bytes| bytes.len())
}

/// Bytes of the BTF that begins here, by its header.
fn btf_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < HEADER_SZ {
        return None;
    }
    let big_endian = bytes[0] == 0xeb;
    let word = |at| u32_at(bytes, at, big_endian) as usize;
    let header = word(4);
    let mut end = word(8).checked_add(word(12))?.max(word(16).checked_add(word(20))?);
    if header >= 32 && bytes.len() >= 32 {
        end = end.max(word(24).checked_add(word(28))?);
    }
    header.checked_add(end)
}

/// Bytes of an `Elf64_Rela`.
const RELA_SZ: usize = 24;
/// `r_info` of `R_AARCH64_RELATIVE`, which refers to no symbol.
const R_AARCH64_RELATIVE: [u8; 8] = [0x03, 0x04, 0, 0, 0, 0, 0, 0];
/// Records that make a table; a kernel has 100,000 and more.
const RELAS: usize = 1000;

/// The longest table of `R_AARCH64_RELATIVE` records, as a range of bytes.
fn find_relas(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut best = 0..0;
    let mut from = 0;
    while let Some(found) = memmem::find(&bytes[from..], &R_AARCH64_RELATIVE) {
        let info = from + found;
        from = info + 1;
        let Some(start) = info.checked_sub(8).filter(|start| start % 8 == 0) else { continue };
        let records = bytes[start..].chunks_exact(RELA_SZ);
        let count = records.take_while(|record| record[8..16] == R_AARCH64_RELATIVE).count();
        let end = start + count * RELA_SZ;
        if end - start > best.len() {
            best = start..end;
        }
        from = from.max(end);
    }
    (best.len() >= RELAS * RELA_SZ).then_some(best)
}

/// Puts the addresses in place that an arm64 kernel puts there when it starts, as linked, and gives the address of the
/// image's first byte.
///
/// With `CONFIG_RELR` they are in place already, and there are no records to speak of.
fn relocate_arm64_image(bytes: &mut [u8]) -> Option<u64> {
    // Documentation/arch/arm64/booting.rst: the image's size in memory, with what is zero at first.
    let byte_sz = u64_at(bytes.get(..64)?, 16, false).max(bytes.len() as u64);
    let records: Vec<(u64, u64)> =
        find_relas(bytes).map_or(Vec::new(), |table| relas(&bytes[table]).collect());
    let pointers: Vec<u64> = if records.is_empty() {
        bytes.chunks_exact(8).map(|word| u64_at(word, 0, false)).collect()
    } else {
        records.iter().map(|(_, value)| *value).collect()
    };
    let address = lowest_address(pointers, byte_sz)?;
    for (place, value) in records {
        let at = place.checked_sub(address).and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| bytes.get_mut(at..)?.get_mut(..8)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    Some(address)
}

/// Where an image of `byte_sz` bytes begins that nine in ten of `pointers` point into: a boundary of 2 MiB, as the boot
/// protocol demands, below the least of them. Words that are no addresses of a kernel do not count.
fn lowest_address(mut pointers: Vec<u64>, byte_sz: u64) -> Option<u64> {
    const ALIGN: u64 = 2 << 20;
    // The upper half of the address space, but for small negative numbers.
    pointers.retain(|value| (0xffff_0000_0000_0000..0xffff_ffff_0000_0000).contains(value));
    pointers.sort_unstable();
    let lowest = pointers.iter().enumerate().find_map(|(index, lowest)| {
        let after = pointers.partition_point(|value| *value < lowest.saturating_add(byte_sz));
        ((after - index) * 10 >= pointers.len() * 9).then_some(*lowest)
    })?;
    (pointers.len() >= RELAS).then_some(lowest & !(ALIGN - 1))
}

/// The same for a vmlinux, whose segments tell what lies where.
fn relocate_arm64_elf(bytes: &mut [u8]) {
    let Some(table) = find_relas(bytes) else { return };
    let segments: Vec<(u64, u64, u64)> = match object::File::parse(&*bytes) {
        Ok(file) => file
            .segments()
            .take(SEGMENTS)
            .map(|segment| (segment.address(), segment.file_range().0, segment.file_range().1))
            .collect(),
        Err(_) => return,
    };
    for (place, value) in relas(&bytes[table]).collect::<Vec<_>>() {
        let at = segments.iter().find_map(|(address, off, len)| {
            let within = place.checked_sub(*address).filter(|within| within < len)?;
            usize::try_from(off.checked_add(within)?).ok()
        });
        if let Some(place) = at.and_then(|at| bytes.get_mut(at..)?.get_mut(..8)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// `(place, value)` of each record.
fn relas(table: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    table.chunks_exact(RELA_SZ).map(|record| (u64_at(record, 0, false), u64_at(record, 16, false)))
}

#[cfg(test)]
mod tests;
