//! Where the kernels' BTF and the objects come from: the cache that `cargo xtask kernels` and `cargo xtask objects` fill.

use btf_catalog::kernel::{Options, read as read_kernels};
use std::path::{Path, PathBuf};

/// The version of libbpf-tools whose objects are measured: 57 of them.
const CORPUS: &str = "objects/libbpf-tools/libbpf-tools_0.31";

/// `$XDG_CACHE_HOME/portolan`.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    cache
        .map(|cache| cache.join("portolan"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".to_owned())
}

/// The paths in a directory, by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|error| {
        format!("{}: {error}; `cargo xtask kernels` and `cargo xtask objects` fill the cache", dir.display())
    })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Takes the BTF of x86-64 kernels out of the packages that were not looked at yet.
pub(crate) fn prepare() -> Result<(), String> {
    let dir = cache()?.join("bench/btf");
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for package in entries(&cache()?.join("kernels"))? {
        let of_kernel =
            ["linux-image-", "linux-binary-"].iter().find_map(|kind| name(&package).strip_prefix(kind));
        let Some(release) = of_kernel.filter(|rest| rest.ends_with("_amd64.deb")) else { continue };
        let release = release.split('_').next().unwrap_or_default();
        let to = dir.join(format!("{release}.btf"));
        if to.exists() {
            continue;
        }
        println!("taking the BTF out of {}", name(&package));
        let kernels = read_kernels(&[&package], Options { modules: false, image: false })
            .map_err(|error| format!("{}: {error}", package.display()))?;
        let btf = kernels.into_iter().find_map(|kernel| kernel.btf);
        let btf = btf.ok_or_else(|| format!("{} has no BTF", package.display()))?;
        // Whoever is interrupted leaves no half of a file under the name that is looked for.
        let half = to.with_extension("half");
        std::fs::write(&half, btf)
            .and_then(|()| std::fs::rename(&half, &to))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// BTF of kernels, by release.
pub(crate) fn kernels() -> Result<Vec<PathBuf>, String> {
    let mut kernels = entries(&cache()?.join("bench/btf"))?;
    kernels.retain(|path| path.extension().is_some_and(|ext| ext == "btf"));
    Ok(kernels)
}

/// The objects, by name.
pub(crate) fn objects() -> Result<Vec<PathBuf>, String> {
    let wanted = cache()?.join(CORPUS);
    let (dir, version) = (wanted.parent().unwrap_or(&wanted), name(&wanted));
    let corpus = entries(dir)?.into_iter().find(|path| name(path).starts_with(version));
    entries(&corpus.ok_or_else(|| format!("no {version} in {}", dir.display()))?)
}

/// The first kernel whose release begins with that.
pub(crate) fn kernel(release: &str) -> Result<PathBuf, String> {
    let wanted = |path: &PathBuf| name(path).starts_with(release);
    kernels()?.into_iter().find(wanted).ok_or_else(|| format!("no BTF of a kernel {release}"))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
