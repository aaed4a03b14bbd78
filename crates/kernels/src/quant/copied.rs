//! Copies of the types whose codes take longer to unpack than to read from memory: IQ1, IQ2 and IQ3, whose points are
//! looked up, and TQ1_0, whose digits to the base three are multiplied out.
//!
//! Their codes are two to four bits long all the same. So a copy in the order of products (see `matmul/repack.rs`) has
//! those: the same codes, scales and sums, bit for bit, at 2.1 to 4.3 bits a weight instead of 1.6 to 3.4.
//!
//! ```text
//! unit: f32 | IQ: a nibble for each sub-block | indexes | IQ1: 32 bits, whether each eight elements are shifted up
//! IQ: scale = unit (2 nibble + 1); TQ1_0: scale = unit
//! ```
//! Of indexes the low two bits come first: of elements 16 w + 4 k + i in bits 2 k.. of byte i of word w. The third ones of
//! IQ2 follow: of elements 32 w + 4 k + i in bit k of byte i of word w. IQ3 has all four bits together: of elements 8 w + 4 k
//! + i in bits 4 k.. of byte i of word w.

use std::marker::PhantomData;

use super::coded::{Blocks, Coded, Unpacked, moved};
use super::format::Block;
use super::lattice::IQ2_LEVELS;
use super::{ForCoded, ForCopied, iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, tq1_0};
use crate::dtype::DType;
use crate::simd::{CodeRange, Rows16};

/// A type of blocks of 256 elements whose codes have indexes.
pub(crate) trait Indexed: Coded {
    /// Bits of an index: two, three or four.
    const BITS: usize;
    /// Where in a code they are; codes differ in them, and in whether eight elements are shifted.
    const AT: i32;
    /// The codes, by index; those that are shifted up follow those that are not by four.
    const VALUES: [u8; 16];
    /// Where in a code it says that elements are shifted, if they may be.
    const SHIFTED_AT: Option<i32> = None;
    /// Whether scales are told by fields; else sub-blocks have that of the block.
    const HAS_FIELDS: bool = true;
}

/// Copies of a type.
pub(crate) struct Copied<T>(PhantomData<T>);

impl<T: Indexed> Copied<T> {
    const SUBS: usize = 256 / T::SUB;
    /// Where in a block indexes begin, and where they end.
    const INDEXES: [usize; 2] = {
        let start = 4 + if T::HAS_FIELDS { Self::SUBS / 2 } else { 0 };
        [start, start + 32 * T::BITS]
    };
    /// Whether an index is the code.
    const IS_CODE: bool = T::AT == 0 && T::VALUES[1] == 1;
}

impl<T: Indexed> Block for Copied<T> {
    const LEN: usize = 256;
    const BYTES: usize = Self::INDEXES[1] + if T::SHIFTED_AT.is_some() { 4 } else { 0 };
}

// SAFETY: the type that is copied puts all of its codes and scales; the test of copies finds them put here too.
unsafe impl<T: Indexed> Coded for Copied<T> {
    const SUB: usize = T::SUB;
    const GROUP: usize = T::GROUP;
    const CODES: CodeRange = T::CODES;
    const MINIMA: bool = false;
    const IS_COPY: bool = true;

