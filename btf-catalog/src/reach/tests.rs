//! Hand-made programs, and random ones whose concrete run must stay inside of what [`reach`] says may be walked.

use super::*;
use crate::core::CoreReloKind;
use crate::insn::{CALL, EXIT, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC};
use crate::object::{Function, MapDef, MapRef};
use crate::uapi::MapType;
use proptest::prelude::*;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}
/// `dst = imm`
fn set(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}
/// `if dst == imm goto off`
fn if_eq(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x15, dst, 0, off, imm)
}
fn helper(id: i32) -> Insn {
    insn(CALL, 0, 0, 0, id)
}
const RETURN: Insn = Insn { code: EXIT, dst: 0, src: 0, off: 0, imm: 0 };
const KTIME: i32 = 5;

fn function(name: &str, insn_off: usize, global: bool) -> Function {
    Function { name: name.to_owned(), insn_off, type_id: None, global }
}

fn entry(insns: &[Insn], functions: Vec<Function>, map_refs: Vec<MapRef>) -> Entry {
    Entry {
        name: "entry".to_owned(),
        section: "raw_tp".to_owned(),
        kind: crate::object::SectionKind::from_name("socket"),
        autoload: true,
        insns: insns.to_vec(),
        functions,
        map_refs,
        extern_refs: Vec::new(),
        core_relos: Vec::new(),
        lines: Vec::new(),
    }
}

fn object(maps: Vec<MapDef>) -> BpfObject {
    BpfObject {
        big_endian: false,
        license: "GPL".to_owned(),
        kern_version: None,
        btf: None,
        entries: Vec::new(),
        maps,
        externs: Vec::new(),
        struct_ops: Vec::new(),
        left_to_loader: Vec::new(),
        text_relos: Vec::new(),
        accesses: crate::core::Accesses::default(),
    }
}

fn rodata(bytes: &[u8]) -> MapDef {
    let mut map = MapDef::default();
    map.map_type = MapType::ARRAY;
    map.value_size = bytes.len() as u32;
    map.data = Some(Bytes::copy_from_slice(bytes));
    map.frozen = true;
    map
}

/// One letter an instruction: `.` never, `?` perhaps, `#` surely.
fn picture(reach: &Reach) -> String {
    let letter = |walk: &Walk| match walk {
        Walk::Never => '.',
        Walk::May => '?',
        Walk::Sure => '#',
    };
    reach.walks.iter().map(letter).collect()
}

fn walked(insns: &[Insn]) -> String {
    let object = object(Vec::new());
    picture(&reach(
        &object,
        &entry(insns, vec![function("entry", 0, true)], Vec::new()),
        insns,
        &Constants::default(),
    ))
}

fn with_rodata(insns: &[Insn], bytes: &[u8]) -> String {
    let object = object(vec![rodata(bytes)]);
    let refs = vec![MapRef { insn_off: 0, map: 0, value_off: Some(0) }];
    let entry = entry(insns, vec![function("entry", 0, true)], refs);
    picture(&reach(&object, &entry, insns, &Constants::of(&object)))
}

#[test]
fn a_branch_on_a_constant_is_walked_on_one_side() {
    let program = |value| [set(1, value), set(0, 0), if_eq(1, 0, 1), set(0, 1), RETURN];
    assert_eq!(walked(&program(0)), "###.#");
    assert_eq!(walked(&program(1)), "#####");
}

#[test]
fn a_loop_that_nothing_leaves_has_no_end() {
    let back = |off| insn(0x05, 0, 0, off, 0);
    // One way goes round for ever.
    assert_eq!(without_end(&[set(0, 0), if_eq(1, 0, 1), RETURN, set(0, 1), back(-2)]), [3, 4]);
    assert_eq!(without_end(&[set(0, 0), if_eq(1, 0, 1), back(-2), RETURN]), [0usize; 0]);
    assert_eq!(without_end(&[insn(CALL, 0, crate::insn::PSEUDO_KFUNC_CALL, 0, 1), back(-1)]), [1]);
    assert_eq!(without_end(&[back(i16::MAX)]), [0usize; 0]);
}

