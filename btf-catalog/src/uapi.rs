//! The kernel's numbered vocabulary: program types, attach types, map types, link types, helpers.
//!
//! The names come from tables in `data/*.tsv`, one row a number, copied as facts from `include/uapi/linux/bpf.h`.
//! A number without a row is legal everywhere (a newer kernel or object may know it) and prints as `type_57`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::LazyLock;

/// A table of `id<TAB>name<TAB>…` rows; lines that begin with `#` are comments.
struct Table {
    /// `(id, columns after the id)`, ascending by id.
    rows: Vec<(u32, Vec<&'static str>)>,
}

impl Table {
    /// Panics on a malformed table: the tables are part of the program and are read by its tests.
    fn parse(text: &'static str) -> Table {
        let rows: Vec<_> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut columns = line.split('\t');
                let id = columns
                    .next()
                    .and_then(|id| id.parse().ok())
                    .expect("a table row begins with its number");
                (id, columns.collect())
            })
            .collect();
        assert!(rows.is_sorted_by_key(|(id, _)| *id), "table rows ascend by number");
        Table { rows }
    }

    fn row(&self, id: u32) -> Option<&[&'static str]> {
        let at = self.rows.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.rows[at].1)
    }

    fn column(&self, id: u32, column: usize) -> Option<&'static str> {
        self.row(id)?.get(column).copied()
    }

    fn id_of(&self, name: &str) -> Option<u32> {
        self.rows.iter().find(|(_, columns)| columns.first() == Some(&name)).map(|(id, _)| *id)
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $file:literal, $unnamed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u32);

        impl $name {
            fn table() -> &'static Table {
                static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!(concat!("../data/", $file))));
                &TABLE
            }

            /// Every number that has a name, ascending.
            pub fn all() -> impl Iterator<Item = $name> {
                Self::table().rows.iter().map(|(id, _)| $name(*id))
            }

            /// The kernel's name in lower case without its prefix, or `None` for a number this build does not know.
            pub fn name(self) -> Option<&'static str> {
                Self::table().column(self.0, 0)
            }

            /// The number that carries `name`, as [`Self::name`] gives it.
            pub fn from_name(name: &str) -> Option<$name> {
                Self::table().id_of(name).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => f.pad(&format!(concat!($unnamed, "_{}"), self.0)),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::from_name(&text)
                    .or_else(|| text.strip_prefix(concat!($unnamed, "_"))?.parse().ok().map($name))
                    .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a {}", stringify!($name))))
            }
        }
    };
}

numbered! {
    /// A program type: `enum bpf_prog_type`, printed as `xdp`, `sched_cls`, …
    ProgType, "prog_types.tsv", "type"
}
numbered! {
    /// An attach type: `enum bpf_attach_type`, printed as `tcx_ingress`, `trace_fentry`, …
    AttachType, "attach_types.tsv", "attach"
}
numbered! {
    /// A map type: `enum bpf_map_type`, printed as `hash`, `ringbuf`, …
    MapType, "map_types.tsv", "map"
}
numbered! {
    /// A link type: `enum bpf_link_type`, printed as `xdp`, `kprobe_multi`, …
    LinkType, "link_types.tsv", "link"
}
numbered! {
    /// A helper function: `BPF_FUNC_*`, printed without the `bpf_` prefix: `ringbuf_output`.
    HelperId, "helpers.tsv", "helper"
}

impl ProgType {
    /// The UAPI structure a program of this type receives (`skb`, `xdp`, …), after `include/linux/bpf_types.h`.
    pub fn context(self) -> Option<&'static str> {
        Self::table().column(self.0, 1)
    }

    /// The mainline release that brought the type. For people only: vendors backport, so nothing is decided on it.
    pub fn since(self) -> Option<&'static str> {
        Self::table().column(self.0, 2)
    }
}

impl AttachType {
    /// The program type that this attach type belongs to.
    pub fn prog_type(self) -> Option<ProgType> {
        Self::table().column(self.0, 1).and_then(ProgType::from_name)
    }
}

impl HelperId {
    /// The context structure that the helper's first argument must be, where its UAPI signature fixes one.
    ///
    /// A kernel cannot offer such a helper to a program type with another context: the verifier would hand it a
    /// pointer of the wrong type.
    pub fn required_context(self) -> Option<&'static str> {
        Self::table().column(self.0, 1).filter(|context| *context != "-")
    }
}

impl HelperId {
    /// Whether only programs under a GPL compatible licence may call it.
    pub fn gpl_only(self) -> bool {
        Self::table().column(self.0, 2) == Some("gpl")
    }
}

