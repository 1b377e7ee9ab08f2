//! Hand-made programs: what each is refused for, and what is not.

mod kfuncs;
mod memory;
mod older;

use super::*;
use crate::btf::{Btf, BtfKind, TypeId};
use crate::core::tests::Writer;
use crate::insn::{CALL, EXIT, LD_IMM64};
use crate::object::{Function, MapDef, MapRef, SectionKind};
use crate::uapi::MapType;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}
/// `dst = imm`
fn set(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}
/// `dst = src`
fn copy(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}
/// `dst += imm`
fn add(dst: u8, imm: i32) -> Insn {
    insn(0x07, dst, 0, 0, imm)
}
/// `dst = *(u64 *)(src + off)`
fn load(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x79, dst, src, off, 0)
}
/// `*(u64 *)(dst + off) = src`
fn store(dst: u8, off: i16, src: u8) -> Insn {
    insn(0x7b, dst, src, off, 0)
}
/// `if dst == imm goto off`
fn if_eq(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x15, dst, 0, off, imm)
}
fn helper(id: i32) -> Insn {
    insn(CALL, 0, 0, 0, id)
}
const RETURN: Insn = Insn { code: EXIT, dst: 0, src: 0, off: 0, imm: 0 };
const LOOKUP: i32 = 1;

fn entry(section: &str, insns: &[Insn]) -> Entry {
    let map = |(insn_off, _): (usize, &Insn)| MapRef { insn_off, map: 0, value_off: None };
    let refs = insns.iter().enumerate().filter(|(_, insn)| insn.code == LD_IMM64 && insn.src == 1);
    Entry {
        name: "entry".to_owned(),
        section: section.to_owned(),
        kind: SectionKind::from_name(section),
        autoload: true,
        insns: insns.to_vec(),
        functions: vec![Function { name: "entry".to_owned(), insn_off: 0, type_id: None, global: false }],
        map_refs: refs.map(map).collect(),
        ..Entry::default()
    }
}

fn verified(section: &str, insns: &[Insn]) -> Verified {
    verified_as(section, insns, Traits::default())
}

fn verified_as(section: &str, insns: &[Insn], traits: Traits) -> Verified {
    verified_of(&entry(section, insns), map(MapType::HASH), None, traits)
}

/// A map of one element, with keys of 4 bytes and values of 16.
fn map(map_type: MapType) -> MapDef {
    let mut map = MapDef::default();
    (map.name, map.map_type) = ("map".to_owned(), map_type);
    (map.key_size, map.value_size, map.max_entries) = (4, 16, 1);
    map
}

fn object_of(map: MapDef, btf: Option<Btf>) -> BpfObject {
    BpfObject {
        big_endian: false,
        license: "GPL".to_owned(),
        kern_version: None,
        btf,
        entries: Vec::new(),
        maps: vec![map],
        externs: Vec::new(),
        struct_ops: Vec::new(),
        left_to_loader: Vec::new(),
        text_relos: Vec::new(),
        accesses: crate::core::Accesses::default(),
    }
}

fn verified_of(entry: &Entry, map: MapDef, btf: Option<Btf>, traits: Traits) -> Verified {
    let object = object_of(map, btf);
    let constants = Constants::default();
    verify(Subject { object: &object, entry, insns: &entry.insns, constants: &constants }, traits)
}

/// An entry that is followed by a function of its own.
fn with_function(section: &str, entry_insns: &[Insn], global: bool, function: &[Insn]) -> Entry {
    let mut whole = entry(section, &[entry_insns, function].concat());
    let (name, insn_off) = ("function".to_owned(), entry_insns.len());
    whole.functions.push(Function { name, insn_off, type_id: None, global });
    whole
}

/// The sure fault of a program, as `instruction: what`.
fn refused(section: &str, insns: &[Insn]) -> String {
    let verified = verified(section, insns);
    verified.refused().map_or_else(String::new, |fault| format!("{}: {}", fault.insn_off, fault.why))
}

/// `r0` is what a lookup with a key on the stack finds.
fn looked_up(then: &[Insn]) -> Vec<Insn> {
    let map = [insn(LD_IMM64, 1, 1, 0, 0), Insn::default()];
    let key = [insn(0x62, 10, 0, -4, 0), copy(2, 10), add(2, -4)];
    [&key[..], &map, &[helper(LOOKUP)], then].concat()
}

