//! Tools: functions, in the form of OpenAI's chat API. A namespace holds functions, which are offered one by one under
//! their own names; a call says the namespace again. Tools of other kinds are the API's own and passed over.

use serde_json::{Map, Value, json};

use crate::fields::{missing, wrong};
use crate::{Fields, Problem, ToolChoice, Tools};

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub tools: Tools,
    pub namespaces: Namespaces,
}

/// Which of the offered functions belong to namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Namespaces(Vec<Member>);

/// A function of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// The name that the model knows.
    offered: String,
    namespace: String,
    /// The name in the namespace.
    own: String,
}

impl Namespaces {
    /// The namespace and the name in it of an offered function that has one.
    pub fn own(&self, offered: &str) -> Option<(&str, &str)> {
        let member = self.0.iter().find(|member| member.offered == offered)?;
        Some((&member.namespace, &member.own))
    }

    /// The name that the model knows a function by.
    pub fn offered<'n>(&'n self, namespace: Option<&str>, own: &'n str) -> &'n str {
        let is_it = |member: &&Member| Some(member.namespace.as_str()) == namespace && member.own == own;
        self.0.iter().find(is_it).map_or(own, |member| &member.offered)
    }
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn read(fields: &Fields) -> Result<Offered, Problem> {
    let mut offered = Offered::default();
    let list = fields.list("tools")?;
    for (n, tool) in list.iter().enumerate() {
        let tool = Fields::within(tool, &format!("tools[{n}]"))?;
        if tool.required_str("type")? == "function" {
            offered.tools.offered.push(function(&tool, tool.required_str("name")?)?);
        }
    }
    // Afterwards, since functions without a namespace have the first right to their names.
    for (n, tool) in list.iter().enumerate().filter(|(_, tool)| tool["type"] == "namespace") {
        offered.push_namespace(&Fields::within(tool, &format!("tools[{n}]"))?)?;
    }
    offered.choose(fields)?;
    offered.tools.one_only = !fields.bool("parallel_tool_calls", true)?;
    Ok(offered)
}

/// A function in the chat API's form under a name.
fn function(tool: &Fields, name: &str) -> Result<Value, Problem> {
    let mut function = Map::new();
    function.insert("name".to_owned(), name.into());
    if let Some(description) = tool.str("description")? {
        function.insert("description".to_owned(), description.into());
    }
    match tool.get("parameters") {
        Some(schema) if !schema.is_object() => {
            return Err(wrong(&tool.path("parameters"), schema, "an object"));
        }
        Some(schema) => drop(function.insert("parameters".to_owned(), schema.clone())),
        None => {}
    }
    if tool.bool("strict", false)? {
        function.insert("strict".to_owned(), true.into());
    }
    Ok(json!({"type": "function", "function": function}))
}

impl Offered {
    fn has(&self, name: &str) -> bool {
        self.tools.offered.iter().any(|tool| tool["function"]["name"] == name)
    }

    fn push_namespace(&mut self, tool: &Fields) -> Result<(), Problem> {
        let namespace = tool.required_str("name")?;
        for (n, member) in tool.list("tools")?.iter().enumerate() {
            let member = Fields::within(member, &format!("{}[{n}]", tool.path("tools")))?;
            if member.required_str("type")? != "function" {
                continue;
            }
            let own = member.required_str("name")?;
            let offered = if self.has(own) { format!("{namespace}__{own}") } else { own.to_owned() };
            self.tools.offered.push(function(&member, &offered)?);
            let (namespace, own) = (namespace.to_owned(), own.to_owned());
            self.namespaces.0.push(Member { offered, namespace, own });
        }
        Ok(())
    }

    fn choose(&mut self, fields: &Fields) -> Result<(), Problem> {
        let choice = match fields.get("tool_choice") {
            None => return Ok(()),
            Some(Value::String(mode)) => self.mode("tool_choice", mode)?,
            Some(value) => {
                let choice = Fields::within(value, "tool_choice")?;
                match choice.required_str("type")? {
                    "function" => ToolChoice::Named(self.named(&choice)?),
                    "allowed_tools" => {
                        self.keep_allowed(&choice)?;
                        self.mode(&choice.path("mode"), choice.required_str("mode")?)?
                    }
                    other => {
                        let path = choice.path("type");
                        let message =
                            format!("`{path}` is \"{other}\", which is not supported: tools are functions");
                        return Err(Problem::unsupported(&path, message));
                    }
                }
            }
        };
        self.tools.choice = choice;
        Ok(())
    }

