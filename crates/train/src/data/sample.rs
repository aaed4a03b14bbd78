//! What a line of a file says: a text, a conversation, or answers of which one is better. Its keys tell.
//!
//! Known are Alpaca's instructions, ShareGPT's conversations, OpenAI's messages with tools, prompts with
//! completions, and TRL's forms of preferences. Which of them is meant is decided line by line.

use std::borrow::Cow;

use puna_text::template::{Conversation, Message, ToolCall};
use serde_json::{Map, Value};

use super::config::SourceKind;

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    Text(String),
    Chat(Conversation),
    /// A text and how it goes on.
    Completion {
        prompt: String,
        completion: String,
    },
    Pair(Box<Pair>),
    /// One answer, and whether it is a good one.
    Judged(Box<(Answered, bool)>),
}

/// Two answers to the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub chosen: Answered,
    pub rejected: Answered,
}

/// What was asked, and an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answered {
    /// The last `n_answer` messages are the answer.
    Chat {
        conversation: Conversation,
        n_answer: usize,
    },
    Text {
        prompt: String,
        answer: String,
    },
}

/// How samples are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms<'c> {
    pub kind: SourceKind,
    pub text_key: Option<&'c str>,
    /// Whether a prompt that is a text becomes a user's message, and its answer an assistant's: so it is, where the
    /// model has a chat template.
    pub has_template: bool,
}

/// The keys that say what an object is, for messages.
const KNOWN: &str = "known are `text`, `messages`, `conversations`, `instruction` with `output`, `prompt` with \
    `completion`, and `chosen` with `rejected`";

