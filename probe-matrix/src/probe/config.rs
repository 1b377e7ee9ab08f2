//! The kernel's configuration: which options it was built with, and where that was read.

use super::Out;
use super::printable::printable;
use super::root::{HostRoot, Unread};
use crate::facts::{Evidence, Fact, Support};
use flate2::read::GzDecoder;
use rustix::io::Errno;
use rustix::system::uname;
use serde_json::json;
use std::collections::HashMap;
use std::io::Read;

/// Most bytes of a configuration, compressed or not. The largest of distributions have 300 kB.
const CONFIG_BYTE_SZ_MAX: usize = 8 << 20;
/// Most options that are kept; v6.18 has 20,000 over all architectures.
const OPTIONS_MAX: usize = 65_536;

/// Options that become facts: what `bpftool feature probe` lists (v7.5), then what attaching needs.
const OPTIONS: &[&str] = &[
    "BPF",
    "BPFILTER",
    "BPFILTER_UMH",
    "BPF_EVENTS",
    "BPF_JIT",
    "BPF_JIT_ALWAYS_ON",
    "BPF_KPROBE_OVERRIDE",
    "BPF_LIRC_MODE2",
    "BPF_STREAM_PARSER",
    "BPF_SYSCALL",
    "CGROUPS",
    "CGROUP_BPF",
    "CGROUP_NET_CLASSID",
    "DEBUG_INFO_BTF",
    "DEBUG_INFO_BTF_MODULES",
    "FTRACE_SYSCALLS",
    "FUNCTION_ERROR_INJECTION",
    "HAVE_EBPF_JIT",
    "HZ",
    "IPV6_SEG6_BPF",
    "IP_ROUTE_CLASSID",
    "KPROBE_EVENTS",
    "LWTUNNEL_BPF",
    "NET",
    "NETFILTER_XT_MATCH_BPF",
    "NET_ACT_BPF",
    "NET_CLS_ACT",
    "NET_CLS_BPF",
    "NET_SCH_INGRESS",
    "SOCK_CGROUP_DATA",
    "TEST_BPF",
    "TRACING",
    "UPROBE_EVENTS",
    "XDP_SOCKETS",
    "XFRM",
    // Attaching, and what decides whether it is allowed.
    "BPF_JIT_DEFAULT_ON",
    "BPF_LSM",
    "BPF_UNPRIV_DEFAULT_OFF",
    "DEBUG_FS",
    "DEBUG_INFO",
    "DYNAMIC_FTRACE",
    "DYNAMIC_FTRACE_WITH_ARGS",
    "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
    "DYNAMIC_FTRACE_WITH_REGS",
    "FPROBE",
    "FTRACE",
    "FUNCTION_TRACER",
    "HAVE_KPROBES",
    "HID_BPF",
    "IKCONFIG_PROC",
    "INET",
    "IPV6",
    "KALLSYMS",
    "KALLSYMS_ALL",
    "KPROBES",
    "KPROBES_ON_FTRACE",
    "KRETPROBES",
    "LIVEPATCH",
    "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
    "LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
    "LSM",
    "MEMCG",
    "MODULES",
    "MODULE_ALLOW_BTF_MISMATCH",
    "NETFILTER_BPF_LINK",
    "NETKIT",
    "NET_EGRESS",
    "NET_INGRESS",
    "NET_SOCK_MSG",
    "NET_XGRESS",
    "PERF_EVENTS",
    "PREEMPT_RT",
    "PROBE_EVENTS",
    "SCHED_CLASS_EXT",
    "SECCOMP_FILTER",
    "SECURITY",
    "SECURITYFS",
    "SECURITY_LOCKDOWN_LSM",
    "SECURITY_LOCKDOWN_LSM_EARLY",
    "TRACEPOINTS",
    "TRACEFS_AUTOMOUNT_DEPRECATED",
    "UPROBES",
    "USER_NS",
];

/// The configuration of the running kernel.
#[derive(Debug, Default, PartialEq)]
pub struct KernelConfig {
    /// The file it was read from.
    pub source: String,
    /// Whether an option that is not in it is known to be off.
    whole: bool,
    options: HashMap<String, String>,
}

impl KernelConfig {
    /// Reads the first configuration found of: `/proc/config.gz`, `/boot`, `/lib/modules`. Fails with what was tried.
    pub fn read(root: &HostRoot) -> Result<KernelConfig, Vec<(String, Unread)>> {
        let mut tried = Vec::new();
        for path in places(&uname().release().to_string_lossy()) {
            let bytes = root.read(&path, CONFIG_BYTE_SZ_MAX);
            match bytes.and_then(|bytes| text(&bytes)) {
                Ok(text) => {
                    let mut config = KernelConfig::parse(&text);
                    if !config.options.is_empty() {
                        config.source = root.shown(&path);
                        return Ok(config);
                    }
                    tried.push((root.shown(&path), Unread::Errno(Errno::NODATA)));
                }
                Err(why) => tried.push((root.shown(&path), why)),
            }
        }
        Err(tried)
    }

