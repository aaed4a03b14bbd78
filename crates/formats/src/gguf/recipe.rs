//! The mixture of types that a file says it was made with.

use super::metadata::Metadata;

/// The mixtures of llama.cpp's tools and their numbers; gaps are of mixtures that no longer exist.
const RECIPES: [(u32, &str); 36] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
    (39, "NVFP4"),
    (40, "Q1_0"),
    (41, "Q2_0"),
];

/// Set in the number of a recipe that a tool guessed from the tensors.
const GUESSED: u32 = 1024;

/// The mixture by name, as in `Q4_K_M`; `None` where the file does not say, or a number that we do not know.
pub fn recipe(metadata: &Metadata) -> Option<&'static str> {
    let number = metadata.opt_u32("general.file_type").ok().flatten()? & !GUESSED;
    RECIPES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    #[test]
    fn recipes_have_their_names() {
        let named = |value: Option<Value>| {
            let mut metadata = Metadata::new(std::path::Path::new("a.gguf"));
            value.into_iter().for_each(|value| metadata.set("general.file_type", value));
            recipe(&metadata)
        };
        assert_eq!(named(Some(Value::U32(15))), Some("Q4_K_M"));
        assert_eq!(named(Some(Value::U32(1024 + 29))), Some("IQ2_M"));
        assert_eq!(named(Some(Value::U8(41))), Some("Q2_0"));
        for nothing in [None, Some(Value::U32(4)), Some(Value::U32(99)), Some(Value::String("15".into()))] {
            assert_eq!(named(nothing), None);
        }
    }
}
