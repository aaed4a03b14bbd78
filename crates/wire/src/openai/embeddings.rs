//! `/v1/embeddings`: texts become vectors.

use serde_json::{Value, json};

use super::{settings, texts, usage};
use crate::fields::wrong;
use crate::{Fields, Problem, TextInput};

/// A request for embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedAsk {
    /// The model, as the client names it.
    pub model: Option<String>,
    /// The texts, each of which becomes one vector.
    pub texts: Vec<TextInput>,
    /// How many numbers a vector has; the model's own count if `None`.
    pub dimensions: Option<usize>,
    /// Whether vectors are told as base64 of their `f32`, the lowest byte first, instead of as lists.
    pub base64: bool,
    /// Who asks, as in [`Ask`](crate::Ask::tenant).
    pub tenant: Option<String>,
}

/// Reads a request.
///
/// # Errors
/// A field that is not as it must be, or that cannot be heeded.
pub fn read(body: &Value) -> Result<EmbedAsk, Problem> {
    let fields = Fields::of_body(body)?;
    fields.refuse("truncate_prompt_tokens", |_| false, "texts are never cut")?;
    fields.refuse(
        "add_special_tokens",
        |value| value == true,
        "texts are embedded as the model was trained",
    )?;
    let base64 = match fields.str("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => return Err(wrong("encoding_format", &other.into(), "\"float\" or \"base64\"")),
    };
    Ok(EmbedAsk {
        model: settings::text(&fields, "model")?,
        texts: texts::read(&fields, "input")?,
        dimensions: fields.count("dimensions", 1..=usize::MAX)?,
        base64,
        tenant: settings::tenant(&fields)?,
    })
}

/// The answer: the vectors in the order of the texts, which together had so many tokens.
pub fn body(model: &str, vectors: &[Vec<f32>], n_tokens: usize, base64: bool) -> Value {
    let embedding = |vector: &Vec<f32>| match base64 {
        true => Value::String(to_base64(vector.iter().flat_map(|x| x.to_le_bytes()))),
        false => json!(vector),
    };
    let data = vectors
        .iter()
        .enumerate()
        .map(|(i, vector)| json!({"object": "embedding", "index": i, "embedding": embedding(vector)}));
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": model,
        "usage": usage::prompt_only(n_tokens),
    })
}

/// RFC 4648, section 4.
fn to_base64(bytes: impl Iterator<Item = u8>) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = bytes.collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let ask =
            read(&json!({"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 8,
            "user": "u"}))
            .unwrap();
        let texts = ["a", "b"].map(|text| TextInput::Text(text.to_owned())).to_vec();
        let want = EmbedAsk {
            model: Some("m".into()),
            texts,
            dimensions: Some(8),
            base64: true,
            tenant: Some("u".into()),
        };
        assert_eq!(ask, want);
        for (field, value) in [
            ("input", json!(null)),
            ("encoding_format", json!("int8")),
            ("dimensions", json!(0)),
            ("truncate_prompt_tokens", json!(5)),
            ("add_special_tokens", json!(false)),
            ("model", json!(1)),
        ] {
            let mut body = json!({"input": "a"});
            body[field] = value;
            assert_eq!(read(&body).unwrap_err().param.as_deref(), Some(field));
        }
    }

    #[test]
    fn vectors_are_lists_or_base64() {
        let vectors = [vec![1.0, -0.5], vec![0.25]];
        let found = body("m", &vectors, 7, false);
        assert_eq!(found["data"][0]["embedding"], json!([1.0, -0.5]));
        assert_eq!((&found["data"][1]["index"], &found["usage"]["total_tokens"]), (&json!(1), &json!(7)));
        // numpy: base64.b64encode(np.array([1, -0.5], "<f4"))
        assert_eq!(body("m", &vectors, 7, true)["data"][0]["embedding"], json!("AACAPwAAAL8="));
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(to_base64(bytes.bytes()), text); // RFC 4648, section 10
        }
    }
}