    #[inline(always)]
    fn unpack<R: Rows16>(r: R, blocks: impl Blocks<R>, out: &mut impl Unpacked<R>) {
        const { assert!(!T::MINIMA && T::LEN == 256) };
        let unit = r.float_bits(blocks.word(0));
        for first in (0..Self::SUBS).step_by(8) {
            let mut fields = T::HAS_FIELDS.then(|| blocks.word(4 + first / 2));
            for sub in first..first + 8 {
                match &mut fields {
                    None => out.put_scale(sub, unit),
                    Some(fields) => {
                        out.put_field(r, sub, unit, r.and_ints(*fields, 15));
                        *fields = r.shr_ints::<4>(*fields);
                    }
                }
            }
        }
        let [start, end] = Self::INDEXES;
        let mut ups = T::SHIFTED_AT.map(|_| blocks.word(end));
        for b in 0..8 {
            let mut codes = [[r.int_bytes(blocks.word(0)); 4]; 2];
            let codes_of_quads = codes.as_flattened_mut();
            if T::BITS == 4 {
                let words = blocks.chunk(start + 16 * b);
                for (k, code) in codes_of_quads.iter_mut().enumerate() {
                    *code = moved(r, words[k / 2], 4 * (k as i32 % 2), 15);
                }
            } else {
                let words = blocks.chunk(start + 16 * (b / 2));
                for (k, code) in codes_of_quads.iter_mut().enumerate() {
                    *code = moved(r, words[2 * (b % 2) + k / 4], 2 * (k as i32 % 4), 3);
                }
            }
            if T::BITS == 3 {
                let thirds = r.int_bytes(blocks.word(start + 64 + 4 * b));
                for (k, code) in codes_of_quads.iter_mut().enumerate() {
                    *code = r.or(*code, moved(r, thirds, k as i32 - 2, 4));
                }
            }
            if let Some(ups) = &mut ups {
                for two in codes_of_quads.chunks_exact_mut(2) {
                    let up = r.int_bytes(r.words(&FOUR_IF_ODD, *ups));
                    *ups = r.shr_ints::<1>(*ups);
                    two.iter_mut().for_each(|code| *code = r.or(*code, up));
                }
            }
            if !Self::IS_CODE {
                codes_of_quads.iter_mut().for_each(|code| *code = r.lookup(&T::VALUES, *code));
            }
            match T::SUB {
                32 => out.put_codes(b, codes),
                _ => {
                    out.put_codes(2 * b, [codes[0]]);
                    out.put_codes(2 * b + 1, [codes[1]]);
                }
            }
        }
    }
}

/// 4 in each byte for an odd number.
const FOUR_IF_ODD: [u32; 16] = {
    let (mut table, mut n) = ([0; 16], 1);
    while n < 16 {
        table[n] = 0x0404_0404;
        n += 2;
    }
    table
};

impl<T: Indexed> Copied<T> {
    /// Writes a block of each of sixteen rows.
    #[inline(always)]
    pub fn copy<R: Rows16>(r: R, stored: impl Blocks<R>, out: &mut [u8]) {
        let zero = r.int_bytes(r.and_ints(stored.word(0), 0));
        let mut copy = Copy::<R, T> {
            r,
            format: PhantomData,
            unit: r.splat_float(0.0),
            fields: [r.ints(zero); 2],
            n_fields: 0,
            indexes: [zero; 32],
            ups: r.ints(zero),
            n_codes: 0,
        };
        T::unpack(r, stored, &mut copy);
        assert!(copy.n_fields == Self::SUBS && copy.n_codes == 256 && out.len() == 16 * Self::BYTES);
        let (unit, mut rest) = out.split_at_mut(64);
        // SAFETY: sixteen floats.
        unsafe { r.store_floats(unit.as_mut_ptr().cast(), copy.unit) };
        let mut put = |bytes| {
            // SAFETY: 64 bytes.
            unsafe { r.store_bytes(rest.split_off_mut(..64).expect("blocks have room").as_mut_ptr(), bytes) }
        };
        copy.fields[..if T::HAS_FIELDS { Self::SUBS / 8 } else { 0 }]
            .iter()
            .for_each(|&fields| put(r.int_bytes(fields)));
        copy.indexes[..8 * T::BITS].iter().for_each(|&indexes| put(indexes));
        if T::SHIFTED_AT.is_some() {
            put(r.int_bytes(copy.ups));
        }
    }
}

/// A block of each of sixteen rows while it is copied.
struct Copy<R: Rows16, T> {
    r: R,
    format: PhantomData<T>,
    unit: R::Floats,
    fields: [R::Ints; 2],
    n_fields: usize,
    indexes: [R::Bytes; 32],
    ups: R::Ints,
    n_codes: usize,
}

