//! `puna run`: an answer, or a chat.

use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use puna::{
    Chat, Event, FinishReason, GenerateOptions, Generation, Llama, Picture, PromptTokens, SamplingParams,
    read_picture,
};

use super::chat;
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{print, print_answer, print_json};
use crate::progress::Progress;
use crate::{input, report};

/// Tokens of a continuation unless -n says otherwise. (A chat model ends its answer itself.)
const RAW_MAX_TOKENS: usize = 256;

/// Answer a prompt, or chat.
///
/// With PROMPT, or text on standard input (without its last newline), the answer is streamed to standard output.
/// Without either, on a terminal, there is a chat; /help lists its commands. A chat model is asked in its own chat
/// format; a base model, or any model with --raw, continues the text (which a terminal shows before the answer). Texts entered in a chat are remembered in $XDG_STATE_HOME/puna/history.
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
    /// The prompt; `-` reads it from standard input
    prompt: Option<String>,
    #[command(flatten)]
    model: RunArgs,
    /// A picture to show before the prompt: JPEG, PNG, WebP or GIF (its first frame); may be given several times. A chat has
    /// /image
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Continue the text as it is, without a chat format [default for base models]
    #[arg(long)]
    raw: bool,
    /// The system message: what the model is told before the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// The most tokens of an answer [default: until the model ends it; 256 when continuing text]
    #[arg(short = 'n', long, value_name = "TOKENS")]
    max_tokens: Option<usize>,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// How an answer is made and shown.
#[derive(Args)]
pub struct AnswerArgs {
    /// End the answer before this text; may be given several times. ($'\n' is a newline in most shells)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Print one JSON object instead of streaming: text, ids, prompt_ids, finish_reason, counts, timings
    #[arg(long)]
    pub json: bool,
    /// Say on standard error how it went: times, tokens per second, memory, instruction set, seed
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

impl AnswerArgs {
    /// Refuses what no answer can be made with.
    pub fn check(&self) -> Result<(), Failure> {
        let sampling = self.sampling.over(SamplingParams::default()).validate();
        sampling.map_err(|error| Failure::Usage(error.to_string()))?;
        match self.stop.iter().any(String::is_empty) {
            true => Err(Failure::Usage("--stop with an empty text would end every answer at once".into())),
            false => Ok(()),
        }
    }
}

/// How the next token is chosen.
#[derive(Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Below 1 sharper, above 1 more varied, 0 always the likeliest token [default: as the model recommends, else 0.6 in
    /// a chat, 0.8 when continuing text]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Choose among the K likeliest tokens; 0 is all [default: as the model recommends, else 0]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability [default: as the model recommends, else 0.9
    /// in a chat, 0.95 when continuing text]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Leave out tokens less likely than this share of the likeliest one's probability [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Choose among the tokens whose surprise is most typical, together of this probability [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    typical_p: Option<f64>,
    /// Make tokens that occurred less likely, by dividing [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repeat_penalty: Option<f64>,
    /// Make tokens that occurred less likely, by subtracting [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,
    /// The same for each time they occurred [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,
    /// The same seed gives the same answer again [default: another one each time; -v shows it]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// These settings over `defaults`.
    pub fn over(&self, defaults: SamplingParams) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            typical_p: self.typical_p.unwrap_or(defaults.typical_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(defaults.repeat_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            seed: Some(self.seed.unwrap_or_else(fresh_seed)),
            ..defaults
        }
    }
}

/// A seed nobody chose. Short, for typing it again; and so that no JSON reader rounds it.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one("seed") >> 32
}

/// A model with the way it is to answer.
pub struct Answerer<'a> {
    pub llama: &'a Llama,
    /// Whether prompts are written in the chat format.
    pub is_chat: bool,
    pub options: GenerateOptions<'a>,
    pub verbose: bool,
    pub interrupt: &'a Interrupt,
}

impl Run {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        self.answer.check()?;
        let prompt = match self.prompt.as_deref() {
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
        let answerer = self.answerer(&llama, &interrupt);
        let pictures: Vec<(PathBuf, Picture)> = self
            .image
            .iter()
            .map(|path| Ok((path.clone(), look_at(&llama, path, &interrupt)?)))
            .collect::<Result<_, Failure>>()?;
        match prompt {
            Some(prompt) => self.answer(&answerer, &prompt, &pictures),
            None => chat::run(answerer, self.system.as_deref(), pictures),
        }
    }

