//! Kernels of distributions, whole: run with `cargo test -p btf-catalog --release -- --ignored` after
//! `cargo xtask kernels` has brought some into the cache, or with packages named in `PORTOLAN_KERNELS`.

use btf_catalog::Btf;
use btf_catalog::kernel::{Inside, Options, read};
use std::path::PathBuf;

/// The packages in the cache.
fn packages() -> Vec<PathBuf> {
    if let Some(paths) = std::env::var_os("PORTOLAN_KERNELS") {
        return std::env::split_paths(&paths).collect();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let kernels = cache.expect("a home directory").join("portolan/kernels");
    let entries = std::fs::read_dir(&kernels).unwrap_or_else(|error| {
        panic!("{}: {error}: `cargo xtask kernels` brings them", kernels.display());
    });
    let paths = entries.map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    paths
        .filter(|path| name(path).starts_with("linux-image-") || name(path).starts_with("linux-binary-"))
        .collect()
}

#[test]
#[ignore = "reads packages of kernels from the cache"]
fn every_package_gives_btf_symbols_and_tables_that_agree() {
    let packages = packages();
    assert!(!packages.is_empty(), "no package: `cargo xtask kernels` brings some");
    for package in packages {
        let kernels = read(&[&package], Options { modules: false, image: true }).unwrap();
        assert_eq!(kernels.len(), 1, "{}", package.display());
        let kernel = &kernels[0];
        let at = package.display();
        assert!(kernel.notes.is_empty(), "{at}: {:?}", kernel.notes);
        let btf =
            Btf::parse(kernel.btf.clone().expect("BTF")).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(kernel.build_id.as_ref().map(Vec::len), Some(20), "{at}");
        let image = kernel.image.as_ref().expect("it was asked for");
        assert!(image.symbols.len() > 50_000, "{at}: {} symbols", image.symbols.len());

        // The tables, read by the BTF, name what the symbols name.
        let inside = Inside::read(image, &btf);
        let no_whitelist = inside.notes.iter().all(|note| note.contains("error injection"));
        assert!(no_whitelist, "{at}: {:?}", inside.notes);
        for function in ["vfs_read", "tcp_connect", "vfs_unlink"] {
            assert_eq!(inside.is_traceable(image, function), Some(true), "{at}: {function}");
        }
        for point in inside.raw_tracepoints.expect("raw tracepoints") {
            let symbol = format!("__tracepoint_{}", point.name);
            assert!(image.symbols.get(&symbol).is_some(), "{at}: {symbol}");
        }
        let events = inside.trace_events.expect("events");
        let switch = events.iter().find(|event| event.group == "sched" && event.name == "sched_switch");
        assert_eq!(switch.and_then(|event| event.record_sz), Some(64), "{at}");
        for set in inside.id_sets.expect("sets of ids").iter().filter(|set| set.name.starts_with("bpf_lsm_"))
        {
            for (id, _) in &set.ids {
                assert!(
                    btf.ty(*id).name().starts_with("bpf_lsm_"),
                    "{at}: {} has {}",
                    set.name,
                    btf.ty(*id).name()
                );
            }
        }
    }
}
