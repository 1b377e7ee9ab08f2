//! The loaders, asked to load an object: bpftool for libbpf, cilium/ebpf through the program of the benchmarks, aya itself.

use aya::programs::{Program, ProgramError};
use aya::{Btf, EbpfLoader};
use btf_catalog::BpfObject;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cilium/ebpf's program is.
const CILIUM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/cilium");

/// Whether a loader finds the kernel's types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Types {
    Shown,
    Hidden,
}

/// What loads objects.
#[derive(Debug)]
pub(crate) enum Loader {
    Bpftool,
    /// The path of the program.
    Cilium(PathBuf),
    /// The kernel's types, read once.
    Aya(Btf),
}

impl Loader {
    /// All of them; cilium/ebpf's program is built in `dir`.
    pub(crate) fn all(dir: &Path) -> [Loader; 3] {
        let program = dir.join("cilium");
        let built =
            Command::new("go").current_dir(CILIUM).args(["build", "-o"]).arg(&program).arg(".").status();
        assert!(built.expect("this test needs go 1.25").success(), "go build in {CILIUM}");
        [
            Loader::Bpftool,
            Loader::Cilium(program),
            Loader::Aya(Btf::from_sys_fs().expect("the kernel's types")),
        ]
    }

    /// What `btf-catalog/data/loaders.tsv` calls it, with its version where that is not the one there.
    pub(crate) fn version(&self) -> String {
        match self {
            Loader::Bpftool => {
                let output = Command::new("bpftool").arg("version").output();
                let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
                let text = text.expect("this test needs bpftool");
                let version = text.split("libbpf v").nth(1).and_then(|rest| rest.split_whitespace().next());
                format!("libbpf={}", version.expect("bpftool says which libbpf it has"))
            }
            Loader::Cilium(_) => "cilium-ebpf".to_owned(),
            Loader::Aya(_) => "aya".to_owned(),
        }
    }

    /// Loads all of the object at `path` and drops it again; what was said if that failed.
    pub(crate) fn load(&self, path: &Path, types: Types) -> Result<(), String> {
        match self {
            Loader::Bpftool => {
                let command = "exec bpftool prog loadall \"$0\" /sys/fs/bpf/all";
                in_namespace(command, path, types)
            }
            Loader::Cilium(program) => {
                in_namespace(&format!("exec '{}' load \"$0\"", program.display()), path, types)
            }
            Loader::Aya(btf) => aya(path, (types == Types::Shown).then_some(btf)),
        }
    }
}

/// Runs `sh -c command object` in a mount namespace of its own.
fn in_namespace(command: &str, object: &Path, types: Types) -> Result<(), String> {
    // The last three are where loaders look when sysfs has none.
    const HIDE: &str = "mount -t tmpfs none /sys/kernel/btf && \
         for dir in /boot /lib/modules /usr/lib/debug; do test ! -d $dir || mount -t tmpfs none $dir; done && ";
    let hide = if types == Types::Hidden { HIDE } else { "" };
    let script = format!("mount --make-rprivate / && {hide}mount -t bpf none /sys/fs/bpf && {command}");
    let output = Command::new("unshare").args(["--mount", "sh", "-ec", &script]).arg(object).output();
    let output = output.expect("this test needs unshare(1) of util-linux");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn aya(path: &Path, types: Option<&Btf>) -> Result<(), String> {
    let data = std::fs::read(path).map_err(|error| error.to_string())?;
    let object = BpfObject::parse(data.clone()).map_err(|error| error.to_string())?;
    let mut loader = EbpfLoader::new();
    let mut loaded = loader.btf(types).allow_unsupported_maps().load(&data).map_err(|error| chain(&error))?;
    for (name, program) in loaded.programs_mut() {
        let entry = object.entries.iter().find(|entry| entry.name == name);
        // aya's programs are given their targets by who loads them.
        let target = entry.and_then(|entry| entry.kind.as_ref()?.target.as_deref()).unwrap_or_default();
        let loaded = match types {
            Some(types) => with_types(program, target, types),
            None => without_types(program),
        };
        match loaded {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(format!("{name}: {}", chain(&error))),
            None => {
                return Err(format!("{name}: aya asks for types of the kernel, or for a program to replace"));
            }
        }
    }
    Ok(())
}

fn with_types(program: &mut Program, target: &str, types: &Btf) -> Option<Result<(), ProgramError>> {
    match program {
        Program::Lsm(program) => Some(program.load(target, types)),
        Program::LsmCgroup(program) => Some(program.load(target, types)),
        Program::BtfTracePoint(program) => Some(program.load(target, types)),
        Program::FEntry(program) => Some(program.load(target, types)),
        Program::FExit(program) => Some(program.load(target, types)),
        Program::Iter(program) => Some(program.load(target, types)),
        program => without_types(program),
    }
}

/// `None` for programs that cannot be loaded without something of the kernel.
fn without_types(program: &mut Program) -> Option<Result<(), ProgramError>> {
    Some(match program {
        Program::KProbe(program) => program.load(),
        Program::UProbe(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        Program::SocketFilter(program) => program.load(),
        Program::ReusePortSocketFilter(program) => program.load(),
        Program::Xdp(program) => program.load(),
        Program::SkMsg(program) => program.load(),
        Program::SkSkb(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSysctl(program) => program.load(),
        Program::CgroupSockopt(program) => program.load(),
        Program::LircMode2(program) => program.load(),
        Program::PerfEvent(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        Program::FlowDissector(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        Program::SkReuseport(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupDevice(program) => program.load(),
        Program::Extension(_)
        | Program::Lsm(_)
        | Program::LsmCgroup(_)
        | Program::BtfTracePoint(_)
        | Program::FEntry(_)
        | Program::FExit(_)
        | Program::Iter(_) => return None,
    })
}

/// An error and what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said.push_str(": ");
        said.push_str(&error.to_string());
        source = error.source();
    }
    said
}
