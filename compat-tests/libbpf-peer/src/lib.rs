//! libbpf's answers, for differential tests and benchmarks: the instructions of an object after relocation, held against
//! ours, and the reading of BTF; and, in [`load`], what the kernel says when libbpf loads an object.
#![expect(unsafe_code, reason = "libbpf is a C library")]

mod btf;
mod compare;
pub mod load;
mod peer;

pub use btf::Btf;
pub use compare::{Against, Tally, compare};
pub use peer::{Prepared, Program, Refusal, Setup, prepare};
