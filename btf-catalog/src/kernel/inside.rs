//! Tables that only the image has: what can be attached to, and which functions belong to which set.
//!
//! They lie between symbols that the linker script makes (include/asm-generic/vmlinux.lds.h); what an entry looks like
//! is read from the kernel's own BTF. A table that could not be read is `None`, with a note: it says nothing.

use super::Image;
use crate::btf::{Btf, BtfKind, Type, TypeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// What the image of a kernel tells beside its symbols and its BTF.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Inside {
    /// Functions that ftrace can trace, and fentry, fexit and kprobe.multi attach to: their addresses as in
    /// [`Image::symbols`], ascending. Without those that are freed after the kernel has started.
    ///
    /// From `__start_mcount_loc` (kernel/trace/ftrace.c).
    pub traceable: Option<Vec<u64>>,
    /// Code that no kprobe may be put into, ascending; what else refuses a kprobe is not listed anywhere.
    ///
    /// From `__start_kprobe_blacklist` and the sections of kernel/kprobes.c and `arch_populate_kprobe_blacklist()`.
    pub kprobe_blacklist: Option<Vec<Range<u64>>>,
    /// Functions whose return value may be overridden (`ALLOW_ERROR_INJECTION`), ascending.
    pub error_injection: Option<Vec<u64>>,
    /// Events of tracefs that the image has; modules have more.
    pub trace_events: Option<Vec<TraceEvent>>,
    /// Raw tracepoints that the image has; modules have more.
    pub raw_tracepoints: Option<Vec<RawTracepoint>>,
    /// Sets of BTF ids: kfuncs by where they may be called, LSM hooks that are disabled or may sleep, functions that may
    /// not be traced. In the order of their addresses; several may have one name.
    pub id_sets: Option<Vec<IdSet>>,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

/// An event of tracefs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TraceEvent {
    /// Group: `sched`, `syscalls`.
    pub group: String,
    /// Name: `sched_switch`.
    pub name: String,
    /// Bytes from the start of the record to the end of its last field, which a program may read
    /// (`trace_event_get_offsets()`, kernel/trace/trace_events.c). `None` where a function of the kernel adds fields.
    /// Without what the events of system calls have behind their arguments since v7.0, for memory of user space.
    pub record_sz: Option<u32>,
}

/// A raw tracepoint (`struct bpf_raw_event_map`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RawTracepoint {
    /// Its name: `sched_switch`.
    pub name: String,
    /// Arguments that it has.
    pub num_args: u32,
    /// Bytes of its first argument that a `raw_tp.w` program may write.
    pub writable_sz: u32,
}

/// A set of BTF ids (`BTF_SET_START`, `BTF_SET8_START`, `BTF_KFUNCS_START`; include/linux/btf_ids.h).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdSet {
    /// Its name in the kernel's source: `bpf_lsm_disabled_hooks`, `tracing_kfunc_ids`.
    pub name: String,
    /// Each id, with its flags (`KF_*`) where `flagged`, else 0. Ascending by id.
    pub ids: Vec<(TypeId, u32)>,
    /// Whether it is a set of 8-byte entries, as those of kfuncs are (v6.0).
    pub flagged: bool,
    /// Flags of the whole set: `BTF_SET8_KFUNCS` is 1 (v6.9).
    pub flags: u32,
}

/// Entries of any of the tables; a kernel has 60,000 traceable functions.
const ENTRIES: usize = 1 << 18;
/// Bytes of the name of an event or a tracepoint.
const IDENTIFIER: usize = 256;
/// Ids in all sets; a kernel has 2,000.
const IDS: usize = 1 << 20;
/// System calls in a table.
const SYSCALLS: u64 = 4096;
/// Fields of an event.
const FIELDS: u64 = 512;
/// Bytes of `struct trace_entry`, which every record begins with.
const TRACE_ENTRY: u32 = 8;

