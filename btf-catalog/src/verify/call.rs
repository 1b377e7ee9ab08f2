//! Calls: functions of the program, helpers, functions of the kernel.
//!
//! A function of the program that is static is walked in line, in a frame of its own; a global one by itself, and a call
//! of it leaves a number. What a helper is given and gives is decided in [`Walker::helper`]: it checks the registers `r1`
//! to `r5` and what they point to, does to the state what the helper does (writes memory, acquires or releases
//! references, makes pointers into the packet useless) and returns the value of `r0`. A function of the kernel acquires and
//! releases references, and leaves doubts about all stack that it was given. The call itself makes `r1` to `r5` useless.

use super::argument::{Bytes, Taker};
use super::state::{Frame, State};
use super::value::{Kind, Pointer, Region, Value};
use super::walk::{MAX_FRAMES, Next, Refusal, Walker, called};
use crate::btf::{Btf, BtfKind, Type, TypeId};
use crate::core::POISON_IMM;
use crate::insn::{CALL, Insn, PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use crate::object::Function;
use crate::proto::{Access, Agreed, Effect};
use crate::reach::slots;
use crate::uapi::HelperId;

impl Walker<'_> {
    pub(super) fn call(&mut self, at: usize, insn: Insn, state: &mut State) -> Result<Next, Refusal> {
        if state.lock.is_some() && insn.src != 0 {
            // Functions may be called under a lock since v6.9.
            self.note(at, Refusal::doubtful("calls a function while it holds a lock"), state.doubt);
        }
        let result = match insn.src {
            PSEUDO_CALL => {
                let Some(to) = called(at, insn) else { return Ok(Next::End) };
                let Some(number) = self.entry.functions.iter().position(|function| function.insn_off == to)
                else {
                    return Ok(Next::End);
                };
                if !self.entry.functions[number].global {
                    return Ok(self.enter(at, to, state));
                }
                self.roots.push((to, !state.doubt));
                self.global(at, number, state)?
            }
            PSEUDO_KFUNC_CALL => {
                let name = self.externs.get(&at).map_or("", |ext| self.object.externs[*ext].name.as_str());
                let result = self.kfunc(at, name, state)?;
                if name == "bpf_throw" {
                    return Ok(Next::End);
                }
                result
            }
            // What relocation found no answer for is told elsewhere.
            _ if insn.imm >= POISON_IMM => return Ok(Next::End),
            _ => self.helper(at, HelperId(insn.imm as u32), state)?,
        };
        state.frame_mut().regs[1..=5].fill(Value::UNSET);
        state.set(0, result);
        Ok(Next::To(at + 1))
    }

    /// Goes on in a static function.
    fn enter(&mut self, at: usize, to: usize, state: &mut State) -> Next {
        if state.frames.len() >= MAX_FRAMES {
            self.unmodelled("calls that are too deep");
            return Next::End;
        }
        let mut frame = Frame::new(state.frames.len(), at);
        frame.regs[1..=5].copy_from_slice(&state.frame().regs[1..=5]);
        state.frame_mut().regs[..=5].fill(Value::UNSET);
        state.frames.push(frame.into());
        Next::To(to)
    }

    /// The result of a global function, which is verified by itself.
    fn global(&mut self, at: usize, number: usize, state: &mut State) -> Result<Value, Refusal> {
        let function = &self.entry.functions[number];
        let typed = self.object.btf.as_ref().and_then(|btf| Some((btf, prototype(btf, function)?)));
        match typed {
            Some((btf, ty)) => self.given(at, function, btf, ty, state)?,
            None => self.doubt_arguments(state),
        }
        if self.moves_packet(number) {
            // Verifiers since v6.13, and older ones with its fix.
            state.lose_packet(Value::VAGUE);
        }
        Ok(Value::UNKNOWN)
    }

    /// Checks what a global function of that prototype is given (`btf_check_func_arg_match()`).
    fn given(
        &mut self,
        at: usize,
        function: &Function,
        btf: &Btf,
        ty: Type,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let name = format!("the function {}()", function.name);
        let mut taker = Taker { at, name, packet: Agreed::Some, filled: Vec::new() };
        for (param, reg) in ty.params().zip(1..=5u8) {
            let value = state.read(reg)?;
            match Given::of(btf, function, param.ty) {
                Given::Number if matches!(value.kind, Kind::Pointer(_)) => {
                    let (name, what) = (taker.name, value.name());
                    let why = format!("gives {name} {what} as argument {reg}, which is a number");
                    return Err(Refusal::sure(why));
                }
                Given::Number => {}
                Given::Memory(size) => self.memory_for_global(&mut taker, reg, value, size, state)?,
                Given::Other => self.doubt_argument(reg, state),
            }
        }
        Ok(())
    }

    /// Memory that a global function reads and writes, unless it is null (`check_mem_reg()`).
    fn memory_for_global(
        &mut self,
        taker: &mut Taker,
        reg: u8,
        value: Value,
        size: u32,
        state: &mut State,
    ) -> Result<(), Refusal> {
        match value.kind {
            Kind::Pointer(Pointer { region: Region::Context, .. }) => {
                // Which types stand for the context differs.
                let why = format!("gives {} the context as argument {reg}", taker.name);
                self.note(taker.at, Refusal::doubtful(why), state.doubt);
                Ok(())
            }
            Kind::Pointer(pointer) => {
                let base = Value { kind: Kind::Pointer(Pointer { or_null: false, ..pointer }), ..value };
                self.memory(taker, reg, base, Access::Change, Bytes::constant(size.into()), state)
            }
            Kind::Scalar(_) if value.as_const() == Some(0) => {
                self.lean(value.soft);
                Ok(())
            }
            Kind::Scalar(_) => {
                let why = format!("gives {} a number as argument {reg}, which is a pointer", taker.name);
                // It may be known to be 0, or a pointer that some verifiers keep.
                Err(Refusal { why, sure: !value.vague })
            }
            Kind::Opaque | Kind::Unset => {
                self.doubt_argument(reg, state);
                Ok(())
            }
        }
    }

    /// Whether a function, or one that it calls, calls a helper after which pointers into the packet are no good.
    fn moves_packet(&self, number: usize) -> bool {
        let functions = &self.entry.functions;
        let (mut reached, mut next) = (vec![number], 0);
        while let Some(&number) = reached.get(next) {
            next += 1;
            let start = functions[number].insn_off;
            let behind = functions.iter().map(|function| function.insn_off).filter(|off| *off > start);
            let end = behind.min().unwrap_or(self.insns.len()).min(self.insns.len());
            let own = self.insns.get(start..end).unwrap_or_default();
            for (at, insn) in slots(own).filter(|(_, insn)| insn.code == CALL) {
                if insn.src == 0
                    && HelperId(insn.imm as u32).proto().is_some_and(|proto| {
                        proto.does(Effect::MovesPacket) || proto.does(Effect::PerhapsMovesPacket)
                    })
                {
                    return true;
                }
                let to = called(start + at, insn).filter(|_| insn.src == PSEUDO_CALL);
                let callee = functions.iter().position(|function| Some(function.insn_off) == to);
                reached.extend(callee.filter(|callee| !reached.contains(callee)));
            }
        }
        false
    }

    /// Whether the global function that begins at `at` is known to return something.
    pub(super) fn returns(&self, at: usize) -> bool {
        let function = self.entry.functions.iter().find(|function| function.insn_off == at);
        let ty = self.object.btf.as_ref().zip(function).and_then(|(btf, function)| prototype(btf, function));
        ty.is_some_and(|ty| ty.type_id() != TypeId::VOID)
    }

    /// How a global function begins; `None` if that is not known.
    pub(super) fn global_frame(&mut self, at: usize) -> Option<Frame> {
        let object = self.object;
        let function = self.entry.functions.iter().find(|function| function.insn_off == at)?;
        let mut frame = Frame::new(0, at);
        let prototype = object.btf.as_ref().and_then(|btf| Some((btf, prototype(btf, function)?)));
        let Some((btf, prototype)) = prototype else {
            self.unmodelled("global functions without a type");
            frame.regs[1..=5].fill(Value::OPAQUE);
            return Some(frame);
        };
        for (param, reg) in prototype.params().zip(1..=5) {
            frame.regs[reg] = match Given::of(btf, function, param.ty) {
                Given::Number => Value { id: self.fresh(), ..Value::UNKNOWN },
                Given::Memory(size) => {
                    let memory = Pointer::or_null(Region::Mem { size, writable: true });
                    Value { id: self.fresh(), ..Value::pointer(memory) }
                }
                Given::Other => self.unmodelled("pointers given to global functions"),
            };
        }
        Some(frame)
    }

    /// Somebody may have written through the arguments, or keeps them.
    pub(super) fn doubt_arguments(&mut self, state: &mut State) {
        for reg in 1..=5 {
            self.doubt_argument(reg, state);
        }
    }

    fn doubt_argument(&mut self, reg: u8, state: &mut State) {
        let reference = state.reg(reg).reference;
        if reference != 0 {
            state.doubt_reference(reference);
        }
        match state.reg(reg).kind {
            Kind::Pointer(Pointer { region: Region::Stack { .. }, .. }) => {
                state.doubt_stack_of(state.reg(reg));
            }
            Kind::Pointer(Pointer { region: Region::Function { .. }, .. }) => {
                self.unmodelled("functions that are called back");
            }
            _ => {}
        }
    }
}

