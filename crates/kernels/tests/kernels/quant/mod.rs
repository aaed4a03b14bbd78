//! Tests over all formats: published vectors, every instruction set against the scalar definition, error
//! bounds.

mod affine;
mod bnb4;
mod f8_e4m3;
mod ggml_blocks;
mod iq4_nl;
mod mxfp4;
mod scale_min;

use std::marker::PhantomData;

use crate::test_data::Random;
use puna_kernels::isa::Kernel;
use puna_kernels::quant::coded::{self, Coded, StoredBlocks};
use puna_kernels::quant::format::Format;
use puna_kernels::quant::{
    ForCoded, ForFormat, decode, decode_rounded, decode_with, encode, encode_with, for_coded, for_format,
};
use puna_kernels::simd::{Rows16, Scalar};
use puna_kernels::{DType, Isa};

/// Equal bits, or both NaN.
#[track_caller]
fn assert_same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan();
        assert!(same, "{what}: element {i} is {g:e}, expected {w:e}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn encoded(dtype: DType, x: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xa5; dtype.bytes_of(x.len()).unwrap()];
    encode(dtype, x, &mut bytes);
    bytes
}

fn decoded(isa: Isa, dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut x = vec![f32::NAN; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    decode_with(isa, dtype, bytes, &mut x);
    x
}

/// The blocks that ggml's reference encoders make of two short ramps.
#[test]
fn encoders_give_the_reference_blocks() {
    let ramp: Vec<f32> = (0..32).map(|i| (i as f32 - 20.0) / 4.0).collect();
    let scattered: Vec<f32> = (0..256).map(|i| ((37 * i) % 256 - 128) as f32 / 64.0).collect();
    let whole = [
        (DType::Q4_0, "00396070718182829293a3a4a4b4b5c5c6c6"),
        (DType::Q4_1, "223800c580809191a2a2b3b3c4c4d5d5e6e6f7f7"),
        (DType::Q5_0, "00350000f0ffd0e1e2f203142526364758696a7a8b9c"),
        (DType::Q5_1, "003400c50000ffff00112233445566778899aabbccddeeff"),
        (DType::Q8_0, "0a2981878e949aa1a7adb4bac0c7cdd4dae0e7edf3fa00060d131920262c33394046"),
        (DType::IQ4_NL, "e22860607071818192a2a2b3b3c3c4c4d5d5"),
        (DType::MXFP4, "7fae9e9e0e0e0e1d1d2d2d3c3c4c4b4b5a"),
    ];
    for (dtype, want) in whole {
        assert_eq!(hex(&encoded(dtype, &ramp)), want, "{dtype}");
    }
    let super_blocks = [
        (
            DType::Q2_K,
            "ffefdfdfbfceefdfdfcfdeffefdfcfbfc8181d6162b687c8191d6266b787c8192d6176b68bd81c2d6176868bd81d\
             2d626176869bd81d2d6276879bd82d6172b6868bd81c2165768a9bdc2d2166768b9b002d4430",
        ),
        (
            DType::Q3_K,
            "dec6062039f9ffdec6062139f9dfdec644637bfb9f9c8460637bff9f9c046063e4194ea7194eb3e4194ee4194eb3\
             e41942ec1946b3ec15b2ec1976b3ec05b3ec643bce503bce9d643b8d643bce91643bbd641bceb1640ab1641bceb1\
             64cab164a5a6305b4bbda5b53cfcc0c391a4",
        ),
        (
            DType::Q4_K,
            "9c1c1c28f4f4fff5fef7fffb44df9423a0c2f5072a5c7fa0c3f5083a5d8fa0d3f5083a5d8fa1d3f5183a6d8fa1d3\
             f618e406285a7caec2e406385a7caec2f406385a8caec2f406385a8ca0d2f416386a274a6c8fa0c2e5274a6c8fa0\
             c305284a6c8fa0c305284a6d8fa1c305284a6d8f5c7fa0c2f5073a5c8fa0d3f5083a5c8fa0d3f5083a5d8fa1d3f5\
             183a6d8fb1d3",
        ),
        (
            DType::Q5_K,
            "21181028fafafffafff7fefd5aefaa294a5296b4a52d694a5296b4a52d494a5296b5ad6d495ad296b5ad694b5ad2\
             96b53085da0f54a9fe4095da0f54a9fe4196eb1065bafe4196eb1065ba0f52a7fb10d80c51a5fa4e93e81d51a6fa\
             4f94e81d61b60b5fa4f91d62b60b50a5f92e72c74e83d81d60a5fa4f94d92e60b50a4f94e92e71b60b5095e92e71\
             c61b50a5ea3f98ed4095ea0f54a9fe4095ea0f54a9fe4196eb1065b90e51a6fb1065ba0f52a7",
        ),
        (
            DType::Q6_K,
            "0079d34ca51e97016ad33da60f88f25bc33da7117be04ab42e98f26cd14bb51f9903ad31db650faa14be42ec7610\
             aa25a24de3993fd50bb15cf2984ee41ab06b10b60ba14ee4892fc51bb05df3993ed4fb51ab0167ce24ea40aaf057\
             bd13d93098f15bb41dc62f89e24ba40eb7107ad34cb52f88f06ad33da61079e15ac43d97f82c1d514286f7f82c1d\
             514286fbe82c115d4e8bf7e420115d4ebbf7e420115db27544081bdfeeb17544081bdfe2b17574382bef92814574\
             382fdf92814574387f75738b85807a718f897f7b758d8b811010",
        ),
        (
            DType::IQ4_XS,
            "1910c33c4ed0f33c4071a4d6fa0c2e4072a4d7fa0d2f407205f2d0bf8e4b2805f2d0bf7e4b2804f27d4a2704e2c0\
             9e6c4a27f4e2c09e6c3a2f4072b4d7fa0d2f4082b4d7fa0d2f502805f2d0af7d4b2804f2d0af7d4b270461a3c6e9\
             0c2e4f71a4d6e90c2e4072a40d2f4082b4e7fb0d2f5082b4e8fb0d2f4b2704f2d0af7d4a1704f2d0af6d3a17",
        ),
    ];
    for (dtype, want) in super_blocks {
        assert_eq!(hex(&encoded(dtype, &scattered)), want, "{dtype}");
    }
}

/// Random bytes are valid blocks: all codes, scales of every size, infinite and NaN ones among them.
#[test]
fn every_instruction_set_decodes_the_same_bits() {
    let mut random = Random(1);
    for isa in Isa::available() {
        for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
            let what = format!("{dtype} with {}", isa.name());
            for blocks in (0..=50).chain([300]) {
                let bytes = random.bytes(blocks * dtype.block_bytes());
                let want = decoded(Isa::SCALAR, dtype, &bytes);
                assert_same(&decoded(isa, dtype, &bytes), &want, &what);
            }
        }
    }
}

