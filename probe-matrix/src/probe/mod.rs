//! Probes: facts of this node, from its files and its kernel.
//!
//! [`collect`] runs them in a [`crate::worker`], which is how they are meant to be run; [`run`] in this process.

use crate::facts::{Evidence, Fact, Facts, Support, lies_under};
pub use crate::profile::Depth;
use crate::sys::{CallStats, Kernel};
use crate::worker::{self, Job, Request, Sender, Usage, WorkerError};
use caller::Caller;
use root::HostRoot;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

mod ask;
mod asm;
mod attach;
mod attached;
pub mod btf;
pub mod caller;
pub mod config;
mod helper;
pub mod inventory;
mod isa;
pub mod kernel;
mod link;
pub mod linkage;
mod mapping;
pub mod memory;
mod modules;
pub mod mounts;
pub mod node;
pub mod os;
pub(crate) mod printable;
mod program;
mod pseudo;
mod recipe;
pub mod root;
pub mod security;
pub mod symbols;
mod tracepoints;
mod traffic;
mod types;

/// Where a probe puts its facts.
pub(crate) type Out<'a> = dyn FnMut(String, Fact) + 'a;

/// The worker's verb for [`serve`].
pub const VERB: &str = "probe";

/// What to probe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProbeOptions {
    /// How far to go.
    pub depth: Depth,
    /// Also ask what makes the kernel write to its log.
    pub noisy: bool,
    /// Kernel functions to look for among the symbols.
    pub functions: Vec<String>,
    /// Tracepoints to look for in tracefs, each as `group/name`.
    pub tracepoints: Vec<String>,
    /// Directory under which the host's root is mounted.
    pub host_root: Option<PathBuf>,
    /// Only facts of these groups, by the beginning of their names; all if empty.
    pub only: Vec<String>,
    /// Who asks, before the worker gave up what it does not need.
    pub caller: Caller,
    /// An empty cgroup v2 in which depth attach tries what needs one, or why there is none; [`collect`] makes it.
    pub cgroup: Result<PathBuf, String>,
}

impl Default for ProbeOptions {
    fn default() -> ProbeOptions {
        ProbeOptions {
            depth: Depth::Load,
            noisy: false,
            functions: Vec::new(),
            tracepoints: Vec::new(),
            host_root: None,
            only: Vec::new(),
            caller: Caller::observe(),
            cgroup: Err("none was made".to_owned()),
        }
    }
}

/// What a probe cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProbeStats {
    /// What was asked of bpf(2).
    pub bpf: CallStats,
    /// Wall time of all that is not bpf(2) probes: files, netlink, object ids, and parsing the kernel's BTF.
    pub files_us: u64,
    /// Wall time of the whole probe.
    pub elapsed_us: u64,
}

/// Why a probe cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The host's root cannot be opened.
    #[error("failed to open the host root {path}: {errno}")]
    HostRoot {
        /// The directory.
        path: String,
        /// The kernel's answer, by name.
        errno: String,
    },
    /// Nobody takes the answers.
    #[error("failed to send an answer: {0}")]
    Send(#[from] std::io::Error),
}

/// The steps, in the order in which they are run, each with the groups of facts that come of it.
const STEPS: [(&str, &[&str]); 7] = [
    ("files", &[]),
    ("programs", &["bpf.prog_type", "bpf.attach_type", "bpf.sleepable"]),
    ("maps", &["bpf.map_type", "bpf.map_flag", "bpf.map_name"]),
    ("instructions", &["bpf.isa", "bpf.verifier", "bpf.prog_name", "bpf.btf"]),
    ("helpers", &["bpf.helper", "bpf.cookie", "bpf.token"]),
    ("links", &["bpf.attach", "bpf.link", "bpf.attach_type"]),
    ("attach", &["bpf.attach", "bpf.fires"]),
];

/// The steps that are run at a depth.
fn steps(depth: Depth) -> &'static [(&'static str, &'static [&'static str])] {
    match depth {
        Depth::Read => &STEPS[..1],
        Depth::Load => &STEPS[..6],
        Depth::Attach => &STEPS,
    }
}

