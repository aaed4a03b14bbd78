//! What every line and every whole answer has: names, times, reasons.

use std::time::Duration;

use serde_json::{Value, json};

use super::Clock;
use crate::time::date_time;
use crate::{Finish, Identity, Problem, Token, Usage};

/// A time in the form of RFC 3339, with nanoseconds: `2026-11-29T12:34:56.000000789Z`.
pub fn timestamp(since_1970: Duration) -> String {
    format!("{}.{:09}Z", date_time(since_1970.as_secs()), since_1970.subsec_nanos())
}

/// Makes lines: all begin with the model and the time.
pub(super) struct Lines {
    model: String,
    clock: Clock,
}

impl Lines {
    pub(super) fn new(identity: &Identity, clock: Clock) -> Lines {
        Lines { model: identity.model.clone(), clock }
    }

    /// A line whose text, or message, is `said`, under the name that it has.
    pub(super) fn line(&mut self, name: &str, said: Value, is_done: bool) -> Value {
        line(&self.model, (self.clock)(), name, said, is_done)
    }
}

/// A line, or a whole answer.
pub(super) fn line(model: &str, now: Duration, name: &str, said: Value, is_done: bool) -> Value {
    let mut line = json!({"model": model, "created_at": timestamp(now)});
    line[name] = said;
    line["done"] = Value::Bool(is_done);
    line
}

/// The line of a problem, which every client knows by its one field.
pub(super) fn failure(problem: &Problem) -> Value {
    problem.ollama()
}

/// Adds why an answer ended, and its numbers.
pub(super) fn close(line: &mut Value, finish: Option<&Finish>, usage: &Usage) {
    line["done_reason"] = json!(match finish {
        Some(Finish::Length) => "length",
        // Ollama has no other words: calls end in "stop", too.
        Some(Finish::Stop | Finish::StopString(_) | Finish::Calls | Finish::Filtered) | None => "stop",
    });
    line["total_duration"] = json!(usage.total_ns);
    line["load_duration"] = json!(usage.load_ns);
    line["prompt_eval_count"] = json!(usage.prompt);
    line["prompt_eval_duration"] = json!(usage.prompt_ns);
    line["eval_count"] = json!(usage.completion);
    line["eval_duration"] = json!(usage.completion_ns);
    usage.add_own(line);
}

/// Adds the log-probabilities of tokens, where there are any.
pub(super) fn add_logprobs(line: &mut Value, tokens: &[Token]) {
    // Bytes that are no whole characters show as one sign; `bytes` has them as they are.
    let one = |bytes: &[u8], logprob: f32| json!({"token": String::from_utf8_lossy(bytes), "logprob": logprob, "bytes": bytes});
    let entry = |token: &Token| {
        let mut entry = one(&token.bytes, token.logprob.unwrap_or(0.0));
        if !token.top.is_empty() {
            entry["top_logprobs"] =
                token.top.iter().map(|(_, bytes, logprob)| one(bytes, *logprob)).collect();
        }
        entry
    };
    if !tokens.is_empty() {
        line["logprobs"] = tokens.iter().map(entry).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_known_days() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (951_868_799, 999_999_999, "2000-02-29T23:59:59.999999999Z"),
            (1_709_210_096, 5, "2024-02-29T12:34:56.000000005Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (1_798_761_599, 0, "2026-12-31T23:59:59.000000000Z"),
        ];
        for (seconds, nanos, text) in cases {
            assert_eq!(timestamp(Duration::new(seconds, nanos)), text);
        }
    }
}
