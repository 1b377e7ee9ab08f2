//! The ELF file underneath: sections, symbols and relocations by index, all bounds checked by the `object` crate.

use super::ObjectError;
use object::elf::{
    EM_BPF, SHN_COMMON, SHT_NOBITS, SHT_PROGBITS, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_SECTION, STV_HIDDEN,
    STV_INTERNAL,
};
use object::read::elf::{ElfFile64, FileHeader as _};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, SectionFlags,
    SymbolFlags,
};

/// Bytes of a symbol's or a section's name: many may share one long name, and each look at it costs all of it.
const MAX_NAME_SZ: usize = 16 << 10;
/// Bytes of `Elf64_Rel`, the smallest record of a relocation.
const REL_SZ: usize = 16;

/// A parsed ELF file.
pub(super) struct File<'a> {
    pub(super) big_endian: bool,
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
}

/// A section, at its ELF index in [`File::sections`].
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) data: &'a [u8],
    /// Size in bytes, also of a section without data in the file.
    pub(super) byte_sz: u64,
    pub(super) executable: bool,
    pub(super) nobits: bool,
    /// By offset.
    pub(super) relocs: Vec<Reloc>,
}

/// A symbol, at its ELF index in [`File::symbols`].
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a symbol")]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    /// Index of its section; `None` for undefined, absolute and common symbols.
    pub(super) section: Option<usize>,
    pub(super) value: u64,
    pub(super) byte_sz: u64,
    pub(super) is_func: bool,
    pub(super) is_section: bool,
    /// Without a type: what an undefined symbol is.
    pub(super) is_untyped: bool,
    pub(super) undefined: bool,
    pub(super) weak: bool,
    pub(super) global: bool,
    /// Of hidden or internal visibility.
    pub(super) hidden: bool,
}

/// A relocation record.
#[derive(Clone, Copy)]
pub(super) struct Reloc {
    /// Bytes from the start of the section it applies to.
    pub(super) byte_off: u64,
    /// `R_BPF_*`.
    pub(super) kind: u32,
    /// Index into [`File::symbols`].
    pub(super) symbol: usize,
}

impl<'a> File<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<File<'a>, ObjectError> {
        let elf = ElfFile64::<Endianness>::parse(data)?;
        let endian = elf.endian();
        let machine = elf.elf_header().e_machine(endian);
        if machine != EM_BPF {
            return Err(ObjectError::Machine(machine));
        }
        // Indices of sections and symbols start at 1; place 0 stands for none.
        let mut file = File {
            big_endian: endian == Endianness::Big,
            sections: vec![Section::none()],
            symbols: Vec::new(),
        };
        let bad = |section: &str, what: String| ObjectError::Section { section: section.to_owned(), what };
        let mut relocs_left = data.len() / REL_SZ;
        for section in elf.sections() {
            let index = section.index().0;
            file.sections.resize_with(file.sections.len().max(index + 1), Section::none);
            let SectionFlags::Elf { sh_flags } = section.flags() else {
                continue;
            };
            let raw = section.elf_section_header();
            let kind = raw.sh_type.get(endian);
            let mut relocs = Vec::new();
            let name = section.name()?;
            if name.len() > MAX_NAME_SZ {
                return Err(bad(".shstrtab", format!("section {index} has a name of {} bytes", name.len())));
            }
            for (byte_off, reloc) in section.relocations() {
                // Tables that share their bytes would make more of a file than there is in it.
                relocs_left = relocs_left
                    .checked_sub(1)
                    .ok_or_else(|| bad(name, "has more relocations than fit into the file".to_owned()))?;
                let object::RelocationTarget::Symbol(symbol) = reloc.target() else {
                    continue;
                };
                let RelocationFlags::Elf { r_type } = reloc.flags() else {
                    continue;
                };
                relocs.push(Reloc { byte_off, kind: r_type, symbol: symbol.0 });
            }
            relocs.sort_by_key(|reloc| reloc.byte_off);
            file.sections[index] = Section {
                name,
                data: if kind == SHT_NOBITS { &[] } else { section.data()? },
                byte_sz: section.size(),
                executable: sh_flags & u64::from(object::elf::SHF_EXECINSTR) != 0 && kind == SHT_PROGBITS,
                nobits: kind == SHT_NOBITS,
                relocs,
            };
        }
        for symbol in elf.symbols() {
            let index = symbol.index().0;
            file.symbols.resize_with(file.symbols.len().max(index + 1), Symbol::none);
            let raw = symbol.elf_symbol();
            let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else {
                continue;
            };
            let section = symbol.section_index().map(|index| index.0);
            if section.is_some_and(|section| section >= file.sections.len()) {
                let what =
                    format!("symbol {index} lies in section {}, which does not exist", section.unwrap_or(0));
                return Err(bad(".symtab", what));
            }
            let name = symbol.name()?;
            if name.len() > MAX_NAME_SZ {
                return Err(bad(".strtab", format!("symbol {index} has a name of {} bytes", name.len())));
            }
            file.symbols[index] = Symbol {
                name,
                section,
                value: symbol.address(),
                byte_sz: symbol.size(),
                is_func: st_info & 0xf == STT_FUNC,
                is_section: st_info & 0xf == STT_SECTION,
                is_untyped: st_info & 0xf == STT_NOTYPE,
                undefined: symbol.is_undefined() && raw.st_shndx.get(endian) != SHN_COMMON,
                weak: st_info >> 4 == STB_WEAK,
                global: symbol.is_global(),
                hidden: matches!(st_other & 3, STV_HIDDEN | STV_INTERNAL),
            };
        }
        Ok(file)
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The symbol at that index of the symbol table.
    pub(super) fn symbol(&self, index: usize, section: &Section) -> Result<&Symbol<'a>, ObjectError> {
        self.symbols.get(index).ok_or_else(|| ObjectError::Section {
            section: section.name.to_owned(),
            what: format!("a relocation refers to symbol {index}, which does not exist"),
        })
    }
}

impl Section<'_> {
    fn none() -> Self {
        Section { name: "", data: &[], byte_sz: 0, executable: false, nobits: false, relocs: Vec::new() }
    }
}

impl Symbol<'_> {
    /// Whether others must provide it: libbpf's `sym_is_extern()`.
    pub(super) fn is_extern(&self) -> bool {
        self.undefined && (self.global || self.weak) && self.is_untyped && !self.name.is_empty()
    }

    fn none() -> Self {
        Symbol {
            name: "",
            section: None,
            value: 0,
            byte_sz: 0,
            is_func: false,
            is_section: false,
            is_untyped: false,
            undefined: false,
            weak: false,
            global: false,
            hidden: false,
        }
    }
}
