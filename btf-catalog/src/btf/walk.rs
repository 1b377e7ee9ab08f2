//! The one pass over all types that [`Btf::parse`](super::Btf::parse) makes.
//!
//! It has to touch every word of the types, so it is written for good BTF: of names and references it keeps the largest
//! alone, without a branch on the kind, and where one of these is out of bounds a second walk finds the type to blame.
//! Kinds and numbers of elements come in no order that a processor could foresee: the words of a small type, which nine in
//! ten are, are therefore looked at side by side, whatever they are, and where a type ends is computed from its `info`.

use super::header::Header;
use super::{Btf, BtfError, TypeId};
use crate::raw::{BtfKind, INFO_KIND, INFO_VLEN, TYPE_SZ, u32_at};

/// The largest string offset and type id that were seen.
#[derive(Clone, Copy, Default)]
struct Largest {
    name: u32,
    refer: u32,
}

/// What of a kind's words are names and references, as masks.
#[derive(Clone, Copy)]
struct Shape {
    /// Bytes of `btf_type` and what always follows it.
    fixed: usize,
    /// Bytes of an element.
    each: usize,
    /// Distance of what is looked at behind `btf_type`: `each`, or 12 for an array, whose one record is no element. Never 0
    /// where there is anything.
    stride: usize,
    /// Whether it is an enumeration.
    enumerates: bool,
    /// `btf_type.type` is a reference.
    refers: u32,
    /// The first word of an element is a name.
    names: u32,
    /// The first word of an element is a reference.
    first_refers: u32,
    /// The second word of an element is a reference.
    second_refers: u32,
}

/// Words that a processor takes at once.
const LANES: usize = 4;
/// Words of a type that are looked at side by side, in groups of so many.
const GROUPS: usize = 3;
const SIDE: usize = GROUPS * LANES;
/// Numbers of elements that are told apart there, from 0 on: as many as fit.
const FEW: usize = 5;
/// Kinds that are told apart there: more than there are.
const KINDS: usize = 32;

/// Which of a type's first words are names and which are references, as masks.
#[derive(Clone, Copy)]
struct Words {
    names: Side,
    refers: Side,
}

/// The first words of a type, or what is known of each.
type Side = [[u32; LANES]; GROUPS];

/// Raises each of `largest` to the word that stands there, where the mask lets it through.
#[inline]
fn raise(largest: &mut Side, words: &Side, masks: &Side) {
    for (largest, (words, masks)) in largest.iter_mut().zip(words.iter().zip(masks)) {
        *largest = std::array::from_fn(|lane| largest[lane].max(words[lane] & masks[lane]));
    }
}

/// By raw kind and number of elements. A kind that this build does not know has a name of its own and nothing else.
static WORDS: [[Words; FEW]; KINDS] = words();

const fn words() -> [[Words; FEW]; KINDS] {
    const NO_WORD: Side = [[0; LANES]; GROUPS];
    let shapes = shapes();
    let mut words = [[Words { names: NO_WORD, refers: NO_WORD }; FEW]; KINDS];
    let mut raw = 0;
    while raw < KINDS {
        let shape = shapes[raw];
        let mut vlen = 0;
        while vlen < FEW {
            let of_type = &mut words[raw][vlen];
            of_type.names[0][0] = u32::MAX;
            of_type.refers[0][2] = shape.refers;
            let byte_sz = shape.fixed + shape.each * vlen;
            let mut at = TYPE_SZ;
            while at + 8 <= byte_sz && byte_sz <= SIDE * 4 {
                let (first, second) = (at / 4, at / 4 + 1);
                of_type.names[first / LANES][first % LANES] = shape.names;
                of_type.refers[first / LANES][first % LANES] = shape.first_refers;
                of_type.refers[second / LANES][second % LANES] = shape.second_refers;
                at += shape.stride;
            }
            vlen += 1;
        }
        raw += 1;
    }
    words
}

/// Words that always follow `btf_type`, two bits a kind.
const FIXED: u64 = two_bits_a_kind(false);
/// Words of an element, two bits a kind.
const EACH: u64 = two_bits_a_kind(true);

const fn two_bits_a_kind(of_element: bool) -> u64 {
    let shapes = shapes();
    let (mut bits, mut raw) = (0, 0);
    while raw < shapes.len() {
        let Shape { fixed, each, .. } = shapes[raw];
        if fixed > 0 {
            let words = if of_element { each } else { fixed - TYPE_SZ } / 4;
            assert!(raw < KINDS && words < 4);
            bits |= (words as u64) << (raw * 2);
        }
        raw += 1;
    }
    bits
}

