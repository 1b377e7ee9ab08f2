//! A load seen from the parent: the worker's answers put together, also those of a worker that did not finish.

use super::outcome::{Cause, LoadOutcome, LoadReport, Stage};
use super::session::{STEP_BTF, STEP_ENTRY, STEP_MAPS};
use probe_matrix::worker::{self, Job, Usage, WorkerError};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Runs a load's job in a worker. A worker that ran out of time or died leaves what it had found out, and a failure of
/// cause [`Cause::Unknown`]; only one that could not be started, was cancelled or did not understand is an error.
pub fn run(
    job: &Job,
    deadline: Instant,
    cancelled: &AtomicBool,
) -> Result<(LoadReport, Option<Usage>), WorkerError> {
    let mut report = LoadReport::default();
    let result = worker::run(job, deadline, cancelled, &mut |step: LoadReport| report.extend(step));
    let ended = match result {
        Ok(usage) => return Ok((report, Some(usage))),
        Err(ended) => ended,
    };
    if !matches!(ended, WorkerError::TimedOut { .. } | WorkerError::Died { .. }) {
        return Err(ended);
    }
    let step = ended.last_step().unwrap_or_default();
    let stage = match step {
        STEP_BTF => Stage::Btf,
        STEP_MAPS => Stage::Maps,
        _ => Stage::Load,
    };
    let subject = step.strip_prefix(STEP_ENTRY);
    report.failures.push(LoadOutcome::unasked(stage, Cause::Unknown, subject, ended.to_string()));
    Ok((report, None))
}
