//! What a rendering may assume about the place it is shown at.

use std::io::{IsTerminal, stdout};

/// Columns of a result that goes to a file or a pipe, where nobody can be asked.
const PIPE_COLUMNS: usize = 100;
/// No screen is taken to be narrower.
const MIN_COLUMNS: usize = 20;

/// Width and colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Screen {
    /// Columns to fill.
    pub columns: usize,
    /// Whether to write ANSI colours.
    pub color: bool,
}

/// What a piece of text is to the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// All is well.
    Good,
    /// Works, with a loss.
    Warn,
    /// Does not work.
    Bad,
    /// Not known.
    Unsure,
    /// A heading or a name.
    Strong,
    /// Beside the point.
    Faint,
}

impl Tone {
    /// The parameters of the SGR sequence that sets this tone.
    pub fn sgr(self) -> &'static str {
        match self {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Unsure => "35",
            Tone::Strong => "1",
            Tone::Faint => "2",
        }
    }
}

impl Screen {
    /// The screen behind stdout.
    ///
    /// Colour is used on a terminal only, and not where `--no-color`, `NO_COLOR` (<https://no-color.org>) or a `TERM`
    /// of `dumb` asks for none.
    pub fn of_stdout(no_color: bool) -> Screen {
        if !stdout().is_terminal() {
            return Screen { columns: PIPE_COLUMNS, color: false };
        }
        let columns = terminal_size::terminal_size_of(stdout())
            .map_or(PIPE_COLUMNS, |(terminal_size::Width(columns), _)| usize::from(columns));
        Screen { columns: columns.max(MIN_COLUMNS), color: !no_color && color_wanted() }
    }

    /// `text` in a tone, if there is colour.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", tone.sgr()) } else { text.to_owned() }
    }
}

/// Whether the environment leaves colours on.
pub fn color_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && !is_dumb()
}

/// Whether `TERM` says that the terminal can do nothing but print.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
