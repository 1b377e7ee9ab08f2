//! The search on small containers that are made here, around an object that is made here too.

use super::{Finder, Finds, Limits};
use std::io::Write;

/// An object with nothing but a licence, a marker and its section headers: small, and whole.
fn object(marker: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    for (off, value) in [(16, 1), (18, 247), (20, 1), (52, 64), (58, 64), (60, 3), (62, 2)] {
        bytes[off] = value;
    }
    let names = b"\0license\0.shstrtab\0";
    let contents = [&b"GPL\0"[..], &[marker], names].concat();
    let sections = [(0_u32, 0_u32, 0, 0), (1, 1, 64, 5), (9, 3, 69, names.len() as u64)];
    bytes.extend(&contents);
    bytes[40] = bytes.len() as u8;
    for (name, kind, off, size) in sections {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&(off as u64).to_le_bytes());
        header[32..40].copy_from_slice(&size.to_le_bytes());
        header[48] = 1;
        bytes.extend(header);
    }
    bytes
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, body) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        // Past the crate, which takes no names that lead elsewhere.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *body).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = crate::archive::AR_MAGIC.to_vec();
    for (name, body) in members {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, body.len()).bytes());
        archive.extend(*body);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

fn cpio(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, body) in members.iter().chain(&[("TRAILER!!!", &b""[..])]) {
        let fields = [1, 0o100_644, 0, 0, 1, 0, body.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(*body);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

fn rpm(payload: &[u8]) -> Vec<u8> {
    let mut package = crate::archive::RPM_MAGIC.to_vec();
    package.resize(96, 0);
    for (entries, store, padding) in [(1, 3, 5), (2, 7, 0)] {
        package.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, entries, 0, 0, 0, store]);
        package.extend(vec![0; usize::from(entries) * 16 + usize::from(store) + padding]);
    }
    [&package, payload].concat()
}