#[test]
fn a_zero_on_the_stack_is_a_zero_of_any_size() {
    // *(u32 *)(r10 - 4) = r1; r2 = *(u32 *)(r10 - 4); if r2 == 0 …
    let program = |value| {
        let (store, load) = (insn(0x63, 10, 1, -4, 0), insn(0x61, 2, 10, -4, 0));
        [set(1, value), store, load, set(0, 0), if_eq(2, 0, 1), set(0, 1), RETURN]
    };
    assert_eq!(walked(&program(0)), "#####.#");
    // Another number is forgotten by verifiers before v5.16.
    assert_eq!(walked(&program(1)), "#######");
}

#[test]
fn constants_at_a_place_that_is_not_constant_are_read_by_no_verifier() {
    // r2 = *(u32 *)(ctx + 0) & 3; r6 = rodata + r2; if *(u8 *)r6 == 0 …
    let address = [insn(LD_IMM64, 6, 0, 0, 0), insn(0, 0, 0, 0, 0)];
    let index = [insn(0x61, 2, 1, 0, 0), insn(0x57, 2, 0, 0, 3), insn(0x0f, 6, 2, 0, 0)];
    let test = [insn(0x71, 3, 6, 0, 0), set(0, 0), if_eq(3, 0, 1), set(0, 1), RETURN];
    let program: Vec<Insn> = [&address[..], &index, &test].concat();
    assert_eq!(with_rodata(&program, &[0; 4]), "##########");
}

#[test]
fn a_branch_on_what_is_read_is_walked_on_both() {
    // r1 = *(u32 *)(ctx + 0); if r1 == 5: r0 = 1
    let load = insn(0x61, 1, 1, 0, 0);
    assert_eq!(walked(&[load, set(0, 0), if_eq(1, 5, 1), set(0, 1), RETURN]), "#####");
    // A byte is never above 300, and every verifier knows it; that it is not 300, those since v6.8 know.
    let (byte, if_above) = (insn(0x71, 1, 1, 0, 0), insn(0x25, 1, 0, 1, 300));
    assert_eq!(walked(&[byte, set(0, 0), if_above, RETURN, helper(KTIME), RETURN]), "####..");
    assert_eq!(walked(&[byte, set(0, 0), if_eq(1, 300, 1), RETURN, helper(KTIME), RETURN]), "####??");
    // A mask that leaves no bits.
    let and = |imm| insn(0x57, 1, 0, 0, imm);
    assert_eq!(
        walked(&[load, and(0), set(0, 0), insn(0x55, 1, 0, 1, 0), RETURN, helper(KTIME), RETURN]),
        "#####.."
    );
    assert_eq!(
        walked(&[load, and(4), set(0, 0), insn(0x55, 1, 0, 1, 0), RETURN, helper(KTIME), RETURN]),
        "#######"
    );
}

#[test]
fn read_only_data_decides() {
    let program = [
        insn(LD_IMM64, 1, 0, 0, 0),
        Insn::default(),
        insn(0x61, 1, 1, 0, 0),
        set(0, 0),
        if_eq(1, 7, 1),
        helper(KTIME),
        RETURN,
    ];
    assert_eq!(with_rodata(&program, &7u32.to_le_bytes()), "#####.#");
    assert_eq!(with_rodata(&program, &8u32.to_le_bytes()), "#######");
    // Read beyond the data: not known here.
    assert_eq!(with_rodata(&program, &[7]), "#####?#");
}

#[test]
fn the_maps_that_helpers_are_given_are_known_way_by_way() {
    let map_ref = |insn_off| MapRef { insn_off, map: insn_off / 3, value_off: None };
    // r1 = map 0 or map 1, by what the context has; put aside and taken back.
    let program = [
        insn(0x61, 2, 1, 0, 0),
        if_eq(2, 7, 3),
        insn(LD_IMM64, 1, 0, 0, 0),
        Insn::default(),
        insn(0x05, 0, 0, 2, 0),
        insn(LD_IMM64, 1, 0, 0, 0),
        Insn::default(),
        insn(0x7b, 10, 1, -8, 0),
        insn(0x79, 1, 10, -8, 0),
        helper(1),
        RETURN,
    ];
    let entry = entry(&program, Vec::new(), vec![map_ref(2), map_ref(5)]);
    let object = object(vec![MapDef::default(), MapDef::default()]);
    let reach = reach(&object, &entry, &entry.insns, &Constants::default());
    assert_eq!(reach.handed_maps[&(9, 1)], [Some(0), Some(1)].into());
    assert_eq!(reach.handed_maps[&(9, 2)], [None].into());
}

