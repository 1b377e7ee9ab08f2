//! Maps: those that BTF defines in `.maps`, those of the time before it, and global data sections.
//!
//! How a map is written down in `.maps`: each member of the map's struct is either a pointer to an array, whose length is
//! the number meant, or a pointer to a type (`parse_btf_map_def()` of tools/lib/bpf/libbpf.c).
//!
//! Before BTF a map was a structure of numbers in a section `maps`. libbpf takes it no more since 1.0; cilium/ebpf and
//! aya do, and loaders of their own (gobpf's `maps/NAME`, v4l-utils' `lirc_mode2/maps`, iproute2).

use super::ObjectError;
use super::elf::{File, Section};
use crate::btf::{Btf, BtfKind, Member, Type, TypeId};
use crate::uapi::MapType;
use bytes::Bytes;
use std::collections::HashMap;

/// `BPF_F_RDONLY_PROG`.
pub(crate) const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_WRONLY_PROG`.
pub(crate) const F_WRONLY_PROG: u32 = 1 << 8;
/// Bytes of global data that are read of an object, in all its sections; clang's objects have a few hundred.
const MAX_DATA_SZ: u64 = 64 << 20;

/// A map that an object defines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapDef {
    /// Its name; a global data section's is the section's (`.rodata`).
    pub name: String,
    /// `enum bpf_map_type`.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Largest number of entries; bytes for a ring buffer; 0 means that the loader chooses.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// `map_extra`: the number of hash functions of a bloom filter, the address of an arena.
    pub map_extra: u64,
    /// NUMA node that its memory is wanted from.
    pub numa_node: Option<u32>,
    /// Type of a key in the object's BTF.
    pub key_type: Option<TypeId>,
    /// Type of a value in the object's BTF.
    pub value_type: Option<TypeId>,
    /// Where it wants to be pinned. portolan never pins; bpffs is a requirement then.
    pub pinning: Pinning,
    /// The map inside a map of maps.
    pub inner: Option<Box<MapDef>>,
    /// The initial value of a global data section.
    pub data: Option<Bytes>,
    /// Whether user space cannot write it once it is loaded (`BPF_MAP_FREEZE`).
    pub frozen: bool,
    /// Whether it is defined without types, in a section `maps`, which not all loaders read.
    pub untyped: bool,
    /// Index of its ELF section and its offset there: what a relocation names it by.
    pub(super) place: (usize, u64),
}

/// Whether a map is shared by its path in bpffs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pinning {
    /// Not at all.
    #[default]
    None,
    /// `LIBBPF_PIN_BY_NAME`.
    ByName,
}

/// All maps: those of `.maps` in the order of their offsets, then the global data sections.
pub(super) fn read(file: &File, btf: Option<&Btf>) -> Result<Vec<MapDef>, ObjectError> {
    let mut maps = Vec::new();
    let untyped_maps = definitions(file);
    if let Some(((section, _), ..)) = untyped_maps.get(MAX_UNTYPED) {
        let section = file.sections[*section].name.to_owned();
        return Err(ObjectError::Section { section, what: format!("defines more than {MAX_UNTYPED} maps") });
    }
    for (place, name, bytes) in untyped_maps {
        maps.push(untyped(file, place, name, bytes)?);
    }
    if let Some(section) = file.sections.iter().position(|section| section.name == ".maps") {
        let missing =
            || ObjectError::Section { section: ".maps".to_owned(), what: "its BTF is missing".to_owned() };
        let btf = btf.ok_or_else(missing)?;
        let datasec = btf.ty(btf.find_by_name_kind(".maps", BtfKind::Datasec).ok_or_else(missing)?);
        for (var, off, _) in datasec.secinfos() {
            let var = btf.ty(var);
            let map = definition(btf, var.name(), btf.resolve(var.type_id()), 0)?;
            maps.push(MapDef { place: (section, u64::from(off)), ..map });
        }
    }
    // By name once: a file may have many sections and many types.
    let mut types: HashMap<&str, TypeId> = HashMap::new();
    for ty in btf.into_iter().flat_map(|btf| btf.own_ids().map(|id| btf.ty(id))) {
        if ty.kind() == BtfKind::Datasec {
            types.entry(ty.name()).or_insert(ty.id());
        }
    }
    let mut left = MAX_DATA_SZ;
    for (index, section) in file.sections.iter().enumerate().filter(|(_, section)| is_data(section)) {
        left = left.checked_sub(section.byte_sz).ok_or_else(|| ObjectError::Section {
            section: section.name.to_owned(),
            what: format!("passes the {MAX_DATA_SZ} bytes of global data that are read of an object"),
        })?;
        maps.push(MapDef { place: (index, 0), ..global_data(section, types.get(section.name).copied()) });
    }
    Ok(maps)
}

/// Bytes of the numbers that all loaders' structures begin with: type, key size, value size, entries.
const UNTYPED_SZ: usize = 16;

/// The most maps without types that an object may have, so that symbols which share a long name cannot ask for much.
const MAX_UNTYPED: usize = 4096;

/// Whether maps are defined in a section without types: as aya and cilium/ebpf have it, and v4l-utils' `TYPE/maps`.
fn is_untyped(section: &Section) -> bool {
    let named = section.name.starts_with("maps") || section.name.ends_with("/maps");
    named && !section.executable && !section.data.is_empty()
}

/// A map by its definition: behind the numbers that all structures begin with most have the flags.
fn untyped(file: &File, place: (usize, u64), name: &str, bytes: &[u8]) -> Result<MapDef, ObjectError> {
    let (words, _) = bytes.as_chunks::<4>();
    let word = |at: usize| {
        let word = words.get(at).copied().unwrap_or_default();
        if file.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    let bad = |what: String| ObjectError::Map { map: name.to_owned(), what };
    if bytes.len() < UNTYPED_SZ {
        return Err(bad(format!("is defined by {} bytes, less than {UNTYPED_SZ}", bytes.len())));
    }
    if word(0) == 0 {
        return Err(bad("has no type".to_owned()));
    }
    Ok(MapDef {
        name: name.to_owned(),
        map_type: MapType(word(0)),
        key_size: word(1),
        value_size: word(2),
        max_entries: word(3),
        flags: word(4),
        untyped: true,
        place,
        ..MapDef::default()
    })
}

/// The definitions in all such sections: index of the section and offset in it, name, and the bytes up to the next.
fn definitions<'a>(file: &File<'a>) -> Vec<((usize, u64), &'a str, &'a [u8])> {
    let symbols = file.symbols.iter().filter(|symbol| !symbol.is_section);
    let places = symbols.filter_map(|symbol| {
        let section = symbol.section.filter(|index| is_untyped(&file.sections[*index]))?;
        Some(((section, symbol.value), symbol.name))
    });
    let mut places: Vec<((usize, u64), &str)> = places.collect();
    places.sort_unstable();
    places.dedup_by_key(|(place, _)| *place);
    let bytes = |number: usize| {
        let (section, start) = places[number].0;
        let data = file.sections[section].data;
        let next = places.get(number + 1).filter(|((of, _), _)| *of == section);
        let end = next.map_or(data.len(), |((_, start), _)| *start as usize);
        data.get(start as usize..end).unwrap_or_default()
    };
    places.iter().enumerate().map(|(number, &(place, name))| (place, name, bytes(number))).collect()
}

/// The sections whose definitions say more of their maps than is read: what follows the flags is each loader's own.
pub(super) fn said_to_the_loader<'a>(file: &File<'a>) -> Vec<&'a str> {
    let says_more = |bytes: &[u8]| bytes.iter().skip(UNTYPED_SZ + 4).any(|byte| *byte != 0);
    let more = definitions(file).into_iter().filter(|(.., bytes)| says_more(bytes));
    let mut sections: Vec<usize> = more.map(|((section, _), ..)| section).collect();
    sections.dedup();
    sections.into_iter().map(|section| file.sections[section].name).collect()
}

/// Whether a section becomes a map of global data: `.data`, `.rodata`, `.bss` and what begins with these and a dot.
fn is_data(section: &Section) -> bool {
    section.byte_sz > 0
        && [".data", ".rodata", ".bss"].iter().any(|prefix| {
            section.name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

fn global_data(section: &Section, value_type: Option<TypeId>) -> MapDef {
    let frozen = section.name.starts_with(".rodata");
    let data = if section.nobits {
        Bytes::from(vec![0; section.byte_sz as usize])
    } else {
        Bytes::copy_from_slice(section.data)
    };
    MapDef {
        name: section.name.to_owned(),
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: section.byte_sz as u32,
        max_entries: 1,
        // libbpf also maps the section where the kernel knows how (v5.5); without skeletons nobody does here.
        flags: if frozen { F_RDONLY_PROG } else { 0 },
        value_type,
        data: Some(data),
        frozen,
        ..MapDef::default()
    }
}

fn definition(btf: &Btf, name: &str, def: Type, depth: usize) -> Result<MapDef, ObjectError> {
    let bad = |what: String| ObjectError::Map { map: name.to_owned(), what };
    if def.kind() != BtfKind::Struct {
        return Err(bad(format!("is defined by a {}, not by a struct", def.kind().name())));
    }
    let mut map = MapDef { name: name.to_owned(), ..MapDef::default() };
    for member in def.members() {
        match member.name {
            "type" => map.map_type = MapType(number(btf, &member).map_err(bad)?),
            "max_entries" => map.max_entries = number(btf, &member).map_err(bad)?,
            "map_flags" => map.flags = number(btf, &member).map_err(bad)?,
            "numa_node" => map.numa_node = Some(number(btf, &member).map_err(bad)?),
            "map_extra" => map.map_extra = wide_number(btf, &member).map_err(bad)?,
            "key_size" => map.key_size = number(btf, &member).map_err(bad)?,
            "value_size" => map.value_size = number(btf, &member).map_err(bad)?,
            "key" => (map.key_type, map.key_size) = sized(btf, &member).map_err(bad)?,
            "value" => (map.value_type, map.value_size) = sized(btf, &member).map_err(bad)?,
            "pinning" => {
                map.pinning = match number(btf, &member).map_err(bad)? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    other => return Err(bad(format!("unknown pinning {other}"))),
                }
            }
            "values" => {
                let array =
                    btf.resolve(member.ty).array().ok_or_else(|| bad("values is not an array".to_owned()))?;
                let pointee = btf.resolve(btf.resolve(array.elem).type_id());
                // An array of pointers to functions fills a program array; to a struct, it describes inner maps.
                if pointee.kind() == BtfKind::Struct {
                    if depth > 0 {
                        return Err(bad("a map of maps inside a map of maps".to_owned()));
                    }
                    map.inner =
                        Some(Box::new(definition(btf, &format!("{name}.inner"), pointee, depth + 1)?));
                }
                map.value_size = 4;
            }
            other => return Err(bad(format!("unknown field {other:?}"))),
        }
    }
    if map.map_type == MapType::UNSPEC {
        return Err(bad("has no type".to_owned()));
    }
    Ok(map)
}

/// The number of `__uint(field, n)`: a pointer to an array of `n`.
fn number(btf: &Btf, member: &Member) -> Result<u32, String> {
    let pointer = btf.resolve(member.ty);
    btf.resolve(pointer.type_id())
        .array()
        .filter(|_| pointer.kind() == BtfKind::Ptr)
        .map(|array| array.nelems)
        .ok_or_else(|| format!("field {:?} is not a number", member.name))
}

/// The number of `__ulong(field, n)`, the only value of an enumeration, or of `__uint`.
fn wide_number(btf: &Btf, member: &Member) -> Result<u64, String> {
    match btf.resolve(member.ty).enumerators().next() {
        Some(only) => Ok(only.value),
        None => number(btf, member).map(u64::from),
    }
}

/// The type of `__type(field, t)`, a pointer to `t`, and its size.
fn sized(btf: &Btf, member: &Member) -> Result<(Option<TypeId>, u32), String> {
    let pointer = btf.resolve(member.ty);
    if pointer.kind() != BtfKind::Ptr {
        return Err(format!("field {:?} is not a type", member.name));
    }
    let id = pointer.type_id();
    let size = btf.size_of(id).ok_or_else(|| format!("the type of {:?} has no size", member.name))?;
    Ok((Some(id), size))
}
