//! `/v1/responses` and `/v1/responses/input_tokens`: what is asked.

use puna_text::template::Message;
use serde_json::{Map, Value, json};

use crate::fields::wrong;
use crate::responses::tools::{self, Namespaces};
use crate::responses::{Earlier, items, stored};
use crate::{Ask, Chat, Fields, Format, Identity, Input, Kind, Problem, Sampling};

/// The most alternatives to a token whose log-probabilities may be asked for.
const TOP_LOGPROBS: usize = 20;

/// What shape the answer has, and what is kept of the question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Whether it comes in frames.
    pub stream: bool,
    /// Whether the response is kept for later requests.
    pub store: bool,
    /// The response that this one follows.
    pub previous: Option<String>,
    /// Whether items in the middle may be left out of a prompt that is too long. Nothing here does so: a server that
    /// does not either refuses such a prompt as any other.
    pub truncates: bool,
    /// The input, that of earlier responses and their output before it.
    pub(super) items: Vec<Value>,
    /// Fields of the request that the response has too.
    pub(super) echo: Map<String, Value>,
    pub(super) namespaces: Namespaces,
}

impl Shape {
    /// The input in the form that is kept: every item has a type and an id. Those of earlier responses are among them,
    /// so that a response's input and its output are all that one which follows it needs.
    pub fn items_of(&self, identity: &Identity) -> Vec<Value> {
        let with_id = |(n, item): (usize, &Value)| stored::with_id(item, identity, n);
        self.items.iter().enumerate().map(with_id).collect()
    }
}

/// Reads a body; earlier responses and their items are looked up where it names them.
pub fn read(body: &Value, earlier: &dyn Earlier) -> Result<(Ask, Shape), Problem> {
    let fields = Fields::of_body(body)?;
    refuse(&fields)?;
    let offered = tools::read(&fields)?;
    let previous = fields.str("previous_response_id")?.map(str::to_owned);
    let items = all_items(&fields, previous.as_deref(), earlier)?;
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(fields.str("instructions")?.map(|text| Message::new("system", text)));
    messages.extend(items::messages(&items, &offered.namespaces)?);
    if messages.is_empty() {
        return Err(Problem::field("input", "`input` has nothing to answer"));
    }
    let ask = Ask {
        model: fields.str("model")?.map(str::to_owned),
        input: Input::Chat(Chat { messages, ..Chat::default() }),
        n: 1,
        sampling: Sampling {
            temperature: fields.number("temperature", 0.0..=2.0)?,
            top_p: fields.number("top_p", 0.0..=1.0)?,
            ..Sampling::default()
        },
        max_tokens: fields.count("max_output_tokens", 1..=usize::MAX)?,
        logprobs: logprobs(&fields)?,
        format: format(&fields)?,
        tools: offered.tools,
        tenant: fields.str("safety_identifier")?.or(fields.str("user")?).map(str::to_owned),
        ..Ask::default()
    };
    let shape = Shape {
        stream: fields.bool("stream", false)?,
        store: fields.bool("store", true)?,
        previous,
        truncates: truncates(&fields)?,
        items: items.into_iter().map(|item| item.value).collect(),
        echo: echo(&fields)?,
        namespaces: offered.namespaces,
    };
    Ok((ask, shape))
}

fn refuse(fields: &Fields) -> Result<(), Problem> {
    let is_false = |value: &Value| value == false;
    fields.refuse("background", is_false, "responses are answered while the client waits")?;
    fields.refuse(
        "conversation",
        |_| false,
        "no conversations are kept; send `previous_response_id` or all items",
    )?;
    fields.refuse("prompt", |_| false, "no prompt templates are kept; send `instructions` and `input`")
}