impl Forms<'_> {
    /// The sample that JSON says.
    pub fn sample(&self, value: Value) -> Result<Sample, String> {
        let mut object = match value {
            Value::Object(object) => object,
            Value::String(text) if self.takes_text() => return Ok(Sample::Text(text)),
            list @ Value::Array(_) if self.takes_chat() => {
                return Ok(Sample::Chat(Conversation { messages: messages(list)?, tools: Value::Null }));
            }
            other => return Err(format!("{} is no sample; {KNOWN}", kind_of(&other))),
        };
        let has = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
        if let Some(key) = self.text_key.filter(|_| self.takes_text()) {
            return match object.remove(key) {
                Some(Value::String(text)) => Ok(Sample::Text(text)),
                Some(other) => Err(format!("`{key}` is {}, not a text", kind_of(&other))),
                None => Err(format!("there is no `{key}`; there are {}", keys(&object))),
            };
        }
        if self.takes_preferences() && has("chosen") && has("rejected") {
            return self.pair(object);
        }
        if self.takes_preferences() && has("prompt") && has("completion") && has("label") {
            return self.judged(object);
        }
        if self.takes_chat() {
            if has("messages") || has("conversations") || has("conversation") {
                return conversation(object).map(Sample::Chat);
            }
            if has("instruction") && (has("output") || has("response")) {
                return self.instruction(&mut object);
            }
            if has("prompt") && (has("completion") || has("response")) {
                return self.completion(object);
            }
        }
        if self.takes_text() {
            for key in ["text", "content"] {
                if let Some(Value::String(text)) = object.get_mut(key) {
                    return Ok(Sample::Text(std::mem::take(text)));
                }
            }
        }
        Err(format!("its keys, {}, say no {}; {KNOWN}", keys(&object), self.wanted()))
    }

    fn takes_text(&self) -> bool {
        matches!(self.kind, SourceKind::Auto | SourceKind::Text)
    }

    fn takes_chat(&self) -> bool {
        matches!(self.kind, SourceKind::Auto | SourceKind::Chat)
    }

    fn takes_preferences(&self) -> bool {
        matches!(self.kind, SourceKind::Auto | SourceKind::Preference)
    }

    fn wanted(&self) -> &'static str {
        match self.kind {
            SourceKind::Auto => "sample",
            SourceKind::Text => "text",
            SourceKind::Chat => "conversation",
            SourceKind::Preference => "preference",
        }
    }

    /// Alpaca's form, and Dolly's, which calls things otherwise.
    fn instruction(&self, object: &mut Map<String, Value>) -> Result<Sample, String> {
        let mut text = |keys: [&str; 2]| -> Result<String, String> {
            let Some(key) = keys.into_iter().find(|key| object.contains_key(*key)) else {
                return Ok(String::new());
            };
            match object.remove(key) {
                Some(Value::String(text)) => Ok(text),
                None | Some(Value::Null) => Ok(String::new()),
                Some(other) => Err(format!("`{key}` is {}, not a text", kind_of(&other))),
            }
        };
        let instruction = text(["instruction", "instruction"])?;
        let (input, output) = (text(["input", "context"])?, text(["output", "response"])?);
        let system = text(["system", "system"])?;
        if self.has_template {
            let question =
                if input.trim().is_empty() { instruction } else { format!("{instruction}\n\n{input}") };
            return Ok(Sample::Chat(turns(Some(system), question, output)));
        }
        let mut prompt = if system.is_empty() { system } else { system + "\n\n" };
        prompt += &format!("### Instruction:\n{instruction}\n\n");
        if !input.trim().is_empty() {
            prompt += &format!("### Input:\n{input}\n\n");
        }
        Ok(Sample::Completion { prompt: prompt + "### Response:\n", completion: output })
    }

    fn completion(&self, mut object: Map<String, Value>) -> Result<Sample, String> {
        let key = if object.contains_key("completion") { "completion" } else { "response" };
        let answered = self.answered(object.remove("prompt"), object.remove(key), &mut object)?;
        Ok(match answered {
            Answered::Chat { conversation, .. } => Sample::Chat(conversation),
            Answered::Text { prompt, answer } => Sample::Completion { prompt, completion: answer },
        })
    }

    fn judged(&self, mut object: Map<String, Value>) -> Result<Sample, String> {
        let label = match object.remove("label") {
            Some(Value::Bool(label)) => label,
            Some(Value::Number(number)) if number.as_i64().is_some_and(|n| n == 0 || n == 1) => {
                number.as_i64() == Some(1)
            }
            _ => return Err("`label` is neither true nor false".to_owned()),
        };
        let answered = self.answered(object.remove("prompt"), object.remove("completion"), &mut object)?;
        Ok(Sample::Judged(Box::new((answered, label))))
    }

    fn pair(&self, mut object: Map<String, Value>) -> Result<Sample, String> {
        let (chosen, rejected) = (object.remove("chosen"), object.remove("rejected"));
        let prompt = object.remove("prompt").filter(|prompt| !prompt.is_null());
        let (chosen, rejected) = match prompt {
            Some(prompt) => {
                let mut tools = object.clone();
                let chosen = self.answered(Some(prompt.clone()), chosen, &mut tools)?;
                (chosen, self.answered(Some(prompt), rejected, &mut object)?)
            }
            None => implicit(chosen, rejected, tools_of(&mut object)?)?,
        };
        Ok(Sample::Pair(Box::new(Pair { chosen, rejected })))
    }

    /// A prompt and its answer, both texts or lists of messages.
    fn answered(
        &self,
        prompt: Option<Value>,
        answer: Option<Value>,
        object: &mut Map<String, Value>,
    ) -> Result<Answered, String> {
        let (prompt, answer) = (prompt.unwrap_or_default(), answer.unwrap_or_default());
        let (prompt, answer) = match (prompt, answer) {
            (Value::String(prompt), Value::String(answer)) if !self.has_template => {
                return Ok(Answered::Text { prompt, answer });
            }
            both => both,
        };
        let mut all = turn(prompt, "user")?;
        let answer = turn(answer, "assistant")?;
        let n_answer = answer.len();
        // A conversation that repeats its prompt, as TRL allows.
        if answer.len() > all.len() && answer.starts_with(&all) {
            let n_answer = answer.len() - all.len();
            let conversation = Conversation { messages: answer, tools: tools_of(object)? };
            return Ok(Answered::Chat { conversation, n_answer });
        }
        all.extend(answer);
        Ok(Answered::Chat {
            conversation: Conversation { messages: all, tools: tools_of(object)? },
            n_answer,
        })
    }
}

