//! What is known before an instruction: frames with registers and stack, references, locks.

use super::kfunc::Section;
use super::value::{Ids, Kind, Pointer, Region, Value};
use super::walk::Refusal;
use crate::reach::scalar::Scalar;
use std::rc::Rc;

/// Registers of a frame: `r0` to `r10`.
pub(super) const REGISTERS: usize = 11;
/// Bytes of stack that a frame may have: `MAX_BPF_STACK` of include/linux/filter.h.
pub(super) const STACK_SZ: i64 = 512;
/// Bytes of a stack slot, `BPF_REG_SIZE`.
const SLOT_SZ: usize = 8;

/// What a byte of stack holds (`enum bpf_stack_slot_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Byte {
    /// Nothing was stored.
    Unset,
    /// A part of the slot's value.
    Spill,
    /// Something.
    Misc,
    /// 0.
    Zero,
    /// A part of what was spilled, of which another part may have been overwritten: not all verifiers take it for something.
    Torn,
}

/// Eight bytes of stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    bytes: [Byte; SLOT_SZ],
    /// What was spilled, where a byte says so.
    value: Value,
    /// Whether verifiers may know more of bytes that hold something.
    vague: bool,
}

const EMPTY: Slot = Slot { bytes: [Byte::Unset; SLOT_SZ], value: Value::UNSET, vague: false };

/// What a load from the stack finds.
pub(super) enum Loaded {
    /// This.
    Value(Value),
    /// Part of a pointer.
    PartOfPointer,
    /// Bytes that were never stored.
    Unset,
    /// Bytes of what a store that is not at a constant place may have overwritten in part.
    Torn,
}

/// A function that was called and has not returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) regs: [Value; REGISTERS],
    /// From the top of the stack downwards.
    slots: Vec<Slot>,
    /// The call in the caller's code that brought it here.
    pub(super) call: usize,
    /// What it may return, where the kernel calls it back; nothing is known then of what comes after its return.
    pub(super) callback: Option<Callback>,
}

/// A function that the kernel calls back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Callback {
    /// The greatest number that it may return; the least is 0.
    pub(super) max: i64,
    /// How many references are held where it begins.
    pub(super) references: usize,
}

impl Frame {
    /// The frame number `depth`, called from the instruction at `call`.
    pub(super) fn new(depth: usize, call: usize) -> Frame {
        let mut regs = [Value::UNSET; REGISTERS];
        regs[REGISTERS - 1] = Value::pointer(Pointer::to(Region::Stack { frame: depth }));
        Frame { regs, slots: Vec::new(), call, callback: None }
    }

    /// Slot and byte within it of a place on the stack, which is below 0.
    fn place(off: i64) -> (usize, usize) {
        let below = (-off - 1) as usize;
        (below / SLOT_SZ, SLOT_SZ - 1 - below % SLOT_SZ)
    }

    fn slot_mut(&mut self, number: usize) -> &mut Slot {
        if self.slots.len() <= number {
            self.slots.resize(number + 1, EMPTY);
        }
        &mut self.slots[number]
    }

    /// Stores a value at an aligned place of the stack.
    pub(super) fn store(&mut self, off: i64, byte_sz: usize, value: Value) {
        let (number, at) = Frame::place(off);
        let slot = self.slot_mut(number);
        let zero = value.as_const() == Some(0);
        let spilled = !zero && (at == 0 || byte_sz == SLOT_SZ);
        // What was spilled before is in pieces now.
        for byte in slot.bytes.iter_mut().filter(|byte| **byte == Byte::Spill) {
            *byte = Byte::Misc;
        }
        let as_byte = match (zero, spilled) {
            (true, _) => Byte::Zero,
            (_, true) => Byte::Spill,
            _ => Byte::Misc,
        };
        slot.bytes[at..at + byte_sz].fill(as_byte);
        slot.vague |= value.vague;
        slot.value = Value::UNSET;
        if spilled {
            slot.value = if byte_sz == SLOT_SZ { value } else { narrowed(value, byte_sz) };
            slot.vague = value.vague && byte_sz != SLOT_SZ;
        }
    }

