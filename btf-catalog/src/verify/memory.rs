//! Loads and stores: what may be accessed, and what a load finds.

use super::Traits;
use super::alu::MAX_VAR_OFF;
use super::fields::Kept;
use super::state::{Loaded, STACK_SZ, State};
use super::value::{Kind, Pointer, Range, Region, Sock, Value};
use super::walk::{Refusal, Walker};
use crate::core::ExternOutcome;
use crate::object::{F_RDONLY_PROG, F_WRONLY_PROG};
use crate::reach::number;
use crate::reach::scalar::Scalar;
use crate::uapi::MapType;

/// An access by an instruction.
#[derive(Clone, Copy)]
pub(super) struct Access {
    /// The instruction.
    pub(super) at: usize,
    /// What its address register holds.
    pub(super) base: Value,
    /// Bytes from there.
    pub(super) off: i64,
    /// Bytes that are accessed.
    pub(super) byte_sz: usize,
}

impl Walker<'_> {
    /// What a load finds.
    pub(super) fn load(&mut self, access: Access, state: &mut State) -> Result<Value, Refusal> {
        let Some(pointer) = address(access)? else {
            return Ok(opaque_load(access));
        };
        let Access { at, base, byte_sz, .. } = access;
        let fresh = Value::scalar(Scalar::of_bytes(byte_sz as u32));
        match pointer.region {
            Region::Stack { frame } => return self.load_stack(access, pointer, frame, state),
            Region::Context => {
                self.context_pointer(at, pointer)?;
                return Ok(self.context_value(access.off.saturating_add(pointer.off), byte_sz));
            }
            Region::MapValue { map } => {
                if self.map_value(map, access, pointer, false)? {
                    return Ok(opaque_load(access));
                }
                let known =
                    pointer.const_off().and_then(|place| self.frozen(map, place + access.off, byte_sz));
                return Ok(known.unwrap_or(fresh));
            }
            Region::Kconfig { ext } => {
                self.option(ext, access, pointer)?;
                let known =
                    pointer.const_off().and_then(|place| self.kconfig(ext, place + access.off, byte_sz));
                return Ok(known.unwrap_or(Value { vague: true, ..fresh }));
            }
            Region::Mem { size, .. } => bounded(pointer, access, i64::from(size), base.vague)?,
            Region::Packet | Region::PacketMeta => in_packet(pointer, access, base.vague)?,
            Region::Sock(sock) => of_socket(sock, pointer, access)?,
            Region::Map { .. } => return Ok(self.unmodelled("loads from a map itself")),
            Region::Kernel => {
                self.unmodelled("the kernel's own structures");
                return Ok(opaque_load(access));
            }
            Region::PacketEnd | Region::Function { .. } => return Err(no_memory(base)),
        }
        Ok(fresh)
    }

    /// Stores a value.
    pub(super) fn store(&mut self, access: Access, value: Value, state: &mut State) -> Result<(), Refusal> {
        let Some(pointer) = address(access)? else {
            return Ok(());
        };
        let base = access.base;
        match pointer.region {
            Region::Stack { frame } => {
                self.may_be_unaligned(access, pointer, state.doubt);
                store_stack(access, pointer, frame, value, state)
            }
            Region::Context => self.context_pointer(access.at, pointer),
            Region::MapValue { map } => self.map_value(map, access, pointer, true).map(drop),
            Region::Kconfig { .. } => Err(Refusal::sure("writes to a configuration value")),
            Region::Mem { size, writable } => {
                if !writable {
                    return Err(Refusal::sure("writes to memory that may only be read"));
                }
                bounded(pointer, access, i64::from(size), base.vague)
            }
            Region::Packet | Region::PacketMeta => {
                if !self.writes_packets() {
                    return Err(Refusal::sure("writes to the packet, which programs of this type may not"));
                }
                in_packet(pointer, access, base.vague)
            }
            Region::Sock(_) => Err(Refusal::sure("writes to a socket")),
            Region::Map { .. } => Err(Refusal::sure("writes to a map itself")),
            Region::Kernel => {
                self.unmodelled("the kernel's own structures");
                Ok(())
            }
            Region::PacketEnd | Region::Function { .. } => Err(no_memory(base)),
        }
    }

    /// Notes an access of the stack whose place may be no multiple of its size. Constant places are told by themselves.
    fn may_be_unaligned(&mut self, access: Access, pointer: Pointer, doubt: bool) {
        if pointer.const_off().is_none() && !pointer.is_aligned(access.off, access.byte_sz) {
            let why = "accesses the stack at a place that may not be aligned";
            self.note(access.at, Refusal::doubtful(why), doubt);
        }
    }

    fn load_stack(
        &mut self,
        access: Access,
        pointer: Pointer,
        frame: usize,
        state: &mut State,
    ) -> Result<Value, Refusal> {
        let Access { at, base, byte_sz, .. } = access;
        let (low, high) = on_stack(pointer, access.off, byte_sz as i64, base.vague)?;
        let fresh = Value::scalar(Scalar::of_bytes(byte_sz as u32));
        let Some(frame) = state.frames.get(frame) else { return Ok(Value::VAGUE) };
        if low != high {
            let all = (high - low) as usize + byte_sz;
            if frame.is_torn(low, all) {
                self.torn_stack(at, state.doubt);
            }
            if !frame.is_set(low, all) {
                self.unset_stack(at, low, frame.allocated(), state.doubt)?;
            }
            self.may_be_unaligned(access, pointer, state.doubt);
            return Ok(Value { vague: true, ..fresh });
        }
        if low.rem_euclid(byte_sz as i64) != 0 {
            return Err(Refusal::sure(format!(
                "reads {byte_sz} bytes at {low} of the stack, which is not aligned"
            )));
        }
        match frame.load(low, byte_sz) {
            Loaded::Value(value) => Ok(value),
            Loaded::PartOfPointer => {
                Err(Refusal::sure(format!("reads {byte_sz} bytes of a pointer on the stack")))
            }
            Loaded::Torn => {
                self.torn_stack(at, state.doubt);
                Ok(Value { vague: true, ..fresh })
            }
            Loaded::Unset => {
                self.unset_stack(at, low, frame.allocated(), state.doubt)?;
                Ok(fresh)
            }
        }
    }

    /// Stack is read of which a store may have overwritten a part.
    pub(super) fn torn_stack(&mut self, at: usize, doubt: bool) {
        let why = "reads what was spilled to the stack, part of which a store may have overwritten";
        self.note(at, Refusal::doubtful(why), doubt);
    }

    /// Stack is read that was never written, from `low` of a frame on that has so many bytes `allocated`.
    pub(super) fn unset_stack(
        &mut self,
        at: usize,
        low: i64,
        allocated: i64,
        doubt: bool,
    ) -> Result<(), Refusal> {
        let why = "reads stack that was never written";
        let Traits { reads_unset_stack, stack_grows_by_reads, .. } = self.traits;
        let beyond = -low > allocated;
        match (reads_unset_stack, stack_grows_by_reads) {
            (Some(false), _) => return Err(Refusal::sure(why)),
            (_, Some(false)) if beyond => return Err(Refusal::sure(why)),
            (Some(true), grows) if grows == Some(true) || !beyond => {}
            _ => self.note(at, Refusal::doubtful(why), doubt),
        }
        Ok(())
    }

    /// Checks an access of a map's value; whether it touches what the kernel keeps there, of which nothing more is known.
    pub(super) fn map_value(
        &mut self,
        map: usize,
        access: Access,
        pointer: Pointer,
        write: bool,
    ) -> Result<bool, Refusal> {
        let Some(def) = self.map(map) else { return Ok(false) };
        let (forbidden, what) =
            if write { (F_RDONLY_PROG, "writes to") } else { (F_WRONLY_PROG, "reads from") };
        // The kernel adds the flag for these itself (`dev_map_init_map()`).
        let devices = [MapType::DEVMAP, MapType::DEVMAP_HASH].contains(&def.map_type);
        if def.flags & forbidden != 0 || write && devices {
            return Err(Refusal::sure(format!("{what} the map {}, which programs may not", def.name)));
        }
        if def.value_size == 0 || def.map_type == MapType::ARENA {
            return Ok(false);
        }
        bounded(pointer, access, i64::from(def.value_size), access.base.vague)?;
        let (low, high) = (pointer.off + access.off, pointer.off + access.off + access.byte_sz as i64);
        let (low, high) = (low + pointer.var.smin, high + pointer.var.umax as i64);
        let Some(kept) = self.kept(map) else { return Ok(false) };
        let sure = pointer.var.as_const().is_some() || !access.base.vague;
        for field in kept.touched(low, high) {
            let what = match field.kept {
                Kept::Lock => "lock",
                Kept::Timer if self.traits.keeps_timers == Some(true) => "timer",
                _ => continue,
            };
            return Err(Refusal { why: format!("accesses the {what} in a map's value"), sure });
        }
        let touches = !kept.is_whole() || kept.touched(low, high).next().is_some();
        if touches {
            self.unmodelled("fields of map values that the kernel keeps");
        }
        Ok(touches)
    }

    /// Bytes of a frozen map's value, as a number.
    fn frozen(&self, map: usize, off: i64, byte_sz: usize) -> Option<Value> {
        let def = self.map(map)?;
        let start = usize::try_from(off).ok()?;
        if !def.frozen {
            return None;
        }
        let bytes = self.constants.maps.get(&map).and_then(|data| data.get(start..start + byte_sz));
        let unknown = Value { vague: true, ..Value::scalar(Scalar::of_bytes(byte_sz as u32)) };
        Some(bytes.map_or(unknown, |bytes| Value::constant(number(bytes, self.object.big_endian))))
    }

    /// Checks an access of a configuration value: it lies with the others in one map's value.
    pub(super) fn option(&self, ext: usize, access: Access, pointer: Pointer) -> Result<(), Refusal> {
        let slots = || self.object.externs.iter().filter_map(|ext| ext.slot);
        let Some(slot) = self.object.externs.get(ext).and_then(|ext| ext.slot) else { return Ok(()) };
        let end = slots().map(|slot| i64::from(slot.byte_off) + i64::from(slot.byte_sz)).max();
        let placed = Pointer { off: pointer.off + i64::from(slot.byte_off), ..pointer };
        // How large the map is made is for the loader to say.
        bounded(placed, access, end.unwrap_or(0), access.base.vague)
            .map_err(|refused| Refusal { sure: false, ..refused })
    }

    fn kconfig(&self, ext: usize, off: i64, byte_sz: usize) -> Option<Value> {
        let slot = self.object.externs.get(ext)?.slot?;
        let start = usize::try_from(i64::from(slot.byte_off) + off).ok()?;
        let externs = self.constants.externs.as_ref()?;
        let bytes = externs.known_kconfig(start..start + byte_sz)?;
        Some(Value::constant(number(bytes, self.object.big_endian)))
    }

    /// The value of a 64-bit immediate that stands for an extern.
    pub(super) fn extern_value(&mut self, ext: usize) -> Value {
        let outcome = self.constants.externs.as_ref().and_then(|externs| externs.outcomes.get(ext));
        match outcome {
            Some(ExternOutcome::MissingWeak) => Value::constant(0),
            Some(ExternOutcome::Address(Some(address))) => Value::constant(*address),
            _ => self.unmodelled("variables of the kernel"),
        }
    }
}

