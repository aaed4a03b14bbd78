//! Bytes of a JPEG, PNG, WebP or GIF file to RGB pixels.
//!
//! The size is read from the header and checked before anything of that size is allocated. Files say in an
//! EXIF tag how the camera was held; the picture is turned upright. Transparent pictures are laid on white,
//! as the models' processors do, and the samples of 16-bit ones are cut to their high byte. Pillow does the
//! same but for one thing: it clips 16-bit *grey* at 255, which leaves white paper.

use std::error::Error;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::lookalike::begins_like;
use crate::{Image, ImageError};

/// How much a picture may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
    /// Length of the file.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 100 million pixels in a file of 64 MiB.
    fn default() -> Limits {
        Limits { max_pixels: 100_000_000, max_bytes: 64 << 20 }
    }
}

/// The picture in `bytes`, upright and opaque; of an animation, the first frame.
///
/// # Errors
/// If the bytes are not such a picture, are damaged or end early, or ask for more than `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, ImageError> {
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), max_bytes: limits.max_bytes });
    }
    let (format, name) = format_of(bytes)?;
    // The reader fills the missing part of a JPEG with grey and says nothing.
    if format == ImageFormat::Jpeg && !jpeg_has_end(bytes) {
        return Err(ImageError::Truncated { format: name });
    }
    let explain = |error| explain(&error, name, bytes, limits);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(library_limits(limits));
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { format: name, width, height });
    }
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(ImageError::TooManyPixels { width, height, max_pixels: limits.max_pixels });
    }
    // A damaged tag is not a reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(explain)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Ok(Image { width, height, rgb: rgb(picture) })
}

/// The format that the first bytes announce, and its name.
fn format_of(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, "PNG")),
        Ok(ImageFormat::WebP) => Ok((ImageFormat::WebP, "WebP")),
        Ok(ImageFormat::Gif) => Ok((ImageFormat::Gif, "GIF")),
        _ => Err(ImageError::UnknownFormat { looks_like: begins_like(bytes) }),
    }
}

/// What the readers may allocate: an image of the allowed size in their widest samples, four of 16 bits.
fn library_limits(limits: &Limits) -> image::Limits {
    let mut library = image::Limits::no_limits();
    library.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(1 << 20));
    library
}

/// Whether the marker that ends a JPEG follows the beginning of its pixels.
///
/// A segment before them may hold a thumbnail with an end of its own. In pixels the byte 255 is followed by
/// 0, so there the marker cannot be part of anything else.
fn jpeg_has_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4)
        && marker != START_OF_SCAN
    {
        // 255 may be repeated before a marker.
        at += if marker == 0xFF { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    bytes.get(at..).is_some_and(|rest| rest.windows(2).any(|pair| pair == [0xFF, 0xD9]))
}

/// An error of the readers in our words.
fn explain(error: &image::ImageError, format: &'static str, bytes: &[u8], limits: &Limits) -> ImageError {
    let reason = |otherwise: &str| words_of(&error.to_string()).unwrap_or_else(|| otherwise.to_owned());
    match error {
        image::ImageError::Limits(_) => ImageError::TooMuchMemory { format, max_pixels: limits.max_pixels },
        image::ImageError::Unsupported(_) => {
            ImageError::Unsupported { format, reason: reason("it has a part that is not supported") }
        }
        _ if ends_early(error) || announces_more(bytes) => ImageError::Truncated { format },
        _ => ImageError::Damaged { format, reason: reason("it breaks the rules of the format") },
    }
}

/// A reader's text, if it is all words: numbers, quotes and the like may show bytes of the file.
fn words_of(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | '.' | ',' | ':' | ';' | '-');
    let all_words = text.len() <= 200 && text.chars().all(is_plain);
    all_words.then(|| text.to_owned())
}

/// Whether `error`, or what caused it, is the end of the file.
fn ends_early(error: &image::ImageError) -> bool {
    if let image::ImageError::IoError(error) = error {
        return error.kind() == ErrorKind::UnexpectedEof;
    }
    let is_end = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<std::io::Error>() {
        Some(error) => error.kind() == ErrorKind::UnexpectedEof,
        // The GIF reader says it in words only.
        None => cause.to_string().eq_ignore_ascii_case("unexpected end of file"),
    };
    std::iter::successors(error.source(), |&cause| cause.source()).any(is_end)
}

