//! BTF as words, each with its role, and names as numbers of strings: what two kernels have in common can be said in it.

use crate::raw::{BtfKind, HEADER_SZ, INFO_KIND, INFO_VLEN, MAGIC, u16_at, u32_at};
use std::ops::Range;

/// What a word of a type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The number of a string.
    Name,
    /// The number of a type.
    Ref,
    /// Anything else.
    Value,
}

/// Roles of the words of a kind behind name and info: the third word, the fixed ones after it, those of each element.
pub(super) struct Shape {
    pub(super) third: Role,
    pub(super) fixed: &'static [Role],
    pub(super) element: &'static [Role],
}

impl Shape {
    /// The shape of a kind, `None` if it is not known.
    pub(super) fn of(kind: BtfKind) -> Option<Shape> {
        use Role::{Name, Ref, Value};
        let (fixed, element): (&[Role], &[Role]) = match kind {
            BtfKind::Void | BtfKind::Unknown => return None,
            BtfKind::Int | BtfKind::Var | BtfKind::DeclTag => (&[Value], &[]),
            BtfKind::Array => (&[Ref, Ref, Value], &[]),
            BtfKind::Struct | BtfKind::Union => (&[], &[Name, Ref, Value]),
            BtfKind::Enum => (&[], &[Name, Value]),
            BtfKind::Enum64 => (&[], &[Name, Value, Value]),
            BtfKind::FuncProto => (&[], &[Name, Ref]),
            BtfKind::Datasec => (&[], &[Ref, Value, Value]),
            _ => (&[], &[]),
        };
        Some(Shape { third: if kind.refers() { Ref } else { Value }, fixed, element })
    }
}

/// BTF that stands alone, taken apart so that it can be put together again byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) big_endian: bool,
    /// Bytes before the types, between types and strings, and behind the strings.
    pub(super) before: Vec<u8>,
    pub(super) between: Vec<u8>,
    pub(super) behind: Vec<u8>,
    /// All strings, each with its NUL, and where each begins.
    pub(super) text: Vec<u8>,
    pub(super) strings: Vec<u32>,
    /// All types, names as numbers of strings, and where each begins; void has no words.
    pub(super) words: Vec<u32>,
    pub(super) starts: Vec<u32>,
}

impl Model {
    /// What packs that stand alone are made over: one string, the empty one, and no type.
    pub(super) fn empty() -> Model {
        Model { text: vec![0], strings: vec![0], ..Model::default() }
    }

    /// Takes BTF apart; `None` where it is not laid out as compilers and the kernel's build lay it out.
    pub(super) fn read(data: &[u8]) -> Option<Model> {
        if data.len() < HEADER_SZ || u32::try_from(data.len()).is_err() {
            return None;
        }
        let big_endian = match u16_at(data, 0, false) {
            MAGIC => false,
            magic if magic.swap_bytes() == MAGIC => true,
            _ => return None,
        };
        let header = u32_at(data, 4, big_endian) as usize;
        let section = |field| {
            let start = header.checked_add(u32_at(data, field, big_endian) as usize)?;
            let end = start.checked_add(u32_at(data, field + 4, big_endian) as usize)?;
            (start >= HEADER_SZ && end <= data.len()).then_some(start..end)
        };
        let (types, strings): (Range<usize>, Range<usize>) = (section(8)?, section(16)?);
        if types.end > strings.start || !types.len().is_multiple_of(4) {
            return None;
        }
        let text = data[strings.clone()].to_vec();
        if text.last() != Some(&0) {
            return None;
        }
        let mut numbers = vec![u32::MAX; text.len()];
        let mut begins = vec![0];
        begins.extend(memchr::memchr_iter(0, &text).map(|end| end as u32 + 1));
        begins.pop();
        for (number, begin) in begins.iter().enumerate() {
            numbers[*begin as usize] = number as u32;
        }
        let mut words: Vec<u32> =
            data[types.clone()].chunks_exact(4).map(|word| u32_at(word, 0, big_endian)).collect();
        let mut starts = vec![0, 0];
        let mut at = 0;
        while at < words.len() {
            let info = *words.get(at + 1)?;
            let (kind, vlen) = split_info(info);
            let shape = Shape::of(kind)?;
            let end = at + 3 + shape.fixed.len() + shape.element.len() * vlen;
            let ty = words.get_mut(at..end)?;
            let mut known = true;
            for_names(ty, &shape, |name| {
                *name = numbers.get(*name as usize).copied().unwrap_or(u32::MAX);
                known &= *name != u32::MAX;
            });
            if !known {
                return None;
            }
            starts.push(end as u32);
            at = end;
        }
        Some(Model {
            big_endian,
            before: data[..types.start].to_vec(),
            between: data[types.end..strings.start].to_vec(),
            behind: data[strings.end..].to_vec(),
            text,
            strings: begins,
            words,
            starts,
        })
    }

