//! The one wrapper of bpf(2), used by probes and loader, and the few other system calls that no crate offers safely.
//!
//! Every call takes slices and file descriptors and returns `Result<_, Errno>`; nothing here interprets an answer. The
//! layout of `union bpf_attr` is that of `include/uapi/linux/bpf.h`, v6.18. A kernel refuses an attribute that is longer
//! than its own if the rest is not zero (E2BIG), and never misses one that is shorter: so only as many bytes are passed
//! as the highest field that was set.

#![expect(
    unsafe_code,
    reason = "bpf(2) takes addresses of buffers; no crate wraps it without interpreting the answers"
)]

use btf_catalog::{AttachType, MapType, ProgType};
pub use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// `enum bpf_cmd`: the commands used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Command {
    /// `BPF_MAP_CREATE`.
    MapCreate = 0,
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdateElem = 2,
    /// `BPF_PROG_LOAD`.
    ProgLoad = 5,
    /// `BPF_PROG_TEST_RUN`.
    ProgTestRun = 10,
    /// `BPF_PROG_GET_NEXT_ID`.
    ProgGetNextId = 11,
    /// `BPF_MAP_GET_NEXT_ID`.
    MapGetNextId = 12,
    /// `BPF_PROG_GET_FD_BY_ID`.
    ProgGetFdById = 13,
    /// `BPF_MAP_GET_FD_BY_ID`.
    MapGetFdById = 14,
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    ObjGetInfoByFd = 15,
    /// `BPF_PROG_QUERY`.
    ProgQuery = 16,
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepointOpen = 17,
    /// `BPF_BTF_LOAD`.
    BtfLoad = 18,
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById = 19,
    /// `BPF_MAP_FREEZE`.
    MapFreeze = 22,
    /// `BPF_BTF_GET_NEXT_ID`.
    BtfGetNextId = 23,
    /// `BPF_LINK_CREATE`.
    LinkCreate = 28,
    /// `BPF_LINK_GET_FD_BY_ID`.
    LinkGetFdById = 30,
    /// `BPF_LINK_GET_NEXT_ID`.
    LinkGetNextId = 31,
    /// `BPF_ITER_CREATE`.
    IterCreate = 33,
    /// `BPF_TOKEN_CREATE`.
    TokenCreate = 36,
}

/// Kinds of kernel object that have ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// Programs.
    Prog,
    /// Maps.
    Map,
    /// BTF objects.
    Btf,
    /// Links.
    Link,
}

/// `union bpf_attr`, zero where nothing was put; its length is the end of the highest field put.
struct Attr {
    bytes: [u8; Attr::MAX_SZ],
    len: usize,
}

impl Attr {
    const MAX_SZ: usize = 160;

    fn new() -> Attr {
        Attr { bytes: [0; Attr::MAX_SZ], len: 0 }
    }

    /// Puts a field's bytes. A field that is all zero does not lengthen the attribute.
    fn put(&mut self, off: usize, field: &[u8]) -> &mut Attr {
        let end = off + field.len();
        self.bytes[off..end].copy_from_slice(field);
        if field.iter().any(|byte| *byte != 0) {
            self.len = self.len.max(end);
        }
        self
    }

    fn u32(&mut self, off: usize, value: u32) -> &mut Attr {
        self.put(off, &value.to_ne_bytes())
    }

    fn u64(&mut self, off: usize, value: u64) -> &mut Attr {
        self.put(off, &value.to_ne_bytes())
    }

    fn fd(&mut self, off: usize, fd: Option<BorrowedFd<'_>>) -> &mut Attr {
        self.u32(off, fd.map_or(0, |fd| fd.as_raw_fd() as u32))
    }

    /// Puts the address of what the kernel reads. The caller keeps `data` alive until the call has returned.
    fn address(&mut self, off: usize, data: &[u8]) -> &mut Attr {
        let address = if data.is_empty() { 0 } else { data.as_ptr().addr() as u64 };
        // The address is taken for good: the kernel is as foreign as any other language.
        let _ = data.as_ptr().expose_provenance();
        self.u64(off, address)
    }

