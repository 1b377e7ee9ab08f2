//! What verifiers of old refuse or do not know, and newer ones do; what no verifier is known to know.

use super::*;

fn clean(insns: &[Insn], takes_all_loops: Option<bool>) -> bool {
    let verified = verified_as("tc", insns, Traits { takes_all_loops, ..Traits::default() });
    assert_eq!(verified.refused(), None);
    verified.is_clean()
}

/// `if dst != imm goto off`
fn if_ne(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x55, dst, 0, off, imm)
}

#[test]
fn loops_that_older_verifiers_do_not_take_are_doubted() {
    let goto = |off: i16| insn(0x05, 0, 0, off, 0);
    // Entered where it is tested, its body falls into the test.
    let middle = [set(6, 3), goto(1), add(6, -1), if_ne(6, 0, -2), set(0, 0), RETURN];
    assert!(clean(&middle, Some(true)));
    assert!(!clean(&middle, None));
    // Entered at its beginning, it jumps back.
    let beginning = [set(6, 3), add(6, -1), if_ne(6, 0, -2), set(0, 0), RETURN];
    assert!(clean(&beginning, None));
    // It counts on the stack, and leaves registers as they were.
    let (count, counted) = (store(10, -8, 6), load(6, 10, -8));
    let on_stack = [
        set(6, 3),
        count,
        counted,
        add(6, -1),
        count,
        if_eq(6, 0, 2),
        set(6, 0),
        goto(-6),
        set(0, 0),
        RETURN,
    ];
    assert!(clean(&on_stack, Some(true)));
    assert!(!clean(&on_stack, None));
}

#[test]
fn bounds_decide_no_equality_before_v6_8() {
    let random = 7;
    // What is at least 3 is not 2.
    let bounded = [helper(random), insn(0xa5, 0, 0, 2, 3), if_ne(0, 2, 1), copy(0, 9), set(0, 0), RETURN];
    assert!(!clean(&bounded, None));
}

#[test]
fn a_tail_call_in_a_function_may_come_back_to_its_caller() {
    let tail_call = 12;
    let caller = [call(6), insn(0x55, 0, 0, 2, 0), set(0, 0), RETURN, copy(0, 9), RETURN, RETURN];
    let map = [insn(LD_IMM64, 2, 1, 0, 0), Insn::default()];
    let function = [&map[..], &[set(3, 0), helper(tail_call), set(0, 0), RETURN]].concat();
    let whole = with_function("tc", &caller, false, &function);
    let found = verified_of(&whole, super::map(MapType::PROG_ARRAY), None, Traits::default());
    assert_eq!(found.refused(), None);
    assert!(!found.is_clean(), "{found:?}");
}

#[test]
fn what_is_not_known_is_not_known_to_be_returned() {
    let range = ReturnRange { min: 0, max: 1, half: false };
    let returns = |insns: &[Insn]| {
        let found = verified_as("fentry/f", insns, Traits { returns: Some(range), ..Traits::default() });
        (found.refused().is_some(), found.faults.is_empty())
    };
    assert_eq!(returns(&[set(0, 1), RETURN]), (false, true));
    assert_eq!(returns(&[set(0, 2), RETURN]), (true, false));
    // An argument of the function.
    assert_eq!(returns(&[load(0, 1, 0), RETURN]), (false, false));
}

#[test]
fn lower_halves_are_held_against_lower_halves() {
    let random = 7;
    // Below 15 with its sign, above 65535 in its lower half: the whole is negative.
    let then = [
        copy(9, 0),
        helper(random),
        copy(7, 0),
        insn(0x75, 7, 0, 4, 15),
        insn(0xb4, 8, 0, 0, 0xffff),
        insn(0xde, 7, 8, 2, 0),
        insn(0x0f, 9, 7, 0, 0),
        insn(0x71, 0, 9, 0, 0),
        set(0, 0),
        RETURN,
    ];
    let moved = |then: &[Insn]| {
        let tested = [&[if_eq(0, 0, then.len() as i16 - 2)], then].concat();
        verified("xdp", &looked_up(&tested)).faults
    };
    let faults = moved(&then);
    assert!(faults.iter().any(|fault| fault.why.contains("moves by a number")), "{faults:?}");
    let with_constant = [&then[..4], &[set(8, 0), insn(0xd6, 7, 0, 2, 0xffff)], &then[6..]].concat();
    let faults = moved(&with_constant);
    assert!(faults.iter().any(|fault| fault.why.contains("moves by a number")), "{faults:?}");
}

#[test]
fn what_a_store_may_have_torn_is_doubted() {
    let random = 7;
    let key = |before: &[Insn]| {
        let map = [insn(LD_IMM64, 1, 1, 0, 0), Insn::default()];
        let lookup = [copy(2, 10), add(2, -20), helper(LOOKUP), set(0, 0), RETURN];
        let whole = [&[copy(6, 1), helper(random)], before, &map, &lookup].concat();
        let traits = Traits { reads_unset_stack: Some(false), ..Traits::default() };
        let found = verified_as("tc", &whole, traits);
        (found.refused().is_some(), found.faults.len())
    };
    // A number at -24, and a byte somewhere in -40..-23.
    let spilled = [insn(0x7a, 10, 0, -32, 0), insn(0x7a, 10, 0, -40, 0), store(10, -24, 0)];
    let somewhere = [insn(0x57, 0, 0, 0, 16), insn(0x0f, 0, 10, 0, 0), insn(0x72, 0, 0, -40, 0)];
    assert_eq!(key(&spilled), (false, 0));
    assert_eq!(key(&[&spilled[..], &somewhere].concat()), (false, 1));
}

#[test]
fn a_packet_is_looked_at_where_it_may_be() {
    // d + l, which is found to be in the packet; l is at least 8; 8 bytes before it.
    let read = |least: i32, off: i16| {
        let insns = [
            insn(0x61, 2, 1, 76, 0),
            insn(0x61, 3, 1, 80, 0),
            insn(0x61, 4, 1, 0, 0),
            set(0, 0),
            insn(0x25, 4, 0, 5, 60),
            insn(0xa5, 4, 0, 4, least),
            copy(5, 2),
            insn(0x0f, 5, 4, 0, 0),
            insn(0x2d, 5, 3, 1, 0),
            insn(0x71, 0, 5, off, 0),
            RETURN,
        ];
        let found = verified("tc", &insns);
        (found.refused().is_some(), found.faults.is_empty())
    };
    assert_eq!(read(8, -8), (false, false));
    assert_eq!(read(7, -8), (true, false));
    assert_eq!(read(8, 0), (true, false));
}

#[test]
fn before_v6_8_a_bad_result_may_be_taken_for_a_good_one() {
    let range = ReturnRange { min: 0, max: 1, half: false };
    let sure = |first: i32, second: i32, takes_all_loops: Option<bool>| {
        let random = 7;
        // What follows the jump is walked first.
        let insns = [
            helper(random),
            copy(1, 0),
            if_eq(1, 0, 2),
            set(0, first),
            insn(0x05, 0, 0, 1, 0),
            set(0, second),
            RETURN,
        ];
        let traits = Traits { returns: Some(range), takes_all_loops, ..Traits::default() };
        let found = verified_as("fentry/f", &insns, traits);
        (found.refused().is_some(), found.is_clean())
    };
    assert_eq!(sure(1, 0, None), (false, true));
    assert_eq!(sure(1, 2, Some(true)), (true, false));
    assert_eq!(sure(1, 2, None), (false, false));
    assert_eq!(sure(2, 1, None), (true, false));
}
