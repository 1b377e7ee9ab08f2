//! What is known before an instruction: registers and stack of every frame.

use super::scalar::Scalar;

/// Registers of a frame: `r0` to `r10`.
pub(super) const REGISTERS: usize = 11;
/// Bytes of stack a frame may have: `MAX_BPF_STACK` of include/linux/filter.h.
pub(super) const STACK_SZ: i32 = 512;

/// What a register or stack slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A number, or a pointer about which nothing is known, not even that it is not null.
    Scalar(Scalar),
    /// A place in a frame's stack, counted from its top; `None` for a place that is not known.
    Stack { frame: usize, off: Option<i32> },
    /// Perhaps a place in some frame's stack, perhaps not even a pointer.
    MaybeStack,
    /// A place in the context.
    Context { off: Option<i32> },
    /// A place in the value of a map of global data, as index into the object's maps.
    Data { map: usize, off: Option<i64> },
    /// A map itself, as index into the object's maps.
    Map { map: usize },
    /// A configuration value, as index into the object's externs.
    Kconfig { ext: usize },
    /// A function of the program, by its first instruction.
    Function { at: usize },
    /// Any other pointer that is not null.
    Pointer,
}

/// What is known of a register or a stack slot, and how well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Some verifiers know less than this: a branch that it decides may be walked all the same.
    pub(super) soft: bool,
    /// The verifier may know more than this: a branch that it does not decide may be decided there.
    pub(super) vague: bool,
    /// The verifier may hold it for a pointer that is never null.
    pub(super) trusted: bool,
    /// Values of one number are copies of each other; 0 for a value without known copies.
    pub(super) id: u32,
}

impl Value {
    pub(super) const UNKNOWN: Value =
        Value { kind: Kind::Scalar(Scalar::UNKNOWN), soft: false, vague: false, trusted: false, id: 0 };
    /// Nothing is known here, though the verifier may know it.
    pub(super) const VAGUE: Value = Value { vague: true, ..Value::UNKNOWN };

    pub(super) fn new(kind: Kind) -> Value {
        Value { kind, ..Value::UNKNOWN }
    }

    pub(super) fn scalar(scalar: Scalar) -> Value {
        Value::new(Kind::Scalar(scalar))
    }

    pub(super) fn constant(value: u64) -> Value {
        Value::scalar(Scalar::constant(value))
    }

    pub(super) fn as_scalar(self) -> Option<Scalar> {
        match self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn as_const(self) -> Option<u64> {
        self.as_scalar()?.as_const()
    }

    /// Whether it is a pointer and not null.
    pub(super) fn is_pointer(self) -> bool {
        !matches!(self.kind, Kind::Scalar(_) | Kind::MaybeStack)
    }

    /// Whether a write through it may change a frame's stack at a place that is not known.
    pub(super) fn may_smear(self, leaked: bool) -> bool {
        match self.kind {
            Kind::Stack { off: None, .. } | Kind::MaybeStack => true,
            Kind::Scalar(_) => leaked && self.vague,
            _ => false,
        }
    }

    /// The lower bytes of what was stored, as a load of that many bytes finds them.
    fn low_bytes(self, byte_sz: u32) -> Value {
        match self.kind {
            _ if byte_sz == 8 => self,
            // Bytes that were set to 0 are remembered as such, however many are written or read.
            Kind::Scalar(scalar) if scalar.as_const() == Some(0) => Value { id: 0, ..self },
            // Verifiers before v5.16 do not follow what is spilled in fewer than 8 bytes.
            Kind::Scalar(scalar) => {
                Value { kind: Kind::Scalar(scalar.truncated(byte_sz)), soft: true, id: 0, ..self }
            }
            _ => Value::VAGUE,
        }
    }

    /// Whether a walk from `self` covers all that one from `other` does, with answers that are as good.
    fn covers(self, other: Value) -> bool {
        let kinds = match (self.kind, other.kind) {
            (Kind::Scalar(all), Kind::Scalar(some)) => all.contains(some),
            (a, b) => a == b,
        };
        kinds
            && (self.soft || !other.soft)
            && (!self.vague || other.vague)
            && (self.trusted || !other.trusted)
            && (self.id == 0 || self.id == other.id)
    }

    /// What holds for both, where the two come from different ways through the program.
    fn join(self, other: Value, widen: bool) -> Value {
        if self == other {
            return self;
        }
        let kind = match (self.kind, other.kind) {
            (a, b) if a == b => a,
            (Kind::Scalar(a), Kind::Scalar(b)) if !widen => Kind::Scalar(a.hull(b)),
            (Kind::Stack { .. } | Kind::MaybeStack, _) | (_, Kind::Stack { .. } | Kind::MaybeStack) => {
                Kind::MaybeStack
            }
            _ => Kind::Scalar(Scalar::UNKNOWN),
        };
        let only_ids = Value { id: 0, ..self } == Value { id: 0, ..other };
        Value {
            kind,
            soft: self.soft || other.soft,
            vague: self.vague || other.vague || !only_ids,
            trusted: self.trusted || other.trusted,
            id: if self.id == other.id { self.id } else { 0 },
        }
    }
}

/// Bytes of a stack that something is known about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    /// Bytes from the top of the stack, below 0.
    off: i32,
    byte_sz: u32,
    value: Value,
}

