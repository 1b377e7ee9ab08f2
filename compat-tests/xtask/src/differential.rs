//! `cargo xtask differential`: our relocation against libbpf's, on other people's objects and the kernels of the cache.
//!
//! The objects are those of Debian's packages in the cache's `debs`, and the programs of the kernel's selftests, built
//! from its `linux-source` packages. These are GPL-2.0: they are built where they are needed and never committed.

use crate::command::{self, cargo, command};
use crate::{kernels, selftests};
use std::path::PathBuf;

/// `[--core-cases] [--all]`: the newest kernel of each series, or all; with `--core-cases` only the kernel's own cases for
/// CO-RE, on no kernel.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let (mut core_cases_alone, mut all) = (false, false);
    for arg in args {
        match *arg {
            "--core-cases" => core_cases_alone = true,
            "--all" => all = true,
            _ => return Err("differential takes --core-cases and --all".into()),
        }
    }
    let debs = command::cache().join("debs");
    let packages = selftests::listed(&debs)?;
    let named = |path: &PathBuf, prefix: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let sources: Vec<_> = packages.iter().filter(|path| named(path, "linux-source-")).collect();
    if sources.is_empty() {
        return Err(format!(
            "no linux-source-*.deb in {}; `apt-get download linux-source-6.12` there brings one",
            debs.display()
        ));
    }
    let mut directories = Vec::new();
    for source in sources {
        directories.push(selftests::build(source)?);
    }
    let differential = tool()?;
    for directory in &directories {
        command::run(command(&differential, &["core-cases"]).arg(directory))?;
    }
    if core_cases_alone {
        return Ok(());
    }
    let mut compare = command(&differential, &["kernels"]);
    for kernel in kernels::cached(all)? {
        compare.arg("--kernel").args(kernel);
    }
    let objects = packages.iter().filter(|path| !named(path, "linux-source-"));
    command::run(compare.arg("--objects").args(objects).args(&directories))
}

/// Builds what compares, and returns its path.
pub(crate) fn tool() -> Result<PathBuf, String> {
    command::run(&mut cargo(&["build", "--release", "--package", "libbpf-peer"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| command::root().join("target"), PathBuf::from);
    Ok(target.join("release/differential"))
}