    fn mode(&self, path: &str, mode: &str) -> Result<ToolChoice, Problem> {
        match mode {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::Nothing),
            "required" if self.tools.offered.is_empty() => Err(missing("tools")),
            "required" => Ok(ToolChoice::Required),
            other => Err(wrong(path, &other.into(), "\"auto\", \"none\", \"required\" or an object")),
        }
    }

    /// The function that an object names, by the name that the model knows.
    fn named(&self, choice: &Fields) -> Result<String, Problem> {
        let own = choice.required_str("name")?;
        let name = self.namespaces.offered(choice.str("namespace")?, own);
        match self.has(name) {
            true => Ok(name.to_owned()),
            false => Err(wrong(&choice.path("name"), &own.into(), "the name of one of `tools`")),
        }
    }

    /// Leaves the functions that `allowed_tools` lists; tools of other kinds were passed over before.
    fn keep_allowed(&mut self, choice: &Fields) -> Result<(), Problem> {
        let mut allowed = Vec::new();
        for (n, tool) in choice.list("tools")?.iter().enumerate() {
            let tool = Fields::within(tool, &format!("{}[{n}]", choice.path("tools")))?;
            if tool.required_str("type")? == "function" {
                allowed.push(self.named(&tool)?);
            }
        }
        let is_allowed = |tool: &Value| allowed.iter().any(|name| tool["function"]["name"] == name.as_str());
        self.tools.offered.retain(is_allowed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(body: Value) -> Offered {
        read(&Fields::of_body(&body).unwrap()).unwrap()
    }

    fn names(offered: &Offered) -> Vec<&str> {
        offered.tools.offered.iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect()
    }

    fn tools() -> Value {
        let function = |name| json!({"type": "function", "name": name, "parameters": {}, "strict": null});
        json!([
            {"type": "web_search", "external_web_access": false},
            {"type": "namespace", "name": "n", "description": "d", "tools": [
                function("f"), function("g"), {"type": "custom", "name": "c"}]},
            function("f"),
        ])
    }

    #[test]
    fn namespaces_are_offered_one_by_one() {
        let offered = offered(json!({"tools": tools()}));
        assert_eq!(names(&offered), ["f", "n__f", "g"]);
        let function = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
        assert_eq!(offered.tools.offered[0], function);
        let namespaces = offered.namespaces;
        assert_eq!(namespaces.own("n__f"), Some(("n", "f")));
        assert_eq!(namespaces.own("g"), Some(("n", "g")));
        assert_eq!(namespaces.own("f"), None);
        assert_eq!(namespaces.offered(Some("n"), "f"), "n__f");
        assert_eq!(namespaces.offered(None, "f"), "f");
        assert_eq!(namespaces.offered(Some("m"), "f"), "f");
    }

    #[test]
    fn choices() {
        let chosen = |choice: Value| offered(json!({"tools": tools(), "tool_choice": choice}));
        assert_eq!(chosen(Value::Null).tools.choice, ToolChoice::Auto);
        assert_eq!(chosen(json!("none")).tools.choice, ToolChoice::Nothing);
        assert_eq!(chosen(json!("required")).tools.choice, ToolChoice::Required);
        let f = json!({"type": "function", "name": "f"});
        assert_eq!(chosen(f.clone()).tools.choice, ToolChoice::Named("f".to_owned()));
        let allowed =
            json!({"type": "allowed_tools", "mode": "required", "tools": [f, {"type": "web_search"}]});
        let allowed = chosen(allowed);
        assert_eq!(names(&allowed), ["f"]);
        assert_eq!(allowed.tools.choice, ToolChoice::Required);
        assert!(offered(json!({"parallel_tool_calls": false})).tools.one_only);
        assert!(!offered(json!({})).tools.one_only);
    }
}