    /// Reads assignments and `# CONFIG_X is not set`.
    ///
    /// A file is whole if it says that it was generated and tells of options that are off: fragments and defconfigs leave
    /// out what is at its default, and vendors ship stubs as `/proc/config.gz` (OrbStack: 416 options, none of them off).
    pub fn parse(text: &str) -> KernelConfig {
        let generated = text.lines().take(8).any(|line| line.starts_with("# Automatically generated"));
        let mut options = HashMap::new();
        for line in text.lines() {
            let (name, value) = match line.strip_prefix("# ") {
                Some(comment) => match comment.strip_suffix(" is not set") {
                    Some(name) => (name, "n"),
                    None => continue,
                },
                None => match line.split_once('=') {
                    Some((name, value)) => (name, value.trim_end()),
                    None => continue,
                },
            };
            if is_option(name) && value.len() <= 4096 && options.len() < OPTIONS_MAX {
                options.insert(name.to_owned(), value.to_owned());
            }
        }
        let whole = generated && options.values().any(|value| value == "n");
        KernelConfig { source: String::new(), whole, options }
    }

    /// The value as the file has it: `y`, `m`, `n`, `250`, `"(none)"` with its quotes. An option that a whole
    /// configuration does not have is `n`; else none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).or(self.whole.then_some("n"))
    }

    /// All options that are not off, where an option that the file does not name is known to be off.
    pub fn whole(&self) -> Option<btf_catalog::kernel::KernelConfig> {
        let on = self.options.iter().filter(|(_, value)| *value != "n");
        self.whole.then(|| btf_catalog::kernel::KernelConfig {
            options: on.map(|(name, value)| (name.clone(), value.clone())).collect(),
            source: self.source.clone(),
        })
    }

    /// How many options it holds.
    pub fn len(&self) -> usize {
        self.options.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// The fact of one option.
    fn fact(&self, name: &str) -> Fact {
        let fact = |support| Fact::new(support, Evidence::Derived, self.source.clone());
        let named = self.options.contains_key(name);
        match self.get(name) {
            Some("n") if named => fact(Support::No).value("n"),
            Some("n") => fact(Support::No)
                .value("n")
                .reason("not mentioned: this version has no such option or nothing it depends on"),
            Some("m") => fact(Support::Yes).value("m").reason("a module: there once it is loaded"),
            Some(value) => fact(Support::Yes).value(printable(value.trim_matches('"'), 256)),
            None => fact(Support::Unknown).reason("not mentioned, and the file is not a whole configuration"),
        }
    }
}

/// Facts named `kernel.config` and `kernel.config.*`.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) {
    match KernelConfig::read(root) {
        Ok(config) => {
            out(
                "kernel.config".into(),
                Fact::new(Support::Yes, Evidence::Derived, config.source.clone()).value(
                    json!({ "source": config.source, "options": config.len(), "whole": config.whole }),
                ),
            );
            for option in OPTIONS {
                let option = format!("CONFIG_{option}");
                let fact = config.fact(&option);
                out(format!("kernel.config.{option}"), fact);
            }
        }
        Err(tried) => {
            let fact = unread(root, &tried);
            for option in OPTIONS {
                out(format!("kernel.config.CONFIG_{option}"), fact.clone());
            }
            out("kernel.config".into(), fact);
        }
    }
}

/// A configuration that cannot be read says nothing about the kernel. A refusal is told before an absence.
fn unread(root: &HostRoot, tried: &[(String, Unread)]) -> Fact {
    let absent = |why: &Unread| matches!(why, Unread::Errno(Errno::NOENT | Errno::NOTDIR));
    let telling = tried.iter().find(|(_, why)| !absent(why)).or(tried.first());
    let paths: Vec<&str> = tried.iter().map(|(path, _)| path.as_str()).collect();
    let mut fact = match telling {
        Some((path, why)) => super::root::unread_fact(root.caps(), path.clone(), why),
        None => Fact::new(Support::Unknown, Evidence::Derived, "/proc/config.gz"),
    };
    fact.evidence = Evidence::Derived;
    fact.reason(format!("no kernel configuration: tried {}", paths.join(", ")))
}

fn places(release: &str) -> Vec<String> {
    let mut places = vec!["/proc/config.gz".to_owned()];
    // A release is a path's part here, and must not be more.
    if !release.is_empty() && !release.contains('/') && release != ".." {
        places.extend([
            format!("/boot/config-{release}"),
            format!("/lib/modules/{release}/config"),
            format!("/usr/lib/modules/{release}/config"),
            format!("/lib/modules/{release}/build/.config"),
            format!("/lib/modules/{release}/kernel/config"),
            format!("/usr/lib/ostree-boot/config-{release}"),
            format!("/usr/src/linux-headers-{release}/.config"),
        ]);
    }
    places
}

