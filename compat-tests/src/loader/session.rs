//! One load from beginning to end, in the process that talks to the kernel.

use super::btf::ObjectBtf;
use super::log::decisive_lines;
use super::map;
use super::node::{self, Node};
use super::outcome::{Accepted, Cause, LoadOutcome, LoadReport, Stage, cause_of_load, explain_load};
use super::request::{EntrySpec, LoadRequest};
use btf_catalog::insn::{INSN_SZ, Insn, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use bytes::Bytes;
use probe_matrix::sys::{self, Errno, Kernel, LogBuf, Map, ObjectKind, ProgLoad, Records, errno_name};
use probe_matrix::worker::{Request, Sender};
use serde::Deserialize as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What the worker announces: where a worker that was lost had got to.
pub(super) const STEP_BTF: &str = "BTF";
pub(super) const STEP_MAPS: &str = "maps";
pub(super) const STEP_ENTRY: &str = "entry ";

/// Sizes of the log buffer, tried in turn while the log does not fit.
const LOG_BYTE_SZS: [usize; 3] = [64 << 10, 1 << 20, 16 << 20];
/// Longest log that is kept, from its end: that is where the verifier says why.
const KEPT_LOG_BYTE_SZ: usize = 2 << 20;
/// Bytes of `struct bpf_func_info` and `struct bpf_line_info`.
const FUNC_INFO_SZ: u32 = 8;
const LINE_INFO_SZ: u32 = 16;

/// Handles the worker's verb `load`: loads what the request says, answers with one [`LoadReport`] per step, and closes
/// everything. Nothing is attached or pinned.
pub fn serve(request: &Request, sender: &mut Sender) -> Result<(), String> {
    let body: LoadRequest =
        LoadRequest::deserialize(&request.body).map_err(|err| format!("a load request: {err}"))?;
    let mut kernel = Kernel::live();
    let limit = Duration::from_millis(body.limit_ms);
    kernel.limit_loads(limit).map_err(|errno| format!("a timer for loads: {}", errno_name(errno)))?;
    let memlock_limited = node::lift_memlock(&mut kernel);
    let node = Node::read(memlock_limited);
    let mut session =
        Session { request: &body, blobs: &request.blobs, kernel: &mut kernel, node: &node, limit };
    session.run(&mut |event| match event {
        Event::Step(step) => sender.step(step).map_err(|err| err.to_string()),
        Event::Result(report) => sender.answer(&report).map_err(|err| err.to_string()),
    })
}

/// What a session tells as it goes.
pub(super) enum Event {
    /// What is done from here on.
    Step(String),
    /// What came of it.
    Result(LoadReport),
}

/// Where a session tells it; an error ends the session.
type Tell<'t> = &'t mut dyn FnMut(Event) -> Result<(), String>;

pub(super) struct Session<'s> {
    pub(super) request: &'s LoadRequest,
    pub(super) blobs: &'s [Bytes],
    pub(super) kernel: &'s mut Kernel,
    pub(super) node: &'s Node,
    pub(super) limit: Duration,
}

/// What all entries of the object share.
struct Shared {
    btf: ObjectBtf,
    maps: Vec<Map>,
    /// BTF of [`LoadRequest::modules`].
    modules: Vec<OwnedFd>,
    license: std::ffi::CString,
}

