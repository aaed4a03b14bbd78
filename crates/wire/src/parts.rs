//! What one answer consists of, in the order in which it came: for APIs that tell texts and calls apart as items of
//! one list.

use crate::{Call, Choice, Event, Finish, Reply, Token};

/// An answer's texts and calls in their order. These APIs have one answer to a question: events of further ones are
/// not theirs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    list: Vec<Part>,
    /// Tokens of a text that has no whole character yet.
    waiting: Vec<Token>,
    finish: Option<Finish>,
}

/// A text or a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text up to the next call or the end.
    Text {
        /// What it says; never empty.
        text: String,
        /// Its tokens, where log-probabilities were wanted.
        tokens: Vec<Token>,
    },
    /// A tool is called.
    Call(Call),
}

impl Parts {
    /// Adds what happened. A call is over when the next part begins.
    pub fn push(&mut self, event: &Event) {
        if event.choice() != 0 {
            return;
        }
        match event {
            Event::Text { text, tokens, .. } => self.push_text(text, tokens),
            Event::Call { id, name, .. } => {
                let (id, name) = (id.clone(), name.clone());
                self.list.push(Part::Call(Call { id, name, arguments: String::new() }));
            }
            Event::Arguments { index, text, .. } => {
                let mut calls = self.list.iter_mut().filter_map(|part| match part {
                    Part::Call(call) => Some(call),
                    Part::Text { .. } => None,
                });
                if let Some(call) = calls.nth(*index) {
                    call.arguments += text;
                }
            }
            Event::End { finish, .. } => self.finish = Some(finish.clone()),
        }
    }

    fn push_text(&mut self, text: &str, tokens: &[Token]) {
        if let Some(Part::Text { text: own, tokens: own_tokens }) = self.list.last_mut() {
            own.push_str(text);
            own_tokens.extend_from_slice(tokens);
            return;
        }
        self.waiting.extend_from_slice(tokens);
        if !text.is_empty() {
            let tokens = std::mem::take(&mut self.waiting);
            self.list.push(Part::Text { text: text.to_owned(), tokens });
        }
    }

    /// The parts.
    pub fn list(&self) -> &[Part] {
        &self.list
    }

    /// Why the answer ended; `None` while it goes on.
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Where in the list a call is, by its number among the calls.
    pub fn place_of_call(&self, index: usize) -> Option<usize> {
        let mut calls = self.list.iter().enumerate().filter(|(_, part)| matches!(part, Part::Call(_)));
        calls.nth(index).map(|(place, _)| place)
    }
}

/// The first answer, its text before its calls.
impl From<&Reply> for Parts {
    fn from(reply: &Reply) -> Parts {
        reply.choices.first().map(Parts::from).unwrap_or_default()
    }
}

/// An answer, its text before its calls.
impl From<&Choice> for Parts {
    fn from(choice: &Choice) -> Parts {
        let mut parts = Parts { finish: choice.finish.clone(), ..Parts::default() };
        parts.push_text(&choice.text, &choice.tokens);
        parts.list.extend(choice.calls.iter().cloned().map(Part::Call));
        parts
    }
}

/// A call's name with an API's prefix instead of any other.
pub(crate) fn call_id(prefix: &str, id: &str) -> String {
    format!("{prefix}{}", id.strip_prefix("call_").unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, ids: &[u32]) -> Event {
        let token = |&id: &u32| Token { id, bytes: vec![b'x'], logprob: Some(-0.5), top: Vec::new() };
        Event::Text { choice: 0, text: text.to_owned(), tokens: ids.iter().map(token).collect() }
    }

    #[test]
    fn order_is_kept_and_tokens_go_with_their_text() {
        let call =
            |index, id: &str| Event::Call { choice: 0, index, id: id.to_owned(), name: "f".to_owned() };
        let arguments = |index, text: &str| Event::Arguments { choice: 0, index, text: text.to_owned() };
        let events = [
            text("", &[1]),
            text("a", &[2]),
            Event::Text { choice: 1, text: "of another".to_owned(), tokens: Vec::new() },
            call(0, "c1"),
            arguments(0, "{"),
            arguments(0, "}"),
            text("", &[]),
            call(1, "c2"),
            text("b", &[]),
            Event::End { choice: 0, finish: Finish::Stop },
        ];
        let mut parts = Parts::default();
        events.iter().for_each(|event| parts.push(event));
        let [
            Part::Text { text: a, tokens },
            Part::Call(first),
            Part::Call(second),
            Part::Text { text: b, .. },
        ] = parts.list()
        else {
            panic!("{parts:?}")
        };
        assert_eq!((a.as_str(), b.as_str(), first.arguments.as_str()), ("a", "b", "{}"));
        assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((second.id.as_str(), second.arguments.as_str()), ("c2", ""));
        assert_eq!((parts.place_of_call(1), parts.place_of_call(2)), (Some(2), None));
        assert_eq!(parts.finish(), Some(&Finish::Stop));
        // Collected as a reply, the text comes first.
        let mut reply = Reply::default();
        events.into_iter().for_each(|event| reply.push(event));
        let parts = Parts::from(&reply);
        assert_eq!(parts.list().len(), 3);
        assert!(matches!(&parts.list()[0], Part::Text { text, .. } if text == "ab"));
        assert_eq!(Parts::from(&Reply::default()), Parts::default());
    }

    #[test]
    fn a_call_has_one_prefix() {
        assert_eq!(call_id("toolu_", "call_1a"), "toolu_1a");
        assert_eq!(call_id("call_", "call_1a"), "call_1a");
        assert_eq!(call_id("call_", "1a"), "call_1a");
    }
}
