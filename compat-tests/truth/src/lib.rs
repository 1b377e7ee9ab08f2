//! What real kernels do with real objects.
//!
//! `truth-init` is the init of a micro-VM: it loads every entry of the objects that it finds with libbpf, one by one, and
//! reports. `truth make` runs it on each kernel and writes what came of it to the tables beside this crate's manifest
//! ([`table`]); `truth accuracy` makes predictions from the same files ([`predict`]) and holds them against the tables
//! ([`accuracy`]).

pub mod accuracy;
pub mod make;
pub mod phase;
pub mod predict;
pub mod sample;
pub mod table;
pub mod wire;
