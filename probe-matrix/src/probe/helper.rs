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
use super::recipe::{Kit, PROLOGUE};
use crate::facts::{Evidence, Fact, Support};
use crate::sys::{Errno, errno_name};
use btf_catalog::insn::Insn;
use btf_catalog::{AttachType, HelperId, ProgType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Most calls in one program: each costs some 0.5 us to check, again whenever a call before it is refused.
const CALLS_A_PROGRAM: usize = 24;

const TRACE_PRINTK: HelperId = HelperId(6);
const PROBE_WRITE_USER: HelperId = HelperId(36);
const TRACE_VPRINTK: HelperId = HelperId(177);
/// Helpers that read kernel memory: probe_read, probe_read_str, probe_read_kernel, probe_read_kernel_str.
const PROBE_READ: [HelperId; 4] = [HelperId(4), HelperId(45), HelperId(113), HelperId(115)];

/// A program type whose `get_func_proto()` is another's, but for some helpers that it looks at first: what that one is
/// not offered, neither is this one, ever since it exists (net/core/filter.c, kernel/trace/bpf_trace.c).
struct Twin {
    prog_type: ProgType,
    of: ProgType,
    but_for: &'static [&'static str],
}

/// What the tracing types look at before they come to `bpf_tracing_func_proto()`.
const TRACING_OWN: &[&str] = &[
    "perf_event_output",
    "get_stackid",
    "get_stack",
    "override_return",
    "perf_prog_read_value",
    "read_branch_records",
    "get_func_ip",
    "get_attach_cookie",
    "skb_output",
    "xdp_output",
];

/// What `tracing_prog_func_proto()` looks at before it comes to that of raw tracepoints, and iterators after it.
const BTF_TRACING_OWN: &[&str] = &[
    "perf_event_output",
    "get_stackid",
    "get_stack",
    "setsockopt",
    "getsockopt",
    "sk_storage_get",
    "sk_storage_delete",
    "skb_output",
    "xdp_output",
    "seq_printf",
    "seq_write",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "skc_to_unix_sock",
    "skc_to_mptcp_sock",
    "d_path",
    "seq_printf_btf",
    "sock_from_file",
    "get_socket_cookie",
    "get_func_ip",
    "get_attach_cookie",
    "get_func_arg",
    "get_func_ret",
    "get_func_arg_cnt",
    "xdp_get_buff_len",
];

const TWINS: [Twin; 8] = [
    Twin { prog_type: ProgType::SCHED_ACT, of: ProgType::SCHED_CLS, but_for: &[] },
    Twin { prog_type: ProgType::RAW_TRACEPOINT_WRITABLE, of: ProgType::RAW_TRACEPOINT, but_for: &[] },
    Twin { prog_type: ProgType::TRACEPOINT, of: ProgType::KPROBE, but_for: TRACING_OWN },
    Twin { prog_type: ProgType::RAW_TRACEPOINT, of: ProgType::KPROBE, but_for: TRACING_OWN },
    Twin { prog_type: ProgType::PERF_EVENT, of: ProgType::KPROBE, but_for: TRACING_OWN },
    Twin { prog_type: ProgType::TRACING, of: ProgType::RAW_TRACEPOINT, but_for: BTF_TRACING_OWN },
    Twin { prog_type: ProgType::LWT_IN, of: ProgType::LWT_OUT, but_for: &["lwt_push_encap"] },
    Twin {
        prog_type: ProgType::LWT_SEG6LOCAL,
        of: ProgType::LWT_OUT,
        but_for: &["lwt_seg6_store_bytes", "lwt_seg6_action", "lwt_seg6_adjust_srh"],
    },
];

/// The table `data/helper_families.tsv`: the helper that is asked, by each that shares its answer.
static LEADERS: LazyLock<BTreeMap<HelperId, HelperId>> = LazyLock::new(|| {
    let helper = |name| HelperId::from_name(name).expect("data/helper_families.tsv names helpers");
    include_str!("../../data/helper_families.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| {
            let mut names = line.split('\t').map(helper);
            let leader = names.next();
            names.filter_map(move |member| Some((member, leader?)))
        })
        .collect()
});