#[test]
fn numbers_survive_a_spill() {
    let spill = insn(0x7b, 10, 1, -8, 0);
    let fill = insn(0x79, 2, 10, -8, 0);
    let tail = [if_eq(2, 3, 1), helper(KTIME), set(0, 0), RETURN];
    let program: Vec<Insn> = [set(1, 3), spill, fill].into_iter().chain(tail).collect();
    assert_eq!(walked(&program), "####.##");
    // Half of it is what only some verifiers follow.
    let narrow: Vec<Insn> =
        [set(1, 3), insn(0x63, 10, 1, -8, 0), insn(0x61, 2, 10, -8, 0)].into_iter().chain(tail).collect();
    assert_eq!(walked(&narrow), "####?##");
}

#[test]
fn a_loop_that_ends_is_left() {
    // r6 = 0; do { r6 += 1 } while (r6 != 1000); helper
    let program = [set(6, 0), insn(0x07, 6, 0, 0, 1), insn(0x55, 6, 0, -2, 1000), helper(KTIME), RETURN];
    assert_eq!(walked(&program), "#####");
}

#[test]
fn ways_that_differ_are_followed_apart() {
    // r6 = read ? 1 : 0; if r6 == 2: never, as each way knows.
    let program = [
        insn(0x61, 1, 1, 0, 0),
        set(6, 0),
        if_eq(1, 0, 1),
        set(6, 1),
        set(0, 0),
        if_eq(6, 2, 1),
        RETURN,
        helper(KTIME),
        RETURN,
    ];
    assert_eq!(walked(&program), "#######..");
}

#[test]
fn functions_know_what_they_are_called_with() {
    // main: r1 = arg; call f; exit     f: r0 = 0; if r1 == 1 goto exit; ktime; exit
    let program = |arg: i32, global: bool| {
        let insns = [
            set(1, arg),
            insn(CALL, 0, PSEUDO_CALL, 0, 1),
            RETURN,
            set(0, 0),
            if_eq(1, 1, 1),
            helper(KTIME),
            RETURN,
        ];
        let functions = vec![function("entry", 0, true), function("f", 3, global)];
        picture(&reach(
            &object(Vec::new()),
            &entry(&insns, functions, Vec::new()),
            &insns,
            &Constants::default(),
        ))
    };
    assert_eq!(program(1, false), "#####.#");
    assert_eq!(program(2, false), "#######");
    assert_eq!(program(1, true), "#####?#", "a global function is verified for any argument");
}

#[test]
fn callbacks_are_walked_once_they_are_handed_over() {
    let insns = |calls: bool, times: i32| {
        [
            insn(LD_IMM64, 2, PSEUDO_FUNC, 0, 6),
            Insn::default(),
            set(1, times),
            set(3, 0),
            set(4, 0),
            if calls { helper(181) } else { set(0, 0) },
            RETURN,
            set(0, 0),
            RETURN,
        ]
    };
    let reached = |calls, times| {
        let insns = insns(calls, times);
        let functions = vec![function("entry", 0, true), function("callback", 7, false)];
        picture(&reach(
            &object(Vec::new()),
            &entry(&insns, functions, Vec::new()),
            &insns,
            &Constants::default(),
        ))
    };
    assert_eq!(reached(true, 10), "#########");
    assert_eq!(reached(true, 0), "#######??");
    assert_eq!(reached(false, 10), "#######??");
}

#[test]
fn what_only_some_verifiers_know_decides_nothing_surely() {
    let reached = |insns: &[Insn]| {
        let object = object(Vec::new());
        picture(&reach(
            &object,
            &entry(insns, vec![function("entry", 0, true)], Vec::new()),
            insns,
            &Constants::default(),
        ))
    };
    let (processor, random) = (8, 7);
    // A processor's number is at most 8191, and may be 64.
    let above = |limit: i32| [helper(processor), insn(0x25, 0, 0, 1, limit), RETURN, set(0, 0), RETURN];
    assert_eq!(reached(&above(64)), "#####");
    assert_eq!(reached(&above(8191)), "###??");
    // What is greater than another is not 0.
    let greater = |zero: i32| {
        [
            helper(random),
            insn(0xbf, 6, 0, 0, 0),
            helper(random),
            insn(0x3d, 6, 0, 2, 0),
            if_eq(0, zero, 2),
            RETURN,
            set(0, 0),
            RETURN,
            RETURN,
        ]
    };
    assert_eq!(reached(&greater(1)).as_bytes()[7], b'#');
    assert_eq!(reached(&greater(0)).as_bytes()[4], b'#');
}