    /// Puts the bytes together again.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sizes = [self.before.len(), self.words.len() * 4, self.between.len(), self.text.len()];
        let mut bytes = Vec::with_capacity(sizes.iter().sum::<usize>() + self.behind.len());
        bytes.extend_from_slice(&self.before);
        let mut put = |word: u32| {
            bytes.extend(if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
        };
        for ty in 1..self.len() {
            let ty = self.ty(ty);
            let (kind, _) = split_info(ty[1]);
            let name = |word: u32| self.strings.get(word as usize).copied().unwrap_or(0);
            put(name(ty[0]));
            put(ty[1]);
            put(ty[2]);
            match kind {
                BtfKind::Struct | BtfKind::Union | BtfKind::Enum64 => {
                    for element in ty[3..].as_chunks::<3>().0 {
                        put(name(element[0]));
                        put(element[1]);
                        put(element[2]);
                    }
                }
                BtfKind::Enum | BtfKind::FuncProto => {
                    for element in ty[3..].as_chunks::<2>().0 {
                        put(name(element[0]));
                        put(element[1]);
                    }
                }
                _ => ty[3..].iter().copied().for_each(&mut put),
            }
        }
        bytes.extend_from_slice(&self.between);
        bytes.extend_from_slice(&self.text);
        bytes.extend_from_slice(&self.behind);
        bytes
    }

    /// Types, `void` included.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The words of type `id`.
    pub(super) fn ty(&self, id: usize) -> &[u32] {
        &self.words[self.starts[id] as usize..self.starts[id + 1] as usize]
    }

    /// The kind of type `id`.
    pub(super) fn kind(&self, id: usize) -> BtfKind {
        self.ty(id).get(1).map_or(BtfKind::Void, |info| split_info(*info).0)
    }

    /// String number `number`, without its NUL.
    pub(super) fn string(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let end = self.strings.get(number + 1).map_or(self.text.len(), |next| *next as usize);
        &self.text[self.strings[number] as usize..end - 1]
    }

    /// Whether named types stand in the order of their names, behind the anonymous ones (kernels since v7.0).
    pub(super) fn sorted(&self) -> bool {
        let mut names = (1..self.len()).map(|ty| self.string(self.ty(ty)[0]));
        let mut last: &[u8] = b"";
        names.all(|name| std::mem::replace(&mut last, name) <= name)
    }
}

/// Kind and number of elements.
pub(super) fn split_info(info: u32) -> (BtfKind, usize) {
    (BtfKind::from_raw((info >> 24 & INFO_KIND) as u8), (info & INFO_VLEN) as usize)
}

/// Calls `f` on every name of a type.
pub(super) fn for_names(ty: &mut [u32], shape: &Shape, mut f: impl FnMut(&mut u32)) {
    f(&mut ty[0]);
    if shape.element.first() == Some(&Role::Name) {
        ty[3 + shape.fixed.len()..].iter_mut().step_by(shape.element.len()).for_each(f);
    }
}
