//! Where a load failed, read from what libbpf and the verifier said.

use crate::wire::Row;

/// The outcome of an entry in a kernel, in few words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Outcome {
    /// `ok`, or the errno's name.
    pub result: String,
    /// `ok`, or the step that failed.
    pub phase: String,
    /// The message that says why.
    pub detail: String,
}

/// Phases in which the object's own loader has not done its part: they say nothing of the kernel.
pub const LOADERS_PART: [&str; 6] = [
    "map_create_size_unset",
    "map_create_no_inner_map",
    "attach_target_unset",
    "prog_type_unset",
    "no_program",
    "open",
];

/// Phases that say nothing of the entry: the kernel's configuration was not to be had, or the machine did not live to tell.
pub const NOT_MEASURED: [&str; 3] = ["extern_without_config", "crash", "timeout"];

/// A phase and a message of libbpf 1.7 (or of the verifier) that tells it; the first that is found in the log counts. They
/// are in the order in which a load goes wrong for good: a warning that libbpf survives comes last.
const TOLD_BY: [(&str, &str); 35] = [
    ("verifier_helper", "program of this type cannot use helper"),
    ("verifier_helper", "invalid func unknown#"),
    ("verifier_helper", "unknown func "),
    ("core_relocation", "<invalid CO-RE relocation>"),
    ("core_relocation", "invalid func unknown#195896080"),
    ("verifier_kfunc", "is not allowed\n"),
    ("verifier_kfunc", "calling kernel functions are not allowed"),
    ("verifier_kfunc", "calling kernel function"),
    ("verifier_complexity", "BPF program is too large. Processed"),
    // The end, since of a long log only the end is kept.
    ("verifier", "-- END PROG LOAD LOG --"),
    ("kfunc_missing", "extern (func ksym) "),
    ("ksym_missing", "extern (var ksym) "),
    ("ksym_missing", "extern (ksym) "),
    ("extern", "extern (kcfg) "),
    ("extern", "failed to open system Kconfig"),
    ("extern", "(strong): not resolved"),
    ("attach_target_unset", "no BTF-based attach target is specified"),
    ("attach_target_unset", "attach program FD is not set"),
    ("prog_type_unset", "missing BPF prog type, check ELF section name"),
    ("attach_btf_id_missing", "failed to find kernel BTF type ID of"),
    ("attach_btf_id_missing", "failed to find BTF info for"),
    ("struct_ops", "struct_ops init_kern"),
    ("struct_ops", "struct_ops reloc"),
    ("core_relocation", "relocation decision ambiguity"),
    ("core_relocation", "failed to relocate: "),
    ("core_relocation", "target candidate search failed"),
    ("core_relocation", "failed to perform CO-RE relocations"),
    ("map_create", "failed to create inner map"),
    ("map_create", "failed to create: "),
    ("map_create", "failed to create map"),
    ("map_create", "failed to auto-pin"),
    ("relocation", "bad relo"),
    ("relocation", "no .text symbol"),
    ("btf_load", "BTF is mandatory, can't proceed"),
    ("prog_load", "BPF program load failed"),
];

/// Most characters of a detail.
const DETAIL: usize = 160;

impl Outcome {
    /// What became of `row`'s entry.
    pub fn of(row: &Row) -> Outcome {
        let outcome = |phase: &str, detail: String| Outcome {
            result: errno_name(row.errno),
            phase: phase.to_owned(),
            detail,
        };
        if row.marks.contains('o') {
            return outcome("open", detail(last_of_libbpf(&row.log)));
        }
        if row.program.is_empty() {
            return outcome("no_program", String::new());
        }
        // libbpf fills arrays of programs when all programs are loaded; those that were not asked for are not.
        if row.errno == 0
            || row.log.contains("failed to initialize slot [") && row.log.contains("] to prog '")
        {
            return Outcome { result: "ok".to_owned(), phase: "ok".to_owned(), detail: String::new() };
        }
        let told = TOLD_BY.iter().find(|(_, message)| row.log.contains(message));
        let (phase, message) = told.copied().unwrap_or(("other", ""));
        let line = if phase.starts_with("verifier") || phase == "core_relocation" {
            verifier_says(&row.log).or_else(|| line_with(&row.log, message))
        } else {
            line_with(&row.log, message)
        };
        let phase = match phase {
            "map_create" if row.marks.contains('i') => "map_create_no_inner_map",
            "map_create" if row.marks.contains('s') => "map_create_size_unset",
            phase => phase,
        };
        outcome(phase, detail(line.unwrap_or_else(|| last_of_libbpf(&row.log))))
    }

