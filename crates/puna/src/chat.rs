//! A conversation: its messages, the keys and values of its tokens, and the file it can be kept in.
//!
//! Each turn renders the whole conversation anew; what it has in common with what was computed before,
//! usually all but the new message, is not computed again.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use puna_engine::Past;
use puna_formats::{decode_text, read_file, visible, visible_path, write_file};
use puna_text::template::{Content, Conversation, Message, Part, RenderOptions, check_parts};
use serde_json::json;

use crate::answer::Turn;
use crate::{Answer, AnswerOptions, Error, Llama, Picture, PromptTokens};

/// The largest file of a saved conversation that is read.
const MAX_SAVED_BYTES: usize = 64 << 20;

/// What a conversation does when it does not fit the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It refuses the question.
    #[default]
    Stop,
    /// Prompts leave out the oldest questions and their answers, but not the system message.
    DropOldest,
    /// The same, but the first question and its answer stay.
    DropMiddle,
}

/// A conversation with a model that has a chat format.
#[derive(Clone)]
pub struct Chat {
    llama: Llama,
    messages: Vec<Message>,
    /// The pictures in them, in order.
    pictures: Vec<Picture>,
    past: Option<Past>,
    /// Messages that prompts leave out, because the context is full.
    left_out: Range<usize>,
    /// What happens when the conversation does not fit the context any more.
    pub when_full: WhenFull,
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
            left_out: 0..0,
            when_full: WhenFull::Stop,
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

    /// Goes on with another context: the most tokens of prompt and answer together.
    pub fn set_context(&mut self, max_seq_len: usize) -> Result<(), Error> {
        (self.llama, self.past) = (self.llama.with_context(max_seq_len)?, None);
        Ok(())
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
        let had = usize::from(self.system().is_some());
        self.messages.drain(..had);
        self.messages.splice(0..0, text.map(|text| Message::new("system", text)));
        let has = usize::from(text.is_some());
        for end in [&mut self.left_out.start, &mut self.left_out.end] {
            *end = (*end + has).saturating_sub(had);
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
        self.left_out = 0..0;
    }

    /// The user's last message, its text, and which of the conversation's pictures it shows.
    pub fn last_question(&self) -> Option<(String, &[Picture])> {
        let at = self.last_turn()?;
        let text = self.messages[at].text();
        let first = n_pictures(&self.messages[..at]);
        let end = (first + n_pictures(&self.messages[at..at + 1])).min(self.pictures.len());
        Some((text, &self.pictures[first.min(end)..end]))
    }

    /// Takes back the user's last message and what followed it. Returns how many messages that were.
    pub fn undo(&mut self) -> usize {
        let Some(at) = self.last_turn() else { return 0 };
        let n = self.messages.len() - at;
        self.messages.truncate(at);
        self.pictures.truncate(n_pictures(&self.messages));
        // The question that is now the last one is never left out.
        let end = self.last_turn().unwrap_or(at);
        self.left_out = self.left_out.start.min(end)..self.left_out.end.min(end);
        n
    }

    /// Answers the user's last message again. What followed it is forgotten, unless it cannot be answered.
    pub fn retry(&mut self) -> Result<Answer<'_>, Error> {
        let Some(at) = self.last_turn() else {
            return Err(Error::Request("there is no message to answer again".into()));
        };
        let old = self.messages.split_off(at + 1);
        let n_before = [self.messages.len(), self.pictures.len()];
        self.answer_after(n_before, old)
    }

    /// Where the last turn begins.
    fn last_turn(&self) -> Option<usize> {
        self.messages.iter().rposition(|message| message.role == "user")
    }

    /// How many messages prompts leave out, because the context is full.
    pub fn n_left_out(&self) -> usize {
        self.left_out.len()
    }

    /// Leaves out the oldest `n_turns` questions and their answers from now on. Returns how many messages
    /// prompts now leave out; the last question always stays.
    pub fn leave_out(&mut self, n_turns: usize) -> usize {
        let turns = self.turns();
        let begin = if self.left_out.is_empty() { turns.first().copied() } else { Some(self.left_out.start) };
        let later: Vec<usize> =
            turns.into_iter().filter(|turn| *turn > self.left_out.end.max(begin.unwrap_or(0))).collect();
        if let (Some(begin), Some(end)) = (begin, later.get(n_turns.saturating_sub(1)).or(later.last())) {
            self.left_out = begin..*end;
        }
        self.left_out.len()
    }

    /// Where turns begin.
    fn turns(&self) -> Vec<usize> {
        (0..self.messages.len()).filter(|at| self.messages[*at].role == "user").collect()
    }

    /// The prompt, leaving out what does not fit, if that is wanted. Half of the context becomes free at once,
    /// so that not every question leaves out some more.
    fn fitting_prompt(&mut self) -> Result<PromptTokens, Error> {
        let max = self.llama.engine().max_seq_len();
        let answer = self.options.max_tokens.unwrap_or(max / 4).min(max / 4);
        let mut prompt = self.prompt()?;
        let turns = self.turns();
        let n_kept = usize::from(self.when_full == WhenFull::DropMiddle);
        let Some(&begin) = turns.get(n_kept) else { return Ok(prompt) };
        if self.when_full == WhenFull::Stop || prompt.ids.len() + answer <= max {
            return Ok(prompt);
        }
        let first = begin.max(self.left_out.end);
        for end in turns.into_iter().filter(|turn| *turn > first) {
            self.left_out = begin..end;
            prompt = self.prompt()?;
            if prompt.ids.len() <= max / 2 {
                break;
            }
        }
        Ok(prompt)
    }

