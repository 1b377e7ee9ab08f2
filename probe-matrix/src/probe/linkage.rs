//! What this node's kernel defines for an object's externs, beside its types: configuration, version, symbols.

use super::config::KernelConfig;
use super::kernel::version_code;
use super::root::HostRoot;
use super::symbols::each_line;
use btf_catalog::BpfObject;
use btf_catalog::core::{KernelSide, KernelSymbol, Resolution, TargetBtf};
use btf_catalog::kernel;
use btf_catalog::object::ExternKind;
use std::collections::HashMap;

const KALLSYMS: &str = "/proc/kallsyms";

/// The running kernel, as far as externs are concerned.
#[derive(Debug)]
pub struct Linkage {
    root: HostRoot,
    config: Option<kernel::KernelConfig>,
    version: Option<u32>,
    modules_whole: bool,
}

impl Linkage {
    /// Reads configuration and version; symbols are looked up when they are asked for. `types` are those of the node.
    pub fn read(root: HostRoot, types: &TargetBtf) -> Linkage {
        let config = KernelConfig::read(&root).ok().and_then(|config| config.whole());
        let uname = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        let signature = root.read_text("/proc/version_signature", 4096).ok();
        let version = version_code(&text(uname.release()), &text(uname.version()), signature.as_deref());
        // All that sysfs shows, vmlinux among them: libbpf looks nowhere else.
        let shown = root.names("/sys/kernel/btf").map_or(0, |names| names.len());
        Linkage {
            root,
            config,
            version: version.map(|(code, _)| code),
            modules_whole: shown == types.modules().len() + 1,
        }
    }

    /// The externs of `object` on this kernel.
    pub fn resolve(&self, object: &BpfObject, types: &TargetBtf) -> Resolution {
        let untyped = |kind: ExternKind, is_void: bool| kind == ExternKind::Ksym && is_void;
        let wanted = object.externs.iter().filter(|ext| untyped(ext.kind, ext.ty.0 == 0));
        let addresses = self.addresses(wanted.map(|ext| ext.name.as_str()).collect());
        let symbols = |name: &str| addresses.get(name).copied().unwrap_or(KernelSymbol::Unknown);
        let side = KernelSide {
            types,
            modules_whole: self.modules_whole,
            config: self.config.as_ref(),
            version: self.version,
            symbols: Some(&symbols),
        };
        Resolution::new(object, &side)
    }

    /// What kallsyms says of each name. A kernel that hides addresses shows zeros.
    fn addresses<'n>(&self, wanted: Vec<&'n str>) -> HashMap<&'n str, KernelSymbol> {
        let mut found: HashMap<&str, KernelSymbol> =
            wanted.into_iter().map(|name| (name, KernelSymbol::Missing)).collect();
        if found.is_empty() {
            return found;
        }
        let mut hidden = true;
        let read = self.root.open_file(KALLSYMS).and_then(|file| {
            each_line(file, |line| {
                let mut words = line.split_ascii_whitespace();
                let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
                    return;
                };
                let Ok(address) = u64::from_str_radix(address, 16) else { return };
                hidden &= address == 0;
                if let Some(known) = found.get_mut(name) {
                    *known = match *known {
                        KernelSymbol::Missing => KernelSymbol::At(address),
                        KernelSymbol::At(other) if other == address => KernelSymbol::At(address),
                        _ => KernelSymbol::Ambiguous,
                    };
                }
            })
        });
        if hidden || read.is_err() {
            for symbol in found.values_mut() {
                *symbol = KernelSymbol::Unknown;
            }
        }
        found
    }
}