#[test]
fn what_every_verifier_refuses_is_told() {
    let cases: [(&[Insn], &str); 18] = [
        (&[RETURN], "0: ends without a result"),
        (&[copy(0, 2), RETURN], "0: reads r2, which holds nothing"),
        (&[set(0, 1), load(0, 0, 0), RETURN], "1: accesses memory through a number"),
        (&[set(0, 0), add(10, 1), RETURN], "1: writes the frame pointer"),
        (&[set(0, 0), insn(0x37, 0, 0, 0, 0), RETURN], "1: divides by zero"),
        (&[set(0, 0), insn(0x67, 0, 0, 0, 64), RETURN], "1: shifts by 64"),
        (&[set(0, 0), store(10, 0, 0), RETURN], "1: accesses 8 bytes at 0 of the stack"),
        (&[set(0, 0), store(10, -520, 0), RETURN], "1: accesses 8 bytes at -520 of the stack"),
        (
            &[set(0, 0), store(10, -12, 0), RETURN],
            "1: writes 8 bytes at -12 of the stack, which is not aligned",
        ),
        (&[copy(0, 1), insn(0x27, 0, 0, 0, 2), RETURN], "1: computes other than by addition"),
        (&[copy(0, 1), insn(0x04, 0, 0, 0, 2), RETURN], "1: computes in 32 bits with the context"),
        (&[copy(0, 10), insn(0x17, 0, 0, 0, 8), RETURN], "1: subtracts from the stack"),
        (
            &[add(1, 4), insn(0x61, 0, 1, 0, 0), RETURN],
            "1: accesses the context through a pointer that was moved",
        ),
        (&[store(10, -8, 1), insn(0x61, 0, 10, -8, 0), RETURN], "1: reads 4 bytes of a pointer on the stack"),
        // xdp_md: the packet without a test.
        (
            &[insn(0x61, 2, 1, 0, 0), insn(0x71, 0, 2, 0, 0), RETURN],
            "1: accesses 1 bytes at byte 0 of the packet",
        ),
        (&[insn(0x61, 2, 1, 4, 0), add(2, 1), set(0, 0), RETURN], "1: computes with the packet's end"),
        // A loop that changes nothing, left by what the packet is long.
        (
            &[set(0, 0), insn(0x61, 2, 1, 12, 0), if_eq(2, 5, 1), insn(0x05, 0, 0, -3, 0), RETURN],
            "goes around a loop",
        ),
        // r6 is not set on one way.
        (&[insn(0x61, 2, 1, 12, 0), set(0, 0), if_eq(2, 5, 1), copy(0, 6), RETURN], "3: reads r6"),
    ];
    for (insns, why) in cases {
        let told = refused("xdp", insns);
        assert!(told.contains(why), "{insns:?}: told {told:?}, not {why:?}");
    }
}

#[test]
fn map_values_are_tested_and_bounded() {
    assert!(refused("xdp", &looked_up(&[load(0, 0, 0), RETURN])).contains("that may be missing"));
    let tested = |then: &[Insn]| {
        refused("xdp", &looked_up(&[&[if_eq(0, 0, then.len() as i16)], then, &[set(0, 0), RETURN]].concat()))
    };
    assert_eq!(tested(&[load(1, 0, 8)]), "");
    assert!(tested(&[load(1, 0, 9)]).contains("accesses 8 bytes at byte 9 of a map's value, which has 16"));
    assert!(tested(&[load(1, 0, -1)]).contains("at byte -1"));
    // An index out of the value itself: 64 bits, without bounds; then masked.
    let index = |mask: i32| [load(1, 0, 0), insn(0x57, 1, 0, 0, mask), insn(0x0f, 0, 1, 0, 0), load(1, 0, 0)];
    assert_eq!(tested(&index(8)), "");
    assert!(tested(&index(15)).contains("perhaps 8 bytes at byte 15"));
    assert!(tested(&[load(1, 0, 0), insn(0x0f, 0, 1, 0, 0)]).contains("a number that may be anything"));
}

