//! Log-probabilities in the shapes of conversations and of texts.

use serde_json::{Map, Value, json};

use crate::Token;

/// What stands for the logarithm of nothing, which JSON cannot say; OpenAI's value for a most improbable token.
const LEAST: f32 = -9999.0;

/// `logprobs` of a conversation's answer.
pub(super) fn of_chat(tokens: &[Token]) -> Value {
    let entry = |bytes: &[u8], logprob: Option<f32>| json!({"token": name(bytes, ""), "logprob": logprob.map(finite), "bytes": bytes});
    let told = |token: &Token| {
        let mut told = entry(&token.bytes, token.logprob);
        let top = token.top.iter().map(|(_, bytes, logprob)| entry(bytes, Some(*logprob)));
        told["top_logprobs"] = top.collect();
        told
    };
    json!({"content": tokens.iter().map(told).collect::<Vec<_>>(), "refusal": null})
}

/// `logprobs` of a text. `offset` is where its tokens begin, in characters, and afterwards where they end.
pub(super) fn of_text(tokens: &[Token], offset: &mut usize) -> Value {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(*offset);
        // A character is counted with its first byte.
        *offset += token.bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    }
    let names: Vec<String> = tokens.iter().map(|token| name(&token.bytes, "bytes:")).collect();
    json!({
        "tokens": names,
        "token_logprobs": tokens.iter().map(|token| token.logprob.map(finite)).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top_of_text).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// The most probable tokens and the one that was taken, by their names; null for what nothing precedes. Where two
/// tokens say the same, the likelier one counts.
fn top_of_text(token: &Token) -> Value {
    let Some(own) = token.logprob else { return Value::Null };
    let mut map = Map::new();
    let own = (&token.bytes, own);
    for (bytes, logprob) in token.top.iter().map(|(_, bytes, logprob)| (bytes, *logprob)).chain([own]) {
        map.entry(name(bytes, "bytes:")).or_insert_with(|| json!(finite(logprob)));
    }
    Value::Object(map)
}

fn finite(logprob: f32) -> f32 {
    logprob.max(LEAST)
}

/// A token's text; where it is not whole characters, its bytes as `\xe2` after a prefix.
fn name(bytes: &[u8], prefix: &str) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(prefix.to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &[u8], logprob: Option<f32>, top: &[(&[u8], f32)]) -> Token {
        let top = top.iter().enumerate().map(|(i, (bytes, logprob))| (i as u32, bytes.to_vec(), *logprob));
        Token { id: 7, bytes: bytes.to_vec(), logprob, top: top.collect() }
    }

    #[test]
    fn texts_have_the_old_shape() {
        let tokens = [
            token("ä".as_bytes(), None, &[]),
            token(b"\xe2\x80", Some(-0.1), &[(b"\xe2\x80", -0.1), (b"b", f32::NEG_INFINITY)]),
            token(b"\xa6", Some(-3.5), &[(b"x", -0.5), (b"x", -0.7)]),
            token(b"c", Some(-1.0), &[]),
        ];
        let mut offset = 2;
        let found = of_text(&tokens, &mut offset);
        assert_eq!(found["tokens"], json!(["ä", "bytes:\\xe2\\x80", "bytes:\\xa6", "c"]));
        assert_eq!(found["token_logprobs"], json!([null, -0.1_f32, -3.5, -1.0]));
        assert_eq!(found["top_logprobs"][0], Value::Null);
        assert_eq!(found["top_logprobs"][1], json!({"bytes:\\xe2\\x80": -0.1_f32, "b": -9999.0}));
        // The very same float, for whoever compares them.
        assert_eq!(found["top_logprobs"][1]["bytes:\\xe2\\x80"], found["token_logprobs"][1]);
        assert_eq!(found["top_logprobs"][2], json!({"x": -0.5, "bytes:\\xa6": -3.5}));
        assert_eq!((&found["text_offset"], offset), (&json!([2, 3, 4, 4]), 5));
    }

    #[test]
    fn conversations_have_the_new_shape() {
        let tokens = [token(b"\xe2", Some(f32::NEG_INFINITY), &[(b"a", -0.25)])];
        let want = json!({"content": [{"token": "\\xe2", "logprob": -9999.0, "bytes": [0xe2], "top_logprobs": [
            {"token": "a", "logprob": -0.25, "bytes": [97]}]}], "refusal": null});
        assert_eq!(of_chat(&tokens), want);
    }
}