/// Runs the versions over vectors in plain Rust, which defines what their operations mean.
struct PlainVectors<'a>(&'a [u8], &'a mut [f32], &'a mut [u8]);

impl ForFormat for PlainVectors<'_> {
    type Output = ();
    fn run<T: Format>(self) {
        let PlainVectors(blocks, out, encoded) = self;
        T::decode_wide(Scalar, blocks, out);
        T::encode_wide(Scalar, out, encoded);
    }
}

#[test]
fn plain_vectors_give_the_same_bits() {
    let mut random = Random(6);
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        for blocks in (0..=20).chain([70]) {
            let bytes = random.bytes(blocks * dtype.block_bytes());
            let want = decoded(Isa::SCALAR, dtype, &bytes);
            let (mut got, mut got_bytes) = (vec![f32::NAN; want.len()], vec![0x5a; bytes.len()]);
            for_format(dtype, PlainVectors(&bytes, &mut got, &mut got_bytes));
            assert_same(&got, &want, dtype.name());
            assert_eq!(got_bytes, encoded(dtype, &got), "{dtype}");
        }
    }
}

/// Each byte pair of a block in turn takes all 65536 values: scales, minima, codes and fields alike.
#[test]
fn every_instruction_set_decodes_every_scale() {
    let mut random = Random(2);
    for dtype in DType::WEIGHTS.into_iter().filter(|dtype| dtype.block_len() > 1) {
        let mut starts: Vec<usize> = vec![0, 2, dtype.block_bytes() - 4, dtype.block_bytes() - 2];
        starts.dedup();
        for start in starts {
            let block = random.bytes(dtype.block_bytes());
            for bits in (0..=u16::MAX).step_by(if start == 0 || dtype.block_len() == 32 { 1 } else { 7 }) {
                let mut block = block.clone();
                block[start..start + 2].copy_from_slice(&bits.to_le_bytes());
                let want = decoded(Isa::SCALAR, dtype, &block);
                for isa in Isa::available() {
                    assert_same(&decoded(isa, dtype, &block), &want, &format!("{dtype} with {}", isa.name()));
                }
            }
        }
    }
    let all_halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [DType::F16, DType::BF16] {
        let want = decoded(Isa::SCALAR, dtype, &all_halves);
        for isa in Isa::available() {
            assert_same(&decoded(isa, dtype, &all_halves), &want, &format!("{dtype} with {}", isa.name()));
        }
    }
}

