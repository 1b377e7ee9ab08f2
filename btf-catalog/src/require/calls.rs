//! Which function of an entry calls which, and what the kernel limits along the ways: `check_max_stack_depth()` of
//! kernel/bpf/verifier.c, v5.10 to v7.2.

use crate::insn::{CALL, Insn, PSEUDO_CALL, PSEUDO_FUNC};
use crate::object::Entry;
use crate::reach::slots;
use crate::uapi::HelperId;

/// The longest chains of calls from the entry on. Calls that nothing walks count as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallChains {
    /// Functions on the longest chain; the kernel allows 8, since v7.2 16.
    pub frames: u32,
    /// As above, counted anew from each function that is verified by itself, as kernels since v7.1 do.
    pub static_frames: u32,
    /// Bytes of stack on the deepest chain. The kernel allows 512.
    pub stack_byte_sz: u32,
    /// Bytes of stack in use where a function is called that makes a tail call; the kernel allows less than 256.
    pub below_tail_call_byte_sz: u32,
}

/// What is counted of chains of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counting {
    /// Functions that are handed over to be called back count as called where that is done. Kernels since v5.13 count them
    /// so, but for those that are called back later (`bpf_timer_set_callback()`).
    pub callbacks: bool,
    /// What a function has on the stack is a multiple of so many bytes: 16 since v6.8 (`round_up_stack_depth()`), where
    /// programs are compiled; 32 elsewhere, and at least as many.
    pub granule_byte_sz: u32,
}

impl Counting {
    /// As the most lenient kernel counts: what is refused so is refused everywhere.
    pub const LENIENT: Counting = Counting { callbacks: false, granule_byte_sz: 16 };
}

/// The chains of `insns`, whose functions use `stack` bytes of stack each. `None` for recursion, which no kernel takes.
pub fn call_chains(entry: &Entry, insns: &[Insn], stack: &[u32], counting: Counting) -> Option<CallChains> {
    let functions = &entry.functions;
    let number = |at: usize| functions.partition_point(|function| function.insn_off <= at).checked_sub(1);
    let mut calls: Vec<Vec<usize>> = vec![Vec::new(); functions.len()];
    let mut tail_calls = vec![false; functions.len()];
    for (at, insn) in slots(insns) {
        let Some(from) = number(at) else { continue };
        let to = usize::try_from(at as i64 + 1 + i64::from(insn.imm)).ok().and_then(number);
        let hands_over = counting.callbacks && insn.is_ld_imm64() && insn.src == PSEUDO_FUNC;
        match (insn.src, to) {
            (_, Some(to)) if hands_over => calls[from].push(to),
            (PSEUDO_CALL, Some(to)) if insn.code == CALL => calls[from].push(to),
            (0, _) if insn.code == CALL => {
                tail_calls[from] |= HelperId(insn.imm.cast_unsigned()).name() == Some("tail_call");
            }
            _ => {}
        }
    }
    let order = callees_first(&mut calls)?;
    // Where they are larger, the kernel counts one even of what uses none.
    let least = u32::from(counting.granule_byte_sz > Counting::LENIENT.granule_byte_sz);
    let own = |function: usize| {
        stack.get(function).map_or(0, |sz| (*sz).max(least).next_multiple_of(counting.granule_byte_sz))
    };
    let mut above = vec![0; functions.len()];
    for &function in order.iter().rev() {
        for &callee in &calls[function] {
            above[callee] = above[callee].max(above[function] + own(function));
        }
    }
    // Of each function and all that it calls: functions on a chain, those up to one that is verified by itself, bytes.
    let mut below = vec![(0, 0, 0); functions.len()];
    for &function in &order {
        let mut longest = (0, 0, 0);
        for &callee in &calls[function] {
            let (frames, static_frames, byte_sz) = below[callee];
            let static_frames = if functions[callee].global { 0 } else { static_frames };
            longest = (longest.0.max(frames), longest.1.max(static_frames), longest.2.max(byte_sz));
        }
        below[function] = (longest.0 + 1, longest.1 + 1, longest.2 + own(function));
    }
    let (frames, _, stack_byte_sz) = below.first().copied()?;
    let with_tail_call = order.iter().filter(|function| **function > 0 && tail_calls[**function]);
    Some(CallChains {
        frames,
        static_frames: order.iter().map(|function| below[*function].1).max()?,
        stack_byte_sz,
        below_tail_call_byte_sz: with_tail_call.map(|function| above[*function]).max().unwrap_or(0),
    })
}

