//! The chat of `puna run`: history, line editing, commands.
//!
//! With a chat model the whole conversation is the context. A base model has no conversation: each text is
//! continued on its own, by the same loop.

use std::path::Path;

use puna::{Chat, FinishReason, Generation, Picture};

use crate::answer::{Answerer, look_at};
use crate::failure::{Failure, complain};
use crate::line_editor::{Entry, LineEditor};
use crate::output::{note, print};
use crate::units::{self, duration};

const HELP: &str = "\
/system TEXT   set the system message; without TEXT show it, with `off` remove it
/image FILE    show a picture with the next text; may be given several times
/clear         forget the conversation, but not the system message
/save FILE     write the conversation to a JSON file
/load FILE     go on with a conversation from a JSON file
/stats         speed, context and memory so far
/help          this list
/quit          leave, as Ctrl-D does

A line that ends with \\ goes on in the next one. Between lines with \"\"\" a text may have any number of
lines. Ctrl-C stops an answer. A text that begins with a blank is never a command.
";

/// Chats until the user leaves.
pub fn run(answerer: Answerer, system: Option<&str>, pictures: Vec<Picture>) -> Result<(), Failure> {
    let chat = answerer.is_chat.then(|| answerer.chat(system)).transpose()?;
    let mut talk = Talk { answerer, chat, pictures, last: None, n_answers: 0 };
    let mut editor = LineEditor::new()?;
    talk.answerer.interrupt.only_asks();
    let about = if talk.chat.is_some() { "chat" } else { "no chat model: each text is continued" };
    print(&format!("{} ({about}); /help lists the commands\n", talk.answerer.llama.path().display()))?;
    loop {
        let text = match editor.read()? {
            Entry::Text(text) => text,
            Entry::Cancelled => continue,
            Entry::End => return Ok(()),
        };
        // Pressed while nothing was going on, or to stop the last answer.
        talk.answerer.interrupt.clear();
        let done = match text.strip_prefix('/') {
            _ if text.trim().is_empty() => Ok(Next::Continue),
            Some(command) => talk.command(command),
            None => talk.answer(&text).map(|()| Next::Continue),
        };
        match done {
            Ok(Next::Continue) => {}
            Ok(Next::Leave) => return Ok(()),
            // What one answer could not do, the next one may.
            Err(Failure::Failed(message)) => complain(&message),
            Err(failure) => return Err(failure),
        }
    }
}

/// What comes after a command.
enum Next {
    Continue,
    Leave,
}

/// A conversation in progress.
struct Talk {
    answerer: Answerer,
    /// `None` with a model that only continues text.
    chat: Option<Chat>,
    /// Pictures that the next text is about.
    pictures: Vec<Picture>,
    last: Option<Generation>,
    n_answers: u64,
}

impl Talk {
    fn answer(&mut self, text: &str) -> Result<(), Failure> {
        let llama = &self.answerer.llama;
        let options = self.answerer.options(self.n_answers);
        let mut answer = match &mut self.chat {
            Some(chat) => {
                chat.options = options;
                chat.ask_about(&self.pictures, text)?
            }
            None => llama.generate(llama.text_prompt(text, &self.pictures)?, &options)?,
        };
        let generation = self.answerer.make(&mut answer, true)?;
        drop(answer);
        self.pictures.clear();
        if generation.finish == FinishReason::Cancelled {
            note("stopped");
        }
        self.last = Some(generation);
        self.n_answers += 1;
        Ok(self.answerer.llama.check_files()?)
    }

    fn command(&mut self, command: &str) -> Result<Next, Failure> {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let argument = argument.trim();
        match name {
            "help" | "?" => print(HELP)?,
            "quit" | "exit" | "bye" => return Ok(Next::Leave),
            "stats" => print(&self.stats())?,
            "system" => self.system(argument)?,
            "image" => self.image(file_argument(name, argument)?)?,
            "clear" => {
                self.chat()?.clear();
                self.pictures.clear();
                print("The conversation is forgotten.\n")?;
            }
            "save" => {
                self.chat()?.save(file_argument(name, argument)?)?;
                print(&format!("Saved as {argument}.\n"))?;
            }
            "load" => {
                let chat = self.chat()?;
                chat.load(file_argument(name, argument)?)?;
                print(&format!("Loaded {} messages.\n", chat.messages().len()))?;
            }
            _ => {
                let hint = "/help lists the commands; a text that begins with a blank is no command";
                return Err(Failure::Failed(format!("there is no command /{name}\n  {hint}")));
            }
        }
        Ok(Next::Continue)
    }

    /// The conversation, if this model can have one.
    fn chat(&mut self) -> Result<&mut Chat, Failure> {
        let none =
            "there is no conversation\n  this model has no chat format; each text is continued on its own";
        self.chat.as_mut().ok_or_else(|| Failure::Failed(none.into()))
    }

    fn system(&mut self, text: &str) -> Result<(), Failure> {
        let chat = self.chat()?;
        match text {
            "" => {
                let system = chat.system();
                print(&format!("{}\n", system.as_deref().unwrap_or("There is no system message.")))
            }
            "off" => {
                chat.set_system(None);
                print("The system message is removed.\n")
            }
            text => {
                chat.set_system(Some(text));
                print("The system message is set.\n")
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
        print(&format!(
            "{width} x {height} pixels, {columns} x {rows} tiles, looked at in {time}. Now ask.\n"
        ))
    }

    fn stats(&self) -> String {
        let llama = &self.answerer.llama;
        let cpu = llama.engine().cpu();
        let mut lines = format!("machine   {}, {} threads\n", cpu.isa.name(), cpu.pool.n_threads());
        if let Some(chat) = &self.chat {
            let (n_tokens, kv_bytes) = chat.kept();
            let (n_messages, max) = (chat.messages().len(), llama.engine().max_seq_len());
            lines += &format!(
                "context   {n_messages} messages, {n_tokens} of {max} tokens, keys and values {}\n",
                units::bytes(kv_bytes as u64)
            );
        }
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

fn file_argument<'t>(command: &str, argument: &'t str) -> Result<&'t Path, Failure> {
    let missing = || Failure::Failed(format!("/{command} needs a file name, as in /{command} FILE"));
    if argument.is_empty() { Err(missing()) } else { Ok(Path::new(argument)) }
}
