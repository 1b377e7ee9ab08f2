//! References and sections of the kernel's functions.

use super::*;
use crate::insn::PSEUDO_KFUNC_CALL;
use crate::object::{Extern, ExternKind, ExternRef};

const ACQUIRE: i16 = 0;
const RELEASE: i16 = 1;
const LOCK: i16 = 2;
const UNLOCK: i16 = 3;
const OTHER: i16 = 4;
const ACQUIRE_OR_NOT: i16 = 5;
const NAMES: [&str; 6] = [
    "bpf_task_from_pid",
    "bpf_task_release",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_cpumask_empty",
    "bpf_task_acquire",
];

/// A call of the function of that number.
fn kfunc(number: i16) -> Insn {
    insn(CALL, 0, PSEUDO_KFUNC_CALL, number, 0)
}

/// The sure fault, and whether there are others.
fn told(insns: &[Insn]) -> (Option<String>, bool) {
    let mut whole = entry("tc", insns);
    let calls =
        insns.iter().enumerate().filter(|(_, insn)| insn.src == PSEUDO_KFUNC_CALL && insn.code == CALL);
    whole.extern_refs =
        calls.map(|(insn_off, call)| ExternRef { insn_off, ext: call.off as usize }).collect();
    let externs = NAMES.map(|name| Extern {
        name: name.to_owned(),
        kind: ExternKind::Kfunc,
        weak: false,
        decl: TypeId::VOID,
        ty: TypeId::VOID,
        slot: None,
    });
    let mut object = object_of(map(MapType::HASH), None);
    object.externs = externs.to_vec();
    let constants = Constants::default();
    let subject = Subject { object: &object, entry: &whole, insns: &whole.insns, constants: &constants };
    let found = verify(subject, Traits::default());
    assert!(!found.is_clean());
    (found.refused().map(|fault| fault.why.clone()), found.faults.is_empty())
}

#[test]
fn what_was_acquired_is_given_back() {
    let end = [set(0, 0), RETURN];
    let acquired = |then: &[Insn]| [&[set(1, 1), kfunc(ACQUIRE), copy(6, 0)], then].concat();
    let why = "ends while it holds what instruction 1 acquired".to_owned();
    assert_eq!(told(&acquired(&end)), (Some(why), false));
    let released = [if_eq(0, 0, 2), copy(1, 0), kfunc(RELEASE), set(0, 0), RETURN];
    assert_eq!(told(&acquired(&released)), (None, true));
    let untested = [copy(1, 0), kfunc(RELEASE), set(0, 0), RETURN];
    let why = "gives bpf_task_release() something of the kernel's that may be missing (null)".to_owned();
    assert_eq!(told(&acquired(&untested)), (Some(why), false));
    // What other functions do with it is not known.
    let given = [if_eq(0, 0, 2), copy(1, 0), kfunc(OTHER), set(0, 0), RETURN];
    assert_eq!(told(&acquired(&given)), (None, true));
    // It may be one that is known not to be null.
    let sure = [&[set(1, 1), kfunc(ACQUIRE_OR_NOT), copy(1, 0), kfunc(RELEASE)], &end[..]].concat();
    assert_eq!(told(&sure), (None, false));
}

#[test]
fn sections_are_ended() {
    let end = [set(0, 0), RETURN];
    let program =
        |calls: &[i16]| [&calls.iter().map(|call| kfunc(*call)).collect::<Vec<_>>()[..], &end].concat();
    assert_eq!(told(&program(&[LOCK, UNLOCK])), (None, true));
    let why = "ends inside the section that instruction 0 began".to_owned();
    assert_eq!(told(&program(&[LOCK])), (Some(why), false));
    let why = "calls bpf_rcu_read_unlock() without its counterpart".to_owned();
    assert_eq!(told(&program(&[UNLOCK])), (Some(why), false));
}
