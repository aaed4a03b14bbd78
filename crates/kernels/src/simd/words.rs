//! Tables of words of which a few bits of each byte are used: points of lattices.
//!
//! Sixteen words at once from a table in memory take a processor as long as a hundred other instructions, or more. Such
//! words fit in sixteen bits, so a table is also two planes of bytes, which are looked up in registers where there are
//! instructions for it, 64 at a time, and spread over the bytes of the words afterwards.

/// Where the bits of a word are in its two planes.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The bit of a plane's byte that is bit 0 of each byte of the word; bits below the first are none.
    pub offsets: [[i32; 4]; 2],
    /// The bits of the word that come from each plane.
    pub masks: [u32; 2],
}

impl Spread {
    /// Eight fields of two bits, the first four in the low halves of the bytes, and in the first plane.
    pub const EIGHT: Spread =
        Spread { offsets: [[0, 2, 4, 6], [-4, -2, 0, 2]], masks: [0x0303_0303, 0x3030_3030] };
    /// The same two bits higher.
    pub const EIGHT_HIGHER: Spread =
        Spread { offsets: [[-2, 0, 2, 4], [-6, -4, -2, 0]], masks: [0x0c0c_0c0c, 0xc0c0_c0c0] };
    /// Four fields of three bits, the first two in the first plane.
    pub const FOUR: Spread =
        Spread { offsets: [[0, 3, 0, 0], [0, 0, 0, 3]], masks: [0x0000_0707, 0x0707_0000] };
}

/// A table of words, as they are and as planes, which AVX-512 alone reads. `N` is a power of two from 256 on.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub struct Words<const N: usize> {
    words: [u32; N],
    pub(super) planes: [[u8; N]; 2],
    /// For each plane and each of four words, from which bit of eight bytes of a plane each of its bytes is taken.
    pub(super) shifts: [[u64; 4]; 2],
    pub(super) masks: [u32; 2],
}

impl<const N: usize> Words<N> {
    /// A table of words with no other bits than `spread` says.
    pub const fn new(words: [u32; N], spread: Spread) -> Words<N> {
        assert!(N.is_power_of_two() && N >= 256 && N <= 2048);
        let mut table = Words { words, planes: [[0; N]; 2], shifts: [[0; 4]; 2], masks: spread.masks };
        let mut plane = 0;
        while plane < 2 {
            let mut byte = 0;
            while byte < 4 {
                let offset = spread.offsets[plane][byte];
                let mut word = 0;
                while word < 4 {
                    let at = (64 + 8 * word as i32 + offset) as u64;
                    // The same for the word beside it.
                    let (own, beside) = (at % 64, (at + 32) % 64);
                    table.shifts[plane][word] |= own << (8 * byte) | beside << (8 * byte + 32);
                    word += 1;
                }
                let mut n = 0;
                while n < N {
                    let field = (words[n] & spread.masks[plane]) >> (8 * byte) & 255;
                    let bits = if offset < 0 { field >> -offset } else { field << offset };
                    table.planes[plane][n] |= bits as u8;
                    n += 1;
                }
                byte += 1;
            }
            plane += 1;
        }
        let mut n = 0;
        while n < N {
            assert!(words[n] & !(spread.masks[0] | spread.masks[1]) == 0);
            n += 1;
        }
        table
    }

    /// Word `n`.
    pub const fn get(&self, n: usize) -> u32 {
        self.words[n]
    }

    /// All of them.
    pub(super) fn all(&self) -> &[u32; N] {
        &self.words
    }
}
