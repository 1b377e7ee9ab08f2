//! What security policy leaves of BPF: lockdown, security modules, the caller's privileges, sysctls, Secure Boot.

use super::Out;
use super::caller::{CAP_SYS_ADMIN, Caller, CapSet};
use super::printable::printable;
use super::pseudo::{EFIVARFS, NotOpen, PseudoFs, SECURITYFS};
use super::root::{HostRoot, Unread, unread_fact};
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{errno_name, lsm_list_modules};
use rustix::io::Errno;

/// Sysctls that become facts: name of the fact, path, and whether the kernel shows it in the initial network namespace only.
const SYSCTLS: [(&str, &str, bool); 9] = [
    ("security.unprivileged_bpf_disabled", "/proc/sys/kernel/unprivileged_bpf_disabled", false),
    ("security.bpf_jit_enable", "/proc/sys/net/core/bpf_jit_enable", true),
    ("security.bpf_jit_harden", "/proc/sys/net/core/bpf_jit_harden", true),
    ("security.bpf_jit_kallsyms", "/proc/sys/net/core/bpf_jit_kallsyms", true),
    ("security.bpf_jit_limit", "/proc/sys/net/core/bpf_jit_limit", true),
    ("security.perf_event_paranoid", "/proc/sys/kernel/perf_event_paranoid", false),
    ("security.kptr_restrict", "/proc/sys/kernel/kptr_restrict", false),
    ("security.ftrace_enabled", "/proc/sys/kernel/ftrace_enabled", false),
    ("security.modules_disabled", "/proc/sys/kernel/modules_disabled", false),
];

/// Facts named `security.*`.
pub(crate) fn facts(root: &HostRoot, caller: &Caller, out: &mut Out<'_>) {
    let securityfs = PseudoFs::open(root, SECURITYFS);
    out("security.lockdown".into(), lockdown_fact(root, &securityfs));
    lsm_facts(root, &securityfs, out);
    caller_facts(caller, out);
    for (name, path, initial_netns_only) in SYSCTLS {
        out(name.to_owned(), sysctl_fact(root, path, initial_netns_only));
    }
    out("security.secure_boot".into(), secure_boot_fact(root));
    out(
        "security.selinux_enforcing".into(),
        switch_fact(
            root,
            "/sys/fs/selinux/enforce",
            "SELinux is not active, or its file system is not mounted",
        ),
    );
    out(
        "security.apparmor".into(),
        switch_fact(root, "/sys/module/apparmor/parameters/enabled", "the kernel has no AppArmor"),
    );
}

/// The fact of a pseudo file system that could not be opened.
pub(crate) fn not_open_fact(caps: CapSet, name: &str, why: &NotOpen) -> Fact {
    let fact = |support| Fact::new(support, Evidence::Probed, format!("{name} (detached mount)"));
    match why {
        NotOpen::Unregistered => {
            fact(Support::Unknown).reason(format!("the kernel has no {name}, or not loaded"))
        }
        NotOpen::Errno(Errno::NOSYS) => fact(Support::Unknown)
            .errno("ENOSYS")
            .reason(format!("{name} is not mounted, and Linux before 5.2 opens none unmounted")),
        NotOpen::Errno(errno @ (Errno::PERM | Errno::ACCESS)) => {
            let (support, reason) = if caps.has(CAP_SYS_ADMIN) {
                (Support::DeniedWorkload, "refused although CAP_SYS_ADMIN is held")
            } else {
                (Support::DeniedObserver, "not mounted; CAP_SYS_ADMIN would be needed to open it unmounted")
            };
            fact(support).errno(errno_name(*errno)).reason(reason)
        }
        NotOpen::Errno(errno) => fact(Support::Unknown).errno(errno_name(*errno)),
    }
}

fn lockdown_fact(root: &HostRoot, securityfs: &Result<PseudoFs, NotOpen>) -> Fact {
    match securityfs {
        Err(why) => not_open_fact(root.caps(), SECURITYFS.name, why),
        Ok(fs) => match fs.read("lockdown", 256) {
            Ok(bytes) => {
                let fact = |support| Fact::new(support, Evidence::Probed, fs.shown("lockdown"));
                match chosen(&String::from_utf8_lossy(&bytes)) {
                    Some("none") => fact(Support::No).value("none"),
                    Some(level) => fact(Support::Yes).value(printable(level, 64)),
                    None => fact(Support::Unknown).reason("no level is marked as chosen"),
                }
            }
            Err(Unread::Errno(Errno::NOENT)) => {
                Fact::new(Support::No, Evidence::Probed, fs.shown("lockdown"))
                    .value("none")
                    .reason("the lockdown security module is not active")
            }
            Err(why) => unread_fact(root.caps(), fs.shown("lockdown"), &why),
        },
    }
}

