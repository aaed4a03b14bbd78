//! Rotary position embedding (Su et al. 2021): pair j of a head turns by the angle position · frequency_j.
//!
//! Two memory layouts hold the same pairs: interleaved (2j, 2j+1), as in Meta's checkpoints and GGUF, and
//! half-split (j, j + head_dim/2), as in Hugging Face's. Both are supported in place, so that weights need no
//! re-ordering: the scores, being dot products over a head, are the same. The gradient is the rotation by the
//! negative angle.

use crate::cpu::{Cpu, SharedMut};

/// Which elements of a head form pair j.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// (2j, 2j + 1): Meta, GGUF `llama`, Llama 4 everywhere.
    Interleaved,
    /// (j, j + head_dim/2): Hugging Face, Llama 1 to 3.3.
    HalfSplit,
}

/// Cosines and sines of the angles of a list of positions.
pub struct RopeTable {
    n_pairs: usize,
    /// `[positions, n_pairs]` each.
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// The table of a list of positions, each with the frequencies of its pairs.
    ///
    /// Angles are formed in f32 from f32 frequencies, as the reference implementations do: for large
    /// positions the rounding of the angle is part of the function the models were trained with. Their
    /// cosines are exact to f32.
    ///
    /// # Panics
    /// If the numbers of pairs differ.
    pub fn new<'f>(positions: impl IntoIterator<Item = (usize, &'f [f32])>) -> RopeTable {
        let mut table = RopeTable { n_pairs: 0, cos: Vec::new(), sin: Vec::new() };
        for (position, inv_freq) in positions {
            assert!(table.cos.is_empty() || table.n_pairs == inv_freq.len());
            table.n_pairs = inv_freq.len();
            for freq in inv_freq {
                let angle = (position as f32 * freq) as f64;
                table.cos.push(angle.cos() as f32);
                table.sin.push(angle.sin() as f32);
            }
        }
        table
    }

    /// The same table with every cosine and sine times `factor`: what it turns grows by that.
    pub fn times(mut self, factor: f32) -> RopeTable {
        if factor != 1.0 {
            self.cos.iter_mut().chain(&mut self.sin).for_each(|x| *x *= factor);
        }
        self
    }

    /// Positions the table was made for.
    pub fn n_positions(&self) -> usize {
        self.cos.len() / self.n_pairs.max(1)
    }

    /// The cosine and sine of pair `j` at the `i`-th position.
    pub fn cos_sin(&self, i: usize, j: usize) -> (f32, f32) {
        (self.cos[i * self.n_pairs + j], self.sin[i * self.n_pairs + j])
    }
}

/// The direction of a rotation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// By the angle: the embedding.
    Forward,
    /// By its negative: the gradient.
    Back,
}

/// Rotates `x: [positions, n_heads, head_dim]` in place: of each head the first elements, twice as many as the
/// table has pairs.
///
/// # Panics
/// If the sizes disagree.
pub fn rope(cpu: &Cpu, x: &mut [f32], n_heads: usize, table: &RopeTable, layout: RopeLayout, turn: Turn) {
    let n_pairs = table.n_pairs;
    let head_dim = x.len() / (n_heads * table.n_positions()).max(1);
    let row_len = n_heads * head_dim;
    assert!(x.len() == table.n_positions() * row_len && 2 * n_pairs <= head_dim);
    let x = SharedMut::new(x);
    cpu.for_rows(table.n_positions(), row_len, |rows| {
        for row in rows {
            // SAFETY: tasks have disjoint rows.
            let x = unsafe { x.range(row * row_len..(row + 1) * row_len) };
            let at = row * n_pairs..(row + 1) * n_pairs;
            let (cos, sin) = (&table.cos[at.clone()], &table.sin[at]);
            for head in x.chunks_exact_mut(head_dim) {
                let head = &mut head[..2 * n_pairs];
                cpu.isa.run(RotateHead { head, cos, sin, layout, turn });
            }
        }
    });
}

/// One head. The loops vectorise by themselves; every version gives the same bits.
struct RotateHead<'a> {
    head: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    layout: RopeLayout,
    turn: Turn,
}

impl crate::isa::Kernel for RotateHead<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: crate::simd::Simd>(self, _: S) {
        let sign = if self.turn == Turn::Forward { 1.0 } else { -1.0 };
        let rotate = |u: &mut f32, w: &mut f32, cos: f32, sin: f32| {
            let sin = sign * sin;
            (*u, *w) = (*u * cos - *w * sin, *u * sin + *w * cos);
        };
        match self.layout {
            RopeLayout::Interleaved => {
                let (pairs, _) = self.head.as_chunks_mut::<2>();
                for (([u, w], cos), sin) in pairs.iter_mut().zip(self.cos).zip(self.sin) {
                    rotate(u, w, *cos, *sin);
                }
            }
            RopeLayout::HalfSplit => {
                let (low, high) = self.head.split_at_mut(self.cos.len());
                for (((u, w), cos), sin) in low.iter_mut().zip(high).zip(self.cos).zip(self.sin) {
                    rotate(u, w, *cos, *sin);
                }
            }
        }
    }
}
