//! Differential test: our relocation against libbpf's, instruction for instruction, on the running kernel's types.

use btf_catalog::core::{Relocator, TargetBtf};
use btf_catalog::insn::{Insn, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use btf_catalog::{BpfObject, Btf};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects of this machine's byte order, and those of a directory named by `PORTOLAN_OBJECTS`.
fn objects() -> Vec<PathBuf> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects");
    let more = std::env::var_os("PORTOLAN_OBJECTS").map(PathBuf::from);
    let mut paths: Vec<PathBuf> = [Some(shipped), more]
        .into_iter()
        .flatten()
        .flat_map(|dir| std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "o"))
        .filter(|path| !path.to_string_lossy().contains(".bpfeb"))
        .collect();
    paths.sort();
    paths
}

/// What no relocation decides: the file descriptors of maps.
fn without_descriptors(insns: &[Insn]) -> Vec<Insn> {
    let mut insns = insns.to_vec();
    let mut next_is_half = false;
    for insn in &mut insns {
        if std::mem::take(&mut next_is_half) {
            continue;
        }
        next_is_half = insn.is_ld_imm64();
        if insn.is_ld_imm64() && matches!(insn.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) {
            insn.imm = 0;
        }
    }
    insns
}

/// Writes the references to maps as libbpf does, with descriptor 0.
fn with_map_references(object: &BpfObject, entry: &btf_catalog::object::Entry, insns: &[Insn]) -> Vec<Insn> {
    let mut insns = insns.to_vec();
    for reference in &entry.map_refs {
        assert!(reference.map < object.maps.len());
        let insn = &mut insns[reference.insn_off];
        (insn.src, insn.imm) = (PSEUDO_MAP_FD, 0);
        if let Some(off) = reference.value_off {
            insn.src = PSEUDO_MAP_VALUE;
            insns[reference.insn_off + 1].imm = off as i32;
        }
    }
    insns
}

#[test]
fn root_relocates_as_libbpf_does() {
    let vmlinux = std::fs::read(VMLINUX).expect("this test needs a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let target = TargetBtf::new(Arc::new(Btf::parse(vmlinux).expect("vmlinux's BTF")));
    let (mut same, mut relocations, mut refused) = (0, 0, 0);
    let mut differences = Vec::new();
    for path in objects() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let object = match BpfObject::parse(std::fs::read(&path).expect("an object")) {
            Ok(object) => object,
            Err(error) => {
                differences.push(format!("{name}: {error}"));
                continue;
            }
        };
        let theirs = libbpf_peer::relocated(&path, Path::new(VMLINUX))
            .unwrap_or_else(|errno| panic!("libbpf could not open {name}: errno {errno}"));
        let mut relocator = Relocator::new(&object, &target);
        for entry in &object.entries {
            let what = format!("{name} {}", entry.name);
            let Some(program) = theirs.iter().find(|program| program.name == entry.name) else {
                differences.push(format!("{what}: libbpf has no such program"));
                continue;
            };
            match (relocator.relocate(entry), &program.insns) {
                (Ok(ours), Ok(insns)) => {
                    relocations += ours.outcomes.len();
                    let theirs: Vec<Insn> =
                        insns.iter().map(|insn| Insn::read(insn, cfg!(target_endian = "big"))).collect();
                    let ours = with_map_references(&object, entry, &ours.insns);
                    let (ours, theirs) = (without_descriptors(&ours), without_descriptors(&theirs));
                    match ours.iter().zip(&theirs).position(|(a, b)| a != b) {
                        None if ours.len() == theirs.len() => same += 1,
                        None => differences.push(format!(
                            "{what}: {} against {} instructions",
                            ours.len(),
                            theirs.len()
                        )),
                        Some(at) => {
                            differences
                                .push(format!("{what}: {at}: {:?} against {:?}", ours[at], theirs[at]));
                        }
                    }
                }
                (Err(_), Err(_)) => refused += 1,
                (Ok(_), Err(1)) => panic!("{what}: libbpf got EPERM: run this as root"),
                (Ok(_), Err(errno)) => differences.push(format!("{what}: libbpf refuses with errno {errno}")),
                (Err(error), Ok(_)) => differences.push(format!("{what}: {error}, libbpf relocates it")),
            }
        }
    }
    println!("{same} entries the same, {refused} refused by both, {relocations} relocations");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(
        same > 10 && relocations > 50,
        "too little was compared: {same} entries, {relocations} relocations"
    );
}
