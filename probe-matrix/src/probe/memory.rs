//! Memory and processors: page size, CPUs, the limit of locked memory and whether BPF memory counts against it.

use super::Out;
use super::caller::{CAP_BPF, CAP_SYS_ADMIN, Caller, CapSet};
use super::printable::printable;
use super::root::HostRoot;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Kernel, MapCreate, errno_name};
use btf_catalog::MapType;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// Facts named `memory.*` and `cpu.*`, but for the one that needs bpf(2).
pub(crate) fn facts(root: &HostRoot, caller: &Caller, out: &mut Out<'_>) {
    out(
        "memory.page_byte_sz".into(),
        Fact::new(Support::Yes, Evidence::Probed, "AT_PAGESZ").value(rustix::param::page_size()),
    );
    let limits = (caller.memlock_soft_byte_sz, caller.memlock_hard_byte_sz);
    let memlock = Fact::new(Support::Yes, Evidence::Probed, "getrlimit(2) RLIMIT_MEMLOCK");
    out(
        "memory.memlock_limit".into(),
        match limits {
            (None, _) => Fact { support: Support::No, ..memlock }.reason("unlimited"),
            (soft, hard) => memlock.value(json!({ "soft_byte_sz": soft, "hard_byte_sz": hard })),
        },
    );
    for (name, path) in [
        ("cpu.possible", "/sys/devices/system/cpu/possible"),
        ("cpu.online", "/sys/devices/system/cpu/online"),
    ] {
        let fact = match root.read_text(path, 4096) {
            Ok(text) => match cpu_count(text.trim()) {
                Some(count) => Fact::new(Support::Yes, Evidence::Probed, root.shown(path))
                    .value(json!({ "count": count, "list": printable(&text, 256) })),
                None => Fact::new(Support::Unknown, Evidence::Probed, root.shown(path))
                    .reason("not a list of CPUs"),
            },
            Err(why) => root.unread(path, &why),
        };
        out(name.to_owned(), fact);
    }
}

/// How many CPUs a list like `0-3,8` names. None if it is malformed or names more than Linux can have.
pub fn cpu_count(list: &str) -> Option<u32> {
    const CPUS_MAX: u32 = 1 << 16;
    let mut count = 0u32;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= CPUS_MAX {
            return None;
        }
        count = count.checked_add(last - first + 1).filter(|count| *count <= CPUS_MAX)?;
    }
    Some(count)
}

/// The fact `memory.bpf_memcg_accounting`: whether memory of maps is charged to the memory cgroup (since v5.11) and not
/// against `RLIMIT_MEMLOCK`.
///
/// Asked, not inferred: with a limit of 0 a map can be created only if the limit does not count. Lowering the soft limit
/// needs no privilege, and it is restored. A process of another thread must not rely on the limit meanwhile.
pub(crate) fn memcg_accounting(caps: CapSet, kernel: &mut Kernel, out: &mut Out<'_>) {
    let fact = |support| Fact::new(support, Evidence::Probed, "BPF_MAP_CREATE with RLIMIT_MEMLOCK 0");
    let fact = match map_without_memlock(kernel) {
        Ok(Ok(())) => fact(Support::Yes),
        Ok(Err(Errno::PERM)) => {
            fact(Support::No).errno("EPERM").reason("BPF memory counts against the limit of locked memory")
        }
        Ok(Err(errno)) => fact(Support::Unknown).errno(errno_name(errno)),
        Err(Errno::PERM) if !caps.has(CAP_BPF) && !caps.has(CAP_SYS_ADMIN) => {
            fact(Support::DeniedObserver).errno("EPERM").reason("CAP_BPF would be needed to create a map")
        }
        Err(errno @ Errno::PERM) => fact(Support::Unknown)
            .errno(errno_name(errno))
            .reason("no map can be created at the present limit of locked memory either: it may be too low"),
        Err(errno) => fact(Support::Unknown).errno(errno_name(errno)).reason("no map can be created"),
    };
    out("memory.bpf_memcg_accounting".into(), fact);
}

/// Creates a map at the limit as it is, which tells a refusal for another cause (the outer result), and one at a limit of
/// 0 (the inner).
fn map_without_memlock(kernel: &mut Kernel) -> Result<Result<(), Errno>, Errno> {
    let map = MapCreate::new(MapType::ARRAY, 4, 4, 1);
    kernel.map_create(&map)?;
    let old = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: old.maximum })?;
    let at_zero = kernel.map_create(&map).map(drop);
    setrlimit(Resource::Memlock, old)?;
    Ok(at_zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Answer, Question};

    #[test]
    fn cpu_lists() {
        for (list, want) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-0", None),
            ("0-4294967295", None),
            ("0-65535,0-65535", None),
            ("a-b", None),
            ("0-1-2", None),
            ("-1", None),
        ] {
            assert_eq!(cpu_count(list), want, "{list}");
        }
    }

    fn asked(mut kernel: Kernel) -> Fact {
        let mut fact = None;
        memcg_accounting(CapSet::of(&[CAP_BPF]), &mut kernel, &mut |_, told| fact = Some(told));
        fact.unwrap()
    }

    #[test]
    fn a_refusal_counts_only_beside_an_acceptance() {
        let answers = |answers: [Option<Errno>; 2]| {
            let mut answers = answers.into_iter();
            Kernel::injected(Box::new(move |question| match question {
                Question::MapCreate(_) => Some(match answers.next().flatten() {
                    None => Answer::Accept,
                    Some(errno) => Answer::Refuse(errno, String::new()),
                }),
                _ => None,
            }))
        };
        assert_eq!(asked(answers([None, None])).support, Support::Yes);
        assert_eq!(asked(answers([None, Some(Errno::PERM)])).support, Support::No);
        assert_eq!(asked(answers([Some(Errno::PERM), Some(Errno::PERM)])).support, Support::Unknown);
        assert_eq!(asked(answers([None, Some(Errno::NOMEM)])).support, Support::Unknown);
        let mut fact = None;
        let mut refused = answers([Some(Errno::PERM), None]);
        memcg_accounting(CapSet::default(), &mut refused, &mut |_, told| fact = Some(told));
        assert_eq!(fact.unwrap().support, Support::DeniedObserver);
    }

    #[test]
    fn root_the_running_kernel_is_asked_and_the_limit_restored() {
        let before = getrlimit(Resource::Memlock);
        let fact = asked(Kernel::live());
        assert!(
            matches!(fact.support, Support::Yes | Support::No),
            "needs CAP_BPF: run the tests as root: {fact:?}"
        );
        assert_eq!(getrlimit(Resource::Memlock), before);
    }
}
