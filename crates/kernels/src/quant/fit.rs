//! What the encoders share: extremes, rounding, and the search for a scale with a minimum.
//!
//! All sums run from the first element to the last in f32, as in ggml's reference, whose blocks these
//! reproduce.

/// Blocks whose largest magnitude is below this are stored as zero.
pub(super) const NEGLIGIBLE: f32 = 1e-15;

/// The element of largest magnitude, with its sign; the first of equals.
#[inline(always)]
pub(super) fn largest_magnitude(x: &[f32]) -> f32 {
    let mut largest = 0f32;
    for &x in x {
        if x.abs() > largest.abs() {
            largest = x;
        }
    }
    largest
}

/// Smallest and largest element.
#[inline(always)]
pub(super) fn range(x: &[f32]) -> (f32, f32) {
    x.iter()
        .fold((x[0], x[0]), |(min, max), &x| (if x < min { x } else { min }, if x > max { x } else { max }))
}

/// The nearest integer, ties to even.
#[inline(always)]
pub(super) fn nearest(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// 1 / x, or 0 for 0.
#[inline(always)]
pub(super) fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// How [`with_minimum`] searches.
pub(super) struct Search {
    /// The largest code.
    pub max_code: i32,
    /// The candidates' numbers of steps over the range are `max_code + first + k step`, k = 0..=n_steps.
    pub first: f32,
    pub step: f32,
    pub n_steps: usize,
    /// Whether a candidate's error is measured by squares or by magnitudes.
    pub squared: bool,
}

/// Finds `scale`, `minimum >= 0` and codes so that `scale code - minimum` is near `x`, weighted by `weights`.
///
/// Each candidate scale gives codes, these give a scale and an offset by weighted least squares, and the best
/// of all is kept. The offset kept is also the one from which later candidates compute their codes.
pub(super) fn with_minimum<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    codes: &mut [u8; N],
    search: &Search,
) -> (f32, f32) {
    let (min, max) = range(x);
    let mut low = if min > 0.0 { 0.0 } else { min };
    let range = max - low;
    *codes = [0; N];
    if range <= 0.0 {
        return (0.0, -low);
    }
    let (mut sum_w, mut sum_wx) = (0f32, 0f32);
    for (w, x) in weights.iter().zip(x) {
        sum_w += w;
        sum_wx += w * x;
    }

    let steps = search.max_code as f32 / (max - low);
    *codes = codes_at(x, low, steps, search.max_code);
    let mut scale = 1.0 / steps;
    let mut best = error(x, weights, codes, scale, low, search.squared);
    for k in 0..=search.n_steps {
        let steps = (search.first + search.step * k as f32 + search.max_code as f32) / (max - low);
        let candidate = codes_at(x, low, steps, search.max_code);
        let (mut sum_q, mut sum_q2, mut sum_qx) = (0f32, 0f32, 0f32);
        for ((w, x), &q) in weights.iter().zip(x).zip(&candidate) {
            let q = q as f32;
            sum_q += w * q;
            sum_q2 += w * q * q;
            sum_qx += w * q * x;
        }
        let determinant = sum_w * sum_q2 - sum_q * sum_q;
        if determinant > 0.0 {
            let mut this_scale = (sum_w * sum_qx - sum_wx * sum_q) / determinant;
            let mut this_low = (sum_q2 * sum_wx - sum_q * sum_qx) / determinant;
            if this_low > 0.0 {
                this_low = 0.0;
                this_scale = sum_qx / sum_q2;
            }
            let error = error(x, weights, &candidate, this_scale, this_low, search.squared);
            if error < best {
                (best, scale, low, *codes) = (error, this_scale, this_low, candidate);
            }
        }
    }
    (scale, -low)
}

/// The nearest codes for `steps` per unit from `low` on.
#[inline(always)]
fn codes_at<const N: usize>(x: &[f32; N], low: f32, steps: f32, max_code: i32) -> [u8; N] {
    x.map(|x| nearest(steps * (x - low)).clamp(0, max_code) as u8)
}

/// The weighted error of `scale code + low`.
#[inline(always)]
fn error<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    codes: &[u8; N],
    scale: f32,
    low: f32,
    squared: bool,
) -> f32 {
    let mut sum = 0f32;
    for ((w, x), &q) in weights.iter().zip(x).zip(codes) {
        let e = scale * q as f32 + low - x;
        sum += w * if squared { e * e } else { e.abs() };
    }
    sum
}

/// A scale for each sub-block as a number of at most `max_field`, and their common unit before rounding.
#[inline(always)]
pub(super) fn fields<const N: usize>(scales: &[f32; N], max_field: u8) -> ([u8; N], f32) {
    let max = scales.iter().fold(0f32, |max, &s| if s > max { s } else { max });
    let per_unit = if max > 0.0 { max_field as f32 / max } else { 0.0 };
    let fields = scales.map(|s| nearest(per_unit * s).clamp(0, max_field as i32) as u8);
    (fields, max / max_field as f32)
}
