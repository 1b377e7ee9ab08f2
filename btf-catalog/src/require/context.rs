//! What a program type may access of its context. The table is `data/context.tsv`.

use crate::reach::ContextAccess;
use crate::uapi::{AttachType, ProgType};
use std::ops::Range;
use std::sync::LazyLock;

struct Row {
    prog_type: ProgType,
    write: bool,
    bytes: Range<i32>,
    /// Empty where nothing is allowed.
    sizes: Vec<u32>,
    /// Empty for all.
    attach_types: Vec<AttachType>,
    witness: Option<&'static str>,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/context.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [prog_type, access, from, to, sizes, attach_types, witness] = columns[..] else {
            panic!("context.tsv: {line}");
        };
        let number = |text: &str| text.parse().expect("an offset");
        let listed = |text: &'static str| text.split(',').filter(|text| *text != "-");
        Row {
            prog_type: ProgType::from_name(prog_type).expect("a program type's name"),
            write: access == "w",
            bytes: number(from)..number(to),
            sizes: listed(sizes).map(|size| size.parse().expect("a size")).collect(),
            attach_types: listed(attach_types)
                .map(|name| AttachType::from_name(name).expect("an attach type's name"))
                .collect(),
            witness: listed(witness).next(),
        }
    })
    .collect()
});

/// Types whose context is an array of words (`btf_ctx_access()` of kernel/bpf/btf.c).
const WORDS: [ProgType; 3] = [ProgType::TRACING, ProgType::LSM, ProgType::STRUCT_OPS];

/// Types whose accesses are not rewritten: those without `convert_ctx_access`.
const AS_IT_IS: [ProgType; 11] = [
    ProgType::UNSPEC,
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::RAW_TRACEPOINT,
    ProgType::RAW_TRACEPOINT_WRITABLE,
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::STRUCT_OPS,
    ProgType::EXT,
    ProgType::NETFILTER,
    ProgType::CGROUP_DEVICE,
];

/// Whether the context has there where a packet begins or ends, which no read may extend the sign of.
fn is_packet_pointer(prog_type: ProgType, off: i32) -> bool {
    match prog_type.context() {
        Some("xdp") => (0..12).contains(&off),
        Some("skb") => (76..84).contains(&off) || (140..144).contains(&off),
        _ => false,
    }
}