macro_rules! known {
    ($type:ident { $($(#[$doc:meta])* $name:ident = $id:literal),* $(,)? }) => {
        impl $type {
            $($(#[$doc])* #[allow(missing_docs, reason = "the kernel's own names")] pub const $name: $type = $type($id);)*
        }
    };
}

known!(ProgType {
    UNSPEC = 0, SOCKET_FILTER = 1, KPROBE = 2, SCHED_CLS = 3, SCHED_ACT = 4, TRACEPOINT = 5, XDP = 6, PERF_EVENT = 7,
    CGROUP_SKB = 8, CGROUP_SOCK = 9, LWT_IN = 10, LWT_OUT = 11, LWT_XMIT = 12, SOCK_OPS = 13, SK_SKB = 14,
    CGROUP_DEVICE = 15, SK_MSG = 16, RAW_TRACEPOINT = 17, CGROUP_SOCK_ADDR = 18, LWT_SEG6LOCAL = 19, LIRC_MODE2 = 20,
    SK_REUSEPORT = 21, FLOW_DISSECTOR = 22, CGROUP_SYSCTL = 23, RAW_TRACEPOINT_WRITABLE = 24, CGROUP_SOCKOPT = 25,
    TRACING = 26, STRUCT_OPS = 27, EXT = 28, LSM = 29, SK_LOOKUP = 30, SYSCALL = 31, NETFILTER = 32,
});

known!(AttachType {
    CGROUP_INET_INGRESS = 0, CGROUP_INET_EGRESS = 1, CGROUP_INET_SOCK_CREATE = 2, CGROUP_SOCK_OPS = 3,
    SK_SKB_STREAM_PARSER = 4, SK_SKB_STREAM_VERDICT = 5, CGROUP_DEVICE = 6, SK_MSG_VERDICT = 7, CGROUP_INET4_BIND = 8,
    CGROUP_INET6_BIND = 9, CGROUP_INET4_CONNECT = 10, CGROUP_INET6_CONNECT = 11, CGROUP_INET4_POST_BIND = 12,
    CGROUP_INET6_POST_BIND = 13, CGROUP_UDP4_SENDMSG = 14, CGROUP_UDP6_SENDMSG = 15, LIRC_MODE2 = 16,
    FLOW_DISSECTOR = 17, CGROUP_SYSCTL = 18, CGROUP_UDP4_RECVMSG = 19, CGROUP_UDP6_RECVMSG = 20,
    CGROUP_GETSOCKOPT = 21, CGROUP_SETSOCKOPT = 22, TRACE_RAW_TP = 23, TRACE_FENTRY = 24, TRACE_FEXIT = 25,
    MODIFY_RETURN = 26, LSM_MAC = 27, TRACE_ITER = 28, CGROUP_INET4_GETPEERNAME = 29, CGROUP_INET6_GETPEERNAME = 30,
    CGROUP_INET4_GETSOCKNAME = 31, CGROUP_INET6_GETSOCKNAME = 32, XDP_DEVMAP = 33, CGROUP_INET_SOCK_RELEASE = 34,
    XDP_CPUMAP = 35, SK_LOOKUP = 36, XDP = 37, SK_SKB_VERDICT = 38, SK_REUSEPORT_SELECT = 39,
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40, PERF_EVENT = 41, TRACE_KPROBE_MULTI = 42, LSM_CGROUP = 43, STRUCT_OPS = 44,
    NETFILTER = 45, TCX_INGRESS = 46, TCX_EGRESS = 47, TRACE_UPROBE_MULTI = 48, CGROUP_UNIX_CONNECT = 49,
    CGROUP_UNIX_SENDMSG = 50, CGROUP_UNIX_RECVMSG = 51, CGROUP_UNIX_GETPEERNAME = 52, CGROUP_UNIX_GETSOCKNAME = 53,
    NETKIT_PRIMARY = 54, NETKIT_PEER = 55, TRACE_KPROBE_SESSION = 56, TRACE_UPROBE_SESSION = 57,
});

known!(MapType {
    UNSPEC = 0, HASH = 1, ARRAY = 2, PROG_ARRAY = 3, PERF_EVENT_ARRAY = 4, PERCPU_HASH = 5, PERCPU_ARRAY = 6,
    STACK_TRACE = 7, CGROUP_ARRAY = 8, LRU_HASH = 9, LRU_PERCPU_HASH = 10, LPM_TRIE = 11, ARRAY_OF_MAPS = 12,
    HASH_OF_MAPS = 13, DEVMAP = 14, SOCKMAP = 15, CPUMAP = 16, XSKMAP = 17, SOCKHASH = 18, CGROUP_STORAGE = 19,
    REUSEPORT_SOCKARRAY = 20, PERCPU_CGROUP_STORAGE = 21, QUEUE = 22, STACK = 23, SK_STORAGE = 24, DEVMAP_HASH = 25,
    STRUCT_OPS = 26, RINGBUF = 27, INODE_STORAGE = 28, TASK_STORAGE = 29, BLOOM_FILTER = 30, USER_RINGBUF = 31,
    CGRP_STORAGE = 32, ARENA = 33, INSN_ARRAY = 34, RHASH = 35,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_well_formed() {
        assert_eq!(ProgType::XDP.to_string(), "xdp");
        assert_eq!(AttachType::TCX_EGRESS.to_string(), "tcx_egress");
        assert_eq!(MapType::ARENA.to_string(), "arena");
        assert_eq!(HelperId(130).to_string(), "ringbuf_output");
        assert_eq!(HelperId::all().count(), 211);
        for (helper, gpl) in [(6, true), (1, false), (158, true), (69, true), (165, true), (14, false)] {
            assert_eq!(HelperId(helper).gpl_only(), gpl, "{}", HelperId(helper));
        }
        assert!(AttachType::all().all(|attach| attach.prog_type().is_some()));
        assert!(LinkType::all().count() >= 14);
    }

    #[test]
    fn a_number_without_a_row_prints_and_reads_back() {
        assert_eq!(ProgType(77).to_string(), "type_77");
        assert_eq!(ProgType::from_name("type_77"), None);
    }

    #[test]
    fn contexts_of_helpers_are_contexts_of_program_types() {
        for helper in HelperId::all() {
            if let Some(context) = helper.required_context() {
                assert!(ProgType::all().any(|ty| ty.context() == Some(context)), "{helper}: {context}");
            }
        }
    }
}
