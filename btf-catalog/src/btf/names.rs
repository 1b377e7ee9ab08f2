//! Finding types by name, and what an essential name is.
//!
//! BTF of kernels since v7.0 is sorted by name; there a type is found by bisection. That it *is* sorted is verified name by
//! name at the first look-up, since a type in the wrong place would be taken for absent. Any other BTF gets a hash table
//! over essential names.

use super::{Btf, TypeId, essential_name};
use crate::raw::{BtfKind, INFO_KIND, u32_at};
use memchr::memchr;
use std::cmp::Ordering;

/// What a name may be the name of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Types in C's sense.
    Types,
    /// Functions, variables and data sections.
    Values,
}

impl Space {
    pub(super) const fn of(kind: BtfKind) -> Space {
        match kind {
            BtfKind::Func | BtfKind::Var | BtfKind::Datasec => Space::Values,
            _ => Space::Types,
        }
    }
}

/// A type's id, and where its name is among the strings.
type Named = [u32; 2];

/// How a BTF's own types of one name space are found by name.
pub(super) enum NameIndex {
    /// The named types, whose names ascend with their ids.
    Sorted(Vec<Named>),
    /// Any order.
    Hashed(NameTable),
}

impl NameIndex {
    pub(super) fn build(btf: &Btf, space: Space) -> NameIndex {
        let named = named(btf, space);
        if is_sorted(btf, &named) {
            NameIndex::Sorted(named)
        } else {
            NameIndex::Hashed(NameTable::build(btf, &named))
        }
    }

    /// Types that may have the essential name `name`, all that have it among them, ascending by id.
    pub(super) fn candidates<'a>(
        &'a self,
        btf: &'a Btf,
        name: &'a str,
    ) -> impl Iterator<Item = TypeId> + use<'a> {
        let (exact, flavoured, chain) = match self {
            NameIndex::Sorted(sorted) => {
                let (exact, flavoured) = with_name(btf, sorted, name.as_bytes());
                (exact, flavoured, None)
            }
            NameIndex::Hashed(table) => (&[][..], &[][..], Some(table.chain(name))),
        };
        let ids = exact.iter().chain(flavoured).map(|[id, _]| TypeId(*id));
        ids.chain(chain.into_iter().flatten())
    }
}

/// The types of a name space that have a name, ascending.
fn named(btf: &Btf, space: Space) -> Vec<Named> {
    const AT_A_TIME: usize = 256;
    let wanted: [bool; 128] =
        std::array::from_fn(|raw_kind| Space::of(BtfKind::from_raw(raw_kind as u8)) == space);
    let mut named = Vec::new();
    let void = usize::from(btf.base.is_none());
    let mut id = btf.first_id + void as u32;
    for offsets in btf.offsets[void..].chunks(AT_A_TIME) {
        let mut gathered = [[0; 2]; AT_A_TIME];
        let mut count = 0;
        // Without a branch that depends on the kind, since kinds come in no order.
        for off in offsets {
            let word = |at: usize| u32_at(&btf.data, *off as usize + at, btf.big_endian);
            let name_off = word(0);
            gathered[count] = [id, name_off];
            let of_space = wanted[(word(4) >> 24 & INFO_KIND) as usize];
            count += usize::from(of_space) * usize::from(name_off != 0);
            id += 1;
        }
        named.extend_from_slice(&gathered[..count]);
    }
    named
}

/// Whether the names of these types ascend and none is empty.
fn is_sorted(btf: &Btf, named: &[Named]) -> bool {
    let mut names = named.iter().map(|[_, name_off]| btf.strings_from(*name_off));
    let Some(mut last) = names.next().filter(|first| !matches!(first, [] | [0, ..])) else {
        return named.is_empty();
    };
    names.all(|name| compare_to_nul(std::mem::replace(&mut last, name), name).is_le())
}

/// Among sorted types those whose name is `name`, and those whose name continues it with `___`. Between the two lie names
/// such as `foo_bar`.
fn with_name<'a>(btf: &Btf, sorted: &'a [Named], name: &[u8]) -> (&'a [Named], &'a [Named]) {
    let at = |[_, name_off]: &Named| btf.name_bytes(*name_off);
    let from = &sorted[sorted.partition_point(|named| at(named) < name)..];
    let (exact, rest) = from.split_at(from.iter().take_while(|named| at(named) == name).count());
    let flavoured =
        |named: &&Named| at(named).strip_prefix(name).is_some_and(|rest| rest.starts_with(b"___"));
    let before = |named: &Named| {
        let full = at(named);
        let (head, tail) = full.split_at(full.len().min(name.len()));
        (head, tail) < (name, b"___")
    };
    let rest = &rest[rest.partition_point(before)..];
    (exact, &rest[..rest.iter().take_while(flavoured).count()])
}

