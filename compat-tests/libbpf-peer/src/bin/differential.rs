//! Holds our relocation against libbpf's, instruction for instruction. `cargo xtask differential` runs it.
//!
//! `kernels --kernel FILE… … --objects SOURCE…`: every object found in the sources against every kernel, two kernels at
//! a time, each read from its files when its turn comes. libbpf looks externs up in `/sys/kernel/btf/vmlinux` and in the
//! running kernel's configuration: each kernel gets a process whose mount namespace has its own there.
//!
//! `core-cases DIRECTORY`: the kernel's own cases, every `test_core_reloc_*.o` against the types of every
//! `btf__core_reloc_*.o`, and by name the pairs that its own tests have.
//!
//! `btf OUT FILE…`: a kernel's types, for those who want a header of them.

use btf_catalog::core::{KernelSide, KernelSymbol, ReloOutcome, Relocator, TargetBtf};
use btf_catalog::kernel::{self, KernelConfig, Options};
use btf_catalog::scan::{Finder, Limits, files};
use btf_catalog::{BpfObject, Btf};
use libbpf_peer::{Against, Setup, Tally, compare};
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const ACCEPTED: &str = include_str!("../../data/accepted.tsv");
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Lays a kernel's BTF and configuration over those of the running one, which libbpf also reads where an option is not
/// set: `PLACE BTF CONFIG COMMAND…`.
const AS_THIS_KERNEL: &str = r#"
mount --bind "$2" "$1" || exit
for config in /proc/config.gz "/boot/config-$(uname -r)"; do
    if [ -e "$config" ]; then mount --bind "$3" "$config" || exit; fi
done
shift 3
exec "$@"
"#;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["kernels", ref rest @ ..] => kernels(rest),
        ["btf", out, ref files @ ..] => btf(out, files).map(|()| true),
        ["core-cases", directory] => core_cases(Path::new(directory)),
        ["one", btf, config, ref objects @ ..] => one(btf, config, objects).map(|()| true),
        _ => {
            eprintln!(
                "usage: differential kernels --kernel FILE… … --objects SOURCE… | core-cases DIRECTORY | btf OUT FILE…"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let path = path.as_ref();
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// A directory that is removed with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("portolan-differential-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What of a kernel's files is read: neither modules nor image.
const IDENTITY: Options = Options { modules: false, image: false };
/// Kernels that are compared at a time.
const AT_A_TIME: usize = 2;

/// Writes the types of the kernel in `files`.
fn btf(out: &str, files: &[&str]) -> Result<(), String> {
    let kernels = kernel::read(files, IDENTITY).map_err(|error| error.to_string())?;
    let types = kernels.into_iter().find_map(|kernel| kernel.btf);
    write(Path::new(out), &types.ok_or_else(|| format!("no BTF in {}", files.join(" ")))?)
}

/// Every kernel against every object; whether all that differs is accepted.
fn kernels(args: &[&str]) -> Result<bool, String> {
    let (mut kernels, mut sources) = (Vec::<Vec<&str>>::new(), None);
    for arg in args {
        match (*arg, &mut sources) {
            ("--kernel", None) => kernels.push(Vec::new()),
            ("--objects", None) => sources = Some(Vec::new()),
            (source, Some(sources)) => sources.push(source),
            (file, None) => kernels.last_mut().ok_or("a file before --kernel")?.push(file),
        }
    }
    let scratch = Scratch::new()?;
    let objects = objects(&sources.unwrap_or_default(), &scratch.0)?;
    println!("{} kernels, {} objects", kernels.len(), objects.len());
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let work = || -> Result<(), String> {
        while let Some((number, files)) = {
            let number = next.fetch_add(1, Relaxed);
            kernels.get(number).map(|files| (number, files))
        } {
            let began = Instant::now();
            let found = kernel(number, files, &objects, &scratch.0)?;
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, lines) in found {
                report.add(&name, &lines, began.elapsed())?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = [(); AT_A_TIME].map(|()| scope.spawn(work));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Err("a thread panicked".to_owned())))
    })?;
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner).print())
}

/// Compares the objects against the kernel in `files`: its name, and the lines that its process printed.
fn kernel(
    number: usize,
    files: &[&str],
    objects: &[PathBuf],
    scratch: &Path,
) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for kernel in kernel::read(files, IDENTITY).map_err(|error| format!("{}: {error}", files.join(" ")))? {
        let name = kernel.release.clone().unwrap_or_else(|| kernel.sources.join(" "));
        let Some(btf) = &kernel.btf else {
            println!("{name}: left out, without BTF");
            continue;
        };
        let own = |what: &str| scratch.join(format!("{number}.{what}"));
        let (btf_path, config_path) = (own("btf"), own("config"));
        write(&btf_path, btf)?;
        // Without its configuration it is compared all the same, as a kernel that sets no option.
        let mut lines = String::from("CONFIG_BPF=y\n");
        for (option, value) in kernel.config.iter().flat_map(|config| &config.options) {
            lines.extend([option, "=", value, "\n"]);
        }
        write(&config_path, lines.as_bytes())?;
        let myself = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", AS_THIS_KERNEL, "sh", VMLINUX])
            .args([&btf_path, &config_path, &myself])
            .arg("one")
            .args([&btf_path, &config_path])
            .args(objects)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("unshare: {error}"))?;
        if !child.status.success() {
            return Err(format!("{name}: {}; this needs root", child.status));
        }
        found.push((name, String::from_utf8_lossy(&child.stdout).into_owned()));
        for path in [btf_path, config_path] {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(found)
}

