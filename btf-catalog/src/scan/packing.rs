//! Compressions: which one it is, and the stream of what was packed.

use liblzma::stream::{CONCATENATED, Stream};
use std::io::{self, Read};

/// Bytes that a decoder may take for its window and tables; `xz -9` needs 65 MiB.
const DECODER_BYTE_SZ: u64 = 160 << 20;
/// Logarithm of the largest window of zstd: `--ultra -22` needs 27.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packing {
    Gzip,
    Xz,
    Lzma,
    Zstd,
    Bzip2,
    Lz4,
}

impl Packing {
    /// The compression that begins with these bytes.
    pub(super) fn of(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some(Packing::Bzip2),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Packing::Lz4),
            // Properties as every encoder writes them, a dictionary of a power of two, a plausible size or none.
            [0x5d, 0, 0, _, _, size @ ..] if size.len() >= 8 => {
                let dictionary = u32::from_le_bytes([0, 0, head[3], head[4]]);
                let size = u64::from_le_bytes(size[..8].try_into().ok()?);
                let plausible = dictionary.is_power_of_two() && (size == u64::MAX || size >> 40 == 0);
                plausible.then_some(Packing::Lzma)
            }
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Lzma => "lzma",
            Packing::Zstd => "zstd",
            Packing::Bzip2 => "bzip2",
            Packing::Lz4 => "lz4",
        }
    }

    /// What `packed` unpacks to. A stream may follow the first and is unpacked too, as the command line tools do it.
    pub(super) fn unpack<'a>(self, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Packing::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Packing::Xz => {
                let stream = Stream::new_stream_decoder(DECODER_BYTE_SZ, CONCATENATED)?;
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
            }
            Packing::Lzma => {
                let stream = Stream::new_lzma_decoder(DECODER_BYTE_SZ)?;
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_a_compression_packed_comes_back() {
        let text = b"eight bytes and eight more, over and over and over again".repeat(20);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        bzip2.write_all(&text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(&text).unwrap();
        let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
        let stream = Stream::new_lzma_encoder(&options).unwrap();
        let mut lzma = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        lzma.write_all(&text).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&text).unwrap();
        for (packing, packed) in [
            (Packing::Gzip, gzip.finish().unwrap()),
            (Packing::Bzip2, bzip2.finish().unwrap()),
            (Packing::Xz, xz.finish().unwrap()),
            (Packing::Lzma, lzma.finish().unwrap()),
            (Packing::Zstd, zstd::encode_all(&text[..], 3).unwrap()),
            (Packing::Lz4, lz4.finish().unwrap()),
        ] {
            assert_eq!(Packing::of(&packed), Some(packing));
            let mut back = Vec::new();
            packing.unpack(&packed[..]).unwrap().read_to_end(&mut back).unwrap();
            assert_eq!(back, text, "{}", packing.name());
            let mut cut = Vec::new();
            let result = packing.unpack(&packed[..packed.len() - 9]).unwrap().read_to_end(&mut cut);
            assert!(result.is_err() || cut != text, "{}: a cut stream is no whole one", packing.name());
        }
    }
}