#[test]
fn packets_are_read_as_far_as_tests_have_shown() {
    let program = |byte_off: i16, condition: u8, swapped: bool| {
        let (a, b) = if swapped { (3, 4) } else { (4, 3) };
        [
            insn(0x61, 2, 1, 0, 0),
            insn(0x61, 3, 1, 4, 0),
            copy(4, 2),
            add(4, 8),
            insn(condition, a, b, 1, 0),
            insn(0x71, 0, 2, byte_off, 0),
            set(0, 0),
            RETURN,
        ]
    };
    // if data + 8 > end goto out; if end < data + 8 goto out
    for (condition, swapped) in [(0x2d, false), (0xad, true)] {
        assert_eq!(refused("xdp", &program(7, condition, swapped)), "");
        assert!(refused("xdp", &program(8, condition, swapped)).contains("8 bytes to be there"));
    }
    // if data + 8 <= end goto out
    assert!(refused("xdp", &program(0, 0xbd, false)).contains("nothing to be there"));
}

#[test]
fn what_is_not_modelled_is_named_and_blames_nobody() {
    let task = [helper(158), load(0, 0, 0), RETURN];
    let verified = verified("xdp", &task);
    assert_eq!(verified.refused(), None);
    assert!(verified.not_modelled.iter().any(|what| what.contains("the kernel's own structures")));
    let clean = super::tests::verified("xdp", &[set(0, 2), RETURN]);
    assert!(clean.is_clean(), "{clean:?}");
}

/// A reservation of 8 bytes, kept in `r6`, with what follows; the null way jumps behind it.
fn reserved(then: &[Insn]) -> Vec<Insn> {
    let reserve =
        [insn(LD_IMM64, 1, 1, 0, 0), Insn::default(), set(2, 8), set(3, 0), helper(131), copy(6, 0)];
    [&reserve[..], &[if_eq(0, 0, then.len() as i16)], then, &[set(0, 0), RETURN]].concat()
}

#[test]
fn helpers_are_given_what_they_ask_for() {
    let (probe_read, pid, pull_data) = (4, 14, 39);
    let map = [insn(LD_IMM64, 1, 1, 0, 0), Insn::default()];
    let stack = |reg: u8, off: i32| [copy(reg, 10), add(reg, off)];
    let end = [set(0, 0), RETURN];
    let cases: [(Vec<Insn>, &str); 11] = [
        // A key that is not whole, one that is no memory, none.
        (
            [&map[..], &[copy(2, 10), add(2, -2), helper(LOOKUP)], &end].concat(),
            "accesses 4 bytes at -2 of the stack",
        ),
        ([&map[..], &[set(2, 7), helper(LOOKUP)], &end].concat(), "argument 2 a number"),
        ([&map[..], &[set(2, 0), helper(LOOKUP)], &end].concat(), "argument 2 null"),
        ([&[helper(LOOKUP)], &end[..]].concat(), "argument 1 the context"),
        // probe_read(): a size that may be negative, of nothing, too large; into what is no memory.
        (
            [&stack(1, -8)[..], &[set(2, -1), set(3, 0), helper(probe_read)], &end].concat(),
            "that may be negative",
        ),
        (
            [&stack(1, -8)[..], &[set(2, 16), set(3, 0), helper(probe_read)], &end].concat(),
            "accesses 16 bytes at -8",
        ),
        ([&[set(2, 8), set(3, 0), helper(probe_read)], &end[..]].concat(), "argument 1 the context"),
        // r1 to r5 are gone after a call; what a helper returns is a number.
        ([&[helper(pid), copy(0, 1)], &end[..1], &end[1..]].concat(), "reads r1, which holds nothing"),
        ([&[helper(pid), load(0, 0, 0)], &end[..]].concat(), "accesses memory through a number"),
        // A pointer is no size.
        (
            [&[copy(2, 1), set(3, 0), helper(probe_read)], &end[..]].concat(),
            "argument 2 the context as a size",
        ),
        // Where the packet is pulled in, pointers into it are gone.
        (
            [&[insn(0x61, 6, 1, 76, 0), set(2, 0), helper(pull_data), insn(0x71, 0, 6, 0, 0)], &end[..]]
                .concat(),
            "accesses memory through a number",
        ),
    ];
    for (insns, why) in cases {
        let told = refused("tc", &insns);
        assert!(told.contains(why), "{insns:?}: told {told:?}, not {why:?}");
    }
    let filled =
        [&stack(1, -8)[..], &[set(2, 8), set(3, 0), helper(probe_read), load(0, 10, -8), RETURN]].concat();
    assert_eq!(refused("tc", &filled), "");
    let filled = verified("tc", &filled);
    assert!(filled.is_clean(), "{filled:?}");
}