/// Probes this node in this process. `step` is told what is done from here on. Depth attach leaves the calling thread in
/// another network namespace.
pub fn run(
    options: &ProbeOptions,
    kernel: Kernel,
    step: &mut dyn FnMut(&'static str) -> Result<(), ProbeError>,
    out: &mut Out<'_>,
) -> Result<ProbeStats, ProbeError> {
    let started = Instant::now();
    let root = match &options.host_root {
        None => HostRoot::local(),
        Some(dir) => HostRoot::at(dir).map_err(|errno| ProbeError::HostRoot {
            path: dir.display().to_string(),
            errno: crate::sys::errno_name(errno),
        })?,
    };
    let wanted = |name: &str| {
        options.only.is_empty()
            || options.only.iter().any(|only| lies_under(name, only) || lies_under(only, name))
    };
    let mut out = |name: String, fact: Fact| {
        if options.only.is_empty() || options.only.iter().any(|only| lies_under(&name, only)) {
            out(name, fact);
        }
    };
    step(STEPS[0].0)?;
    let mut files = Facts::default();
    let mut kernel = kernel;
    let btf = node::facts(&root, options, &mut kernel, &mut |name, fact| {
        files.insert(name.clone(), fact.clone());
        out(name, fact);
    });
    let files_us = started.elapsed().as_micros() as u64;
    let mut node = ask::Node::new(kernel, btf.as_deref(), &files, &options.caller, options.noisy);
    let steps: Vec<bool> =
        steps(options.depth).iter().map(|(_, groups)| groups.iter().any(|group| wanted(group))).collect();
    if steps.contains(&true) {
        bpf(&mut node, &steps, options, step, &mut out)?;
    }
    Ok(ProbeStats { bpf: node.stats(), files_us, elapsed_us: started.elapsed().as_micros() as u64 })
}

/// The questions to bpf(2).
fn bpf(
    node: &mut ask::Node<'_>,
    steps: &[bool],
    options: &ProbeOptions,
    step: &mut dyn FnMut(&'static str) -> Result<(), ProbeError>,
    out: &mut Out<'_>,
) -> Result<(), ProbeError> {
    step(STEPS[1].0)?;
    node.calibrate();
    // The others build on what loads.
    let (seats, undecided) = program::facts(node, out);
    program::sleepable_facts(node, &seats, out);
    if steps[2] {
        step(STEPS[2].0)?;
        mapping::facts(node, out);
    }
    if steps[3] {
        step(STEPS[3].0)?;
        isa::facts(node, out);
        isa::verifier_facts(node, out);
        types::facts(node, out);
    }
    if steps[4] {
        step(STEPS[4].0)?;
        let mut cookies = Facts::default();
        helper::facts(node, &seats, &mut |name, fact| {
            if name.ends_with(".get_attach_cookie") {
                cookies.insert(name.clone(), fact.clone());
            }
            out(name, fact);
        });
        attach::cookie_and_token_facts(node, &cookies, out);
    }
    let mut told = Facts::default();
    if steps[5] {
        step(STEPS[5].0)?;
        attach::facts(node, &seats, &undecided, &mut |name, fact| {
            if lies_under(&name, "bpf.attach") {
                told.insert(name.clone(), fact.clone());
            }
            out(name, fact);
        });
    }
    if steps.get(6) == Some(&true) {
        step(STEPS[6].0)?;
        attached::facts(node, &seats, &told, options, out);
    }
    Ok(())
}

/// What a worker found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The facts.
    pub facts: Facts,
    /// What it cost; none if the worker did not come to its end.
    pub stats: Option<ProbeStats>,
    /// What the kernel counted for the worker.
    pub usage: Usage,
    /// Why the worker did not come to its end. The facts are then those that were found before, and the groups that
    /// were not reached are `unknown`.
    pub cut_short: Option<String>,
}

/// One line of the worker's answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Facts(Vec<Told>),
    Stats(ProbeStats),
}

/// A fact as the worker tells it, without the keys of a profile: name, support, value, evidence, source, errno, reason. There
/// are thousands, and who waits for them waits for their writing and reading too.
type Told = (String, Support, Option<Value>, Evidence, String, Option<String>, Option<String>);

