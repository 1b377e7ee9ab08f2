//! Differential test: our relocation against libbpf's, instruction for instruction, on the running kernel's types. Many
//! kernels and foreign objects are compared by `cargo xtask differential`.

use btf_catalog::Btf;
use btf_catalog::core::{KernelSide, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use libbpf_peer::{Against, Setup, Tally, compare};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects and the loader's cases, of this machine's byte order.
fn objects() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = if cfg!(target_endian = "big") { ".bpfeb" } else { ".bpfel" };
    let mut paths: Vec<PathBuf> = [top.join("../ebpf/objects"), top.join("cases/loader")]
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "o"))
        .filter(|path| path.to_string_lossy().contains(ours))
        .collect();
    paths.sort();
    paths
}

#[test]
fn root_relocates_as_libbpf_does() {
    let vmlinux = std::fs::read(VMLINUX).expect("this test needs a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let target = TargetBtf::new(Arc::new(Btf::parse(vmlinux).expect("vmlinux's BTF")));
    let options = [("CONFIG_HZ", "250"), ("CONFIG_DEFAULT_HOSTNAME", "\"(none)\"")];
    let text: Vec<String> = options.iter().map(|(option, value)| format!("{option}={value}\n")).collect();
    let config = KernelConfig {
        options: options.map(|(option, value)| (option.to_owned(), value.to_owned())).into(),
        source: "this test".to_owned(),
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let version = probe_matrix::probe::kernel::version_code(&release, "", None).map(|(code, _)| code);
    let against = Against {
        setup: Setup { kconfig: CString::new(text.concat()).ok(), btf: None },
        target: &target,
        kernel: KernelSide {
            types: &target,
            modules_whole: true,
            config: Some(&config),
            version,
            symbols: None,
        },
    };
    let mut tally = Tally::default();
    for path in objects() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tally.add(compare(&name, &path, &against));
    }
    println!("{tally:?}");
    let differences: Vec<_> =
        tally.differences.iter().map(|(object, entry, how)| format!("{object} {entry}: {how}")).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(tally.equal + tally.both_refuse, tally.entries);
    assert!(
        tally.equal > 10 && tally.relocations > 50 && tally.externs > 5,
        "too little was compared: {tally:?}"
    );
}