    /// Something may have been stored anywhere in `off..off + byte_sz`; verifiers take it for stored.
    pub(super) fn smear(&mut self, off: i64, byte_sz: usize, vague: bool) {
        for at in 0..byte_sz as i64 {
            let (number, at) = Frame::place(off + at);
            let slot = self.slot_mut(number);
            if slot.bytes.contains(&Byte::Spill) {
                slot.bytes
                    .iter_mut()
                    .filter(|byte| **byte == Byte::Spill)
                    .for_each(|byte| *byte = Byte::Misc);
                slot.value = Value::UNSET;
            }
            slot.bytes[at] = Byte::Misc;
            slot.vague |= vague;
        }
    }

    /// A byte or more was stored somewhere in `off..off + byte_sz`: what was spilled there is in pieces.
    pub(super) fn store_somewhere(&mut self, off: i64, byte_sz: usize) {
        for at in 0..byte_sz as i64 {
            let (number, at) = Frame::place(off + at);
            let slot = self.slot_mut(number);
            for byte in slot.bytes.iter_mut().filter(|byte| **byte == Byte::Spill) {
                *byte = Byte::Torn;
            }
            slot.bytes[at] = Byte::Misc;
            (slot.value, slot.vague) = (Value::UNSET, true);
        }
    }

    /// Whether part of what a store may have overwritten lies in `off..off + byte_sz`.
    pub(super) fn is_torn(&self, off: i64, byte_sz: usize) -> bool {
        (0..byte_sz as i64).any(|at| {
            let (number, at) = Frame::place(off + at);
            self.slots.get(number).is_some_and(|slot| slot.bytes[at] == Byte::Torn)
        })
    }

    /// Any slot that holds something may hold something else by now.
    pub(super) fn doubt_stack(&mut self) {
        for slot in &mut self.slots {
            let kept = slot.bytes;
            *slot = Slot { bytes: kept.map(|_| Byte::Spill), value: Value::OPAQUE, vague: true };
        }
    }

    /// What a load from `off..off + byte_sz` finds.
    pub(super) fn load(&self, off: i64, byte_sz: usize) -> Loaded {
        let (number, at) = Frame::place(off);
        let slot = self.slots.get(number).unwrap_or(&EMPTY);
        let whole = slot.bytes.iter().all(|byte| *byte == Byte::Spill);
        if whole && byte_sz == SLOT_SZ {
            return Loaded::Value(slot.value);
        }
        let bytes = slot.bytes.get(at..at + byte_sz).unwrap_or_default();
        if bytes.contains(&Byte::Unset) {
            return Loaded::Unset;
        }
        if bytes.contains(&Byte::Torn) {
            return Loaded::Torn;
        }
        if bytes.contains(&Byte::Spill) {
            match slot.value.kind {
                Kind::Pointer(_) => return Loaded::PartOfPointer,
                Kind::Scalar(_) if at == 0 && bytes.iter().all(|byte| *byte == Byte::Spill) => {
                    return Loaded::Value(narrowed(slot.value, byte_sz));
                }
                _ => {}
            }
        }
        if bytes.iter().all(|byte| *byte == Byte::Zero) {
            return Loaded::Value(Value::constant(0));
        }
        // Of a part of something spilled, or of zeros beside it, verifiers know this and that.
        let vague = slot.vague || bytes.iter().any(|byte| *byte != Byte::Misc);
        Loaded::Value(Value { vague, ..Value::scalar(Scalar::of_bytes(byte_sz as u32)) })
    }

    /// Bytes from the top down to the lowest place that something was ever stored at, in whole slots.
    pub(super) fn allocated(&self) -> i64 {
        (self.slots.len() * SLOT_SZ) as i64
    }

    /// Whether something was stored at every place of `off..off + byte_sz`.
    pub(super) fn is_set(&self, off: i64, byte_sz: usize) -> bool {
        (0..byte_sz as i64).all(|at| {
            let (number, at) = Frame::place(off + at);
            self.slots.get(number).is_some_and(|slot| slot.bytes[at] != Byte::Unset)
        })
    }

    /// Whether part of a pointer lies in `off..off + byte_sz`.
    pub(super) fn holds_pointer(&self, off: i64, byte_sz: usize) -> bool {
        (0..byte_sz as i64).any(|at| {
            let (number, at) = Frame::place(off + at);
            let slot = self.slots.get(number).unwrap_or(&EMPTY);
            slot.bytes[at] == Byte::Spill && matches!(slot.value.kind, Kind::Pointer(_))
        })
    }

    fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.regs.iter_mut().chain(self.slots.iter_mut().map(|slot| &mut slot.value))
    }

    fn covers(&self, other: &Frame, live: u16, numbers: u16, ids: &mut Ids) -> bool {
        let regs = self.regs.iter().zip(&other.regs).enumerate();
        let mut regs = regs.filter(|(reg, _)| live & 1 << reg != 0);
        regs.all(|(reg, (all, some))| all.covers(*some, numbers & 1 << reg != 0, ids))
            && self.slots.iter().enumerate().all(|(number, slot)| {
                let other = other.slots.get(number).unwrap_or(&EMPTY);
                slot.covers(other, ids)
            })
    }
}

impl Slot {
    fn covers(&self, other: &Slot, ids: &mut Ids) -> bool {
        if *self == *other && self.value.id == 0 && self.value.reference == 0 {
            return true;
        }
        let byte = |(all, some): (&Byte, &Byte)| match (all, some) {
            // What was never read, or was read as anything.
            (Byte::Unset, _) | (Byte::Misc, Byte::Zero) => true,
            (Byte::Misc, Byte::Spill) => matches!(other.value.kind, Kind::Scalar(_)),
            (all, some) => all == some,
        };
        (!self.vague || other.vague)
            && self.bytes.iter().zip(&other.bytes).all(byte)
            && (!self.bytes.contains(&Byte::Spill) || self.value.covers(other.value, true, ids))
    }
}

/// The lower bytes of a value, as a narrow store or load leaves them.
fn narrowed(value: Value, byte_sz: usize) -> Value {
    match value.kind {
        // Verifiers before v5.16 do not follow what is spilled in fewer than 8 bytes, those before v6.8 not what is
        // loaded in fewer than were stored.
        Kind::Scalar(scalar) => {
            let lower = scalar.truncated(byte_sz as u32);
            let id = if lower == scalar { value.id } else { 0 };
            Value { kind: Kind::Scalar(lower), soft: true, id, ..value }
        }
        _ => Value { vague: true, ..Value::scalar(Scalar::of_bytes(byte_sz as u32)) },
    }
}

/// Whether a walk from one state finds what one from another would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Covers {
    /// It does not.
    No,
    /// Verifiers before v6.5 take it that it does, and leave off.
    ForOlder,
    /// It does.
    Yes,
}

/// What is known before an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// The functions that were called and have not returned, the current one last.
    pub(super) frames: Vec<Rc<Frame>>,
    /// References that are held: `(id, the call that acquired it)`.
    pub(super) references: Vec<(u32, usize)>,
    /// Whether some verifiers do not come here with this state, though they refused nothing before.
    pub(super) doubt: bool,
    /// The spin lock that is held, by the id of its map's value.
    pub(super) lock: Option<u32>,
    /// Sections that were begun: `(which, the call that began it)`.
    pub(super) sections: Vec<(Section, usize)>,
}

impl State {
    /// A function's beginning.
    pub(super) fn new(frame: Frame) -> State {
        let frames = vec![Rc::new(frame)];
        State { frames, references: Vec::new(), doubt: false, lock: None, sections: Vec::new() }
    }

    pub(super) fn frame(&self) -> &Frame {
        self.frames.last().expect("a state has a frame")
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        Rc::make_mut(self.frames.last_mut().expect("a state has a frame"))
    }

    /// The frame of that number, to be changed.
    pub(super) fn frame_at(&mut self, number: usize) -> Option<&mut Frame> {
        self.frames.get_mut(number).map(Rc::make_mut)
    }

    pub(super) fn reg(&self, reg: u8) -> Value {
        self.frame().regs.get(usize::from(reg)).copied().unwrap_or(Value::OPAQUE)
    }

    /// What a register holds that is read.
    pub(super) fn read(&self, reg: u8) -> Result<Value, Refusal> {
        let value = self.reg(reg);
        if value.kind == Kind::Unset {
            return Err(Refusal::sure(format!("reads r{reg}, which holds nothing")));
        }
        Ok(value)
    }

    /// Checks that nothing is held that a way which ends here would not give back.
    pub(super) fn holds_nothing(&self, what: &str) -> Result<(), Refusal> {
        if let Some((_, at)) = self.references.first() {
            return Err(Refusal::sure(format!("{what} while it holds what instruction {at} acquired")));
        }
        if self.lock.is_some() {
            return Err(Refusal::sure(format!("{what} while it holds a lock")));
        }
        Ok(())
    }

    pub(super) fn set(&mut self, reg: u8, value: Value) {
        if let Some(place) = self.frame_mut().regs.get_mut(usize::from(reg)) {
            *place = value;
        }
    }