impl<R: Rows16, T: Indexed> Unpacked<R> for Copy<R, T> {
    #[inline(always)]
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]) {
        assert!(i * T::SUB == self.n_codes); // In their order.
        let r = self.r;
        for &code in codes.as_flattened() {
            let quad = self.n_codes / 4;
            let mut put = |word: usize, at: i32, mask: u8, to: i32| {
                let bits = moved(r, code, at - to, mask << to);
                self.indexes[word] = r.or(self.indexes[word], bits);
            };
            match T::BITS {
                4 => put(quad / 2, T::AT, 15, 4 * (quad as i32 % 2)),
                _ => put(quad / 4, T::AT, 3, 2 * (quad as i32 % 4)),
            }
            if T::BITS == 3 {
                put(16 + quad / 8, T::AT + 2, 1, quad as i32 % 8);
            }
            if let Some(at) = T::SHIFTED_AT
                && quad.is_multiple_of(2)
            {
                let up = r.ints(moved(r, code, at, 1));
                self.ups = r.or_ints(r.shr_ints::<1>(self.ups), r.shl_ints::<31>(up));
            }
            self.n_codes += 4;
        }
    }

    #[inline(always)]
    fn put_field(&mut self, r: R, i: usize, unit: R::Floats, field: R::Ints) {
        assert!(i == self.n_fields); // In their order.
        self.unit = unit;
        let fields = &mut self.fields[i / 8];
        *fields = r.or_ints(r.shr_ints::<4>(*fields), r.shl_ints::<28>(field));
        self.n_fields += 1;
    }

    #[inline(always)]
    fn put_scale(&mut self, _: usize, scale: R::Floats) {
        assert!(!T::HAS_FIELDS);
        self.unit = scale;
        self.n_fields += 1;
    }

    fn put_minimum(&mut self, _: usize, _: R::Floats) {
        unreachable!("these types have no minima");
    }
}

/// How far the codes of IQ1 are from their zero: eights, shifted by one.
const IQ1_LEVELS: [u8; 3] = [1, 7, 9];

/// The codes that are some level above or below their zero, by their indexes.
const fn by_index<T: Indexed>(levels: &[u8]) -> [u8; 16] {
    let (mut values, mut i) = ([0; 16], 0);
    while i < 2 * levels.len() {
        let code = match i % 2 {
            0 => T::CODES.zero + levels[i / 2],
            _ => T::CODES.zero - levels[i / 2],
        };
        let shifted = match T::SHIFTED_AT {
            Some(at) => (code >> at & 1) << 2,
            None => 0,
        };
        values[(code >> T::AT) as usize & ((1 << T::BITS) - 1) | shifted as usize] = code;
        i += 1;
    }
    values
}

macro_rules! indexed {
    ($($dtype:ident $format:path, $bits:literal at $at:literal, $values:expr $(, $more:ident)?;)*) => {
        $(impl Indexed for $format {
            const BITS: usize = $bits;
            const AT: i32 = $at;
            const VALUES: [u8; 16] = $values;
            $($more! {})?
        })*

        /// Runs `work` for the format of copies of a type, or returns it where copies have the type's own.
        pub(crate) fn for_copies<W: ForCoded>(dtype: DType, work: W) -> Result<W::Output, W> {
            match dtype {
                $(DType::$dtype => Ok(work.run::<Copied<$format>>()),)*
                _ => Err(work),
            }
        }

        /// Runs `work` for a type whose copies have another format, or returns it.
        pub(crate) fn for_copied<W: ForCopied>(dtype: DType, work: W) -> Result<W::Output, W> {
            match dtype {
                $(DType::$dtype => Ok(work.run::<$format>()),)*
                _ => Err(work),
            }
        }
    };
}

macro_rules! shifted {
    () => {
        const SHIFTED_AT: Option<i32> = Some(1);
    };
}
macro_rules! one_scale {
    () => {
        const HAS_FIELDS: bool = false;
    };
}
indexed! {
    IQ1_S   iq1_s::IQ1_S,     2 at 3, by_index::<Self>(&IQ1_LEVELS), shifted;
    IQ1_M   iq1_m::IQ1_M,     2 at 3, by_index::<Self>(&IQ1_LEVELS), shifted;
    IQ2_XXS iq2_xxs::IQ2_XXS, 3 at 4, by_index::<Self>(&IQ2_LEVELS);
    IQ2_XS  iq2_xs::IQ2_XS,   4 at 4, by_index::<Self>(&IQ2_LEVELS);
    IQ2_S   iq2_s::IQ2_S,     4 at 4, by_index::<Self>(&IQ2_LEVELS);
    IQ3_XXS iq3_xxs::IQ3_XXS, 4 at 3, by_index::<Self>(&iq3_xxs::LEVELS);
    IQ3_S   iq3_s::IQ3_S,     4 at 1, by_index::<Self>(&iq3_s::LEVELS);
    TQ1_0   tq1_0::TQ1_0,     2 at 0, [0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], one_scale;
}
