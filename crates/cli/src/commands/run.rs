//! `puna run`: an answer, or a chat; `puna chat`.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use puna::{Form, WhenFull};
use puna_formats::{quote, visible_path};
use puna_store::name::ModelName;

use super::pull::PullArgs;
use super::{chat, web};
use crate::answer::{AnswerArgs, Answerer, FormArgs, look_at, parse_max_tokens};
use crate::args::SeeingArgs;
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::model_word::{looks_like_path, model_of, no_model, not_a_prompt};
use crate::names::models;
use crate::output::note;
use crate::settings;

/// Answer a prompt, or chat.
///
/// With PROMPT, or text on standard input (without its last newline), the answer is streamed to standard
/// output. Without either, on a terminal, there is a chat; /help lists its commands. A chat model is asked in
/// its own chat format; a base model, or any model with --raw, continues the text (which a terminal shows
/// before the answer). MODEL is a file or folder, as with -m, or a name that `puna list` shows.
#[derive(Args)]
#[command(
    override_usage = "puna run [OPTIONS] [MODEL] [PROMPT]\n       puna run [OPTIONS] -m <PATH> [PROMPT]",
    after_help = "\
Examples:
  puna run \"Once upon a time\"
  puna run Llama-3.2-1B-Instruct/ --system \"Answer in one sentence.\" \"Why is the sky blue?\"
  puna run -m model.gguf --raw -n 50 --temperature 0 \"The capital of France is\"
  git diff | puna run -m model.gguf --system \"Write a commit message for this diff.\"
  puna run -m Llama-3.2-11B-Vision-Instruct/ --image dog.jpg \"What is this?\"
  puna run -m model.gguf --json --seed 7 \"Tell me a joke\" | jq .text
  puna run -m model.gguf --schema person.json \"Who wrote Faust? Answer in JSON.\" | jq .name
  puna run --pull llama3.2:1b \"Why is the sky blue?\"
  puna run model.gguf"
)]
pub struct Run {
    /// The model, where -m does not name it, and the prompt; `-` is standard input
    #[arg(value_name = "MODEL PROMPT", num_args = 0..=2, add = models())]
    words: Vec<OsString>,
    /// A file with the prompt (without its last newline); `-` is standard input
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    held: HeldArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What the answer is held to.
#[derive(Args)]
struct HeldArgs {
    /// Answer with JSON that satisfies the JSON schema in FILE; what cannot be enforced is refused by name. The model
    /// does not read the schema: say in the prompt what is wanted. `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "grammar")]
    schema: Option<PathBuf>,
    /// Answer with a text of the grammar in FILE, in llama.cpp's form (GBNF: `root ::= \"yes\" | \"no\"`) or Lark's
    /// (`start: \"yes\" | \"no\"`), told apart by `::=`. `-` is standard input
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl HeldArgs {
    fn path(&self) -> Option<&Path> {
        self.schema.as_deref().or(self.grammar.as_deref())
    }

    /// The form that the file says.
    fn form(&self) -> Result<Option<Form>, Failure> {
        if let Some(path) = &self.schema {
            return Ok(Some(Form::Schema(input::read_json(path)?)));
        }
        let grammar = self.grammar.as_deref().map(input::read_text).transpose()?;
        Ok(grammar.map(Form::of_grammar))
    }

    /// Names the file that an answer cannot be held to.
    fn explain(&self, error: puna::Error) -> Failure {
        match (error, self.path()) {
            (puna::Error::Form { what, fact }, Some(path)) => {
                let file = input::title(path);
                Failure::Failed(format!("the answer cannot be held to {what} in {file}\n  {fact}"))
            }
            (error, _) => error.into(),
        }
    }
}

/// What the page has its own settings for.
const SET_ON_PAGE: [&str; 17] = [
    "image",
    "raw",
    "system",
    "max_tokens",
    "context_full",
    "stop",
    "verbose",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
];

/// Chat with a model.
///
/// The model's whole conversation is its context; a base model goes on with one text. /help lists the
/// commands. Texts entered are remembered in $XDG_STATE_HOME/puna/history. MODEL is a file or folder, as with
/// -m, or a name that `puna list` shows.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna chat
  puna chat Llama-3.2-1B-Instruct/ --system \"Answer in one sentence.\"
  puna chat -m model.gguf --context-full drop-oldest
  puna chat llama3.2:3b --web")]
pub struct Chat {
    /// The model, where -m does not name it
    #[arg(value_name = "MODEL", add = models())]
    model_path: Option<OsString>,
    /// Chat in the browser: starts a server that this machine alone can reach, on a free port, and opens its page with a
    /// link that works once. How answers are made is set there
    #[arg(long, conflicts_with_all = SET_ON_PAGE)]
    web: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

/// How it is talked to.
#[derive(Args)]
struct TalkArgs {
    #[command(flatten)]
    model: SeeingArgs,
    /// Get MODEL first where this machine does not have it, as `puna pull` does
    #[arg(long)]
    pull: bool,
    #[command(flatten)]
    pulling: PullArgs,
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
    /// What a chat does when its context is full: stop, or leave out old messages and say so: drop-oldest,
    /// drop-middle (which keeps the first question and its answer)
    #[arg(long, value_name = "WHAT", default_value = "stop", value_parser = parse_when_full)]
    context_full: WhenFull,
    #[command(flatten)]
    answer: AnswerArgs,
}

fn parse_when_full(text: &str) -> Result<WhenFull, String> {
    settings::when_full(text).ok_or_else(|| "expected stop, drop-oldest or drop-middle".to_owned())
}

impl Chat {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        self.talk.answer.check()?;
        let model = match &self.model_path {
            None => None,
            Some(_) if self.talk.model.names_model() => {
                return Err(Failure::Usage("two models are named: by -m, and by MODEL".into()));
            }
            Some(name) => Some(self.talk.model_called(name)?),
        };
        match self.web {
            true => web::run(self.talk.model.served_at(model)?),
            false => self.talk.chat(model),
        }
    }
}

impl Run {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        self.talk.answer.check()?;
        let (model, prompt) = self.model_and_prompt()?;
        let prompt_path = match prompt {
            Some("-") => Some(Path::new("-")),
            Some(_) => None,
            None => Some(self.prompt_file.as_deref().unwrap_or(Path::new("-"))),
        };
        input::only_one_is_stdin([
            ("the prompt", prompt_path),
            ("what the answer is held to", self.held.path()),
        ])?;
        let file = self.prompt_file.as_deref().map(input::read_prompt_file).transpose()?;
        if let (Some(_), Some(word)) = (&file, prompt) {
            let fact = "a prompt may be given once";
            return Err(Failure::Usage(format!(
                "there are two prompts: {} and --prompt-file\n  {fact}",
                quote(word)
            )));
        }
        let prompt = match prompt {
            None if file.as_ref().is_some_and(String::is_empty) => {
                let source = input::title(self.prompt_file.as_deref().unwrap_or(Path::new("-")));
                return Err(Failure::Failed(format!("the prompt is empty\n  {source} holds no text")));
            }
            None if file.is_some() => file,
            Some("-") => Some(non_empty(input::read_prompt()?)?),
            Some(text) => Some(text.to_owned()),
            None if std::io::stdin().is_terminal() => None,
            None => match (input::read_prompt()?, &model) {
                (text, Some(model)) if text.is_empty() => {
                    // Where it is none, that is the mistake.
                    self.talk.model.load_at(Some(model.clone()))?;
                    let model = visible_path(model);
                    return Err(Failure::Failed(format!(
                        "there is no prompt\n  `{model}` is taken for the model, as with -m\n  give PROMPT after \
                         it, or text on standard input"
                    )));
                }
                (text, _) => Some(non_empty(text)?),
            },
        };
        match prompt {
            None if self.form.json => Err(Failure::Usage(
                "--json is of one answer\n  give PROMPT, or text on standard input".into(),
            )),
            None if self.held.path().is_some() => Err(Failure::Usage(
                "--schema and --grammar are of one answer\n  give PROMPT, or text on standard input".into(),
            )),
            None => self.talk.chat(model),
            Some(prompt) => self.talk.answer(model, prompt, self.form.json, &self.held),
        }
    }

