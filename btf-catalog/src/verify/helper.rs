//! Helpers: what they do, what they return, what they call back. The table is `data/helper_protos.tsv`.

use super::argument::Taker;
use super::state::{Callback, Frame, Loaded, STACK_SZ, State};
use super::value::{Kind, Pointer, Region, Sock, Value};
use super::walk::{MAX_FRAMES, Refusal, Walker};
use crate::object::{F_RDONLY_PROG, MapDef};
use crate::proto::{Agreed, ArgKind, Effect, Proto, Returned, Returns};
use crate::reach::scalar::Scalar;
use crate::uapi::{HelperId, MapType, ProgType};

/// `MAX_ERRNO` of include/linux/err.h.
const MAX_ERRNO: i64 = 4095;

/// A call that is being checked.
pub(super) struct Call {
    pub(super) taker: Taker,
    pub(super) helper: HelperId,
    pub(super) proto: &'static Proto,
    /// The map that was given.
    pub(super) map: Option<usize>,
    /// The largest size that was given.
    pub(super) size: Option<u64>,
    /// The reference that an argument holds.
    pub(super) reference: u32,
    /// What `r2` pointed to before the call, where that was 4 bytes of stack.
    key: Option<Key>,
}

/// Four bytes of stack.
#[derive(Clone, Copy)]
struct Key {
    value: Value,
    /// Whether they begin a slot.
    aligned: bool,
    /// Whether they were stored as 4 bytes of 0, or in a slot of their own.
    alone: bool,
}

impl Call {
    /// The map that a call is about.
    pub(super) fn given_map(&mut self, map: usize) -> Result<(), Refusal> {
        if self.map.is_some_and(|other| other != map) && self.helper.name() == Some("timer_init") {
            return Err(Refusal::sure("gives bpf_timer_init() a timer of one map and another map"));
        }
        self.map = Some(map);
        Ok(())
    }

    /// What the call does beside returning something.
    fn take_effect(&self, name: &str, state: &mut State) -> Result<(), Refusal> {
        for (number, off, byte_sz) in &self.taker.filled {
            if let Some(frame) = state.frame_at(*number) {
                frame.smear(*off, *byte_sz, false);
            }
        }
        let first = state.reg(1);
        match name {
            "spin_lock" if state.lock.is_some() => return Err(Refusal::sure("takes a second lock")),
            "spin_lock" => state.lock = Some(first.id),
            "spin_unlock" => match state.lock {
                None => return Err(Refusal::sure("unlocks what it did not lock")),
                Some(id) if id != first.id => {
                    // Without an id it is a lock of which nothing is known, or one that verifiers tell apart in other ways.
                    let sure = id != 0 && first.id != 0;
                    let why = "unlocks another lock than it holds".to_owned();
                    return Err(Refusal { why, sure });
                }
                Some(_) => state.lock = None,
            },
            "tail_call" => state.holds_nothing("calls another program")?,
            "get_local_storage" if state.reg(2).as_const() != Some(0) => {
                let flags = state.reg(2);
                let why = "gives bpf_get_local_storage() flags other than 0".to_owned();
                let sure = !flags.vague && flags.kind != Kind::Opaque || flags.as_const().is_some();
                return Err(Refusal { why, sure });
            }
            _ => {}
        }
        if self.proto.does(Effect::Releases) {
            self.release(name, state)?;
        }
        let gone = match () {
            () if self.proto.does(Effect::MovesPacket) => Some(Value::UNKNOWN),
            () if self.proto.does(Effect::PerhapsMovesPacket) => Some(Value::VAGUE),
            () => None,
        };
        if let Some(gone) = gone {
            state.lose_packet(gone);
        }
        Ok(())
    }

