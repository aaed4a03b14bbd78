//! A picture to normalised tiles.

use crate::tiling::{Canvas, Scheme, Tiling};
use crate::{Image, resize};

/// A picture as a vision model takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiles {
    /// How the picture was cut: `[rows, columns]`.
    pub grid: [usize; 2],
    /// Tiles in `pixels`, the global one included.
    pub n_tiles: usize,
    /// Normalised colours, `[n_tiles, 3, tile, tile]`: tiles row by row, then the global one.
    pub pixels: Vec<f32>,
    /// Whether the last tile shows the whole picture.
    pub has_global: bool,
}

impl Tiling {
    /// Resizes `image`, fills up with black to the right and at the bottom, normalises, and cuts.
    ///
    /// # Panics
    /// If `image` is malformed; and as [`Tiling::canvas`].
    pub fn cut(&self, image: &Image) -> Tiles {
        image.check();
        let Canvas { grid: [rows, columns], resized: [height, width] } =
            self.canvas(image.height, image.width);
        let has_global = self.scheme == Scheme::Llama4 && rows * columns > 1;
        let n_tiles = rows * columns + usize::from(has_global);
        let colours = self.colours();

        let mut pixels = Vec::with_capacity(n_tiles * 3 * self.tile * self.tile);
        let resized = resize(image, width, height);
        for row in 0..rows {
            for column in 0..columns {
                self.push_tile(&mut pixels, &resized, [row, column], &colours);
            }
        }
        if has_global {
            // The whole picture, whatever its shape.
            self.push_tile(&mut pixels, &resize(image, self.tile, self.tile), [0, 0], &colours);
        }
        Tiles { grid: [rows, columns], n_tiles, pixels, has_global }
    }

    /// The normalised value of every byte, per channel: `(v / 255 - mean) / std` in f32, as the models'
    /// processors compute it.
    fn colours(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - self.mean[c]) / self.std[c]))
    }

    /// Appends the tile at `[row, column]` of `image`; where the image has ended, black.
    fn push_tile(&self, pixels: &mut Vec<f32>, image: &Image, tile: [usize; 2], colours: &[[f32; 256]; 3]) {
        let [top, left] = tile.map(|idx| idx * self.tile);
        let n_covered = image.width.saturating_sub(left).min(self.tile);
        for (channel, colours) in colours.iter().enumerate() {
            for y in top..top + self.tile {
                let end = pixels.len() + self.tile;
                if y < image.height && n_covered > 0 {
                    let row = &image.rgb[3 * (y * image.width + left)..][..3 * n_covered];
                    pixels
                        .extend(row.as_chunks::<3>().0.iter().map(|rgb| colours[usize::from(rgb[channel])]));
                }
                pixels.resize(end, colours[0]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles of two pixels, no normalisation.
    fn tiny(scheme: Scheme) -> Tiling {
        Tiling { tile: 2, max_tiles: 4, scheme, mean: [0.0; 3], std: [1.0; 3] }
    }

    /// `[height, width]` in grey, brighter from pixel to pixel, green twice and blue three times as much as
    /// red.
    fn ramp(height: usize, width: usize) -> Image {
        let rgb = (0..height * width).flat_map(|i| [1, 2, 3].map(|times| times * (i + 1) as u8)).collect();
        Image { width, height, rgb }
    }

    fn bytes(tiles: &Tiles) -> Vec<u8> {
        tiles.pixels.iter().map(|v| (v * 255.0).round() as u8).collect()
    }

    #[test]
    fn tiles_go_row_by_row_and_black_fills_up() {
        let tiles = tiny(Scheme::Llama32 { grids: vec![[2, 2]] }).cut(&ramp(3, 4));
        assert_eq!((tiles.grid, tiles.n_tiles, tiles.has_global), ([2, 2], 4, false));
        let red: Vec<u8> = bytes(&tiles).chunks(12).flat_map(|tile| tile[..4].to_vec()).collect();
        assert_eq!(red, [1, 2, 5, 6, 3, 4, 7, 8, 9, 10, 0, 0, 11, 12, 0, 0]);
        assert_eq!(bytes(&tiles)[4..12], [2, 4, 10, 12, 3, 6, 15, 18]);
    }

    #[test]
    fn the_whole_picture_comes_last_unless_it_was_on_one_tile() {
        let image = ramp(4, 4);
        let tiles = tiny(Scheme::Llama4).cut(&image);
        assert_eq!((tiles.grid, tiles.n_tiles, tiles.has_global), ([2, 2], 5, true));
        let whole = resize(&image, 2, 2);
        let red: Vec<u8> = whole.rgb.iter().step_by(3).copied().collect();
        assert_eq!(bytes(&tiles)[4 * 12..][..4], red);

        let tiles = tiny(Scheme::Llama4).cut(&ramp(2, 1));
        assert_eq!((tiles.grid, tiles.n_tiles, tiles.has_global), ([1, 1], 1, false));
    }

    #[test]
    fn a_thread_of_a_picture_is_cut() {
        let image = Image { width: 100_000, height: 1, rgb: vec![255; 300_000] };
        for tiling in [Tiling::llama32(28), Tiling::llama4(28)] {
            let tiles = tiling.cut(&image);
            assert_eq!(tiles.pixels.len(), tiles.n_tiles * 3 * 28 * 28);
        }
    }
}
