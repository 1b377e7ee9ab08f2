//! The store of kernels' BTF.

pub mod pack;
