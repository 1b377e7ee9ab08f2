//! The kernel's own eBPF programs, built from Debian's `linux-source` packages, and headers that others are built with.
//!
//! They are GPL-2.0: they are built where they are needed and never committed.

use crate::command::{self, command};
use crate::{differential, kernels};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What of a source package is needed to build the selftests' programs.
const PARTS: [&str; 5] = [
    "tools/testing/selftests/bpf",
    "tools/lib/bpf",
    "tools/include",
    "include/uapi/linux/bpf.h",
    "scripts/bpf_doc.py",
];

/// A source package, unpacked in the cache, with the headers that its programs include.
pub(crate) struct Sources {
    /// `linux-source-6.12_6.12.117-1_all`, in the cache.
    pub(crate) top: PathBuf,
    /// `vmlinux.h` and libbpf's headers under `bpf/`.
    pub(crate) include: PathBuf,
    /// The tree of the sources.
    pub(crate) tree: PathBuf,
}

impl Sources {
    /// Unpacks `package` where that was not done yet.
    pub(crate) fn unpack(package: &Path) -> Result<Sources, String> {
        let stem = package.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // linux-source-6.12_6.12.117-1_all
        let mut parts = stem.split('_');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let top = command::cache().join("selftests").join(&stem);
        let sources = Sources { include: top.join("include"), tree: top.join(name), top };
        let Sources { top, include, tree } = &sources;
        let vmlinux = include.join("vmlinux.h");
        if vmlinux.is_file() {
            return Ok(sources);
        }
        let unpacked = top.join("package");
        make(&unpacked)?;
        make(&include.join("bpf"))?;
        command::run(command("dpkg-deb", &["--extract"]).arg(package).arg(&unpacked))?;
        let archive = unpacked.join(format!("usr/src/{name}.tar.xz"));
        let wanted = PARTS.map(|part| format!("{name}/{part}"));
        let mut tar = command("tar", &["--extract", "--directory"]);
        command::run(tar.arg(top).arg("--file").arg(archive).args(wanted))?;
        let _ = std::fs::remove_dir_all(&unpacked);
        for header in listed(&tree.join("tools/lib/bpf"))? {
            if header.extension() == Some("h".as_ref()) {
                let to = include.join("bpf").join(header.file_name().unwrap_or_default());
                std::fs::copy(header, &to).map_err(|err| format!("{}: {err}", to.display()))?;
            }
        }
        let helpers = command("python3", &[])
            .arg(tree.join("scripts/bpf_doc.py"))
            .args(["--header", "--file"])
            .arg(tree.join("tools/include/uapi/linux/bpf.h"))
            .output()
            .map_err(|err| format!("python3: {err}"))?;
        save(&include.join("bpf/bpf_helper_defs.h"), &helpers.stdout)?;
        let btf = top.join("vmlinux.btf");
        command::run(command(differential::tool()?, &["btf"]).arg(&btf).args(kernels::of_version(version)?))?;
        let types = command("bpftool", &["btf", "dump", "file"])
            .arg(&btf)
            .args(["format", "c"])
            .output()
            .map_err(|err| format!("bpftool: {err}"))?;
        // Complete once it is there.
        save(&vmlinux, &types.stdout)?;
        Ok(sources)
    }

    /// Compiles programs to objects, with these directories of headers beside the package's own, and returns how many do
    /// not compile. What is there already is left as it is.
    pub(crate) fn compile(&self, programs: &[Program], include: &[PathBuf]) -> Result<usize, String> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut failed = 0;
            while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                failed += usize::from(!program.object.is_file() && !self.one(program, include)?);
            }
            Ok::<_, String>(failed)
        };
        std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread died".to_owned())?).sum()
        })
    }

    fn one(&self, program: &Program, include: &[PathBuf]) -> Result<bool, String> {
        let building = program.object.with_extension("building");
        let mut clang = command("clang-19", &["-g", "-O2", "-target", "bpfel", "-std=gnu11", "-w"]);
        clang.args(["-D__TARGET_ARCH_x86", "-fno-strict-aliasing"]).arg(format!("-mcpu={}", program.cpu));
        clang.args(["-idirafter", "/usr/include/x86_64-linux-gnu"]);
        clang.arg("-idirafter").arg(self.tree.join("tools/include"));
        // The same bytes wherever the cache is: paths are in the line information.
        clang.arg(format!("-ffile-prefix-map={}=.", self.top.display()));
        for path in std::iter::once(&self.include).chain(include) {
            clang.arg("-I").arg(path);
        }
        clang.arg("-c").arg(&program.source).arg("-o").arg(&building);
        let compiled = clang.stderr(Stdio::null()).status().map_err(|err| format!("clang-19: {err}"))?;
        if !compiled.success() {
            return Ok(false);
        }
        // BTF has what loaders read; DWARF is most of the file.
        let (stripped, _, said) =
            command::output(command("llvm-strip-19", &["--strip-debug"]).arg(&building))?;
        if !stripped {
            return Err(format!("llvm-strip-19: {said}"));
        }
        std::fs::rename(&building, &program.object)
            .map_err(|err| format!("{}: {err}", program.object.display()))?;
        Ok(true)
    }
}

/// A program in C and the object that is made of it.
pub(crate) struct Program {
    pub(crate) source: PathBuf,
    pub(crate) object: PathBuf,
    /// The instruction set: `v3`, `v4`.
    pub(crate) cpu: String,
}

/// Builds what compiles of a source package's selftests, once, and returns the directory of the objects.
pub(crate) fn build(package: &Path) -> Result<PathBuf, String> {
    let sources = Sources::unpack(package)?;
    let objects = sources.top.join("objects");
    if objects.is_dir() {
        return Ok(objects);
    }
    let building = sources.top.join("building");
    make(&building)?;
    let bpf = sources.tree.join("tools/testing/selftests/bpf");
    let mut programs = Vec::new();
    for source in listed(&bpf.join("progs"))? {
        if source.extension() == Some("c".as_ref()) {
            let object = building.join(source.with_extension("o").file_name().unwrap_or_default());
            programs.push(Program { source, object, cpu: "v3".to_owned() });
        }
    }
    let include = [
        bpf.clone(),
        bpf.join("bpf_testmod"),
        bpf.join("test_kmods"),
        bpf.join("libarena/include"),
        sources.tree.join("tools/include/uapi"),
    ];
    let failed = sources.compile(&programs, &include)?;
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    eprintln!(
        "xtask: {name}: {} programs of the selftests built, {failed} do not compile here",
        programs.len() - failed
    );
    // Complete once it has its name.
    std::fs::rename(&building, &objects).map_err(|err| format!("{}: {err}", objects.display()))?;
    Ok(objects)
}

/// What is in a directory, sorted.
pub(crate) fn listed(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|err| format!("{}: {err}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

pub(crate) fn make(directory: &Path) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|err| format!("{}: {err}", directory.display()))
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err(format!("{}: nothing to write", path.display()));
    }
    std::fs::write(path, bytes).map_err(|err| format!("{}: {err}", path.display()))
}
