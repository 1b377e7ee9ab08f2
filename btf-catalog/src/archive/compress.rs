//! The compressions that kernels, modules and packages use, bounded: what comes out is limited by what went in.

use super::ArchiveError;
use std::io::{self, Read};

/// A compression, told by the first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// `.xz`.
    Xz,
    /// `.lzma`, the format before xz.
    Lzma,
    /// The frame that `lz4 -l` writes and kernel images have.
    Lz4Legacy,
    /// The frame of `lz4`.
    Lz4,
    /// RFC 8878.
    Zstd,
    /// `.bz2`.
    Bzip2,
    /// `.lzo`, the frame of `lzop`. Told, not unpacked.
    Lzo,
}

/// Bytes that any decoder may take for its dictionary and tables.
const DECODER_MEMORY: u64 = 256 << 20;
/// The most that a block of the legacy LZ4 frame holds, unpacked.
const LZ4_LEGACY_BLOCK: usize = 8 << 20;
/// Times that unpacked bytes may outnumber packed ones. Kernels, modules and packages stay below 20.
const RATIO: u64 = 200;
/// Bytes that may come out of any input however small: page-aligned images begin with runs of zeros.
const FLOOR: u64 = 64 << 20;

/// The most that `packed` bytes may unpack to: 200 times their number, at least 64 MiB, never more than `most`.
pub(crate) fn bound(packed: u64, most: u64) -> u64 {
    packed.saturating_mul(RATIO).max(FLOOR).min(most)
}

/// The compression that `head` begins a file of.
pub fn detect(head: &[u8]) -> Option<Compression> {
    Some(match head {
        [0x1f, 0x8b, 8, ..] => Compression::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [0x5d, 0, 0, ..] if is_lzma(head) => Compression::Lzma,
        [0x02, 0x21, 0x4c, 0x18, ..] => Compression::Lz4Legacy,
        [0x04, 0x22, 0x4d, 0x18, ..] => Compression::Lz4,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A block follows, or the end of an empty file.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, ..] => Compression::Bzip2,
        [0x89, b'L', b'Z', b'O', ..] => Compression::Lzo,
        _ => return None,
    })
}

/// The format has no magic. Properties lc=3 lp=0 pb=2 as every encoder writes them, then the dictionary's size, a power of
/// two or one and a half of it, and the size of what is packed: nothing that is larger than any file, or all ones.
fn is_lzma(head: &[u8]) -> bool {
    let [_, 0, 0, low, high, size @ ..] = head else { return false };
    let dictionary = u32::from_le_bytes([0, 0, *low, *high]);
    let size = size.first_chunk().map(|size| u64::from_le_bytes(*size));
    (dictionary.is_power_of_two() || dictionary.is_multiple_of(3) && (dictionary / 3).is_power_of_two())
        && size.is_none_or(|size| size == u64::MAX || size >> 40 == 0)
}

impl Compression {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Lzma => "lzma",
            Compression::Lz4Legacy => "lz4 (legacy)",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Lzo => "lzop",
        }
    }
}

/// Whether a stream ends where its first frame does, or goes on with the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frames {
    /// What follows the first frame is something else: kernels append their size.
    One,
    /// A file: frames follow each other to its end.
    All,
}

