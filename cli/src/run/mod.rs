//! The commands: each gets its arguments, asks the crates, and renders what they answer.

pub mod catalog;
pub mod explain;
pub mod kernel;
mod kernel_log;
mod kernels;
pub mod minimize;
mod object_file;
pub mod preflight;
pub mod probe;
pub mod relocate;
mod remembered;
pub mod replace;
pub mod scan;
pub mod schema;
pub mod worker;
