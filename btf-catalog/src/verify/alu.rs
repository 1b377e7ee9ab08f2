//! Arithmetic: on numbers, and on pointers, of which little is allowed.

use super::value::{Kind, Pointer, Range, Region, Value};
use super::walk::Refusal;
use crate::insn::Insn;
use crate::reach::scalar::{Scalar, op};

/// `BPF_MAX_VAR_OFF` of include/linux/bpf_verifier.h: pointers may not be moved further.
pub(super) const MAX_VAR_OFF: i64 = 1 << 29;
/// ALU64 instructions; ALU ones work on lower halves.
const ALU64: u8 = 7;

/// What an arithmetic instruction leaves in its destination, which held `dst`. `src` is its other operand, an immediate
/// included; `fresh` an id that no value has.
pub(super) fn alu(
    insn: Insn,
    dst: Value,
    src: Value,
    big_endian: bool,
    fresh: u32,
) -> Result<Value, Refusal> {
    let operation = insn.code & 0xf0;
    let wide = insn.class() == ALU64;
    let immediate = insn.code & 0x08 == 0;
    match operation {
        op::MOV => return Ok(moved(insn, src, wide)),
        // Pointers become numbers that nothing is known of.
        op::NEG | op::END if !matches!(dst.kind, Kind::Scalar(_)) => {
            return Ok(Value {
                vague: dst.vague,
                ..Value::scalar(Scalar::of_bytes(if wide { 8 } else { 4 }))
            });
        }
        op::END => return Ok(swapped_bytes(insn, dst, wide, big_endian)),
        op::NEG => {
            return Ok(numbers(op::SUB, insn.off, wide, Value { soft: true, ..Value::constant(0) }, dst));
        }
        op::DIV | op::MOD if immediate && insn.imm == 0 => return Err(Refusal::sure("divides by zero")),
        op::LSH | op::RSH | op::ARSH if immediate && !(0..if wide { 64 } else { 32 }).contains(&insn.imm) => {
            return Err(Refusal::sure(format!("shifts by {}", insn.imm)));
        }
        _ => {}
    }
    match (dst.kind, src.kind) {
        (Kind::Scalar(_), Kind::Scalar(_)) => Ok(numbers(operation, insn.off, wide, dst, src)),
        (Kind::Opaque, _) | (_, Kind::Opaque) => {
            let pointer = wide && matches!(operation, op::ADD | op::SUB);
            let number = Value { vague: true, ..Value::scalar(Scalar::of_bytes(if wide { 8 } else { 4 })) };
            Ok(if pointer { Value::OPAQUE } else { number })
        }
        (Kind::Pointer(_), Kind::Pointer(_)) if operation == op::SUB => Ok(Value::UNKNOWN),
        (Kind::Pointer(_), Kind::Pointer(_)) => Err(Refusal::sure("computes with two pointers")),
        (Kind::Pointer(pointer), Kind::Scalar(by)) => {
            let moved = offset(operation, wide, true, (pointer, dst.vague), (by, src.vague))?;
            Ok(of_pointer(dst, moved, src, fresh))
        }
        (Kind::Scalar(by), Kind::Pointer(pointer)) => {
            let moved = offset(operation, wide, false, (pointer, src.vague), (by, dst.vague))?;
            Ok(of_pointer(src, moved, dst, fresh))
        }
        (Kind::Unset, _) | (_, Kind::Unset) => Ok(Value::VAGUE),
    }
}

/// The value of a pointer that was moved by a number.
fn of_pointer(pointer: Value, moved: Option<Pointer>, by: Value, fresh: u32) -> Value {
    let Some(moved) = moved else { return Value::UNKNOWN };
    let constant = by.as_const().is_some();
    let id = if moved.region.is_packet() && !constant { fresh } else { pointer.id };
    Value {
        kind: Kind::Pointer(moved),
        id,
        soft: pointer.soft || by.soft,
        vague: pointer.vague || by.vague && !constant,
        ..pointer
    }
}

