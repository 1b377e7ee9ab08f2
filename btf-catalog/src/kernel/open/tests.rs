//! Files put down in a directory of their own, as packages and distributions lay them.

use super::*;
use std::io::Write as _;

/// BTF without a type.
const BTF: &[u8] = &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A relocatable ELF file of nothing but its header.
fn elf() -> Vec<u8> {
    let mut out = vec![0; 64];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (out[16], out[18], out[20]) = (1, 62, 1);
    out[52] = 64;
    out[58] = 64;
    out
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, bytes) in members {
        let mut head = [0u8; 512];
        head[..path.len()].copy_from_slice(path.as_bytes());
        head[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        head[148..156].fill(b' ');
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(head);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out
}

fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
    let data = gzip(&tar(members));
    let mut out = b"!<arch>\n".to_vec();
    writeln!(out, "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", "data.tar.gz", 0, 0, 0, 100_644, data.len()).unwrap();
    out.extend(data);
    out
}

/// Writes files below a new directory.
fn directory(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

#[test]
fn paths_tell_what_a_file_is() {
    let cases = [
        ("boot/vmlinuz-6.1.0-1-amd64", Some((Role::Image, Some("6.1.0-1-amd64")))),
        ("usr/lib/modules/6.1/vmlinuz", Some((Role::Image, Some("6.1")))),
        ("usr/lib/debug/boot/vmlinux-6.1", Some((Role::Image, Some("6.1")))),
        ("lib/modules/6.1/kernel/net/tcp-bbr.ko.zst", Some((Role::Module, Some("6.1")))),
        ("usr/lib/debug/lib/modules/6.1/kernel/net/tcp_bbr.ko", None),
        ("lib/modules/6.1/config", Some((Role::Config, Some("6.1")))),
        ("boot/config-6.1", Some((Role::Config, Some("6.1")))),
        ("lib/modules/6.1/modules.order", Some((Role::Order, Some("6.1")))),
        ("lib/modules/6.1/build/config", None),
        ("x86_64/5.4.0-42-generic.btf", Some((Role::Btf, Some("5.4.0-42-generic")))),
        ("boot/vmlinuz-0-rescue-0123", None),
        ("boot/initrd.img-6.1", None),
    ];
    for (path, expected) in cases {
        assert_eq!(role(path), expected, "{path}");
    }
}

#[test]
fn packages_of_one_kernel_become_one() {
    let order = b"kernel/net/a-b.ko\nkernel/fs/c.ko\n".to_vec();
    let base = deb(&[
        ("./usr/lib/modules/6.1-x/config", b"CONFIG_BPF=y\n"),
        ("./usr/lib/modules/6.1-x/modules.order", &order),
    ]);
    let module = elf();
    let some = deb(&[("./usr/lib/modules/6.1-x/kernel/net/a-b.ko", &module)]);
    let others = deb(&[
        ("./usr/lib/modules/6.1-x/kernel/fs/c.ko.gz", &gzip(&module)),
        ("./usr/lib/modules/6.1-x/kernel/bad.ko", b"no ELF"),
    ]);
    let other_kernel = deb(&[("./boot/config-6.2", b"CONFIG_BPF=y\n")]);
    let dir = directory(&[("1.deb", base), ("2.deb", some), ("3.deb", others), ("4.deb", other_kernel)]);
    let kernels = read(&[dir.path()], Options::ALL).unwrap();
    let releases: Vec<_> = kernels.iter().map(|kernel| kernel.release.as_deref().unwrap()).collect();
    assert_eq!(releases, ["6.1-x", "6.2"]);
    assert_eq!(kernels[0].modules.keys().collect::<Vec<_>>(), ["a_b", "c"]);
    assert!(kernels[0].modules_whole);
    assert_eq!(kernels[0].config.as_ref().unwrap().get("CONFIG_BPF"), Some("y"));
    assert!(kernels[0].notes[0].starts_with("usr/lib/modules/6.1-x/kernel/bad.ko"), "{:?}", kernels[0].notes);

    // In whatever order they are named.
    for order in [["2.deb", "1.deb", "3.deb"], ["3.deb", "2.deb", "1.deb"], ["1.deb", "3.deb", "2.deb"]] {
        let kernels = read(&order.map(|name| dir.path().join(name)), Options::ALL).unwrap();
        assert_eq!(kernels.len(), 1, "{order:?}");
        assert!(kernels[0].modules_whole && kernels[0].config.is_some(), "{order:?}");
    }

    // Without one of the packages not all modules are there, and without asking for them none.
    let two = [dir.path().join("1.deb"), dir.path().join("2.deb")];
    assert!(!read(&two, Options::ALL).unwrap()[0].modules_whole);
    assert!(read(&two, Options { modules: false, image: true }).unwrap()[0].modules.is_empty());
}

#[test]
fn one_release_with_two_btfs_is_two_kernels() {
    let mut other = BTF.to_vec();
    other[20] = 2;
    other.push(0);
    let dir = directory(&[
        ("a/6.1.btf", BTF.to_vec()),
        ("b/6.1.btf", other),
        ("b/config-6.1", b"CONFIG_BPF=y\n".to_vec()),
    ]);
    let kernels = read(&[dir.path()], Options::ALL).unwrap();
    assert_eq!(kernels.len(), 2);
    assert!(kernels.iter().all(|kernel| kernel.release.as_deref() == Some("6.1")));
}

#[test]
fn btf_alone_packed_or_in_an_archive() {
    let archive = gzip(&tar(&[("5.4.0-42-generic.btf", BTF)]));
    let dir = directory(&[
        ("bare", BTF.to_vec()),
        ("packed.gz", gzip(BTF)),
        ("5.4.0-42-generic.btf.tar.gz", archive),
    ]);
    for (file, release) in
        [("bare", None), ("packed.gz", None), ("5.4.0-42-generic.btf.tar.gz", Some("5.4.0-42-generic"))]
    {
        let kernels = read(&[dir.path().join(file)], Options::ALL).unwrap();
        assert_eq!(kernels.len(), 1, "{file}");
        assert_eq!(kernels[0].btf.as_deref(), Some(BTF), "{file}");
        assert_eq!(kernels[0].release.as_deref(), release, "{file}");
    }
}

#[test]
fn a_root_file_system_is_looked_at_where_kernels_lie() {
    let dir = directory(&[
        ("boot/config-6.1", b"CONFIG_BPF=y\n".to_vec()),
        ("home/config-6.2", b"CONFIG_BPF=y\n".to_vec()),
        ("usr/lib/modules/6.1/kernel/a.ko", elf()),
    ]);
    let kernels = read(&[dir.path()], Options::ALL).unwrap();
    assert_eq!(kernels.len(), 1);
    assert!(kernels[0].modules.contains_key("a"));
}

#[test]
fn what_holds_no_kernel_is_an_error_that_names_it() {
    let dir = directory(&[
        ("text", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("other.deb", deb(&[("./usr/bin/ls", b"")])),
    ]);
    for file in ["text", "empty", "other.deb", "absent"] {
        let path = dir.path().join(file);
        let error = read(&[&path], Options::ALL).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    assert!(read(&[dir.path()], Options::ALL).unwrap_err().to_string().contains("no kernel, package"));
    assert!(
        read(&[Path::new("/dev/zero")], Options::ALL)
            .unwrap_err()
            .to_string()
            .contains("neither a regular file")
    );
}