/// Why a kernel refuses this access, in words; `None` if it allows it or that is not known. What a kernel's types have is
/// told by `has`, which gives `None` where that is not known.
///
/// Source: `*_is_valid_access()` of each program type (net/core/filter.c, kernel/trace/bpf_trace.c, kernel/bpf/cgroup.c),
/// `__check_ptr_off_reg()` of kernel/bpf/verifier.c, v5.10 to v7.2.
pub fn context_fault(
    prog_type: ProgType,
    attach_type: Option<AttachType>,
    access: &ContextAccess,
    has: &dyn Fn(&'static str) -> Option<bool>,
) -> Option<String> {
    let (what, byte_sz) = (if access.write { "writes" } else { "reads" }, access.byte_sz);
    // Kernels that keep a fixed offset of a register apart want that of the context to be 0.
    let kept_apart = || has("member:bpf_reg_state.off") == Some(true);
    if prog_type == ProgType::SYSCALL {
        let off = access.off?;
        return match off {
            _ if !(0..i32::from(u16::MAX)).contains(&off) => {
                Some(format!("{what} byte {off} of the context, which is none"))
            }
            _ if access.moved && kept_apart() => {
                Some(format!("{what} byte {off} of the context through a pointer that was moved before"))
            }
            // Memory like any other since v7.1.
            _ if off % byte_sz as i32 != 0 && kept_apart() => {
                Some(format!("{what} {byte_sz} bytes at byte {off} of the context, which is not aligned"))
            }
            _ => None,
        };
    }
    let Some(off) = access.off else {
        return access.moved.then(|| format!("{what} the context at an offset that is not constant"));
    };
    let place = format!("{what} {byte_sz} bytes at byte {off} of the context");
    // Since v7.1 only those types want an offset of 0 whose accesses are rewritten.
    let rewritten = !AS_IT_IS.contains(&prog_type);
    if access.moved && (rewritten || kept_apart()) {
        return Some(format!("{place} through a pointer that was moved before"));
    }
    let packets = access.signed && is_packet_pointer(prog_type, off);
    if packets && has("member:bpf_insn_access_aux.is_ldsx") == Some(true) {
        return Some(format!("{place} and extends the sign, where a packet begins or ends"));
    }
    let of_type = || TABLE.iter().filter(|row| row.prog_type == prog_type);
    let rows = || of_type().filter(|row| row.write == access.write);
    let last = of_type().filter(|row| !row.sizes.is_empty()).map(|row| row.bytes.end).max().unwrap_or(0);
    rows().next()?;
    if rows().all(|row| row.sizes.is_empty()) && access.write {
        return Some(format!("{place}, which {prog_type} programs may not write"));
    }
    if off < 0 {
        return Some(format!("{place}, before its beginning"));
    }
    if off % byte_sz as i32 != 0 || WORDS.contains(&prog_type) && off % 8 != 0 {
        return Some(format!("{place}, which is not aligned"));
    }
    let end = off + byte_sz as i32;
    let within = |row: &&Row| row.bytes.start <= off && end <= row.bytes.end;
    let of_kernel = |row: &&Row| row.witness.and_then(has) != Some(false);
    let of_attach_type = |row: &&Row| {
        let of = &row.attach_types;
        of.is_empty() || attach_type.is_none_or(|attach_type| of.contains(&attach_type))
    };
    let sized = |row: &&Row| row.sizes.contains(&byte_sz);
    if rows().filter(within).filter(sized).filter(of_kernel).any(|row| of_attach_type(&row)) {
        return None;
    }
    let forbidden = rows().filter(within).any(|row| row.sizes.is_empty());
    if off >= last && !forbidden {
        return None;
    }
    Some(
        match attach_type.filter(|_| rows().filter(within).any(|row| sized(&row) && !of_attach_type(&row))) {
            Some(attach_type) => format!("{place}, which programs at {attach_type} may not"),
            None if rows().filter(within).any(|row| sized(&row)) => {
                format!("{place}, which this kernel does not allow {prog_type} programs")
            }
            None => format!("{place}, which no kernel allows {prog_type} programs"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(prog_type: ProgType, off: i32, byte_sz: u32, write: bool) -> Option<String> {
        fault_at(prog_type, None, off, byte_sz, write)
    }

    fn fault_at(
        prog_type: ProgType,
        at: Option<AttachType>,
        off: i32,
        byte_sz: u32,
        write: bool,
    ) -> Option<String> {
        let access =
            ContextAccess { insn_off: 0, off: Some(off), byte_sz, write, moved: false, signed: false };
        context_fault(prog_type, at, &access, &|_| None)
    }

    #[test]
    fn what_no_kernel_allows_is_told() {
        for (prog_type, off, byte_sz, write) in [
            (ProgType::SCHED_CLS, 76, 4, false),
            (ProgType::SCHED_CLS, 8, 4, true),
            (ProgType::SOCKET_FILTER, 16, 2, false),
            (ProgType::XDP, 0, 4, false),
            // Perhaps a field of a kernel to come.
            (ProgType::XDP, 24, 4, false),
            (ProgType::TRACEPOINT, 16, 8, false),
            // Where the kernel is not known.
            (ProgType::KPROBE, 0, 8, true),
            (ProgType::SOCK_OPS, 4, 4, true),
            (ProgType::SYSCALL, 60_000, 8, true),
            (ProgType::RAW_TRACEPOINT, 88, 8, false),
        ] {
            assert_eq!(fault(prog_type, off, byte_sz, write), None, "{prog_type} {off}");
        }
        for (prog_type, off, byte_sz, write, why) in [
            (ProgType::SOCKET_FILTER, 100, 4, true, "no kernel allows"),
            (ProgType::SOCKET_FILTER, 76, 4, false, "no kernel allows socket_filter programs"),
            (ProgType::XDP, 0, 8, false, "no kernel allows"),
            (ProgType::XDP, 0, 4, true, "xdp programs may not write"),
            (ProgType::SCHED_CLS, 2, 4, false, "not aligned"),
            (ProgType::SCHED_CLS, 0, 4, true, "writes 4 bytes at byte 0"),
            (ProgType::TRACEPOINT, 0, 8, false, "reads 8 bytes at byte 0"),
            (ProgType::TRACING, 0, 8, true, "tracing programs may not write"),
            (ProgType::TRACING, 4, 4, false, "not aligned"),
            (ProgType::RAW_TRACEPOINT, 104, 8, false, "no kernel allows"),
            (ProgType::SOCK_OPS, 20, 4, true, "no kernel allows"),
            (ProgType::SK_REUSEPORT, 16, 8, false, "no kernel allows"),
            (ProgType::LWT_IN, 72, 4, false, "no kernel allows"),
            (ProgType::XDP, -4, 4, false, "before its beginning"),
            (ProgType::SYSCALL, 70_000, 4, false, "which is none"),
        ] {
            let told = fault(prog_type, off, byte_sz, write).expect("a fault");
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn what_is_attached_elsewhere_may_access_something_else() {
        let at = |name: &str| AttachType::from_name(name);
        for (prog_type, attach_type, other, off, write) in [
            (ProgType::XDP, "xdp_devmap", "xdp", 20, false),
            (ProgType::CGROUP_SOCK, "cgroup_inet_sock_create", "cgroup_inet4_post_bind", 16, true),
            (ProgType::CGROUP_SOCK, "cgroup_inet4_post_bind", "cgroup_inet_sock_create", 44, false),
            (ProgType::CGROUP_SOCK_ADDR, "cgroup_inet4_connect", "cgroup_inet6_connect", 4, false),
            (ProgType::CGROUP_SOCK_ADDR, "cgroup_udp4_sendmsg", "cgroup_inet4_connect", 40, false),
            (ProgType::CGROUP_SOCKOPT, "cgroup_getsockopt", "cgroup_setsockopt", 36, true),
        ] {
            assert_eq!(fault_at(prog_type, at(attach_type), off, 4, write), None, "{attach_type}");
            assert_eq!(fault(prog_type, off, 4, write), None, "{prog_type}");
            let told = fault_at(prog_type, at(other), off, 4, write).expect("a fault");
            assert!(told.contains(other), "{told}");
        }
        assert!(fault_at(ProgType::CGROUP_SOCK_ADDR, at("cgroup_inet4_connect"), 28, 4, true).is_some());
    }

    #[test]
    fn what_the_kernel_has_decides_where_kernels_differ() {
        let access =
            |moved, off| ContextAccess { insn_off: 0, off, byte_sz: 8, write: true, moved, signed: false };
        let on =
            |prog_type, access, has: Option<bool>| context_fault(prog_type, None, &access, &move |_| has);
        let registers = access(false, Some(24));
        assert_eq!(on(ProgType::KPROBE, registers, Some(true)), None);
        let told = on(ProgType::KPROBE, registers, Some(false)).expect("a fault");
        assert!(told.contains("this kernel does not allow kprobe programs"), "{told}");
        let moved = access(true, Some(24));
        assert_eq!(on(ProgType::KPROBE, moved, None), None);
        assert!(on(ProgType::KPROBE, moved, Some(true)).expect("a fault").contains("was moved"));
        let anywhere = on(ProgType::KPROBE, access(true, None), None).expect("a fault");
        assert!(anywhere.contains("not constant"), "{anywhere}");
        assert_eq!(on(ProgType::KPROBE, access(false, None), None), None);
        assert!(on(ProgType::XDP, access(true, Some(8)), None).expect("a fault").contains("was moved"));
        let split = access(false, Some(4));
        assert_eq!(on(ProgType::SYSCALL, split, None), None);
        assert!(on(ProgType::SYSCALL, split, Some(true)).expect("a fault").contains("not aligned"));
        let packet = |signed| ContextAccess { byte_sz: 4, write: false, signed, ..access(false, Some(0)) };
        assert_eq!(on(ProgType::XDP, packet(true), None), None);
        assert_eq!(on(ProgType::XDP, packet(false), Some(true)), None);
        assert!(on(ProgType::XDP, packet(true), Some(true)).expect("a fault").contains("extends the sign"));
    }
}
