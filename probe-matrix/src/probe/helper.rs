//! Helpers by program type.
//!
//! A kernel tells one missing helper a load, and a load costs some 15 microseconds whatever it contains. What is likely
//! to be there is therefore asked together: one program makes many calls one after the other ([`super::recipe`]), always
//! ends refused, and the count of instructions that the verifier processed tells which call it stopped at. The calls
//! before it were taken, that one is judged by the log, and the next program goes on behind it. What is likely to be
//! missing, or has no recipe, is asked alone.

use super::Out;
use super::ask::{Answer, Node, beyond, first_line, helper_fact, needs, probed, tell};
use super::asm;
use super::program::{PROG_LOAD, Seat, Seats};
use super::recipe::Kit;
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, errno_name};
use btf_catalog::insn::Insn;
use btf_catalog::{AttachType, HelperId, ProgType};
use std::collections::{BTreeMap, BTreeSet};

/// Most calls in one program: each costs some 0.5 us to check, again whenever a call before it is refused.
const CALLS_A_PROGRAM: usize = 24;

const TRACE_PRINTK: HelperId = HelperId(6);
const PROBE_WRITE_USER: HelperId = HelperId(36);
const TRACE_VPRINTK: HelperId = HelperId(177);
/// Helpers that read kernel memory: probe_read, probe_read_str, probe_read_kernel, probe_read_kernel_str.
const PROBE_READ: [HelperId; 4] = [HelperId(4), HelperId(45), HelperId(113), HelperId(115)];

/// Program types that have the very same `struct bpf_verifier_ops` as another (include/linux/bpf_types.h, since the
/// younger of the two exists): what one is not offered, neither is the other.
const TWINS: [(ProgType, ProgType); 1] = [(ProgType::SCHED_ACT, ProgType::SCHED_CLS)];

/// What one seat says of one helper.
#[derive(Clone, PartialEq, Debug)]
enum Judgement {
    Yes,
    /// Offered, but the program must be of a kind that this one is not.
    YesIf(String),
    No(String),
    Unclear(Fact),
}

/// Asks the helpers at one seat. `unlikely` are those that are better asked alone.
fn ask(
    node: &mut Node<'_>,
    kit: &Kit,
    seat: Seat,
    helpers: &[HelperId],
    unlikely: &BTreeSet<HelperId>,
) -> Vec<(HelperId, Judgement)> {
    let (together, mut alone): (Vec<HelperId>, Vec<HelperId>) =
        helpers.iter().partition(|helper| kit.has_recipe(**helper) && !unlikely.contains(helper));
    let mut judged = Vec::with_capacity(helpers.len());
    let mut rest = &together[..];
    while !rest.is_empty() {
        let asked = &rest[..rest.len().min(CALLS_A_PROGRAM)];
        let calls: Vec<Vec<Insn>> = asked.iter().map(|helper| kit.call(*helper)).collect();
        let insns = [kit.prologue(), calls.concat()].concat();
        let answer = node.load(&seat.load(&asm::refused_after(&insns)));
        let (taken, refused) = match answer {
            Answer::Taken => (asked.len(), None),
            Answer::Silent(_) => (0, None),
            Answer::Refused(errno, log) => match stopped_at(&log, processed(&kit.prologue()), &calls) {
                Some(at) => (at, Some(judge(errno, &log, asked[at]))),
                None => (0, None),
            },
        };
        let (yes, from) = asked.split_at(taken);
        judged.extend(yes.iter().map(|helper| (*helper, Judgement::Yes)));
        let settled = match (from, refused) {
            ([], _) => taken,
            ([helper, ..], Some(Judgement::Unclear(_))) => {
                alone.push(*helper);
                taken + 1
            }
            ([helper, ..], Some(judgement)) => {
                judged.push((*helper, judgement));
                taken + 1
            }
            // Not one call is at fault, but the program: it may not use such a map, or the kernel does not count.
            (_, None) => {
                alone.extend(from);
                asked.len()
            }
        };
        rest = &rest[settled..];
    }
    for helper in alone {
        let insns = asm::refused_after(&[asm::call(helper.0)]);
        let judgement = match node.load(&seat.load(&insns)) {
            Answer::Taken => Judgement::Yes,
            Answer::Refused(errno, log) => judge(errno, &log, helper),
            Answer::Silent(errno) => silent(node, seat, errno),
        };
        judged.push((helper, judgement));
    }
    judged
}

