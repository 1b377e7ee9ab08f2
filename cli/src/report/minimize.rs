//! `MinimizeReport`: minimised BTF of kernels.

use serde::{Deserialize, Serialize};

/// What was written, by kernel.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct MinimizeReport {
    /// The kernels, in the order in which they were found.
    pub kernels: Vec<MinimizedKernel>,
}

/// One kernel's minimised BTF.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MinimizedKernel {
    /// Its release, or where it was read from if its files do not tell the release.
    pub kernel: String,
    /// The file with its minimised BTF, in the directory; kernels for which it is the same share it.
    pub file: String,
    /// Bytes of that file.
    pub bytes: usize,
    /// Relocations that find nothing in the kernel's types.
    pub unresolved: Vec<UnresolvedEntry>,
    /// What was not looked at or could not be read of the kernel.
    pub notes: Vec<String>,
}

/// A relocation that finds nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnresolvedEntry {
    /// The object.
    pub object: String,
    /// What was asked: `struct task_struct.state`.
    pub access: String,
    /// Whether the object only asks if it exists.
    pub question: bool,
    /// What is wrong, where it is more than that nothing matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
