//! `portolan kernel` as a process: what it keeps, gives back, says of damage, and fetches.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Little-endian BTF of `int`, and of `struct s` with `a` at 0 and `b` at `second` bits.
fn btf(second: u32) -> Vec<u8> {
    let kind = |kind: u32| kind << 24;
    let words = [1, kind(1), 4, 32, 9, kind(4) | 2, 4 + second / 8, 5, 1, 0, 7, 1, second];
    let types = words.len() as u32 * 4;
    let header = [24, 0, types, types, 11];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(header.iter().chain(&words).flat_map(|word| word.to_le_bytes()));
    bytes.extend(b"\0int\0a\0b\0s\0");
    bytes
}

struct Place(tempfile::TempDir);

impl Place {
    /// A directory with two kernels as files, named as `/boot` names them.
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::write(place.path("vmlinux-6.1.0-1-amd64"), btf(32)).unwrap();
        fs::write(place.path("vmlinux-6.1.0-2-amd64"), btf(64)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn kernel(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("kernel").args(args).args(["--store", self.path("store").to_str().unwrap()]);
        command.env("XDG_CACHE_HOME", self.path("cache")).stdin(Stdio::null()).output().unwrap()
    }

    /// The document that a command writes, and its exit code.
    fn report(&self, args: &[&str]) -> (Value, i32) {
        let output = self.kernel(&[args, &["-o", "json"]].concat());
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
        (document, output.status.code().unwrap())
    }

    fn add_both(&self) -> Value {
        let files = ["vmlinux-6.1.0-1-amd64", "vmlinux-6.1.0-2-amd64"].map(|name| self.path(name));
        let [one, two] = files.each_ref().map(|file| file.to_str().unwrap());
        let (document, code) = self.report(&["add", one, two]);
        assert_eq!(code, 0);
        document
    }
}

fn each<'a>(document: &'a Value, field: &str) -> Vec<&'a str> {
    document["kernels"].as_array().unwrap().iter().map(|kernel| kernel[field].as_str().unwrap()).collect()
}

#[test]
fn what_is_added_is_listed_shown_and_given_back() {
    let place = Place::new();
    assert_eq!(each(&place.add_both(), "state"), ["added", "added"]);
    assert_eq!(each(&place.add_both(), "state"), ["known", "known"]);
    let file = place.path("vmlinux-6.1.0-1-amd64");
    let again = place.kernel(&["add", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("6.1.0-1-amd64: known, not read again"), "{said}");
    let (document, code) = place.report(&["list"]);
    assert_eq!((code, each(&document, "release")), (0, vec!["6.1.0-1-amd64", "6.1.0-2-amd64"]));
    assert_eq!(each(&place.report(&["list", "*-2-*"]).0, "release"), ["6.1.0-2-amd64"]);
    let out = place.path("out.btf");
    let (document, code) = place.report(&["show", "6.1.0-2-amd64", "--btf", out.to_str().unwrap()]);
    assert_eq!((code, fs::read(out).unwrap()), (0, btf(64)));
    assert!(document["kernels"][0]["parts"].as_array().unwrap().iter().any(|part| part["name"] == "btf"));
    let table = String::from_utf8(place.kernel(&["list"]).stdout).unwrap();
    assert!(table.contains("2 kernels") && table.contains("6.1.0-1-amd64"), "{table}");
}

#[test]
fn a_kernel_that_is_not_there_is_bad_input_with_a_hint() {
    let place = Place::new();
    place.add_both();
    let output = place.kernel(&["show", "6.1.0-3-amd64"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("has no kernel 6.1.0-3-amd64") && message.contains("6.1.0-"), "{message}");
    assert_eq!(place.kernel(&["add", "/nowhere/at/all"]).status.code(), Some(2));
    assert_eq!(place.kernel(&["list", "nope*"]).status.code(), Some(2));
    fs::remove_dir_all(place.path("store/kernels")).unwrap();
    let (document, code) = place.report(&["list"]);
    assert_eq!((code, each(&document, "release").len()), (0, 0), "the first addition was interrupted");
    let output = Place::new().kernel(&["verify"]);
    assert_eq!(output.status.code(), Some(2), "a name that was misspelt is no store without damage");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no store at"));
}

#[test]
fn kernels_are_added_whatever_is_wrong_with_others() {
    let place = Place::new();
    let good = place.path("vmlinux-6.1.0-1-amd64");
    fs::write(place.path("bad.btf"), &btf(32)[..30]).unwrap();
    let output = place.kernel(&[
        "add",
        "/nowhere/at/all",
        place.path("bad.btf").to_str().unwrap(),
        good.to_str().unwrap(),
    ]);
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{messages}");
    for told in ["/nowhere/at/all: there is no such file", "bad", "6.1.0-1-amd64: added"] {
        assert!(messages.contains(told), "{told}: {messages}");
    }
    assert_eq!(each(&place.report(&["list"]).0, "release"), ["6.1.0-1-amd64"]);
}

#[test]
fn damage_of_one_kernel_costs_that_kernel() {
    let place = Place::new();
    place.add_both();
    fs::write(place.path("store/kernels/0123456789abcdef.json"), "{").unwrap();
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects");
    let store = place.path("store");
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["scan", object, "-o", "json", "--store", store.to_str().unwrap()])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["matrix"]["kernels"].as_array().unwrap().len(), 2);
    assert!(
        document["incomplete"].to_string().contains("0123456789abcdef.json"),
        "{}",
        document["incomplete"]
    );
    let (document, code) = place.report(&["prune", "*-1-amd64", "--yes"]);
    assert_eq!((code, each(&document, "state")), (10, vec!["removed"]));
    assert!(document["damage"][0].as_str().unwrap().contains("0123456789abcdef.json"), "{document}");
    assert_eq!(each(&place.report(&["list"]).0, "release"), ["6.1.0-2-amd64"]);
    assert_eq!(place.report(&["list"]).1, 10);
}