/// A zip archive of one member that is not packed, and of one that is.
fn zip(stored: (&str, &[u8]), deflated: (&str, &[u8])) -> Vec<u8> {
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(deflated.1).unwrap();
    let packed = packed.finish().unwrap();
    let (mut archive, mut central) = (Vec::new(), Vec::new());
    for (name, method, body) in [(stored.0, 0_u8, stored.1), (deflated.0, 8, &packed)] {
        let (off, size, length) = (archive.len() as u32, (body.len() as u32).to_le_bytes(), name.len() as u8);
        archive.extend(b"PK\x03\x04");
        archive.extend([20, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        archive.extend([&size[..], &size[..], &[length, 0, 0, 0], name.as_bytes(), body].concat());
        central.extend(b"PK\x01\x02");
        central.extend([20, 0, 20, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        central
            .extend([&size[..], &size[..], &[length, 0, 0, 0, 0, 0], &[0; 8], &off.to_le_bytes()].concat());
        central.extend(name.bytes());
    }
    let begin = (archive.len() as u32).to_le_bytes();
    archive.extend(&central);
    archive.extend(b"PK\x05\x06");
    archive.extend([0, 0, 0, 0, 2, 0, 2, 0]);
    archive.extend([&(central.len() as u32).to_le_bytes()[..], &begin, &[0, 0]].concat());
    archive
}

fn look(bytes: &[u8]) -> Finds {
    look_within(Limits::default(), bytes)
}

fn look_within(limits: Limits, bytes: &[u8]) -> Finds {
    let mut finder = Finder::new(limits);
    finder.look("file", &mut &bytes[..], bytes.len() as u64);
    finder.finish()
}

fn places(finds: &Finds) -> Vec<String> {
    let places = finds.objects.iter().flat_map(|object| &object.places);
    places.map(|place| format!("{place} @{}", place.off)).collect()
}

#[test]
fn an_object_is_found_in_every_container() {
    let object = object(1);
    let inner = [("a.txt", &b"text"[..]), ("x.bpf.o", &object[..])];
    let deb = ar(&[("debian-binary", b"2.0\n"), ("data.tar.gz", &gzip(&tar(&inner)))]);
    for (container, place) in [
        (object.clone(), "file @0"),
        (gzip(&object), "file @0"),
        ([&[0; 77][..], &object, b"tail"].concat(), "file @77"),
        (tar(&inner), "file > x.bpf.o @0"),
        (gzip(&tar(&inner)), "file > x.bpf.o @0"),
        (ar(&inner), "file > x.bpf.o @0"),
        (cpio(&inner), "file > x.bpf.o @0"),
        (rpm(&gzip(&cpio(&inner))), "file > x.bpf.o @0"),
        // An initramfs: microcode, zeros, and the packed archive of what is booted.
        ([&cpio(&[("microcode", b"x")])[..], &[0; 1000], &gzip(&cpio(&inner))].concat(), "file > x.bpf.o @0"),
        (zip(("x.bpf.o", &object), ("b", b"text")), "file > x.bpf.o @0"),
        (zip(("b", b"text"), ("x.bpf.o", &object)), "file > x.bpf.o @0"),
        (deb, "file > data.tar.gz > x.bpf.o @0"),
        ([&b"\x7fELF no host"[..], &gzip(&object)].concat(), "file @12"),
    ] {
        let finds = look(&container);
        assert_eq!(places(&finds), [place], "{:?}", finds.notes);
        assert_eq!(finds.objects[0].bytes, object, "{place}");
        assert_eq!(finds.notes, [], "{place}");
    }
}

#[test]
fn the_same_object_is_one_with_all_its_places_and_neighbours_are_kept_apart() {
    let (one, two) = (object(1), object(2));
    let finds = look(&tar(&[("a", &[&one[..], &two[..]].concat()), ("b", &one)]));
    assert_eq!(places(&finds), ["file > a @0", "file > b @0", &format!("file > a @{}", one.len())]);
    assert_eq!([&finds.objects[0].bytes, &finds.objects[1].bytes], [&one, &two]);
}

#[test]
fn a_damaged_object_hides_none_behind_it() {
    let (mut damaged, whole) = (object(1), object(2));
    damaged[44] = 0xff;
    let finds = look(&[&damaged[..], &whole].concat());
    assert_eq!([&finds.objects[0].bytes, &finds.objects[1].bytes], [&damaged, &whole]);
}

#[test]
fn what_is_cut_short_is_said_and_what_came_before_is_kept() {
    let object = object(1);
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).take(200_000).collect();
    let tar = tar(&[("x.o", &object), ("noise", &noise)]);
    for whole in [gzip(&tar), tar.clone(), ar(&[("x.o", &object), ("noise", &noise)])] {
        let finds = look(&whole[..whole.len() - 100_000]);
        assert_eq!(finds.objects.len(), 1);
        assert_eq!(finds.notes.len(), 1, "{:?}", finds.notes);
        assert!(finds.notes[0].what.contains("cannot be read to its end"), "{:?}", finds.notes);
        assert!(finds.notes[0].incomplete);
    }
}

#[test]
fn bombs_are_cut_by_their_size() {
    let limits = Limits { base_byte_sz: 1 << 18, ..Limits::default() };
    let flat = gzip(&vec![0; 8 << 20]);
    let nested = gzip(&gzip(&vec![0; 8 << 20]));
    for bomb in [&flat, &nested, &tar(&[("a", &flat[..]), ("b", &flat), ("c", &flat)])] {
        let most = limits.base_byte_sz + limits.ratio * bomb.len() as u64;
        let finds = look_within(limits, bomb);
        assert!(finds.looked.byte_sz <= most, "{} of {most}", finds.looked.byte_sz);
        assert!(
            finds.notes.iter().any(|note| note.what.contains("too much for its size")),
            "{:?}",
            finds.notes
        );
    }
}

#[test]
fn depth_and_members_have_limits_that_are_said() {
    let object = object(1);
    let deep = (0..20).fold(object.clone(), |inner, _| tar(&[("t", &inner)]));
    let finds = look(&deep);
    assert!(finds.objects.is_empty() && finds.notes[0].what.contains("containers deep"), "{:?}", finds.notes);
    let members: Vec<(String, &[u8])> = (0..9).map(|at| (at.to_string(), &b"x"[..])).collect();
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, body)| (name.as_str(), *body)).collect();
    let finds = look_within(Limits { members: 8, ..Limits::default() }, &tar(&members));
    assert!(finds.notes[0].what.contains("more than 8 members"), "{:?}", finds.notes);
    let finds = look_within(Limits { places: 1, ..Limits::default() }, &[object, self::object(2)].concat());
    assert!(finds.objects.len() == 1 && finds.notes[0].what.contains("left out"), "{:?}", finds.notes);
}

#[test]
fn layers_of_an_image_are_named_and_what_a_later_one_deletes_is_marked() {
    let (kept, gone) = (object(1), object(2));
    let first = gzip(&tar(&[("opt/kept.o", &kept), ("opt/gone.o", &gone)]));
    let second = tar(&[("opt/.wh.gone.o", b"")]);
    let manifest =
        br#"{"layers": [{"digest": "sha256:11", "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"},
        {"digest": "sha256:22", "mediaType": "application/vnd.oci.image.layer.v1.tar"},
        {"digest": "sha256:33", "mediaType": "application/vnd.gadget.ebpf.program.v1+binary"}]}"#;
    let index =
        br#"{"manifests": [{"digest": "sha256:aa", "platform": {"os": "linux", "architecture": "arm64"},
        "annotations": {"org.opencontainers.image.ref.name": "probe:1"}}]}"#;
    let layer = object(3);
    let finds = look(&tar(&[
        ("oci-layout", b"{}"),
        ("blobs/sha256/11", &first),
        ("blobs/sha256/22", &second),
        ("blobs/sha256/33", &layer),
        ("blobs/sha256/aa", manifest),
        ("index.json", index),
    ]));
    let seen: Vec<_> = finds.objects.iter().map(|object| &object.places[0]).collect();
    let named = |at: usize| seen[at].image.as_deref().unwrap_or_default();
    assert_eq!(named(0), "probe:1 linux/arm64, layer 1 of 3");
    assert_eq!(named(2), "probe:1 linux/arm64, layer 3 of 3, application/vnd.gadget.ebpf.program.v1+binary");
    assert_eq!(seen.iter().map(|place| place.removed).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn any_byte_of_a_container_may_be_wrong() {
    let object = object(1);
    let inner = [("a.txt", &b"text"[..]), ("x.bpf.o", &object[..])];
    for whole in [tar(&inner), ar(&inner), rpm(&cpio(&inner)), zip(inner[0], inner[1]), gzip(&tar(&inner))] {
        for at in 0..whole.len() {
            for value in [0, 0xff, whole[at] ^ 0x20] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                look(&bytes);
            }
            look(&whole[..at]);
        }
    }
}

