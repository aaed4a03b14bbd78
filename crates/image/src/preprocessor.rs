//! What a checkpoint's `preprocessor_config.json` says about cutting.
//!
//! The file describes steps of a program of another ecosystem. What it says about sizes and colours is taken
//! over; what it says about steps must be what we do, for a picture prepared in another way gives a wrong
//! answer without any sign of it. A value of `null` means that the file leaves the matter open.

use serde_json::Value;

use crate::tiling::{Scheme, Tiling, grids_of};

/// Steps that we always take. A file that switches one off is refused, and so is one that switches another
/// on.
const STEPS: [&str; 5] = ["do_convert_rgb", "do_resize", "do_pad", "do_rescale", "do_normalize"];
const BILINEAR: u64 = 2;

/// Far more than any model has, and small enough that a picture's tiles fit in memory.
const MAX_TILE: usize = 4096;
const MAX_TILES: usize = 64;
const MAX_PIXELS: usize = 4 * MAX_TILE * MAX_TILE;

impl Tiling {
    /// This tiling with the sizes and colours of `config`, where it has them.
    ///
    /// The number of tiles is called `max_image_tiles` for Llama 3.2, and `max_patches` for Llama 4; neither
    /// counts the global tile. Another number than before makes a new list of grids.
    ///
    /// # Errors
    /// A sentence that names the key, if a value is out of bounds or asks for something that is not done
    /// here.
    pub fn with_preprocessor(self, config: &Value) -> Result<Tiling, String> {
        check_steps(config)?;
        let mut tiling = self;
        if let Some(size) = given(config, "size") {
            tiling.tile = tile(size)?;
        }
        if let Some(mean) = given(config, "image_mean") {
            tiling.mean = colours("image_mean", mean)?;
        }
        if let Some(std) = given(config, "image_std") {
            tiling.std = colours("image_std", std)?;
            if tiling.std.iter().any(|&v| v <= 0.0 || !v.recip().is_finite()) {
                return Err(format!("`image_std` is {std}; its numbers must be above zero"));
            }
        }
        let key = match tiling.scheme {
            Scheme::Llama32 { .. } => "max_image_tiles",
            Scheme::Llama4 => "max_patches",
        };
        if let Some(value) = given(config, key) {
            let max_tiles = whole(key, value, MAX_TILES)?;
            if let Scheme::Llama32 { grids } = &mut tiling.scheme
                && max_tiles != tiling.max_tiles
            {
                *grids = grids_of(max_tiles);
            }
            tiling.max_tiles = max_tiles;
        }
        let (tile, max_tiles) = (tiling.tile, tiling.max_tiles);
        if tile.saturating_mul(tile).saturating_mul(max_tiles) > MAX_PIXELS {
            return Err(format!(
                "`size` and `{key}` ask for {max_tiles} tiles of {tile} x {tile} pixels, too many"
            ));
        }
        Ok(tiling)
    }
}

/// The value of `key`, unless it is missing or `null`.
fn given<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !value.is_null())
}

fn check_steps(config: &Value) -> Result<(), String> {
    let object = config.as_object().ok_or("the preprocessor's configuration is not a JSON object")?;
    for (key, value) in object.iter().filter(|(key, value)| key.starts_with("do_") && !value.is_null()) {
        let is_done = STEPS.contains(&key.as_str());
        if *value != Value::Bool(is_done) {
            return Err(format!("`{key}` is {value}; only {is_done} is supported"));
        }
    }
    if let Some(resample) = given(config, "resample").filter(|value| value.as_u64() != Some(BILINEAR)) {
        return Err(format!("`resample` is {resample}; only {BILINEAR} (bilinear) is supported"));
    }
    if let Some(value) = given(config, "resize_to_max_canvas").filter(|value| **value != Value::Bool(false)) {
        return Err(format!("`resize_to_max_canvas` is {value}; only false is supported"));
    }
    if let Some(factor) = given(config, "rescale_factor")
        && !factor.as_f64().is_some_and(|factor| (factor * 255.0 - 1.0).abs() < 1e-6)
    {
        return Err(format!("`rescale_factor` is {factor}; only 1/255 is supported"));
    }
    Ok(())
}

