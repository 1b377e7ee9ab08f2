//! Text that came from a node, an object or a catalog, made safe to show, and wrapped.
//!
//! A kernel's banner, a function's name in BTF and a catalog's summary are all written by others. On a terminal an
//! escape sequence in them could move the cursor or set a title, a bidirectional override could make one word read as
//! another. Every such character is shown as its escape instead: visible, and harmless.

use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of one line of foreign text; more is cut, and the JSON has it all.
const LINE_MAX_COLUMNS: usize = 400;

/// Least columns of text beside a label.
const CONTENT_MIN_COLUMNS: usize = 12;

/// `text` on one line, harmless, and cut at 400 columns.
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(LINE_MAX_COLUMNS));
    let mut columns = 0;
    for c in text.chars() {
        let before = safe.len();
        push_safe(&mut safe, c);
        columns += safe[before..].width();
        if columns > LINE_MAX_COLUMNS {
            safe.truncate(before);
            safe.push_str(" ...");
            break;
        }
    }
    safe
}

/// `text` on one line, harmless, and whole.
pub fn whole_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|c| push_safe(&mut safe, c));
    safe
}

/// `text` with its line breaks kept, every line harmless: for logs.
pub fn lines(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push('\n'),
            '\t' => safe.push_str("    "),
            c => push_safe(&mut safe, c),
        }
    }
    safe
}

fn push_safe(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        c if c.is_control() || is_deceptive(c) => {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
        }
        c => safe.push(c),
    }
}

/// Whether a character changes how its neighbours are shown, or is not seen at all (Unicode 16, general category Cf, and
/// the line and paragraph separators).
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}'   // zero width, direction marks
        | '\u{2028}'..='\u{202e}'   // separators, embeddings, overrides
        | '\u{2060}'..='\u{206f}'   // invisible operators, isolates
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' // tags
    )
}

/// `text` broken between words into lines of at most `columns`, a longer word within itself.
///
/// Line breaks of `text` are kept, and so is the space a line begins with, in all the lines that it becomes.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut wrapped = Vec::new();
    for paragraph in text.lines() {
        let words = paragraph.trim_start();
        let space = (paragraph.width() - words.width()).min(columns.saturating_sub(1));
        let mut rows = Rows { wrapped: &mut wrapped, row: " ".repeat(space), used: space, space, columns };
        for word in words.split_whitespace() {
            rows.push(word);
        }
        let last = rows.row;
        wrapped.push(last);
    }
    wrapped
}

/// The lines of one paragraph.
struct Rows<'a> {
    wrapped: &'a mut Vec<String>,
    row: String,
    /// Columns of `row`.
    used: usize,
    /// Columns that every row begins with.
    space: usize,
    columns: usize,
}

impl Rows<'_> {
    fn push(&mut self, word: &str) {
        if self.used > self.space {
            if self.used + 1 + word.width() > self.columns {
                self.end_row();
            } else {
                self.row.push(' ');
                self.used += 1;
            }
        }
        // A word that is too wide stands at the beginning of a row, where the room is the same in all rows.
        let room = self.columns.saturating_sub(self.used);
        let mut rest = word;
        while rest.width() > room {
            let (head, tail) = rest.split_at(break_at(rest, room));
            if tail.is_empty() {
                break;
            }
            self.row.push_str(head);
            self.end_row();
            rest = tail;
        }
        self.row.push_str(rest);
        self.used += rest.width();
    }

    fn end_row(&mut self) {
        let next = " ".repeat(self.space);
        self.wrapped.push(std::mem::replace(&mut self.row, next));
        self.used = self.space;
    }
}

/// Where to break a word that is wider than `columns`: after a `.`, `_`, `/` or `-` in its second half, or else where the
/// columns end; never at its beginning. Bytes.
fn break_at(word: &str, columns: usize) -> usize {
    let mut used = 0;
    let mut end = 0;
    let mut joint = None;
    for (at, c) in word.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns && end > 0 {
            break;
        }
        end = at + c.len_utf8();
        if used * 2 > columns && matches!(c, '.' | '_' | '/' | '-') {
            joint = Some(end);
        }
    }
    if end == word.len() { end } else { joint.unwrap_or(end) }
}

/// `text` wrapped, each line after `indent` columns of space, each ended.
pub fn paragraph(text: &str, indent: usize, columns: usize) -> String {
    wrap(text, columns.saturating_sub(indent)).iter().fold(String::new(), |mut all, row| {
        if !row.is_empty() {
            all.push_str(&" ".repeat(indent));
            all.push_str(row);
        }
        all.push('\n');
        all
    })
}

/// `content` as a paragraph of its own column, which begins at `indent` columns; the label stands left of its first line,
/// `label_indent` columns in, or on a line of its own if it is too long.
pub fn labelled(label: &str, label_indent: usize, content: &str, indent: usize, columns: usize) -> String {
    // Where the content's column would be a thin one, it goes below the label.
    let narrow = columns < indent + CONTENT_MIN_COLUMNS;
    let indent = if narrow { (label_indent + 2).min(columns / 2) } else { indent };
    let body = paragraph(content, indent, columns);
    let space = indent.saturating_sub(label_indent);
    if label.width() < space {
        format!("{:label_indent$}{label:<space$}{}", "", body.trim_start())
    } else {
        paragraph(label, label_indent, columns) + &body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_turns_text_around_is_left() {
        let hostile = "a\x1b]0;title\x07b\r\nc\u{202e}d\u{9b}31me\u{200b}f\u{7f}\u{e0041}";
        let safe = line(hostile);
        assert_eq!(safe, r"a\u{1b}]0;title\u{7}b\r\nc\u{202e}d\u{9b}31me\u{200b}f\u{7f}\u{e0041}");
        assert!(safe.chars().all(|c| !c.is_control() && !is_deceptive(c)));
        assert_eq!(lines("a\n\tb\x1b[2J"), "a\n    b\\u{1b}[2J");
        assert_eq!(whole_line(hostile), safe);
        assert_eq!(line("grün 内核"), "grün 内核", "letters of any script are no danger");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let cut = line(&"x".repeat(1 << 20));
        assert!(cut.width() <= LINE_MAX_COLUMNS + 4 && cut.ends_with(" ..."), "{}", cut.len());
    }

    #[test]
    fn lines_are_no_longer_than_asked() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        assert_eq!(wrap("  one two", 6), ["  one", "  two"]);
        assert_eq!(wrap("bpf.helper.tracing.map_lookup", 24), ["bpf.helper.tracing.map_", "lookup"]);
        for columns in [4, 20, 30, 100] {
            let text = labelled("probed (yes, EPERM)", 4, "one_long_name two", 28, columns);
            assert!(text.lines().all(|line| line.width() <= columns.max(5)), "{columns}: {text}");
        }
        assert_eq!(wrap("内核", 1), ["内", "核"], "what is wider than the screen stands alone");
        assert_eq!(wrap("内核内核", 5), ["内核", "内核"], "wide characters take two columns");
    }
}
