//! Opens files and directories and puts together which parts belong to one kernel. The only part of this crate that
//! touches the file system.

use super::{Kernel, KernelConfig, KernelError, Module, config, image, module};
use crate::archive::compress::{Frames, detect, unpack};
use crate::archive::{self, ArchiveError, Member, Visit};
use crate::open::{Takes, open};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

/// What is wanted of a kernel. BTF, configuration and identity always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Modules: most of the bytes of a package.
    pub modules: bool,
    /// The unpacked image and its symbols: most of the memory of a kernel.
    pub image: bool,
}

impl Options {
    /// All there is.
    pub const ALL: Options = Options { modules: true, image: true };
}

/// Bytes of a file that is read as a whole.
const FILE_LIMIT: u64 = 1 << 30;
/// Bytes of `modules.order`; distributions' have 200 kB.
const ORDER_LIMIT: u64 = 16 << 20;
/// Bytes of a BTF. One that was never deduplicated had 27 MB.
const BTF_LIMIT: u64 = 256 << 20;
/// Entries of a directory tree that are looked at.
const ENTRIES: usize = 1 << 20;
/// How deep modules lie below a directory: `usr/lib/modules/RELEASE/kernel/drivers/net/ethernet/VENDOR/NAME/core`.
const DEPTH: usize = 16;
/// Threads that read modules, at most.
const READERS: usize = 8;
/// Compressions around one file.
const LAYERS: usize = 3;

/// The kernels that files hold: images, packages, directories of either, bare BTF, modules, configurations.
///
/// Parts of one kernel, such as Debian's packages of binary, modules and base, become one [`Kernel`]: they agree in
/// release, and in build ID, machine and BTF where these are known of both. Parts that tell no release stay alone.
pub fn read(paths: &[impl AsRef<Path>], options: Options) -> Result<Vec<Kernel>, KernelError> {
    // Images and modules are unpacked beside the package that they come from: most packages of today compress both.
    std::thread::scope(|scope| {
        let readers = options.modules.then(|| Readers::start(scope, options));
        let mut parts = Parts { options, kernels: Vec::new(), found: 0, readers };
        for path in paths {
            let path = path.as_ref();
            parts.path(path).map_err(|error| match error {
                KernelError::Io { .. } | KernelError::In { .. } => error,
                // It says which file itself.
                KernelError::NoKernel { ref what, .. }
                | KernelError::TooLarge { ref what, .. }
                | KernelError::Damaged { ref what, .. }
                    if *what == path.display().to_string() =>
                {
                    error
                }
                error => KernelError::In { path: path.to_owned(), error: Box::new(error) },
            })?;
        }
        Ok(parts.finish())
    })
}

/// An image or a module to be read: what it was found in, as which file of all, its path there, and the release that the
/// path tells.
struct PackedFile {
    source: String,
    number: usize,
    path: String,
    release: Option<String>,
    bytes: Vec<u8>,
}

/// What is to be read.
enum Job {
    Image(PackedFile),
    Module(PackedFile),
}

type ImageRead = (PackedFile, Result<Kernel, KernelError>);
type ModuleRead = (PackedFile, Result<(Module, Option<String>), KernelError>);

/// What was read.
#[derive(Default)]
struct FilesRead {
    images: Vec<ImageRead>,
    modules: Vec<ModuleRead>,
}

/// Threads that read images and modules. At most as many files wait as there are threads.
struct Readers<'scope> {
    queue: SyncSender<Job>,
    threads: Vec<ScopedJoinHandle<'scope, FilesRead>>,
}