/// Width and height of a tile: a number, or two equal ones by name.
fn tile(size: &Value) -> Result<usize, String> {
    if size.is_number() {
        return whole("size", size, MAX_TILE);
    }
    let (Some(height), Some(width)) = (given(size, "height"), given(size, "width")) else {
        return Err(format!("`size` is {size}; it must have a height and a width"));
    };
    let (height, width) = (whole("size.height", height, MAX_TILE)?, whole("size.width", width, MAX_TILE)?);
    if height != width {
        return Err(format!("`size` is {height} high and {width} wide; only square tiles are supported"));
    }
    Ok(width)
}

fn whole(key: &str, value: &Value, max: usize) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    let allowed = number.filter(|number| (1..=max).contains(number));
    allowed.ok_or_else(|| format!("`{key}` is {value}; it must be a whole number from 1 to {max}"))
}

/// One number per channel, each finite as an f32.
fn colours(key: &str, value: &Value) -> Result<[f32; 3], String> {
    let numbers = value.as_array().map(|list| list.iter().filter_map(Value::as_f64).map(|v| v as f32));
    let finite: Vec<f32> = numbers.into_iter().flatten().filter(|v| v.is_finite()).collect();
    let n_given = value.as_array().map_or(0, Vec::len);
    match finite.try_into() {
        Ok(three) if n_given == 3 => Ok(three),
        _ => Err(format!("`{key}` is {value}; it must be a list of three numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(Tiling::llama4(336).with_preprocessor(&json!({})), Ok(Tiling::llama4(336)));
        let open = json!({ "do_center_crop": null, "do_resize": null, "size": null, "max_patches": null });
        assert_eq!(Tiling::llama4(336).with_preprocessor(&open), Ok(Tiling::llama4(336)));
    }

    #[test]
    fn the_number_of_tiles_makes_the_grids() {
        let config =
            json!({ "size": { "height": 28, "width": 28 }, "max_image_tiles": 2, "image_mean": [0, 0.5, 1] });
        let tiling = Tiling::llama32(560).with_preprocessor(&config).unwrap();
        assert_eq!((tiling.tile, tiling.max_tiles), (28, 2));
        assert_eq!(tiling.scheme, Scheme::Llama32 { grids: vec![[1, 1], [1, 2], [2, 1]] });
        assert_eq!(tiling.mean, [0.0, 0.5, 1.0]);

        let own = Scheme::Llama32 { grids: vec![[2, 2], [1, 1]] };
        let tiling = Tiling { scheme: own.clone(), ..Tiling::llama32(560) };
        let same = tiling.with_preprocessor(&json!({ "max_image_tiles": 4 })).unwrap();
        assert_eq!(same.scheme, own);
    }

    #[test]
    fn what_is_not_done_here_is_refused_by_name() {
        let refused = [
            (json!([]), "not a JSON object"),
            (json!({ "do_resize": false }), "`do_resize` is false"),
            (json!({ "do_normalize": 1 }), "`do_normalize`"),
            (json!({ "do_center_crop": true }), "`do_center_crop` is true"),
            (json!({ "resample": 3 }), "`resample` is 3"),
            (json!({ "resize_to_max_canvas": true }), "`resize_to_max_canvas`"),
            (json!({ "rescale_factor": 0.5 }), "`rescale_factor`"),
            (json!({ "size": 0 }), "`size` is 0"),
            (json!({ "size": 4097 }), "from 1 to 4096"),
            (json!({ "size": 33.5 }), "`size` is 33.5"),
            (json!({ "size": { "shortest_edge": 336 } }), "a height and a width"),
            (json!({ "size": { "height": 336, "width": 335 } }), "square"),
            (json!({ "size": { "height": -1, "width": 335 } }), "`size.height` is -1"),
            (json!({ "max_patches": 0 }), "`max_patches` is 0"),
            (json!({ "max_patches": 65 }), "from 1 to 64"),
            (json!({ "size": 4096, "max_patches": 64 }), "too many"),
            (json!({ "image_mean": [0.5, 0.5] }), "`image_mean`"),
            (json!({ "image_mean": [0.5, 0.5, 0.5, "a"] }), "`image_mean`"),
            (json!({ "image_mean": [0.5, 0.5, 1e300] }), "`image_mean`"),
            (json!({ "image_std": [0.5, 0.5, 0.0] }), "`image_std`"),
            (json!({ "image_std": [0.5, 0.5, 1e-300] }), "`image_std`"),
        ];
        for (config, says) in refused {
            let error = Tiling::llama4(336).with_preprocessor(&config).unwrap_err();
            assert!(error.contains(says), "{config}: {error}");
        }
    }
}