/// What the verifier counts as processed: a load of a 64-bit immediate is one.
fn processed(insns: &[Insn]) -> usize {
    let wide = insns.iter().filter(|insn| insn.is_ld_imm64()).count();
    insns.len() - wide
}

/// The call that the verifier stopped at, from its count of instructions processed (since v5.2). None if it stopped
/// elsewhere, such as in what prepares a call.
fn stopped_at(log: &str, before: usize, calls: &[Vec<Insn>]) -> Option<usize> {
    let (_, after) = log.rsplit_once("processed ")?;
    let count: usize = after.split_whitespace().next()?.parse().ok()?;
    let mut end = before;
    calls.iter().position(|call| {
        end += processed(call);
        count == end
    })
}

/// Complaints about a call that come after the helper was found to be offered: kernel/bpf/verifier.c,
/// `check_helper_call()` and what checks arguments, v4.9 to v6.18.
const ABOUT_ARGUMENTS: [&str; 12] = [
    "cannot pass map_type",
    "invalid map_ptr to access map->",
    "invalid indirect",
    "invalid access to",
    "invalid read from stack",
    "invalid write to stack",
    "invalid stack type",
    "invalid mem access",
    "helper access to the packet",
    "Expected ",
    "arg#",
    "callback",
];

fn judge(errno: Errno, log: &str, helper: HelperId) -> Judgement {
    let line = first_line(log);
    let says_no = ["program of this type cannot use helper", "unknown func", "invalid func"];
    if says_no.iter().any(|text| line.contains(text)) && names(line, helper) {
        return Judgement::No(line.to_owned());
    }
    // `func bpf_get_func_ip#173 supported only for fentry/fexit/fmod_ret programs`, ENOTSUPP since v5.15.
    if line.starts_with("func ") && line.contains("support") && names(line, helper) {
        return Judgement::No(line.to_owned());
    }
    if line.contains("might sleep") || line.contains("may sleep") {
        return Judgement::YesIf("only in sleepable programs".to_owned());
    }
    if line.contains("helper call is not allowed in probe") {
        return Judgement::YesIf("not at every attach point of this type".to_owned());
    }
    let about_register = line.starts_with('R') && line[1..].starts_with(|digit: char| digit.is_ascii_digit());
    if about_register || ABOUT_ARGUMENTS.iter().any(|text| line.contains(text)) {
        return Judgement::Yes;
    }
    let fact = probed(Support::Unknown, PROG_LOAD).errno(errno_name(errno));
    Judgement::Unclear(fact.reason(format!("the verifier's answer is not understood: {line}")))
}

/// Whether the line is about the helper: it ends in its number (`bpf_bind#64`, and `unknown func 64` before v4.10), or
/// goes on behind it.
fn names(line: &str, helper: HelperId) -> bool {
    line.split([' ', '#']).any(|word| word.parse() == Ok(helper.0))
}

fn silent(node: &Node<'_>, seat: Seat, errno: Errno) -> Judgement {
    Judgement::Unclear(node.no_answer(errno, needs(seat.prog_type), PROG_LOAD).unwrap_or_else(|| {
        probed(Support::Unknown, PROG_LOAD)
            .errno(errno_name(errno))
            .reason("refused without a word from the verifier")
    }))
}

