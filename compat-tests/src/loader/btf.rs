//! Loading the object's BTF, and what is left of it where the kernel refuses it.

use super::node::Node;
use super::outcome::{Cause, LoadOutcome, Stage, cause_of_creation};
use super::sanitize::{self, Feature};
use btf_catalog::Btf;
use bytes::Bytes;
use probe_matrix::sys::{Kernel, LogBuf, errno_name};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Size of the log buffer; what does not fit is the log's end, and the refusal stands all the same.
const LOG_BYTE_SZ: usize = 64 << 10;

/// What became of the object's BTF.
pub(super) enum ObjectBtf {
    /// There is none, or the kernel knows no BTF at all.
    None,
    Loaded(OwnedFd),
    /// The kernel knows BTF and refused this one: what it is needed for gets no answer, since without it the kernel
    /// would be asked about another object.
    Refused(LoadOutcome),
}

impl ObjectBtf {
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            ObjectBtf::Loaded(fd) => Some(fd.as_fd()),
            ObjectBtf::None | ObjectBtf::Refused(_) => None,
        }
    }

    /// Nothing, or that `subject` gets no answer because it needs the BTF that was refused.
    pub(super) fn check(&self, subject: &str, needs: bool, why: &str) -> Result<(), LoadOutcome> {
        match self {
            ObjectBtf::Refused(refused) if needs => Err(LoadOutcome {
                cause: Cause::Unknown,
                subject: Some(subject.to_owned()),
                message: format!(
                    "`{subject}` is not judged: {why}, and this kernel refuses that: {}",
                    refused.message
                ),
                ..refused.clone()
            }),
            _ => Ok(()),
        }
    }

    /// Loads the object's BTF: as it is, or without what this kernel does not know, or not at all. `notes` says so.
    pub(super) fn load(
        bytes: Option<&Bytes>,
        kernel: &mut Kernel,
        node: &Node,
        notes: &mut Vec<String>,
    ) -> Result<ObjectBtf, LoadOutcome> {
        let Some(bytes) = bytes else { return Ok(ObjectBtf::None) };
        let refused = match attempt(bytes, kernel, node) {
            Ok(fd) => return Ok(ObjectBtf::Loaded(fd)),
            Err(refused) if refused.cause == Cause::Unsupported => refused,
            Err(failure) => return Err(failure),
        };
        if !takes(&sanitize::smallest(), kernel, node)? {
            notes.push(format!("loaded without BTF, which this kernel does not know: {}", refused.message));
            return Ok(ObjectBtf::None);
        }
        let object_btf = Btf::parse(bytes.clone()).ok();
        let mut missing = Vec::new();
        for feature in Feature::ALL {
            let used = object_btf.as_ref().is_some_and(|btf| feature.is_used_by(btf));
            if used && !takes(&feature.sample(), kernel, node)? {
                missing.push(feature);
            }
        }
        let reduced = object_btf.filter(|_| !missing.is_empty());
        let reduced = reduced.and_then(|btf| sanitize::without(&btf, &missing));
        let refused = match reduced.map(|btf| attempt(&btf, kernel, node)) {
            Some(Ok(fd)) => {
                let names: Vec<_> = missing.iter().map(|feature| feature.name()).collect();
                let names = names.join(", ");
                notes.push(format!(
                    "the object's BTF was loaded without what this kernel does not know: {names}"
                ));
                return Ok(ObjectBtf::Loaded(fd));
            }
            Some(Err(again)) if again.cause != Cause::Unsupported => return Err(again),
            Some(Err(again)) => again,
            None => refused,
        };
        notes.push(format!("loaded without the object's BTF: {}", refused.message));
        Ok(ObjectBtf::Refused(refused))
    }
}

/// Whether the kernel takes a BTF that shows what it knows; an error where it did not answer.
fn takes(btf: &[u8], kernel: &mut Kernel, node: &Node) -> Result<bool, LoadOutcome> {
    match attempt(btf, kernel, node) {
        Ok(_) => Ok(true),
        Err(refused) if refused.cause == Cause::Unsupported => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Asks without a log first, then with one for its words: if that is taken, it is taken.
fn attempt(btf: &[u8], kernel: &mut Kernel, node: &Node) -> Result<OwnedFd, LoadOutcome> {
    let errno = match kernel.btf_load(btf, None) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let mut log = LogBuf::new(LOG_BYTE_SZ, LogBuf::LEVEL_INSNS);
    if let Ok(fd) = kernel.btf_load(btf, Some(&mut log)) {
        return Ok(fd);
    }
    let log = log.text().into_owned();
    let words = log.lines().map(str::trim_end).rfind(|line| !line.is_empty()).unwrap_or("nothing more");
    let cause = cause_of_creation(errno, &log, node);
    let name = errno_name(errno);
    let why = if cause == Cause::Privilege { node.lack() } else { words.to_owned() };
    Err(LoadOutcome {
        stage: Stage::Btf,
        cause,
        subject: None,
        message: format!("BPF_BTF_LOAD of {} bytes gave {name}: {why}", btf.len()),
        errno: Some(name),
        log,
    })
}