    /// Puts the address of what the kernel writes.
    fn address_mut(&mut self, off: usize, data: &mut [u8]) -> &mut Attr {
        let address = data.as_mut_ptr().expose_provenance() as u64;
        self.u64(off, if data.is_empty() { 0 } else { address })
    }

    /// Puts an object name: at most 15 characters of `[A-Za-z0-9_.]`, as `bpf_obj_name_cpy()` allows.
    fn name(&mut self, off: usize, name: &str) -> &mut Attr {
        let mut field = [0; 16];
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
        for (to, from) in field[..15].iter_mut().zip(name.bytes().filter(allowed)) {
            *to = from;
        }
        self.put(off, &field)
    }

    fn read_u32(&self, off: usize) -> u32 {
        let mut field = [0; 4];
        field.copy_from_slice(&self.bytes[off..off + 4]);
        u32::from_ne_bytes(field)
    }

    /// Calls bpf(2). `at_least` is the length up to which the kernel may write answers.
    fn call(&mut self, command: Command, at_least: usize) -> Result<RawFd, Errno> {
        let len = self.len.max(at_least);
        // SAFETY: `bytes` is valid for `len <= MAX_SZ` bytes of reading and writing. Every address in it was put by
        // `address` or `address_mut` from a slice that the calling function of this module borrows until here, beside
        // a length that it took from the same slice (or from a map's key and value sizes, checked against it).
        let ret =
            unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, self.bytes.as_mut_ptr(), len) };
        check(ret)
    }
}

