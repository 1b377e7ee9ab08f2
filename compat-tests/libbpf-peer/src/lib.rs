//! libbpf's answers, for differential tests and benchmarks: the instructions of an object after relocation, held against
//! ours, and the reading of BTF.
#![expect(unsafe_code, reason = "libbpf is a C library")]

mod btf;
mod compare;
mod peer;

pub use btf::Btf;
pub use compare::{Against, Tally, compare};
pub use peer::{Prepared, Program, Refusal, Setup, prepare};
