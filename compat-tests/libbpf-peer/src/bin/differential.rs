//! `differential BTF CONFIG OBJECT…`: holds every object against libbpf and prints one line a difference, then the counts.
//!
//! libbpf looks externs up in `/sys/kernel/btf/vmlinux`: BTF must be what lies there in this process's mount namespace.
//! `cargo xtask differential` sees to that.

use btf_catalog::Btf;
use btf_catalog::core::{KernelSide, KernelSymbol, TargetBtf};
use btf_catalog::kernel::KernelConfig;
use libbpf_peer::{Against, Setup, Tally, compare};
use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [btf, config, objects @ ..] = &args[..] else {
        eprintln!("usage: differential BTF CONFIG OBJECT…");
        return ExitCode::from(2);
    };
    match run(btf, config, objects) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(btf: &str, config: &str, objects: &[String]) -> Result<(), String> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let types = Btf::parse(read(btf)?).map_err(|error| format!("{btf}: {error}"))?;
    let target = TargetBtf::new(Arc::new(types));
    let text = String::from_utf8(read(config)?).map_err(|error| format!("{config}: {error}"))?;
    let config = parsed(&text, config);
    let kallsyms = kallsyms(&String::from_utf8_lossy(&read("/proc/kallsyms")?));
    let symbols = |name: &str| kallsyms.get(name).copied().unwrap_or(KernelSymbol::Missing);
    let kernel = KernelSide {
        types: &target,
        modules_whole: true,
        config: Some(&config),
        version: version(&String::from_utf8_lossy(&read("/proc/sys/kernel/osrelease")?)),
        symbols: Some(&symbols),
    };
    let kconfig = CString::new(text).map_err(|error| error.to_string())?;
    let against = Against {
        setup: Setup { kconfig: Some(kconfig), ..Setup::with_btf(Path::new(btf)) },
        target: &target,
        kernel,
    };
    let mut tally = Tally::default();
    for object in objects {
        let path = Path::new(object);
        let short = path.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy());
        let short: Vec<_> = short.collect();
        let name = short.iter().rev().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
        tally.add(compare(&name, path, &against));
    }
    for (object, entry, how) in &tally.differences {
        println!("differs\t{object}\t{entry}\t{how}");
    }
    println!(
        "counts\t{}\t{}\t{}\t{}\t{}\t{}",
        tally.objects, tally.entries, tally.equal, tally.both_refuse, tally.relocations, tally.externs
    );
    Ok(())
}

fn parsed(text: &str, source: &str) -> KernelConfig {
    let options = text.lines().filter(|line| line.starts_with("CONFIG_"));
    KernelConfig {
        options: options
            .filter_map(|line| line.split_once('='))
            .map(|(option, value)| (option.to_owned(), value.to_owned()))
            .collect(),
        source: source.to_owned(),
    }
}

/// Addresses by name, as libbpf reads them: what `/proc/kallsyms` says twice with different addresses is ambiguous.
fn kallsyms(text: &str) -> HashMap<String, KernelSymbol> {
    let mut symbols = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        let name = name.split_once(".llvm.").filter(|_| kind == "d").map_or(name, |(name, _)| name);
        symbols
            .entry(name.to_owned())
            .and_modify(|known| {
                if *known != KernelSymbol::At(address) {
                    *known = KernelSymbol::Ambiguous;
                }
            })
            .or_insert(KernelSymbol::At(address));
    }
    symbols
}

/// `LINUX_VERSION_CODE` of a release that begins with three numbers.
fn version(release: &str) -> Option<u32> {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let (major, minor, patch) = (next()?, next()?, next()?);
    Some(major << 16 | minor << 8 | patch.min(255))
}