/// The result of a system call that returns -1 and sets errno.
fn check(ret: libc::c_long) -> Result<RawFd, Errno> {
    if ret >= 0 {
        return Ok(ret as RawFd);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Takes over a descriptor that the kernel has just made.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: `fd` was returned by a successful system call that creates a descriptor; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Where the verifier or the BTF loader writes its log.
pub struct LogBuf {
    bytes: Vec<u8>,
    level: u32,
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

    fn set_text(&mut self, text: &str) {
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
    fn count(self) -> u32 {
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

/// A map made by [`Kernel::map_create`]. It remembers the sizes, since the kernel reads keys and values by them.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_sz: usize,
    /// `None` for per-CPU maps, whose values have a size of their own for each possible CPU.
    value_sz: Option<usize>,
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

/// Answer of [`Kernel::prog_query`].
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

/// What was asked of the kernel so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CallStats {
    /// bpf(2) calls.
    pub calls: u64,
    /// `BPF_PROG_LOAD` calls among them.
    pub loads: u64,
    /// Loads that were accepted: each may have been compiled by the JIT, which interrupts all CPUs.
    pub accepted_loads: u64,
    /// Maps that were created.
    pub maps_created: u64,
    /// Time spent in bpf(2), wall clock.
    pub elapsed_us: u64,
}

/// The running kernel, as bpf(2) shows it, with a count of what was asked.
#[derive(Default)]
pub struct Kernel {
    stats: CallStats,
    load_limit: Option<Duration>,
    injector: Option<Injector>,
}

impl Kernel {
    /// The kernel this process runs on.
    pub fn live() -> Kernel {
        Kernel::default()
    }

    /// The same with some answers given by `injector` instead: how the probes' reading of answers is tested.
    pub fn injected(injector: Injector) -> Kernel {
        Kernel { injector: Some(injector), ..Kernel::default() }
    }

    /// What was asked so far.
    pub fn stats(&self) -> CallStats {
        self.stats
    }

    /// Bounds the time of each load: the verifier looks for pending signals and gives up with EAGAIN
    /// (`do_check()`, kernel/bpf/verifier.c). A signal comes every `limit` from now on; the load it meets is tried again
    /// unless it has used up its time, which then is between one and two limits. Takes over SIGALRM and the process'
    /// real-time interval timer, so only for a process of its own with one thread.
    pub fn limit_loads(&mut self, limit: Duration) -> Result<(), Errno> {
        install_alarm_handler()?;
        set_timer(limit);
        self.load_limit = Some(limit);
        Ok(())
    }

    /// `BPF_PROG_LOAD`. With `log`, its level and what was logged.
    ///
    /// EAGAIN, which says that a signal came, is tried again a few times, unless the load's time is over.
    pub fn prog_load(&mut self, load: &ProgLoad<'_>, mut log: Option<&mut LogBuf>) -> Result<OwnedFd, Errno> {
        self.stats.loads += 1;
        if let Some(log) = log.as_deref_mut() {
            log.bytes[0] = 0;
        }
        if let Some(answer) = self.ask(Question::ProgLoad(load)) {
            let result = injected(answer, log);
            self.stats.accepted_loads += u64::from(result.is_ok());
            return result;
        }
        let mut attr = Attr::new();
        attr.u32(0, load.prog_type.0)
            .u32(4, (load.insns.len() / 8) as u32)
            .address(8, load.insns)
            .address(16, load.license.to_bytes_with_nul());
        if let Some(log) = log {
            attr.u32(24, log.level).u32(28, log.bytes.len() as u32).address_mut(32, &mut log.bytes);
        }
        let fd_array: Vec<u8> = load.fd_array.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        attr.u32(40, load.kern_version)
            .u32(44, load.flags)
            .name(48, load.name)
            .u32(68, load.expected_attach_type.map_or(0, |attach| attach.0))
            .fd(72, load.prog_btf_fd)
            .u32(108, load.attach_btf_id)
            .fd(112, load.attach_prog_fd.or(load.attach_btf_obj_fd))
            .address(120, &fd_array);
        for (rec_sz_off, records_off, count_off, records) in
            [(76, 80, 88, load.func_info), (92, 96, 104, load.line_info)]
        {
            if records.count() > 0 {
                attr.u32(rec_sz_off, records.rec_sz)
                    .address(records_off, records.bytes)
                    .u32(count_off, records.count());
            }
        }
        if let Some(token) = load.token_fd {
            attr.u32(44, load.flags | F_TOKEN_FD).fd(144, Some(token));
        }
        let started = Instant::now();
        let mut tries = 0;
        let result = loop {
            let result = self.timed(|| attr.call(Command::ProgLoad, 0));
            tries += 1;
            let expired = self.load_limit.is_some_and(|limit| started.elapsed() >= limit);
            if result != Err(Errno::AGAIN) || expired || tries == LOAD_TRIES {
                break result;
            }
        };
        self.stats.accepted_loads += u64::from(result.is_ok());
        result.map(own)
    }

    /// `BPF_MAP_CREATE`.
    pub fn map_create(&mut self, create: &MapCreate<'_>) -> Result<Map, Errno> {
        let fd = match self.ask(Question::MapCreate(create)) {
            Some(answer) => injected(answer, None)?,
            None => {
                let mut attr = Attr::new();
                attr.u32(0, create.map_type.0)
                    .u32(4, create.key_sz)
                    .u32(8, create.value_sz)
                    .u32(12, create.max_entries)
                    .u32(16, create.flags)
                    .fd(20, create.inner_map_fd)
                    .u32(24, create.numa_node)
                    .name(28, create.name)
                    .fd(48, create.btf_fd)
                    .u32(52, create.btf_key_type_id)
                    .u32(56, create.btf_value_type_id)
                    .u32(60, create.btf_vmlinux_value_type_id)
                    .u64(64, create.map_extra);
                own(self.timed(|| attr.call(Command::MapCreate, 0))?)
            }
        };
        self.stats.maps_created += 1;
        let per_cpu = [
            MapType::PERCPU_HASH,
            MapType::PERCPU_ARRAY,
            MapType::LRU_PERCPU_HASH,
            MapType::PERCPU_CGROUP_STORAGE,
        ];
        let value_sz = (!per_cpu.contains(&create.map_type)).then_some(create.value_sz as usize);
        Ok(Map { fd, key_sz: create.key_sz as usize, value_sz })
    }

    /// `BPF_MAP_UPDATE_ELEM`. EINVAL, without asking, if key and value have not the map's sizes or the map is per CPU.
    pub fn map_update_elem(&mut self, map: &Map, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if key.len() != map.key_sz || Some(value.len()) != map.value_sz {
            return Err(Errno::INVAL);
        }
        let mut attr = Attr::new();
        attr.fd(0, Some(map.as_fd())).address(8, key).address(16, value).u64(24, flags);
        self.plain(Command::MapUpdateElem, &mut attr, 32).map(drop)
    }

    /// `BPF_MAP_FREEZE`, since v5.2: user space can no longer write the map.
    pub fn map_freeze(&mut self, map: &Map) -> Result<(), Errno> {
        let mut attr = Attr::new();
        attr.fd(0, Some(map.as_fd()));
        self.plain(Command::MapFreeze, &mut attr, 4).map(drop)
    }

    /// `BPF_BTF_LOAD`.
    pub fn btf_load(&mut self, btf: &[u8], mut log: Option<&mut LogBuf>) -> Result<OwnedFd, Errno> {
        let mut attr = Attr::new();
        attr.address(0, btf).u32(16, btf.len() as u32);
        if let Some(log) = log.as_deref_mut() {
            log.bytes[0] = 0;
            attr.address_mut(8, &mut log.bytes).u32(20, log.bytes.len() as u32).u32(24, log.level);
        }
        match self.ask(Question::Other(Command::BtfLoad)) {
            Some(answer) => injected(answer, log),
            None => self.timed(|| attr.call(Command::BtfLoad, 0)).map(own),
        }
    }

    /// `BPF_OBJ_GET_INFO_BY_FD`: fills `info` with as much of the object's `struct bpf_*_info` as fits, and returns how
    /// much that was. No arrays are asked for, their counts are filled in.
    pub fn obj_get_info_by_fd(&mut self, fd: BorrowedFd<'_>, info: &mut [u8]) -> Result<usize, Errno> {
        // The structures hold addresses that the kernel would write to.
        info.fill(0);
        let mut attr = Attr::new();
        attr.fd(0, Some(fd)).u32(4, info.len() as u32).address_mut(8, info);
        self.plain(Command::ObjGetInfoByFd, &mut attr, 16)?;
        Ok((attr.read_u32(4) as usize).min(info.len()))
    }

    /// The smallest id above `after` of an object of that kind, or `None` at the end.
    pub fn next_id(&mut self, kind: ObjectKind, after: u32) -> Result<Option<u32>, Errno> {
        let command = match kind {
            ObjectKind::Prog => Command::ProgGetNextId,
            ObjectKind::Map => Command::MapGetNextId,
            ObjectKind::Btf => Command::BtfGetNextId,
            ObjectKind::Link => Command::LinkGetNextId,
        };
        let mut attr = Attr::new();
        attr.u32(0, after);
        match self.plain(command, &mut attr, 8) {
            Ok(_) => Ok(Some(attr.read_u32(4))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A descriptor of the object with that id.
    pub fn fd_by_id(&mut self, kind: ObjectKind, id: u32) -> Result<OwnedFd, Errno> {
        let command = match kind {
            ObjectKind::Prog => Command::ProgGetFdById,
            ObjectKind::Map => Command::MapGetFdById,
            ObjectKind::Btf => Command::BtfGetFdById,
            ObjectKind::Link => Command::LinkGetFdById,
        };
        let mut attr = Attr::new();
        attr.u32(0, id);
        self.plain(command, &mut attr, 4).map(own)
    }

    /// `BPF_PROG_QUERY`: at most 64 programs attached to a cgroup, network namespace or interface.
    pub fn prog_query(&mut self, target: LinkTarget<'_>, attach: AttachType) -> Result<Attached, Errno> {
        const MOST: usize = 64;
        let mut ids = [0; MOST * 4];
        let mut attr = Attr::new();
        put_target(&mut attr, 0, target);
        attr.u32(4, attach.0).address_mut(16, &mut ids).u32(24, MOST as u32);
        match self.plain(Command::ProgQuery, &mut attr, 28) {
            // With ENOSPC the array is full.
            Ok(_) | Err(Errno::NOSPC) => {}
            Err(errno) => return Err(errno),
        }
        let count = (attr.read_u32(24) as usize).min(MOST);
        let (ids, _) = ids.as_chunks::<4>();
        let prog_ids = ids[..count].iter().map(|id| u32::from_ne_bytes(*id)).collect();
        Ok(Attached { prog_ids, attach_flags: attr.read_u32(12) })
    }

    /// `BPF_LINK_CREATE`: the program is attached until the link is closed.
    pub fn link_create(
        &mut self,
        prog: BorrowedFd<'_>,
        target: LinkTarget<'_>,
        attach: AttachType,
        flags: u32,
        detail: LinkDetail<'_>,
    ) -> Result<OwnedFd, Errno> {
        let mut attr = Attr::new();
        attr.fd(0, Some(prog)).u32(8, attach.0).u32(12, flags);
        put_target(&mut attr, 4, target);
        let mut array = [0; 8];
        match detail {
            LinkDetail::None => {}
            LinkDetail::PerfCookie(cookie) => {
                attr.u64(16, cookie);
            }
            LinkDetail::TracingCookie(cookie) => {
                attr.u64(24, cookie);
            }
            LinkDetail::KprobeMulti { symbol, flags } => {
                array = (symbol.as_ptr().expose_provenance() as u64).to_ne_bytes();
                attr.u32(16, flags).u32(20, 1).address(24, &array);
            }
            LinkDetail::UprobeMulti { path, off } => {
                array = off.to_ne_bytes();
                attr.address(16, path.to_bytes_with_nul()).address(24, &array).u32(48, 1);
            }
            LinkDetail::Netfilter { pf, hook, priority } => {
                attr.u32(16, pf).u32(20, hook).u32(24, priority as u32);
            }
        }
        let result = self.plain(Command::LinkCreate, &mut attr, 16).map(own);
        let _ = array;
        result
    }

    /// `BPF_RAW_TRACEPOINT_OPEN`: a raw tracepoint by name, or a tracing program without one.
    pub fn raw_tracepoint_open(
        &mut self,
        name: Option<&CStr>,
        prog: BorrowedFd<'_>,
    ) -> Result<OwnedFd, Errno> {
        let mut attr = Attr::new();
        attr.address(0, name.map_or(&[], CStr::to_bytes_with_nul)).fd(8, Some(prog));
        self.plain(Command::RawTracepointOpen, &mut attr, 12).map(own)
    }

    /// `BPF_ITER_CREATE`: what an iterator's link would print.
    pub fn iter_create(&mut self, link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let mut attr = Attr::new();
        attr.fd(0, Some(link));
        self.plain(Command::IterCreate, &mut attr, 8).map(own)
    }

    /// `BPF_TOKEN_CREATE`, since v6.9: a token of a bpffs mounted with delegation; of no descriptor at all (EBADF) with
    /// `None`.
    pub fn token_create(&mut self, bpffs: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Errno> {
        let mut attr = Attr::new();
        attr.u32(4, bpffs.map_or(u32::MAX, |fd| fd.as_raw_fd() as u32));
        self.plain(Command::TokenCreate, &mut attr, 8).map(own)
    }

    /// `BPF_PROG_TEST_RUN` once on `data`; returns what the program returned.
    pub fn prog_test_run(&mut self, prog: BorrowedFd<'_>, data: &[u8]) -> Result<u32, Errno> {
        let mut attr = Attr::new();
        attr.fd(0, Some(prog)).u32(8, data.len() as u32).address(16, data).u32(32, 1);
        self.plain(Command::ProgTestRun, &mut attr, 40)?;
        Ok(attr.read_u32(4))
    }

    /// A call whose answer is in the attribute or a descriptor.
    fn plain(&mut self, command: Command, attr: &mut Attr, at_least: usize) -> Result<RawFd, Errno> {
        match self.ask(Question::Other(command)) {
            Some(Answer::Refuse(errno, _)) => Err(errno),
            Some(Answer::Accept) => injected(Answer::Accept, None).map(std::os::fd::IntoRawFd::into_raw_fd),
            None => self.timed(|| attr.call(command, at_least)),
        }
    }

    fn ask(&mut self, question: Question<'_>) -> Option<Answer> {
        self.stats.calls += 1;
        self.injector.as_mut()?(question)
    }

    fn timed<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = call();
        self.stats.elapsed_us += started.elapsed().as_micros() as u64;
        result
    }
}

/// `BPF_F_TOKEN_FD`: the attribute carries a token.
const F_TOKEN_FD: u32 = 1 << 16;
/// How often a load that a signal interrupted is tried; as often as libbpf does.
const LOAD_TRIES: u32 = 5;

fn put_target(attr: &mut Attr, off: usize, target: LinkTarget<'_>) {
    match target {
        LinkTarget::None => attr,
        LinkTarget::Fd(fd) => attr.fd(off, Some(fd)),
        LinkTarget::Interface(ifindex) => attr.u32(off, ifindex),
        LinkTarget::NoFd => attr.u32(off, u32::MAX),
    };
}

fn injected(answer: Answer, log: Option<&mut LogBuf>) -> Result<OwnedFd, Errno> {
    match answer {
        Answer::Accept => {
            rustix::fs::open(c"/dev/null", rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
        }
        Answer::Refuse(errno, text) => {
            if let Some(log) = log {
                log.set_text(&text);
            }
            Err(errno)
        }
    }
}

fn set_timer(interval: Duration) {
    let interval = libc::timeval {
        tv_sec: interval.as_secs() as libc::time_t,
        tv_usec: interval.subsec_micros() as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: `timer` is a valid itimerval for the duration of the call, and the old value is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// A SIGALRM handler that does nothing, without SA_RESTART, so that the signal is seen as pending and then forgotten.
fn install_alarm_handler() -> Result<(), Errno> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction (no flags, empty mask); the handler is async-signal-safe: it does nothing.
    let ret = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut())
    };
    check(libc::c_long::from(ret)).map(drop)
}

/// Marks every open descriptor but the standard three close-on-exec, so that no child inherits what a shell or a
/// container runtime left open. Kernels before v5.11 cannot, and children then inherit it.
pub fn keep_descriptors_from_children() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no address is passed, and no descriptor is closed.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// What a process used, as the kernel counted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// CPU time in the kernel.
    pub stime_us: u64,
    /// CPU time in user space.
    pub utime_us: u64,
    /// Most memory resident at one time.
    pub max_rss_kib: u64,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// Waits until the child `pid` has ended and reaps it.
pub fn wait_for(pid: u32) -> Result<(Ending, Usage), Errno> {
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `status` and `usage` are valid for writing.
        let ret = unsafe { libc::wait4(pid as libc::pid_t, &raw mut status, 0, &raw mut usage) };
        match check(libc::c_long::from(ret)) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let ending = if libc::WIFEXITED(status) {
        Ending::Exited(libc::WEXITSTATUS(status))
    } else {
        Ending::Killed(libc::WTERMSIG(status))
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    let usage = Usage {
        stime_us: micros(usage.ru_stime),
        utime_us: micros(usage.ru_utime),
        max_rss_kib: usage.ru_maxrss as u64,
    };
    Ok((ending, usage))
}

/// The name of an errno: `EPERM`; `errno 4711` for one that has none here.
///
/// The kernel's internal ENOTSUPP (524) does leak from bpf(2).
pub fn errno_name(errno: Errno) -> String {
    let raw = errno.raw_os_error();
    match ERRNO_NAMES.iter().find(|(number, _)| *number == raw) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("errno {raw}"),
    }
}

macro_rules! errno_names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name)),)* (524, "ENOTSUPP")] };
}

static ERRNO_NAMES: &[(i32, &str)] = errno_names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG
    ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EOVERFLOW EILSEQ EUSERS ENOTSOCK EMSGSIZE EPROTO EPROTOTYPE ENOPROTOOPT
    EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EALREADY EINPROGRESS ESTALE EDQUOT ENOKEY
    EKEYEXPIRED EKEYREVOKED EKEYREJECTED ECANCELED ENODATA ETIME ENOLINK EBADMSG ELIBBAD
};