#[test]
fn what_a_scan_found_out_is_not_found_out_again_until_anything_of_it_changes() {
    let place = Place::new();
    place.add_both();
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects/flow-meter-tcx.bpfel.o");
    let scan = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(["scan", object, "-o", "json", "--store"]).arg(place.path("store")).args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let first = scan(&[]).unwrap();
    assert_eq!(first["incomplete"], Value::Array(Vec::new()));
    // Without its packs nothing can be restored.
    let packs = place.path("store/packs");
    fs::rename(&packs, place.path("packs")).unwrap();
    assert_eq!(scan(&[]).as_ref(), Some(&first));
    let one = scan(&["--kernel", "6.1.0-2-amd64"]).unwrap();
    assert_eq!(one["matrix"]["kernels"].as_array().unwrap().len(), 1);
    // Another question needs the kernels.
    let program = first["matrix"]["rows"][0]["program"].as_str().unwrap();
    assert_eq!(scan(&["--no-autoload", program]), None);
    fs::rename(place.path("packs"), &packs).unwrap();
    assert_eq!(place.report(&["prune", "--yes"]).1, 0);
    assert!(!place.path("store/answers").read_dir().is_ok_and(|mut files| files.next().is_some()));
    assert_eq!(scan(&[]).as_ref(), Some(&first));
}

#[test]
fn damage_is_named_and_adding_again_repairs_it() {
    let place = Place::new();
    place.add_both();
    let (document, code) = place.report(&["verify"]);
    assert_eq!((code, &document["verified"]), (0, &2.into()));
    let table = String::from_utf8(place.kernel(&["verify"]).stdout).unwrap();
    assert!(table.contains("2 kernels verified, 0 damaged"), "{table}");
    let packs = fs::read_dir(place.path("store/packs")).unwrap();
    let pack = fs::read_dir(packs.last().unwrap().unwrap().path()).unwrap().next().unwrap().unwrap().path();
    fs::write(&pack, b"damage").unwrap();
    let (document, code) = place.report(&["verify"]);
    let named = document["damage"][0].as_str().unwrap();
    assert!(code == 10 && named.contains(pack.file_name().unwrap().to_str().unwrap()), "{named}");
    fs::remove_file(pack).unwrap();
    place.add_both();
    assert_eq!(place.report(&["verify"]).1, 0);
}

#[test]
fn objects_are_relocated_and_btf_is_minimised_for_kernels_of_a_store() {
    let place = Place::new();
    place.add_both();
    let portolan = |args: &[&str]| {
        let store = place.path("store");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.args(args).args(["--store", store.to_str().unwrap()]).stdin(Stdio::null()).output().unwrap()
    };
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/objects/flow-meter-tcx.bpfel.o");
    let (out, dir) = (place.path("out.o"), place.path("minimised"));
    let (out, dir) = (out.to_str().unwrap(), dir.to_str().unwrap());
    let relocated = portolan(&["relocate", object, "--kernel", "6.1.0-1-amd64", "-o", out]);
    assert_eq!(relocated.status.code(), Some(0), "{}", String::from_utf8_lossy(&relocated.stderr));
    assert!(fs::metadata(out).unwrap().len() > 0);
    let several = portolan(&["relocate", object, "--kernel", "6.1.*", "-o", out]);
    assert_eq!(several.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&several.stderr).contains("several kernels (6.1.0-1-amd64, 6.1.0-2-amd64)")
    );
    let minimised = portolan(&["kernel", "minimize", object, "--kernel", "6.1.*", "--out", dir]);
    assert_eq!(minimised.status.code(), Some(0), "{}", String::from_utf8_lossy(&minimised.stderr));
    let format = portolan(&["relocate", object, "--kernel", "6.1.0-1-amd64", "-o", "json"]);
    assert!(String::from_utf8_lossy(&format.stderr).contains("the report's format is --format"));
}

