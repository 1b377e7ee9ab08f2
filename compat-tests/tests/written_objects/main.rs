//! Objects written by `btf_catalog::write`, judged by those who load them: libbpf makes the same instructions of the
//! written object as of the original, aya-obj reads what it reads of the original, and bpftool, cilium/ebpf and aya load it
//! where the kernel shows no types, if they load the original where it does.

mod loaders;

use btf_catalog::core::{KernelSide, Relocator, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use btf_catalog::scan::loaders::Loader as Gaps;
use btf_catalog::write::{self, WriteError};
use btf_catalog::{BpfObject, Btf};
use bytes::Bytes;
use loaders::{Loader, Types};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The shipped objects of this machine's byte order.
fn shipped() -> Vec<PathBuf> {
    objects_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/objects"))
}

/// These, and those of the directories named by `PORTOLAN_OBJECTS`, with colons between.
fn objects() -> Vec<PathBuf> {
    let more = std::env::var_os("PORTOLAN_OBJECTS").unwrap_or_default();
    let more = std::env::split_paths(&more).filter(|dir| !dir.as_os_str().is_empty());
    shipped().into_iter().chain(more.flat_map(|dir| objects_of(&dir))).collect()
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
            Loader::Bpftool
                .load(&out, Types::Hidden)
                .expect_err(&format!("{name} is said to need the kernel's types"));
            continue;
        }
        // An object without relocations loads or does not, for what its loader knows: nothing was written into it.
        if !written.relocations.is_empty() {
            Loader::Bpftool
                .load(&out, Types::Hidden)
                .unwrap_or_else(|said| panic!("{name}, written: {said}"));
            let said = Loader::Bpftool
                .load(&path, Types::Hidden)
                .expect_err(&format!("{name} is relocated without types"));
            assert!(said.contains("BTF"), "{name} is refused for another reason: {said}");
            relocated += 1;
        }
    }
    assert!(relocated >= 3, "only {relocated} objects with relocations were loaded");
}

/// What a loader makes of a written object.
enum Taken {
    /// Loaded where the kernel shows no types.
    WithoutTypes,
    /// Loaded where it shows them, and said to need them.
    WithTypes,
    /// The loader does not load the original either: why.
    NotEvenTheOriginal(String),
    /// The loader loads the original, and not what was written of it: why.
    Lost(String),
}

/// `cargo test -p compat-tests --test written_objects -- --ignored --nocapture`, with directories of the cache that
/// `cargo xtask objects` fills in `PORTOLAN_OBJECTS`, prints which loader takes which object.
#[test]
#[ignore = "needs go, and is of use with the objects of the cache in PORTOLAN_OBJECTS"]
fn root_loaders_take_what_was_written_as_they_take_the_original() {
    assert!(
        rustix::process::geteuid().is_root(),
        "mounts and loads: run the tests as root (sudo cargo test)"
    );
    let vmlinux = std::fs::read(VMLINUX).expect("this test needs a kernel with CONFIG_DEBUG_INFO_BTF=y");
    let target = TargetBtf::new(Arc::new(Btf::parse(vmlinux).expect("vmlinux's BTF")));
    let config = running_config();
    let kernel = KernelSide {
        types: &target,
        modules_whole: true,
        config: Some(&config),
        version: Some(running_version()),
        symbols: None,
    };
    let dir = tempfile::tempdir().expect("a directory");
    let loaders = Loader::all(dir.path());
    let mut counts = [[0; 4]; 3];
    for (number, path) in objects().into_iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = Bytes::from(std::fs::read(&path).expect("an object"));
        let object = BpfObject::parse(data.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = match write::relocated(&data, &object, &kernel) {
            Ok(written) => written,
            Err(error) => {
                println!("{name}\tnot written: {error}");
                continue;
            }
        };
        let out = dir.path().join(format!("{number}-{name}"));
        std::fs::write(&out, &written.bytes).expect("the written object");
        let mut line = name.clone();
        for (loader, counts) in loaders.iter().zip(&mut counts) {
            let taken = take(loader, &path, &out, !written.needs_kernel_btf.is_empty());
            let gaps = gaps(loader, &object);
            let (column, said) = match taken {
                Taken::WithoutTypes => (0, String::new()),
                Taken::WithTypes => (1, String::new()),
                Taken::NotEvenTheOriginal(why) => (2, if gaps.is_empty() { why } else { gaps }),
                Taken::Lost(why) => (3, why),
            };
            counts[column] += 1;
            let _ = write!(line, "\t{} {}", COLUMNS[column], said.replace(['\n', '\t'], " "));
        }
        println!("{}", line.trim_end());
    }
    for (loader, counts) in loaders.iter().zip(counts) {
        let counts: Vec<String> =
            COLUMNS.iter().zip(counts).map(|(what, count)| format!("{count} {what}")).collect();
        println!("{}: {}", loader.version(), counts.join(", "));
    }
    assert_eq!(counts.map(|counts| counts[3]), [0; 3], "written objects that lost a loader of the original");
}

/// What [`Taken`] is called in the table.
const COLUMNS: [&str; 4] = ["loads", "with types", "original not either", "lost"];

fn take(loader: &Loader, original: &Path, written: &Path, needs_types: bool) -> Taken {
    let Err(hidden) = loader.load(written, Types::Hidden) else { return Taken::WithoutTypes };
    if let Err(why) = loader.load(original, Types::Shown) {
        return Taken::NotEvenTheOriginal(telling(&why));
    }
    match loader.load(written, Types::Shown) {
        Ok(()) if needs_types => Taken::WithTypes,
        Ok(()) => Taken::Lost(format!("said to need no types, and without them: {}", telling(&hidden))),
        Err(why) => Taken::Lost(telling(&why)),
    }
}

/// What our table says that the loader cannot do with the object.
fn gaps(loader: &Loader, object: &BpfObject) -> String {
    let gaps = loader.version().parse::<Gaps>().expect("a loader of the table").gaps(object);
    gaps.iter().map(|gap| gap.feature.as_str()).collect::<Vec<_>>().join(", ")
}

/// The line of a loader's words that says most: the first that speaks of a failure that it does not try again after.
fn telling(said: &str) -> String {
    let speaks = |line: &&str| ["fail", "rror", "not ", "invalid"].iter().any(|word| line.contains(word));
    let mut lines = said.lines().filter(|line| !line.contains("Retrying"));
    let line = lines.find(speaks).or_else(|| said.lines().last()).unwrap_or_default();
    line.chars().take(160).collect()
}

/// The running kernel's configuration; without options where it does not show it.
fn running_config() -> KernelConfig {
    let text = std::process::Command::new("zcat").arg("/proc/config.gz").output();
    let text = text.map(|output| output.stdout).unwrap_or_default();
    KernelConfig::parse(&text, "/proc/config.gz").unwrap_or_default()
}

/// `LINUX_VERSION_CODE` of the running kernel.
fn running_version() -> u32 {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().unwrap_or_default();
    next() << 16 | next() << 8 | next().min(255)
}
