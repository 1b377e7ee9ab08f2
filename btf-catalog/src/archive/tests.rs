//! Archives made here, byte by byte.

use super::*;
use std::io::Write as _;

/// Paths and bytes of what a walk shows.
type Seen = Vec<(String, Vec<u8>)>;

fn walk(
    bytes: &[u8],
    with: impl Fn(&mut dyn Read, Visit<'_, ArchiveError>) -> Result<(), ArchiveError>,
) -> Result<Seen, ArchiveError> {
    let mut seen = Vec::new();
    with(&mut &bytes[..], &mut |mut member| {
        if !member.is_file {
            return Ok(());
        }
        let bytes = member.bytes(1 << 20)?;
        seen.push((member.path.to_owned(), bytes));
        Ok(())
    })?;
    Ok(seen)
}

fn seen(members: &[(&str, &[u8])]) -> Seen {
    members.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

fn ar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, bytes.len()).unwrap();
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// A header and its data, padded.
fn tar_entry(kind: u8, prefix: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    head[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    head[148..156].fill(b' ');
    head[156] = kind;
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = head.to_vec();
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn cpio_entry(mode: u32, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = b"070701".to_vec();
    for field in [1, mode, 0, 0, 1, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
        write!(out, "{field:08x}").unwrap();
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn rpm_of(payload: &[u8]) -> Vec<u8> {
    let header = |index: u32, data: &[u8]| {
        let mut out = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        out.extend(index.to_be_bytes());
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(vec![0; index as usize * 16]);
        out.extend_from_slice(data);
        out
    };
    let mut out = vec![0; 96];
    out[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
    out.extend(header(1, b"sig"));
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(header(2, b"names"));
    out.extend_from_slice(payload);
    out
}

#[test]
fn members_of_ar_with_odd_sizes() {
    let members: &[(&str, &[u8])] = &[("debian-binary", b"2.0\n"), ("odd", b"123"), ("last", b"x")];
    assert_eq!(walk(&ar_of(members), ar).unwrap(), seen(members));
}

#[test]
fn names_in_all_of_the_ways_of_ar() {
    let long = "a_name_that_is_too_long_for_its_header.bpf.o";
    let table = format!("{long}/\n");
    let archive = ar_of(&[
        ("//", table.as_bytes()),
        ("short.o/", b"abc"),
        ("/0", b"de"),
        ("#1/5", b"bsd.ofgh"),
        ("debian-binary", b"2.0\n"),
    ]);
    let members: &[(&str, &[u8])] =
        &[("short.o", b"abc"), (long, b"de"), ("bsd.o", b"fgh"), ("debian-binary", b"2.0\n")];
    assert_eq!(walk(&archive, ar).unwrap(), seen(members));
    // A size that nothing can have costs nothing.
    let mut huge = archive.clone();
    huge[56..66].copy_from_slice(b"9999999999");
    assert!(walk(&huge, ar).is_err());
    assert!(walk(&archive[..30], ar).is_err());
}

#[test]
fn a_sparse_file_hides_nothing_behind_it() {
    let mut sparse = tar_entry(b'S', "", "sparse", b"stored");
    let more = vec![0; 512];
    sparse[482] = 1;
    let sum: u32 = sparse[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - sparse[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * 32;
    sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    sparse.splice(512..512, more);
    let archive = tar_of(&[sparse, tar_entry(b'0', "", "b", b"b")]);
    assert_eq!(walk(&archive, tar).unwrap(), seen(&[("sparse", b"stored"), ("b", b"b")]));
}

#[test]
fn names_in_all_of_the_ways_of_tar() {
    let long = format!("{}/vmlinuz", "d".repeat(200));
    let record = format!("218 path={long}\n");
    assert_eq!(record.len(), 219 - 1);
    let archive = tar_of(&[
        tar_entry(b'5', "", "./boot/", b""),
        tar_entry(b'0', "", "./boot/config", b"CONFIG_BPF=y\n"),
        tar_entry(b'0', "usr/lib/modules", "6.1/vmlinuz", b"image"),
        tar_entry(b'L', "", "././@LongLink", format!("{long}\0").as_bytes()),
        tar_entry(b'0', "", "cut", b"gnu"),
        tar_entry(b'x', "", "pax", record.as_bytes()),
        tar_entry(b'0', "", "cut", b"pax"),
        tar_entry(b'2', "", "link", b""),
    ]);
    let want: &[(&str, &[u8])] = &[
        ("./boot/config", b"CONFIG_BPF=y\n"),
        ("usr/lib/modules/6.1/vmlinuz", b"image"),
        (&long, b"gnu"),
        (&long, b"pax"),
    ];
    assert_eq!(walk(&archive, tar).unwrap(), seen(want));
}

#[test]
fn a_member_that_is_not_read_is_skipped() {
    let archive = tar_of(&[tar_entry(b'0', "", "a", &[1; 700]), tar_entry(b'0', "", "b", b"b")]);
    let mut paths = Vec::new();
    let visited: Result<(), ArchiveError> = tar(&mut &archive[..], &mut |member| {
        paths.push(member.path.to_owned());
        Ok(())
    });
    visited.unwrap();
    assert_eq!(paths, ["a", "b"]);
}

#[test]
fn packages_are_walked_through_their_compression() {
    let payload = tar_of(&[tar_entry(b'0', "", "./boot/config-6.1", b"CONFIG_BPF=y\n")]);
    let packed = zstd::encode_all(&payload[..], 3).unwrap();
    let want: &[(&str, &[u8])] = &[("./boot/config-6.1", b"CONFIG_BPF=y\n")];
    for (name, data) in [("data.tar", &payload), ("data.tar.zst", &packed)] {
        let package = ar_of(&[("debian-binary", b"2.0\n"), ("control.tar", b"no tar"), (name, data)]);
        assert_eq!(walk(&package, deb).unwrap(), seen(want));
    }
    assert!(walk(&ar_of(&[("debian-binary", b"2.0\n")]), deb).is_err());

    let cpio = [
        cpio_entry(0o040_755, "./lib", b""),
        cpio_entry(0o100_644, "./lib/modules/6.1/config", b"CONFIG_BPF=m\n"),
        cpio_entry(0o120_777, "./boot/vmlinuz", b"target"),
        cpio_entry(0, "TRAILER!!!", b""),
    ]
    .concat();
    let want: &[(&str, &[u8])] = &[("./lib/modules/6.1/config", b"CONFIG_BPF=m\n")];
    for payload in [cpio.clone(), zstd::encode_all(&cpio[..], 3).unwrap()] {
        let package = rpm_of(&payload);
        let len = package.len() as u64;
        assert_eq!(walk(&package, |from, visit| rpm(from, len, visit)).unwrap(), seen(want));
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let archive = tar_of(&[tar_entry(b'0', "", "a", b"abc")]);
    let mut wrong = archive.clone();
    wrong[0] ^= 1;
    let error = walk(&wrong, tar).unwrap_err().to_string();
    assert_eq!(error, "tar archive at byte 512: a header's checksum is wrong");
    assert!(walk(&archive[..514], tar).is_err());
    // 4 GiB that are not there are not asked for.
    let mut huge = cpio_entry(0o100_644, "a", b"");
    huge[54..62].copy_from_slice(b"ffffffff");
    assert!(matches!(walk(&huge, cpio), Err(ArchiveError::TooLarge { .. })));
    let mut rpm_header = rpm_of(b"");
    rpm_header[104..108].fill(0xff);
    assert!(
        walk(&rpm_header, |from, visit| rpm(from, 0, visit)).unwrap_err().to_string().contains("a header of")
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000), cut in 0usize..3000) {
        let _ = walk(&bytes, ar);
        let _ = walk(&bytes, tar);
        let _ = walk(&bytes, cpio);
        let whole = ar_of(&[("data.tar", &tar_of(&[tar_entry(b'0', "", "a", &bytes)]))]);
        let _ = walk(&whole[..cut.min(whole.len())], deb);
    }
}
