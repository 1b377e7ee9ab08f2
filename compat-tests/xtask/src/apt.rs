//! A private root for apt under the cache: packages of every Debian release at once, the machine's own apt untouched.

use crate::command::{self, command};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Debian's archives that have kernels, oldest first.
const SUITES: [(&str, &str); 11] = [
    ("debian", "bullseye"),
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian", "bookworm-backports"),
    ("debian-security", "bookworm-security"),
    ("debian", "trixie"),
    ("debian", "trixie-backports"),
    ("debian-security", "trixie-security"),
    ("debian", "forky"),
    ("debian", "sid"),
    ("debian", "experimental"),
];

/// Age from which package lists are fetched anew.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The root, with package lists in it.
pub(crate) struct Apt {
    config: PathBuf,
}

/// A package file as the archive names it.
#[derive(Clone)]
pub(crate) struct Download {
    /// `linux-image-…_amd64.deb`
    pub(crate) file: String,
    sz: u64,
}

impl Download {
    /// A line of `apt-get download --print-uris`: address in quotes, file, size, digest.
    fn parse(line: &str) -> Option<Download> {
        let mut fields = line.split_whitespace().skip(1);
        Some(Download { file: fields.next()?.to_owned(), sz: fields.next()?.parse().ok()? })
    }

    fn is_for(&self, arch: &str) -> bool {
        self.file.ends_with(&format!("_{arch}.deb")) || self.file.ends_with("_all.deb")
    }
}

impl Apt {
    /// Makes the root if it is missing and fetches package lists that are missing or older than a day.
    pub(crate) fn open() -> Result<Apt, String> {
        if !Path::new(KEYRING).is_file() {
            return Err(format!("{KEYRING} is missing: install debian-archive-keyring"));
        }
        let root = command::cache().join("apt");
        for directory in ["state/lists/partial", "cache/archives/partial"] {
            let directory = root.join(directory);
            std::fs::create_dir_all(&directory).map_err(|err| format!("{}: {err}", directory.display()))?;
        }
        let at = |name: &str| format!("{}/{name}", root.display());
        write(&root.join("state/status"), "")?;
        let source = |(archive, suite): &(&str, &str)| {
            format!("deb [signed-by={KEYRING}] http://deb.debian.org/{archive} {suite} main\n")
        };
        let sources: String = SUITES.iter().map(source).collect();
        let changed = std::fs::read_to_string(root.join("sources.list")).is_ok_and(|old| old != sources);
        write(&root.join("sources.list"), &sources)?;
        let config = format!(
            "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\nDir::State \"{}\";\nDir::State::status \"{}\";\n\
             Dir::Cache \"{}\";\nAPT::Architectures {{\"amd64\";\"arm64\";}};\n\
             Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled \"false\";\n\
             APT::Sandbox::User \"\";\n",
            at("sources.list"),
            at("state"),
            at("state/status"),
            at("cache"),
        );
        let apt = Apt { config: root.join("apt.conf") };
        write(&apt.config, &config)?;

        let stamp = root.join("updated");
        let age = std::fs::metadata(&stamp).and_then(|meta| meta.modified()).map(|then| then.elapsed());
        if changed || !matches!(age, Ok(Ok(age)) if age < STALE) {
            command::run(&mut apt.command("apt-get", &["update"]))?;
            // Written whatever it holds: its time is what counts.
            std::fs::write(&stamp, "").map_err(|err| format!("{}: {err}", stamp.display()))?;
        }
        Ok(apt)
    }

    /// Names of all packages that begin with `prefix`, of every architecture.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>, String> {
        let (ok, names, errors) = command::output(&mut self.command("apt-cache", &["pkgnames", prefix]))?;
        if ok { Ok(names.lines().map(str::to_owned).collect()) } else { Err(errors) }
    }

    /// What the archive has for each of `packages` (`name`, `name:arch` or `name/suite`); `None` where it has nothing.
    pub(crate) fn find(&self, packages: &[String]) -> Result<Vec<Option<Download>>, String> {
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let mut uris = self.command("apt-get", &["download", "--print-uris"]);
        let (ok, uris, _) = command::output(uris.args(packages))?;
        if ok {
            let files: Vec<Download> = uris.lines().filter_map(Download::parse).collect();
            return Ok(packages
                .iter()
                .map(|package| {
                    let name = package.split([':', '/']).next().unwrap_or(package);
                    let of = |file: &&Download| file.file.split('_').next() == Some(name);
                    files
                        .iter()
                        .filter(of)
                        .find(|file| package.split_once(':').is_none_or(|p| file.is_for(p.1)))
                        .cloned()
                })
                .collect());
        }
        // One that is not there fails all: each is asked for alone.
        if let [_] = packages {
            return Ok(vec![None]);
        }
        let halves = packages.split_at(packages.len() / 2);
        let mut found = self.find(halves.0)?;
        found.extend(self.find(halves.1)?);
        Ok(found)
    }

    /// Brings those of `packages` into `directory` that are not there with the right size, and returns the names of the
    /// files that were taken and of those that could not be had. apt checks the digests.
    pub(crate) fn fetch(
        &self,
        packages: &[(String, Download)],
        directory: &Path,
    ) -> (Vec<String>, Vec<String>) {
        let there = |found: &Download| {
            std::fs::metadata(directory.join(&found.file)).is_ok_and(|meta| meta.len() == found.sz)
        };
        let absent: Vec<&(String, Download)> = packages.iter().filter(|package| !there(&package.1)).collect();
        if absent.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let mut download = self.command("apt-get", &["download"]);
        download.args(absent.iter().map(|package| &package.0)).current_dir(directory);
        // A package that its mirror has lost costs that package only: what came is looked at below.
        if let Err(err) = command::run(&mut download) {
            eprintln!("xtask: {err}");
        }
        let names = |is: bool| {
            absent.iter().filter(|p| there(&p.1) == is).map(|p| p.1.file.clone()).collect::<Vec<_>>()
        };
        (names(true), names(false))
    }

    fn command(&self, program: &str, args: &[&str]) -> std::process::Command {
        let mut command = command(program, args);
        command.env("APT_CONFIG", &self.config);
        command
    }
}

/// Writes a file that is not there or has another content. apt builds its index of all packages anew, which takes longer
/// than all else, wherever one of its files is younger than the index.
fn write(path: &Path, content: &str) -> Result<(), String> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    std::fs::write(path, content).map_err(|err| format!("{}: {err}", path.display()))
}