/// Rows of every number of blocks, and values of every kind.
#[test]
fn every_instruction_set_encodes_the_same_bytes() {
    let mut random = Random(3);
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        for blocks in 0..=35 {
            if blocks > 4 && dtype.block_len() == 256 {
                continue;
            }
            let len = blocks * dtype.block_len();
            let scale = 2f32.powi((random.next() % 60) as i32 - 30);
            let mut x: Vec<f32> = random.floats(len).iter().map(|x| x * scale).collect();
            if blocks % 3 == 2 {
                x[len / 2..].fill(0.0);
            }
            if (dtype.block_len() == 1 || dtype == DType::Q8_0) && blocks % 4 == 3 {
                x = (0..len).map(|_| f32::from_bits(random.next() as u32)).collect();
            }
            let want = encoded(dtype, &x);
            for isa in Isa::available() {
                let mut got = vec![0x5a; want.len()];
                encode_with(isa, dtype, &x, &mut got);
                assert_eq!(got, want, "{blocks} blocks of {dtype} with {}", isa.name());
            }
        }
    }
}

/// Root mean square error of a format over the deviation of normal values: as measured when the encoders had
/// been found to give ggml's blocks, within 3 %. Those of the IQ1, IQ2 and IQ3 types are a search of our own.
#[test]
fn encoding_loses_what_the_format_must() {
    let x = Random(4).floats(64 * 256);
    let errors = [
        (DType::F32, 0.0),
        (DType::F16, 0.00021),
        (DType::BF16, 0.00166),
        (DType::Q8_0, 0.00528),
        (DType::Q6_K, 0.01745),
        (DType::Q5_0, 0.04177),
        (DType::Q5_1, 0.03751),
        (DType::Q5_K, 0.03589),
        (DType::Q4_0, 0.0849),
        (DType::Q4_1, 0.07762),
        (DType::Q4_K, 0.07043),
        (DType::IQ4_NL, 0.0755),
        (DType::IQ4_XS, 0.07596),
        (DType::MXFP4, 0.11444),
        (DType::Q3_K, 0.14948),
        (DType::Q2_K, 0.29322),
        (DType::NVFP4, 0.09539),
        (DType::IQ3_S, 0.1302),
        (DType::IQ3_XXS, 0.17808),
        (DType::IQ2_S, 0.23748),
        (DType::IQ2_XS, 0.28441),
        (DType::IQ2_XXS, 0.32819),
        (DType::IQ1_M, 0.41073),
        (DType::IQ1_S, 0.44167),
        (DType::Q1_0, 0.59572),
        (DType::Q2_0, 0.71759),
        (DType::TQ1_0, 0.80171),
        (DType::TQ2_0, 0.80171),
    ];
    assert_eq!(errors.len(), DType::WEIGHTS.len());
    for (dtype, measured) in errors {
        let mut y = vec![0.0; x.len()];
        decode(dtype, &encoded(dtype, &x), &mut y);
        let square: f64 = x.iter().zip(&y).map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum();
        let error = (square / x.len() as f64).sqrt();
        assert!((error - measured).abs() <= 0.03 * measured, "{dtype}: {error:.5}, expected {measured}");
    }
}

/// Constant, tiny, huge and non-finite rows do not panic, and zeros stay zeros.
#[test]
fn odd_rows_encode_without_panic() {
    let odd = [
        0.0,
        -0.0,
        1.0,
        -3.5,
        1e-40,
        -1e-40,
        1e-20,
        7e4,
        3e38,
        -3e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        for a in odd {
            for b in odd {
                let x: Vec<f32> = (0..256).map(|i| if i % 7 == 3 { b } else { a }).collect();
                let y = decoded(Isa::SCALAR, dtype, &encoded(dtype, &x));
                if a == 0.0 && b == 0.0 {
                    assert!(y.iter().all(|y| *y == 0.0), "{dtype}");
                }
            }
        }
    }
}

/// A NaN in a row stored in a KV cache's types is not hidden.
#[test]
fn nan_survives_in_the_types_of_the_cache() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q8_0] {
        for isa in Isa::available() {
            let mut x = vec![1.0; 64];
            x[37] = f32::NAN;
            let mut bytes = vec![0; dtype.bytes_of(64).unwrap()];
            encode_with(isa, dtype, &x, &mut bytes);
            assert!(decoded(isa, dtype, &bytes)[37].is_nan(), "{dtype} with {}", isa.name());
        }
    }
}

