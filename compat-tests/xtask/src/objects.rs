//! `cargo xtask objects`: eBPF objects that other people wrote, in the cache.
//!
//! They come out of Debian's packages, as files or out of the executables that embed them (C skeletons, Go), and out of
//! Go modules that have theirs committed. The kernel's
//! selftests are built from their source packages; of their thousands of entries those are taken that say what the
//! verifier is to make of them, since loading all takes a kernel hours. The suite is ours and is built with the headers of such a package.

use crate::apt::Apt;
use crate::command::{self, command};
use crate::selftests::{self, make};
use crate::suite;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// corpus, suite, packages, what the objects that are taken have among their bytes (`-`: all are). Packages of the suite
/// [`GO`] are modules with their versions.
const TABLE: &str = include_str!("../data/objects.tsv");

/// In place of a suite: the packages are Go modules.
const GO: &str = "go";

/// `e_machine` of eBPF.
const EM_BPF: u16 = 247;

/// Where objects are kept: `CORPUS/PACKAGE_VERSION/NAME.o`.
pub(crate) fn directory() -> PathBuf {
    command::cache().join("objects")
}

/// `[--whole] [CORPUS…]`: with `--whole` all objects of a package are taken.
pub(crate) fn run(wanted: &[&str]) -> Result<(), String> {
    let (whole, wanted) = match wanted {
        ["--whole", wanted @ ..] => (true, wanted),
        wanted => (false, wanted),
    };
    let rows: Vec<[&str; 4]> = TABLE
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
        .filter(|[corpus, ..]: &[&str; 4]| wanted.is_empty() || wanted.contains(corpus))
        .collect();
    if let Some(unknown) = wanted.iter().find(|name| !rows.iter().any(|[corpus, ..]| corpus == *name)) {
        return Err(format!("no corpus {unknown}; see compat-tests/xtask/data/objects.tsv"));
    }
    let (modules, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|[_, suite, ..]| *suite == GO);
    for [corpus, _, names, _] in modules {
        names.split(',').try_for_each(|name| module(corpus, name))?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let packages: Vec<String> = rows
        .iter()
        .flat_map(|[_, suite, names, _]| names.split(',').map(move |name| format!("{name}/{suite}")))
        .collect();
    let debs = command::cache().join("debs");
    make(&debs)?;
    let apt = Apt::open()?;
    let mut at = packages.iter();
    for [corpus, suite, names, mark] in rows {
        let mark = if whole || mark == "-" { "" } else { mark };
        for package in at.by_ref().take(names.split(',').count()) {
            // Each alone: several versions of one name share neither a command line nor an answer.
            let found = apt.find(std::slice::from_ref(package))?;
            let Some(Some(found)) = found.into_iter().next() else {
                println!("{corpus}\t{package}\tnot in the archive");
                continue;
            };
            let file = debs.join(&found.file);
            let (_, lost) = apt.fetch(&[(package.clone(), found)], &debs);
            if !lost.is_empty() {
                return Err(format!("{package} ({suite}) could not be had"));
            }
            let stem = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a package without a name")?;
            let name = stem.rsplit_once('_').map_or(stem, |(name, _)| name);
            let to = directory().join(corpus).join(name);
            // What is built here is built again where its source has changed.
            let count = match corpus {
                "suite" => suite::build(&file, &to)?,
                "selftests" => copy(&selftests::build(&file)?, mark, &to)?,
                _ if to.is_dir() => {
                    println!("{corpus}\t{name}\twas there");
                    continue;
                }
                _ => carve_package(&file, &to)?,
            };
            println!("{corpus}\t{name}\t{count} objects");
        }
    }
    Ok(())
}

/// Copies the objects that have `mark` among their bytes, which were built elsewhere in the cache, in place of those that
/// were there; returns how many.
fn copy(from: &Path, mark: &str, to: &Path) -> Result<usize, String> {
    let _ = std::fs::remove_dir_all(to);
    make(to)?;
    let mut count = 0;
    for file in selftests::listed(from)? {
        let bytes = std::fs::read(&file).map_err(|err| format!("{}: {err}", file.display()))?;
        if mark.is_empty() || bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            let to = to.join(file.file_name().unwrap_or_default());
            std::fs::write(&to, bytes).map_err(|err| format!("{}: {err}", to.display()))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Fetches a Go module, `PATH@VERSION`, and writes the objects that are committed in it to the cache.
fn module(corpus: &str, module: &str) -> Result<(), String> {
    let (path, version) = module.split_once('@').ok_or_else(|| format!("{module}: no version"))?;
    let name = format!("{}_{version}", path.rsplit('/').next().unwrap_or(path));
    let to = directory().join(corpus).join(&name);
    if to.is_dir() {
        println!("{corpus}\t{name}\twas there");
        return Ok(());
    }
    let (fetched, said, why) = command::output(&mut command("go", &["mod", "download", "-json", module]))?;
    let line = said.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \"")?.split('"').next());
    let root = line.filter(|_| fetched).ok_or_else(|| format!("{module} could not be had: {said}{why}"))?;
    let count = carve(Path::new(root), &to, |file| {
        // Many are called the same. Those for another machine read its registers.
        let name = file.with_extension("").to_string_lossy().replace('/', "_");
        (!name.contains("_arm64_")).then_some(name)
    })?;
    println!("{corpus}\t{name}\t{count} objects");
    Ok(())
}

/// Unpacks the package and writes every object in it to the directory `to`, which is there when all are; returns how many
/// there were.
fn carve_package(package: &Path, to: &Path) -> Result<usize, String> {
    let root = beside(to, "unpacked");
    let _ = std::fs::remove_dir_all(&root);
    make(&root)?;
    command::run(command("dpkg-deb", &["--extract"]).arg(package).arg(&root))?;
    let count = carve(&root, to, |file| Some(file.file_stem()?.to_string_lossy().into_owned()));
    let _ = std::fs::remove_dir_all(&root);
    count
}

/// The directory for what becomes `to`.
fn beside(to: &Path, what: &str) -> PathBuf {
    to.with_file_name(format!("{}.{what}", to.file_name().unwrap_or_default().to_string_lossy()))
}

/// Writes every object in the files under `root` to the directory `to`, which is there when all are; returns how many
/// there were. They are called as `name` calls their file, by its path under `root`; of some files nothing is taken.
fn carve(root: &Path, to: &Path, name: impl Fn(&Path) -> Option<String>) -> Result<usize, String> {
    let objects = beside(to, "partial");
    let _ = std::fs::remove_dir_all(&objects);
    make(&objects)?;
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    // The same object is often in several executables.
    let mut seen = BTreeSet::new();
    for file in files {
        let Some(stem) = name(file.strip_prefix(root).unwrap_or(&file)) else { continue };
        let bytes = std::fs::read(&file).map_err(|err| format!("{}: {err}", file.display()))?;
        let mut number = 0;
        for object in embedded(&bytes) {
            if !seen.insert(object.to_vec()) {
                continue;
            }
            let name = match number {
                _ if object.len() == bytes.len() => format!("{stem}.o"),
                0 => format!("{stem}.bpf.o"),
                more => format!("{stem}.{more}.bpf.o"),
            };
            number += 1;
            let to = objects.join(name);
            std::fs::write(&to, object).map_err(|err| format!("{}: {err}", to.display()))?;
        }
    }
    std::fs::rename(&objects, to).map_err(|err| format!("{}: {err}", to.display()))?;
    Ok(seen.len())
}

/// Every eBPF object in `bytes`: an ELF file of eBPF's machine, as long as its sections and its section headers reach.
fn embedded(bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(4).position(|window| window == b"\x7fELF") {
        at += next;
        if let Some(sz) = object_sz(&bytes[at..]) {
            found.push(&bytes[at..at + sz]);
            at += sz;
        } else {
            at += 4;
        }
    }
    found
}

/// Size of the 64-bit eBPF object of this machine's byte order that `bytes` begin with.
fn object_sz(bytes: &[u8]) -> Option<usize> {
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| {
        let value = u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?);
        usize::try_from(value).ok()
    };
    if bytes.get(4) != Some(&2) || bytes.get(5) != Some(&1) || half(18)? != EM_BPF {
        return None;
    }
    let (headers, header_sz, count) = (long(40)?, usize::from(half(58)?), usize::from(half(60)?));
    let mut end = headers.checked_add(header_sz.checked_mul(count)?)?;
    for header in (0..count).map(|index| headers + index * header_sz) {
        const SHT_NOBITS: u8 = 8;
        if *bytes.get(header.checked_add(4)?)? != SHT_NOBITS {
            end = end.max(long(header + 24)?.checked_add(long(header + 32)?)?);
        }
    }
    (end <= bytes.len()).then_some(end)
}

/// All regular files under `directory`.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(directory).map_err(|err| format!("{}: {err}", directory.display()))?;
    for entry in entries.filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files)?,
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{embedded, object_sz};

    /// An ELF header of eBPF with one section header that says `body` bytes follow the header.
    fn object(body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 247;
        bytes[40] = 64; // section headers directly after the header
        bytes[58] = 64;
        bytes[60] = 1;
        let mut header = [0; 64];
        header[4] = 1;
        header[24] = 128;
        header[32] = body.len() as u8;
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn objects_are_found_in_what_embeds_them() {
        let (one, two) = (object(b"first"), object(b"the second"));
        let mut host = b"\x7fELF\x02\x01 an executable of another machine".to_vec();
        host.resize(100, 0);
        host.extend_from_slice(&one);
        host.extend_from_slice(b"in between");
        host.extend_from_slice(&two);
        assert_eq!(embedded(&host), [&one[..], &two[..]]);
    }

    #[test]
    fn an_object_that_reaches_beyond_its_file_is_none() {
        let mut bytes = object(b"cut");
        bytes.pop();
        assert_eq!(object_sz(&bytes), None);
        bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(object_sz(&bytes), None);
    }
}