/// A container around `inner`, with a neighbour and a name that hostile hands chose.
fn wrapped(kind: u8, name: &str, inner: &[u8], neighbour: &[u8]) -> Vec<u8> {
    let members = [(name, inner), ("neighbour", neighbour)];
    match kind {
        0 => gzip(inner),
        1 => zstd::encode_all(inner, 1).unwrap(),
        2 => ar(&members),
        3 => cpio(&members),
        4 => rpm(&cpio(&members)),
        5 => zip(members[0], members[1]),
        6 => zip(members[1], members[0]),
        _ => tar(&members),
    }
}

proptest::proptest! {
    #[test]
    fn an_object_is_found_however_containers_are_nested(
        kinds in proptest::collection::vec(0u8..8, 0..5),
        name in "[a-z.]{1,14}",
        neighbour in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
    ) {
        let object = object(1);
        let whole = kinds.iter().fold(object.clone(), |inner, &kind| wrapped(kind, &name, &inner, &neighbour));
        let finds = look(&whole);
        proptest::prop_assert!(finds.objects.iter().any(|found| found.bytes == object), "{kinds:?}: {:?}", finds.notes);
    }

    #[test]
    fn damage_anywhere_ends_in_an_answer_within_bounds(
        kinds in proptest::collection::vec(0u8..8, 1..4),
        damage in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..8),
        cut in proptest::num::usize::ANY,
    ) {
        let object = object(1);
        let mut whole = kinds.iter().fold(object, |inner, &kind| wrapped(kind, "x.bpf.o", &inner, b"text"));
        for (at, value) in damage {
            let at = at % whole.len();
            whole[at] = value;
        }
        whole.truncate(whole.len() - cut % whole.len() / 2);
        let limits = Limits { base_byte_sz: 1 << 20, ..Limits::default() };
        let finds = look_within(limits, &whole);
        let most = limits.base_byte_sz + limits.ratio * whole.len() as u64;
        proptest::prop_assert!(finds.looked.byte_sz <= most);
    }
}

/// An image layout of two layers, of which `members` are there.
fn layout(members: &[&str]) -> Vec<u8> {
    let manifest = br#"{"layers": [{"digest": "sha256:11"}, {"digest": "sha256:22"}]}"#;
    let index = br#"{"manifests": [{"digest": "sha256:33", "annotations": {"org.opencontainers.image.ref.name": "tool:1"}},
        {"digest": "sha256:44", "platform": {"os": "linux", "architecture": "arm64"}}]}"#;
    let layer = tar(&[("opt/x.o", &object(1))]);
    let all = [
        ("oci-layout", &b"{}"[..]),
        ("index.json", index),
        ("blobs/sha256/33", manifest),
        ("blobs/sha256/11", &layer),
        ("blobs/sha256/22", &layer),
    ];
    let there: Vec<(&str, &[u8])> = all.into_iter().filter(|(name, _)| members.contains(name)).collect();
    tar(&there)
}

#[test]
fn what_an_image_lacks_is_said_and_images_for_other_machines_may_be_left_out() {
    let whole = ["oci-layout", "index.json", "blobs/sha256/33", "blobs/sha256/11", "blobs/sha256/22"];
    let without = |name: &str| {
        let members: Vec<&str> = whole.into_iter().filter(|member| *member != name).collect();
        let notes = look(&layout(&members)).notes;
        let shown: Vec<String> =
            notes.iter().filter(|note| note.incomplete).map(|note| note.what.clone()).collect();
        (shown, notes.len())
    };
    let (incomplete, notes) = without("nothing");
    assert_eq!((incomplete.len(), notes), (0, 1), "the other machine's image is noted");
    for (name, told) in [
        ("blobs/sha256/22", "tool:1, layer 2 of 2 is missing (blobs/sha256/22)"),
        ("blobs/sha256/33", "tool:1 is not there: its manifest blobs/sha256/33 is missing"),
        ("index.json", "index.json is missing"),
    ] {
        let (incomplete, _) = without(name);
        assert!(incomplete.iter().any(|what| what.contains(told)), "{name}: {incomplete:?}");
    }
}
