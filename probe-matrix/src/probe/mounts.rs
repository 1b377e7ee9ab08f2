//! Where the file systems are that loaders and programs need: bpffs, tracefs, debugfs, securityfs, cgroup.

use super::Out;
use super::printable::printable;
use super::root::HostRoot;
use crate::facts::{Evidence, Fact, Support};
use serde_json::{Value, json};

/// Most of the mount table that is read. A line has about 150 bytes; a host of a thousand pods has 20,000.
pub(crate) const TABLE_BYTE_SZ_MAX: usize = 32 << 20;
/// Most mounts that one fact lists.
const LISTED_MAX: usize = 32;

/// The facts and the type of file system that each tells of.
const FAMILIES: [(&str, &str); 6] = [
    ("mounts.bpffs", "bpf"),
    ("mounts.tracefs", "tracefs"),
    ("mounts.debugfs", "debugfs"),
    ("mounts.securityfs", "securityfs"),
    ("mounts.cgroup_v1", "cgroup"),
    ("mounts.cgroup_v2", "cgroup2"),
];

/// One line of mountinfo, see proc_pid_mountinfo(5).
#[derive(Debug, PartialEq, Clone)]
pub(crate) struct Mount {
    /// Where, as the process whose table it is sees it.
    pub(crate) path: String,
    /// The part of the file system that is mounted; `/` is all of it.
    part: String,
    /// `bpf`, `cgroup2`, …
    pub(crate) fstype: String,
    /// Options of this mount, `rw,nosuid`.
    options: String,
    /// Options of the file system: a v1 controller, `delegate_cmds=…`.
    super_options: String,
    /// Whether new mounts below are seen in other namespaces.
    shared: bool,
}

/// Facts named `mounts.*`; also the place where the whole of the cgroup v2 hierarchy is mounted.
pub(crate) fn facts(root: &HostRoot, out: &mut Out<'_>) -> Option<String> {
    // Under a host root, the host's first process tells where the host's mounts are.
    let path = if root.is_foreign() { "/proc/1/mountinfo" } else { "/proc/self/mountinfo" };
    let source = root.shown(path);
    let mounts = match root.read_text(path, TABLE_BYTE_SZ_MAX) {
        Ok(text) => parse(&text),
        Err(why) => {
            let fact = root.unread(path, &why);
            for (name, _) in FAMILIES {
                out(name.to_owned(), fact.clone());
            }
            out("mounts.cgroup_mode".into(), fact);
            return None;
        }
    };
    for (name, fstype) in FAMILIES {
        out(name.to_owned(), family_fact(&mounts, fstype, &source));
    }
    let mode = Fact::new(Support::Yes, Evidence::Probed, source.clone());
    out(
        "mounts.cgroup_mode".into(),
        match cgroup_mode(&mounts) {
            Some(word) => mode.value(word),
            None => Fact { support: Support::No, ..mode }.reason("no cgroup hierarchy is mounted"),
        },
    );
    cgroup2(&mounts).map(str::to_owned)
}

/// Where the whole of the cgroup v2 hierarchy is mounted.
pub(crate) fn cgroup2(mounts: &[Mount]) -> Option<&str> {
    let cgroup2 = mounts.iter().find(|mount| mount.fstype == "cgroup2" && mount.part == "/");
    cgroup2.map(|mount| mount.path.as_str())
}

fn family_fact(mounts: &[Mount], fstype: &str, source: &str) -> Fact {
    let of_type: Vec<&Mount> = mounts.iter().filter(|mount| mount.fstype == fstype).collect();
    let listed: Vec<Value> = of_type.iter().take(LISTED_MAX).map(|mount| mount.shown()).collect();
    let fact =
        Fact::new(if of_type.is_empty() { Support::No } else { Support::Yes }, Evidence::Probed, source);
    let fact = fact.value(listed);
    match of_type.len() {
        0 => fact.reason("not mounted in this mount namespace"),
        count if count > LISTED_MAX => fact.reason(format!("the first {LISTED_MAX} of {count}")),
        _ => fact,
    }
}

