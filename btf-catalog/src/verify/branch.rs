//! Conditional jumps: which ways are walked, and what is known on each.

use super::state::State;
use super::value::{Kind, Pointer, Range, Region, Sock, Value};
use crate::insn::Insn;
use crate::reach::scalar::{Scalar, cond, swapped};

/// `MAX_PACKET_OFF` of kernel/bpf/verifier.c.
const MAX_PACKET_OFF: i64 = 0xffff;

/// Which ways are walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ways {
    /// Both.
    Both,
    /// Only the jump or only what follows it, by every verifier.
    Only { taken: bool },
    /// Only the jump or only what follows it, by verifiers that know as much.
    Leaning { taken: bool },
    /// One or both; which one is not known.
    Either,
}

/// A test, with its operands.
#[derive(Clone, Copy)]
pub(super) struct Test {
    pub(super) condition: u8,
    pub(super) wide: bool,
    pub(super) a: Value,
    pub(super) b: Value,
    /// The registers that hold them, where they do.
    pub(super) regs: (u8, Option<u8>),
}

impl Test {
    pub(super) fn of(insn: Insn, state: &State) -> Test {
        let from_register = insn.code & 0x08 != 0;
        let b = if from_register { state.reg(insn.src) } else { Value::constant(i64::from(insn.imm) as u64) };
        Test {
            condition: insn.code & 0xf0,
            wide: insn.class() == 5,
            a: state.reg(insn.dst),
            b,
            regs: (insn.dst, from_register.then_some(insn.src)),
        }
    }

    pub(super) fn ways(&self) -> Ways {
        match (self.a.kind, self.b.kind) {
            (Kind::Scalar(a), Kind::Scalar(b)) => {
                let constant = b.as_const().is_some();
                match a.test(self.condition, self.wide, b) {
                    // What the second operand may be is looked at since v6.8 where it is not constant, and so are bounds where
                    // the two are held to be equal or not.
                    Some(taken) if constant && !self.by_bounds(a) && !self.a.soft && !self.b.soft => {
                        Ways::Only { taken }
                    }
                    Some(taken) => Ways::Leaning { taken },
                    // A register beside itself is known to be equal since v7.2.
                    None if Some(self.regs.0) == self.regs.1 => Ways::Either,
                    None if self.a.vague || self.b.vague || self.knows_less(a) || self.knows_less(b) => {
                        Ways::Either
                    }
                    None => Ways::Both,
                }
            }
            (Kind::Pointer(a), Kind::Pointer(b)) => self.packet(a, b),
            (Kind::Pointer(pointer), Kind::Scalar(zero)) if zero.as_const() == Some(0) => {
                self.null(pointer, self.a)
            }
            (Kind::Scalar(zero), Kind::Pointer(pointer)) if zero.as_const() == Some(0) => {
                match self.null(pointer, self.b) {
                    // The first operand alone was looked at before v6.8.
                    Ways::Only { taken } | Ways::Leaning { taken } => Ways::Leaning { taken },
                    Ways::Both if pointer.or_null => Ways::Either,
                    ways => ways,
                }
            }
            (Kind::Opaque, _) | (_, Kind::Opaque) => Ways::Either,
            _ => Ways::Both,
        }
    }

    /// Whether nothing but the bounds of a number can tell that it is not equal to another.
    fn by_bounds(&self, number: Scalar) -> bool {
        let seen = if self.wide { number } else { number.truncated(4) };
        matches!(self.condition, cond::JEQ | cond::JNE) && seen.as_const().is_none()
    }

    /// Whether a pointer that may be null is held against a register, not against the number 0.
    pub(super) fn is_null_by_register(&self) -> bool {
        let may_be_null = |value: Value| matches!(value.kind, Kind::Pointer(pointer) if pointer.or_null);
        self.regs.1.is_some() && (may_be_null(self.a) || may_be_null(self.b))
    }

    /// Whether bounds of a lower half may decide where those of the whole do not.
    fn knows_less(&self, number: Scalar) -> bool {
        !self.wide && number.umax > u64::from(u32::MAX) && number != Scalar::UNKNOWN
    }