    /// What the words mean. One word alone is a model, where there is one of that name: nobody means a path
    /// as a prompt.
    fn model_and_prompt(&self) -> Result<(Option<PathBuf>, Option<&str>), Failure> {
        let is_named = self.talk.model.names_model();
        match self.words.as_slice() {
            [] => Ok((None, None)),
            [prompt] if is_named => {
                if Path::new(prompt).is_file() {
                    return Err(not_a_prompt(prompt));
                }
                Ok((None, Some(text_of(prompt)?)))
            }
            [_, _] if is_named => {
                let fact = "-m names the model, so only PROMPT may follow; put it in quotes";
                Err(Failure::Usage(format!("there are two texts\n  {fact}")))
            }
            [word] => match model_of(word, false)? {
                Some(model) => Ok((Some(model), None)),
                None if self.talk.pull || looks_like_path(word) => {
                    Ok((Some(self.talk.model_called(word)?), None))
                }
                None => Ok((None, Some(text_of(word)?))),
            },
            [model, prompt, ..] => Ok((Some(self.talk.model_called(model)?), Some(text_of(prompt)?))),
        }
    }
}

fn text_of(word: &OsStr) -> Result<&str, Failure> {
    let wrong = || Failure::Usage(format!("the prompt {} is not UTF-8 text", quote(&word.to_string_lossy())));
    word.to_str().ok_or_else(wrong)
}

impl TalkArgs {
    /// The model of this name; pulled, where that was asked for and it is not here.
    fn model_called(&self, word: &OsStr) -> Result<PathBuf, Failure> {
        if let Some(path) = model_of(word, true)? {
            return Ok(path);
        }
        if !self.pull {
            return Err(no_model(word));
        }
        let text = word.to_string_lossy();
        let name = ModelName::parse(&text).map_err(|error| Failure::Usage(error.to_string()))?;
        note(&format!("there is no {} on this machine: it is pulled, and run then", quote(&text)));
        self.pulling.pull(&name)
    }

