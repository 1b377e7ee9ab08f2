use super::*;
use crate::kernel::{KernelConfig, Module};
use crate::raw::BtfKind;
use std::fs;
use std::path::Path;

/// BTF with `structs` structs of two members, the offset of the second one being `second`.
pub(super) fn btf(structs: u32, second: u32) -> Vec<u8> {
    let mut strings = b"\0int\0a\0b\0".to_vec();
    let mut words = vec![1, (BtfKind::Int as u32) << 24, 4, 32];
    for n in 0..structs {
        let name = strings.len() as u32;
        strings.extend(format!("s{n}\0").bytes());
        words.extend([name, (BtfKind::Struct as u32) << 24 | 2, 8 + second / 8, 5, 1, 0, 7, 1, second + n]);
    }
    let types = words.len() as u32 * 4;
    let header = [24, 0, types, types, strings.len() as u32];
    let mut data = vec![0x9f, 0xeb, 1, 0];
    data.extend(header.into_iter().chain(words).flat_map(u32::to_le_bytes));
    data.extend(strings);
    data
}

fn kernel(release: &str, structs: u32, second: u32) -> Kernel {
    let options = [("CONFIG_BPF", "y"), ("CONFIG_HZ", "250")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let module =
        Module { btf: Some(Bytes::from_static(b"no BTF")), btf_base: None, functions: vec!["f".to_owned()] };
    Kernel {
        sources: vec![format!("{release}.deb")],
        release: Some(release.to_owned()),
        arch: Some("x86_64".to_owned()),
        build_id: Some(release.bytes().chain([7; 20]).take(20).collect()),
        btf: Some(btf(structs, second).into()),
        modules: [("m".to_owned(), module)].into(),
        modules_whole: true,
        config: Some(KernelConfig { options: options.into(), source: "config".to_owned() }),
        ..Kernel::default()
    }
}

fn store(dir: &Path) -> Store {
    Store::new(Directory::new(dir))
}

fn add_all(dir: &Path, kernels: &[Kernel]) {
    for kernel in kernels {
        store(dir).add(kernel).unwrap();
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = Directory::new(dir).list("").unwrap();
    files.into_iter().map(|file| dir.join(file.path)).collect()
}

#[test]
fn kernels_come_back_as_they_were_and_once_only() {
    let dir = tempfile::tempdir().unwrap();
    let kernels = [kernel("6.1.0-1", 300, 32), kernel("6.1.0-2", 300, 64), kernel("6.2.0-1", 290, 32)];
    for kernel in &kernels {
        assert!(!store(dir.path()).add(kernel).unwrap().known);
    }
    assert!(store(dir.path()).add(&kernels[1]).unwrap().known);
    let store = store(dir.path());
    let listing = store.list().unwrap();
    assert_eq!(listing.records.len(), 3);
    for (record, kernel) in listing.records.iter().zip(&kernels) {
        let back = store.kernel(record).unwrap();
        assert_eq!(format!("{back:?}"), format!("{kernel:?}"));
    }
    assert!(store.verify().unwrap().damage.is_empty());
}

#[test]
fn a_kernel_without_btf_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = Kernel { btf: None, ..kernel("6.1.0-1", 1, 0) };
    let error = store(dir.path()).add(&kernel).unwrap_err();
    assert!(error.to_string().starts_with("6.1.0-1: it has no BTF"), "{error}");
    assert!(files(dir.path()).is_empty());
}

#[test]
fn any_damage_is_found_and_adding_again_repairs_it() {
    let dir = tempfile::tempdir().unwrap();
    let kernels = [kernel("6.1.0-1", 50, 32), kernel("6.1.0-2", 50, 64)];
    add_all(dir.path(), &kernels);
    for path in files(dir.path()) {
        let good = fs::read(&path).unwrap();
        for damage in [&good[..good.len() / 2], b"", &[&good[..], b"x"].concat()] {
            fs::write(&path, damage).unwrap();
            assert!(!store(dir.path()).verify().unwrap().damage.is_empty(), "{}", path.display());
        }
        if path.extension().is_none() {
            fs::remove_file(&path).unwrap();
            assert!(!store(dir.path()).verify().unwrap().damage.is_empty(), "{}", path.display());
            add_all(dir.path(), &kernels);
            // A kernel over the damaged pack may have been packed anew; what was damaged is whole or not needed.
            assert!(store(dir.path()).verify().unwrap().damage.is_empty(), "{}", path.display());
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn writers_at_the_same_time_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dir = dir.path();
            scope.spawn(move || {
                for n in 0..6 {
                    // Half of them are added by all threads.
                    let release = format!("6.{}.0", n + if n % 2 == 0 { 0 } else { 10 * thread });
                    store(dir).add(&kernel(&release, 40 + n, 32)).unwrap();
                }
            });
        }
    });
    let store = store(dir.path());
    assert_eq!(store.list().unwrap().records.len(), 3 + 3 * 4);
    assert!(store.verify().unwrap().damage.is_empty());
}

