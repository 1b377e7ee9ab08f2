//! `cargo xtask kernels`: Debian's kernels by series, as packages in the cache.

use crate::apt::Apt;
use crate::command;
use std::cmp::Ordering;
use std::path::PathBuf;

/// series, pattern of the release, prefixes of its packages. In a pattern `#` stands for a number and `{arch}` for the
/// architecture.
const TABLE: &str = include_str!("../data/kernels.tsv");

struct Series<'a> {
    name: &'a str,
    release: &'a str,
    packages: Vec<&'a str>,
}

fn table() -> Vec<Series<'static>> {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        Some(Series {
            name: fields.next()?,
            release: fields.next()?,
            packages: fields.next()?.split(',').collect(),
        })
    };
    TABLE.lines().skip(1).filter_map(row).collect()
}

/// Where packages of kernels are kept.
pub(crate) fn directory() -> PathBuf {
    command::cache().join("kernels")
}

/// `[SERIES…] [--arch amd64|arm64] [--list] [--all]`
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let mut wanted = Vec::new();
    let (mut arch, mut list, mut all) = ("amd64", false, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--arch" => arch = args.next().ok_or("--arch needs amd64 or arm64")?,
            "--list" => list = true,
            "--all" => all = true,
            option if option.starts_with('-') => return Err(format!("kernels: unknown option {option}")),
            series => wanted.push(series),
        }
    }
    if !["amd64", "arm64"].contains(&arch) {
        return Err(format!("--arch {arch}: Debian's kernels are taken for amd64 and arm64"));
    }
    let table = table();
    if let Some(unknown) = wanted.iter().find(|name| !table.iter().any(|series| series.name == **name)) {
        let names: Vec<&str> = table.iter().map(|series| series.name).collect();
        return Err(format!("no series {unknown}; there are {}", names.join(", ")));
    }
    let apt = Apt::open()?;
    let names = apt.names("linux-")?;
    let directory = directory();
    std::fs::create_dir_all(&directory).map_err(|err| format!("{}: {err}", directory.display()))?;

    let mut missing = Vec::new();
    let mut packages = Vec::new();
    for series in table.iter().filter(|series| wanted.is_empty() || wanted.contains(&series.name)) {
        let mut releases = series.releases(&names, arch);
        if !all {
            releases.drain(..releases.len().saturating_sub(1));
        }
        if releases.is_empty() {
            missing.push(format!("{}{}: no such package", series.packages[0], series.release));
        }
        for release in releases {
            let package = |prefix: &&str| format!("{prefix}{release}:{arch}");
            packages.extend(series.packages.iter().map(package));
        }
    }
    let (packages, unknown): (Vec<String>, Vec<String>) = packages.into_iter().partition(|package| {
        let name = package.split(':').next();
        names.iter().any(|known| Some(known.as_str()) == name)
    });
    missing.extend(unknown.into_iter().map(|package| format!("{package}: not in the archive")));
    let found = apt.find(&packages)?;
    let mut there = Vec::new();
    for (package, found) in packages.into_iter().zip(found) {
        match found {
            Some(found) => there.push((package, found)),
            None => missing.push(format!("{package}: not in the archive")),
        }
    }
    let (taken, lost) = if list { Default::default() } else { apt.fetch(&there, &directory) };
    for (_, found) in &there {
        let state = match &found.file {
            _ if list => "in the archive",
            file if taken.contains(file) => "taken",
            file if lost.contains(file) => "not to be had",
            _ => "was there",
        };
        println!("{}\t{state}", found.file);
    }
    for line in &missing {
        println!("{line}");
    }
    if lost.is_empty() {
        Ok(())
    } else {
        Err(format!("{} of {} packages could not be had", lost.len(), there.len()))
    }
}

