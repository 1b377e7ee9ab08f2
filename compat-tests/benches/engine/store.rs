//! The store: its bytes beside those of BTFHub's archive, and how long kernels and answers take to come back.
//!
//! Only the types are added, as BTFHub keeps nothing else. Its files are made here with `tar cJf`, once, and kept in
//! `bench/xz`.

use crate::inputs::{cache, kernels, objects, read};
use crate::turns::{cpu, peak_kib};
use btf_catalog::BpfObject;
use btf_catalog::core::{Relocator, TargetBtf};
use btf_catalog::kernel::Kernel;
use btf_catalog::store::{Answers, Digest, Directory, Store};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Every how manyth kernel is relocated against, so that there are answers: relocation itself is another case.
const EVERY: usize = 8;

/// Adds every kernel to a new store, takes each out of it again, and asks it what is known of every object.
pub(crate) fn run() -> Result<(), String> {
    let failed = |error: btf_catalog::store::StoreError| error.to_string();
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let open = || Store::new(Directory::new(dir.path()));
    let (paths, mut theirs, mut adding) = (kernels()?, 0, Times::default());
    for path in &paths {
        theirs += archived(path)?;
        let release = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let arch = Some("x86_64".to_owned());
        let kernel = Kernel { btf: Some(read(path)?.into()), release, arch, ..Kernel::default() };
        adding.take(|| open().add(&kernel).map_err(failed))?;
    }
    let ours = open().size().map_err(failed)?;
    println!("store: {} kernels, their types alone", paths.len());
    let share = ours * 10_000 / theirs.max(1);
    println!("  the store                 {ours:10} bytes, {}.{:02} %", share / 100, share % 100);
    println!("  a .tar.xz of each         {theirs:10} bytes");
    adding.print("add a kernel");
    // Peak memory counts from here on (proc_pid_clear_refs(5), since v4.0).
    std::fs::write("/proc/self/clear_refs", "5").map_err(|error| error.to_string())?;
    let (mut restoring, records) = (Times::default(), open().list().map_err(failed)?.records);
    for record in &records {
        // A store that is opened anew remembers nothing.
        restoring.take(|| open().btf(record).map_err(failed))?;
    }
    restoring.print("restore a kernel");
    println!("  {:25} {:10} KiB", "peak memory of that", peak_kib()?);
    let objects: Vec<_> = objects()?.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let some: Vec<_> = records.iter().step_by(EVERY).collect();
    for record in &some {
        let store = open();
        let btf = btf_catalog::Btf::parse(store.btf(record).map_err(failed)?);
        let target = TargetBtf::new(Arc::new(btf.map_err(|error| error.to_string())?));
        for bytes in &objects {
            let object = BpfObject::parse(bytes.clone()).map_err(|error| error.to_string())?;
            let mut relocator = Relocator::new(&object, &target);
            let told = |entry| {
                relocator
                    .relocate(entry)
                    .map_or_else(|error| error.to_string(), |entry| format!("{:?}", entry.outcomes))
            };
            let mut answers = Answers::default();
            let text = object.entries.iter().map(told).collect::<Vec<_>>().join("\n");
            answers.insert(record.content().as_str(), &text);
            store.remember(&question(bytes), &answers).map_err(failed)?;
        }
    }
    let mut asking = Times::default();
    for record in some {
        for bytes in &objects {
            let known = |answers: Answers| answers.get(record.content().as_str()).map(str::to_owned);
            let answer = asking.take(|| open().answers(&question(bytes)).map(known).map_err(failed))?;
            answer.ok_or("an answer was lost")?;
        }
    }
    asking.print("relocations of an object");
    Ok(())
}

/// The digest of all that relocations depend on but the kernel.
fn question(object: &[u8]) -> Digest {
    Digest::of(object)
}

/// Bytes of a kernel as BTFHub keeps it.
fn archived(btf: &Path) -> Result<u64, String> {
    let dir = cache()?.join("bench/xz");
    let file = btf.file_name().unwrap_or_default();
    let to = dir.join(PathBuf::from(file).with_extension("btf.tar.xz"));
    if !to.exists() {
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let half = to.with_extension("half");
        let mut tar = Command::new("tar");
        tar.arg("cJf").arg(&half).arg("-C").arg(btf.parent().unwrap_or(btf)).arg(file);
        let status = tar.status().map_err(|error| format!("tar: {error}"))?;
        if !status.success() {
            return Err(format!("tar: {status}"));
        }
        std::fs::rename(&half, &to).map_err(|error| error.to_string())?;
    }
    let meta = std::fs::metadata(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(meta.len())
}

/// How long each of many pieces of work took, and how long processors worked on it.
#[derive(Default)]
struct Times {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Times {
    fn take<T>(&mut self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let (began, worked) = (Instant::now(), cpu()?);
        let done = work()?;
        self.wall.push(began.elapsed());
        self.cpu.push(cpu()?.saturating_sub(worked));
        Ok(done)
    }

    fn print(mut self, what: &str) {
        let middle_and_most = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            let ms = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64) * 1e3;
            (ms(times.get(times.len() / 2)), ms(times.last()))
        };
        let ((wall, most), (cpu, most_cpu)) =
            (middle_and_most(&mut self.wall), middle_and_most(&mut self.cpu));
        println!(
            "  {what:25} median {wall:9.3} ms, most {most:9.3} ms; of processors {cpu:9.3} and {most_cpu:9.3} ms"
        );
    }
}