#[test]
#[should_panic(expected = "elements of Q4_0")]
fn lengths_must_agree() {
    decode(DType::Q4_0, &[0; 17], &mut [0.0; 32]);
}

/// Unpacks blocks of sixteen rows with every instruction set, and compares scale (code - zero) + minimum with
/// `decode_rounded`.
struct Unpacked(DType);

impl ForCoded for Unpacked {
    type Output = ();
    fn run<T: Coded>(self) {
        let (len, block_bytes) = (T::LEN, T::BYTES);
        let stride = block_bytes + 7;
        let mut random = Random(5);
        for round in 0..20 {
            let mut rows = random.bytes(16 * stride);
            if round == 0 {
                rows.fill(0);
            }
            for isa in Isa::available() {
                let (codes, scales, minima) = isa.run(Unpack::<T>(&rows, stride, PhantomData));
                for r in 0..16 {
                    let mut want = vec![0.0; len];
                    decode_rounded(self.0, &rows[r * stride..r * stride + block_bytes], &mut want);
                    for (i, want) in want.into_iter().enumerate() {
                        let code = codes[64 * (i / 4) + 4 * r + i % 4];
                        assert!(code <= T::CODES.max);
                        let (sub, what) = (i / T::SUB, format!("{} {} {r} {i}", self.0, isa.name()));
                        let whole = (code as i32 - T::CODES.zero as i32) as f32;
                        let mut got = scales[16 * sub + r] * whole;
                        if T::MINIMA {
                            got += minima[16 * sub + r];
                        }
                        assert!(got == want || got.is_nan() && want.is_nan(), "{what}: {got}, {want}");
                    }
                }
            }
        }
    }
}

/// Codes `[quad, row, 4]`, scales and minima `[sub-block, row]` of sixteen rows.
type Parts = (Vec<u8>, Vec<f32>, Vec<f32>);

struct Unpack<'a, T>(&'a [u8], usize, PhantomData<T>);

impl<T: Coded> Kernel for Unpack<'_, T> {
    type Output = Parts;
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) -> Parts {
        let (len, subs) = (T::LEN, T::LEN / T::SUB);
        let mut parts = Kept { s, parts: (vec![0; 16 * len], vec![0.0; 16 * subs], vec![0.0; 16 * subs]) };
        // SAFETY: sixteen rows of whole blocks.
        let blocks = unsafe { StoredBlocks::new(s, self.0.as_ptr(), self.1, T::BYTES) };
        T::unpack(s, blocks, &mut parts);
        parts.parts
    }
}

/// Keeps what is unpacked.
struct Kept<S> {
    s: S,
    parts: Parts,
}

impl<S: Rows16> coded::Unpacked<S> for Kept<S> {
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[S::Bytes; 4]; SIXTEENS]) {
        for (t, &codes) in codes.as_flattened().iter().enumerate() {
            let out = &mut self.parts.0[64 * (4 * SIXTEENS * i + t)..][..64];
            // SAFETY: 64 bytes.
            unsafe { self.s.store_bytes(out.as_mut_ptr(), codes) };
        }
    }
    fn put_scale(&mut self, i: usize, scale: S::Floats) {
        // SAFETY: sixteen floats.
        unsafe { self.s.store_floats(self.parts.1[16 * i..][..16].as_mut_ptr(), scale) };
    }
    fn put_minimum(&mut self, i: usize, minimum: S::Floats) {
        // SAFETY: sixteen floats.
        unsafe { self.s.store_floats(self.parts.2[16 * i..][..16].as_mut_ptr(), minimum) };
    }
}

/// The type that a format says it is.
struct TypeOf;

impl ForFormat for TypeOf {
    type Output = DType;
    fn run<T: Format>(self) -> DType {
        T::DTYPE
    }
}

#[test]
fn rows_of_the_table_name_the_format_of_their_type() {
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        assert_eq!(for_format(dtype, TypeOf), dtype);
    }
}

#[test]
fn unpacked_codes_are_the_decoded_values() {
    let mut n = 0;
    for dtype in DType::WEIGHTS.into_iter().chain(DType::JOINED) {
        n += for_coded(dtype, Unpacked(dtype)).is_ok() as usize;
    }
    let plain = [DType::F8_E4M3, DType::F8_B];
    assert_eq!(n, DType::WEIGHTS.len() - 3 + DType::JOINED.len() - plain.len());
}
