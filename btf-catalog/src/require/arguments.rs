//! Which arguments of a traced function an entry takes for addresses.

use crate::insn::{CALL, Insn};
use crate::reach::{slots, successors};

/// What a register holds, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// No way that was followed leads here yet.
    Unset,
    Context,
    /// The word of that number of the context: an argument.
    Argument(u32),
    Other,
}

impl Holds {
    fn join(self, other: Holds) -> Holds {
        match (self, other) {
            (Holds::Unset, known) | (known, Holds::Unset) => known,
            (one, another) if one == another => one,
            _ => Holds::Other,
        }
    }
}

/// `(instruction, word of the context)` of every access of memory through a word of the context that every way to it
/// agrees on. Only in the entry's own function, `insns`, and only while the word stays in registers.
pub fn dereferenced_arguments(insns: &[Insn]) -> Vec<(usize, u32)> {
    let mut before = vec![[Holds::Unset; 16]; insns.len()];
    let Some(first) = before.first_mut() else { return Vec::new() };
    *first = [Holds::Other; 16];
    first[1] = Holds::Context;
    // What a register holds only goes from unset over one value to other, so this comes to an end.
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        let Some(&insn) = insns.get(at) else { continue };
        let after = step(insn, before[at]);
        for to in successors(insn, at).into_iter().flatten() {
            let Some(known) = before.get_mut(to) else { continue };
            let joined = std::array::from_fn(|register| known[register].join(after[register]));
            if joined != *known {
                *known = joined;
                open.push(to);
            }
        }
    }
    let through = slots(insns).filter_map(|(at, insn)| {
        let address = match insn.class() {
            1 => insn.src,
            2 | 3 => insn.dst,
            _ => return None,
        };
        match before[at][usize::from(address)] {
            Holds::Argument(word) => Some((at, word)),
            _ => None,
        }
    });
    through.collect()
}

fn step(insn: Insn, mut holds: [Holds; 16]) -> [Holds; 16] {
    const LOAD_8: u8 = 0x79;
    const MOVE: u8 = 0xbf;
    const ADD_IMMEDIATE: u8 = 0x07;
    let (dst, src) = (usize::from(insn.dst), usize::from(insn.src));
    match insn.class() {
        1 => {
            let word = u32::try_from(insn.off).ok().filter(|off| off % 8 == 0).map(|off| off / 8);
            holds[dst] = match (holds[src], word) {
                (Holds::Context, Some(word)) if insn.code == LOAD_8 => Holds::Argument(word),
                _ => Holds::Other,
            };
        }
        7 if insn.code == MOVE && insn.off == 0 => holds[dst] = holds[src],
        // A place behind an address is still one; behind the context it is another word of it.
        7 if insn.code == ADD_IMMEDIATE && matches!(holds[dst], Holds::Argument(_)) => {}
        0 | 4 | 7 => holds[dst] = Holds::Other,
        5 if insn.code == CALL => holds[..6].fill(Holds::Other),
        _ => {}
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::EXIT;

    #[test]
    fn an_argument_is_an_address_where_every_way_agrees() {
        let load = |dst, src, off| Insn { code: 0x79, dst, src, off, ..Insn::default() };
        let copy = |dst, src| Insn { code: 0xbf, dst, src, ..Insn::default() };
        let branch = Insn { code: 0x15, dst: 2, off: 1, ..Insn::default() };
        let exit = Insn { code: EXIT, ..Insn::default() };
        // r6 = context; r2 = word 1 of it; one way keeps it, the other makes it word 0.
        let agreed = [copy(6, 1), load(2, 6, 8), branch, load(2, 6, 8), load(0, 2, 48), exit];
        assert_eq!(dereferenced_arguments(&agreed), [(4, 1)]);
        let disputed = [copy(6, 1), load(2, 6, 8), branch, load(2, 6, 0), load(0, 2, 48), exit];
        assert_eq!(dereferenced_arguments(&disputed), []);
        assert_eq!(dereferenced_arguments(&[]), []);
    }
}
