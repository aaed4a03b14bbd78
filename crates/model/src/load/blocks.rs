//! Matrices of small floats with a scale for each block of weights, put together as blocks of 32 or 64.

use puna_tensor::{Bytes, DType, Weight};

use super::layer::{Layer, Misfit};

const BLOCK: usize = 32;

/// MXFP4: nibbles row after row, the lower first, and the exponent of each 32 (`[rows, cols / 32]` bytes).
pub(super) fn mxfp4(layer: &Layer, codes: &[u8], scales: &str) -> Result<Weight, Misfit> {
    let exponents = exponents(layer, scales)?;
    join(layer, scales, DType::MXFP4, codes, BLOCK / 2, |i, codes, block| {
        block[0] = exponents[i];
        put_nibbles(|j| codes[j / 2] >> (4 * (j % 2)) & 15, &mut block[1..]);
    })
}

/// NVFP4: nibbles row after row, the lower first, a float of 8 bits for each 16 (`[rows, cols / 16]` of F8_E4M3),
/// and a factor of all.
pub(super) fn nvfp4(layer: &Layer, codes: &[u8], scales: &str, factor: f32) -> Result<Weight, Misfit> {
    const SUB: usize = 16;
    let [rows, cols] = layer.shape;
    let view = layer.get_or_missing(scales)?;
    if view.dtype != DType::F8_E4M3 || view.shape != [rows, cols / SUB] {
        let (shape, dtype) = (&view.shape, view.dtype);
        let fact = format!("expected [{rows}, {}] of F8_E4M3, found {shape:?} of {dtype}", cols / SUB);
        return Err(layer.misfit(scales, fact));
    }
    // Blocks have no sign of a scale, and no scale that is not a number.
    if let Some(bad) = view.data.iter().find(|scale| **scale > 0x7e) {
        return Err(layer.misfit(scales, format!("a scale is {bad:#x}, which is below zero or no number")));
    }
    let per_block = DType::NVFP4.block_len() / SUB;
    let weight =
        join(layer, scales, DType::NVFP4, codes, DType::NVFP4.block_len() / 2, |i, codes, block| {
            block[..per_block].copy_from_slice(&view.data[i * per_block..][..per_block]);
            let code = |j: usize| codes[j / 2] >> (4 * (j % 2)) & 15;
            for (s, out) in block[per_block..].chunks_exact_mut(SUB / 2).enumerate() {
                for (j, byte) in out.iter_mut().enumerate() {
                    *byte = code(SUB * s + j) | code(SUB * s + j + SUB / 2) << 4;
                }
            }
        })?;
    let scaled = weight.with_row_scales(vec![factor; rows]);
    scaled.ok_or_else(|| layer.misfit(scales, "a factor of the matrix does not fit it"))
}

/// MXFP8: bytes of F8_E4M3, and exponents in the same way.
pub(super) fn mxfp8(layer: &Layer, codes: &[u8], scales: &str) -> Result<Weight, Misfit> {
    let exponents = exponents(layer, scales)?;
    join(layer, scales, DType::F8_B, codes, BLOCK, |i, codes, block| {
        // The smallest power of two that a float can be is subnormal.
        let scale = f32::from_bits(if exponents[i] == 0 { 1 << 22 } else { u32::from(exponents[i]) << 23 });
        block[..4].copy_from_slice(&scale.to_le_bytes());
        block[4..].copy_from_slice(codes);
    })
}

/// FP8 with a float for each `block` of rows and columns: `scales` are `[rows / block[0], cols / block[1]]`,
/// rounded up.
pub(super) fn fp8(layer: &Layer, codes: &[u8], scales: &[f32], block: [usize; 2]) -> Result<Weight, Misfit> {
    let cols = layer.shape[1];
    let (per_row, per_scale_row) = (cols / BLOCK, cols.div_ceil(block[1]));
    join(layer, "weight", DType::F8_B, codes, BLOCK, |i, codes, out| {
        let (row, col) = (i / per_row, i % per_row * BLOCK);
        let scale = scales[row / block[0] * per_scale_row + col / block[1]];
        out[..4].copy_from_slice(&scale.to_le_bytes());
        out[4..].copy_from_slice(codes);
    })
}

/// Four bits of each of 32 codes as blocks have them: element j in the low nibble of byte j, element j + 16
/// in the high one.
pub(super) fn put_nibbles(code: impl Fn(usize) -> u8, out: &mut [u8]) {
    for (j, byte) in out.iter_mut().enumerate() {
        *byte = code(j) | code(j + BLOCK / 2) << 4;
    }
}

/// The weight of `dtype` whose blocks `put` writes, of `n_bytes` bytes of codes each; `about` is the tensor a
/// message would be about.
pub(super) fn join(
    layer: &Layer,
    about: &str,
    dtype: DType,
    codes: &[u8],
    n_bytes: usize,
    put: impl Fn(usize, &[u8], &mut [u8]),
) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let block = dtype.block_len();
    let n_blocks = rows.checked_mul(cols / block).filter(|_| cols.is_multiple_of(block));
    let sizes = n_blocks.and_then(|n| Some((n.checked_mul(n_bytes)?, n.checked_mul(dtype.block_bytes())?)));
    let Some((found, len)) = sizes.filter(|(expected, _)| *expected == codes.len()) else {
        let fact = format!("{} bytes are not {rows} x {cols} weights in blocks of {block}", codes.len());
        return Err(layer.misfit(about, fact));
    };
    debug_assert_eq!(found, codes.len());
    let mut bytes = vec![0; len];
    let blocks = bytes.chunks_exact_mut(dtype.block_bytes());
    for (i, (codes, block)) in codes.chunks_exact(n_bytes).zip(blocks).enumerate() {
        put(i, codes, block);
    }
    let weight = Weight::stored(layer.id, dtype, rows, cols, Bytes::new(bytes));
    weight.ok_or_else(|| layer.misfit(about, "its sizes overflow"))
}

fn exponents<'a>(layer: &Layer<'a>, last: &str) -> Result<&'a [u8], Misfit> {
    let [rows, cols] = layer.shape;
    let view = layer.get_or_missing(last)?;
    if view.dtype != DType::U8 || view.shape != [rows, cols / BLOCK] {
        let (shape, dtype) = (&view.shape, view.dtype);
        let fact = format!("expected [{rows}, {}] of U8, found {shape:?} of {dtype}", cols / BLOCK);
        return Err(layer.misfit(last, fact));
    }
    Ok(&view.data)
}
