//! Kernel modules that programs are attached through, where a distribution builds them as modules.
//!
//! Nothing is loaded to find out: what is installed, the kernel loads when it is first used.

use super::Out;
use super::root::HostRoot;
use crate::facts::{Evidence, Fact, Support};

/// Modules that attaching may need: the classifier and the qdisc of clsact, the action, netkit devices.
const MODULES: [&str; 4] = ["cls_bpf", "sch_ingress", "act_bpf", "netkit"];

/// Most bytes of a list of modules. Distributions' modules.dep has about 1 MB.
const LIST_BYTE_SZ_MAX: usize = 16 << 20;

/// Facts named `kernel.module.*`.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let lists = ["modules.builtin", "modules.dep"].map(|list| format!("/lib/modules/{release}/{list}"));
    let texts = lists.each_ref().map(|list| root.read_text(list, LIST_BYTE_SZ_MAX));
    for module in MODULES {
        let fact = |support, source: String, state: Option<&str>| {
            let fact = Fact::new(support, Evidence::Probed, source);
            match state {
                Some(state) => fact.value(state),
                None => fact,
            }
        };
        let sysfs = format!("/sys/module/{module}");
        let listed = texts.iter().position(|text| text.as_ref().is_ok_and(|text| lists_module(text, module)));
        let fact = match listed {
            _ if root.open_dir(&sysfs).is_ok() => fact(Support::Yes, root.shown(&sysfs), Some("loaded")),
            Some(0) => fact(Support::Yes, root.shown(&lists[0]), Some("built in")),
            Some(_) => fact(Support::Yes, root.shown(&lists[1]), Some("installed"))
                .reason("not loaded; the kernel loads it when it is first used"),
            None => match &texts[1] {
                Ok(_) => {
                    fact(Support::No, root.shown(&lists[1]), None).reason("not installed for this kernel")
                }
                Err(why) => root.unread(&lists[1], why),
            },
        };
        out(format!("kernel.module.{module}"), fact);
    }
}

/// Whether a list of module files, one a line and followed by a colon or nothing, has a module of that name. File names
/// have `-` or `_` where the module's name has `_`.
fn lists_module(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let file = line.split(':').next().unwrap_or_default();
        let name = file.rsplit('/').next().unwrap_or_default();
        let stem = name.split(".ko").next().unwrap_or_default();
        stem.len() == module.len() && name.len() > stem.len() && stem.replace('-', "_") == module
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_lists_of_files() {
        let dep = "kernel/net/sched/cls_bpf.ko.xz: kernel/a.ko.xz\nkernel/net/sched/sch-ingress.ko:\n";
        assert!(lists_module(dep, "cls_bpf"));
        assert!(lists_module(dep, "sch_ingress"));
        assert!(!lists_module(dep, "cls_b"));
        assert!(!lists_module(
            "kernel/net/sched/cls_bpf_old.ko:\nkernel/cls_bpf/other.ko:\ncls_bpf:\n",
            "cls_bpf"
        ));
        assert!(!lists_module("\n:\n\u{1b}[2J.ko:", "cls_bpf"));
    }
}