    /// Tokens whose keys and values are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        self.past.as_ref().map_or((0, 0), |past| (past.tokens().len(), past.bytes()))
    }

    /// The prompt that asks for the next answer.
    pub fn prompt(&self) -> Result<PromptTokens, Error> {
        if self.left_out.is_empty() {
            return self.llama.chat_prompt(&self.messages, &self.pictures, &self.render);
        }
        let (before, rest) = self.messages.split_at(self.left_out.start);
        let (left_out, after) = rest.split_at(self.left_out.len());
        let first = n_pictures(before);
        let pictures = [&self.pictures[..first], &self.pictures[first + n_pictures(left_out)..]].concat();
        self.llama.chat_prompt(&[before, after].concat(), &pictures, &self.render)
    }

    /// Says `text` and answers it.
    ///
    /// What cannot be answered is refused here, and the conversation stays as it was. It also returns to that
    /// when the answer fails, or is stopped before its first token. An answer that is stopped later, or dropped
    /// before its end, becomes part of the conversation as far as it was made.
    pub fn ask(&mut self, text: &str) -> Result<Answer<'_>, Error> {
        self.ask_about(&[], text)
    }

    /// The same, showing pictures before the text.
    pub fn ask_about(&mut self, pictures: &[Picture], text: &str) -> Result<Answer<'_>, Error> {
        let n_before = [self.messages.len(), self.pictures.len()];
        self.messages.push(message_of(pictures, text));
        self.pictures.extend_from_slice(pictures);
        self.answer_after(n_before, Vec::new())
    }

    /// Answers the conversation as it is, for example after a tool's result was added.
    pub fn answer(&mut self) -> Result<Answer<'_>, Error> {
        self.answer_after([self.messages.len(), self.pictures.len()], Vec::new())
    }

    /// Answers what is there. Where that cannot begin, the first `n_before` messages and pictures stay, and
    /// `old` follows them.
    fn answer_after(&mut self, n_before: [usize; 2], old: Vec<Message>) -> Result<Answer<'_>, Error> {
        let (left_out, past) = (self.left_out.clone(), self.past.take());
        let begun = self.fitting_prompt();
        let begun = begun.and_then(|prompt| self.llama.generate_after(past.clone(), prompt, &self.options));
        let answer = match begun {
            Ok(answer) => answer,
            Err(error) => {
                (self.left_out, self.past) = (left_out, past);
                self.messages.truncate(n_before[0]);
                self.messages.extend(old);
                self.pictures.truncate(n_before[1]);
                return Err(error);
            }
        };
        // Kept no longer: what is shared would be copied when it is written to.
        drop(past);
        let n_left_out = self.left_out.len();
        let Chat { messages, pictures, past, .. } = self;
        Ok(answer.in_turn(Turn { messages, pictures, past, n_before, n_left_out }))
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
        let bytes = read_file(path, MAX_SAVED_BYTES)?;
        let text = decode_text(&bytes).map_err(wrong)?;
        let messages = parse_conversation(&text).map_err(wrong)?.messages;
        let folder = path.parent().unwrap_or(Path::new(""));
        let pictures = self.llama.look_at_all(&messages, folder, |_, _| ControlFlow::Continue(()))?;
        (self.messages, self.pictures, self.left_out) = (messages, pictures, 0..0);
        Ok(())
    }
}

/// How many pictures messages show.
fn n_pictures(messages: &[Message]) -> usize {
    let parts = messages.iter().filter_map(|message| match &message.content {
        Some(Content::Parts(parts)) => Some(parts),
        _ => None,
    });
    parts.flatten().filter(|part| matches!(part, Part::Image(_))).count()
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
    Message::with_content("user", Content::Parts(content))
}

/// A conversation in JSON: an array of messages in OpenAI's form, or an object with one as `messages` and perhaps
/// `tools`. What is wrong is said with the message's number, from 1.
pub fn parse_conversation(json: &str) -> Result<Conversation, String> {
    let conversation: Conversation =
        serde_json::from_str(json).map_err(|error| visible(&error.to_string()).into_owned())?;
    check_parts(&conversation.messages).map_err(|error| error.to_string())?;
    Ok(conversation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_in_both_wrappings() {
        let parse = |value: serde_json::Value| parse_conversation(&value.to_string());
        let list = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(parse(list.clone()).unwrap().messages, [Message::new("user", "hi")]);
        let conversation = parse(json!({"model": "x", "messages": list, "tools": [1]})).unwrap();
        assert_eq!((conversation.messages.len(), conversation.tools), (1, json!([1])));
        let unnamed = json!([{"role": "user", "content": "hi"}, {"content": "hi"}]);
        assert!(parse(unnamed).unwrap_err().contains("message 2: missing field `role`"));
        let video = json!([{"role": "user", "content": [{"type": "video", "video": {}}]}]);
        let error = parse(video).unwrap_err();
        assert!(error.contains("message 1 has a part of type `video`"), "{error}");
        assert!(parse(json!({"chat": []})).unwrap_err().contains("messages"));
        assert!(parse(json!("hi")).is_err());
    }
}
