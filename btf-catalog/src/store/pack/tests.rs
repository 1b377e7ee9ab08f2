use super::*;
use crate::Btf;
use proptest::prelude::*;

/// A type to be written: kind, name, and what its elements are called and refer to.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) kind: BtfKind,
    pub(crate) name: u8,
    pub(crate) refers: u32,
    pub(crate) elements: Vec<(u8, u32, u32)>,
}

pub(crate) fn declared() -> impl Strategy<Value = Declared> {
    use BtfKind as K;
    let kinds = [K::Int, K::Ptr, K::Array, K::Struct, K::Union, K::Enum, K::Typedef, K::Const, K::Func];
    let more = [K::FuncProto, K::Var, K::Datasec, K::Fwd, K::Enum64, K::DeclTag, K::Float];
    let kind = prop::sample::select([&kinds[..], &more].concat());
    let elements = prop::collection::vec((any::<u8>(), any::<u32>(), any::<u32>()), 0..5);
    (kind, any::<u8>(), any::<u32>(), elements).prop_map(|(kind, name, refers, elements)| Declared {
        kind,
        name,
        refers,
        elements,
    })
}

/// The bytes of BTF with these types; their strings moved by `rotate` places.
pub(crate) fn build(types: &[Declared], rotate: usize, big_endian: bool) -> Vec<u8> {
    let mut names: Vec<u8> = (0..=255).collect();
    names.rotate_left(rotate % 256);
    let mut text = vec![0];
    let mut offsets = [0u32; 256];
    for name in names.into_iter().filter(|name| *name != 0) {
        offsets[name as usize] = text.len() as u32;
        text.extend(format!("name_{name}").bytes().chain([0]));
    }
    let mut words: Vec<u32> = Vec::new();
    let to = |id: u32| id % (types.len() as u32 + 1);
    for ty in types {
        let shape = model::Shape::of(ty.kind).unwrap();
        let vlen = if shape.element.is_empty() { 0 } else { ty.elements.len() as u32 };
        words.extend([offsets[ty.name as usize], (ty.kind as u32) << 24 | vlen]);
        words.push(if shape.third == model::Role::Ref { to(ty.refers) } else { ty.refers });
        words.extend(shape.fixed.iter().map(|role| match role {
            model::Role::Ref => to(ty.refers),
            _ => ty.refers,
        }));
        for element in &ty.elements[..vlen as usize] {
            words.extend(shape.element.iter().map(|role| match role {
                model::Role::Name => offsets[element.0 as usize],
                model::Role::Ref => to(element.1),
                model::Role::Value => element.2,
            }));
        }
    }
    let put = |word: u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    let mut data = if big_endian { vec![0xeb, 0x9f, 1, 0] } else { vec![0x9f, 0xeb, 1, 0] };
    let types_len = words.len() as u32 * 4;
    data.extend([24, 0, types_len, types_len, text.len() as u32].into_iter().flat_map(put));
    data.extend(words.into_iter().flat_map(put));
    data.extend(text);
    data
}

proptest! {
    #[test]
    fn every_btf_comes_back_byte_for_byte_over_any_base(
        ours in prop::collection::vec(declared(), 0..40),
        theirs in prop::collection::vec(declared(), 0..40),
        shared in prop::collection::vec(declared(), 0..40),
        rotate in 0usize..256,
        big_endian: bool,
    ) {
        let ours = [&ours[..], &shared].concat();
        let theirs = [&shared[..], &theirs].concat();
        let base = Unpacked::btf(build(&theirs, rotate, big_endian));
        let btf = Unpacked::btf(build(&ours, 0, big_endian));
        prop_assert!(Btf::parse(btf.bytes().to_vec()).is_ok() && btf.is_base());
        for base in [None, Some(&base)] {
            let packed = pack(&btf, base).unwrap();
            prop_assert_eq!(packed[5], MODEL);
            let back = unpack(&packed, base).unwrap();
            prop_assert_eq!(back.bytes(), btf.bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_btf_come_back_too(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let base = Unpacked::other(vec![7; 100]);
        for base in [None, Some(&base)] {
            let packed = pack(&Unpacked::btf(bytes.clone()), base).unwrap();
            prop_assert_eq!(unpack(&packed, base).unwrap().into_bytes(), bytes.clone());
        }
    }

    #[test]
    fn a_damaged_pack_is_an_error_or_other_bytes_never_a_panic(
        types in prop::collection::vec(declared(), 1..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let base = Unpacked::btf(build(&types, 3, false));
        let packed = pack(&Unpacked::btf(build(&types[1..], 0, false)), Some(&base)).unwrap();
        let (form, mut content) = open(&packed, None).unwrap();
        for (at, byte) in damage {
            let at = at.index(content.len());
            content[at] ^= byte;
        }
        let _ = unpack(&seal(form, &content, &[]).unwrap(), Some(&base));
        let _ = unpack(&seal(form, &content, &[]).unwrap(), None);
    }
}

#[test]
fn a_pack_of_the_same_types_in_another_order_is_small() {
    let types: Vec<Declared> = (0..2000u32)
        .map(|n| Declared {
            kind: BtfKind::Struct,
            name: 0,
            refers: n,
            elements: vec![(n as u8, 0, n * 8), ((n >> 3) as u8, 0, n * 8 + 4)],
        })
        .collect();
    let mut other = types.clone();
    other.rotate_left(700);
    let base = Unpacked::btf(build(&types, 0, false));
    let btf = Unpacked::btf(build(&other, 100, false));
    let (alone, over) = (pack(&btf, None).unwrap().len(), pack(&btf, Some(&base)).unwrap().len());
    assert!(over * 10 < alone, "{over} bytes over a base, {alone} alone");
}

#[test]
fn a_claim_of_more_than_there_is_costs_no_memory() {
    let mut packed = seal(PLAIN, &vec![0; 1 << 20], &[]).unwrap();
    packed[8..12].copy_from_slice(&100u32.to_le_bytes());
    assert!(matches!(unpack(&packed, None), Err(PackError::Compression(_))));
    packed[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(unpack(&packed, None), Err(PackError::TooLarge(_))));
}
