//! What a program type may access of its context. The table is `data/context.tsv`.

use crate::reach::ContextAccess;
use crate::uapi::ProgType;
use std::ops::Range;
use std::sync::LazyLock;

struct Row {
    prog_type: ProgType,
    write: bool,
    /// Empty where nothing at all is allowed.
    bytes: Range<i32>,
    sizes: Vec<u32>,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = include_str!("../../data/context.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let number = |column: usize| columns[column].parse().expect("an offset");
        Row {
            prog_type: ProgType::from_name(columns[0]).expect("a program type's name"),
            write: columns[1] == "w",
            bytes: if columns[2] == "none" { 0..0 } else { number(2)..number(3) },
            sizes: columns[4].split(',').filter_map(|size| size.parse().ok()).collect(),
        }
    })
    .collect()
});

/// Why every kernel refuses this access, in words; `None` if some kernel allows it or that is not known.
///
/// Source: `*_is_valid_access()` of each program type (net/core/filter.c, kernel/trace/bpf_trace.c, v6.12).
pub fn context_fault(prog_type: ProgType, access: &ContextAccess) -> Option<String> {
    let off = access.off?;
    let (what, byte_sz) = (if access.write { "writes" } else { "reads" }, access.byte_sz);
    let rows = || TABLE.iter().filter(|row| row.prog_type == prog_type && row.write == access.write);
    let most = rows().map(|row| row.bytes.end).max()?;
    let last = TABLE.iter().filter(|row| row.prog_type == prog_type).map(|row| row.bytes.end).max()?;
    let place = format!("{what} {byte_sz} bytes at byte {off} of the context");
    if most == 0 {
        return Some(format!("{place}, which {prog_type} programs may not write"));
    }
    if off < 0 {
        return Some(format!("{place}, before its beginning"));
    }
    if off % byte_sz as i32 != 0 {
        return Some(format!("{place}, which is not aligned"));
    }
    let end = off + byte_sz as i32;
    let allows = |row: &Row| row.bytes.start <= off && end <= row.bytes.end && row.sizes.contains(&byte_sz);
    if rows().any(allows) || off >= last {
        return None;
    }
    Some(format!("{place}, which no kernel allows {prog_type} programs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_allows_is_told() {
        let fault = |prog_type, off, byte_sz, write| {
            context_fault(prog_type, &ContextAccess { insn_off: 0, off: Some(off), byte_sz, write })
        };
        for (prog_type, off, byte_sz, write) in [
            (ProgType::SCHED_CLS, 76, 4, false),
            (ProgType::SCHED_CLS, 8, 4, true),
            (ProgType::SOCKET_FILTER, 16, 2, false),
            (ProgType::XDP, 0, 4, false),
            // Perhaps a field of a kernel to come.
            (ProgType::XDP, 24, 4, false),
            (ProgType::TRACEPOINT, 16, 8, false),
            // Not judged: uprobes may write registers since v6.18.
            (ProgType::KPROBE, 0, 8, true),
        ] {
            assert_eq!(fault(prog_type, off, byte_sz, write), None, "{prog_type} {off}");
        }
        for (prog_type, off, byte_sz, write, why) in [
            (ProgType::SOCKET_FILTER, 100, 4, true, "no kernel allows"),
            (ProgType::SOCKET_FILTER, 76, 4, false, "no kernel allows socket_filter programs"),
            (ProgType::XDP, 0, 8, false, "no kernel allows"),
            (ProgType::SCHED_CLS, 2, 4, false, "not aligned"),
            (ProgType::SCHED_CLS, 0, 4, true, "writes 4 bytes at byte 0"),
            (ProgType::TRACEPOINT, 0, 8, false, "reads 8 bytes at byte 0"),
            (ProgType::TRACING, 0, 8, true, "tracing programs may not write"),
            (ProgType::XDP, -4, 4, false, "before its beginning"),
        ] {
            let told = fault(prog_type, off, byte_sz, write).expect("a fault");
            assert!(told.contains(why), "{told}");
        }
    }
}
