//! From a question to what the engine is given: prompts, how tokens are chosen, who hears them.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use puna::{
    AnswerOptions, Error, InfillOrder, Job, Llama, Message, Picture, PromptTokens, RenderOptions, Request,
    SamplingParams, Tenant,
};
use puna_wire::tool_calls::Parser;
use puna_wire::{Ask, Chat, Format, Input, Kind, Problem, TextInput, ToolChoice};
use serde_json::{Value, json};

use crate::ear::{Calls, Ear, Logprobs, Made, problem_of};
use crate::heard::Teller;
use crate::identity::Names;
use crate::models::Loaded;

/// What is asked of the engine for one question: a job for each answer.
pub(crate) struct Prepared {
    pub jobs: Vec<Job>,
    /// The ids of each prompt.
    pub prompts: Vec<Vec<u32>>,
    /// Those of the first answer, as they are made.
    pub made: Made,
}

/// What every job of a question has in common.
pub(crate) struct Common {
    pub tenant: Tenant,
    pub deadline: Duration,
    pub max_tokens: usize,
    /// The most tokens of a prompt and its answer, where the model's own limit is not meant.
    pub context: Option<usize>,
    pub priority: i32,
    pub names: Arc<Names>,
}

/// Makes jobs of a question. It may take a while, and runs where that matters to nobody.
pub(crate) fn prepare(
    loaded: &Loaded,
    ask: &Ask,
    common: &Common,
    teller: &Teller,
) -> Result<Prepared, Problem> {
    let llama = &loaded.llama;
    let prompts = prompts(loaded, ask)?;
    let n = ask.n.max(1);
    let mut jobs = Vec::with_capacity(prompts.len() * n);
    let first = Made::default();
    for (p, prompt) in prompts.iter().enumerate() {
        let room = room_after(prompt, loaded, common)?;
        for i in 0..n {
            let options = options(llama, ask, prompt.is_chat, i, common.max_tokens.min(room));
            let (request, text) =
                llama.prepare(prompt.clone(), &options).map_err(|error| problem_of(&error))?;
            let request = match ask.ignore_eos {
                true => Request { stop_ids: Vec::new(), ..request },
                false => request,
            };
            let choice = p * n + i;
            let tokenizer = llama.tokenizer().ok();
            let calls = tokenizer.filter(|_| offers_tools(ask)).map(|tokenizer| {
                let names = common.names.clone();
                let parser = Parser::new(&ask.tools, choice, move || format!("call_{}", names.next()));
                Box::new(Calls { parser, tokenizer: tokenizer.clone() })
            });
            let logprobs = match (ask.logprobs, tokenizer) {
                (Some(n_top), Some(tokenizer)) => {
                    Some(Logprobs { tokenizer: tokenizer.clone(), n_top, waiting: VecDeque::new() })
                }
                _ => None,
            };
            let stops = ask.stop.clone();
            let made = if choice == 0 { first.clone() } else { Made::default() };
            let teller = teller.clone();
            let ear = Ear { choice, teller, text, calls, logprobs, stops, made, is_over: false };
            jobs.push(Job {
                request,
                tenant: common.tenant.clone(),
                priority: common.priority,
                deadline: Some(common.deadline),
                listener: Box::new(ear),
            });
        }
    }
    Ok(Prepared { jobs, prompts: prompts.into_iter().map(|prompt| prompt.ids).collect(), made: first })
}

/// How many tokens an answer may have after a prompt, as far as the model's own context says.
fn room_after(prompt: &PromptTokens, loaded: &Loaded, common: &Common) -> Result<usize, Problem> {
    let Some(context) = common.context else { return Ok(usize::MAX) };
    let n = prompt.ids.len();
    let fact = || {
        let name = &loaded.name;
        format!(
            "the prompt has {n} tokens, and there is room for {context} in the context (num_ctx) of {name}"
        )
    };
    context.checked_sub(n).filter(|room| *room > 0).ok_or_else(|| Problem::new(Kind::TooLong, fact()))
}

/// Whether the model may call tools.
fn offers_tools(ask: &Ask) -> bool {
    !ask.tools.offered.is_empty() && ask.tools.choice != ToolChoice::Nothing
}