/// Ids of the active security modules in their order, `enum lsm_id`: lsm_list_modules(2), since v6.8. Needs no privilege.
pub fn lsm_list_modules() -> Result<Vec<u64>, Errno> {
    // A number of its own architecture's table, and the same in all of them, as of every call since v5.1.
    const SYS_LSM_LIST_MODULES: libc::c_long = 461;
    let mut ids = [0u64; 64];
    let mut byte_sz = size_of_val(&ids) as u32;
    // SAFETY: `ids` is valid for writing `byte_sz` bytes, and `byte_sz` for reading and writing, until the call returns.
    let ret = unsafe { libc::syscall(SYS_LSM_LIST_MODULES, ids.as_mut_ptr(), &raw mut byte_sz, 0u32) };
    let count = check(ret)? as usize;
    Ok(ids[..count.min(ids.len())].to_vec())
}

/// A licence as the kernel takes it. `None` if it holds a zero byte.
pub fn license(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_as_long_as_its_highest_field() {
        let mut attr = Attr::new();
        attr.u32(0, 6).u32(68, 0).fd(72, None);
        assert_eq!(attr.len, 4);
        attr.name(48, "a/b");
        assert_eq!((attr.len, &attr.bytes[48..51]), (64, &b"ab\0"[..]));
    }

    #[test]
    fn errnos_have_names() {
        assert_eq!(errno_name(Errno::PERM), "EPERM");
        assert_eq!(errno_name(Errno::from_raw_os_error(524)), "ENOTSUPP");
        assert_eq!(errno_name(Errno::from_raw_os_error(4000)), "errno 4000");
    }

    #[test]
    fn answers_can_be_given_in_the_kernels_place() {
        let mut kernel = Kernel::injected(Box::new(|question| match question {
            Question::ProgLoad(_) => Some(Answer::Refuse(Errno::NOMEM, "no room".to_owned())),
            Question::MapCreate(_) => Some(Answer::Accept),
            Question::Other(_) => None,
        }));
        let mut log = LogBuf::new(128, LogBuf::LEVEL_STATS);
        let refused = kernel.prog_load(&ProgLoad::new(ProgType::XDP, &[]), Some(&mut log)).unwrap_err();
        assert_eq!((refused, &*log.text()), (Errno::NOMEM, "no room"));
        let map = kernel.map_create(&MapCreate::new(MapType::HASH, 4, 8, 1)).unwrap();
        assert_eq!(
            kernel.map_update_elem(&map, &[0; 4], &[0; 4], 0),
            Err(Errno::INVAL),
            "value is too short"
        );
        let stats = kernel.stats();
        assert_eq!((stats.calls, stats.loads, stats.accepted_loads, stats.maps_created), (2, 1, 0, 1));
    }
}
