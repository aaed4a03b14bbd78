//! Tools of a conversation, and which of them may be called.

use serde_json::Value;

use crate::fields::wrong;
use crate::{Fields, Problem, ToolChoice, Tools};

/// `tools`, and `tool_choice`, which Ollama does not have but some of its clients send in OpenAI's form.
pub(super) fn read(fields: &Fields) -> Result<Tools, Problem> {
    let offered = fields.list("tools")?;
    for (at, tool) in offered.iter().enumerate() {
        check(tool, &fields.path(&format!("tools[{at}]")))?;
    }
    let choice = read_choice(fields, offered)?;
    let one_only = !fields.bool("parallel_tool_calls", true)?;
    Ok(Tools { offered: offered.to_vec(), choice, one_only })
}

fn check(tool: &Value, path: &str) -> Result<(), Problem> {
    let tool = Fields::within(tool, path)?;
    tool.refuse("type", |kind| kind == "function", "tools are functions")?;
    let function = Fields::within(tool.required("function")?, &tool.path("function"))?;
    function.required_str("name")?;
    function.str("description")?;
    function.object("parameters")?;
    Ok(())
}

fn read_choice(fields: &Fields, offered: &[Value]) -> Result<ToolChoice, Problem> {
    let Some(choice) = fields.get("tool_choice") else { return Ok(ToolChoice::Auto) };
    let path = fields.path("tool_choice");
    let name = match choice {
        Value::String(word) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::Nothing),
            "required" | "any" => return Ok(ToolChoice::Required),
            _ => return Err(wrong(&path, choice, "\"auto\", \"none\", \"required\" or a function")),
        },
        choice => {
            let choice = Fields::within(choice, &path)?;
            let function = Fields::within(choice.required("function")?, &choice.path("function"))?;
            function.required_str("name")?
        }
    };
    if !offered.iter().any(|tool| tool["function"]["name"] == name) {
        return Err(Problem::field(&path, format!("`{path}` names {name:?}, which is not among the tools")));
    }
    Ok(ToolChoice::Named(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_body(body: &Value) -> Result<Tools, Problem> {
        read(&Fields::of_body(body).unwrap())
    }

    #[test]
    fn choices() {
        let f = json!({"type": "function", "function": {"name": "f", "description": null}});
        let cases = [
            (json!(null), ToolChoice::Auto),
            (json!("auto"), ToolChoice::Auto),
            (json!("none"), ToolChoice::Nothing),
            (json!("required"), ToolChoice::Required),
            (json!({"type": "function", "function": {"name": "f"}}), ToolChoice::Named("f".to_owned())),
        ];
        for (choice, wanted) in cases {
            let tools = read_body(&json!({"tools": [f], "tool_choice": choice})).unwrap();
            assert_eq!((tools.choice, tools.offered, tools.one_only), (wanted, vec![f.clone()], false));
        }
        assert!(read_body(&json!({"parallel_tool_calls": false})).unwrap().one_only);
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            (json!({"tools": {}}), "tools"),
            (json!({"tools": ["f"]}), "tools[0]"),
            (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
            (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
            (json!({"tools": [{"function": {}}]}), "tools[0].function.name"),
            (
                json!({"tools": [{"function": {"name": "f", "parameters": "x"}}]}),
                "tools[0].function.parameters",
            ),
            (json!({"tool_choice": "f"}), "tool_choice"),
            (json!({"tool_choice": {"function": {"name": "f"}}}), "tool_choice"),
            (json!({"tool_choice": {"function": {}}}), "tool_choice.function.name"),
        ];
        for (body, param) in cases {
            assert_eq!(read_body(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
