//! `portolan scan` as a process: what it finds, what it says of what it does not, and what it writes.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn scan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("scan").args(args).stdin(Stdio::null()).output().unwrap()
}

fn report(args: &[&str]) -> (Value, i32) {
    let output = scan(&[args, &["-o", "json"]].concat());
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    (document, output.status.code().expect("scan exits, it is not killed"))
}

fn shipped() -> PathBuf {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects");
    let mut objects: Vec<PathBuf> =
        fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path()).collect();
    objects.sort();
    objects.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "o")).unwrap()
}

#[test]
fn a_damaged_object_among_others_costs_itself() {
    let dir = tempfile::tempdir().unwrap();
    let object = fs::read(shipped()).unwrap();
    fs::write(dir.path().join("whole.o"), &object).unwrap();
    fs::write(dir.path().join("damaged.o"), &object[..object.len() / 2]).unwrap();
    let (document, code) = report(&[dir.path().to_str().unwrap()]);
    assert_eq!(code, 12, "nobody knows what the damaged one needs");
    assert_eq!((&document["summary"]["objects"], &document["summary"]["damaged"]), (&2.into(), &1.into()));
    let (document, code) = report(&[dir.path().join("damaged.o").to_str().unwrap()]);
    assert_eq!(code, 2, "{document}");
}

#[test]
fn what_is_no_file_is_not_waited_for_and_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), b"").unwrap();
    symlink("/etc/hostname", dir.path().join("outside")).unwrap();
    symlink(dir.path(), dir.path().join("cycle")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    let (document, code) = report(&[dir.path().to_str().unwrap()]);
    assert_eq!((code, &document["summary"]["files"]), (0, &1.into()));
    let notes = document["notes"].to_string();
    assert!(notes.contains("pipes, sockets or devices"), "{notes}");
    assert!(notes.contains("links that lead outside") || !Path::new("/etc/hostname").exists(), "{notes}");
    assert_eq!(scan(&[dir.path().join("pipe").to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn objects_are_extracted_once_and_files_that_are_there_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (object, out) = (shipped(), dir.path().join("out"));
    let (object, out) = (object.to_str().unwrap(), out.to_str().unwrap());
    for _ in 0..2 {
        assert_eq!(scan(&[object, "--extract", out]).status.code(), Some(0));
    }
    let extracted: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(extracted.len(), 1);
    assert_eq!(fs::read(&extracted[0]).unwrap(), fs::read(object).unwrap());
    fs::write(&extracted[0], b"mine").unwrap();
    assert_eq!(scan(&[object, "--extract", out]).status.code(), Some(2));
    assert_eq!(fs::read(&extracted[0]).unwrap(), b"mine");
}

#[test]
fn the_report_is_what_json_says_whatever_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (object, file) = (shipped(), dir.path().join("report.json"));
    let object = object.to_str().unwrap();
    let shown = scan(&[object, "-o", "wide", "--report", file.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0));
    assert_eq!(fs::read(file).unwrap(), scan(&[object, "-o", "json"]).stdout);
}

/// The needs of one program of the shipped object, by name.
fn needs_of<'a>(document: &'a Value, of: &str, name: &str) -> impl Iterator<Item = &'a Value> {
    let entries = document["objects"][0]["needs"]["entries"].as_array().unwrap();
    let needs = entries.iter().flat_map(|entry| entry[of].as_array().unwrap()).collect::<Vec<_>>();
    needs.into_iter().filter(move |need| need["name"] == *name)
}

#[test]
fn a_need_is_told_with_its_place_and_how_surely_it_is_reached() {
    let object = shipped();
    let (document, code) = report(&[object.to_str().unwrap()]);
    assert_eq!(code, 0);
    let entries = document["objects"][0]["needs"]["entries"].as_array().unwrap();
    let needs: Vec<&Value> = entries.iter().flat_map(|entry| entry["helpers"].as_array().unwrap()).collect();
    assert!(!needs.is_empty());
    for need in needs {
        assert!(
            need["source"].as_str().unwrap().contains(".bpf.c:")
                || need["source"].as_str().unwrap().contains(".h:"),
            "{need}"
        );
        assert!(["sure", "perhaps", "off"].contains(&need["certainty"].as_str().unwrap()), "{need}");
    }
    assert!(entries.iter().all(|entry| entry["stack"]["bytes"].as_u64().unwrap() <= 512));
    let map = &document["objects"][0]["needs"]["maps"][0];
    let name = map["name"].as_str().unwrap();
    assert!(needs_of(&document, "maps", name).next().is_some());
}

#[test]
fn a_constant_or_program_that_no_object_has_is_an_error_that_names_those_there_are() {
    let object = shipped();
    let object = object.to_str().unwrap();
    for (args, told) in [
        (["--rodata", "no_such_constant=1"], "no variable no_such_constant"),
        (["--no-autoload", "no_such_program"], "no entry no_such_program"),
        (["--rodata", "no_equals_sign"], "has no `=`"),
        (["--store", "/nowhere/at/all"], "there is no store at /nowhere/at/all"),
        (["--kernel", "/bin/sh"], "neither BTF nor a kernel's banner"),
        (["--kernel", "/etc/os-release"], "no kernel image, package, BTF"),
    ] {
        let output = scan(&[&[object][..], &args].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(told), "{args:?}: {message}");
    }
}

