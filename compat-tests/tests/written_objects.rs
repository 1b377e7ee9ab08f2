//! Objects written by `btf_catalog::write`, judged by those who load them: libbpf makes the same instructions of the
//! written object as of the original, and aya-obj reads what it reads of the original.

use btf_catalog::core::{KernelSide, Relocator, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use btf_catalog::write::{self, WriteError};
use btf_catalog::{BpfObject, Btf};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects of this machine's byte order, and those of a directory named by `PORTOLAN_OBJECTS`.
fn objects() -> Vec<PathBuf> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects");
    let more = std::env::var_os("PORTOLAN_OBJECTS").map(PathBuf::from);
    let dirs = [Some(shipped), more].into_iter().flatten();
    let files = dirs
        .flat_map(|dir| std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())));
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
