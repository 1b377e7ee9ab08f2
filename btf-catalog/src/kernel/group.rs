//! Which files may hold parts of one kernel, told by their names.

use super::KernelError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that must be read together, since they may hold parts of one kernel; all others can be read one after the other.
///
/// Parts of a kernel carry its release in their names (`linux-binary-7.2.12_amd64.deb`, `linux-modules-7.2.12_amd64.deb`,
/// `vmlinuz-7.2.12`). Those whose names tell none are one group. A directory of nothing but packages stands for these.
pub fn groups(paths: &[impl AsRef<Path>]) -> Result<Vec<Vec<PathBuf>>, KernelError> {
    let mut files = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        match packages(path)? {
            Some(packages) => files.extend(packages),
            None => files.push(path.to_owned()),
        }
    }
    let mut groups: Vec<Vec<PathBuf>> = Vec::new();
    let mut by_release: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for file in files {
        let group = *by_release.entry(release(&file)).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(file);
    }
    Ok(groups)
}

/// The packages in a directory that holds nothing else.
fn packages(path: &Path) -> Result<Option<Vec<PathBuf>>, KernelError> {
    if !path.is_dir() {
        return Ok(None);
    }
    let io = |error| KernelError::Io { path: path.to_owned(), error };
    let entries = fs::read_dir(path).map_err(io)?.map(|entry| Ok(entry.map_err(io)?.path()));
    let mut entries = entries.collect::<Result<Vec<_>, KernelError>>()?;
    entries.sort();
    let is_package = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "deb" || extension == "rpm") && path.is_file()
    };
    Ok((!entries.is_empty() && entries.iter().all(is_package)).then_some(entries))
}

/// What follows the first number of a file's name, up to the version of its package.
fn release(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = [".deb", ".rpm"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let bytes = name.as_bytes();
    let begins = |at: &usize| {
        bytes[*at].is_ascii_digit()
            && at.checked_sub(1).is_none_or(|before| matches!(bytes[before], b'-' | b'_'))
    };
    let release = &name[(0..bytes.len()).find(begins)?..];
    // One number alone names no kernel.
    let release = release.split('_').next().filter(|release| release.contains('.'))?;
    Some(release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_kernel_are_told_by_its_release() {
        let names = [
            "linux-binary-7.2.12+deb13-cloud-amd64_7.2.12-1~bpo13+1_amd64.deb",
            "kernel-core-6.8.5-301.fc40.x86_64.rpm",
            "linux-modules-7.2.12+deb13-cloud-amd64_7.2.12-1~bpo13+1_amd64.deb",
            "vmlinux.btf",
            "kernel-modules-core-6.8.5-301.fc40.x86_64.rpm",
            "5.4.0-91-generic.btf.tar.xz",
            "x86-64/vmlinuz",
            "vmlinuz-7.2.12+deb13-cloud-amd64",
        ];
        let groups = groups(&names).unwrap();
        let groups: Vec<Vec<usize>> = groups
            .iter()
            .map(|group| {
                group
                    .iter()
                    .map(|path| names.iter().position(|name| path == Path::new(name)).unwrap())
                    .collect()
            })
            .collect();
        assert_eq!(groups, [vec![0, 2, 7], vec![1, 4], vec![3, 6], vec![5]]);
    }

    #[test]
    fn a_directory_of_packages_stands_for_them() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["linux-image-6.1.0-1_1_amd64.deb", "linux-image-6.12.0-1_1_amd64.deb"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(groups(&[dir.path()]).unwrap().len(), 2);
        fs::write(dir.path().join("vmlinuz"), b"").unwrap();
        assert_eq!(groups(&[dir.path()]).unwrap(), [[dir.path()]]);
    }
}
