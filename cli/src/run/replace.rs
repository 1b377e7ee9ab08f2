//! Writing a file as a whole.

use crate::exit::{Failure, bad_input};
use anyhow::{Context, anyhow};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Writes a file beside its place and moves it there: whoever reads it sees the old one or the whole new one. What is no
/// file, as a pipe or `/dev/stdout`, is written to; a link keeps leading where it leads.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unwritable = || format!("{} cannot be written", path.display());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut there =
            OpenOptions::new().write(true).open(path).with_context(unwritable).map_err(bad_input)?;
        return there.write_all(bytes).with_context(unwritable).map_err(bad_input);
    }
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = place.file_name().ok_or_else(|| bad_input(anyhow!(unwritable())))?;
    let beside = place.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let result = File::options().write(true).create_new(true).open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &place)
    });
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result.with_context(unwritable).map_err(bad_input)
}

/// Whether both paths lead to one file that is there.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identity(a).is_some() && identity(a) == identity(b)
}