/// A pointer moved by a number (`adjust_ptr_min_max_vals()`); `None` where a number comes out. `first` says whether the
/// pointer is the first operand; beside pointer and number stands whether verifiers may know more of them.
fn offset(
    operation: u8,
    wide: bool,
    first: bool,
    (pointer, maybe_tested): (Pointer, bool),
    (by, vague): (Scalar, bool),
) -> Result<Option<Pointer>, Refusal> {
    let name = pointer.name();
    let refused = |what: &str| Err(Refusal::sure(format!("{what} {name}")));
    if !wide {
        return if operation == op::SUB { Ok(None) } else { refused("computes in 32 bits with") };
    }
    if pointer.or_null {
        // Some verifiers may know that it is not null.
        return Err(Refusal { why: format!("computes, before a test, with {name}"), sure: !maybe_tested });
    }
    match (pointer.region, operation) {
        (_, op::SUB) if !first => return Err(Refusal::sure(format!("subtracts from a number {name}"))),
        (Region::Stack { .. }, op::SUB) => return refused("subtracts from"),
        (_, op::ADD | op::SUB) => {}
        _ => return refused("computes other than by addition and subtraction with"),
    }
    let by_const = by.as_const().map(|by| by as i64);
    if pointer.region == Region::Kernel && by_const.is_none() {
        // Of what a program allocated, or of memory, more is allowed.
        return Err(Refusal::doubtful(format!("moves by a number that is not constant {name}")));
    }
    match pointer.region {
        Region::Map { .. } if by_const == Some(0) && operation == op::ADD => {}
        Region::Map { .. } | Region::PacketEnd | Region::Sock(_) => return refused("computes with"),
        _ => {}
    }
    let too_far = |off: i64| off >= MAX_VAR_OFF || off <= -MAX_VAR_OFF;
    if let Some(by) = by_const.filter(|by| too_far(*by)) {
        return Err(Refusal::sure(format!("moves by {by} bytes {name}")));
    }
    if by_const.is_none() && (by.smin == i64::MIN || too_far(by.smin)) {
        let why = format!("moves by a number that may be anything (at least {}) {name}", by.smin);
        return Err(Refusal { why, sure: !vague });
    }
    let sign = if operation == op::SUB { -1 } else { 1 };
    let mut moved = pointer;
    if let Some(by) = by_const {
        moved.off += sign * by;
    } else {
        moved.var = pointer.var.alu(operation, true, by);
        if moved.region.is_packet() && (operation == op::ADD || by.smin < 0) {
            moved.range = Range::Bytes(0);
        }
    }
    if too_far(moved.off) || moved.var.as_const().is_none() && too_far(moved.var.smin) {
        return Err(Refusal { why: format!("moves out of all bounds {name}"), sure: !vague });
    }
    Ok(Some(moved))
}

/// The value of a move, sign-extending ones (`off` 8, 16, 32) and casts between address spaces among them.
fn moved(insn: Insn, src: Value, wide: bool) -> Value {
    const CAST: i16 = 1;
    let from_register = insn.code & 0x08 != 0;
    let width = if wide { 8 } else { 4 };
    match (src.kind, insn.off) {
        (_, CAST) if wide && from_register => Value::OPAQUE,
        (_, 0) if wide => src,
        (Kind::Scalar(scalar), 0) => {
            let lower = scalar.truncated(4);
            // Copies of lower halves are followed since v6.8.
            let id = if lower == scalar { src.id } else { 0 };
            // Of a lower half, verifiers know bounds that those of the whole do not tell.
            let vague =
                src.vague || lower != scalar && scalar != Scalar::UNKNOWN && lower.as_const().is_none();
            Value { kind: Kind::Scalar(lower), id, vague, ..src }
        }
        (Kind::Scalar(scalar), bits @ (8 | 16 | 32)) if from_register => {
            let extended = scalar.truncated(bits as u32 / 8).sign_extended(bits as u32);
            let extended = if wide { extended } else { extended.truncated(4) };
            // A number whose sign bit is 0 stays what it is.
            let same = extended == scalar && scalar != Scalar::UNKNOWN;
            let vague = src.vague || !same && extended.as_const().is_none();
            Value {
                kind: Kind::Scalar(extended),
                id: if same { src.id } else { 0 },
                soft: true,
                vague,
                ..src
            }
        }
        (Kind::Pointer(_), _) => Value::scalar(Scalar::of_bytes(width)),
        _ => Value { vague: true, ..Value::scalar(Scalar::of_bytes(width)) },
    }
}

