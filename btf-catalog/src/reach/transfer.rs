//! What single instructions do to what is known: branches, arithmetic, the effects of helpers on memory.

use super::scalar::{Scalar, cond, op};
use super::state::{Kind, Value};
use crate::insn::Insn;
use crate::uapi::HelperId;

/// Which ways a branch is walked: `None` never, `Some(false)` perhaps, `Some(true)` surely.
pub(super) struct Branch {
    pub(super) taken: Option<bool>,
    pub(super) not_taken: Option<bool>,
}

pub(super) fn decide(condition: u8, wide: bool, a: Value, b: Value) -> Branch {
    let certain = !(a.vague || b.vague);
    let (both, decided) = match (a.kind, b.kind) {
        (Kind::Scalar(x), Kind::Scalar(y)) => {
            let constants = x.as_const().is_some() && y.as_const().is_some();
            // Verifiers before v6.8 compare with constants only, and decide no equality by bounds; those before v5.7 know no
            // bounds of lower halves.
            let by_bounds = wide && y.as_const().is_some() && !matches!(condition, cond::JEQ | cond::JNE);
            let firm = !(a.soft || b.soft) && (constants || by_bounds);
            (certain, x.test(condition, wide, y).map(|holds| (holds, firm)))
        }
        // A pointer against null.
        (_, Kind::Scalar(zero)) if wide && zero.as_const() == Some(0) && a.is_pointer() => {
            let firm = !a.soft && matches!(a.kind, Kind::Data { .. } | Kind::Kconfig { .. } | Kind::Pointer);
            match condition {
                cond::JEQ => (certain, Some((false, firm))),
                cond::JNE => (certain, Some((true, firm))),
                _ => (certain, None),
            }
        }
        _ => (certain, None),
    };
    let never = |firm: bool| if firm { None } else { Some(false) };
    match decided {
        Some((true, firm)) => Branch { taken: Some(true), not_taken: never(firm) },
        Some((false, firm)) => Branch { taken: never(firm), not_taken: Some(true) },
        None => {
            // The null side of a pointer that may be known not to be null.
            let null_test = a.trusted && wide && b.as_const() == Some(0);
            Branch {
                taken: Some(both && !(null_test && condition == cond::JEQ)),
                not_taken: Some(both && !(null_test && condition == cond::JNE)),
            }
        }
    }
}

/// What a helper does to memory on the stack that it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads it.
    ReadsOnly,
    /// Overwrites what its first argument points to, as many bytes as its second says, with what nobody knows.
    FillsFirst,
    Unknown,
}

impl Effect {
    /// Source: the argument types of `bpf_*_proto` (kernel/bpf/helpers.c, kernel/trace/bpf_trace.c, v6.12).
    pub(super) fn of(helper: HelperId) -> Effect {
        match helper.name() {
            Some(
                "map_lookup_elem" | "map_update_elem" | "map_delete_elem" | "map_push_elem" | "trace_printk"
                | "perf_event_output" | "skb_output" | "xdp_output" | "ringbuf_output",
            ) => Effect::ReadsOnly,
            Some(
                "probe_read"
                | "probe_read_str"
                | "probe_read_user"
                | "probe_read_kernel"
                | "probe_read_user_str"
                | "probe_read_kernel_str"
                | "get_current_comm"
                | "copy_from_user",
            ) => Effect::FillsFirst,
            _ => Effect::Unknown,
        }
    }
}

/// The value of a move, sign-extending ones (`off` 8, 16, 32) and casts between address spaces among them.
pub(super) fn moved(insn: Insn, src: Value, wide: bool) -> Value {
    let from_register = insn.code & 0x08 != 0;
    match (src.kind, insn.off) {
        (_, 0) if wide => src,
        (Kind::Scalar(scalar), 0) => {
            let lower = scalar.truncated(4);
            let id = if lower == scalar { src.id } else { 0 };
            Value { kind: Kind::Scalar(lower), id, soft: src.soft || lower.as_const().is_none(), ..src }
        }
        (Kind::Scalar(scalar), bits @ (8 | 16 | 32)) if from_register => {
            let extended = scalar.truncated(bits as u32 / 8).sign_extended(bits as u32);
            let extended = if wide { extended } else { extended.truncated(4) };
            // Of a number that is not constant, the verifier may know more.
            let vague = src.vague || extended.as_const().is_none();
            Value { kind: Kind::Scalar(extended), id: 0, soft: true, vague, trusted: false }
        }
        _ => Value { kind: Kind::Scalar(Scalar::of_bytes(if wide { 8 } else { 4 })), ..Value::VAGUE },
    }
}

