//! Frames of a guest: however they are cut into pieces, what comes out is the same and adds up.
#![no_main]

use compat_tests::vm::{Decoder, Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut whole = Decoder::default();
    whole.push(data);
    let frames: Vec<Frame> = std::iter::from_fn(|| whole.next_frame()).collect();
    let mut read_sz = 0;
    for frame in &frames {
        let bytes = Frame::encode(frame.kind, &frame.payload).expect("no longer than allowed");
        assert!(data.windows(bytes.len()).any(|window| window == bytes));
        read_sz += bytes.len() as u64;
    }
    assert!(read_sz + whole.noise_sz() <= data.len() as u64);

    let mut pieces = Decoder::default();
    let mut same = Vec::new();
    for piece in data.chunks(5) {
        pieces.push(piece);
        same.extend(std::iter::from_fn(|| pieces.next_frame()));
    }
    assert_eq!(same, frames);
    assert_eq!(pieces.noise_sz(), whole.noise_sz());
});
