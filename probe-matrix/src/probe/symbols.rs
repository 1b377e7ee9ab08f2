//! Whether functions that programs trace exist in the running kernel, and whether ftrace and kprobes reach them.
//!
//! A function may be in the kernel under another name only: compilers leave specialised copies (`x.isra.0`,
//! `x.constprop.0`, `x.part.0`, `x.cold`) and link-time optimisation renames (`x.llvm.123`). Who traces `x` then gets
//! nothing, or part of the calls.

use super::Out;
use super::printable::printable;
use super::pseudo::{DEBUGFS, Kind, PseudoFs, TRACEFS};
use super::root::{HostRoot, Unread, unread_fact};
use super::security::not_open_fact;
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::{Btf, BtfKind};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

/// Most functions that are looked for.
pub const FUNCTIONS_MAX: usize = 4096;
/// Most copies of one function that are listed.
const COPIES_MAX: usize = 16;
/// Most of a list of symbols that is read; kallsyms of v6.18 has 10 MB.
const LIST_BYTE_SZ_MAX: u64 = 256 << 20;
/// Longest line of a list of symbols (`KSYM_NAME_LEN` is 512); the rest of a longer one is passed over.
const LINE_BYTE_SZ_MAX: usize = 2048;

/// What was found of one function.
#[derive(Default)]
struct Found {
    /// How many symbols have the name.
    named: u32,
    copies: Vec<String>,
    filterable: bool,
    blacklisted: bool,
}

/// Facts named `symbol.<function>`, for these functions.
pub(crate) fn facts(root: &HostRoot, functions: &[String], btf: Option<&Btf>, out: &mut Out<'_>) {
    const KALLSYMS: &str = "/proc/kallsyms";
    let mut wanted: HashMap<&str, Found> = HashMap::new();
    for function in functions.iter().filter(|function| is_symbol(function)).take(FUNCTIONS_MAX) {
        wanted.insert(function, Found::default());
    }
    if wanted.is_empty() {
        return;
    }
    let mut listed = false;
    let kallsyms = root.open_file(KALLSYMS).and_then(|file| {
        each_line(file, |line| {
            let Some(name) = kallsyms_function(line) else { return };
            listed = true;
            if let Some(found) = wanted.get_mut(name) {
                found.named += 1;
            } else if let Some(found) = original(name).and_then(|name| wanted.get_mut(name))
                && found.copies.len() < COPIES_MAX
            {
                found.copies.push(name.to_owned());
            }
        })
    });
    let filter = list(root, TRACEFS, "available_filter_functions", |line| {
        // `function [module]`
        if let Some(found) = line.split(' ').next().and_then(|name| wanted.get_mut(name)) {
            found.filterable = true;
        }
    });
    let blacklist = list(root, DEBUGFS, "kprobes/blacklist", |line| {
        // `0xfirst-0xlast<tab>function+0x0`
        let name = line.rsplit('\t').next().map(|name| name.split('+').next().unwrap_or(name).trim());
        if let Some(found) = name.and_then(|name| wanted.get_mut(name)) {
            found.blacklisted = true;
        }
    });
    let was_read = |list: &Fact| list.support == Support::Yes;
    // A list without a single function is not the kernel's: another file is mounted over it.
    let kallsyms = kallsyms.map_err(Unread::Errno).and_then(|()| listed.then_some(()).ok_or(Unread::Empty));
    for (function, found) in wanted {
        let in_btf = btf.map(|btf| btf.find_by_name_kind(function, BtfKind::Func).is_some());
        let mut fact = match (&kallsyms, in_btf) {
            (Ok(()), _) => {
                let support = if found.named > 0 { Support::Yes } else { Support::No };
                Fact::new(support, Evidence::Probed, root.shown(KALLSYMS))
            }
            // Without kallsyms a function in the BTF is there; one that is not may be in a module, or static.
            (Err(_), Some(true)) => Fact::new(Support::Yes, Evidence::Derived, "/sys/kernel/btf/vmlinux"),
            (Err(why), _) => root.unread(KALLSYMS, why),
        };
        fact = fact.value(json!({
            "in_kallsyms": kallsyms.is_ok().then_some(found.named),
            "in_btf": in_btf,
            "in_filter_functions": was_read(&filter).then_some(found.filterable),
            "blacklisted": was_read(&blacklist).then_some(found.blacklisted),
            "copies": found.copies,
        }));
        if let Some(reason) = reason(&found, &fact, &filter) {
            fact = fact.reason(reason);
        }
        out(format!("symbol.{}", printable(function, 512)), fact);
    }
    out("symbols.filter_functions".into(), filter);
    out("symbols.kprobe_blacklist".into(), blacklist);
}

