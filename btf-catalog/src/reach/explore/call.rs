//! Calls: into functions of the entry, of helpers and of kernel functions, and the way back.

use super::super::Returned;
use super::super::scalar::Scalar;
use super::super::state::{Frame, Kind, State, Value};
use super::super::transfer::Effect;
use super::{Explorer, MAX_FRAMES, Next, called};
use crate::insn::{Insn, PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use crate::proto::{Arg, ArgKind, Returned as Pointee, Returns};
use crate::uapi::{HelperId, MapType};

/// `MAX_ERRNO` of include/linux/err.h.
const MAX_ERRNO: i64 = 4095;

impl Explorer<'_> {
    pub(super) fn leave(&mut self, at: usize, state: &mut State) -> Next {
        let result = state.reg(0);
        let Some(frame) = state.frames.pop() else { return Next::End };
        if state.frames.is_empty() {
            // Functions that are walked by themselves begin behind the entry's own.
            if frame.call == 0 {
                self.returns.insert(Returned::new(at, result, state.sure));
            }
            return Next::End;
        }
        // Pointers into the frame that is gone are of no use to anybody.
        let depth = state.frames.len();
        for value in state.values() {
            if matches!(value.kind, Kind::Stack { frame, .. } if frame >= depth) {
                *value = Value::VAGUE;
            }
        }
        state.set(0, result);
        Next::To(frame.call + 1)
    }

    pub(super) fn call(&mut self, at: usize, insn: Insn, state: &mut State) -> Next {
        self.steps[at] |= 1;
        match insn.src {
            PSEUDO_CALL => {
                let Some(to) = called(at, insn) else { return Next::End };
                let function = self.entry.functions.iter().find(|function| function.insn_off == to);
                let Some(function) = function else { return Next::End };
                if function.global {
                    self.roots.push((to, state.sure));
                    self.context_escapes |=
                        (1..=5).any(|reg| matches!(state.reg(reg).kind, Kind::Context { .. }));
                    self.written_through_arguments(None, state);
                    Self::clobber(at, state, Value::UNKNOWN);
                    return Next::To(at + 1);
                }
                if state.frames.len() >= MAX_FRAMES {
                    return Next::End;
                }
                let mut frame = Frame::new(state.frames.len(), at);
                for reg in 1..=5 {
                    frame.regs[reg] = state.reg(reg as u8);
                }
                state.frame().regs[..=5].fill(Value::UNKNOWN);
                state.frames.push(frame);
                Next::To(to)
            }
            PSEUDO_KFUNC_CALL => {
                let name = self.externs.get(&at).map(|ext| self.object.externs[*ext].name.as_str());
                self.callbacks(None, state);
                self.written_through_arguments(None, state);
                if name == Some("bpf_throw") {
                    self.steps[at] = 0;
                    return Next::End;
                }
                Self::clobber(at, state, Value { trusted: true, ..Value::UNKNOWN });
                Next::To(at + 1)
            }
            _ => {
                let helper = HelperId(insn.imm as u32);
                self.callbacks(Some(helper), state);
                self.handed_maps(at, state);
                self.written_through_arguments(Some(helper), state);
                // Their results are pointers that are never null, which verifiers know since different versions.
                let not_null = matches!(
                    helper.name(),
                    Some("get_local_storage" | "this_cpu_ptr" | "get_current_task_btf" | "task_pt_regs")
                );
                let result = if not_null {
                    Value { soft: true, ..Value::new(Kind::Pointer) }
                } else {
                    self.returned(helper, state)
                };
                Self::clobber(at, state, result);
                Next::To(at + 1)
            }
        }
    }

    /// What a helper leaves in `r0`, as far as some verifiers know it.
    fn returned(&self, helper: HelperId, state: &State) -> Value {
        /// The most that `CONFIG_NR_CPUS` may be.
        const MAX_CPUS: u64 = 8192;
        let Some(proto) = helper.proto() else { return Value::UNKNOWN };
        match proto.returns {
            Returns::NumberUpToSize => {
                let is_size = |kinds: &Vec<Arg>| kinds.iter().any(|arg| arg.kind == ArgKind::Size);
                let size = proto.args.iter().zip(1u8..).find(|(kinds, _)| is_size(kinds));
                let size = size.and_then(|(_, reg)| state.reg(reg).as_scalar());
                let bounds = Scalar {
                    smin: -MAX_ERRNO,
                    smax: size.map_or(i64::MAX, |size| size.smax.max(0)),
                    ..Scalar::UNKNOWN
                };
                Value { soft: true, ..Value::scalar(bounds) }
            }
            Returns::KnownNumber if helper.name() == Some("get_smp_processor_id") => {
                Value { soft: true, ..Value::scalar(Scalar::range(0, MAX_CPUS - 1)) }
            }
            Returns::KnownNumber => Value::VAGUE,
            // Verifiers since v6.15 know what an array has.
            Returns::Pointer { to: Pointee::Value, .. } => {
                let map = match state.reg(1).kind {
                    Kind::Map { map } => self.object.maps.get(map),
                    _ => None,
                };
                let hash =
                    map.is_some_and(|map| ![MapType::ARRAY, MapType::PERCPU_ARRAY].contains(&map.map_type));
                Value { trusted: !hash, ..Value::UNKNOWN }
            }
            _ => Value::UNKNOWN,
        }
    }

    /// A call has given its result; the registers of its arguments hold nothing any more.
    pub(super) fn clobber(at: usize, state: &mut State, result: Value) {
        state.frame().regs[1..=5].fill(Value::UNKNOWN);
        Self::set_fresh(at, 0, state, result);
    }

    /// Functions that are handed to a helper or kernel function are called by it.
    fn callbacks(&mut self, helper: Option<HelperId>, state: &mut State) {
        // What is called no times is not walked since v6.7 (`check_helper_call()`).
        let times = state.reg(1);
        let counted = helper.is_some_and(|helper| helper.name() == Some("loop"));
        let perhaps_never = counted && (times.vague || times.as_const() == Some(0));
        let mut any = false;
        for reg in 1..=5 {
            if let Kind::Function { at } = state.reg(reg).kind {
                self.roots.push((at, state.sure && !perhaps_never));
                any = true;
            }
        }
        if any && (1..=5).any(|reg| matches!(state.reg(reg).kind, Kind::Stack { .. } | Kind::MaybeStack)) {
            state.smear();
        }
    }

    /// Helpers are given maps in their first or second register.
    fn handed_maps(&mut self, at: usize, state: &State) {
        for reg in 1..=2 {
            let map = match state.reg(reg).kind {
                Kind::Map { map } => Some(map),
                _ => None,
            };
            self.handed.entry((at, reg)).or_default().insert(map);
        }
    }

    /// What a call may write into the stack through the pointers it is given.
    fn written_through_arguments(&mut self, helper: Option<HelperId>, state: &mut State) {
        let effect = helper.map_or(Effect::Unknown, Effect::of);
        for reg in 1..=5u8 {
            let value = state.reg(reg);
            if let Kind::Stack { frame, off: Some(off) } = value.kind {
                self.uses_stack(state, frame, off);
                if effect == Effect::ReadsOnly {
                    continue;
                }
                let byte_sz = if reg < 5 { state.reg(reg + 1).as_const() } else { None };
                let byte_sz = byte_sz.and_then(|sz| u32::try_from(sz).ok()).unwrap_or((-off.min(0)) as u32);
                let fills = effect == Effect::FillsFirst && reg == 1 && state.reg(2).as_const().is_some();
                if let Some(frame) = state.frames.get_mut(frame) {
                    frame.store(off, byte_sz, (!fills).then_some(Value::VAGUE));
                }
            } else if effect != Effect::ReadsOnly && value.may_smear(state.leaked) {
                state.smear();
            }
        }
    }
}
