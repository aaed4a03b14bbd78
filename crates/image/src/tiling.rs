//! How a picture is laid on tiles: which grid it gets, and which size in it.
//!
//! A picture is enlarged or shrunk, keeping its shape, so that it fits a grid of square tiles. The grid is
//! the one that enlarges it least, or, where all are too small, shrinks it least. The rules and the precision
//! of their arithmetic are those of `VariableSizeImageTransform` in Meta's llama-models repository: scales in
//! f32, sizes in f64.

/// How a model wants pictures cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiling {
    /// Width and height of a tile in pixels.
    pub tile: usize,
    /// The most tiles of a picture, not counting the global one.
    pub max_tiles: usize,
    /// Which grids there are, and what comes after the tiles.
    pub scheme: Scheme,
    /// Subtracted from red, green and blue, which go from 0 to 1.
    pub mean: [f32; 3],
    /// What the difference is divided by.
    pub std: [f32; 3],
}

/// Which grids there are, and what comes after the tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The grids of a list; tiles only.
    Llama32 {
        /// `[rows, columns]` in the order of the configuration's `supported_aspect_ratios`.
        grids: Vec<[usize; 2]>,
    },
    /// Every grid of up to `max_tiles` tiles; after more than one tile comes the whole picture on one, the
    /// global tile.
    Llama4,
}

/// Where a picture goes: at the top left of a grid of tiles, with this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// Tiles: `[rows, columns]`.
    pub grid: [usize; 2],
    /// The picture's size in pixels: `[height, width]`.
    pub resized: [usize; 2],
}