/// The functions that the first one leads to, each behind all that it calls.
fn callees_first(calls: &mut [Vec<usize>]) -> Option<Vec<usize>> {
    for calls in calls.iter_mut() {
        calls.sort_unstable();
        calls.dedup();
    }
    let (mut done, mut on_path) = (vec![false; calls.len()], vec![false; calls.len()]);
    let (mut order, mut path) = (Vec::new(), vec![(0usize, 0usize)]);
    while let Some((function, branch)) = path.pop() {
        if branch == 0 {
            *on_path.get_mut(function)? = true;
        }
        if let Some(&to) = calls[function].get(branch) {
            if on_path[to] {
                return None;
            }
            path.push((function, branch + 1));
            if !done[to] {
                path.push((to, 0));
            }
        } else {
            order.push(function);
            done[function] = true;
            on_path[function] = false;
        }
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::EXIT;
    use crate::object::Function;

    /// Functions of the calls that are given, by the number of the callee, or -1 for a tail call, each with an exit.
    fn entry(functions: &[(bool, &[i64])]) -> Entry {
        let starts: Vec<usize> = functions
            .iter()
            .scan(0, |at, (_, calls)| Some(std::mem::replace(at, *at + calls.len() + 1)))
            .collect();
        let mut entry = Entry::default();
        for (index, (global, calls)) in functions.iter().enumerate() {
            let name = index.to_string();
            let insn_off = entry.insns.len();
            entry.functions.push(Function { name, insn_off, type_id: None, global: *global });
            for callee in *calls {
                let here = entry.insns.len() as i32;
                entry.insns.push(match usize::try_from(*callee) {
                    Ok(callee) => {
                        let imm = starts[callee] as i32 - here - 1;
                        Insn { code: CALL, src: PSEUDO_CALL, imm, ..Insn::default() }
                    }
                    Err(_) => Insn { code: CALL, imm: 12, ..Insn::default() },
                });
            }
            entry.insns.push(Insn { code: EXIT, ..Insn::default() });
        }
        entry
    }

    #[test]
    fn the_longest_chain_and_the_deepest() {
        let entry = entry(&[(true, &[1, 2]), (false, &[3]), (false, &[]), (true, &[2, -1])]);
        let chains =
            call_chains(&entry, &entry.insns, &[8, 200, 400, 17], Counting::LENIENT).expect("no recursion");
        let expected = CallChains {
            frames: 4,
            static_frames: 2,
            stack_byte_sz: 16 + 208 + 32 + 400,
            below_tail_call_byte_sz: 16 + 208,
        };
        assert_eq!(chains, expected);
        let older = Counting { granule_byte_sz: 32, ..Counting::LENIENT };
        let chains = call_chains(&entry, &entry.insns, &[8, 200, 400, 0], older).expect("no recursion");
        assert_eq!((chains.stack_byte_sz, chains.below_tail_call_byte_sz), (32 + 224 + 32 + 416, 32 + 224));
    }

    #[test]
    fn what_is_handed_over_to_be_called_back_counts_where_that_is_asked_for() {
        let mut entry = entry(&[(true, &[]), (false, &[])]);
        let load = Insn { code: 0x18, src: PSEUDO_FUNC, imm: 2, ..Insn::default() };
        entry.insns.splice(0..0, [load, Insn::default()]);
        entry.functions[1].insn_off += 2;
        let of = |counting| call_chains(&entry, &entry.insns, &[400, 240], counting).expect("no recursion");
        let called_back = of(Counting { callbacks: true, ..Counting::LENIENT });
        assert_eq!((of(Counting::LENIENT).frames, of(Counting::LENIENT).stack_byte_sz), (1, 400));
        assert_eq!((called_back.frames, called_back.stack_byte_sz), (2, 640));
    }

    #[test]
    fn a_function_that_calls_itself_has_no_longest_chain() {
        let alone = entry(&[(true, &[])]);
        assert_eq!(
            call_chains(&alone, &alone.insns, &[0], Counting::LENIENT).map(|chains| chains.frames),
            Some(1)
        );
        let twice = entry(&[(true, &[1]), (true, &[2]), (true, &[1])]);
        assert_eq!(call_chains(&twice, &twice.insns, &[0; 3], Counting::LENIENT), None);
    }
}
