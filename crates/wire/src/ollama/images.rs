//! Images of Ollama's messages: texts of base 64, which become parts of a message in OpenAI's form.

use puna_text::template::{Content, Part};
use serde_json::{Value, json};

use crate::fields::wrong;
use crate::{Fields, Problem};

/// The most images of a message.
const MOST_IMAGES: usize = 64;

/// How the first bytes of each kind look in base 64: three bytes are four letters, so what is whole triples can be
/// told from the letters alone. `RIFF????WEBP` has its name at the eighth byte, with two bits of another before it.
fn kind_of(base64: &str) -> Option<&'static str> {
    let starts = |letters: &str| base64.starts_with(letters);
    if starts("iVBORw") {
        Some("image/png") // 89 50 4e 47
    } else if starts("/9j/") {
        Some("image/jpeg") // ff d8 ff
    } else if starts("R0lGOD") {
        Some("image/gif") // GIF8
    } else if starts("UklGR") && base64.get(11..16) == Some("XRUJQ") {
        Some("image/webp")
    } else if ["Qk0", "Qk1", "Qk2", "Qk3"].into_iter().any(starts) {
        Some("image/bmp") // BM
    } else {
        None
    }
}

/// The images of a message, as parts with data URLs; none where the field is absent or empty.
pub(super) fn read(fields: &Fields) -> Result<Vec<Part>, Problem> {
    let images = fields.list("images")?;
    let path = fields.path("images");
    if images.len() > MOST_IMAGES {
        let found = images.len();
        return Err(Problem::field(
            &path,
            format!("`{path}` has {found} images; at most {MOST_IMAGES} are allowed"),
        ));
    }
    let part = |(at, image): (usize, &Value)| {
        let url = image.as_str().and_then(data_url);
        let want = "a PNG, JPEG, GIF, WebP or BMP picture in base 64";
        let url = url.ok_or_else(|| wrong(&format!("{path}[{at}]"), image, want))?;
        Ok(Part::Image(json!({"type": "image_url", "image_url": {"url": url}})))
    };
    images.iter().enumerate().map(part).collect()
}

fn data_url(text: &str) -> Option<String> {
    // Some clients send a data URL although Ollama takes none.
    if text.starts_with("data:image/") {
        return Some(text.to_owned());
    }
    Some(format!("data:{};base64,{text}", kind_of(text)?))
}

/// A text with images before it, where there are any: Llama sees pictures first, and so does Ollama.
pub(super) fn with_text(images: Vec<Part>, text: &str) -> Content {
    if images.is_empty() {
        return Content::Text(text.to_owned());
    }
    let text = (!text.is_empty()).then(|| Part::Text(text.to_owned()));
    Content::Parts(images.into_iter().chain(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_their_first_bytes() {
        let cases = [
            ("iVBORw0KGgo=", "image/png"),
            ("/9j/4AAQSkZJRg==", "image/jpeg"),
            ("R0lGODlhAQABAA==", "image/gif"),
            ("UklGRiQAAABXRUJQVlA4", "image/webp"),
            ("Qk06AAAA", "image/bmp"),
        ];
        for (text, kind) in cases {
            assert_eq!(kind_of(text), Some(kind), "{text}");
        }
        for text in ["", "UklGRiQAAABXQVZF", "aGVsbG8=", "UklGR", "Qk", "QkA=", "ÿØÿà"] {
            assert_eq!(kind_of(text), None, "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let body = json!({"images": ["iVBORw==", "aGVsbG8="]});
        let problem = read(&Fields::of_body(&body).unwrap()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("images[1]"));
        let body = json!({"images": vec!["iVBORw=="; 65]});
        assert!(read(&Fields::of_body(&body).unwrap()).unwrap_err().message.contains("65"));
        let body = json!({"images": [], "b": 1});
        assert_eq!(read(&Fields::of_body(&body).unwrap()), Ok(Vec::new()));
    }
}
