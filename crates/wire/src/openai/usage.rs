//! Tokens and times, in OpenAI's words and in llama.cpp's.

use serde_json::{Value, json};

use crate::Usage;

/// OpenAI's `usage`.
pub(super) fn usage(usage: &Usage) -> Value {
    let mut details = json!({"cached_tokens": usage.cached});
    usage.add_own(&mut details);
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": details,
    })
}

/// OpenAI's `usage` where nothing is answered.
pub(super) fn prompt_only(n_tokens: usize) -> Value {
    json!({"prompt_tokens": n_tokens, "total_tokens": n_tokens})
}

/// llama.cpp's `timings`. Of the prompt's tokens it counts those that had to be read.
pub(super) fn timings(usage: &Usage) -> Value {
    let read = usage.prompt.saturating_sub(usage.cached);
    json!({
        "cache_n": usage.cached,
        "prompt_n": read,
        "prompt_ms": ms(usage.prompt_ns),
        "prompt_per_token_ms": ratio(ms(usage.prompt_ns), read as f64),
        "prompt_per_second": ratio(read as f64 * 1e9, usage.prompt_ns as f64),
        "predicted_n": usage.completion,
        "predicted_ms": ms(usage.completion_ns),
        "predicted_per_token_ms": ratio(ms(usage.completion_ns), usage.completion as f64),
        "predicted_per_second": ratio(usage.completion as f64 * 1e9, usage.completion_ns as f64),
    })
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// A quotient, which is 0 where nothing happened: JSON has no infinity.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_of_what_was_read() {
        let counts = Usage {
            prompt: 30,
            cached: 10,
            completion: 5,
            prompt_ns: 2_000_000_000,
            completion_ns: 500_000_000,
            ..Usage::default()
        };
        let found = timings(&counts);
        assert_eq!((&found["prompt_n"], &found["cache_n"]), (&json!(20), &json!(10)));
        assert_eq!((&found["prompt_ms"], &found["prompt_per_second"]), (&json!(2000.0), &json!(10.0)));
        assert_eq!((&found["predicted_n"], &found["predicted_per_second"]), (&json!(5), &json!(10.0)));
        assert_eq!(found["predicted_per_token_ms"], json!(100.0));
        assert_eq!(timings(&Usage::default())["predicted_per_second"], json!(0.0));
        assert_eq!(usage(&counts)["total_tokens"], json!(35));
        assert_eq!(usage(&counts)["prompt_tokens_details"], json!({"cached_tokens": 10}));
        let left = Usage { left_at: Some(10), stable_heads: 1, ..counts };
        let want = json!({"cached_tokens": 10, "cache_left_at": 10, "stable_heads": 1});
        assert_eq!(usage(&left)["prompt_tokens_details"], want);
    }
}
