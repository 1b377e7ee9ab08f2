//! Doing it for real: objects put to this machine's kernel.

pub mod loader;
pub mod prove;