/// Bytes of a type of a known kind.
fn byte_sz_of(info: u32) -> usize {
    let twice_kind = info >> 23 & (KINDS as u32 * 2 - 2);
    let words = |bits: u64| (bits >> twice_kind & 3) as usize;
    TYPE_SZ + 4 * (words(FIXED) + words(EACH) * (info & INFO_VLEN) as usize)
}

/// By raw kind. `void`, which no type may have, and what this build does not know have `fixed` 0.
static SHAPES: [Shape; 128] = shapes();

const fn shapes() -> [Shape; 128] {
    const NONE: Shape =
        // Nothing of a kind is looked at that only its layout record tells the size of.
        Shape {
            fixed: 0,
            each: 0,
            stride: usize::MAX,
            enumerates: false,
            refers: 0,
            names: 0,
            first_refers: 0,
            second_refers: 0,
        };
    const fn mask(yes: bool) -> u32 {
        if yes { u32::MAX } else { 0 }
    }
    let mut shapes = [NONE; 128];
    let mut raw = 1;
    while raw < shapes.len() {
        let kind = BtfKind::from_raw(raw as u8);
        if let Some((fixed, each)) = kind.tail() {
            use BtfKind as K;
            shapes[raw] = Shape {
                fixed: TYPE_SZ + fixed,
                each,
                stride: if matches!(kind, K::Array) { fixed } else { each },
                enumerates: matches!(kind, K::Enum | K::Enum64),
                refers: mask(kind.refers()),
                names: mask(matches!(kind, K::Struct | K::Union | K::Enum | K::Enum64 | K::FuncProto)),
                first_refers: mask(matches!(kind, K::Datasec | K::Array)),
                second_refers: mask(matches!(kind, K::Struct | K::Union | K::FuncProto | K::Array)),
            };
        }
        raw += 1;
    }
    shapes
}

