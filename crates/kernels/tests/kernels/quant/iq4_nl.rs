use puna_kernels::quant::iq4_nl::{CODES, nearest_code};

#[test]
fn the_nearest_code_is_the_nearest_and_the_upper_of_equals() {
    for i in -1400..1400 {
        let x = i as f32 / 10.0;
        let distance = |code: usize| (x - CODES[code] as f32).abs();
        let want = (0..16).rev().min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
        assert_eq!(nearest_code(x) as usize, want, "{x}");
    }
}
