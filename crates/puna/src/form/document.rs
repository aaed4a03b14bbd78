//! The document of a schema, and where references in it point.

use serde_json::Value;

/// A schema's document, in which references point.
#[derive(Clone, Copy)]
pub(super) struct Document<'s> {
    root: &'s Value,
    /// What it calls itself.
    id: &'s str,
}

impl<'s> Document<'s> {
    pub fn new(root: &'s Value) -> Document<'s> {
        let id = ["$id", "id"].iter().find_map(|key| root.get(*key)?.as_str()).unwrap_or("");
        Document { root, id: id.trim_end_matches('#') }
    }

    /// Where a reference points: a JSON pointer, and what stands there.
    pub fn find(&self, reference: &str) -> Result<(String, &'s Value), String> {
        let fragment = reference.strip_prefix(self.id).unwrap_or(reference).strip_prefix('#');
        let pointer = match fragment {
            Some(fragment) if fragment.is_empty() || fragment.starts_with('/') => decode_percent(fragment),
            Some(_) => return Err(format!("points at `{reference}`; only `#` and `#/...` are followed")),
            None => return Err(format!("points at `{reference}`, outside of the schema")),
        };
        let target = self.root.pointer(&pointer);
        let target = target.ok_or_else(|| format!("points at `{reference}`, where nothing stands"))?;
        Ok((pointer, target))
    }
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let hex = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
        match (byte, tail) {
            (b'%', [a, b, tail @ ..]) if let (Some(a), Some(b)) = (hex(a), hex(b)) => {
                bytes.push(a << 4 | b);
                rest = tail;
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
