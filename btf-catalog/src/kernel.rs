//! Kernels as files: what an image, a package or a bare BTF file tells of a kernel that was never booted here.
//!
//! [`read`] takes whatever holds a kernel and gives [`Kernel`]s. A part that is absent was not in the files, or could
//! not be read; [`Kernel::notes`] says which, and nothing that is absent is ever taken for a no.

mod config;
mod group;
mod image;
mod inside;
mod kallsyms;
mod module;
mod open;
mod symbols;

use crate::archive::ArchiveError;
use bytes::Bytes;
pub use config::KernelConfig;
pub use group::groups;
pub use image::{Image, Segment};
pub use inside::{IdSet, Inside, RawTracepoint, TraceEvent};
pub use open::{Options, read};
use std::collections::BTreeMap;
use std::path::PathBuf;
pub use symbols::{Symbol, Symbols};

/// A kernel, as far as its files tell.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// Where it was read from, for people: paths and members of archives.
    pub sources: Vec<String>,
    /// Kernel release, as `uname -r` prints it.
    pub release: Option<String>,
    /// The banner, as `/proc/version` prints it.
    pub banner: Option<String>,
    /// Machine, as `uname -m` prints it.
    pub arch: Option<String>,
    /// GNU build ID, as bytes (20 of SHA-1 in kernels of today): the one that `/sys/kernel/notes` shows.
    pub build_id: Option<Vec<u8>>,
    /// BTF of vmlinux, the bytes as the kernel shows them in `/sys/kernel/btf/vmlinux`.
    pub btf: Option<Bytes>,
    /// Modules, by name (with `_`, never `-`).
    pub modules: BTreeMap<String, Module>,
    /// Whether `modules` are all the modules of this kernel. Without it, a module that is not there may still exist.
    pub modules_whole: bool,
    /// Its configuration.
    pub config: Option<KernelConfig>,
    /// The image, unpacked, with its symbols.
    pub image: Option<Image>,
    /// What only the image tells, where it was read before: of a kernel from a store, whose image has symbols without
    /// bytes, and ranks for their addresses.
    pub inside: Option<Inside>,
    /// What was not looked at or could not be read, in words.
    pub notes: Vec<String>,
}

impl Kernel {
    /// Reads the image of a kernel: bzImage, arm64 `Image`, EFI zboot or vmlinux, compressed or not.
    pub fn from_image(bytes: &[u8]) -> Result<Kernel, KernelError> {
        image::read(bytes, true)
    }
}

impl Module {
    /// Reads a module, compressed or not, and tells the release that it was built for. `file` is its path, for errors.
    pub fn from_file(file: &str, bytes: &[u8]) -> Result<(Module, Option<String>), KernelError> {
        module::read(file, bytes)
    }
}

/// A module of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Its split BTF over vmlinux's; with a distilled base where the module was built outside the kernel's tree.
    pub btf: Option<Bytes>,
    /// `.BTF.base` where it has one.
    pub btf_base: Option<Bytes>,
    /// Functions it defines, exported or not, ascending.
    pub functions: Vec<String>,
}

/// Why a kernel could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A file could not be opened or read.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file that holds no kernel in any known form.
    #[error("{what}: {problem}")]
    NoKernel {
        /// The file, or the member of an archive.
        what: String,
        /// What it is instead.
        problem: String,
    },
    /// Bytes that are not what they should be.
    #[error("{what} at byte {off}: {problem}")]
    Damaged {
        /// The file or the format.
        what: String,
        /// Bytes from its beginning.
        off: u64,
        /// What is wrong.
        problem: String,
    },
    /// An archive, or what is packed, that cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Larger than anything that a kernel has in its place.
    #[error("{what}: {bytes} bytes, more than {most}")]
    TooLarge {
        /// The file or member.
        what: String,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        most: u64,
    },
    /// An error in a file, with the file's name.
    #[error("{path}: {error}", path = path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What was wrong in it.
        error: Box<KernelError>,
    },
}