    /// Gives a reference back: nothing that came with it can be used any more.
    fn release(&self, name: &str, state: &mut State) -> Result<(), Refusal> {
        let opaque = (1..=self.proto.args.len()).any(|reg| state.reg(reg as u8).kind == Kind::Opaque);
        if self.reference == 0 {
            if opaque {
                // Whatever is held may be what was given.
                while let Some((id, _)) = state.references.first().copied() {
                    state.doubt_reference(id);
                }
                return Ok(());
            }
            return match name {
                "sk_release" | "ringbuf_submit" | "ringbuf_discard" => {
                    Err(Refusal::sure(format!("gives bpf_{name}() what it did not acquire")))
                }
                _ => Ok(()),
            };
        }
        if !state.references.iter().any(|(id, _)| *id == self.reference) {
            return Err(Refusal::sure(format!("gives bpf_{name}() what it gave back before")));
        }
        state.references.retain(|(id, _)| *id != self.reference);
        state.update(|value| {
            if value.reference == self.reference {
                *value = Value::UNKNOWN;
            }
        });
        Ok(())
    }
}

impl Walker<'_> {
    /// Checks a helper's arguments, does what it does, and returns what it leaves in `r0`.
    pub(super) fn helper(
        &mut self,
        at: usize,
        helper: HelperId,
        state: &mut State,
    ) -> Result<Value, Refusal> {
        let Some(proto) = helper.proto() else {
            self.doubt_arguments(state);
            return Ok(self.unmodelled(&format!("the helper bpf_{helper}()")));
        };
        let name = helper.name().unwrap_or_default();
        if state.lock.is_some() && !matches!(name, "spin_unlock" | "kptr_xchg") {
            return Err(Refusal::sure(format!("calls bpf_{name}() while it holds a lock")));
        }
        // `may_access_direct_pkt_data()`: some types never, whatever the helper, some to any.
        let packet = match self.prog_type {
            ProgType::SOCK_OPS => Agreed::No,
            ProgType::CGROUP_SOCKOPT => Agreed::All,
            _ if proto.does(Effect::Packet) => Agreed::All,
            _ => Agreed::No,
        };
        let taker = Taker { at, name: format!("bpf_{helper}()"), packet, filled: Vec::new() };
        let key = key_given(state);
        let mut call = Call { taker, helper, proto, map: None, size: None, reference: 0, key };
        for (kinds, reg) in proto.args.iter().zip(1u8..) {
            if !kinds.iter().any(|arg| arg.kind == ArgKind::Ignored) {
                self.argument(&mut call, kinds, reg, state)?;
            }
        }
        if matches!(name, "map_update_elem" | "map_delete_elem" | "map_push_elem" | "map_pop_elem")
            && let Some(map) = call.map.and_then(|map| self.map(map))
            && map.flags & F_RDONLY_PROG != 0
        {
            let why = format!("changes the map {} by bpf_{name}(), which programs may not", map.name);
            return Err(Refusal::sure(why));
        }
        if name == "set_retval" {
            self.result_for_caller(&call, state);
        }
        if name == "tail_call" {
            self.returns_to_caller(state);
        }
        call.take_effect(name, state)?;
        self.callback(name, &call, state);
        let result = self.result(&call, state);
        if proto.does(Effect::Acquires)
            && let Kind::Pointer(_) = result.kind
        {
            let id = self.fresh();
            state.references.push((id, at));
            return Ok(Value { id, reference: id, ..result });
        }
        Ok(result)
    }

    /// Notes a result, set for what the program was called from, that verifiers since v7.1 refuse.
    fn result_for_caller(&mut self, call: &Call, state: &State) {
        let error = -MAX_ERRNO..=0;
        let set = state.reg(1).as_scalar().and_then(|set| set.truncated(4).widened());
        if !set.is_some_and(|set| error.contains(&set.smin) && error.contains(&set.smax)) {
            let why = "sets a result that is no error number, which not all kernels take";
            self.note(call.taker.at, Refusal::doubtful(why), state.doubt);
        }
    }

    /// Walks on behind a function whose tail call another program has answered, as verifiers since v7.0 do.
    fn returns_to_caller(&mut self, state: &State) {
        let mut returned = state.clone();
        let left = returned.frames.pop();
        if let Some(frame) = left.filter(|frame| !returned.frames.is_empty() && frame.callback.is_none()) {
            returned.doubt = true;
            returned.set(0, Value::VAGUE);
            self.fork(frame.call + 1, returned);
        }
    }

    /// What is left in `r0`.
    fn result(&mut self, call: &Call, state: &mut State) -> Value {
        let name = call.helper.name().unwrap_or_default();
        let (to, or_null) = match call.proto.returns {
            Returns::Nothing => return Value::UNSET,
            Returns::Number => return Value { id: self.fresh(), ..Value::UNKNOWN },
            Returns::KnownNumber => return Value { id: self.fresh(), ..Value::VAGUE },
            Returns::NumberUpToSize => {
                let most = call.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(i64::MAX);
                let number = Scalar { smin: -MAX_ERRNO, smax: most, ..Scalar::UNKNOWN };
                let (soft, vague) = (name == "get_task_stack", call.size.is_none());
                return Value { id: self.fresh(), soft, vague, ..Value::scalar(number) };
            }
            Returns::Pointer { to, or_null } => (to, or_null),
        };
        let region = match to {
            Returned::Value => match call.map {
                Some(map) if name == "map_lookup_elem" => return self.found(call, map, state),
                Some(map) if self.map(map).is_some_and(|map| map.inner.is_none()) => Region::MapValue { map },
                _ => return self.unmodelled("maps in maps"),
            },
            Returned::RingbufMem => match call.size.and_then(|size| u32::try_from(size).ok()) {
                Some(size) => Region::Mem { size, writable: true },
                None => return self.unmodelled("memory of sizes that are not known"),
            },
            Returned::Socket => Region::Sock(Sock::Full),
            Returned::SockCommon => Region::Sock(Sock::Common),
            Returned::TcpSock => Region::Sock(Sock::Tcp),
            Returned::DynptrMem => return self.unmodelled("dynamic pointers"),
            Returned::Btf(_) | Returned::PerCpu => {
                let reference = if call.proto.does(Effect::Casts) { call.reference } else { 0 };
                return Value { reference, ..self.unmodelled("the kernel's own structures") };
            }
        };
        let pointer = if or_null { Pointer::or_null(region) } else { Pointer::to(region) };
        let reference = if call.proto.does(Effect::Casts) { call.reference } else { 0 };
        Value { id: self.fresh(), reference, ..Value::pointer(pointer) }
    }

    /// What a lookup in a map finds.
    fn found(&mut self, call: &Call, map: usize, state: &mut State) -> Value {
        let Some(def) = self.map(map) else { return self.unmodelled("maps in maps") };
        let region = match def.map_type {
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS if def.inner.is_some() => {
                Region::Map { map: self.object.maps.len() + map }
            }
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => return self.unmodelled("maps in maps"),
            MapType::SOCKMAP | MapType::SOCKHASH => {
                let id = self.fresh();
                state.references.push((id, call.taker.at));
                return Value {
                    id,
                    reference: id,
                    ..Value::pointer(Pointer::or_null(Region::Sock(Sock::Full)))
                };
            }
            MapType::XSKMAP => Region::Sock(Sock::Xdp),
            _ => Region::MapValue { map },
        };
        let id = self.fresh();
        match self.is_entry(def, call.key) {
            Some(false) => Value { id, ..Value::pointer(Pointer::or_null(region)) },
            Some(true) => Value { id, ..Value::pointer(Pointer::to(region)) },
            None => Value { id, vague: true, ..Value::pointer(Pointer::or_null(region)) },
        }
    }

    /// Whether the verifier knows that the array has the key in `r2`: where that is a constant on the stack, verifiers since
    /// v6.15 do. `None` where some do.
    fn is_entry(&self, map: &MapDef, key: Option<Key>) -> Option<bool> {
        let arrays = [MapType::ARRAY, MapType::PERCPU_ARRAY];
        let Some(key) = key.filter(|_| arrays.contains(&map.map_type)) else { return Some(false) };
        let Some(number) = key.value.as_const() else {
            return if key.value.vague { None } else { Some(false) };
        };
        match self.traits.knows_array_entries {
            Some(false) => Some(false),
            _ if number >= u64::from(map.max_entries) || number != 0 && !key.aligned => Some(false),
            Some(true) if number == 0 && key.alone => Some(true),
            _ => None,
        }
    }

    /// Walks the function that a helper calls, if it is given one.
    fn callback(&mut self, name: &str, call: &Call, state: &mut State) {
        // The function's register, that of what is handed on to it, and whether the helper waits for it.
        let (function, context, waits) = match name {
            "for_each_map_elem" | "loop" | "user_ringbuf_drain" => (2, Some(3), true),
            "find_vma" => (3, Some(4), true),
            "timer_set_callback" => (2, None, false),
            _ => return,
        };
        let Kind::Pointer(Pointer { region: Region::Function { at }, .. }) = state.reg(function).kind else {
            self.unmodelled("functions that are called back");
            return;
        };
        let handed = context.map_or(Value::UNSET, |reg| state.reg(reg));
        let mut args = [Value::UNSET; 5];
        match name {
            "loop" => args[..2].copy_from_slice(&[Value { id: self.fresh(), ..Value::UNKNOWN }, handed]),
            "find_vma" => {
                let vma = self.unmodelled("the kernel's own structures");
                args[..3].copy_from_slice(&[state.reg(1), vma, handed]);
            }
            "user_ringbuf_drain" => {
                let dynptr = self.unmodelled("dynamic pointers");
                args[..2].copy_from_slice(&[dynptr, handed]);
            }
            _ => {
                let Some((map, def)) = call.map.and_then(|map| Some((map, self.map(map)?))) else {
                    self.unmodelled("functions that are called back");
                    return;
                };
                let key = Region::Mem { size: def.key_size, writable: false };
                let value = Value::pointer(Pointer::to(Region::MapValue { map }));
                args[..3].copy_from_slice(&[
                    Value::pointer(Pointer::to(Region::Map { map })),
                    Value::pointer(Pointer::to(key)),
                    Value { id: self.fresh(), ..value },
                ]);
                args[3] = handed;
            }
        }
        let mut inside = if waits { state.clone() } else { State::new(Frame::new(0, call.taker.at)) };
        inside.doubt = state.doubt || name == "loop" && state.reg(1).as_const() == Some(0);
        let callback = Callback { max: i64::from(waits), references: inside.references.len() };
        if waits {
            if state.frames.len() >= MAX_FRAMES {
                self.unmodelled("calls that are too deep");
                return;
            }
            inside.frames.push(Frame::new(state.frames.len(), call.taker.at).into());
        }
        let frame = inside.frame_mut();
        frame.callback = Some(callback);
        frame.regs[1..=5].copy_from_slice(&args);
        self.fork(at, inside);
        if waits {
            state.doubt_stack_of(handed);
            self.unmodelled("what functions that are called back leave");
        }
    }
}

/// The 4 bytes that `r2` points to on the stack.
fn key_given(state: &State) -> Option<Key> {
    let pointer = state.reg(2).as_pointer()?;
    let Region::Stack { frame } = pointer.region else { return None };
    let off = pointer.const_off().filter(|off| (-STACK_SZ..=-4).contains(off) && off % 4 == 0)?;
    let frame = state.frames.get(frame)?;
    let Loaded::Value(value) = frame.load(off, 4) else { return None };
    let alone = !matches!(frame.load(off & !7, 8), Loaded::Value(whole) if whole.as_const() == Some(0));
    Some(Key { value, aligned: off % 8 == 0, alone })
}
