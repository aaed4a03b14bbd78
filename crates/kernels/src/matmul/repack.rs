//! Copies of weights in the order in which products read them.
//!
//! Products take sixteen weight rows at a time. As stored, these are sixteen streams, each in pages of its
//! own, and their bytes must be transposed to run across rows. A copy has them side by side: the first four
//! bytes of a block of each row, then the next four, and last the bytes that are left over. So it is read
//! from end to end, 64 bytes a load, from large pages where the system gives them. Rows of F16 and F8 are
//! interleaved by two bytes, because these are converted as they are loaded. A copy has as many bytes as the
//! rows, rounded up to whole panels, except for types whose codes are slow to unpack
//! (`quant/copied.rs`); the factors of rows stay where they are.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Range;

use memmap2::MmapMut;

use super::matrix::{Matrix, Repacked};
use super::pack::Activations;
use crate::DType;
use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::quant::coded::{Coded, Layout, StoredBlocks};
use crate::quant::copied::{Copied, Indexed};
use crate::quant::format::Block;
use crate::quant::{ForCoded, ForCopied, for_coded, for_copied};
use crate::simd::Rows16;

impl Repacked {
    /// The bytes of a copy of `matrix` for products with such activations, or `None` if they would not read
    /// one.
    pub fn bytes_for(matrix: &Matrix, activations: Activations) -> Option<usize> {
        let is_plain = matrix.dtype().block_len() == 1 && matrix.row_bytes().is_multiple_of(4);
        let is_read = is_plain || activations.group(matrix.dtype()).is_some();
        is_read.then(|| matrix.copy_bytes())?
    }

    /// A copy of `matrix` for products with such activations, or `None` where they would not read one
    /// ([`Repacked::bytes_for`]) or the system has no memory for it. `copied` is told, part by part, which
    /// stored bytes are not needed any more.
    pub fn new(
        cpu: &Cpu,
        matrix: &Matrix,
        activations: Activations,
        mut copied: impl FnMut(Range<usize>),
    ) -> Option<Repacked> {
        // Small in tests, so that they meet several.
        const PART_BYTES: usize = if cfg!(test) { 1 << 12 } else { 16 << 20 };
        let n_bytes = Repacked::bytes_for(matrix, activations).filter(|n_bytes| *n_bytes > 0)?;
        let mut bytes = MmapMut::map_anon(n_bytes).ok()?;
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage); // A kernel without them gives small ones.
        let (row_bytes, copy_row_bytes) = (matrix.row_bytes(), matrix.copy_row_bytes());
        let part_rows = (PART_BYTES / row_bytes).max(1).next_multiple_of(Repacked::ROWS);
        for (i, out) in bytes.chunks_mut(part_rows * copy_row_bytes).enumerate() {
            let rows = i * part_rows..matrix.rows().min((i + 1) * part_rows);
            let range = rows.start * row_bytes..rows.end * row_bytes;
            let part = Matrix::new(matrix.dtype(), rows.len(), matrix.cols(), &matrix.bytes()[range.clone()]);
            repack(cpu, &part, out);
            copied(range);
        }
        Some(Repacked::of(bytes))
    }
}

/// Copies a matrix, or some whole panels of it.
fn repack(cpu: &Cpu, matrix: &Matrix, out: &mut [u8]) {
    let (rows, row_bytes, isa) = (matrix.rows(), matrix.row_bytes(), cpu.isa);
    let copy_row_bytes = matrix.copy_row_bytes();
    let shared = SharedMut::new(out);
    cpu.for_rows(rows.div_ceil(16), 16 * copy_row_bytes, |panels| {
        for panel in panels {
            // SAFETY: each panel is one task's.
            let out = unsafe { shared.range(16 * panel * copy_row_bytes..16 * (panel + 1) * copy_row_bytes) };
            let mut stored =
                Cow::from(&matrix.bytes()[16 * panel * row_bytes..rows.min(16 * panel + 16) * row_bytes]);
            if stored.len() < 16 * row_bytes {
                stored.to_mut().resize(16 * row_bytes, 0);
            }
            let work = Codes { isa, stored: &stored, out };
            let Err(work) = for_copied(matrix.dtype(), work) else { continue };
            if let Err(Codes { out, .. }) = for_coded(matrix.dtype(), work) {
                for (r, row) in stored.chunks_exact(row_bytes).enumerate() {
                    match matrix.dtype() {
                        DType::F16 | DType::F8_E4M3 => spread::<2>(row, &mut out[2 * r..]),
                        _ => spread::<4>(row, &mut out[4 * r..]),
                    }
                }
            }
        }
    });
}