/// The pointer that an access goes through; `None` for one that is not modelled.
fn address(access: Access) -> Result<Option<Pointer>, Refusal> {
    match access.base.kind {
        Kind::Opaque => Ok(None),
        Kind::Pointer(pointer) if !pointer.or_null => Ok(Some(pointer)),
        // Some verifiers may know that it is not null.
        Kind::Pointer(_) if access.base.vague => Err(Refusal { sure: false, ..no_memory(access.base) }),
        // Pointers that a verifier may take a number for are opaque, so this is one for all.
        Kind::Scalar(_) if access.base.vague && access.base.as_const().is_none() => {
            Err(Refusal { sure: false, ..no_memory(access.base) })
        }
        _ => Err(no_memory(access.base)),
    }
}

/// What a load through something that is not modelled may find.
fn opaque_load(access: Access) -> Value {
    if access.byte_sz == 8 {
        return Value::OPAQUE;
    }
    Value { vague: true, ..Value::scalar(Scalar::of_bytes(access.byte_sz as u32)) }
}

fn store_stack(
    access: Access,
    pointer: Pointer,
    frame: usize,
    value: Value,
    state: &mut State,
) -> Result<(), Refusal> {
    let byte_sz = access.byte_sz;
    let (low, high) = on_stack(pointer, access.off, byte_sz as i64, access.base.vague)?;
    let pointer_stored = matches!(value.kind, Kind::Pointer(_));
    if low == high && low.rem_euclid(byte_sz as i64) != 0 {
        return Err(Refusal::sure(format!(
            "writes {byte_sz} bytes at {low} of the stack, which is not aligned"
        )));
    }
    if low == high && pointer_stored && byte_sz != 8 {
        return Err(Refusal::sure(format!("stores {byte_sz} bytes of a pointer on the stack")));
    }
    let to_stack = matches!(value.kind, Kind::Pointer(Pointer { region: Region::Stack { .. }, .. }));
    if low == high && to_stack && frame + 1 != state.frames.len() {
        return Err(Refusal::sure("stores a pointer to the stack in the caller's stack"));
    }
    let Some(frame) = state.frame_at(frame) else { return Ok(()) };
    if low == high {
        frame.store(low, byte_sz, value);
    } else {
        frame.store_somewhere(low, (high - low) as usize + byte_sz);
    }
    Ok(())
}

