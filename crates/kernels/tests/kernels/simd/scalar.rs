use puna_kernels::simd::round_half_away;

#[test]
fn rounding_is_that_of_the_standard_library() {
    for i in -2_080_000..2_080_000 {
        let x = i as f32 / 16384.0;
        assert_eq!(round_half_away(x) as f32, x.round());
    }
    for n in -126..126 {
        let half = n as f32 + 0.5;
        for x in [half.next_down(), half, half.next_up()] {
            assert_eq!(round_half_away(x) as f32, x.round());
        }
    }
}
