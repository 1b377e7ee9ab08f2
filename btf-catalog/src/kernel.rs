//! Kernels as files: what an image, a package or a bare BTF file tells of a kernel that was never booted here.
//!
//! [`Kernel`] is what came out, whatever it was read from. A part that is absent was not in the files, or could not be
//! read; [`Kernel::notes`] says which, and nothing that is absent is ever taken for a no.

use bytes::Bytes;
use std::collections::BTreeMap;

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
    /// GNU build ID, as bytes (20 of SHA-1 in kernels of today).
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
    /// What was not looked at or could not be read, in words.
    pub notes: Vec<String>,
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

/// A kernel's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KernelConfig {
    /// Values by option (`CONFIG_` included) as the file has them: `y`, `m`, `"text"`, `100`. Options that are off are
    /// not there.
    pub options: BTreeMap<String, String>,
    /// Where it was found: `/boot/config-6.1.0-44-amd64`, `IKCONFIG`.
    pub source: String,
}

/// An unpacked kernel image: what lies at which virtual address, and its symbols.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Segments, by address.
    pub segments: Vec<Segment>,
    /// Byte order.
    pub big_endian: bool,
    /// Symbols of kallsyms or of the ELF file, in the order of their addresses.
    pub symbols: Vec<Symbol>,
}

/// Part of an image.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Virtual address of its first byte, as linked.
    pub address: u64,
    /// Its bytes.
    pub data: Bytes,
}

/// A symbol of a kernel image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Virtual address, as linked (a booted kernel may have moved by KASLR).
    pub address: u64,
    /// Type as `/proc/kallsyms` shows it: `T`, `t`, `D`, …
    pub kind: u8,
    /// Its name.
    pub name: String,
}
