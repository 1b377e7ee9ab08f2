//! An ELF file of eBPF taken apart into sections and laid out again: header, sections in the order of their numbers,
//! section table.

use super::WriteError;

/// Bytes of `Elf64_Ehdr`, `Elf64_Shdr`, `Elf64_Sym`, `Elf64_Rel`.
const EHDR_SZ: usize = 64;
const SHDR_SZ: usize = 64;
const SYM_SZ: usize = 24;
const REL_SZ: usize = 16;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;
const SHF_ALLOC: u64 = 2;
/// A 64-bit immediate in an `ldimm64`.
const R_BPF_64_64: u32 = 1;
/// `STB_GLOBAL << 4 | STT_OBJECT`.
const GLOBAL_OBJECT: u8 = 1 << 4 | 1;
/// Section numbers from here on have other meanings.
const SHN_LORESERVE: usize = 0xff00;

/// The file.
pub(super) struct Elf {
    header: [u8; EHDR_SZ],
    big_endian: bool,
    pub(super) sections: Vec<Section>,
}

/// A section, at its number in [`Elf::sections`].
pub(super) struct Section {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    name_off: u32,
    kind: u32,
    flags: u64,
    address: u64,
    /// Bytes it takes in memory; those of `data` except where the file has none.
    byte_sz: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_sz: u64,
}

