//! Images wrapped here as the kernel's build does it.

use super::*;
use std::io::Write as _;

const BANNER: &str = "Linux version 6.1.0-test (who@where) (gcc) #1 SMP Debian";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// An arm64 `Image` that is linked to 0xffff800080000000 and has its addresses in place.
fn arm64() -> Vec<u8> {
    const BASE: u64 = 0xffff_8000_8000_0000;
    let mut out = vec![0; 4096];
    out[16..24].copy_from_slice(&0x10_0000u64.to_le_bytes());
    out[56..60].copy_from_slice(b"ARM\x64");
    // The banner of an earlier link comes first.
    for banner in [BANNER.replace("#1", "#"), BANNER.to_owned()] {
        out.extend(banner.as_bytes());
        out.extend(b"\n\0");
    }
    out.resize(out.len().next_multiple_of(8), 0);
    for n in 0..2000u64 {
        out.extend((BASE + 0x1_0000 + n * 8).to_le_bytes());
    }
    out.extend(u64::MAX.to_le_bytes());
    out
}

fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1024];
    out[0x1f1] = 1;
    out[0x202..0x206].copy_from_slice(b"HdrS");
    out[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    out[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
    out[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend([0x90; 16]);
    out.extend(payload);
    out.extend(b"relocations");
    out
}

fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut out = b"MZ\0\0zimg".to_vec();
    out.extend(64u32.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.resize(64, 0);
    out.extend(payload);
    out.extend(b"code");
    out
}

#[test]
fn every_wrapping_comes_off() {
    let plain = arm64();
    let mut packed = gzip(&plain);
    // The build appends the size.
    packed.extend((plain.len() as u32).to_le_bytes());
    for image in [plain.clone(), packed.clone(), bzimage(&packed), zboot(&packed), gzip(&zboot(&packed))] {
        let kernel = read(&image, true).unwrap();
        assert_eq!(kernel.release.as_deref(), Some("6.1.0-test"));
        assert_eq!(kernel.banner.as_deref(), Some(BANNER));
        assert_eq!(kernel.arch.as_deref(), Some("aarch64"));
        assert_eq!(kernel.image.unwrap().segments[0].address, 0xffff_8000_8000_0000);
        // No BTF, no symbols, no build ID: each is said.
        assert_eq!(kernel.notes.len(), 3, "{:?}", kernel.notes);
    }
}

#[test]
fn a_payload_that_is_not_there_is_told_with_its_place() {
    let mut image = bzimage(&gzip(&arm64()));
    image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read(&image, true).unwrap_err().to_string();
    assert!(error.starts_with("bzImage at byte 1040: it says that 4294967295 bytes"), "{error}");
    let error = read(&bzimage(b"no compression"), true).unwrap_err().to_string();
    assert!(error.contains("no known compression: it begins 6e 6f 20"), "{error}");
}

#[test]
fn wrappings_without_end_are_cut() {
    let mut image = arm64();
    for _ in 0..=LAYERS {
        image = gzip(&image);
    }
    assert!(read(&image, true).unwrap_err().to_string().contains("wrapped more than"));
}

#[test]
fn relocation_records_are_put_in_place() {
    const BASE: u64 = 0xffff_8000_1000_0000;
    let mut image = vec![0; 64];
    for n in 0..1500u64 {
        // The place of record n lies behind the table; it points to byte 64 + n.
        image.extend((BASE + 64 + 1500 * 24 + n * 8).to_le_bytes());
        image.extend(R_AARCH64_RELATIVE);
        image.extend((BASE + 64 + n).to_le_bytes());
    }
    image.resize(image.len() + 1500 * 8, 0);
    assert_eq!(relocate_arm64_image(&mut image), Some(BASE));
    assert_eq!(u64_at(&image, 64 + 1500 * 24 + 7 * 8, false), BASE + 64 + 7);
}

#[test]
fn the_build_id_is_found_among_other_notes() {
    let note = |name: &[u8], kind: u32, desc: &[u8]| {
        let mut out: Vec<u8> =
            [name.len() as u32, desc.len() as u32, kind].iter().flat_map(|w| w.to_le_bytes()).collect();
        out.extend(name);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(desc);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    };
    let notes =
        [note(b"Xen\0", 3, &[9; 7]), note(b"GNU\0", 5, &[1; 4]), note(b"GNU\0", 3, &[7; 20])].concat();
    assert_eq!(build_id(&notes, false), Some(vec![7; 20]));
    assert_eq!(build_id(&notes[..40], false), None);
    assert_eq!(build_id(&[0xff; 64], false), None);
}

#[test]
fn an_image_is_read_by_address() {
    let segment = |address, data: &'static [u8]| Segment { address, data: Bytes::from_static(data) };
    let image = Image {
        segments: vec![segment(0, b"cpu"), segment(0x1000, b"text\0\x01\0\0\0")],
        ..Image::default()
    };
    assert_eq!(image.text(0x1000), Some("text"));
    assert_eq!(image.u32(0x1005), Some(1));
    assert_eq!(image.read(1, 2), Some(&b"pu"[..]));
    for outside in [3, 0x0fff, 0x1009, u64::MAX] {
        assert_eq!(image.read(outside, 1), None, "{outside:#x}");
    }
    assert_eq!(image.u64(0x1005), None);
}

#[test]
fn a_header_that_is_cut_short_is_an_error() {
    let packed = gzip(&arm64());
    for image in [bzimage(&packed), zboot(&packed)] {
        for len in 0..0x280 {
            assert!(read(&image[..len], true).is_err(), "{len} bytes");
        }
    }
}
