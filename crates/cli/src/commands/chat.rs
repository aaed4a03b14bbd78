//! The chat of `puna run` and `puna chat`: its loop and its commands.
//!
//! With a chat model the conversation is the context. A base model goes on with one text: what is entered and
//! what it makes of it, by the same loop.

use std::path::{Path, PathBuf};

use puna::{FinishReason, Generation, Picture, WhenFull};
use puna_formats::{visible, visible_path};

use crate::answer::{Answerer, look_at};
use crate::conversation::Conversation;
use crate::failure::{Failure, complain};
use crate::input;
use crate::line_editor::{Entry, LineEditor};
use crate::output::{note, print};
use crate::report;
use crate::settings::{self, Change};
use crate::terminal;
use crate::units::{self, duration, things};

/// The commands and what they do. Those of [`OF_CONVERSATIONS`] are left out where there is none.
const HELP: &str = "\
/system TEXT     set the system message; without TEXT show it, with `off` remove it
/image FILE      show a picture with the next text; may be given several times
/read FILE       put a file's text before the next text; without FILE forget what was read
/retry           answer the last text again
/edit            change the last text, and answer it
/undo            take back the last text and its answer
/drop [N]        leave out the oldest N texts and their answers (1) from now on
/clear           forget the conversation, but not the system message
/set NAME VALUE  change how answers are made; without anything list the settings
/show            model, settings, context
/save FILE       write the conversation to a file, as JSON; the text of a base model as it is
/load FILE       go on with what /save wrote
/stats           speed, context and memory so far
/help, /?        this list
/quit, /bye      leave, as Ctrl-D does

A line that ends with \\ goes on in the next one. Between lines with \"\"\" a text may have any number of lines. \
Ctrl-C stops an answer. A text that begins with a blank is never a command. What is typed during an answer is \
kept.
";

/// The commands that a base model's text has no use for.
const OF_CONVERSATIONS: [&str; 2] = ["/system", "/drop"];

/// From this share of the context on, it is said how full it is.
const NEARLY_FULL: f64 = 0.8;

/// Chats until the user leaves.
pub fn run(
    answerer: Answerer,
    system: Option<&str>,
    pictures: Vec<Picture>,
    when_full: WhenFull,
) -> Result<(), Failure> {
    let conversation = Conversation::new(&answerer, system, when_full)?;
    let mut talk = Talk {
        answerer,
        conversation,
        pictures,
        read: String::new(),
        saved: None,
        last: None,
        n_answers: 0,
        is_warned: false,
    };
    terminal::remember();
    let mut editor = LineEditor::new()?;
    talk.answerer.interrupt.only_asks();
    let about = if talk.answerer.is_chat { "chat" } else { "it goes on with the text" };
    say(&format!("{} ({about}); /help lists the commands\n", visible(&talk.answerer.llama.name())))?;
    let mut initial = None;
    loop {
        let text = match editor.read(initial.as_deref())? {
            Entry::Text(text) => text,
            Entry::Cancelled => {
                initial = None;
                continue;
            }
            Entry::End => return Ok(()),
        };
        // Pressed while nothing was going on, or to stop the last answer.
        talk.answerer.interrupt.clear();
        let done = match text.strip_prefix('/') {
            // An edited text takes the place of the last one, unless nothing is left of it.
            _ if initial.take().is_some() && !text.trim().is_empty() => talk.replace_last(&text),
            _ if text.trim().is_empty() => Ok(Next::Continue),
            Some(command) => talk.command(command),
            None => talk.answer(&text).map(|()| Next::Continue),
        };
        match done {
            Ok(Next::Continue) => {}
            Ok(Next::Edit(text)) => initial = Some(text),
            Ok(Next::Leave) => return Ok(()),
            // What one answer could not do, the next one may.
            Err(Failure::Failed(message)) => complain(&message),
            Err(failure) => return Err(failure),
        }
    }
}

/// Prints lines of our own, wrapped where the terminal is narrow.
fn say(text: &str) -> Result<(), Failure> {
    print(&match terminal::width() {
        Some(width) => terminal::wrap_table(text, width),
        None => text.to_owned(),
    })
}

/// What comes after a command.
enum Next {
    Continue,
    /// Let this text be edited.
    Edit(String),
    Leave,
}

