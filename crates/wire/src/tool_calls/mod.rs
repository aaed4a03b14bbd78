//! Calls of tools in the text that a Llama writes.
//!
//! A [`Parser`] is told an answer's text in pieces, with the special tokens `<|python_tag|>`, `<|python_start|>` and
//! `<|python_end|>` as text, and says what happens: text at once, and calls in every form that a Llama writes them,
//! whichever model it is:
//!
//! - objects `{"name": …, "parameters": …}`, or with `arguments`, or with both in `function`; several, with `;`, a line
//!   break or nothing between them, or in a list;
//! - lists of Python's calls, `[f(a="x", n=1), g()]`;
//! - `<function=f>{…}</function>`;
//! - after `<|python_tag|>`, single calls of Python and the builtin tools' `brave_search.call(query="…")`; any other
//!   text is the tool `code_interpreter`'s, if that is offered.
//!
//! An answer that begins with a marker, `{`, `[` or one of the tags, is held back until it can be told what it is; if
//! it is no call of an offered tool, it is text, without the special tokens. The parser goes from character to
//! character, so what it says does not depend on how the text was cut. It holds [`MOST_HELD`] bytes at most; a longer
//! text is no call.
//!
//! A call is told as soon as its name is sure, and its arguments one by one as they are complete, with the types that
//! the tool's schema has for them. A call that breaks off, since the answer's length ended it or the model lost the
//! thread, keeps its arguments open: they are no JSON, so that nobody runs half a call.

mod json;
mod pythonic;
mod schema;
mod tell;

use crate::{Event, Tools};
use json::{ObjectScanner, Progress};
use pythonic::CallScanner;
use schema::Offered;
use tell::{Call, NoCall, Out};

/// The most bytes that are held back.
pub const MOST_HELD: usize = 1 << 20;

/// The builtin tool that runs what follows `<|python_tag|>`.
const CODE_INTERPRETER: &str = "code_interpreter";

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PYTHON_TAG: &str = "<|python_tag|>";
const PYTHON_START: &str = "<|python_start|>";
const PYTHON_END: &str = "<|python_end|>";
const MARKERS: [&str; 5] = [FUNCTION, FUNCTION_END, PYTHON_TAG, PYTHON_START, PYTHON_END];

/// Finds calls in one answer.
pub struct Parser {
    offered: Offered,
    one_only: bool,
    choice: usize,
    new_id: Box<dyn FnMut() -> String + Send>,
    mode: Mode,
    /// The beginning of a marker, which may become one.
    marker: String,
    /// What is held back: since the message began, or since the last event.
    held: String,
    /// Whether `<|python_tag|>` or `<|python_start|>` came before.
    is_tagged: bool,
    /// Whether what is held may be the code interpreter's.
    may_be_code: bool,
    call: Call,
    n_calls: usize,
}

/// Where in an answer the next character is.
enum Mode {
    /// Before anything but blanks.
    Start,
    Text,
    /// In the code interpreter's code.
    Code,
    /// After a call.
    Between,
    /// In the name of `<function=NAME>`.
    FunctionName(String),
    /// Before the arguments of `<function=NAME>`.
    FunctionOpen,
    Object {
        scanner: ObjectScanner,
        in_list: bool,
    },
    Python {
        scanner: CallScanner,
        in_list: bool,
    },
    /// Before the first item of a list.
    ListOpen,
    /// Before another.
    ListItem,
    /// After an item.
    ListNext,
}

impl Parser {
    /// For an answer in which these tools may be called: the `choice`th, whose calls get their ids from `new_id`.
    /// Where no tool may be called, all is text as it is.
    pub fn new(tools: &Tools, choice: usize, new_id: impl FnMut() -> String + Send + 'static) -> Parser {
        Parser {
            offered: Offered::new(tools),
            one_only: tools.one_only,
            choice,
            new_id: Box::new(new_id),
            mode: Mode::Start,
            marker: String::new(),
            held: String::new(),
            is_tagged: false,
            may_be_code: false,
            call: Call::default(),
            n_calls: 0,
        }
    }

