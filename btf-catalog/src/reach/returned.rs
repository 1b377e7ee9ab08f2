//! With what a walk leaves the entry.

use super::state::Value;
use std::ops::RangeInclusive;

/// What `r0` holds where a walk of the verifier leaves the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Returned {
    /// Index of the instruction that leaves.
    pub insn_off: usize,
    /// Bounds of the number, signed; `None` for what may be a pointer.
    whole: Option<(i64, i64)>,
    /// Bounds of its lower 32 bits, signed.
    half: Option<(i64, i64)>,
    pointer: bool,
    soft: bool,
    sure: bool,
}

impl Returned {
    pub(super) fn new(insn_off: usize, value: Value, sure: bool) -> Returned {
        let number = value.as_scalar();
        let half = number.and_then(|number| number.truncated(4).widened());
        Returned {
            insn_off,
            whole: number.map(|number| (number.smin, number.smax)),
            half: half.map(|half| (half.smin, half.smax)),
            pointer: value.is_pointer(),
            soft: value.soft,
            sure,
        }
    }

    /// Whether a program may return it that must return a number of that range: of its lower 32 bits if `half`.
    ///
    /// `Some(true)` where every verifier since v5.10 sees that it may, `Some(false)` where every one walks there and
    /// sees a number outside or a pointer. `None` where verifiers may differ or know more than this walk does.
    pub fn within(&self, range: &RangeInclusive<i64>, half: bool) -> Option<bool> {
        let number = if half { self.half } else { self.whole };
        match number {
            Some((min, max)) if range.contains(&min) && range.contains(&max) => (!self.soft).then_some(true),
            // A range that is only partly inside may be known better; a constant is what it is.
            Some((min, max)) if min == max => self.sure.then_some(false),
            None if self.pointer => self.sure.then_some(false),
            _ => None,
        }
    }

    /// The constant that is returned, in the same view.
    pub fn constant(&self, half: bool) -> Option<i64> {
        let (min, max) = if half { self.half } else { self.whole }?;
        (min == max).then_some(min)
    }
}
