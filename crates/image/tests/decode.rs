//! Orientation, limits, and files that someone made to do harm.

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat};
use puna_image::{Image, ImageError, Limits, decode};

/// Noise that does not repeat within a test: xorshift.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Pictures of 24 x 17 in every format that we can write, noise above and one colour below.
fn written() -> Vec<(ImageFormat, Vec<u8>)> {
    let mut rgba = Noise(7).bytes(4 * 24 * 9);
    rgba.resize(4 * 24 * 17, 200);
    let picture = DynamicImage::from(image::RgbaImage::from_raw(24, 17, rgba).unwrap());
    let forms = [
        (ImageFormat::Png, picture.clone()),
        (ImageFormat::Png, DynamicImage::from(picture.to_rgb16())),
        (ImageFormat::Png, DynamicImage::from(picture.to_luma_alpha16())),
        (ImageFormat::WebP, picture.clone()),
        (ImageFormat::Gif, picture.clone()),
        (ImageFormat::Jpeg, DynamicImage::from(picture.to_rgb8())),
    ];
    let write = |(format, picture): (ImageFormat, DynamicImage)| {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        (format, file.into_inner())
    };
    forms.into_iter().map(write).collect()
}

/// Those, and the files in tests/data.
fn all_files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> =
        written().into_iter().map(|(format, bytes)| (format!("{format:?}"), bytes)).collect();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "json") {
            files.push((path.display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    assert!(files.len() > 20);
    files
}

/// Small, so that damage to a size cannot make a test slow.
const TIGHT: Limits = Limits { max_pixels: 5_000, max_bytes: 10_000 };

fn decode_hostile(bytes: &[u8]) -> Result<Image, ImageError> {
    let decoded = decode(bytes, &TIGHT);
    match &decoded {
        Ok(image) => {
            assert!(image.width * image.height <= 5_000);
            assert_eq!(image.rgb.len(), 3 * image.width * image.height);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 600 && !text.contains(char::is_control), "{text:?}");
        }
    }
    decoded
}

/// A JPEG, and the same with an EXIF segment that says how the camera was held.
fn held(orientation: u16) -> Vec<u8> {
    // Red at the top left, green at the top right, blue at the bottom left, black at the bottom right.
    let quarter = |x, y| [u8::from(x < 16 && y < 8), u8::from(x >= 16 && y < 8), u8::from(x < 16 && y >= 8)];
    let picture = image::RgbImage::from_fn(32, 16, |x, y| image::Rgb(quarter(x, y).map(|v| v * 255)));
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 95).encode_image(&picture).unwrap();
    // Big-endian TIFF header, one entry: tag 0x112, one 16-bit number.
    let mut segment = b"\xFF\xE1\x00\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    segment.extend(orientation.to_be_bytes());
    segment.extend([0; 6]);
    assert_eq!(segment.len(), 2 + 0x22);
    file.splice(2..2, segment);
    file
}

#[test]
fn a_jpeg_is_turned_as_its_camera_was() {
    // By the EXIF standard: which corners the stored top left, top right, bottom left and bottom right are
    // shown in.
    let shown = ["rgbk", "grkb", "kbgr", "bkrg", "rbgk", "brkg", "kgbr", "gkrb"];
    for (orientation, corners) in (1..).zip(shown) {
        let image = decode(&held(orientation), &Limits::default()).unwrap();
        let size = if orientation < 5 { (32, 16) } else { (16, 32) };
        assert_eq!((image.width, image.height), size, "orientation {orientation}");
        let colour = |x: usize, y: usize| {
            let rgb = &image.rgb[3 * (y * image.width + x)..][..3];
            rgb.iter().position(|&v| v > 128).map_or('k', |channel| ['r', 'g', 'b'][channel])
        };
        let (right, bottom) = (image.width - 1, image.height - 1);
        let found: String =
            [(0, 0), (right, 0), (0, bottom), (right, bottom)].map(|(x, y)| colour(x, y)).iter().collect();
        assert_eq!(found, corners, "orientation {orientation}");
    }
}

#[test]
fn an_orientation_that_does_not_exist_is_ignored() {
    for orientation in [0, 9, 65535] {
        assert_eq!(decode(&held(orientation), &Limits::default()), decode(&held(1), &Limits::default()));
    }
}

/// A header is as short as it wants, whatever it claims.
#[test]
fn claimed_sizes_are_refused_from_the_header() {
    let started = Instant::now();
    for (format, mut bytes) in written() {
        let claimed = match format {
            ImageFormat::Png => {
                bytes[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
                let checksum = crc32(&bytes[12..29]);
                bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
                65535
            }
            ImageFormat::Gif => {
                bytes[6..10].fill(0xFF);
                65535
            }
            ImageFormat::Jpeg => {
                let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
                bytes[frame + 5..frame + 9].fill(0xFF);
                65535
            }
            _ => {
                // Lossless WebP: 14 bits of width and of height, each less 1, behind a signature.
                let sizes = bytes.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
                bytes[sizes..sizes + 3].copy_from_slice(&[0xFE, 0xBF, 0xFF]);
                bytes[sizes + 3] |= 0x0F;
                16383
            }
        };
        let refused = ImageError::TooManyPixels { width: claimed, height: claimed, max_pixels: 100_000_000 };
        assert_eq!(decode(&bytes, &Limits::default()), Err(refused), "{format:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// A width that no memory holds: the PNG reader stops before we see it.
#[test]
fn a_row_longer_than_memory_is_refused() {
    let (_, mut bytes) = written().swap_remove(0);
    bytes[16..20].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF]);
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = decode(&bytes, &Limits::default()).unwrap_err();
    assert!(
        matches!(error, ImageError::TooManyPixels { .. } | ImageError::TooMuchMemory { format: "PNG", .. }),
        "{error}"
    );
}

#[test]
fn half_a_file_is_refused_as_such() {
    // Half an animation may well hold its first frame.
    for (name, bytes) in all_files().into_iter().filter(|(name, _)| !name.contains("animated")) {
        let error = decode_hostile(&bytes[..bytes.len() / 2]).expect_err(&name);
        assert!(matches!(error, ImageError::Truncated { .. }), "{name}: {error}");
    }
}

#[test]
fn no_cut_makes_a_panic() {
    for (_, bytes) in all_files() {
        for length in 0..bytes.len() {
            let _ = decode_hostile(&bytes[..length]);
        }
    }
}

#[test]
fn no_flipped_bit_makes_a_panic() {
    for (_, bytes) in all_files() {
        let mut damaged = bytes.clone();
        for bit in 0..8 * bytes.len() {
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = decode_hostile(&damaged);
            damaged[bit / 8] = bytes[bit / 8];
        }
    }
}

#[test]
fn no_nonsense_makes_a_panic() {
    let mut noise = Noise(1);
    let files = all_files();
    for _ in 0..5_000 {
        // The beginning of a real file, and nonsense behind it; or nonsense within it.
        let mut bytes = files[noise.below(files.len())].1.clone();
        let (at, length) = (noise.below(bytes.len()), 1 + noise.below(40));
        if noise.below(2) == 0 {
            bytes.truncate(at);
        }
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, noise.bytes(length));
        let _ = decode_hostile(&bytes);
        let _ = decode_hostile(&noise.bytes(length));
    }
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
