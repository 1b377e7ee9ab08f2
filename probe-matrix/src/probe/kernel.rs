//! The running kernel: release, build, what it says of itself and what was done to it.

use super::Out;
use super::printable::printable;
use super::root::{HostRoot, Unread};
use crate::facts::{Evidence, Fact, Support};
use rustix::io::Errno;
use rustix::system::uname;
use serde_json::json;
use std::fmt::Write as _;

/// Parameters of the command line that are shown: those that change what BPF programs may do or where they are
/// attached. The others may carry secrets and are counted only.
const SHOWN_PARAMETERS: &[&str] = &[
    "apparmor",
    "audit",
    "cgroup_disable",
    "cgroup_enable",
    "cgroup_no_v1",
    "debugfs",
    "enforcing",
    "fips",
    "ftrace",
    "ftrace_filter",
    "ftrace_notrace",
    "init_on_alloc",
    "isolcpus",
    "kprobe_event",
    "livepatch",
    "lockdown",
    "lsm",
    "lsm.debug",
    "mitigations",
    "module.sig_enforce",
    "nokaslr",
    "nohz_full",
    "nokprobes",
    "nomodule",
    "nosmp",
    "preempt",
    "rcu_nocbs",
    "security",
    "selinux",
    "spectre_v2",
    "swapaccount",
    "sysctl.kernel.unprivileged_bpf_disabled",
    "sysctl.net.core.bpf_jit_enable",
    "sysctl.net.core.bpf_jit_harden",
    "systemd.legacy_systemd_cgroup_controller",
    "systemd.unified_cgroup_hierarchy",
    "tracefs",
];

/// Letters of the taint flags, bit by bit: Documentation/admin-guide/tainted-kernels.rst, v6.18. Of the first, `G` is
/// the letter of its absence and is not listed.
const TAINT_LETTERS: &str = "PFSRMBUDAWCIOELKXTNJ";

/// Facts named `kernel.*`, but for the configuration.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) {
    let uts = uname();
    let release = printable(&uts.release().to_string_lossy(), 128);
    let version = printable(&uts.version().to_string_lossy(), 256);
    let machine = printable(&uts.machine().to_string_lossy(), 64);
    let signature = root.read_text("/proc/version_signature", 4096).ok().map(|text| printable(&text, 256));

    let yes = |evidence, source: &str, value: serde_json::Value| {
        Fact::new(Support::Yes, evidence, source).value(value)
    };
    out("kernel.release".into(), yes(Evidence::Probed, "uname(2)", json!(release)));
    out("kernel.arch".into(), yes(Evidence::Probed, "uname(2)", json!(machine)));
    out(
        "kernel.flavour".into(),
        match flavour(&release) {
            Some(flavour) => yes(Evidence::Derived, "uname(2) release", json!(flavour)),
            None => Fact::new(Support::No, Evidence::Derived, "uname(2) release")
                .reason("the release is a bare version number"),
        },
    );
    let (abi, abi_source) = match (&signature, debian_package(&version)) {
        (Some(signature), _) => (Some(signature.clone()), root.shown("/proc/version_signature")),
        (None, Some(package)) => (Some(format!("Debian {package}")), "uname(2) version".to_owned()),
        (None, None) => (None, "uname(2) version, /proc/version_signature".to_owned()),
    };
    out(
        "kernel.distribution_abi".into(),
        match abi {
            Some(abi) => yes(Evidence::Probed, &abi_source, json!(abi)),
            None => Fact::new(Support::No, Evidence::Probed, abi_source)
                .reason("the kernel names no distribution package"),
        },
    );
    out(
        "kernel.version_code".into(),
        match version_code(&release, &version, signature.as_deref()) {
            Some((code, source)) => yes(Evidence::Derived, source, json!(code)),
            None => Fact::new(Support::Unknown, Evidence::Derived, "uname(2) release")
                .reason("the release does not begin with three numbers"),
        },
    );
    one_line(root, "kernel.banner", "/proc/version", 512, out);
    one_line(root, "kernel.boot_id", "/proc/sys/kernel/random/boot_id", 36, out);
    out("kernel.build_id".into(), build_id_fact(root));
    out("kernel.taint".into(), taint_fact(root));
    out("kernel.livepatches".into(), livepatches_fact(root));
    out("kernel.cmdline".into(), cmdline_fact(root));
}

fn one_line(root: &HostRoot, name: &str, path: &str, max_chars: usize, out: &mut Out<'_>) {
    let fact = match root.read_text(path, 4096) {
        Ok(text) => {
            Fact::new(Support::Yes, Evidence::Probed, root.shown(path)).value(printable(&text, max_chars))
        }
        Err(why) => root.unread(path, &why),
    };
    out(name.to_owned(), fact);
}

