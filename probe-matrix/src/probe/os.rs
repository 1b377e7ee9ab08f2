//! The distribution, from os-release(5).

use super::Out;
use super::printable::printable;
use super::root::HostRoot;
use crate::facts::{Evidence, Fact, Support};
use std::collections::BTreeMap;

/// Keys that become facts, with the fact's name.
const KEYS: [(&str, &str); 5] = [
    ("ID", "os.id"),
    ("ID_LIKE", "os.id_like"),
    ("PRETTY_NAME", "os.pretty_name"),
    ("VARIANT_ID", "os.variant_id"),
    ("VERSION_ID", "os.version_id"),
];

/// Facts named `os.*`.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) {
    const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
    let first = root.read_text(PATHS[0], 64 << 10).map(|text| (PATHS[0], text));
    let found =
        first.or_else(|why| root.read_text(PATHS[1], 64 << 10).map(|text| (PATHS[1], text)).map_err(|_| why));
    match found {
        Ok((path, text)) => {
            let keys = parse(&text);
            for (key, name) in KEYS {
                let fact = match keys.get(key) {
                    Some(value) => Fact::new(Support::Yes, Evidence::Probed, root.shown(path))
                        .value(printable(value, 256)),
                    None => Fact::new(Support::No, Evidence::Probed, root.shown(path))
                        .reason(format!("{key} is not set")),
                };
                out(name.to_owned(), fact);
            }
        }
        Err(why) => {
            for (_, name) in KEYS {
                out(name.to_owned(), root.unread(PATHS[0], &why));
            }
        }
    }
}

/// Assignments of an os-release file. The last one of a key counts, as in a shell.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let assignments = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        let valid = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        valid.then(|| (key.to_owned(), unquoted(value)))
    });
    assignments.take(256).collect()
}

/// A value without the shell's quotes: backslash escapes outside of single quotes.
fn unquoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(ch) = chars.next() {
        match (ch, quote) {
            ('\\', None | Some('"')) => out.extend(chars.next()),
            ('"' | '\'', None) => quote = Some(ch),
            (ch, Some(open)) if ch == open => quote = None,
            (ch, _) => out.push(ch),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let text = "# comment\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"A \\\"B\\\" \\$C\"\nNAME='x\\y'\n\
                    ID=last\nno assignment\n=x\nBAD KEY=1\nOPEN=\"never closed\nEND=\\";
        let keys = parse(text);
        for (key, want) in [
            ("ID", "last"),
            ("VERSION_ID", "12"),
            ("PRETTY_NAME", "A \"B\" $C"),
            ("NAME", "x\\y"),
            ("OPEN", "never closed"),
            ("END", ""),
        ] {
            assert_eq!(keys.get(key).map(String::as_str), Some(want), "{key}");
        }
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn escapes_do_not_reach_a_fact() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        std::fs::write(
            dir.path().join("usr/lib/os-release"),
            "ID=a\x1b[2J\nPRETTY_NAME=".to_owned() + &"x".repeat(9000),
        )
        .unwrap();
        let mut facts = crate::Facts::default();
        super::facts(&HostRoot::at(dir.path()).unwrap(), &mut |name, fact| facts.insert(name, fact));
        assert_eq!(facts.get("os.id").unwrap().text(), Some("a\u{fffd}[2J"));
        assert_eq!(facts.get("os.pretty_name").unwrap().text().unwrap().chars().count(), 257);
        assert_eq!(facts.support("os.version_id"), Support::No);
    }

    /// Lines of real nodes' os-release files.
    #[test]
    fn lines_of_distributions() {
        let table = include_str!("../../tests/cases/os_release.tsv");
        for row in table.lines().filter(|line| !line.starts_with('#')) {
            let [line, key, value] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
            assert_eq!(parse(line).get(key).map(String::as_str), Some(value), "{line}");
        }
    }

    #[test]
    fn no_file_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let mut facts = crate::Facts::default();
        super::facts(&HostRoot::at(dir.path()).unwrap(), &mut |name, fact| facts.insert(name, fact));
        assert_eq!(facts.support("os.id"), Support::Unknown);
        assert_eq!(facts.get("os.id").unwrap().errno.as_deref(), Some("ENOENT"));
    }
}
