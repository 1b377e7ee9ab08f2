//! What bpf(2) is asked, and answers given in its place.

use super::{Command, Errno};
use btf_catalog::{AttachType, MapType, ProgType};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// Where the verifier or the BTF loader writes its log.
pub struct LogBuf {
    pub(super) bytes: Vec<u8>,
    pub(super) level: u32,
}

impl LogBuf {
    /// Log errors and every instruction looked at.
    pub const LEVEL_INSNS: u32 = 1;
    /// Log errors and statistics only (`BPF_LOG_STATS`, since v5.2). Cheap, since nothing else is printed.
    pub const LEVEL_STATS: u32 = 4;

    /// A buffer of `byte_sz` bytes (the kernel wants at least 128 and at most 2^30) at log level `level`.
    pub fn new(byte_sz: usize, level: u32) -> LogBuf {
        LogBuf { bytes: vec![0; byte_sz.clamp(128, 1 << 30)], level }
    }

    /// The log level.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Changes the log level.
    pub fn set_level(&mut self, level: u32) {
        self.level = level;
    }

    /// The log of the last call; empty if the call failed before anything was logged.
    pub fn text(&self) -> Cow<'_, str> {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end])
    }

    pub(super) fn set_text(&mut self, text: &str) {
        let end = text.len().min(self.bytes.len() - 1);
        self.bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        self.bytes[end] = 0;
    }
}

/// Records with their size, as `.BTF.ext` has them.
#[derive(Clone, Copy, Default)]
pub struct Records<'a> {
    /// The records, one after the other.
    pub bytes: &'a [u8],
    /// Size of one record.
    pub rec_sz: u32,
}

impl Records<'_> {
    /// Number of whole records.
    pub(super) fn count(self) -> u32 {
        (self.bytes.len() as u32).checked_div(self.rec_sz).unwrap_or(0)
    }
}

/// What `BPF_PROG_LOAD` is asked.
#[derive(Clone, Copy)]
pub struct ProgLoad<'a> {
    /// The program type.
    pub prog_type: ProgType,
    /// The attach type, for the program types that are verified for one.
    pub expected_attach_type: Option<AttachType>,
    /// The instructions, 8 bytes each, in this machine's byte order.
    pub insns: &'a [u8],
    /// The licence; `GPL` opens the helpers that are GPL only.
    pub license: &'a CStr,
    /// Name of the program; empty for none (names are known since v4.15).
    pub name: &'a str,
    /// `BPF_F_*` flags: sleepable, XDP fragments, …
    pub flags: u32,
    /// `LINUX_VERSION_CODE`, checked for kprobe programs before v5.0.
    pub kern_version: u32,
    /// BTF id of the function, tracepoint or structure the program attaches to.
    pub attach_btf_id: u32,
    /// BTF of the module that `attach_btf_id` belongs to; vmlinux if none.
    pub attach_btf_obj_fd: Option<BorrowedFd<'a>>,
    /// The program that an extension replaces part of.
    pub attach_prog_fd: Option<BorrowedFd<'a>>,
    /// The program's own BTF.
    pub prog_btf_fd: Option<BorrowedFd<'a>>,
    /// `struct bpf_func_info` records.
    pub func_info: Records<'a>,
    /// `struct bpf_line_info` records.
    pub line_info: Records<'a>,
    /// File descriptors of maps and module BTFs that instructions refer to by index.
    pub fd_array: &'a [RawFd],
    /// A token that delegates the privilege.
    pub token_fd: Option<BorrowedFd<'a>>,
}

impl<'a> ProgLoad<'a> {
    /// A GPL program without name, BTF and flags.
    pub fn new(prog_type: ProgType, insns: &'a [u8]) -> ProgLoad<'a> {
        ProgLoad {
            prog_type,
            expected_attach_type: None,
            insns,
            license: c"GPL",
            name: "",
            flags: 0,
            kern_version: 0,
            attach_btf_id: 0,
            attach_btf_obj_fd: None,
            attach_prog_fd: None,
            prog_btf_fd: None,
            func_info: Records::default(),
            line_info: Records::default(),
            fd_array: &[],
            token_fd: None,
        }
    }
}

/// The program may sleep: `BPF_F_SLEEPABLE`, since v5.10.
pub const F_SLEEPABLE: u32 = 1 << 4;
/// The program copes with packets of several fragments: `BPF_F_XDP_HAS_FRAGS`, since v5.18.
pub const F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// What `BPF_MAP_CREATE` is asked.
#[derive(Clone, Copy)]
pub struct MapCreate<'a> {
    /// The map type.
    pub map_type: MapType,
    /// Size of a key in bytes.
    pub key_sz: u32,
    /// Size of a value in bytes.
    pub value_sz: u32,
    /// Most elements; bytes in ring buffers, pages in arenas.
    pub max_entries: u32,
    /// `BPF_F_*` flags.
    pub flags: u32,
    /// For maps of maps: a map like those to be kept.
    pub inner_map_fd: Option<BorrowedFd<'a>>,
    /// NUMA node, with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// Name of the map; empty for none.
    pub name: &'a str,
    /// BTF that `btf_key_type_id` and `btf_value_type_id` refer to.
    pub btf_fd: Option<BorrowedFd<'a>>,
    /// Type of the key.
    pub btf_key_type_id: u32,
    /// Type of the value.
    pub btf_value_type_id: u32,
    /// For struct_ops: the kernel's structure `bpf_struct_ops_*`.
    pub btf_vmlinux_value_type_id: u32,
    /// Depends on the type: hash functions of a bloom filter, address of an arena.
    pub map_extra: u64,
}