#[test]
fn a_stack_slot_that_a_helper_may_have_written_is_no_constant() {
    let program = |id: i32| {
        [
            insn(0x7a, 10, 0, -8, 0),
            insn(0xbf, 1, 10, 0, 0),
            insn(0x07, 1, 0, 0, -8),
            set(2, 8),
            helper(id),
            insn(0x79, 3, 10, -8, 0),
            set(0, 0),
            if_eq(3, 0, 1),
            helper(KTIME),
            RETURN,
        ]
    };
    // bpf_get_current_comm() fills it; bpf_strtol(), say, may write it.
    assert_eq!(walked(&program(16)), "##########");
    assert_eq!(walked(&program(105)), "########?#");
}

#[test]
fn the_context_is_followed() {
    let object = object(Vec::new());
    let insns = [
        insn(0x7b, 10, 1, -8, 0),
        insn(0x79, 6, 10, -8, 0),
        insn(0x61, 2, 6, 16, 0),
        insn(0x62, 6, 0, 8, 1),
        set(0, 0),
        RETURN,
    ];
    let reach = reach(
        &object,
        &entry(&insns, vec![function("entry", 0, true)], Vec::new()),
        &insns,
        &Constants::default(),
    );
    let access = |insn_off, off, write| ContextAccess {
        insn_off,
        off: Some(off),
        byte_sz: 4,
        write,
        moved: false,
        signed: false,
    };
    assert_eq!(reach.context, [access(2, 16, false), access(3, 8, true)]);
    assert_eq!(reach.stack, [8]);
}

#[test]
fn a_tangle_of_branches_ends_and_says_so() {
    // 2^300 ways, each with its own number: r6 |= 1 << n, or not.
    let mut insns = Vec::new();
    for n in 0..300 {
        insns.extend([insn(0x61, 2, 1, 0, 0), if_eq(2, n, 1), insn(0x07, 6, 0, 0, n)]);
    }
    insns.extend([set(0, 0), RETURN]);
    let started = std::time::Instant::now();
    let reached = walked(&insns);
    assert!(!reached.contains('.'), "everything can be reached");
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    // 8 functions that each call the next one 200 times.
    let mut insns = Vec::new();
    let mut functions = Vec::new();
    for n in 0..8 {
        functions.push(function(&n.to_string(), insns.len(), false));
        let next = (n + 1) * 202;
        for _ in 0..200 {
            let at = insns.len() as i32;
            insns.push(if n < 7 { insn(CALL, 0, PSEUDO_CALL, 0, next - at - 1) } else { helper(KTIME) });
        }
        insns.extend([set(0, 0), RETURN]);
    }
    let object = object(Vec::new());
    let all = reach(&object, &entry(&insns, functions, Vec::new()), &insns, &Constants::default());
    assert!(all.cut_short && all.walks.iter().all(|walk| *walk != Walk::Never));
}

#[test]
fn poison_that_is_never_reached_is_no_failure() {
    let poison = helper(crate::core::POISON_IMM);
    let relocated = |exists: i32| {
        let insns = vec![set(1, exists), set(0, 0), if_eq(1, 0, 1), poison, RETURN];
        let outcome = crate::core::ReloOutcome::Poisoned("no such field");
        let access = "struct s.f".into();
        let (kind, found) = (CoreReloKind::FieldByteOffset, crate::core::Found::Kernel);
        let outcomes =
            vec![Relocated { insn_off: 3, kind, ty: crate::btf::TypeId(1), access, outcome, found }];
        RelocatedEntry { insns, outcomes }
    };
    let failures = |exists| {
        let relocated = relocated(exists);
        let entry = entry(&relocated.insns, vec![function("entry", 0, true)], Vec::new());
        let reach = reach(&object(Vec::new()), &entry, &relocated.insns, &Constants::default());
        reach.poisoned(&relocated).map(|(.., walk)| walk).collect::<Vec<_>>()
    };
    assert_eq!(failures(0), []);
    assert_eq!(failures(1), [Walk::Sure]);
}