/// Why a helper is not asked about, or what is known without asking.
fn without_asking(node: &Node<'_>, prog_type: ProgType, helper: HelperId) -> Option<Fact> {
    if let Some(fact) = beyond(helper.0, node.bounds.helper, "bpf_func_id") {
        return Some(fact);
    }
    if let (Some(wanted), Some(context)) = (helper.required_context(), prog_type.context())
        && wanted != context
    {
        let reason = format!("it takes a context of {wanted}; programs of this type have {context}");
        return Some(Fact::new(Support::No, Evidence::Derived, "UAPI signature").reason(reason));
    }
    let locked = |level| {
        Fact::new(Support::DeniedWorkload, Evidence::Derived, "security.lockdown")
            .reason(format!("lockdown={level} refuses it to every program"))
    };
    let quiet = |what| {
        Fact::new(Support::Unknown, Evidence::Probed, PROG_LOAD)
            .reason(format!("not asked: the question alone {what}; --noisy asks"))
    };
    let lockdown = node.lockdown();
    let level = lockdown.filter(|level| *level != "none");
    if helper == PROBE_WRITE_USER && traces(prog_type) {
        return match level {
            Some(level) => Some(locked(level)),
            None if node.noisy => None,
            None => Some(quiet("makes the kernel warn in its log")),
        };
    }
    if PROBE_READ.contains(&helper) && lockdown == Some("confidentiality") {
        return traces(prog_type).then(|| locked("confidentiality"));
    }
    if [TRACE_PRINTK, TRACE_VPRINTK].contains(&helper) && !node.noisy {
        return Some(quiet("turns on a trace event, and the kernel may write to its log"));
    }
    None
}

/// Program types that have the tracing helpers (`bpf_tracing_func_proto()`, kernel/trace/bpf_trace.c).
fn traces(prog_type: ProgType) -> bool {
    matches!(
        prog_type,
        ProgType::KPROBE
            | ProgType::TRACEPOINT
            | ProgType::PERF_EVENT
            | ProgType::RAW_TRACEPOINT
            | ProgType::RAW_TRACEPOINT_WRITABLE
            | ProgType::TRACING
            | ProgType::LSM
            | ProgType::SYSCALL
    )
}

/// Seats at which helpers are asked about: one, but all where what is offered depends on the attach type.
fn asked_at(prog_type: ProgType, seats: &[(Seat, Support)]) -> Vec<Seat> {
    let loads = seats.iter().filter(|(_, support)| *support == Support::Yes).map(|(seat, _)| *seat);
    match prog_type {
        ProgType::TRACING | ProgType::LSM | ProgType::CGROUP_SOCKOPT => loads.collect(),
        // connect has every helper of the others, and bind() besides.
        ProgType::CGROUP_SOCK_ADDR => {
            let mut all: Vec<Seat> = loads.collect();
            all.sort_by_key(|seat| seat.attach != Some(AttachType::CGROUP_INET4_CONNECT));
            all.truncate(1);
            all
        }
        _ => loads.take(1).collect(),
    }
}

/// Facts `bpf.helper.<type>.<helper>`; one fact `bpf.helper.<type>` where no program of the type could be loaded.
pub(crate) fn facts(node: &mut Node<'_>, seats: &Seats, out: &mut Out<'_>) {
    let kit = Kit::new(node);
    let mut missing: BTreeMap<ProgType, BTreeSet<HelperId>> = BTreeMap::new();
    let mut unlikely = BTreeSet::new();
    for (prog_type, of_type) in seats {
        let at = asked_at(*prog_type, of_type);
        if at.is_empty() {
            tell(out, format!("bpf.helper.{prog_type}"), none_loads(of_type));
            continue;
        }
        let twin = TWINS.iter().find(|(ty, _)| ty == prog_type);
        let missing_in_twin = twin.and_then(|(_, twin)| missing.get(twin)).cloned();
        let mut asked = Vec::new();
        for helper in HelperId::all() {
            let fact = without_asking(node, *prog_type, helper).or_else(|| {
                missing_in_twin.as_ref().is_some_and(|missing| missing.contains(&helper)).then(|| {
                    Fact::new(Support::No, Evidence::Derived, PROG_LOAD)
                        .reason("not offered to sched_cls, whose verifier operations are the same")
                })
            });
            match fact {
                Some(fact) => tell(out, helper_fact(*prog_type, helper), fact),
                None => asked.push(helper),
            }
        }
        let closed: Vec<&(Seat, Support)> = of_type
            .iter()
            .filter(|(_, support)| at.len() > 1 && !matches!(support, Support::Yes | Support::No))
            .collect();
        for (index, seat) in at.iter().enumerate() {
            let last = index + 1 == at.len();
            let mut left = Vec::new();
            for (helper, judgement) in ask(node, &kit, *seat, &asked, &unlikely) {
                if matches!(judgement, Judgement::No(_)) {
                    unlikely.insert(helper);
                } else {
                    unlikely.remove(&helper);
                }
                let fact = match judgement {
                    Judgement::No(_) if !last => {
                        left.push(helper);
                        continue;
                    }
                    Judgement::No(line) => {
                        missing.entry(*prog_type).or_default().insert(helper);
                        not_offered(line, &closed)
                    }
                    Judgement::Yes if index == 0 => probed(Support::Yes, PROG_LOAD),
                    Judgement::Yes => probed(Support::Yes, PROG_LOAD).reason(format!("as {}", seat.label())),
                    Judgement::YesIf(condition) => probed(Support::Yes, PROG_LOAD).reason(condition),
                    Judgement::Unclear(fact) => fact,
                };
                tell(out, helper_fact(*prog_type, helper), fact);
            }
            asked = left;
        }
    }
}

