//! The element types a tensor can be stored in: a row each, from which everything else follows.
//!
//! A quantised type stores `block_len` consecutive elements of a row in `block_bytes` bytes; plain types are
//! blocks of one element. Sizes are those of the GGUF and safetensors formats.

/// The table of types. A row says how a type is called, how many elements a block has and in how many bytes,
/// and whether matrices of weights have it: `Never`, as `Stored` in files, or `Joined` from several of their
/// tensors. Of those that do, it names the format in `quant`, and whether it is `plain` or made of small
/// codes (`coded`).
///
/// It is a table that two modules read without importing each other: `dtypes! { then }` is `then! { rows }`.
/// So below `dtypes! { define }` becomes `define! { F64 "F64" 1 8 Never; F32 "F32" 1 4 Stored plain
/// float::F32; ... }`.
macro_rules! dtypes {
    ($then:ident) => {
        $then! {
            F64     "F64"        1    8   Never;
            F32     "F32"        1    4   Stored  plain float::F32;
            F16     "F16"        1    2   Stored  plain float::F16;
            BF16    "BF16"       1    2   Stored  plain float::BF16;
            F8_E4M3 "F8_E4M3"    1    1   Joined  plain f8_e4m3::F8_E4M3;
            F8_E5M2 "F8_E5M2"    1    1   Never;
            I64     "I64"        1    8   Never;
            I32     "I32"        1    4   Never;
            I16     "I16"        1    2   Never;
            I8      "I8"         1    1   Never;
            U64     "U64"        1    8   Never;
            U32     "U32"        1    4   Never;
            U16     "U16"        1    2   Never;
            U8      "U8"         1    1   Never;
            Bool    "BOOL"       1    1   Never;
            Q4_0    "Q4_0"      32   18   Stored  coded q4_0::Q4_0;
            Q4_1    "Q4_1"      32   20   Stored  coded q4_1::Q4_1;
            Q5_0    "Q5_0"      32   22   Stored  coded q5_0::Q5_0;
            Q5_1    "Q5_1"      32   24   Stored  coded q5_1::Q5_1;
            Q8_0    "Q8_0"      32   34   Stored  coded q8_0::Q8_0;
            Q2_K    "Q2_K"     256   84   Stored  coded q2_k::Q2_K;
            Q3_K    "Q3_K"     256  110   Stored  coded q3_k::Q3_K;
            Q4_K    "Q4_K"     256  144   Stored  coded q4_k::Q4_K;
            Q5_K    "Q5_K"     256  176   Stored  coded q5_k::Q5_K;
            Q6_K    "Q6_K"     256  210   Stored  coded q6_k::Q6_K;
            IQ4_NL  "IQ4_NL"    32   18   Stored  coded iq4_nl::IQ4_NL;
            IQ4_XS  "IQ4_XS"   256  136   Stored  coded iq4_xs::IQ4_XS;
            IQ3_S   "IQ3_S"    256  110   Stored  coded iq3_s::IQ3_S;
            IQ3_XXS "IQ3_XXS"  256   98   Stored  coded iq3_xxs::IQ3_XXS;
            IQ2_S   "IQ2_S"    256   82   Stored  coded iq2_s::IQ2_S;
            IQ2_XS  "IQ2_XS"   256   74   Stored  coded iq2_xs::IQ2_XS;
            IQ2_XXS "IQ2_XXS"  256   66   Stored  coded iq2_xxs::IQ2_XXS;
            IQ1_M   "IQ1_M"    256   56   Stored  coded iq1_m::IQ1_M;
            IQ1_S   "IQ1_S"    256   50   Stored  coded iq1_s::IQ1_S;
            TQ2_0   "TQ2_0"    256   66   Stored  coded tq2_0::TQ2_0;
            TQ1_0   "TQ1_0"    256   54   Stored  coded tq1_0::TQ1_0;
            Q2_0    "Q2_0"      64   18   Stored  coded q2_0::Q2_0;
            Q1_0    "Q1_0"     128   18   Stored  coded q1_0::Q1_0;
            NVFP4   "NVFP4"     64   36   Stored  coded nvfp4::NVFP4;
            MXFP4   "MXFP4"     32   17   Stored  coded mxfp4::MXFP4;
            Q3_Z    "Q3_Z"      32   16   Joined  coded affine::Q3_Z;
            Q4_Z    "Q4_Z"      32   20   Joined  coded affine::Q4_Z;
            Q8_Z    "Q8_Z"      32   36   Joined  coded affine::Q8_Z;
            Q3_M    "Q3_M"      32   16   Joined  coded affine::Q3_M;
            Q6_M    "Q6_M"      32   28   Joined  coded affine::Q6_M;
            Q8_M    "Q8_M"      32   36   Joined  coded affine::Q8_M;
            Q4_F    "Q4_F"      32   20   Joined  coded q4_f::Q4_F;
            F8_B    "F8_B"      32   36   Joined  plain f8_b::F8_B;
            NF4     "NF4"       32   20   Joined  coded bnb4::NF4;
            FP4     "FP4"       32   20   Joined  coded bnb4::FP4;
        }
    };
}
pub(crate) use dtypes;

