//! Linking: each entry gets the subprograms it reaches appended behind its own instructions, in the order in which they
//! are first called, depth first; that is the order in which libbpf's `bpf_object__reloc_code()` lays them out.

use super::elf::{File, Reloc, Section, Symbol};
use super::{Entry, Extern, ExternRef, Function, MapDef, MapRef, ObjectError, SectionKind, TextRelo};
use crate::btf::{Btf, BtfKind};
use crate::ext::{BtfExt, CoreReloRecord, LineInfo, within};
use crate::insn::{
    CALL, INSN_SZ, Insn, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_KFUNC_CALL, PSEUDO_MAP_VALUE,
};
use crate::uapi::MapType;
use std::collections::HashMap;

/// The most instructions an entry may have once linked: `BPF_COMPLEXITY_LIMIT_INSNS` of include/linux/bpf.h.
pub(super) const MAX_INSNS: usize = 1_000_000;
/// The most instructions that all entries of one object may have in sum, so that a small file cannot ask for much.
const MAX_INSNS_IN_ALL: usize = 8 * MAX_INSNS;
/// The deepest chain of calls that is followed; the kernel allows `MAX_CALL_FRAMES` (8), and says so better.
const MAX_CALL_DEPTH: usize = 64;

/// `R_BPF_64_64`: a 64-bit immediate in an `ldimm64`.
const R_BPF_64_64: u32 = 1;
/// `R_BPF_64_32`: the 32-bit immediate of a call.
const R_BPF_64_32: u32 = 10;

/// Where compilers put the targets of jumps by a register: offsets in the section of the jump, 8 bytes each.
const JUMP_TABLES: &str = ".jumptables";
const JUMP_TARGET_SZ: u64 = 8;

/// A function of the file: where its bytes are.
#[derive(Clone, Copy)]
struct Span<'a> {
    name: &'a str,
    section: usize,
    start: u64,
    end: u64,
    global: bool,
    hidden: bool,
}

/// What the linker looks things up in.
struct Linker<'f, 'a> {
    file: &'f File<'a>,
    ext: &'f BtfExt,
    btf: Option<&'f Btf>,
    /// Functions by (section, start).
    functions: HashMap<(usize, u64), Span<'a>>,
    /// Maps by place, as indices into the object's maps.
    maps: HashMap<(usize, u64), usize>,
    /// The map that holds the variables of `.addr_space.1`.
    arena: Option<usize>,
    data_sections: HashMap<usize, usize>,
    externs: HashMap<&'f str, usize>,
    /// Names of exception callbacks by the name of the entry.
    callbacks: HashMap<&'f str, Vec<&'f str>>,
    /// Functions of `.text` by name, where there are exception callbacks; `None` for several of one name.
    named: HashMap<&'a str, Option<Span<'a>>>,
}

