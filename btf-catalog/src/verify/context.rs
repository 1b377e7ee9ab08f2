//! The context: what its fields are beside numbers. The table is `data/context_types.tsv`.

use super::value::{Pointer, Region, Sock, Value};
use super::walk::{Refusal, Walker};
use crate::reach::scalar::Scalar;
use crate::uapi::ProgType;
use std::sync::LazyLock;

/// What a load from the context finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Packet,
    PacketMeta,
    PacketEnd,
    Sock(Sock),
    SockOrNull(Sock),
    /// Something that is not modelled.
    Opaque,
}

struct Row {
    prog_type: ProgType,
    /// Bytes from the context's beginning; `None`: any 8 bytes.
    off: Option<i64>,
    field: Field,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/context_types.tsv").lines();
    let rows = rows.filter(|line| !line.starts_with('#')).flat_map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let field = match columns[2] {
            "packet" => Field::Packet,
            "packet_meta" => Field::PacketMeta,
            "packet_end" => Field::PacketEnd,
            "sock" => Field::Sock(Sock::Full),
            "sock_or_null" => Field::SockOrNull(Sock::Full),
            "sock_common_or_null" => Field::SockOrNull(Sock::Common),
            "opaque" => Field::Opaque,
            other => panic!("no kind of field: {other}"),
        };
        let off = (columns[1] != "*").then(|| columns[1].parse().expect("an offset"));
        let types =
            columns[0].split(',').map(|name| ProgType::from_name(name).expect("a program type's name"));
        types.map(|prog_type| Row { prog_type, off, field }).collect::<Vec<_>>()
    });
    rows.collect()
});

impl Walker<'_> {
    /// Checks a pointer into the context that is accessed.
    pub(super) fn context_pointer(&mut self, at: usize, pointer: Pointer) -> Result<(), Refusal> {
        if pointer.const_off().is_none() {
            // Programs of type `syscall` may since v7.1.
            let why = "accesses the context at an offset that is not constant";
            return Err(Refusal { why: why.to_owned(), sure: self.prog_type != ProgType::SYSCALL });
        }
        if pointer.const_off() != Some(0) {
            // Where the kernel rewrites no accesses, it takes moved pointers since v7.1.
            let why = "accesses the context through a pointer that was moved";
            if self.rewrites_context() {
                return Err(Refusal::sure(why));
            }
            self.note(at, Refusal::doubtful(why), false);
        }
        Ok(())
    }

    /// Whether the kernel rewrites accesses of the context (`convert_ctx_access` of the type's `bpf_verifier_ops`), in
    /// every kernel.
    pub(super) fn rewrites_context(&self) -> bool {
        matches!(
            self.prog_type,
            ProgType::SOCKET_FILTER
                | ProgType::SCHED_CLS
                | ProgType::SCHED_ACT
                | ProgType::XDP
                | ProgType::CGROUP_SKB
                | ProgType::CGROUP_SOCK
                | ProgType::CGROUP_SOCK_ADDR
                | ProgType::LWT_IN
                | ProgType::LWT_OUT
                | ProgType::LWT_XMIT
                | ProgType::LWT_SEG6LOCAL
                | ProgType::SOCK_OPS
                | ProgType::SK_SKB
                | ProgType::SK_MSG
                | ProgType::PERF_EVENT
                | ProgType::SK_REUSEPORT
                | ProgType::CGROUP_SYSCTL
                | ProgType::CGROUP_SOCKOPT
                | ProgType::SK_LOOKUP
        )
    }

    /// What a load of the context finds.
    pub(super) fn context_value(&mut self, off: i64, byte_sz: usize) -> Value {
        let fresh = Value::scalar(Scalar::of_bytes(byte_sz as u32));
        let of_type = |row: &&Row| row.prog_type == self.prog_type;
        let row = TABLE.iter().filter(of_type).find(|row| match row.off {
            Some(known) => known == off,
            None => byte_sz == 8,
        });
        match row.map(|row| row.field) {
            None if self.prog_type == ProgType::UNSPEC => {
                self.unmodelled("contexts of programs of this type")
            }
            None => fresh,
            Some(Field::Packet) => Value::pointer(Pointer::to(Region::Packet)),
            Some(Field::PacketMeta) => Value::pointer(Pointer::to(Region::PacketMeta)),
            Some(Field::PacketEnd) => Value::pointer(Pointer::to(Region::PacketEnd)),
            Some(Field::Sock(sock)) => Value::pointer(Pointer::to(Region::Sock(sock))),
            Some(Field::SockOrNull(sock)) => {
                Value { id: self.fresh(), ..Value::pointer(Pointer::or_null(Region::Sock(sock))) }
            }
            Some(Field::Opaque) => self.unmodelled("what contexts of this type point to"),
        }
    }

    /// Whether programs of the type may write to packets (`may_access_direct_pkt_data()`).
    pub(super) fn writes_packets(&self) -> bool {
        !matches!(
            self.prog_type,
            ProgType::LWT_IN
                | ProgType::LWT_OUT
                | ProgType::LWT_SEG6LOCAL
                | ProgType::SK_REUSEPORT
                | ProgType::FLOW_DISSECTOR
                | ProgType::CGROUP_SKB
                | ProgType::SOCK_OPS
        )
    }
}
