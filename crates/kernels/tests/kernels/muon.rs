use puna_kernels::muon::{MuonRate, MuonStep, muon};
use puna_kernels::{Cpu, Isa};
use serde_json::Value;

use crate::test_data::{assert_close, random};

/// Three steps are those of `torch.optim.Muon` (`make_muon.py`): nearly, where it computes in f32 too; within the
/// rounding of bf16 to a step's length as it is shipped.
#[test]
fn steps_are_those_of_torch() {
    let golden: Value = serde_json::from_str(include_str!("../muon.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let [rows, cols] = ["rows", "cols"].map(|key| case[key].as_u64().unwrap() as usize);
        let rate = match case["adjust"].as_str().unwrap() {
            "original" => MuonRate::Original,
            _ => MuonRate::MatchRmsAdamw,
        };
        let values = |key: &str| -> Vec<f32> {
            case[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        for isa in Isa::available() {
            let len = rows * cols;
            let (mut w, mut m) = (random(len, 1), vec![0.0; len]);
            for i in 0..3 {
                // Gradients twice as large, to be scaled back.
                let g: Vec<f32> = random(len, 2 + i).iter().map(|g| 2.0 * g).collect();
                let step =
                    MuonStep { lr: 0.02, rate, momentum: 0.95, weight_decay: 0.1, gradient_scale: 0.5 };
                muon(&Cpu::new(isa, 2), &step, [rows, cols], &mut w, &g, &mut m);
            }
            let what = format!("{rows} x {cols} {rate:?} on {}", isa.name());
            assert_close(&w, &values("f32"), 2e-6, &what);
            assert_close(&w, &values("bf16"), 3.0 * 0.02 * 0.03, &what);
        }
    }
}

/// The bits do not depend on the number of threads.
#[test]
fn threads_give_the_same_bits() {
    let step =
        MuonStep { lr: 0.1, rate: MuonRate::Original, momentum: 0.9, weight_decay: 0.0, gradient_scale: 1.0 };
    let results = [1, 3].map(|n_threads| {
        let (mut w, mut m) = (random(300 * 130, 1), random(300 * 130, 2));
        muon(&Cpu::new(Isa::best(), n_threads), &step, [300, 130], &mut w, &random(300 * 130, 3), &mut m);
        w
    });
    assert!(results[0] == results[1]);
}