    /// The outcome of an entry that took its process or its kernel down, or that did not end.
    pub fn lost(how: &str) -> Outcome {
        let phase = if how == "timeout" { "timeout" } else { "crash" };
        Outcome { result: phase.to_uppercase(), phase: phase.to_owned(), detail: String::new() }
    }
}

/// The verifier's last line that is about the program: not its statistics, not an instruction, not a source line.
fn verifier_says(log: &str) -> Option<&str> {
    let said = &log[..log.rfind("-- END PROG LOAD LOG --")?];
    let said = &said[said.rfind("-- BEGIN PROG LOAD LOG --").unwrap_or(0)..];
    let statistics = [
        "processed ",
        "verification time",
        "stack depth",
        "libbpf:",
        "-- BEGIN",
        "max_states",
        "peak_states",
    ];
    said.lines().map(str::trim).rfind(|line| {
        !line.is_empty() && !line.starts_with(';') && !statistics.iter().any(|word| line.starts_with(word))
    })
}

fn line_with<'l>(log: &'l str, message: &str) -> Option<&'l str> {
    let message = message.trim_end();
    log.lines().find(|line| !message.is_empty() && line.contains(message))
}

fn last_of_libbpf(log: &str) -> &str {
    log.lines().rfind(|line| line.starts_with("libbpf:")).unwrap_or_default()
}

/// One line without what differs between runs: addresses of the kernel.
fn detail(line: &str) -> String {
    let line = line.trim_start_matches("libbpf: ").trim();
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("0xffff") {
        text.push_str(&rest[..at]);
        text.push_str("ADDRESS");
        rest = rest[at + 2..].trim_start_matches(|character: char| character.is_ascii_hexdigit());
    }
    text.push_str(rest);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(DETAIL).collect()
}

fn errno_name(errno: i32) -> String {
    const NAMES: [(i32, &str); 22] = [
        (0, "ok"),
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (4, "EINTR"),
        (7, "E2BIG"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (22, "EINVAL"),
        (28, "ENOSPC"),
        (34, "ERANGE"),
        (38, "ENOSYS"),
        (95, "EOPNOTSUPP"),
        (110, "ETIMEDOUT"),
        (524, "ENOTSUPP"),
        (4001, "LIBBPF_ERRNO__FORMAT"),
    ];
    let name = NAMES.iter().find(|(number, _)| *number == errno);
    name.map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use crate::wire::Row;

    fn outcome(marks: &str, errno: i32, log: &str) -> (String, String) {
        let row = Row { program: "p".into(), marks: marks.into(), errno, log: log.into(), ..Row::default() };
        let outcome = Outcome::of(&row);
        (outcome.phase, outcome.detail)
    }

    #[test]
    fn the_verifiers_last_word_is_the_reason() {
        let log = "libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n; return f(); @ a.c:3\n\
                   2: (85) call bpf_get_socket_cookie#46\n\
                   program of this type cannot use helper bpf_get_socket_cookie#46\n\
                   processed 3 insns (limit 1000000) max_states_per_insn 0\n-- END PROG LOAD LOG --\n\
                   libbpf: prog 'p': failed to load: -EINVAL\n";
        let said = "program of this type cannot use helper bpf_get_socket_cookie#46";
        assert_eq!(outcome("", 22, log), ("verifier_helper".into(), said.into()));
    }

    #[test]
    fn what_a_loader_leaves_open_is_told_apart() {
        let log = "libbpf: Error in bpf_create_map_xattr(m): -EINVAL. Retrying without BTF.\n\
                   libbpf: map 'm': failed to create: -EINVAL\n";
        assert_eq!(outcome("s", 22, log).0, "map_create_size_unset");
        assert_eq!(outcome("", 22, log).0, "map_create");
        assert_eq!(outcome("", 0, "libbpf: a warning\n").0, "ok");
        let log = "libbpf: prog 'p': missing BPF prog type, check ELF section name 'mine'\n";
        assert_eq!(outcome("", 22, log).0, "prog_type_unset");
    }

    #[test]
    fn an_array_of_programs_is_filled_when_the_kernel_has_accepted_the_program() {
        let log = "libbpf: map 'jumps': failed to initialize slot [0] to prog 'other' fd=-2: -EBADF\n";
        assert_eq!(outcome("", 9, log), ("ok".into(), String::new()));
    }

    #[test]
    fn addresses_are_left_out() {
        let log = "21: (18) r1 = 0xffff8b4452e42310 no\n-- END PROG LOAD LOG --\n";
        assert_eq!(outcome("", 13, log), ("verifier".into(), "21: (18) r1 = ADDRESS no".into()));
    }
}
