//! What form an answer has, in the words of OpenAI, llama.cpp, vLLM, SGLang and Ollama.
//!
//! A request may say it once. A form that is not known is refused: nobody gets free text who asked for a form.

use serde_json::Value;

use super::limits::MAX_CHOICES;
use super::refused::is_off;
use crate::fields::wrong;
use crate::{Fields, Format, Problem};

/// The form of the answer.
pub(super) fn read(fields: &Fields) -> Result<Format, Problem> {
    let mut found = Vec::new();
    let mut add = |path: String, format: Option<Format>| {
        found.extend(format.filter(|format| *format != Format::Text).map(|format| (path, format)));
    };
    add("response_format".into(), response_format(fields)?);
    add("format".into(), ollama_format(fields)?);
    for (name, form) in [
        ("json_schema", Form::Schema),
        ("grammar", Form::Grammar),
        ("guided_json", Form::Schema),
        ("guided_regex", Form::Regex),
        ("guided_choice", Form::Choice),
        ("guided_grammar", Form::Grammar),
        ("regex", Form::Regex),
        ("ebnf", Form::Grammar),
    ] {
        add(name.into(), form.read(fields, name)?);
    }
    if let Some(outputs) = fields.object("structured_outputs")? {
        for (name, format) in structured_outputs(&outputs)? {
            add(outputs.path(name), format);
        }
    }
    if let [(one, _), (other, _), ..] = found.as_slice() {
        return Err(Problem::field(
            other,
            format!("`{one}` and `{other}` both say what form the answer has"),
        ));
    }
    Ok(found.pop().map(|(_, format)| format).unwrap_or_default())
}

/// A form that a field's value says.
#[derive(Clone, Copy)]
enum Form {
    Schema,
    Regex,
    Grammar,
    Choice,
}

impl Form {
    fn read(self, fields: &Fields, name: &str) -> Result<Option<Format>, Problem> {
        let text = || Ok(fields.str(name)?.filter(|text| !text.is_empty()).map(str::to_owned));
        match self {
            Form::Schema => schema(fields, name),
            Form::Regex => Ok(text()?.map(Format::Regex)),
            Form::Grammar => Ok(text()?.map(Format::Grammar)),
            Form::Choice => choice(fields, name),
        }
    }
}

/// A schema as an object, or as vLLM allows it, as its text.
fn schema(fields: &Fields, name: &str) -> Result<Option<Format>, Problem> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let read = match value {
        Value::Object(_) => Some(value.clone()),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    };
    let read = read.ok_or_else(|| wrong(&fields.path(name), value, "a JSON schema, which is an object"))?;
    Ok(Some(Format::Schema(read)))
}

fn choice(fields: &Fields, name: &str) -> Result<Option<Format>, Problem> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let texts = fields.strings(name, MAX_CHOICES)?;
    match texts.is_empty() || value.is_string() {
        true => Err(wrong(&fields.path(name), value, "a list of texts, of which the answer is one")),
        false => Ok(Some(Format::Choice(texts))),
    }
}

fn response_format(fields: &Fields) -> Result<Option<Format>, Problem> {
    let Some(format) = fields.object("response_format")? else { return Ok(None) };
    match format.required_str("type")? {
        "text" => Ok(Some(Format::Text)),
        "json_object" => Ok(Some(schema(&format, "schema")?.unwrap_or(Format::Object))),
        "json_schema" => {
            let within = format.object("json_schema")?;
            let (within, name) = (within.as_ref().unwrap_or(&format), "schema");
            match schema(within, name)? {
                Some(schema) => Ok(Some(schema)),
                None => Err(crate::fields::missing("response_format.json_schema.schema")),
            }
        }
        _ => Err(wrong(
            &format.path("type"),
            format.required("type")?,
            "\"text\", \"json_object\" or \"json_schema\"",
        )),
    }
}

/// `"json"` or a schema; an empty text is absent.
fn ollama_format(fields: &Fields) -> Result<Option<Format>, Problem> {
    match fields.get("format") {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text == "json" => Ok(Some(Format::Object)),
        Some(Value::Object(_)) => schema(fields, "format"),
        Some(other) => Err(wrong("format", other, "\"json\" or a JSON schema")),
    }
}

