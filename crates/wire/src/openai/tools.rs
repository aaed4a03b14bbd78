//! Tools that are offered, and which of them must or may be called; the old `functions` too.

use serde_json::{Value, json};

use super::limits::{MAX_TOOL_NAME_BYTES, MAX_TOOLS};
use crate::fields::wrong;
use crate::{Fields, Problem, ToolChoice, Tools};

/// The tools, and whether they were offered as `functions`, whose answer has another shape.
pub(super) fn read(fields: &Fields) -> Result<(Tools, bool), Problem> {
    let may_be_several = fields.bool("parallel_tool_calls", true)?;
    let functions = functions(fields)?;
    let is_old = !functions.is_empty();
    let mut offered = if is_old { functions } else { offered(fields)? };
    let said = ["tool_choice", "function_call"].iter().find_map(|name| Some((*name, fields.get(name)?)));
    let choice = match said {
        None => ToolChoice::Auto,
        Some((name, value)) => choose(name, value, &mut offered)?,
    };
    let one_only = is_old || !may_be_several;
    Ok((Tools { offered, choice, one_only }, is_old))
}

/// Tools of the kind `function`. Other kinds run on their maker's servers: clients offer them everywhere.
fn offered(fields: &Fields) -> Result<Vec<Value>, Problem> {
    let mut offered = Vec::new();
    for (i, tool) in bounded(fields, "tools")?.iter().enumerate() {
        let tool_fields = Fields::within(tool, &format!("tools[{i}]"))?;
        if tool_fields.str("type")?.is_some_and(|kind| kind != "function") {
            continue;
        }
        let function = tool_fields.required("function")?;
        check_function(&Fields::within(function, &tool_fields.path("function"))?)?;
        offered.push(tool.clone());
    }
    Ok(offered)
}

fn functions(fields: &Fields) -> Result<Vec<Value>, Problem> {
    let functions = bounded(fields, "functions")?;
    if !functions.is_empty() && !fields.list("tools")?.is_empty() {
        return Err(Problem::field("functions", "`tools` and `functions` both offer tools"));
    }
    for (i, function) in functions.iter().enumerate() {
        check_function(&Fields::within(function, &format!("functions[{i}]"))?)?;
    }
    Ok(functions.iter().map(|function| json!({"type": "function", "function": function})).collect())
}

fn bounded<'v>(fields: &Fields<'v>, name: &str) -> Result<&'v [Value], Problem> {
    let list = fields.list(name)?;
    match list.len() <= MAX_TOOLS {
        true => Ok(list),
        false => Err(Problem::field(
            name,
            format!("`{name}` has {} tools; at most {MAX_TOOLS} are allowed", list.len()),
        )),
    }
}

fn check_function(function: &Fields) -> Result<(), Problem> {
    let name = function.required_str("name")?;
    if name.is_empty() || name.len() > MAX_TOOL_NAME_BYTES {
        let want = format!("a name of 1 to {MAX_TOOL_NAME_BYTES} bytes");
        return Err(wrong(&function.path("name"), function.required("name")?, &want));
    }
    function.object("parameters").map(drop)
}

/// Reads a choice, and withdraws tools that it does not allow.
fn choose(field: &str, value: &Value, offered: &mut Vec<Value>) -> Result<ToolChoice, Problem> {
    let choice = match value {
        Value::String(word) => mode(field, word)?,
        Value::Object(_) => {
            let fields = Fields::within(value, field)?;
            match (field, fields.str("type")?) {
                ("tool_choice", Some("allowed_tools")) => allowed(&fields, offered)?,
                ("tool_choice", Some("function")) => {
                    ToolChoice::Named(known(&function_name(&fields)?, field, offered)?)
                }
                ("function_call", _) => {
                    ToolChoice::Named(known(fields.required_str("name")?, field, offered)?)
                }
                _ => return Err(unknown(field, value)),
            }
        }
        _ => return Err(unknown(field, value)),
    };
    if choice == ToolChoice::Required && offered.is_empty() {
        return Err(Problem::field(field, format!("`{field}` requires a call, but no function is offered")));
    }
    Ok(choice)
}

fn unknown(field: &str, value: &Value) -> Problem {
    wrong(field, value, "\"none\", \"auto\", \"required\", or one function by its name")
}

fn mode(field: &str, word: &str) -> Result<ToolChoice, Problem> {
    match word {
        "none" => Ok(ToolChoice::Nothing),
        "auto" => Ok(ToolChoice::Auto),
        "required" => Ok(ToolChoice::Required),
        _ => Err(unknown(field, &word.into())),
    }
}

/// `{"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}`.
fn allowed(fields: &Fields, offered: &mut Vec<Value>) -> Result<ToolChoice, Problem> {
    let within = fields.object("allowed_tools")?;
    let within = within.as_ref().unwrap_or(fields);
    let mut names = Vec::new();
    for (i, tool) in within.list("tools")?.iter().enumerate() {
        let path = format!("{}[{i}]", within.path("tools"));
        names.push(known(&function_name(&Fields::within(tool, &path)?)?, &path, offered)?);
    }
    let choice = mode(&within.path("mode"), within.str("mode")?.unwrap_or("auto"))?;
    offered.retain(|tool| names.iter().any(|name| *name == tool["function"]["name"]));
    Ok(choice)
}

