//! SIGINT and SIGTERM: the first asks the run to end in order, a second ends the process at once.

use crate::exit::{Exit, Failure};
use crate::render;
use crate::run::replace;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Makes a write beyond `ulimit -f` fail with EFBIG, which is told, instead of ending the process by SIGXFSZ.
pub fn take_file_size_limit_as_error() {
    // Where it cannot be caught the process ends as it would have.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// Has SIGINT and SIGTERM end the process at once, with word of what is left: for commands that leave nothing half done
/// but a file that is being written.
pub fn end_with_word() {
    // Where they cannot be caught the process ends as it would have.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            replace::discard_unfinished();
            render::message(
                "interrupted: no result was given; files that were written before are whole and stay",
            );
            std::process::exit(128 + signal);
        }
    });
}

/// The signal that was caught, if any.
#[derive(Debug, Default)]
pub struct Interrupt {
    cancel: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Catches SIGINT and SIGTERM from now on.
    pub fn install() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // The handlers of one signal run in the order they were registered: this one sees what an earlier signal left.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&interrupt.cancel),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.cancel))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), signal as usize)?;
        }
        Ok(interrupt)
    }

    /// Set once a signal was caught; what waits for the worker looks at it and ends the worker.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Ends the time in which an interrupt is waited for: from now on a signal ends the process at once.
    ///
    /// For the writing of the result, which may wait for a slow reader.
    pub fn disarm(&self) {
        self.cancel.store(true, Ordering::SeqCst);
    }

    /// Fails if a signal was caught.
    pub fn check(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::SeqCst) as i32 {
            0 => Ok(()),
            SIGINT => Err(Failure::Interrupted(Exit::Interrupted)),
            _ => Err(Failure::Interrupted(Exit::Terminated)),
        }
    }
}
