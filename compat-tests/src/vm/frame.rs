//! Frames: how a guest's output crosses a serial port.
//!
//! On the wire: magic `1e 50 54 4c`, kind (1 byte), length of the payload (4 bytes, little endian), FNV-1a of kind,
//! length and payload (4 bytes, little endian), payload. What does not check is passed over byte by byte, so that a
//! frame after noise is still found.

const MAGIC: [u8; 4] = [0x1e, b'P', b'T', b'L'];
const HEADER_SZ: usize = 13;

/// Most bytes that a frame can carry: 16 MiB. A length above it is noise.
pub const MAX_PAYLOAD_SZ: usize = 16 << 20;

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
        let length = (payload.len() as u32).to_le_bytes();
        let mut bytes = Vec::with_capacity(HEADER_SZ + payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(kind);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&checksum(kind, length, payload).to_le_bytes());
        bytes.extend_from_slice(payload);
        Some(bytes)
    }
}

fn checksum(kind: u8, length: [u8; 4], payload: &[u8]) -> u32 {
    let head = [kind, length[0], length[1], length[2], length[3]];
    head.iter().chain(payload).fold(0x811c_9dc5, |hash, byte| (hash ^ *byte as u32).wrapping_mul(0x0100_0193))
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
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let (kind, length) = (header[4], word(5));
    let payload_sz = u32::from_le_bytes(length) as usize;
    if payload_sz > MAX_PAYLOAD_SZ {
        return Read::Noise;
    }
    match rest.get(..payload_sz) {
        None => Read::More,
        Some(payload) if checksum(kind, length, payload) == u32::from_le_bytes(word(9)) => {
            Read::Frame(Frame { kind, payload: payload.to_vec() })
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
        damaged[15] ^= 0x20;
        let good = Frame::encode(2, b"good").unwrap();
        let mut decoder = Decoder::default();
        decoder.push(b"[    1.0] a kernel that talks\n");
        decoder.push(&damaged);
        decoder.push(&good);
        assert_eq!(frames(&mut decoder), [Frame { kind: 2, payload: b"good".to_vec() }]);
        assert_eq!(decoder.noise_sz(), 30 + damaged.len() as u64);
    }

    #[test]
    fn a_length_out_of_bounds_is_not_waited_for() {
        let mut huge = Frame::encode(1, b"").unwrap();
        huge[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = Decoder::default();
        decoder.push(&huge);
        decoder.push(&Frame::encode(2, b"next").unwrap());
        assert_eq!(frames(&mut decoder).len(), 1);
        assert_eq!(Frame::encode(1, &vec![0; MAX_PAYLOAD_SZ + 1]), None);
    }
}
