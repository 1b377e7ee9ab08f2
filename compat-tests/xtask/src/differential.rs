//! `cargo xtask differential`: our relocation against libbpf's, on other people's objects and the kernels of the cache.
//!
//! The objects are those of Debian's packages in the cache's `debs`, and the programs of the kernel's selftests, built
//! from its `linux-source` packages. These are GPL-2.0: they are built where they are needed and never committed.

use crate::command::{self, cargo, command};
use crate::kernels;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What of a source package is needed to build the selftests' programs.
const PARTS: [&str; 6] = [
    "tools/testing/selftests/bpf",
    "tools/lib/bpf",
    "tools/include/linux",
    "tools/include/uapi",
    "include/uapi/linux/bpf.h",
    "scripts/bpf_doc.py",
];

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
    let packages = listed(&debs)?;
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
    let mut selftests = Vec::new();
    for source in sources {
        selftests.push(build(source)?);
    }
    let differential = tool()?;
    for directory in &selftests {
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
    command::run(compare.arg("--objects").args(objects).args(&selftests))
}

/// Builds what compares, and returns its path.
fn tool() -> Result<PathBuf, String> {
    command::run(&mut cargo(&["build", "--release", "--package", "libbpf-peer"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| command::root().join("target"), PathBuf::from);
    Ok(target.join("release/differential"))
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|err| format!("{}: {err}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Builds what compiles of a source package's selftests, once, and returns the directory of the objects.
pub(crate) fn build(package: &Path) -> Result<PathBuf, String> {
    let stem = package.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // linux-source-6.12_6.12.117-1_all
    let name = stem.split('_').next().unwrap_or_default();
    let top = command::cache().join("selftests").join(&stem);
    let objects = top.join("objects");
    if objects.is_dir() {
        return Ok(objects);
    }
    let make =
        |path: &Path| std::fs::create_dir_all(path).map_err(|err| format!("{}: {err}", path.display()));
    let (unpacked, include) = (top.join("package"), top.join("include"));
    make(&unpacked)?;
    make(&include.join("bpf"))?;
    command::run(command("dpkg-deb", &["--extract"]).arg(package).arg(&unpacked))?;
    let archive = unpacked.join(format!("usr/src/{name}.tar.xz"));
    let wanted = PARTS.map(|part| format!("{name}/{part}"));
    command::run(
        command("tar", &["--extract", "--directory"]).arg(&top).arg("--file").arg(archive).args(wanted),
    )?;
    let source = top.join(name);
    let bpf = source.join("tools/testing/selftests/bpf");
    for header in
        listed(&source.join("tools/lib/bpf"))?.iter().filter(|path| path.extension() == Some("h".as_ref()))
    {
        let to = include.join("bpf").join(header.file_name().unwrap_or_default());
        std::fs::copy(header, &to).map_err(|err| format!("{}: {err}", to.display()))?;
    }
    let doc = source.join("scripts/bpf_doc.py");
    let uapi = source.join("tools/include/uapi");
    let helpers = command("python3", &[])
        .arg(doc)
        .args(["--header", "--file"])
        .arg(uapi.join("linux/bpf.h"))
        .output()
        .map_err(|err| format!("python3: {err}"))?;
    save(&include.join("bpf/bpf_helper_defs.h"), &helpers.stdout)?;
    // The newest kernel's types, so that the programs are the same wherever they are built.
    let newest = kernels::cached(false)?.pop().unwrap_or_default();
    let vmlinux = top.join("vmlinux.btf");
    command::run(command(&tool()?, &["btf"]).arg(&vmlinux).args(newest))?;
    let types = command("bpftool", &["btf", "dump", "file"])
        .arg(&vmlinux)
        .args(["format", "c"])
        .output()
        .map_err(|err| format!("bpftool: {err}"))?;
    save(&include.join("vmlinux.h"), &types.stdout)?;
    // Complete once it has its name.
    let building = top.join("building");
    make(&building)?;
    let (mut built, mut failed) = (0, 0);
    for program in listed(&bpf.join("progs"))?.iter().filter(|path| path.extension() == Some("c".as_ref())) {
        let object = building.join(program.with_extension("o").file_name().unwrap_or_default());
        let mut clang =
            command("clang-19", &["-g", "-O2", "-target", "bpfel", "-mcpu=v3", "-std=gnu11", "-w"]);
        clang.args([
            "-D__TARGET_ARCH_x86",
            "-fno-strict-aliasing",
            "-idirafter",
            "/usr/include/x86_64-linux-gnu",
        ]);
        // The same bytes wherever the cache is: paths are in the line information.
        clang.arg(format!("-ffile-prefix-map={}=.", top.display()));
        for path in [&include, &bpf, &bpf.join("bpf_testmod"), &bpf.join("test_kmods"), &uapi] {
            clang.arg("-I").arg(path);
        }
        let done = clang.arg("-c").arg(program).arg("-o").arg(&object).stderr(Stdio::null()).status();
        if done.map_err(|err| format!("clang-19: {err}"))?.success() {
            // BTF has what loaders read; DWARF is most of the file.
            let (stripped, _, said) =
                command::output(command("llvm-strip-19", &["--strip-debug"]).arg(&object))?;
            if !stripped {
                return Err(format!("llvm-strip-19: {said}"));
            }
            built += 1;
        } else {
            failed += 1;
        }
    }
    eprintln!("xtask: {name}: {built} programs of the selftests built, {failed} do not compile here");
    std::fs::rename(&building, &objects).map_err(|err| format!("{}: {err}", objects.display()))?;
    Ok(objects)
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err(format!("{}: nothing to write", path.display()));
    }
    std::fs::write(path, bytes).map_err(|err| format!("{}: {err}", path.display()))
}