/// Integers in the file's byte order.
fn get<const N: usize>(data: &[u8], off: usize, big_endian: bool) -> Option<u64> {
    let bytes = data.get(off..off.checked_add(N)?)?;
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    Some(if big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
}

fn put<const N: usize>(data: &mut [u8], off: usize, value: u64, big_endian: bool) {
    let bytes = if big_endian { value << (64 - 8 * N) } else { value.swap_bytes() }.to_be_bytes();
    data[off..off + N].copy_from_slice(&bytes[..N]);
}

impl Elf {
    /// Takes a file apart that was read as an object before.
    pub(super) fn read(data: &[u8]) -> Result<Elf, WriteError> {
        let bad = |what: &str| WriteError::Elf(what.to_owned());
        let header: [u8; EHDR_SZ] =
            data.first_chunk().copied().ok_or_else(|| bad("it is shorter than its header"))?;
        let big_endian = header[5] == 2;
        let u16_at = |off| get::<2>(&header, off, big_endian).unwrap_or_default() as usize;
        let (table, entry_sz, count) =
            (get::<8>(&header, 40, big_endian).unwrap_or_default() as usize, u16_at(58), u16_at(60));
        if entry_sz != SHDR_SZ || count == 0 || count >= SHN_LORESERVE {
            return Err(bad("its section table is missing or of an extended form"));
        }
        if u16_at(56) != 0 {
            return Err(bad("it has program headers, which eBPF objects do not"));
        }
        let mut sections = Vec::with_capacity(count);
        let mut left = data.len();
        for index in 0..count {
            let raw = table
                .checked_add(index * SHDR_SZ)
                .and_then(|at| data.get(at..at.checked_add(SHDR_SZ)?))
                .ok_or_else(|| bad("its section table does not fit"))?;
            let word = |off| get::<4>(raw, off, big_endian).unwrap_or_default() as u32;
            let wide = |off| get::<8>(raw, off, big_endian).unwrap_or_default();
            let (kind, byte_sz) = (word(4), wide(32));
            let data = if kind == SHT_NOBITS || index == 0 {
                &[]
            } else {
                (wide(24) as usize)
                    .checked_add(byte_sz as usize)
                    .and_then(|end| data.get(wide(24) as usize..end))
                    .ok_or_else(|| bad("a section does not fit"))?
            };
            // Each is copied: sections that share their bytes would make more of a file than there is in it.
            left = left.checked_sub(data.len()).ok_or_else(|| bad("its sections overlap"))?;
            sections.push(Section {
                name: String::new(),
                data: data.to_vec(),
                name_off: word(0),
                kind,
                flags: wide(8),
                address: wide(16),
                byte_sz,
                link: word(40),
                info: word(44),
                align: wide(48),
                entry_sz: wide(56),
            });
        }
        let mut elf = Elf { header, big_endian, sections };
        let names = elf.names().ok_or_else(|| bad("its section names are missing"))?;
        for index in 0..count {
            let rest =
                elf.sections[names].data.get(elf.sections[index].name_off as usize..).unwrap_or_default();
            let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            elf.sections[index].name = String::from_utf8_lossy(name).into_owned();
        }
        Ok(elf)
    }

    /// The number of the section that has the sections' names.
    fn names(&self) -> Option<usize> {
        let index = get::<2>(&self.header, 62, self.big_endian)? as usize;
        (self.sections.get(index)?.kind == SHT_STRTAB).then_some(index)
    }

    /// The first section of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.sections.iter().position(|section| section.name == name)
    }

    /// Adds a section of read-only data and returns its number.
    pub(super) fn add_data(&mut self, name: &str, data: Vec<u8>) -> Result<usize, WriteError> {
        if self.find(name).is_some() {
            return Err(WriteError::Elf(format!("there is a section {name} already")));
        }
        let names =
            self.names().ok_or_else(|| WriteError::Elf("its section names are missing".to_owned()))?;
        // Symbol names may share the table: what is appended moves nothing.
        let table = &mut self.sections[names].data;
        let name_off = table.len() as u32;
        table.extend(name.as_bytes());
        table.push(0);
        self.sections.push(Section {
            name: name.to_owned(),
            byte_sz: data.len() as u64,
            data,
            name_off,
            kind: SHT_PROGBITS,
            flags: SHF_ALLOC,
            address: 0,
            link: 0,
            info: 0,
            align: 8,
            entry_sz: 0,
        });
        Ok(self.sections.len() - 1)
    }

    /// Makes the undefined symbols of that name variables of a section.
    pub(super) fn define(&mut self, name: &str, section: usize, off: u64, byte_sz: u64) {
        let big_endian = self.big_endian;
        let Some(table) = self.sections.iter().position(|section| section.kind == SHT_SYMTAB) else {
            return;
        };
        let Some(strings) =
            self.sections.get(self.sections[table].link as usize).map(|names| names.data.clone())
        else {
            return;
        };
        let mut defined = Vec::new();
        for (index, symbol) in self.sections[table].data.as_chunks_mut::<SYM_SZ>().0.iter_mut().enumerate() {
            let at = get::<4>(symbol, 0, big_endian).unwrap_or_default() as usize;
            let found = strings.get(at..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            if found != Some(name.as_bytes()) || get::<2>(symbol, 6, big_endian) != Some(0) {
                continue;
            }
            symbol[4] = GLOBAL_OBJECT;
            put::<2>(symbol, 6, section as u64, big_endian);
            put::<8>(symbol, 8, off, big_endian);
            put::<8>(symbol, 16, byte_sz, big_endian);
            defined.push(index as u64);
        }
        self.clear_addends(&defined);
    }

    /// Clears what instructions add to these symbols: to an extern it means nothing, to a variable an offset.
    fn clear_addends(&mut self, symbols: &[u64]) {
        let big_endian = self.big_endian;
        let mut places = Vec::new();
        for section in self.sections.iter().filter(|section| section.kind == SHT_REL) {
            for record in section.data.as_chunks::<REL_SZ>().0 {
                let info = get::<8>(record, 8, big_endian).unwrap_or_default();
                if info as u32 == R_BPF_64_64 && symbols.contains(&(info >> 32)) {
                    places.push((section.info as usize, get::<8>(record, 0, big_endian).unwrap_or_default()));
                }
            }
        }
        for (section, off) in places {
            let data = self.sections.get_mut(section).map(|section| &mut section.data);
            let immediate = usize::try_from(off).ok().and_then(|off| data?.get_mut(off..)?.get_mut(4..8));
            if let Some(immediate) = immediate {
                immediate.fill(0);
            }
        }
    }

    /// Moves the ELF relocations of a section whose contents moved; those of what is gone go too.
    pub(super) fn keep_relocations(&mut self, target: usize, moved: impl Fn(u64) -> Option<u64>) {
        let big_endian = self.big_endian;
        for section in &mut self.sections {
            if section.kind != SHT_REL || section.info as usize != target {
                continue;
            }
            let (records, _) = section.data.as_chunks::<REL_SZ>();
            section.data = records
                .iter()
                .filter_map(|record| {
                    let mut record = *record;
                    let off = moved(get::<8>(&record, 0, big_endian)?)?;
                    put::<8>(&mut record, 0, off, big_endian);
                    Some(record)
                })
                .flatten()
                .collect();
        }
    }

    /// Lays the file out.
    pub(super) fn write(mut self) -> Result<Vec<u8>, WriteError> {
        let big_endian = self.big_endian;
        if self.sections.len() >= SHN_LORESERVE {
            return Err(WriteError::Elf(format!("{} sections", self.sections.len())));
        }
        let mut file = self.header.to_vec();
        let mut table = Vec::with_capacity(self.sections.len() * SHDR_SZ);
        for (index, section) in self.sections.iter().enumerate() {
            let mut raw = [0; SHDR_SZ];
            if index > 0 {
                // Larger alignments than a page have no use in a file that is never mapped, and would let it grow.
                let align = section.align.clamp(1, 4096).next_power_of_two() as usize;
                file.resize(file.len().next_multiple_of(align), 0);
            }
            let no_bits = section.kind == SHT_NOBITS || index == 0;
            let byte_sz = if no_bits { section.byte_sz } else { section.data.len() as u64 };
            put::<4>(&mut raw, 0, u64::from(section.name_off), big_endian);
            put::<4>(&mut raw, 4, u64::from(section.kind), big_endian);
            put::<8>(&mut raw, 8, section.flags, big_endian);
            put::<8>(&mut raw, 16, section.address, big_endian);
            put::<8>(&mut raw, 24, if index == 0 { 0 } else { file.len() as u64 }, big_endian);
            put::<8>(&mut raw, 32, byte_sz, big_endian);
            put::<4>(&mut raw, 40, u64::from(section.link), big_endian);
            put::<4>(&mut raw, 44, u64::from(section.info), big_endian);
            put::<8>(&mut raw, 48, section.align, big_endian);
            put::<8>(&mut raw, 56, section.entry_sz, big_endian);
            file.extend(&section.data);
            table.extend(raw);
        }
        file.resize(file.len().next_multiple_of(8), 0);
        put::<8>(&mut self.header, 40, file.len() as u64, big_endian);
        put::<2>(&mut self.header, 60, self.sections.len() as u64, big_endian);
        file[..EHDR_SZ].copy_from_slice(&self.header);
        file.extend(table);
        Ok(file)
    }
}