#[test]
fn pruning_removes_nothing_until_it_is_told_to() {
    let place = Place::new();
    place.add_both();
    let (document, code) = place.report(&["prune", "*-1-amd64"]);
    assert_eq!((code, each(&document, "state")), (0, vec!["would be removed"]));
    assert_eq!(each(&place.report(&["list"]).0, "release").len(), 2);
    assert_eq!(each(&place.report(&["prune", "*-1-amd64", "--yes"]).0, "state"), ["removed"]);
    assert_eq!(each(&place.report(&["list"]).0, "release"), ["6.1.0-2-amd64"]);
    assert_eq!(place.report(&["verify"]).1, 0);
}

#[test]
fn a_difference_is_told_in_words() {
    let place = Place::new();
    place.add_both();
    let (document, code) = place.report(&["diff", "6.1.0-1-amd64", "6.1.0-2-amd64"]);
    let change = &document["changes"][0];
    assert_eq!((code, &change["kind"], &change["name"]), (0, &"struct".into(), &"s".into()));
    // A file and a kernel of the store are compared alike.
    let file = place.path("vmlinux-6.1.0-1-amd64");
    let of_file = place.report(&["diff", file.to_str().unwrap(), "6.1.0-2-amd64"]).0;
    assert_eq!(of_file["changes"], document["changes"]);
}

#[cfg(feature = "remote")]
#[test]
fn a_server_is_mirrored_and_what_is_no_btf_is_named() {
    let place = Place::new();
    let files = [
        ("/hub/debian/12/x86_64/6.1.0-1-amd64.btf.tar.xz", btf(32)),
        ("/hub/debian/12/arm64/6.1.0-1-arm64.btf.tar.xz", btf(64)),
        ("/hub/debian/12/x86_64/6.1.0-2-amd64.btf.tar.xz", b"no BTF".to_vec()),
    ];
    let server = format!("{}/hub", serve(files));
    let list = place.path("list.txt");
    let paths = ["12/x86_64/6.1.0-1-amd64", "12/x86_64/6.1.0-2-amd64", "12/arm64/6.1.0-1-arm64", "13/../x/y"];
    fs::write(&list, paths.map(|path| format!("debian/{path}.btf.tar.xz\n")).concat()).unwrap();
    let list = ["--list", list.to_str().unwrap()];
    let fetch = |more: &[&str]| place.report(&[&["fetch", &server][..], more, &list].concat());
    assert_eq!(each(&fetch(&["--dry-run"]).0, "state"), ["would be fetched"; 3]);
    let (document, code) = fetch(&["debian/*/arm64"]);
    assert_eq!((code, each(&document, "state")), (0, vec!["added"]));
    assert_eq!(each(&document, "arch"), ["aarch64"]);
    let (document, code) = fetch(&["debian"]);
    assert_eq!((code, each(&document, "state")), (10, vec!["known", "added"]));
    assert!(document["damage"][0].as_str().unwrap().contains("6.1.0-2-amd64.btf.tar.xz"), "{document}");
    assert!(fs::read_dir(place.path("cache/portolan/fetch")).unwrap().next().is_none());
    assert_eq!(place.kernel(&["fetch", &server, "debian/12/x86_64/x/y"]).status.code(), Some(2));
}

/// A web server with these files, for as long as the process lives.
#[cfg(feature = "remote")]
fn serve<const N: usize>(files: [(&'static str, Vec<u8>); N]) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = lines.find(String::is_empty);
            let (status, body) = files
                .iter()
                .find(|(name, _)| *name == path)
                .map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", &body[..]));
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    address
}

#[test]
fn a_store_elsewhere_that_cannot_be_reached_is_an_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    let output = command.args(["kernel", "list", "--store", "gopher://host/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gopher://host/x"));
}
