//! Files and directories of this machine, for the [`Finder`].

use super::Finder;
use crate::open::{self, Takes};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep directories may lie in one another.
const DIRECTORY_DEPTH: usize = 100;
const BUFFER_SZ: usize = 256 << 10;

/// Looks at a file, or at all files below a directory.
///
/// A symbolic link is followed where it is given as `path`, and not below a directory: what it leads to inside the
/// directory is looked at there, what lies outside was not asked for. Other file systems mounted below are not entered.
pub fn look(finder: &mut Finder, path: &Path) {
    let shown = path.display().to_string();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => return finder.unreadable(&shown, format!("cannot be looked at: {error}")),
    };
    if meta.is_dir() {
        let root = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut walk = Walk { root, device: meta.dev(), skipped: BTreeMap::new() };
        walk.directory(finder, path, 0);
        for (why, (count, first)) in walk.skipped {
            let files = if count == 1 { "file" } else { "files" };
            finder.skipped(&shown, format!("{count} {files} not looked at: {why} ({first})"));
        }
    } else if meta.is_file() {
        file(finder, path, &meta);
    } else {
        finder.unreadable(
            &shown,
            format!("is {}, neither a file nor a directory", open::name(meta.file_type())),
        );
    }
}

fn file(finder: &mut Finder, path: &Path, meta: &Metadata) {
    let shown = path.display().to_string();
    // It may have become a pipe since it was looked at.
    match open::open(path, Takes::Files) {
        Ok(file) => finder.look(&shown, &mut BufReader::with_capacity(BUFFER_SZ, file), meta.len()),
        Err(error) => finder.unreadable(&shown, format!("cannot be opened: {error}")),
    }
}

struct Walk {
    root: PathBuf,
    device: u64,
    /// Why files were not looked at, how many, and the first.
    skipped: BTreeMap<&'static str, (usize, String)>,
}

impl Walk {
    fn skip(&mut self, why: &'static str, path: &Path) {
        self.skipped.entry(why).or_insert_with(|| (0, path.display().to_string())).0 += 1;
    }

    fn directory(&mut self, finder: &mut Finder, path: &Path, depth: usize) {
        let shown = || path.display().to_string();
        if depth > DIRECTORY_DEPTH {
            return finder.unreadable(&shown(), "lies in too many directories; not listed".to_owned());
        }
        if path.join("oci-layout").is_file() && path.join("index.json").is_file() {
            return self.layout(finder, path);
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries: Vec<PathBuf> = match entries {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => return finder.unreadable(&shown(), format!("cannot be listed: {error}")),
        };
        entries.sort();
        for path in entries {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() => self.link(&path),
                Ok(meta) if meta.dev() != self.device => self.skip("they lie on another file system", &path),
                Ok(meta) if meta.is_dir() => self.directory(finder, &path, depth + 1),
                Ok(meta) if meta.is_file() => file(finder, &path, &meta),
                Ok(_) => self.skip("they are pipes, sockets or devices", &path),
                Err(error) => {
                    finder.unreadable(&path.display().to_string(), format!("cannot be looked at: {error}"));
                }
            }
        }
    }

    /// A link to something inside is nothing new; one that leads nowhere is no file.
    fn link(&mut self, path: &Path) {
        if fs::canonicalize(path).is_ok_and(|target| !target.starts_with(&self.root)) {
            self.skip("they are links that lead outside", path);
        }
    }

    /// A directory that is an OCI image layout: documents and blobs, no directories of other kinds.
    fn layout(&mut self, finder: &mut Finder, path: &Path) {
        let mut names = Vec::new();
        let mut pending = vec![(String::new(), 0)];
        while let Some((below, depth)) = pending.pop() {
            let Ok(entries) = fs::read_dir(path.join(&below)) else {
                finder.unreadable(&path.join(&below).display().to_string(), "cannot be listed".to_owned());
                continue;
            };
            for entry in entries.flatten() {
                let name = format!("{below}{}", entry.file_name().to_string_lossy());
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() && depth < DIRECTORY_DEPTH => {
                        pending.push((format!("{name}/"), depth + 1));
                    }
                    Ok(meta) if meta.is_file() => names.push((name, meta.len())),
                    _ => {
                        self.skip(
                            "they are neither files nor directories of the image layout",
                            &entry.path(),
                        );
                    }
                }
            }
        }
        names.sort();
        finder.look_layout(&path.display().to_string(), &names, |name| {
            Ok(Box::new(BufReader::with_capacity(BUFFER_SZ, open::open(&path.join(name), Takes::Files)?))
                as Box<dyn Read>)
        });
    }
}