    fn null(&self, pointer: Pointer, value: Value) -> Ways {
        let taken = match self.condition {
            cond::JEQ => false,
            cond::JNE => true,
            _ => return Ways::Both,
        };
        if !self.wide || pointer.or_null {
            return Ways::Both;
        }
        match pointer.region {
            // Some verifiers know it of what they trust.
            Region::Kernel => Ways::Either,
            // Of XDP sockets, verifiers since v6.1 know it.
            Region::Sock(Sock::Xdp) => Ways::Leaning { taken },
            Region::MapValue { .. } | Region::Kconfig { .. } | Region::Sock(_) if !value.soft => {
                Ways::Only { taken }
            }
            Region::MapValue { .. }
            | Region::Kconfig { .. }
            | Region::Sock(_)
            | Region::Mem { .. }
            | Region::Map { .. } => Ways::Leaning { taken },
            _ => Ways::Both,
        }
    }

    /// The comparison of a packet pointer with the packet's end (`is_pkt_ptr_branch_taken()`).
    fn packet(&self, a: Pointer, b: Pointer) -> Ways {
        let (packet, condition) = match (a.region, b.region) {
            (Region::Packet, Region::PacketEnd) => (a, self.condition),
            (Region::PacketEnd, Region::Packet) => (b, swapped(self.condition)),
            _ if a.or_null || b.or_null => return Ways::Either,
            _ => return Ways::Both,
        };
        let decided = match (packet.range, condition) {
            (Range::BeyondEnd, cond::JGT | cond::JGE) | (Range::AtEnd, cond::JGE) => Some(true),
            (Range::BeyondEnd, cond::JLE | cond::JLT) | (Range::AtEnd, cond::JLT) => Some(false),
            _ => None,
        };
        decided.filter(|_| self.wide).map_or(Ways::Both, |taken| Ways::Leaning { taken })
    }

    /// Writes into `state`, which goes the way that `taken` says, what the test tells; `false` where nothing can go it.
    pub(super) fn learn(&self, taken: bool, state: &mut State) -> bool {
        match (self.a.kind, self.b.kind) {
            (Kind::Scalar(a), Kind::Scalar(b)) => {
                let left = self.narrowed(self.condition, self.a, a, b, taken);
                let right = self.narrowed(swapped(self.condition), self.b, b, a, taken);
                let (Some(left), Some(right)) = (left, right) else { return false };
                state.narrow(self.regs.0, left);
                if let Some(reg) = self.regs.1.filter(|reg| *reg != self.regs.0) {
                    state.narrow(reg, right);
                }
            }
            (Kind::Pointer(a), Kind::Pointer(b)) if self.wide => self.learn_packet(a, b, taken, state),
            (Kind::Pointer(a), Kind::Scalar(zero))
                if a.or_null && self.wide && zero.as_const() == Some(0) =>
            {
                let null = match self.condition {
                    cond::JEQ => taken,
                    cond::JNE => !taken,
                    _ => return true,
                };
                settle(self.a, null, state);
                // A register that holds null tells it since v7.2.
                state.doubt |= self.regs.1.is_some();
            }
            _ => {}
        }
        true
    }

    /// What is left of a number; `None` if nothing is.
    fn narrowed(
        &self,
        condition: u8,
        value: Value,
        number: Scalar,
        other: Scalar,
        taken: bool,
    ) -> Option<Value> {
        if !self.wide && number.umax > u64::from(u32::MAX) {
            // Bounds of the lower half are learned, which the whole does not have.
            let constant = number.as_const().is_some();
            return Some(Value { vague: value.vague || !constant, ..value });
        }
        let condition = if taken { condition } else { opposite(condition) };
        let mut soft = value.soft;
        let refined = match (other.as_const(), condition) {
            (Some(other), NOT_SET) => number.refined(cond::JSET, self.wide, other, false)?,
            (Some(other), cond::JNE) => {
                // Nothing is learned of it before v6.8.
                let refined = number.refined(condition, self.wide, other, true)?;
                soft |= refined != number;
                refined
            }
            (Some(other), _) => number.refined(condition, self.wide, other, true)?,
            (None, cond::JEQ | cond::JSET | NOT_SET | cond::JNE) => {
                let learns = condition != cond::JNE;
                return Some(Value { vague: value.vague || learns && number.as_const().is_none(), ..value });
            }
            (None, _) => {
                let refined = number.bounded_by(condition, self.wide, other, true)?;
                let soft = value.soft || refined != number;
                return Some(Value { kind: Kind::Scalar(refined), soft, ..value });
            }
        };
        // A signed test of a lower half may tell more than was learned.
        let signed = matches!(condition, cond::JSGT | cond::JSGE | cond::JSLT | cond::JSLE);
        let unseen = !self.wide && signed && refined == number && number.as_const().is_none();
        let vague = value.vague || unseen || around_zero(refined) || !refined.is_tight();
        Some(Value { kind: Kind::Scalar(refined), soft, vague, ..value })
    }

