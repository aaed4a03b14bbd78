//! A conversation: its messages, the keys and values of its tokens, and the file it can be kept in.
//!
//! Each turn renders the whole conversation anew; what it has in common with what was computed before,
//! usually all but the new message, is not computed again.

use std::ops::ControlFlow;
use std::path::Path;

use puna_engine::Past;
use puna_formats::{read_json, visible, visible_path, write_file};
use puna_text::template::{Content, Message, Part, RenderOptions, check_parts};
use serde_json::{Value, json};

use crate::answer::Turn;
use crate::{Answer, AnswerOptions, Error, Llama, Picture, PromptTokens};

/// The largest file of a saved conversation that is read.
const MAX_SAVED_BYTES: usize = 64 << 20;

/// A conversation with a model that has a chat format.
#[derive(Clone)]
pub struct Chat {
    llama: Llama,
    messages: Vec<Message>,
    /// The pictures in them, in order.
    pictures: Vec<Picture>,
    past: Option<Past>,
    /// How answers are made.
    pub options: AnswerOptions,
    /// The date that a chat format names, tools, and whatever else a template reads.
    pub render: RenderOptions,
}

impl Llama {
    /// An empty conversation. Fails if the model has no chat format.
    pub fn chat(&self) -> Result<Chat, Error> {
        if self.text().chat.is_none() {
            return Err(self.no_chat());
        }
        Ok(Chat {
            llama: self.clone(),
            messages: Vec::new(),
            pictures: Vec::new(),
            past: None,
            options: AnswerOptions::default(),
            render: RenderOptions::answer(),
        })
    }
}

impl Chat {
    /// The model.
    pub fn llama(&self) -> &Llama {
        &self.llama
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

    /// The prompt that asks for the next answer.
    pub fn prompt(&self) -> Result<PromptTokens, Error> {
        self.llama.chat_prompt(&self.messages, &self.pictures, &self.render)
    }

    /// Says `text` and answers it.
    ///
    /// What cannot be answered is refused here, and the conversation stays as it was. It also returns to that
    /// when the answer fails. An answer that is stopped, or dropped before its end, becomes part of the
    /// conversation as far as it was made.
    pub fn ask(&mut self, text: &str) -> Result<Answer<'_>, Error> {
        self.ask_about(&[], text)
    }

    /// The same, showing pictures before the text.
    pub fn ask_about(&mut self, pictures: &[Picture], text: &str) -> Result<Answer<'_>, Error> {
        let n_before = [self.messages.len(), self.pictures.len()];
        self.messages.push(message_of(pictures, text));
        self.pictures.extend_from_slice(pictures);
        self.answer_after(n_before)
    }

    /// Answers the conversation as it is, for example after a tool's result was added.
    pub fn answer(&mut self) -> Result<Answer<'_>, Error> {
        self.answer_after([self.messages.len(), self.pictures.len()])
    }

    fn answer_after(&mut self, n_before: [usize; 2]) -> Result<Answer<'_>, Error> {
        let Chat { llama, messages, pictures, past, options, render } = self;
        let prompt = llama.chat_prompt(messages, pictures, render);
        let answer = prompt.and_then(|prompt| llama.generate_after(past.take(), prompt, options));
        if answer.is_err() {
            messages.truncate(n_before[0]);
            pictures.truncate(n_before[1]);
        }
        Ok(answer?.in_turn(Turn { messages, pictures, past, n_before }))
    }

    /// Writes the conversation to a JSON file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let file = json!({ "model": self.llama.path().display().to_string(), "messages": self.messages });
        let mut text = serde_json::to_vec_pretty(&file).expect("messages are plain JSON");
        text.push(b'\n');
        Ok(write_file(path, &text)?)
    }

    /// Replaces the conversation by a saved one, or by any JSON array of messages. Pictures in it are looked
    /// at again.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let wrong = |fact| Error::Request(format!("cannot read `{}`\n  {fact}", visible_path(path)));
        let messages = parse_messages(read_json(path, MAX_SAVED_BYTES)?).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let pictures = self.llama.look_at_all(&messages, folder, |_, _| ControlFlow::Continue(()))?;
        (self.messages, self.pictures) = (messages, pictures);
        Ok(())
    }
}

/// A message of the user: pictures, and a text about them.
fn message_of(pictures: &[Picture], text: &str) -> Message {
    if pictures.is_empty() {
        return Message::new("user", text);
    }
    let image = |picture: &Picture| {
        // Whole paths: a saved conversation may be read from elsewhere.
        let path = picture.path.as_ref().map(|path| std::path::absolute(path).unwrap_or(path.clone()));
        Part::Image(match path {
            Some(path) => json!({"type": "image", "path": path.display().to_string()}),
            None => json!({"type": "image"}),
        })
    };
    let content = pictures.iter().map(image).chain([Part::Text(text.to_owned())]).collect();
    Message { role: "user".into(), content: Some(Content::Parts(content)), ..Message::default() }
}

/// The messages in a JSON value: an array of them in OpenAI's form, or an object with one as `messages`. What
/// they hold must be known: text and images. Errors count messages from 1.
pub fn parse_messages(value: Value) -> Result<Vec<Message>, String> {
    let list = match value {
        Value::Object(mut object) => object.remove("messages").ok_or("the object has no `messages`")?,
        value => value,
    };
    let Value::Array(list) = list else {
        return Err("expected an array of messages, or an object with one as `messages`".into());
    };
    let message = |(i, value): (usize, Value)| {
        serde_json::from_value(value)
            .map_err(|error| format!("message {}: {}", i + 1, visible(&error.to_string())))
    };
    let messages: Vec<Message> = list.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
    check_parts(&messages).map_err(|error| error.to_string())?;
    Ok(messages)
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
        let unnamed = json!([{"role": "user", "content": "hi"}, {"content": "hi"}]);
        assert!(parse_messages(unnamed).unwrap_err().contains("message 2"));
        let video = json!([{"role": "user", "content": [{"type": "video", "video": {}}]}]);
        let error = parse_messages(video).unwrap_err();
        assert!(error.contains("message 1 has a part of type `video`"), "{error}");
        assert!(parse_messages(json!({"chat": []})).unwrap_err().contains("messages"));
        assert!(parse_messages(json!("hi")).is_err());
    }
}
