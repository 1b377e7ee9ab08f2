//! Relocating all objects against one kernel, and minimised BTF of all objects for each of ten kernels.

use crate::inputs::{kernel, kernels, objects, read};
use crate::turns::{Case, Turn, repeat};
use btf_catalog::core::{Relocator, TargetBtf};
use btf_catalog::minimize::Minimizer;
use btf_catalog::{BpfObject, Btf};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const TIMES: usize = 11;
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

impl Case for Relocate {
    fn name(&self) -> &'static str {
        "relocate"
    }

    fn title(&self) -> String {
        "relocate all objects, already parsed, against Linux 6.12; cold: with reading its BTF".to_owned()
    }

    fn peers(&self) -> Vec<(&'static str, Result<(), String>)> {
        vec![("portolan, cold", Ok(())), ("portolan, warm", Ok(()))]
    }

    fn turn(&self, peer: &str) -> Result<Turn, String> {
        let objects = parsed()?;
        let path = kernel("6.12")?;
        let relocate = |target: &TargetBtf| {
            let mut answered = 0;
            for object in &objects {
                let mut relocator = Relocator::new(object, target);
                for entry in &object.entries {
                    answered += relocator.relocate(entry).map_or(0, |entry| entry.outcomes.len());
                }
            }
            answered
        };
        let warm = target(&path)?;
        relocate(&warm);
        repeat(TIMES, || {
            if peer == "portolan, warm" { Ok(relocate(&warm)) } else { Ok(relocate(&target(&path)?)) }
        })
    }
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
        let bpftool = Command::new("bpftool").arg("version").stdout(Stdio::null()).status();
        let bpftool = bpftool.map(|_| ()).map_err(|error| format!("bpftool: {error}"));
        vec![("portolan", Ok(())), ("bpftool, a process a kernel", bpftool)]
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
        let paths = objects()?;
        repeat(3, || {
            for path in &kernels {
                let mut command = Command::new("bpftool");
                command.args(["gen", "min_core_btf"]).arg(path).arg("/dev/null").args(&paths);
                let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
                let status = status.map_err(|error| error.to_string())?;
                if !status.success() {
                    return Err(format!("bpftool gen min_core_btf: {status}"));
                }
            }
            Ok(())
        })
    }
}
