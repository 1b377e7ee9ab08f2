//! Where the kernels' BTF and the objects come from.

use std::path::{Path, PathBuf};

/// The directory of the inputs: `btf/RELEASE.btf` and `objects/*.o`.
fn root() -> PathBuf {
    if let Some(dir) = std::env::var_os("PORTOLAN_BENCH") {
        return dir.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_default().join("portolan/bench")
}

/// The files of a directory with that extension, by name.
fn files(dir: &str, ext: &str) -> Result<Vec<PathBuf>, String> {
    let dir = root().join(dir);
    let entries = std::fs::read_dir(&dir)
        .map_err(|error| format!("{}: {error}; the inputs of the benchmark belong there", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == ext))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{} has no .{ext} files", dir.display()));
    }
    Ok(paths)
}

/// BTF of kernels, by release.
pub(crate) fn kernels() -> Result<Vec<PathBuf>, String> {
    files("btf", "btf")
}

/// The objects, by name.
pub(crate) fn objects() -> Result<Vec<PathBuf>, String> {
    files("objects", "o")
}

/// The first kernel whose file name begins with that.
pub(crate) fn kernel(release: &str) -> Result<PathBuf, String> {
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(release));
    kernels()?.into_iter().find(named).ok_or_else(|| format!("no BTF of a kernel {release}"))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
