//! portolan's own loader: an object's maps, BTF and relocated entries put to this kernel, and closed again.
//!
//! The parent builds a request from an object and its relocated entries ([`job`]), a worker process with nothing but the
//! capabilities that bpf(2) asks for carries it out ([`serve`]), and the parent puts its answers together ([`run`]). The
//! worker creates the maps, loads the BTF and every entry, and keeps nothing: no link is made, nothing is pinned, all
//! descriptors go with the process.
//!
//! A refusal carries what it means ([`Cause`]): the verifier's verdict on the program, a policy of the node, a privilege
//! that is lacking here, or no answer at all, which is never taken for a refusal.

mod btf;
mod log;
mod map;
mod node;
mod outcome;
mod request;
mod run;
mod sanitize;
mod session;

pub use log::{decisive_lines, reached_poison};
pub use outcome::{Accepted, Cause, LoadOutcome, LoadReport, Stage};
pub use request::{EntryLoad, Linked, LoadOptions, VERB, job, request};
pub use run::run;
pub(crate) use sanitize::has_special_fields;
pub use session::serve;
