//! Tools: the client's own, in OpenAI's form. Those of other kinds are the API's, or known to its models alone; none
//! of them is here, and they are passed over.

use serde_json::{Map, Value};

use crate::anthropic::content::Change;
use crate::fields::{missing, wrong};
use crate::{Fields, Problem, ToolChoice, Tools};

/// Reads `tools` and `tool_choice`, after what the messages say of tools. All are offered at once: `defer_loading`
/// changes nothing.
pub(super) fn read(fields: &Fields, changes: &[Change]) -> Result<Tools, Problem> {
    let mut declared = Vec::new();
    for (n, tool) in fields.list("tools")?.iter().enumerate() {
        declared.extend(function(tool, &format!("tools[{n}]"))?);
    }
    let mut removed: Vec<&str> = Vec::new();
    for change in changes {
        match change {
            Change::Add(tool) => {
                let tool = function(tool, "messages: tool_addition.tool.definition")?;
                declared.retain(|other| tool.as_ref().is_none_or(|tool| name(tool) != name(other)));
                removed.retain(|gone| tool.as_ref().is_none_or(|tool| name(tool) != *gone));
                declared.extend(tool);
            }
            Change::Remove(gone) => removed.push(gone),
            Change::Restore(back) => removed.retain(|gone| gone != back),
        }
    }
    declared.retain(|tool| !removed.contains(&name(tool)));
    let (choice, one_only) = choice(fields, &declared)?;
    Ok(Tools { offered: declared, choice, one_only })
}

/// The name of a tool in OpenAI's form.
fn name(tool: &Value) -> &str {
    tool["function"]["name"].as_str().unwrap_or_default()
}

fn function(tool: &Value, path: &str) -> Result<Option<Value>, Problem> {
    let fields = Fields::within(tool, path)?;
    if fields.str("type")?.is_some_and(|kind| kind != "custom") {
        return Ok(None);
    }
    let mut function = Map::new();
    function.insert("name".to_owned(), fields.required_str("name")?.into());
    if let Some(description) = fields.str("description")? {
        function.insert("description".to_owned(), description.into());
    }
    let schema = fields.required("input_schema")?;
    if !schema.is_object() {
        return Err(wrong(&fields.path("input_schema"), schema, "an object"));
    }
    function.insert("parameters".to_owned(), schema.clone());
    if fields.bool("strict", false)? {
        function.insert("strict".to_owned(), true.into());
    }
    Ok(Some(serde_json::json!({"type": "function", "function": function})))
}

/// Which must or may be called, and whether one at most.
fn choice(fields: &Fields, offered: &[Value]) -> Result<(ToolChoice, bool), Problem> {
    let Some(choice) = fields.object("tool_choice")? else { return Ok((ToolChoice::Auto, false)) };
    let one_only = choice.bool("disable_parallel_tool_use", false)?;
    let kind = match choice.required_str("type")? {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::Nothing,
        "any" if offered.is_empty() => return Err(missing("tools")),
        "any" => ToolChoice::Required,
        "tool" => {
            let wanted = choice.required_str("name")?;
            if !offered.iter().any(|tool| name(tool) == wanted) {
                return Err(wrong(&choice.path("name"), &wanted.into(), "the name of one of `tools`"));
            }
            ToolChoice::Named(wanted.to_owned())
        }
        other => {
            let want = "\"auto\", \"any\", \"tool\" or \"none\"";
            return Err(wrong(&choice.path("type"), &other.into(), want));
        }
    };
    Ok((kind, one_only))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools(body: Value, changes: &[Change]) -> Tools {
        read(&Fields::of_body(&body).unwrap(), changes).unwrap()
    }

    #[test]
    fn tools_are_rewritten() {
        let body = json!({
            "tools": [
                {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true, "defer_loading": true},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
                {"type": "custom", "name": "g", "input_schema": {}},
            ],
            "tool_choice": {"type": "tool", "name": "g", "disable_parallel_tool_use": true},
        });
        let tools = tools(body, &[]);
        let f = json!({"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
        let g = json!({"name": "g", "parameters": {}});
        let function = |function| json!({"type": "function", "function": function});
        assert_eq!(tools.offered, [function(f), function(g)]);
        assert_eq!((tools.choice, tools.one_only), (ToolChoice::Named("g".to_owned()), true));
    }

    #[test]
    fn tools_come_and_go() {
        let body = json!({"tools": [{"name": "f", "input_schema": {}}, {"name": "g", "input_schema": {}}]});
        let names = |changes: &[Change]| {
            tools(body.clone(), changes).offered.iter().map(|tool| name(tool).to_owned()).collect::<Vec<_>>()
        };
        let (remove, restore) = (Change::Remove("f".to_owned()), Change::Restore("f".to_owned()));
        assert_eq!(names(&[]), ["f", "g"]);
        assert_eq!(names(&[remove]), ["g"]);
        assert_eq!(names(&[Change::Remove("f".to_owned()), restore]), ["f", "g"]);
        let again = Change::Add(json!({"name": "f", "input_schema": {}}));
        assert_eq!(names(&[Change::Remove("f".to_owned()), again]), ["g", "f"]);
    }
}