/// vLLM's form.
fn structured_outputs(
    outputs: &Fields,
) -> Result<impl Iterator<Item = (&'static str, Option<Format>)> + use<>, Problem> {
    const FIXED: &str = "the form of JSON's white space is fixed";
    for name in ["whitespace_pattern", "disable_any_whitespace"] {
        outputs.refuse(name, is_off, FIXED)?;
    }
    outputs.refuse("disable_additional_properties", is_off, "say it in the schema")?;
    outputs.refuse("structural_tag", is_off, "use a grammar")?;
    let object = outputs.bool("json_object", false)?.then_some(Format::Object);
    Ok([
        ("json", Form::Schema.read(outputs, "json")?),
        ("regex", Form::Regex.read(outputs, "regex")?),
        ("choice", Form::Choice.read(outputs, "choice")?),
        ("grammar", Form::Grammar.read(outputs, "grammar")?),
        ("json_object", object),
    ]
    .into_iter())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: Value) -> Result<Format, Problem> {
        read(&Fields::of_body(&body).unwrap())
    }

    #[test]
    fn every_way_to_say_it() {
        let schema = json!({"type": "object", "properties": {"b": {}, "a": {}}});
        let text = schema.to_string();
        let is_schema = Format::Schema(schema.clone());
        for (body, want) in [
            (json!({}), Format::Text),
            (json!({"response_format": null, "format": "", "grammar": ""}), Format::Text),
            (json!({"response_format": {"type": "text"}, "guided_regex": "a+"}), Format::Regex("a+".into())),
            (json!({"response_format": {"type": "json_object"}}), Format::Object),
            (json!({"response_format": {"type": "json_object", "schema": schema}}), is_schema.clone()),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}}),
                is_schema.clone(),
            ),
            (json!({"response_format": {"type": "json_schema", "schema": schema}}), is_schema.clone()),
            (json!({"format": "json"}), Format::Object),
            (json!({"format": schema}), is_schema.clone()),
            (json!({"json_schema": schema}), is_schema.clone()),
            (json!({"guided_json": text}), is_schema.clone()),
            (json!({"guided_choice": ["a", "b"]}), Format::Choice(vec!["a".into(), "b".into()])),
            (json!({"guided_grammar": "root ::= \"a\""}), Format::Grammar("root ::= \"a\"".into())),
            (json!({"grammar": "start: \"a\""}), Format::Grammar("start: \"a\"".into())),
            (json!({"regex": "a"}), Format::Regex("a".into())),
            (json!({"ebnf": "root ::= x"}), Format::Grammar("root ::= x".into())),
            (json!({"structured_outputs": {"json": schema, "regex": null}}), is_schema),
            (json!({"structured_outputs": {"json_object": true}}), Format::Object),
            (json!({"structured_outputs": {"choice": ["x"]}}), Format::Choice(vec!["x".into()])),
        ] {
            assert_eq!(of(body.clone()), Ok(want), "{body}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (body, param) in [
            (json!({"response_format": "json"}), "response_format"),
            (json!({"response_format": {}}), "response_format.type"),
            (json!({"response_format": {"type": "structural_tag"}}), "response_format.type"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema.schema"),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}),
                "response_format.json_schema.schema",
            ),
            (json!({"format": "yaml"}), "format"),
            (json!({"guided_json": "{"}), "guided_json"),
            (json!({"guided_choice": []}), "guided_choice"),
            (json!({"guided_choice": "a"}), "guided_choice"),
            (json!({"guided_choice": [1]}), "guided_choice"),
            (json!({"grammar": 1}), "grammar"),
            (json!({"grammar": "x", "guided_regex": "y"}), "guided_regex"),
            (json!({"structured_outputs": {"regex": "x", "grammar": "y"}}), "structured_outputs.grammar"),
            (json!({"structured_outputs": {"structural_tag": "x"}}), "structured_outputs.structural_tag"),
            (
                json!({"structured_outputs": {"whitespace_pattern": " "}}),
                "structured_outputs.whitespace_pattern",
            ),
        ] {
            assert_eq!(of(body.clone()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
