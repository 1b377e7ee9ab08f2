//! The kernel's own BTF: of vmlinux and of every module, in /sys/kernel/btf.

use super::Out;
use super::config::KernelConfig;
use super::printable::printable;
use super::root::{HostRoot, Unread};
use crate::facts::{Evidence, Fact, Support};
use btf_catalog::Btf;
use btf_catalog::core::TargetBtf;
use bytes::Bytes;
use rustix::io::Errno;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

const DIR: &str = "/sys/kernel/btf";
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Most bytes of one BTF. Distributions' vmlinux has 4 to 8 MB.
const BTF_BYTE_SZ_MAX: usize = 64 << 20;

/// Facts named `btf.vmlinux` and `btf.module.*`; also the parsed BTF of vmlinux, for those who need it next.
///
/// A BTF that cannot be parsed costs that one fact: modules are read without vmlinux only for their size and digest.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) -> Option<Arc<Btf>> {
    let (fact, vmlinux) = match root.map_or_read(VMLINUX, BTF_BYTE_SZ_MAX) {
        Ok(bytes) => told(&root.shown(VMLINUX), bytes, Btf::parse),
        Err(Unread::Errno(Errno::NOENT)) if root.sysfs_lacks(VMLINUX) => (not_built(root), None),
        Err(why) => (root.unread(VMLINUX, &why), None),
    };
    out("btf.vmlinux".into(), fact);
    let vmlinux = vmlinux.map(Arc::new);
    let (mut modules, mut broken) = (0u32, Vec::new());
    for name in root.names(DIR).unwrap_or_default() {
        if name == "vmlinux" {
            continue;
        }
        let path = format!("{DIR}/{name}");
        let fact = match root.map_or_read(&path, BTF_BYTE_SZ_MAX) {
            Ok(bytes) => match &vmlinux {
                Some(base) => told(&root.shown(&path), bytes, |bytes| Btf::parse_split(bytes, base)).0,
                None => Fact::new(Support::Unknown, Evidence::Probed, root.shown(&path))
                    .value(json!({ "byte_sz": bytes.len(), "sha256": sha256(&bytes) }))
                    .reason("cannot be parsed without that of vmlinux"),
            },
            Err(why) => root.unread(&path, &why),
        };
        modules += 1;
        if fact.support != Support::Yes {
            broken.push(printable(&name, 64));
        }
        out(format!("btf.module.{}", printable(&name, 64).replace('.', "_")), fact);
    }
    let all = |support| {
        Fact::new(support, Evidence::Probed, root.shown(DIR))
            .value(json!({ "count": modules, "unusable": broken }))
    };
    let fact = match root.open_dir(DIR) {
        Ok(_) if modules > 0 => all(Support::Yes),
        Ok(_) | Err(Errno::NOENT) if root.sysfs_lacks(&format!("{DIR}/*")) => all(Support::No),
        Ok(_) => {
            all(Support::Unknown).reason("not a directory of sysfs: another file system is mounted over it")
        }
        Err(errno) => root.unread(DIR, &Unread::Errno(errno)),
    };
    out("btf.modules".into(), fact);
    vmlinux
}

/// The fact of a BTF of vmlinux that sysfs does not have. A configuration that asks for it says that the file is missing
/// for another reason: pahole failed in the build, or the configuration is of another kernel.
fn not_built(root: &HostRoot) -> Fact {
    const OPTION: &str = "CONFIG_DEBUG_INFO_BTF";
    let config = KernelConfig::read(root).ok();
    let fact = |support| Fact::new(support, Evidence::Probed, root.shown(VMLINUX)).errno("ENOENT");
    match config.as_ref().and_then(|config| config.get(OPTION)) {
        Some("y") => fact(Support::Unknown).reason(format!("there is no such file, though {OPTION} is set")),
        _ => fact(Support::No).reason(format!("the kernel was built without {OPTION}")),
    }
}

/// The types of the kernel and of its loaded modules, for relocation; none where the kernel's own cannot be read. A
/// module whose types are broken is left out: the fact `btf.module.<name>` tells of it.
pub fn types(root: &HostRoot) -> Option<TargetBtf> {
    let vmlinux = Arc::new(Btf::parse(root.map_or_read(VMLINUX, BTF_BYTE_SZ_MAX).ok()?).ok()?);
    let mut modules = Vec::new();
    for name in root.names(DIR).unwrap_or_default().into_iter().filter(|name| name != "vmlinux") {
        let bytes = root.map_or_read(&format!("{DIR}/{name}"), BTF_BYTE_SZ_MAX).ok();
        if let Some(Ok(module)) = bytes.map(|bytes| Btf::parse_split(bytes, &vmlinux)) {
            modules.push((name, Arc::new(module)));
        }
    }
    Some(TargetBtf::with_modules(vmlinux, modules))
}