impl Session<'_> {
    pub(super) fn run(&mut self, tell: Tell<'_>) -> Result<(), String> {
        let Some(license) = sys::license(&self.request.license) else {
            let message = "the object's licence holds a zero byte";
            let failure = LoadOutcome::unasked(Stage::Parse, Cause::Object, None, message);
            return tell(Event::Result(LoadReport::failed(failure)));
        };
        tell(Event::Step(STEP_BTF.to_owned()))?;
        let mut notes = Vec::new();
        let bytes = self.request.btf.and_then(|index| self.blobs.get(index));
        let btf = match ObjectBtf::load(bytes, self.kernel, self.node, &mut notes) {
            Ok(btf) => btf,
            Err(failure) => return tell(Event::Result(LoadReport::failed(failure))),
        };
        tell(Event::Result(LoadReport { notes, ..LoadReport::default() }))?;
        tell(Event::Step(STEP_MAPS.to_owned()))?;
        let maps = match self.create_maps(&btf) {
            Ok(maps) => maps,
            Err(failure) => return tell(Event::Result(LoadReport::failed(failure))),
        };
        let modules = match self.module_btfs() {
            Ok(modules) => modules,
            Err(failure) => return tell(Event::Result(LoadReport::failed(failure))),
        };
        let shared = Shared { btf, maps, modules, license };
        for entry in &self.request.entries {
            tell(Event::Step(format!("{STEP_ENTRY}{}", entry.name)))?;
            let report = match self.load_entry(entry, &shared) {
                Ok((accepted, notes)) => {
                    LoadReport { accepted: vec![accepted], notes, ..LoadReport::default() }
                }
                Err(failure) => LoadReport::failed(failure),
            };
            tell(Event::Result(report))?;
        }
        Ok(())
    }

    fn create_maps(&mut self, btf: &ObjectBtf) -> Result<Vec<Map>, LoadOutcome> {
        for spec in &self.request.maps {
            btf.check(&spec.name, spec.needs_btf, "the map's type or value depends on the object's BTF")?;
        }
        map::create_all(&self.request.maps, self.blobs, btf.fd(), self.kernel, self.node)
    }

    /// Opens the BTF of every module that is referred to.
    fn module_btfs(&mut self) -> Result<Vec<OwnedFd>, LoadOutcome> {
        let wanted = &self.request.modules;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: Vec<Option<OwnedFd>> = wanted.iter().map(|_| None).collect();
        let mut after = 0;
        while found.iter().any(Option::is_none) {
            let Some(id) =
                self.kernel.next_id(ObjectKind::Btf, after).map_err(|errno| self.no_modules(errno))?
            else {
                break;
            };
            after = id;
            let fd = match self.kernel.fd_by_id(ObjectKind::Btf, id) {
                Ok(fd) => fd,
                // Its program or module went meanwhile.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(self.no_modules(errno)),
            };
            let name = self.kernel.btf_name(fd.as_fd()).map_err(|errno| self.no_modules(errno))?;
            let place = name.and_then(|name| wanted.iter().position(|module| *module == name));
            if let Some(place) = place {
                found[place] = Some(fd);
            }
        }
        let opened: Option<Vec<OwnedFd>> = found.into_iter().collect();
        // A module was unloaded meanwhile.
        opened.ok_or_else(|| self.no_modules(Errno::NOENT))
    }

    /// Loads one entry and closes it. With the notes of what it was loaded without.
    fn load_entry(
        &mut self,
        spec: &EntrySpec,
        shared: &Shared,
    ) -> Result<(Accepted, Vec<String>), LoadOutcome> {
        let needs = "its subprograms are verified by what the object's BTF says of them";
        shared.btf.check(&spec.name, spec.subprograms, needs)?;
        let blob = |index: usize| self.blobs.get(index).map_or(&[][..], |blob| &blob[..]);
        let insns = with_fds(spec, blob(spec.insns), shared)?;
        let (func_info, line_info) = (blob(spec.func_info), blob(spec.line_info));
        // Index 0 is vmlinux, which is never looked up.
        let fds = std::iter::once(0).chain(shared.modules.iter().map(AsRawFd::as_raw_fd));
        let fd_array: Vec<_> = fds.filter(|_| !shared.modules.is_empty()).collect();
        let mut load = ProgLoad::new(spec.prog_type, &insns);
        load.expected_attach_type = spec.attach_type;
        load.license = &shared.license;
        load.name = &spec.name;
        load.flags = spec.flags;
        load.kern_version = self.node.kern_version;
        load.attach_btf_id = spec.attach_btf_id;
        load.attach_btf_obj_fd =
            spec.attach_module.and_then(|module| shared.modules.get(module)).map(AsFd::as_fd);
        load.fd_array = &fd_array;
        if let Some(btf) = shared.btf.fd() {
            load.prog_btf_fd = Some(btf);
            load.func_info = Records { bytes: func_info, rec_sz: FUNC_INFO_SZ };
            load.line_info = Records { bytes: line_info, rec_sz: LINE_INFO_SZ };
        }
        let whole = self.attempt(&load);
        let Some(errno) = whole.errno else {
            return Ok((Accepted { entry: spec.name.clone(), log: whole.log }, Vec::new()));
        };
        if whole.may_be_about_attributes() {
            let nothing = Records::default();
            let bare =
                ProgLoad { name: "", prog_btf_fd: None, func_info: nothing, line_info: nothing, ..load };
            let attach_type = bare.expected_attach_type.filter(|_| !spec.attach_type_optional);
            let bare = self.attempt(&ProgLoad { expected_attach_type: attach_type, ..bare });
            if bare.errno.is_none() {
                let words = whole.words(errno);
                // A kernel that does not know the records does without; one that finds fault with them was asked about
                // another program than the one that its own loader would give it.
                if !whole.is_too_big_an_attribute() {
                    let message = format!(
                        "`{}` is not judged: this kernel finds fault with the records of its functions and lines, and \
                         accepts it only without them: {words}",
                        spec.name
                    );
                    return Err(LoadOutcome {
                        errno: Some(errno_name(errno)),
                        log: whole.log,
                        ..LoadOutcome::unasked(Stage::Load, Cause::Unknown, Some(&spec.name), message)
                    });
                }
                let left_out = if attach_type == load.expected_attach_type { "" } else { ", attach type" };
                let note = format!(
                    "`{}` was loaded without name, BTF, function and line records{left_out}: with them the kernel said \
                     {words}",
                    spec.name
                );
                return Ok((Accepted { entry: spec.name.clone(), log: bare.log }, vec![note]));
            }
        }
        Err(self.refused(spec, errno, whole))
    }

    /// Asks for one load: without a log first, since writing one costs the kernel more than verifying; then, if it was
    /// refused, again with a log that grows until it fits.
    fn attempt(&mut self, load: &ProgLoad<'_>) -> Attempt {
        let mut attempt = Attempt::default();
        if !self.request.verbose {
            attempt.errno = self.load_once(load, None, &mut attempt.timed_out);
            match attempt.errno {
                None | Some(Errno::NOMEM) => return attempt,
                Some(_) if attempt.timed_out => return attempt,
                Some(_) => {}
            }
        }
        for byte_sz in LOG_BYTE_SZS {
            let mut log = LogBuf::new(byte_sz, LogBuf::LEVEL_INSNS);
            let errno = self.load_once(load, Some(&mut log), &mut attempt.timed_out);
            attempt.capped = errno == Some(Errno::NOSPC);
            attempt.log = end_of(&log.text());
            if !attempt.capped {
                attempt.errno = errno;
                return attempt;
            }
        }
        if self.request.verbose {
            // The log does not fit, which is not the program's fault.
            attempt.errno = self.load_once(load, None, &mut attempt.timed_out);
        }
        attempt
    }

    fn load_once(
        &mut self,
        load: &ProgLoad<'_>,
        log: Option<&mut LogBuf>,
        timed_out: &mut bool,
    ) -> Option<Errno> {
        let began = Instant::now();
        let errno = self.kernel.prog_load(load, log).err();
        *timed_out = errno == Some(Errno::AGAIN) && began.elapsed() >= self.limit;
        errno
    }

    fn refused(&self, spec: &EntrySpec, errno: Errno, attempt: Attempt) -> LoadOutcome {
        let cause = cause_of_load(errno, &attempt.log, attempt.timed_out, self.node);
        let message = if attempt.timed_out {
            format!(
                "the verifier did not come to an end of `{}` within {} ms",
                spec.name,
                self.limit.as_millis()
            )
        } else {
            explain_load(&spec.name, errno, &attempt.log, cause, self.node)
        };
        let capped = if attempt.capped {
            format!(" (its log is longer than {} MiB)", LOG_BYTE_SZS[LOG_BYTE_SZS.len() - 1] >> 20)
        } else {
            String::new()
        };
        LoadOutcome {
            stage: Stage::Load,
            cause,
            subject: Some(spec.name.clone()),
            errno: Some(errno_name(errno)),
            message: message + &capped,
            log: attempt.log,
        }
    }

    fn no_modules(&self, errno: Errno) -> LoadOutcome {
        let name = errno_name(errno);
        let cause = match errno {
            Errno::PERM | Errno::ACCESS => self.node.cause_of_denial(),
            _ => Cause::Unknown,
        };
        let modules = self.request.modules.join(", ");
        let message = format!("the BTF of the modules {modules}, which the object refers to, gave {name}");
        LoadOutcome { errno: Some(name), ..LoadOutcome::unasked(Stage::Load, cause, None, message) }
    }
}

