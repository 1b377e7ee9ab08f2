//! Everything that is read from files, netlink and object ids, in one go.

use super::root::HostRoot;
use super::{
    Depth, Out, ProbeOptions, btf, config, inventory, kernel, memory, modules, mounts, os, security, symbols,
    tracepoints,
};
use crate::sys::Kernel;
use btf_catalog::Btf;
use std::sync::Arc;

/// Facts of every family of `data/facts/node.toml`. Symbols are read only if functions are asked for: it takes longer
/// than all the rest. Returns the kernel's BTF, so that nobody parses it again.
pub(crate) fn facts(
    root: &HostRoot,
    options: &ProbeOptions,
    bpf: &mut Kernel,
    out: &mut Out<'_>,
) -> Option<Arc<Btf>> {
    kernel::facts(root, out);
    os::facts(root, out);
    config::facts(root, out);
    modules::facts(root, out);
    let btf = btf::facts(root, out);
    security::facts(root, &options.caller, out);
    let cgroup2 = mounts::facts(root, out);
    memory::facts(root, &options.caller, out);
    if options.depth >= Depth::Load {
        memory::memcg_accounting(root.caps(), bpf, out);
    }
    inventory::facts(root, bpf, cgroup2.as_deref(), out);
    symbols::facts(root, &options.functions, btf.as_deref(), out);
    tracepoints::facts(root, &options.tracepoints, out);
    btf
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Facts;
    use crate::facts::row;
    use std::time::Instant;

    fn collect() -> Facts {
        let mut facts = Facts::default();
        let options =
            ProbeOptions { functions: vec!["tcp_rcv_established".to_owned()], ..ProbeOptions::default() };
        super::facts(&HostRoot::local(), &options, &mut Kernel::live(), &mut |name, fact| {
            facts.insert(name, fact);
        });
        facts
    }

    #[test]
    fn every_fact_is_in_the_table_with_the_form_it_says() {
        let facts = collect();
        assert!(facts.len() > 100);
        for (name, fact) in facts.iter() {
            let row = row(name).unwrap_or_else(|| panic!("{name} is not in data/facts/node.toml"));
            let Some(value) = &fact.value else { continue };
            let fits = match row.value.as_deref() {
                Some("string") => value.is_string(),
                Some("integer") => value.is_number(),
                Some("list") => value.is_array(),
                Some("object") => value.is_object(),
                _ => false,
            };
            assert!(fits, "{name}: the table says {:?}, the value is {value}", row.value);
        }
    }

    #[test]
    fn a_host_root_that_is_the_root_tells_the_same() {
        let here = collect();
        let options = ProbeOptions::default();
        let mut there = Facts::default();
        let root = HostRoot::at(std::path::Path::new("/")).unwrap();
        super::facts(&root, &options, &mut Kernel::live(), &mut |name, fact| there.insert(name, fact));
        for group in ["kernel", "os", "btf", "security", "cpu", "memory"] {
            for (name, fact) in there.under(group) {
                let same = here.get(name).unwrap();
                assert_eq!((fact.support, &fact.value), (same.support, &same.value), "{name}");
            }
        }
    }

    #[test]
    fn at_depth_read_nothing_is_made() {
        let mut facts = Facts::default();
        let mut kernel = Kernel::live();
        let options = ProbeOptions { depth: Depth::Read, ..ProbeOptions::default() };
        super::facts(&HostRoot::local(), &options, &mut kernel, &mut |name, fact| facts.insert(name, fact));
        assert_eq!((kernel.stats().maps_created, kernel.stats().loads), (0, 0));
        assert_eq!(facts.support("memory.bpf_memcg_accounting"), crate::Support::Unknown);
    }

    #[test]
    fn every_fact_that_is_not_yes_or_no_tells_why() {
        for (name, fact) in collect().iter() {
            let plain = matches!(fact.support, crate::Support::Yes | crate::Support::No);
            assert!(plain || fact.reason.is_some() || fact.errno.is_some(), "{name}: {fact:?}");
        }
    }

    /// `cargo test --release -p probe-matrix --lib time_of -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn time_of_each_part() {
        let (root, options) = (HostRoot::local(), ProbeOptions::default());
        let caller = &options.caller;
        let mut bpf = Kernel::live();
        let mut count = 0;
        let mut best = [u128::MAX; 11];
        for _ in 0..20 {
            let out: &mut Out<'_> = &mut |_, _| count += 1;
            let mut at = 0;
            let mut time = |run: &mut dyn FnMut(&mut Out<'_>), out: &mut Out<'_>| {
                let started = Instant::now();
                run(out);
                best[at] = best[at].min(started.elapsed().as_micros());
                at += 1;
            };
            time(&mut |out| kernel::facts(&root, out), out);
            time(&mut |out| os::facts(&root, out), out);
            time(&mut |out| config::facts(&root, out), out);
            time(&mut |out| drop(btf::facts(&root, out)), out);
            time(&mut |out| security::facts(&root, caller, out), out);
            time(&mut |out| drop(mounts::facts(&root, out)), out);
            time(&mut |out| memory::facts(&root, caller, out), out);
            time(&mut |out| memory::memcg_accounting(root.caps(), &mut bpf, out), out);
            time(&mut |out| inventory::facts(&root, &mut bpf, Some("/sys/fs/cgroup/unified"), out), out);
            time(&mut |out| drop(super::facts(&root, &options, &mut Kernel::live(), out)), out);
            time(&mut |out| symbols::facts(&root, &["vfs_read".to_owned()], None, out), out);
        }
        let names = [
            "kernel",
            "os",
            "config",
            "btf",
            "security",
            "mounts",
            "memory",
            "memcg",
            "inventory",
            "all",
            "symbols",
        ];
        for (name, us) in names.iter().zip(best) {
            println!("{name:10} {us:6} us");
        }
    }
}
