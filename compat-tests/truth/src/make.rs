//! Making the truth: every object on every kernel.

use crate::phase::Outcome;
use crate::table::{self, Tables};
use crate::wire::{self, Row};
use compat_tests::vm::{End, Frame, Initramfs, Vm, VmError};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Times that one kernel is booted again after an entry took it down.
const BOOTS: usize = 60;

/// What to run where.
#[derive(Debug)]
pub struct Plan {
    /// The static binary that is init.
    pub init: PathBuf,
    /// Directory with packages of kernels.
    pub kernels: PathBuf,
    /// Directory with objects, `CORPUS/PACKAGE_VERSION/FILE.o`.
    pub objects: PathBuf,
    /// Directory of the sets' tables.
    pub tables: PathBuf,
    /// Only packages whose names contain one of these; all where it is empty.
    pub only_kernels: Vec<String>,
    /// Only these corpora; all where it is empty.
    pub only_corpora: Vec<String>,
}

/// Runs the plan and writes the tables after each kernel, so that a long run can be stopped and continued.
pub fn run(plan: &Plan) -> Result<(), String> {
    let failed = |err: io::Error| format!("{}: {err}", plan.tables.display());
    let mut tables = Tables::read(&plan.tables).map_err(failed)?;
    let objects = objects(plan)?;
    for (name, bytes) in &objects {
        tables.of(name).objects.insert(name.clone(), table::digest(bytes));
    }
    each_kernel(plan, &objects, wire::WHOLE, |package, release, run| {
        for (row, outcome) in &run.outcomes {
            let truth = tables.of(&row.object);
            truth.kernels.insert(release.to_owned(), package.to_owned());
            truth.add(release, row, outcome.clone());
        }
        tables.write(&plan.tables).map_err(failed)
    })
}

/// Loads every entry alone, also where its object loads as a whole, and says what the tables have otherwise.
pub fn check(plan: &Plan) -> Result<(), String> {
    let mut tables = Tables::read(&plan.tables).map_err(|err| format!("{}: {err}", plan.tables.display()))?;
    let (mut same, mut differ) = (0, 0);
    each_kernel(plan, &objects(plan)?, "0", |_, release, run| {
        for (row, outcome) in &run.outcomes {
            let entry = tables.of(&row.object).entries.get(&(row.object.clone(), row.index));
            match entry.and_then(|entry| entry.outcomes.get(release)) {
                Some(known) if known == outcome => same += 1,
                known => {
                    differ += 1;
                    println!(
                        "{release}: {} {}: {outcome:?}, the tables have {known:?}",
                        row.object, row.program
                    );
                }
            }
        }
        Ok(())
    })?;
    println!("{same} entries as in the tables, {differ} otherwise");
    Ok(())
}

/// The objects of the plan by name.
fn objects(plan: &Plan) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut objects = BTreeMap::new();
    for path in files(&plan.objects, "o")? {
        let name = path.strip_prefix(&plan.objects).unwrap_or(&path).to_string_lossy().into_owned();
        let corpus = name.split('/').next().unwrap_or_default();
        if plan.only_corpora.is_empty() || plan.only_corpora.iter().any(|only| only == corpus) {
            objects.insert(name, read(&path)?);
        }
    }
    if objects.is_empty() {
        return Err(format!("{}: no objects; run `cargo xtask objects`", plan.objects.display()));
    }
    Ok(objects)
}

