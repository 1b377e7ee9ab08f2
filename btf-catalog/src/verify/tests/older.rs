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