/// Puts every `UNIT` bytes of a row of plain floats among those of its fifteen neighbours.
fn spread<const UNIT: usize>(row: &[u8], out: &mut [u8]) {
    for (bytes, out) in row.as_chunks::<UNIT>().0.iter().zip(out.chunks_mut(16 * UNIT)) {
        out[..UNIT].copy_from_slice(bytes);
    }
}

/// A panel of a type with codes.
struct Codes<'a> {
    isa: Isa,
    stored: &'a [u8],
    out: &'a mut [u8],
}

impl ForCoded for Codes<'_> {
    type Output = ();
    fn run<T: Coded>(self) {
        self.isa.run(Panel { format: PhantomData::<T>, stored: self.stored, out: self.out });
    }
}

impl ForCopied for Codes<'_> {
    type Output = ();
    fn run<T: Indexed>(self) {
        self.isa.run(IndexedPanel { format: PhantomData::<T>, stored: self.stored, out: self.out });
    }
}

/// Sixteen rows, as stored and as their copies.
struct IndexedPanel<'a, T> {
    format: PhantomData<T>,
    stored: &'a [u8],
    out: &'a mut [u8],
}

impl<T: Indexed> Kernel for IndexedPanel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let row_bytes = self.stored.len() / 16;
        for (block, out) in self.out.chunks_exact_mut(16 * Copied::<T>::BYTES).enumerate() {
            let stored = &self.stored[block * T::BYTES..];
            assert!(stored.len() >= 15 * row_bytes + T::BYTES);
            // SAFETY: a block of each of sixteen rows is readable.
            let blocks = unsafe { StoredBlocks::new(s, stored.as_ptr(), row_bytes, T::BYTES) };
            Copied::<T>::copy(s, blocks, out);
        }
    }
}

/// Sixteen rows, as stored and side by side.
struct Panel<'a, T> {
    format: PhantomData<T>,
    stored: &'a [u8],
    out: &'a mut [u8],
}

impl<T: Coded> Kernel for Panel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let Layout { head, whole, tail } = Layout::of::<T>();
        let (row_bytes, block_bytes) = (self.stored.len() / 16, T::BYTES);
        for (block, out) in self.out.chunks_exact_mut(16 * block_bytes).enumerate() {
            let start = block * block_bytes;
            for place in (0..whole).step_by(16) {
                // The last sixteen may begin among those before.
                let place = place.min(whole - 16);
                let from = &self.stored[start + head + place..];
                assert!(from.len() >= 15 * row_bytes + 16);
                // SAFETY: sixteen bytes of each row are readable.
                let chunk = unsafe { s.chunk(from.as_ptr(), row_bytes) };
                for (bytes, out) in chunk.into_iter().zip(out[16 * place..].chunks_exact_mut(64)) {
                    // SAFETY: 64 bytes.
                    unsafe { s.store_bytes(out.as_mut_ptr(), bytes) };
                }
            }
            let left = if head > 0 { start } else { start + whole };
            for r in 0..16 {
                let to = 16 * whole + r * tail;
                out[to..to + tail].copy_from_slice(&self.stored[r * row_bytes + left..][..tail]);
            }
        }
    }
}
