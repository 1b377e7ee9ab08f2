//! Exit codes: what a script, a CI job or an init container acts on. They never depend on the output format.

use crate::report::Summary;
use std::fmt;
use std::process::ExitCode;

/// How the process ends.
///
/// Where several apply, the precedence is 1, 2, 10, 12, 11: a run that did not work says nothing about the node, and a
/// program that cannot run outweighs one that nobody could judge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Every program has a variant that runs.
    Success = 0,
    /// The tool itself failed: a full disk, a worker that died, a bug.
    ToolFailed = 1,
    /// Bad usage, or an input (catalog, profile, name) that cannot be used.
    BadInput = 2,
    /// Some program has no variant that runs; of `catalog lint`: some check failed.
    Blocked = 10,
    /// Every program runs, some with a loss; only with `--fail-on degraded`.
    Degraded = 11,
    /// Some program could not be decided, most often for lack of privilege.
    Undecided = 12,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The exit code of a preflight with these counts of programs by verdict.
    pub fn of(summary: &Summary, fail_on_degraded: bool) -> Exit {
        if summary.blocked > 0 {
            Exit::Blocked
        } else if summary.unknown > 0 {
            Exit::Undecided
        } else if summary.degraded > 0 && fail_on_degraded {
            Exit::Degraded
        } else {
            Exit::Success
        }
    }

    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command gave no result.
#[derive(Debug)]
pub enum Failure {
    /// What the user gave cannot be used.
    BadInput(anyhow::Error),
    /// The tool failed.
    Tool(anyhow::Error),
    /// A signal ended it; the exit code says which.
    Interrupted(Exit),
}

impl Failure {
    /// The exit code that tells of it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::BadInput(_) => Exit::BadInput,
            Failure::Tool(_) => Exit::ToolFailed,
            Failure::Interrupted(exit) => *exit,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `{:#}` writes the whole chain of causes in one line.
            Failure::BadInput(error) | Failure::Tool(error) => write!(f, "{error:#}"),
            Failure::Interrupted(_) => {
                f.write_str("interrupted; the probe worker is ended, nothing is left behind")
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Tool(error)
    }
}

/// Turns an error about what the user gave into a [`Failure::BadInput`].
pub fn bad_input(error: impl Into<anyhow::Error>) -> Failure {
    Failure::BadInput(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_outweighs_undecided_and_both_outweigh_degraded() {
        let count = |runs, degraded, blocked, unknown| Summary { runs, degraded, blocked, unknown };
        for (summary, plain, strict) in [
            (count(3, 0, 0, 0), 0, 0),
            (count(2, 1, 0, 0), 0, 11),
            (count(1, 1, 0, 1), 12, 12),
            (count(0, 1, 1, 1), 10, 10),
            (count(0, 0, 1, 0), 10, 10),
        ] {
            assert_eq!(Exit::of(&summary, false).code(), plain, "{summary:?}");
            assert_eq!(Exit::of(&summary, true).code(), strict, "{summary:?} with --fail-on degraded");
        }
    }
}
