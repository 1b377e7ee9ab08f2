//! Minimised BTF gives relocations the values of the whole, and libbpf relocates against it as against the whole.

use btf_catalog::core::{CoreReloKind, Relocator, TargetBtf};
use btf_catalog::minimize::Minimizer;
use btf_catalog::{BpfObject, Btf};
use libbpf_peer::Setup;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects of this machine's byte order, and those of a directory named by `PORTOLAN_OBJECTS`.
fn objects() -> Vec<(PathBuf, BpfObject)> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects");
    let more = std::env::var_os("PORTOLAN_OBJECTS").map(PathBuf::from);
    let dirs = [Some(shipped), more].into_iter().flatten();
    let mut paths: Vec<PathBuf> = dirs
        .flat_map(|dir| std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "o"))
        .filter(|path| !path.to_string_lossy().contains(".bpfeb"))
        .collect();
    paths.sort();
    let parse = |path: PathBuf| {
        let object = BpfObject::parse(std::fs::read(&path).expect("an object")).expect("a readable object");
        (path, object)
    };
    paths.into_iter().map(parse).collect()
}

/// The kernels: the running one, and `*.btf` of a directory named by `PORTOLAN_KERNELS`.
fn kernels() -> Vec<PathBuf> {
    let dir = std::env::var_os("PORTOLAN_KERNELS").map(PathBuf::from);
    let files = dir.into_iter().flat_map(|dir| std::fs::read_dir(dir).expect("a directory of kernels"));
    let more = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "btf"));
    [PathBuf::from(VMLINUX)].into_iter().chain(more).collect()
}

#[test]
fn root_minimised_btf_gives_the_values_of_the_whole() {
    let objects = objects();
    let dir = tempfile::tempdir().expect("a directory");
    let (mut compared, mut by_libbpf) = (0, 0);
    for (number, kernel) in kernels().iter().enumerate() {
        let whole = Btf::parse(std::fs::read(kernel).expect("BTF")).expect("readable BTF");
        let target = TargetBtf::new(Arc::new(whole));
        let mut minimizer = Minimizer::new(&target);
        for (path, object) in &objects {
            minimizer.add(&path.to_string_lossy(), object);
        }
        let minimized = minimizer.finish();
        println!(
            "{}: {} bytes, {} unresolved",
            kernel.display(),
            minimized.btf.len(),
            minimized.unresolved.len()
        );
        let small =
            TargetBtf::new(Arc::new(Btf::parse(minimized.btf.clone()).expect("minimised BTF is BTF")));
        for (path, object) in &objects {
            let (mut of_whole, mut of_small) =
                (Relocator::new(object, &target), Relocator::new(object, &small));
            for entry in &object.entries {
                let what = format!("{} {} on {}", path.display(), entry.name, kernel.display());
                match (of_whole.relocate(entry), of_small.relocate(entry)) {
                    (Ok(whole), Ok(small)) => {
                        for (whole, small) in whole.outcomes.iter().zip(&small.outcomes) {
                            // Type ids are those of the BTF that is used.
                            if whole.kind != CoreReloKind::TypeIdTarget {
                                assert_eq!(whole, small, "{what}");
                                compared += 1;
                            }
                        }
                    }
                    (Err(whole), Err(small)) => assert_eq!(whole.access, small.access, "{what}"),
                    (whole, small) => panic!("{what}: {:?} {:?}", whole.err(), small.err()),
                }
            }
        }
        // libbpf takes it, on the running kernel's behalf.
        if number > 0 {
            continue;
        }
        let file = dir.path().join("minimised.btf");
        std::fs::write(&file, &minimized.btf).expect("the minimised BTF");
        for (path, object) in &objects {
            let has_ids = object.entries.iter().flat_map(|entry| &entry.core_relos);
            if has_ids.clone().any(|relo| relo.kind == CoreReloKind::TypeIdTarget as u32) {
                continue;
            }
            let ask = |btf: &Path| {
                libbpf_peer::prepare(path, &Setup::with_btf(btf)).expect("libbpf opens it").programs
            };
            for (whole, small) in ask(kernel).into_iter().zip(ask(&file)) {
                match (whole.insns, small.insns) {
                    (Ok(whole), Ok(small)) => {
                        let same_but_descriptors = whole.iter().zip(&small).all(|(a, b)| a[..4] == b[..4]);
                        assert!(same_but_descriptors && whole.len() == small.len(), "{}", path.display());
                        by_libbpf += 1;
                    }
                    (Err(_), Err(_)) => {}
                    (whole, small) => panic!("{}: {:?} {:?}", path.display(), whole.err(), small.err()),
                }
            }
        }
    }
    println!("{compared} relocations the same, {by_libbpf} entries the same in libbpf");
    assert!(compared > 50 && by_libbpf > 10, "too little was compared");
}