/// Reads and links every program of the file.
pub(super) fn entries(
    file: &File,
    ext: &BtfExt,
    btf: Option<&Btf>,
    maps: &[MapDef],
    externs: &[Extern],
) -> Result<Vec<Entry>, ObjectError> {
    let mut spans: Vec<Span> = file
        .symbols
        .iter()
        .filter(|symbol| symbol.is_func)
        .filter_map(|symbol| {
            let section = symbol.section.filter(|index| file.sections[*index].executable)?;
            let end = symbol.value.checked_add(symbol.byte_sz)?;
            let (start, global, hidden) = (symbol.value, symbol.global, symbol.hidden);
            Some(Span { name: symbol.name, section, start, end, global, hidden })
        })
        .collect();
    spans.sort_by_key(|span| (span.section, span.start));
    for span in &spans {
        let section = &file.sections[span.section];
        if span.end > section.data.len() as u64
            || span.start % 8 != 0
            || span.end % 8 != 0
            || span.start == span.end
        {
            let what = format!("function {} spans bytes {}..{}", span.name, span.start, span.end);
            return Err(ObjectError::Section { section: section.name.to_owned(), what });
        }
    }
    let mut linker = Linker {
        file,
        ext,
        btf,
        functions: spans.iter().map(|span| ((span.section, span.start), *span)).collect(),
        maps: maps
            .iter()
            .enumerate()
            .filter(|(_, map)| map.data.is_none())
            .map(|(n, map)| (map.place, n))
            .collect(),
        arena: maps.iter().position(|map| map.map_type == MapType::ARENA),
        data_sections: maps
            .iter()
            .enumerate()
            .filter(|(_, map)| map.data.is_some())
            .map(|(n, map)| (map.place.0, n))
            .collect(),
        externs: externs.iter().enumerate().map(|(n, ext)| (ext.name.as_str(), n)).collect(),
        callbacks: btf.map(callbacks).unwrap_or_default(),
        named: HashMap::new(),
    };
    if !linker.callbacks.is_empty() {
        for span in spans.iter().filter(|span| file.sections[span.section].name == ".text") {
            linker.named.entry(span.name).and_modify(|known| *known = None).or_insert(Some(*span));
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_all = 0;
    for span in spans.iter().filter(|span| file.sections[span.section].name != ".text") {
        if !span.global {
            let section = file.sections[span.section].name.to_owned();
            let what = format!(
                "function {} is static; a program must be global, as every loader demands",
                span.name
            );
            return Err(ObjectError::Section { section, what });
        }
        let entry = linker.link(*span)?;
        in_all += entry.insns.len();
        if in_all > MAX_INSNS_IN_ALL {
            return Err(ObjectError::TooManyInsns { entry: entry.name });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Names of exception callbacks by the name of the function whose declaration is tagged with them.
fn callbacks(btf: &Btf) -> HashMap<&str, Vec<&str>> {
    let mut callbacks: HashMap<&str, Vec<&str>> = HashMap::new();
    for tag in btf.own_ids().map(|id| btf.ty(id)).filter(|ty| ty.kind() == BtfKind::DeclTag) {
        // -1: of the declaration itself, not of a parameter.
        let Some(name) =
            tag.name().strip_prefix("exception_callback:").filter(|_| tag.extra() == Some(u32::MAX))
        else {
            continue;
        };
        callbacks.entry(btf.ty(tag.type_id()).name()).or_default().push(name);
    }
    callbacks
}

/// The CO-RE relocations of the functions in `.text`.
pub(super) fn text_relos(file: &File, ext: &BtfExt) -> Vec<TextRelo> {
    let Some(index) = file.sections.iter().position(|section| section.name == ".text" && section.executable)
    else {
        return Vec::new();
    };
    let functions = file.symbols.iter().filter(|symbol| symbol.is_func && symbol.section == Some(index));
    let mut spans: Vec<_> =
        functions.map(|symbol| (symbol.value, symbol.value.saturating_add(symbol.byte_sz))).collect();
    spans.sort_unstable();
    spans.dedup_by(|next, before| {
        let joins = next.0 <= before.1;
        before.1 = if joins { before.1.max(next.1) } else { before.1 };
        joins
    });
    let in_a_function = |off: u64| {
        let after = spans.partition_point(|(start, _)| *start <= off);
        after > 0 && off < spans[after - 1].1
    };
    let relos = ext.core_relos.get(".text").map_or(&[][..], Vec::as_slice).iter();
    let insn = |off: usize| {
        let bytes = file.sections[index].data.get(off..off + INSN_SZ)?;
        Some(Insn::read(bytes.try_into().ok()?, file.big_endian))
    };
    relos
        // What belongs to no function was left behind when a weak one lost against another of its name.
        .filter(|relo| in_a_function(u64::from(relo.byte_off)))
        .filter_map(|relo| {
            let off = relo.byte_off as usize;
            Some(TextRelo { record: *relo, insns: [insn(off)?, insn(off + INSN_SZ).unwrap_or_default()] })
        })
        .collect()
}

/// An entry under construction.
struct Building {
    entry: Entry,
    /// Where each function was appended.
    placed: HashMap<(usize, u64), usize>,
}

/// Whether a symbol is a table of jumps as a map can be made of it.
fn check_table(symbol: &Symbol, section: &Section) -> Result<(), String> {
    let Symbol { name, value, byte_sz, .. } = symbol;
    let fits = value.checked_add(*byte_sz).is_some_and(|end| end <= section.data.len() as u64);
    if fits && *byte_sz > 0 && value % JUMP_TARGET_SZ == 0 && byte_sz % JUMP_TARGET_SZ == 0 {
        return Ok(());
    }
    Err(format!(
        "refers to {name:?}, which is no table of jumps: {byte_sz} bytes at byte {value} of {JUMP_TABLES}"
    ))
}

impl<'a> Linker<'_, 'a> {
    fn link(&self, span: Span<'a>) -> Result<Entry, ObjectError> {
        let section = self.file.sections[span.section].name;
        let mut building = Building {
            entry: Entry {
                name: span.name.to_owned(),
                section: section.to_owned(),
                kind: SectionKind::from_name(section),
                autoload: !section.starts_with('?'),
                insns: Vec::new(),
                functions: Vec::new(),
                map_refs: Vec::new(),
                extern_refs: Vec::new(),
                core_relos: Vec::new(),
                lines: Vec::new(),
            },
            placed: HashMap::new(),
        };
        self.append(&mut building, span, 0)?;
        if let Some(callback) = self.exception_callback(span)?
            && !building.placed.contains_key(&(callback.section, callback.start))
        {
            self.append(&mut building, callback, 0)?;
        }
        Ok(building.entry)
    }

    /// The function that a declaration tag of the entry, `exception_callback:NAME`, makes the kernel call when the
    /// entry throws: libbpf's `bpf_prog_assign_exc_cb()`. With several tags the verifier refuses the entry.
    fn exception_callback(&self, entry: Span) -> Result<Option<Span<'a>>, ObjectError> {
        let Some(name) = self.callbacks.get(entry.name).and_then(|names| match names[..] {
            [name] => Some(name),
            _ => None,
        }) else {
            return Ok(None);
        };
        match self.named.get(name).copied().flatten() {
            Some(callback) if callback.global && !callback.hidden => Ok(Some(callback)),
            _ => Err(ObjectError::Section {
                section: self.file.sections[entry.section].name.to_owned(),
                what: format!("the exception callback {name} of {} is not one global function", entry.name),
            }),
        }
    }

    /// Appends one function, then those it calls that are not there yet, and resolves its calls.
    fn append(&self, building: &mut Building, span: Span<'a>, depth: usize) -> Result<(), ObjectError> {
        let section = &self.file.sections[span.section];
        let bad = |off: u64, what: String| ObjectError::Section {
            section: section.name.to_owned(),
            what: format!("instruction at byte {off}: {what}"),
        };
        if depth > MAX_CALL_DEPTH {
            return Err(bad(span.start, format!("calls nest deeper than {MAX_CALL_DEPTH}")));
        }
        let base = building.entry.insns.len();
        let bytes = &section.data[span.start as usize..span.end as usize];
        if base + bytes.len() / INSN_SZ > MAX_INSNS {
            return Err(ObjectError::TooManyInsns { entry: building.entry.name.clone() });
        }
        building.placed.insert((span.section, span.start), base);
        let (insns, _) = bytes.as_chunks::<INSN_SZ>();
        building.entry.insns.extend(insns.iter().map(|insn| Insn::read(insn, self.file.big_endian)));
        self.copy_records(building, &span, base);

        // Looked up one by one: functions may overlap, and each would gather the same relocations anew.
        let reloc_at = |off: u64| {
            let after = section.relocs.partition_point(|reloc| reloc.byte_off <= off);
            section.relocs[..after].last().filter(|reloc| reloc.byte_off == off)
        };
        let mut skip = false;
        for index in base..base + insns.len() {
            if std::mem::take(&mut skip) {
                continue;
            }
            let off = span.start + ((index - base) * INSN_SZ) as u64;
            let insn = building.entry.insns[index];
            if insn.is_ld_imm64() {
                if index + 1 == base + insns.len() {
                    return Err(bad(off, "a 64-bit load without its second half".to_owned()));
                }
                skip = true;
            }
            let target = match reloc_at(off) {
                Some(reloc) => self.apply(building, section, reloc, index).map_err(|what| bad(off, what))?,
                None if insn.code == CALL && insn.src == PSEUDO_CALL => {
                    let target = off as i64 + INSN_SZ as i64 * (i64::from(insn.imm) + 1);
                    Some((span.section, target as u64))
                }
                None => None,
            };
            let Some(target) = target else { continue };
            let at = if let Some(at) = building.placed.get(&target) {
                *at
            } else {
                let called = self.functions.get(&target).copied().ok_or_else(|| {
                    let section = self.file.sections[target.0].name;
                    bad(off, format!("refers to byte {} of {section}, where no function begins", target.1))
                })?;
                let at = building.entry.insns.len();
                self.append(building, called, depth + 1)?;
                at
            };
            building.entry.insns[index].imm = (at as i64 - index as i64 - 1) as i32;
        }
        Ok(())
    }

    /// Applies one relocation; a reference to a function is returned as its place.
    fn apply(
        &self,
        building: &mut Building,
        section: &Section,
        reloc: &Reloc,
        index: usize,
    ) -> Result<Option<(usize, u64)>, String> {
        let symbol = self.file.symbol(reloc.symbol, section).map_err(|error| error.to_string())?;
        let entry = &mut building.entry;
        let insn = entry.insns[index];
        match (reloc.kind, insn.code) {
            (R_BPF_64_32, CALL) | (R_BPF_64_64, LD_IMM64) => {}
            (kind, code) => {
                return Err(format!("relocation of kind {kind} on an instruction of code {code:#04x}"));
            }
        }
        if symbol.is_extern() {
            let Some(ext) = self.externs.get(symbol.name) else {
                return Err(format!(
                    "refers to {:?}, which is neither defined nor declared in BTF",
                    symbol.name
                ));
            };
            if insn.code == CALL {
                entry.insns[index].src = PSEUDO_KFUNC_CALL;
                entry.insns[index].imm = 0;
            }
            entry.extern_refs.push(ExternRef { insn_off: index, ext: *ext });
            return Ok(None);
        }
        let Some(target) = symbol.section else {
            return Err(format!("refers to {:?} of no section", symbol.name));
        };
        let addend = i64::from(insn.imm);
        if insn.code == CALL {
            // Calls through a section's symbol carry the target in the immediate, minus one instruction.
            let off = if symbol.is_section { (addend + 1) * INSN_SZ as i64 } else { symbol.value as i64 };
            return Ok(Some((target, off as u64)));
        }
        if self.file.sections[target].executable {
            let off = if symbol.is_section { addend } else { symbol.value as i64 };
            entry.insns[index].src = PSEUDO_FUNC;
            entry.insns[index + 1].imm = 0;
            return Ok(Some((target, off as u64)));
        }
        if let Some(map) = self.data_sections.get(&target) {
            let off = (symbol.value as i64).wrapping_add(addend);
            let value_off = u32::try_from(off).map_err(|_| format!("refers to byte {off} of global data"))?;
            entry.map_refs.push(MapRef { insn_off: index, map: *map, value_off: Some(value_off) });
            return Ok(None);
        }
        if self.file.sections[target].name.starts_with(".addr_space.") {
            // libbpf puts them at the start of the arena, since 1.7 at its end where the kernel can address that.
            let map = self.arena.ok_or("refers to a variable in an arena, and there is no arena")?;
            let off = (symbol.value as i64).wrapping_add(addend) as u32;
            entry.map_refs.push(MapRef { insn_off: index, map, value_off: Some(off) });
            return Ok(None);
        }
        if self.file.sections[target].name == JUMP_TABLES {
            // libbpf makes a map of the table when it loads the entry, since 1.7 (`create_jt_map()`).
            check_table(symbol, &self.file.sections[target])?;
            entry.insns[index].src = PSEUDO_MAP_VALUE;
            return Ok(None);
        }
        let place = (target, symbol.value.wrapping_add_signed(addend));
        let Some(map) = self.maps.get(&place) else {
            let section = self.file.sections[target].name;
            return Err(format!(
                "refers to byte {} of section {section}, where no map or variable is",
                place.1
            ));
        };
        entry.map_refs.push(MapRef { insn_off: index, map: *map, value_off: None });
        Ok(None)
    }

    /// Takes over what `.BTF.ext` says of a function, with offsets counted in the linked entry.
    fn copy_records(&self, building: &mut Building, span: &Span, base: usize) {
        let section = self.file.sections[span.section].name;
        let bytes = span.start..span.end;
        // The file is at most MAX_OBJECT_SZ and the entry MAX_INSNS long: offsets fit in 32 bits.
        let moved = |byte_off: u32| (u64::from(byte_off) - span.start + (base * INSN_SZ) as u64) as u32;
        let entry = &mut building.entry;
        let funcs =
            self.ext.funcs.get(section).map_or(&[][..], |funcs| within(funcs, |func| func.byte_off, &bytes));
        let type_id =
            funcs.first().filter(|func| u64::from(func.byte_off) == span.start).map(|func| func.type_id);
        // BTF_FUNC_GLOBAL is 1 in `vlen`.
        let linkage =
            type_id.and_then(|id| self.btf.map(|btf| btf.ty(id))).filter(|ty| ty.kind() == BtfKind::Func);
        entry.functions.push(Function {
            name: span.name.to_owned(),
            insn_off: base,
            type_id,
            global: linkage.map_or(span.global, |ty| ty.vlen() == 1),
        });
        if let Some(lines) = self.ext.lines.get(section) {
            let lines = within(lines, |line| line.byte_off, &bytes).iter();
            entry.lines.extend(lines.map(|line| LineInfo { byte_off: moved(line.byte_off), ..*line }));
        }
        if let Some(relos) = self.ext.core_relos.get(section) {
            let relos = within(relos, |relo| relo.byte_off, &bytes).iter();
            entry
                .core_relos
                .extend(relos.map(|relo| CoreReloRecord { byte_off: moved(relo.byte_off), ..*relo }));
        }
    }
}