impl Tiling {
    /// Llama 3.2 Vision as released; `tile` is 560, and 448 for the 11B model without instruction training.
    #[allow(clippy::excessive_precision)] // The digits as published.
    pub fn llama32(tile: usize) -> Tiling {
        Tiling {
            tile,
            max_tiles: 4,
            scheme: Scheme::Llama32 { grids: grids_of(4) },
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.26130258, 0.27577711],
        }
    }

    /// Llama 4 as released; `tile` is 336.
    pub fn llama4(tile: usize) -> Tiling {
        Tiling { tile, max_tiles: 16, scheme: Scheme::Llama4, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// The id by which Llama 3.2 knows a grid: its place in the list, from 1 on. Llama 4 has none.
    pub fn aspect_ratio_id(&self, grid: [usize; 2]) -> Option<usize> {
        match &self.scheme {
            Scheme::Llama32 { grids } => grids.iter().position(|&known| known == grid).map(|idx| idx + 1),
            Scheme::Llama4 => None,
        }
    }

    /// The grid for a picture of `height` x `width` pixels, and its size there.
    ///
    /// # Panics
    /// If a size is zero, or the tiling has no tiles or no grids.
    pub fn canvas(&self, height: usize, width: usize) -> Canvas {
        assert!(height > 0 && width > 0, "an image of {width} x {height} has no pixels");
        assert!(self.tile > 0 && self.max_tiles > 0, "a tiling needs tiles");
        let grid = match &self.scheme {
            Scheme::Llama32 { grids } => best(grids, self.tile, [height, width]),
            Scheme::Llama4 => best(&factor_pairs(self.max_tiles), self.tile, [height, width]),
        };
        Canvas { grid, resized: fit(grid.map(|n| n * self.tile), self.tile, [height, width]) }
    }
}

/// Every grid of up to `max_tiles` tiles, as Llama 3.2 numbers them.
pub(crate) fn grids_of(max_tiles: usize) -> Vec<[usize; 2]> {
    (1..=max_tiles).flat_map(|rows| (1..=max_tiles / rows).map(move |columns| [rows, columns])).collect()
}

/// The same grids as Llama 4 goes through them: more tiles first.
fn factor_pairs(max_tiles: usize) -> Vec<[usize; 2]> {
    let of = |n: usize| (1..=n).filter(move |rows| n.is_multiple_of(*rows)).map(move |rows| [rows, n / rows]);
    (1..=max_tiles).rev().flat_map(of).collect()
}

/// The grid with the smallest scale of at least 1, else with the largest one; of several, the first with the
/// fewest tiles.
fn best(grids: &[[usize; 2]], tile: usize, [height, width]: [usize; 2]) -> [usize; 2] {
    // By how much the picture may grow until it touches the canvas. In f32, where equal scales are equal.
    let scale = |[rows, columns]: [usize; 2]| {
        f32::min((rows * tile) as f32 / height as f32, (columns * tile) as f32 / width as f32)
    };
    let scales = || grids.iter().map(|&grid| scale(grid));
    let enlarging = scales().filter(|&scale| scale >= 1.0).min_by(f32::total_cmp);
    let chosen = enlarging.or_else(|| scales().max_by(f32::total_cmp)).expect("a tiling has grids");
    let fitting = grids.iter().filter(|&&grid| scale(grid) == chosen);
    *fitting.min_by_key(|[rows, columns]| rows * columns).expect("one grid has the chosen scale")
}

/// The largest size of the picture's shape in a box: per dimension, the picture's own size, but at least a
/// tile and at most the canvas.
fn fit(canvas: [usize; 2], tile: usize, size: [usize; 2]) -> [usize; 2] {
    let boxed: [usize; 2] = std::array::from_fn(|i| size[i].max(tile).min(canvas[i]));
    let [scale_h, scale_w]: [f64; 2] = std::array::from_fn(|i| boxed[i] as f64 / size[i] as f64);
    // A picture one pixel wide and thousands high keeps one pixel.
    let free = |i: usize, scale: f64| ((size[i] as f64 * scale).floor() as usize).clamp(1, boxed[i]);
    if scale_w < scale_h { [free(0, scale_w), boxed[1]] } else { [boxed[0], free(1, scale_h)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_numbered_as_in_the_configuration() {
        let grids = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]];
        assert_eq!(grids_of(4), grids);
        assert_eq!(Tiling::llama32(560).aspect_ratio_id([2, 2]), Some(6));
        assert_eq!(Tiling::llama32(560).aspect_ratio_id([3, 2]), None);
        assert_eq!(factor_pairs(4), [[1, 4], [2, 2], [4, 1], [1, 3], [3, 1], [1, 2], [2, 1], [1, 1]]);
    }

    #[test]
    fn canvases_of_llama_32() {
        let of = |height, width| {
            let Canvas { grid, resized } = Tiling::llama32(560).canvas(height, width);
            (grid, resized)
        };
        assert_eq!(of(200, 300), ([1, 1], [373, 560]));
        assert_eq!(of(600, 600), ([2, 2], [600, 600]));
        assert_eq!(of(1000, 500).0, [2, 1]);
        assert_eq!(of(1200, 1600), ([2, 2], [840, 1120]));
        assert_eq!(of(3000, 1000), ([3, 1], [1680, 560]));
        assert_eq!(of(50, 2000).0, [1, 4]);
        assert_eq!(of(1080, 1920), ([2, 2], [630, 1120]));
    }

    #[test]
    fn canvases_of_llama_4() {
        let of = |height, width| {
            let Canvas { grid, resized } = Tiling::llama4(336).canvas(height, width);
            (grid, resized)
        };
        assert_eq!(of(200, 300), ([1, 1], [224, 336]));
        assert_eq!(of(720, 1280), ([3, 4], [720, 1280]));
        assert_eq!(of(1080, 1920), ([3, 5], [945, 1680]));
        assert_eq!(of(3000, 1000), ([6, 2], [2016, 672]));
        assert_eq!(of(2000, 2000), ([4, 4], [1344, 1344]));
    }

    #[test]
    fn a_thread_of_a_picture_keeps_a_pixel() {
        for tiling in [Tiling::llama32(560), Tiling::llama4(336)] {
            assert_eq!(tiling.canvas(1, 100_000).resized[0], 1);
            assert_eq!(tiling.canvas(100_000, 1).resized[1], 1);
        }
    }

    #[test]
    fn a_size_always_fits_its_canvas() {
        for tiling in [Tiling::llama32(56), Tiling::llama4(33)] {
            for (height, width) in (1..400).step_by(7).flat_map(|h| (1..400).step_by(5).map(move |w| (h, w)))
            {
                let Canvas { grid, resized } = tiling.canvas(height, width);
                assert!(grid[0] * grid[1] <= tiling.max_tiles);
                assert!(
                    (0..2).all(|i| (1..=grid[i] * tiling.tile).contains(&resized[i])),
                    "{height} x {width}"
                );
            }
        }
    }
}
