//! Packs: BTF in terms of another kernel's BTF, or of nothing.
//!
//! Kernels of one series have nearly the same types and strings under shifted numbers and in another order. A pack says
//! which type of the base stands where (`order`, after `align` found it), what differs in it (`types`), and which
//! strings are new; all that in columns of small numbers (`stream`), which zstd then compresses. BTF that is not laid
//! out as kernels' is (`model` cannot take it apart) is compressed as it is: every pack gives back the exact bytes.

mod align;
mod model;
mod order;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use crate::raw::BtfKind;
use model::Model;
use order::{Columns, NONE};
use std::cmp::Ordering::Equal;
use std::io::Read;
use std::sync::OnceLock;
use stream::{Column, Reader, Writer};
use types::Context;
use zstd::zstd_safe::CParameter;

/// Most bytes of BTF that are packed or unpacked. The largest seen, never deduplicated, has 27 MB.
pub const MAX_BTF_SZ: usize = 128 << 20;

/// Longest chain of packs: one that stands alone, and packs over packs over it. Each takes time at every restore, of which
/// there are 50 ms.
pub const MAX_DEPTH: usize = 6;

const MAGIC: [u8; 4] = *b"PTLP";
const VERSION: u8 = 2;
/// Form of the content: BTF as it is, or types and strings in terms of a base.
const PLAIN: u8 = 0;
const MODEL: u8 = 1;
/// Form of the content: bytes as they are, compressed with the base's bytes as what came before.
const AFTER: u8 = 2;

/// What is wrong with a pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Not a pack, or of another version.
    #[error("not a pack of version {VERSION}, the one that this build knows: add its kernel again")]
    Format,
    /// It ends within a number or a column.
    #[error("the pack is cut short")]
    CutShort,
    /// A number is outside of what it can be.
    #[error("a number of the pack is out of range ({0})")]
    Range(&'static str),
    /// Its compressed part cannot be decompressed, or is larger than it may be.
    #[error("the pack's content cannot be decompressed: {0}")]
    Compression(String),
    /// It was made over a base that is not laid out as kernels' BTF is.
    #[error("the pack's base cannot be taken apart")]
    Base,
    /// What is to be packed is too large.
    #[error("BTF of {0} bytes is larger than {MAX_BTF_SZ}")]
    TooLarge(usize),
}

/// BTF taken out of a pack, or to be put into one; the base of other packs.
#[derive(Debug)]
pub struct Unpacked {
    /// Put together when they are asked for: of a base only the model is needed.
    bytes: OnceLock<Vec<u8>>,
    model: Option<Model>,
}

impl Unpacked {
    /// BTF that was read from elsewhere.
    pub fn btf(bytes: Vec<u8>) -> Unpacked {
        Unpacked { model: Model::read(&bytes), bytes: OnceLock::from(bytes) }
    }

    /// Anything else that is packed: text, tables.
    pub fn other(bytes: Vec<u8>) -> Unpacked {
        Unpacked { model: None, bytes: OnceLock::from(bytes) }
    }

    /// The bytes, exactly as they were packed.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get_or_init(|| self.model.as_ref().map(Model::to_bytes).unwrap_or_default())
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes();
        self.bytes.into_inner().unwrap_or_default()
    }

    /// Whether packs can be made over it.
    pub fn is_base(&self) -> bool {
        self.model.is_some()
    }
}

/// Packs `btf`, in terms of `base` where one is given and has anything in common.
pub fn pack(btf: &Unpacked, base: Option<&Unpacked>) -> Result<Vec<u8>, PackError> {
    if btf.bytes().len() > MAX_BTF_SZ {
        return Err(PackError::TooLarge(btf.bytes().len()));
    }
    let empty = Model::empty();
    let model_base = base.map_or(Some(&empty), |base| base.model.as_ref());
    if let (Some(model), Some(over)) = (&btf.model, model_base)
        && (over.len() == 0 || model.big_endian == over.big_endian)
        && let Some(content) = write(model, over)
    {
        let packed = seal(MODEL, &content, &[])?;
        // Made by guesses: read back once, and kept as it is if that does not give the same bytes.
        if unpack(&packed, base).is_ok_and(|back| back.bytes() == btf.bytes()) {
            return Ok(packed);
        }
    }
    match base {
        Some(base) => seal(AFTER, btf.bytes(), base.bytes()),
        None => seal(PLAIN, btf.bytes(), &[]),
    }
}