/// How an answer is made, the `i`-th of those that are asked for.
fn options(llama: &Llama, ask: &Ask, is_chat: bool, i: usize, most: usize) -> AnswerOptions {
    let own = if is_chat { llama.chat_sampling() } else { llama.raw_sampling() };
    let said = &ask.sampling;
    let sampling = SamplingParams {
        temperature: said.temperature.unwrap_or(own.temperature),
        top_p: said.top_p.unwrap_or(own.top_p),
        top_k: said.top_k.unwrap_or(own.top_k),
        min_p: said.min_p.unwrap_or(own.min_p),
        typical_p: said.typical_p.unwrap_or(own.typical_p),
        repeat_penalty: said.repeat_penalty.unwrap_or(own.repeat_penalty),
        presence_penalty: said.presence_penalty.unwrap_or(own.presence_penalty),
        frequency_penalty: said.frequency_penalty.unwrap_or(own.frequency_penalty),
        penalty_window: said.repeat_last_n,
        logit_bias: said.logit_bias.clone(),
        // Each answer is another, and all of them are the same the next time.
        seed: said.seed.map(|seed| seed.wrapping_add(i as u64)),
    };
    // A text without an end goes on for ever.
    let default = if is_chat { usize::MAX } else { puna::COMPLETION_TOKENS };
    let max_tokens = ask.max_tokens.or(ask.default_max_tokens).unwrap_or(default).min(most);
    AnswerOptions {
        sampling: Some(sampling),
        max_tokens: Some(max_tokens),
        stop: ask.stop.clone(),
        form: form(ask),
    }
}

/// What the answer has to be: of the form that was asked for, or a call of a tool that must be called.
fn form(ask: &Ask) -> Option<puna::Form> {
    let must_call = match &ask.tools.choice {
        ToolChoice::Required => Some(None),
        ToolChoice::Named(name) => Some(Some(name.as_str())),
        ToolChoice::Auto | ToolChoice::Nothing => None,
    };
    if let Some(name) = must_call.filter(|_| !ask.tools.offered.is_empty()) {
        return Some(puna::Form::Schema(call_schema(&ask.tools.offered, name)));
    }
    match &ask.format {
        Format::Text => None,
        Format::Object => Some(puna::Form::Object),
        Format::Schema(schema) => Some(puna::Form::Schema(schema.clone())),
        Format::Regex(expression) => Some(puna::Form::Regex(expression.clone())),
        Format::Grammar(grammar) => Some(puna::Form::of_grammar(grammar)),
        Format::Choice(texts) => Some(puna::Form::Choice(texts.clone())),
    }
}

/// The schema of a call of one of these tools, in the form that Llamas write.
fn call_schema(offered: &[Value], name: Option<&str>) -> Value {
    let functions = offered.iter().map(|tool| &tool["function"]);
    let may =
        |function: &&Value| function["name"].as_str().is_some_and(|own| name.is_none_or(|name| name == own));
    let functions: Vec<&Value> = functions.filter(may).collect();
    let call = |(i, function): (usize, &&Value)| {
        let mut parameters = match &function["parameters"] {
            Value::Object(schema) if !schema.is_empty() => function["parameters"].clone(),
            _ => json!({"type": "object", "properties": {}, "additionalProperties": false}),
        };
        let within = if functions.len() == 1 { String::new() } else { format!("/anyOf/{i}") };
        move_references(&mut parameters, &format!("#{within}/properties/parameters"));
        json!({
            "type": "object",
            "properties": {"name": {"const": function["name"]}, "parameters": parameters},
            "required": ["name", "parameters"],
            "additionalProperties": false,
        })
    };
    let mut calls: Vec<Value> = functions.iter().enumerate().map(call).collect();
    match calls.len() {
        1 => calls.remove(0),
        _ => json!({"anyOf": calls}),
    }
}

/// References within a schema, which is now a part of another one, at `root`.
fn move_references(schema: &mut Value, root: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, root)),
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match value {
                    Value::String(reference) if key == "$ref" && reference.starts_with('#') => {
                        reference.replace_range(..1, root);
                    }
                    // What values are is no schema.
                    _ if key == "const" || key == "enum" || key == "default" => {}
                    value => move_references(value, root),
                }
            }
        }
        _ => {}
    }
}