#[test]
fn what_is_acquired_is_given_back_once() {
    let (submit_, lock_, unlock) = (132, 93, 94);
    let submit = [copy(1, 6), set(2, 0), helper(submit_)];
    assert_eq!(refused("tc", &reserved(&submit)), "");
    assert!(refused("tc", &reserved(&[])).contains("ends while it holds what instruction 4 acquired"));
    assert!(refused("tc", &reserved(&[submit, submit].concat())).contains("argument 1 a number"));
    let after = [&submit[..], &[load(0, 6, 0)]].concat();
    assert!(refused("tc", &reserved(&after)).contains("accesses memory through a number"));
    let beyond = [&[insn(0x7a, 6, 0, 8, 0)], &submit[..]].concat();
    assert!(refused("tc", &reserved(&beyond)).contains("accesses 8 bytes at byte 8 of memory, which has 8"));
    let untested = [
        insn(LD_IMM64, 1, 1, 0, 0),
        Insn::default(),
        set(2, 8),
        set(3, 0),
        helper(131),
        copy(1, 0),
        set(2, 0),
        helper(submit_),
        set(0, 0),
        RETURN,
    ];
    assert!(refused("tc", &untested).contains("argument 1 a pointer that may be null"));
    // A hash of plain bytes has no lock.
    let lock = [if_eq(0, 0, 2), copy(1, 0), helper(lock_), set(0, 0), RETURN];
    assert!(refused("tc", &looked_up(&lock)).contains("without locks"));
    assert!(
        refused("tc", &[copy(1, 10), helper(unlock), set(0, 0), RETURN]).contains("argument 1 the stack")
    );
}

#[test]
fn returns_are_held_against_the_range() {
    let returning = |insns: &[Insn], min: i64, max: i64, half: bool| {
        let traits = Traits { returns: Some(ReturnRange { min, max, half }), ..Traits::default() };
        let found = verified_as("fentry/f", insns, traits);
        found.refused().map_or_else(String::new, |fault| fault.why.clone())
    };
    assert_eq!(returning(&[set(0, 1), RETURN], 0, 1, false), "");
    assert!(returning(&[set(0, 2), RETURN], 0, 1, false).contains("returns 2"));
    assert!(returning(&[helper(14), RETURN], 0, 1, false).contains("a number that may be anything"));
    assert!(returning(&[copy(0, 10), RETURN], 0, 0, false).contains("returns the stack"));
    // w0 = -1
    assert_eq!(returning(&[insn(0xb4, 0, 0, 0, -1), RETURN], -4095, 0, true), "");
    assert!(returning(&[insn(0xb4, 0, 0, 0, -1), RETURN], -4095, 0, false).contains("returns 4294967295"));
}

#[test]
fn what_is_not_modelled_may_be_what_is_given_back() {
    let (lookup, release, to_tcp, uid) = (99, 86, 137, 47);
    let found = [
        set(0, 0),
        store(10, -16, 0),
        store(10, -8, 0),
        copy(2, 10),
        add(2, -16),
        set(3, 16),
        set(4, 0),
        set(5, 0),
        helper(lookup),
    ];
    let given_back = |then: &[Insn]| {
        let tested = [if_eq(0, 0, then.len() as i16)];
        refused("tc", &[&found[..], &tested, then, &[set(0, 0), RETURN]].concat())
    };
    assert_eq!(given_back(&[copy(1, 0), helper(release)]), "");
    // As what it was cast to.
    assert_eq!(given_back(&[copy(1, 0), helper(to_tcp), copy(1, 0), helper(release)]), "");
    let leaked = given_back(&[copy(1, 0), helper(to_tcp)]);
    assert!(leaked.contains("ends while it holds what instruction 8"), "{leaked}");
    assert!(given_back(&[copy(1, 0), helper(uid)]).contains("argument 1 a socket"));
    // An extension's arguments are those of what it stands in for.
    assert_eq!(refused("freplace", &[insn(0x61, 2, 1, 0, 0), insn(0x71, 0, 2, 0, 0), RETURN]), "");
}

