//! What helpers are given, checked as `check_func_arg()` does: the register's kind, whether it may be null, the bytes that a
//! pointer and the size after it name. Where kernels differ, a fault is doubtful.

use super::fields::{Fields, Kept};
use super::helper::Call;
use super::memory::{self, Access};
use super::state::{STACK_SZ, State};
use super::value::{Kind, Pointer, Region, Sock, Value};
use super::walk::{Refusal, Walker};
use crate::proto::{self, Agreed, Arg, ArgKind};
use crate::uapi::{MapType, ProgType};

/// `BPF_MAX_VAR_SIZ` of kernel/bpf/verifier.c.
const MAX_VAR_SIZ: u64 = 1 << 29;
/// Bytes of a dynamic pointer on the stack.
const DYNPTR_SZ: i64 = 16;

impl Walker<'_> {
    /// Checks an argument: against all kinds that it may be of, of which the program's type decides.
    pub(super) fn argument(
        &mut self,
        call: &mut Call,
        kinds: &[Arg],
        reg: u8,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let value = state.read(reg)?;
        let mut refused = None;
        if kinds.len() > 1 && value.as_const() == Some(0) && kinds.iter().any(|arg| arg.null == Agreed::No) {
            let why = format!("{} null, which programs of some types may not", call.taker.gives(reg));
            self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
        }
        // Where a helper takes a context from some programs, and something else from others.
        let from_context = kinds.len() == 1 || self.is_of_sockets();
        for arg in kinds.iter().filter(|arg| arg.kind != ArgKind::Context || from_context) {
            match self.argument_of(call, *arg, reg, value, state) {
                Ok(()) => {
                    if value.reference != 0 {
                        call.reference = value.reference;
                    }
                    return Ok(());
                }
                Err(refusal) => refused = Some(refusal),
            }
        }
        // What verifiers know more of may be null for them, or a pointer that they kept.
        let unsure = value.vague && value.as_const().is_none() && matches!(value.kind, Kind::Scalar(_));
        refused.map_or(Ok(()), |refused| Err(Refusal { sure: refused.sure && !unsure, ..refused }))
    }

    /// Whether there is a socket in the context of programs of the type, or behind it.
    fn is_of_sockets(&self) -> bool {
        let context = self.prog_type.context();
        self.prog_type == ProgType::EXT
            || context.is_none_or(|is| ["skb", "sock", "sock_addr", "sock_ops"].contains(&is))
    }

    fn argument_of(
        &mut self,
        call: &mut Call,
        arg: Arg,
        reg: u8,
        value: Value,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let is_size = matches!(arg.kind, ArgKind::Size | ArgKind::ConstSize | ArgKind::Any);
        let of_kernel = matches!(value.kind, Kind::Pointer(Pointer { region: Region::Kernel, .. }));
        if (value.kind == Kind::Opaque || of_kernel) && !is_size {
            if of_kernel {
                self.unmodelled("the kernel's own structures");
            }
            return Ok(());
        }
        if !is_size && value.as_const() == Some(0) {
            return self.null(call, arg, reg, value, state);
        }
        if let Kind::Pointer(pointer) = value.kind
            && pointer.or_null
            && !is_size
        {
            let why = format!("{} {}", call.taker.gives(reg), value.name());
            match arg.null {
                // Some verifiers may know that it is not null.
                Agreed::No => return Err(Refusal { why, sure: !value.vague }),
                // Taken since v5.17, where null is.
                _ => self.note(call.taker.at, Refusal::doubtful(why), state.doubt),
            }
        }
        self.kind_of(call, arg, reg, value, state)
    }

    fn null(&mut self, call: &Call, arg: Arg, reg: u8, value: Value, state: &State) -> Result<(), Refusal> {
        let why = format!("{} null", call.taker.gives(reg));
        match arg.null {
            Agreed::No => Err(Refusal::sure(why)),
            Agreed::All if !value.soft => Ok(()),
            _ => {
                self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
                Ok(())
            }
        }
    }

    fn kind_of(
        &mut self,
        call: &mut Call,
        arg: Arg,
        reg: u8,
        value: Value,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let stranger = || Err(Refusal::sure(format!("{} {}", call.taker.gives(reg), value.name())));
        let pointer = value.as_pointer();
        let region = pointer.map(|pointer| pointer.region);
        match (arg.kind, region) {
            (ArgKind::Ignored | ArgKind::Any, _)
            | (ArgKind::Function, Some(Region::Function { .. }))
            | (ArgKind::Stack, Some(Region::Stack { .. }))
            | (ArgKind::SockCommon | ArgKind::AnySock, Some(Region::Sock(_)))
            | (ArgKind::Socket, Some(Region::Sock(Sock::Full))) => Ok(()),
            (ArgKind::Context, Some(Region::Context)) => self.context_argument(call, value, state),
            (ArgKind::Map, Some(Region::Map { map })) => call.given_map(map),
            (ArgKind::Size, _) => self.size(call, arg, reg, value, state),
            (ArgKind::ConstSize, _) => match value.as_const() {
                Some(size) => {
                    self.lean(value.soft);
                    call.size = Some(size);
                    Ok(())
                }
                None if value.kind == Kind::Opaque => Ok(()),
                None => {
                    let why = format!("{} {}, which must be a constant", call.taker.gives(reg), value.name());
                    Err(Refusal { why, sure: !value.vague })
                }
            },
            (ArgKind::Key, Some(_)) => {
                let size = call.map.and_then(|map| self.map(map)).map_or(0, |map| map.key_size);
                self.of_map(call, reg, value, proto::Access::Read, size, state)
            }
            (ArgKind::Value(access), Some(region)) => {
                let map = call.map.and_then(|map| self.map(map));
                let sockets =
                    map.is_some_and(|map| [MapType::SOCKMAP, MapType::SOCKHASH].contains(&map.map_type));
                if sockets {
                    return if matches!(region, Region::Sock(_)) { Ok(()) } else { stranger() };
                }
                self.of_map(call, reg, value, access, map.map_or(0, |map| map.value_size), state)
            }
            (ArgKind::Mem(access, Some(size)), Some(_)) => {
                let off = pointer.and_then(Pointer::const_off).unwrap_or(0);
                let aligned = matches!(region, Some(Region::Stack { .. } | Region::MapValue { .. }));
                // What is filled are numbers, aligned to their size (`MEM_ALIGNED`).
                if access == proto::Access::Fill && aligned && off.rem_euclid(size.into()) != 0 {
                    let why =
                        format!("{} a number at byte {off}, which is not aligned", call.taker.gives(reg));
                    return Err(Refusal::sure(why));
                }
                self.memory(&mut call.taker, reg, value, access, Bytes::constant(size.into()), state)
            }
            (ArgKind::Mem(_, None), Some(region)) => {
                if matches!(
                    region,
                    Region::Map { .. } | Region::PacketEnd | Region::Function { .. } | Region::Sock(_)
                ) {
                    return stranger();
                }
                Ok(())
            }
            (ArgKind::RingbufMem, Some(Region::Mem { .. })) => {
                if value.reference == 0 {
                    return Err(Refusal::sure(format!(
                        "{} memory that it did not reserve",
                        call.taker.gives(reg)
                    )));
                }
                if pointer.and_then(Pointer::const_off) != Some(0) {
                    let why = format!("{} memory from its middle", call.taker.gives(reg));
                    self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
                }
                Ok(())
            }
            (ArgKind::SpinLock | ArgKind::Timer | ArgKind::Kptr, Some(Region::MapValue { map })) => {
                self.field(call, arg.kind, reg, value, map)
            }
            (ArgKind::Text, Some(Region::MapValue { map })) => self.text(call, reg, value, map),
            (ArgKind::Dynptr { made, .. }, Some(Region::Stack { frame })) => {
                self.unmodelled("dynamic pointers");
                if let (true, Some(frame), Some(off)) =
                    (made, state.frame_at(frame), pointer.and_then(Pointer::const_off))
                    && (-STACK_SZ..=-DYNPTR_SZ).contains(&off)
                {
                    frame.smear(off, DYNPTR_SZ as usize, true);
                }
                Ok(())
            }
            _ => stranger(),
        }
    }

    /// The context must be given as it was received.
    fn context_argument(&mut self, call: &Call, value: Value, state: &State) -> Result<(), Refusal> {
        if value.as_pointer().and_then(Pointer::const_off) == Some(0) {
            return Ok(());
        }
        let why = format!("{} the context from its middle", call.taker.gives(1));
        if self.rewrites_context() {
            return Err(Refusal { why, sure: !value.vague });
        }
        self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
        Ok(())
    }

    /// A key or value of the map that was given.
    fn of_map(
        &mut self,
        call: &mut Call,
        reg: u8,
        value: Value,
        access: proto::Access,
        size: u32,
        state: &mut State,
    ) -> Result<(), Refusal> {
        if let Kind::Pointer(Pointer { region: Region::Mem { .. }, .. }) = value.kind {
            // Taken since v6.2.
            let why = format!("{} memory that is in no map, packet or stack", call.taker.gives(reg));
            self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
        }
        // Where the size is not known, the pointer is looked at alone.
        self.memory(&mut call.taker, reg, value, access, Bytes::constant(size.into()), state)
    }

    /// A size, and the memory before it.
    fn size(
        &mut self,
        call: &mut Call,
        arg: Arg,
        reg: u8,
        value: Value,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let number = match value.kind {
            Kind::Scalar(number) => number,
            Kind::Opaque => {
                let base = state.reg(reg - 1);
                state.doubt_stack_of(base);
                return Ok(());
            }
            _ => return Err(Refusal::sure(format!("{} {} as a size", call.taker.gives(reg), value.name()))),
        };
        call.size = Some(number.umax);
        self.lean(value.soft);
        let constant = number.as_const().is_some();
        let refused = |what: &str| {
            let why = format!("{} a size {what}", call.taker.gives(reg));
            Err(Refusal { why, sure: constant || !value.vague })
        };
        if number.smin < 0 {
            return refused("that may be negative");
        }
        if number.umin == 0 && arg.null == Agreed::No {
            return refused(if constant { "of 0" } else { "that may be 0" });
        }
        if number.umin == 0 && arg.null == Agreed::Some {
            let why = format!("{} a size that may be 0", call.taker.gives(reg));
            self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
        }
        if number.umax >= MAX_VAR_SIZ {
            return refused("without an upper bound");
        }
        let base = state.reg(reg - 1);
        let kinds = call.proto.args.get(usize::from(reg) - 2).map(|args| args[0].kind);
        let Some(ArgKind::Mem(access, None)) = kinds else { return Ok(()) };
        let bytes = Bytes {
            most: number.umax,
            constant: constant && !value.soft,
            vague: value.vague && !constant,
            may_be_none: true,
        };
        self.memory(&mut call.taker, reg - 1, base, access, bytes, state)
    }

    /// Checks memory that a helper or a global function reads or writes (`check_helper_mem_access()`).
    pub(super) fn memory(
        &mut self,
        taker: &mut Taker,
        reg: u8,
        base: Value,
        access: proto::Access,
        bytes: Bytes,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let Kind::Pointer(pointer) = base.kind else {
            if base.as_const() == Some(0) && bytes.most > 0 {
                let why = format!("{} null as {} bytes of memory", taker.gives(reg), bytes.most);
                return Err(Refusal { why, sure: !bytes.vague });
            }
            return Ok(());
        };
        let there = Access { at: taker.at, base, off: 0, byte_sz: bytes.most as usize };
        let refusal = |why: &str| Refusal::sure(format!("{} {why}", taker.gives(reg)));
        let checked = match pointer.region {
            Region::Stack { frame } => {
                return self.stack_memory(taker, there, pointer, frame, access, bytes, state);
            }
            Region::Packet | Region::PacketMeta => {
                match taker.packet {
                    Agreed::No => return Err(refusal("memory in the packet")),
                    Agreed::Some => {
                        let why = refusal("memory in the packet").why;
                        self.note(taker.at, Refusal::doubtful(why), state.doubt);
                    }
                    Agreed::All => {}
                }
                memory::in_packet(pointer, there, base.vague)
            }
            Region::MapValue { map } => {
                let checked = match access {
                    proto::Access::Read => self.map_value(map, there, pointer, false),
                    proto::Access::Fill if bytes.constant => self.map_value(map, there, pointer, true),
                    proto::Access::Change | proto::Access::Fill => {
                        self.map_value(map, there, pointer, false)?;
                        // Writes of sizes that are not constant, or of what is read as well, are seen since v6.12.
                        self.map_value(map, there, pointer, true)
                            .map_err(|refusal| Refusal { sure: false, ..refusal })
                    }
                };
                checked.map(drop)
            }
            Region::Kconfig { ext } if access == proto::Access::Read => self.option(ext, there, pointer),
            Region::Kernel => {
                self.unmodelled("the kernel's own structures");
                Ok(())
            }
            Region::Mem { size, writable } => {
                if !writable && access != proto::Access::Read {
                    let sure = access == proto::Access::Fill && bytes.constant;
                    return Err(Refusal { sure, ..refusal("memory to write that may only be read") });
                }
                memory::bounded(pointer, there, i64::from(size), base.vague)
            }
            // Taken since v7.1, where the kernel rewrites no accesses of it.
            Region::Context if !self.rewrites_context() => {
                return Err(Refusal { sure: false, ..refusal("the context as memory") });
            }
            _ => return Err(refusal(base.name())),
        };
        checked.map_err(|refused| bytes.at_most(refused))
    }

    /// Memory on the stack (`check_stack_range_initialized()`).
    #[expect(clippy::too_many_arguments, reason = "an access, and all that is known of it")]
    fn stack_memory(
        &mut self,
        taker: &mut Taker,
        there: Access,
        pointer: Pointer,
        number: usize,
        access: proto::Access,
        bytes: Bytes,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let constant = pointer.var.as_const().is_some();
        let placed = memory::on_stack(pointer, 0, bytes.most as i64, there.base.vague);
        let (low, high) =
            placed.map_err(|refused| if constant { bytes.at_most(refused) } else { refused })?;
        if bytes.most == 0 {
            return Ok(());
        }
        let all = (high - low) as usize + there.byte_sz;
        let Some(frame) = state.frames.get(number) else { return Ok(()) };
        if access == proto::Access::Fill && low == high && bytes.constant {
            taker.filled.push((number, low, all));
            return Ok(());
        }
        let (pointers, allocated) = (frame.holds_pointer(low, all), frame.allocated());
        let torn = frame.is_torn(low, all);
        if !frame.is_set(low, all) {
            // Of what is only filled, verifiers that see a constant size ask nothing.
            if access == proto::Access::Fill && low == high && bytes.soft_constant() {
                self.note(there.at, Refusal::doubtful("reads stack that was never written"), state.doubt);
            } else {
                self.unset_stack(there.at, low, allocated, state.doubt)
                    .map_err(|refused| Refusal { sure: refused.sure && !bytes.vague, ..refused })?;
            }
        }
        if torn {
            self.torn_stack(there.at, state.doubt);
        }
        if pointers {
            let why = format!("gives {} stack that holds a pointer", taker.name);
            self.note(there.at, Refusal::doubtful(why), state.doubt);
        }
        if let Some(frame) = state.frame_at(number) {
            frame.smear(low, all, true);
        }
        Ok(())
    }

    /// A lock, timer or kernel pointer in a map's value.
    fn field(
        &mut self,
        call: &mut Call,
        kind: ArgKind,
        reg: u8,
        value: Value,
        map: usize,
    ) -> Result<(), Refusal> {
        let (kept, plural) = match kind {
            ArgKind::SpinLock => (Kept::Lock, "locks"),
            ArgKind::Timer => (Kept::Timer, "timers"),
            _ => (Kept::Pointer, "pointers that maps keep"),
        };
        let typed = self.object.btf.is_none() || self.map(map).is_some_and(|map| map.value_type.is_some());
        if typed && self.kept(map).is_some_and(Fields::is_empty) {
            return Err(Refusal::sure(format!("{} a map's value without {plural}", call.taker.gives(reg))));
        }
        let Some(off) = value.as_pointer().and_then(Pointer::const_off) else {
            let why = format!("{} a place in a map's value that is not constant", call.taker.gives(reg));
            return Err(Refusal { why, sure: !value.vague });
        };
        let begins = self.kept(map).is_some_and(|fields| fields.begins(kept, off));
        if kept != Kept::Pointer && !begins {
            let why = format!(
                "{} byte {off} of a map's value, where not all kernels find any",
                call.taker.gives(reg)
            );
            self.note(call.taker.at, Refusal::doubtful(why), false);
        }
        if kind == ArgKind::Timer {
            call.map = Some(map);
        }
        if kind == ArgKind::Kptr {
            self.unmodelled(plural);
        }
        Ok(())
    }

    /// A constant text.
    fn text(&mut self, call: &Call, reg: u8, value: Value, map: usize) -> Result<(), Refusal> {
        let Some(def) = self.map(map) else { return Ok(()) };
        if !def.frozen {
            return Err(Refusal::sure(format!("{} a text in a map that may change", call.taker.gives(reg))));
        }
        let Some(off) = value.as_pointer().and_then(Pointer::const_off) else {
            let why = format!("{} a text at a place that is not constant", call.taker.gives(reg));
            return Err(Refusal { why, sure: !value.vague });
        };
        let data = self.constants.maps.get(&map);
        let text = data.and_then(|data| data.get(usize::try_from(off).unwrap_or(usize::MAX)..));
        if data.is_some() && !text.is_some_and(|text| text.contains(&0)) {
            return Err(Refusal::sure(format!(
                "{} a text that does not end in its map",
                call.taker.gives(reg)
            )));
        }
        Ok(())
    }
}

/// Who is given memory: a helper, or a function that is verified by itself.
pub(super) struct Taker {
    /// The call.
    pub(super) at: usize,
    /// As messages name it.
    pub(super) name: String,
    /// Whether the memory may be in the packet.
    pub(super) packet: Agreed,
    /// Memory on the stack that is filled: frame, place, bytes.
    pub(super) filled: Vec<(usize, i64, usize)>,
}

impl Taker {
    fn gives(&self, reg: u8) -> String {
        format!("gives {} as argument {reg}", self.name)
    }
}

/// How many bytes are accessed.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    most: u64,
    /// Whether every verifier knows it for a constant.
    constant: bool,
    vague: bool,
    may_be_none: bool,
}

impl Bytes {
    pub(super) fn constant(most: u64) -> Bytes {
        Bytes { most, constant: true, vague: false, may_be_none: false }
    }

    fn soft_constant(self) -> bool {
        !self.constant && !self.vague
    }

    /// A refusal of an access of that many bytes, which some verifiers may know to be fewer.
    fn at_most(self, refused: Refusal) -> Refusal {
        Refusal { sure: refused.sure && !self.vague && (self.most > 0 || !self.may_be_none), ..refused }
    }
}