/// The word in brackets: `integrity` in `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

/// Which security modules are active. A BPF LSM program loads without `bpf` among them and never runs.
///
/// The system call has no names, and securityfs needs a mount or a privilege: so the one stands in for the other.
fn lsm_facts(root: &HostRoot, securityfs: &Result<PseudoFs, NotOpen>, out: &mut Out<'_>) {
    let read = match securityfs {
        Err(why) => Err(not_open_fact(root.caps(), SECURITYFS.name, why)),
        Ok(fs) => match fs.read("lsm", 4096) {
            Ok(bytes) => Ok((fs.shown("lsm"), active_modules(&String::from_utf8_lossy(&bytes)))),
            Err(why) => Err(unread_fact(root.caps(), fs.shown("lsm"), &why)),
        },
    };
    let (source, active) = match read {
        Ok(read) => read,
        Err(unread) => {
            let Ok(ids) = lsm_list_modules() else {
                out("security.lsm.bpf".into(), unread.clone());
                out("security.lsms".into(), unread);
                return;
            };
            ("lsm_list_modules(2)".to_owned(), ids.into_iter().map(lsm_name).collect())
        }
    };
    let bpf = if active.iter().any(|name| name == "bpf") {
        Fact::new(Support::Yes, Evidence::Probed, source.clone())
    } else {
        Fact::new(Support::No, Evidence::Probed, source.clone())
            .reason(format!("the active security modules are {}", active.join(",")))
    };
    out("security.lsm.bpf".into(), bpf);
    out("security.lsms".into(), Fact::new(Support::Yes, Evidence::Probed, source).value(active));
}

/// Names in the file `lsm`: `lockdown,capability,bpf`.
fn active_modules(text: &str) -> Vec<String> {
    let names = text.trim().split(',').filter(|name| !name.is_empty());
    names.take(64).map(|name| printable(name, 64)).collect()
}

/// The name of an `enum lsm_id`, include/uapi/linux/lsm.h of v6.18.
fn lsm_name(id: u64) -> String {
    const FIRST: u64 = 100;
    const NAMES: [&str; 14] = [
        "capability",
        "selinux",
        "smack",
        "tomoyo",
        "apparmor",
        "yama",
        "loadpin",
        "safesetid",
        "lockdown",
        "bpf",
        "landlock",
        "ima",
        "evm",
        "ipe",
    ];
    let name = id.checked_sub(FIRST).and_then(|at| NAMES.get(usize::try_from(at).ok()?));
    name.map_or_else(|| format!("lsm_{id}"), |&name| name.to_owned())
}

fn caller_facts(caller: &Caller, out: &mut Out<'_>) {
    const STATUS: &str = "/proc/self/status";
    const LABEL: &str = "/proc/self/attr/current";
    const USER_NS: &str = "/proc/self/ns/user";
    let unseen =
        |source: &str| Fact::new(Support::Unknown, Evidence::Probed, source).reason("cannot be read");
    let yes_no = |holds: bool| if holds { Support::Yes } else { Support::No };
    for (name, set) in [
        ("security.capabilities.effective", caller.effective),
        ("security.capabilities.bounding", caller.bounding),
    ] {
        let fact = set.map_or_else(
            || unseen(STATUS),
            |set| Fact::new(yes_no(set.0 != 0), Evidence::Probed, STATUS).value(set.names()),
        );
        out(name.to_owned(), fact);
    }
    let seccomp = caller.seccomp.map_or_else(
        || unseen(STATUS).reason("the kernel has no seccomp, or /proc is not mounted"),
        |mode| {
            let word = match mode {
                0 => "disabled",
                1 => "strict",
                2 => "filter",
                _ => "unknown",
            };
            Fact::new(yes_no(mode != 0), Evidence::Probed, STATUS).value(word)
        },
    );
    out("security.seccomp".into(), seccomp);
    let no_new_privs = caller.no_new_privs;
    out(
        "security.no_new_privs".into(),
        no_new_privs.map_or_else(|| unseen(STATUS), |set| Fact::new(yes_no(set), Evidence::Probed, STATUS)),
    );
    let user_namespace = match caller.initial_user_namespace {
        Some(true) => Fact::new(Support::Yes, Evidence::Probed, USER_NS),
        Some(false) => Fact::new(Support::No, Evidence::Probed, USER_NS)
            .reason("capabilities of another user namespace do not count for bpf(2) without a token"),
        None => unseen(USER_NS),
    };
    out("security.initial_user_namespace".into(), user_namespace);
    let label = match &caller.lsm_label {
        Some(label) => Fact::new(Support::Yes, Evidence::Probed, LABEL).value(label.as_str()),
        None => Fact::new(Support::No, Evidence::Probed, LABEL).reason("no security module labels processes"),
    };
    out("security.label".into(), label);
}

