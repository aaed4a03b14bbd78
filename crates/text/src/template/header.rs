//! Llama 3, 3.1, 3.2, 3.3 and 4: messages behind role headers, as the checkpoints' templates write them.
//!
//! One renderer; what differs between the generations is data in [`HeaderFormat`]. Message texts, role
//! names, tool definitions and results are ordinary text; only the markers of the format are special
//! tokens. (spec: prompts, sections 3 and 4)

use std::time::SystemTime;

use puna_jinja::strftime;
use serde_json::Value;

use crate::template::prompt::Prompt;
use crate::template::python_json::{JsonStyle, dumps, dumps_as};
use crate::template::{Content, Message, Part, RenderOptions, TemplateError, ToolCall, python_strip};

/// One generation's format.
#[derive(Debug)]
pub(crate) struct HeaderFormat {
    header_start: &'static str,
    header_end: &'static str,
    end_of_turn: &'static str,
    /// How much of the tool machinery the generation knows.
    tools: Tools,
    system: SystemBlock,
    date: Date,
    /// Whether texts lose the white space around them.
    trims: bool,
    /// Whether a list of parts may hold images.
    images: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tools {
    /// Tools, tool calls and tool results are not part of the format; every role is a plain header.
    None,
    /// One JSON call in a message.
    OneCall,
    /// The same, and Meta's builtin tools.
    OneCallOrBuiltin,
    /// Text between python tags, then any number of JSON calls.
    ManyCalls,
}

/// When the prompt begins with a system block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SystemBlock {
    IfGiven,
    Always,
    UnlessImages,
    /// As a message like any other.
    AsMessage,
}

/// The lines about the date in the system block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Date {
    None,
    /// A fixed day where the caller names none.
    Fixed(&'static str),
    Today,
}

const BOS: &str = "<|begin_of_text|>";

const LLAMA3: HeaderFormat = HeaderFormat {
    header_start: "<|start_header_id|>",
    header_end: "<|end_header_id|>",
    end_of_turn: "<|eot_id|>",
    tools: Tools::None,
    system: SystemBlock::AsMessage,
    date: Date::None,
    trims: true,
    images: false,
};

/// Llama 3.0
pub(crate) const LLAMA3_0: HeaderFormat = LLAMA3;

/// Llama 3.1 and 3.3
pub(crate) const LLAMA3_1: HeaderFormat = HeaderFormat {
    tools: Tools::OneCallOrBuiltin,
    system: SystemBlock::Always,
    date: Date::Fixed("26 Jul 2024"),
    ..LLAMA3
};

/// Llama 3.2 text
pub(crate) const LLAMA3_2: HeaderFormat =
    HeaderFormat { tools: Tools::OneCall, system: SystemBlock::Always, date: Date::Today, ..LLAMA3 };

/// Llama 3.2 Vision
pub(crate) const LLAMA3_2_VISION: HeaderFormat =
    HeaderFormat { system: SystemBlock::UnlessImages, trims: false, images: true, ..LLAMA3_2 };

/// Llama 4
pub(crate) const LLAMA4: HeaderFormat = HeaderFormat {
    header_start: "<|header_start|>",
    header_end: "<|header_end|>",
    end_of_turn: "<|eot|>",
    tools: Tools::ManyCalls,
    system: SystemBlock::IfGiven,
    date: Date::None,
    trims: false,
    images: true,
};

const ANSWER_FORMAT: &str = "Respond in the format {\"name\": function name, \"parameters\": dictionary of \
    argument name and its value}.Do not use variables.\n\n";