/// `LINUX_VERSION_CODE` as the kernel compares it for kprobe programs before v5.0, and from where it was taken.
///
/// A distribution's release may count its own ABI instead of the sublevel: Ubuntu tells the upstream version in
/// `/proc/version_signature`, Debian in utsname's version, both also read by libbpf's `get_kernel_version()`. The last
/// byte ends at 255; and 4.19.221 to 4.19.231 were built with 255 whatever their sublevel.
pub fn version_code(release: &str, version: &str, signature: Option<&str>) -> Option<(u32, &'static str)> {
    let ubuntu = signature.and_then(|text| three_numbers(text.split_whitespace().next_back()?));
    let debian = || debian_package(version).and_then(three_numbers);
    let ((major, minor, sublevel), source) = ubuntu
        .map(|numbers| (numbers, "/proc/version_signature"))
        .or_else(|| Some((debian()?, "uname(2) version")))
        .or_else(|| Some((three_numbers(release)?, "uname(2) release")))?;
    let sublevel =
        if (major, minor) == (4, 19) && (221..=231).contains(&sublevel) { 255 } else { sublevel.min(255) };
    Some(((major.min(255) << 16) + (minor.min(255) << 8) + sublevel, source))
}

/// The Debian package version in utsname's version: `6.1.76-1` in `#1 SMP … Debian 6.1.76-1 (2024-02-01)`.
fn debian_package(version: &str) -> Option<&str> {
    version.split_once("Debian ")?.1.split_whitespace().next()
}

fn three_numbers(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.splitn(3, '.').map(|part| {
        let end = part.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse::<u32>().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// What a release says beside numbers and architecture: `generic`, `cloud-amd64`, `el9_3`, `amzn2023`, `rpt-rpi-v8`.
pub fn flavour(release: &str) -> Option<String> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let machine = |part: &str| {
        matches!(
            part,
            "x86_64"
                | "aarch64"
                | "ppc64le"
                | "s390x"
                | "riscv64"
                | "armv7l"
                | "i686"
                | "mips64el"
                | "loongarch64"
        )
    };
    let kept: Vec<String> = release
        .split(['-', '+', '~'])
        .enumerate()
        .map(|(at, token)| {
            let parts = token.split('.').filter(|part| !number(part) && !machine(part));
            let parts: Vec<&str> = parts.filter(|part| !(at > 0 && is_candidate(part))).collect();
            parts.join(".")
        })
        .filter(|token| !token.is_empty())
        .collect();
    (!kept.is_empty()).then(|| kept.join("-"))
}

/// A release candidate's number is part of the version.
fn is_candidate(part: &str) -> bool {
    part.strip_prefix("rc")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn build_id_fact(root: &HostRoot) -> Fact {
    const PATH: &str = "/sys/kernel/notes";
    match root.read(PATH, 1 << 20) {
        Ok(notes) => match build_id(&notes) {
            Some(id) => {
                let hex = id.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                Fact::new(Support::Yes, Evidence::Probed, root.shown(PATH)).value(hex)
            }
            None => Fact::new(Support::No, Evidence::Probed, root.shown(PATH))
                .reason("the kernel's notes hold no GNU build ID"),
        },
        Err(why) => root.unread(PATH, &why),
    }
}

/// The GNU build ID in a run of ELF notes (type 3 of owner `GNU`), 1 to 64 bytes.
pub fn build_id(notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut rest = notes;
    while rest.len() >= 12 {
        let word = |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (name_sz, desc_sz, kind) = (word(0) as usize, word(4) as usize, word(8));
        let desc_at = 12 + name_sz.checked_next_multiple_of(4)?;
        let desc_end = desc_at.checked_add(desc_sz)?;
        let (name, desc) = (rest.get(12..12usize.checked_add(name_sz)?)?, rest.get(desc_at..desc_end)?);
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return (1..=64).contains(&desc.len()).then_some(desc);
        }
        rest = rest.get(desc_end.checked_next_multiple_of(4)?..)?;
    }
    None
}

fn taint_fact(root: &HostRoot) -> Fact {
    const PATH: &str = "/proc/sys/kernel/tainted";
    match root.read_text(PATH, 64) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(mask) => Fact::new(
                if mask == 0 { Support::No } else { Support::Yes },
                Evidence::Probed,
                root.shown(PATH),
            )
            .value(json!({ "mask": mask, "letters": taint_letters(mask) })),
            Err(_) => Fact::new(Support::Unknown, Evidence::Probed, root.shown(PATH)).reason("not a number"),
        },
        Err(why) => root.unread(PATH, &why),
    }
}