/// A conversation in progress.
struct Talk {
    answerer: Answerer,
    conversation: Conversation,
    /// Pictures that the next text is about.
    pictures: Vec<Picture>,
    /// Texts of files that go before the next text.
    read: String,
    /// The file that the conversation was last saved to or loaded from.
    saved: Option<PathBuf>,
    last: Option<Generation>,
    n_answers: u64,
    /// Whether it was said that the context is nearly full.
    is_warned: bool,
}

impl Talk {
    fn answer(&mut self, text: &str) -> Result<(), Failure> {
        let text = format!("{}{text}", self.read);
        let options = self.answerer.options(self.n_answers);
        let asked = self.conversation.ask(&self.answerer, &self.pictures, &text, options)?;
        self.pictures.clear();
        self.read.clear();
        self.after(asked)
    }

    /// Answers `text`, and what was read before it, in the place of the last one.
    fn replace_last(&mut self, text: &str) -> Result<Next, Failure> {
        let text = format!("{}{text}", self.read);
        let before = self.conversation.clone();
        let pictures = self.conversation.last_pictures();
        self.conversation.undo();
        let options = self.answerer.options(self.n_answers);
        let asked = self.conversation.ask(&self.answerer, &pictures, &text, options);
        match asked {
            Ok(asked) => {
                self.read.clear();
                self.after(asked).map(|()| Next::Continue)
            }
            Err(failure) => {
                self.conversation = before;
                Err(failure)
            }
        }
    }

    fn retry(&mut self) -> Result<(), Failure> {
        let options = self.answerer.options(self.n_answers);
        let asked = self.conversation.retry(&self.answerer, options)?;
        self.after(asked)
    }

    /// What is said after an answer.
    fn after(&mut self, generation: Generation) -> Result<(), Failure> {
        if generation.finish == FinishReason::Cancelled {
            note("stopped");
        }
        if self.answerer.verbose {
            report::one_line(&self.answerer.llama, &generation);
        }
        let max = self.answerer.llama.engine().max_seq_len();
        let used = generation.n_prompt + generation.ids.len();
        let is_nearly_full = used as f64 >= NEARLY_FULL * max as f64;
        if is_nearly_full && !self.is_warned && generation.finish != FinishReason::Context {
            let then = match self.conversation.when_full() {
                WhenFull::Stop => {
                    "/drop leaves out the oldest texts, /set context-full drop-oldest does so by itself"
                }
                _ => "when it is full, old messages are left out",
            };
            note(&format!("{used} of the context's {max} tokens are used; {then}"));
        }
        self.is_warned = is_nearly_full;
        self.last = Some(generation);
        self.n_answers += 1;
        Ok(self.answerer.llama.check_files()?)
    }

    fn command(&mut self, command: &str) -> Result<Next, Failure> {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let argument = argument.trim();
        let takes_nothing = matches!(
            name,
            "help" | "?" | "quit" | "exit" | "bye" | "stats" | "show" | "clear" | "retry" | "edit" | "undo"
        );
        if takes_nothing && !argument.is_empty() {
            let hint = "with a blank in front it is sent as a text";
            return Err(Failure::Failed(format!(
                "/{name} takes no argument, but there is `{argument}`\n  {hint}"
            )));
        }
        match name {
            "help" | "?" => say(&self.help())?,
            "quit" | "exit" | "bye" => return Ok(Next::Leave),
            "stats" => say(&self.stats())?,
            "show" => say(&self.about())?,
            "set" => self.set(argument)?,
            "system" => self.system(argument)?,
            "image" => self.image(&file_argument(name, argument)?)?,
            "read" if argument.is_empty() => {
                self.read.clear();
                say("What was read is forgotten.\n")?;
            }
            "read" => self.read(&file_argument(name, argument)?)?,
            "retry" => self.retry()?,
            "edit" => {
                let none = || Failure::Failed("there is no text to edit yet".into());
                if terminal::width().is_none() {
                    let fact = "this terminal cannot show a text to be edited; /undo takes the last one back";
                    return Err(Failure::Failed(format!("cannot edit the text\n  {fact}")));
                }
                return Ok(Next::Edit(self.conversation.last_text().ok_or_else(none)?));
            }
            "undo" => match self.conversation.undo() {
                0 => return Err(Failure::Failed("there is nothing to take back".into())),
                _ => say("The last text and its answer are taken back.\n")?,
            },
            "drop" => self.drop_turns(argument)?,
            "clear" => {
                self.conversation.clear();
                self.pictures.clear();
                self.read.clear();
                self.is_warned = false;
                say("The conversation is forgotten.\n")?;
            }
            "save" => {
                let path = file_argument(name, argument)?;
                self.check_may_save(&path)?;
                self.conversation.save(&path)?;
                say(&format!("Saved as {}.\n", visible_path(&path)))?;
                self.saved = Some(path);
            }
            "load" => {
                let path = file_argument(name, argument)?;
                let loaded = self.conversation.load(&path)?;
                self.saved = Some(path);
                self.is_warned = false;
                say(&format!("Loaded {loaded}.\n"))?;
            }
            _ => {
                let hint = "/help lists the commands; with a blank in front it is sent as a text";
                return Err(Failure::Failed(format!("there is no command /{name}\n  {hint}")));
            }
        }
        Ok(Next::Continue)
    }

