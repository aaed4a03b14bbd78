//! Reproducible numbers and comparisons for these tests.

/// `len` values in -1..1 from a seed (a linear congruential generator's high bits).
pub fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect()
}

/// Fails unless every pair differs by at most `bound`; NaN fails.
#[track_caller]
pub fn assert_close(got: &[f32], want: &[f32], bound: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= bound, "{what}: element {i} is {g}, expected {w} within {bound}");
    }
}

/// Random words, by the SplitMix64 generator.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Roughly normal with unit deviation.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        let mut uniform = || (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..len).map(|_| (0..12).map(|_| uniform()).sum()).collect()
    }
}
