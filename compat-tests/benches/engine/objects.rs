//! All objects: relocated against one kernel, judged for all kernels, and minimised BTF of them for each of ten.

use crate::cilium;
use crate::inputs::{kernel, kernels, objects, read};
use crate::turns::{Case, Turn, repeat, repeat_on};
use btf_catalog::core::{Relocator, TargetBtf};
use btf_catalog::kernel::Kernel;
use btf_catalog::minimize::Minimizer;
use btf_catalog::{BpfObject, Btf};
use probe_matrix::derive::Offline;
use probe_matrix::predict::Predictions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TIMES: usize = 11;
const VERDICTS: usize = 3;
const KERNELS: usize = 10;

fn parsed() -> Result<Vec<BpfObject>, String> {
    let parse = |path: &std::path::PathBuf| {
        BpfObject::parse(read(path)?).map_err(|error| format!("{}: {error}", path.display()))
    };
    objects()?.iter().map(parse).collect()
}

fn target(path: &Path) -> Result<TargetBtf, String> {
    Ok(TargetBtf::new(Arc::new(Btf::parse(read(path)?).map_err(|error| error.to_string())?)))
}

/// Relocation of all entries of all objects.
pub(crate) struct Relocate;

fn relocate(objects: &[BpfObject], target: &TargetBtf) -> usize {
    let mut answered = 0;
    for object in objects {
        let mut relocator = Relocator::new(object, target);
        for entry in &object.entries {
            answered += relocator.relocate(entry).map_or(0, |entry| entry.outcomes.len());
        }
    }
    answered
}

impl Case for Relocate {
    fn name(&self) -> &'static str {
        "relocate"
    }

    fn title(&self) -> String {
        "relocate all objects against Linux 6.12; objects and its BTF are read before, cold: the BTF anew each time"
            .to_owned()
    }

    fn peers(&self) -> Vec<(&'static str, Result<(), String>)> {
        vec![
            ("portolan, cold", Ok(())),
            ("cilium/ebpf, cold", cilium::ready()),
            ("aya-obj", Ok(())),
            ("libbpf, with reading all", Ok(())),
            ("portolan, warm", Ok(())),
            ("cilium/ebpf, warm", cilium::ready()),
        ]
    }

    fn turn(&self, peer: &str) -> Result<Turn, String> {
        let path = kernel("6.12")?;
        match peer {
            "portolan, cold" => {
                let objects = parsed()?;
                repeat_on(TIMES, || target(&path), |target| Ok((relocate(&objects, &target), target)))
            }
            "portolan, warm" => {
                let (objects, target) = (parsed()?, target(&path)?);
                repeat(TIMES, || Ok(relocate(&objects, &target)))
            }
            "aya-obj" => {
                let data = read(&path)?;
                let paths = objects()?;
                let bytes = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
                // One section that it does not know costs it the object.
                let objects: Vec<_> =
                    bytes.iter().filter_map(|bytes| aya_obj::Object::parse(bytes).ok()).collect();
                eprintln!(
                    "aya-obj reads {} of {} objects, and is timed on these",
                    objects.len(),
                    paths.len()
                );
                let target = aya_obj::btf::Btf::parse(&data, object::Endianness::Little)
                    .map_err(|error| error.to_string())?;
                // Some it does not relocate: it works on them until it finds that out.
                let relocate = |mut objects: Vec<aya_obj::Object>| {
                    Ok(objects.iter_mut().filter_map(|object| object.relocate_btf(&target).ok()).count())
                };
                repeat_on(3, || Ok(objects.clone()), relocate)
            }
            "libbpf, with reading all" => {
                let (paths, setup) = (objects()?, libbpf_peer::Setup::with_btf(&path));
                // What libbpf refuses it has worked on as well.
                let relocate =
                    || Ok(paths.iter().filter_map(|path| libbpf_peer::prepare(path, &setup).ok()).count());
                repeat(1, relocate)
            }
            "cilium/ebpf, cold" => cilium::turn("cold", TIMES, &path, &objects()?),
            "cilium/ebpf, warm" => cilium::turn("warm", TIMES, &path, &objects()?),
            other => Err(format!("no peer {other:?}")),
        }
    }
}

/// Verdicts on all objects for all kernels.
pub(crate) struct Matrix;

