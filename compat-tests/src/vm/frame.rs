//! Frames: how a guest's output crosses a serial port.
//!
//! On the wire: magic `1e 50 54 4c`, kind (1 byte), length of the payload (4 bytes), FNV-1a of kind and length (4 bytes),
//! FNV-1a of the payload (4 bytes), payload; numbers are little endian. What does not check is passed over byte by byte,
//! so that a frame after noise is still found. The length has a checksum of its own: a damaged one would otherwise be
//! waited for, and cost the frames that come meanwhile.

const MAGIC: [u8; 4] = [0x1e, b'P', b'T', b'L'];
const HEADER_SZ: usize = 17;

/// Most bytes that a frame can carry: 64 KiB. A length above it is noise. It bounds what is waited for, and how often a
/// byte of a guest that forges headers is looked at.
pub const MAX_PAYLOAD_SZ: usize = 64 << 10;

/// One message of the guest. What kinds mean is agreed between the guest's program and whoever runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Kind of message.
    pub kind: u8,
    /// Its content.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame as it goes over the wire; `None` for a payload above [`MAX_PAYLOAD_SZ`].
    pub fn encode(kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > MAX_PAYLOAD_SZ {
            return None;
        }
        let mut bytes = Vec::with_capacity(HEADER_SZ + payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(kind);
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let head = checksum(&bytes[MAGIC.len()..]);
        bytes.extend_from_slice(&head.to_le_bytes());
        bytes.extend_from_slice(&checksum(payload).to_le_bytes());
        bytes.extend_from_slice(payload);
        Some(bytes)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Finds frames in a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    noise_sz: u64,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let mut at = 0;
        let frame = loop {
            let rest = &self.pending[at..];
            match read(rest) {
                Read::Frame(frame) => {
                    at += HEADER_SZ + frame.payload.len();
                    break Some(frame);
                }
                Read::More => break None,
                Read::Noise => {
                    at += 1;
                    self.noise_sz += 1;
                }
            }
        };
        self.pending.drain(..at);
        frame
    }

    /// Bytes that belonged to no frame.
    pub fn noise_sz(&self) -> u64 {
        self.noise_sz
    }
}

enum Read {
    Frame(Frame),
    More,
    Noise,
}

fn read(bytes: &[u8]) -> Read {
    let magic = bytes.len().min(MAGIC.len());
    if bytes[..magic] != MAGIC[..magic] {
        return Read::Noise;
    }
    let Some((header, rest)) = bytes.split_at_checked(HEADER_SZ) else {
        return Read::More;
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let payload_sz = word(5) as usize;
    if checksum(&header[4..9]) != word(9) || payload_sz > MAX_PAYLOAD_SZ {
        return Read::Noise;
    }
    match rest.get(..payload_sz) {
        None => Read::More,
        Some(payload) if checksum(payload) == word(13) => {
            Read::Frame(Frame { kind: header[4], payload: payload.to_vec() })
        }
        Some(_) => Read::Noise,
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Frame, MAX_PAYLOAD_SZ};

    fn frames(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next_frame()).collect()
    }

    #[test]
    fn frames_come_out_whatever_the_pieces_they_came_in() {
        let sent = [
            Frame { kind: 1, payload: b"one".to_vec() },
            Frame { kind: 2, payload: Vec::new() },
            Frame { kind: 3, payload: vec![0x1e; 300] },
        ];
        let wire: Vec<u8> =
            sent.iter().flat_map(|frame| Frame::encode(frame.kind, &frame.payload).unwrap()).collect();
        for piece_sz in [1, 7, wire.len()] {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in wire.chunks(piece_sz) {
                decoder.push(piece);
                got.extend(frames(&mut decoder));
            }
            assert_eq!(got, sent, "pieces of {piece_sz}");
            assert_eq!(decoder.noise_sz(), 0);
        }
    }

    #[test]
    fn a_damaged_frame_costs_itself_only() {
        let mut damaged = Frame::encode(1, b"damaged").unwrap();
        damaged[20] ^= 0x20;
        let good = Frame::encode(2, b"good").unwrap();
        let mut decoder = Decoder::default();
        decoder.push(b"[    1.0] a kernel that talks\n");
        decoder.push(&damaged);
        decoder.push(&good);
        assert_eq!(frames(&mut decoder), [Frame { kind: 2, payload: b"good".to_vec() }]);
        assert_eq!(decoder.noise_sz(), 30 + damaged.len() as u64);
    }

    #[test]
    fn a_length_that_cannot_be_is_not_waited_for() {
        let mut damaged = Frame::encode(1, b"").unwrap();
        damaged[6] ^= 0x20;
        let mut huge = Frame::encode(1, b"").unwrap();
        huge[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        let sum = super::checksum(&huge[4..9]);
        huge[9..13].copy_from_slice(&sum.to_le_bytes());
        for bad in [damaged, huge] {
            let mut decoder = Decoder::default();
            decoder.push(&bad);
            decoder.push(&Frame::encode(2, b"next").unwrap());
            assert_eq!(frames(&mut decoder).len(), 1);
        }
        assert_eq!(Frame::encode(1, &vec![0; MAX_PAYLOAD_SZ + 1]), None);
    }
}
