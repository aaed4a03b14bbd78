//! How keys and values lie in a block of the cache.
//!
//! A block holds [`KvLayout::BLOCK`] positions of one layer: the keys of each head, then the values of each
//! head, so that attention reads one head's part of a block in one stretch. Keys are transposed, `[head_dim,
//! BLOCK]`: a vector of neighbouring keys is multiplied by one element of a query, and no product needs the
//! sum of a vector's lanes. Values are rows, `[BLOCK, head_dim]`, because their weighted sum is taken the
//! other way.
//!
//! Blocks start at multiples of `BLOCK`, so how a sequence was fed (in one piece, in chunks, token by token)
//! does not change the arithmetic. What lies at positions not yet stored is never used.

use crate::half::f16_to_f32;
use crate::isa::Isa;
use crate::{DType, quant};

/// Which half of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvKind {
    /// Keys, after rotation.
    Key,
    /// Values.
    Value,
}

/// The shape and type of a layer's cache block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    dtype: DType,
    n_kv_heads: usize,
    head_dim: usize,
}

/// Elements of a row of values, rounded up to whole vectors of every instruction set.
pub(crate) const fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// Elements of a position that share a scale in Q8_0.
pub(crate) const SCALED: usize = 32;
/// Q8_0's codes are stored this much higher, as unsigned bytes.
pub(crate) const CODE_OFFSET: u8 = 128;

impl KvLayout {
    /// Positions in a block.
    pub const BLOCK: usize = 64;
    /// The types a cache can have.
    pub const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::Q8_0];

    /// # Panics
    /// If `dtype` is not one of [`KvLayout::DTYPES`].
    pub fn new(dtype: DType, n_kv_heads: usize, head_dim: usize) -> KvLayout {
        assert!(Self::DTYPES.contains(&dtype), "the cache cannot be {dtype}");
        KvLayout { dtype, n_kv_heads, head_dim }
    }

    /// The type of its elements.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Heads.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    /// Bytes of an element, scales aside.
    fn element_bytes(&self) -> usize {
        match self.dtype {
            DType::F32 => 4,
            DType::F16 => 2,
            _ => 1,
        }
    }

    /// Scales of a position: one half for every 32 elements of Q8_0, none otherwise.
    fn n_scales(&self) -> usize {
        if self.dtype == DType::Q8_0 { self.head_dim.div_ceil(SCALED) } else { 0 }
    }

    /// Bytes of the elements of a head's keys or values; its scales follow them.
    pub(crate) fn elements_bytes(&self, kind: KvKind) -> usize {
        let dim = if kind == KvKind::Key { self.head_dim } else { padded(self.head_dim) };
        dim * Self::BLOCK * self.element_bytes()
    }

    /// Bytes of the scales of a head's keys or values.
    pub(crate) fn scales_bytes(&self) -> usize {
        2 * self.n_scales() * Self::BLOCK
    }

    /// Bytes of a head's keys or values: elements, then scales (transposed too for keys).
    fn part_bytes(&self, kind: KvKind) -> usize {
        self.elements_bytes(kind) + self.scales_bytes()
    }

    /// Bytes of one layer's block, keys and values.
    pub fn block_bytes(&self) -> usize {
        self.n_kv_heads * (self.part_bytes(KvKind::Key) + self.part_bytes(KvKind::Value))
    }

    /// Where the keys or values of a head lie in a block.
    pub(crate) fn part(&self, kind: KvKind, head: usize) -> std::ops::Range<usize> {
        let (first, len) = (self.n_kv_heads * self.part_bytes(KvKind::Key), self.part_bytes(kind));
        let start = head * len + if kind == KvKind::Key { 0 } else { first };
        start..start + len
    }

    /// Stores `rows: [n, n_kv_heads, head_dim]` at `position` (0..`BLOCK`) and those after it of a block.
    ///
    /// # Panics
    /// If a size disagrees.
    pub fn store(&self, isa: Isa, block: &mut [u8], kind: KvKind, position: usize, rows: &[f32]) {
        let row_len = self.n_kv_heads * self.head_dim;
        assert!(block.len() == self.block_bytes() && rows.len().is_multiple_of(row_len));
        assert!(position <= Self::BLOCK && rows.len() / row_len <= Self::BLOCK - position);
        let mut encoded = Encoded { rows: [[0; 4 * SCALED]; Self::BLOCK], n: 0 };
        for head in 0..self.n_kv_heads {
            let part = &mut block[self.part(kind, head)];
            for d in (0..self.head_dim).step_by(SCALED) {
                let len = SCALED.min(self.head_dim - d);
                encoded.n = 0;
                for row in rows.chunks_exact(row_len) {
                    encoded.push(isa, self.dtype, &row[head * self.head_dim + d..][..len]);
                }
                self.place(part, kind, position, d, len, &encoded);
            }
        }
    }

    /// Puts elements `d..d + len` of some positions where they belong in a head's part.
    fn place(&self, part: &mut [u8], kind: KvKind, position: usize, d: usize, len: usize, encoded: &Encoded) {
        let (elements, scales) = part.split_at_mut(self.elements_bytes(kind));
        let rows = &encoded.rows[..encoded.n];
        // Where element `d` of `position` is, and how far from there the next element and the next position.
        let (first, next_element, next_position) = match kind {
            KvKind::Key => (d * Self::BLOCK + position, Self::BLOCK, 1),
            KvKind::Value => (position * padded(self.head_dim) + d, 1, padded(self.head_dim)),
        };
        let at = |i: usize, e: usize| first + i * next_position + e * next_element;
        match self.dtype {
            DType::F32 => scatter::<4>(rows, 0, len, elements, at),
            DType::F16 => scatter::<2>(rows, 0, len, elements, at),
            _ => {
                scatter::<1>(rows, 2, len, elements, at);
                let group = d / SCALED;
                let scale_at = |i: usize, _| match kind {
                    KvKind::Key => group * Self::BLOCK + position + i,
                    KvKind::Value => (position + i) * self.n_scales() + group,
                };
                scatter::<2>(rows, 0, 1, scales, scale_at);
            }
        }
    }

    /// Reads one position of a head into `out: [head_dim]`: the definition of how it is stored.
    pub fn load(&self, block: &[u8], kind: KvKind, head: usize, position: usize, out: &mut [f32]) {
        let (elements, scales) = block[self.part(kind, head)].split_at(self.elements_bytes(kind));
        let half = |bytes: &[u8], i: usize| f16_to_f32(u16::from_le_bytes(bytes.as_chunks().0[i]));
        for (d, x) in out.iter_mut().enumerate() {
            let (at, scale_at) = match kind {
                KvKind::Key => (d * Self::BLOCK + position, d / SCALED * Self::BLOCK + position),
                KvKind::Value => {
                    (position * padded(self.head_dim) + d, position * self.n_scales() + d / SCALED)
                }
            };
            *x = match self.dtype {
                DType::F32 => f32::from_le_bytes(elements.as_chunks().0[at]),
                DType::F16 => half(elements, at),
                _ => (elements[at] as f32 - CODE_OFFSET as f32) * half(scales, scale_at),
            };
        }
    }
}

