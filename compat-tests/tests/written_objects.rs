//! Objects written by `btf_catalog::write`, judged by those who load them: libbpf makes the same instructions of the
//! written object as of the original, bpftool loads it where the kernel shows no types, and aya-obj reads what it reads
//! of the original.

use btf_catalog::core::{KernelSide, Relocator, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use btf_catalog::write::{self, WriteError};
use btf_catalog::{BpfObject, Btf};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects of this machine's byte order.
fn shipped() -> Vec<PathBuf> {
    objects_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects"))
}

/// These, and those of a directory named by `PORTOLAN_OBJECTS`.
fn objects() -> Vec<PathBuf> {
    let more = std::env::var_os("PORTOLAN_OBJECTS").map(|dir| objects_of(Path::new(&dir)));
    shipped().into_iter().chain(more.into_iter().flatten()).collect()
}

fn objects_of(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = files
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "o"))
        .filter(|path| !path.to_string_lossy().contains(".bpfeb"))
        .collect();
    paths.sort();
    paths
}

/// Instructions without the descriptors of maps, which no two loads share.
fn without_descriptors(insns: &[[u8; 8]]) -> Vec<[u8; 8]> {
    let mut insns = insns.to_vec();
    let mut at = 0;
    while at < insns.len() {
        let wide = insns[at][0] == 0x18;
        if wide && matches!(insns[at][1] >> 4, 1 | 2) {
            insns[at][4..].fill(0);
        }
        at += if wide { 2 } else { 1 };
    }
    insns
}

#[test]
fn root_written_objects_are_what_libbpf_makes_of_the_originals() {
    let vmlinux = std::fs::read(VMLINUX).expect("this test needs a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let target = TargetBtf::new(Arc::new(Btf::parse(vmlinux).expect("vmlinux's BTF")));
    // Values are not compared, so a configuration without options will do; libbpf reads this machine's.
    let config = KernelConfig::default();
    let kernel = KernelSide {
        types: &target,
        modules_whole: true,
        config: Some(&config),
        version: Some(6 << 16),
        symbols: None,
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (mut same, mut refused, mut open) = (0, 0, Vec::new());
    for path in objects() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = Bytes::from(std::fs::read(&path).expect("an object"));
        let object = BpfObject::parse(data.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = match write::relocated(&data, &object, &kernel) {
            Ok(written) => written,
            Err(WriteError::Unknown { name: ext, why }) => {
                open.push(format!("{name}: {ext}: {why}"));
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let bytes = Bytes::from(written.bytes);
        let again =
            BpfObject::parse(bytes.clone()).unwrap_or_else(|error| panic!("{name}, written: {error}"));
        let lines =
            |object: &BpfObject| object.entries.iter().map(|entry| entry.lines.clone()).collect::<Vec<_>>();
        assert_eq!(lines(&again), lines(&object), "{name}: source lines");
        let mut relocator = Relocator::new(&again, &target);
        for entry in &again.entries {
            let relocated = relocator.relocate(entry).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(
                (&relocated.insns, relocated.outcomes.len()),
                (&entry.insns, 0),
                "{name} {}",
                entry.name
            );
        }
        let twice = write::relocated(&bytes, &again, &kernel).expect("a written object can be written");
        assert!(twice.bytes == bytes, "{name}: writing it again changes it");

        let out = dir.path().join(&name);
        std::fs::write(&out, &bytes).expect("the written object");
        let ask = |path: &Path| {
            libbpf_peer::prepare(path, &libbpf_peer::Setup::with_btf(Path::new(VMLINUX)))
                .unwrap_or_else(|refusal| panic!("libbpf cannot open {}: {refusal:?}", path.display()))
                .programs
        };
        for (original, written) in ask(&path).into_iter().zip(ask(&out)) {
            assert_eq!(original.name, written.name);
            match (original.insns, written.insns) {
                (Ok(original), Ok(written)) => {
                    let (original, written) = (without_descriptors(&original), without_descriptors(&written));
                    let differs = original.iter().zip(&written).position(|(a, b)| a != b);
                    assert_eq!((differs, written.len()), (None, original.len()), "{name}");
                    same += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                (original, written) => panic!(
                    "{name}: libbpf {:?} the original, {:?} the written one",
                    original.map(|insns| insns.len()),
                    written.map(|insns| insns.len())
                ),
            }
        }
        if aya_obj::Object::parse(&data).is_ok() {
            let read =
                aya_obj::Object::parse(&bytes).unwrap_or_else(|error| panic!("{name}: aya-obj: {error}"));
            assert!(!read.has_btf_relocations(), "{name}: aya-obj still sees CO-RE records");
        }
    }
    println!(
        "{same} entries the same, {refused} refused by libbpf both times, {} objects left open:\n{}",
        open.len(),
        open.join("\n")
    );
    assert!(same > 10, "too little was compared: {same} entries");
}

/// Has bpftool load an object where no file tells the kernel's types; what it said if it could not.
fn load_without_types(object: &Path) -> Result<(), String> {
    // The last three are where libbpf looks when sysfs has none.
    const SCRIPT: &str = "mount --make-rprivate / && mount -t tmpfs none /sys/kernel/btf && \
         for dir in /boot /lib/modules /usr/lib/debug; do test ! -d $dir || mount -t tmpfs none $dir; done && \
         mount -t bpf none /sys/fs/bpf && exec bpftool prog loadall \"$0\" /sys/fs/bpf/all";
    let output = Command::new("unshare").args(["--mount", "sh", "-ec", SCRIPT]).arg(object).output();
    let output = output.expect("this test needs unshare(1) of util-linux");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn root_written_objects_load_where_the_kernel_shows_no_types() {
    assert!(
        rustix::process::geteuid().is_root(),
        "mounts and loads: run the tests as root (sudo cargo test)"
    );
    let vmlinux = std::fs::read(VMLINUX).expect("this test needs a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let target = TargetBtf::new(Arc::new(Btf::parse(vmlinux).expect("vmlinux's BTF")));
    let kernel =
        KernelSide { types: &target, modules_whole: true, config: None, version: None, symbols: None };
    let dir = tempfile::tempdir().expect("a directory");
    let mut relocated = 0;
    for path in shipped() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = Bytes::from(std::fs::read(&path).expect("an object"));
        let object = BpfObject::parse(data.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written =
            write::relocated(&data, &object, &kernel).unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = dir.path().join(&name);
        std::fs::write(&out, &written.bytes).expect("the written object");
        if !written.needs_kernel_btf.is_empty() {
            load_without_types(&out).expect_err(&format!("{name} is said to need the kernel's types"));
            continue;
        }
        // An object without relocations loads or does not, for what its loader knows: nothing was written into it.
        if !written.relocations.is_empty() {
            load_without_types(&out).unwrap_or_else(|said| panic!("{name}, written: {said}"));
            let said = load_without_types(&path).expect_err(&format!("{name} is relocated without types"));
            assert!(said.contains("BTF"), "{name} is refused for another reason: {said}");
            relocated += 1;
        }
    }
    assert!(relocated >= 3, "only {relocated} objects with relocations were loaded");
}