#[test]
fn pruning_keeps_what_others_need_and_what_is_young() {
    let dir = tempfile::tempdir().unwrap();
    let kernels = [kernel("6.1.0-1", 300, 32), kernel("6.1.0-2", 300, 64)];
    add_all(dir.path(), &kernels);
    fs::create_dir_all(dir.path().join("packs/00")).unwrap();
    fs::write(dir.path().join("packs/00/left-over"), b"x").unwrap();
    let store = store(dir.path());
    let hour = Duration::from_secs(3600);
    assert!(store.prunable(|_| false, false, hour).unwrap().files.is_empty());
    // The second kernel is packed over the first: its packs stay.
    let pruned = store.prunable(|record| record.is("6.1.0-1"), false, Duration::ZERO).unwrap();
    let left_over = pruned.files.iter().any(|file| file.path == "packs/00/left-over");
    assert!(left_over && pruned.records.len() == 1);
    store.prune(&pruned).unwrap();
    assert!(store.verify().unwrap().damage.is_empty());
    let pruned = store.prunable(|_| true, false, hour).unwrap();
    store.prune(&pruned).unwrap();
    assert!(files(dir.path()).is_empty());
}

#[test]
fn damage_costs_what_is_damaged_and_can_be_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let kernels = [kernel("6.1.0-1", 50, 32), kernel("6.1.0-2", 50, 64), kernel("6.2.0-1", 900, 8)];
    add_all(dir.path(), &kernels);
    let store = store(dir.path());
    let records = store.list().unwrap().records;
    let packs = |record: &Record| packs_of([record]);
    let of_last: Vec<_> = packs(&records[2]).difference(&packs(&records[0])).cloned().collect();
    let own = of_last.iter().find(|path| !packs(&records[1]).contains(*path)).unwrap();
    fs::write(dir.path().join(own), b"damaged").unwrap();
    fs::write(dir.path().join(record_path(&records[1])), b"{").unwrap();
    fs::create_dir_all(dir.path().join("packs/00")).unwrap();
    fs::write(dir.path().join("packs/00/nobody-needs-it"), b"x").unwrap();
    // Each is named, and the first kernel is whole.
    assert_eq!(store.verify().unwrap().damage.len(), 3);
    assert!(store.kernel(&records[0]).is_ok() && store.kernel(&records[2]).is_err());
    let hour = Duration::from_secs(3600);
    let without = store.prunable(|_| false, false, hour).unwrap();
    assert_eq!((without.records.len(), without.files.len(), without.damaged.len()), (0, 0, 1));
    let pruned = store.prunable(|_| false, true, hour).unwrap();
    assert_eq!((pruned.records.len(), pruned.damaged.len()), (1, 0));
    store.prune(&pruned).unwrap();
    assert_eq!(
        (store.list().unwrap().records, store.verify().unwrap().damage.len()),
        (vec![records[0].clone()], 0)
    );
    add_all(dir.path(), &kernels);
    assert_eq!((store.list().unwrap().records.len(), store.verify().unwrap().damage.len()), (3, 0));
}