/// No seat that loads offers it; whether one that could not be loaded does is not known.
fn not_offered(line: String, closed: &[&(Seat, Support)]) -> Fact {
    match closed.first() {
        None => probed(Support::No, PROG_LOAD).errno("EINVAL").reason(line),
        Some((seat, support)) => probed(*support, PROG_LOAD)
            .reason(format!("not offered where such a program loads; {} could not be asked", seat.label())),
    }
}

/// One fact for all helpers of a type that does not load.
fn none_loads(seats: &[(Seat, Support)]) -> Fact {
    let supports = || seats.iter().map(|(_, support)| *support);
    let support = if supports().all(|support| support == Support::No) && !seats.is_empty() {
        Support::No
    } else {
        supports().find(|support| *support != Support::No).unwrap_or(Support::Unknown)
    };
    probed(support, PROG_LOAD)
        .reason("no program of this type could be loaded to ask; stands for all its helpers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_count_tells_the_call() {
        let calls =
            vec![vec![asm::call(5)], [&asm::map(1, 3)[..], &[asm::call(1)]].concat(), vec![asm::call(8)]];
        let log =
            |count| format!("R2 !read_ok\nprocessed {count} insns (limit 1000000) max_states_per_insn 0");
        assert_eq!(stopped_at(&log(10), 9, &calls), Some(0));
        assert_eq!(stopped_at(&log(12), 9, &calls), Some(1), "a wide load counts once");
        assert_eq!(stopped_at(&log(13), 9, &calls), Some(2));
        assert_eq!(stopped_at(&log(11), 9, &calls), None, "not a call");
        assert_eq!(stopped_at("R2 !read_ok", 9, &calls), None);
    }

    #[test]
    fn messages_of_the_verifier() {
        let judge = |log| super::judge(Errno::INVAL, log, HelperId(64));
        assert!(matches!(judge("program of this type cannot use helper bpf_bind#64\n"), Judgement::No(_)));
        assert!(matches!(judge("unknown func bpf_bind#64\n"), Judgement::No(_)));
        assert!(matches!(judge("unknown func 64\n"), Judgement::No(_)));
        assert!(matches!(judge("invalid func unknown#64\n"), Judgement::No(_)));
        assert!(matches!(judge("func bpf_x#64 not supported for program type 7\n"), Judgement::No(_)));
        assert_eq!(judge("R1 type=ctx expected=map_ptr\n"), Judgement::Yes);
        assert_eq!(judge("cannot pass map_type 2 into func bpf_map_push_elem#64\n"), Judgement::Yes);
        let sleeps = judge("helper call might sleep in a non-sleepable prog\n");
        assert!(matches!(sleeps, Judgement::YesIf(condition) if condition.contains("sleepable")));
        for strange in ["Register of doom\n", "unknown func bpf_loop#181\n", ""] {
            assert!(
                matches!(judge(strange), Judgement::Unclear(fact) if fact.support == Support::Unknown),
                "{strange}"
            );
        }
    }
}