/// The file's text, unpacked if it is gzip. What unpacks to more than the bound is refused, whatever it claims.
fn text(bytes: &[u8]) -> Result<String, Unread> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let mut unpacked = Vec::new();
    match GzDecoder::new(bytes).take(CONFIG_BYTE_SZ_MAX as u64 + 1).read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() > CONFIG_BYTE_SZ_MAX => {
            Err(Unread::TooLarge { limit_byte_sz: CONFIG_BYTE_SZ_MAX })
        }
        Ok(_) => Ok(String::from_utf8_lossy(&unpacked).into_owned()),
        Err(_) => Err(Unread::Errno(Errno::BADMSG)),
    }
}

fn is_option(name: &str) -> bool {
    name.len() <= 128
        && name.strip_prefix("CONFIG_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const HEAD: &str =
        "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.1.0 Kernel Configuration\n#\n";

    #[test]
    fn every_form_of_a_value() {
        let text = format!(
            "{HEAD}CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_HZ=250\nCONFIG_S=\"a b\"\n# CONFIG_D is set\n\
             export CONFIG_E=y\nCONFIG_F\nCONFIG_=y\nCONFIG_\x1b[31m=y\nCONFIG_G=y\r\nCONFIG_L={}\n",
            "x".repeat(5000)
        );
        let config = KernelConfig::parse(&text);
        for (name, want) in [
            ("CONFIG_A", "y"),
            ("CONFIG_B", "m"),
            ("CONFIG_C", "n"),
            ("CONFIG_HZ", "250"),
            ("CONFIG_S", "\"a b\""),
            ("CONFIG_G", "y"),
            ("CONFIG_D", "n"),
            ("CONFIG_E", "n"),
        ] {
            assert_eq!(config.get(name), Some(want), "{name}");
        }
        assert_eq!(config.len(), 6);
        let module = config.fact("CONFIG_B");
        assert_eq!((module.support, module.text()), (Support::Yes, Some("m")));
        assert_eq!(config.fact("CONFIG_S").text(), Some("a b"));
    }

    #[test]
    fn what_a_fragment_does_not_mention_is_unknown() {
        let config = KernelConfig::parse("CONFIG_BPF=y\n# CONFIG_KPROBES is not set\n");
        assert_eq!(config.fact("CONFIG_BPF").support, Support::Yes);
        assert_eq!(config.fact("CONFIG_KPROBES").support, Support::No);
        assert_eq!(config.fact("CONFIG_NETKIT").support, Support::Unknown);
        let stub = KernelConfig::parse(&format!("{HEAD}CONFIG_BPF=y\n"));
        assert_eq!(stub.fact("CONFIG_NETKIT").support, Support::Unknown);
    }

    #[test]
    fn a_bomb_and_a_broken_file_are_refused_and_the_next_place_is_tried() {
        let zeroes = vec![b'\n'; CONFIG_BYTE_SZ_MAX + 1];
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&zeroes).unwrap();
        let bomb = packer.finish().unwrap();
        assert_eq!(text(&bomb), Err(Unread::TooLarge { limit_byte_sz: CONFIG_BYTE_SZ_MAX }));
        assert_eq!(text(&bomb[..bomb.len() / 2]), Err(Unread::Errno(Errno::BADMSG)));

        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/config.gz"), &bomb).unwrap();
        let tried = KernelConfig::read(&root).unwrap_err();
        let fact = unread(&root, &tried);
        assert_eq!(fact.support, Support::Unknown);
        assert!(tried.len() > 5 && fact.reason.unwrap().contains("/boot/config-"), "all places are named");

        std::fs::create_dir_all(dir.path().join("boot")).unwrap();
        let boot = format!("/boot/config-{}", uname().release().to_string_lossy());
        std::fs::write(dir.path().join(&boot[1..]), format!("{HEAD}CONFIG_BPF=y\n# CONFIG_NET is not set\n"))
            .unwrap();
        let config = KernelConfig::read(&root).unwrap();
        assert!(config.source.ends_with(&boot) && config.get("CONFIG_BPF") == Some("y"));
    }

    /// Configurations of real kernels, cut down to their head and the lines about BPF. The first word of a file's name says
    /// what it is: `whole`, or a `part` (a distribution's source, a fragment, a stub).
    #[test]
    fn configurations_of_distributions() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/kconfig");
        let mut seen = 0;
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let config = KernelConfig::parse(&std::fs::read_to_string(&path).unwrap());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(config.whole, name.starts_with("whole-"), "{name}");
            assert_eq!(config.get("CONFIG_DEBUG_INFO_BTF_X"), config.whole.then_some("n"), "{name}");
            assert!(!config.is_empty(), "{name}");
            seen += 1;
        }
        assert_eq!(seen, 5);
    }
}
