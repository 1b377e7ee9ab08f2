//! Whether what loads can also be attached: facts by kind of program (`data/attach.tsv`), and whether the target that an
//! object names is there.
//!
//! What an object leaves to its loader (an interface, a cgroup) is the user's choice and no question here; a function or
//! a file that is only named later is one, and stays undecided.

use super::{Checks, InTypes, against};
use crate::facts::{Evidence, Fact, Support};
use crate::verdict::{Stage, count};
use btf_catalog::BtfKind;
use btf_catalog::require::{EntryRequirements, Requirements};
use serde_json::Value;
use std::sync::LazyLock;

/// One row of `data/attach.tsv`.
struct Row {
    prefix: &'static str,
    target: &'static str,
    facts: Vec<&'static str>,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    include_str!("../../data/attach.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().expect("attach.tsv has three columns");
            let (prefix, target, facts) = (next(), next(), next());
            Row { prefix, target, facts: facts.split(',').filter(|fact| *fact != "-").collect() }
        })
        .collect()
});

fn row(entry: &EntryRequirements) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.prefix == entry.attach_by)
}

fn targets<'a>(requirements: &'a Requirements, kinds: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let entries = requirements.entries.iter().filter(|entry| entry.autoload);
    let named = entries.filter(|entry| row(entry).is_some_and(|row| kinds.contains(&row.target)));
    named.filter_map(|entry| entry.target.clone())
}

/// The functions that an object attaches to by name: what a probe should look for among the symbols.
pub fn traced_functions(requirements: &Requirements) -> Vec<String> {
    let named = targets(requirements, &["symbol", "ftrace", "btf_func"]);
    named
        .map(|target| split_offset(&target).map_or(target.clone(), |(function, _)| function.to_owned()))
        .collect()
}

/// `FUNCTION+OFFSET`, a place in a function that a kprobe is put at, as libbpf reads it (`attach_kprobe()`).
fn split_offset(target: &str) -> Option<(&str, i64)> {
    let (function, offset) = target.split_once('+')?;
    let hex = offset.strip_prefix("0x").or_else(|| offset.strip_prefix("0X"));
    let octal = offset.strip_prefix('0').filter(|rest| !rest.is_empty());
    let offset = match (hex, octal) {
        (Some(hex), _) => i64::from_str_radix(hex, 16),
        (None, Some(octal)) => i64::from_str_radix(octal, 8),
        (None, None) => offset.parse(),
    };
    Some((function, offset.ok()?))
}

/// The events that an object attaches to, as `group/name`: what a probe should look for in tracefs.
pub fn tracepoints(requirements: &Requirements) -> Vec<String> {
    targets(requirements, &["tracefs"]).collect()
}