/// Messages, or a text as the message of a role.
fn turn(value: Value, role: &'static str) -> Result<Vec<Message>, String> {
    match value {
        Value::String(text) => Ok(vec![Message::new(role, text)]),
        Value::Array(_) => messages(value),
        object @ Value::Object(_) => messages(Value::Array(vec![object])),
        other => Err(format!("{} is neither a text nor messages", kind_of(&other))),
    }
}

/// Answers without a prompt of their own: what both begin with is the prompt.
fn implicit(
    chosen: Option<Value>,
    rejected: Option<Value>,
    tools: Value,
) -> Result<(Answered, Answered), String> {
    match (chosen.unwrap_or_default(), rejected.unwrap_or_default()) {
        (Value::String(chosen), Value::String(rejected)) => {
            let mut shared: usize = chosen
                .chars()
                .zip(rejected.chars())
                .take_while(|(a, b)| a == b)
                .map(|(c, _)| c.len_utf8())
                .sum();
            // A space belongs to the word after it.
            if chosen[..shared].ends_with(' ') {
                shared -= 1;
            }
            let answered = |text: String| {
                let (prompt, answer) = text.split_at(shared);
                Answered::Text { prompt: prompt.to_owned(), answer: answer.to_owned() }
            };
            Ok((answered(chosen), answered(rejected)))
        }
        (chosen, rejected) => {
            let (chosen, rejected) = (messages(chosen)?, messages(rejected)?);
            let n_shared = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
            let answered = |messages: Vec<Message>| {
                let n_answer = messages.len() - n_shared;
                let conversation = Conversation { messages, tools: tools.clone() };
                Answered::Chat { conversation, n_answer }
            };
            Ok((answered(chosen), answered(rejected)))
        }
    }
}

/// A conversation in OpenAI's words or in ShareGPT's.
fn conversation(mut object: Map<String, Value>) -> Result<Conversation, String> {
    let key = ["messages", "conversations", "conversation"]
        .into_iter()
        .find(|key| object.get(*key).is_some_and(|value| !value.is_null()));
    let list = key.and_then(|key| object.remove(key)).unwrap_or_default();
    let mut messages = messages(list)?;
    if let Some(Value::String(system)) = object.remove("system")
        && !system.trim().is_empty()
        && messages.first().is_none_or(|message| message.role != "system")
    {
        messages.insert(0, Message::new("system", system));
    }
    Ok(Conversation { messages, tools: tools_of(&mut object)? })
}

/// The tools offered, which some files write as a text of JSON.
fn tools_of(object: &mut Map<String, Value>) -> Result<Value, String> {
    match object.remove("tools") {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Value::Null),
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(list @ Value::Array(_)) => Ok(list),
            _ => Err("`tools` is a text that is no list of JSON".to_owned()),
        },
        Some(list @ Value::Array(_)) => Ok(list),
        Some(other) => Err(format!("`tools` is {}, not a list", kind_of(&other))),
    }
}

fn messages(list: Value) -> Result<Vec<Message>, String> {
    let Value::Array(list) = list else { return Err(format!("{} is no list of messages", kind_of(&list))) };
    if list.is_empty() {
        return Err("the list of messages is empty".to_owned());
    }
    let all = list.into_iter().enumerate();
    all.map(|(i, value)| message(value).map_err(|fact| format!("message {}: {fact}", i + 1))).collect()
}

