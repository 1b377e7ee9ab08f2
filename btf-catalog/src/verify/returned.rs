//! What may be returned: by entries, by functions that the kernel calls back.

use super::ReturnRange;
use super::state::{Callback, State};
use super::value::{Kind, Value};
use super::walk::Refusal;

impl ReturnRange {
    /// Checks what an entry returns (`check_return_code()`).
    pub(super) fn check(self, result: Value) -> Result<(), Refusal> {
        let ReturnRange { min, max, half } = self;
        let number = match result.kind {
            Kind::Scalar(number) => number,
            Kind::Opaque => {
                let why = format!(
                    "returns something that is not modelled; it must return a number of {min} to {max}"
                );
                return Err(Refusal::doubtful(why));
            }
            _ => {
                let why = format!("returns {}; it must return a number of {min} to {max}", result.name());
                return Err(Refusal::sure(why));
            }
        };
        let seen = if half { number.truncated(4).widened() } else { Some(number) };
        let bounds = seen.map(|number| (number.smin, number.smax));
        let inside = bounds.is_some_and(|(low, high)| min <= low && high <= max);
        if inside {
            return Ok(());
        }
        let what = match bounds {
            Some((low, high)) if low == high => low.to_string(),
            Some((i64::MIN, i64::MAX)) | None => "a number that may be anything".to_owned(),
            Some((low, high)) => format!("a number of {low} to {high}"),
        };
        let constant = bounds.is_some_and(|(low, high)| low == high);
        // Of a part, verifiers may know bounds that the whole does not tell.
        let sure = constant || !result.vague && !half;
        Err(Refusal { why: format!("returns {what}; it must return a number of {min} to {max}"), sure })
    }
}

impl Callback {
    /// Checks what a function returns that is called back, and that it gave back what it acquired.
    pub(super) fn check(self, result: Value, state: &State) -> Result<(), Refusal> {
        if state.references.len() > self.references {
            return Err(Refusal::sure("a function that is called back ends while it holds what it acquired"));
        }
        if result.kind == Kind::Unset {
            return Err(Refusal::sure("a function that is called back ends without a result in r0"));
        }
        ReturnRange { min: 0, max: self.max, half: false }.check(result)
    }
}