impl Checks<'_> {
    /// Everything that is needed to attach an entry.
    pub(super) fn attach(&mut self, entry: &EntryRequirements) {
        let Some(row) = row(entry) else {
            let why = "no fact tells whether such a program can be attached";
            self.open(format!("attaching {} programs", entry.attach_by), why);
            return;
        };
        for fact in &row.facts {
            let (code, requirement) = match *fact {
                "security.lsm.bpf" => ("PTL0212", "bpf among the active security modules".to_owned()),
                "mounts.cgroup_v2" => ("PTL0203", "a mount of cgroup v2".to_owned()),
                "mounts.tracefs" => {
                    ("PTL0203", "a mount of tracefs, where loaders look events up".to_owned())
                }
                _ => ("PTL0203", format!("attaching {} programs", entry.attach_by)),
            };
            // debugfs mounts tracefs below itself when somebody looks there.
            let debugfs = || self.ground.fact("mounts.debugfs").map(|fact| fact.support);
            let by_debugfs = *fact == "mounts.tracefs" && debugfs() == Some(Support::Yes);
            let fact = if by_debugfs { "mounts.debugfs" } else { fact };
            self.ask(Stage::Attach, code, requirement, fact, false);
        }
        if let Some(target) = &entry.target {
            self.target(row.target, target, entry);
        } else if !matches!(row.target, "-" | "btf_func" | "btf_lsm" | "btf_iter" | "btf_tracepoint") {
            self.open(format!("a target for {}", entry.name), "its loader chooses what it attaches to");
        }
    }

    fn target(&mut self, kind: &str, target: &str, entry: &EntryRequirements) {
        match kind {
            "btf_func" => {
                self.in_btf(format!("function {target}"), target, BtfKind::Func);
                self.symbol(target, true);
            }
            "btf_tracepoint" => {
                self.in_btf(format!("tracepoint {target}"), &format!("btf_trace_{target}"), BtfKind::Typedef);
            }
            "btf_lsm" => {
                self.in_btf(format!("LSM hook {target}"), &format!("bpf_lsm_{target}"), BtfKind::Func);
            }
            "btf_iter" => {
                self.in_btf(format!("iterator {target}"), &format!("bpf_iter_{target}"), BtfKind::Func);
            }
            "btf_iter_sleepable" => {
                self.in_btf(format!("iterator {target}"), &format!("bpf_iter_{target}"), BtfKind::Func);
                self.open(
                    format!("sleeping in iterator {target}"),
                    "not every iterator lets its programs sleep",
                );
            }
            "raw_tracepoint" => self.raw_tracepoint(target, entry),
            "raw_tracepoint_writable" => {
                self.open(
                    format!("writing to tracepoint {target}"),
                    "no fact tells how much of it may be written",
                );
            }
            "tracefs" => self.event(target, entry),
            "symbol" => match split_offset(target) {
                Some((_, offset)) if offset != 0 && entry.attach_by.starts_with("kretprobe") => {
                    let fact = Fact::new(Support::No, Evidence::Derived, "the section's name")
                        .reason("a function returns from no place in it");
                    let requirement = format!("tracing of {target}");
                    self.push(against(Stage::Attach, "PTL0204", requirement, "object", Some(&fact), false));
                }
                Some((function, offset)) => {
                    self.symbol(function, false);
                    if offset != 0 {
                        let why = "whether an instruction begins there is not looked at";
                        self.open(format!("a probe at {target}"), why);
                    }
                }
                None => self.symbol(target, false),
            },
            "ftrace" if target.contains(['*', '?']) => {
                self.open(format!("functions like {target}"), "patterns are not looked up");
            }
            "ftrace" => self.symbol(target, true),
            "user" => self.open(format!("target {target}"), "files and system calls are not looked up"),
            _ => {}
        }
    }

    /// A need to attach that nothing here decides.
    fn open(&mut self, requirement: String, why: &str) {
        let fact = Fact::new(Support::Unknown, Evidence::Assumed, "the object").reason(why);
        self.push(against(Stage::Attach, "PTL0602", requirement, "object", Some(&fact), false));
    }

    /// Whether the kernel's types have a target that is looked up in them when the program is loaded.
    fn in_btf(&mut self, requirement: String, name: &str, kind: BtfKind) {
        let fact = |support| Fact::new(support, Evidence::Derived, "the kernel's BTF");
        let missing = || format!("no {} {name} in the BTF of the kernel and of its modules", kind.name());
        let mut code = "PTL0204";
        let fact = match self.ground.in_types(name, kind) {
            InTypes::NoTypes => fact(Support::Unknown).reason("the kernel's BTF could not be read"),
            InTypes::Found => fact(Support::Yes),
            InTypes::Unread(what) => {
                fact(Support::Unknown).reason(format!("{}, but {what} could not be read", missing()))
            }
            InTypes::Module(module) => {
                code = "PTL0604";
                fact(Support::Unknown).reason(format!("in module {module}, if it is loaded"))
            }
            InTypes::ModulesUnknown => {
                fact(Support::Unknown).reason("not in vmlinux; not all modules of the kernel are known")
            }
            InTypes::Nowhere => fact(Support::No).reason(missing()),
        };
        let mut check = against(Stage::Load, code, requirement, "btf.vmlinux", Some(&fact), false);
        if code == "PTL0604" {
            code.clone_into(&mut check.code);
        }
        self.push(check);
    }

    /// A raw tracepoint: in BTF by its name alone, and with as many arguments as are read. That it is not in BTF does not
    /// mean that it is not there: a module without BTF may have it.
    ///
    /// Attaching compares what the program reads with the number of arguments (`bpf_probe_register()`,
    /// kernel/trace/bpf_trace.c); loading does not.
    fn raw_tracepoint(&mut self, target: &str, entry: &EntryRequirements) {
        let fact = |support| Fact::new(support, Evidence::Derived, "/sys/kernel/btf");
        let found = self.ground.tracepoint_arguments(target);
        let fact = match found {
            _ if target.contains('/') => {
                fact(Support::No).reason("a raw tracepoint is named without its group")
            }
            None => {
                fact(Support::Unknown).reason("not in the kernel's BTF; a module without BTF may have it")
            }
            Some(arguments) if entry.context.end_byte > arguments * 8 => {
                fact(Support::Unknown).reason(format!(
                    "byte {} is read, and it has {}",
                    entry.context.end_byte,
                    count(arguments, "argument")
                ))
            }
            Some(_) if entry.context.more => fact(Support::Unknown)
                .reason("the context goes where it was not followed; more may be read than it has"),
            Some(_) => fact(Support::Yes),
        };
        self.push(against(
            Stage::Attach,
            "PTL0204",
            format!("tracepoint {target}"),
            "btf.vmlinux",
            Some(&fact),
            false,
        ));
    }

    /// An event of tracefs, `group/name`, that has all the bytes that are read: attaching compares them
    /// (`perf_event_set_bpf_prog()`, kernel/events/core.c), loading does not.
    fn event(&mut self, target: &str, entry: &EntryRequirements) {
        let requirement = format!("event {target}");
        let name = format!("tracepoint.{}", target.replace('/', "."));
        let fact = match self.ground.fact(&name) {
            _ if target.split('/').count() != 2 => {
                Fact::new(Support::No, Evidence::Derived, "the section's name")
                    .reason("an event is named by its group and its name")
            }
            // Records of ftrace's own have a format and no tracepoint behind it (TRACE_EVENT_FL_IGNORE_ENABLE).
            _ if target.starts_with("ftrace/") => {
                Fact::new(Support::No, Evidence::Derived, "the section's name")
                    .reason("nothing can be attached to the records of ftrace itself")
            }
            None => {
                self.ask(Stage::Attach, "PTL0204", requirement, &name, false);
                return;
            }
            Some(fact) => {
                let fact = fact.as_ref();
                let byte_sz = fact.value.as_ref().and_then(|value| value.get("byte_sz")?.as_u64());
                let read = u64::from(entry.context.end_byte);
                if fact.support == Support::Yes && byte_sz.is_none_or(|byte_sz| read > byte_sz) {
                    let has = byte_sz.and_then(|byte_sz| u32::try_from(byte_sz).ok());
                    let has =
                        has.map_or_else(|| "an unknown number of bytes".to_owned(), |has| count(has, "byte"));
                    Fact { support: Support::Unknown, ..fact.clone() }
                        .reason(format!("byte {read} is read, and the event has {has}"))
                } else if fact.support == Support::Yes && entry.context.more {
                    Fact { support: Support::Unknown, ..fact.clone() }
                        .reason("the context goes where it was not followed; more may be read than it has")
                } else {
                    fact.clone()
                }
            }
        };
        self.push(against(Stage::Attach, "PTL0204", requirement, &name, Some(&fact), false));
    }

    /// Whether a function can be traced by its name: by ftrace (fentry, kprobe.multi) or by a kprobe.
    ///
    /// A kprobe of a name that several functions have is refused since v6.7 and takes one of them before; one of a
    /// function that ftrace does not reach is refused without `CONFIG_KPROBE_EVENTS_ON_NOTRACE` (`trace_kprobe.c`).
    fn symbol(&mut self, function: &str, by_ftrace: bool) {
        let name = format!("symbol.{function}");
        let requirement = format!("tracing of function {function}");
        let Some(fact) = self.ground.fact(&name) else {
            self.ask(Stage::Attach, "PTL0204", requirement, &name, false);
            return;
        };
        let fact = fact.as_ref();
        let value = |key: &str| fact.value.as_ref().and_then(|value| value.get(key));
        let told = |key: &str| value(key).and_then(Value::as_bool);
        let copies = value("copies").and_then(Value::as_array).is_some_and(|copies| !copies.is_empty());
        let namesakes = value("in_kallsyms").and_then(Value::as_u64).unwrap_or(1);
        let but = |support, why: &str| Fact { support, ..fact.clone() }.reason(why);
        let (code, answer) = match (fact.support, told("in_filter_functions")) {
            (Support::No, _) if copies => ("PTL0215", fact.clone()),
            (Support::Yes, Some(false)) if by_ftrace => {
                ("PTL0216", but(Support::No, "not among available_filter_functions"))
            }
            (Support::Yes, _) if !by_ftrace && told("blacklisted") == Some(true) => {
                ("PTL0216", but(Support::No, "on the kprobes blacklist"))
            }
            (Support::Yes, _) if namesakes > 1 => {
                ("PTL0216", but(Support::Unknown, "several functions have this name"))
            }
            (Support::Yes, Some(false)) => ("PTL0216", but(Support::Unknown, "ftrace does not reach it")),
            (Support::Yes, None) => {
                ("PTL0216", but(Support::Unknown, "available_filter_functions could not be read"))
            }
            _ => ("PTL0204", fact.clone()),
        };
        self.push(against(Stage::Attach, code, requirement, &name, Some(&answer), false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;
    use std::collections::BTreeSet;

    #[test]
    fn a_kprobe_may_name_a_place_in_a_function() {
        assert_eq!(split_offset("do_nanosleep+0x4"), Some(("do_nanosleep", 4)));
        assert_eq!(split_offset("do_nanosleep+12"), Some(("do_nanosleep", 12)));
        assert_eq!(split_offset("do_nanosleep"), None);
        assert_eq!(split_offset("do_nanosleep+end"), None);
    }

    #[test]
    fn every_section_has_a_row() {
        let sections = include_str!("../../../btf-catalog/data/sections.tsv").lines();
        let sections = sections.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut sections: BTreeSet<&str> = sections
            .filter_map(|line| line.split('\t').next())
            .map(|name| name.trim_end_matches('+'))
            .collect();
        // What an extension replaces is chosen by its loader, before it is loaded.
        assert!(sections.remove("freplace"));
        let rows: BTreeSet<&str> = TABLE.iter().map(|row| row.prefix).collect();
        assert_eq!(rows, sections);
    }

    #[test]
    fn every_fact_of_the_table_is_a_fact() {
        for row in TABLE.iter() {
            for fact in &row.facts {
                assert!(facts::row(fact).is_some(), "{}: {fact} is not in data/facts", row.prefix);
            }
        }
    }
}
