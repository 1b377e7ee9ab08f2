//! The shipped eBPF programs and the catalog format.
//!
//! A *catalog* is a directory with a `catalog.toml` and, in `objects/`, the objects it names; the shipped one is linked into
//! the binary as well. The manifest states what only people can know: names, the order of preference, what a variant
//! provides and what is lost in it. What an object needs of a kernel is derived from the object
//! ([`btf_catalog::require`]) and stands nowhere else.
//!
//! ```toml
//! schema = 1                       # of this format
//! name = "portolan"
//! version = "0.1.0"                # semantic: a program or variant removed is a new major version
//!
//! [[program]]
//! name = "tcp-rtt"                 # a-z, 0-9, inner `-`; so are all names
//! summary = "One sentence"
//!
//! [[program.variant]]
//! name = "tp-btf"
//! rank = 20                        # the lowest is tried first
//! summary = "One sentence"
//! why = "What is met in the field that the other variants do not serve"
//! provides = ["jitter"]            # short phrases, the same words in all variants
//! loses = []                       # degraded if not empty; names what the best variant provides, in its words
//! targets = ["bpfel", "bpfeb"]     # objects/tcp-rtt-tp-btf.bpfel.o, …
//! ```
//!
//! # Adding a variant
//!
//! 1. Write `programs/<program>-<variant>.bpf.c`. Headers in `include/portolan` have the helpers, map definitions, contexts
//!    and CO-RE; structures of the kernel are declared with the members that are read. Include `portolan/pt_regs.h` only to
//!    read registers: it makes the object one per architecture.
//! 2. `cargo xtask ebpf` builds `objects/`; name the new objects in `src/embedded.rs` and the variant in `catalog.toml`.
//! 3. `portolan catalog lint` (a test of this crate does the same) says what is inconsistent.
//!
//! # What the programs write
//!
//! The variants of one program share their output, so that a reader does not care which one runs: `struct record` of
//! `programs/tcp-rtt.h`, `struct drop_key` and `struct drop_count` of `programs/packet-drop.h`, `struct flow_key` and
//! `struct flow_count` of `programs/flow-meter.h`. All have explicit padding and the node's byte order, network
//! addresses excepted.

mod catalog;
mod embedded;
pub mod lint;
mod manifest;
mod target;

pub use catalog::{Catalog, CatalogError, Program, Variant, sha256};
pub use manifest::{Manifest, SCHEMA};
pub use target::{Target, TargetError};