/// The prompts of a question.
pub(crate) fn prompts(loaded: &Loaded, ask: &Ask) -> Result<Vec<PromptTokens>, Problem> {
    let llama = &loaded.llama;
    let prompts = match &ask.input {
        Input::Chat(chat) => vec![chat_prompt(loaded, ask, chat)?],
        Input::Texts { texts, .. } => {
            let prompt = |text: &TextInput| match text {
                TextInput::Text(text) => llama.encode(text).map(PromptTokens::from),
                TextInput::Ids(ids) => Ok(ids.into()),
            };
            texts.iter().map(prompt).collect::<Result<_, _>>().map_err(|error| problem_of(&error))?
        }
        Input::Infill { prefix, suffix } => {
            let prompt = llama.infill_prompt(prefix, suffix, InfillOrder::default());
            vec![prompt.map_err(|error| problem_of(&error))?]
        }
    };
    Ok(prompts)
}

fn chat_prompt(loaded: &Loaded, ask: &Ask, chat: &Chat) -> Result<PromptTokens, Problem> {
    let llama = &loaded.llama;
    let (messages, begun) = match (chat.continue_last, chat.messages.split_last()) {
        (true, Some((last, before))) => (before, Some(last)),
        _ => (&chat.messages[..], None),
    };
    let tools = if offers_tools(ask) { ask.tools.offered.clone() } else { Vec::new() };
    let render = RenderOptions { tools, extra: chat.template.clone(), ..RenderOptions::answer() };
    if llama.text().chat.is_none() {
        return plain_prompt(llama, &chat.messages);
    }
    let pictures = look(loaded, messages)?;
    let prompt = llama.chat_prompt(messages, &pictures, &render);
    let mut prompt = prompt.map_err(|error| problem_of(&error))?;
    if let Some(begun) = begun {
        // The answer goes on where it ends.
        let tokenizer = llama.tokenizer().map_err(|error| problem_of(&error))?;
        tokenizer.encode_continuation(&begun.text(), &mut prompt.ids);
    }
    Ok(prompt)
}

/// What a model without a chat format reads of a conversation: its texts, one after the other, which it goes on with. The
/// server says so when it starts.
fn plain_prompt(llama: &Llama, messages: &[Message]) -> Result<PromptTokens, Problem> {
    if let Some(message) = messages.iter().find(|message| message.has_image()) {
        let role = &message.role;
        return Err(Problem::field(
            "messages",
            format!("a message of the {role} has a picture, and the model sees none"),
        ));
    }
    let texts: Vec<String> = messages.iter().map(Message::text).filter(|text| !text.is_empty()).collect();
    llama.encode(&texts.join("\n\n")).map(PromptTokens::from).map_err(|error| problem_of(&error))
}

/// Looks at the pictures of messages, on the engine's thread.
fn look(loaded: &Loaded, messages: &[Message]) -> Result<Vec<Picture>, Problem> {
    if !messages.iter().any(Message::has_image) {
        return Ok(Vec::new());
    }
    check_urls(messages)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let (llama, messages) = (loaded.llama.clone(), messages.to_vec());
    loaded.worker.run(move |_| {
        let nowhere = std::path::Path::new("");
        let looked: Result<Vec<Picture>, Error> =
            llama.look_at_all(&messages, nowhere, |_, _| ControlFlow::Continue(()));
        let _ = sender.send(looked);
    });
    let lost = |_| Problem::new(Kind::Internal, "looking at a picture failed");
    receiver.recv().map_err(lost)?.map_err(|error| problem_of(&error))
}

/// Pictures come with the request: nothing is fetched, and no file is read.
fn check_urls(messages: &[Message]) -> Result<(), Problem> {
    for (i, message) in messages.iter().enumerate() {
        let Some(puna::Content::Parts(parts)) = &message.content else { continue };
        for part in parts {
            let puna::ContentPart::Image(image) = part else { continue };
            let url = image["image_url"].get("url").unwrap_or(&image["image_url"]).as_str();
            if image.get("path").is_some() || !url.is_some_and(|url| url.starts_with("data:")) {
                return Err(Problem::field(
                    "messages",
                    format!("message {}: a picture must be a data URL; this server fetches nothing", i + 1),
                ));
            }
        }
    }
    Ok(())
}
