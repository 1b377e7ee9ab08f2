//! The worker process: the crates' handlers behind one door.

use compat_tests::loader;
use probe_matrix::{probe, worker};
use std::process::ExitCode;

/// Carries out what the parent process asks for on stdin.
pub fn serve() -> ExitCode {
    worker::serve(|request, sender| match request.verb.as_str() {
        probe::VERB => probe::serve(request, sender),
        loader::VERB => loader::serve(&request, sender),
        other => Err(format!("the worker has no verb `{other}`")),
    })
}