/// An access through what is no pointer into memory.
fn no_memory(base: Value) -> Refusal {
    Refusal::sure(format!("accesses memory through {}", base.name()))
}

/// Checks an access of `size` bytes of memory (`check_mem_region_access()`).
pub(super) fn bounded(pointer: Pointer, access: Access, size: i64, vague: bool) -> Result<(), Refusal> {
    let name = pointer.region.name();
    let (off, byte_sz) = (pointer.off + access.off, access.byte_sz as i64);
    let constant = pointer.var.as_const().is_some();
    let refused = |why: String| Err(Refusal { why, sure: constant || !vague });
    let place = |low: i64| {
        let way = if constant { "" } else { "perhaps " };
        format!("accesses {way}{byte_sz} bytes at byte {low} of {name}, which has {size}")
    };
    if !constant && pointer.var.smin == i64::MIN {
        return refused(format!("accesses {name} at an offset without a lower bound"));
    }
    let low = off.saturating_add(pointer.var.smin);
    if low < 0 || low + byte_sz > size {
        return refused(place(low));
    }
    if pointer.var.umax >= MAX_VAR_OFF as u64 {
        return refused(format!("accesses {name} at an offset without an upper bound"));
    }
    let high = off + pointer.var.umax as i64;
    if high < 0 || high + byte_sz > size { refused(place(high)) } else { Ok(()) }
}

