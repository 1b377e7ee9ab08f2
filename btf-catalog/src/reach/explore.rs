//! The walk itself: from an entry's first instruction along every way that a verifier may take.

mod call;

use super::flow::{live_registers, meeting_points, raise_what_all_ways_pass, slots, successors};
use super::scalar::{Scalar, cond, op, swapped};
use super::state::{Frame, Kind, REGISTERS, State, Value};
use super::transfer::{Branch, access_sz, computed, decide, moved, number, offset, swapped_bytes};
use super::{Constants, ContextAccess, Reach, Returned, Walk};
use crate::btf::BtfKind;
use crate::core::ExternOutcome;
use crate::insn::{
    ATOMIC, CALL, CMPXCHG, EXIT, FETCH, Insn, JUMP_BY_REGISTER, LOAD_ACQ, MEMSX, MODE, PSEUDO_CALL,
    PSEUDO_FUNC, STORE_REL,
};
use crate::object::{BpfObject, Entry, ExternKind};
use crate::uapi::ProgType;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// How many states are kept apart at a place where ways meet, before they are joined.
pub(super) const KEPT_APART: usize = 12;
/// Joins after which bounds that still grow are given up.
const WIDEN_AFTER: u32 = 4;
/// Instructions walked before the walk is given up: so many, and so many more for each that the entry has.
const MAX_STEPS: usize = 100_000;
const MAX_STEPS_PER_INSN: usize = 32;
/// States kept before the walk is given up: a state takes one to a few kilobytes.
const MAX_STATES: usize = 32 << 10;
/// Functions on the way from the entry: `MAX_CALL_FRAMES` of include/linux/bpf_verifier.h, v7.2; 8 before.
const MAX_FRAMES: usize = 16;

/// What was found at a place where ways meet.
#[derive(Default)]
struct Meeting {
    apart: Vec<State>,
    joined: Vec<(State, u32)>,
}

pub(super) struct Explorer<'a> {
    object: &'a BpfObject,
    entry: &'a Entry,
    insns: &'a [Insn],
    constants: &'a Constants,
    kept_apart: usize,
    /// Instructions whose immediate is not known yet.
    pub(super) open: &'a BTreeSet<usize>,
    /// References by instruction.
    maps: HashMap<usize, (usize, Option<u32>)>,
    externs: HashMap<usize, usize>,
    /// Whether 64-bit values read from memory may be pointers that the verifier trusts not to be null.
    typed_memory: bool,
    points: Vec<bool>,
    live: Vec<u16>,
    meetings: HashMap<usize, Meeting>,
    states: usize,
    walks: Vec<Walk>,
    steps: Vec<u8>,
    /// Functions to be walked by themselves, and those that were: by first instruction.
    roots: Vec<(usize, bool)>,
    rooted: BTreeMap<usize, bool>,
    context: BTreeSet<ContextAccess>,
    context_escapes: bool,
    handed: BTreeMap<(usize, u8), BTreeSet<Option<usize>>>,
    returns: BTreeSet<Returned>,
    stack: Vec<u32>,
    sure_stack: Vec<u32>,
}

/// Where a walk goes on.
enum Next {
    To(usize),
    End,
}

