//! A small vector of f32, the same on every instruction set, on which the float kernels are written once.
//!
//! A value of a [`Simd`] type is a proof that the CPU has its instructions, so its arithmetic is safe to
//! call; only loads and stores through pointers are not. All methods inline into the function that enables
//! the features (see `isa.rs`). [`Scalar`](super::Scalar) is the one-lane case: it lets a kernel run where no
//! vectors exist.

/// One instruction set's vector of f32.
pub trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// f32 values in a vector.
    const LANES: usize;

    fn splat(self, x: f32) -> Self::V;
    /// # Safety
    /// `p` is readable for `LANES` floats (no alignment needed).
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is writable for `LANES` floats (no alignment needed).
    unsafe fn store(self, p: *mut f32, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once (twice on scalar).
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// 2^n for integral n in -126..=127.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `a * 2^n` for integral n in -126..=127.
    #[inline(always)]
    fn mul_pow2(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul(a, self.pow2(n))
    }
    /// The sum of the lanes, in an order that depends only on the instruction set.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane.
    fn max_lane(self, a: Self::V) -> f32;

    /// What [`Simd::load_i8s`] adds to each byte.
    const BYTE_OFFSET: f32 = 0.0;
    /// `LANES` unsigned bytes as floats, each [`Simd::BYTE_OFFSET`] more than it is.
    ///
    /// # Safety
    /// `p` is readable for `LANES` bytes.
    unsafe fn load_i8s(self, p: *const u8) -> Self::V;
    /// `LANES` IEEE halves as floats.
    ///
    /// # Safety
    /// `p` is readable for `LANES` halves (no alignment needed).
    unsafe fn load_halves(self, p: *const u16) -> Self::V;
    /// Prefetches the cache line of an address, which need not be valid, to the second-level cache. (The
    /// first level can wait for too few lines at a time to keep memory busy.)
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    /// The first `len <= LANES` floats at `p`, and zeros.
    ///
    /// # Safety
    /// `p` is readable for `len` floats.
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, len: usize) -> Self::V {
        let mut lanes = [0f32; 16];
        debug_assert!(len <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the caller vouches for `len` floats at `p`; the array holds 16.
        unsafe {
            std::ptr::copy_nonoverlapping(p.cast::<u8>(), lanes.as_mut_ptr().cast(), 4 * len);
            self.load(lanes.as_ptr())
        }
    }

    /// Stores the first `len <= LANES` lanes.
    ///
    /// # Safety
    /// `p` is writable for `len` floats.
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: Self::V, len: usize) {
        let mut lanes = [0f32; 16];
        debug_assert!(len <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the caller vouches for `len` floats at `p`; the array holds 16.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr().cast::<u8>(), p.cast(), 4 * len);
        }
    }

    /// The first `n <= LANES` lanes of `a`, and after them those of `rest`.
    #[inline(always)]
    fn first(self, a: Self::V, n: usize, rest: Self::V) -> Self::V {
        let mut lanes = [0f32; 16];
        debug_assert!(n <= Self::LANES && Self::LANES <= 16);
        // SAFETY: the array holds 16 floats.
        unsafe {
            self.store(lanes.as_mut_ptr(), rest);
            self.store_partial(lanes.as_mut_ptr(), a, n);
            self.load(lanes.as_ptr())
        }
    }

    /// [`Simd::load`] where `n` is `LANES`, else [`Simd::load_partial`].
    ///
    /// # Safety
    /// `p` is readable for `n <= LANES` floats.
    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.load(p) } else { self.load_partial(p, n) } }
    }

    /// [`Simd::store`] where `n` is `LANES`, else [`Simd::store_partial`].
    ///
    /// # Safety
    /// `p` is writable for `n <= LANES` floats.
    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::LANES { self.store(p, v) } else { self.store_partial(p, v, n) } }
    }

    /// The sums of four vectors' lanes, each with the bits of [`Simd::sum`].
    #[inline(always)]
    fn sum4(self, a: [Self::V; 4]) -> [f32; 4] {
        [self.sum(a[0]), self.sum(a[1]), self.sum(a[2]), self.sum(a[3])]
    }

    /// e^x with a relative error below 2 ulp for x in -87..=88; clamped to that range outside. NaN stays NaN.
    ///
    /// Cody-Waite reduction x = n ln 2 + r, |r| <= ln 2 / 2, then the Taylor polynomial of degree 7.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        const LN2_HI: f32 = 355.0 / 512.0; // ln 2 to 9 bits: n * LN2_HI is exact
        const LN2_LO: f32 = -2.121_944_4e-4;
        // In this order the x86 instructions, which return their second operand for NaN, let it through.
        let x = self.min(self.splat(88.0), self.max(self.splat(-87.0), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-LN2_HI), x);
        let r = self.fma(n, self.splat(-LN2_LO), r);
        let mut p = self.splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.mul_pow2(p, n)
    }

    /// 2^x for x up to 127, within an ulp and 2^-99 (which matters below -75). It is 0 from -100 down,
    /// because products of numbers near the smallest float take a hundred times as long. NaN stays NaN, and
    /// 2^0 is 1.
    ///
    /// 2^n times the polynomial of degree 6 that is nearest to 2^r, |r| <= 1/2, among those that are 1 at
    /// zero (relative error 1.5e-8).
    #[inline(always)]
    fn exp2(self, x: Self::V) -> Self::V {
        let x = self.max(self.splat(-100.0), x); // In this order NaN passes; see `exp`.
        let n = self.round(x);
        let r = self.sub(x, n);
        let mut p = self.splat(1.499_218_3e-4);
        for c in [1.338_340_3e-3, 9.619_341e-3, 5.550_371e-2, 2.402_264_5e-1, 6.931_472e-1, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.sub(self.mul_pow2(p, n), self.splat(f32::from_bits((127 - 100) << 23)))
    }
}

/// The parts of `len` floats that fill a vector each, and what remains: (offset, count) pairs for
/// [`Simd::load_n`] and [`Simd::store_n`].
///
/// A loop over these, rather than a function that takes closures: a closure is compiled without the
/// instruction set of the function that calls it, and vector arithmetic in one that is not inlined becomes
/// function calls.
#[inline(always)]
pub fn vectors<S: Simd>(_: S, len: usize) -> Vectors<S> {
    Vectors { offset: 0, len, simd: std::marker::PhantomData }
}

pub struct Vectors<S> {
    offset: usize,
    len: usize,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd> Iterator for Vectors<S> {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.offset >= self.len {
            return None;
        }
        let part = (self.offset, S::LANES.min(self.len - self.offset));
        self.offset += S::LANES;
        Some(part)
    }
}
