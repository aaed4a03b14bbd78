//! What a chat is about: a conversation of a chat model, or the one text that a base model goes on with.

use std::path::Path;

use puna::{
    Answer, AnswerOptions, Chat, EngineError, Error, ErrorKind, Generation, Llama, Past, Picture, WhenFull,
};

use crate::answer::Answerer;
use crate::failure::Failure;
use crate::input;
use crate::output::note;
use crate::units::things;

/// A conversation in progress.
#[derive(Clone)]
pub enum Conversation {
    /// Of a chat model.
    Chat(Box<Chat>),
    /// Of a base model.
    Text(Box<Text>),
}

/// One text, written by the user and the model in turn.
#[derive(Clone, Default)]
pub struct Text {
    text: String,
    /// Where the user's parts begin and end.
    entered: Vec<(usize, usize)>,
    past: Option<Past>,
    when_full: WhenFull,
    /// Pictures at its beginning.
    pictures: Vec<Picture>,
}

impl Conversation {
    /// A new one.
    pub fn new(
        answerer: &Answerer,
        system: Option<&str>,
        when_full: WhenFull,
    ) -> Result<Conversation, Failure> {
        if !answerer.is_chat {
            return Ok(Conversation::Text(Box::new(Text { when_full, ..Text::default() })));
        }
        let mut chat = answerer.chat(system)?;
        chat.when_full = when_full;
        Ok(Conversation::Chat(Box::new(chat)))
    }

    /// The conversation, if this model can have one.
    pub fn chat(&mut self) -> Result<&mut Chat, Failure> {
        let none = "there is no conversation\n  this model has no chat format; it goes on with one text";
        match self {
            Conversation::Chat(chat) => Ok(chat),
            Conversation::Text(_) => Err(Failure::Failed(none.into())),
        }
    }

    /// Asks, and shows the answer. Where more old messages are left out than before, that is said.
    pub fn ask(
        &mut self,
        answerer: &Answerer,
        pictures: &[Picture],
        text: &str,
        options: AnswerOptions,
    ) -> Result<Generation, Failure> {
        match self {
            Conversation::Chat(chat) => {
                chat.options = options;
                let n_before = chat.n_left_out();
                show(answerer, chat.ask_about(pictures, text), n_before)
            }
            Conversation::Text(of) => of.go_on(answerer, pictures, text, &options),
        }
    }

    /// Answers the last text again.
    pub fn retry(&mut self, answerer: &Answerer, options: AnswerOptions) -> Result<Generation, Failure> {
        match self {
            Conversation::Chat(chat) => {
                chat.options = options;
                let n_before = chat.n_left_out();
                show(answerer, chat.retry(), n_before)
            }
            Conversation::Text(of) => {
                let Some((begin, end)) = of.entered.pop() else {
                    return Err(Failure::Failed("there is no text to answer again".into()));
                };
                let (last, made) = (of.text[begin..end].to_owned(), of.text.split_off(begin));
                of.go_on(answerer, &[], &last, &options).inspect_err(|_| {
                    of.text += &made;
                    of.entered.push((begin, end));
                })
            }
        }
    }

    /// Takes back the last text and what followed. Returns how many messages that were.
    pub fn undo(&mut self) -> usize {
        match self {
            Conversation::Chat(chat) => chat.undo(),
            Conversation::Text(of) => match of.entered.pop() {
                Some((begin, _)) => {
                    of.text.truncate(begin);
                    1
                }
                None => 0,
            },
        }
    }

    /// The user's last text.
    pub fn last_text(&self) -> Option<String> {
        match self {
            Conversation::Chat(chat) => chat.last_question().map(|(text, _)| text),
            Conversation::Text(of) => of.entered.last().map(|(begin, end)| of.text[*begin..*end].to_owned()),
        }
    }

    /// The pictures shown with it.
    pub fn last_pictures(&self) -> Vec<Picture> {
        match self {
            Conversation::Chat(chat) => {
                chat.last_question().map(|(_, pictures)| pictures.to_vec()).unwrap_or_default()
            }
            Conversation::Text(_) => Vec::new(),
        }
    }

    /// Leaves out the oldest texts and their answers.
    pub fn leave_out(&mut self, n: usize) -> Result<usize, Failure> {
        Ok(self.chat()?.leave_out(n))
    }

    /// How many messages prompts leave out.
    pub fn n_left_out(&self) -> usize {
        if let Conversation::Chat(chat) = self { chat.n_left_out() } else { 0 }
    }

    /// Forgets everything but the system message.
    pub fn clear(&mut self) {
        match self {
            Conversation::Chat(chat) => chat.clear(),
            Conversation::Text(of) => **of = Text { when_full: of.when_full, ..Text::default() },
        }
    }