fn told(name: String, fact: Fact) -> Told {
    (name, fact.support, fact.value, fact.evidence, fact.source, fact.errno, fact.reason)
}

fn heard((name, support, value, evidence, source, errno, reason): Told) -> (String, Fact) {
    (name, Fact { value, errno, reason, ..Fact::new(support, evidence, source) })
}

/// Facts in one line of the worker's answers.
const FACTS_A_LINE: usize = 256;

/// Probes this node in a worker. Fails only if no worker can be run or the caller raised `cancelled`; a deadline that
/// passes costs the facts that were not reached.
pub fn collect(
    options: &ProbeOptions,
    deadline: Instant,
    cancelled: &AtomicBool,
) -> Result<Collected, WorkerError> {
    let mut options = options.clone();
    // Removed when this returns: the worker has ended by then.
    let _cgroup = (options.depth == Depth::Attach).then(|| attached::prepare(&mut options));
    let request =
        serde_json::to_value(&options).map_err(|error| WorkerError::Failed { message: error.to_string() })?;
    let job = Job { verb: VERB.to_owned(), request, blobs: Vec::new() };
    let mut collected = Collected::default();
    let result = worker::run(&job, deadline, cancelled, &mut |line| match line {
        Line::Facts(facts) => {
            for (name, fact) in facts.into_iter().map(heard) {
                collected.facts.insert(name, fact);
            }
        }
        Line::Stats(stats) => collected.stats = Some(stats),
    });
    match result {
        Ok(usage) => collected.usage = usage,
        Err(
            error @ (WorkerError::TimedOut { .. } | WorkerError::Died { .. } | WorkerError::Protocol { .. }),
        ) => {
            let why = error.to_string();
            let reached = error.last_step().unwrap_or_default();
            let steps = steps(options.depth);
            let from = steps.iter().position(|(step, _)| *step == reached).unwrap_or(0);
            for group in steps[from..].iter().flat_map(|(_, groups)| *groups) {
                let fact = Fact::new(Support::Unknown, Evidence::Probed, "worker").reason(why.clone());
                collected.facts.insert(*group, fact);
            }
            collected.cut_short = Some(why);
        }
        Err(error) => return Err(error),
    }
    Ok(collected)
}

/// The worker's side of [`collect`].
pub fn serve(request: Request, sender: &mut Sender) -> Result<(), String> {
    let mut kernel = Kernel::live();
    ask::settle(&mut kernel);
    serve_on(kernel, request, sender)
}

/// [`serve`] on a kernel that is given.
pub fn serve_on(kernel: Kernel, request: Request, sender: &mut Sender) -> Result<(), String> {
    let options: ProbeOptions = serde_json::from_value(request.body)
        .map_err(|error| format!("failed to read the request: {error}"))?;
    // Shared by the two callbacks: a step must not overtake the facts before it.
    let waiting = std::cell::RefCell::new((sender, Vec::with_capacity(FACTS_A_LINE)));
    let flush = |sender: &mut Sender, facts: &mut Vec<Told>| -> std::io::Result<()> {
        if facts.is_empty() {
            return Ok(());
        }
        sender.answer(&Line::Facts(std::mem::take(facts)))
    };
    let mut broken = None;
    let result = run(
        &options,
        kernel,
        &mut |step| {
            let (sender, facts) = &mut *waiting.borrow_mut();
            flush(sender, facts)?;
            Ok(sender.step(step)?)
        },
        &mut |name, fact| {
            let (sender, facts) = &mut *waiting.borrow_mut();
            facts.push(told(name, fact));
            if facts.len() == FACTS_A_LINE
                && let Err(error) = flush(sender, facts)
            {
                broken = Some(error);
            }
        },
    );
    let stats = result.map_err(|error| error.to_string())?;
    let (sender, mut facts) = waiting.into_inner();
    let sent = broken.map_or(Ok(()), Err).and_then(|()| flush(sender, &mut facts));
    sent.and_then(|()| sender.answer(&Line::Stats(stats)))
        .map_err(|error| format!("failed to send an answer: {error}"))
}
