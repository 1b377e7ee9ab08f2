//! Where a store's files are: a directory, or anything else that can keep them by name.

use super::StoreError;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A file of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its path within the store, parts separated by `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Time since it was written; `None` if that cannot be told.
    pub age: Option<Duration>,
}

/// Keeps files by name. A file is there as a whole or not at all, whoever writes at the same time.
pub trait Backend: Send + Sync {
    /// Where it is, for people.
    fn describe(&self) -> String;

    /// The bytes of a file, `None` if there is no such file; more than `most` bytes are an error.
    fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// What [`Backend::read`] gives of each of some files, in their order.
    fn read_all(&self, paths: &[String], most: u64) -> Vec<Result<Option<Vec<u8>>, StoreError>> {
        paths.iter().map(|path| self.read(path, most)).collect()
    }

    /// Writes a file, in place of one that may be there.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// The files below a directory, in the order of their paths; `""` for all.
    fn list(&self, dir: &str) -> Result<Vec<Stored>, StoreError>;

    /// Removes a file. That it is not there is no error.
    fn remove(&self, path: &str) -> Result<(), StoreError>;
}

/// Files below a directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

/// Where files are written before they get their names.
pub(super) const UNFINISHED: &str = "unfinished";

/// Files that are listed at most: far more than any store has.
pub(super) const FILES: usize = 1 << 20;

impl Directory {
    /// The directory `root`, which is made when something is written.
    pub fn new(root: impl Into<PathBuf>) -> Directory {
        Directory { root: root.into() }
    }

    fn io(&self, path: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let path = self.root.join(path).display().to_string();
        move |error| StoreError::Io { path: path.clone(), error }
    }

    fn walk(&self, dir: &str, files: &mut Vec<Stored>) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            // Links are not followed: what they lead to is not of this store.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&path, files)?;
            } else if kind.is_file() {
                // Another process may have removed it since.
                let Ok(meta) = entry.metadata() else { continue };
                let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
                files.push(Stored { path, size: meta.len(), age });
            }
            if files.len() > FILES {
                return Err(io::Error::other(format!("more than {FILES} files")));
            }
        }
        Ok(())
    }
}

impl Backend for Directory {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match File::open(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(self.io(path))?,
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(self.io(path))?;
        if bytes.len() as u64 > most {
            return Err(StoreError::damaged(path, format!("more than {most} bytes")));
        }
        Ok(Some(bytes))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let target = self.root.join(path);
        let parent = target.parent().unwrap_or(&self.root);
        let unfinished = self.root.join(UNFINISHED);
        fs::create_dir_all(parent).and_then(|()| fs::create_dir_all(&unfinished)).map_err(self.io(path))?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = unfinished.join(format!("{}-{count}", std::process::id()));
        // The name belongs to the content only once the content is on the disk.
        let written = File::create(&name)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&name, &target))
            .and_then(|()| sync_dir(parent));
        written.map_err(|error| {
            let _ = fs::remove_file(&name);
            self.io(path)(error)
        })
    }

    fn list(&self, dir: &str) -> Result<Vec<Stored>, StoreError> {
        let mut files = Vec::new();
        self.walk(dir, &mut files).map_err(self.io(dir))?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(self.io(path)),
        }
    }
}

/// Makes a rename in a directory last.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