/// Checks an access of the packet.
pub(super) fn in_packet(pointer: Pointer, access: Access, vague: bool) -> Result<(), Refusal> {
    let (off, byte_sz) = (pointer.off + access.off, access.byte_sz as i64);
    let name = pointer.region.name();
    let constant = pointer.var.as_const().is_some();
    // Verifiers since v7.1 take the part that is constant for one of the other.
    let inside = !constant && off.saturating_add(pointer.var.smin) >= 0;
    if pointer.var.smin < 0 {
        let sure = (!vague || constant) && !inside;
        return Err(Refusal { why: format!("accesses {name} at an offset that may be negative"), sure });
    }
    let range = match pointer.range {
        Range::Bytes(range) => i64::from(range),
        Range::AtEnd | Range::BeyondEnd => 0,
    };
    if off < 0 || off + byte_sz > range {
        let shown = if range == 0 { "nothing".to_owned() } else { format!("{range} bytes") };
        let why = format!(
            "accesses {byte_sz} bytes at byte {off} of {name}, of which tests have shown {shown} to be there"
        );
        return Err(Refusal { why, sure: !(vague || inside && off + byte_sz <= range) });
    }
    Ok(())
}

/// Checks a load from a socket (`check_sock_access()`).
fn of_socket(sock: Sock, pointer: Pointer, access: Access) -> Result<(), Refusal> {
    let Some(off) = pointer.const_off() else {
        return Err(Refusal::doubtful("reads a socket at an offset that is not constant"));
    };
    let (off, byte_sz) = (off + access.off, access.byte_sz);
    let (end, readable) = match sock {
        Sock::Full => (80, of_full_socket(off, byte_sz)),
        // type, protocol, mark and priority are those of a full socket alone.
        Sock::Common => (80, !(8..24).contains(&off) && of_full_socket(off, byte_sz)),
        // bytes_received and bytes_acked have 8 bytes.
        Sock::Tcp => (112, byte_sz == if [80, 88].contains(&off) { 8 } else { 4 }),
        Sock::Xdp => (4, byte_sz == 4),
    };
    if (0..end).contains(&off) && readable && off.rem_euclid(byte_sz as i64) == 0 {
        return Ok(());
    }
    // What kernels will put behind the end is not known.
    let why = format!("reads {byte_sz} bytes at byte {off} of a socket, which are no field that may be read");
    Err(Refusal { why, sure: off < end })
}

