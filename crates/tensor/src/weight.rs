//! A model's parameter: a matrix or vector, as stored in a checkpoint or as f32 that training changes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use puna_kernels::hadamard::hadamard_row;
use puna_kernels::matmul::{Activations, Matrix, Repacked, f32_bytes};

use crate::{Bytes, Cpu, DType, Isa, RunOptions};

/// Which parameter of a model this is: its place in the model's list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// Where the elements are.
#[derive(Clone, Debug)]
enum Storage {
    /// In the checkpoint's own bytes, usually a memory map.
    Stored(DType, Bytes, Arc<Repacking>),
    /// In memory of our own, as f32.
    Owned(Vec<f32>),
}

/// A stored matrix in the order of products, once it was worth making.
#[derive(Debug, Default)]
struct Repacking {
    /// Products with a few rows so far.
    uses: AtomicU32,
    copy: RwLock<Decision>,
}

/// Whether a stored matrix has a copy in the order of products.
#[derive(Debug, Default)]
enum Decision {
    /// That is decided when it was used a while.
    #[default]
    Open,
    /// There is to be none.
    No,
    Made(Arc<Repacked>),
}

impl Repacking {
    fn read(&self) -> RwLockReadGuard<'_, Decision> {
        self.copy.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Decision> {
        self.copy.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In which order a stored matrix lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Row after row.
    ByRows,
    /// Column after column: the columns are rows of `row_len` elements, of which this matrix has those from
    /// `first` on.
    ByColumns { first: usize, row_len: usize },
}

/// A parameter `[rows, cols]`; a vector is one row.
#[derive(Clone, Debug)]
pub struct Weight {
    id: ParamId,
    rows: usize,
    cols: usize,
    order: Order,
    /// The column that each stored column is, if they are not in order.
    columns: Option<Arc<[u32]>>,
    /// What each stored row is multiplied with.
    row_scales: Option<Arc<[f32]>>,
    /// Whether its inputs are multiplied with a Hadamard matrix first.
    is_rotated: bool,
    /// What is added to the stored matrix.
    low_rank: Option<Arc<LowRank>>,
    storage: Storage,
}

/// A matrix of few dimensions, `factor up down`: what an adapter (LoRA) adds to another.
#[derive(Debug)]
pub(crate) struct LowRank {
    /// `[rank, cols]`.
    pub down: Weight,
    /// `[rows, rank]`.
    pub up: Weight,
    pub factor: f32,
}

impl Weight {
    /// A matrix in its stored form, or `None` unless the type decodes to f32 and `bytes` are exactly its
    /// rows.
    pub fn stored(id: ParamId, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Option<Weight> {
        let expected = dtype.bytes_of(cols)?.checked_mul(rows)?;
        let fits = dtype.is_weight() && expected == bytes.len();
        let storage = Storage::Stored(dtype, bytes, Arc::default());
        fits.then(|| Weight::plain(id, rows, cols, storage))
    }

    /// A matrix that is stored column after column, beside others: `bytes` are `[cols, row_len]`, of which
    /// each row's elements `first .. first + rows` are this matrix's. `None` as for [`Weight::stored`].
    pub fn stored_by_columns(
        id: ParamId,
        dtype: DType,
        [rows, cols]: [usize; 2],
        bytes: Bytes,
        first: usize,
        row_len: usize,
    ) -> Option<Weight> {
        let expected = dtype.bytes_of(row_len)?.checked_mul(cols)?;
        let end = first.checked_add(rows).filter(|end| *end <= row_len)?;
        let whole = dtype.bytes_of(first).is_some() && dtype.bytes_of(end).is_some();
        let fits = dtype.is_weight() && whole && expected == bytes.len();
        let storage = Storage::Stored(dtype, bytes, Arc::default());
        let order = Order::ByColumns { first, row_len };
        fits.then(|| Weight { order, ..Weight::plain(id, rows, cols, storage) })
    }

    /// The same matrix whose stored column j is column `columns[j]`. `None` if these are not all columns,
    /// each once.
    pub fn with_columns(self, columns: Vec<u32>) -> Option<Weight> {
        let mut seen = vec![false; self.cols];
        let fresh = |seen: &mut Vec<bool>, col: u32| {
            seen.get_mut(col as usize).is_some_and(|seen| !std::mem::replace(seen, true))
        };
        let all = columns.len() == self.cols && columns.iter().all(|col| fresh(&mut seen, *col));
        all.then(|| Weight { columns: Some(columns.into()), ..self })
    }

    /// The matrix whose rows are the stored ones times these factors. `None` unless it is of F8_E4M3 or
    /// codes, stored row after row, and there is one for each row.
    pub fn with_row_scales(self, scales: Vec<f32>) -> Option<Weight> {
        let fits = self.dtype().has_row_scales() && !self.is_by_columns() && scales.len() == self.rows;
        fits.then(|| Weight { row_scales: Some(scales.into()), ..self })
    }

    /// The product of this matrix and a Hadamard matrix ([`hadamard`](puna_kernels::hadamard)), which its
    /// inputs are multiplied with. `None` if they are no power of two, or it is stored column after column.
    pub fn with_rotated_inputs(self) -> Option<Weight> {
        let fits = self.cols.is_power_of_two() && !self.is_by_columns();
        fits.then(|| Weight { is_rotated: true, ..self })
    }

    /// The sum of this matrix and `factor` times `up: [rows, rank]` times `down: [rank, cols]`, which products
    /// take one after the other. `None` if they have other sizes, or any of the three is stored column after
    /// column.
    pub fn with_low_rank(self, down: Weight, up: Weight, factor: f32) -> Option<Weight> {
        let sizes_fit = down.cols == self.cols && up.rows == self.rows && down.rows == up.cols && up.cols > 0;
        let fits = sizes_fit && !self.is_by_columns() && down.is_plain() && up.is_plain();
        fits.then(|| Weight { low_rank: Some(Arc::new(LowRank { down, up, factor })), ..self })
    }

    /// A matrix of our own.
    ///
    /// # Panics
    /// If `values` are not `rows * cols`.
    pub fn owned(id: ParamId, rows: usize, cols: usize, values: Vec<f32>) -> Weight {
        assert_eq!(values.len(), rows * cols);
        Weight::plain(id, rows, cols, Storage::Owned(values))
    }

    /// A matrix stored row after row, with nothing beside it.
    fn plain(id: ParamId, rows: usize, cols: usize, storage: Storage) -> Weight {
        Weight {
            id,
            rows,
            cols,
            order: Order::ByRows,
            columns: None,
            row_scales: None,
            is_rotated: false,
            low_rank: None,
            storage,
        }
    }

    /// Its place in the model.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// Outputs of a linear layer, entries of a vocabulary; 1 for a vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a linear layer; the length of a vector.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type its elements are stored in.
    pub fn dtype(&self) -> DType {
        match &self.storage {
            Storage::Stored(dtype, ..) => *dtype,
            Storage::Owned(_) => DType::F32,
        }
    }

    /// How many bytes its elements take, without the factors of rows.
    pub fn n_bytes(&self) -> usize {
        self.dtype()
            .bytes_of(self.rows)
            .filter(|_| self.is_by_columns())
            .map_or_else(|| self.stored_bytes().len(), |column| column * self.cols)
    }

    /// Its bytes row after row, columns in order, if they are stored so and say all.
    pub fn bytes(&self) -> Option<&[u8]> {
        (self.is_plain() && self.row_scales.is_none()).then(|| self.stored_bytes())
    }

    /// Whether it is what is stored, row after row, columns in order; rows may have factors.
    pub fn is_plain(&self) -> bool {
        !self.is_by_columns() && self.columns.is_none() && !self.is_rotated && self.low_rank.is_none()
    }

    /// Whether its inputs are multiplied with a Hadamard matrix before they meet what is stored.
    pub(crate) fn is_rotated(&self) -> bool {
        self.is_rotated
    }

    /// What is added to the stored matrix, if anything is.
    pub(crate) fn low_rank(&self) -> Option<&LowRank> {
        self.low_rank.as_deref()
    }

    /// The column that each stored column is, if they are not in order: products take activations in that
    /// order.
    pub fn columns(&self) -> Option<&[u32]> {
        self.columns.as_deref()
    }

    fn stored_bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Stored(_, bytes, _) => bytes,
            Storage::Owned(values) => f32_bytes(values),
        }
    }

