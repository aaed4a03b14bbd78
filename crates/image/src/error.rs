//! What can go wrong with the bytes of a picture, in words: what was found, and what to try.

/// A picture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file is longer than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error(
        "the image file has {bytes} bytes, more than {max_bytes}; make the image smaller or compress it more"
    )]
    TooManyBytes {
        /// Length of the file.
        bytes: usize,
        /// What was allowed.
        max_bytes: usize,
    },
    /// The file has no bytes at all.
    #[error("the image file is empty; give a JPEG, PNG, WebP or GIF file")]
    Empty,
    /// The first bytes belong to none of the four formats.
    #[error("this is not a JPEG, PNG, WebP or GIF image{}; convert it to one of these", match looks_like {
        Some(what) => format!(": it begins like {what}"),
        None => String::new(),
    })]
    UnknownFormat {
        /// What the file seems to be, with an article.
        looks_like: Option<&'static str>,
    },
    /// The header claims more pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    #[error("the image has {width} x {height} pixels, more than {max_pixels} in all; make it smaller")]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// What was allowed.
        max_pixels: u64,
    },
    /// The header says that there are no pixels.
    #[error(
        "the {format} image has {width} x {height} pixels, so there is nothing to see; is it the right file?"
    )]
    NoPixels {
        /// Name of the format.
        format: &'static str,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Reading would take more memory than any image of the allowed size needs.
    #[error(
        "reading the {format} image takes more memory than an image of {max_pixels} pixels may; make it smaller"
    )]
    TooMuchMemory {
        /// Name of the format.
        format: &'static str,
        /// What was allowed.
        max_pixels: u64,
    },
    /// The file ends in the middle of the image.
    #[error("cannot read the {format} image: the file ends early; copy or download it again")]
    Truncated {
        /// Name of the format.
        format: &'static str,
    },
    /// The bytes break the rules of their format.
    #[error("cannot read the {format} image: {reason}; the file is damaged, copy it again or save it anew")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What the reader found.
        reason: String,
    },
    /// The bytes are sound, but say something that is not supported.
    #[error("cannot read the {format} image: {reason}; save it in the plain form of the format")]
    Unsupported {
        /// Name of the format.
        format: &'static str,
        /// What is not supported.
        reason: String,
    },
}