#[test]
fn stack_that_was_never_written_is_read_as_the_kernel_lets_it() {
    let reads = |reads_unset_stack, stack_grows_by_reads| {
        let traits = Traits { reads_unset_stack, stack_grows_by_reads, ..Traits::default() };
        let found = verified_as("tc", &[load(0, 10, -8), RETURN], traits);
        (found.refused().is_some(), found.is_clean())
    };
    assert_eq!(reads(None, None), (false, false));
    assert_eq!(reads(None, Some(false)), (true, false));
    assert_eq!(reads(Some(false), None), (true, false));
    assert_eq!(reads(Some(true), Some(true)), (false, true));
    assert_eq!(reads(Some(true), None), (false, false));
}

/// What is done to a number of 32 bits in r2 so that some verifiers, if not all, know the test that follows to be false.
#[test]
fn code_behind_numbers_that_a_verifier_may_know_better_is_not_surely_refused() {
    let and = |dst: u8, imm: i32| insn(0x57, dst, 0, 0, imm);
    let if_not = |imm: i32| insn(0x55, 2, 0, 1, imm);
    let cases: [(&str, Vec<Insn>); 7] = [
        (
            "a shift to the right of bits with holes",
            vec![and(2, 0x101), insn(0x77, 2, 0, 0, 1), and(2, 15), if_not(0)],
        ),
        ("the same in 32 bits", vec![and(2, 0x101), insn(0x74, 2, 0, 0, 1), and(2, 15), if_not(0)]),
        ("multiplied by 0", vec![insn(0x27, 2, 0, 0, 0), if_not(0)]),
        (
            "the lower half of bits with holes",
            vec![
                and(2, 17),
                set(3, 1),
                insn(0x67, 3, 0, 0, 32),
                insn(0x4f, 2, 3, 0, 0),
                insn(0x54, 2, 0, 0, 14),
                if_not(0),
            ],
        ),
        ("the one number that bits and bounds leave", vec![and(2, 8), if_eq(2, 0, 1), if_not(8)]),
        ("a byte with its sign", vec![insn(0xbf, 2, 2, 8, 0), insn(0xc5, 2, 0, 1, -200)]),
        ("a register beside itself", vec![insn(0x2d, 2, 2, 1, 0)]),
    ];
    for (what, steps) in cases {
        let begin = [insn(0x61, 2, 1, 0, 0)];
        // The last test leaps over the way out, to what reads a register that was never set.
        let end = [insn(0x05, 0, 0, 1, 0), copy(0, 9), set(0, 0), RETURN];
        let program = [&begin[..], &steps, &end].concat();
        let verified = verified("tc", &program);
        assert!(verified.refused().is_none(), "{what}: {:?}", verified.faults);
    }
    // The way that is tested for can be gone.
    let program = [
        &[insn(0x61, 2, 1, 0, 0), and(2, 1), if_not(0)][..],
        &[insn(0x05, 0, 0, 1, 0), copy(0, 9), set(0, 0), RETURN],
    ];
    assert!(verified("tc", &program.concat()).refused().is_some());
}

/// `call` of the function `off` instructions behind the next.
fn call(off: i32) -> Insn {
    insn(CALL, 0, 1, 0, off)
}

#[test]
fn what_is_null_together_stays_so_across_calls() {
    // r6 is what was found; the function's own r7 is a copy of it on the way that is walked first, and something else that
    // was found on the other. It tells whether r7 is null; r6 is used if not.
    let key = [insn(0x62, 10, 0, -4, 0), copy(2, 10), add(2, -4)];
    let lookup = [&key[..], &[insn(LD_IMM64, 1, 1, 0, 0), Insn::default(), helper(LOOKUP)]].concat();
    // A number without copies, which decides.
    let before = [insn(0x61, 8, 1, 0, 0)];
    let after = [copy(6, 0), copy(1, 6), copy(2, 8), insn(0x27, 2, 0, 0, 3)];
    let then = [call(4), if_eq(0, 0, 1), load(0, 6, 0), set(0, 0), RETURN];
    let main = [&before[..], &lookup, &after, &then].concat();
    let own =
        [&[copy(7, 1), if_eq(2, 0, 1), insn(0x05, 0, 0, lookup.len() as i16 + 1, 0)], &lookup[..]].concat();
    let meet = [copy(7, 0), set(0, 0), if_eq(7, 0, 1), set(0, 1), RETURN];
    let found = verified_of(
        &with_function("tc", &main, false, &[own, meet.to_vec()].concat()),
        map(MapType::HASH),
        None,
        Traits::default(),
    );
    let missed =
        |fault: &Fault| fault.why == "accesses memory through a map's value that may be missing (null)";
    assert!(found.faults.iter().any(missed), "{found:?}");
}

