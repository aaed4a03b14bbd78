//! Canvases and pixels are those of the processors the models were trained with.

use std::path::Path;

use puna_conformance::fixtures;
use puna_image::{Image, Limits, Tiles, Tiling, decode};
use serde_json::{Value, json};

/// Pixels are between -2 and 2.7 and made by three operations in f32, each rounded to half a unit in the last
/// place; another order of the same operations would move them by some 1e-6. One grey level is 0.0078 or
/// more.
const TOLERANCE: f32 = 2e-6;

fn read_image(path: &Path) -> Image {
    decode(&std::fs::read(path).unwrap(), &Limits::default())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn pair(value: &Value) -> [usize; 2] {
    [0, 1].map(|i| value[i].as_u64().unwrap() as usize)
}

/// A tensor of f32 in a safetensors file: length of the header, header, values.
fn tensor(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, values) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let entry = &serde_json::from_slice::<Value>(header).unwrap()[name];
    assert_eq!(entry["dtype"], "F32", "{name}");
    let shape = entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let [start, end] = pair(&entry["data_offsets"]);
    let values = values[start..end].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    (shape, values.collect())
}

fn max_apart(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// How a generation cuts pictures, with tiles of that size and at most so many.
fn tiling(generation: &str, tile: usize, max_tiles: Option<usize>) -> Tiling {
    let is_llama4 = generation.starts_with("llama4");
    let released = if is_llama4 { Tiling::llama4(tile) } else { Tiling::llama32(tile) };
    let sizes = json!({"max_patches": max_tiles, "max_image_tiles": max_tiles});
    released.with_preprocessor(&sizes).unwrap()
}

#[test]
fn conformance_canvases_are_those_of_the_table() {
    let Some(table) = fixtures().json("images/aspect_table.json") else { return };
    for key in ["llama3.2_vision", "llama4"] {
        let params = &table[format!("{key}_params")];
        let size = |name: &str| params[name].as_u64().unwrap() as usize;
        let tiling = tiling(key, size("tile"), Some(size("max_tiles")));
        let cases = table[key].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            // The table has widths first.
            let [width, height] = pair(&case["image"]);
            let canvas = tiling.canvas(height, width);
            let [resized_w, resized_h] = pair(&case["resized"]);
            assert_eq!(canvas.grid, pair(&case["tiles_hw"]), "{key}: {case}");
            assert_eq!(canvas.resized, [resized_h, resized_w], "{key}: {case}");
            let id = case["aspect_ratio_id"].as_u64().map(|id| id as usize);
            assert_eq!(tiling.aspect_ratio_id(canvas.grid), id, "{key}: {case}");
        }
    }
}

/// The tiny models, with the sizes of their own preprocessor_config.json.
#[test]
fn conformance_pixels_are_those_of_the_golden_tensors() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("golden/manifest.vision.json") else { return };
    for (model, facts) in manifest.as_object().unwrap() {
        let golden = format!("golden/{model}.safetensors");
        let folder = facts["model_dir"].as_str().unwrap();
        let Some(set) = fixtures.with(&[&golden, folder, "images"]) else { continue };
        let config = |name: &str| puna_conformance::read_json(&set.join(folder).join(name));
        let is_llama4 = config("config.json")["model_type"] == "llama4";
        let released = if is_llama4 { Tiling::llama4(336) } else { Tiling::llama32(560) };
        let tiling = released.with_preprocessor(&config("preprocessor_config.json")).unwrap();
        let file = std::fs::read(set.join(&golden)).unwrap();
        for (name, image) in facts["image_processing"].as_object().unwrap() {
            let tiles = tiling.cut(&read_image(&set.join(image["file"].as_str().unwrap())));
            assert_eq!(tiles.grid, pair(&image["aspect_ratio_hw"]), "{model}: {name}");
            let n_tiles = image.get("num_tiles").or(image.get("num_tiles_incl_global")).unwrap();
            assert_eq!(tiles.n_tiles as u64, n_tiles.as_u64().unwrap(), "{model}: {name}");

            let (shape, expected) = tensor(&file, &format!("image.{name}.pixel_values"));
            assert_eq!(shape[1..], [3, tiling.tile, tiling.tile]);
            let (real, unused) = expected.split_at(tiles.pixels.len());
            let apart = max_apart(&tiles.pixels, real);
            println!("{model}: {name}: {apart:e}");
            assert!(apart <= TOLERANCE, "{model}: {name}: {apart:e}");
            assert!(unused.iter().all(|&v| v == 0.0));
            assert_eq!(tiles.has_global, is_llama4 && tiles.n_tiles > 1);
        }
    }
}

/// Sizes as released, by statistics and every 997th value.
#[test]
fn conformance_pixels_have_the_statistics_of_the_released_sizes() {
    let fixtures = fixtures();
    let Some(stats) = fixtures.json("images/pixel_stats.json") else { return };
    let mut n_checked = 0;
    for (key, case) in stats.as_object().unwrap().iter().filter(|(key, _)| *key != "note") {
        let (file, model) = key.split_once(':').unwrap();
        let tiling = tiling(model, case["shape"][2].as_u64().unwrap() as usize, None);
        let tiles = tiling.cut(&read_image(&fixtures.path("images").join(file)));
        check_statistics(key, case, &tiles, tiling.tile);
        n_checked += 1;
    }
    assert!(n_checked > 0);
}

fn check_statistics(key: &str, case: &Value, tiles: &Tiles, tile: usize) {
    let numbers = |name: &str| -> Vec<f64> {
        case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    assert_eq!(numbers("shape"), [tiles.n_tiles, 3, tile, tile].map(|n| n as f64), "{key}");
    assert_eq!(tiles.grid, pair(&case["aspect_ratio_hw"]), "{key}");
    let samples: Vec<f32> = numbers("samples").iter().map(|&v| v as f32).collect();
    let got: Vec<f32> = tiles.pixels.iter().step_by(997).take(samples.len()).copied().collect();
    let apart = max_apart(&got, &samples);
    println!("{key}: samples {apart:e}");
    assert!(apart <= TOLERANCE, "{key}: {apart:e}");

    let mean = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let close =
        |got: f64, expected: f64| assert!((got - expected).abs() < 1e-5, "{key}: {got} and {expected}");
    let whole = mean(&tiles.pixels);
    close(whole, case["mean"].as_f64().unwrap());
    for (tile, expected) in tiles.pixels.chunks(3 * tile * tile).zip(numbers("per_tile_mean")) {
        close(mean(tile), expected);
    }
    let squares = tiles.pixels.iter().map(|&v| (f64::from(v) - whole).powi(2)).sum::<f64>();
    close((squares / tiles.pixels.len() as f64).sqrt(), case["std"].as_f64().unwrap());
}
