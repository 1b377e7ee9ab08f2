//! The search for objects: whatever the containers say, what is found lies in what was looked at, and the limits hold.
#![no_main]

use btf_catalog::BpfObject;
use btf_catalog::scan::loaders::Loader;
use btf_catalog::scan::{Finder, Limits};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    depth: 6,
    member_byte_sz: 1 << 20,
    base_byte_sz: 1 << 20,
    ratio: 10,
    members: 1000,
    places: 100,
    objects_byte_sz: 4 << 20,
};

fuzz_target!(|data: &[u8]| {
    let mut finder = Finder::new(LIMITS);
    finder.look("file", &mut &data[..], data.len() as u64);
    let finds = finder.finish();
    let most = LIMITS.base_byte_sz + LIMITS.ratio * data.len() as u64;
    assert!(finds.looked.byte_sz <= most, "{} bytes were read, {most} may be", finds.looked.byte_sz);
    assert!(finds.looked.members <= LIMITS.members + 1, "{} members", finds.looked.members);
    assert!(finds.objects.len() <= LIMITS.places, "{} objects", finds.objects.len());
    for found in &finds.objects {
        assert!(!found.places.is_empty(), "an object without a place");
        let Ok(object) = BpfObject::parse(found.bytes.clone()) else { continue };
        for loader in ["libbpf=1.0", "aya", "cilium-ebpf"] {
            let _ = loader.parse::<Loader>().expect("is in the table").gaps(&object);
        }
    }
});