macro_rules! define {
    ($($dtype:ident $name:literal $len:literal $bytes:literal $weights:ident $($form:ident $format:path)?;)*) => {
        /// How the elements of a tensor are stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum DType {
            $($dtype,)*
        }

        /// The rows of the table, in the order of the types.
        const ROWS: &[Row] = &[$(Row {
            dtype: DType::$dtype,
            name: $name,
            block_len: $len,
            block_bytes: $bytes,
            weights: Weights::$weights,
        },)*];
    };
}
dtypes! { define }

/// What the table says of a type.
struct Row {
    dtype: DType,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    weights: Weights,
}

/// Which matrices of weights have a type.
#[derive(Clone, Copy)]
enum Weights {
    Never,
    Stored,
    Joined,
}

/// How many types have these weights.
const fn n_with(weights: Weights) -> usize {
    let (mut n, mut i) = (0, 0);
    while i < ROWS.len() {
        n += (ROWS[i].weights as usize == weights as usize) as usize;
        i += 1;
    }
    n
}

/// The types that have these weights.
const fn all_with<const N: usize>(weights: Weights) -> [DType; N] {
    let (mut all, mut n, mut i) = ([DType::F32; N], 0, 0);
    while i < ROWS.len() {
        if ROWS[i].weights as usize == weights as usize {
            all[n] = ROWS[i].dtype;
            n += 1;
        }
        i += 1;
    }
    all
}

impl DType {
    /// The types a weight matrix may have in a file: those that decode to f32.
    pub const WEIGHTS: [DType; n_with(Weights::Stored)] = all_with(Weights::Stored);

    /// The types that a weight matrix may have besides: of what checkpoints store in several tensors, put
    /// together, or with a factor for each row beside it.
    pub const JOINED: [DType; n_with(Weights::Joined)] = all_with(Weights::Joined);

    /// Elements per block: 1, 32, 64, 128 or 256.
    pub const fn block_len(self) -> usize {
        ROWS[self as usize].block_len
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> usize {
        ROWS[self as usize].block_bytes
    }

    /// Bytes of `len` consecutive elements, or `None` if `len` is no whole number of blocks or the product
    /// overflows.
    pub const fn bytes_of(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Whether a matrix of this type can be multiplied, that is, decoded to f32.
    pub const fn is_weight(self) -> bool {
        !matches!(ROWS[self as usize].weights, Weights::Never)
    }

    /// Whether the rows of a matrix of this type may have factors of their own.
    pub const fn has_row_scales(self) -> bool {
        self.is_weight() && (self.block_len() > 1 || matches!(self, DType::F8_E4M3))
    }

    /// The name people know the type by, as in GGUF (`Q4_K`, `BF16`).
    pub const fn name(self) -> &'static str {
        ROWS[self as usize].name
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
