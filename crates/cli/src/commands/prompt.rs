//! `puna prompt`: what a conversation looks like to the model.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use puna::{Conversation, RenderOptions};
use puna_formats::visible_path;
use serde::Serialize;
use serde_json::Value;

use crate::args::ModelArg;
use crate::failure::Failure;
use crate::input;
use crate::output::{print, print_answer, print_json};

/// Show the prompt that a conversation becomes.
///
/// Prints exactly the prompt that the model's chat format makes of the messages. The messages are a JSON
/// array as in OpenAI's API, or an object with one as `messages` (and tools as `tools`).
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna prompt -m model.gguf --messages chat.json
  puna prompt -m Llama-3.1-8B-Instruct/ --messages chat.json --tools tools.json --date \"26 Jul 2024\"
  echo '[{\"role\": \"user\", \"content\": \"hi\"}]' | puna prompt -m model/ --messages - --json")]
pub struct Prompt {
    #[command(flatten)]
    model: ModelArg,
    /// A JSON file of messages; `-` is standard input
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// A JSON file with an array of tools
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// The date the prompt names, for example "26 Jul 2024" [default: the chat format's own, which may be
    /// today's]
    #[arg(long)]
    date: Option<String>,
    /// End after the last message, without the beginning of the assistant's answer
    #[arg(long)]
    no_generation_prompt: bool,
    /// Print a JSON object with the prompt's text and ids
    #[arg(long)]
    json: bool,
}

impl Prompt {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let files = [("--messages", Some(&*self.messages)), ("--tools", self.tools.as_deref())];
        input::only_one_is_stdin(files)?;
        let Conversation { messages, tools } = input::read_conversation(&self.messages)?;
        let tools = match &self.tools {
            Some(path) => input::read_json(path)?,
            None => tools,
        };
        let options = RenderOptions {
            add_generation_prompt: !self.no_generation_prompt,
            date_string: self.date.clone(),
            tools: list_of_tools(tools)?,
            ..RenderOptions::default()
        };
        let (files, path) = self.model.text_files()?;
        let missing = |what| Failure::Failed(format!("`{}` has no {what}", visible_path(&path)));
        let tokenizer = files.tokenizer.as_ref().ok_or_else(|| missing("tokenizer"))?;
        let prompt = files.render(&messages, &options).ok_or_else(|| missing("chat template"))??;
        drop(messages);
        if self.json {
            let ids = prompt.to_ids(tokenizer);
            let ids = ids.map_err(|error| Failure::Failed(format!("cannot encode the prompt\n  {error}")))?;
            return print_json(&PromptJson { text: prompt.as_text(), ids: &ids });
        }
        print_answer(prompt.as_text())?;
        if std::io::stdout().is_terminal() { print("\n") } else { Ok(()) }
    }
}

/// What --json prints.
#[derive(Serialize)]
struct PromptJson<'p> {
    text: &'p str,
    ids: &'p [u32],
}

fn list_of_tools(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(tools) => Ok(tools),
        other => Err(Failure::Failed(format!(
            "cannot read the tools\n  expected a JSON array, found {}",
            kind_of(&other)
        ))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