impl Slot {
    fn end(self) -> i32 {
        self.off + self.byte_sz as i32
    }
}

/// A function that was called and has not returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) regs: [Value; REGISTERS],
    /// Ascending, without overlaps. Bytes without a slot hold what no verifier knows anything of.
    slots: Vec<Slot>,
    /// The call in the caller's code that brought it here.
    pub(super) call: usize,
}

impl Frame {
    /// The frame number `depth`, called from the instruction at `call`.
    pub(super) fn new(depth: usize, call: usize) -> Frame {
        let mut regs = [Value::UNKNOWN; REGISTERS];
        regs[10] = Value::new(Kind::Stack { frame: depth, off: Some(0) });
        Frame { regs, slots: Vec::new(), call }
    }

    /// Forgets the bytes of `off..end`; what is left of a slot that reached beyond them is vague.
    fn cut(&mut self, off: i32, end: i32) {
        let first = self.slots.partition_point(|slot| slot.end() <= off);
        let last = self.slots.partition_point(|slot| slot.off < end);
        if first >= last {
            return;
        }
        let (before, after) = (self.slots[first], self.slots[last - 1]);
        let left = Slot { off: before.off, byte_sz: (off - before.off).max(0) as u32, value: Value::VAGUE };
        let right = Slot { off: end, byte_sz: (after.end() - end).max(0) as u32, value: Value::VAGUE };
        self.slots.splice(first..last, [left, right].into_iter().filter(|slot| slot.byte_sz > 0));
    }

    /// Puts a value at a place, or makes the place unknown.
    pub(super) fn store(&mut self, off: i32, byte_sz: u32, value: Option<Value>) {
        let end = off.saturating_add_unsigned(byte_sz).min(0);
        let off = off.max(-STACK_SZ);
        if off >= end {
            return;
        }
        self.cut(off, end);
        if let Some(value) = value {
            let at = self.slots.partition_point(|slot| slot.off < off);
            self.slots.insert(at, Slot { off, byte_sz: (end - off) as u32, value });
        }
    }

    /// What a load from that place finds.
    pub(super) fn load(&self, off: i32, byte_sz: u32) -> Value {
        let end = off.saturating_add_unsigned(byte_sz);
        let first = self.slots.partition_point(|slot| slot.end() <= off);
        match self.slots.get(first).filter(|slot| slot.off < end) {
            None => Value::scalar(Scalar::of_bytes(byte_sz)),
            Some(slot) if slot.off == off && slot.byte_sz == byte_sz && !slot.value.vague => {
                slot.value.low_bytes(byte_sz)
            }
            _ => Value { kind: Kind::Scalar(Scalar::of_bytes(byte_sz)), ..Value::VAGUE },
        }
    }

    fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.regs.iter_mut().chain(self.slots.iter_mut().map(|slot| &mut slot.value))
    }

    fn covers(&self, other: &Frame) -> bool {
        self.regs.iter().zip(&other.regs).all(|(all, some)| all.covers(*some))
            && self.slots.len() <= other.slots.len()
            && self.slots.iter().all(|slot| {
                let same = |other: &&Slot| (other.off, other.byte_sz) == (slot.off, slot.byte_sz);
                other.slots.iter().find(same).is_some_and(|other| slot.value.covers(other.value))
            })
    }

    fn join(&mut self, other: &Frame, widen: bool) {
        for (value, other) in self.regs.iter_mut().zip(&other.regs) {
            *value = value.join(*other, widen);
        }
        if self.slots == other.slots {
            return;
        }
        let mut vague = Vec::new();
        self.slots.retain_mut(|slot| {
            let same =
                other.slots.iter().find(|other| (other.off, other.byte_sz) == (slot.off, slot.byte_sz));
            if let Some(other) = same {
                slot.value = slot.value.join(other.value, widen);
                return true;
            }
            vague.push(*slot);
            false
        });
        let known = |own: &[Slot], slot: &Slot| {
            own.iter().any(|own| (own.off, own.byte_sz) == (slot.off, slot.byte_sz))
        };
        vague.extend(other.slots.iter().filter(|slot| !known(&self.slots, slot)));
        for slot in vague {
            self.store(slot.off, slot.byte_sz, Some(Value::VAGUE));
        }
        // One shape for one meaning, or joining would not come to an end.
        self.slots.dedup_by(|slot, before| {
            let same = slot.value.vague && before.value.vague && before.end() == slot.off;
            if same {
                before.byte_sz += slot.byte_sz;
                before.value = Value::VAGUE;
            }
            same
        });
    }
}

/// What is known before an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// The functions that were called and have not returned, the current one last.
    pub(super) frames: Vec<Frame>,
    /// Whether every verifier comes here, if it does not refuse the program before.
    pub(super) sure: bool,
    /// Whether a pointer into a stack was put into memory, where it may be found again.
    pub(super) leaked: bool,
}

impl State {
    pub(super) fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a state has a frame")
    }

    pub(super) fn reg(&self, reg: u8) -> Value {
        let frame = self.frames.last().expect("a state has a frame");
        frame.regs.get(usize::from(reg)).copied().unwrap_or(Value::VAGUE)
    }

    pub(super) fn set(&mut self, reg: u8, value: Value) {
        // r10 is read-only.
        if usize::from(reg) < REGISTERS - 1 {
            self.frame().regs[usize::from(reg)] = value;
        }
    }

    /// Gives a number to a value that was just made at the instruction `at`; older values made there lose it.
    pub(super) fn numbered(&mut self, at: usize, value: Value) -> Value {
        let id = at as u32 + 1;
        self.values().filter(|value| value.id == id).for_each(|value| value.id = 0);
        Value { id, ..value }
    }

    pub(super) fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.frames.iter_mut().flat_map(Frame::values)
    }

    /// Narrows a number and its copies. Verifiers before v5.11 do not follow copies of numbers; `soft`: others learn nothing.
    pub(super) fn narrow(&mut self, reg: u8, scalar: Scalar, soft: bool) {
        let value = self.reg(reg);
        let narrowed = Value { kind: Kind::Scalar(scalar), soft: value.soft || soft, ..value };
        if value.id != 0 {
            let copies = self.values().filter(|copy| copy.id == value.id);
            copies.for_each(|copy| *copy = Value { soft: true, ..narrowed });
        }
        self.set(reg, narrowed);
    }

    /// The verifier may have learned of a number and its copies what is not followed here.
    pub(super) fn blur(&mut self, reg: u8) {
        let value = self.reg(reg);
        if value.id != 0 {
            self.values().filter(|copy| copy.id == value.id).for_each(|copy| copy.vague = true);
        }
        self.set(reg, Value { vague: true, ..value });
    }

    /// Something may have been written anywhere into the stacks.
    pub(super) fn smear(&mut self) {
        for frame in &mut self.frames {
            frame.store(-STACK_SZ, STACK_SZ as u32, Some(Value::VAGUE));
        }
    }

    /// Whether the two are in the same functions, called from the same places.
    pub(super) fn same_place(&self, other: &State) -> bool {
        self.frames.len() == other.frames.len()
            && self.frames.iter().zip(&other.frames).all(|(a, b)| a.call == b.call)
    }

    pub(super) fn covers(&self, other: &State) -> bool {
        (self.sure || !other.sure)
            && (self.leaked || !other.leaked)
            && self.same_place(other)
            && self.frames.iter().zip(&other.frames).all(|(all, some)| all.covers(some))
    }

    pub(super) fn join(&mut self, other: &State, widen: bool) {
        self.sure |= other.sure;
        self.leaked |= other.leaked;
        for (frame, other) in self.frames.iter_mut().zip(&other.frames) {
            frame.join(other, widen);
        }
    }
}