impl<'scope> Readers<'scope> {
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, options: Options) -> Readers<'scope> {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(READERS);
        let (queue, jobs) = mpsc::sync_channel::<Job>(count);
        let jobs = Arc::new(Mutex::new(jobs));
        let threads = (0..count).map(|_| {
            let jobs = Arc::clone(&jobs);
            scope.spawn(move || {
                let mut read = FilesRead::default();
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        Ok(Job::Image(mut file)) => {
                            let image = image::read(&std::mem::take(&mut file.bytes), options.image);
                            read.images.push((file, image));
                        }
                        Ok(Job::Module(mut file)) => {
                            let module = module::read(&file.path, &std::mem::take(&mut file.bytes));
                            read.modules.push((file, module));
                        }
                        Err(_) => return read,
                    }
                }
            })
        });
        Readers { queue, threads: threads.collect() }
    }

    /// What was read of all, once no more come, whichever thread read it.
    fn finish(self) -> FilesRead {
        drop(self.queue);
        let mut all = FilesRead::default();
        for thread in self.threads {
            // Nothing in a reader panics; if it did, what it had would be missing from the kernel and be seen so.
            let FilesRead { images, modules } = thread.join().unwrap_or_default();
            all.images.extend(images);
            all.modules.extend(modules);
        }
        // The order of threads must not show.
        all.images.sort_by_key(|(file, _)| file.number);
        all.modules
            .sort_by(|(one, _), (other, _)| (&one.source, &one.path).cmp(&(&other.source, &other.path)));
        all
    }
}

/// What a file is to a kernel, told by its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Image,
    Config,
    Module,
    /// `modules.order`: all modules that were built.
    Order,
    Btf,
}

/// The role of a file, and the release that its path tells.
fn role(path: &str) -> Option<(Role, Option<&str>)> {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    let modules = match dir.strip_prefix("lib/modules/") {
        Some(rest) => Some(rest),
        None => dir.split_once("/lib/modules/").map(|(_, rest)| rest),
    };
    let module_release = modules.and_then(|rest| rest.split('/').next());
    let whole = |role| Some((role, module_release));
    if module::name_of(file).is_some() {
        // Copies of the modules that hold their debug information only.
        return if dir.contains("lib/debug/") { None } else { whole(Role::Module) };
    }
    if modules.is_some_and(|rest| !rest.contains('/')) {
        match file {
            "vmlinuz" | "vmlinux" | "Image" => return whole(Role::Image),
            "config" => return whole(Role::Config),
            "modules.order" => return whole(Role::Order),
            _ => {}
        }
    }
    if let Some(stem) = file.strip_suffix(".btf") {
        return Some((Role::Btf, Some(stem)));
    }
    let (name, release) = file.split_once('-')?;
    match name {
        // Fedora keeps a copy for emergencies that names no release.
        "vmlinuz" | "vmlinux" | "Image" | "image" if !release.starts_with("0-rescue-") => {
            let release = [".gz", ".xz", ".zst"]
                .iter()
                .find_map(|suffix| release.strip_suffix(suffix))
                .unwrap_or(release);
            Some((Role::Image, Some(release)))
        }
        "config" => Some((Role::Config, Some(release))),
        _ => None,
    }
}

/// A kernel in the making.
struct Part {
    kernel: Kernel,
    /// Modules that `modules.order` lists.
    order: Option<BTreeSet<String>>,
}

struct Parts<'scope> {
    options: Options,
    kernels: Vec<Part>,
    /// Files that had a part in a kernel.
    found: usize,
    /// Where modules are wanted.
    readers: Option<Readers<'scope>>,
}