/// Writes the objects of this machine's byte order that are in the sources to `to`, and returns their paths.
fn objects(sources: &[&str], to: &Path) -> Result<Vec<PathBuf>, String> {
    let mut finder = Finder::new(Limits::default());
    for source in sources {
        files::look(&mut finder, Path::new(source));
    }
    let mut paths = Vec::new();
    for (number, found) in finder.finish().objects.iter().enumerate() {
        let place = &found.places[0];
        let innermost = place.members.last().map_or(place.path.as_str(), String::as_str);
        let stem = Path::new(innermost).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = to.join(format!("{number}-{stem}.o"));
        // EI_DATA: 1 is little-endian.
        if found.bytes.get(5).is_some_and(|data| (*data == 1) == cfg!(target_endian = "little")) {
            write(&path, &found.bytes)?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What the processes of all kernels said.
#[derive(Default)]
struct Report {
    /// Counts in the order of [`COLUMNS`], summed.
    counts: [usize; COLUMNS.len()],
    accepted: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
}

const COLUMNS: [&str; 6] = ["objects", "entries", "equal", "refused by both", "CO-RE relocations", "externs"];

impl Report {
    fn add(&mut self, kernel: &str, lines: &str, took: Duration) -> Result<(), String> {
        let mut counted = false;
        for line in lines.lines() {
            if let Some(counts) = line.strip_prefix("counts\t") {
                let counts = counts.split('\t').map(|count| count.parse().unwrap_or(0));
                let shown: Vec<String> = COLUMNS
                    .iter()
                    .zip(counts.clone())
                    .map(|(name, n): (_, usize)| format!("{n} {name}"))
                    .collect();
                self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                println!("{kernel}: {} in {} s", shown.join(", "), took.as_secs());
                counted = true;
            } else if let Some(difference) = line.strip_prefix("differs\t") {
                let mut fields = difference.splitn(3, '\t');
                let (object, entry) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                match accepted(object, entry) {
                    Some(reason) => *self.accepted.entry(reason).or_default() += 1,
                    None => self.differences.push(format!("{kernel}\t{difference}")),
                }
            }
        }
        if counted { Ok(()) } else { Err(format!("{kernel}: no counts; {lines}")) }
    }

    /// Prints the sums and what differs; whether nothing does.
    fn print(&self) -> bool {
        let sums: Vec<String> =
            COLUMNS.iter().zip(self.counts).map(|(name, count)| format!("{count} {name}")).collect();
        println!("in all: {}", sums.join(", "));
        for (reason, count) in &self.accepted {
            println!("accepted {count} times: {reason}");
        }
        println!("differences: {}", self.differences.len());
        self.differences.iter().for_each(|difference| println!("{difference}"));
        self.differences.is_empty()
    }
}

/// The reason of an accepted difference. `object` is the name of its file behind a number.
fn accepted(object: &str, entry: &str) -> Option<&'static str> {
    let name = object.split_once('-').map_or(object, |(_, name)| name);
    ACCEPTED.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut fields = line.split('\t');
        let (of, what, reason) = (fields.next()?, fields.next()?, fields.next()?);
        ((of == "*" || of == name) && what == entry).then_some(reason)
    })
}

/// Compares objects against one kernel and prints lines for [`Report::add`].
fn one(btf: &str, config: &str, objects: &[&str]) -> Result<(), String> {
    let types = Btf::parse(read(btf)?).map_err(|error| format!("{btf}: {error}"))?;
    let target = TargetBtf::new(Arc::new(types));
    let text = read(config)?;
    let config =
        KernelConfig::parse(&text, config).ok_or_else(|| format!("{config}: not a configuration"))?;
    let kallsyms = kallsyms(&String::from_utf8_lossy(&read("/proc/kallsyms")?));
    let symbols = |name: &str| kallsyms.get(name).copied().unwrap_or(KernelSymbol::Missing);
    let kernel = KernelSide {
        types: &target,
        modules_whole: true,
        config: Some(&config),
        version: version(&String::from_utf8_lossy(&read("/proc/sys/kernel/osrelease")?)),
        symbols: Some(&symbols),
    };
    let kconfig = CString::new(text).map_err(|error| error.to_string())?;
    let against = Against {
        setup: Setup { kconfig: Some(kconfig), ..Setup::with_btf(Path::new(btf)) },
        target: &target,
        kernel,
    };
    let mut tally = Tally::default();
    for object in objects {
        let name = Path::new(object).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tally.add(compare(&name, Path::new(object), &against));
    }
    print(&tally);
    Ok(())
}