/// `unified`: v2 alone; `hybrid`: v1 controllers beside v2; `legacy`: v1 alone.
fn cgroup_mode(mounts: &[Mount]) -> Option<&'static str> {
    let has = |fstype| mounts.iter().any(|mount| mount.fstype == fstype);
    match (has("cgroup"), has("cgroup2")) {
        (false, true) => Some("unified"),
        (true, true) => Some("hybrid"),
        (true, false) => Some("legacy"),
        (false, false) => None,
    }
}

impl Mount {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "path": printable(&self.path, 256),
            "writable": !self.options.split(',').any(|option| option == "ro"),
            "shared": self.shared,
        });
        let telling = match self.fstype.as_str() {
            // The controllers of a v1 hierarchy.
            "cgroup" => {
                self.super_options.split(',').filter(|option| !matches!(*option, "rw" | "ro")).collect()
            }
            // What a token of this bpffs may do, since v6.9.
            "bpf" => self.super_options.split(',').filter(|option| option.starts_with("delegate_")).collect(),
            _ => Vec::new(),
        };
        if !telling.is_empty() {
            let telling: Vec<String> =
                telling.into_iter().take(32).map(|option| printable(option, 128)).collect();
            shown["options"] = json!(telling);
        }
        if self.part != "/" {
            shown["part"] = json!(printable(&self.part, 256));
        }
        shown
    }
}

/// The lines of a mount table that have the right form.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // Optional fields, in any number, end at a dash of its own. No field holds a space: it would be escaped.
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (part, path, options) = (before.next()?, before.next()?, before.next()?);
    let shared = before.any(|field| field.starts_with("shared:"));
    let mut after = after.split(' ');
    let (fstype, _source, super_options) = (after.next()?, after.next()?, after.next()?);
    Some(Mount {
        path: unescaped(path),
        part: unescaped(part),
        fstype: fstype.to_owned(),
        options: options.to_owned(),
        super_options: super_options.to_owned(),
        shared,
    })
}

/// Octal escapes of the mount table: `\040` is a space.
fn unescaped(field: &str) -> String {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = field.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[at], octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw\n\
        31 23 0:28 / /sys/fs/bpf rw,nosuid shared:9 master:2 - bpf bpf rw,mode=700,delegate_cmds=prog_load:map_create\n\
        32 31 0:29 / /sys/fs/cgroup/cpu ro,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 /kubepods /run/with\\040space\\134 rw - cgroup2 cgroup2 rw\n\
        42 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn mounts_of_a_hybrid_host() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 5);
        assert_eq!((mounts[1].shared, mounts[3].path.as_str()), (true, "/run/with space\\"));
        assert_eq!(cgroup_mode(&mounts), Some("hybrid"));
        assert_eq!(mounts[1].shown()["options"], json!(["delegate_cmds=prog_load:map_create"]));
        assert_eq!(
            mounts[2].shown(),
            json!({"path": "/sys/fs/cgroup/cpu", "writable": false, "shared": false, "options": ["cpu", "cpuacct"]})
        );
        assert_eq!(family_fact(&mounts, "tracefs", "x").support, Support::No);
    }

    #[test]
    fn hostile_lines() {
        for line in ["", " - ", "1 2 3 4 5 - bpf", "1 2 3 / /x rw", "- - - - -", "1 2 3 / /x rw - bpf bpf"] {
            assert_eq!(parse_line(line), None, "{line:?}");
        }
        // An escape that is none, at the end, in the middle of a character.
        assert_eq!(unescaped("\\04"), "\\04");
        assert_eq!(unescaped("\\999é\\"), "\\999é\\");
        assert_eq!(unescaped("\\é12"), "\\é12");
        let escape = parse_line("1 2 3 / /\\033[2J rw - bpf bpf rw").unwrap();
        assert_eq!(escape.shown()["path"], "/\u{fffd}[2J");
    }

    #[test]
    fn the_hosts_table_is_that_of_its_first_process() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/1")).unwrap();
        std::fs::write(dir.path().join("proc/1/mountinfo"), TABLE).unwrap();
        let mut facts = crate::Facts::default();
        let cgroup2 =
            super::facts(&HostRoot::at(dir.path()).unwrap(), &mut |name, fact| facts.insert(name, fact));
        assert_eq!(cgroup2.as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(facts.support("mounts.bpffs"), Support::Yes);
        assert_eq!(facts.get("mounts.cgroup_v1").unwrap().value.as_ref().unwrap()[0]["options"][0], "cpu");
    }
}
