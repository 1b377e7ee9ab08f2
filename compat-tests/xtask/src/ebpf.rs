//! `cargo xtask ebpf`: builds `ebpf/programs/*.bpf.c` into `ebpf/objects`, the same bytes in any checkout.

use crate::Done;
use crate::command::{command, output, root};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CLANG: &str = "clang-19";
const STRIP: &str = "llvm-strip-19";
const PROGRAMS: &str = "ebpf/programs";
const OBJECTS: &str = "ebpf/objects";

/// Says which compiler made the committed objects: its version line.
const COMPILER: &str = "ebpf/objects/COMPILER";

/// The include that makes a program depend on the architecture.
const PT_REGS: &str = "#include <portolan/pt_regs.h>";

/// What a program is built for.
struct Target {
    /// As the objects' names end.
    name: &'static str,
    /// As clang calls the byte order.
    byte_order: &'static str,
    /// The architecture whose registers `pt_regs.h` describes.
    define: Option<&'static str>,
}

const GENERIC: &[Target] = &[
    Target { name: "bpfel", byte_order: "bpfel", define: None },
    Target { name: "bpfeb", byte_order: "bpfeb", define: None },
];
const PER_ARCH: &[Target] = &[
    Target { name: "bpfel-x86_64", byte_order: "bpfel", define: Some("-DARCH_x86_64") },
    Target { name: "bpfel-aarch64", byte_order: "bpfel", define: Some("-DARCH_aarch64") },
];

/// Builds all objects: into `ebpf/objects`, or with `check` into a temporary directory to compare them with those.
///
/// The check is skipped if the compiler at hand is not the one that made the committed objects: another version may well
/// produce other code.
pub(crate) fn run(check: bool) -> Result<Done, String> {
    let version = compiler_version()?;
    let objects = root().join(OBJECTS);
    if !check {
        fs::create_dir_all(&objects).map_err(|error| format!("cannot create {OBJECTS}: {error}"))?;
        build_into(&objects)?;
        remove_stale(&objects)?;
        fs::write(root().join(COMPILER), format!("{version}\n"))
            .map_err(|error| format!("cannot write {COMPILER}: {error}"))?;
        return Ok(Done::Passed);
    }
    let recorded = fs::read_to_string(root().join(COMPILER))
        .map_err(|error| format!("cannot read {COMPILER}: {error}"))?;
    let recorded = recorded.trim_end();
    if recorded != version {
        return Ok(Done::Skipped(format!("the objects were built by `{recorded}`, here is `{version}`")));
    }
    let rebuilt = std::env::temp_dir().join(format!("portolan-ebpf-{}", std::process::id()));
    fs::create_dir(&rebuilt).map_err(|error| format!("cannot create {}: {error}", rebuilt.display()))?;
    let compared = build_into(&rebuilt).and_then(|()| compare(&objects, &rebuilt));
    fs::remove_dir_all(&rebuilt).map_err(|error| format!("cannot remove {}: {error}", rebuilt.display()))?;
    println!("{} objects rebuilt, every byte the same", compared?);
    Ok(Done::Passed)
}

fn compiler_version() -> Result<String, String> {
    let (_, text, _) = output(&mut command(CLANG, &["--version"]))
        .map_err(|error| format!("{error}; `apt-get install {CLANG} llvm-19` provides it"))?;
    text.lines().next().map(str::to_owned).ok_or_else(|| format!("{CLANG} --version printed nothing"))
}

fn build_into(objects: &Path) -> Result<(), String> {
    for source in sources()? {
        for target in targets(&source)? {
            compile(&source, target, &objects.join(object_name(&source, target)))?;
        }
    }
    Ok(())
}

/// The names of the programs without `.bpf.c`, sorted.
fn sources() -> Result<Vec<String>, String> {
    let names = file_names(&root().join(PROGRAMS))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".bpf.c").map(str::to_owned)).collect())
}

fn targets(source: &str) -> Result<&'static [Target], String> {
    let path = format!("{PROGRAMS}/{source}.bpf.c");
    let text =
        fs::read_to_string(root().join(&path)).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(if text.lines().any(|line| line == PT_REGS) { PER_ARCH } else { GENERIC })
}

fn object_name(source: &str, target: &Target) -> String {
    format!("{source}.{}.o", target.name)
}

/// Compiles one program.
///
/// The instruction set is v1, which every kernel's verifier takes: v2 (v4.14) and v3 (v5.1) would only save a few
/// instructions in programs of this size. Paths are relative to the top directory, so that the names of sources in the
/// objects' BTF are the same in every checkout. Debug information is removed but for .BTF and .BTF.ext.
fn compile(source: &str, target: &Target, object: &Path) -> Result<(), String> {
    let object = object.to_str().ok_or("the path of the objects is not UTF-8")?;
    let source = format!("{PROGRAMS}/{source}.bpf.c");
    let mut clang = command(CLANG, &["-target", target.byte_order, "-mcpu=v1", "-O2", "-g", "-nostdinc"]);
    clang.args(["-Wall", "-Wextra", "-Werror", "-fdebug-compilation-dir=.", "-I", "ebpf/include"]);
    clang.args(target.define).args(["-c", &source, "-o", object]);
    for tool in [&mut clang, &mut command(STRIP, &["-g", object])] {
        let (succeeded, _, errors) = output(tool)?;
        if !succeeded {
            return Err(format!("{source} for {}:\n{errors}", target.name));
        }
    }
    Ok(())
}

/// Removes objects whose source is gone.
fn remove_stale(objects: &Path) -> Result<(), String> {
    let mut expected = BTreeSet::new();
    for source in sources()? {
        expected.extend(targets(&source)?.iter().map(|target| object_name(&source, target)));
    }
    for name in object_names(objects)?.difference(&expected) {
        fs::remove_file(objects.join(name))
            .map_err(|error| format!("cannot remove {OBJECTS}/{name}: {error}"))?;
    }
    Ok(())
}

/// The number of objects, if both directories hold the same ones with the same bytes.
fn compare(committed: &Path, rebuilt: &Path) -> Result<usize, String> {
    let (old, new) = (object_names(committed)?, object_names(rebuilt)?);
    if old != new {
        let names: Vec<_> = old.symmetric_difference(&new).map(String::as_str).collect();
        return Err(format!(
            "{OBJECTS} and the sources disagree on {}: run `cargo xtask ebpf`",
            names.join(", ")
        ));
    }
    for name in &old {
        let read = |directory: &Path| {
            fs::read(directory.join(name)).map_err(|error| format!("cannot read {name}: {error}"))
        };
        if read(committed)? != read(rebuilt)? {
            return Err(format!("{OBJECTS}/{name} is not what its source builds to: run `cargo xtask ebpf`"));
        }
    }
    Ok(old.len())
}

fn object_names(directory: &Path) -> Result<BTreeSet<String>, String> {
    Ok(file_names(directory)?.into_iter().filter(|name| name.strip_suffix(".o").is_some()).collect())
}

fn file_names(directory: &Path) -> Result<BTreeSet<String>, String> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        names.insert(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