    /// Changes every value of every frame.
    pub(super) fn update(&mut self, mut change: impl FnMut(&mut Value)) {
        for frame in &mut self.frames {
            Rc::make_mut(frame).values().for_each(&mut change);
        }
    }

    /// Pointers into the packet are no good any more.
    pub(super) fn lose_packet(&mut self, left: Value) {
        self.update(|value| {
            if let Kind::Pointer(pointer) = value.kind
                && (pointer.region.is_packet() || pointer.region == Region::PacketEnd)
            {
                *value = left;
            }
        });
    }

    /// Anything may have been stored in the stack that a value points to.
    pub(super) fn doubt_stack_of(&mut self, value: Value) {
        if let Kind::Pointer(Pointer { region: Region::Stack { frame }, .. }) = value.kind
            && let Some(frame) = self.frame_at(frame)
        {
            frame.doubt_stack();
        }
    }

    /// A reference may have been given back.
    pub(super) fn doubt_reference(&mut self, reference: u32) {
        self.references.retain(|(id, _)| *id != reference);
        self.update(|value| {
            if value.reference == reference {
                *value = Value { vague: true, ..Value::OPAQUE };
            }
        });
    }

    /// Narrows a number and its copies. Verifiers before v5.11 do not follow copies of numbers.
    pub(super) fn narrow(&mut self, reg: u8, narrowed: Value) {
        let old = self.reg(reg);
        if old.id != 0 && old.kind != narrowed.kind {
            self.update(|copy| {
                if copy.id == old.id && matches!(copy.kind, Kind::Scalar(_)) {
                    *copy = if copy.shifted || old.shifted {
                        // Verifiers that follow the difference know more of it now.
                        Value { vague: copy.vague || copy.as_const().is_none(), ..*copy }
                    } else {
                        Value { soft: true, ..narrowed }
                    };
                }
            });
        }
        self.set(reg, narrowed);
    }

    /// Whether the two are in the same functions, called from the same places.
    fn same_place(&self, other: &State) -> bool {
        self.frames.len() == other.frames.len()
            && self
                .frames
                .iter()
                .zip(&other.frames)
                .all(|(a, b)| a.call == b.call && a.callback == b.callback)
    }

    /// Whether a walk from `self` finds every fault that one from `other` does, as surely. `live` and `numbers` tell
    /// of the instruction at which a frame goes on which registers may still be read, and whose numbers matter.
    pub(super) fn covers(&self, other: &State, at: usize, live: &[u16], numbers: &[u16]) -> Covers {
        if self.doubt && !other.doubt
            || self.lock.is_some() != other.lock.is_some()
            || !self.same_place(other)
            || self.references.len() != other.references.len()
            || !self.sections.iter().map(|(which, _)| which).eq(other.sections.iter().map(|(which, _)| which))
        {
            return Covers::No;
        }
        let mut ids = Ids::default();
        if let (Some(lock), Some(other)) = (self.lock, other.lock)
            && !ids.pair(lock, other)
        {
            return Covers::No;
        }
        let of = |masks: &[u16], depth: usize| {
            let goes_on = self.frames.get(depth + 1).map_or(at, |callee| callee.call + 1);
            masks.get(goes_on).copied().unwrap_or(u16::MAX) | 1 << (REGISTERS - 1)
        };
        // What was called last differs most often.
        let mut frames = self.frames.iter().zip(&other.frames).enumerate().rev();
        let all = frames.all(|(depth, (all, some))| {
            // A frame that both share is compared as well: what is null together in one state must be so in the other.
            all.covers(some, of(live, depth), of(numbers, depth), &mut ids)
        });
        match all {
            false => Covers::No,
            true if ids.other_numbers => Covers::ForOlder,
            true => Covers::Yes,
        }
    }

    /// Whether registers of the function that is walked hold the same, as `states_maybe_looping()` takes it.
    pub(super) fn has_registers_of(&self, other: &State) -> bool {
        let kinds = |state: &State| state.frame().regs.map(|value| value.kind);
        self.same_place(other) && kinds(self) == kinds(other)
    }

    /// Whether nothing is known here that some verifier may know better.
    pub(super) fn is_plain(&self) -> bool {
        !self.doubt
            && self.frames.iter().all(|frame| {
                frame.regs.iter().all(|value| !value.vague)
                    && frame.slots.iter().all(|slot| !slot.vague && !slot.value.vague)
            })
    }
}
