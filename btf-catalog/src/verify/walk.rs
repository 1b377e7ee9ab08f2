//! The walk: from an entry's first instruction along every way, as `do_check()` goes.

use super::alu::alu;
use super::branch::{Test, Ways};
use super::fields::Fields;
use super::memory::Access;
use super::numbers::numbers_that_matter;
use super::state::{Covers, Frame, REGISTERS, State};
use super::value::{Kind, Pointer, Region, Value};
use super::{Fault, Subject, Traits, Verified};
use crate::insn::{
    ATOMIC, CALL, CMPXCHG, EXIT, FETCH, Insn, JUMP_BY_REGISTER, LOAD_ACQ, MEMSX, MODE, PSEUDO_FUNC, STORE_REL,
};
use crate::object::{BpfObject, Entry, ExternKind, MapDef};
use crate::reach::scalar::{Scalar, op};
use crate::reach::{Constants, access_sz, falls_into_loop, live_registers, meeting_points, successors};
use crate::uapi::ProgType;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// Instructions walked before the walk is given up. The kernel gives up at a million.
const MAX_STEPS: usize = 60_000;
/// States kept before the walk is given up: a state takes one to a few kilobytes.
const MAX_STATES: usize = 8_000;
/// References and sections held at once before the walk is given up: each state keeps a copy of them.
const MAX_HELD: usize = 64;
/// States kept of one instruction; the oldest are forgotten first.
const MAX_STATES_HERE: usize = 48;
/// Functions on the way from the entry: `MAX_CALL_FRAMES` of include/linux/bpf_verifier.h before v7.2; longer ways are not walked.
pub(super) const MAX_FRAMES: usize = 8;

/// Why a verifier refuses an instruction.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether every verifier does that comes here with the state at hand.
    pub(super) sure: bool,
}

impl Refusal {
    pub(super) fn sure<'a>(why: impl Into<Cow<'a, str>>) -> Refusal {
        Refusal { why: why.into().into_owned(), sure: true }
    }

    pub(super) fn doubtful<'a>(why: impl Into<Cow<'a, str>>) -> Refusal {
        Refusal { sure: false, ..Refusal::sure(why) }
    }
}

/// Where a walk goes on.
pub(super) enum Next {
    To(usize),
    End,
}

/// A way that is still to be walked.
struct Open {
    at: usize,
    state: State,
    /// The state that it comes from, as index into [`Walker::seen`].
    from: Option<u32>,
}

/// A state that was walked from.
struct Seen {
    state: State,
    from: Option<u32>,
    /// Ways from here that are not at their end.
    open: u32,
}