impl Inside {
    /// Reads the tables of an image with the BTF of the same kernel.
    pub fn read(image: &Image, btf: &Btf) -> Inside {
        let mut inside = Inside::default();
        let tables = Tables { image, btf };
        inside.traceable = noted(&mut inside.notes, "traceable functions", tables.traceable());
        inside.kprobe_blacklist = noted(&mut inside.notes, "the kprobe blacklist", tables.kprobe_blacklist());
        inside.error_injection =
            noted(&mut inside.notes, "functions for error injection", tables.error_injection());
        inside.trace_events = noted(&mut inside.notes, "trace events", tables.trace_events());
        inside.raw_tracepoints = noted(&mut inside.notes, "raw tracepoints", tables.raw_tracepoints());
        inside.id_sets = noted(&mut inside.notes, "sets of BTF ids", tables.id_sets());
        inside
    }

    /// Whether ftrace can trace a function of this name; `None` where that could not be read. One function is enough
    /// where several have the name.
    pub fn is_traceable(&self, image: &Image, function: &str) -> Option<bool> {
        let traceable = self.traceable.as_ref()?;
        Some(image.symbols.named(function).any(|symbol| traceable.binary_search(&symbol.address).is_ok()))
    }

    /// Whether the code at this address may take no kprobe; `None` where that could not be read.
    pub fn is_blacklisted(&self, address: u64) -> Option<bool> {
        let ranges = self.kprobe_blacklist.as_ref()?;
        Some(ranges.iter().any(|range| range.contains(&address)))
    }

    /// The set of this name, the first where there are several.
    pub fn id_set(&self, name: &str) -> Option<&IdSet> {
        self.id_sets.as_ref()?.iter().find(|set| set.name == name)
    }
}

fn noted<T>(notes: &mut Vec<String>, what: &str, read: Result<T, String>) -> Option<T> {
    read.map_err(|problem| notes.push(format!("{what} could not be read from the image: {problem}"))).ok()
}

/// A struct of the kernel: where its members are.
struct Layout<'a> {
    btf: &'a Btf,
    ty: Type<'a>,
}

impl<'a> Layout<'a> {
    fn new(btf: &'a Btf, name: &str) -> Result<Layout<'a>, String> {
        let id = btf.find_by_name_kind(name, BtfKind::Struct);
        let id = id.ok_or_else(|| format!("the BTF has no struct {name}"))?;
        Ok(Layout { btf, ty: btf.ty(id) })
    }

    /// The offset of a member in bytes, also of one in an anonymous struct or union.
    fn offset(&self, member: &str) -> Result<u64, String> {
        let off = self.btf.offset_of(self.ty, member);
        off.ok_or_else(|| format!("struct {} has no member {member}", self.ty.name()))
    }
}

struct Tables<'a> {
    image: &'a Image,
    btf: &'a Btf,
}