    /// Whether it is stored column after column.
    pub fn is_by_columns(&self) -> bool {
        self.order != Order::ByRows
    }

    /// The matrix as it is stored, for the kernels: its transpose if [`Weight::is_by_columns`], its columns
    /// in the order of [`Weight::columns`].
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        match self.order {
            Order::ByRows => {
                let stored = Matrix::new(self.dtype(), self.rows, self.cols, self.stored_bytes());
                match &self.row_scales {
                    Some(scales) => stored.with_row_scales(scales),
                    None => stored,
                }
            }
            Order::ByColumns { first, row_len } => {
                let all = Matrix::new(self.dtype(), self.cols, row_len, self.stored_bytes());
                all.columns(first..first + self.rows)
            }
        }
    }

    /// Its repacked copy, if there is one; it stays as long as somebody has it.
    pub(crate) fn copy(&self) -> Option<Arc<Repacked>> {
        match &self.storage {
            Storage::Stored(_, _, repacking) => match &*repacking.read() {
                Decision::Made(copy) => Some(copy.clone()),
                Decision::Open | Decision::No => None,
            },
            Storage::Owned(_) => None,
        }
    }

    /// The matrix as products read it fastest: its repacked copy, if there is one.
    pub(crate) fn fastest_matrix<'a>(&'a self, copy: &'a Option<Arc<Repacked>>) -> Matrix<'a> {
        copy.as_ref().map_or_else(|| self.matrix(), |copy| self.matrix().with(copy))
    }

    /// Counts a product with `n_rows` rows of activations, and repacks the matrix when it is due.
    ///
    /// It is due after some products with few rows, as decoding makes them token by token. Not at once,
    /// because the copy takes as long as several products; and a few matrices at a time, so that no token
    /// waits for all of them.
    pub(crate) fn count_use(&self, cpu: &Cpu, options: &RunOptions, n_rows: usize) {
        const FEW: usize = 8;
        const USES: u32 = 4;
        const STEPS: u32 = 32;
        let Storage::Stored(_, _, repacking) = &self.storage else { return };
        if n_rows > FEW || self.is_by_columns() || !matches!(*repacking.read(), Decision::Open) {
            return;
        }
        let due = USES + (self.id.0 as u32).wrapping_mul(7) % STEPS;
        if repacking.uses.fetch_add(1, Ordering::Relaxed) == due {
            self.repack(cpu, options);
        }
    }

    /// Copies a stored matrix into the order in which products read it, if the options have memory for that;
    /// the stored bytes may then leave memory. Once it was decided that there is no copy, it stays so, until
    /// [`Weight::drop_copy`].
    pub fn repack(&self, cpu: &Cpu, options: &RunOptions) {
        let Storage::Stored(_, bytes, repacking) = &self.storage else { return };
        if self.is_by_columns() {
            return;
        }
        let mut decision = repacking.write();
        if matches!(*decision, Decision::Open) {
            let matrix = self.matrix();
            let release = |range| bytes.slice(range).iter().for_each(Bytes::release);
            let room =
                Repacked::bytes_for(&matrix, options.activations).filter(|bytes| options.repack.take(*bytes));
            let copy = room.and_then(|_| Repacked::new(cpu, &matrix, options.activations, release));
            *decision = copy.map_or(Decision::No, |copy| Decision::Made(Arc::new(copy)));
        }
    }

    /// Gives the memory of its repacked copy back; products read the stored matrix again, until it was used a while.
    pub fn drop_copy(&self, options: &RunOptions) {
        let Storage::Stored(_, _, repacking) = &self.storage else { return };
        if let Decision::Made(_) = std::mem::take(&mut *repacking.write()) {
            options.repack.give(self.repack_bytes(options.activations));
        }
        repacking.uses.store(0, Ordering::Relaxed);
    }

    /// The bytes of a copy for products with such activations; 0 if there is to be none.
    pub fn repack_bytes(&self, activations: Activations) -> usize {
        match &self.storage {
            Storage::Stored(..) if !self.is_by_columns() => {
                Repacked::bytes_for(&self.matrix(), activations).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Lines of the stored matrix, in the order in which they are stored: its rows, or its columns if
    /// [`Weight::is_by_columns`].
    pub fn n_stored_rows(&self) -> usize {
        if self.is_by_columns() { self.cols } else { self.rows }
    }

    /// Elements of such a line.
    pub fn stored_row_len(&self) -> usize {
        if self.is_by_columns() { self.rows } else { self.cols }
    }

    /// Decodes a line of [`Weight::n_stored_rows`] to f32, its elements in their stored order
    /// ([`Weight::columns`]).
    ///
    /// # Panics
    /// If there is no such line or `out` has another length.
    pub fn decode_stored_row(&self, row: usize, out: &mut [f32]) {
        let matrix = self.matrix();
        assert!(row < matrix.rows() && out.len() == matrix.cols());
        matrix.decode_row(Isa::best(), row, out);
    }

    /// All elements as f32, row after row. For vectors and for export; matrices of a running model stay as
    /// they are stored.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        let mut line = vec![0.0; self.stored_row_len()];
        for i in 0..self.n_stored_rows() {
            self.decode_stored_row(i, &mut line);
            let at = |j: usize| match (&self.columns, self.order) {
                (_, Order::ByColumns { .. }) => j * self.cols + i,
                (Some(columns), Order::ByRows) => i * self.cols + columns[j] as usize,
                (None, Order::ByRows) => i * self.cols + j,
            };
            line.iter().enumerate().for_each(|(j, x)| values[at(j)] = *x);
        }
        if self.is_rotated {
            values.chunks_exact_mut(self.cols).for_each(|row| hadamard_row(Isa::best(), row));
        }
        if let Some(LowRank { down, up, factor }) = self.low_rank() {
            let (down, up) = (down.to_f32(), up.to_f32());
            for (row, up) in values.chunks_exact_mut(self.cols).zip(up.chunks_exact(up.len() / self.rows)) {
                for (down, up) in down.chunks_exact(self.cols).zip(up) {
                    row.iter_mut().zip(down).for_each(|(x, down)| *x += factor * up * down);
                }
            }
        }
        values
    }

    /// Decodes the weight to f32 of our own, so that training may change it.
    pub fn make_trainable(&mut self) {
        if let Storage::Stored(..) = self.storage {
            self.storage = Storage::Owned(self.to_f32());
            (self.order, self.columns, self.row_scales) = (Order::ByRows, None, None);
            (self.is_rotated, self.low_rank) = (false, None);
        }
    }

    /// The elements, if they are ours to change.
    pub fn values_mut(&mut self) -> Option<&mut [f32]> {
        match &mut self.storage {
            Storage::Stored(..) => None,
            Storage::Owned(values) => Some(values),
        }
    }

    /// The elements, if they are f32 of our own.
    pub fn values(&self) -> Option<&[f32]> {
        match &self.storage {
            Storage::Stored(..) => None,
            Storage::Owned(values) => Some(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepackBudget;
    use puna_kernels::quant;

    /// Rows of FP8 are their codes times their factor, wherever they are decoded; what has factors is not its
    /// bytes alone.
    #[test]
    fn fp8_rows_have_their_factors() {
        let stored =
            || Weight::stored(ParamId(0), DType::F8_E4M3, 2, 3, Bytes::new(vec![0x38u8; 6])).unwrap();
        let mut weight = stored().with_row_scales(vec![0.5, -2.0]).unwrap();
        let want = [0.5, 0.5, 0.5, -2.0, -2.0, -2.0];
        assert_eq!((weight.to_f32(), weight.bytes(), weight.is_plain()), (want.to_vec(), None, true));
        let mut row = [0.0; 3];
        weight.matrix().decode_row(Isa::best(), 1, &mut row);
        assert_eq!(row, want[3..]);
        weight.make_trainable();
        assert_eq!((weight.values().unwrap(), weight.to_f32()), (&want[..], want.to_vec()));
        assert!(stored().with_row_scales(vec![1.0; 3]).is_none());
        let plain = Weight::stored(ParamId(0), DType::BF16, 2, 3, Bytes::new(vec![0u8; 12])).unwrap();
        assert!(plain.with_row_scales(vec![1.0; 2]).is_none());
    }

    /// Inputs that are rotated or taken in another order, and what an adapter adds, change products as they
    /// change the elements; the sum of ranks is taken apart.
    #[test]
    fn products_are_those_of_the_elements() {
        use crate::{Graph, Workspace};
        let (rows, cols, rank) = (5, 32, 3);
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 37 + seed * 11) % 97) as f32 / 97.0 - 0.5).collect()
        };
        let stored = |rows, cols, seed| {
            let bytes = f32_bytes(&values(rows * cols, seed)).to_vec();
            Weight::stored(ParamId(0), DType::F32, rows, cols, Bytes::new(bytes)).unwrap()
        };
        let plain = || stored(rows, cols, 1);
        let columns: Vec<u32> = (0..cols as u32).map(|i| (i * 5 + 3) % cols as u32).collect();
        let adapted =
            |weight: Weight| weight.with_low_rank(stored(rank, cols, 2), stored(rows, rank, 3), 2.5);
        let x = values(4 * cols, 4);
        for weight in [
            plain().with_rotated_inputs(),
            adapted(plain()),
            plain().with_columns(columns.clone()).and_then(Weight::with_rotated_inputs).and_then(adapted),
        ] {
            let weight = weight.unwrap();
            assert!(!weight.is_plain() && weight.bytes().is_none());
            let elements = weight.to_f32();
            let cpu = Cpu::new(Isa::best(), 2);
            let workspace = Workspace::default();
            let mut graph = Graph::inference(&cpu, &workspace);
            let input = graph.constant(4, cols, |out| out.copy_from_slice(&x));
            let y = graph.linear(&input, &weight);
            for (i, got) in y.values().iter().enumerate() {
                let (x, row) = (&x[i / rows * cols..][..cols], &elements[i % rows * cols..][..cols]);
                let want: f64 = x.iter().zip(row).map(|(x, w)| *x as f64 * *w as f64).sum();
                assert!((*got as f64 - want).abs() < 1e-5, "{i}: {got}, {want}");
            }
            let mut trained = weight.clone();
            trained.make_trainable();
            assert!(trained.is_plain() && trained.to_f32() == elements);
        }
        assert!(stored(5, 24, 1).with_rotated_inputs().is_none());
        assert!(plain().with_low_rank(stored(rank, cols, 2), stored(rows, 2, 3), 1.0).is_none());
        assert!(plain().with_low_rank(stored(rank, 31, 2), stored(rows, rank, 3), 1.0).is_none());
    }

    /// A matrix is repacked after some products with few rows, if there is memory for it, and gives the same
    /// bits.
    #[test]
    fn repacked_when_it_was_used_a_while() {
        let (rows, cols) = (40, 256);
        let values: Vec<f32> = (0..rows * cols).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
        let mut bytes = vec![0; DType::Q4_K.bytes_of(rows * cols).unwrap()];
        quant::encode(DType::Q4_K, &values, &mut bytes);
        let weight = || {
            let bytes = Bytes::new(bytes.clone());
            Weight::stored(ParamId(3), DType::Q4_K, rows, cols, bytes).unwrap()
        };
        let cpu = Cpu::new(Isa::best(), 2);
        let options = |bytes| RunOptions { activations: Activations::Int8, repack: RepackBudget::new(bytes) };
        let needed = weight().repack_bytes(Activations::Int8);
        assert_eq!(needed, 64 * DType::Q4_K.bytes_of(cols).unwrap());
        for (room, n_rows, is_repacked) in [(needed, 1, true), (needed - 1, 1, false), (needed, 9, false)] {
            let (weight, options) = (weight(), options(room));
            for n in 0..40 {
                weight.count_use(&cpu, &options, n_rows);
                assert!(n > 4 || weight.copy().is_none());
            }
            assert_eq!(weight.fastest_matrix(&weight.copy()).is_repacked(), is_repacked);
        }
        let weight = weight();
        let product = |matrix: Matrix| {
            let mut y = vec![0.0; 2 * rows];
            let x = &values[..2 * cols];
            puna_kernels::matmul::matmul_nt(&cpu, x, cols, Activations::Int8, &[matrix], &mut [&mut y]);
            y
        };
        let before = product(weight.matrix());
        // A copy that goes makes room for the next one.
        let options = options(needed);
        for _ in 0..2 {
            weight.repack(&cpu, &options);
            let copy = weight.copy();
            weight.drop_copy(&options);
            assert!(copy.is_some() && weight.copy().is_none());
            assert_eq!(product(weight.fastest_matrix(&copy)), before);
        }
        assert_eq!(weight.repack_bytes(Activations::F32), 0);
    }
}