/// The value of a byte swap, which verifiers follow late or not at all.
fn swapped_bytes(insn: Insn, dst: Value, wide: bool, big_endian: bool) -> Value {
    let byte_sz = (insn.imm / 8).clamp(1, 8) as u32;
    let swaps = wide || (insn.code & 0x08 != 0) != big_endian;
    let result = match dst.as_const() {
        Some(number) if swaps => Scalar::constant(number.swap_bytes() >> (64 - 8 * byte_sz)),
        Some(number) => Scalar::constant(number).truncated(byte_sz),
        None => Scalar::of_bytes(byte_sz),
    };
    Value {
        soft: true,
        vague: dst.vague || dst.as_scalar() != Some(Scalar::UNKNOWN),
        ..Value::scalar(result)
    }
}

/// The value of arithmetic on numbers.
fn numbers(operation: u8, off: i16, wide: bool, dst: Value, src: Value) -> Value {
    let width = if wide { 8 } else { 4 };
    let any = Scalar::of_bytes(width);
    let (Some(a), Some(b)) = (dst.as_scalar(), src.as_scalar()) else { return Value::VAGUE };
    if matches!(operation, op::DIV | op::MOD) && off != 0 {
        return Value { soft: true, vague: true, ..Value::scalar(any) };
    }
    let (low_a, low_b) = (a.truncated(width), b.truncated(width));
    let mut result = a.alu(operation, wide, b);
    let constants = low_a.as_const().is_some() && low_b.as_const().is_some();
    if let (op::MUL, Some(by)) = (operation, low_b.as_const().or(low_a.as_const())) {
        result = result.multiple_of(1 << by.trailing_zeros().min(12));
    }
    // Verifiers before v5.3 to v7.0, by operation, forget what these leave, even of constants; those before v6.10 what
    // any but the first three leave with a second operand that is not constant.
    let followed = !matches!(operation, op::DIV | op::MOD)
        && (constants || !matches!(operation, op::ARSH) || wide)
        && (matches!(operation, op::ADD | op::SUB | op::AND) || low_b.as_const().is_some());
    let id = if matches!(operation, op::ADD | op::SUB) && low_b.as_const().is_some() { dst.id } else { 0 };
    Value {
        soft: dst.soft || src.soft || !followed,
        vague: result.as_const().is_none()
            && (dst.vague || src.vague || knows_less(operation, wide, low_a, low_b, result)),
        id,
        shifted: id != 0,
        ..Value::scalar(result)
    }
}

/// Whether verifiers may know more of a result: those with bounds for lower halves, or bounds that wrap around.
fn knows_less(operation: u8, wide: bool, a: Scalar, b: Scalar, result: Scalar) -> bool {
    let any = Scalar::of_bytes(if wide { 8 } else { 4 });
    let absorbs = matches!(operation, op::ADD | op::SUB | op::XOR) && (a == any || b == any);
    if absorbs {
        return false;
    }
    if ![a, b, result].into_iter().all(Scalar::is_tight) {
        return true;
    }
    match operation {
        op::AND | op::OR | op::RSH => !wide && result.umax > i32::MAX as u64 && a != any && b != any,
        op::LSH | op::MUL => {
            result.smax == i64::MAX && (a != any && b != any)
                || !wide && result.umax > i32::MAX as u64 && a != any && b != any
        }
        op::ADD | op::SUB if wide => {
            result.umin == 0 && result.umax == u64::MAX && result.smin == i64::MIN && result.smax == i64::MAX
        }
        op::XOR if wide => a != any && b != any,
        // Verifiers since v7.0 walk both signs of what is shifted by all its bits, and know bounds of quotients.
        op::DIV | op::MOD | op::ARSH => true,
        _ => result.umax > i32::MAX as u64,
    }
}