/// What the value means for who wants to trace it, in words.
fn reason(found: &Found, fact: &Fact, filter: &Fact) -> Option<String> {
    let copies = || found.copies.join(", ");
    if fact.support == Support::No {
        return Some(match found.copies.len() {
            0 => {
                "the kernel has no function of this name: inlined, renamed or in a module that is not loaded"
                    .to_owned()
            }
            _ => format!("only copies that the compiler made are there: {}", copies()),
        });
    }
    if found.blacklisted {
        return Some("kprobes may not be set on it".to_owned());
    }
    if fact.support != Support::Yes {
        return None;
    }
    if !found.copies.is_empty() {
        return Some(format!("some calls go to copies that the compiler made: {}", copies()));
    }
    if filter.support != Support::Yes {
        let why = filter.support;
        return Some(format!(
            "whether ftrace reaches it cannot be told: available_filter_functions is {why}"
        ));
    }
    if !found.filterable {
        return Some("ftrace does not reach it: no fentry, fexit or kprobe.multi".to_owned());
    }
    (found.named > 1).then(|| format!("{} functions have this name", found.named))
}

/// Reads a list of a pseudo file system line by line. The fact says whether it could be read.
fn list(root: &HostRoot, kind: Kind, path: &str, each: impl FnMut(&str)) -> Fact {
    let fs = match PseudoFs::open(root, kind) {
        Ok(fs) => fs,
        Err(why) => return not_open_fact(root.caps(), kind.name, &why),
    };
    match fs.open_file(path).and_then(|file| each_line(file, each)) {
        Ok(()) => Fact::new(Support::Yes, Evidence::Probed, fs.shown(path)),
        Err(errno) => unread_fact(root.caps(), fs.shown(path), &Unread::Errno(errno)),
    }
}

/// The name in a line of kallsyms if it is a function's: `ffffffff81000000 T name<tab>[module]`.
fn kallsyms_function(line: &str) -> Option<&str> {
    let mut fields = line.splitn(3, ' ');
    let (_address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
    matches!(kind, "t" | "T" | "w" | "W").then(|| name.split('\t').next().unwrap_or(name))
}

/// The function that a compiler's copy was made of.
fn original(name: &str) -> Option<&str> {
    const SUFFIXES: [&str; 7] = ["cold", "constprop", "isra", "llvm", "lto_priv", "part", "clone"];
    let (original, suffix) = name.split_once('.')?;
    let suffix = suffix.split('.').next().unwrap_or(suffix);
    SUFFIXES.contains(&suffix).then_some(original)
}

/// Whether a kernel function can have this name. No other is looked for.
pub fn is_symbol(name: &str) -> bool {
    (1..=511).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$'))
}

/// Hands over every line without holding the file. A line that is longer than the bound is cut.
pub(super) fn each_line(file: OwnedFd, mut each: impl FnMut(&str)) -> Result<(), Errno> {
    let mut file = File::from(file).take(LIST_BYTE_SZ_MAX);
    let mut chunk = vec![0; 64 << 10];
    let mut line: Vec<u8> = Vec::with_capacity(LINE_BYTE_SZ_MAX);
    loop {
        let len = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        };
        let mut pieces = chunk[..len].split(|byte| *byte == b'\n');
        // All but the last piece end at a newline.
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            keep(&mut line, piece);
            each(std::str::from_utf8(&line).unwrap_or_default());
            line.clear();
        }
        keep(&mut line, last);
    }
    if !line.is_empty() {
        each(std::str::from_utf8(&line).unwrap_or_default());
    }
    Ok(())
}

