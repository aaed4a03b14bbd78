//! Bytes of a file, decompressed while they are read, with a limit on how far they may swell.
//!
//! What a file is, its first bytes say: gzip (several members too), zstd (several frames too), or neither.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::error::DataError;

/// Bytes read of a file so far, seen from other threads.
pub(crate) type BytesRead = Arc<AtomicU64>;

/// So much may come of any file.
const FREE_BYTES: u64 = 1 << 30;

/// And beyond that, so many times its bytes on disk. Text rarely shrinks to a tenth.
const MAX_RATIO: u64 = 200;

/// A buffered reader of what is in the file.
pub(crate) fn open_unpacked(
    path: &Path,
    bytes_read: &BytesRead,
) -> Result<Box<dyn BufRead + Send>, DataError> {
    let fail = |error: std::io::Error| DataError::in_file(path, error);
    let file = File::open(path).map_err(fail)?;
    let counted = Counted { inner: file, n: bytes_read.clone() };
    let mut raw = BufReader::with_capacity(1 << 18, counted);
    let head = raw.fill_buf().map_err(fail)?;
    let (is_gzip, is_zstd) = (head.starts_with(&[0x1f, 0x8b]), is_zstd(head));
    if is_gzip {
        let unpacked = Limited::new(MultiGzDecoder::new(raw), bytes_read.clone());
        Ok(Box::new(BufReader::with_capacity(1 << 18, unpacked)))
    } else if is_zstd {
        let unpacked = Limited::new(Frames::new(raw), bytes_read.clone());
        Ok(Box::new(BufReader::with_capacity(1 << 18, unpacked)))
    } else {
        Ok(Box::new(raw))
    }
}

/// Whether bytes begin with a frame of zstd, or with one to be skipped (RFC 8878, 3.1).
fn is_zstd(head: &[u8]) -> bool {
    let magic = head.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    magic == 0xfd2f_b528 || magic & 0xffff_fff0 == 0x184d_2a50
}

struct Counted<R> {
    inner: R,
    n: BytesRead,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// A reader that gives up where more comes out than anything but an attack would hold.
struct Limited<R> {
    inner: R,
    packed: BytesRead,
    packed_before: u64,
    n: u64,
}

impl<R> Limited<R> {
    fn new(inner: R, packed: BytesRead) -> Limited<R> {
        // One buffer of the file has been read by now.
        let packed_before = packed.load(Ordering::Relaxed);
        Limited { inner, packed, packed_before, n: 0 }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n += n as u64;
        let packed = (1 << 18) + self.packed.load(Ordering::Relaxed) - self.packed_before;
        if self.n > FREE_BYTES && self.n / MAX_RATIO > packed {
            let fact = format!("it swells to more than {MAX_RATIO} times its size: that is not text");
            return Err(std::io::Error::other(fact));
        }
        Ok(n)
    }
}

/// Frames of zstd, one after the other.
struct Frames<R> {
    raw: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(raw: R) -> Frames<R> {
        Frames { raw, decoder: FrameDecoder::new(), is_inside: false }
    }

    /// Enters the next frame; `false` where there is none. Frames that are to be skipped are.
    fn enter(&mut self) -> std::io::Result<bool> {
        while !self.raw.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.raw) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = self.raw.by_ref().take(length.into());
                    std::io::copy(&mut skipped, &mut std::io::sink())?;
                }
                Err(error) => return Err(std::io::Error::other(format!("its zstd is broken: {error}"))),
            }
        }
        Ok(false)
    }

    /// An error where a frame carries a checksum that its content does not have.
    fn check(&self) -> std::io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(said), Some(is)) if said != is => {
                Err(std::io::Error::other("its zstd is broken: a checksum does not agree"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if !self.is_inside {
                if !self.enter()? {
                    return Ok(0);
                }
                self.is_inside = true;
            }
            let n = self.decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            if self.decoder.is_finished() && self.decoder.can_collect() == 0 {
                self.check()?;
                self.is_inside = false;
            } else {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.raw, blocks);
                decoded.map_err(|error| std::io::Error::other(format!("its zstd is broken: {error}")))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = open_unpacked(&path, &BytesRead::default()).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map_err(|error| error.to_string())?;
        Ok(all)
    }

    #[test]
    fn members_and_frames_are_read_on() {
        let text = "Once upon a time. ".repeat(50_000).into_bytes();
        let twice = [&text[..], &text[..]].concat();
        assert_eq!(unpacked(&text).unwrap(), text);
        assert_eq!(unpacked(b"").unwrap(), b"");
        assert_eq!(unpacked(&[gzip(&text), gzip(&text)].concat()).unwrap(), twice);
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [skipped.clone(), zstd(&text), skipped, zstd(&text)].concat();
        assert_eq!(unpacked(&frames).unwrap(), twice);
    }

    #[test]
    fn broken_streams_are_errors() {
        let text = "Once upon a time there was. ".repeat(5000).into_bytes();
        for packed in [gzip(&text), zstd(&text)] {
            for at in [packed.len() / 3, packed.len() / 2, packed.len() - 2] {
                assert!(unpacked(&packed[..at]).is_err(), "cut at {at} of {}", packed.len());
                let mut bad = packed.clone();
                bad[at] ^= 0x55;
                // What is broken is found, or what comes out is what went in.
                assert!(unpacked(&bad).map_or(true, |out| out == text), "changed at {at}");
            }
        }
        assert!(unpacked(&[zstd(&text), b"more".to_vec()].concat()).unwrap_err().contains("zstd"));
    }

    #[test]
    fn what_swells_beyond_measure_is_refused() {
        // A gigabyte of zeros in a megabyte: the limit is tried with a small allowance.
        let packed = gzip(&vec![0; 3 << 20]);
        let bytes_read = BytesRead::default();
        let mut limited = Limited::new(MultiGzDecoder::new(&packed[..]), bytes_read);
        limited.n = FREE_BYTES;
        let error = std::io::copy(&mut limited, &mut std::io::sink()).unwrap_err();
        assert!(error.to_string().contains("swells"), "{error}");
    }
}