    fn answerer<'a>(&self, llama: &'a Llama, interrupt: &'a Interrupt) -> Answerer<'a> {
        // Who gives a system message wants a chat, whatever the model looks like.
        let is_chat = !self.raw && (llama.is_chat_model() || self.system.is_some());
        let defaults = if is_chat { llama.chat_sampling() } else { llama.raw_sampling() };
        let options = GenerateOptions {
            sampling: self.answer.sampling.over(defaults),
            max_tokens: self.max_tokens.or((!is_chat).then_some(RAW_MAX_TOKENS)),
            stop: self.answer.stop.clone(),
            stands_alone: is_chat,
            cancel: Some(interrupt.flag()),
        };
        Answerer { llama, is_chat, options, verbose: self.answer.verbose, interrupt }
    }

    /// One answer.
    fn answer(
        &self,
        answerer: &Answerer,
        prompt: &str,
        pictures: &[(PathBuf, Picture)],
    ) -> Result<(), Failure> {
        let prompt = if answerer.is_chat {
            let mut chat = Chat::new(answerer.llama)?;
            chat.set_system(self.system.as_deref());
            chat.push_with_pictures(pictures, &non_empty(prompt.to_owned())?);
            chat.prompt_tokens()?
        } else {
            let pictures: Vec<Picture> = pictures.iter().map(|(_, picture)| picture.clone()).collect();
            let tokens = answerer.llama.encode_after_pictures(prompt, &pictures)?;
            // On a terminal a continuation is read together with what it continues. Elsewhere it stands alone.
            if !self.answer.json && std::io::stdout().is_terminal() {
                print_answer(prompt)?;
            }
            tokens
        };
        answerer.answer(&prompt, self.answer.json)
    }
}

/// Shows a picture to the model.
pub fn look_at(llama: &Llama, path: &Path, interrupt: &Interrupt) -> Result<Picture, Failure> {
    let file = read_picture(path)?;
    let mut progress = Progress::new("looking at the picture");
    let picture = llama.look_at(&file, |n_done, n_total| {
        progress.show(n_done, n_total);
        if interrupt.is_pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    picture.map_err(|error| match error {
        puna::Error::Stopped => Failure::Interrupted,
        error => Failure::Failed(format!("cannot look at `{}`\n  {error}", path.display())),
    })
}

/// The prompt, unless it is empty.
fn non_empty(prompt: String) -> Result<String, Failure> {
    let empty = || Failure::Failed("the prompt is empty\n  give PROMPT, or text on standard input".into());
    if prompt.is_empty() { Err(empty()) } else { Ok(prompt) }
}

impl Answerer<'_> {
    /// The answer to a prompt, as text or as `json`.
    pub fn answer(&self, prompt: &PromptTokens, json: bool) -> Result<(), Failure> {
        let generation = self.stream(!json, |options, on_event| {
            Ok(self.llama.generate(prompt.clone(), options, on_event)?)
        })?;
        if json {
            print_json(&report::json(self.llama, &prompt.ids, &generation))?;
        }
        match generation.finish {
            FinishReason::Cancelled => Err(Failure::Interrupted),
            _ => Ok(()),
        }
    }

    /// Makes an answer by calling `generate`, streaming it to standard output if `shows`, and reports on it where asked.
    pub fn stream(
        &self,
        shows: bool,
        generate: impl FnOnce(
            &GenerateOptions,
            &mut dyn FnMut(Event) -> ControlFlow<()>,
        ) -> Result<Generation, Failure>,
    ) -> Result<Generation, Failure> {
        let mut progress = Progress::new("reading the prompt");
        let mut written = Ok(());
        let mut ends_line = false;
        let mut on_event = |event: Event| {
            match event {
                Event::Prefill { n_done, n_total } => progress.show(n_done, n_total),
                Event::Text(text) => {
                    progress.clear();
                    ends_line = text.ends_with('\n');
                    if shows {
                        written = print_answer(text);
                    }
                }
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let generation = generate(&self.options, &mut on_event);
        progress.clear();
        written?;
        let generation = generation?;
        if shows && !ends_line {
            print("\n")?;
        }
        if self.verbose {
            report::verbose(self, &generation);
        }
        if generation.finish == FinishReason::Context && shows {
            let max_seq_len = self.llama.engine().max_seq_len();
            report::note(&format!(
                "the answer ends here because the context of {max_seq_len} tokens is full"
            ));
        }
        Ok(generation)
    }
}