impl Case for Matrix {
    fn name(&self) -> &'static str {
        "matrix"
    }

    fn title(&self) -> String {
        let kernels = kernels().map_or(0, |kernels| kernels.len());
        format!(
            "a verdict on every program of all objects for all {kernels} kernels, of which their BTF is known; files are \
             read each time"
        )
    }

    fn peers(&self) -> Vec<(&'static str, Result<(), String>)> {
        vec![
            ("portolan, one thread", Ok(())),
            ("portolan, two threads", Ok(())),
            ("portolan, relocation alone", Ok(())),
            ("bpftool gen min_core_btf", bpftool()),
        ]
    }

    fn turn(&self, peer: &str) -> Result<Turn, String> {
        let kernels = kernels()?;
        match peer {
            "portolan, one thread" => repeat(VERDICTS, || judge(1, &parsed()?, &kernels)),
            "portolan, two threads" => repeat(VERDICTS, || judge(2, &parsed()?, &kernels)),
            "portolan, relocation alone" => repeat(VERDICTS, || {
                let objects = parsed()?;
                let mut answered = 0;
                for path in &kernels {
                    answered += relocate(&objects, &target(path)?);
                }
                Ok(answered)
            }),
            _ => minimize_by_bpftool(1, &kernels),
        }
    }
}

/// Judges on threads that share what was decided, each with the next kernel.
fn judge(threads: usize, objects: &[BpfObject], kernels: &[PathBuf]) -> Result<usize, String> {
    let predictions = Predictions::new(objects.iter().map(|object| (object, None)));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut verdicts = 0;
        while let Some(path) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let kernel = Kernel { btf: Some(read(path)?.into()), ..Kernel::default() };
            verdicts += predictions.on(&Offline::new(&kernel), None).iter().map(Vec::len).sum::<usize>();
        }
        Ok::<usize, String>(verdicts)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let others =
            others.into_iter().map(|other| other.join().map_err(|_| "a thread panicked".to_owned())?);
        others.fold(work(), |sum, other| Ok(sum? + other?))
    })
}

fn bpftool() -> Result<(), String> {
    let version = Command::new("bpftool").arg("version").stdout(Stdio::null()).status();
    version.map(|_| ()).map_err(|error| format!("bpftool: {error}"))
}

/// One `bpftool gen min_core_btf` of all objects a kernel.
fn minimize_by_bpftool(times: usize, kernels: &[PathBuf]) -> Result<Turn, String> {
    let paths = objects()?;
    let minimize = |command: &mut Command, kernel: &Path| {
        command.args(["gen", "min_core_btf"]).arg(kernel).arg("/dev/null").args(&paths);
        command.stdout(Stdio::null()).output().map_err(|error| error.to_string())
    };
    let turn = repeat(times, || {
        for path in kernels {
            let status = minimize(&mut Command::new("bpftool"), path)?.status;
            if !status.success() {
                return Err(format!("bpftool gen min_core_btf: {status}"));
            }
        }
        Ok(())
    })?;
    // Its own memory, as GNU time tells it on the last line; this process has none to speak of.
    let last = kernels.last().ok_or("no kernels")?;
    let timed = minimize(Command::new("/usr/bin/time").args(["--format", "%M", "bpftool"]), last)?;
    let told = String::from_utf8_lossy(&timed.stderr);
    let peak_kib = told.lines().last().and_then(|line| line.trim().parse().ok());
    Ok(Turn { peak_kib: peak_kib.ok_or("GNU time tells no memory of bpftool")?, ..turn })
}

/// Minimised BTF.
pub(crate) struct Minimize;

impl Case for Minimize {
    fn name(&self) -> &'static str {
        "minimize"
    }

    fn title(&self) -> String {
        format!("minimised BTF of all objects for the first {KERNELS} kernels, files read each time")
    }

    fn peers(&self) -> Vec<(&'static str, Result<(), String>)> {
        vec![("portolan", Ok(())), ("bpftool, a process a kernel", bpftool())]
    }

    fn turn(&self, peer: &str) -> Result<Turn, String> {
        let kernels: Vec<_> = kernels()?.into_iter().take(KERNELS).collect();
        if peer == "portolan" {
            return repeat(TIMES, || {
                let objects = parsed()?;
                let mut bytes = 0;
                for path in &kernels {
                    let target = target(path)?;
                    let mut minimizer = Minimizer::new(&target);
                    for object in &objects {
                        minimizer.add("", object);
                    }
                    bytes += minimizer.finish().btf.len();
                }
                Ok(bytes)
            });
        }
        minimize_by_bpftool(3, &kernels)
    }
}
