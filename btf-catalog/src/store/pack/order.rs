//! The order of types or strings, told as far as it differs from that of the base.
//!
//! Two builds of one kernel have nearly the same types, but neither in the same places nor in the same order: pahole
//! encodes compilation units in parallel. What comes next is guessed from what stands next in the base, and only wrong
//! guesses are written down.

use super::PackError;
use super::stream::{Column, Reader, Writer};

/// Where the three columns of an order are.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) run: Column,
    pub(super) turn: Column,
    pub(super) jump: Column,
}

/// A turn: something new, not of the base.
const NEW: u64 = 0;
/// A turn: back to where one of the last jumps left from.
const BACK: u64 = 1;
/// Places that are remembered to come back to.
const PLACES: usize = 4;
/// A turn: the next element is named by its place.
const EXACT: u64 = BACK + PLACES as u64;
/// A turn: a jump, after which the guess is right.
const JUMP: u64 = EXACT + 1;

/// Guesses what comes next. Places are those in the base's order.
struct Guess<'a> {
    /// For each place the next one that was not used, itself included; shortened as it is followed.
    free: Vec<u32>,
    /// The place that must be used before this one, if it was not: a function's prototype is written before it.
    first: &'a [u32],
    at: u32,
    back: [u32; PLACES],
}

/// In `first`: no other place comes first.
pub(super) const NONE: u32 = u32::MAX;

impl<'a> Guess<'a> {
    fn new(len: usize, first: &'a [u32]) -> Guess<'a> {
        Guess { free: (0..=len as u32).collect(), first, at: 0, back: [0; PLACES] }
    }

    fn used(&self, place: u32) -> bool {
        self.free[place as usize] != place
    }

    fn next_free(&mut self, place: u32) -> u32 {
        let mut end = place;
        while self.free[end as usize] != end {
            end = self.free[end as usize];
        }
        let mut at = place;
        while self.free[at as usize] != end && at != end {
            at = std::mem::replace(&mut self.free[at as usize], end);
        }
        end
    }

    /// The place after `at`, or what has to come before it; `None` at the end.
    fn after(&mut self, at: u32) -> Option<u32> {
        let next = self.next_free(at);
        if next as usize + 1 == self.free.len() {
            return None;
        }
        let first = self.first.get(next as usize).copied().unwrap_or(NONE);
        Some(if first == NONE || self.used(first) { next } else { first })
    }

    fn take(&mut self, place: u32, from: u32) {
        // What was put first does not move the place: the one it was put before comes next.
        let next = self.next_free(from);
        let before = self.first.get(next as usize) == Some(&place) && next != place;
        self.free[place as usize] = place + 1;
        self.at = if before { from } else { place + 1 };
    }

    fn remember(&mut self, place: u32) {
        self.back.rotate_right(1);
        self.back[0] = place;
    }
}

/// Writes `sequence`: places of the base, each at most once, and `None` for what is new.
pub(super) fn write(
    out: &mut Writer,
    columns: Columns,
    places: usize,
    first: &[u32],
    sequence: &[Option<u32>],
) {
    let mut guess = Guess::new(places, first);
    let mut run = 0;
    let mut index = 0;
    while let Some(&element) = sequence.get(index) {
        let Some(place) = element else {
            let count = sequence[index..].iter().take_while(|element| element.is_none()).count();
            out.put(columns.run, run);
            out.put(columns.turn, NEW);
            out.put(columns.jump, count as u64);
            run = 0;
            index += count;
            continue;
        };
        index += 1;
        let at = guess.at;
        if guess.after(at) == Some(place) {
            run += 1;
            guess.take(place, at);
            continue;
        }
        out.put(columns.run, std::mem::take(&mut run));
        if let Some(slot) = (0..PLACES).find(|slot| guess.after(guess.back[*slot]) == Some(place)) {
            out.put(columns.turn, BACK + slot as u64);
            let from = std::mem::replace(&mut guess.back[slot], at);
            guess.take(place, from);
            continue;
        }
        // If the next one is what this one has to be put before, it is the goal.
        let next = sequence.get(index).copied().flatten();
        let goal = next.filter(|next| first.get(*next as usize) == Some(&place) && !guess.used(*next));
        let goal = goal.unwrap_or(place);
        let turn = if guess.after(goal) == Some(place) { JUMP } else { EXACT };
        let to = if turn == JUMP { goal } else { place };
        out.put(columns.turn, turn);
        out.put_signed(columns.jump, i64::from(to) - i64::from(at));
        guess.remember(at);
        guess.take(place, to);
    }
    out.put(columns.run, run);
}

/// Reads a sequence of `len` elements.
pub(super) fn read(
    input: &mut Reader,
    columns: Columns,
    places: usize,
    first: &[u32],
    len: usize,
) -> Result<Vec<Option<u32>>, PackError> {
    let wrong = || columns.turn.range();
    let mut guess = Guess::new(places, first);
    let mut sequence = Vec::with_capacity(len.min(places + input.left(Column::Kind)));
    loop {
        let run = input.get(columns.run)?;
        for _ in 0..run {
            let at = guess.at;
            let place = guess.after(at).ok_or_else(wrong)?;
            guess.take(place, at);
            sequence.push(Some(place));
        }
        if sequence.len() >= len {
            break;
        }
        let turn = input.get(columns.turn)?;
        if turn == NEW {
            let count = input.get(columns.jump)? as usize;
            if count > len - sequence.len() {
                return Err(wrong());
            }
            sequence.resize(sequence.len() + count, None);
            continue;
        }
        let at = guess.at;
        let (place, from) = if turn < EXACT {
            let from = std::mem::replace(&mut guess.back[(turn - BACK) as usize], at);
            (guess.after(from).ok_or_else(wrong)?, from)
        } else {
            let to = i64::from(at).checked_add(input.get_signed(columns.jump)?);
            let to = to.and_then(|to| u32::try_from(to).ok()).filter(|to| (*to as usize) < places);
            let to = to.ok_or_else(wrong)?;
            guess.remember(at);
            (if turn == JUMP { guess.after(to).ok_or_else(wrong)? } else { to }, to)
        };
        if guess.used(place) {
            return Err(wrong());
        }
        guess.take(place, from);
        sequence.push(Some(place));
    }
    if sequence.len() == len { Ok(sequence) } else { Err(wrong()) }
}
