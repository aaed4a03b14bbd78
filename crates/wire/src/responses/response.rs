//! The response object, whole or as far as it is.

use serde_json::{Map, Value, json};

use crate::parts::{Part, Parts, call_id};
use crate::responses::Shape;
use crate::{Finish, Identity, Kind, Problem, Token, Usage};

/// The least log-probability that JSON is told: there is no word for minus infinity.
const LEAST_LOGPROB: f64 = -9999.0;

/// How far a response is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress<'p> {
    Begun,
    Over(&'p Usage),
    Failed(&'p Problem),
}

/// The whole response.
pub fn body(identity: &Identity, shape: &Shape, parts: &Parts, usage: &Usage) -> Value {
    response(identity, shape, parts, Progress::Over(usage))
}

/// The response as far as it is.
pub(super) fn response(identity: &Identity, shape: &Shape, parts: &Parts, progress: Progress) -> Value {
    let (status, incomplete, error, usage) = match progress {
        Progress::Begun => ("in_progress", None, None, None),
        Progress::Failed(problem) => ("failed", None, Some(failure(problem)), None),
        Progress::Over(usage) => match reason_incomplete(parts) {
            Some(reason) => ("incomplete", Some(json!({"reason": reason})), None, Some(usage)),
            None => ("completed", None, None, Some(usage)),
        },
    };
    let completed = usage.filter(|_| status == "completed");
    let mut response = Map::new();
    let mut put = |name: &str, value: Value| drop(response.insert(name.to_owned(), value));
    put("id", id(identity).into());
    put("object", "response".into());
    put("created_at", identity.created.into());
    put("status", status.into());
    put("completed_at", completed.map(|usage| identity.created + usage.total_ns / 1_000_000_000).into());
    put("error", error.into());
    put("incomplete_details", incomplete.into());
    put("model", identity.model.as_str().into());
    put("output", output(identity, shape, parts, progress).into());
    put("usage", usage.map(usage_body).into());
    response.extend(shape.echo.clone());
    Value::Object(response)
}

/// A response's id.
pub(super) fn id(identity: &Identity) -> String {
    format!("resp_{}", identity.id)
}

/// Why an answer that ended is not whole.
pub(super) fn reason_incomplete(parts: &Parts) -> Option<&'static str> {
    match parts.finish() {
        Some(Finish::Length) => Some("max_output_tokens"),
        Some(Finish::Filtered) => Some("content_filter"),
        Some(Finish::Stop | Finish::StopString(_) | Finish::Calls) | None => None,
    }
}

fn failure(problem: &Problem) -> Value {
    let code = match problem.kind {
        Kind::TooLong => "context_length_exceeded",
        Kind::Busy => "rate_limit_exceeded",
        Kind::Request | Kind::TooLarge => "invalid_prompt",
        _ => "server_error",
    };
    json!({"code": code, "message": problem.message})
}

fn output(identity: &Identity, shape: &Shape, parts: &Parts, progress: Progress) -> Vec<Value> {
    let n = n_items(parts);
    let status = |index: usize| match progress {
        Progress::Begun => "in_progress",
        Progress::Failed(_) if index + 1 == n && parts.finish().is_none() => "incomplete",
        Progress::Failed(_) | Progress::Over(_) => last_status(parts, index),
    };
    (0..n).map(|index| item(identity, shape, parts, index, status(index))).collect()
}

/// How many items the output has: an answer of nothing is one empty message once it is over, since clients take the
/// first one.
pub(super) fn n_items(parts: &Parts) -> usize {
    parts.list().len().max(usize::from(parts.finish().is_some()))
}

/// An item's status once it is over: the last one of an answer that was cut off is not whole.
pub(super) fn last_status(parts: &Parts, index: usize) -> &'static str {
    match reason_incomplete(parts) {
        Some(_) if index + 1 == n_items(parts) => "incomplete",
        _ => "completed",
    }
}

/// An item of the output; beyond the parts there are, an empty message.
pub(super) fn item(identity: &Identity, shape: &Shape, parts: &Parts, index: usize, status: &str) -> Value {
    let id = item_id(identity, parts, index);
    match parts.list().get(index) {
        Some(Part::Call(call)) => {
            let namespaced = shape.namespaces.own(&call.name);
            let mut item = json!({
                "id": id,
                "type": "function_call",
                "status": status,
                "arguments": call.arguments,
                "call_id": call_id("call_", &call.id),
                "name": namespaced.map_or(call.name.as_str(), |(_, own)| own),
            });
            if let Some((namespace, _)) = namespaced {
                item["namespace"] = namespace.into();
            }
            item
        }
        Some(Part::Text { .. }) | None => json!({
            "id": id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [content_part(parts, index)],
        }),
    }
}

/// An item's id, which is its response's and its number.
pub(super) fn item_id(identity: &Identity, parts: &Parts, index: usize) -> String {
    let prefix = match parts.list().get(index) {
        Some(Part::Call(_)) => "fc",
        Some(Part::Text { .. }) | None => "msg",
    };
    format!("{prefix}_{}_{index}", identity.id)
}

/// The one part of a message's content.
pub(super) fn content_part(parts: &Parts, index: usize) -> Value {
    let (text, tokens) = match parts.list().get(index) {
        Some(Part::Text { text, tokens }) => (text.as_str(), tokens.as_slice()),
        Some(Part::Call(_)) | None => ("", [].as_slice()),
    };
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs(tokens)})
}

/// Tokens' log-probabilities.
pub(super) fn logprobs(tokens: &[Token]) -> Vec<Value> {
    let one = |bytes: &[u8], logprob: f32| {
        let logprob = f64::from(logprob).max(LEAST_LOGPROB);
        json!({"token": String::from_utf8_lossy(bytes), "bytes": bytes, "logprob": logprob})
    };
    let token = |token: &Token| {
        let mut value = one(&token.bytes, token.logprob.unwrap_or_default());
        let top = token.top.iter().map(|(_, bytes, logprob)| one(bytes, *logprob));
        value["top_logprobs"] = top.collect::<Vec<_>>().into();
        value
    };
    tokens.iter().map(token).collect()
}

fn usage_body(usage: &Usage) -> Value {
    let mut details = json!({"cached_tokens": usage.cached, "cache_write_tokens": 0});
    usage.add_own(&mut details);
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": details,
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_finite() {
        let token = Token {
            id: 1,
            bytes: vec![0xc3],
            logprob: Some(f32::NEG_INFINITY),
            top: vec![(2, b"a".to_vec(), -0.5)],
        };
        let told = logprobs(&[token]);
        let top = json!([{"token": "a", "bytes": [97], "logprob": -0.5}]);
        let want = json!({"token": "\u{fffd}", "bytes": [195], "logprob": -9999.0, "top_logprobs": top});
        assert_eq!(told, [want]);
    }
}