    fn help(&self) -> String {
        let is_of_use = |line: &&str| {
            self.answerer.is_chat || !OF_CONVERSATIONS.iter().any(|command| line.starts_with(command))
        };
        HELP.split_inclusive('\n').filter(is_of_use).collect()
    }

    fn set(&mut self, argument: &str) -> Result<(), Failure> {
        let context = self.answerer.llama.engine().max_seq_len();
        if argument.is_empty() {
            return say(&settings::table(&self.answerer, context, self.conversation.when_full()));
        }
        // `/set parameter temperature 1` is what others have.
        let argument = argument.strip_prefix("parameter ").unwrap_or(argument).trim();
        let (name, value) =
            argument.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((argument, ""));
        let value = value.trim().trim_start_matches('=').trim();
        if value.is_empty() {
            let hint = "/set NAME VALUE, as in /set temperature 0.5; /set alone lists the names";
            return Err(Failure::Failed(format!("/set {name} has no value\n  {hint}")));
        }
        match settings::set(&mut self.answerer, name, value).map_err(Failure::Failed)? {
            Change::Done => {}
            Change::WhenFull(policy) => self.conversation.set_when_full(policy),
            Change::Context(n) => {
                self.answerer.llama = self.answerer.llama.with_context(n)?;
                self.conversation.set_context(n)?;
                self.is_warned = false;
            }
        }
        say(&format!("{name} is set.\n"))
    }

    fn system(&mut self, text: &str) -> Result<(), Failure> {
        let chat = self.conversation.chat()?;
        match text {
            "" => {
                let system = chat.system();
                print(&format!("{}\n", system.as_deref().unwrap_or("There is no system message.")))
            }
            "off" => {
                chat.set_system(None);
                say("The system message is removed.\n")
            }
            text => {
                chat.set_system(Some(text));
                say("The system message is set.\n")
            }
        }
    }

    fn image(&mut self, path: &Path) -> Result<(), Failure> {
        let picture = match look_at(&self.answerer.llama, path, &self.answerer.interrupt) {
            Err(Failure::Interrupted) => {
                note("stopped");
                return Ok(());
            }
            picture => picture?,
        };
        let ([width, height], [rows, columns]) = (picture.size, picture.grid);
        let time = duration(picture.time);
        self.pictures.push(picture);
        say(&format!("{width} x {height} pixels, {columns} x {rows} tiles, looked at in {time}. Now ask.\n"))
    }

    /// Refuses to write over what is neither a saved conversation nor was saved by this chat.
    fn check_may_save(&self, path: &Path) -> Result<(), Failure> {
        let refuse = |fact: &str| {
            let path = visible_path(path);
            Err(Failure::Failed(format!("cannot save as `{path}`\n  {fact}\n  give another name")))
        };
        let Ok(about) = std::fs::metadata(path) else { return Ok(()) };
        if !about.is_file() {
            return refuse("it is not a file");
        }
        if about.len() == 0 || self.saved.as_deref() == Some(path) || input::read_conversation(path).is_ok() {
            return Ok(());
        }
        refuse("there is a file of this name that is not a saved conversation")
    }

