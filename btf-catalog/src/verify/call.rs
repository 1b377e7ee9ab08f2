//! Calls: functions of the program, helpers, functions of the kernel.
//!
//! A function of the program that is static is walked in line, in a frame of its own; a global one by itself, and a call
//! of it leaves a number. What a helper is given and gives is decided in [`Walker::helper`]: it checks the registers `r1`
//! to `r5` and what they point to, does to the state what the helper does (writes memory, acquires or releases
//! references, makes pointers into the packet useless) and returns the value of `r0`. A function of the kernel leaves a
//! value that is not modelled and doubts about all stack that it was given. The call itself makes `r1` to `r5` useless.

use super::state::{Frame, State};
use super::value::{Kind, Pointer, Region, Value};
use super::walk::{MAX_FRAMES, Next, Refusal, Walker, called};
use crate::btf::{Btf, BtfKind, Type, TypeId};
use crate::core::POISON_IMM;
use crate::insn::{CALL, Insn, PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use crate::object::Function;
use crate::proto::Effect;
use crate::reach::scalar::Scalar;
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
                self.global(number, state)?
            }
            PSEUDO_KFUNC_CALL => {
                let name = self.externs.get(&at).map_or("", |ext| self.object.externs[*ext].name.as_str());
                self.doubt_arguments(state);
                let result = self.unmodelled(&format!("the kernel function {name}()"));
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
    fn global(&mut self, number: usize, state: &mut State) -> Result<Value, Refusal> {
        let object = self.object;
        let function = &self.entry.functions[number];
        let arguments =
            object.btf.as_ref().and_then(|btf| prototype(btf, function)).map(|ty| ty.params().len());
        for reg in 1..=arguments.unwrap_or(0).min(5) as u8 {
            state.read(reg)?;
        }
        self.doubt_arguments(state);
        if self.moves_packet(number) {
            // Verifiers since v6.13, and older ones with its fix.
            state.lose_packet(Value::VAGUE);
        }
        Ok(Value::scalar(Scalar::UNKNOWN))
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
        let tags = |id: &TypeId| btf.ty(*id).kind() == BtfKind::DeclTag;
        let tagged = btf.own_ids().filter(tags).any(|tag| Some(btf.ty(tag).type_id()) == function.type_id);
        for (param, reg) in prototype.params().zip(1..=5) {
            let ty = btf.resolve(param.ty);
            frame.regs[reg] = match ty.kind() {
                BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 => {
                    Value { id: self.fresh(), ..Value::UNKNOWN }
                }
                BtfKind::Ptr if !tagged => match pointed_to(btf, ty.type_id()) {
                    Some(size) => {
                        let memory = Pointer::or_null(Region::Mem { size, writable: true });
                        Value { id: self.fresh(), ..Value::pointer(memory) }
                    }
                    None => self.unmodelled("pointers given to global functions"),
                },
                _ => self.unmodelled("pointers given to global functions"),
            };
        }
        Some(frame)
    }

    /// Somebody may have written through the arguments, or keeps them.
    pub(super) fn doubt_arguments(&mut self, state: &mut State) {
        for reg in 1..=5 {
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