/// The name in `{"function": {"name"}}`, or in `{"name"}`.
fn function_name(fields: &Fields) -> Result<String, Problem> {
    match fields.object("function")? {
        Some(function) => Ok(function.required_str("name")?.to_owned()),
        None if fields.get("name").is_some() => Ok(fields.required_str("name")?.to_owned()),
        None => Err(crate::fields::missing(&fields.path("function.name"))),
    }
}

fn known(name: &str, path: &str, offered: &[Value]) -> Result<String, Problem> {
    match offered.iter().any(|tool| tool["function"]["name"] == name) {
        true => Ok(name.to_owned()),
        false => {
            let name = crate::fields::shown(&name.into());
            Err(Problem::field(path, format!("`{path}` names the function {name}, which is not offered")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: Value) -> Result<(Tools, bool), Problem> {
        read(&Fields::of_body(&body).unwrap())
    }

    fn two() -> Value {
        json!([
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
            {"type": "web_search", "name": "w"},
            {"type": "function", "function": {"name": "g"}},
        ])
    }

    #[test]
    fn choices_are_read_and_other_kinds_passed_over() {
        for (choice, want, names) in [
            (json!(null), ToolChoice::Auto, vec!["f", "g"]),
            (json!("auto"), ToolChoice::Auto, vec!["f", "g"]),
            (json!("none"), ToolChoice::Nothing, vec!["f", "g"]),
            (json!("required"), ToolChoice::Required, vec!["f", "g"]),
            (
                json!({"type": "function", "function": {"name": "g"}}),
                ToolChoice::Named("g".into()),
                vec!["f", "g"],
            ),
            (json!({"type": "function", "name": "g"}), ToolChoice::Named("g".into()), vec!["f", "g"]),
            (
                json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
                    {"type": "function", "function": {"name": "g"}}]}}),
                ToolChoice::Required,
                vec!["g"],
            ),
        ] {
            let (tools, is_old) = of(json!({"tools": two(), "tool_choice": choice})).unwrap();
            let offered: Vec<&str> =
                tools.offered.iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
            assert_eq!((tools.choice, offered, tools.one_only, is_old), (want, names, false, false));
        }
        assert!(of(json!({"tools": two(), "parallel_tool_calls": false})).unwrap().0.one_only);
        assert_eq!(of(json!({"tools": [], "tool_choice": "auto"})), Ok((Tools::default(), false)));
    }

    #[test]
    fn functions_of_old_become_tools() {
        let body = json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}});
        let (tools, is_old) = of(body).unwrap();
        assert_eq!(tools.offered, [json!({"type": "function", "function": {"name": "f"}})]);
        assert_eq!((tools.choice, tools.one_only, is_old), (ToolChoice::Named("f".into()), true, true));
    }

    #[test]
    fn a_choice_counts_under_either_name() {
        for name in ["tool_choice", "function_call"] {
            for offer in [json!({"functions": [{"name": "f"}]}), json!({ "tools": two() })] {
                let mut body = offer;
                body[name] = json!("required");
                assert_eq!(of(body).unwrap().0.choice, ToolChoice::Required);
            }
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        let many = vec![json!({"type": "web_search"}); MAX_TOOLS + 1];
        let long = "n".repeat(MAX_TOOL_NAME_BYTES + 1);
        for (body, param) in [
            (json!({"tools": two(), "tool_choice": "any"}), "tool_choice"),
            (
                json!({"tools": two(), "tool_choice": {"type": "custom", "custom": {"name": "f"}}}),
                "tool_choice",
            ),
            (json!({"tools": two(), "tool_choice": 1}), "tool_choice"),
            (json!({"tools": two(), "tool_choice": {"type": "function"}}), "tool_choice.function.name"),
            (json!({"tools": two(), "tool_choice": {"type": "function", "name": "h"}}), "tool_choice"),
            (json!({"tools": two(), "tool_choice": {"type": "function", "name": "w"}}), "tool_choice"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"tools": [{"type": "web_search"}], "tool_choice": "required"}), "tool_choice"),
            (
                json!({"tools": two(), "tool_choice": {"type": "allowed_tools", "tools": [{"name": "h"}]}}),
                "tool_choice.tools[0]",
            ),
            (
                json!({"tools": two(), "tool_choice": {"type": "allowed_tools", "mode": "required"}}),
                "tool_choice",
            ),
            (json!({"functions": [{"name": "f"}], "function_call": {"name": "g"}}), "function_call"),
            (json!({"functions": [{"name": "f"}], "tools": two()}), "functions"),
            (json!({"functions": [{}]}), "functions[0].name"),
            (json!({"tools": {}}), "tools"),
            (json!({"tools": ["f"]}), "tools[0]"),
            (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
            (json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
            (json!({"tools": [{"function": {"name": ""}}]}), "tools[0].function.name"),
            (json!({"tools": [{"function": {"name": long}}]}), "tools[0].function.name"),
            (
                json!({"tools": [{"function": {"name": "f", "parameters": []}}]}),
                "tools[0].function.parameters",
            ),
            (json!({"tools": many}), "tools"),
            (json!({"parallel_tool_calls": "no"}), "parallel_tool_calls"),
        ] {
            assert_eq!(of(body.clone()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
