//! libbpf's rules, one case each. The same rules are held against libbpf itself, on real objects and a real kernel, by
//! `compat-tests/tests/libbpf_relocation.rs`.

use super::*;
use crate::btf::BtfKind;
use std::sync::Arc;

/// Writes BTF by hand.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

const INT_SIGNED: u32 = 1;

impl Writer {
    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32 + 1;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn raw(
        &mut self,
        name: &str,
        kind: BtfKind,
        flag: bool,
        vlen: usize,
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = u32::from(flag) << 31 | (kind as u32) << 24 | vlen as u32;
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, size: u32, encoding: u32) -> u32 {
        self.raw(name, BtfKind::Int, false, 0, size, &[(encoding << 24) | (size * 8)])
    }

    fn ptr(&mut self, to: u32) -> u32 {
        self.raw("", BtfKind::Ptr, false, 0, to, &[])
    }

    fn array(&mut self, elem: u32, nelems: u32) -> u32 {
        self.raw("", BtfKind::Array, false, 0, 0, &[elem, elem, nelems])
    }

    /// Members are `(name, type, offset in bits)`.
    fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> =
            members.iter().flat_map(|(name, ty, bit_off)| [self.string(name), *ty, *bit_off]).collect();
        self.raw(name, BtfKind::Struct, false, members.len(), size, &tail)
    }

    /// The same, with offsets that carry the width of a bitfield in their top byte.
    fn bitfields(&mut self, name: &str, size: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|(name, ty, bit_off, width)| [self.string(name), *ty, width << 24 | bit_off])
            .collect();
        self.raw(name, BtfKind::Struct, true, members.len(), size, &tail)
    }

    fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = values.iter().flat_map(|(name, value)| [self.string(name), *value]).collect();
        self.raw(name, BtfKind::Enum, false, values.len(), 4, &tail)
    }

    fn enumeration64(&mut self, name: &str, values: &[(&str, u64)]) -> u32 {
        let tail: Vec<u32> = values
            .iter()
            .flat_map(|(name, value)| [self.string(name), *value as u32, (*value >> 32) as u32])
            .collect();
        self.raw(name, BtfKind::Enum64, false, values.len(), 8, &tail)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut data = vec![0x9f, 0xeb, 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32 + 1);
        for word in [24, 0, types, types, strings] {
            data.extend(word.to_le_bytes());
        }
        data.extend(&self.types);
        data.push(0);
        data.extend(&self.strings);
        data
    }

    fn btf(&self) -> Btf {
        Btf::parse(self.bytes()).expect("well-formed BTF")
    }
}

/// Relocates one access to type 1 of `local` against `target`.
fn resolved(
    local: impl Fn(&mut Writer) -> u32,
    target: impl Fn(&mut Writer) -> u32,
    access: &str,
    kind: CoreReloKind,
) -> Result<Resolved, String> {
    let (mut l, mut t) = (Writer::default(), Writer::default());
    let root = TypeId(local(&mut l));
    target(&mut t);
    let (l, t) = (l.btf(), TargetBtf::new(Arc::new(t.btf())));
    let spec = spec::parse(&l, root, access, kind)?;
    let mut candidates = Candidates::find(&l, root, &t);
    resolve::resolve(&l, &spec, &mut candidates, &t, &mut Visits::default())
}

fn pair(w: &mut Writer, name: &str, second: u32) -> u32 {
    let int = w.int("int", 4, INT_SIGNED);
    w.structure(name, 16, &[("a", int, 0), ("b", int, second)])
}

#[test]
fn a_field_moves_with_the_kernels_layout() {
    let answer =
        resolved(|w| pair(w, "s", 32), |w| pair(w, "s", 96), "0:1", CoreReloKind::FieldByteOffset).unwrap();
    assert_eq!((answer.orig_value, answer.new_value, answer.poisoned), (4, 12, None));
}

#[test]
fn flavours_are_not_part_of_a_name() {
    let local = |w: &mut Writer| pair(w, "s___old", 32);
    let answer = resolved(local, |w| pair(w, "s", 64), "0:1", CoreReloKind::FieldByteOffset).unwrap();
    assert_eq!(answer.new_value, 8);
}