    /// Writes it to a file: a conversation as JSON, a text as it is.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        match self {
            Conversation::Chat(chat) => Ok(chat.save(path)?),
            Conversation::Text(of) => Ok(puna_formats::write_file(path, of.text.as_bytes())?),
        }
    }

    /// Goes on from a file. Returns what was loaded, in words.
    pub fn load(&mut self, path: &Path) -> Result<String, Failure> {
        match self {
            Conversation::Chat(chat) => {
                chat.load(path)?;
                Ok(things(chat.messages().len(), "message"))
            }
            Conversation::Text(of) => {
                let text = input::read_text(path)?;
                let mut loaded = format!("a text of {}", things(text.chars().count(), "character"));
                if puna::parse_conversation(&text).is_ok() {
                    loaded += " (a conversation in JSON, but a base model goes on with it as it stands)";
                }
                **of = Text { text, when_full: of.when_full, ..Text::default() };
                Ok(loaded)
            }
        }
    }

    /// What happens when the context is full.
    pub fn when_full(&self) -> WhenFull {
        match self {
            Conversation::Chat(chat) => chat.when_full,
            Conversation::Text(of) => of.when_full,
        }
    }

    /// Says what happens when the context is full.
    pub fn set_when_full(&mut self, when_full: WhenFull) {
        match self {
            Conversation::Chat(chat) => chat.when_full = when_full,
            Conversation::Text(of) => of.when_full = when_full,
        }
    }

    /// Takes another context.
    pub fn set_context(&mut self, max_seq_len: usize) -> Result<(), Failure> {
        match self {
            Conversation::Chat(chat) => Ok(chat.set_context(max_seq_len)?),
            Conversation::Text(of) => {
                of.past = None;
                Ok(())
            }
        }
    }

    /// The system message.
    pub fn system(&self) -> Option<String> {
        if let Conversation::Chat(chat) = self { chat.system() } else { None }
    }

    /// How long it is, in words.
    pub fn about(&self) -> String {
        match self {
            Conversation::Chat(chat) => things(chat.messages().len(), "message"),
            Conversation::Text(of) => {
                format!("{} of text", things(of.text.chars().count(), "character"))
            }
        }
    }

    /// Tokens whose keys and values are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        match self {
            Conversation::Chat(chat) => chat.kept(),
            Conversation::Text(of) => {
                of.past.as_ref().map_or((0, 0), |past| (past.tokens().len(), past.bytes()))
            }
        }
    }
}

/// What a chat can do about a context that is full.
fn explain(error: Error) -> Failure {
    if error.kind() != ErrorKind::TooLong {
        return error.into();
    }
    let hint = "/drop leaves out the oldest texts, /set context-full drop-oldest does so by itself, /set context N \
                may make it larger";
    Failure::Failed(format!("{error}\n  {hint}"))
}

/// Shows a chat's answer, whose prompt may leave out more than the `n_before` messages before.
fn show(
    answerer: &Answerer,
    answer: Result<Answer<'_>, Error>,
    n_before: usize,
) -> Result<Generation, Failure> {
    let mut answer = answer.map_err(explain)?;
    let n_now = answer.n_left_out();
    if n_now > n_before {
        note(&format!(
            "the context is full: the prompt leaves out {} ({} more than before)",
            things(n_now, "old message"),
            n_now - n_before
        ));
    }
    answerer.make(&mut answer, true, "")
}

impl Text {
    fn go_on(
        &mut self,
        answerer: &Answerer,
        pictures: &[Picture],
        entered: &str,
        options: &AnswerOptions,
    ) -> Result<Generation, Failure> {
        if !pictures.is_empty() {
            // They stand at the beginning of the whole text.
            self.pictures = pictures.to_vec();
        }
        let begin = self.text.len();
        let whole = format!("{}{entered}", self.text);
        let (shown, past) = (self.fitting(&answerer.llama, &whole, options)?, self.past.take());
        let prompt = answerer.llama.text_prompt(shown, &self.pictures)?;
        let mut answer = answerer.llama.generate_after(past, prompt, options)?;
        let generation = answerer.make(&mut answer, true, entered)?;
        self.past = Some(answer.into_past());
        self.entered.push((begin, whole.len()));
        self.text = whole + &generation.text;
        Ok(generation)
    }

    /// As much of the text's end as fits, where old parts may be left out.
    fn fitting<'t>(
        &self,
        llama: &Llama,
        whole: &'t str,
        options: &AnswerOptions,
    ) -> Result<&'t str, Failure> {
        let max = llama.engine().max_seq_len();
        let room = options.max_tokens.unwrap_or(puna::COMPLETION_TOKENS).min(max / 4);
        let n = llama.encode(whole)?.len();
        if n + room <= max || self.when_full == WhenFull::Stop {
            if n > max {
                let full =
                    EngineError::TooLong { what: "the text", n_tokens: n, max_seq_len: max, model_max: None };
                let hint =
                    "/clear begins a new text, /set context-full drop-oldest goes on without its beginning";
                return Err(Failure::Failed(format!("{}\n  {hint}", Error::from(full))));
            }
            return Ok(whole);
        }
        // Half of the context becomes free at once, so that not every text leaves out some more.
        let mut shown = whole;
        while llama.encode(shown)?.len() > max / 2 && shown.len() > 1 {
            let mut cut = shown.len() / 4 + 1;
            while !shown.is_char_boundary(cut) {
                cut += 1;
            }
            // At a line's end, if there is one near.
            let line =
                shown[cut..].find('\n').filter(|at| *at < shown.len() / 4).map_or(cut, |at| cut + at + 1);
            shown = &shown[line..];
        }
        let n_cut = whole.chars().count() - shown.chars().count();
        note(&format!("the context is full: the first {n_cut} characters of the text are left out"));
        Ok(shown)
    }
}