/// A hash table over essential names: one chain a bucket, each ascending by id.
pub(super) struct NameTable {
    /// Places in `entries`, or [`NameTable::END`].
    heads: Vec<u32>,
    /// The type, and the place of the next in the chain.
    entries: Vec<(TypeId, u32)>,
}

impl NameTable {
    const END: u32 = u32::MAX;

    fn build(btf: &Btf, named: &[Named]) -> NameTable {
        let mut table = NameTable {
            heads: vec![Self::END; named.len().next_power_of_two()],
            entries: Vec::with_capacity(named.len()),
        };
        // Backwards, so that each chain ascends.
        for &[id, name_off] in named.iter().rev() {
            let name = btf.strings_from(name_off);
            if matches!(name, [] | [0, ..]) {
                continue;
            }
            let hash = hash_to_nul(name).unwrap_or_else(|| hash(essential_name(btf.string(name_off))));
            let bucket = table.bucket(hash);
            let next = std::mem::replace(&mut table.heads[bucket], table.entries.len() as u32);
            table.entries.push((TypeId(id), next));
        }
        table
    }

    fn bucket(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.heads.len() - 1)
    }

    fn chain(&self, name: &str) -> impl Iterator<Item = TypeId> + use<'_> {
        let mut at = self.heads[self.bucket(hash(name))];
        std::iter::from_fn(move || {
            let (id, next) = *self.entries.get(at as usize)?;
            at = next;
            Some(id)
        })
    }
}

/// 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

fn step(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR)
}

/// Hashes a name eight bytes at a time, since an index hashes every name of a kernel.
fn hash(name: &str) -> u64 {
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let hash = words.iter().fold(0, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(hash, u64::from_le_bytes(last))
}

/// The bit that Mycroft's test sets for a byte that is 0. Bits above the lowest one that is set may be wrong.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    word.wrapping_sub(LOW) & !word & HIGH
}

/// The [`hash`] of the bytes up to the first NUL, in one pass that does not look for the NUL first; `None` where the name
/// has three `_` in a row and may have a flavour, which is rare.
fn hash_to_nul(bytes: &[u8]) -> Option<u64> {
    const UNDERSCORES: u64 = u64::from_le_bytes([b'_'; 8]);
    let mut hash_so_far = 0;
    // Whether the last bytes of the words before are `_`, as the highest bits of these bytes.
    let mut before = 0;
    let mut take = |word: u64| {
        let underscores = zero_bytes(word ^ UNDERSCORES);
        let one_on = underscores << 8 | before >> 56;
        let two_on = underscores << 16 | before >> 48;
        before = underscores;
        hash_so_far = step(hash_so_far, word);
        (underscores & one_on & two_on == 0).then_some(hash_so_far)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let zeros = zero_bytes(word);
        if zeros != 0 {
            let in_word = zeros.trailing_zeros() / 8;
            return take(word & ((1 << (in_word * 8)) - 1));
        }
        take(word)?;
    }
    let len = memchr(0, rest).unwrap_or(rest.len());
    let mut last = [0; 8];
    last[..len].copy_from_slice(&rest[..len]);
    take(u64::from_le_bytes(last))
}

/// Compares two strings that end at a NUL or with their slice.
fn compare_to_nul(a: &[u8], b: &[u8]) -> Ordering {
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let (a, b) = (u64::from_be_bytes(*a), u64::from_be_bytes(*b));
        let equal_and_on = a == b && zero_bytes(a) == 0;
        if !equal_and_on {
            return up_to_zero(a).cmp(&up_to_zero(b));
        }
    }
    let shared = (a.len().min(b.len()) / 8) * 8;
    let name = |bytes: &[u8]| bytes[shared..].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    name(a).cmp(&name(b))
}

/// The word with all bytes from the first 0 on set to 0; its first byte is the highest.
fn up_to_zero(word: u64) -> u64 {
    let zeros = zero_bytes(word.swap_bytes());
    if zeros == 0 { word } else { word & !(u64::MAX >> (zeros.trailing_zeros() / 8 * 8)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fused_hash_is_the_hash_of_the_name(name in "[a-c_é]{0,24}", rest in "[a-z]{0,9}") {
            let bytes = [name.as_bytes(), b"\0", rest.as_bytes()].concat();
            match hash_to_nul(&bytes) {
                Some(found) => prop_assert_eq!(found, hash(essential_name(&name))),
                None => prop_assert!(name.contains("__") || name.contains('é'), "{}", name),
            }
        }

        #[test]
        fn comparing_in_place_is_comparing_names(
            a in "[ab_é]{0,20}", b in "[ab_é]{0,20}", rest in "[a-z]{0,17}",
        ) {
            let in_place = |name: &str| [name.as_bytes(), b"\0", rest.as_bytes()].concat();
            prop_assert_eq!(compare_to_nul(&in_place(&a), &in_place(&b)), a.cmp(&b));
        }
    }
}