#[test]
fn a_missing_field_is_poison_to_an_access_and_no_to_a_question() {
    let target = |w: &mut Writer| {
        let int = w.int("int", 4, INT_SIGNED);
        w.structure("s", 4, &[("a", int, 0)])
    };
    let answer = resolved(|w| pair(w, "s", 32), target, "0:1", CoreReloKind::FieldByteOffset).unwrap();
    assert!(answer.poisoned.is_some());
    let answer = resolved(|w| pair(w, "s", 32), target, "0:1", CoreReloKind::FieldExists).unwrap();
    assert_eq!((answer.new_value, answer.poisoned), (0, None));
}

#[test]
fn types_of_one_name_that_disagree_are_an_error_and_agreeing_ones_are_not() {
    let two = |second: u32| {
        move |w: &mut Writer| {
            pair(w, "s", 32);
            pair(w, "s", second)
        }
    };
    let error = resolved(|w| pair(w, "s", 32), two(64), "0:1", CoreReloKind::FieldByteOffset).unwrap_err();
    assert!(error.starts_with("ambiguous"), "{error}");
    let answer = resolved(|w| pair(w, "s", 32), two(32), "0:1", CoreReloKind::FieldByteOffset).unwrap();
    assert_eq!(answer.new_value, 4);
}

#[test]
fn fields_are_found_inside_anonymous_members() {
    let target = |w: &mut Writer| {
        let int = w.int("int", 4, INT_SIGNED);
        let inner = w.structure("", 8, &[("a", int, 0), ("b", int, 32)]);
        w.structure("s", 16, &[("", inner, 64)])
    };
    let answer = resolved(|w| pair(w, "s", 32), target, "0:1", CoreReloKind::FieldByteOffset).unwrap();
    assert_eq!(answer.new_value, 12);
}

#[test]
fn loads_are_resized_for_unsigned_integers_and_pointers_only() {
    let field = |size: u32, encoding: u32| {
        move |w: &mut Writer| {
            let int = w.int("number", size, encoding);
            w.structure("s", 8, &[("a", int, 0)])
        }
    };
    let ask = |encoding| {
        resolved(field(4, encoding), field(8, encoding), "0:0", CoreReloKind::FieldByteOffset).unwrap()
    };
    let unsigned = ask(0);
    assert_eq!((unsigned.orig_sz, unsigned.new_sz, unsigned.cannot_resize), (4, 8, false));
    assert!(ask(INT_SIGNED).cannot_resize);
}

#[test]
fn arrays_are_bounded_unless_flexible() {
    let with = |nelems: u32| {
        move |w: &mut Writer| {
            let int = w.int("int", 4, INT_SIGNED);
            let array = w.array(int, nelems);
            w.structure("s", 4, &[("a", array, 0)])
        }
    };
    let ask = |local, target| resolved(with(local), with(target), "0:0:3", CoreReloKind::FieldByteOffset);
    assert_eq!(ask(4, 8).unwrap().new_value, 12);
    assert!(ask(4, 2).unwrap().poisoned.is_some());
    assert_eq!(ask(4, 0).unwrap().new_value, 12, "flexible in the kernel");
    assert_eq!(ask(0, 0).unwrap().new_value, 12, "flexible in both");
    assert!(ask(2, 8).is_err(), "beyond the object's own array");
}

#[test]
fn enumeration_values_are_found_across_both_widths() {
    let local = |w: &mut Writer| w.enumeration("e", &[("A", 1), ("B", 2)]);
    let wide = |w: &mut Writer| w.enumeration64("e", &[("B", 1 << 40)]);
    let ask = |access, kind| resolved(local, wide, access, kind).unwrap();
    assert_eq!(ask("1", CoreReloKind::EnumvalValue).new_value, 1 << 40);
    assert!(ask("0", CoreReloKind::EnumvalValue).poisoned.is_some());
    assert_eq!(ask("0", CoreReloKind::EnumvalExists).new_value, 0);
    assert_eq!(ask("1", CoreReloKind::EnumvalExists).new_value, 1);
}