#[test]
fn constants_are_read_as_their_variables_types() {
    let number = |value, byte_sz| constant_bytes(value, byte_sz, false, false);
    assert_eq!(number("0x102", 2), Ok(vec![2, 1]));
    assert_eq!(number("-1", 4), Ok(vec![255; 4]));
    assert_eq!(number("true", 1), Ok(vec![1]));
    assert_eq!(constant_bytes("258", 4, false, true), Ok(vec![0, 0, 1, 2]));
    assert_eq!(number("18446744073709551615", 8), Ok(vec![255; 8]));
    for (value, byte_sz, why) in [
        ("256", 1, "does not fit into 1 bytes"),
        ("-129", 1, "does not fit into 1 bytes"),
        ("x", 4, "not a number, true, false or a text in double quotes"),
        ("1", 12, "the variable has 12 bytes, which is no number"),
        ("\"a\"", 4, "the variable is not an array of characters"),
    ] {
        assert_eq!(number(value, byte_sz), Err(why.to_owned()), "{value}");
    }
    assert_eq!(constant_bytes("\"eth0\"", 6, true, false), Ok(b"eth0\0\0".to_vec()));
    assert_eq!(
        constant_bytes("\"eth0\"", 4, true, false),
        Err("4 bytes and a NUL do not fit into 4".to_owned())
    );
    let error = Constants::default().set_rodata(&object(Vec::new()), "x", "1").unwrap_err();
    assert_eq!(error.to_string(), "no variable x in read-only data; there are: none");
    let error = Constants::default().leave_out(&object(Vec::new()), "x").unwrap_err();
    assert_eq!(error.to_string(), "no entry x; there are: none");
}

/// Runs a program of arithmetic, jumps and stack accesses; gives the instructions it comes to.
fn run(insns: &[Insn], context: &[u8; 64]) -> Vec<usize> {
    let mut regs = [0u64; 11];
    let mut stack = [0u8; 512];
    let mut visited = Vec::new();
    let mut at = 0;
    for _ in 0..500 {
        let Some(&insn) = insns.get(at) else { break };
        visited.push(at);
        let wide = matches!(insn.class(), 5 | 7);
        let from_register = insn.code & 8 != 0;
        let (a, b) = (
            regs[usize::from(insn.dst)],
            if from_register { regs[usize::from(insn.src)] } else { i64::from(insn.imm) as u64 },
        );
        let byte_sz = [4, 2, 1, 8][usize::from(insn.code >> 3 & 3)];
        let place = |off: i16| (512 + i32::from(off)) as usize;
        at += 1;
        match insn.class() {
            _ if insn.code == EXIT => break,
            1 => {
                let bytes =
                    if insn.src == 10 { &stack[place(insn.off)..] } else { &context[insn.off as usize..] };
                let value =
                    bytes[..byte_sz].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                regs[usize::from(insn.dst)] = value;
            }
            2 | 3 => {
                let value =
                    if insn.class() == 3 { regs[usize::from(insn.src)] } else { i64::from(insn.imm) as u64 };
                stack[place(insn.off)..][..byte_sz].copy_from_slice(&value.to_le_bytes()[..byte_sz]);
            }
            4 | 7 => regs[usize::from(insn.dst)] = compute(insn, wide, a, b),
            5 | 6 => {
                let (a, b) = if wide { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
                let (sa, sb) =
                    if wide { (a as i64, b as i64) } else { (i64::from(a as i32), i64::from(b as i32)) };
                let taken = match insn.code & 0xf0 {
                    0x00 => true,
                    0x10 => a == b,
                    0x20 => a > b,
                    0x30 => a >= b,
                    0x40 => a & b != 0,
                    0x50 => a != b,
                    0x60 => sa > sb,
                    0x70 => sa >= sb,
                    0xa0 => a < b,
                    0xb0 => a <= b,
                    0xc0 => sa < sb,
                    _ => sa <= sb,
                };
                if taken {
                    at = (at as i64 + i64::from(insn.off)) as usize;
                }
            }
            _ => unreachable!("not made by random_insn()"),
        }
    }
    visited
}

fn compute(insn: Insn, wide: bool, a: u64, b: u64) -> u64 {
    let (mask, bits) = if wide { (u64::MAX, 64) } else { (u64::from(u32::MAX), 32) };
    let (a, b) = (a & mask, b & mask);
    let shift = b & (bits - 1);
    let result = match insn.code & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b).unwrap_or(0),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << shift,
        0x70 => a >> shift,
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(b).unwrap_or(a),
        0xa0 => a ^ b,
        0xb0 if insn.off == 8 => b as i8 as u64,
        0xb0 if insn.off == 16 => b as i16 as u64,
        0xb0 if insn.off == 32 => b as i32 as u64,
        0xb0 => b,
        0xc0 if wide => (a as i64 >> shift) as u64,
        _ => (a as i32 >> shift) as u64,
    };
    result & mask
}