impl<'a> Explorer<'a> {
    pub(super) fn new(
        object: &'a BpfObject,
        entry: &'a Entry,
        insns: &'a [Insn],
        constants: &'a Constants,
        kept_apart: usize,
    ) -> Explorer<'a> {
        let prog_type = entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type);
        Explorer {
            object,
            entry,
            insns,
            constants,
            kept_apart,
            open: const { &BTreeSet::new() },
            maps: entry.map_refs.iter().map(|map| (map.insn_off, (map.map, map.value_off))).collect(),
            externs: entry.extern_refs.iter().map(|ext| (ext.insn_off, ext.ext)).collect(),
            typed_memory: matches!(
                prog_type,
                ProgType::TRACING | ProgType::LSM | ProgType::STRUCT_OPS | ProgType::EXT | ProgType::UNSPEC
            ),
            points: meeting_points(insns),
            live: live_registers(insns),
            meetings: HashMap::new(),
            states: 0,
            walks: vec![Walk::Never; insns.len()],
            steps: vec![0; insns.len()],
            roots: Vec::new(),
            rooted: BTreeMap::new(),
            context: BTreeSet::new(),
            context_escapes: false,
            handed: BTreeMap::new(),
            returns: BTreeSet::new(),
            stack: vec![0; entry.functions.len().max(1)],
            sure_stack: vec![0; entry.functions.len().max(1)],
        }
    }

    /// Walks everything; `None` if that took too much, or where jumps lead is not known.
    pub(super) fn run(mut self) -> Option<Reach> {
        if self.insns.iter().any(|insn| insn.code == JUMP_BY_REGISTER) {
            return None;
        }
        let mut left = MAX_STEPS + MAX_STEPS_PER_INSN * self.insns.len();
        let mut start = Frame::new(0, 0);
        start.regs[1] = Value::new(Kind::Context { off: Some(0) });
        self.walk_from(0, State { frames: vec![start], sure: true, leaked: false }, &mut left)?;
        self.walk_roots(&mut left)?;
        // Verifiers before v6.8 look at global functions that nothing calls.
        if self.constants.verifies_uncalled != Some(false) {
            let sure = self.constants.verifies_uncalled.is_some();
            let uncalled = self.entry.functions.iter().skip(1).filter(|function| function.global);
            self.roots.extend(uncalled.map(|function| (function.insn_off, sure)));
            self.walk_roots(&mut left)?;
        }
        self.raise();
        Some(Reach {
            walks: with_second_halves(self.walks, self.insns),
            context: self.context.into_iter().collect(),
            context_escapes: self.context_escapes,
            handed_maps: self.handed,
            returns: self.returns.into_iter().collect(),
            stack: self.stack,
            sure_stack: self.sure_stack,
            cut_short: false,
        })
    }

    /// Raises what every way passes. A call that is raised brings its function along.
    fn raise(&mut self) {
        let spans: Vec<Range<usize>> = functions(self.entry, self.insns.len()).collect();
        let mut open: Vec<usize> = (0..spans.len()).rev().collect();
        while let Some(number) = open.pop() {
            let span = spans[number].clone();
            raise_what_all_ways_pass(self.insns, span.clone(), &self.steps, &mut self.walks);
            for (at, insn) in slots(&self.insns[span.clone()]).map(|(at, insn)| (span.start + at, insn)) {
                let calls = self.walks[at] == Walk::Sure && insn.code == CALL && insn.src == PSEUDO_CALL;
                let Some(to) = called(at, insn).filter(|_| calls) else { continue };
                if self.walks.get(to) == Some(&Walk::May) {
                    self.walks[to] = Walk::Sure;
                    open.push(spans.partition_point(|span| span.start <= to) - 1);
                }
            }
        }
    }

    fn walk_roots(&mut self, left: &mut usize) -> Option<()> {
        while let Some((at, sure)) = self.roots.pop() {
            if self.rooted.get(&at).is_some_and(|was_sure| *was_sure || !sure) {
                continue;
            }
            self.rooted.insert(at, sure);
            let mut start = Frame::new(0, at);
            let numbers = self.numbers_taken(at);
            for reg in 1..=5 {
                // What else a global function or a callback is given is for the verifier to know.
                let given = Value { trusted: true, ..Value::VAGUE };
                start.regs[reg] = if numbers.contains(&reg) { Value::UNKNOWN } else { given };
            }
            self.walk_from(at, State { frames: vec![start], sure, leaked: false }, left)?;
        }
        Some(())
    }

    /// The registers in which a global function takes numbers, of which its verification knows nothing
    /// (`btf_prepare_func_args()`).
    fn numbers_taken(&self, at: usize) -> Vec<usize> {
        let function =
            self.entry.functions.iter().find(|function| function.insn_off == at && function.global);
        let func = function.and_then(|function| function.type_id).zip(self.object.btf.as_ref());
        let Some((btf, func)) = func.map(|(id, btf)| (btf, btf.ty(id))) else { return Vec::new() };
        let params = btf.ty(func.type_id()).params().enumerate();
        let number = |ty: crate::btf::Type| ty.kind() == BtfKind::Int || ty.is_any_enum();
        params.filter(|(_, param)| number(btf.resolve(param.ty))).map(|(index, _)| index + 1).collect()
    }

    fn walk_from(&mut self, at: usize, state: State, left: &mut usize) -> Option<()> {
        let mut open = vec![(at, state)];
        while let Some((mut at, mut state)) = open.pop() {
            loop {
                *left = left.checked_sub(1)?;
                if at >= self.insns.len() || self.points[at] && !self.arrive(at, &mut state, left)? {
                    break;
                }
                let walk = if state.sure { Walk::Sure } else { Walk::May };
                self.walks[at] = self.walks[at].max(walk);
                match self.step(at, &mut state, &mut open) {
                    Next::To(to) => at = to,
                    Next::End => break,
                }
            }
        }
        Some(())
    }

    /// Whether there is anything new in coming to `at` with this state, which may be joined with others.
    fn arrive(&mut self, at: usize, state: &mut State, left: &mut usize) -> Option<bool> {
        let live = self.live[at];
        for (reg, value) in state.frame().regs.iter_mut().enumerate().take(REGISTERS - 1) {
            if live & 1 << reg == 0 {
                *value = Value::UNKNOWN;
            }
        }
        let meeting = self.meetings.entry(at).or_default();
        // Where functions are called from many places, comparing is most of the work.
        *left = left.checked_sub((meeting.apart.len() + meeting.joined.len()) / KEPT_APART)?;
        if meeting.apart.iter().any(|seen| seen.covers(state)) {
            return Some(false);
        }
        if meeting.apart.iter().filter(|seen| seen.same_place(state)).count() < self.kept_apart {
            self.states += 1;
            meeting.apart.push(state.clone());
            return (self.states <= MAX_STATES).then_some(true);
        }
        if let Some((joined, joins)) = meeting.joined.iter_mut().find(|(seen, _)| seen.same_place(state)) {
            let before = joined.clone();
            joined.join(state, *joins > WIDEN_AFTER);
            *joins += 1;
            state.clone_from(joined);
            return Some(*joined != before);
        }
        self.states += 1;
        meeting.joined.push((state.clone(), 0));
        (self.states <= MAX_STATES).then_some(true)
    }

    fn step(&mut self, at: usize, state: &mut State, open: &mut Vec<(usize, State)>) -> Next {
        let insn = self.insns[at];
        let next = at + if insn.is_ld_imm64() { 2 } else { 1 };
        match insn.class() {
            0 if insn.is_ld_imm64() => {
                let value = self.immediate(at, insn);
                state.set(insn.dst, value);
            }
            0 => Self::clobber(at, state, Value::UNKNOWN),
            1 => self.load(at, insn, state),
            2 => {
                let value = Value::constant(i64::from(insn.imm) as u64);
                // Verifiers before v6.8 follow no immediates but 0.
                let soft = insn.imm != 0;
                self.store(at, insn, state, Value { soft, ..value });
            }
            3 if insn.code & MODE == ATOMIC => self.atomic(at, insn, state),
            3 => self.store(at, insn, state, state.reg(insn.src)),
            4 | 7 => self.alu(at, insn, state),
            _ if insn.code == EXIT => return self.leave(at, state),
            _ if insn.code == CALL => return self.call(at, insn, state),
            _ => return self.jump(at, insn, state, open),
        }
        self.steps[at] |= 1;
        Next::To(next)
    }

    /// The value of a 64-bit immediate load.
    fn immediate(&mut self, at: usize, insn: Insn) -> Value {
        if let Some(&ext) = self.externs.get(&at) {
            if self.object.externs[ext].kind == ExternKind::Kconfig {
                return Value::new(Kind::Kconfig { ext });
            }
            let outcome = self.constants.externs.as_ref().and_then(|externs| externs.outcomes.get(ext));
            return match outcome {
                Some(ExternOutcome::MissingWeak) => Value::constant(0),
                Some(ExternOutcome::Address(Some(address))) => Value::constant(*address),
                Some(ExternOutcome::Address(None)) => Value::new(Kind::Pointer),
                // Verifiers differ in whether a typed symbol may be null.
                Some(ExternOutcome::Typed { .. }) => Value { soft: true, ..Value::new(Kind::Pointer) },
                _ => Value::VAGUE,
            };
        }
        if let Some(&(map, value_off)) = self.maps.get(&at) {
            return match value_off {
                Some(off) => Value::new(Kind::Data { map, off: Some(i64::from(off)) }),
                None => Value { soft: true, ..Value::new(Kind::Map { map }) },
            };
        }
        match insn.src {
            0 if self.open.contains(&at) => Value::VAGUE,
            0 => {
                let high = self.insns.get(at + 1).map_or(0, |high| high.imm as u32);
                Value::constant(u64::from(high) << 32 | u64::from(insn.imm as u32))
            }
            PSEUDO_FUNC => {
                let Some(to) = called(at, insn) else { return Value::VAGUE };
                // Where the function goes from here need not be seen.
                self.roots.push((to, false));
                Value::new(Kind::Function { at: to })
            }
            _ => Value { soft: true, ..Value::new(Kind::Pointer) },
        }
    }

    fn load(&mut self, at: usize, insn: Insn, state: &mut State) {
        let byte_sz = access_sz(insn);
        let base = state.reg(insn.src);
        let signed = insn.code & MODE == MEMSX;
        let fresh = Value::scalar(Scalar::of_bytes(byte_sz));
        let typed = Value { trusted: self.typed_memory && byte_sz == 8, ..fresh };
        let value = match base.kind {
            Kind::Stack { frame, off: Some(off) } => {
                let off = off.saturating_add(i32::from(insn.off));
                self.uses_stack(state, frame, off);
                state.frames.get(frame).map_or(Value::VAGUE, |frame| frame.load(off, byte_sz))
            }
            Kind::Stack { .. } | Kind::MaybeStack => Value { vague: true, ..fresh },
            Kind::Context { off } => {
                self.accesses_context(at, insn, off, base.vague, false);
                typed
            }
            Kind::Data { map, off } => {
                let known = off.and_then(|off| {
                    let start = usize::try_from(off.checked_add(i64::from(insn.off))?).ok()?;
                    let bytes =
                        self.constants.maps.get(&map)?.get(start..start.checked_add(byte_sz as usize)?)?;
                    Some(Value::constant(number(bytes, self.object.big_endian)))
                });
                // At a place that is not constant the verifier reads nothing (`bpf_map_direct_read()`).
                let frozen = self.object.maps.get(map).is_some_and(|map| map.frozen);
                known.unwrap_or(Value { vague: frozen && (off.is_some() || base.vague), ..fresh })
            }
            Kind::Kconfig { ext } => {
                let known = self.object.externs[ext].slot.and_then(|slot| {
                    let start = usize::try_from(i64::from(slot.byte_off) + i64::from(insn.off)).ok()?;
                    let externs = self.constants.externs.as_ref()?;
                    externs.known_kconfig(start..start + byte_sz as usize)
                });
                known.map_or(Value { vague: true, ..fresh }, |bytes| {
                    Value::constant(number(bytes, self.object.big_endian))
                })
            }
            Kind::Scalar(_) | Kind::Function { .. } | Kind::Map { .. } | Kind::Pointer => {
                Value { vague: base.vague, ..typed }
            }
        };
        let value = match value.kind {
            Kind::Scalar(scalar) if signed => {
                let extended = scalar.sign_extended(8 * byte_sz);
                Value {
                    kind: Kind::Scalar(extended),
                    soft: value.soft || extended.as_const().is_none(),
                    id: 0,
                    ..value
                }
            }
            _ => value,
        };
        Self::set_fresh(at, insn.dst, state, value);
    }

    /// `off` is what was added to the context's pointer.
    fn accesses_context(&mut self, at: usize, insn: Insn, off: Option<i32>, vague: bool, write: bool) {
        let moved = off != Some(0) && !vague;
        let off = off.map(|off| off.saturating_add(i32::from(insn.off)));
        let signed = insn.class() == 1 && insn.code & MODE == MEMSX;
        let byte_sz = access_sz(insn);
        self.context.insert(ContextAccess { insn_off: at, off, byte_sz, write, moved, signed });
    }

    fn set_fresh(at: usize, dst: u8, state: &mut State, value: Value) {
        let value = match value.kind {
            Kind::Scalar(scalar) if value.id == 0 && scalar.as_const().is_none() => state.numbered(at, value),
            _ => value,
        };
        state.set(dst, value);
    }

    fn store(&mut self, at: usize, insn: Insn, state: &mut State, value: Value) {
        let byte_sz = access_sz(insn);
        let base = state.reg(insn.dst);
        if matches!(value.kind, Kind::Stack { .. } | Kind::MaybeStack) {
            state.leaked = true;
        }
        self.context_escapes |= matches!(value.kind, Kind::Context { .. });
        match base.kind {
            Kind::Stack { frame, off: Some(off) } => {
                let off = off.saturating_add(i32::from(insn.off));
                self.uses_stack(state, frame, off);
                if let Some(frame) = state.frames.get_mut(frame) {
                    frame.store(off, byte_sz, Some(value));
                }
            }
            Kind::Context { off } => {
                self.accesses_context(at, insn, off, base.vague, true);
            }
            _ if base.may_smear(state.leaked) => state.smear(),
            _ => {}
        }
    }

    fn atomic(&mut self, at: usize, insn: Insn, state: &mut State) {
        match insn.imm {
            LOAD_ACQ => self.load(at, Insn { code: insn.code & !MODE | 0x60, ..insn }, state),
            STORE_REL => self.store(at, insn, state, state.reg(insn.src)),
            imm => {
                self.store(at, insn, state, Value::VAGUE);
                let old = Value::scalar(Scalar::of_bytes(access_sz(insn)));
                if imm == CMPXCHG {
                    Self::set_fresh(at, 0, state, old);
                } else if imm & FETCH != 0 {
                    Self::set_fresh(at, insn.src, state, old);
                }
            }
        }
    }

    fn alu(&mut self, at: usize, insn: Insn, state: &mut State) {
        let operation = insn.code & 0xf0;
        let wide = insn.class() == 7;
        let from_register = insn.code & 0x08 != 0;
        let dst = state.reg(insn.dst);
        let src = match from_register {
            true => state.reg(insn.src),
            false if self.open.contains(&at) => Value::VAGUE,
            false => Value::constant(i64::from(insn.imm) as u64),
        };
        let value = match operation {
            op::MOV => moved(insn, src, wide),
            op::END => swapped_bytes(insn, dst, wide, self.object.big_endian),
            // Verifiers before v6.18 forget what it leaves.
            op::NEG => Value { soft: true, ..computed(op::SUB, wide, Value::constant(0), dst) },
            op::DIV | op::MOD if insn.off != 0 => {
                Value { vague: dst.vague || src.vague || dst.as_const().is_some(), ..Value::UNKNOWN }
            }
            _ if (dst.is_pointer() || src.is_pointer()) && wide => offset(operation, dst, src),
            _ => computed(operation, wide, dst, src),
        };
        Self::set_fresh(at, insn.dst, state, value);
    }

    fn jump(&mut self, at: usize, insn: Insn, state: &mut State, open: &mut Vec<(usize, State)>) -> Next {
        let [next, jump] = successors(insn, at);
        let (Some(next), Some(to)) = (next, jump) else {
            self.steps[at] |= 2;
            return jump.map_or(Next::End, Next::To);
        };
        let condition = insn.code & 0xf0;
        let wide = insn.class() == 5;
        let from_register = insn.code & 0x08 != 0;
        let a = state.reg(insn.dst);
        let b = if from_register { state.reg(insn.src) } else { Value::constant(i64::from(insn.imm) as u64) };
        let branch = if wide && condition == 0xe0 {
            // `may_goto`: both ways.
            Branch { taken: Some(true), not_taken: Some(true) }
        } else {
            decide(condition, wide, a, b)
        };
        let mut go = |taken: bool, sure: bool, there: &mut State| {
            self.steps[at] |= if taken { 2 } else { 1 };
            there.sure &= sure;
            let narrowed = |value: Value, condition: u8, other: Value| {
                let (scalar, other) = (value.as_scalar()?, other.as_scalar()?);
                Some(match other.as_const() {
                    Some(other) => scalar.refined(condition, wide, other, taken).map(|left| (left, false)),
                    // What a second register tells is learned since v6.8.
                    None => {
                        scalar.bounded_by(condition, wide, other, taken).map(|left| (left, left != scalar))
                    }
                })
            };
            let learned = [
                (insn.dst, narrowed(a, condition, b)),
                (insn.src, if from_register { narrowed(b, swapped(condition), a) } else { None }),
            ];
            for (reg, left) in learned {
                match left {
                    Some(Some((scalar, soft))) => there.narrow(reg, scalar, soft),
                    // No number goes this way: only a verifier that does not see that walks it.
                    Some(None) => there.sure = false,
                    None => {}
                }
            }
            // Signed bounds of lower halves are not kept here; equality leaves no more than was learned.
            let signed = matches!(condition, cond::JSGT | cond::JSGE | cond::JSLT | cond::JSLE);
            for (reg, value, other) in [(insn.dst, a, b), (insn.src, b, a)] {
                let number = value.as_scalar().is_some_and(|scalar| scalar.as_const().is_none());
                let followed = !signed || wide;
                if number && other.as_scalar().is_some() && !followed {
                    there.blur(reg);
                }
            }
        };
        match (branch.taken, branch.not_taken) {
            (Some(taken), Some(not_taken)) => {
                let mut there = state.clone();
                go(true, taken, &mut there);
                open.push((to, there));
                go(false, not_taken, state);
                Next::To(next)
            }
            (Some(taken), None) => {
                go(true, taken, state);
                Next::To(to)
            }
            (None, Some(not_taken)) => {
                go(false, not_taken, state);
                Next::To(next)
            }
            (None, None) => Next::End,
        }
    }

    /// Notes that a function's stack is used from `off` up.
    fn uses_stack(&mut self, state: &State, frame: usize, off: i32) {
        let inside = match state.frames.get(frame + 1) {
            Some(callee) => callee.call,
            None => return self.uses_own_stack(state, frame, off),
        };
        self.deepen(inside, off, state.sure);
    }

    fn uses_own_stack(&mut self, state: &State, frame: usize, off: i32) {
        let Some(own) = state.frames.get(frame) else { return };
        // A frame knows the call it came from; the function called is where that call leads.
        let start = match frame {
            0 => own.call,
            _ => called(own.call, self.insns[own.call]).unwrap_or(0),
        };
        self.deepen(start, off, state.sure);
    }

    fn deepen(&mut self, inside: usize, off: i32, sure: bool) {
        let number = self.entry.functions.partition_point(|function| function.insn_off <= inside).max(1) - 1;
        let byte_sz = off.saturating_neg().max(0) as u32;
        self.stack[number] = self.stack[number].max(byte_sz);
        if sure {
            self.sure_stack[number] = self.sure_stack[number].max(byte_sz);
        }
    }
}