fn print(tally: &Tally) {
    for (object, entry, how) in &tally.differences {
        println!("differs\t{object}\t{entry}\t{how}");
    }
    println!("counts\t{}", counts(tally).map(|count| count.to_string()).join("\t"));
}

fn counts(tally: &Tally) -> [usize; COLUMNS.len()] {
    [tally.objects, tally.entries, tally.equal, tally.both_refuse, tally.relocations, tally.externs]
}

/// The kernel's own cases: each program against the types of each case, far more pairs than its tests have.
fn core_cases(directory: &Path) -> Result<bool, String> {
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "o"));
    paths.sort();
    let named = |prefix: &str| -> Vec<&PathBuf> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        paths.iter().filter(|path| name(path).starts_with(prefix)).collect()
    };
    let (programs, cases) = (named("test_core_reloc_"), named("btf__core_reloc_"));
    let config = KernelConfig::default();
    let running = Btf::parse(read(VMLINUX)?).map_err(|error| format!("{VMLINUX}: {error}"))?;
    let running = TargetBtf::new(Arc::new(running));
    let version = version(&String::from_utf8_lossy(&read("/proc/sys/kernel/osrelease")?));
    let (mut sum, mut by_name) = (Tally::default(), BTreeMap::new());
    for case in &cases {
        let object = BpfObject::parse(read(case)?).map_err(|error| format!("{}: {error}", case.display()))?;
        let Some(types) = object.btf else { return Err(format!("{}: no .BTF", case.display())) };
        let target = TargetBtf::new(Arc::new(types));
        let kernel = KernelSide {
            types: &running,
            modules_whole: true,
            config: Some(&config),
            version,
            symbols: None,
        };
        let against = Against { setup: Setup::with_btf(case), target: &target, kernel };
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for program in &programs {
            let (program_name, case_name) = (stem(program), stem(case));
            let tally = compare(&format!("{program_name} on {case_name}"), program, &against);
            if made_for(&program_name, &case_name) {
                let object = BpfObject::parse(read(program)?);
                let resolved = object.is_ok_and(|object| resolves(&object, &target));
                let libbpf = if tally.differences.is_empty() { "as libbpf" } else { "libbpf differs" };
                let what = if resolved { "resolved" } else { "an error" };
                *by_name.entry((what, libbpf)).or_insert(0) += 1;
                println!("{program_name}\t{case_name}\t{what}\t{libbpf}");
            }
            sum.add(tally);
        }
    }
    for ((what, libbpf), count) in by_name {
        println!("pairs by name: {count} {what}, {libbpf}");
    }
    println!("{} programs on the types of {} cases", programs.len(), cases.len());
    let shown: Vec<String> =
        COLUMNS.iter().zip(counts(&sum)).map(|(name, n)| format!("{n} {name}")).collect();
    println!("in all: {}", shown.join(", "));
    println!("differences: {}", sum.differences.len());
    sum.differences.iter().for_each(|(object, entry, how)| println!("{object}\t{entry}\t{how}"));
    Ok(sum.differences.is_empty() && sum.objects > 0)
}

/// Whether the kernel's tests have this program on these types: both names begin alike, behind which are the types' variant
/// (`__err_…`, `___…`) and how the program reads bitfields (tools/testing/selftests/bpf/prog_tests/core_reloc.c).
fn made_for(program: &str, case: &str) -> bool {
    let program = program.strip_prefix("test_core_reloc_").unwrap_or(program);
    let program =
        program.strip_suffix("_probed").or_else(|| program.strip_suffix("_direct")).unwrap_or(program);
    let case = case.strip_prefix("btf__core_reloc_").unwrap_or(case);
    case.split_once("__").map_or(case, |(name, _)| name) == program
}

/// Whether every relocation of the object has an answer there.
fn resolves(object: &BpfObject, target: &TargetBtf) -> bool {
    let mut relocator = Relocator::new(object, target);
    object.entries.iter().all(|entry| {
        relocator.relocate(entry).is_ok_and(|relocated| {
            !relocated.outcomes.iter().any(|relocated| matches!(relocated.outcome, ReloOutcome::Poisoned(_)))
        })
    })
}

/// Addresses by name, as libbpf reads them: what `/proc/kallsyms` says twice with different addresses is ambiguous.
fn kallsyms(text: &str) -> HashMap<String, KernelSymbol> {
    let mut symbols = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        let name = name.split_once(".llvm.").filter(|_| kind == "d").map_or(name, |(name, _)| name);
        symbols
            .entry(name.to_owned())
            .and_modify(|known| {
                if *known != KernelSymbol::At(address) {
                    *known = KernelSymbol::Ambiguous;
                }
            })
            .or_insert(KernelSymbol::At(address));
    }
    symbols
}

/// `LINUX_VERSION_CODE` of a release that begins with three numbers.
fn version(release: &str) -> Option<u32> {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let (major, minor, patch) = (next()?, next()?, next()?);
    Some(major << 16 | minor << 8 | patch.min(255))
}
