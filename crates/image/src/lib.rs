//! Picture files to pixels, resized as Pillow does, and cut into the tiles a vision model looks at.
//!
//! A caller hands over the bytes of a file and says by a [`Tiling`] how its model wants pictures cut: the
//! crate knows the two schemes of Llama 3.2 and Llama 4, and nothing else of models and nothing of tensors.
//! What comes back is normalised pixels and the grid they were cut in. Everything that reaches the numbers
//! follows what the models were trained with: transparent pictures lie on white, resizing gives the very
//! bytes of Pillow's `Image.resize(size, BILINEAR)`, canvases are those of the official processors.
//!
//! ```
//! use puna_image::{Image, Tiling};
//!
//! // Or from a file: decode(&bytes, &Limits::default())?
//! let image = Image { width: 300, height: 800, rgb: vec![127; 3 * 300 * 800] };
//! let tiles = Tiling::llama32(560).cut(&image);
//! assert_eq!(tiles.grid, [2, 1]); // rows, columns
//! assert_eq!(tiles.pixels.len(), tiles.n_tiles * 3 * 560 * 560);
//! ```
//!
//! Left out on purpose: colour profiles, every frame of an animation but the first, and all formats but four.

#![forbid(unsafe_code)]

mod cut;
mod decode;
mod error;
mod lookalike;
mod preprocessor;
mod resize;
mod tiling;

pub use cut::Tiles;
pub use decode::{Limits, decode};
pub use error::ImageError;
pub use resize::resize;
pub use tiling::{Canvas, Scheme, Tiling};

/// A picture: rows from the top, pixels from the left, three bytes each.
///
/// What takes an image asserts that it has at least one pixel and that `rgb` has three bytes for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of every pixel: `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Image {
    /// Our own mistakes end here, before any arithmetic on the sizes.
    fn check(&self) {
        let Image { width, height, rgb } = self;
        assert!(*width > 0 && *height > 0, "an image of {width} x {height} has no pixels");
        assert_eq!(
            Some(rgb.len()),
            width.checked_mul(*height).and_then(|n| n.checked_mul(3)),
            "bytes of an image"
        );
    }
}
