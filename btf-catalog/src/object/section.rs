//! Section names: what a program's section tells about it. The table is `data/sections.tsv`.

use crate::uapi::{AttachType, ProgType};
use std::sync::LazyLock;

/// What a section's name says of the programs in it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a section")]
pub struct SectionKind {
    /// The part of the name that the table knows: `fentry`, `cgroup/connect4`.
    pub prefix: &'static str,
    /// Program type.
    pub prog_type: ProgType,
    /// Attach type where the section's name fixes one.
    pub attach_type: Option<AttachType>,
    /// Whether kernels that do not know the attach type still take the program without it.
    pub attach_type_optional: bool,
    /// What follows the prefix: a function, a tracepoint, a hook.
    pub target: Option<String>,
    /// The module before the colon of a target that is looked up in BTF (`fentry/module:function`); none for `vmlinux:`.
    pub target_module: Option<String>,
    /// Whether the program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// Whether the target is looked up in the kernel's BTF when the program is loaded.
    pub attach_btf: bool,
    /// Whether an XDP program takes packets in fragments (`BPF_F_XDP_HAS_FRAGS`).
    pub xdp_frags: bool,
}

struct Row {
    name: &'static str,
    open: bool,
    prog_type: ProgType,
    attach_type: Option<AttachType>,
    flags: &'static str,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    include_str!("../../data/sections.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().expect("sections.tsv has four columns");
            let (name, prog_type, attach_type, flags) = (next(), next(), next(), next());
            Row {
                name: name.trim_end_matches('+'),
                open: name.ends_with('+'),
                prog_type: ProgType::from_name(prog_type).expect("a program type's name"),
                attach_type: (attach_type != "-")
                    .then(|| AttachType::from_name(attach_type).expect("an attach type's name")),
                flags,
            }
        })
        .collect()
});

impl SectionKind {
    /// Reads a section's name, without the `?` that turns loading off; `None` if no row of the table matches.
    pub fn from_name(section: &str) -> Option<SectionKind> {
        let section = section.strip_prefix('?').unwrap_or(section);
        TABLE.iter().find_map(|row| {
            let rest = section.strip_prefix(row.name)?;
            let target = match rest.strip_prefix('/') {
                Some(target) if row.open => Some(target.to_owned()),
                None if rest.is_empty() => None,
                _ => return None,
            };
            let attach_btf = row.flags.contains('b');
            let (module, target) = match target.as_deref().and_then(|target| target.split_once(':')) {
                Some((module, name)) if attach_btf => (Some(module.to_owned()), Some(name.to_owned())),
                _ => (None, target),
            };
            Some(SectionKind {
                prefix: row.name,
                target_module: module.filter(|module| module != "vmlinux"),
                prog_type: row.prog_type,
                attach_type: row.attach_type,
                attach_type_optional: row.flags.contains('o'),
                target: target.filter(|target| !target.is_empty()),
                sleepable: row.flags.contains('s'),
                attach_btf,
                xdp_frags: row.flags.contains('f'),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_libbpf_does() {
        let kind = |name| SectionKind::from_name(name);
        let fentry = kind("fentry.s/tcp_connect").unwrap();
        assert_eq!(
            (fentry.prog_type, fentry.attach_type),
            (ProgType::TRACING, Some(AttachType::TRACE_FENTRY))
        );
        assert_eq!(
            (fentry.target.as_deref(), fentry.sleepable, fentry.attach_btf),
            (Some("tcp_connect"), true, true)
        );
        assert_eq!(kind("?tp_btf/kfree_skb").unwrap().target.as_deref(), Some("kfree_skb"));
        assert_eq!(kind("tc/ingress").unwrap().attach_type, Some(AttachType::TCX_INGRESS));
        assert_eq!(kind("tc").unwrap().attach_type, None);
        assert!(kind("xdp.frags").unwrap().xdp_frags);
        assert_eq!(kind("xdp/eth0"), None);
        assert_eq!(kind("kprobes"), None);
        assert_eq!(kind("kprobe").unwrap().target, None);
        let module = kind("fentry/nf_tables:nft_do_chain").unwrap();
        assert_eq!(
            (module.target.as_deref(), module.target_module.as_deref()),
            (Some("nft_do_chain"), Some("nf_tables"))
        );
        let vmlinux = kind("tp_btf/vmlinux:kfree_skb").unwrap();
        assert_eq!((vmlinux.target.as_deref(), vmlinux.target_module), (Some("kfree_skb"), None));
    }
}