/// The kernels of the cache, each as the packages that have its types and its configuration: the newest of each series and
/// architecture, or all of them.
pub(crate) fn cached(all: bool) -> Result<Vec<Vec<PathBuf>>, String> {
    let directory = directory();
    let entries = std::fs::read_dir(&directory).map_err(|err| format!("{}: {err}", directory.display()))?;
    let files: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let package = |file: &String| file.split_once('_').map(|(package, _)| package.to_owned());
    let names: Vec<String> = files.iter().filter_map(package).collect();
    let mut kernels = Vec::new();
    for series in table() {
        for arch in ["amd64", "arm64"] {
            let mut releases = series.releases(&names, arch);
            releases.drain(..releases.len().saturating_sub(if all { usize::MAX } else { 1 }));
            for release in releases {
                let prefixes = series.packages.iter().filter(|prefix| **prefix != "linux-modules-");
                let wanted: Vec<String> = prefixes.map(|prefix| format!("{prefix}{release}")).collect();
                let of = |file: &&String| package(file).is_some_and(|name| wanted.contains(&name));
                kernels.push(files.iter().filter(of).map(|file| directory.join(file)).collect());
            }
        }
    }
    if kernels.is_empty() {
        return Err(format!("no kernels in {}; `cargo xtask kernels` brings some", directory.display()));
    }
    Ok(kernels)
}

/// The packages of the cached amd64 kernel that was built from a source package of this version.
pub(crate) fn of_version(version: &str) -> Result<Vec<PathBuf>, String> {
    let end = format!("_{version}_amd64.deb");
    let is = |path: &PathBuf| path.to_string_lossy().ends_with(&end);
    let found = cached(true)?.into_iter().find(|packages| packages.iter().any(is));
    found.ok_or_else(|| {
        format!(
            "no kernel of version {version} in {}; `cargo xtask kernels` brings some",
            directory().display()
        )
    })
}

impl Series<'_> {
    /// The releases of this series that have a first package in `names`, oldest first.
    fn releases<'n>(&self, names: &'n [String], arch: &str) -> Vec<&'n str> {
        let pattern = self.release.replace("{arch}", arch);
        let release = |name: &'n String| name.strip_prefix(self.packages[0]);
        let mut found: Vec<&str> =
            names.iter().filter_map(release).filter(|release| matches(&pattern, release)).collect();
        found.sort_by(|one, other| by_version(one, other));
        found.dedup();
        found
    }
}

/// Whether `text` is as `pattern`, in which `#` is one or more digits.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('#') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && matches(after, &rest[digits..])
        }),
    }
}

/// Order in which numbers inside names count as numbers: 6.12.9 before 6.12.90.
fn by_version(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([a, ..], [b, ..]) = (one, other) {
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (number_a, number_b) = (number(&mut one), number(&mut other));
            match number_a.cmp(&number_b) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        } else if a == b {
            (one, other) = (&one[1..], &other[1..]);
        } else {
            return a.cmp(b);
        }
    }
    one.len().cmp(&other.len())
}

/// Takes the number that `text` begins with.
fn number(text: &mut &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..digits]
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    *text = &text[digits..];
    value
}

#[cfg(test)]
mod tests {
    use super::{by_version, matches, table};

    #[test]
    fn a_series_takes_its_own_releases_newest_last() {
        let names: Vec<String> = [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64-unsigned",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-47-cloud-arm64",
            "linux-image-6.12.117+deb13-cloud-amd64",
        ]
        .map(str::to_owned)
        .to_vec();
        let table = table();
        let series = table.iter().find(|series| series.name == "6.1").unwrap();
        assert_eq!(series.releases(&names, "amd64"), ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"]);
        assert_eq!(series.releases(&names, "arm64"), ["6.1.0-47-cloud-arm64"]);
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut releases = ["6.12.117+deb13", "6.12.90+deb13", "6.12.90+deb13.1", "6.2.1"];
        releases.sort_by(|one, other| by_version(one, other));
        assert_eq!(releases, ["6.2.1", "6.12.90+deb13", "6.12.90+deb13.1", "6.12.117+deb13"]);
    }

    #[test]
    fn a_hash_sign_is_digits_only() {
        assert!(matches("6.12.#+deb13", "6.12.117+deb13"));
        assert!(!matches("6.12.#+deb13", "6.12.+deb13"));
        assert!(!matches("6.12.#+deb13", "6.12.90+deb13.1"));
    }
}
