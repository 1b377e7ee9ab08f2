//! Where control can go: successors, the places where ways meet, live registers, and what every way passes.

use super::Walk;
use crate::insn::{CALL, EXIT, Insn, JUMP_BY_REGISTER, PSEUDO_KFUNC_CALL};
use crate::object::Function;

/// Instructions with their index, without the second halves of 64-bit loads.
pub(crate) fn slots(insns: &[Insn]) -> impl Iterator<Item = (usize, Insn)> {
    let mut second_half = false;
    insns.iter().copied().enumerate().filter(move |(_, insn)| {
        let skip = std::mem::take(&mut second_half);
        second_half = !skip && insn.is_ld_imm64();
        !skip
    })
}

/// Where control can go from the instruction at `at`: behind it, and where it jumps.
pub(crate) fn successors(insn: Insn, at: usize) -> [Option<usize>; 2] {
    let width = if insn.is_ld_imm64() { 2 } else { 1 };
    let (next, class, op) = (at + width, insn.class(), insn.code & 0xf0);
    let jump = |distance: i64| usize::try_from(at as i64 + 1 + distance).ok();
    match class {
        _ if insn.code == EXIT => [None, None],
        _ if insn.code == CALL => [Some(next), None],
        5 if op == 0 => [None, jump(i64::from(insn.off))],
        // A long jump keeps its distance in the immediate.
        6 if op == 0 => [None, jump(i64::from(insn.imm))],
        5 | 6 => [Some(next), jump(i64::from(insn.off))],
        _ => [Some(next), None],
    }
}

/// Where the control flow of a function breaks the verifier's rules, whatever the branches test: the instruction, and what
/// is wrong with it (`check_subprogs()`, `check_cfg()` of kernel/bpf/verifier.c, v5.10 to v7.2).
///
/// `functions` are the first instructions of the functions, ascending, the first of them 0.
pub fn broken_flow(insns: &[Insn], functions: &[usize]) -> Option<(usize, &'static str)> {
    if insns.iter().any(|insn| insn.code == JUMP_BY_REGISTER) {
        return None;
    }
    let ends = functions.iter().skip(1).copied().chain([insns.len()]);
    functions.iter().copied().zip(ends).find_map(|(start, end)| {
        let mut reached = vec![false; end.checked_sub(start)?];
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            let place = reached.get_mut(at.checked_sub(start)?)?;
            if std::mem::replace(place, true) {
                continue;
            }
            for to in successors(*insns.get(at)?, at).into_iter().flatten() {
                if !(start..end).contains(&to) {
                    return Some((at, "control leaves the function here"));
                }
                open.push(to);
            }
        }
        let mut unreached = slots(&insns[start..end]).filter(|(at, _)| !reached[*at]);
        unreached.next().map(|(at, _)| (start + at, "nothing leads to this instruction"))
    })
}

/// The instructions from which no way leads to an end of their function: a verifier that comes there walks until it finds
/// that nothing changes, or too many instructions, and refuses the program.
///
/// Calls of kernel functions may end it, and jumps through a table lead anywhere.
pub fn without_end(insns: &[Insn]) -> Vec<usize> {
    let mut before = vec![Vec::new(); insns.len()];
    let mut open = Vec::new();
    for (at, insn) in slots(insns) {
        let ends = insn.code == EXIT
            || insn.code == CALL && insn.src == PSEUDO_KFUNC_CALL
            || insn.code == JUMP_BY_REGISTER;
        for to in successors(insn, at).into_iter().flatten() {
            match before.get_mut(to) {
                Some(before) => before.push(at),
                None => open.push(at),
            }
        }
        if ends {
            open.push(at);
        }
    }
    let mut ends = vec![false; insns.len()];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut ends[at], true) {
            open.extend(&before[at]);
        }
    }
    slots(insns).map(|(at, _)| at).filter(|at| !ends[*at]).collect()
}

/// An instruction that does not jump and leads back into a loop, which was entered further down: `check_cfg()` before v6.8 takes
/// ways back from jumps alone, in the order in which it walks.
pub(crate) fn falls_into_loop(insns: &[Insn], functions: &[Function]) -> Option<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum Walked {
        No,
        Here,
        Done,
    }
    let mut walked = vec![Walked::No; insns.len()];
    for function in functions {
        let mut way = vec![(function.insn_off, 0)];
        while let Some((at, ways)) = way.pop() {
            let Some(insn) = insns.get(at) else { continue };
            if ways == 0 {
                if walked[at] != Walked::No {
                    continue;
                }
                walked[at] = Walked::Here;
            }
            let Some(to) = successors(*insn, at).get(ways).copied() else {
                walked[at] = Walked::Done;
                continue;
            };
            way.push((at, ways + 1));
            let Some(to) = to.filter(|to| *to < insns.len()) else { continue };
            let jumps = matches!(insn.class(), 5 | 6) && insn.code != CALL;
            match walked[to] {
                Walked::Here if !jumps => return Some(at),
                Walked::No => way.push((to, 0)),
                _ => {}
            }
        }
    }
    None
}

/// Which instructions ways can meet at: targets of jumps, and where a call returns to.
pub(crate) fn meeting_points(insns: &[Insn]) -> Vec<bool> {
    let mut points = vec![false; insns.len()];
    for (at, insn) in slots(insns) {
        let [next, jump] = successors(insn, at);
        let returns = if insn.code == CALL && insn.src == crate::insn::PSEUDO_CALL { next } else { None };
        for to in [jump, returns].into_iter().flatten() {
            if let Some(point) = points.get_mut(to) {
                *point = true;
            }
        }
    }
    points
}

