//! Archives and packages: members come to an end, and none has more bytes than it says.
#![no_main]

use btf_catalog::archive::{self, ArchiveError, Member};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut members = 0usize;
    let mut visit = |mut member: Member<'_>| {
        members += 1;
        let byte_sz = member.byte_sz;
        // Every other member is left for the walk to skip.
        if members % 2 == 0 {
            if let Ok(bytes) = member.bytes(1 << 20) {
                assert_eq!(bytes.len() as u64, byte_sz);
            }
        }
        Ok::<(), ArchiveError>(())
    };
    let _ = archive::deb(&mut &data[..], &mut visit);
    let _ = archive::rpm(&mut &data[..], data.len() as u64, &mut visit);
    let _ = archive::compressed_tar(&mut &data[..], data.len() as u64, &mut visit);
    let _ = archive::cpio(&mut &data[..], &mut visit);
});