    fn read(&mut self, path: &Path) -> Result<(), Failure> {
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            let path = visible_path(path);
            return Err(Failure::Failed(format!("cannot read `{path}`\n  it is not a file")));
        }
        let text = input::read_text(path)?;
        let (n, max) = (self.answerer.llama.encode(&text)?.len(), self.answerer.llama.engine().max_seq_len());
        if n >= max {
            let path = visible_path(path);
            let fact = format!("it has {}, but the context has {max}", things(n, "token"));
            return Err(Failure::Failed(format!(
                "cannot read `{path}`\n  {fact}\n  /set context may make it larger"
            )));
        }
        let (n_lines, n_characters) = (text.lines().count(), text.chars().count());
        self.read += &text;
        if !text.ends_with('\n') {
            self.read.push('\n');
        }
        let (lines, characters) = (things(n_lines, "line"), things(n_characters, "character"));
        say(&format!("{lines}, {characters}, to go before your next text.\n"))
    }

    fn drop_turns(&mut self, argument: &str) -> Result<(), Failure> {
        let n =
            match argument {
                "" => 1,
                n => n.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                    Failure::Failed(format!("/drop takes a number of texts, not `{argument}`"))
                })?,
            };
        let n_left_out = self.conversation.leave_out(n)?;
        self.is_warned = false;
        say(&match n_left_out {
            0 => "There is nothing to leave out: the last text always stays.\n".to_owned(),
            n => {
                format!("Left out from now on: {}. /save writes all the same.\n", things(n, "message"))
            }
        })
    }

    fn about(&self) -> String {
        let llama = &self.answerer.llama;
        let max = llama.engine().max_seq_len();
        let mut text = format!("model    {} ({})\n", visible(&llama.name()), visible_path(llama.path()));
        if let Some(system) = self.conversation.system() {
            text += &format!("system   {system}\n");
        }
        text += &format!("context  {}, {} tokens at most\n", self.conversation.about(), max);
        if !self.read.is_empty() {
            let characters = things(self.read.chars().count(), "character");
            text += &format!("read     {characters}, for the next text\n");
        }
        if !self.pictures.is_empty() {
            text += &format!("pictures {}, for the next text\n", self.pictures.len());
        }
        match self.conversation.n_left_out() {
            0 => {}
            n => text += &format!("left out {}\n", things(n, "message")),
        }
        text + "\n" + &settings::table(&self.answerer, max, self.conversation.when_full())
    }

    fn stats(&self) -> String {
        let llama = &self.answerer.llama;
        let cpu = llama.engine().cpu();
        let mut lines = format!("machine   {}, {} threads\n", cpu.isa.name(), cpu.pool.n_threads());
        let (n_tokens, kv_bytes) = self.conversation.kept();
        lines += &format!(
            "context   {}, {n_tokens} of {} tokens, keys and values {}\n",
            self.conversation.about(),
            llama.engine().max_seq_len(),
            units::bytes(kv_bytes as u64)
        );
        if let Some(last) = &self.last {
            let speed = |speed: Option<f64>| speed.map_or("-".into(), units::measured);
            lines += &format!(
                "last      first token after {} ({} tokens/s, {} of {} known before), then {} tokens/s\n",
                duration(last.timings.first_token),
                speed(last.timings.prefill_tokens_per_s()),
                last.n_reused,
                last.n_prompt,
                speed(last.timings.decode_tokens_per_s()),
            );
        }
        if let Some(seed) = self.answerer.sampling.seed {
            lines += &format!("seed      {seed}\n");
        }
        if let Some(bytes) = puna::resident_bytes() {
            lines += &format!("resident  {}\n", units::bytes(bytes as u64));
        }
        lines
    }
}

/// The file that a command names: `~/` is the home folder, quotes around the whole are not part of it.
fn file_argument(command: &str, argument: &str) -> Result<PathBuf, Failure> {
    let quoted = |quote: char| argument.strip_prefix(quote)?.strip_suffix(quote);
    let name = quoted('"').or_else(|| quoted('\'')).unwrap_or(argument);
    if name.is_empty() {
        return Err(Failure::Failed(format!("/{command} needs a file name, as in /{command} FILE")));
    }
    let at_home = name.strip_prefix("~/").and_then(|rest| Some(std::env::home_dir()?.join(rest)));
    Ok(at_home.unwrap_or_else(|| PathBuf::from(name)))
}
