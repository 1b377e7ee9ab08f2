//! An image as a store keeps it: its symbols by name, and for each what the kernel's tables say of it.
//!
//! Addresses differ from build to build and nothing that is asked of a stored kernel is a place: each symbol has its rank
//! for an address, and tables of addresses ([`Inside`]) are those ranks. Names in order are nearly the same from one
//! kernel to the next, which is what makes them small.

use crate::kernel::{Image, Inside, Symbols};

/// Bits of a symbol: ftrace can trace it, no kprobe may be put there, errors may be injected.
const TRACEABLE: u8 = 1;
const BLACKLISTED: u8 = 2;
const INJECTABLE: u8 = 4;

/// The symbols of an image with what `inside` says of each: their number, the names behind their lengths, their types,
/// their bits.
pub(super) fn to_bytes(image: &Image, inside: Option<&Inside>) -> Vec<u8> {
    let listed =
        |list: Option<&Vec<u64>>, address| list.is_some_and(|list| list.binary_search(&address).is_ok());
    let (mut bytes, mut kinds, mut bits) = (Vec::new(), Vec::new(), Vec::<u8>::new());
    bytes.extend((image.symbols.len() as u32).to_le_bytes());
    for symbol in image.symbols.with_prefix("") {
        bytes.extend((symbol.name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(symbol.name.as_bytes());
        kinds.push(symbol.kind);
        let is = inside.map(|inside| {
            [
                (TRACEABLE, listed(inside.traceable.as_ref(), symbol.address)),
                (BLACKLISTED, inside.is_blacklisted(symbol.address) == Some(true)),
                (INJECTABLE, listed(inside.error_injection.as_ref(), symbol.address)),
            ]
        });
        bits.push(is.into_iter().flatten().filter(|(_, is)| *is).map(|(bit, _)| bit).sum());
    }
    bytes.extend(kinds);
    bytes.extend(bits);
    bytes
}

/// What [`to_bytes`] wrote: an image without bytes, and `inside` with its tables of addresses filled where they were
/// known.
pub(super) fn from_bytes(bytes: &[u8], inside: Option<&mut Inside>) -> Option<Image> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    // A name has two bytes at least, and a type and bits one each.
    if count > rest.len() / 4 {
        return None;
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (name, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        names.push(std::str::from_utf8(name).ok()?);
        rest = behind;
    }
    let (kinds, bits) = rest.split_at_checked(count)?;
    if bits.len() != count || !names.is_sorted() {
        return None;
    }
    let ranks = 1..=count as u64;
    if let Some(inside) = inside {
        let with =
            |bit: u8| ranks.clone().zip(bits).filter(move |(_, bits)| *bits & bit != 0).map(|(rank, _)| rank);
        inside.traceable = inside.traceable.is_some().then(|| with(TRACEABLE).collect());
        inside.error_injection = inside.error_injection.is_some().then(|| with(INJECTABLE).collect());
        let blacklist = || with(BLACKLISTED).map(|rank| rank..rank + 1).collect();
        inside.kprobe_blacklist = inside.kprobe_blacklist.is_some().then(blacklist);
    }
    let symbols = ranks.zip(kinds).zip(names).map(|((rank, kind), name)| (rank, *kind, name));
    Some(Image { symbols: Symbols::from_unsorted(symbols), ..Image::default() })
}

/// `inside` without its tables of addresses, which the symbols have: whether they are known stays.
pub(super) fn without_addresses(inside: &Inside) -> Inside {
    Inside {
        traceable: inside.traceable.is_some().then(Vec::new),
        kprobe_blacklist: inside.kprobe_blacklist.is_some().then(Vec::new),
        error_injection: inside.error_injection.is_some().then(Vec::new),
        ..inside.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_asked_by_name_has_the_same_answer(
            named in prop::collection::vec(("[ab]{0,2}", 0u64..12, any::<bool>()), 0..12),
            tables in [prop::collection::btree_set(0u64..12, 0..6), prop::collection::btree_set(0u64..12, 0..6)],
            range in (0u64..12, 0u64..6),
            known in any::<bool>(),
        ) {
            let symbols = named.iter().map(|(name, at, text)| (*at, if *text { b't' } else { b'd' }, name.as_str()));
            let image = Image { symbols: Symbols::from_unsorted(symbols), ..Image::default() };
            let [traceable, injectable] = tables.map(|table| known.then(|| table.into_iter().collect::<Vec<_>>()));
            let blacklist = (range.0, range.0 + range.1);
            let inside = Inside {
                traceable,
                error_injection: injectable,
                kprobe_blacklist: Some(std::iter::once(blacklist.0..blacklist.1).collect()),
                ..Inside::default()
            };
            let mut back = without_addresses(&inside);
            let restored = from_bytes(&to_bytes(&image, Some(&inside)), Some(&mut back)).unwrap();
            prop_assert_eq!(restored.symbols.len(), image.symbols.len());
            for name in named.iter().map(|(name, ..)| name) {
                let asked = |image: &Image, inside: &Inside| {
                    let of = |list: &Option<Vec<u64>>, at| list.as_ref().map(|list| list.binary_search(&at).is_ok());
                    let symbols = image.symbols.named(name).map(|symbol| {
                        let injectable = of(&inside.error_injection, symbol.address);
                        (symbol.kind, injectable, inside.is_blacklisted(symbol.address))
                    });
                    (inside.is_traceable(image, name), symbols.collect::<Vec<_>>())
                };
                prop_assert_eq!(asked(&image, &inside), asked(&restored, &back));
            }
        }

        #[test]
        fn bytes_that_are_no_symbols_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut inside = Inside { traceable: Some(Vec::new()), ..Inside::default() };
            let _ = from_bytes(&bytes, Some(&mut inside));
        }
    }
}
