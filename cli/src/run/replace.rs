//! Writing a file as a whole.

use crate::exit::{Failure, bad_input};
use anyhow::anyhow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Writes a file beside its place and moves it there: whoever reads it sees the old one or the whole new one. What is no
/// file, as a pipe or `/dev/stdout`, is written to; a link keeps leading where it leads.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut there = OpenOptions::new().write(true).open(path).map_err(|error| unwritable(path, error))?;
        return there.write_all(bytes).map_err(|error| unwritable(path, error));
    }
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = place
        .file_name()
        .ok_or_else(|| bad_input(anyhow!("{} cannot be written: it is no name of a file", path.display())))?;
    let beside = place.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let _unfinished = Unfinished::begin(&beside);
    let result = File::options().write(true).create_new(true).open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &place)
    });
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result.map_err(|error| unwritable(path, error))
}

/// What a write that failed means: a full disk is nobody's input, a directory that is not there is.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Failure {
    let full =
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
    let error = anyhow::Error::new(error).context(format!("{} cannot be written", path.display()));
    if full { Failure::Tool(error) } else { bad_input(error) }
}

/// The file that is being written.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// As long as it lives a file is unfinished.
pub(super) struct Unfinished;

impl Unfinished {
    pub(super) fn begin(path: &Path) -> Unfinished {
        *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
        Unfinished
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Removes the file that is being written, if any: before the process ends in the middle.
pub fn discard_unfinished() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_file(path);
    }
}

/// Whether both paths lead to one file that is there.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identity(a).is_some() && identity(a) == identity(b)
}