/// The first instruction of the function that a call or a function's address leads to.
fn called(at: usize, insn: Insn) -> Option<usize> {
    usize::try_from(at as i64 + 1 + i64::from(insn.imm)).ok()
}

/// The instructions of each function.
fn functions(entry: &Entry, end: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let mut starts: Vec<usize> = entry.functions.iter().map(|function| function.insn_off).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([end]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| start..end.max(start))
}

/// The second half of a 64-bit load goes with the first.
fn with_second_halves(mut walks: Vec<Walk>, insns: &[Insn]) -> Vec<Walk> {
    for (at, insn) in slots(insns) {
        if insn.is_ld_imm64() && at + 1 < walks.len() {
            walks[at + 1] = walks[at];
        }
    }
    walks
}

/// What jumps alone tell: where every value is unknown.
pub(super) fn by_jumps(entry: &Entry, insns: &[Insn]) -> Reach {
    let mut walks = vec![Walk::Never; insns.len()];
    let mut steps = vec![0u8; insns.len()];
    let mut open = vec![0];
    if insns.iter().any(|insn| insn.code == JUMP_BY_REGISTER) {
        open.extend(slots(insns).map(|(at, _)| at));
    }
    open.extend(entry.functions.iter().filter(|function| function.global).map(|function| function.insn_off));
    let mut seen = vec![false; insns.len()];
    while let Some(at) = open.pop() {
        if at >= insns.len() || std::mem::replace(&mut seen[at], true) {
            continue;
        }
        walks[at] = Walk::May;
        let insn = insns[at];
        let [next, jump] = successors(insn, at);
        let leads_anywhere = insn.code == JUMP_BY_REGISTER;
        steps[at] = u8::from(next.is_some()) | u8::from(jump.is_some() && !leads_anywhere) << 1;
        open.extend([next, jump].into_iter().flatten());
        if insn.code == CALL && insn.src == PSEUDO_CALL || insn.is_ld_imm64() && insn.src == PSEUDO_FUNC {
            open.extend(called(at, insn));
        }
    }
    if let Some(first) = walks.first_mut() {
        *first = Walk::Sure;
    }
    if let Some(own) = functions(entry, insns.len()).next() {
        raise_what_all_ways_pass(insns, own, &steps, &mut walks);
    }
    Reach {
        walks: with_second_halves(walks, insns),
        context: Vec::new(),
        context_escapes: true,
        handed_maps: BTreeMap::new(),
        returns: Vec::new(),
        stack: vec![0; entry.functions.len().max(1)],
        sure_stack: vec![0; entry.functions.len().max(1)],
        cut_short: true,
    }
}