/// The letters of a taint mask; a bit that is newer than this build is `?`.
pub fn taint_letters(mask: u64) -> String {
    let known = u32::try_from(TAINT_LETTERS.len()).unwrap_or(64);
    let letters =
        TAINT_LETTERS.chars().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, letter)| letter);
    letters.chain((known..64).filter(|bit| mask >> bit & 1 == 1).map(|_| '?')).collect()
}

fn livepatches_fact(root: &HostRoot) -> Fact {
    const PATH: &str = "/sys/kernel/livepatch";
    let fact = |support| Fact::new(support, Evidence::Probed, root.shown(PATH));
    match root.names(PATH) {
        Ok(names) => {
            let patches: Vec<_> = names
                .iter()
                .take(64)
                .map(|name| {
                    let enabled = root.read_text(&format!("{PATH}/{name}/enabled"), 16).ok();
                    json!({ "name": printable(name, 64), "enabled": enabled.map(|text| text.trim() == "1") })
                })
                .collect();
            fact(if patches.is_empty() { Support::No } else { Support::Yes }).value(patches)
        }
        Err(Unread::Errno(Errno::NOENT)) if root.sysfs_lacks(PATH) => {
            fact(Support::No).value(json!([])).reason("the kernel has no live patching")
        }
        Err(why) => root.unread(PATH, &why),
    }
}

fn cmdline_fact(root: &HostRoot) -> Fact {
    const PATH: &str = "/proc/cmdline";
    match root.read_text(PATH, 64 << 10) {
        Ok(text) => {
            let (shown, hidden) = shown_parameters(&text);
            Fact::new(Support::Yes, Evidence::Probed, root.shown(PATH)).value(shown).reason(format!(
                "{hidden} other parameters are not shown: only those that bear on BPF, tracing, cgroups and security are"
            ))
        }
        Err(why) => root.unread(PATH, &why),
    }
}

