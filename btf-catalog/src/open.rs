//! Opening files that somebody named, without ever waiting for one.

use rustix::fs::OFlags;
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Which kinds of files a reader takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Regular files: pipes and devices may never end.
    Files,
    /// Pipes as well, for a reader that bounds what it reads. Reading one waits for who writes to it.
    FilesAndPipes,
}

/// Opens a file for reading. What is not taken is an error that says what it is; opening a pipe that nobody writes to, or
/// a terminal, does not wait.
pub fn open(path: &Path, takes: Takes) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    match takes {
        _ if kind.is_file() => Ok(file),
        Takes::FilesAndPipes if kind.is_fifo() => {
            rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            Ok(file)
        }
        Takes::Files => Err(io::Error::other(format!("it is {}, no file", name(kind)))),
        Takes::FilesAndPipes => {
            Err(io::Error::other(format!("it is {}, neither a file nor a pipe", name(kind))))
        }
    }
}

/// What a file is, with its article.
pub(crate) fn name(kind: FileType) -> &'static str {
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() => "a block device",
        () => "a character device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_taken_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        std::fs::write(&file, b"x").unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for (path, takes, refused) in [
            (file.as_path(), Takes::Files, None),
            (&file, Takes::FilesAndPipes, None),
            (&pipe, Takes::FilesAndPipes, None),
            (&pipe, Takes::Files, Some("it is a pipe, no file")),
            (dir.path(), Takes::Files, Some("it is a directory, no file")),
            (Path::new("/dev/null"), Takes::FilesAndPipes, Some("neither a file nor a pipe")),
        ] {
            let error = open(path, takes).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused.is_some(), "{}: {error:?}", path.display());
            assert!(refused.is_none_or(|told| error.unwrap().contains(told)), "{}", path.display());
        }
    }
}
