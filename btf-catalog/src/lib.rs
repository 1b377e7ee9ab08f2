//! BTF, eBPF ELF objects, CO-RE relocation and the raw material of requirements.
//!
//! Everything here is a function of bytes: no kernel call, no network, no process-wide state; [`kernel::read`] and
//! [`scan::files`] alone open files. Every reader takes its input for hostile and checks it once, so that what it returns can be used without
//! further checks.

pub mod archive;
pub mod btf;
pub mod core;
pub mod ext;
pub mod insn;
pub mod kernel;
pub mod minimize;
pub mod object;
pub mod open;
mod proto;
pub mod raw;
pub mod reach;
pub mod require;
pub mod scan;
pub mod store;
pub mod uapi;
pub mod verify;
pub mod write;

pub use btf::{Btf, BtfError, BtfKind, TypeId};
pub use object::{BpfObject, ObjectError};
pub use uapi::{AttachType, HelperId, LinkType, MapType, ProgType};
