//! Pictures are read and resized as by Pillow 13.0.0; `make_data.py` made what is expected.

use std::path::{Path, PathBuf};

use puna_conformance::read_json;
use puna_image::{Image, Limits, decode, resize};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn cases(name: &str) -> Vec<Value> {
    read_json(&data(name)).as_array().expect("a list of cases").clone()
}

/// The same bytes as `noise` in make_data.py.
fn noise(n_bytes: usize, seed: u32) -> Vec<u8> {
    let step = |state: &u32| Some(state.wrapping_mul(1664525).wrapping_add(1013904223));
    std::iter::successors(Some(seed), step).skip(1).take(n_bytes).map(|state| (state >> 24) as u8).collect()
}

fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf29ce484222325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3))
}

#[test]
fn resized_bytes_are_those_of_pillow() {
    let cases = cases("resized.json");
    assert!(cases.len() > 100);
    for case in cases {
        let [seed, width, height, to_width, to_height] =
            [0, 1, 2, 3, 4].map(|i| case[i].as_u64().unwrap() as usize);
        let image = Image { width, height, rgb: noise(3 * width * height, seed as u32) };
        let resized = resize(&image, to_width, to_height);
        assert_eq!((resized.width, resized.height), (to_width, to_height));
        assert_eq!(format!("{:016x}", fnv1a(&resized.rgb)), case[5].as_str().unwrap(), "{case}");
    }
}

/// Every form of every format. All but JPEG say exactly what a reader makes of them. JPEG leaves the rounding
/// of its transform open, which here moves values by at most two grey levels; colours kept at half the
/// resolution are spread again in ways that differ by more.
#[test]
fn read_pictures_are_those_of_pillow() {
    let cases = cases("pictures.json");
    assert!(cases.len() > 15);
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let image = decode(&std::fs::read(data(file)).unwrap(), &Limits::default()).expect(file);
        let size = [image.width, image.height];
        assert_eq!(
            size.map(|side| side as u64),
            ["width", "height"].map(|key| case[key].as_u64().unwrap()),
            "{file}"
        );
        let hex = case["rgb"].as_str().unwrap().as_bytes();
        let expected =
            hex.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        let apart =
            image.rgb.iter().zip(expected).map(|(&got, expected)| got.abs_diff(expected)).max().unwrap();
        println!("{file}: {apart}");
        let allowed = match file {
            "progressive.jpg" | "grey.jpg" | "cmyk.jpg" => 2,
            "subsampled.jpg" => 6,
            _ => 0,
        };
        assert!(apart <= allowed, "{file}: {apart} grey levels apart");
    }
}
