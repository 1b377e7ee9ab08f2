//! Objects of `compat-tests/truth/suite`: small programs, each made to load or to be refused for one reason.
//!
//! A file has the cases of one class. A case begins with a line `//# NAME [licence=WORDS] [cpu=v4] [empty]`; `suite.h` goes
//! before it. What a compiler removed is not tested: an entry that does nothing is an error unless its case says `empty`.
//! Objects are built in the cache and never committed.

use crate::command::root;
use crate::selftests::{Program, Sources, listed, make};
use std::path::{Path, PathBuf};

/// One case of a file.
#[derive(PartialEq, Eq, Debug)]
struct Case<'a> {
    name: &'a str,
    licence: String,
    cpu: &'a str,
    /// An entry of it is to do nothing but return a number.
    empty: bool,
    body: &'a str,
}

/// A section of an ELF file with 64-bit words, little endian.
struct Section<'a> {
    name: &'a [u8],
    flags: u64,
    bytes: &'a [u8],
}

/// Builds all cases with the headers of a `linux-source` package into `to`; returns how many there are.
pub(crate) fn build(package: &Path, to: &Path) -> Result<usize, String> {
    let sources = Sources::unpack(package)?;
    let written = sources.top.join("suite");
    make(&written)?;
    make(to)?;
    let suite = root().join("compat-tests/truth/suite");
    let prelude = read(&suite.join("suite.h"))?;
    let (mut programs, mut meant) = (Vec::new(), Vec::new());
    for file in listed(&suite)?.iter().filter(|path| path.extension() == Some("c".as_ref())) {
        let text = read(file)?;
        for case in cases(&text).map_err(|err| format!("{}: {err}", file.display()))? {
            let source = written.join(case.name).with_extension("c");
            let object = to.join(case.name).with_extension("o");
            let text =
                format!("{prelude}char LICENSE[] SEC(\"license\") = \"{}\";\n{}", case.licence, case.body);
            if read(&source).ok().as_ref() != Some(&text) {
                let _ = std::fs::remove_file(&object);
                std::fs::write(&source, text).map_err(|err| format!("{}: {err}", source.display()))?;
            }
            programs.push(Program { source, object, cpu: case.cpu.to_owned() });
            meant.push((case.name.to_owned(), case.empty));
        }
    }
    match sources.compile(&programs, &[])? {
        0 => {
            let wrong =
                meant.iter().zip(&programs).filter_map(|((name, empty), program)| {
                    match std::fs::read(&program.object).map(|bytes| has_empty_entry(&bytes)) {
                        Ok(Some(found)) if found == *empty => None,
                        Ok(Some(true)) => {
                            Some(format!("{name}: an entry does nothing (see KEEP in suite.h)"))
                        }
                        Ok(Some(false)) => Some(format!("{name}: says `empty`, and no entry is")),
                        Ok(None) => Some(format!("{name}: not an ELF file of eBPF")),
                        Err(err) => Some(format!("{}: {err}", program.object.display())),
                    }
                });
            match &wrong.collect::<Vec<_>>()[..] {
                [] => Ok(programs.len()),
                wrong => Err(wrong.join("\n")),
            }
        }
        failed => {
            let lost: Vec<_> = programs.iter().filter(|program| !program.object.is_file()).collect();
            let names = lost.iter().map(|program| program.source.display().to_string());
            Err(format!("{failed} cases do not compile: {}", names.collect::<Vec<_>>().join(", ")))
        }
    }
}

fn cases(text: &str) -> Result<Vec<Case<'_>>, String> {
    let mut found = Vec::new();
    for part in text.split("//# ").skip(1) {
        let (head, body) = part.split_once('\n').ok_or("the last case has no body")?;
        let mut words = head.split(' ');
        let name = words.next().unwrap_or_default();
        let mut case = Case { name, licence: "GPL".to_owned(), cpu: "v3", empty: false, body };
        for word in words {
            match word.split_once('=') {
                // A space cannot be in a word.
                Some(("licence", licence)) => case.licence = licence.replace('_', " "),
                Some(("cpu", cpu)) => case.cpu = cpu,
                None if word == "empty" => case.empty = true,
                _ => return Err(format!("{name}: `{word}` says nothing")),
            }
        }
        found.push(case);
    }
    Ok(found)
}