/// A number: yes if it is not 0.
fn sysctl_fact(root: &HostRoot, path: &str, initial_netns_only: bool) -> Fact {
    match root.read_text(path, 64) {
        Ok(text) => match text.trim().parse::<i64>() {
            Ok(0) => Fact::new(Support::No, Evidence::Probed, root.shown(path)).value(0),
            Ok(number) => Fact::new(Support::Yes, Evidence::Probed, root.shown(path)).value(number),
            Err(_) => Fact::new(Support::Unknown, Evidence::Probed, root.shown(path)).reason("not a number"),
        },
        Err(why @ Unread::Errno(Errno::NOENT)) if initial_netns_only => root
            .unread(path, &why)
            .reason("shown in the initial network namespace only, and by kernels that have it"),
        Err(why) => root.unread(path, &why),
    }
}

/// `SecureBoot` of the EFI global variables: four bytes of attributes, one of value.
fn secure_boot_fact(root: &HostRoot) -> Fact {
    const EFI: &str = "/sys/firmware/efi";
    const VARIABLE: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    if matches!(root.open_dir(EFI), Err(Errno::NOENT)) {
        // Container runtimes mount an empty file system over /sys/firmware.
        if !root.sysfs_lacks(EFI) {
            return root.unread(EFI, &Unread::Errno(Errno::NOENT));
        }
        return Fact::new(Support::No, Evidence::Probed, root.shown(EFI))
            .reason("not booted by EFI firmware");
    }
    let fs = match PseudoFs::open(root, EFIVARFS) {
        Ok(fs) => fs,
        Err(why) => return not_open_fact(root.caps(), EFIVARFS.name, &why),
    };
    let fact = |support| Fact::new(support, Evidence::Probed, fs.shown(VARIABLE));
    match fs.read(VARIABLE, 64).as_deref() {
        Ok([_, _, _, _, 1]) => fact(Support::Yes),
        Ok([_, _, _, _, 0]) => fact(Support::No),
        Ok(_) => fact(Support::Unknown).reason("the variable has not the form of a flag"),
        Err(Unread::Errno(Errno::NOENT)) => fact(Support::No).reason("the firmware has no Secure Boot"),
        Err(why) => unread_fact(root.caps(), fs.shown(VARIABLE), why),
    }
}

