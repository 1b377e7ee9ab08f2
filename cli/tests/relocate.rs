//! `portolan relocate`, on a shipped object and the running kernel's BTF.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

fn object() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects");
    let mut objects: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the shipped objects")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".bpfel.o"))
        .collect();
    objects.sort();
    objects.into_iter().next().expect("a shipped object")
}

fn relocate(object: &Path, kernel: &str, out: &Path) -> Output {
    let (object, out) = (object.to_str().unwrap(), out.to_str().unwrap());
    Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["relocate", object, "--kernel", kernel, "-o", out, "--format", "json"])
        .output()
        .expect("portolan starts")
}

#[test]
fn the_output_is_an_object_without_relocations_and_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let (once, twice) = (dir.path().join("once.o"), dir.path().join("twice.o"));
    for out in [&once, &twice] {
        let output = relocate(&object(), VMLINUX, out);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let bytes = std::fs::read(&once).unwrap();
    assert_eq!(bytes, std::fs::read(&twice).unwrap());
    let again = btf_catalog::BpfObject::parse(bytes).unwrap();
    assert!(again.entries.iter().all(|entry| entry.core_relos.is_empty()));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing else is left in the directory");
}

#[test]
fn the_input_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input.o");
    std::fs::copy(object(), &input).unwrap();
    let output = relocate(&input, VMLINUX, &input);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read(&input).unwrap(), std::fs::read(object()).unwrap());
}

#[test]
fn the_kernel_is_never_replaced_either() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel.btf");
    std::fs::copy(VMLINUX, &kernel).unwrap();
    let before = std::fs::metadata(&kernel).unwrap().len();
    assert_eq!(relocate(&object(), kernel.to_str().unwrap(), &kernel).status.code(), Some(2));
    assert_eq!(std::fs::metadata(&kernel).unwrap().len(), before);
}

#[test]
fn what_may_never_end_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo of coreutils").success());
    let out = dir.path().join("out.o");
    for input in [pipe.as_path(), Path::new("/dev/zero"), dir.path()] {
        let output = relocate(input, VMLINUX, &out);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(", no file"), "{said}");
    }
    assert!(!out.exists());
}

#[test]
fn an_output_that_is_no_file_is_written_to_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo of coreutils").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    let output = relocate(&object(), VMLINUX, &pipe);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(reader.join().unwrap().starts_with(b"\x7fELF"));
    assert!(!std::fs::metadata(&pipe).unwrap().is_file(), "the pipe is still one");

    let (target, link) = (dir.path().join("target.o"), dir.path().join("link.o"));
    std::fs::write(&target, b"old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(relocate(&object(), VMLINUX, &link).status.code(), Some(0));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read(&target).unwrap().starts_with(b"\x7fELF"));
}

#[test]
fn what_is_no_kernel_is_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.o");
    let output = relocate(&object(), "/dev/null", &out);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!out.exists());
}

#[test]
fn minimised_btf_relocates_as_the_whole_does() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small");
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["kernel", "minimize", object().to_str().unwrap(), "--kernel", VMLINUX])
        .args(["--kernel", VMLINUX, "--out", out.to_str().unwrap(), "-o", "json"])
        .output()
        .expect("portolan starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(out.join("index.json")).unwrap(), output.stdout);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = out.join(report["kernels"][0]["file"].as_str().unwrap());
    let (whole, small) = (dir.path().join("whole.o"), dir.path().join("small.o"));
    assert!(relocate(&object(), VMLINUX, &whole).status.success());
    assert!(relocate(&object(), file.to_str().unwrap(), &small).status.success());
    assert_eq!(std::fs::read(whole).unwrap(), std::fs::read(small).unwrap());
}
