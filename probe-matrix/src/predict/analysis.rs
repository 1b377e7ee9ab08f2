//! What the verifier finds out by its own analysis, as far as the walk of [`btf_catalog::verify`] knows it.

use super::reached::Reached;
use super::told;
use crate::facts::{Evidence, Support};
use crate::verdict::{Check, Outcome, Stage};
use btf_catalog::reach::Constants;
use btf_catalog::verify::{Traits, Verified};

/// Things that are not known which a check names; there may be dozens.
const NAMED: usize = 3;

/// What is not known of the instructions.
pub(super) struct Open {
    /// None of them: relocation failed, or there were no types to relocate against.
    pub(super) insns: bool,
    /// Some, which a module has another answer for.
    pub(super) some: bool,
}

impl Reached<'_> {
    /// What every verifier refuses; otherwise, where the walk does not show that every verifier accepts the entry, a check
    /// that makes the verdict no more than assumed. `returns_allowed` says whether every verifier sees that the program
    /// may return what it does.
    pub(super) fn analysis(
        &self,
        constants: &Constants,
        open: &Open,
        traits: Traits,
        returns_allowed: bool,
    ) -> Option<Check> {
        if open.insns {
            return Some(self.assumed("its instructions are not known".to_owned()));
        }
        let verified = self.verified(constants, traits);
        if let Some(fault) = verified.refused() {
            let place = self.place(fault.insn_off);
            if !open.some {
                return Some(told(Stage::Load, "PTL0226", place, "object", Support::No, &fault.why));
            }
            return Some(self.assumed(format!("{place} {}", fault.why)));
        }
        if open.some {
            return Some(self.assumed("some of its instructions depend on modules".to_owned()));
        }
        let clean = returns_allowed && verified.is_clean();
        (!clean).then(|| self.assumed(self.doubts(&verified)))
    }

    /// Why the walk does not show that every verifier accepts the entry.
    fn doubts(&self, verified: &Verified) -> String {
        let faults =
            verified.faults.iter().map(|fault| format!("{} {}", self.place(fault.insn_off), fault.why));
        let unknown = verified.not_modelled.iter().map(|what| format!("{what} is not modelled"));
        let doubts: Vec<String> = faults.chain(unknown).collect();
        let named = doubts.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        match doubts.len().checked_sub(NAMED) {
            _ if !verified.complete => "its ways were not all walked".to_owned(),
            _ if doubts.is_empty() && verified.leans => {
                "some verifiers know less than the walk relies on".to_owned()
            }
            _ if doubts.is_empty() => "what it returns is not known".to_owned(),
            None | Some(0) => named,
            Some(more) => format!("{named}; and {more} more"),
        }
    }

    pub(super) fn assumed(&self, why: String) -> Check {
        Check {
            stage: Stage::Load,
            requirement: format!("the verifier's analysis of {}", self.entry.name),
            fact: "bpf.verifier.complexity_limit".to_owned(),
            support: Support::Yes,
            evidence: Evidence::Assumed,
            outcome: Outcome::Pass,
            code: "PTL0602".to_owned(),
            detail: Some(why),
        }
    }
}
