//! The initramfs: a cpio archive of the "newc" kind, which is the one kind that kernels unpack
//! (Documentation/driver-api/early-userspace/buffer-format.rst, v6.12).

use std::collections::BTreeSet;

const S_IFDIR: u32 = 0o04_0000;
const S_IFREG: u32 = 0o10_0000;
const S_IFCHR: u32 = 0o02_0000;

/// An initramfs under construction. Not compressed: unpacking would cost the guest more than reading.
#[derive(Debug)]
pub struct Initramfs {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Initramfs {
    /// An archive with `init` as `/init`, and with `/dev/console`, without which the kernel starts init with no
    /// standard streams.
    pub fn new(init: &[u8]) -> Initramfs {
        let mut archive = Initramfs { bytes: Vec::new(), directories: BTreeSet::new(), inode: 0 };
        archive.directory("dev");
        archive.entry("dev/console", S_IFCHR | 0o600, (5, 1), &[]);
        archive.entry("init", S_IFREG | 0o755, (0, 0), init);
        archive
    }

    /// Adds a file at `path` (relative to the root) with the directories above it.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        for (at, _) in path.match_indices('/') {
            self.directory(&path[..at]);
        }
        self.entry(path, S_IFREG | 0o644, (0, 0), content);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn directory(&mut self, path: &str) {
        if !path.is_empty() && self.directories.insert(path.to_owned()) {
            self.entry(path, S_IFDIR | 0o755, (0, 0), &[]);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        use std::io::Write;
        self.inode += 1;
        let name_sz = path.len() as u32 + 1;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.inode, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, major, minor, name_sz, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}").expect("a Vec takes all that is written to it");
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    /// Names, modes and contents of an archive, read as the kernel's `unpack_to_rootfs()` does (init/initramfs.c).
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + n * 8..at + 14 + n * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, sz, name_sz) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[at + 110..at + 110 + name_sz - 1]).unwrap().to_owned();
            let body = (at + 110 + name_sz).next_multiple_of(4);
            at = (body + sz).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return entries;
            }
            entries.push((name, mode, bytes[body..body + sz].to_vec()));
        }
    }

    #[test]
    fn directories_come_once_and_before_what_is_in_them() {
        let mut archive = Initramfs::new(b"\x7fELF");
        archive.file("objects/a/one.o", b"1");
        archive.file("objects/a/two.o", b"22");
        archive.file("plan", b"");
        let entries = read(&archive.finish());
        let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
        assert_eq!(
            names,
            [
                "dev",
                "dev/console",
                "init",
                "objects",
                "objects/a",
                "objects/a/one.o",
                "objects/a/two.o",
                "plan"
            ]
        );
        assert_eq!(entries[2], ("init".into(), 0o10_0755, b"\x7fELF".to_vec()));
        assert_eq!(entries[6].2, b"22");
    }
}
