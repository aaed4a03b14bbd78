//! `puna run`: an answer, or a chat.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::chat;
use crate::answer::{AnswerArgs, Answerer, look_at, parse_max_tokens};
use crate::args::SeeingArgs;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::print_answer;

/// Answer a prompt, or chat.
///
/// With PROMPT, or text on standard input (without its last newline), the answer is streamed to standard
/// output. Without either, on a terminal, there is a chat; /help lists its commands. A chat model is asked in
/// its own chat format; a base model, or any model with --raw, continues the text (which a terminal shows
/// before the answer). Texts entered in a chat are remembered in $XDG_STATE_HOME/puna/history.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna run \"Once upon a time\"
  puna run -m Llama-3.2-1B-Instruct/ --system \"Answer in one sentence.\" \"Why is the sky blue?\"
  puna run -m model.gguf --raw -n 50 --temperature 0 \"The capital of France is\"
  git diff | puna run -m model.gguf --system \"Write a commit message for this diff.\"
  puna run -m Llama-3.2-11B-Vision-Instruct/ --image dog.jpg \"What is this?\"
  puna run -m model.gguf --json --seed 7 \"Tell me a joke\" | jq .text
  puna run -m model.gguf")]
pub struct Run {
    /// The prompt; `-` is standard input
    prompt: Option<String>,
    /// A file with the prompt (without its last newline); `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    #[command(flatten)]
    model: SeeingArgs,
    /// A picture to show before the prompt: JPEG, PNG, WebP or GIF (its first frame); may be given several
    /// times. A chat has /image
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Continue the text as it is, without a chat format [default for base models]
    #[arg(long)]
    raw: bool,
    /// The system message: what the model is told before the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// The most tokens of an answer; -1 until the model ends it or the context is full [default: -1; 256 when
    /// continuing text]
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = parse_max_tokens)]
    #[arg(allow_negative_numbers = true)]
    max_tokens: Option<usize>,
    #[command(flatten)]
    answer: AnswerArgs,
}

impl Run {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        self.answer.check()?;
        let file = self.prompt_file.as_deref().map(input::read_prompt_file).transpose()?;
        let prompt = match self.prompt.as_deref() {
            None if file.is_some() => file.map(non_empty).transpose()?,
            Some("-") => Some(non_empty(input::read_prompt()?)?),
            Some(text) => Some(text.to_owned()),
            None if std::io::stdin().is_terminal() => None,
            None => Some(non_empty(input::read_prompt()?)?),
        };
        if prompt.is_none() && (self.answer.json || !std::io::stdout().is_terminal()) {
            let fact = "a chat needs a terminal for its output, and has no --json";
            return Err(Failure::Usage(format!(
                "there is no prompt\n  {fact}\n  give PROMPT, or text on standard input"
            )));
        }
        let interrupt = Interrupt::catch()?;
        let llama = self.model.load()?;
        if interrupt.is_pressed() {
            return Err(Failure::Interrupted);
        }
        // Whoever gives a system message wants a chat, whatever the model looks like.
        let is_chat = !self.raw && (llama.text().is_chat_model() || self.system.is_some());
        let look = |path: &PathBuf| look_at(&llama, path, &interrupt);
        let pictures = self.image.iter().map(look).collect::<Result<Vec<_>, Failure>>()?;
        let answerer = Answerer::new(llama, is_chat, &self.answer, self.max_tokens, interrupt)?;
        let system = self.system.as_deref();
        let Some(prompt) = prompt else { return chat::run(answerer, system, pictures) };
        if is_chat {
            let mut chat = answerer.chat(system)?;
            let answer = chat.ask_about(&pictures, &non_empty(prompt)?)?;
            return answerer.print(answer, self.answer.json);
        }
        let tokens = answerer.llama.text_prompt(&prompt, &pictures)?;
        // On a terminal a continuation is read together with what it continues. Elsewhere it stands alone.
        if !self.answer.json && std::io::stdout().is_terminal() {
            print_answer(&prompt)?;
        }
        let answer = answerer.llama.generate(tokens, &answerer.options(0))?;
        answerer.print(answer, self.answer.json)
    }
}

/// The prompt, unless it is empty.
fn non_empty(prompt: String) -> Result<String, Failure> {
    let empty = || Failure::Failed("the prompt is empty\n  give PROMPT, or text on standard input".into());
    if prompt.is_empty() { Err(empty()) } else { Ok(prompt) }
}