impl Parts<'_> {
    /// The kernel that what says `kernel` belongs to; a new one where it fits none.
    fn of(&mut self, kernel: &Kernel) -> &mut Part {
        fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        let found = self.kernels.iter().position(|Part { kernel: known, .. }| {
            kernel.release.is_some()
                && known.release == kernel.release
                && agree(known.build_id.as_ref(), kernel.build_id.as_ref())
                && agree(known.arch.as_ref(), kernel.arch.as_ref())
                && agree(known.btf.as_ref(), kernel.btf.as_ref())
        });
        let index = found.unwrap_or_else(|| {
            let kernel = Kernel { release: kernel.release.clone(), ..Kernel::default() };
            self.kernels.push(Part { kernel, order: None });
            self.kernels.len() - 1
        });
        &mut self.kernels[index]
    }

    fn add(&mut self, source: &str, from: Kernel) {
        let kernel = &mut self.of(&from).kernel;
        if !kernel.sources.iter().any(|known| known == source) {
            kernel.sources.push(source.to_owned());
        }
        kernel.banner = kernel.banner.take().or(from.banner);
        kernel.arch = kernel.arch.take().or(from.arch);
        kernel.build_id = kernel.build_id.take().or(from.build_id);
        kernel.btf = kernel.btf.take().or(from.btf);
        kernel.config = kernel.config.take().or(from.config);
        kernel.image = kernel.image.take().or(from.image);
        kernel.modules.extend(from.modules);
        kernel.notes.extend(from.notes);
    }

    fn note(&mut self, source: &str, release: Option<&str>, note: String) {
        let release = release.map(str::to_owned);
        self.add(source, Kernel { release, notes: vec![note], ..Kernel::default() });
    }

    fn unreadable(&mut self, file: &PackedFile, error: &KernelError) {
        self.note(&file.source, file.release.as_deref(), format!("{}: {error}", file.path));
    }

    fn finish(mut self) -> Vec<Kernel> {
        let FilesRead { images, modules } = self.readers.take().map(Readers::finish).unwrap_or_default();
        for (file, read) in images {
            match read {
                Ok(kernel) => self.add_image(&file.source, kernel, file.release.as_deref()),
                Err(error) => self.unreadable(&file, &error),
            }
        }
        for (file, read) in modules {
            match read {
                Ok((module, built_for)) => {
                    self.module(&file.source, &file.path, module, file.release.or(built_for));
                }
                Err(error) => self.unreadable(&file, &error),
            }
        }
        let complete = |Part { mut kernel, order }: Part| {
            kernel.modules_whole = order.is_some_and(|order| {
                !kernel.modules.is_empty() && order.iter().all(|name| kernel.modules.contains_key(name))
            });
            kernel
        };
        self.kernels.into_iter().map(complete).collect()
    }

    fn path(&mut self, path: &Path) -> Result<(), KernelError> {
        let metadata =
            fs::metadata(path).map_err(|error| KernelError::Io { path: path.to_owned(), error })?;
        if metadata.is_dir() {
            self.directory(path)
        } else if metadata.is_file() {
            self.file(path, metadata.len())
        } else {
            let problem = "neither a regular file nor a directory".to_owned();
            Err(KernelError::NoKernel { what: path.display().to_string(), problem })
        }
    }

    /// A file that was named, or that is a package: its bytes tell what it is.
    fn file(&mut self, path: &Path, byte_sz: u64) -> Result<(), KernelError> {
        let io = |error| KernelError::Io { path: path.to_owned(), error };
        let source = path.display().to_string();
        let mut file = open(path, Takes::Files).map_err(io)?;
        let mut head = Vec::new();
        (&mut file).take(1024).read_to_end(&mut head).map_err(io)?;
        file.rewind().map_err(io)?;
        let before = self.found;
        let mut visit = |member: Member<'_>| self.member(&source, member);
        let visit: Visit<'_, KernelError> = &mut visit;
        match &head[..] {
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => archive::deb(&mut file, visit)?,
            [0xed, 0xab, 0xee, 0xdb, ..] => archive::rpm(&mut file, byte_sz, visit)?,
            _ if is_tar(&head) => archive::compressed_tar(&mut file, byte_sz, visit)?,
            _ if detect(&head).is_some() && packed_tar(&file).map_err(io)? => {
                archive::compressed_tar(&mut file, byte_sz, visit)?;
            }
            _ => {
                let too_large =
                    || KernelError::TooLarge { what: source.clone(), bytes: byte_sz, most: FILE_LIMIT };
                if byte_sz > FILE_LIMIT {
                    return Err(too_large());
                }
                let mut bytes = Vec::new();
                file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
                if bytes.len() as u64 > FILE_LIMIT {
                    return Err(too_large());
                }
                return self.loose(&source, bytes);
            }
        }
        // Modules are read elsewhere and become part of a kernel at the end.
        if self.found == before {
            let problem = "it has no kernel, module, BTF or configuration in it".to_owned();
            return Err(KernelError::NoKernel { what: source, problem });
        }
        Ok(())
    }

    /// A file of any form that is no archive.
    fn loose(&mut self, source: &str, mut bytes: Vec<u8>) -> Result<(), KernelError> {
        let release = role(source).and_then(|(_, release)| release).map(str::to_owned);
        for _ in 0..LAYERS {
            match &bytes[..] {
                [0x9f, 0xeb, ..] | [0xeb, 0x9f, ..] => {
                    self.add(source, Kernel { release, btf: Some(bytes.into()), ..Kernel::default() });
                    return Ok(());
                }
                // `e_type` 1 is a relocatable file, in either byte order.
                [0x7f, b'E', b'L', b'F', ..] if matches!(bytes.get(16..18), Some([1, 0] | [0, 1])) => {
                    let (module, built_for) = module::read(source, &bytes)?;
                    self.module(source, source, module, release.or(built_for));
                    return Ok(());
                }
                [0x7f, b'E', b'L', b'F', ..] => return self.image(source, &bytes, release.as_deref()),
                _ if image::is_image(&bytes) => return self.image(source, &bytes, release.as_deref()),
                _ => {}
            }
            let Some(compression) = detect(&bytes) else { break };
            bytes = unpack(compression, Frames::One, &bytes, FILE_LIMIT)?;
        }
        if let Some(config) = KernelConfig::parse(&bytes, source) {
            self.add(source, Kernel { release, config: Some(config), ..Kernel::default() });
            return Ok(());
        }
        let problem = "it is no kernel image, package, BTF, module or configuration".to_owned();
        Err(KernelError::NoKernel { what: source.to_owned(), problem })
    }

    /// A file in a package or in a directory: its path tells what it is. One that cannot be read costs itself.
    fn member(&mut self, source: &str, mut member: Member<'_>) -> Result<(), KernelError> {
        if !member.is_file {
            return Ok(());
        }
        let path = member.path.trim_start_matches("./").trim_start_matches('/').to_owned();
        let Some((role, release)) = role(&path) else { return Ok(()) };
        self.found += 1;
        let limit = match role {
            Role::Image => FILE_LIMIT,
            Role::Module if self.readers.is_some() => module::MODULE_LIMIT,
            Role::Module => return Ok(()),
            Role::Config => config::CONFIG_LIMIT,
            Role::Order => ORDER_LIMIT,
            Role::Btf => BTF_LIMIT,
        };
        let bytes = match member.bytes(limit) {
            Ok(bytes) => bytes,
            // The stream itself is at an end only where reading failed, not where a member is too large.
            Err(error @ ArchiveError::TooLarge { .. }) => {
                self.note(source, release, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (number, owned) = (self.found, release.map(str::to_owned));
        let read = match (role, &self.readers) {
            // The kernel's name for its BTF (`/sys/kernel/btf/vmlinux`), and a release behind it.
            (Role::Image, _) if matches!(bytes[..], [0x9f, 0xeb, ..] | [0xeb, 0x9f, ..]) => {
                let btf = Some(Bytes::from(bytes));
                self.add(source, Kernel { release: owned, btf, ..Kernel::default() });
                Ok(())
            }
            // The readers take files until the sender is gone.
            (Role::Image | Role::Module, Some(readers)) => {
                let job = if role == Role::Image { Job::Image } else { Job::Module };
                let source = source.to_owned();
                let _ = readers.queue.send(job(PackedFile { source, number, path, release: owned, bytes }));
                return Ok(());
            }
            (Role::Module, None) => return Ok(()),
            (Role::Image, None) => self.image(source, &bytes, release),
            (Role::Config, _) => {
                let config = KernelConfig::parse(&bytes, format!("/{path}"));
                self.add(source, Kernel { release: release.map(str::to_owned), config, ..Kernel::default() });
                Ok(())
            }
            (Role::Order, _) => {
                let text = String::from_utf8_lossy(&bytes);
                let order = text.lines().filter_map(module::name_of).collect();
                let kernel = Kernel { release: release.map(str::to_owned), ..Kernel::default() };
                self.of(&kernel).order = Some(order);
                Ok(())
            }
            (Role::Btf, _) => {
                let btf = Some(Bytes::from(bytes));
                self.add(source, Kernel { release: release.map(str::to_owned), btf, ..Kernel::default() });
                Ok(())
            }
        };
        if let Err(error) = read {
            self.note(source, release, format!("{path}: {error}"));
        }
        Ok(())
    }

    fn image(&mut self, source: &str, bytes: &[u8], release: Option<&str>) -> Result<(), KernelError> {
        self.add_image(source, image::read(bytes, self.options.image)?, release);
        Ok(())
    }

    fn add_image(&mut self, source: &str, mut kernel: Kernel, release: Option<&str>) {
        kernel.release = kernel.release.or_else(|| release.map(str::to_owned));
        self.add(source, kernel);
    }

    fn module(&mut self, source: &str, path: &str, module: Module, release: Option<String>) {
        let name = module::name_of(path).unwrap_or_else(|| path.to_owned());
        self.add(source, Kernel { release, modules: [(name, module)].into(), ..Kernel::default() });
    }

    /// A root file system, `/boot`, `/lib/modules/RELEASE`, or a tree of packages or BTF files.
    fn directory(&mut self, path: &Path) -> Result<(), KernelError> {
        // Below a root file system nothing else can hold a kernel, and there is much else.
        let places =
            ["boot", "lib/modules", "usr/lib/modules", "usr/lib/debug/boot", "usr/lib/debug/lib/modules"];
        let mut roots: Vec<PathBuf> =
            places.iter().map(|place| path.join(place)).filter(|root| root.is_dir()).collect();
        let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // `/lib` is often a link to `/usr/lib`.
        let mut seen = BTreeSet::new();
        roots.retain(|root| seen.insert(canonical(root)));
        if roots.is_empty() {
            roots.push(canonical(path));
        }
        let before = self.found;
        let mut left = ENTRIES;
        for root in roots {
            self.tree(&root, DEPTH, &mut left)?;
        }
        if self.found == before {
            let problem = "no kernel, package, module, BTF or configuration is in this directory".to_owned();
            return Err(KernelError::NoKernel { what: path.display().to_string(), problem });
        }
        Ok(())
    }

    fn tree(&mut self, dir: &Path, depth: usize, left: &mut usize) -> Result<(), KernelError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| KernelError::Io { path, error }
        };
        let mut entries =
            fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(io(dir))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            *left = left.checked_sub(1).ok_or_else(|| KernelError::TooLarge {
                what: format!("{}: entries of the directory tree", dir.display()),
                bytes: ENTRIES as u64 + 1,
                most: ENTRIES as u64,
            })?;
            // Links are not followed: what they point to is found where it lies.
            let kind = entry.file_type().map_err(io(&path))?;
            if kind.is_dir() && depth > 0 {
                self.tree(&path, depth - 1, left)?;
            } else if kind.is_file() {
                self.entry(&path)?;
            }
        }
        Ok(())
    }

    /// A file in a directory.
    fn entry(&mut self, path: &Path) -> Result<(), KernelError> {
        let Some(text) = path.to_str() else { return Ok(()) };
        let byte_sz = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let package =
            [".deb", ".rpm"].iter().any(|suffix| text.ends_with(suffix)) || text.contains(".btf.tar");
        if package {
            // A package of something else among those of kernels.
            return match self.file(path, byte_sz(path)) {
                Err(KernelError::NoKernel { .. }) => Ok(()),
                read => read,
            };
        }
        let Some((_, release)) = role(text) else { return Ok(()) };
        let release = release.map(str::to_owned);
        match open(path, Takes::Files) {
            Ok(mut data) => {
                let member = Member { path: text, is_file: true, byte_sz: byte_sz(path), data: &mut data };
                self.member(text, member)
            }
            // Distributions let only root read their images.
            Err(error) => {
                self.note(text, release.as_deref(), format!("{text}: {error}"));
                Ok(())
            }
        }
    }
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Whether a compressed file holds a tar archive. Leaves the file at its beginning.
fn packed_tar(mut file: &File) -> io::Result<bool> {
    let mut packed = Vec::new();
    file.take(1 << 20).read_to_end(&mut packed)?;
    file.rewind()?;
    let Some(Ok(stream)) = detect(&packed)
        .map(|compression| crate::archive::compress::decoder(compression, Frames::One, &packed[..]))
    else {
        return Ok(false);
    };
    let mut head = Vec::new();
    // What cannot be unpacked is no tar, and is told so where it is read.
    let _ = stream.take(512).read_to_end(&mut head);
    Ok(is_tar(&head))
}

#[cfg(test)]
mod tests;