/// A file that holds `1`, `0`, `Y` or `N`.
fn switch_fact(root: &HostRoot, path: &str, absent: &str) -> Fact {
    let fact = |support| Fact::new(support, Evidence::Probed, root.shown(path));
    match root.read_text(path, 16).as_deref().map(str::trim) {
        Ok("1" | "Y") => fact(Support::Yes),
        Ok("0" | "N") => fact(Support::No),
        Ok(_) => fact(Support::Unknown).reason("neither on nor off"),
        Err(Unread::Errno(Errno::NOENT)) if root.sysfs_lacks(path) => fact(Support::No).reason(absent),
        Err(why) => root.unread(path, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;

    fn collect(root: &HostRoot) -> Facts {
        let mut facts = Facts::default();
        super::facts(root, &Caller::observe(), &mut |name, fact| facts.insert(name, fact));
        facts
    }

    #[test]
    fn the_chosen_lockdown_level() {
        for (text, want) in [
            ("none [integrity] confidentiality\n", Some("integrity")),
            ("[none] integrity confidentiality\n", Some("none")),
            ("none integrity", None),
            ("[", None),
            ("", None),
        ] {
            assert_eq!(chosen(text), want, "{text}");
        }
    }

    #[test]
    fn root_lockdown_and_modules_are_read_without_a_mount() {
        assert!(rustix::process::geteuid().is_root(), "needs CAP_SYS_ADMIN: run the tests as root");
        let facts = collect(&HostRoot::local());
        for name in ["security.lockdown", "security.lsm.bpf"] {
            assert!(
                matches!(facts.support(name), Support::Yes | Support::No),
                "{name}: {:?}",
                facts.get(name)
            );
        }
        assert_eq!(facts.support("security.lsms"), Support::Yes);
        assert_eq!(facts.support("security.capabilities.effective"), Support::Yes);
    }

    #[test]
    fn root_the_system_call_and_securityfs_name_the_same_modules() {
        assert!(rustix::process::geteuid().is_root(), "needs CAP_SYS_ADMIN: run the tests as root");
        let securityfs = PseudoFs::open(&HostRoot::local(), SECURITYFS).unwrap();
        let by_file = active_modules(&String::from_utf8(securityfs.read("lsm", 4096).unwrap()).unwrap());
        match lsm_list_modules() {
            Ok(ids) => assert_eq!(ids.into_iter().map(lsm_name).collect::<Vec<_>>(), by_file),
            Err(errno) => assert_eq!(errno, Errno::NOSYS, "kernels before v6.8 have no such call"),
        }
        assert_eq!(
            (lsm_name(0), lsm_name(109), lsm_name(900)),
            ("lsm_0".into(), "bpf".into(), "lsm_900".into())
        );
    }

    #[test]
    fn hostile_lists_of_modules() {
        assert_eq!(active_modules("lockdown,capability,bpf"), ["lockdown", "capability", "bpf"]);
        assert_eq!(active_modules(",,a\x1b[2J,\n"), ["a\u{fffd}[2J"]);
        assert_eq!(active_modules(&"x,".repeat(10_000)).len(), 64);
        assert!(active_modules("").is_empty());
    }

    /// LSM lists of real nodes.
    #[test]
    fn lists_of_real_nodes() {
        let table = include_str!("../../tests/cases/lsms.tsv");
        for row in table.lines().filter(|line| !line.starts_with('#')) {
            let (node, list) = row.split_once('\t').unwrap();
            let modules = active_modules(&format!("{list}\n"));
            assert_eq!(modules.join(","), list, "{node}");
            assert!(modules.len() > 1 && modules.iter().any(|name| name == "capability"), "{node}");
        }
    }

    #[test]
    fn a_missing_privilege_is_the_observers_and_a_refusal_despite_it_the_nodes() {
        let refused = NotOpen::Errno(Errno::PERM);
        assert_eq!(not_open_fact(CapSet::default(), "securityfs", &refused).support, Support::DeniedObserver);
        let held = CapSet::of(&[CAP_SYS_ADMIN]);
        assert_eq!(not_open_fact(held, "securityfs", &refused).support, Support::DeniedWorkload);
        assert_eq!(
            not_open_fact(held, "securityfs", &NotOpen::Errno(Errno::NOSYS)).support,
            Support::Unknown
        );
        assert_eq!(not_open_fact(held, "securityfs", &NotOpen::Unregistered).support, Support::Unknown);
    }

    #[test]
    fn an_empty_host_root_says_no_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let facts = collect(&HostRoot::at(dir.path()).unwrap());
        for name in SYSCTLS.map(|row| row.0).into_iter().chain(["security.secure_boot", "security.apparmor"])
        {
            assert_eq!(facts.support(name), Support::Unknown, "{name}");
        }
    }

    #[test]
    fn secure_boot_is_a_no_only_where_the_firmware_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        assert_eq!(secure_boot_fact(&root).support, Support::Unknown, "no sysfs");
        std::fs::create_dir_all(dir.path().join("sys/kernel")).unwrap();
        assert_eq!(secure_boot_fact(&root).support, Support::Unknown, "directories of another file system");
        std::fs::create_dir_all(dir.path().join("sys/firmware/efi/efivars")).unwrap();
        // Files of the right name in a directory that is no efivarfs are no variables.
        let variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        std::fs::write(dir.path().join(variable), [6, 0, 0, 0, 1]).unwrap();
        let own = HostRoot::local();
        if matches!(own.open_dir("/sys/firmware/efi"), Err(Errno::NOENT)) {
            assert_eq!(secure_boot_fact(&root).support, Support::Unknown, "variables that cannot be read");
        }
    }

    #[test]
    fn hostile_sysctls() {
        let dir = tempfile::tempdir().unwrap();
        let root = HostRoot::at(dir.path()).unwrap();
        for (text, want) in [
            ("2\n", Support::Yes),
            ("0", Support::No),
            ("-1", Support::Yes),
            ("", Support::Unknown),
            ("99999999999999999999999", Support::Unknown),
            ("1\x1b[0m", Support::Unknown),
        ] {
            std::fs::write(dir.path().join("x"), text).unwrap();
            assert_eq!(sysctl_fact(&root, "/x", false).support, want, "{text:?}");
        }
        std::fs::write(dir.path().join("x"), "1".repeat(1000)).unwrap();
        assert_eq!(sysctl_fact(&root, "/x", false).support, Support::Unknown);
    }
}
