//! `/v1/batches`: questions in a file, one a line, and answers in another.

use serde_json::{Value, json};

use crate::fields::wrong;
use crate::{Fields, Problem};

/// Where lines may go.
pub const ENDPOINTS: [&str; 4] =
    ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];
/// The most characters of a line's own name.
pub const MAX_CUSTOM_ID: usize = 512;
/// The most pairs of metadata, and the most characters of a key and of a value, as OpenAI has them.
const MAX_METADATA: (usize, usize, usize) = (16, 64, 512);

/// A request for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchAsk {
    /// The file with the questions.
    pub input_file_id: String,
    /// Where all of them go.
    pub endpoint: &'static str,
    /// What the client wants to remember; an object or null.
    pub metadata: Value,
}

/// One of the questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What the client calls it.
    pub custom_id: String,
    /// The question.
    pub body: Value,
}

/// One of the endpoints.
///
/// # Errors
/// It is another one.
pub fn endpoint(path: &str) -> Result<&'static str, Problem> {
    let found = ENDPOINTS.into_iter().find(|own| *own == path);
    found.ok_or_else(|| wrong("endpoint", &path.into(), &format!("one of {}", ENDPOINTS.join(", "))))
}

/// Reads a request.
///
/// # Errors
/// A field that is not as it must be.
pub fn read(body: &Value) -> Result<BatchAsk, Problem> {
    let fields = Fields::of_body(body)?;
    match fields.required_str("completion_window")? {
        "24h" => {}
        other => return Err(wrong("completion_window", &other.into(), "\"24h\"")),
    }
    let fact = "files are kept until they are deleted";
    fields.refuse("output_expires_after", |_| false, fact)?;
    let metadata = fields.get("metadata").cloned().unwrap_or(Value::Null);
    let (n, key, value) = MAX_METADATA;
    let fits = |(name, text): (&String, &Value)| {
        name.chars().count() <= key && text.as_str().is_some_and(|text| text.chars().count() <= value)
    };
    let is_right = match &metadata {
        Value::Null => true,
        Value::Object(pairs) => pairs.len() <= n && pairs.iter().all(fits),
        _ => false,
    };
    if !is_right {
        let want = format!("at most {n} strings of {value} characters, with names of {key}");
        return Err(wrong("metadata", &metadata, &want));
    }
    Ok(BatchAsk {
        input_file_id: fields.required_str("input_file_id")?.to_owned(),
        endpoint: endpoint(fields.required_str("endpoint")?)?,
        metadata,
    })
}

/// Reads a line of the file.
///
/// # Errors
/// It is no question for the batch's endpoint.
pub fn read_line(line: &[u8], endpoint: &str) -> Result<Line, Problem> {
    let fault = |error| Problem::new(crate::Kind::Request, format!("the line is not JSON: {error}"));
    let value: Value = serde_json::from_slice(line).map_err(fault)?;
    let fields = Fields::of_body(&value)?;
    let custom_id = fields.required_str("custom_id")?;
    if custom_id.is_empty() || custom_id.chars().count() > MAX_CUSTOM_ID {
        let fact = format!("`custom_id` must have from 1 to {MAX_CUSTOM_ID} characters");
        return Err(Problem::field("custom_id", fact));
    }
    match fields.required_str("method")? {
        "POST" => {}
        other => return Err(wrong("method", &other.into(), "\"POST\"")),
    }
    match fields.required_str("url")? {
        url if url == endpoint => {}
        other => return Err(wrong("url", &other.into(), &format!("the batch's endpoint, {endpoint}"))),
    }
    fields.object("body")?.ok_or_else(|| crate::fields::missing("body"))?;
    Ok(Line { custom_id: custom_id.to_owned(), body: value["body"].clone() })
}

/// A batch that was just asked for.
pub fn body(id: &str, ask: &BatchAsk, created: u64, seconds: u64) -> Value {
    json!({
        "id": id,
        "object": "batch",
        "endpoint": ask.endpoint,
        "errors": null,
        "input_file_id": ask.input_file_id,
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": null,
        "error_file_id": null,
        "created_at": created,
        "in_progress_at": null,
        "expires_at": created.saturating_add(seconds),
        "finalizing_at": null,
        "completed_at": null,
        "failed_at": null,
        "expired_at": null,
        "cancelling_at": null,
        "cancelled_at": null,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": ask.metadata,
    })
}

/// Whether a batch in this state is over.
pub fn is_over(status: &Value) -> bool {
    ["completed", "failed", "expired", "cancelled"].iter().any(|over| status == over)
}

/// What is wrong with a line of the file, counted from 1, or with all of it.
pub fn error(problem: &Problem, line: Option<usize>) -> Value {
    json!({
        "code": problem.code.unwrap_or("invalid_request"),
        "message": problem.message,
        "param": problem.param,
        "line": line,
    })
}

/// A question's answer, as a line of a file.
pub fn answered(id: &str, custom_id: &str, status: u16, body: Value) -> Value {
    json!({
        "id": format!("batch_req_{id}"),
        "custom_id": custom_id,
        "response": {"status_code": status, "request_id": format!("req_{id}"), "body": body},
        "error": null,
    })
}

/// A question that was not answered, as a line of a file.
pub fn unanswered(id: &str, custom_id: &str, code: &str, message: &str) -> Value {
    json!({
        "id": format!("batch_req_{id}"),
        "custom_id": custom_id,
        "response": null,
        "error": {"code": code, "message": message},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let right = json!({"completion_window": "24h", "endpoint": "/v1/embeddings", "input_file_id": "file-1",
            "metadata": {"a": "b"}});
        let ask = read(&right).unwrap();
        assert_eq!((ask.endpoint, ask.input_file_id.as_str()), ("/v1/embeddings", "file-1"));
        let made = body("batch_1", &ask, 5, 86400);
        assert_eq!((&made["status"], &made["expires_at"]), (&json!("validating"), &json!(86405)));
        assert!(!is_over(&made["status"]) && is_over(&json!("expired")));
        for (field, value) in [
            ("completion_window", json!("1h")),
            ("endpoint", json!("/v1/files")),
            ("input_file_id", json!(5)),
            ("metadata", json!({"a": 5})),
            ("metadata", json!([])),
            ("output_expires_after", json!({"anchor": "created_at"})),
        ] {
            let mut wrong = right.clone();
            wrong[field] = value;
            assert_eq!(read(&wrong).unwrap_err().param.as_deref(), Some(field));
        }
    }

    #[test]
    fn lines_are_read() {
        let right =
            json!({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}});
        let read = |line: &Value| read_line(line.to_string().as_bytes(), "/v1/completions");
        assert_eq!(read(&right).unwrap(), Line { custom_id: "a".into(), body: json!({"prompt": "x"}) });
        for (field, value) in [
            ("custom_id", json!("")),
            ("custom_id", json!(null)),
            ("method", json!("GET")),
            ("url", json!("/v1/chat/completions")),
            ("body", json!(null)),
            ("body", json!([])),
        ] {
            let mut wrong = right.clone();
            wrong[field] = value;
            assert_eq!(read(&wrong).unwrap_err().param.as_deref(), Some(field));
        }
        assert!(read_line(b"{", "/v1/completions").is_err());
    }
}
