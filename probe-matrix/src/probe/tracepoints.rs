//! Whether tracepoints that programs attach to exist in the running kernel, and how long their records are.
//!
//! The kernel lists them in tracefs, one directory each. A program that reads past the end of the record is refused when
//! it is attached (EACCES, `perf_event_set_bpf_prog()` of kernel/events/core.c), so that the length belongs to the answer.

use super::Out;
use super::pseudo::{PseudoFs, TRACEFS};
use super::root::{HostRoot, Unread, unread_fact};
use super::security::not_open_fact;
use crate::facts::{Evidence, Fact, Support};
use rustix::io::Errno;
use serde_json::json;

/// Most tracepoints that are looked for.
const TRACEPOINTS_MAX: usize = 4096;
/// Most bytes of a tracepoint's format. The longest of v6.18 have some 20 kB, most of it the text of `print fmt`.
const FORMAT_BYTE_SZ_MAX: usize = 1 << 20;

/// Facts named `tracepoint.<group>.<name>`, for these tracepoints (`group/name`).
pub(crate) fn facts(root: &HostRoot, tracepoints: &[String], out: &mut Out<'_>) {
    let named = |tracepoint: &'_ String| {
        let (group, name) = tracepoint.split_once('/')?;
        (is_name(group) && is_name(name)).then(|| (group.to_owned(), name.to_owned()))
    };
    let wanted: Vec<(String, String)> = tracepoints.iter().filter_map(named).take(TRACEPOINTS_MAX).collect();
    if wanted.is_empty() {
        return;
    }
    let tracefs = PseudoFs::open(root, TRACEFS);
    for (group, name) in wanted {
        let fact = match &tracefs {
            Ok(tracefs) => fact(root, tracefs, &group, &name),
            Err(why) => not_open_fact(root.caps(), TRACEFS.name, why),
        };
        out(format!("tracepoint.{group}.{name}"), fact);
    }
}

fn fact(root: &HostRoot, tracefs: &PseudoFs, group: &str, name: &str) -> Fact {
    let path = format!("events/{group}/{name}/id");
    let fact = |support| Fact::new(support, Evidence::Probed, tracefs.shown(&path));
    match tracefs.read(&path, 64) {
        Ok(id) => {
            let id = std::str::from_utf8(&id).ok().and_then(|text| text.trim().parse::<u32>().ok());
            let Some(id) = id else {
                return fact(Support::Unknown).reason("its id is not a number");
            };
            let format = tracefs.read(&format!("events/{group}/{name}/format"), FORMAT_BYTE_SZ_MAX);
            let byte_sz = format.ok().and_then(|text| record_byte_sz(&String::from_utf8_lossy(&text)));
            fact(Support::Yes).value(json!({ "id": id, "byte_sz": byte_sz }))
        }
        // A no only beside a list that can be read: where lockdown keeps tracefs empty, all of it is missing.
        Err(Unread::Errno(Errno::NOENT)) => match tracefs.names("events") {
            Ok(names) if !names.is_empty() => fact(Support::No).errno("ENOENT").reason(
                "the kernel has no such tracepoint: renamed, left out of the build, or in a module that is not loaded",
            ),
            Ok(_) => fact(Support::Unknown).errno("ENOENT").reason("tracefs lists no events at all"),
            Err(errno) => unread_fact(root.caps(), tracefs.shown("events"), &Unread::Errno(errno)),
        },
        Err(why) => unread_fact(root.caps(), tracefs.shown(&path), &why),
    }
}

/// Where the record of a tracepoint ends: `offset` and `size` of the last `field:` in its format, as
/// `trace_event_get_offsets()` adds them up (kernel/trace/trace_events.c). None if that line is not understood.
fn record_byte_sz(format: &str) -> Option<u32> {
    let last = format.lines().map(str::trim_start).rfind(|line| line.starts_with("field:"))?;
    let number =
        |key| -> Option<u32> { last.split(';').find_map(|part| part.trim().strip_prefix(key))?.parse().ok() };
    number("offset:")?.checked_add(number("size:")?)
}

/// Whether it can be the name of a group or an event: an identifier in C, and so never a path.
fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::pseudo::NotOpen;
    use super::*;
    use crate::Facts;

    fn collect(root: &HostRoot, tracepoints: &[&str]) -> Facts {
        let tracepoints: Vec<String> = tracepoints.iter().map(|&name| name.to_owned()).collect();
        let mut facts = Facts::default();
        super::facts(root, &tracepoints, &mut |name, fact| facts.insert(name, fact));
        facts
    }

    #[test]
    fn a_record_ends_where_its_last_field_does() {
        let format = "name: sched_switch\nID: 372\nformat:\n\
                      \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
                      \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
                      \tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;\n\n\
                      print fmt: \"field:x;\toffset:900;\tsize:9;\", REC->prev_comm\n";
        assert_eq!(record_byte_sz(format), Some(64));
        assert_eq!(record_byte_sz("field:int x;\toffset:4294967295;\tsize:4;"), None);
        assert_eq!(record_byte_sz("field:int x;\toffset:8;"), None);
        assert_eq!(record_byte_sz(""), None);
    }

    #[test]
    fn root_the_running_kernels_tracepoints() {
        assert!(rustix::process::geteuid().is_root(), "needs CAP_SYS_ADMIN: run the tests as root");
        let names = ["sched/sched_switch", "sched/portolan_none", "portolan_none/sched_switch"];
        let facts = collect(&HostRoot::local(), &names);
        let switch = facts.get("tracepoint.sched.sched_switch").unwrap();
        assert_eq!(switch.support, Support::Yes, "{switch:?}");
        let value = switch.value.as_ref().unwrap();
        // Two commands of 16 bytes, and more, follow the 8 bytes that all records begin with.
        assert!(value["id"].as_u64() > Some(0) && value["byte_sz"].as_u64() > Some(40), "{value}");
        assert_eq!(facts.support("tracepoint.sched.portolan_none"), Support::No);
        assert_eq!(facts.support("tracepoint.portolan_none.sched_switch"), Support::No);
    }

    #[test]
    fn what_is_no_name_is_not_looked_for() {
        let long = format!("sched/{}", "x".repeat(129));
        let hostile =
            ["", "/", "sched", "sched/", "../sched/x", "sched/../x", "a/b/c", "a/b.c", "a/\u{1b}[m", &long];
        assert!(collect(&HostRoot::local(), &hostile).is_empty());
    }

    #[test]
    fn without_tracefs_nothing_is_a_no() {
        // A directory in tracefs' usual place that is none; the running kernel's is opened in its stead, or nothing is.
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sys/kernel/tracing/events/sched/made_up")).unwrap();
        std::fs::write(dir.path().join("sys/kernel/tracing/events/sched/made_up/id"), "1").unwrap();
        let facts = collect(&HostRoot::at(dir.path()).unwrap(), &["sched/made_up"]);
        assert_ne!(facts.support("tracepoint.sched.made_up"), Support::Yes);
        let why = NotOpen::Errno(Errno::PERM);
        assert_ne!(not_open_fact(HostRoot::local().caps(), TRACEFS.name, &why).support, Support::No);
    }
}
