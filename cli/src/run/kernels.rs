//! The kernels that `--kernel` and `--store` name, and whether anything can be said of them.

use super::kernel::{find, open_existing};
use crate::exit::{Failure, bad_input};
use anyhow::{Context, anyhow, bail};
use btf_catalog::kernel::{self, Kernel, Options};
use btf_catalog::store::{Record, Store};
use probe_matrix::derive::Offline;
use std::path::PathBuf;

/// What may be given as a kernel, for errors.
const TAKEN: &str = "a kernel is an image (vmlinux, bzImage, arm64 Image), a package (deb, rpm), a directory of these, or BTF";

/// Where a kernel is read from.
pub(super) enum Source {
    /// The files of one kernel, or one file that has several.
    Files(Vec<PathBuf>),
    /// One of the store.
    Stored(Box<Record>),
}

/// The kernels that were named.
pub(super) struct Kernels {
    pub(super) store: Option<Store>,
    pub(super) sources: Vec<Source>,
    /// Records of the store that cannot be read, where all of the store is meant.
    pub(super) damaged: Vec<String>,
}

impl Kernels {
    /// Those that `named` and `store` mean: of a store all, unless some are named. A path that is not there is a kernel
    /// of the store.
    pub(super) fn named(named: &[PathBuf], store: Option<&str>) -> Result<Kernels, Failure> {
        let store = store.map(|store| open_existing(Some(store))).transpose()?;
        let in_store = |path: &&PathBuf| store.is_some() && !path.exists();
        let (stored, files): (Vec<&PathBuf>, Vec<&PathBuf>) = named.iter().partition(in_store);
        let groups = kernel::groups(&files).map_err(|error| unreadable(error.into()))?;
        let mut sources: Vec<_> = groups.into_iter().map(Source::Files).collect();
        let mut damaged = Vec::new();
        if let Some(store) = &store {
            let mut records = Vec::new();
            for selector in &stored {
                records.extend(find(store, &selector.display().to_string())?);
            }
            if named.is_empty() {
                let listing = store.list().map_err(|error| unreadable(error.into()))?;
                damaged = listing.damaged.iter().map(ToString::to_string).collect();
                records = listing.records;
            }
            sources.extend(records.into_iter().map(|record| Source::Stored(Box::new(record))));
        }
        Ok(Kernels { store, sources, damaged })
    }

    /// The kernels of a source.
    pub(super) fn read(&self, source: &Source, options: Options) -> anyhow::Result<Vec<Kernel>> {
        match (source, &self.store) {
            (Source::Files(files), _) => {
                kernel::read(files, options).map_err(|error| anyhow!("{error} ({TAKEN})"))
            }
            (Source::Stored(record), Some(store)) => {
                let named = || {
                    let name = record.release.clone().unwrap_or_else(|| record.id());
                    format!("{name} cannot be read (`portolan kernel add` of its files repairs it)")
                };
                Ok(vec![store.kernel(record).with_context(named)?])
            }
            (Source::Stored(_), None) => Ok(Vec::new()),
        }
    }

    /// All of them.
    pub(super) fn all(&self, options: Options) -> Result<Vec<Kernel>, Failure> {
        let read = self.sources.iter().map(|source| self.read(source, options));
        let kernels = read.collect::<anyhow::Result<Vec<_>>>().map_err(unreadable)?;
        let kernels: Vec<Kernel> = kernels.into_iter().flatten().collect();
        if kernels.is_empty() {
            return Err(bad_input(anyhow!("no kernel is in what --kernel and --store name")));
        }
        Ok(kernels)
    }
}

/// The error of a kernel that cannot be read.
pub(super) fn unreadable(error: anyhow::Error) -> Failure {
    bad_input(error.context("the kernels cannot be read"))
}

/// What a kernel is called: its release, or the files that it was read from.
pub(super) fn name(kernel: &Kernel) -> String {
    kernel.release.clone().unwrap_or_else(|| kernel.sources.join(", "))
}

/// Fails where nothing could be said of a kernel: its BTF is damaged, or neither BTF nor image was found. A kernel that
/// was built without BTF can be judged.
pub(super) fn check(offline: &Offline) -> anyhow::Result<()> {
    let kernel = offline.kernel();
    let (name, sources) = (name(kernel), kernel.sources.join(", "));
    if kernel.btf.is_some() && offline.types_with(None).is_none() {
        bail!("{name} ({sources}): {}", offline.notes().join("; "));
    }
    if kernel.btf.is_some() || kernel.banner.is_some() || kernel.image.is_some() {
        return Ok(());
    }
    let mut found = Vec::new();
    found.extend(kernel.config.is_some().then(|| "its configuration".to_owned()));
    found.extend((!kernel.modules.is_empty()).then(|| format!("{} of its modules", kernel.modules.len())));
    let found = if found.is_empty() { "nothing of it".to_owned() } else { found.join(" and ") };
    bail!(
        "{name}: only {found} was found in {sources}; its image or BTF is missing. A package that has it \
         (Debian: linux-image-… or linux-binary-…) is given with --kernel as well"
    )
}
