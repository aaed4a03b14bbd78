//! Resizing that gives the very bytes of Pillow's `Image.resize(size, BILINEAR)`.
//!
//! Every output pixel is a weighted mean of the input pixels under a triangle around its centre. The triangle
//! is two input pixels wide when the image grows, and wider by the ratio of the sizes when it shrinks, so
//! that every input pixel counts. One axis is mixed first and rounded to bytes, then the other. Weights are
//! whole numbers of 22 fractional bits: sums of bytes times weights fit in 32 bits, and nothing depends on
//! the order of summation.
//!
//! Which axis comes first shows in the result, by one grey level here and there. Pillow begins with the
//! width, and since version 13 with the height where that loses more than twice as many pixels as the width.
//! So do we; older versions of Pillow differ by that level.
//!
//! The two passes are interleaved: an input row is added to the sums of the output rows that it belongs to,
//! and forgotten. A whole image between the passes would be large where a picture is thin and long.

use std::collections::VecDeque;

use crate::Image;

/// Of the 32 bits of a sum, 8 are for the byte and 2 are spare.
const FRACTION_BITS: u32 = 32 - 8 - 2;
/// Half a unit: added before the fraction is cut off.
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// `image` with `width` x `height` pixels.
///
/// Beside the result it takes a few rows, and at most some eight bytes per input row and input column.
///
/// # Panics
/// If a size is zero or `image` is malformed.
pub fn resize(image: &Image, width: usize, height: usize) -> Image {
    image.check();
    assert!(width > 0 && height > 0, "an image cannot be resized to {width} x {height}");
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    let height_first = height_comes_first(image, width, height);
    let (across, down) = (Mix::new(image.width, width), Mix::new(image.height, height));
    let mut rgb = vec![0; 3 * width * height];
    let mut finished = rgb.chunks_exact_mut(3 * width);
    // A row between the passes.
    let mut between = vec![0; 3 * if height_first { image.width } else { width }];

    // Sums of the output rows that have begun and are not finished; the first is number `n_finished`.
    let mut sums: VecDeque<Vec<i32>> = VecDeque::new();
    let mut n_finished = 0;
    for (y, row) in image.rgb.chunks_exact(3 * image.width).enumerate() {
        let row = if height_first {
            row
        } else {
            mix_pixels(&mut between, row, &across);
            &between
        };
        while down.spans.get(n_finished + sums.len()).is_some_and(|span| span.first <= y) {
            sums.push_back(vec![HALF; row.len()]);
        }
        for (span, sums) in down.spans[n_finished..].iter().zip(&mut sums) {
            add_row(sums, row, down.weights[span.weights + (y - span.first)]);
        }
        while let Some(complete) = sums.pop_front_if(|_| down.spans[n_finished].end() == y + 1) {
            let out = finished.next().expect("a row per span");
            if height_first {
                round_row(&mut between, &complete);
                mix_pixels(out, &between, &across);
            } else {
                round_row(out, &complete);
            }
            n_finished += 1;
        }
    }
    Image { width, height, rgb }
}

/// Whether Pillow resizes the columns before the rows.
fn height_comes_first(image: &Image, width: usize, height: usize) -> bool {
    let lost_height = image.height.saturating_sub(height);
    let lost_width = image.width.saturating_sub(width);
    lost_height > lost_width.saturating_mul(2)
}

/// Along one axis: which inputs every output is made of, and with which weights.
struct Mix {
    /// One per output; neither first nor end ever goes back from one to the next.
    spans: Vec<Span>,
    weights: Vec<i32>,
}

/// `len` inputs from `first` on, with the weights from index `weights` on.
struct Span {
    first: usize,
    len: usize,
    weights: usize,
}

impl Span {
    fn end(&self) -> usize {
        self.first + self.len
    }
}

impl Mix {
    fn new(n_in: usize, n_out: usize) -> Mix {
        let ratio = n_in as f64 / n_out as f64;
        // Half the width of the triangle, in input pixels.
        let reach = ratio.max(1.0);
        let mut mix = Mix { spans: Vec::with_capacity(n_out), weights: Vec::new() };
        let mut shares = Vec::new();
        for i in 0..n_out {
            let centre = (i as f64 + 0.5) * ratio;
            // The casts cut towards zero, and what is below zero becomes zero.
            let first = (centre - reach + 0.5) as usize;
            let end = ((centre + reach + 0.5) as usize).min(n_in);
            let triangle = |j| (1.0 - ((j as f64 - centre + 0.5) * (1.0 / reach)).abs()).max(0.0);
            shares.clear();
            shares.extend((first..end).map(triangle));
            let sum: f64 = shares.iter().sum();
            mix.spans.push(Span { first, len: end - first, weights: mix.weights.len() });
            let one = f64::from(1 << FRACTION_BITS);
            mix.weights.extend(shares.iter().map(|share| (share / sum * one + 0.5) as i32));
        }
        mix
    }
}

/// One row of pixels, `[n_in, 3]`, resized to `[n_out, 3]`.
fn mix_pixels(out: &mut [u8], row: &[u8], mix: &Mix) {
    if out.len() == row.len() {
        return out.copy_from_slice(row);
    }
    let (out, row) = (out.as_chunks_mut::<3>().0, row.as_chunks::<3>().0);
    for (out, span) in out.iter_mut().zip(&mix.spans) {
        let mut sums = [HALF; 3];
        let weights = &mix.weights[span.weights..][..span.len];
        for (pixel, weight) in row[span.first..span.end()].iter().zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(v) * weight;
            }
        }
        *out = sums.map(byte);
    }
}

fn add_row(sums: &mut [i32], row: &[u8], weight: i32) {
    for (sum, &v) in sums.iter_mut().zip(row) {
        *sum += i32::from(v) * weight;
    }
}

fn round_row(out: &mut [u8], sums: &[i32]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = byte(sum);
    }
}

/// Weights are rounded one by one, so a sum may pass 255.
fn byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).min(255) as u8
}
