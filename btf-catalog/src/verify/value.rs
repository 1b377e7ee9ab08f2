//! What a register or a stack slot holds, as the verifier types it (`struct bpf_reg_state`).

use crate::reach::scalar::Scalar;

/// What a pointer points into (`enum bpf_reg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Region {
    /// The context.
    Context,
    /// The stack of a frame.
    Stack {
        /// Its number, the entry's being 0.
        frame: usize,
    },
    /// A map itself, as index into the object's maps; behind these come the maps that they hold, in the same order.
    Map {
        /// The index.
        map: usize,
    },
    /// A map's value.
    MapValue {
        /// The map, as in [`Region::Map`].
        map: usize,
    },
    /// A configuration value, as index into the object's externs.
    Kconfig {
        /// The index.
        ext: usize,
    },
    /// The packet; its readable bytes are [`Pointer::range`].
    Packet,
    /// What the driver put before the packet.
    PacketMeta,
    /// The packet's end.
    PacketEnd,
    /// Memory of known size.
    Mem {
        /// Bytes.
        size: u32,
        /// Whether it may be written.
        writable: bool,
    },
    /// A socket.
    Sock(Sock),
    /// Something of the kernel's that is not modelled.
    Kernel,
    /// A function of the program, by its first instruction.
    Function {
        /// The index.
        at: usize,
    },
}

/// Kinds of sockets that programs see by their UAPI structures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sock {
    /// `struct bpf_sock`, some of whose fields only a full socket has (`PTR_TO_SOCK_COMMON`).
    Common,
    /// `struct bpf_sock`.
    Full,
    /// `struct bpf_tcp_sock`.
    Tcp,
    /// `struct bpf_xdp_sock`.
    Xdp,
}

impl Region {
    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Region::Context => "the context",
            Region::Stack { .. } => "the stack",
            Region::Map { .. } => "a map",
            Region::MapValue { .. } => "a map's value",
            Region::Kconfig { .. } => "a configuration value",
            Region::Packet => "the packet",
            Region::PacketMeta => "the packet's metadata",
            Region::PacketEnd => "the packet's end",
            Region::Mem { .. } => "memory",
            Region::Sock(_) => "a socket",
            Region::Kernel => "something of the kernel's",
            Region::Function { .. } => "a function",
        }
    }

    /// Whether arithmetic on the packet pointer starts a new range (`reg_is_pkt_pointer()`).
    pub(super) fn is_packet(self) -> bool {
        matches!(self, Region::Packet | Region::PacketMeta)
    }
}

/// A pointer, perhaps null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pointer {
    pub(super) region: Region,
    /// Whether it may be null: nothing but a test is allowed then.
    pub(super) or_null: bool,
    /// Bytes from the region's beginning, the constant part; below 0 on a stack, which is counted from its top.
    pub(super) off: i64,
    /// The part that is not constant.
    pub(super) var: Scalar,
    /// Bytes behind the beginning (`off` being 0, `var` whatever it is) that tests have shown to be in the packet.
    pub(super) range: Range,
}

/// What tests have shown of a packet pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Range {
    /// So many bytes can be read.
    Bytes(u16),
    /// It is at the packet's end.
    AtEnd,
    /// It is beyond the packet's end.
    BeyondEnd,
}

impl Pointer {
    pub(super) fn to(region: Region) -> Pointer {
        Pointer { region, or_null: false, off: 0, var: Scalar::constant(0), range: Range::Bytes(0) }
    }

    pub(super) fn or_null(region: Region) -> Pointer {
        Pointer { or_null: true, ..Pointer::to(region) }
    }

    /// Whether `off` bytes from there is surely a multiple of `byte_sz`, a power of two.
    pub(super) fn is_aligned(self, off: i64, byte_sz: usize) -> bool {
        let low = byte_sz as u64 - 1;
        let (value, mask) = (self.var.bits.value, self.var.bits.mask);
        mask & low == 0 && (self.off.wrapping_add(off) as u64).wrapping_add(value) & low == 0
    }

    /// The offset, where it is constant.
    pub(super) fn const_off(self) -> Option<i64> {
        self.off.checked_add(self.var.as_const()? as i64)
    }

    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match (self.region, self.or_null) {
            (Region::MapValue { .. }, true) => "a map's value that may be missing (null)",
            (Region::Sock(_), true) => "a socket that may be missing (null)",
            (Region::Kernel, true) => "something of the kernel's that may be missing (null)",
            (_, true) => "a pointer that may be null",
            (region, false) => region.name(),
        }
    }
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing yet (`NOT_INIT`).
    Unset,
    /// A number.
    Scalar(Scalar),
    /// A pointer.
    Pointer(Pointer),
    /// Something that is not modelled: a number or a pointer, about which the verifier knows more.
    Opaque,
}

