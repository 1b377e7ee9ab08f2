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

use btf_catalog::{AttachType, MapType};
pub use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

mod attr;
mod errno;
pub mod hook;
mod mapping;
mod process;
mod question;

use attr::{Attr, check, own};
pub use errno::{errno_name, name_errnos};
pub use mapping::map_vmlinux_btf;
pub use process::{Ending, Usage, keep_descriptors_from_children, lsm_list_modules, wait_for};
use process::{install_alarm_handler, set_timer};
pub use question::{
    Answer, Attached, F_SLEEPABLE, F_XDP_HAS_FRAGS, Injector, LinkDetail, LinkTarget, LogBuf, Map, MapCreate,
    ProgLoad, Question, Records, license,
};

/// `enum bpf_cmd`: the commands used here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Command {
    /// `BPF_MAP_CREATE`.
    MapCreate = 0,
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookupElem = 1,
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdateElem = 2,
    /// `BPF_PROG_LOAD`.
    ProgLoad = 5,
    /// `BPF_PROG_ATTACH`.
    ProgAttach = 8,
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
        let fd = if let Some(answer) = self.ask(Question::MapCreate(create)) {
            injected(answer, None)?
        } else {
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

    /// `BPF_MAP_LOOKUP_ELEM`: the value of `key`. EINVAL, without asking, if the key has not the map's size or the map is
    /// per CPU.
    pub fn map_lookup_elem(&mut self, map: &Map, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let Some(value_sz) = map.value_sz.filter(|_| key.len() == map.key_sz) else {
            return Err(Errno::INVAL);
        };
        let mut value = vec![0; value_sz];
        let mut attr = Attr::new();
        attr.fd(0, Some(map.as_fd())).address(8, key).address_mut(16, &mut value);
        self.plain(Command::MapLookupElem, &mut attr, 32)?;
        Ok(value)
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

    /// The name of a loaded BTF of the kernel, `vmlinux` or a module's (since v5.11); `None` for a program's.
    pub fn btf_name(&mut self, btf: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
        // `struct bpf_btf_info`: btf, btf_size, id, name, name_len, kernel_btf.
        const SZ: usize = 32;
        let mut name = [0; 64];
        let mut info = Attr::new();
        info.address_mut(16, &mut name).u32(24, name.len() as u32);
        let mut attr = Attr::new();
        attr.fd(0, Some(btf)).u32(4, SZ as u32).address_mut(8, &mut info.bytes[..SZ]);
        self.plain(Command::ObjGetInfoByFd, &mut attr, 16)?;
        let is_kernels = attr.read_u32(4) as usize >= SZ && info.read_u32(28) != 0;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(is_kernels.then(|| String::from_utf8_lossy(name).into_owned()))
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
        // Read by the kernel: it lives until the call has returned.
        let array: [u8; 8];
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
            LinkDetail::UprobeMulti { path, off, pid } => {
                array = off.to_ne_bytes();
                attr.address(16, path.to_bytes_with_nul()).address(24, &array).u32(48, 1).u32(56, pid);
            }
            LinkDetail::Netfilter { pf, hook, priority } => {
                attr.u32(16, pf).u32(20, hook).u32(24, priority as u32);
            }
        }
        self.plain(Command::LinkCreate, &mut attr, 16).map(own)
    }

    /// `BPF_PROG_ATTACH` without flags: the program takes the place of one attached so before, and stays as long as the
    /// target.
    pub fn prog_attach(
        &mut self,
        prog: BorrowedFd<'_>,
        target: LinkTarget<'_>,
        attach: AttachType,
    ) -> Result<(), Errno> {
        let mut attr = Attr::new();
        put_target(&mut attr, 0, target);
        attr.fd(4, Some(prog)).u32(8, attach.0);
        self.plain(Command::ProgAttach, &mut attr, 16).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use btf_catalog::ProgType;

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
