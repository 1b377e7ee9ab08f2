//! What the tests need from the distribution: looked for first, installed through apt only where missing.

use crate::command::{self, command, in_path};
use std::path::{Path, PathBuf};

/// A Debian package and the file that shows that it is there.
struct Package {
    name: &'static str,
    present: fn() -> bool,
}

const PACKAGES: [Package; 9] = [
    Package { name: "build-essential", present: || in_path("cc") && in_path("c++") && in_path("make") },
    Package { name: "clang-19", present: || in_path("clang-19") },
    Package { name: "llvm-19", present: || in_path("llvm-strip-19") },
    // What libbpf, the peer in differential tests, is built with.
    Package { name: "libelf-dev", present: || header("libelf.h") },
    Package { name: "zlib1g-dev", present: || header("zlib.h") },
    Package { name: "pkg-config", present: || in_path("pkg-config") },
    Package { name: "bpftool", present: || in_path("bpftool") },
    // What micro-VMs run on.
    Package { name: "qemu-system-x86", present: || in_path("qemu-system-x86_64") },
    Package { name: "iproute2", present: || in_path("ip") },
];

fn header(name: &str) -> bool {
    Path::new("/usr/include").join(name).is_file()
}

/// Installs the packages that are missing. Without root or without apt it fails with the command to run.
pub(crate) fn install() -> Result<(), String> {
    let missing = |package: &&Package| !(package.present)();
    let names: Vec<&str> = PACKAGES.iter().filter(missing).map(|package| package.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --yes --no-install-recommends {}", names.join(" "));
    if !in_path("apt-get") {
        return Err(format!(
            "missing: {}; this system has no apt-get: install what holds these Debian packages",
            names.join(", ")
        ));
    }
    if !is_root()? {
        return Err(format!("missing: {}; run `sudo {by_hand}`", names.join(", ")));
    }
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        command::run(&mut apt)
    };
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(names.iter().copied()).collect();
    // Package lists of a fresh image are absent or stale: only then is the network asked for them.
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))?;
    match PACKAGES.iter().find(missing) {
        None => Ok(()),
        Some(package) => {
            Err(format!("`{by_hand}` succeeded, but what {} holds is still missing", package.name))
        }
    }
}

/// The path of a cargo tool of exactly this version, built into the cache where it is missing.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf, String> {
    let root = command::cache().join(format!("{name}-{version}"));
    let binary = root.join("bin").join(name);
    if !binary.is_file() {
        let root = root.to_str().ok_or("the cache directory's name is not UTF-8")?;
        command::run(&mut command::cargo(&[
            "install",
            "--locked",
            "--root",
            root,
            "--version",
            version,
            name,
        ]))?;
    }
    Ok(binary)
}

/// Whether this process may install packages. The owner of /proc/self is the effective user.
fn is_root() -> Result<bool, String> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata("/proc/self").map_err(|err| format!("/proc/self: {err}"))?;
    Ok(meta.uid() == 0)
}