/// Word number `index` of `bytes`, in the byte order of the BTF.
fn word<const BIG: bool>(bytes: &[u8], index: usize) -> u32 {
    let word = bytes[index * 4..index * 4 + 4].try_into().expect("four bytes");
    if BIG { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
}

impl Btf {
    /// Finds every type and checks its size, its names and its references.
    pub(super) fn walk(&mut self, header: &Header) -> Result<(), BtfError> {
        if self.base.is_none() {
            // void has no bytes; its offset is never read.
            self.offsets.push(0);
        }
        let data = self.data.clone();
        let largest = if self.big_endian {
            self.walk_in_order::<true>(&data, header)?
        } else {
            self.walk_in_order::<false>(&data, header)?
        };
        let names_end = u64::from(self.first_str) + self.strings.len() as u64;
        if u64::from(largest.name) >= names_end.max(1) {
            let is_out = |seen: Largest| u64::from(seen.name) >= names_end;
            return Err(self.out_of_bounds(&data, is_out, |seen| {
                format!("name at byte {} of {names_end} bytes of strings", seen.name)
            }));
        }
        // Behind an unknown kind without a layout record types may exist that cannot be seen: references to them stay.
        let count = self.type_count();
        if largest.refer >= count && self.stopped.is_none() {
            let is_out = |seen: Largest| seen.refer >= count;
            return Err(self.out_of_bounds(&data, is_out, |seen| {
                format!("refers to type {}, the last is {}", seen.refer, count - 1)
            }));
        }
        Ok(())
    }

    fn walk_in_order<const BIG: bool>(&mut self, data: &[u8], header: &Header) -> Result<Largest, BtfError> {
        let types = &data[..header.types.end];
        let mut largest = Largest::default();
        let (mut names, mut refers) = (Side::default(), Side::default());
        let mut at = header.types.start;
        while at < types.len() {
            let left = &types[at..];
            let bad = |what: String| BtfError::Type { id: self.type_count(), off: at, what };
            let Some(head) = left.first_chunk::<TYPE_SZ>() else {
                return Err(bad(format!("needs {TYPE_SZ} bytes, {} are left", left.len())));
            };
            let info = word::<BIG>(head, 1);
            let raw_kind = (info >> 24 & INFO_KIND) as usize;
            let vlen = (info & INFO_VLEN) as usize;
            let shape = &SHAPES[raw_kind];
            let byte_sz = match shape.fixed {
                0 if raw_kind == 0 => return Err(bad("has kind 0".to_owned())),
                0 => {
                    let Some((fixed, each)) = header.layout_of(data, raw_kind as u8) else {
                        self.stopped = Some((TypeId(self.type_count()), raw_kind as u8));
                        break;
                    };
                    TYPE_SZ + fixed + each * vlen
                }
                _ => byte_sz_of(info),
            };
            let Some(ty) = left.get(..byte_sz) else {
                let name = BtfKind::from_raw(raw_kind as u8).name();
                return Err(bad(format!("{name} of {byte_sz} bytes, {} are left", left.len())));
            };
            self.counts[raw_kind] += 1;
            if shape.enumerates {
                self.enums.push(TypeId(self.type_count()));
            }
            self.offsets.push(at as u32);
            match left.first_chunk::<{ SIDE * 4 }>() {
                Some(side) if byte_sz <= side.len() && shape.fixed > 0 => {
                    let words = &WORDS[raw_kind % KINDS][vlen.min(FEW - 1)];
                    let side = std::array::from_fn(|group| {
                        std::array::from_fn(|lane| word::<BIG>(side, group * LANES + lane))
                    });
                    raise(&mut names, &side, &words.names);
                    raise(&mut refers, &side, &words.refers);
                }
                _ => largest = look_at::<BIG>(shape, ty, largest),
            }
            at += byte_sz;
        }
        let names = names.into_iter().flatten().fold(largest.name, u32::max);
        let refers = refers.into_iter().flatten().fold(largest.refer, u32::max);
        Ok(Largest { name: names, refer: refers })
    }

    /// The error for a name or a reference out of bounds: the first type that has one.
    fn out_of_bounds(
        &self,
        data: &[u8],
        is_out: impl Fn(Largest) -> bool,
        what: impl Fn(Largest) -> String,
    ) -> BtfError {
        let look = if self.big_endian { look_at::<true> } else { look_at::<false> };
        for id in self.own_ids() {
            let ty = self.ty(id);
            let shape = &SHAPES[ty.kind() as usize];
            let bytes = &data[ty.off..ty.off + shape.fixed.max(TYPE_SZ) + shape.each * ty.vlen()];
            let seen = look(shape, bytes, Largest::default());
            if is_out(seen) {
                return BtfError::Type { id: id.0, off: ty.off, what: what(seen) };
            }
        }
        unreachable!("called only when a type is out of bounds")
    }
}

/// Takes the names and references of one type, whose bytes are all of `ty`, into account.
#[inline]
fn look_at<const BIG: bool>(shape: &Shape, ty: &[u8], mut largest: Largest) -> Largest {
    largest.name = largest.name.max(word::<BIG>(ty, 0));
    largest.refer = largest.refer.max(word::<BIG>(ty, 2) & shape.refers);
    let mut rest = &ty[TYPE_SZ..];
    while let Some(element) = rest.first_chunk::<8>() {
        let (first, second) = (word::<BIG>(element, 0), word::<BIG>(element, 1));
        largest.name = largest.name.max(first & shape.names);
        largest.refer = largest.refer.max(first & shape.first_refers).max(second & shape.second_refers);
        rest = rest.get(shape.stride..).unwrap_or_default();
    }
    largest
}

/// Puts other names and references into the type that `bytes` begin with; the kind is the error if it is unknown.
pub(super) fn rewrite(
    bytes: &mut [u8],
    big_endian: bool,
    name: impl Fn(u32) -> u32,
    refer: impl Fn(u32) -> u32,
) -> Result<(), u8> {
    let info = u32_at(bytes, 4, big_endian);
    let raw_kind = (info >> 24 & INFO_KIND) as u8;
    let (shape, vlen) = (&SHAPES[raw_kind as usize], (info & INFO_VLEN) as usize);
    if shape.fixed == 0 {
        return Err(raw_kind);
    }
    let mut change = |off: usize, to: &dyn Fn(u32) -> u32| {
        let word = to(u32_at(bytes, off, big_endian));
        bytes[off..off + 4].copy_from_slice(&if big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        });
    };
    change(0, &name);
    if shape.refers != 0 {
        change(8, &refer);
    }
    let end = shape.fixed + shape.each * vlen;
    for off in (TYPE_SZ..end).step_by(shape.stride.max(1)) {
        if shape.names != 0 {
            change(off, &name);
        }
        if shape.first_refers != 0 {
            change(off, &refer);
        }
        if shape.second_refers != 0 {
            change(off + 4, &refer);
        }
    }
    Ok(())
}