/// What is known of a register or a stack slot, and how well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Of numbers and packet pointers: equal ids, equal values; of pointers that may be null: equal ids, null together.
    /// 0 for a value without known copies.
    pub(super) id: u32,
    /// The reference that it holds (`ref_obj_id`), 0 without one.
    pub(super) reference: u32,
    /// Some verifiers know less than this.
    pub(super) soft: bool,
    /// Some verifiers may know more than this.
    pub(super) vague: bool,
    /// A constant was added since it got its id, which verifiers since v6.11 follow.
    pub(super) shifted: bool,
}

impl Value {
    pub(super) const UNSET: Value =
        Value { kind: Kind::Unset, id: 0, reference: 0, soft: false, vague: false, shifted: false };
    pub(super) const OPAQUE: Value = Value { kind: Kind::Opaque, vague: true, ..Value::UNSET };
    pub(super) const UNKNOWN: Value = Value { kind: Kind::Scalar(Scalar::UNKNOWN), ..Value::UNSET };
    /// A number of which verifiers may know more.
    pub(super) const VAGUE: Value = Value { vague: true, ..Value::UNKNOWN };

    pub(super) fn scalar(scalar: Scalar) -> Value {
        Value { kind: Kind::Scalar(scalar), ..Value::UNSET }
    }

    pub(super) fn constant(value: u64) -> Value {
        Value::scalar(Scalar::constant(value))
    }

    pub(super) fn pointer(pointer: Pointer) -> Value {
        Value { kind: Kind::Pointer(pointer), ..Value::UNSET }
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

    pub(super) fn as_pointer(self) -> Option<Pointer> {
        match self.kind {
            Kind::Pointer(pointer) => Some(pointer),
            _ => None,
        }
    }

    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self.kind {
            Kind::Unset => "nothing",
            Kind::Scalar(_) => "a number",
            Kind::Pointer(pointer) => pointer.name(),
            Kind::Opaque => "something",
        }
    }

    /// Whether a walk from `self` finds every fault that one from `other` does, as surely. `number` says whether the
    /// number matters that it holds, if it is one.
    pub(super) fn covers(self, other: Value, number: bool, ids: &mut Ids) -> bool {
        let kinds = match (self.kind, other.kind) {
            // What was never read cannot have been needed.
            (Kind::Unset, _) => return true,
            (Kind::Scalar(_), Kind::Scalar(_)) if !number => return true,
            (Kind::Scalar(all), Kind::Scalar(some)) => all.contains(some),
            (Kind::Pointer(all), Kind::Pointer(some)) => {
                all.region == some.region
                    && all.or_null == some.or_null
                    && all.off == some.off
                    && (all.var == some.var
                        || !matches!(all.region, Region::Stack { .. }) && all.var.contains(some.var))
                    && all.range.covers(some.range)
            }
            (a, b) => a == b,
        };
        kinds
            && (self.soft || !other.soft)
            && (!self.vague || other.vague)
            && (self.shifted == other.shifted)
            && self.linked_as(other, ids)
            && ids.pair(self.reference, other.reference)
    }
}

impl Value {
    fn linked_as(self, other: Value, ids: &mut Ids) -> bool {
        let same = ids.pair(self.id, other.id);
        let packet = |pointer: Pointer| pointer.region.is_packet();
        let number = matches!(self.kind, Kind::Scalar(_)) || self.as_pointer().is_some_and(packet);
        ids.other_numbers |= !same && number;
        same || number
    }
}

impl Range {
    fn covers(self, other: Range) -> bool {
        match (self, other) {
            (Range::Bytes(known), Range::Bytes(other)) => known <= other,
            (a, b) => a == b,
        }
    }
}

/// Which ids of one state stand for which of another.
#[derive(Default)]
pub(super) struct Ids {
    pairs: Vec<(u32, u32)>,
    /// Whether numbers, or places in the packet, are copies of each other in the one state that are not in the other: verifiers since v6.5 look.
    pub(super) other_numbers: bool,
}

impl Ids {
    /// Whether `old` may stand for `new`. A value without copies stands for one that has some.
    pub(super) fn pair(&mut self, old: u32, new: u32) -> bool {
        if old == 0 {
            return true;
        }
        if new == 0 {
            return false;
        }
        if let Some(pair) = self.pairs.iter().find(|(known, other)| *known == old || *other == new) {
            return *pair == (old, new);
        }
        self.pairs.push((old, new));
        true
    }
}