/// The value of a byte swap, which verifiers follow late or not at all.
pub(super) fn swapped_bytes(insn: Insn, dst: Value, wide: bool, big_endian: bool) -> Value {
    let byte_sz = (insn.imm / 8).clamp(1, 8) as u32;
    let swaps = wide || (insn.code & 0x08 != 0) != big_endian;
    let result = match dst.as_const() {
        Some(number) if swaps => Scalar::constant(number.swap_bytes() >> (64 - 8 * byte_sz)),
        Some(number) => Scalar::constant(number).truncated(byte_sz),
        None => Scalar::of_bytes(byte_sz),
    };
    // Of what is known of a number that is not constant, verifiers since v7.1 know what the swap leaves.
    let known = dst.as_const().is_none() && dst.as_scalar() != Some(Scalar::UNKNOWN);
    Value { soft: true, vague: dst.vague || known, ..Value::scalar(result) }
}

/// The value of arithmetic on numbers.
pub(super) fn computed(operation: u8, wide: bool, dst: Value, src: Value) -> Value {
    let (Some(a), Some(b)) = (dst.as_scalar(), src.as_scalar()) else {
        let vague = dst.vague || src.vague || [dst, src].iter().any(|value| value.kind == Kind::MaybeStack);
        return Value { vague, ..Value::scalar(Scalar::of_bytes(if wide { 8 } else { 4 })) };
    };
    let result = a.alu(operation, wide, b);
    let constants = a.as_const().is_some() && b.as_const().is_some();
    // Verifiers before v5.3 to v7.0, by operation, forget what these leave, even of constants.
    let followed = matches!(operation, op::ADD | op::SUB | op::AND | op::OR | op::XOR | op::LSH | op::RSH)
        || constants && matches!(operation, op::MUL | op::ARSH);
    Value {
        soft: dst.soft || src.soft || !followed || !(wide || constants),
        vague: (dst.vague || src.vague) && result.as_const().is_none(),
        ..Value::scalar(result)
    }
}

/// The value of arithmetic with a pointer.
pub(super) fn offset(operation: u8, dst: Value, src: Value) -> Value {
    let (pointer, distance) = if dst.is_pointer() { (dst, src) } else { (src, dst) };
    let Some(by) = distance.as_scalar().filter(|_| matches!(operation, op::ADD | op::SUB)) else {
        // The distance of two pointers, or what no verifier accepts.
        return Value { vague: dst.vague || src.vague, ..Value::UNKNOWN };
    };
    if operation == op::SUB && !dst.is_pointer() {
        return Value::UNKNOWN;
    }
    let by =
        by.as_const().map(|by| if operation == op::SUB { (by as i64).wrapping_neg() } else { by as i64 });
    let narrow = |off: Option<i32>| {
        let by = i32::try_from(by?).ok()?;
        off?.checked_add(by)
    };
    let kind = match pointer.kind {
        Kind::Stack { frame, off } => Kind::Stack { frame, off: narrow(off) },
        Kind::Context { off } => Kind::Context { off: narrow(off) },
        Kind::Data { map, off } => {
            Kind::Data { map, off: off.zip(by).and_then(|(off, by)| off.checked_add(by)) }
        }
        _ => Kind::Pointer,
    };
    // Where the verifier may know the distance better, it may know the place.
    let vague = pointer.vague
        || distance.vague && matches!(kind, Kind::Context { off: None } | Kind::Data { off: None, .. });
    Value { soft: pointer.soft || kind == Kind::Pointer, vague, ..Value::new(kind) }
}

/// Bytes that a load or store moves.
pub(crate) fn access_sz(insn: Insn) -> u32 {
    [4, 2, 1, 8][usize::from(insn.code >> 3 & 3)]
}

/// Up to 8 bytes as an unsigned number.
pub(crate) fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
}
