//! Bodies, and problems in each API's own shape.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use puna_wire::{Kind, Problem, anthropic, openai};
use serde_json::Value;

/// Whose API a path belongs to: who reads what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    OpenAi,
    Ollama,
    Anthropic,
}

impl Family {
    /// That of a path.
    pub fn of(path: &str) -> Family {
        match path {
            path if path.starts_with("/api/") => Family::Ollama,
            path if path.starts_with("/v1/messages") => Family::Anthropic,
            _ => Family::OpenAi,
        }
    }

    /// The problem in words that the API's clients know.
    pub fn words(self, problem: Problem) -> Problem {
        let too_long = match self {
            Family::OpenAi => openai::too_long,
            Family::Anthropic => anthropic::messages::too_long,
            Family::Ollama => return problem,
        };
        if problem.kind != Kind::TooLong {
            return problem;
        }
        let numbers = problem.message.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<usize> = numbers.filter_map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [n, max, ..] => Problem { message: too_long(n, max), ..problem },
            _ => problem,
        }
    }

    /// A problem as a whole answer.
    pub fn refuse(self, problem: &Problem) -> Response {
        let body = match self {
            Family::OpenAi => problem.openai(),
            Family::Ollama => problem.ollama(),
            Family::Anthropic => problem.anthropic(),
        };
        let mut response = json(problem.status(), &body);
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.clamp(1, 60).into());
        }
        if problem.kind == Kind::Key {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A body of JSON.
pub(crate) fn json(status: u16, value: &Value) -> Response {
    text(status, "application/json", value.to_string())
}

/// A body of any kind.
pub(crate) fn text(status: u16, content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