/// Whether this is a WebP file shorter than its header says. Its reader takes what is missing for zeros.
fn announces_more(bytes: &[u8]) -> bool {
    let length = bytes.strip_prefix(b"RIFF").and_then(|rest| rest.first_chunk());
    length.is_some_and(|&length| u64::from(u32::from_le_bytes(length)) + 8 > bytes.len() as u64)
}

/// Any kind of samples as RGB bytes.
fn rgb(picture: DynamicImage) -> Vec<u8> {
    match picture {
        DynamicImage::ImageRgb8(samples) => samples.into_raw(),
        DynamicImage::ImageRgb16(samples) => high_bytes(&samples),
        DynamicImage::ImageLuma8(samples) => grey(&samples),
        DynamicImage::ImageLuma16(samples) => grey(&high_bytes(&samples)),
        DynamicImage::ImageLumaA8(samples) => grey_on_white(&samples),
        DynamicImage::ImageLumaA16(samples) => grey_on_white(&high_bytes(&samples)),
        DynamicImage::ImageRgba8(samples) => on_white(&samples),
        DynamicImage::ImageRgba16(samples) => on_white(&high_bytes(&samples)),
        // None of the four formats has floating-point samples.
        other => other.into_rgb8().into_raw(),
    }
}

fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|&sample| (sample >> 8) as u8).collect()
}

fn grey(samples: &[u8]) -> Vec<u8> {
    to_rgb(samples, |[v]| [v; 3])
}

fn grey_on_white(samples: &[u8]) -> Vec<u8> {
    to_rgb(samples, |[v, alpha]| [over_white(v, alpha); 3])
}

fn on_white(samples: &[u8]) -> Vec<u8> {
    to_rgb(samples, |[r, g, b, alpha]| [r, g, b].map(|v| over_white(v, alpha)))
}

fn to_rgb<const N: usize>(samples: &[u8], pixel: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    let mut rgb = vec![0; 3 * pixels.len()];
    for (to, &from) in rgb.as_chunks_mut().0.iter_mut().zip(pixels) {
        *to = pixel(from);
    }
    rgb
}

/// `v` of opacity `alpha` on white, rounded to nearest. Pillow's `alpha_composite` gives the same for all
/// 65536 pairs.
fn over_white(v: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(v) * alpha + 255 * (255 - alpha);
    ((sum + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_is_white_and_opaque_is_itself() {
        for v in 0..=255 {
            assert_eq!(over_white(v, 0), 255);
            assert_eq!(over_white(v, 255), v);
        }
        assert_eq!(over_white(0, 128), 127);
        assert_eq!(over_white(100, 51), 224);
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 1, 1, 0xFF, 0xD9];
        let mut bytes = vec![0xFF, 0xD8];
        bytes.extend(thumbnail);
        bytes.extend([0xFF, 0xDA, 0, 2, 1, 2, 3]);
        assert!(!jpeg_has_end(&bytes));
        bytes.extend([0xFF, 0xD9]);
        assert!(jpeg_has_end(&bytes));
    }

    #[test]
    fn errors_say_what_was_found() {
        let of = |bytes: &[u8]| decode(bytes, &Limits::default()).unwrap_err().to_string();
        assert!(of(b"").contains("is empty"));
        let text = of(b"<svg>\n<path d=''/></svg>");
        assert!(text.contains("it begins like an SVG drawing;"), "{text}");
        assert!(of(b"BM\0\0\0\0\0\0\0\0\0\0").contains("like a BMP picture"));
        let text = of(b"root:x:0:0");
        assert!(text.contains("like text") && !text.contains("root"), "{text}");
        assert!(of(b"\x80\x81").contains("GIF image; convert"));
        // Nor do the readers' own texts show what they read.
        assert_eq!(words_of("unknown block type").as_deref(), Some("unknown block type"));
        for text in ["chunk ChunkType { type: abcd }", "marker 0x41", "Invalid signature: [52, 49]"] {
            assert_eq!(words_of(text), None);
        }
        let tight = Limits { max_bytes: 3, ..Limits::default() };
        let text = decode(b"GIF89a", &tight).unwrap_err().to_string();
        assert!(text.contains("6 bytes, more than 3"), "{text}");
    }
}
