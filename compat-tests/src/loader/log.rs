//! Reading the verifier's log: which of its lines say why a program was refused.

/// `call` to this number and its `ldimm64` pair stand for a CO-RE relocation that found nothing (0xbad2310, as in
/// libbpf's `bpf_core_poison_insn()`).
const POISON: &str = "195896080";

/// Most lines of one explanation.
const MOST_LINES: usize = 4;

/// The lines that say why the program was refused, in the log's order: the last instruction that was looked at, if the
/// log names one, and the verifier's words about it. Empty if the log ends without a complaint.
///
/// The words come last, followed only by statistics; instructions, source lines and register states come before them
/// (`do_check_main()`, `verbose()` and `print_verification_stats()`, kernel/bpf/verifier.c, v6.18).
pub fn decisive_lines(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let end = lines.iter().rposition(|line| !is_statistics(line)).map_or(0, |last| last + 1);
    let lines = &lines[..end];
    let listed = lines.iter().rposition(|line| is_listing(line));
    let words = &lines[listed.map_or(0, |at| at + 1)..];
    if words.is_empty() {
        return Vec::new();
    }
    let insn = listed.and_then(|at| lines[..=at].iter().rev().find(|line| is_insn(line)));
    let words = &words[words.len().saturating_sub(MOST_LINES)..];
    insn.into_iter().chain(words).copied().collect()
}

/// Whether the log shows that verification itself came to its end: statistics, and no complaint before them. Statistics
/// of no instruction at all are written where the kernel gave up before the first (`bpf_check()`, kernel/bpf/verifier.c,
/// v6.18, `skip_full_check`).
pub(super) fn was_verified(log: &str) -> bool {
    let processed = |line: &str| line.starts_with("processed ") && !line.starts_with("processed 0 insns");
    log.lines().any(processed) && decisive_lines(log).is_empty()
}

/// Whether the refusal is that of a CO-RE relocation that found nothing and that the program reaches.
pub fn reached_poison(log: &str) -> bool {
    decisive_lines(log).iter().any(|line| line.contains(POISON) || line.contains("0xbad2310"))
}

/// What follows the verifier's words.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth ", "mark_precise: "]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Everything that the verifier prints without complaining.
fn is_listing(line: &str) -> bool {
    is_insn(line)
        || line.starts_with("; ")
        || line.starts_with("from ")
        || line.starts_with("func#")
        || line.starts_with("caller:")
        || line.starts_with("callee:")
        || line.starts_with("returning from callee:")
        || line.starts_with("to caller at ")
        || line.starts_with("Func#")
        || line.starts_with("Validating ")
}

/// `12: (85) call bpf_ktime_get_ns#5` or the state before an instruction, `12: R0=scalar()`.
fn is_insn(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && line[digits..].starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complaint_and_its_instruction_are_decisive() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("processed 2 insns (limit 1000000) max_states_per_insn 0\n", &[]),
            (
                "0: R1=ctx() R10=fp0\n; return *(int *)0; @ a.c:3\n0: (61) r0 = *(u32 *)(r2 +0)\nR2 !read_ok\n\
                 processed 1 insns (limit 1000000) max_states_per_insn 0\n\n",
                &["0: (61) r0 = *(u32 *)(r2 +0)", "R2 !read_ok"],
            ),
            ("unknown opcode d7\n", &["unknown opcode d7"]),
            (
                "0: (85) call unknown#195896080\ninvalid func unknown#195896080\nprocessed 1 insns\nstack depth 0\n",
                &["0: (85) call unknown#195896080", "invalid func unknown#195896080"],
            ),
            (
                "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns\n",
                &["BPF program is too large. Processed 1000001 insn"],
            ),
        ];
        for (log, expected) in cases {
            assert_eq!(decisive_lines(log), expected, "{log}");
        }
    }

    #[test]
    fn verified_needs_statistics_and_no_complaint() {
        assert!(was_verified("0: (b7) r0 = 0\n1: (95) exit\nprocessed 2 insns (limit 1000000)\n"));
        assert!(!was_verified("0: (b7) r0 = 0\n1: (95) exit\n"));
        assert!(!was_verified("0: (95) exit\nR0 !read_ok\nprocessed 1 insns\n"));
        assert!(
            !was_verified("processed 0 insns (limit 1000000) max_states_per_insn 0\n"),
            "nothing was looked at"
        );
    }

    #[test]
    fn a_reached_poison_is_recognised() {
        assert!(reached_poison("0: (85) call unknown#195896080\ninvalid func unknown#195896080\n"));
        assert!(!reached_poison("0: (85) call unknown#999\ninvalid func unknown#999\n"));
    }
}