/// Registers whose values may still be read before each instruction, one bit each.
pub(crate) fn live_registers(insns: &[Insn]) -> Vec<u16> {
    let mut live = vec![0u16; insns.len()];
    let mut before: Vec<Vec<u32>> = Vec::new();
    before.resize(insns.len(), Vec::new());
    for (at, insn) in slots(insns) {
        for to in successors(insn, at).into_iter().flatten().filter(|to| *to < insns.len()) {
            before[to].push(at as u32);
        }
    }
    let mut open: Vec<usize> = slots(insns).map(|(at, _)| at).collect();
    while let Some(at) = open.pop() {
        let insn = insns[at];
        let out = successors(insn, at)
            .into_iter()
            .flatten()
            .filter_map(|to| live.get(to))
            .fold(0, |all, live| all | live);
        let (reads, writes) = registers(insn);
        let into = reads | (out & !writes);
        if into | live[at] != live[at] {
            live[at] |= into;
            open.extend(before[at].iter().map(|at| *at as usize));
        }
    }
    live
}

/// `(read, written)` registers of an instruction, one bit each.
fn registers(insn: Insn) -> (u16, u16) {
    const ARGUMENTS: u16 = 0b11_1110;
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let from_register = insn.code & 0x08 != 0;
    let op = insn.code & 0xf0;
    match insn.class() {
        _ if insn.code == EXIT => (1, 0),
        _ if insn.code == CALL => (ARGUMENTS, 1 | ARGUMENTS),
        0 if insn.is_ld_imm64() => (0, dst),
        // Loads of packet bytes take the context in r6.
        0 => (1 << 6 | src, 1 | ARGUMENTS),
        1 => (src, dst),
        2 => (dst, 0),
        // Atomic operations may write r0 and their source; what is not known to be overwritten stays live.
        3 => (dst | src | 1, 0),
        4 | 7 if op == 0xb0 => (if from_register { src } else { 0 }, dst),
        4 | 7 => (dst | if from_register && op != 0xd0 { src } else { 0 }, dst),
        _ if op == 0 => (0, 0),
        _ => (dst | if from_register { src } else { 0 }, 0),
    }
}

/// Raises to [`Walk::Sure`] what every way from a surely walked instruction to the end of its function passes.
///
/// `steps` has bit 0 for instructions that were left to the next one and bit 1 for jumps that were taken; `span` is one
/// function. A walk that does not end is no walk of a program that loads.
pub(super) fn raise_what_all_ways_pass(
    insns: &[Insn],
    span: std::ops::Range<usize>,
    steps: &[u8],
    walks: &mut [Walk],
) {
    let (start, len) = (span.start, span.len());
    // The end of all ways is node `len`.
    let next = |at: usize| -> [Option<usize>; 2] {
        let node = |to: Option<usize>| to.and_then(|to| to.checked_sub(start)).filter(|to| *to < len);
        let insn = insns[start + at];
        if insn.code == EXIT {
            return [Some(len), None];
        }
        let [fall, jump] = successors(insn, start + at);
        [node(fall).filter(|_| steps[start + at] & 1 != 0), node(jump).filter(|_| steps[start + at] & 2 != 0)]
    };
    // Reverse post-order of the reversed graph, from the end.
    let mut before = vec![Vec::new(); len + 1];
    for at in (0..len).filter(|at| walks[start + at] != Walk::Never) {
        for to in next(at).into_iter().flatten() {
            before[to].push(at as u32);
        }
    }
    let mut order = Vec::new();
    let mut rank = vec![usize::MAX; len + 1];
    let mut path = vec![(len, 0)];
    rank[len] = 0;
    while let Some((at, branch)) = path.pop() {
        if let Some(&from) = before[at].get(branch) {
            path.push((at, branch + 1));
            if rank[from as usize] == usize::MAX {
                rank[from as usize] = 0;
                path.push((from as usize, 0));
            }
        } else {
            order.push(at);
        }
    }
    order.reverse();
    order.iter().enumerate().for_each(|(position, at)| rank[*at] = position);
    // Immediate post-dominators, by the algorithm of Cooper, Harvey and Kennedy.
    let mut passes = vec![usize::MAX; len + 1];
    passes[len] = len;
    let mut changed = true;
    let mut left = MAX_STEPS_PER_INSN * (len + 1);
    while changed && left > 0 {
        changed = false;
        left = left.saturating_sub(order.len());
        for &at in &order[1..] {
            let mut common = usize::MAX;
            for to in next(at).into_iter().flatten().filter(|to| passes[*to] != usize::MAX) {
                common = if common == usize::MAX { to } else { meet(common, to, &passes, &rank, &mut left) };
            }
            if common != passes[at] {
                passes[at] = common;
                changed = true;
            }
        }
    }
    if left == 0 {
        return;
    }
    for at in 0..len {
        let mut at = at;
        while walks[start + at] == Walk::Sure && passes[at] < len && walks[start + passes[at]] != Walk::Sure {
            at = passes[at];
            walks[start + at] = Walk::Sure;
        }
    }
}

/// Steps, for each instruction of a function, after which the search for what all ways pass is given up. Code that
/// compilers make needs two or three rounds of a few steps.
const MAX_STEPS_PER_INSN: usize = 256;

/// Where two ways meet; any place once `left`, the steps that may still be taken, is 0.
fn meet(mut a: usize, mut b: usize, passes: &[usize], rank: &[usize], left: &mut usize) -> usize {
    while a != b && *left > 0 {
        *left -= 1;
        if rank[a] > rank[b] {
            a = passes[a];
        } else {
            b = passes[b];
        }
    }
    a
}