#[test]
fn what_an_array_has_may_be_known_to_be_found() {
    let found = |knows_array_entries, then: &[Insn]| {
        let traits = Traits { knows_array_entries, ..Traits::default() };
        let insns = looked_up(&[then, &[set(0, 0), RETURN]].concat());
        let found = verified_of(&entry("kprobe/f", &insns), map(MapType::ARRAY), None, traits);
        (found.refused().is_some(), found.is_clean())
    };
    let comm = 16;
    let uses: [&[Insn]; 3] = [&[load(1, 0, 0)], &[add(0, 8)], &[copy(1, 0), set(2, 16), helper(comm)]];
    for then in uses {
        assert_eq!(found(None, then), (false, false), "{then:?}");
        assert_eq!(found(Some(false), then), (true, false), "{then:?}");
        assert_eq!(found(Some(true), then), (false, true), "{then:?}");
    }
}

#[test]
fn a_moved_context_loads_no_packet() {
    let program = |moved: i32| [copy(6, 1), add(6, moved), insn(0x30, 0, 0, 0, 0), set(0, 0), RETURN];
    assert_eq!(refused("tc", &program(0)), "");
    assert_eq!(
        refused("tc", &program(8)),
        "2: loads from the packet while r6 points into the middle of the context"
    );
}

#[test]
fn what_a_global_function_does_to_the_packet_is_seen() {
    let pull_data = 39;
    let main = |then: &[Insn]| {
        let test = [
            insn(0x61, 6, 1, 76, 0),
            insn(0x61, 7, 1, 80, 0),
            copy(2, 6),
            add(2, 1),
            insn(0xbd, 2, 7, 2, 0),
            set(0, 0),
            RETURN,
            call(then.len() as i32),
        ];
        [&test[..], then].concat()
    };
    let main = main(&[insn(0x71, 0, 6, 0, 0), set(0, 0), RETURN]);
    let clean = |function: &[Insn]| {
        let whole = with_function("tc", &main, true, function);
        let found = verified_of(&whole, map(MapType::HASH), None, Traits::default());
        (found.refused().cloned(), found.faults.is_empty())
    };
    assert_eq!(clean(&[set(0, 0), RETURN]), (None, true));
    // Some verifiers refuse it.
    assert_eq!(clean(&[set(2, 0), helper(pull_data), set(0, 0), RETURN]), (None, false));
}

#[test]
fn packets_are_given_to_no_helper_by_what_may_not() {
    // `skb_data` and `skb_data_end` of `struct bpf_sock_ops`.
    let test = [load(6, 1, 192), load(7, 1, 200), copy(2, 6), add(2, 4), insn(0xbd, 2, 7, 2, 0)];
    let give = [
        set(0, 0),
        RETURN,
        insn(LD_IMM64, 1, 1, 0, 0),
        Insn::default(),
        copy(2, 6),
        helper(LOOKUP),
        set(0, 0),
        RETURN,
    ];
    let program = [&test[..], &give].concat();
    assert!(refused("sockops", &program).contains("argument 2 memory in the packet"));
}

