//! Modules: `.ko` files, compressed or not.

use super::symbols::{NAME, NAMES};
use super::{KernelError, Module};
use crate::archive::compress::{Frames, detect, unpack};
use bytes::Bytes;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// Bytes of an unpacked module. The largest of today have 20 MB, with debug information 400 MB.
pub(super) const MODULE_LIMIT: u64 = 1 << 30;

/// The name of the module in a file of this name, as the kernel knows it: with `_`, never `-`. `None` where the file is
/// not called a module's.
pub(super) fn name_of(file: &str) -> Option<String> {
    let file = file.rsplit('/').next()?;
    let stem = file.strip_suffix(".ko").or_else(|| {
        [".xz", ".zst", ".gz"].iter().find_map(|suffix| file.strip_suffix(suffix)?.strip_suffix(".ko"))
    })?;
    (!stem.is_empty()).then(|| stem.replace('-', "_"))
}

/// A module, and the release it was built for.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<(Module, Option<String>), KernelError> {
    let unpacked;
    let elf = match detect(bytes) {
        Some(compression) => {
            unpacked = unpack(compression, Frames::All, bytes, MODULE_LIMIT)?;
            &unpacked[..]
        }
        None => bytes,
    };
    let damaged = |problem: String| KernelError::Damaged { what: file.to_owned(), off: 0, problem };
    let elf = object::File::parse(elf).map_err(|error| damaged(error.to_string()))?;
    let section = |name: &str| {
        let data = elf.section_by_name(name)?.data().ok()?;
        (!data.is_empty()).then(|| Bytes::copy_from_slice(data))
    };
    let functions = elf
        .symbols()
        .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok().filter(|name| name.len() <= NAME).map(str::to_owned));
    // Names may share their bytes in the file, here they do not.
    let mut left = NAMES;
    let within = |name: &String| left.checked_sub(name.len()).map(|rest| left = rest).is_some();
    let mut functions: Vec<String> = functions.take_while(within).collect();
    functions.sort_unstable();
    functions.dedup();
    let release = section(".modinfo").and_then(|info| {
        let magic = info.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"vermagic="))?;
        String::from_utf8(magic.split(|byte| *byte == b' ').next()?.to_vec()).ok()
    });
    Ok((Module { btf: section(".BTF"), btf_base: section(".BTF.base"), functions }, release))
}
