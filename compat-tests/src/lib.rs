//! Doing it for real: objects put to this machine's kernel, or to another one in a micro-VM.

pub mod loader;
pub mod prove;
pub mod vm;