pub(super) struct Walker<'a> {
    pub(super) object: &'a BpfObject,
    pub(super) entry: &'a Entry,
    pub(super) insns: &'a [Insn],
    pub(super) constants: &'a Constants,
    pub(super) traits: Traits,
    pub(super) prog_type: ProgType,
    /// References by instruction.
    pub(super) maps: HashMap<usize, (usize, Option<u32>)>,
    pub(super) externs: HashMap<usize, usize>,
    /// What the kernel keeps in values, by map.
    kept: Vec<Fields>,
    points: Vec<bool>,
    live: Vec<u16>,
    numbers: Vec<u16>,
    seen: Vec<Seen>,
    here: HashMap<usize, Vec<u32>>,
    open: Vec<Open>,
    /// The state that the way at hand comes from.
    from: Option<u32>,
    ids: u32,
    left: usize,
    /// Functions that are verified by themselves.
    pub(super) roots: Vec<(usize, bool)>,
    /// Instructions at which the entry was left with a result that it may return.
    left_well: BTreeSet<usize>,
    found: Verified,
    faults: BTreeSet<Fault>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(subject: Subject<'a>, traits: Traits) -> Walker<'a> {
        let Subject { object, entry, insns, constants } = subject;
        Walker {
            object,
            entry,
            insns,
            constants,
            traits,
            prog_type: entry.kind.as_ref().map_or(ProgType::UNSPEC, |kind| kind.prog_type),
            maps: entry.map_refs.iter().map(|map| (map.insn_off, (map.map, map.value_off))).collect(),
            externs: entry.extern_refs.iter().map(|ext| (ext.insn_off, ext.ext)).collect(),
            kept: all_maps(object)
                .map(|map| map.map_or_else(Fields::unknown, |map| Fields::of(object, map)))
                .collect(),
            points: meeting_points(insns),
            live: live_registers(insns),
            numbers: numbers_that_matter(insns),
            seen: Vec::new(),
            here: HashMap::new(),
            open: Vec::new(),
            from: None,
            ids: 0,
            left: MAX_STEPS,
            roots: Vec::new(),
            left_well: BTreeSet::new(),
            found: Verified { complete: true, ..Verified::default() },
            faults: BTreeSet::new(),
        }
    }

    pub(super) fn run(mut self) -> Verified {
        let mut start = Frame::new(0, 0);
        start.regs[1] = Value::pointer(Pointer::to(Region::Context));
        if self.prog_type == ProgType::EXT {
            // It is given what the function is given that it stands in for.
            start.regs[1..=5].fill(self.unmodelled("what extensions are given"));
        }
        self.exceptions();
        if self.traits.takes_all_loops != Some(true)
            && let Some(at) = falls_into_loop(self.insns, &self.entry.functions)
        {
            let why = "falls into a loop that was entered further down, which verifiers before v6.8 refuse";
            self.note(at, Refusal::doubtful(why), false);
        }
        self.walk_from(0, State::new(start));
        let global = self.entry.functions.iter().skip(1).filter(|function| function.global);
        let globals: Vec<usize> = global.map(|function| function.insn_off).collect();
        for at in globals {
            let sure = self.roots.iter().any(|(root, sure)| *root == at && *sure);
            if let Some(frame) = self.global_frame(at) {
                self.walk_from(at, State { doubt: !sure, ..State::new(frame) });
            }
        }
        self.found.faults = self.faults.into_iter().collect();
        self.found
    }

    /// Notes functions that the kernel calls when the program throws.
    fn exceptions(&mut self) {
        let object = self.object;
        let own = self.entry.functions.first().and_then(|function| function.type_id);
        if let Some((btf, ty)) = object.btf.as_ref().zip(own)
            && btf.decl_tags(ty).any(|(_, text)| text.starts_with("exception_callback:"))
        {
            self.unmodelled("functions that are called on exceptions");
        }
    }

    /// Whether the walk has come to its end: every verifier refuses the entry, or too much was walked.
    fn is_over(&self) -> bool {
        !self.found.complete || self.faults.iter().any(|fault| fault.sure)
    }

    fn walk_from(&mut self, at: usize, state: State) {
        if self.is_over() {
            return;
        }
        self.open = vec![Open { at, state, from: None }];
        while let Some(Open { mut at, mut state, from }) = self.open.pop() {
            self.from = from;
            while let Next::To(to) = self.visit(at, &mut state) {
                at = to;
            }
            self.close();
            if self.is_over() {
                return;
            }
        }
    }

    /// One way has come to its end.
    fn close(&mut self) {
        let mut from = self.from;
        while let Some(seen) = from.and_then(|from| self.seen.get_mut(from as usize)) {
            seen.open -= 1;
            if seen.open > 0 {
                break;
            }
            from = seen.from;
        }
    }

    fn visit(&mut self, at: usize, state: &mut State) -> Next {
        if self.left == 0 || state.references.len() + state.sections.len() > MAX_HELD {
            self.found.complete = false;
            return Next::End;
        }
        self.left -= 1;
        if at >= self.insns.len() || self.points[at] && !self.arrive(at, state) {
            return Next::End;
        }
        match self.step(at, state) {
            Ok(next) => next,
            Err(refusal) => {
                self.note(at, refusal, state.doubt);
                Next::End
            }
        }
    }

    /// Notes what is wrong with an instruction.
    pub(super) fn note(&mut self, at: usize, refusal: Refusal, doubt: bool) {
        let Refusal { why, sure } = refusal;
        self.faults.insert(Fault { insn_off: at, why, sure: sure && !doubt });
    }

    /// A value that is not modelled.
    pub(super) fn unmodelled(&mut self, what: &str) -> Value {
        if !self.found.not_modelled.contains(what) {
            self.found.not_modelled.insert(what.to_owned());
        }
        Value::OPAQUE
    }

    /// Notes that what follows relies on what some verifiers do not know.
    pub(super) fn lean(&mut self, soft: bool) {
        self.found.leans |= soft;
    }

    /// An id that no value has.
    pub(super) fn fresh(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// What the kernel keeps in values of the map of that number.
    pub(super) fn kept(&self, map: usize) -> Option<&Fields> {
        self.kept.get(map)
    }

    /// A map, by [`Region::Map`]'s number.
    pub(super) fn map(&self, number: usize) -> Option<&'a MapDef> {
        let maps = &self.object.maps;
        maps.get(number).or_else(|| maps.get(number.checked_sub(maps.len())?)?.inner.as_deref())
    }

    /// Whether there is anything new in coming to `at` with this state (`is_state_visited()`).
    fn arrive(&mut self, at: usize, state: &mut State) -> bool {
        let live = self.live[at];
        for (reg, value) in state.frame_mut().regs.iter_mut().enumerate().take(REGISTERS - 1) {
            if live & 1 << reg == 0 {
                *value = Value::UNSET;
            }
        }
        let here = self.here.entry(at).or_default();
        // Comparing is work as well.
        self.left = self.left.saturating_sub(here.len() / 8);
        let mut left_by_older = false;
        for &number in here.iter().rev() {
            let seen = &self.seen[number as usize];
            // A loop that changes nothing but the stack is one without end for verifiers before v6.8.
            self.found.leans |= self.traits.takes_all_loops != Some(true)
                && seen.open > 0
                && seen.state.has_registers_of(state)
                && seen.state != *state;
            match seen.state.covers(state, at, &self.live, &self.numbers) {
                Covers::No => continue,
                Covers::ForOlder => {
                    left_by_older |= seen.open == 0;
                    continue;
                }
                Covers::Yes if seen.open == 0 => return false,
                Covers::Yes => {}
            }
            // It comes from there: around a loop that has changed nothing.
            if state.covers(&seen.state, at, &self.live, &[]) == Covers::Yes
                && seen.state.covers(state, at, &self.live, &[]) == Covers::Yes
            {
                let refusal =
                    Refusal { why: "goes around a loop without end".to_owned(), sure: state.is_plain() };
                self.note(at, refusal, false);
                return false;
            }
        }
        state.doubt |= left_by_older;
        if self.seen.len() >= MAX_STATES {
            self.found.complete = false;
            return false;
        }
        let number = self.seen.len() as u32;
        if here.len() >= MAX_STATES_HERE {
            here.remove(0);
        }
        here.push(number);
        self.seen.push(Seen { state: state.clone(), from: self.from, open: 1 });
        self.from = Some(number);
        true
    }

    /// A second way goes on from here.
    pub(super) fn fork(&mut self, at: usize, state: State) {
        if let Some(seen) = self.from.and_then(|from| self.seen.get_mut(from as usize)) {
            seen.open += 1;
        }
        self.open.push(Open { at, state, from: self.from });
    }

    fn step(&mut self, at: usize, state: &mut State) -> Result<Next, Refusal> {
        let insn = self.insns[at];
        let next = at + if insn.is_ld_imm64() { 2 } else { 1 };
        if usize::from(insn.dst.max(insn.src)) >= REGISTERS && !insn.is_ld_imm64() {
            self.unmodelled("registers beyond r10");
            return Ok(Next::End);
        }
        let writes = matches!(insn.class(), 1 | 4 | 7) || insn.is_ld_imm64();
        if writes && usize::from(insn.dst) == REGISTERS - 1 {
            return Err(Refusal::sure("writes the frame pointer"));
        }
        match insn.class() {
            0 if insn.is_ld_imm64() => {
                let value = self.immediate(at, insn);
                state.set(insn.dst, value);
            }
            0 => self.load_packet(insn, state)?,
            1 => {
                let base = state.read(insn.src)?;
                let access = access(at, insn, base);
                let value = self.load(access, state)?;
                let value = if insn.code & MODE == MEMSX { extended(value, access.byte_sz) } else { value };
                let value = self.numbered(value);
                state.set(insn.dst, value);
            }
            2 => {
                let base = state.read(insn.dst)?;
                if matches!(base.kind, Kind::Pointer(Pointer { region: Region::Context, .. })) {
                    // Taken since v6.4.
                    self.note(at, Refusal::doubtful("stores an immediate in the context"), state.doubt);
                }
                // Verifiers before v6.8 follow no immediates but 0.
                let value = Value { soft: insn.imm != 0, ..Value::constant(i64::from(insn.imm) as u64) };
                let access = access(at, insn, base);
                self.store(access, value, state)?;
            }
            3 if insn.code & MODE == ATOMIC => self.atomic(at, insn, state)?,
            3 => {
                let value = state.read(insn.src)?;
                let base = state.read(insn.dst)?;
                let access = access(at, insn, base);
                // What is spilled is a copy of the register.
                let value = self.numbered(value);
                state.set(insn.src, value);
                self.store(access, value, state)?;
            }
            4 | 7 => self.compute(insn, state)?,
            _ if insn.code == EXIT => return self.leave(at, state),
            _ if insn.code == JUMP_BY_REGISTER => {
                self.unmodelled("jumps by a register");
                return Ok(Next::End);
            }
            _ if insn.code == CALL => return self.call(at, insn, state),
            _ => return self.jump(at, insn, state),
        }
        Ok(Next::To(next))
    }

    /// A number of its own gets an id, so that its copies are known.
    fn numbered(&mut self, value: Value) -> Value {
        match value.kind {
            Kind::Scalar(scalar) if value.id == 0 && scalar.as_const().is_none() => {
                Value { id: self.fresh(), ..value }
            }
            _ => value,
        }
    }

    /// The value of a 64-bit immediate load.
    fn immediate(&mut self, at: usize, insn: Insn) -> Value {
        if let Some(&ext) = self.externs.get(&at) {
            if self.object.externs[ext].kind == ExternKind::Kconfig {
                return Value::pointer(Pointer::to(Region::Kconfig { ext }));
            }
            return self.extern_value(ext);
        }
        if let Some(&(map, value_off)) = self.maps.get(&at) {
            let region = if value_off.is_some() { Region::MapValue { map } } else { Region::Map { map } };
            return Value::pointer(Pointer { off: i64::from(value_off.unwrap_or(0)), ..Pointer::to(region) });
        }
        match insn.src {
            0 => {
                let high = self.insns.get(at + 1).map_or(0, |high| high.imm as u32);
                Value::constant(u64::from(high) << 32 | u64::from(insn.imm as u32))
            }
            PSEUDO_FUNC => match called(at, insn) {
                Some(to) => Value::pointer(Pointer::to(Region::Function { at: to })),
                None => Value::OPAQUE,
            },
            _ => self.unmodelled("variables of the kernel"),
        }
    }

    fn compute(&mut self, insn: Insn, state: &mut State) -> Result<(), Refusal> {
        let from_register = insn.code & 0x08 != 0;
        let operation = insn.code & 0xf0;
        let src = if from_register && !matches!(operation, op::NEG | op::END) {
            state.read(insn.src)?
        } else {
            Value::constant(i64::from(insn.imm) as u64)
        };
        let is_move = operation == op::MOV;
        if is_move && from_register {
            // The original gets the id as well.
            let numbered = self.numbered(src);
            state.set(insn.src, numbered);
        }
        let src = if is_move && from_register { state.reg(insn.src) } else { src };
        let dst = if is_move { Value::UNKNOWN } else { state.read(insn.dst)? };
        let fresh = self.fresh();
        let value = alu(insn, dst, src, self.object.big_endian, fresh)?;
        if matches!(value.kind, Kind::Pointer(_)) && !is_move {
            // Where a pointer leads rests on what the number is held for.
            self.lean([dst, src].iter().any(|value| value.soft && matches!(value.kind, Kind::Scalar(_))));
        }
        // Some verifiers take what is added to itself for moved by what it has become.
        let itself = operation == op::ADD && from_register && insn.src == insn.dst;
        let confused = itself && src.id != 0 && src.as_const().is_some();
        state.set(insn.dst, if confused { Value::VAGUE } else { value });
        Ok(())
    }

    fn atomic(&mut self, at: usize, insn: Insn, state: &mut State) -> Result<(), Refusal> {
        if insn.imm == LOAD_ACQ {
            let access = access(at, insn, state.read(insn.src)?);
            let value = self.load(access, state)?;
            state.set(insn.dst, value);
            return Ok(());
        }
        let value = state.read(insn.src)?;
        let base = state.read(insn.dst)?;
        let access = access(at, insn, base);
        if insn.imm == STORE_REL {
            return self.store(access, value, state);
        }
        if insn.imm == CMPXCHG {
            state.read(0)?;
        }
        if let Kind::Pointer(pointer) = base.kind
            && matches!(
                pointer.region,
                Region::Context | Region::Packet | Region::PacketMeta | Region::Sock(_)
            )
        {
            return Err(Refusal::sure(format!("changes {} atomically", pointer.region.name())));
        }
        let off = base.as_pointer().and_then(Pointer::const_off).map(|off| off + access.off);
        if let Some(off) = off.filter(|off| off.rem_euclid(access.byte_sz as i64) != 0) {
            let what = base.name();
            let byte_sz = access.byte_sz;
            return Err(Refusal::sure(format!(
                "changes {byte_sz} bytes at {off} of {what}, which is not aligned"
            )));
        }
        let old = self.load(access, state)?;
        self.store(access, Value::VAGUE, state)?;
        let on_stack = matches!(base.kind, Kind::Pointer(Pointer { region: Region::Stack { .. }, .. }));
        // Of the stack, verifiers since v7.0 know what was there.
        let vague = on_stack || old.kind == Kind::Opaque;
        let old = Value { vague, ..Value::scalar(Scalar::of_bytes(access.byte_sz as u32)) };
        if insn.imm == CMPXCHG {
            state.set(0, old);
        } else if insn.imm & FETCH != 0 {
            state.set(insn.src, old);
        }
        Ok(())
    }

    /// `BPF_LD_ABS` and `BPF_LD_IND`: bytes of the packet, by helpers of old.
    fn load_packet(&mut self, insn: Insn, state: &mut State) -> Result<(), Refusal> {
        const INDIRECT: u8 = 0x40;
        let skb = state.read(6)?;
        match skb.kind {
            Kind::Opaque => {}
            Kind::Pointer(pointer) if pointer.region == Region::Context => {
                if pointer.const_off() != Some(0) {
                    let why =
                        "loads from the packet while r6 points into the middle of the context".to_owned();
                    return Err(Refusal { why, sure: !skb.vague });
                }
            }
            _ => return Err(Refusal::sure("loads from the packet while r6 is not the context")),
        }
        if insn.code & MODE == INDIRECT {
            state.read(insn.src)?;
        }
        state.holds_nothing("loads from the packet")?;
        if state.frames.len() > 1 {
            // Where the packet is too short it returns, which newer verifiers walk.
            self.unmodelled("loads from the packet in functions");
        }
        state.frame_mut().regs[1..=5].fill(Value::UNSET);
        state.set(0, Value::UNKNOWN);
        Ok(())
    }

    fn leave(&mut self, at: usize, state: &mut State) -> Result<Next, Refusal> {
        let result = state.reg(0);
        let called_back = state.frame().callback;
        if state.frames.len() > 1 {
            let frame = state.frames.pop().expect("more than one frame");
            if matches!(result.kind, Kind::Pointer(Pointer { region: Region::Stack { .. }, .. })) {
                return Err(Refusal::sure("returns a pointer to its stack"));
            }
            if let Some(callback) = called_back {
                callback.check(result, state)?;
                return Ok(Next::End);
            }
            if state.lock.is_some() {
                // Functions may be left under a lock since v6.9.
                self.note(at, Refusal::doubtful("leaves a function while it holds a lock"), state.doubt);
            }
            state.set(0, result);
            return Ok(Next::To(frame.call + 1));
        }
        // Members of structures may return what they acquired.
        let gives_on = self.prog_type == ProgType::STRUCT_OPS;
        state.holds_nothing("ends").map_err(|refusal| Refusal { sure: !gives_on, ..refusal })?;
        if let Some((_, begun)) = state.sections.last().filter(|_| called_back.is_none()) {
            let why = format!("ends inside the section that instruction {begun} began");
            return Err(Refusal { why, sure: state.frame().call == 0 });
        }
        if let Some(callback) = called_back {
            callback.check(result, state)?;
            return Ok(Next::End);
        }
        // Functions that are walked by themselves begin behind the entry's own.
        let own = state.frame().call == 0;
        if result.kind == Kind::Unset {
            let refusal = Refusal::sure("ends without a result in r0");
            // Members of structures and LSM hooks may return nothing; so may global functions, since v7.1.
            let may = matches!(self.prog_type, ProgType::STRUCT_OPS | ProgType::LSM | ProgType::EXT);
            return Err(Refusal { sure: !may && own, ..refusal });
        }
        if !own && matches!(result.kind, Kind::Pointer(_)) {
            let why = format!("a global function returns {}; it must return a number", result.name());
            // Of what returns nothing, nothing is asked since v7.1.
            let sure = self.returns(state.frame().call);
            return Err(Refusal { why, sure });
        }
        match self.traits.returns {
            Some(range) if own => {
                self.lean(result.soft);
                let checked = range.check(result);
                // Verifiers before v6.8 take a result for another that they have seen leave here.
                let heard = self.traits.takes_all_loops == Some(true) || !self.left_well.contains(&at);
                if checked.is_ok() {
                    self.left_well.insert(at);
                }
                checked
                    .map(|()| Next::End)
                    .map_err(|refusal| Refusal { sure: refusal.sure && heard, ..refusal })
            }
            _ => Ok(Next::End),
        }
    }

    fn jump(&mut self, at: usize, insn: Insn, state: &mut State) -> Result<Next, Refusal> {
        const MAY_GOTO: u8 = 0xe0;
        let [next, to] = successors(insn, at);
        let (Some(next), Some(to)) = (next, to) else {
            return Ok(to.map_or(Next::End, Next::To));
        };
        let test = Test::of(insn, state);
        if test.condition == MAY_GOTO {
            // How often it is walked is for the verifier to know.
            state.doubt = true;
            self.fork(next, state.clone());
            return Ok(Next::To(to));
        }
        state.read(insn.dst)?;
        if let Some(src) = test.regs.1 {
            state.read(src)?;
        }
        let ways = test.ways();
        // What a register says that holds 0 is no test before v7.2.
        self.found.leans |= test.is_null_by_register();
        match ways {
            Ways::Only { taken } | Ways::Leaning { taken } => {
                self.found.leans |= ways == Ways::Leaning { taken };
                test.learn(taken, state);
                Ok(Next::To(if taken { to } else { next }))
            }
            Ways::Both | Ways::Either => {
                state.doubt |= ways == Ways::Either;
                let mut there = state.clone();
                if test.learn(true, &mut there) {
                    self.fork(to, there);
                }
                Ok(if test.learn(false, state) { Next::To(next) } else { Next::End })
            }
        }
    }
}

/// The object's maps, and behind them the maps that those hold.
fn all_maps(object: &BpfObject) -> impl Iterator<Item = Option<&MapDef>> {
    object.maps.iter().map(Some).chain(object.maps.iter().map(|map| map.inner.as_deref()))
}

fn access(at: usize, insn: Insn, base: Value) -> Access {
    Access { at, base, off: i64::from(insn.off), byte_sz: access_sz(insn) as usize }
}

/// The first instruction of the function that a call or a function's address leads to.
pub(super) fn called(at: usize, insn: Insn) -> Option<usize> {
    usize::try_from(at as i64 + 1 + i64::from(insn.imm)).ok()
}

/// A loaded value, sign-extended.
fn extended(value: Value, byte_sz: usize) -> Value {
    match value.kind {
        Kind::Scalar(scalar) => {
            let extended = scalar.truncated(byte_sz as u32).sign_extended(8 * byte_sz as u32);
            let vague = value.vague || extended.as_const().is_none();
            Value { kind: Kind::Scalar(extended), id: 0, vague, ..value }
        }
        _ => value,
    }
}