/// Whether a section of entries is no more than a number put into r0 and an exit; `None` where the bytes are no object.
fn has_empty_entry(object: &[u8]) -> Option<bool> {
    const SHF_EXECINSTR: u64 = 4;
    let is_empty = |section: &Section| {
        // r0 = number (of 64 bits or of 32), exit.
        let &[0xb7 | 0xb4, 0, 0, 0, _, _, _, _, 0x95, 0, 0, 0, 0, 0, 0, 0] = section.bytes else {
            return false;
        };
        section.flags & SHF_EXECINSTR != 0 && section.name != b".text"
    };
    Some(sections(object)?.iter().any(is_empty))
}

/// Type of a section that has no bytes in the file.
const SHT_NOBITS: u64 = 8;

fn sections(object: &[u8]) -> Option<Vec<Section<'_>>> {
    let number = |at: usize, byte_sz: usize| {
        let bytes = object.get(at..at.checked_add(byte_sz)?)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let at = |field: usize, byte_sz: usize| usize::try_from(number(field, byte_sz)?).ok();
    let (headers, header_sz, count) = (at(0x28, 8)?, at(0x3a, 2)?, at(0x3c, 2)?);
    let bytes_of = |header: usize| {
        if number(header + 0x04, 4)? == SHT_NOBITS {
            return Some(&object[..0]);
        }
        let (offset, byte_sz) = (at(header + 0x18, 8)?, at(header + 0x20, 8)?);
        object.get(offset..offset.checked_add(byte_sz)?)
    };
    let names = bytes_of(headers + at(0x3e, 2)? * header_sz)?;
    let section = |index: usize| {
        let header = headers + index * header_sz;
        let name = names.get(at(header, 4)?..)?;
        Some(Section {
            name: name.split(|byte| *byte == 0).next()?,
            flags: number(header + 0x08, 8)?,
            bytes: bytes_of(header)?,
        })
    };
    (0..count).map(section).collect()
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|err| format!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Case, cases, has_empty_entry};

    #[test]
    fn a_file_has_cases_with_their_licence_and_instruction_set() {
        let text = "// A class.\n\n//# one empty\nint a;\n\n//# two licence=Dual_BSD/GPL cpu=v4\nint b;\n";
        let of =
            |name, licence: &str, cpu, empty, body| Case { name, licence: licence.into(), cpu, empty, body };
        let expected =
            [of("one", "GPL", "v3", true, "int a;\n\n"), of("two", "Dual BSD/GPL", "v4", false, "int b;\n")];
        assert_eq!(cases(text).unwrap(), expected);
        assert!(cases("//# one speed=9\n").is_err());
    }

    #[test]
    fn an_entry_that_does_nothing_is_found() {
        // Names, then instructions, then the header of each section: none, the names, the entries'.
        let object = |name: &[u8], insns: &[u8]| {
            let mut bytes = vec![0; 64];
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(insns);
            let headers = bytes.len();
            (bytes[0x28], bytes[0x3a], bytes[0x3c], bytes[0x3e]) = (headers as u8, 64, 3, 1);
            for (flags, offset, byte_sz) in
                [(0, 0, 0), (0, 64, name.len() + 1), (4, 65 + name.len(), insns.len())]
            {
                let mut header = [0; 64];
                (header[0x08], header[0x18], header[0x20]) = (flags, offset as u8, byte_sz as u8);
                bytes.extend_from_slice(&header);
            }
            bytes
        };
        let nothing = [0xb4, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(has_empty_entry(&object(b"xdp", &nothing)), Some(true));
        assert_eq!(has_empty_entry(&object(b".text", &nothing)), Some(false));
        assert_eq!(has_empty_entry(&object(b"xdp", &nothing[8..])), Some(false), "r0 is never written");
        assert_eq!(has_empty_entry(&object(b"xdp", &nothing)[..100]), None);
    }
}
