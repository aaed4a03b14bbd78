//! `/openapi.json`: what the server can be asked, in the form of OpenAPI 3.1.
//!
//! Its parts are files of the folder `openapi`, one for each API, written by hand. What holds everywhere is added here:
//! other names of paths, and how requests are refused, in the shape of the API that a path belongs to.

use puna_wire::{Kind, Problem};
use serde_json::{Map, Value, json};

use crate::answer::json as answer;
use crate::asked::{Asked, Handled};
use crate::reply::Family;

/// What the parts are joined to.
const BASE: &str = include_str!("../../openapi/base.json");

const PARTS: [&str; 6] = [
    include_str!("../../openapi/openai.json"),
    include_str!("../../openapi/responses.json"),
    include_str!("../../openapi/files.json"),
    include_str!("../../openapi/anthropic.json"),
    include_str!("../../openapi/ollama.json"),
    include_str!("../../openapi/others.json"),
];

/// How a request may be refused, whatever it asks.
const REFUSALS: [(&str, &str); 9] = [
    ("400", "The request makes no sense, asks for what is not supported, or is longer than the context."),
    ("401", "The request has no key, or an unknown one."),
    ("403", "The request is for another host, or comes from a page of another origin."),
    ("404", "There is no such thing."),
    ("413", "The request is larger than allowed."),
    ("429", "Too many wait already."),
    ("500", "Something is wrong with the server, whose log says what."),
    ("503", "There is no room now."),
    ("504", "It took longer than allowed."),
];

pub(super) async fn get(_: Asked) -> Handled {
    let fault = |error| Problem::new(Kind::Internal, format!("the document is not whole: {error}"));
    Ok(answer(&document().map_err(fault)?))
}

/// The whole document.
pub(super) fn document() -> Result<Value, serde_json::Error> {
    let mut whole: Value = serde_json::from_str(BASE)?;
    for part in PARTS {
        let mut part: Value = serde_json::from_str(part)?;
        for (alias, path) in part["aliases"].as_object().cloned().unwrap_or_default() {
            part["paths"][alias] = renamed(&part["paths"][path.as_str().unwrap_or_default()]);
        }
        for name in ["paths", "components"] {
            join(&mut whole[name], part[name].take());
        }
    }
    whole["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    whole["components"]["responses"] = all_refusals();
    for (path, item) in whole["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in item.as_object_mut().into_iter().flatten().filter(|(name, _)| is_method(name)) {
            for (status, _) in REFUSALS {
                let name = refusal(Family::of(path), status);
                if operation["responses"][status].is_null() {
                    operation["responses"][status] =
                        json!({"$ref": format!("#/components/responses/{name}")});
                }
            }
        }
    }
    Ok(whole)
}

/// Whether a field of a path is one of its methods.
pub(super) fn is_method(name: &str) -> bool {
    ["get", "head", "post", "delete"].contains(&name)
}

/// The same path under another name: its operations have names of their own, or none.
fn renamed(item: &Value) -> Value {
    let mut item = item.clone();
    for (_, operation) in item.as_object_mut().into_iter().flatten() {
        if let Some(operation) = operation.as_object_mut() {
            operation.remove("operationId");
        }
    }
    item
}

/// Adds what a part says, field by field.
fn join(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                join(whole.entry(name).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (whole, part) => *whole = part,
    }
}

fn refusal(family: Family, status: &str) -> String {
    format!("{family:?}{status}")
}

/// Each API's ways to refuse.
fn all_refusals() -> Value {
    let mut all = Map::new();
    for family in [Family::OpenAi, Family::Ollama, Family::Anthropic] {
        for (status, description) in REFUSALS {
            let schema = json!({"$ref": format!("#/components/schemas/{family:?}Error")});
            let mut response =
                json!({"description": description, "content": {"application/json": {"schema": schema}}});
            let header = match status {
                "401" => Some(("www-authenticate", json!({"type": "string"}))),
                "429" | "503" => {
                    Some(("retry-after", json!({"type": "integer", "minimum": 1, "maximum": 60})))
                }
                _ => None,
            };
            if let Some((name, schema)) = header {
                response["headers"] = json!({name: {"schema": schema}});
            }
            all.insert(refusal(family, status), response);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_something_and_everything_is_referred_to() {
        let whole = document().unwrap();
        let mut found = Vec::new();
        references(&whole, &mut found);
        for reference in &found {
            let pointer =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
            assert!(whole.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for kind in ["schemas", "parameters", "responses"] {
            for name in whole["components"][kind].as_object().unwrap().keys() {
                let own = format!("#/components/{kind}/{name}");
                assert!(found.contains(&own.as_str()), "nothing refers to {own}");
            }
        }
    }

    #[test]
    fn parts_say_nothing_twice() {
        let whole = document().unwrap();
        let parts: Vec<Value> =
            PARTS.iter().chain([&BASE]).map(|part| serde_json::from_str(part).unwrap()).collect();
        for pointer in ["/components/schemas", "/components/parameters"] {
            let n_of = |value: &Value| value.pointer(pointer).and_then(Value::as_object).map_or(0, Map::len);
            assert_eq!(n_of(&whole), parts.iter().map(n_of).sum::<usize>(), "{pointer}");
        }
    }

    #[test]
    fn operations_have_different_names_and_their_api_s_refusals() {
        let whole = document().unwrap();
        let mut names = Vec::new();
        for (path, item) in whole["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| is_method(name)) {
                names.extend(operation["operationId"].as_str());
                assert!(operation["summary"].is_string(), "{method} {path}");
                let want = format!("#/components/responses/{:?}400", Family::of(path));
                assert_eq!(operation["responses"]["400"]["$ref"], want, "{method} {path}");
            }
        }
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), n > 30), (n, true));
        assert_eq!(
            whole["components"]["responses"]["OpenAi429"]["headers"]["retry-after"]["schema"]["maximum"],
            60
        );
    }
}