#[test]
fn a_record_cannot_ask_for_what_is_out_of_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let record = store(dir.path()).add(&kernel("6.1.0-1", 5, 32)).unwrap().record;
    let path = dir.path().join(record_path(&record));
    let good = fs::read_to_string(&path).unwrap();
    let digest = record.parts[record::BTF].packs[0].as_str();
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        (digest, "../../../../etc/passwd"),
        ("\"size\": ", "\"size\": 9999999999"),
        ("6.1.0-1", "6.1.0-3"),
    ] {
        fs::write(&path, good.replace(from, to)).unwrap();
        let listing = store(dir.path()).list().unwrap();
        assert_eq!((listing.records.len(), listing.damaged.len()), (0, 1), "{to}");
    }
    let many = format!("\"{digest}\",").repeat(MAX_DEPTH) + &format!("\"{digest}\"");
    fs::write(&path, good.replacen(&format!("\"{digest}\""), &many, 1)).unwrap();
    assert_eq!(store(dir.path()).list().unwrap().damaged.len(), 1);
}

/// Set in the child process that adds kernels until it is killed; the store's directory.
const CHILD: &str = "PORTOLAN_TEST_STORE";

#[test]
fn a_writer_that_is_killed_leaves_a_valid_store() {
    if let Some(dir) = std::env::var_os(CHILD) {
        for n in 0.. {
            store(Path::new(&dir)).add(&kernel(&format!("6.1.{n}"), 100 + n, 32)).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let this = "store::tests::a_writer_that_is_killed_leaves_a_valid_store";
    let mut known = 0;
    for round in 0..10u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + round * 37));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = store(dir.path());
        assert!(store.verify().unwrap().damage.is_empty());
        let count = store.list().unwrap().records.len();
        assert!(count >= known);
        known = count;
    }
    assert!(known > 0);
}

#[cfg(feature = "remote")]
#[test]
fn a_store_is_the_same_wherever_it_is() {
    let (server, served) = super::loopback::serve(super::loopback::Served::default());
    let dir = tempfile::tempdir().unwrap();
    let file = format!("file://{}", dir.path().display());
    let kernels = [kernel("6.1.0-1", 300, 32), kernel("6.1.0-2", 300, 64)];
    for address in [file, "memory:///some/where".to_owned(), format!("{server}/some/where")] {
        let store = Store::open(&address, []).unwrap();
        assert!(store.list().unwrap().records.is_empty(), "{address}");
        for kernel in &kernels {
            assert!(!store.add(kernel).unwrap().known);
        }
        let records = store.list().unwrap().records;
        assert_eq!(records.len(), 2, "{address}");
        for (record, kernel) in records.iter().zip(&kernels) {
            assert_eq!(format!("{:?}", store.kernel(record).unwrap()), format!("{kernel:?}"), "{address}");
        }
        assert!(store.verify().unwrap().damage.is_empty(), "{address}");
        let pruned = store.prunable(|record| record.is("6.1.0-1"), false, Duration::ZERO).unwrap();
        store.prune(&pruned).unwrap();
        assert_eq!(store.list().unwrap().records.len(), 1, "{address}");
        assert!(store.size().unwrap() > 0 && store.verify().unwrap().damage.is_empty(), "{address}");
    }
    // What a server sends is checked as what a disk gives.
    served.lock().unwrap().files.values_mut().for_each(|file| file.push(b' '));
    assert!(!Store::open(&format!("{server}/some/where"), []).unwrap().verify().unwrap().damage.is_empty());
    assert!(Store::open("https://me:secret@[", []).is_err_and(|error| !error.to_string().contains("secret")));
}