/// Takes BTF out of a pack; `base` is the one that it was packed over.
pub fn unpack(packed: &[u8], base: Option<&Unpacked>) -> Result<Unpacked, PackError> {
    let (form, content) = open(packed, base)?;
    if form != MODEL {
        return Ok(Unpacked::btf(content));
    }
    let empty = Model::empty();
    let base = base.map_or(Ok(&empty), |base| base.model.as_ref().ok_or(PackError::Base))?;
    Ok(Unpacked { model: Some(read(&content, base)?), bytes: OnceLock::new() })
}

/// Header and compressed content.
fn seal(form: u8, content: &[u8], before: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut packed = MAGIC.to_vec();
    packed.extend([VERSION, form, 0, 0]);
    packed.extend((content.len() as u32).to_le_bytes());
    let level = if content.len() > LARGE { LEVEL_OF_LARGE } else { LEVEL };
    let compress = || {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        if !before.is_empty() {
            // All of what came before has to be within reach to the end.
            let window = (before.len() + content.len()).next_power_of_two().trailing_zeros();
            compressor.set_parameter(CParameter::WindowLog(window.clamp(10, MAX_WINDOW)))?;
            compressor.set_parameter(CParameter::EnableLongDistanceMatching(content.len() > LARGE))?;
            let reached = compressor.context_mut().ref_prefix(before);
            reached.map_err(|code| std::io::Error::other(zstd::zstd_safe::get_error_name(code)))?;
        }
        compressor.compress(content)
    };
    let compressed = compress();
    packed.extend(compressed.map_err(|error| PackError::Compression(error.to_string()))?);
    Ok(packed)
}

/// Level of zstd: packs are written once and read often.
const LEVEL: i32 = 19;
/// Level for what is so large that the highest would take seconds.
const LEVEL_OF_LARGE: i32 = 12;
/// Bytes from which on content is large.
const LARGE: usize = 4 << 20;
/// Binary logarithm of the longest distance that zstd's readers allow without being told to.
const MAX_WINDOW: u32 = 27;

