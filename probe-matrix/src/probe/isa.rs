//! The instruction set and the verifier's limits, as the verifier shows them.
//!
//! What the JIT of an architecture then makes of an instruction (ENOTSUPP after the verifier has accepted) is not asked
//! here: programs are refused before the JIT. Loading the object itself tells.

use super::Out;
use super::ask::{Answer, Needs, Node, first_line, probed, tell, unknown};
use super::asm::{self, FP, op};
use super::program::PROG_LOAD;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{LogBuf, ProgLoad, errno_name};
use btf_catalog::ProgType;
use btf_catalog::insn::{Insn, PSEUDO_CALL};

/// Levels of the instruction set as clang's `-mcpu` numbers them: the level and what it brings.
const LEVELS: [(&str, &[&str]); 4] = [
    ("v1", &["base"]),
    ("v2", &["jlt"]),
    ("v3", &["jmp32"]),
    ("v4", &["gotol", "sdiv", "movsx", "bswap", "ldsx"]),
];

/// Instructions by name, each in a program that is complete but for it.
fn instructions() -> Vec<(&'static str, Vec<Insn>)> {
    let stack = asm::store(FP, -8, 0);
    let zero = asm::mov(1, 0);
    let atomic = |imm| vec![stack, zero, asm::mov(0, 0), op(0xdb, FP, 1, -8, imm)];
    vec![
        ("base", vec![asm::mov(0, 0)]),
        ("jlt", vec![zero, op(0xa5, 1, 0, 0, 1)]),
        ("jmp32", vec![zero, op(0x16, 1, 0, 0, 1)]),
        ("gotol", vec![op(0x06, 0, 0, 0, 0)]),
        ("sdiv", vec![zero, op(0x37, 1, 0, 1, 2)]),
        ("movsx", vec![zero, op(0xbf, 1, 1, 8, 0)]),
        ("bswap", vec![zero, op(0xd7, 1, 0, 0, 16)]),
        ("ldsx", vec![stack, op(0x91, 1, FP, -8, 0)]),
        ("atomic_fetch", atomic(0x01)),
        ("atomic_xchg", atomic(0xe1)),
        ("atomic_cmpxchg", atomic(0xf1)),
        ("load_acquire", vec![stack, op(0xdb, 1, FP, -8, 0x100)]),
        ("store_release", atomic(0x110)),
        ("may_goto", vec![op(0xe5, 0, 0, 0, 0)]),
    ]
}

/// Facts `bpf.isa.*`.
pub(crate) fn facts(node: &mut Node<'_>, out: &mut Out<'_>) {
    let mut told: Vec<(&str, Fact)> = Vec::new();
    for (name, insns) in instructions() {
        let fact = judge(node, &asm::refused_after(&insns));
        told.push((name, fact));
    }
    for (level, brings) in LEVELS {
        let of_level = told.iter().filter(|(name, _)| brings.contains(name));
        let lacks = of_level.clone().find(|(_, fact)| fact.support != Support::Yes);
        let fact = match lacks {
            Some((name, fact)) => Fact { reason: Some(format!("{name}: {}", fact.support)), ..fact.clone() },
            None => probed(Support::Yes, PROG_LOAD),
        };
        tell(out, format!("bpf.isa.{level}"), fact);
    }
    for (name, fact) in told {
        tell(out, format!("bpf.isa.{name}"), fact);
    }
}

/// Judges a program of the oldest type by what the verifier says of its instructions.
fn judge(node: &mut Node<'_>, insns: &[u8]) -> Fact {
    let answer = node.load(&ProgLoad::new(ProgType::SOCKET_FILTER, insns));
    fact_of(node, answer)
}

fn fact_of(node: &Node<'_>, answer: Answer) -> Fact {
    match answer {
        Answer::Taken => probed(Support::Yes, PROG_LOAD),
        Answer::Silent(errno) => node
            .no_answer(errno, Needs::Bpf, PROG_LOAD)
            .unwrap_or_else(|| probed(Support::No, PROG_LOAD).errno(errno_name(errno))),
        Answer::Refused(errno, log) => {
            let line = first_line(&log);
            let says_no = [
                "unknown opcode",
                "invalid opcode",
                "uses reserved fields",
                "back-edge",
                "call to invalid destination",
                "unknown op",
                "not supported",
            ];
            if says_no.iter().any(|text| line.contains(text))
                || line.contains("invalid ") && line.contains("opcode")
            {
                probed(Support::No, PROG_LOAD).errno(errno_name(errno)).reason(line)
            } else {
                unknown(errno, PROG_LOAD, line)
            }
        }
    }
}

/// Facts `bpf.verifier.*` and `bpf.prog_name`.
pub(crate) fn verifier_facts(node: &mut Node<'_>, out: &mut Out<'_>) {
    // Refused at its first instruction; the length alone is asked about. Kernels before v5.2 take 4096.
    let long = asm::bytes(&[&asm::REFUSED[..1], &vec![asm::mov(0, 0); 4096], &[asm::EXIT]].concat());
    let fact = judge(node, &long);
    tell(out, "bpf.verifier.large_programs", fact);
    tell(out, "bpf.verifier.complexity_limit", complexity_limit(node));

    let bounded = asm::refused_after(&[asm::mov(1, 4), asm::add(1, -1), op(0x55, 1, 0, -2, 0)]);
    let fact = judge(node, &bounded);
    tell(out, "bpf.verifier.bounded_loops", fact);

    let call = op(btf_catalog::insn::CALL, 0, PSEUDO_CALL, 0, 2);
    let subprogram = asm::bytes(&[&[call][..], &asm::REFUSED, &asm::NOTHING].concat());
    let fact = judge(node, &subprogram);
    tell(out, "bpf.verifier.subprograms", fact);

    let refused = asm::refused_after(&[]);
    let named = ProgLoad { name: "portolan", ..ProgLoad::new(ProgType::SOCKET_FILTER, &refused) };
    let answer = node.load(&named);
    let fact = fact_of(node, answer);
    tell(out, "bpf.prog_name", fact);
}

/// How many instructions the verifier will walk through, from its statistics: `processed 1 insns (limit 1000000)`.
fn complexity_limit(node: &mut Node<'_>) -> Fact {
    let mut log = LogBuf::new(1024, LogBuf::LEVEL_STATS);
    let insns = asm::refused_after(&[]);
    let _ = node.kernel.prog_load(&ProgLoad::new(ProgType::SOCKET_FILTER, &insns), Some(&mut log));
    let limit =
        log.text().rsplit_once("(limit ").and_then(|(_, rest)| rest.split(')').next()?.parse::<u64>().ok());
    match limit {
        Some(limit) => probed(Support::Yes, PROG_LOAD).value(limit),
        None => Fact::new(Support::Unknown, Evidence::Probed, PROG_LOAD)
            .reason("the verifier's statistics do not say, or are not to be had"),
    }
}
