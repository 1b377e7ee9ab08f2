//! Text of strangers, made fit to be shown.

/// The text on one line of at most `max_chars` characters: what could drive a terminal or reorder what is read
/// (control and formatting characters) becomes U+FFFD, and a cut is marked by an ellipsis.
pub(crate) fn printable(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max_chars));
    for (count, ch) in text.trim_matches(['\n', '\0', ' ']).chars().enumerate() {
        if count == max_chars {
            out.push('…');
            break;
        }
        out.push(if is_hidden(ch) { '\u{fffd}' } else { ch });
    }
    out
}

fn is_hidden(ch: char) -> bool {
    // Zero-width and directional formatting of Unicode, tag characters; `is_control` is C0, DEL and C1.
    ch.is_control()
        || matches!(ch, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(ch, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_reaches_the_terminal() {
        for (text, shown) in [
            ("6.1.0-18-amd64\n", "6.1.0-18-amd64"),
            ("\x1b[2Jgone", "\u{fffd}[2Jgone"),
            ("a\u{9b}31mb", "a\u{fffd}31mb"),
            ("abc\u{202e}fed", "abc\u{fffd}fed"),
            ("two\nlines", "two\u{fffd}lines"),
            ("Debian “bookworm”", "Debian “bookworm”"),
            ("0123456789abc", "0123456789…"),
        ] {
            assert_eq!(
                printable(text, 10.max(shown.chars().count() - usize::from(shown.ends_with('…')))),
                shown
            );
        }
        assert_eq!(printable(&"x".repeat(1 << 20), 64).chars().count(), 65);
    }
}