#[test]
fn bitfields_are_loaded_by_the_smallest_unit_that_covers_them() {
    let fields = |bit_off: u32| {
        move |w: &mut Writer| {
            let int = w.int("unsigned int", 4, 0);
            w.bitfields("s", 8, &[("flag", int, bit_off, 3)])
        }
    };
    let ask = |kind| resolved(fields(5), fields(37), "0:0", kind).unwrap().new_value;
    assert_eq!(ask(CoreReloKind::FieldByteOffset), 4);
    assert_eq!(ask(CoreReloKind::FieldByteSize), 4);
    assert_eq!(ask(CoreReloKind::FieldLshiftU64), 64 - (5 + 3));
    assert_eq!(ask(CoreReloKind::FieldRshiftU64), 64 - 3);
    assert_eq!(ask(CoreReloKind::FieldSigned), 0);
}

#[test]
fn types_exist_have_sizes_and_match() {
    let target = |w: &mut Writer| {
        let int = w.int("int", 4, INT_SIGNED);
        w.structure("s", 24, &[("a", int, 0), ("b", int, 32), ("c", int, 64)])
    };
    let ask = |kind| resolved(|w| pair(w, "s", 32), target, "0", kind).unwrap().new_value;
    assert_eq!(ask(CoreReloKind::TypeExists), 1);
    assert_eq!(ask(CoreReloKind::TypeSize), 24);
    assert_eq!(ask(CoreReloKind::TypeIdTarget), 2);
    assert_eq!(ask(CoreReloKind::TypeMatches), 1);
    let pointer = |w: &mut Writer| {
        let int = w.int("int", 4, INT_SIGNED);
        let pointer = w.ptr(int);
        w.structure("s", 16, &[("a", int, 0), ("b", pointer, 64)])
    };
    let matches = |target: &dyn Fn(&mut Writer) -> u32| {
        resolved(|w| pair(w, "s", 32), target, "0", CoreReloKind::TypeMatches).unwrap().new_value
    };
    assert_eq!(matches(&pointer), 0, "a member of another kind");
    assert_eq!(matches(&|w| pair(w, "other", 32)), 0, "no such type");
}

#[test]
fn candidates_that_lack_a_field_are_dropped_for_later_accesses() {
    let mut l = Writer::default();
    let root = TypeId(pair(&mut l, "s", 32));
    let mut t = Writer::default();
    let int = t.int("int", 4, INT_SIGNED);
    t.structure("s", 4, &[("a", int, 32)]);
    t.structure("s", 16, &[("a", int, 64), ("b", int, 96)]);
    let (l, t) = (l.btf(), TargetBtf::new(Arc::new(t.btf())));
    let mut candidates = Candidates::find(&l, root, &t);
    let mut ask = |access: &str| {
        let spec = spec::parse(&l, root, access, CoreReloKind::FieldByteOffset).unwrap();
        resolve::resolve(&l, &spec, &mut candidates, &t, &mut Visits::default())
    };
    assert!(ask("0:0").is_err(), "both have a, at different places");
    assert_eq!(ask("0:1").unwrap().new_value, 12);
    assert_eq!(ask("0:0").unwrap().new_value, 8, "only the one with b is left");
}

#[test]
fn a_stale_instruction_is_an_error_and_a_miss_is_poison() {
    let load = Insn { code: 0x61, dst: 1, src: 2, off: 4, imm: 0 };
    let mut insns = [load];
    let answer = Resolved { orig_value: 4, new_value: 40, validate: true, ..Resolved::default() };
    assert_eq!(patch::patch(&mut insns, 0, &answer), Ok(None));
    assert_eq!(insns[0].off, 40);
    assert!(patch::patch(&mut insns, 0, &answer).is_err(), "the old value is gone");
    let miss = Resolved { poisoned: Some("missing"), ..Resolved::default() };
    let mut wide = [Insn { code: crate::insn::LD_IMM64, ..Insn::default() }, Insn::default()];
    assert_eq!(patch::patch(&mut wide, 0, &miss), Ok(Some("missing")));
    assert!(wide.iter().all(|insn| insn.imm == POISON_IMM && insn.code == crate::insn::CALL));
    let far = Resolved { orig_value: 40, new_value: 40_000, validate: true, ..Resolved::default() };
    assert!(patch::patch(&mut insns, 0, &far).is_err(), "offsets have 15 bits");
}
