//! libbpf's rules, one case each. The same rules are held against libbpf itself, on real objects and a real kernel, by
//! `compat-tests/tests/libbpf_relocation.rs`.

use super::*;
use crate::btf::BtfKind;
use crate::object::TextRelo;
use std::sync::Arc;

/// Writes BTF by hand.
#[derive(Default)]
pub(crate) struct Writer {
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

    pub(crate) fn raw(
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

    pub(crate) fn int(&mut self, name: &str, size: u32, encoding: u32) -> u32 {
        self.raw(name, BtfKind::Int, false, 0, size, &[(encoding << 24) | (size * 8)])
    }

    fn ptr(&mut self, to: u32) -> u32 {
        self.raw("", BtfKind::Ptr, false, 0, to, &[])
    }

    fn array(&mut self, elem: u32, nelems: u32) -> u32 {
        self.raw("", BtfKind::Array, false, 0, 0, &[elem, elem, nelems])
    }

    /// Members are `(name, type, offset in bits)`.
    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
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

    pub(crate) fn btf(&self) -> Btf {
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

#[test]
fn a_load_of_a_bitfield_is_poisoned_where_the_kernel_has_a_plain_field() {
    let bits = |w: &mut Writer| {
        let int = w.int("u32", 4, 0);
        w.bitfields("s", 4, &[("a", int, 0, 8), ("b", int, 8, 24)])
    };
    let plain = |w: &mut Writer| {
        let int = w.int("u32", 4, 0);
        w.structure("s", 8, &[("a", int, 32), ("b", int, 0)])
    };
    for (local, target) in
        [(&bits as &dyn Fn(&mut Writer) -> u32, &plain as &dyn Fn(&mut Writer) -> u32), (&plain, &bits)]
    {
        let answer = resolved(local, target, "0:0", CoreReloKind::FieldByteOffset).unwrap();
        assert!(answer.cannot_resize && answer.poisoned.is_none());
    }
    let both = resolved(bits, bits, "0:0", CoreReloKind::FieldByteOffset).unwrap();
    assert!(!both.cannot_resize);
}

/// An entry of that name with these instructions and records.
fn entry(name: &str, core_relos: Vec<CoreReloRecord>, insns: usize) -> Entry {
    Entry {
        name: name.to_owned(),
        section: "raw_tp".to_owned(),
        kind: None,
        autoload: true,
        insns: vec![Insn { code: 0xb7, ..Insn::default() }; insns],
        functions: Vec::new(),
        map_refs: Vec::new(),
        extern_refs: Vec::new(),
        core_relos,
        lines: Vec::new(),
    }
}

fn object(btf: Btf, entries: Vec<Entry>, text: &[CoreReloRecord]) -> BpfObject {
    BpfObject {
        big_endian: false,
        license: "GPL".to_owned(),
        kern_version: None,
        btf: Some(btf),
        entries,
        maps: Vec::new(),
        externs: Vec::new(),
        struct_ops: Vec::new(),
        left_to_loader: Vec::new(),
        accesses: Accesses::default(),
        text_relos: text
            .iter()
            .map(|record| TextRelo { record: *record, insns: [Insn { code: 0xb7, ..Insn::default() }; 2] })
            .collect(),
    }
}

/// The kernel has two structs `s`: both have `a`, at the same place, only one has `only`.
fn two_candidates() -> (Btf, TargetBtf, u32, [u32; 3]) {
    let mut l = Writer::default();
    let int = l.int("int", 4, INT_SIGNED);
    let root = l.structure("s", 12, &[("a", int, 0), ("only", int, 32), ("b", int, 64)]);
    let accesses = ["0:0", "0:1", "0:2"].map(|access| l.string(access));
    let mut t = Writer::default();
    let int = t.int("int", 4, INT_SIGNED);
    t.structure("s", 12, &[("a", int, 0), ("b", int, 32)]);
    t.structure("s", 12, &[("a", int, 0), ("only", int, 32), ("b", int, 64)]);
    (l.btf(), TargetBtf::new(Arc::new(t.btf())), root, accesses)
}

#[test]
fn relocations_are_answered_in_the_order_of_the_records() {
    let (local, target, root, [_, only, b]) = two_candidates();
    // FieldByteSize carries 4 in the instruction; existence carries 1.
    let record = |byte_off, access_str_off, order| CoreReloRecord {
        byte_off,
        type_id: TypeId(root),
        access_str_off,
        kind: CoreReloKind::FieldExists as u32,
        order,
    };
    let offset = |byte_off, order| CoreReloRecord {
        kind: CoreReloKind::FieldByteOffset as u32,
        ..record(byte_off, b, order)
    };
    let with = |first: CoreReloRecord, second: CoreReloRecord, text: &[CoreReloRecord]| {
        let mut entry = entry("entry", vec![first, second], 2);
        for insn in &mut entry.insns {
            insn.imm = 1;
        }
        entry.insns[usize::try_from(second.byte_off).unwrap() / 8].imm = 8;
        let object = object(Btf::parse(local.bytes().clone()).unwrap(), vec![entry], text);
        relocate(&object, &object.entries[0], &target).map(|relocated| relocated.insns[1].imm)
    };
    // What tells the two apart comes first, and the offset of `b` is clear; or it comes last, and it is not.
    assert_eq!(with(record(0, only, 1), offset(8, 2), &[]), Ok(8));
    assert!(with(record(0, only, 2), offset(8, 1), &[]).is_err());
    // A function that nobody calls tells them apart as well, and fails the entry if it fails.
    let mut unused = object(Btf::parse(local.bytes().clone()).unwrap(), Vec::new(), &[offset(0, 0)]);
    unused.text_relos[0].insns[0].imm = 8;
    let nothing = entry("entry", Vec::new(), 1);
    assert!(relocate(&unused, &nothing, &target).is_err());
}

#[test]
fn entries_together_share_what_they_learn() {
    let (local, target, root, [_, only, b]) = two_candidates();
    let record = |access_str_off, kind, order| CoreReloRecord {
        byte_off: 0,
        type_id: TypeId(root),
        access_str_off,
        kind: kind as u32,
        order,
    };
    let mut tells = entry("tells", vec![record(only, CoreReloKind::FieldExists, 0)], 1);
    let mut asks = entry("asks", vec![record(b, CoreReloKind::FieldByteOffset, 1)], 1);
    (tells.insns[0].imm, asks.insns[0].imm) = (1, 8);
    let object = object(local, vec![tells, asks], &[]);
    let entries: Vec<&Entry> = object.entries.iter().collect();
    let mut relocator = Relocator::new(&object, &target);
    assert!(relocator.relocate(entries[1]).is_err());
    let together = relocator.relocate_together(&entries).unwrap();
    assert_eq!(together[1].outcomes[0].outcome, ReloOutcome::Value(8));
}

/// Types of a kernel: pairs of kind and content, the content being about other places in this list.
fn kernel_in_order(order: &[usize], offs: &[u32]) -> (TargetBtf, Vec<u32>) {
    let mut ids = vec![0; order.len()];
    for (position, place) in order.iter().enumerate() {
        ids[*place] = position as u32 + 1;
    }
    let mut w = Writer::default();
    for place in order {
        match place {
            0 => w.int("int", 4, INT_SIGNED),
            1 => w.int("unsigned long", 8, 0),
            2 => w.structure("inner", 8, &[("x", ids[0], 0), ("y", ids[0], 32)]),
            3 => w.array(ids[2], 4),
            4 => w.ptr(ids[5]),
            5 => w.structure(
                "s",
                128,
                &[("a", ids[0], offs[0] * 8), ("list", ids[3], offs[1] * 8), ("next", ids[4], 768)],
            ),
            // A second of the same name, which agrees in what both have.
            6 => w.structure("s", 128, &[("a", ids[0], offs[0] * 8), ("wide", ids[1], 256)]),
            7 => w.enumeration("e", &[("E_ONE", offs[0]), ("E_TWO", 7)]),
            _ => w.enumeration64("e", &[("E_BIG", 1 << 40), ("E_ONE", u64::from(offs[0]))]),
        };
    }
    (TargetBtf::new(Arc::new(w.btf())), ids)
}

proptest::proptest! {
    #[test]
    fn the_order_of_types_changes_no_outcome(
        order in proptest::strategy::Strategy::prop_shuffle(proptest::strategy::Just((0..9).collect::<Vec<usize>>())),
        offs in proptest::collection::vec(0u32..24, 2),
    ) {
        let mut l = Writer::default();
        let int = l.int("int", 4, INT_SIGNED);
        let long = l.int("unsigned long", 8, 0);
        let inner = l.structure("inner", 8, &[("y", int, 0), ("x", int, 32)]);
        let list = l.array(inner, 2);
        let s = l.structure("s", 64, &[("a", int, 0), ("list", list, 32), ("wide", long, 192), ("gone", int, 256)]);
        let e = l.enumeration("e", &[("E_ONE", 1), ("E_TWO", 2), ("E_BIG", 3), ("E_GONE", 4)]);
        let local = l.btf();
        let (plain, _) = kernel_in_order(&[0, 1, 2, 3, 4, 5, 6, 7, 8], &offs);
        let (shuffled, ids) = kernel_in_order(&order, &offs);
        let fields = ["0", "0:0", "0:1:1:0", "0:1:1:1", "0:2", "0:3", "1:0"];
        for raw in 0..=CoreReloKind::TypeMatches as u32 {
            let kind = CoreReloKind::from_raw(raw).unwrap();
            let (roots, accesses): (&[u32], &[&str]) = match kind {
                CoreReloKind::TypeIdLocal => continue,
                _ if kind.is_enumval() => (&[e], &["0", "1", "2", "3"]),
                _ if kind.is_type() => (&[s, inner, int, e], &["0"]),
                _ => (&[s], &fields),
            };
            for (root, access) in roots.iter().flat_map(|root| accesses.iter().map(move |access| (*root, *access))) {
                let spec = spec::parse(&local, TypeId(root), access, kind).unwrap();
                let answer = |target: &TargetBtf| {
                    let mut candidates = Candidates::find(&local, TypeId(root), target);
                    let answer = resolve::resolve(&local, &spec, &mut candidates, target, &mut Visits::default());
                    // An error names ids; that it is one has to be the same.
                    answer.map_err(|_| ())
                };
                let (mut expected, found) = (answer(&plain), answer(&shuffled));
                if kind == CoreReloKind::TypeIdTarget && let Ok(expected) = &mut expected && expected.new_value > 0 {
                    expected.new_value = u64::from(ids[expected.new_value as usize - 1]);
                }
                proptest::prop_assert_eq!(found, expected, "{:?} of {} {}", kind, root, access);
            }
        }
    }
}

#[test]
fn a_type_that_the_kernel_itself_lacks_is_told_from_one_that_a_module_has() {
    let mut l = Writer::default();
    let int = l.int("int", 4, INT_SIGNED);
    let of_module = l.structure("of_module", 4, &[("a", int, 0)]);
    let of_none = l.structure("of_none", 4, &[("a", int, 0)]);
    let of_kernel = l.structure("of_kernel", 4, &[("a", int, 0)]);
    let access = l.string("0");
    let mut t = Writer::default();
    let int = t.int("int", 4, INT_SIGNED);
    t.structure("of_kernel", 4, &[("a", int, 0)]);
    let mut m = Writer::default();
    let int = m.int("int", 4, INT_SIGNED);
    m.structure("of_module", 4, &[("a", int, 0)]);
    let kernel = Arc::new(t.btf());
    let modules = vec![("module".to_owned(), Arc::new(m.btf()))];
    let target = TargetBtf::with_modules(kernel, modules);
    for (ty, found) in [(of_kernel, Found::Kernel), (of_module, Found::Module(0)), (of_none, Found::Nowhere)]
    {
        let record = CoreReloRecord {
            byte_off: 0,
            type_id: TypeId(ty),
            access_str_off: access,
            kind: CoreReloKind::TypeIdTarget as u32,
            order: 0,
        };
        let entry = entry("entry", vec![record], 1);
        let object = object(l.btf(), vec![entry], &[]);
        let relocated = relocate(&object, &object.entries[0], &target).unwrap();
        let outcome = &relocated.outcomes[0];
        assert_eq!((outcome.found, outcome.ty), (found, TypeId(ty)));
        assert_eq!(outcome.outcome == ReloOutcome::Value(0), found == Found::Nowhere);
    }
}

/// An object that asks everything of a struct `s` whose field `f` has one of several types, and of an enumeration.
fn asking(before: u32, field: usize, value: u32) -> BpfObject {
    let mut l = Writer::default();
    // Moves the ids of all that follows.
    for _ in 0..before {
        l.int("char", 1, 0);
    }
    let int = l.int("int", 4, INT_SIGNED);
    let unsigned = l.int("unsigned int", 4, 0);
    let long = l.int("unsigned long", 8, 0);
    let to_int = l.ptr(int);
    let list = l.array(int, 2);
    let words = l.array(to_int, 2);
    let e = l.enumeration("e", &[("E_ONE", value)]);
    let f = [int, unsigned, long, to_int, list, words, e][field];
    let s = l.structure("s", 32, &[("x", int, 0), ("f", f, 64 + value % 4 * 64)]);
    let access = ["0:1", "0"].map(|access| l.string(access));
    let mut records = Vec::new();
    for kind in (0..=CoreReloKind::TypeMatches as u32).filter_map(CoreReloKind::from_raw) {
        let root = if kind.is_enumval() { e } else { s };
        let byte_off = records.len() as u32 * 8;
        let access_str_off = access[usize::from(!kind.is_field())];
        let order = records.len() as u32;
        records.push(CoreReloRecord {
            byte_off,
            type_id: TypeId(root),
            access_str_off,
            kind: kind as u32,
            order,
        });
    }
    let entries =
        records.into_iter().map(|record| entry("asks", vec![CoreReloRecord { byte_off: 0, ..record }], 1));
    object(l.btf(), entries.collect(), &[])
}

proptest::proptest! {
    #[test]
    fn what_one_object_learned_is_true_for_another(
        asks in proptest::collection::vec((0u32..3, 0usize..7, 0u32..4), 2..6), has in 0usize..7, at in 0u32..3,
    ) {
        let kernel = asking(1, has, at).btf.unwrap();
        let shared = TargetBtf::new(Arc::new(Btf::parse(kernel.bytes().clone()).unwrap()));
        for (before, field, value) in asks {
            let mut object = asking(before, field, value);
            for index in 0..object.entries.len() {
                let fresh = TargetBtf::new(Arc::new(Btf::parse(kernel.bytes().clone()).unwrap()));
                // An instruction that carries another value than the object's types say is an error that tells it.
                let stale = relocate(&object, &object.entries[index], &fresh);
                if let Err(error) = &stale
                    && let Some((_, value)) = error.what.rsplit_once(' ')
                    && let Ok(value) = value.parse()
                {
                    object.entries[index].insns[0].imm = value;
                }
                let entry = &object.entries[index];
                let expected = relocate(&object, entry, &fresh);
                for _ in 0..2 {
                    proptest::prop_assert_eq!(&relocate(&object, entry, &shared), &expected);
                }
            }
        }
    }
}