fn message(value: Value) -> Result<Message, String> {
    let Value::Object(mut object) = value else {
        return Err(format!("it is {}, not an object", kind_of(&value)));
    };
    if let (false, Some(Value::String(from))) = (object.contains_key("role"), object.remove("from")) {
        return share_gpt(&from, object.remove("value").unwrap_or_default());
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
}

/// A turn in ShareGPT's words, with those that LLaMA-Factory added for tools.
fn share_gpt(from: &str, value: Value) -> Result<Message, String> {
    let Value::String(text) = value else {
        return Err(format!("its `value` is {}, not a text", kind_of(&value)));
    };
    let role = match from {
        "human" | "user" => "user",
        "gpt" | "assistant" | "bot" | "model" | "chatgpt" | "bard" => "assistant",
        "system" => "system",
        "tool" | "observation" | "function_response" => "tool",
        "function_call" => {
            let call = serde_json::from_str::<Value>(&text).ok();
            let name = call.as_ref().and_then(|call| call["name"].as_str());
            let (Some(call), Some(name)) = (&call, name) else {
                return Err("its function call is no JSON with a `name`".to_owned());
            };
            let call = ToolCall::new(name, call["arguments"].clone());
            let message = serde_json::json!({"role": "assistant", "content": null, "tool_calls": [call]});
            return serde_json::from_value(message).map_err(|error| error.to_string());
        }
        other => return Err(format!("nobody is known who is called {}", puna_formats::quote(other))),
    };
    Ok(Message::new(role, text))
}

fn turns(system: Option<String>, user: String, assistant: String) -> Conversation {
    let system = system.filter(|text| !text.trim().is_empty()).map(|text| Message::new("system", text));
    let turns = [Message::new("user", user), Message::new("assistant", assistant)];
    Conversation { messages: system.into_iter().chain(turns).collect(), tools: Value::Null }
}

impl Sample {
    /// All its words, for those who compare samples.
    pub fn words(&self) -> Cow<'_, str> {
        match self {
            Sample::Text(text) => text.into(),
            Sample::Chat(conversation) => said(conversation).into(),
            Sample::Completion { prompt, completion } => format!("{prompt}\n{completion}").into(),
            Sample::Pair(pair) => format!("{}\n{}", pair.chosen.words(), pair.rejected.words()).into(),
            Sample::Judged(judged) => format!("{}\n{}", judged.0.words(), judged.1).into(),
        }
    }
}

impl Answered {
    fn words(&self) -> String {
        match self {
            Answered::Chat { conversation, .. } => said(conversation),
            Answered::Text { prompt, answer } => format!("{prompt}\n{answer}"),
        }
    }
}