impl HeaderFormat {
    /// The prompt for `messages`.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<Prompt, TemplateError> {
        if messages.is_empty() {
            return Err(TemplateError::no_messages());
        }
        let mut prompt = Prompt::default();
        prompt.special(BOS);
        let mut rest = messages;
        if self.system != SystemBlock::AsMessage {
            let system = messages.first().filter(|message| message.role == "system");
            rest = &messages[usize::from(system.is_some())..];
            self.system_block(&mut prompt, system, rest, options);
        }
        if self.has_tools(options) && options.tools_in_user_message() {
            let (first, after) = rest.split_first().ok_or_else(|| {
                let what = "Cannot put tools in the first user message when there's no first user message!";
                TemplateError::Refused(what.to_owned())
            })?;
            self.first_user_message(&mut prompt, first, options)?;
            rest = after;
        }
        for message in rest {
            self.message(&mut prompt, message, options)?;
        }
        if options.add_generation_prompt {
            self.header(&mut prompt, "assistant");
        }
        Ok(prompt)
    }

    fn has_tools(&self, options: &RenderOptions) -> bool {
        self.tools != Tools::None && !options.tools.is_empty()
    }

    fn has_builtin_tools(&self, options: &RenderOptions) -> bool {
        self.tools == Tools::OneCallOrBuiltin && !options.builtin_tools.is_empty()
    }

    fn header(&self, prompt: &mut Prompt, role: &str) {
        prompt.special(self.header_start).text(role).special(self.header_end).text("\n\n");
    }

    fn system_block(
        &self,
        prompt: &mut Prompt,
        system: Option<&Message>,
        rest: &[Message],
        options: &RenderOptions,
    ) {
        let wanted = match self.system {
            SystemBlock::Always => true,
            SystemBlock::IfGiven | SystemBlock::AsMessage => system.is_some(),
            SystemBlock::UnlessImages => system.is_some() || !rest.iter().any(Message::has_image),
        };
        if !wanted {
            return;
        }
        self.header(prompt, "system");
        if self.has_tools(options) || self.has_builtin_tools(options) {
            prompt.text("Environment: ipython\n");
        }
        if self.has_builtin_tools(options) {
            let names = options.builtin_tools.iter().map(String::as_str);
            let names: Vec<&str> = names.filter(|name| *name != "code_interpreter").collect();
            prompt.text(format!("Tools: {}\n\n", names.join(", ")));
        }
        if self.date != Date::None {
            let date = self.date_string(options);
            prompt.text(format!("Cutting Knowledge Date: December 2023\nToday Date: {date}\n\n"));
        }
        if self.has_tools(options) && !options.tools_in_user_message() {
            prompt.text("You have access to the following functions. To call a function, please respond with JSON for a function call.");
            tool_list(prompt, &options.tools);
        }
        prompt.text(python_strip(&system.map(Message::text).unwrap_or_default()));
        prompt.special(self.end_of_turn);
    }

    fn date_string(&self, options: &RenderOptions) -> String {
        match (&options.date_string, self.date) {
            (Some(date), _) => date.clone(),
            (None, Date::Fixed(date)) => date.to_owned(),
            (None, _) => strftime(options.now.unwrap_or_else(SystemTime::now), "%d %b %Y"),
        }
    }

    /// The first message of the conversation with the tools in front of it.
    fn first_user_message(
        &self,
        prompt: &mut Prompt,
        message: &Message,
        options: &RenderOptions,
    ) -> Result<(), TemplateError> {
        if message.has_image() {
            let what = "tools and an image cannot stand in the same first message".to_owned();
            return Err(TemplateError::Refused(what));
        }
        self.header(prompt, "user");
        prompt.text("Given the following functions, please respond with a JSON for a function call with its proper arguments that best answers the given prompt.\n\n");
        tool_list(prompt, &options.tools);
        prompt.text(python_strip(&message.text())).special(self.end_of_turn);
        Ok(())
    }

    fn message(
        &self,
        prompt: &mut Prompt,
        message: &Message,
        options: &RenderOptions,
    ) -> Result<(), TemplateError> {
        if self.tools == Tools::None {
            self.header(prompt, &message.role);
            self.content(prompt, message)?;
            prompt.special(self.end_of_turn);
        } else if !message.tool_calls().is_empty() {
            self.header(prompt, "assistant");
            self.tool_calls(prompt, message, options)?;
        } else if matches!(&*message.role, "tool" | "ipython") {
            self.header(prompt, "ipython");
            prompt.text(tool_result(message)).special(self.end_of_turn);
        } else {
            self.header(prompt, &message.role);
            self.content(prompt, message)?;
            prompt.special(self.end_of_turn);
        }
        Ok(())
    }

    fn content(&self, prompt: &mut Prompt, message: &Message) -> Result<(), TemplateError> {
        if self.trims {
            if message.has_image() {
                return Err(TemplateError::Refused("this model cannot see images".to_owned()));
            }
            prompt.text(python_strip(&message.text()));
            return Ok(());
        }
        let Some(Content::Parts(parts)) = &message.content else {
            prompt.text(message.text());
            return Ok(());
        };
        for part in parts {
            match part {
                Part::Text(text) => prompt.text(text),
                Part::Image(_) if self.images => prompt.special("<|image|>"),
                Part::Image(_) | Part::Other(_) => prompt,
            };
        }
        Ok(())
    }

    fn tool_calls(
        &self,
        prompt: &mut Prompt,
        message: &Message,
        options: &RenderOptions,
    ) -> Result<(), TemplateError> {
        if self.tools == Tools::ManyCalls {
            prompt.special("<|python_start|>");
            self.content(prompt, message)?;
            prompt.special("<|python_end|>");
            message.tool_calls().iter().for_each(|call| json_call(prompt, call));
            prompt.special(self.end_of_turn);
            return Ok(());
        }
        let [call] = message.tool_calls() else {
            return Err(TemplateError::Refused(
                "This model only supports single tool-calls at once!".to_owned(),
            ));
        };
        let builtin = self.has_builtin_tools(options);
        if builtin && options.builtin_tools.iter().any(|tool| tool == call.name()) {
            let arguments = call.arguments();
            let arguments = arguments.as_object().into_iter().flatten();
            let arguments: Vec<String> = arguments
                .map(|(name, value)| match value {
                    Value::String(text) => format!("{name}=\"{text}\""),
                    other => format!("{name}=\"{}\"", dumps(other)),
                })
                .collect();
            let text = format!("{}.call({})", call.name(), arguments.join(", "));
            prompt.special("<|python_tag|>").text(text);
        } else {
            json_call(prompt, call);
        }
        // With builtin tools the model expects a result and goes on: the message ends, not the turn.
        prompt.special(if builtin { "<|eom_id|>" } else { self.end_of_turn });
        Ok(())
    }
}

fn tool_list(prompt: &mut Prompt, tools: &[Value]) {
    prompt.text(ANSWER_FORMAT);
    for tool in tools {
        prompt.text(dumps_as(tool, JsonStyle { indent: Some(4), ascii: false })).text("\n\n");
    }
}

fn json_call(prompt: &mut Prompt, call: &ToolCall) {
    let arguments = dumps(&call.arguments());
    prompt.text(format!("{{\"name\": \"{}\", \"parameters\": {arguments}}}", call.name()));
}

/// A result as JSON. The templates mean to print strings as they are, but ask whether the content can be
/// iterated over, which strings can: so they are quoted.
fn tool_result(message: &Message) -> String {
    match &message.content {
        None => String::new(),
        Some(Content::Text(text)) => dumps(&Value::String(text.clone())),
        Some(content) => dumps(&serde_json::to_value(content).unwrap_or_default()),
    }
}