/// Form and content of a pack.
fn open(packed: &[u8], base: Option<&Unpacked>) -> Result<(u8, Vec<u8>), PackError> {
    let (header, compressed) = packed.split_at_checked(12).ok_or(PackError::CutShort)?;
    let form = header[5];
    if header[..4] != MAGIC || header[4] != VERSION || form > AFTER {
        return Err(PackError::Format);
    }
    let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if len > MAX_BTF_SZ {
        return Err(PackError::TooLarge(len));
    }
    let before = if form == AFTER { base.ok_or(PackError::Base)?.bytes() } else { &[] };
    let failed = |error: std::io::Error| PackError::Compression(error.to_string());
    let mut content = Vec::new();
    // The length is only a claim: memory grows with what there really is.
    let decoder = zstd::stream::read::Decoder::with_ref_prefix(compressed, before).map_err(failed)?;
    decoder.take(len as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() != len {
        return Err(PackError::Compression(format!("{} bytes, not {len}", content.len())));
    }
    Ok((form, content))
}

const TYPES: Columns = Columns { run: Column::TypeRun, turn: Column::TypeTurn, jump: Column::TypeJump };
const STRINGS: Columns =
    Columns { run: Column::StringRun, turn: Column::StringTurn, jump: Column::StringJump };

/// Bits of the flags: the base's types are looked at in the order of their names.
const BY_NAME: u64 = 1;
/// Strings are ordered by their first use in the types, not after the base's order.
const BY_USE: u64 = 2;

/// The order in which the base's types are expected: `order[place] = type`.
fn expected(base: &Model, by_name: bool) -> Vec<u32> {
    let mut order: Vec<u32> = (1..base.len() as u32).collect();
    if by_name {
        // Most names differ in their first bytes: they are compared as one number.
        let name = |ty: &u32| base.string(base.ty(*ty as usize)[0]);
        let mut keyed: Vec<(u64, u32)> = order.iter().map(|ty| (beginning(name(ty)), *ty)).collect();
        keyed.sort_by(|(a, x), (b, y)| {
            a.cmp(b).then_with(|| if *a == 0 { Equal } else { name(x).cmp(name(y)) })
        });
        order = keyed.into_iter().map(|(_, ty)| ty).collect();
    }
    order
}

/// The first eight bytes of a name, ordered as names are.
fn beginning(name: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = name.len().min(8);
    word[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(word)
}

/// For each place of `order` the place that comes before it if it is still free: a function's prototype.
fn prototypes(base: &Model, order: &[u32], places: &[u32]) -> Vec<u32> {
    let of = |ty: &u32| match base.kind(*ty as usize) {
        BtfKind::Func => places.get(base.ty(*ty as usize)[2] as usize).copied().unwrap_or(NONE),
        _ => NONE,
    };
    order.iter().map(of).collect()
}

/// The place of each type; `NONE` for void.
fn places(base: &Model, order: &[u32]) -> Vec<u32> {
    let mut places = vec![NONE; base.len()];
    order.iter().enumerate().for_each(|(place, ty)| places[*ty as usize] = place as u32);
    places
}

/// The content of a pack, or `None` where strings are repeated so that a name does not tell which one is meant.
fn write(model: &Model, base: &Model) -> Option<Vec<u8>> {
    let by_name = model.sorted() && !base.sorted();
    let order = expected(base, by_name);
    let rank = places(base, &order);
    let aligned = align::align(model, base, &rank);
    let by_use = write_with(model, base, &order, &rank, &aligned, by_name, true);
    let by_base = write_with(model, base, &order, &rank, &aligned, by_name, false);
    [by_use, by_base].into_iter().flatten().min_by_key(Vec::len)
}

fn write_with(
    model: &Model,
    base: &Model,
    order: &[u32],
    rank: &[u32],
    aligned: &[Option<u32>],
    by_name: bool,
    by_use: bool,
) -> Option<Vec<u8>> {
    let names = Names::of(model, base, by_use)?;
    let mut out = Writer::default();
    out.put(Column::Head, (u64::from(by_name) * BY_NAME) | (u64::from(by_use) * BY_USE));
    out.put(Column::Head, u64::from(model.big_endian));
    for part in [&model.before, &model.between, &model.behind] {
        out.put(Column::Head, part.len() as u64);
        for byte in part {
            out.put(Column::Head, u64::from(*byte));
        }
    }
    out.put(Column::Head, model.len() as u64);
    out.put(Column::Head, model.strings.len() as u64);
    out.put(Column::Head, names.new.len() as u64);
    let sequence: Vec<_> = aligned[1..].iter().map(|of| of.map(|of| rank[of as usize])).collect();
    order::write(&mut out, TYPES, order.len(), &prototypes(base, order, rank), &sequence);
    let mut context = Context::new(base, &aligned[1..]);
    let mut unedited = 0;
    let mut ty = Vec::new();
    for (id, of) in aligned.iter().enumerate().skip(1) {
        ty.clear();
        ty.extend_from_slice(model.ty(id));
        let (kind, _) = model::split_info(ty[1]);
        model::for_names(&mut ty, &model::Shape::of(kind)?, |name| *name = names.to_common[*name as usize]);
        match *of {
            None => types::write_new(&mut context, &mut out, id, &ty),
            Some(of) if types::difference(&context, &ty, of) == 0 => unedited += 1,
            Some(of) => {
                out.put(Column::Edit, std::mem::take(&mut unedited));
                types::write_edit(&mut context, &mut out, id, &ty, of);
            }
        }
    }
    out.put(Column::Edit, unedited);
    let strings: Vec<_> = if by_use {
        let mut places = vec![NONE; base.strings.len() + names.new.len()];
        names.used.iter().enumerate().for_each(|(place, name)| places[*name as usize] = place as u32);
        names.to_common[1..].iter().map(|name| Some(places[*name as usize])).collect()
    } else {
        names.to_common[1..].iter().map(|name| Some(*name).filter(|name| *name < context.new_names)).collect()
    };
    let places = if by_use { names.used.len() } else { base.strings.len() };
    order::write(&mut out, STRINGS, places, &[], &strings);
    let mut text = Vec::new();
    for new in &names.new {
        text.extend_from_slice(model.string(*new));
        text.push(0);
    }
    Some(out.finish(&text))
}

/// The strings of a model under numbers that both sides know: the base's, then the new ones.
struct Names {
    /// The common number of each of the model's strings.
    to_common: Vec<u32>,
    /// The model's numbers of the new ones, in their order.
    new: Vec<u32>,
    /// Common numbers in the order of their first use.
    used: Vec<u32>,
}

impl Names {
    fn of(model: &Model, base: &Model, by_use: bool) -> Option<Names> {
        let mut theirs = std::collections::HashMap::with_capacity(base.strings.len());
        for number in 0..base.strings.len() as u32 {
            theirs.insert(base.string(number), number);
        }
        let count = model.strings.len();
        if count == 0 || !model.string(0).is_empty() {
            return None;
        }
        let mut by_first_use = Vec::with_capacity(count);
        let mut seen = vec![false; count];
        seen[0] = true;
        for id in 1..model.len() {
            let mut ty = model.ty(id).to_vec();
            model::for_names(&mut ty, &model::Shape::of(model.kind(id))?, |name| {
                if !std::mem::replace(&mut seen[*name as usize], true) {
                    by_first_use.push(*name);
                }
            });
        }
        if by_use && by_first_use.len() + 1 != count {
            return None;
        }
        let mut to_common = vec![u32::MAX; count];
        let mut taken = vec![false; base.strings.len()];
        for (number, common) in to_common.iter_mut().enumerate() {
            if let Some(their) = theirs.get(model.string(number as u32)) {
                if std::mem::replace(&mut taken[*their as usize], true) {
                    return None;
                }
                *common = *their;
            }
        }
        let in_table: Vec<u32> = (1..count as u32).collect();
        let mut new = Vec::new();
        for number in if by_use { &by_first_use } else { &in_table } {
            if to_common[*number as usize] == u32::MAX {
                to_common[*number as usize] = (base.strings.len() + new.len()) as u32;
                new.push(*number);
            }
        }
        let used = by_first_use.iter().map(|name| to_common[*name as usize]).collect();
        Some(Names { to_common, new, used })
    }
}

/// Reads what [`write`] wrote.
fn read(content: &[u8], base: &Model) -> Result<Model, PackError> {
    let mut input = Reader::new(content)?;
    let flags = input.get(Column::Head)?;
    let mut model = Model { big_endian: input.get(Column::Head)? != 0, ..Model::default() };
    for part in [&mut model.before, &mut model.between, &mut model.behind] {
        for _ in 0..input.get(Column::Head)? {
            part.push(input.get(Column::Head)? as u8);
        }
    }
    let mut count = |what, most: usize| {
        let count = input.get(Column::Head)? as usize;
        if count <= most { Ok(count) } else { Err(PackError::Range(what)) }
    };
    let type_count = count("types", MAX_BTF_SZ / 12)?.max(1);
    let string_count = count("strings", MAX_BTF_SZ)?;
    let new_count = count("new strings", string_count)?;
    let order = expected(base, flags & BY_NAME != 0);
    let first = prototypes(base, &order, &places(base, &order));
    let sequence = order::read(&mut input, TYPES, order.len(), &first, type_count - 1)?;
    let sequence: Vec<_> = sequence.iter().map(|place| place.map(|place| order[place as usize])).collect();
    let mut context = Context::new(base, &sequence);
    model.words.reserve(base.words.len());
    model.starts = Vec::with_capacity(type_count + 1);
    model.starts.extend([0, 0]);
    let mut unedited = input.get(Column::Edit)?;
    for (index, of) in sequence.iter().enumerate() {
        match of {
            None => types::read_new(&mut context, &mut input, index + 1, &mut model.words)?,
            Some(of) if unedited > 0 => {
                unedited -= 1;
                types::copy(&context, *of, &mut model.words);
            }
            Some(of) => {
                types::read_edit(&mut context, &mut input, index + 1, *of, &mut model.words)?;
                unedited = input.get(Column::Edit)?;
            }
        }
        if model.words.len() > MAX_BTF_SZ / 4 {
            return Err(PackError::TooLarge(model.words.len() * 4));
        }
        model.starts.push(model.words.len() as u32);
    }
    read_strings(&mut input, &mut model, base, string_count, new_count, flags & BY_USE != 0)?;
    if !input.is_empty() {
        return Err(PackError::Range("columns"));
    }
    Ok(model)
}

/// Gives every name of `model`'s types its number in the string table, and reads the table.
fn read_strings(
    input: &mut Reader,
    model: &mut Model,
    base: &Model,
    count: usize,
    new_count: usize,
    by_use: bool,
) -> Result<(), PackError> {
    let old = base.strings.len();
    let new: Vec<&[u8]> = input.text.split_inclusive(|byte| *byte == 0).collect();
    if new.len() != new_count || count == 0 || new.last().is_some_and(|last| last.last() != Some(&0)) {
        return Err(PackError::Range("new strings"));
    }
    // Common number to number in the table.
    let mut numbers = vec![NONE; old + new.len()];
    numbers[0] = 0;
    let wrong = || PackError::Range("a string");
    let common: Vec<u32> = if by_use {
        let mut used = Vec::new();
        let mut seen = vec![false; numbers.len()];
        seen[0] = true;
        let mut known = true;
        each_name(model, |name| match seen.get_mut(*name as usize) {
            Some(seen) if !*seen => {
                *seen = true;
                used.push(*name);
            }
            Some(_) => {}
            None => known = false,
        });
        if !known {
            return Err(wrong());
        }
        let sequence = order::read(input, STRINGS, used.len(), &[], count - 1)?;
        let common = sequence.iter().map(|place| place.map(|place| used[place as usize]));
        common.collect::<Option<_>>().ok_or_else(wrong)?
    } else {
        let sequence = order::read(input, STRINGS, old, &[], count - 1)?;
        let mut next = old as u32..(old + new.len()) as u32;
        sequence.iter().map(|place| place.or_else(|| next.next())).collect::<Option<_>>().ok_or_else(wrong)?
    };
    model.strings = Vec::with_capacity(count);
    model.strings.push(0);
    model.text.reserve(base.text.len() + input.text.len());
    model.text.push(0);
    let mut rest = &common[..];
    while let Some(first) = rest.first() {
        let first = *first as usize;
        let text = if let Some(number) = first.checked_sub(old) {
            numbers[first] = model.strings.len() as u32;
            model.strings.push(model.text.len() as u32);
            rest = &rest[1..];
            new[number]
        } else {
            // What stands together in the base is copied together.
            let run = rest.iter().zip(first..old).take_while(|(name, next)| **name as usize == *next).count();
            let (begin, moved) = (base.strings[first], model.text.len() as u32);
            for (number, start) in numbers[first..first + run].iter_mut().zip(&base.strings[first..]) {
                *number = model.strings.len() as u32;
                model.strings.push(start - begin + moved);
            }
            rest = &rest[run..];
            let end = base.strings.get(first + run).map_or(base.text.len(), |end| *end as usize);
            &base.text[begin as usize..end]
        };
        model.text.extend_from_slice(text);
        if model.text.len() > MAX_BTF_SZ {
            return Err(PackError::TooLarge(model.text.len()));
        }
    }
    let mut known = true;
    each_name(model, |name| {
        *name = numbers.get(*name as usize).copied().unwrap_or(NONE);
        known &= *name != NONE;
    });
    if known { Ok(()) } else { Err(wrong()) }
}

/// Calls `f` on every name of every type.
fn each_name(model: &mut Model, mut f: impl FnMut(&mut u32)) {
    let mut rest = &mut model.words[..];
    while let Some((name, info)) = rest.split_at_mut_checked(2) {
        f(&mut name[0]);
        let (kind, vlen) = model::split_info(name[1]);
        // Third word and elements, as `Shape` has them.
        let (fixed, width, named) = match kind {
            BtfKind::Struct | BtfKind::Union | BtfKind::Enum64 => (1, 3, true),
            BtfKind::Enum | BtfKind::FuncProto => (1, 2, true),
            BtfKind::Datasec => (1, 3, false),
            BtfKind::Array => (4, 0, false),
            BtfKind::Int | BtfKind::Var | BtfKind::DeclTag => (2, 0, false),
            _ => (1, 0, false),
        };
        let (elements, behind) = info[fixed..].split_at_mut(width * vlen);
        if named {
            elements.iter_mut().step_by(width).for_each(&mut f);
        }
        rest = behind;
    }
}