    /// The answer goes on with `text`.
    pub fn push(&mut self, text: &str, events: &mut Vec<Event>) {
        let mut out = Out { from: events.len(), events, choice: self.choice };
        if self.offered.is_empty() {
            return out.text(text);
        }
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if matches!(self.mode, Mode::Text) && self.marker.is_empty() {
                let (text, others) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
                out.text(text);
                rest = others;
                if !text.is_empty() {
                    continue;
                }
            }
            while !self.step(c, &mut out) {}
            rest = &rest[c.len_utf8()..];
            if self.held.len() > MOST_HELD {
                self.may_be_code = false;
                self.give_up(&mut out);
            }
        }
    }

    /// Whether a call was told and its arguments are not complete: an answer that ends here was cut off.
    pub fn is_open(&self) -> bool {
        matches!(self.call.told, Some(Some(_))) && !self.call.is_complete
    }

    /// The answer is over. Whether there were calls in it.
    pub fn finish(&mut self, events: &mut Vec<Event>) -> bool {
        let mut out = Out { from: events.len(), events, choice: self.choice };
        let marker = std::mem::take(&mut self.marker);
        self.plain(&marker, &mut out);
        if self.call.told.is_some() || matches!(self.mode, Mode::ListItem | Mode::ListNext) {
            // What is open stays open.
            self.held.clear();
        } else if self.may_be_code && !self.held.trim().is_empty() {
            self.mode = Mode::Code;
            self.end_code(&mut out);
        }
        out.text(&std::mem::take(&mut self.held));
        self.mode = Mode::Text;
        self.n_calls > 0
    }

    /// Reads a character; false if it is to be read once more, since it only ended what was before it.
    fn step(&mut self, c: char, out: &mut Out) -> bool {
        if !self.marker.is_empty() {
            return self.step_marker(c, out);
        }
        if c == '<' && matches!(self.mode, Mode::Start | Mode::Text | Mode::Code | Mode::Between) {
            self.marker.push(c);
            return true;
        }
        match &mut self.mode {
            Mode::Text => out.text(c.encode_utf8(&mut [0; 4])),
            Mode::Code => self.held.push(c),
            Mode::Start | Mode::Between => return self.step_start(c, out),
            Mode::FunctionName(_) | Mode::FunctionOpen => return self.step_function(c, out),
            Mode::ListOpen | Mode::ListItem | Mode::ListNext => return self.step_list(c, out),
            Mode::Object { .. } => return self.step_object(c, out),
            Mode::Python { .. } => return self.step_python(c, out),
        }
        true
    }

    fn step_marker(&mut self, c: char, out: &mut Out) -> bool {
        self.marker.push(c);
        if let Some(marker) = MARKERS.into_iter().find(|marker| *marker == self.marker) {
            self.marker.clear();
            self.on_marker(marker, out);
            return true;
        }
        if MARKERS.into_iter().any(|marker| marker.starts_with(&self.marker)) {
            return true;
        }
        self.marker.pop();
        let text = std::mem::take(&mut self.marker);
        self.plain(&text, out);
        false
    }

    fn on_marker(&mut self, marker: &str, out: &mut Out) {
        match marker {
            PYTHON_TAG | PYTHON_START | PYTHON_END => {
                self.end_code(out);
                self.held.clear();
                self.is_tagged = marker != PYTHON_END;
                self.may_be_code = self.is_tagged && self.offered.has(CODE_INTERPRETER);
                self.mode = Mode::Start;
            }
            FUNCTION if !matches!(self.mode, Mode::Code) => {
                self.held.push_str(marker);
                self.mode = Mode::FunctionName(String::new());
            }
            FUNCTION_END if matches!(self.mode, Mode::Between) => {}
            _ => self.plain(marker, out),
        }
    }

    /// What might have become a marker did not, or it says nothing here.
    fn plain(&mut self, text: &str, out: &mut Out) {
        if text.is_empty() {
            return;
        }
        match self.mode {
            Mode::Text => out.text(text),
            Mode::Code => self.held.push_str(text),
            _ => {
                self.held.push_str(text);
                self.give_up(out);
            }
        }
    }

    /// What is held is no call.
    fn give_up(&mut self, out: &mut Out) {
        self.call = Call::default();
        if self.may_be_code {
            self.mode = Mode::Code;
            return;
        }
        out.text(&self.held);
        self.held.clear();
        self.mode = Mode::Text;
    }

    fn step_start(&mut self, c: char, out: &mut Out) -> bool {
        let is_between = matches!(self.mode, Mode::Between);
        match c {
            // Between calls these say nothing.
            ';' | ',' if is_between => {}
            c if c.is_whitespace() && is_between => {}
            c if c.is_whitespace() => self.held.push(c),
            '{' => {
                self.held.push(c);
                self.mode = Mode::Object { scanner: ObjectScanner::call(), in_list: false };
            }
            '[' => {
                self.held.push(c);
                self.mode = Mode::ListOpen;
            }
            c if self.is_tagged && CallScanner::begins_with(c) => {
                self.mode = Mode::Python { scanner: CallScanner::default(), in_list: false };
                return false;
            }
            _ => {
                self.give_up(out);
                return false;
            }
        }
        true
    }

    fn step_list(&mut self, c: char, out: &mut Out) -> bool {
        let is_before_item = !matches!(self.mode, Mode::ListNext);
        match c {
            c if c.is_whitespace() => {}
            '{' if is_before_item => {
                self.mode = Mode::Object { scanner: ObjectScanner::call(), in_list: true }
            }
            c if is_before_item && CallScanner::begins_with(c) => {
                self.mode = Mode::Python { scanner: CallScanner::default(), in_list: true };
                return false;
            }
            ',' if !is_before_item => self.mode = Mode::ListItem,
            // A comma before the end is forgiven; a list of nothing is no call.
            ']' if !matches!(self.mode, Mode::ListOpen) => {
                self.held.clear();
                self.mode = Mode::Between;
                return true;
            }
            _ => {
                self.give_up(out);
                return false;
            }
        }
        self.held.push(c);
        true
    }

    fn step_function(&mut self, c: char, out: &mut Out) -> bool {
        match &mut self.mode {
            Mode::FunctionName(name) if c == '>' && self.offered.has(name) => {
                self.call.name = Some(std::mem::take(name));
                self.mode = Mode::FunctionOpen;
            }
            Mode::FunctionName(name)
                if !matches!(c, '<' | '>' | '{' | '\n') && name.len() < pythonic::MOST_NAME =>
            {
                name.push(c);
            }
            Mode::FunctionOpen if c.is_whitespace() => {}
            Mode::FunctionOpen if c == '{' => {
                self.held.clear();
                self.call.is_open = true;
                self.tell(out);
                self.mode = Mode::Object { scanner: ObjectScanner::arguments(), in_list: false };
                return true;
            }
            _ => {
                self.give_up(out);
                return false;
            }
        }
        self.held.push(c);
        true
    }

    fn step_object(&mut self, c: char, out: &mut Out) -> bool {
        let Mode::Object { scanner, in_list } = &mut self.mode else { return true };
        let in_list = *in_list;
        let mut facts = Vec::new();
        let progress = scanner.feed(c, &mut facts);
        let is_call = facts.into_iter().try_for_each(|fact| self.learn(fact, out));
        match (progress, is_call) {
            (Progress::Going, Ok(())) => self.held.push(c),
            (Progress::Done, Ok(())) if self.call.is_complete && self.call.told.is_some() => {
                self.end_call(in_list);
            }
            (Progress::Broken, Ok(())) => {
                self.give_up(out);
                return false;
            }
            (Progress::Done, Ok(())) | (_, Err(NoCall)) => {
                self.held.push(c);
                self.give_up(out);
            }
        }
        true
    }

    fn step_python(&mut self, c: char, out: &mut Out) -> bool {
        let Mode::Python { scanner, in_list } = &mut self.mode else { return true };
        let in_list = *in_list;
        let had_name = scanner.has_name();
        match scanner.feed(c) {
            Progress::Going => {
                let name =
                    (!had_name && scanner.has_name()).then(|| offered_name(&self.offered, &scanner.name));
                self.held.push(c);
                match name {
                    Some(None) => self.give_up(out),
                    Some(name) => self.call.name = name,
                    None => {}
                }
            }
            Progress::Broken => {
                self.give_up(out);
                return false;
            }
            Progress::Done => {
                let names = self.offered.parameters(self.call.name.as_deref().unwrap_or_default());
                match pythonic::arguments(&scanner.body, &names) {
                    Some(arguments) => {
                        self.tell_whole(arguments, out);
                        self.end_call(in_list);
                    }
                    None => {
                        self.held.push(c);
                        self.give_up(out);
                    }
                }
            }
        }
        true
    }

    fn end_call(&mut self, in_list: bool) {
        self.call = Call::default();
        self.held.clear();
        self.mode = if in_list { Mode::ListNext } else { Mode::Between };
    }
}

/// The offered tool that a call of Python names: as it is, or before `.call`, as builtin tools are called.
fn offered_name(offered: &Offered, name: &str) -> Option<String> {
    let names = [Some(name), name.strip_suffix(".call")];
    names.into_iter().flatten().find(|name| offered.has(name)).map(str::to_owned)
}