fn random_insn() -> impl Strategy<Value = Insn> {
    let number =
        prop_oneof![Just(0), Just(1), Just(-1), -16..16, any::<i32>(), (0u32..31).prop_map(|bit| 1 << bit)];
    let reg = || prop_oneof![Just(0u8), Just(2), Just(3), Just(6)];
    let alu = (
        prop::sample::select((0..=12u8).map(|op| op << 4).collect::<Vec<_>>()),
        prop::bool::ANY,
        prop::bool::ANY,
        reg(),
        reg(),
        number.clone(),
        prop::sample::select(vec![0i16, 0, 0, 8, 16, 32]),
    )
        .prop_map(|(op, wide, from_register, dst, src, imm, extend)| {
            let from_register = from_register && op != 0x80;
            // Shifts by more than the width are refused.
            let shifts = matches!(op, 0x60 | 0x70 | 0xc0);
            let (from_register, imm) = if shifts { (false, imm & 31) } else { (from_register, imm) };
            let off = if op == 0xb0 && from_register && (wide || extend < 32) { extend } else { 0 };
            let code = op | if wide { 7 } else { 4 } | if from_register { 8 } else { 0 };
            insn(code, dst, src, off, imm)
        });
    let conditions = vec![0x00u8, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];
    let jump = (
        prop::sample::select(conditions),
        prop::bool::ANY,
        prop::bool::ANY,
        reg(),
        reg(),
        number.clone(),
        -4i16..8,
    )
        .prop_map(|(op, wide, from_register, dst, src, imm, off)| {
            let (wide, from_register) = if op == 0 { (true, false) } else { (wide, from_register) };
            insn(op | if wide { 5 } else { 6 } | if from_register { 8 } else { 0 }, dst, src, off, imm)
        });
    let sizes = || prop::sample::select(vec![0x00u8, 0x08, 0x10, 0x18]);
    let load = (sizes(), reg(), prop::bool::ANY, 0i16..7).prop_map(|(size, dst, of_stack, n)| {
        if of_stack { insn(0x61 | size, dst, 10, -8 - 4 * n, 0) } else { insn(0x61 | size, dst, 1, 8 * n, 0) }
    });
    let store =
        (sizes(), reg(), prop::bool::ANY, 0i16..7, number).prop_map(|(size, src, of_register, n, imm)| {
            insn(0x60 | size | if of_register { 3 } else { 2 }, 10, src, -8 - 4 * n, imm)
        });
    prop_oneof![3 => alu, 3 => jump, 2 => load, 2 => store]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_run_stays_inside_of_what_may_be_walked(
        mut insns in prop::collection::vec(random_insn(), 1..40),
        context in prop::array::uniform32(any::<u16>()),
    ) {
        insns.splice(0..0, [0, 2, 3, 6].map(|reg| set(reg, 0)));
        insns.splice(0..0, (1..=8).map(|slot| insn(0x7a, 10, 0, -8 * slot, 0)));
        insns.push(RETURN);
        // Jumps stay in the program.
        let len = insns.len() as i64;
        for (at, insn) in insns.iter_mut().enumerate().skip(12) {
            if matches!(insn.class(), 5 | 6) && insn.code != EXIT {
                let to = (at as i64 + 1 + i64::from(insn.off)).clamp(12, len - 1);
                insn.off = (to - at as i64 - 1) as i16;
            }
        }
        let bytes: Vec<u8> = context.iter().flat_map(|word| word.to_le_bytes()).collect();
        let object = object(Vec::new());
        let reach = reach(&object, &entry(&insns, vec![function("entry", 0, true)], Vec::new()), &insns, &Constants::default());
        for at in run(&insns, bytes.as_slice().try_into().unwrap()) {
            prop_assert_ne!(reach.walk(at), Walk::Never, "instruction {} of {:?}", at, insns);
        }
    }
}