/// Runs a program that a test needs, and fails where it fails.
fn make(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}

#[test]
fn what_cannot_be_looked_at_is_said_on_stderr_in_the_result_and_by_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (object, name) = (shipped(), shipped().file_name().unwrap().to_str().unwrap().to_owned());
    let within = object.parent().unwrap().to_str().unwrap().to_owned();
    make("tar", &["-czf", &path("whole.tar.gz"), "-C", &within, &name, "."]);
    let whole = fs::read(path("whole.tar.gz")).unwrap();
    fs::write(path("cut.tar.gz"), &whole[..whole.len() * 3 / 4]).unwrap();
    for (args, code, told) in [
        (vec![path("whole.tar.gz")], 0, None),
        (vec![path("cut.tar.gz")], 12, Some("cannot be read to its end")),
        (vec![path("whole.tar.gz"), path("nowhere")], 2, Some("nowhere: cannot be looked at")),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (document, exit) = report(&args);
        assert_eq!(exit, code, "{args:?}");
        assert!(document["summary"]["objects"].as_u64().unwrap() > 0, "{args:?}");
        assert_eq!(document["incomplete"].as_array().unwrap().len(), usize::from(told.is_some()), "{args:?}");
        let stderr = String::from_utf8(scan(&args).stderr).unwrap();
        assert!(told.map_or(stderr.is_empty(), |told| stderr.contains(told)), "{args:?}: {stderr}");
    }
}

#[test]
fn objects_that_no_container_has_are_listed_and_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(path("image/blobs/sha256")).unwrap();
    fs::create_dir_all(path("root/opt")).unwrap();
    fs::copy(shipped(), path("root/opt/gone.o")).unwrap();
    fs::write(path("root/opt/.wh.gone.o"), "").unwrap();
    make("tar", &["-cf", &path("image/blobs/sha256/11"), "-C", &path("root"), "opt/gone.o"]);
    make("tar", &["-cf", &path("image/blobs/sha256/22"), "-C", &path("root"), "opt/.wh.gone.o"]);
    let layers = r#"{"layers": [{"digest": "sha256:11"}, {"digest": "sha256:22"}]}"#;
    for (name, text) in [
        ("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#),
        ("index.json", r#"{"manifests": [{"digest": "sha256:33"}]}"#),
        ("blobs/sha256/33", layers),
    ] {
        fs::write(path(&format!("image/{name}")), text).unwrap();
    }
    let (document, code) = report(&[&path("image")]);
    let summary = &document["summary"];
    assert_eq!(
        (code, &summary["objects"], &summary["removed"], &summary["entries"]),
        (0, &0.into(), &1.into(), &0.into())
    );
    assert_eq!(document["objects"][0]["removed"], true);
    fs::remove_file(path("image/blobs/sha256/22")).unwrap();
    let (document, code) = report(&[&path("image")]);
    assert_eq!((code, &document["summary"]["objects"]), (12, &1.into()));
    assert!(
        document["incomplete"][0]["message"].as_str().unwrap().contains("layer 2 of 2 is missing"),
        "{document}"
    );
}

/// Little-endian BTF of one `int`.
fn btf() -> Vec<u8> {
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let words: [u32; 9] = [24, 0, 16, 16, 5, 1, 1 << 24, 4, 32];
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(b"\0int\0");
    bytes
}

#[test]
fn what_is_no_kernel_is_an_error_and_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let object = shipped();
    let object = object.to_str().unwrap();
    fs::write(path("whole.btf"), btf()).unwrap();
    fs::write(path("damaged.btf"), &btf()[..30]).unwrap();
    fs::write(path("config-6.1.0"), "#\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_BPF=y\n").unwrap();
    for (kernel, told) in [
        ("damaged.btf", "the BTF of vmlinux cannot be parsed"),
        ("config-6.1.0", "only its configuration was found"),
    ] {
        let output = scan(&[object, "--kernel", &path(kernel)]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{kernel}: {message}");
        assert!(message.contains(told), "{kernel}: {message}");
    }
    let (document, code) =
        report(&[object, "--kernel", &path("damaged.btf"), "--kernel", &path("whole.btf")]);
    assert_eq!((code, document["matrix"]["kernels"].as_array().unwrap().len()), (2, 1));
    assert!(document["incomplete"][0]["message"].as_str().unwrap().contains("damaged.btf"), "{document}");
    // BTF by the name that images have, beside its configuration.
    fs::create_dir(path("boot")).unwrap();
    fs::write(path("boot/vmlinux-6.1.0"), btf()).unwrap();
    fs::copy(path("config-6.1.0"), path("boot/config-6.1.0")).unwrap();
    let (document, _) = report(&[object, "--kernel", &path("boot")]);
    assert_eq!(document["matrix"]["kernels"][0]["name"], "6.1.0");
    assert!(document["matrix"]["kernels"][0]["notes"].is_null(), "{document}");
}