/// Program types in the order in which they are asked: alike ones in a row, since what was missing in one is likely to
/// be in the next. Others follow.
const ORDER: [ProgType; 30] = [
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::RAW_TRACEPOINT,
    ProgType::RAW_TRACEPOINT_WRITABLE,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::SYSCALL,
    ProgType::STRUCT_OPS,
    ProgType::NETFILTER,
    ProgType::FLOW_DISSECTOR,
    ProgType::SOCKET_FILTER,
    ProgType::LWT_OUT,
    ProgType::LWT_IN,
    ProgType::LWT_SEG6LOCAL,
    ProgType::LWT_XMIT,
    ProgType::SCHED_CLS,
    ProgType::SCHED_ACT,
    ProgType::XDP,
    ProgType::SK_SKB,
    ProgType::CGROUP_SKB,
    ProgType::SK_REUSEPORT,
    ProgType::SK_LOOKUP,
    ProgType::SK_MSG,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SOCKOPT,
    ProgType::CGROUP_SOCK,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_DEVICE,
];

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
    let (likely, mut alone): (Vec<HelperId>, Vec<HelperId>) =
        helpers.iter().partition(|helper| !unlikely.contains(helper));
    let mut judged = Vec::with_capacity(helpers.len());
    for program in programs(kit, &likely) {
        let mut rest = &program[..];
        while let [first, others @ ..] = rest {
            if others.is_empty() && !kit.has_recipe(*first) {
                alone.push(*first);
                break;
            }
            let calls: Vec<Vec<Insn>> = rest.iter().map(|helper| kit.call(*helper)).collect();
            let insns = [&PROLOGUE[..], &calls.concat()].concat();
            let answer = node.load(&seat.load(&asm::refused_after(&insns)));
            let (taken, refused) = match answer {
                Answer::Taken => (rest.len(), None),
                Answer::Silent(_) => (0, None),
                Answer::Refused(errno, log) => match stopped_at(&log, PROLOGUE.len(), &calls) {
                    Some(at) => (at, Some(judge(errno, &log, rest[at]))),
                    None => (0, None),
                },
            };
            let (yes, from) = rest.split_at(taken);
            judged.extend(yes.iter().map(|helper| (*helper, Judgement::Yes)));
            rest = match (from, refused) {
                ([], _) => &[],
                ([helper, behind @ ..], Some(Judgement::Unclear(_))) => {
                    alone.push(*helper);
                    behind
                }
                ([helper, behind @ ..], Some(judgement)) => {
                    judged.push((*helper, judgement));
                    behind
                }
                // Not one call is at fault, but the program: it may not use such a map, or the kernel does not count.
                (_, None) => {
                    alone.extend(from);
                    &[]
                }
            };
        }
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

/// Puts helpers together into programs. One without a recipe ends its program, since its arguments will be refused; so
/// the others are spread over as many programs as there are such.
fn programs(kit: &Kit, helpers: &[HelperId]) -> Vec<Vec<HelperId>> {
    let (with, without): (Vec<HelperId>, Vec<HelperId>) =
        helpers.iter().partition(|helper| kit.has_recipe(**helper));
    let calls = with.len().div_ceil(without.len().max(1)).clamp(1, CALLS_A_PROGRAM);
    let mut programs: Vec<Vec<HelperId>> = with.chunks(calls).map(<[HelperId]>::to_vec).collect();
    programs.resize_with(programs.len().max(without.len()), Vec::new);
    for (program, last) in programs.iter_mut().zip(without) {
        program.push(last);
    }
    programs
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
        ProgType::LSM | ProgType::CGROUP_SOCKOPT => loads.collect(),
        // The kernel looks up a tracepoint in its BTF from the start at every load; an iterator comes cheaper.
        ProgType::TRACING => {
            let mut all: Vec<Seat> = loads.collect();
            all.sort_by_key(|seat| seat.attach != Some(AttachType::TRACE_ITER));
            all
        }
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
    let mut in_order: Vec<(&ProgType, &Vec<(Seat, Support)>)> = seats.iter().collect();
    in_order.sort_by_key(|(prog_type, _)| {
        ORDER.iter().position(|ordered| ordered == *prog_type).unwrap_or(ORDER.len())
    });
    for (prog_type, of_type) in in_order {
        let at = asked_at(*prog_type, of_type);
        if at.is_empty() {
            tell(out, format!("bpf.helper.{prog_type}"), none_loads(of_type));
            continue;
        }
        let twin = TWINS.iter().find(|twin| twin.prog_type == *prog_type);
        let mut asked = Vec::new();
        for helper in HelperId::all() {
            let known = without_asking(node, *prog_type, helper);
            let missing_in_twin = twin.filter(|twin| {
                let own = helper.name().is_some_and(|name| twin.but_for.contains(&name));
                !own && missing.get(&twin.of).is_some_and(|missing| missing.contains(&helper))
            });
            if let Some(fact) = known {
                tell(out, helper_fact(*prog_type, helper), fact);
            } else if let Some(twin) = missing_in_twin {
                missing.entry(*prog_type).or_default().insert(helper);
                let fact = Fact::new(Support::No, Evidence::Assumed, PROG_LOAD);
                let reason = format!("not offered to {}, whose rules apply", twin.of);
                tell(out, helper_fact(*prog_type, helper), fact.reason(reason));
            } else {
                asked.push(helper);
            }
        }
        // Only an enumeration tells that the kernel has both.
        let led = |helper: &HelperId| {
            let leader = LEADERS.get(helper).filter(|_| node.bounds.helper.is_some());
            leader.is_some_and(|leader| asked.contains(leader))
        };
        let members: Vec<HelperId> = asked.iter().copied().filter(led).collect();
        asked.retain(|helper| !members.contains(helper));
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
                        let members = members.iter().filter(|member| LEADERS.get(member) == Some(&helper));
                        missing.entry(*prog_type).or_default().extend(members.chain([&helper]));
                        not_offered(line, &closed)
                    }
                    Judgement::Yes if index == 0 => probed(Support::Yes, PROG_LOAD),
                    Judgement::Yes => probed(Support::Yes, PROG_LOAD).reason(format!("as {}", seat.label())),
                    Judgement::YesIf(condition) => probed(Support::Yes, PROG_LOAD).reason(condition),
                    Judgement::Unclear(fact) => fact,
                };
                for member in members.iter().filter(|member| LEADERS.get(member) == Some(&helper)) {
                    tell(out, helper_fact(*prog_type, *member), shared(helper, &fact));
                }
                tell(out, helper_fact(*prog_type, helper), fact);
            }
            asked = left;
        }
    }
}

/// The fact of a member of a family, from that of the helper that was asked.
fn shared(leader: HelperId, fact: &Fact) -> Fact {
    let reason = match &fact.reason {
        Some(reason) => format!("as {leader}, which it came with: {reason}"),
        None => format!("as {leader}, which it came with"),
    };
    Fact { evidence: Evidence::Assumed, reason: Some(reason), ..fact.clone() }
}

/// No seat that loads offers it; whether one that could not be loaded does is not known.
fn not_offered(line: String, closed: &[&(Seat, Support)]) -> Fact {
    match closed.first() {
        None if line.contains("of this type cannot") || line.contains("unknown func") => {
            probed(Support::No, PROG_LOAD).errno("EINVAL")
        }
        None => probed(Support::No, PROG_LOAD).reason(line),
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
    use btf_catalog::insn::LD_IMM64;

    #[test]
    fn the_verifiers_count_tells_the_call() {
        let calls = vec![
            vec![asm::call(5)],
            vec![asm::op(LD_IMM64, 1, 1, 0, 3), Insn::default(), asm::call(1)],
            vec![asm::call(8)],
        ];
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
