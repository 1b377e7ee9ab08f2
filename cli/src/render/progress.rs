//! What is being done, on stderr, while it is done: one line that is redrawn on a terminal, plain lines elsewhere and where `TERM` is `dumb`.

use super::screen::is_dumb;
use super::text::line;
use std::io::{self, IsTerminal, Write};
use unicode_width::UnicodeWidthChar;

/// The display. It leaves nothing on a terminal when it is dropped.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    details: bool,
}

impl Progress {
    /// A display on stderr. Without a terminal there, `details` are shown only if asked for.
    pub fn on_stderr(details: bool) -> Progress {
        Progress { terminal: io::stderr().is_terminal() && !is_dumb(), details }
    }

    /// A new phase.
    pub fn phase(&mut self, what: &str) {
        self.show(what, true);
    }

    /// A step within a phase.
    pub fn detail(&mut self, what: &str) {
        self.show(what, self.details);
    }

    // Nobody can be told that stderr is gone.
    fn show(&mut self, what: &str, plain: bool) {
        let mut stderr = io::stderr().lock();
        if self.terminal {
            let _ = write!(stderr, "\r\x1b[K{}", head(&line(what), columns()));
        } else if plain {
            let _ = writeln!(stderr, "portolan: {}", line(what));
        }
        let _ = stderr.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn columns() -> usize {
    terminal_size::terminal_size_of(io::stderr())
        .map_or(80, |(terminal_size::Width(columns), _)| usize::from(columns))
}

/// As much of `text` as fits on one line: a line that wraps could not be redrawn.
fn head(text: &str, columns: usize) -> String {
    let mut left = columns.saturating_sub(1);
    text.chars()
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_reaches_the_last_column() {
        assert_eq!(head("loading", 5), "load");
        assert_eq!(head("内核内核", 6), "内核");
        assert_eq!(head("x", 0), "");
    }
}