/// A reader of what `packed` unpacks to. It may yield any number of bytes: its user bounds it with [`Bounded`].
pub(crate) fn decoder<'a>(
    compression: Compression,
    frames: Frames,
    packed: impl Read + 'a,
) -> Result<Box<dyn Read + 'a>, ArchiveError> {
    use liblzma::stream::{CONCATENATED, Stream};
    let damaged =
        |error: &dyn std::fmt::Display| ArchiveError::Compression { compression, problem: error.to_string() };
    let one = frames == Frames::One;
    Ok(match compression {
        Compression::Gzip if one => Box::new(flate2::read::GzDecoder::new(packed)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Compression::Xz => {
            let flags = if one { 0 } else { CONCATENATED };
            let stream =
                Stream::new_stream_decoder(DECODER_MEMORY, flags).map_err(|error| damaged(&error))?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        Compression::Lzma => {
            let stream = Stream::new_lzma_decoder(DECODER_MEMORY).map_err(|error| damaged(&error))?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        Compression::Lz4Legacy => Box::new(Lz4Legacy::new(packed)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        Compression::Zstd => {
            let mut stream = zstd::stream::read::Decoder::new(packed).map_err(|error| damaged(&error))?;
            stream.window_log_max(DECODER_MEMORY.ilog2()).map_err(|error| damaged(&error))?;
            if one { Box::new(stream.single_frame()) } else { Box::new(stream) }
        }
        Compression::Bzip2 if one => Box::new(bzip2::read::BzDecoder::new(packed)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
        Compression::Lzo => return Err(damaged(&"lzop is not supported: unpack it with lzop first")),
    })
}

/// What `packed` unpacks to, at most [`bound`] of its length below `most`.
pub(crate) fn unpack(
    compression: Compression,
    frames: Frames,
    packed: &[u8],
    most: u64,
) -> Result<Vec<u8>, ArchiveError> {
    let limit = bound(packed.len() as u64, most);
    let mut out = Vec::with_capacity((packed.len() as u64 * 4).min(limit) as usize);
    let stream = decoder(compression, frames, packed)?;
    Bounded::new(stream, limit)
        .read_to_end(&mut out)
        .map_err(|error| ArchiveError::Compression { compression, problem: error.to_string() })?;
    Ok(out)
}

/// A reader that fails when more comes out than it may.
pub(crate) struct Bounded<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Bounded<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Bounded<R> {
        Bounded { inner, limit, left: limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("it unpacks to more than {} bytes, out of proportion", self.limit))
        })?;
        Ok(n)
    }
}

/// The frame that `lz4 -l` writes: blocks, each behind its packed size, to the end. What cannot be a block ends it, as
/// in the kernel's own reader (lib/decompress_unlz4.c): kernels append their size.
struct Lz4Legacy<R> {
    packed: R,
    block: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
}

impl<R: Read> Lz4Legacy<R> {
    fn new(packed: R) -> Lz4Legacy<R> {
        Lz4Legacy { packed, block: Vec::new(), at: 0, begun: false, ended: false }
    }

    /// The next word, `None` at the end.
    fn word(&mut self) -> io::Result<Option<u32>> {
        let mut word = Vec::with_capacity(4);
        self.packed.by_ref().take(4).read_to_end(&mut word)?;
        Ok(word.try_into().ok().map(u32::from_le_bytes))
    }

    fn next_block(&mut self) -> io::Result<()> {
        const MAGIC: u32 = 0x184c_2102;
        self.block.clear();
        self.at = 0;
        let mut size = self.word()?;
        // Frames may follow each other, each with its magic.
        while size == Some(MAGIC) {
            self.begun = true;
            size = self.word()?;
        }
        let Some(size) = size.map(|size| size as usize) else {
            self.ended = true;
            return Ok(());
        };
        if !self.begun {
            return Err(io::Error::other("no LZ4 legacy frame"));
        }
        // 8 MiB that LZ4 could not make smaller take a few bytes more.
        if size == 0 || size > LZ4_LEGACY_BLOCK + LZ4_LEGACY_BLOCK / 255 + 16 {
            self.ended = true;
            return Ok(());
        }
        let mut packed = Vec::new();
        self.packed.by_ref().take(size as u64).read_to_end(&mut packed)?;
        if packed.len() < size {
            // The appended size, taken for a block's: legal only behind a block.
            self.ended = true;
            return if packed.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        self.block.resize(LZ4_LEGACY_BLOCK, 0);
        let unpacked =
            lz4_flex::block::decompress_into(&packed, &mut self.block).map_err(io::Error::other)?;
        self.block.truncate(unpacked);
        Ok(())
    }
}

impl<R: Read> Read for Lz4Legacy<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let n = out.len().min(self.block.len() - self.at);
        out[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    /// Every format, each made by the reference encoder that its crate binds.
    fn packed(text: &[u8]) -> Vec<(Compression, Vec<u8>)> {
        let lzma = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
        let lzma = liblzma::stream::Stream::new_lzma_encoder(&lzma).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        let mut lzma = liblzma::write::XzEncoder::new_stream(Vec::new(), lzma);
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        let mut legacy = 0x184c_2102u32.to_le_bytes().to_vec();
        let block = lz4_flex::block::compress(text);
        legacy.extend((block.len() as u32).to_le_bytes());
        legacy.extend(block);
        for out in [&mut gzip as &mut dyn io::Write, &mut xz, &mut lzma, &mut bzip2, &mut lz4] {
            out.write_all(text).unwrap();
        }
        vec![
            (Compression::Gzip, gzip.finish().unwrap()),
            (Compression::Xz, xz.finish().unwrap()),
            (Compression::Lzma, lzma.finish().unwrap()),
            (Compression::Bzip2, bzip2.finish().unwrap()),
            (Compression::Lz4, lz4.finish().unwrap()),
            (Compression::Lz4Legacy, legacy),
            (Compression::Zstd, zstd::encode_all(text, 3).unwrap()),
        ]
    }

    #[test]
    fn what_was_packed_comes_back_whatever_is_appended() {
        let text = text();
        for (compression, mut packed) in packed(&text) {
            assert_eq!(detect(&packed), Some(compression));
            assert_eq!(unpack(compression, Frames::All, &packed, u64::MAX).unwrap(), text, "{compression:?}");
            packed.extend((text.len() as u32).to_le_bytes());
            if compression != Compression::Lz4 {
                assert_eq!(
                    unpack(compression, Frames::One, &packed, u64::MAX).unwrap(),
                    text,
                    "{compression:?}"
                );
            }
        }
    }

    #[test]
    fn a_bomb_is_cut() {
        let zeros = vec![0; 4 << 20];
        for (compression, packed) in packed(&zeros) {
            let error = unpack(compression, Frames::All, &packed, 1 << 20).unwrap_err().to_string();
            assert!(error.contains("more than 1048576 bytes"), "{compression:?}: {error}");
        }
        assert_eq!(bound(100, u64::MAX), FLOOR);
        assert_eq!(bound(u64::MAX, 1 << 30), 1 << 30);
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        for (compression, packed) in packed(&text()) {
            let cut = &packed[..packed.len() / 2];
            assert!(unpack(compression, Frames::All, cut, u64::MAX).is_err(), "{compression:?}");
        }
    }
}