impl Tables<'_> {
    /// The words, such as pointers, between two symbols.
    fn words(&self, start: &str, stop: &str) -> Result<Vec<u64>, String> {
        let (address, bytes) = self.between(start, stop)?;
        let words = (0..bytes as u64 / 8).map(|index| self.image.u64(address + index * 8));
        words.collect::<Option<_>>().ok_or_else(|| format!("{start} ends early"))
    }

    /// Where a table begins and how many bytes it has.
    fn between(&self, start: &str, stop: &str) -> Result<(u64, usize), String> {
        let (address, bytes) =
            self.image.between(start, stop).ok_or_else(|| format!("nothing lies from {start} to {stop}"))?;
        if bytes.len() / 8 > ENTRIES {
            return Err(format!("{} bytes lie from {start} to {stop}", bytes.len()));
        }
        Ok((address, bytes.len()))
    }

    fn range(&self, start: &str, stop: &str) -> Option<Range<u64>> {
        let range = self.image.address_of(start)?..self.image.address_of(stop)?;
        (!range.is_empty()).then_some(range)
    }

    fn traceable(&self) -> Result<Vec<u64>, String> {
        // From the place that is patched to the function: 0 on x86, behind ENDBR with IBT; on arm64 behind BTI, or
        // before the function with CONFIG_DYNAMIC_FTRACE_WITH_CALL_OPS.
        let mut shifts = [0i64, -4, 8, 4, -8, 12, -12, 16];
        // Places of functions that another replaced when the kernel was linked are zeroed.
        let mut sites = self.words("__start_mcount_loc", "__stop_mcount_loc")?;
        sites.retain(|site| *site != 0);
        let functions: Vec<u64> =
            self.image.symbols.iter().filter(is_function).map(|symbol| symbol.address).collect();
        let hit = |site: u64, shift: i64| {
            let address = site.wrapping_add_signed(shift);
            functions.binary_search(&address).is_ok().then_some(address)
        };
        shifts.sort_by_cached_key(|shift| {
            let hits = sites.iter().filter(|site| hit(**site, *shift).is_some()).count();
            std::cmp::Reverse(hits)
        });
        let found = sites.iter().filter_map(|site| shifts.iter().find_map(|shift| hit(*site, *shift)));
        let mut found: Vec<u64> = found.collect();
        if found.len() * 10 < sites.len() * 9 || found.is_empty() {
            return Err(format!("{} of {} places lie at the start of a function", found.len(), sites.len()));
        }
        if let Some(init) = self.range("_sinittext", "_einittext") {
            found.retain(|address| !init.contains(address));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn kprobe_blacklist(&self) -> Result<Vec<Range<u64>>, String> {
        const SECTIONS: [(&str, &str); 7] = [
            ("__kprobes_text_start", "__kprobes_text_end"),
            ("__noinstr_text_start", "__noinstr_text_end"),
            ("__entry_text_start", "__entry_text_end"),
            ("__irqentry_text_start", "__irqentry_text_end"),
            ("__idmap_text_start", "__idmap_text_end"),
            ("__hyp_text_start", "__hyp_text_end"),
            ("__hyp_idmap_text_start", "__hyp_idmap_text_end"),
        ];
        let listed = self.words("__start_kprobe_blacklist", "__stop_kprobe_blacklist")?;
        let end =
            |address: u64| self.image.symbols.next_address(address).unwrap_or(address.saturating_add(1));
        // x86 lets kprobes into the entries of interrupts, which are in no section of their own there.
        let arm64 = self.image.address_of("__idmap_text_start").is_some();
        let sections = SECTIONS.iter().filter(|(start, _)| arm64 || !start.contains("irqentry"));
        let mut ranges: Vec<Range<u64>> =
            sections.filter_map(|(start, stop)| self.range(start, stop)).collect();
        ranges.extend(listed.iter().map(|address| *address..end(*address)));
        ranges.sort_by_key(|range| (range.start, range.end));
        Ok(ranges)
    }

    fn error_injection(&self) -> Result<Vec<u64>, String> {
        // `struct error_injection_entry`: an address, and the kind of error in a word (include/asm-generic/error-injection.h).
        let words = self.words("__start_error_injection_whitelist", "__stop_error_injection_whitelist")?;
        let mut functions: Vec<u64> = words.chunks_exact(2).map(|entry| entry[0]).collect();
        functions.sort_unstable();
        functions.dedup();
        Ok(functions)
    }

    fn raw_tracepoints(&self) -> Result<Vec<RawTracepoint>, String> {
        let map = Layout::new(self.btf, "bpf_raw_event_map")?;
        let name = Layout::new(self.btf, "tracepoint")?.offset("name")?;
        let (tp, num_args, writable) =
            (map.offset("tp")?, map.offset("num_args")?, map.offset("writable_size")?);
        let step = map.ty.size();
        let (start, bytes) = self.between("__start__bpf_raw_tp", "__stop__bpf_raw_tp")?;
        if step == 0 || !bytes.is_multiple_of(step as usize) {
            return Err(format!("{bytes} bytes are no multiple of the {step} of an entry"));
        }
        let read = |at: u64| {
            let tracepoint = self.image.u64(at.checked_add(tp)?)?;
            Some(RawTracepoint {
                name: self.identifier(self.image.u64(tracepoint.checked_add(name)?)?)?,
                num_args: self.image.u32(at.checked_add(num_args)?)?,
                writable_sz: self.image.u32(at.checked_add(writable)?)?,
            })
        };
        let entries = (0..bytes as u64 / u64::from(step)).map(|index| start + index * u64::from(step));
        let points = entries.map(|at| read(at).ok_or_else(|| format!("the entry at {at:#x} points nowhere")));
        let mut points = points.collect::<Result<Vec<_>, _>>()?;
        points.sort_unstable();
        Ok(points)
    }

    fn identifier(&self, address: u64) -> Option<String> {
        let text = self.image.text(address)?;
        let right = (1..=IDENTIFIER).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        right.then(|| text.to_owned())
    }

    /// Names of the system calls that can be called, without `sys_`: a kernel has code of more.
    fn syscalls(&self) -> Result<BTreeSet<&str>, String> {
        let symbols = &self.image.symbols;
        let table = self.image.address_of("sys_call_table").ok_or("there is no symbol sys_call_table")?;
        let end = symbols.next_address(table).unwrap_or(table).min(table.saturating_add(SYSCALLS * 8));
        let mut names = BTreeSet::new();
        for at in (table..end).step_by(8) {
            let Some(address) = self.image.u64(at) else { break };
            // `__x64_sys_read`, `__arm64_sys_read`, or an alias of it.
            let aliases = symbols.within(address, address.saturating_add(1));
            names.extend(aliases.filter_map(|symbol| symbol.name.split_once("sys_").map(|(_, name)| name)));
        }
        names.remove("ni_syscall");
        if names.is_empty() { Err("sys_call_table points to no system call".to_owned()) } else { Ok(names) }
    }

    fn trace_events(&self) -> Result<Vec<TraceEvent>, String> {
        let events = EventLayout::new(self.btf)?;
        let mut found: Vec<TraceEvent> = Vec::new();
        for at in self.words("__start_ftrace_events", "__stop_ftrace_events")? {
            let event = events.read(self, at);
            found.push(event.ok_or_else(|| format!("the event at {at:#x} points nowhere"))?);
        }
        // `init_syscall_trace()` registers no event for a system call that is not in the table.
        if found.iter().any(|event| event.group == "syscalls") {
            let callable = self.syscalls()?;
            found.retain(|event| {
                let name =
                    event.name.strip_prefix("sys_enter_").or_else(|| event.name.strip_prefix("sys_exit_"));
                event.group != "syscalls" || name.is_none_or(|name| callable.contains(name))
            });
        }
        found.sort_unstable();
        Ok(found)
    }

    fn id_sets(&self) -> Result<Vec<IdSet>, String> {
        const PREFIX: &str = "__BTF_ID__set";
        let mut sets = Vec::new();
        let mut ids = 0;
        for symbol in self.image.symbols.with_prefix(PREFIX) {
            let (flagged, name) = match &symbol.name[PREFIX.len()..] {
                rest if rest.starts_with("8__") => (true, &rest[3..]),
                rest if rest.starts_with("__") => (false, &rest[2..]),
                _ => continue,
            };
            let set = self.id_set(symbol.address, name, flagged);
            let set = set.ok_or_else(|| format!("set {name} ends early or has more ids than the BTF"))?;
            ids += set.ids.len();
            if ids > IDS {
                return Err(format!("more than {IDS} ids are in sets"));
            }
            sets.push((symbol.address, set));
        }
        if sets.is_empty() {
            return Err(format!("no symbol begins with {PREFIX}"));
        }
        sets.sort_by_key(|(address, _)| *address);
        Ok(sets.into_iter().map(|(_, set)| set).collect())
    }

    fn id_set(&self, address: u64, name: &str, flagged: bool) -> Option<IdSet> {
        let count = self.image.u32(address)?;
        if count > self.btf.type_count() {
            return None;
        }
        let word = |off: u64| self.image.u32(address.checked_add(off)?);
        let (flags, first, step) = if flagged { (word(4)?, 8, 8) } else { (0, 4, 4) };
        let entry = |index: u32| {
            let off = first + u64::from(index) * step;
            Some((TypeId(word(off)?), if flagged { word(off + 4)? } else { 0 }))
        };
        let ids = (0..count).map(entry).collect::<Option<_>>()?;
        Some(IdSet { name: name.to_owned(), ids, flagged, flags })
    }
}

fn is_function(symbol: &super::Symbol<'_>) -> bool {
    // Padding before a function has a symbol of its own on x86 (v6.2), nothing can be attached to it.
    symbol.is_text() && !symbol.name.starts_with("__pfx_") && !symbol.name.starts_with("__cfi_")
}

/// Where the members of an event are that tell its name and its fields.
struct EventLayout {
    class: u64,
    name: u64,
    data: u64,
    tracepoint_name: u64,
    system: u64,
    fields: u64,
    field: FieldLayout,
    /// `nb_args` of `struct syscall_metadata`.
    nb_args: Option<u64>,
}

/// `struct trace_event_fields`, ended by one without type.
struct FieldLayout {
    step: u64,
    size: u64,
    align: u64,
}

impl EventLayout {
    fn new(btf: &Btf) -> Result<EventLayout, String> {
        let call = Layout::new(btf, "trace_event_call")?;
        let class = Layout::new(btf, "trace_event_class")?;
        let field = Layout::new(btf, "trace_event_fields")?;
        let syscall = Layout::new(btf, "syscall_metadata").ok();
        Ok(EventLayout {
            class: call.offset("class")?,
            name: call.offset("name")?,
            data: call.offset("data")?,
            tracepoint_name: Layout::new(btf, "tracepoint")?.offset("name")?,
            system: class.offset("system")?,
            fields: class.offset("fields_array")?,
            field: FieldLayout {
                step: u64::from(field.ty.size()).max(1),
                size: field.offset("size")?,
                align: field.offset("align")?,
            },
            nb_args: syscall.and_then(|syscall| syscall.offset("nb_args").ok()),
        })
    }

    fn read(&self, tables: &Tables<'_>, at: u64) -> Option<TraceEvent> {
        let pointer = |at: u64, off: u64| tables.image.u64(at.checked_add(off)?);
        let class = pointer(at, self.class)?;
        let group = tables.identifier(pointer(class, self.system)?)?;
        // A name, or the tracepoint that has it: the flag that tells is an enumerator without a name of its own.
        let named = pointer(at, self.name)?;
        let name =
            tables.identifier(named).or_else(|| tables.identifier(pointer(named, self.tracepoint_name)?))?;
        let syscall_enter = group == "syscalls" && name.starts_with("sys_enter_");
        let record_sz = if syscall_enter {
            self.syscall_enter(tables.image, pointer(at, self.data)?)
        } else {
            self.record(tables.image, pointer(class, self.fields)?)
        };
        Some(TraceEvent { group, name, record_sz })
    }

    /// `event_define_fields()`, kernel/trace/trace_events.c.
    fn record(&self, image: &Image, fields: u64) -> Option<u32> {
        /// `TRACE_FUNCTION_TYPE`: a function defines the fields.
        const FUNCTION: u64 = u64::MAX;
        let mut end = TRACE_ENTRY;
        for index in 0..FIELDS {
            let at = fields.checked_add(index * self.field.step)?;
            match image.u64(at)? {
                0 => return Some(end),
                FUNCTION => return None,
                _ => {}
            }
            let word = |off: u64| image.u32(at.checked_add(off)?);
            let (size, align) = (word(self.field.size)?, word(self.field.align)?);
            end = end.checked_next_multiple_of(align)?.checked_add(size)?;
        }
        None
    }

    /// `syscall_enter_define_fields()`, kernel/trace/trace_syscalls.c: the number of the call, then each argument as a
    /// `long`.
    fn syscall_enter(&self, image: &Image, metadata: u64) -> Option<u32> {
        // An `int`, or seven bits since v7.0: no call has more than six.
        let args = image.u32(metadata.checked_add(self.nb_args?)?)? & 0x7f;
        (args <= 6).then_some(if args == 0 { TRACE_ENTRY + 4 } else { 16 + args * 8 })
    }
}

#[cfg(test)]
mod tests;