/// What came of asking for one program.
#[derive(Default)]
struct Attempt {
    /// Why it was refused; `None` if it was accepted.
    errno: Option<Errno>,
    log: String,
    timed_out: bool,
    /// Whether the log is incomplete because it does not fit the largest buffer.
    capped: bool,
}

impl Attempt {
    /// Whether it may be an attribute that was refused, and not the program: a kernel says E2BIG to those that it does
    /// not know (names before v4.15, attach types before v4.17, function and line information before v5.0), and names
    /// the records that it finds fault with.
    fn may_be_about_attributes(&self) -> bool {
        let names_records = |line: &&str| line.contains("func_info") || line.contains("line_info");
        decisive_lines(&self.log).iter().any(names_records) || self.is_too_big_an_attribute()
    }

    fn is_too_big_an_attribute(&self) -> bool {
        self.errno == Some(Errno::TOOBIG) && self.log.is_empty()
    }

    fn words(&self, errno: Errno) -> String {
        let words = decisive_lines(&self.log).join(" / ");
        if words.is_empty() { errno_name(errno) } else { words }
    }
}

/// The entry's instructions with the descriptors of its maps and of modules' BTF in place.
fn with_fds(spec: &EntrySpec, insns: &[u8], shared: &Shared) -> Result<Vec<u8>, LoadOutcome> {
    let big_endian = cfg!(target_endian = "big");
    let mut bytes = insns.to_vec();
    let (slots, _) = bytes.as_chunks_mut::<INSN_SZ>();
    let mut patch = |insn_off: usize, what: &dyn Fn(&mut Insn, &mut Insn)| {
        let [first, second, ..] = slots.get_mut(insn_off..)? else { return None };
        let mut load = Insn::read(first, big_endian);
        let mut high = Insn::read(second, big_endian);
        what(&mut load, &mut high);
        *first = load.write(big_endian);
        *second = high.write(big_endian);
        load.is_ld_imm64().then_some(())
    };
    let wrong = |insn_off: usize, what: String| {
        let message = format!(
            "instruction {insn_off} of `{}` should refer to {what}, but it is no 64-bit load or there is none such",
            spec.name
        );
        LoadOutcome::unasked(Stage::Load, Cause::Object, Some(&spec.name), message)
    };
    for reference in &spec.map_refs {
        let fd = shared.maps.get(reference.map).map(|map| map.as_fd().as_raw_fd());
        let patched = fd.and_then(|fd| {
            patch(reference.insn_off, &|load, high| {
                load.src = if reference.value_off.is_some() { PSEUDO_MAP_VALUE } else { PSEUDO_MAP_FD };
                load.imm = fd;
                high.imm = reference.value_off.unwrap_or(0) as i32;
            })
        });
        patched.ok_or_else(|| wrong(reference.insn_off, format!("map {}", reference.map)))?;
    }
    for reference in &spec.module_refs {
        let fd = shared.modules.get(reference.module).map(AsRawFd::as_raw_fd);
        let patched = fd.and_then(|fd| patch(reference.insn_off, &|_, high| high.imm = fd));
        patched.ok_or_else(|| wrong(reference.insn_off, format!("module {}", reference.module)))?;
    }
    Ok(bytes)
}

