//! Packs and diffs: whatever bytes a store holds, reading them ends, and what was packed comes back.
//!
//! The first two bytes say how much of the input is a base, BTF or not; the rest is read as a pack over it, and packed.
#![no_main]

use btf_catalog::Btf;
use btf_catalog::store::diff::diff;
use btf_catalog::store::pack::{Unpacked, pack, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (base, bytes) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    let over = Unpacked::btf(base.to_vec());
    for base in [None, Some(&over)] {
        if let Ok(unpacked) = unpack(bytes, base) {
            let _ = unpacked.bytes();
        }
        let packed = pack(&Unpacked::btf(bytes.to_vec()), base).expect("small enough");
        assert_eq!(unpack(&packed, base).expect("just packed").bytes(), bytes);
    }
    if let (Ok(old), Ok(new)) = (Btf::parse(base.to_vec()), Btf::parse(bytes.to_vec())) {
        let _ = diff(&old, &new, None);
    }
});