    fn answerer(&self, model: Option<PathBuf>) -> Result<Answerer, Failure> {
        let interrupt = Interrupt::catch();
        let llama = self.model.load_at(model)?;
        if interrupt.is_pressed() {
            return Err(Failure::Interrupted);
        }
        // Whoever gives a system message wants a chat, whatever the model looks like.
        let is_chat = !self.raw && (llama.text().is_chat_model() || self.system.is_some());
        Answerer::new(llama, is_chat, &self.answer, self.max_tokens, interrupt)
    }

    fn pictures(&self, answerer: &Answerer) -> Result<Vec<puna::Picture>, Failure> {
        self.image.iter().map(|path| look_at(&answerer.llama, path, &answerer.interrupt)).collect()
    }

    fn chat(&self, model: Option<PathBuf>) -> Result<(), Failure> {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if !is_terminal {
            let fact = "it needs a terminal for its input and output";
            return Err(Failure::Usage(format!(
                "a chat is not possible here\n  {fact}\n  `puna run` takes a PROMPT, or text on standard input"
            )));
        }
        let answerer = self.answerer(model)?;
        let pictures = self.pictures(&answerer)?;
        chat::run(answerer, self.system.as_deref(), pictures, self.context_full)
    }

    fn answer(
        &self,
        model: Option<PathBuf>,
        prompt: String,
        json: bool,
        held: &HeldArgs,
    ) -> Result<(), Failure> {
        let form = held.form()?;
        let mut answerer = self.answerer(model)?;
        answerer.form = form;
        let pictures = self.pictures(&answerer)?;
        if answerer.is_chat {
            let mut chat = answerer.chat(self.system.as_deref())?;
            let answer =
                chat.ask_about(&pictures, &non_empty(prompt)?).map_err(|error| held.explain(error))?;
            return answerer.print(answer, json, "");
        }
        let tokens = answerer.llama.text_prompt(&prompt, &pictures)?;
        let answer = answerer.llama.generate(tokens, &answerer.options(0));
        let answer = answer.map_err(|error| held.explain(error))?;
        // On a terminal a continuation is read together with what it continues. Elsewhere it stands alone.
        answerer.print(answer, json, &prompt)
    }
}

/// The prompt, unless it is empty.
fn non_empty(prompt: String) -> Result<String, Failure> {
    let empty = || Failure::Failed("the prompt is empty\n  give PROMPT, or text on standard input".into());
    if prompt.is_empty() { Err(empty()) } else { Ok(prompt) }
}