/// What an argument of a global function is.
enum Given {
    Number,
    /// A pointer to so many bytes of plain memory, or null.
    Memory(u32),
    /// Something that is not modelled.
    Other,
}

impl Given {
    fn of(btf: &Btf, function: &Function, param: TypeId) -> Given {
        let tagged = function.type_id.is_some_and(|ty| btf.decl_tags(ty).next().is_some());
        let ty = btf.resolve(param);
        match ty.kind() {
            BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 => Given::Number,
            BtfKind::Ptr if !tagged => pointed_to(btf, ty.type_id()).map_or(Given::Other, Given::Memory),
            _ => Given::Other,
        }
    }
}

/// Bytes of what an argument of a global function points to, where that is plain memory: no context, and nothing that
/// verifiers take for something else.
fn pointed_to(btf: &Btf, ty: TypeId) -> Option<u32> {
    let resolved = btf.resolve(ty);
    let is_context = || {
        let name = resolved.name();
        ["__sk_buff", "xdp_md", "pt_regs"].contains(&name)
            || name.starts_with("bpf_")
            || name.ends_with("_md")
    };
    let plain = match resolved.kind() {
        BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Array => true,
        BtfKind::Struct | BtfKind::Union => !is_context(),
        _ => false,
    };
    let tagged = btf.ty(ty).kind() == BtfKind::TypeTag;
    btf.size_of(ty).filter(|size| plain && !tagged && *size > 0)
}

/// The prototype of a function of the object.
fn prototype<'b>(btf: &'b Btf, function: &Function) -> Option<Type<'b>> {
    let ty = btf.ty(function.type_id?);
    let ty = (ty.kind() == BtfKind::Func).then(|| btf.resolve(ty.type_id()))?;
    (ty.kind() == BtfKind::FuncProto).then_some(ty)
}