fn keep(line: &mut Vec<u8>, piece: &[u8]) {
    let room = LINE_BYTE_SZ_MAX - line.len();
    line.extend(&piece[..piece.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;

    fn collect(root: &HostRoot, functions: &[&str]) -> Facts {
        let functions: Vec<String> = functions.iter().map(|&name| name.to_owned()).collect();
        let mut facts = Facts::default();
        super::facts(root, &functions, None, &mut |name, fact| facts.insert(name, fact));
        facts
    }

    #[test]
    fn copies_are_told_from_the_function() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        // Addresses are zero for those to whom kptr_restrict hides them; the names are there.
        let text = "0000000000000000 t whole\n0000000000000000 T only_copy.isra.0\n0000000000000000 t both\n\
                    0000000000000000 t both.cold\n0000000000000000 t both.constprop.0.isra.0\n0000000000000000 d datum\n\
                    0000000000000000 t modular\t[nf_tables]\n0000000000000000 t twice\n0000000000000000 t twice\n\
                    0000000000000000 T notsuffix.other\n";
        std::fs::write(dir.path().join("proc/kallsyms"), text).unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        let names = ["whole", "only_copy", "both", "datum", "modular", "twice", "notsuffix", "\x1b[31m", ""];
        let facts = collect(&root, &names);
        for (name, support, copies, count) in [
            ("whole", Support::Yes, json!([]), 1),
            ("only_copy", Support::No, json!(["only_copy.isra.0"]), 0),
            ("both", Support::Yes, json!(["both.cold", "both.constprop.0.isra.0"]), 1),
            ("datum", Support::No, json!([]), 0),
            ("modular", Support::Yes, json!([]), 1),
            ("twice", Support::Yes, json!([]), 2),
            ("notsuffix", Support::No, json!([]), 0),
        ] {
            let fact = facts.get(&format!("symbol.{name}")).unwrap();
            let value = fact.value.as_ref().unwrap();
            assert_eq!((fact.support, &value["copies"]), (support, &copies), "{name}");
            assert_eq!(value["in_kallsyms"], count, "{name}");
        }
        assert_eq!(facts.under("symbol").count(), 7, "what is no symbol is not looked for");
    }

    #[test]
    fn an_empty_list_says_no_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/kallsyms"), "").unwrap();
        let facts = collect(&HostRoot::at(dir.path()).unwrap(), &["vfs_read"]);
        let fact = facts.get("symbol.vfs_read").unwrap();
        assert_eq!(fact.support, Support::Unknown);
        let value = fact.value.as_ref().unwrap();
        // All that who reads the fact goes by is there, null where it was not read.
        for key in ["in_kallsyms", "in_btf", "in_filter_functions", "blacklisted", "copies"] {
            assert!(value.as_object().unwrap().contains_key(key), "{key}");
        }
        assert!(value["in_kallsyms"].is_null() && value["in_btf"].is_null(), "{value}");
    }

    #[test]
    fn lines_across_chunks_and_beyond_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let long = "x".repeat(200_000);
        std::fs::write(&path, format!("first\n{long}\n\nbad\u{e9}\nlast")).unwrap();
        let mut lines = Vec::new();
        each_line(std::fs::File::open(&path).unwrap().into(), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines.len(), 5);
        assert_eq!(
            (lines[0].as_str(), lines[1].len(), lines[4].as_str()),
            ("first", LINE_BYTE_SZ_MAX, "last")
        );
    }

    #[test]
    fn the_running_kernels_functions() {
        let facts = collect(&HostRoot::local(), &["tcp_rcv_established", "portolan_has_no_such_function"]);
        assert_eq!(facts.support("symbol.tcp_rcv_established"), Support::Yes);
        assert_eq!(facts.support("symbol.portolan_has_no_such_function"), Support::No);
    }
}