    /// What a comparison of a packet pointer with the packet's end tells (`try_match_pkt_pointers()`).
    fn learn_packet(&self, a: Pointer, b: Pointer, taken: bool, state: &mut State) {
        let Some(other) = self.regs.1 else { return };
        let (reg, value, end, condition) = match (a.region, b.region) {
            (Region::Packet, Region::PacketEnd) | (Region::PacketMeta, Region::Packet) => {
                (self.regs.0, self.a, b, self.condition)
            }
            (Region::PacketEnd, Region::Packet) | (Region::Packet, Region::PacketMeta) => {
                (other, self.b, a, swapped(self.condition))
            }
            _ => return,
        };
        // The metadata ends where `data` itself points (`reg_is_init_pkt_pointer()`).
        let moved = end.const_off() != Some(0);
        if end.region == Region::PacketEnd || !moved {
            mark(reg, value, condition, taken, state);
        }
    }
}

/// Notes what `pointer condition end` being `taken` tells of the packet (`find_good_pkt_pointers()`, `mark_pkt_end()`).
fn mark(reg: u8, value: Value, condition: u8, taken: bool, state: &mut State) {
    let Some(pointer) = value.as_pointer() else { return };
    let condition = if taken { condition } else { opposite(condition) };
    let inside = match condition {
        cond::JLE => Some(0),
        // One byte more lies before the end.
        cond::JLT => Some(1),
        _ => None,
    };
    let ends = match condition {
        cond::JGT => Some(Range::BeyondEnd),
        cond::JGE => Some(Range::AtEnd),
        _ => None,
    };
    if let (Some(range), Region::Packet) = (ends, pointer.region) {
        state.set(reg, Value { kind: Kind::Pointer(Pointer { range, ..pointer }), ..value });
    }
    let Some(more) = inside else { return };
    let off = pointer.off;
    let most = pointer.var.umax.saturating_add_signed(off);
    let moved = pointer.var.as_const().is_none();
    let nothing = off < 0 || off == 0 && more == 1 || most > MAX_PACKET_OFF as u64;
    if nothing && !moved {
        return;
    }
    let range = off + more;
    state.update(|copy| {
        if let Kind::Pointer(at) = &mut copy.kind
            && at.region == pointer.region
            && copy.id == value.id
            && let Range::Bytes(known) = &mut at.range
        {
            if nothing {
                // It may show something to verifiers since v7.1, which take the constant part for one of the other.
                copy.vague = true;
            } else {
                *known = (*known).max(range.min(MAX_PACKET_OFF) as u16);
            }
        }
    });
}

/// A pointer that might be null, and its copies, are known to be or not to be (`mark_ptr_or_null_regs()`).
fn settle(value: Value, null: bool, state: &mut State) {
    // Some verifiers may know that it is not, and come here in no case.
    state.doubt |= null && value.vague;
    state.update(|copy| {
        let Kind::Pointer(pointer) = &mut copy.kind else { return };
        if !pointer.or_null || copy.id != value.id {
            return;
        }
        if null {
            *copy = Value { soft: copy.soft, ..Value::constant(0) };
        } else {
            (pointer.or_null, copy.vague) = (false, false);
            // A lock is told by the id of the value that it lies in.
            if !matches!(pointer.region, Region::MapValue { .. }) {
                copy.id = 0;
            }
        }
    });
    // Other views of an object have its reference, and ids of their own.
    if null && value.reference != 0 && value.reference == value.id {
        state.references.retain(|(id, _)| *id != value.reference);
    }
}

/// Whether a number lies on both sides of the sign, with gaps that bounds do not tell, and verifiers since v6.16 do.
fn around_zero(number: Scalar) -> bool {
    let gaps = number.umin > 0 || number.umax < u64::MAX;
    gaps && number.smin < 0 && number.smax >= 0
}

/// The opposite of [`cond::JSET`], which no instruction has.
const NOT_SET: u8 = 0xff;

fn opposite(condition: u8) -> u8 {
    match condition {
        cond::JEQ => cond::JNE,
        cond::JNE => cond::JEQ,
        cond::JGT => cond::JLE,
        cond::JGE => cond::JLT,
        cond::JLT => cond::JGE,
        cond::JLE => cond::JGT,
        cond::JSGT => cond::JSLE,
        cond::JSGE => cond::JSLT,
        cond::JSLT => cond::JSGE,
        cond::JSLE => cond::JSGT,
        _ => NOT_SET,
    }
}