/// What was said and called, line by line.
fn said(conversation: &Conversation) -> String {
    let mut all = String::new();
    for message in &conversation.messages {
        all += &message.text();
        for call in message.tool_calls() {
            all += &format!("\n{} {}", call.name(), call.arguments());
        }
        all.push('\n');
    }
    all
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The keys of an object, for messages.
fn keys(object: &Map<String, Value>) -> String {
    const N_SHOWN: usize = 8;
    let shown: Vec<String> = object.keys().take(N_SHOWN).map(|key| puna_formats::quote(key)).collect();
    match (shown.is_empty(), object.len() > N_SHOWN) {
        (true, _) => "none".to_owned(),
        (_, true) => format!("{}, …", shown.join(", ")),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn forms(kind: SourceKind) -> Forms<'static> {
        Forms { kind, text_key: None, has_template: true }
    }

    fn chat(value: Value) -> Vec<(String, String)> {
        match forms(SourceKind::Auto).sample(value).unwrap() {
            Sample::Chat(chat) => {
                chat.messages.iter().map(|message| (message.role.to_string(), message.text())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn two(user: &str, assistant: &str) -> Vec<(String, String)> {
        vec![("user".into(), user.into()), ("assistant".into(), assistant.into())]
    }

    #[test]
    fn conversations_of_all_forms() {
        let (user, assistant) =
            (json!({"role": "user", "content": "a"}), json!({"role": "assistant", "content": "b"}));
        assert_eq!(chat(json!({"messages": [user, assistant], "source": "x"})), two("a", "b"));
        assert_eq!(chat(json!([user, assistant])), two("a", "b"));
        let parts = json!({"role": "user", "content": [{"type": "text", "text": "a"}]});
        assert_eq!(chat(json!({"messages": [parts, assistant]})), two("a", "b"));
        let share =
            json!({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]});
        assert_eq!(chat(share), two("a", "b"));
        assert_eq!(chat(json!({"instruction": "a", "input": "", "output": "b"})), two("a", "b"));
        assert_eq!(chat(json!({"instruction": "a", "input": "c", "output": "b"})), two("a\n\nc", "b"));
        assert_eq!(chat(json!({"instruction": "a", "context": "c", "response": "b"})), two("a\n\nc", "b"));
        assert_eq!(chat(json!({"prompt": "a", "completion": "b"})), two("a", "b"));
        assert_eq!(chat(json!({"prompt": [user], "completion": [assistant]})), two("a", "b"));
        let with_system = json!({"system": "s", "messages": [user, assistant]});
        assert_eq!(chat(with_system)[0], ("system".into(), "s".into()));
    }

    #[test]
    fn tools_are_kept() {
        let share = json!({"tools": "[{\"name\": \"f\"}]", "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
            {"from": "observation", "value": "2"}, {"from": "gpt", "value": "b"}]});
        let Sample::Chat(chat) = forms(SourceKind::Auto).sample(share).unwrap() else { panic!() };
        assert_eq!(chat.tools, json!([{"name": "f"}]));
        assert_eq!(chat.messages[1].tool_calls()[0].arguments().into_owned(), json!({"x": 1}));
        assert_eq!(chat.messages[2].role, "tool");
    }

    #[test]
    fn without_a_template_there_are_texts() {
        let forms = Forms { has_template: false, ..forms(SourceKind::Auto) };
        let sample = forms.sample(json!({"instruction": "a", "input": "c", "output": "b"})).unwrap();
        let prompt = "### Instruction:\na\n\n### Input:\nc\n\n### Response:\n".to_owned();
        assert_eq!(sample, Sample::Completion { prompt, completion: "b".into() });
        let sample = forms.sample(json!({"prompt": "a", "completion": " b"})).unwrap();
        assert_eq!(sample, Sample::Completion { prompt: "a".into(), completion: " b".into() });
    }

    #[test]
    fn preferences_of_all_forms() {
        let message = |role: &str, text: &str| json!({"role": role, "content": text});
        let (user, good, bad) = (message("user", "a"), message("assistant", "b"), message("assistant", "c"));
        let texts = json!({"prompt": "a", "chosen": "b", "rejected": "c"});
        let wanted = forms(SourceKind::Auto).sample(texts).unwrap();
        let Sample::Pair(pair) = &wanted else { panic!() };
        assert!(
            matches!(&pair.chosen, Answered::Chat { conversation, n_answer: 1 } if conversation.messages.len() == 2)
        );
        for form in [
            json!({"prompt": [user], "chosen": [good], "rejected": [bad]}),
            json!({"chosen": [user, good], "rejected": [user, bad]}),
            json!({"prompt": "a", "chosen": [user, good], "rejected": [user, bad]}),
        ] {
            assert_eq!(forms(SourceKind::Preference).sample(form).unwrap(), wanted);
        }
        let implicit = json!({"chosen": "the sky is blue", "rejected": "the sky is bleak"});
        let Sample::Pair(pair) = forms(SourceKind::Auto).sample(implicit).unwrap() else { panic!() };
        assert_eq!(pair.rejected, Answered::Text { prompt: "the sky is bl".into(), answer: "eak".into() });
        let judged = json!({"prompt": "a", "completion": "b", "label": true});
        assert!(
            matches!(forms(SourceKind::Auto).sample(judged).unwrap(), Sample::Judged(judged) if judged.1)
        );
    }

    #[test]
    fn what_is_no_sample_is_named() {
        let fact = |value: Value| forms(SourceKind::Auto).sample(value).unwrap_err();
        assert!(fact(json!({"foo": 1})).contains("its keys, `foo`, say no sample"));
        assert!(fact(json!(3)).contains("a number is no sample"));
        assert!(fact(json!({"messages": []})).contains("empty"));
        assert!(fact(json!({"messages": [{"content": "a"}]})).contains("message 1: missing field `role`"));
        assert!(fact(json!({"messages": 5})).contains("a number is no list"));
        assert!(fact(json!({"conversations": [{"from": "me", "value": "a"}]})).contains("called `me`"));
        assert!(fact(json!({"instruction": 1, "output": "b"})).contains("`instruction` is a number"));
        let text = Forms { text_key: Some("body"), ..forms(SourceKind::Text) };
        assert!(text.sample(json!({"text": "a"})).unwrap_err().contains("no `body`; there are `text`"));
        assert_eq!(text.sample(json!({"body": "a"})).unwrap(), Sample::Text("a".into()));
        let text = forms(SourceKind::Text).sample(json!({"messages": [{"role": "user", "content": "a"}]}));
        assert!(text.unwrap_err().contains("say no text"));
    }
}