/// Up to 32 elements of the positions of a block, as the type stores a row of them.
struct Encoded {
    rows: [[u8; 4 * SCALED]; KvLayout::BLOCK],
    n: usize,
}

impl Encoded {
    fn push(&mut self, isa: Isa, dtype: DType, x: &[f32]) {
        let out = &mut self.rows[self.n];
        self.n += 1;
        if dtype == DType::Q8_0 {
            let mut whole = [0.0; SCALED];
            whole[..x.len()].copy_from_slice(x);
            quant::encode_with(isa, dtype, &whole, &mut out[..34]);
            out[2..34].iter_mut().for_each(|code| *code ^= CODE_OFFSET); // From signed to unsigned.
        } else {
            let n_bytes = dtype.bytes_of(x.len()).expect("blocks of one element");
            quant::encode_with(isa, dtype, x, &mut out[..n_bytes]);
        }
    }
}

/// Copies `len` elements of `SIZE` bytes, `from` bytes into each of `rows`, to the places `at(row, element)`
/// of `out`.
fn scatter<const SIZE: usize>(
    rows: &[[u8; 4 * SCALED]],
    from: usize,
    len: usize,
    out: &mut [u8],
    at: impl Fn(usize, usize) -> usize,
) {
    let out = out.as_chunks_mut::<SIZE>().0;
    // Element by element: in the transposed keys, positions are neighbours.
    for e in 0..len {
        for (i, row) in rows.iter().enumerate() {
            out[at(i, e)] = row[from + e * SIZE..][..SIZE].try_into().expect("SIZE bytes");
        }
    }
}