#[test]
fn a_lock_of_which_nothing_is_known_blames_nobody() {
    let (lock, unlock) = (93, 94);
    let mut types = Writer::default();
    let int = types.int("int", 4, 0);
    let spin_lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
    let value_type = types.structure("value", 16, &[("lock", spin_lock, 0), ("a", int, 32)]);
    let mut locked = map(MapType::HASH);
    locked.value_type = Some(TypeId(value_type));
    // What `taken` leaves in r1 is locked; what was found, in r6, is unlocked.
    let fault = |taken: &[Insn]| {
        let unlocked = [helper(lock), copy(1, 6), helper(unlock)];
        let then = [&[copy(6, 0)], taken, &unlocked].concat();
        let tested = [&[if_eq(0, 0, then.len() as i16)], &then[..], &[set(0, 0), RETURN]].concat();
        let entry = entry("tc", &looked_up(&tested));
        let found = verified_of(&entry, locked.clone(), Some(types.btf()), Traits::default());
        found.refused().map(|fault| fault.why.clone())
    };
    assert_eq!(fault(&[copy(1, 6)]), None);
    // The task at hand: a pointer that is not modelled.
    let task = 158;
    assert_eq!(fault(&[helper(task), copy(1, 0)]), None);
    // What another lookup found.
    let other = looked_up(&[insn(0x55, 0, 0, 2, 0), set(0, 0), RETURN, copy(1, 0)]);
    assert_eq!(fault(&other[..]).as_deref(), Some("unlocks another lock than it holds"));
}

#[test]
fn a_global_function_returns_a_number() {
    let told = |returned: &[Insn], void: bool| {
        let mut types = Writer::default();
        let int = types.int("int", 4, 0);
        let proto = types.raw("", BtfKind::FuncProto, false, 0, if void { 0 } else { int }, &[]);
        let function = types.raw("function", BtfKind::Func, false, 1, proto, &[]);
        let mut whole = with_function("tc", &[call(2), set(0, 0), RETURN], true, returned);
        whole.functions[1].type_id = Some(TypeId(function));
        let found = verified_of(&whole, map(MapType::HASH), Some(types.btf()), Traits::default());
        (found.refused().map(|fault| fault.why.clone()), found.faults.is_empty())
    };
    assert_eq!(told(&[set(0, 0), RETURN], false), (None, true));
    let why = "a global function returns the stack; it must return a number".to_owned();
    assert_eq!(told(&[copy(0, 10), RETURN], false), (Some(why), false));
    assert_eq!(told(&[copy(0, 10), RETURN], true), (None, false));
}

#[test]
fn copies_that_older_verifiers_do_not_tell_apart_blame_nobody() {
    let random = 7;
    // r7 is a copy of r6 on the way that is walked first, and a number of its own on the other.
    let copies = [
        helper(random),
        copy(6, 0),
        helper(random),
        copy(8, 0),
        helper(random),
        copy(7, 0),
        if_eq(8, 1, 1),
        copy(7, 6),
        insn(0x55, 7, 0, 2, 5),
        if_eq(6, 5, 1),
        copy(0, 9),
        set(0, 0),
        RETURN,
    ];
    // A constant that has copies is added to itself, then a copy is tested.
    let itself = [
        helper(random),
        copy(6, 0),
        copy(7, 6),
        helper(random),
        copy(8, 0),
        copy(9, 8),
        insn(0x55, 7, 0, 4, 1),
        insn(0x0f, 6, 6, 0, 0),
        insn(0x1d, 7, 9, 2, 0),
        if_eq(6, 3, 1),
        insn(0x37, 0, 0, 0, 0),
        set(0, 0),
        RETURN,
    ];
    // Two places in the packet are the same on one way; the one is tested, the other read.
    let places = [
        &[copy(9, 1), helper(random), copy(7, 0), helper(random), copy(6, 0)][..],
        &[insn(0x61, 2, 9, 76, 0), insn(0x61, 3, 9, 76, 0), insn(0x61, 4, 9, 80, 0)],
        &[insn(0x25, 6, 0, 9, 100), insn(0x25, 7, 0, 8, 100)],
        &[insn(0x0f, 2, 6, 0, 0), add(2, 1), insn(0x0f, 3, 7, 0, 0), add(3, 1)],
        &[insn(0x5d, 7, 6, 1, 0), copy(2, 3), insn(0x2d, 3, 4, 1, 0), insn(0x71, 5, 2, -1, 0)],
        &[set(0, 0), RETURN],
    ];
    let (copies, itself, places) = (copies.to_vec(), itself.to_vec(), places.concat());
    for (section, program) in [("socket", copies), ("socket", itself), ("tc", places)] {
        let found = verified(section, &program);
        assert!(found.refused().is_none() && !found.faults.is_empty(), "{found:?}");
    }
}