/// Whether that many bytes of `struct bpf_sock` may be read at an aligned place (`bpf_sock_is_valid_access()`): of addresses
/// any part, of some other fields their beginning, of the rest only the whole.
fn of_full_socket(off: i64, byte_sz: usize) -> bool {
    match off {
        // dst_port, at 48, has 2 bytes, and 4 for programs that were built when it had.
        4 | 8 | 12 | 24..=44 | 48 | 52..=72 | 76 => byte_sz <= 4,
        49 => byte_sz == 1,
        50 | 51 => false,
        _ => byte_sz == 4,
    }
}

/// The lowest and highest place of a stack that an access begins at, checked to lie on it
/// (`check_stack_access_within_bounds()`).
pub(super) fn on_stack(pointer: Pointer, off: i64, byte_sz: i64, vague: bool) -> Result<(i64, i64), Refusal> {
    let constant = pointer.var.as_const();
    let off = pointer.off + off;
    let unbounded = pointer.var.smax >= MAX_VAR_OFF || pointer.var.smin <= -MAX_VAR_OFF;
    if constant.is_none() && unbounded {
        return Err(Refusal {
            why: "accesses the stack at an offset without bounds".to_owned(),
            sure: !vague,
        });
    }
    let (low, high) = match constant {
        Some(by) => (off.wrapping_add(by as i64), off.wrapping_add(by as i64)),
        None => (off + pointer.var.smin, off + pointer.var.smax),
    };
    let end = high.saturating_add(byte_sz);
    if !(-STACK_SZ..0).contains(&low) || end > 0 {
        let place = if low < -STACK_SZ { low } else { high };
        let why =
            format!("accesses {byte_sz} bytes at {place} of the stack, which goes from -{STACK_SZ} to 0");
        return Err(Refusal { why, sure: constant.is_some() || !vague });
    }
    Ok((low, high))
}
