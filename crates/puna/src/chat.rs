//! A conversation: its messages, the keys and values of its tokens, and the file it can be kept in.
//!
//! Each turn renders the whole conversation anew; what it has in common with what was computed before, usually all but
//! the new message, is not computed again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use puna_engine::Past;
use puna_formats::{read_json, write_file};
use puna_text::template::{Content, Message, Part, RenderOptions};
use serde_json::{Value, json};

use crate::{Error, Event, GenerateOptions, Generation, Llama, Picture, PromptTokens};

/// The largest file of a saved conversation that is read.
const MAX_SAVED_BYTES: usize = 64 << 20;

/// A conversation with a model that has a chat format.
pub struct Chat<'m> {
    llama: &'m Llama,
    messages: Vec<Message>,
    /// The pictures in them, in order.
    pictures: Vec<Picture>,
    past: Option<Past>,
    /// The date that a chat format names, tools, and whatever else a template reads.
    pub render: RenderOptions,
}

impl<'m> Chat<'m> {
    /// An empty conversation. Fails if the model has no chat format.
    pub fn new(llama: &'m Llama) -> Result<Chat<'m>, Error> {
        llama.tokenizer()?;
        if llama.chat_template().is_none() {
            return Err(Error::NoChatTemplate { path: llama.path().to_owned() });
        }
        Ok(Chat {
            llama,
            messages: Vec::new(),
            pictures: Vec::new(),
            past: None,
            render: RenderOptions::answer(),
        })
    }

    /// All messages, the system message first if there is one.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The system message's text.
    pub fn system(&self) -> Option<String> {
        self.messages.first().filter(|message| message.role == "system").map(Message::text)
    }

    /// Sets or removes the system message.
    pub fn set_system(&mut self, text: Option<&str>) {
        if self.system().is_some() {
            self.messages.remove(0);
        }
        if let Some(text) = text {
            self.messages.insert(0, Message::new("system", text));
        }
    }

    /// Adds a message without asking for an answer.
    pub fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Forgets everything but the system message.
    pub fn clear(&mut self) {
        self.messages.retain(|message| message.role == "system");
        self.pictures.clear();
        self.past = None;
    }

    /// Tokens whose keys and values are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        self.past.as_ref().map_or((0, 0), |past| (past.tokens().len(), past.bytes()))
    }

    /// Adds a message of the user that begins with pictures, each with the path that says which, without asking for an answer.
    pub fn push_with_pictures(&mut self, pictures: &[(PathBuf, Picture)], text: &str) {
        self.messages.push(message_of(pictures, text));
        self.pictures.extend(pictures.iter().map(|(_, picture)| picture.clone()));
    }

    /// The tokens of the prompt that asks for the next answer.
    pub fn prompt_tokens(&self) -> Result<PromptTokens, Error> {
        let ids = self.llama.prompt_ids(&self.llama.render(&self.messages, &self.render)?)?;
        self.llama.with_pictures(ids, &self.pictures)
    }

    /// Says `text` and returns the answer, which becomes part of the conversation even if it was cut short. If there is
    /// no answer, the conversation stays as it was.
    pub fn send(
        &mut self,
        text: &str,
        options: &GenerateOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Generation, Error> {
        self.send_with_pictures(&[], text, options, on_event)
    }

    /// The same, showing pictures before the text.
    pub fn send_with_pictures(
        &mut self,
        pictures: &[(PathBuf, Picture)],
        text: &str,
        options: &GenerateOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Generation, Error> {
        let n_pictures = self.pictures.len();
        self.push_with_pictures(pictures, text);
        let answer = self.answer(options, on_event);
        match &answer {
            Ok(generation) => self.messages.push(Message::new("assistant", generation.text.as_str())),
            Err(_) => {
                self.messages.pop();
                self.pictures.truncate(n_pictures);
            }
        }
        answer
    }

    fn answer(
        &mut self,
        options: &GenerateOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Generation, Error> {
        let prompt = self.prompt_tokens()?;
        let options = GenerateOptions { stands_alone: true, ..options.clone() };
        self.llama.generate_after(&mut self.past, prompt, &options, on_event)
    }

    /// Writes the conversation to a JSON file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let file = json!({ "model": self.llama.path().display().to_string(), "messages": self.messages });
        let mut text = serde_json::to_vec_pretty(&file).expect("messages are plain JSON");
        text.push(b'\n');
        Ok(write_file(path, &text)?)
    }

    /// Replaces the conversation by a saved one, or by any JSON array of messages. Pictures in it are looked at again.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let messages = parse_messages(read_json(path, MAX_SAVED_BYTES)?)
            .map_err(|fact| Error::Request(format!("cannot read `{}`\n  {fact}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let pictures = self.llama.look_at_all(&messages, folder, |_, _| ControlFlow::Continue(()))?;
        (self.messages, self.pictures) = (messages, pictures);
        Ok(())
    }
}

/// A message of the user: pictures, and a text about them.
fn message_of(pictures: &[(PathBuf, Picture)], text: &str) -> Message {
    if pictures.is_empty() {
        return Message::new("user", text);
    }
    // Whole paths: a saved conversation may be read from elsewhere.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string();
    let images = pictures.iter().map(|(path, _)| Part::Image(json!({"type": "image", "path": whole(path)})));
    let content = images.chain([Part::Text(text.to_owned())]).collect();
    Message { role: "user".into(), content: Some(Content::Parts(content)), ..Message::default() }
}

/// The messages in a JSON value: an array of them in OpenAI's form, or an object with one as `messages`.
pub fn parse_messages(value: Value) -> Result<Vec<Message>, String> {
    let list = match value {
        Value::Object(mut object) => object.remove("messages").ok_or("the object has no `messages`")?,
        value => value,
    };
    let Value::Array(list) = list else {
        return Err("expected an array of messages, or an object with one as `messages`".into());
    };
    let message = |(i, value): (usize, Value)| {
        serde_json::from_value(value).map_err(|error| format!("message {i}: {error}"))
    };
    list.into_iter().enumerate().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_both_wrappings() {
        let list = json!([{"role": "user", "content": "hi"}]);
        let messages = parse_messages(list.clone()).unwrap();
        assert_eq!(messages, [Message::new("user", "hi")]);
        assert_eq!(parse_messages(json!({ "messages": list })).unwrap(), messages);
        assert!(parse_messages(json!([{"content": "hi"}])).unwrap_err().contains("message 0"));
        assert!(parse_messages(json!({"chat": []})).unwrap_err().contains("messages"));
        assert!(parse_messages(json!("hi")).is_err());
    }
}