/// The end of a log, from a line's beginning.
fn end_of(log: &str) -> String {
    if log.len() <= KEPT_LOG_BYTE_SZ {
        return log.to_owned();
    }
    let rest = &log.as_bytes()[log.len() - KEPT_LOG_BYTE_SZ..];
    let line = rest.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&rest[line..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::sanitize::Feature;
    use super::*;
    use btf_catalog::{AttachType, ProgType};
    use probe_matrix::sys::{Answer, Command, Question};

    /// What a session with one entry, `set r0; exit`, comes to on a kernel that answers as `injector` does. Its BTF has
    /// floats.
    fn session(injector: impl FnMut(Question<'_>) -> Option<Answer> + 'static) -> LoadReport {
        session_of(false, injector)
    }

    /// The same of an entry that has subprograms, or has not.
    fn session_of(
        subprograms: bool,
        injector: impl FnMut(Question<'_>) -> Option<Answer> + 'static,
    ) -> LoadReport {
        let code = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
        let blobs = [code.to_vec(), vec![0; 8], vec![0; 16], Feature::Float.sample()];
        let entry = EntrySpec {
            name: "e".to_owned(),
            prog_type: ProgType::XDP,
            attach_type: Some(AttachType::XDP),
            attach_type_optional: true,
            flags: 0,
            attach_btf_id: 0,
            attach_module: None,
            module_refs: Vec::new(),
            insns: 0,
            func_info: 1,
            line_info: 2,
            map_refs: Vec::new(),
            subprograms,
        };
        let request = LoadRequest {
            license: "GPL".to_owned(),
            btf: Some(3),
            maps: Vec::new(),
            modules: Vec::new(),
            entries: vec![entry],
            limit_ms: 1000,
            verbose: false,
        };
        let mut report = LoadReport::default();
        let mut session = Session {
            request: &request,
            blobs: &blobs.map(Bytes::from),
            kernel: &mut Kernel::injected(Box::new(injector)),
            node: &Node::for_tests(true),
            limit: Duration::from_secs(1),
        };
        let told = session.run(&mut |event| {
            if let Event::Result(result) = event {
                report.extend(result);
            }
            Ok(())
        });
        told.expect("nothing fails to be told");
        report
    }

    fn refuse(errno: Errno, log: &str) -> Answer {
        Answer::Refuse(errno, log.to_owned())
    }

    #[test]
    fn a_kernel_that_knows_neither_names_nor_attach_types_takes_the_bare_program() {
        let report = session(|question| match question {
            Question::ProgLoad(load) if load.name.is_empty() && load.expected_attach_type.is_none() => {
                Some(Answer::Accept)
            }
            Question::ProgLoad(_) => Some(refuse(Errno::TOOBIG, "")),
            _ => Some(Answer::Accept),
        });
        assert!(report.is_accepted() && report.accepted.len() == 1, "{report:#?}");
        assert!(report.notes[0].contains("E2BIG"), "{report:#?}");
    }

    /// Refuses the calls of BPF_BTF_LOAD, counted from 0, that `refused` says, and accepts all else.
    fn refusing_btf(
        errno: Errno,
        log: &'static str,
        refused: impl Fn(u32) -> bool + 'static,
    ) -> impl FnMut(Question<'_>) -> Option<Answer> {
        let mut call = 0;
        move |question| match question {
            Question::Other(Command::BtfLoad) => {
                call += 1;
                Some(if refused(call - 1) { refuse(errno, log) } else { Answer::Accept })
            }
            _ => Some(Answer::Accept),
        }
    }

    #[test]
    fn a_kernel_without_btf_is_asked_without() {
        for subprograms in [false, true] {
            let report = session_of(subprograms, refusing_btf(Errno::INVAL, "", |_| true));
            assert!(report.is_accepted(), "no function is verified by itself then: {report:#?}");
            assert!(report.notes[0].contains("does not know"), "{report:#?}");
        }
    }

    #[test]
    fn what_needs_the_btf_that_is_refused_is_not_judged() {
        // The object's is refused, twice; the smallest is taken, and so is one with floats.
        let refused = || refusing_btf(Errno::INVAL, "[1] INT x Invalid name\n", |call| call < 2);
        let without = session_of(false, refused());
        assert!(without.is_accepted() && without.notes[0].contains("Invalid name"), "{without:#?}");
        let report = session_of(true, refused());
        assert_eq!((report.accepted.len(), report.failures.len()), (0, 1), "{report:#?}");
        assert_eq!((report.failures[0].stage, report.failures[0].cause), (Stage::Btf, Cause::Unknown));
        assert!(report.failures[0].message.contains("`e` is not judged"), "{report:#?}");
    }

    #[test]
    fn a_kernel_without_floats_gets_the_btf_without_them() {
        // Refused: the object's, twice; not the smallest; the one with floats, twice; not the one without.
        let report = session_of(true, refusing_btf(Errno::INVAL, "", |call| call != 2 && call < 5));
        assert!(report.is_accepted() && report.notes[0].contains("float"), "{report:#?}");
        assert_eq!(report.notes.len(), 1, "{report:#?}");
    }

    #[test]
    fn a_second_attempt_that_is_taken_counts() {
        let report = session_of(true, refusing_btf(Errno::INVAL, "", |call| call == 0));
        assert!(report.is_accepted() && report.notes.is_empty(), "{report:#?}");
        let mut loads = 0;
        let report = session(move |question| match question {
            Question::ProgLoad(_) => {
                loads += 1;
                Some(if loads == 1 { refuse(Errno::INVAL, "") } else { Answer::Accept })
            }
            _ => Some(Answer::Accept),
        });
        assert!(report.is_accepted() && report.accepted.len() == 1, "{report:#?}");
    }

    #[test]
    fn a_denied_btf_ends_the_session() {
        let cases = [(Errno::PERM, Cause::Policy), (Errno::NOSYS, Cause::Unknown)];
        for (errno, cause) in cases {
            let report = session(move |question| match question {
                Question::Other(Command::BtfLoad) => Some(refuse(errno, "")),
                _ => panic!("nothing more is asked"),
            });
            assert_eq!(
                (report.failures[0].stage, report.failures[0].cause),
                (Stage::Btf, cause),
                "{report:#?}"
            );
        }
    }

    #[test]
    fn records_that_are_refused_are_not_left_out_in_silence() {
        let words = "0: (b7) r0 = 0\ninvalid func_info[0]\n";
        let kernel = move |question: Question<'_>| match question {
            Question::ProgLoad(load) if load.prog_btf_fd.is_some() => Some(refuse(Errno::INVAL, words)),
            _ => Some(Answer::Accept),
        };
        for subprograms in [false, true] {
            let report = session_of(subprograms, kernel);
            assert_eq!((report.failures[0].cause, report.accepted.len()), (Cause::Unknown, 0), "{report:#?}");
        }
    }

    #[test]
    fn no_memory_is_no_answer() {
        let report = session(|question| match question {
            Question::ProgLoad(_) => Some(refuse(Errno::NOMEM, "")),
            _ => Some(Answer::Accept),
        });
        assert_eq!((report.failures[0].cause, report.failures.len()), (Cause::Unknown, 1), "{report:#?}");
    }

    #[test]
    fn a_program_without_complaint_that_is_too_big_is_not_asked_for_bare() {
        let verified = "processed 9 insns (limit 1000000)\n";
        let report = session(move |question| match question {
            Question::ProgLoad(load) if load.name.is_empty() => panic!("it is not about attributes"),
            Question::ProgLoad(_) => Some(refuse(Errno::TOOBIG, verified)),
            _ => Some(Answer::Accept),
        });
        assert_eq!(report.failures[0].cause, Cause::Jit, "{report:#?}");
    }

    #[test]
    fn a_long_log_keeps_whole_lines_of_its_end() {
        let log = format!("{}\nlast line\n", "x".repeat(KEPT_LOG_BYTE_SZ));
        assert_eq!(end_of(&log), "last line\n");
        assert_eq!(end_of("short\n"), "short\n");
    }
}