/// The items of the response that this one follows, and those of `input`; references resolved.
fn all_items(
    fields: &Fields,
    previous: Option<&str>,
    earlier: &dyn Earlier,
) -> Result<Vec<items::Item>, Problem> {
    let mut items = Vec::new();
    if let Some(id) = previous {
        let found = earlier.response(id).ok_or_else(|| Problem {
            code: Some("previous_response_not_found"),
            ..Problem::field(
                "previous_response_id",
                format!("`previous_response_id` is \"{id}\", which is not kept here"),
            )
        })?;
        items.extend(
            found.into_iter().map(|value| items::Item { path: "previous_response_id".to_owned(), value }),
        );
    }
    match fields.required("input")? {
        Value::String(text) => items.push(items::Item {
            path: "input".to_owned(),
            value: json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}),
        }),
        Value::Array(list) => {
            for (n, item) in list.iter().enumerate() {
                let path = format!("input[{n}]");
                let value = resolved(item, &path, earlier)?;
                items.push(items::Item { path, value });
            }
        }
        other => return Err(wrong("input", other, "a string or a list of items")),
    }
    Ok(items)
}

/// An item with its type, or the one that it refers to.
fn resolved(item: &Value, path: &str, earlier: &dyn Earlier) -> Result<Value, Problem> {
    let fields = Fields::within(item, path)?;
    match (fields.str("type")?, fields.get("role")) {
        (Some("item_reference"), _) | (None, None) => {
            let id = fields.required_str("id")?;
            let message = || format!("`{}` is \"{id}\", which is not kept here", fields.path("id"));
            let not_found =
                || Problem { param: Some(fields.path("id")), ..Problem::new(Kind::NotFound, message()) };
            earlier.item(id).ok_or_else(not_found)
        }
        (Some(_), _) => Ok(item.clone()),
        (None, Some(_)) => {
            let mut item = item.clone();
            item["type"] = "message".into();
            Ok(item)
        }
    }
}

fn format(fields: &Fields) -> Result<Format, Problem> {
    let text = fields.object("text")?;
    let Some(format) = text.map(|text| text.object("format")).transpose()?.flatten() else {
        return Ok(Format::Text);
    };
    match format.required_str("type")? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::Object),
        "json_schema" => match format.required("schema")? {
            schema if schema.is_object() => Ok(Format::Schema(schema.clone())),
            other => Err(wrong(&format.path("schema"), other, "an object")),
        },
        other => {
            let want = "\"text\", \"json_object\" or \"json_schema\"";
            Err(wrong(&format.path("type"), &other.into(), want))
        }
    }
}

/// How many log-probabilities beside each token's own; `include` says whether there are any.
fn logprobs(fields: &Fields) -> Result<Option<usize>, Problem> {
    let top = fields.count("top_logprobs", 0..=TOP_LOGPROBS)?;
    let is_included = fields.list("include")?.iter().any(|name| name == "message.output_text.logprobs");
    Ok(if is_included { Some(top.unwrap_or(0)) } else { top.filter(|&n| n > 0) })
}

fn truncates(fields: &Fields) -> Result<bool, Problem> {
    match fields.str("truncation")? {
        None | Some("disabled") => Ok(false),
        Some("auto") => Ok(true),
        Some(other) => Err(wrong("truncation", &other.into(), "\"auto\" or \"disabled\"")),
    }
}

/// What the response says again: each field as it was asked for, or what it is where nothing was.
fn echo(fields: &Fields) -> Result<Map<String, Value>, Problem> {
    let metadata = fields.object("metadata")?;
    if let Some((name, value)) = metadata.iter().flat_map(Fields::iter).find(|(_, value)| !value.is_string())
    {
        return Err(wrong(&format!("metadata.{name}"), value, "a string"));
    }
    fields.object("reasoning")?;
    let mut text: Map<String, Value> = match fields.object("text")? {
        Some(text) => text.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
        None => Map::new(),
    };
    if text.get("format").is_none_or(Value::is_null) {
        text.insert("format".to_owned(), json!({"type": "text"}));
    }
    let defaults = [
        ("background", json!(false)),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("safety_identifier", Value::Null),
        ("store", json!(true)),
        ("temperature", Value::Null),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_logprobs", json!(0)),
        ("top_p", Value::Null),
        ("truncation", json!("disabled")),
        ("user", Value::Null),
    ];
    let given =
        |(name, default): (&str, Value)| (name.to_owned(), fields.get(name).cloned().unwrap_or(default));
    let mut echo: Map<String, Value> = defaults.into_iter().map(given).collect();
    echo.insert("text".to_owned(), text.into());
    Ok(echo)
}
