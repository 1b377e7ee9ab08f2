//! Objects of `compat-tests/truth/suite`: small programs, each made to load or to be refused for one reason.
//!
//! A file has the cases of one class. A case begins with a line `//# NAME [licence=WORDS] [cpu=v4]`; `suite.h` goes before
//! it. Objects are built in the cache and never committed.

use crate::command::root;
use crate::selftests::{Program, Sources, listed, make};
use std::path::{Path, PathBuf};

/// One case of a file.
#[derive(PartialEq, Eq, Debug)]
struct Case<'a> {
    name: &'a str,
    licence: String,
    cpu: &'a str,
    body: &'a str,
}

/// Builds all cases with the headers of a `linux-source` package into `to`; returns how many there are.
pub(crate) fn build(package: &Path, to: &Path) -> Result<usize, String> {
    let sources = Sources::unpack(package)?;
    let written = sources.top.join("suite");
    make(&written)?;
    make(to)?;
    let suite = root().join("compat-tests/truth/suite");
    let prelude = read(&suite.join("suite.h"))?;
    let mut programs = Vec::new();
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
        }
    }
    match sources.compile(&programs, &[])? {
        0 => Ok(programs.len()),
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
        let mut case = Case { name, licence: "GPL".to_owned(), cpu: "v3", body };
        for word in words {
            match word.split_once('=') {
                // A space cannot be in a word.
                Some(("licence", licence)) => case.licence = licence.replace('_', " "),
                Some(("cpu", cpu)) => case.cpu = cpu,
                _ => return Err(format!("{name}: `{word}` says nothing")),
            }
        }
        found.push(case);
    }
    Ok(found)
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|err| format!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Case, cases};

    #[test]
    fn a_file_has_cases_with_their_licence_and_instruction_set() {
        let text = "// A class.\n\n//# one\nint a;\n\n//# two licence=Dual_BSD/GPL cpu=v4\nint b;\n";
        let of = |name, licence: &str, cpu, body| Case { name, licence: licence.into(), cpu, body };
        let expected = [of("one", "GPL", "v3", "int a;\n\n"), of("two", "Dual BSD/GPL", "v4", "int b;\n")];
        assert_eq!(cases(text).unwrap(), expected);
        assert!(cases("//# one speed=9\n").is_err());
    }
}
