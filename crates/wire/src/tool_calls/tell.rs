//! What is told of a call: its name, and its arguments one by one, each when it is complete.

use serde_json::{Map, Value};

use super::json::Fact;
use super::{CODE_INTERPRETER, Mode, Parser, pythonic};
use crate::Event;

/// The call that is read.
#[derive(Default)]
pub(super) struct Call {
    pub(super) name: Option<String>,
    /// Whether its arguments began.
    pub(super) is_open: bool,
    /// Whether it was told. Its number, unless it is one too many and kept quiet.
    pub(super) told: Option<Option<usize>>,
    /// Arguments that wait until the name is known.
    waiting: Vec<(String, String)>,
    n_told: usize,
    pub(super) is_complete: bool,
}

/// A text that looked like a call is none.
pub(super) struct NoCall;

/// Where events go. Neighbours of one kind become one event.
pub(super) struct Out<'e> {
    pub(super) events: &'e mut Vec<Event>,
    /// Events before this one are not ours.
    pub(super) from: usize,
    pub(super) choice: usize,
}

impl Out<'_> {
    pub(super) fn text(&mut self, more: &str) {
        if more.is_empty() {
            return;
        }
        match self.events[self.from..].last_mut() {
            Some(Event::Text { text, .. }) => text.push_str(more),
            _ => self.events.push(Event::Text {
                choice: self.choice,
                text: more.to_owned(),
                tokens: Vec::new(),
            }),
        }
    }

    fn arguments(&mut self, index: usize, more: &str) {
        match self.events[self.from..].last_mut() {
            Some(Event::Arguments { text, .. }) => text.push_str(more),
            _ => self.events.push(Event::Arguments { choice: self.choice, index, text: more.to_owned() }),
        }
    }
}

impl Parser {
    /// What an object told about its call.
    pub(super) fn learn(&mut self, fact: Fact, out: &mut Out) -> Result<(), NoCall> {
        match fact {
            // The first name counts.
            Fact::Name(_) if self.call.name.is_some() => return Ok(()),
            Fact::Name(name) => {
                if !self.offered.has(&name) {
                    return Err(NoCall);
                }
                self.call.name = Some(name);
            }
            Fact::Open => self.call.is_open = true,
            Fact::Member(name, value) => self.call.waiting.push((name, value)),
            Fact::Close => self.call.is_complete = true,
            Fact::Whole(text) => {
                let text = if text.trim().is_empty() { "{}" } else { &text };
                let arguments: Map<String, Value> = serde_json::from_str(text).map_err(|_| NoCall)?;
                self.call.waiting =
                    arguments.into_iter().map(|(name, value)| (name, value.to_string())).collect();
                (self.call.is_open, self.call.is_complete) = (true, true);
            }
        }
        self.tell_known(out)
    }

    /// Tells what is known of the call, if its name is.
    fn tell_known(&mut self, out: &mut Out) -> Result<(), NoCall> {
        let Some(name) = self.call.name.clone().filter(|_| self.call.is_open) else { return Ok(()) };
        let was_complete = self.call.is_complete;
        let mut arguments = Vec::new();
        for (parameter, raw) in std::mem::take(&mut self.call.waiting) {
            let value = self.argument(&name, &parameter, raw)?;
            arguments.push((parameter, value));
        }
        self.tell(out);
        for (parameter, value) in arguments {
            self.tell_argument(&parameter, &value, out);
        }
        if was_complete {
            self.tell_end(out);
        }
        Ok(())
    }

    /// An argument as JSON, of its parameter's type. What needs no other type stays as it was written.
    fn argument(&self, name: &str, parameter: &str, raw: String) -> Result<String, NoCall> {
        match serde_json::from_str::<Value>(&raw) {
            Ok(mut value) => match self.offered.fix(name, parameter, &mut value) {
                true => Ok(value.to_string()),
                false => Ok(raw),
            },
            // `True` and `None` in an object.
            Err(_) => {
                let mut arguments = pythonic::arguments(&format!("a={raw}"), &[]).ok_or(NoCall)?;
                let mut value = arguments.remove("a").ok_or(NoCall)?;
                self.offered.fix(name, parameter, &mut value);
                Ok(value.to_string())
            }
        }
    }

    /// Tells that there is a call, once.
    pub(super) fn tell(&mut self, out: &mut Out) {
        if self.call.told.is_some() {
            return;
        }
        self.held.clear();
        self.may_be_code = false;
        if self.one_only && self.n_calls > 0 {
            self.call.told = Some(None);
            return;
        }
        let index = self.n_calls;
        self.n_calls += 1;
        self.call.told = Some(Some(index));
        let name = self.call.name.clone().unwrap_or_default();
        out.events.push(Event::Call { choice: self.choice, index, id: (self.new_id)(), name });
        out.arguments(index, "{");
    }

    fn tell_argument(&mut self, parameter: &str, value: &str, out: &mut Out) {
        self.held.clear();
        let comma = if self.call.n_told == 0 { "" } else { "," };
        self.call.n_told += 1;
        if let Some(Some(index)) = self.call.told {
            out.arguments(index, &format!("{comma}{}:{value}", Value::from(parameter)));
        }
    }

    fn tell_end(&mut self, out: &mut Out) {
        if let Some(Some(index)) = self.call.told {
            out.arguments(index, "}");
        }
    }

    /// Tells a call whose arguments are all there.
    pub(super) fn tell_whole(&mut self, arguments: Map<String, Value>, out: &mut Out) {
        let name = self.call.name.clone().unwrap_or_default();
        self.tell(out);
        for (parameter, mut value) in arguments {
            self.offered.fix(&name, &parameter, &mut value);
            self.tell_argument(&parameter, &value.to_string(), out);
        }
        self.tell_end(out);
    }

    /// The code interpreter's code is complete, if there is any.
    pub(super) fn end_code(&mut self, out: &mut Out) {
        if !matches!(self.mode, Mode::Code) {
            return;
        }
        let code = std::mem::take(&mut self.held);
        let parameter = match self.offered.parameters(CODE_INTERPRETER)[..] {
            [only] => only.to_owned(),
            _ => "code".to_owned(),
        };
        self.call = Call { name: Some(CODE_INTERPRETER.to_owned()), ..Call::default() };
        self.tell_whole(Map::from_iter([(parameter, Value::from(code.trim()))]), out);
        self.call = Call::default();
    }
}
