use puna_kernels::gelu::{PART, gelu, gelu_backward, normal, slope};
use puna_kernels::{Cpu, Isa};

use crate::test_data::assert_close;

#[test]
fn values_of_the_distribution() {
    for (x, want) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.96, 0.024_997_895), (4.0, 0.999_968_329)] {
        assert!((normal(x) - want).abs() < 1e-8, "{x}");
    }
    assert_eq!((normal(f64::INFINITY), normal(-40.0)), (1.0, 0.0));
    assert!(normal(f64::NAN).is_nan());
}

#[test]
fn versions_agree_at_every_tail() {
    for isa in Isa::available() {
        let cpu = Cpu::new(isa, 2);
        for len in (0..=3 * 16 + 1).chain([3 * PART + 5]) {
            let x: Vec<f32> = (0..len).map(|i| ((i * 37) % 401) as f32 / 20.0 - 10.0).collect();
            let mut got = x.clone();
            gelu(&cpu, &mut got);
            let want: Vec<f32> = x.iter().map(|x| (*x as f64 * normal(*x as f64)) as f32).collect();
            assert_close(&got, &want, 1e-6, isa.name());
            let (dy, mut dx) = (vec![0.5; len], vec![1.0; len]);
            gelu_backward(&cpu, &x, &dy, &mut dx);
            let want: Vec<f32> = x.iter().map(|x| 1.0 + 0.5 * slope(*x as f64) as f32).collect();
            assert_close(&dx, &want, 1e-6, isa.name());
        }
    }
}

#[test]
fn extremes_stay_what_they_are() {
    for isa in Isa::available() {
        let mut x = [1e4, -1e4, 0.0, -0.0, 1e-30, -1e30, f32::NAN];
        gelu(&Cpu::new(isa, 1), &mut x);
        assert_close(&x[..6], &[1e4, 0.0, 0.0, 0.0, 0.5e-30, 0.0], 1e-30, isa.name());
        assert!(x[6].is_nan(), "{}", isa.name());
    }
}

#[test]
fn slope_equals_finite_differences() {
    for x in [-3.0, -0.7, 0.0, 0.2, 2.5] {
        let f = |x: f64| x * normal(x);
        assert!((slope(x) - (f(x + 1e-5) - f(x - 1e-5)) / 2e-5).abs() < 1e-8);
    }
}
