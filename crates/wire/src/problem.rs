//! Why a question is not answered, in a shape that each API has of its own.

use serde_json::{Value, json};

/// What kind of failure, which says the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question makes no sense, or asks for what is not supported: 400.
    Request,
    /// The prompt is longer than the context: 400.
    TooLong,
    /// No key, or an unknown one: 401.
    Key,
    /// The key is not allowed this, or the request came from elsewhere: 403.
    Forbidden,
    /// There is no such thing: 404.
    NotFound,
    /// This path knows other methods: 405.
    Method,
    /// The body is larger than allowed: 413.
    TooLarge,
    /// Too many wait already: 429.
    Busy,
    /// Something is wrong on our side: 500.
    Internal,
    /// The model is being loaded, or there is no room for it now: 503.
    Unavailable,
    /// It took longer than allowed: 504.
    Deadline,
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// What was asked, what was found, and what to try; no paths and no addresses.
    pub message: String,
    /// The field that is at fault.
    pub param: Option<String>,
    /// A word for programs, where there is a better one than the kind's.
    pub code: Option<&'static str>,
    /// Seconds after which to ask again, from 1 to 60.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Problem {
        Problem { kind, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// A request that makes no sense because of a field.
    pub fn field(name: &str, message: impl Into<String>) -> Problem {
        Problem { param: Some(name.to_owned()), ..Problem::new(Kind::Request, message) }
    }

    /// A field that is documented and not supported here.
    pub fn unsupported(name: &str, message: impl Into<String>) -> Problem {
        Problem { code: Some("unsupported_parameter"), ..Problem::field(name, message) }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::Request | Kind::TooLong => 400,
            Kind::Key => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::Method => 405,
            Kind::TooLarge => 413,
            Kind::Busy => 429,
            Kind::Internal => 500,
            Kind::Unavailable => 503,
            Kind::Deadline => 504,
        }
    }

    /// OpenAI's shape.
    pub fn openai(&self) -> Value {
        let (kind, code) = match self.kind {
            Kind::Request => ("invalid_request_error", None),
            Kind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
            Kind::Key => ("authentication_error", Some("invalid_api_key")),
            Kind::Forbidden => ("permission_error", None),
            Kind::NotFound => ("not_found_error", Some("not_found")),
            Kind::Method => ("invalid_request_error", Some("method_not_allowed")),
            Kind::TooLarge => ("invalid_request_error", Some("request_too_large")),
            Kind::Busy => ("rate_limit_error", Some("rate_limit_exceeded")),
            Kind::Internal => ("server_error", Some("internal_error")),
            Kind::Unavailable => ("server_error", Some("unavailable")),
            Kind::Deadline => ("server_error", Some("timeout")),
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code.or(code),
        }})
    }

    /// Ollama's shape.
    pub fn ollama(&self) -> Value {
        json!({"error": self.message})
    }

    /// Anthropic's shape.
    pub fn anthropic(&self) -> Value {
        let kind = match self.kind {
            Kind::Request | Kind::TooLong | Kind::Method => "invalid_request_error",
            Kind::Key => "authentication_error",
            Kind::Forbidden => "permission_error",
            Kind::NotFound => "not_found_error",
            Kind::TooLarge => "request_too_large",
            Kind::Busy => "rate_limit_error",
            Kind::Internal => "api_error",
            Kind::Unavailable => "overloaded_error",
            Kind::Deadline => "timeout_error",
        };
        let mut error = json!({"type": kind, "message": self.message});
        if let Some(code) = self.code {
            error["details"] = json!({"error_code": code});
        }
        json!({"type": "error", "error": error})
    }
}