/// Boots every kernel of the plan; `done` gets its package, its release and what it said.
fn each_kernel(
    plan: &Plan,
    objects: &BTreeMap<String, Vec<u8>>,
    first: &str,
    mut done: impl FnMut(&str, &str, &Run) -> Result<(), String>,
) -> Result<(), String> {
    let init = read(&plan.init)?;
    let wanted =
        |name: &str| plan.only_kernels.is_empty() || plan.only_kernels.iter().any(|only| name.contains(only));
    for package in files(&plan.kernels, "deb")? {
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let has_image = name.starts_with("linux-image-") || name.starts_with("linux-binary-");
        if !has_image || !name.ends_with("_amd64.deb") || !wanted(&name) {
            continue;
        }
        let began = Instant::now();
        let boot = Boot::unpack(&package)?;
        let run = kernel(&boot, &init, objects, first).map_err(|err| format!("{name}: {err}"))?;
        let Some(release) = &run.release else {
            println!("{name}: did not come up: {}", run.trouble.join("; "));
            continue;
        };
        done(&name, release, &run)?;
        let ok = run.outcomes.iter().filter(|(_, outcome)| outcome.phase == "ok").count();
        println!("{release}: {} entries, {ok} load, {} s", run.outcomes.len(), began.elapsed().as_secs());
        for line in &run.trouble {
            println!("{release}: {line}");
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|err| format!("{}: {err}", path.display()))
}

/// What one kernel said.
#[derive(Default)]
struct Run {
    release: Option<String>,
    outcomes: Vec<(Row, Outcome)>,
    trouble: Vec<String>,
    done: bool,
    config: bool,
    /// Object and entry that are being loaded.
    at: Option<(String, String)>,
}

/// Loads `objects`, each from the entry `first` on.
fn kernel(
    boot: &Boot,
    init: &[u8],
    objects: &BTreeMap<String, Vec<u8>>,
    first: &str,
) -> Result<Run, VmError> {
    let mut run = Run::default();
    // Objects still to be loaded, the first of them from this entry on.
    let mut left: Vec<&String> = objects.keys().collect();
    let mut from = first.to_owned();
    for _ in 0..BOOTS {
        let mut initramfs = Initramfs::new(init);
        let mut plan = String::new();
        for (index, name) in left.iter().enumerate() {
            let _ = writeln!(plan, "{name}\t{}", if index == 0 { from.as_str() } else { first });
            initramfs.file(name, &objects[*name]);
        }
        initramfs.file(wire::PLAN, plan.as_bytes());
        if let Some(config) = &boot.config {
            initramfs.file("config", config);
        }
        let mut vm = Vm::new(&boot.image);
        // Above the guest's own patience with an entry.
        (vm.limit, vm.silence) = (Duration::from_secs(8 * 3600), Duration::from_secs(360));
        let output = vm.run(initramfs, |frame| {
            run.take(&frame);
            !run.done
        })?;
        if run.done {
            return Ok(run);
        }
        let how = match output.end {
            End::Panicked(message) => message,
            End::TimedOut => "no answer for too long".to_owned(),
            End::PoweredOff | End::Stopped => "ended before its plan".to_owned(),
        };
        let Some((object, index)) = run.at.take() else {
            run.trouble.push(how);
            return Ok(run);
        };
        run.trouble.push(format!("{object} entry {index}: {how}"));
        left.drain(..left.iter().position(|name| **name == object).unwrap_or(left.len()));
        from = if let Ok(index) = index.parse::<usize>() {
            run.lost(&object, index, "crash");
            (index + 1).to_string()
        } else {
            // With all entries at once: then each alone.
            "0".to_owned()
        };
    }
    run.trouble.push(format!("given up after {BOOTS} boots; {} objects were not loaded", left.len()));
    Ok(run)
}

impl Run {
    fn take(&mut self, frame: &Frame) {
        let text = String::from_utf8_lossy(&frame.payload);
        let fields: Vec<&str> = text.split(wire::SEPARATOR).collect();
        match (frame.kind, &fields[..]) {
            (wire::HELLO, [release, missing, config]) => {
                self.release = Some((*release).to_owned());
                self.config = !config.is_empty();
                if !missing.is_empty() || !self.config {
                    let config = if self.config { "" } else { " no configuration" };
                    self.trouble.push(format!("without: {missing}{config}"));
                }
            }
            (wire::BEGIN, [object, index]) => self.at = Some(((*object).to_owned(), (*index).to_owned())),
            (wire::LOST, [object, index, how]) => {
                self.trouble.push(format!("{object} entry {index}: {how}"));
                if let Ok(index) = index.parse() {
                    self.lost(object, index, how);
                }
            }
            (wire::ROW, _) => {
                if let Some(row) = Row::decode(&text) {
                    let mut outcome = Outcome::of(&row);
                    if outcome.phase == "extern" && !self.config {
                        "extern_without_config".clone_into(&mut outcome.phase);
                    }
                    self.outcomes.push((row, outcome));
                }
            }
            (wire::DONE, _) => self.done = true,
            _ => self.trouble.push(format!("a frame of kind {} that says nothing", frame.kind)),
        }
    }

    fn lost(&mut self, object: &str, index: usize, how: &str) {
        let row = Row { object: object.to_owned(), index, ..Row::default() };
        self.outcomes.push((row, Outcome::lost(how)));
    }
}

/// What is needed of a kernel's packages to boot it.
struct Boot {
    image: PathBuf,
    config: Option<Vec<u8>>,
    scratch: PathBuf,
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

impl Boot {
    /// Image and configuration out of a package and, from 6.19 on, out of the `linux-base-` package beside it.
    fn unpack(package: &Path) -> Result<Boot, String> {
        let scratch = std::env::temp_dir().join(format!("portolan-truth-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|err| format!("{}: {err}", scratch.display()))?;
        let mut boot = Boot { image: PathBuf::new(), config: None, scratch };
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let base = package.with_file_name(name.replace("linux-binary-", "linux-base-"));
        for package in [package, &base] {
            if package.is_file() {
                extract(package, &boot.scratch).map_err(|err| format!("{}: {err}", package.display()))?;
            }
        }
        for path in files(&boot.scratch, "")? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("vmlinuz") {
                boot.image = path;
            } else if name.starts_with("config") {
                boot.config = std::fs::read(&path).ok();
            }
        }
        if boot.image.as_os_str().is_empty() {
            return Err(format!("{}: no vmlinuz in it", package.display()));
        }
        Ok(boot)
    }
}

fn extract(package: &Path, to: &Path) -> io::Result<()> {
    let mut deb =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let archive = deb.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let members = ["./boot/vmlinuz-*", "./boot/config-*", "*/modules/*/vmlinuz", "*/modules/*/config"];
    // tar complains of patterns that match nothing, of which there always are some.
    Command::new("tar")
        .args(["--extract", "--wildcards", "--directory"])
        .arg(to)
        .args(members)
        .stdin(archive)
        .stderr(Stdio::null())
        .status()?;
    deb.wait()?;
    Ok(())
}

/// Regular files under `directory` with this extension (any where it is empty), sorted.
pub(crate) fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries =
            std::fs::read_dir(&directory).map_err(|err| format!("{}: {err}", directory.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(path),
                Ok(kind)
                    if kind.is_file()
                        && (extension.is_empty() || path.extension().is_some_and(|is| is == extension)) =>
                {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}