/// The parameters that are shown, and how many others there are. What follows `--` is for init.
fn shown_parameters(text: &str) -> (Vec<String>, usize) {
    let (mut shown, mut hidden) = (Vec::new(), 0);
    for parameter in text.split_whitespace().take_while(|parameter| *parameter != "--") {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        // The kernel takes '-' for '_' in names of parameters.
        if SHOWN_PARAMETERS.contains(&name.replace('-', "_").as_str()) && shown.len() < 64 {
            shown.push(printable(parameter, 256));
        } else {
            hidden += 1;
        }
    }
    (shown, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_codes() {
        let code = |major: u32, minor: u32, sublevel: u32| (major << 16) + (minor << 8) + sublevel;
        for (release, version, signature, want) in [
            ("6.18.44-fc", "#1 SMP PREEMPT_DYNAMIC", None, Some(code(6, 18, 44))),
            (
                "6.1.0-18-amd64",
                "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)",
                None,
                Some(code(6, 1, 76)),
            ),
            (
                "5.15.0-144-generic",
                "#157-Ubuntu SMP",
                Some("Ubuntu 5.15.0-144.157-generic 5.15.181"),
                Some(code(5, 15, 181)),
            ),
            // A signature that holds no version does not hide the other sources.
            ("5.15.7-x", "#1", Some("\u{1b}]0;x"), Some(code(5, 15, 7))),
            ("4.19.222-x", "#1", None, Some(code(4, 19, 255))),
            ("4.19.232-x", "#1", None, Some(code(4, 19, 232))),
            ("4.9.337", "#1", None, Some(code(4, 9, 255))),
            ("6.19-rc1", "#1", None, None),
            ("6.1.99999999999", "#1", None, None),
            ("4294967295.4294967295.4294967295", "#1", None, Some(code(255, 255, 255))),
            ("", "", None, None),
            ("x", "Debian ", None, None),
        ] {
            assert_eq!(
                version_code(release, version, signature).map(|(code, _)| code),
                want,
                "{release} {version}"
            );
        }
    }

    #[test]
    fn flavours() {
        for (release, want) in [
            ("6.18.44-fc-v657", Some("fc-v657")),
            ("5.15.0-144-generic", Some("generic")),
            ("6.1.0-18-cloud-amd64", Some("cloud-amd64")),
            ("5.14.0-362.8.1.el9_3.x86_64", Some("el9_3")),
            ("6.1.141-165.249.amzn2023.aarch64", Some("amzn2023")),
            ("5.15.0-1051-azure", Some("azure")),
            ("6.6.20+rpt-rpi-v8", Some("rpt-rpi-v8")),
            ("6.12.6-talos", Some("talos")),
            ("6.19.0-rc3", None),
            ("6.1.85+", None),
            ("6.12.0", None),
            ("", None),
        ] {
            assert_eq!(flavour(release).as_deref(), want, "{release}");
        }
    }

    /// Releases of real nodes, one of each shape.
    #[test]
    fn releases_of_real_nodes() {
        let table = include_str!("../../tests/cases/releases.tsv");
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        for row in rows {
            let [release, version, want] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let (code, _) = version_code(release, "", None).unwrap();
            let found = format!("{}.{}.{}", code >> 16, code >> 8 & 0xff, code & 0xff);
            assert_eq!(found, version, "{release}");
            assert_eq!(flavour(release).unwrap_or_default(), want, "{release}");
        }
    }

    fn note(name: &[u8], desc: &[u8], kind: u32) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len() as u32, desc.len() as u32, kind] {
            note.extend(word.to_ne_bytes());
        }
        for field in [name, desc] {
            note.extend(field);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let mut notes = note(b"Xen\0", b"linux", 6);
        notes.extend(note(b"Linux\0", &[1, 2, 3, 4], 0x101));
        notes.extend(note(b"GNU\0", &[0xab; 20], 3));
        assert_eq!(build_id(&notes), Some(&[0xab; 20][..]));
        for len in 0..notes.len() {
            assert_eq!(build_id(&notes[..len]), None, "cut at {len}");
        }
        let huge = [&[0xff; 12][..], &[0; 64]].concat();
        assert_eq!(build_id(&huge), None);
        assert_eq!(build_id(&note(b"GNU\0", &[], 3)), None);
    }

    #[test]
    fn taints_have_letters() {
        assert_eq!(taint_letters(0), "");
        assert_eq!(taint_letters(1 | 1 << 12 | 1 << 13), "POE");
        assert_eq!(taint_letters(1 << 15 | 1 << 40), "K?");
    }

    #[test]
    fn livepatches_and_taint_of_a_host() {
        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        assert_eq!(livepatches_fact(&root).support, Support::Unknown, "no sysfs");
        std::fs::create_dir_all(dir.path().join("sys/kernel/livepatch")).unwrap();
        assert_eq!(livepatches_fact(&root).support, Support::No);
        for (name, enabled) in [("a", "1\n"), ("b\x1b", "0\n")] {
            std::fs::create_dir(dir.path().join("sys/kernel/livepatch").join(name)).unwrap();
            std::fs::write(dir.path().join("sys/kernel/livepatch").join(name).join("enabled"), enabled)
                .unwrap();
        }
        let want = json!([{ "name": "a", "enabled": true }, { "name": "b\u{fffd}", "enabled": false }]);
        assert_eq!(livepatches_fact(&root).value, Some(want));

        std::fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        for (text, support) in
            [("4097\n", Support::Yes), ("0\n", Support::No), ("-1", Support::Unknown), ("", Support::Unknown)]
        {
            std::fs::write(dir.path().join("proc/sys/kernel/tainted"), text).unwrap();
            assert_eq!(taint_fact(&root).support, support, "{text:?}");
        }
    }

    #[test]
    fn secrets_on_the_command_line_are_not_shown() {
        let text =
            "root=UUID=1 lsm=lockdown,bpf password=hunter2 systemd.unified-cgroup-hierarchy=0 -- lsm=none\n";
        let (shown, hidden) = shown_parameters(text);
        assert_eq!(shown, ["lsm=lockdown,bpf", "systemd.unified-cgroup-hierarchy=0"]);
        assert_eq!(hidden, 2);
        assert_eq!(shown_parameters("lsm=\x1b[31m").0, ["lsm=\u{fffd}[31m"]);
    }

    #[test]
    fn the_running_kernel_has_release_and_build_id() {
        let mut facts = crate::Facts::default();
        super::facts(&HostRoot::local(), &mut |name, fact| facts.insert(name, fact));
        for name in ["kernel.release", "kernel.banner", "kernel.boot_id", "kernel.version_code"] {
            assert_eq!(facts.support(name), Support::Yes, "{name}: {:?}", facts.get(name));
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(facts.get("kernel.release").unwrap().text(), Some(release.trim()));
        assert_eq!(facts.get("kernel.build_id").unwrap().text().map(str::len), Some(40));
    }
}