impl<'a> MapCreate<'a> {
    /// A map without name, BTF and flags.
    pub fn new(map_type: MapType, key_sz: u32, value_sz: u32, max_entries: u32) -> MapCreate<'a> {
        MapCreate {
            map_type,
            key_sz,
            value_sz,
            max_entries,
            flags: 0,
            inner_map_fd: None,
            numa_node: 0,
            name: "",
            btf_fd: None,
            btf_key_type_id: 0,
            btf_value_type_id: 0,
            btf_vmlinux_value_type_id: 0,
            map_extra: 0,
        }
    }
}

/// A map made by [`super::Kernel::map_create`]. It remembers the sizes, since the kernel reads keys and values by them.
#[derive(Debug)]
pub struct Map {
    pub(super) fd: OwnedFd,
    pub(super) key_sz: usize,
    /// `None` for per-CPU maps, whose values have a size of their own for each possible CPU.
    pub(super) value_sz: Option<usize>,
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What `BPF_LINK_CREATE` hangs a program on.
#[derive(Clone, Copy, Debug)]
pub enum LinkTarget<'a> {
    /// Nothing beyond the program itself: tracing programs, whose target is fixed at load.
    None,
    /// A cgroup, network namespace or perf event.
    Fd(BorrowedFd<'a>),
    /// A network interface.
    Interface(u32),
    /// A descriptor that is none, to see whether the kernel comes as far as looking.
    NoFd,
}

/// The part of `BPF_LINK_CREATE` that depends on the attach type.
#[derive(Clone, Copy, Debug)]
pub enum LinkDetail<'a> {
    /// None.
    None,
    /// The cookie that the program reads with `bpf_get_attach_cookie()`: perf events.
    PerfCookie(u64),
    /// The same for tracing programs.
    TracingCookie(u64),
    /// `kprobe.multi` on one function.
    KprobeMulti {
        /// The function's name.
        symbol: &'a CStr,
        /// `BPF_F_KPROBE_MULTI_*`.
        flags: u32,
    },
    /// `uprobe.multi` at one offset of a file.
    UprobeMulti {
        /// The file's path.
        path: &'a CStr,
        /// Offset of the instruction in the file.
        off: u64,
        /// The process in which it is watched; 0 for all.
        pid: u32,
    },
    /// A netfilter hook.
    Netfilter {
        /// Protocol family.
        pf: u32,
        /// `NF_INET_*` hook.
        hook: u32,
        /// Order among the hook's functions.
        priority: i32,
    },
}

/// Answer of [`super::Kernel::prog_query`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attached {
    /// Ids of the programs attached, in the order in which they run.
    pub prog_ids: Vec<u32>,
    /// `BPF_F_ALLOW_*` flags of the attach point.
    pub attach_flags: u32,
}

/// A question to the kernel, shown to whoever answers in its place.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Question<'a> {
    /// `BPF_PROG_LOAD`.
    ProgLoad(&'a ProgLoad<'a>),
    /// `BPF_MAP_CREATE`.
    MapCreate(&'a MapCreate<'a>),
    /// Any other command.
    Other(Command),
}

/// An answer given in the kernel's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Accept: the caller gets a descriptor of `/dev/null`.
    Accept,
    /// Refuse, with the verifier's log.
    Refuse(Errno, String),
}

/// Answers some questions in the kernel's place; `None` passes a question on to the running kernel.
pub type Injector = Box<dyn FnMut(Question<'_>) -> Option<Answer>>;

/// A licence as the kernel takes it. `None` if it holds a zero byte.
pub fn license(text: &str) -> Option<CString> {
    CString::new(text).ok()
}