/// The fact of one BTF, and the BTF where it can be parsed.
fn told<E: std::fmt::Display>(
    source: &str,
    bytes: Bytes,
    parse: impl FnOnce(Bytes) -> Result<Btf, E>,
) -> (Fact, Option<Btf>) {
    let fact = |support| Fact::new(support, Evidence::Probed, source);
    let (byte_sz, digest) = (bytes.len(), sha256(&bytes));
    match parse(bytes) {
        Ok(btf) => {
            let kinds: Vec<&str> = btf.kinds_used().map(btf_catalog::BtfKind::name).collect();
            let value = json!({
                "byte_sz": byte_sz,
                "sha256": digest,
                "header_byte_sz": btf.header_len(),
                "types": btf.type_count(),
                "kinds": kinds,
            });
            let fact = fact(Support::Yes).value(value);
            let fact = match btf.stopped_at() {
                None => fact,
                Some((id, kind)) => {
                    fact.reason(format!("read up to type {id}, whose kind {kind} is not known"))
                }
            };
            (fact, Some(btf))
        }
        Err(error) => {
            let value = json!({ "byte_sz": byte_sz, "sha256": digest });
            (
                fact(Support::Unknown)
                    .value(value)
                    .reason(printable(&format!("cannot be parsed: {error}"), 512)),
                None,
            )
        }
    }
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;

    fn collect(root: &HostRoot) -> (Facts, Option<Arc<Btf>>) {
        let mut facts = Facts::default();
        let btf = super::facts(root, &mut |name, fact| facts.insert(name, fact));
        (facts, btf)
    }

    #[test]
    fn the_running_kernels_btf_is_told() {
        let (facts, btf) = collect(&HostRoot::local());
        let fact = facts.get("btf.vmlinux").unwrap();
        let size =
            std::fs::metadata(VMLINUX).expect("these tests need a kernel with CONFIG_DEBUG_INFO_BTF").len();
        assert_eq!((fact.support, &fact.value.as_ref().unwrap()["byte_sz"]), (Support::Yes, &json!(size)));
        assert!(btf.unwrap().type_count() > 10_000);
    }

    #[test]
    fn a_broken_module_costs_that_module_alone() {
        let dir = tempfile::tempdir().unwrap();
        let btf = dir.path().join("sys/kernel/btf");
        std::fs::create_dir_all(&btf).unwrap();
        std::fs::copy(VMLINUX, btf.join("vmlinux"))
            .expect("these tests need a kernel with CONFIG_DEBUG_INFO_BTF");
        // A header and nothing else, which the kernel does show for modules without types of their own.
        let empty = [&[0x9f, 0xeb, 1, 0][..], &24u32.to_ne_bytes(), &[0; 16]].concat();
        std::fs::write(btf.join("empty"), &empty).unwrap();
        std::fs::write(btf.join("broken"), b"\x9f\xeb\x01\x00").unwrap();
        let (facts, parsed) = collect(&HostRoot::at(dir.path()).unwrap());
        assert!(parsed.is_some());
        assert_eq!(facts.support("btf.vmlinux"), Support::Yes);
        assert_eq!(facts.support("btf.module.broken"), Support::Unknown);
        assert_eq!(facts.get("btf.modules").unwrap().value.as_ref().unwrap()["count"], 2);
    }

    #[test]
    fn a_directory_that_is_not_sysfs_says_no_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        for made in ["", "sys/kernel", "sys/kernel/btf"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
            let facts = collect(&root).0;
            for name in ["btf.vmlinux", "btf.modules"] {
                assert_eq!(facts.support(name), Support::Unknown, "{name} with {made:?}");
            }
        }
        std::os::unix::fs::symlink("../../elsewhere", dir.path().join("sys/kernel/btf/vmlinux")).unwrap();
        assert_eq!(collect(&root).0.support("btf.vmlinux"), Support::Unknown, "a link to nothing");
    }
}
