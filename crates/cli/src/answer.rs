//! Answers: the arguments that say how they are made, and the loop that shows one while it is made.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::Path;

use clap::Args;
use puna::{
    Answer, AnswerOptions, Chat, Event, FinishReason, Form, Generation, Llama, Picture, SamplingParams,
    read_picture,
};
use puna_formats::visible_path;

use crate::failure::{self, Failure};
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_answer, print_as_it_is, print_json};
use crate::progress::Progress;
use crate::report;
use crate::shown::without_controls;
use crate::terminal;

/// How an answer is made and shown.
#[derive(Args)]
pub struct AnswerArgs {
    /// End the answer before this text; may be given several times. ($'\n' is a newline in most shells)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Say on standard error how it went: times, tokens per second, memory, instruction set, seed
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// In what form an only answer is printed.
#[derive(Args)]
pub struct FormArgs {
    /// Print one JSON object instead of streaming: text, ids, prompt_ids, finish_reason, counts, timings
    #[arg(long)]
    pub json: bool,
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
    /// Below 1 sharper, above 1 more varied, 0 always the likeliest token [default: as the model recommends,
    /// else 0.6 in a chat, 0.8 when continuing text]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Choose among the K likeliest tokens; 0 is all [default: as the model recommends, else 0]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability [default: as the model
    /// recommends, else 0.9 in a chat, 0.95 when continuing text]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Leave out tokens less likely than this share of the likeliest one's probability [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Choose among the tokens whose surprise is most typical, together of this probability [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    typical_p: Option<f64>,
    /// Make tokens less likely that occurred before: their scores are divided by this [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repeat_penalty: Option<f64>,
    /// Make tokens less likely that occurred before: this is subtracted from their scores [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,
    /// The same, subtracted once for each time they occurred [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,
    /// The same seed gives the same answer again; -1 is another one each time [default: -1; -v shows it]
    #[arg(long, value_name = "N", value_parser = parse_seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Add BIAS to the scores of a token: above 0 likelier, below 0 less likely, -inf never. The token is its
    /// id, the name of a special token, or a text, of which it is each token; may be given several times
    #[arg(long, value_name = "TOKEN=BIAS", value_parser = parse_bias)]
    logit_bias: Vec<Bias>,
}

/// A token, or the text of some, and what is added to its logit.
#[derive(Clone, Debug)]
struct Bias {
    token: String,
    bias: f32,
}

fn parse_bias(text: &str) -> Result<Bias, String> {
    let form = "expected ID=BIAS or TEXT=BIAS, as in 29871=-1.5 or 'sea=-inf'";
    // The text may hold `=` itself.
    let (token, bias) = text.rsplit_once('=').filter(|(token, _)| !token.is_empty()).ok_or(form)?;
    match bias.trim().parse::<f32>() {
        Ok(bias) if !bias.is_nan() && bias != f32::INFINITY => Ok(Bias { token: token.to_owned(), bias }),
        Ok(_) => Err("the bias must be finite, or -inf to forbid the token".into()),
        Err(_) => Err(form.into()),
    }
}

/// A seed. -1 is one that nobody chose, as for llama.cpp.
pub fn parse_seed(text: &str) -> Result<u64, String> {
    match text {
        "-1" => Ok(fresh_seed()),
        text => text.parse().map_err(|_| format!("expected a number from 0 to {}, or -1", u64::MAX)),
    }
}

/// A number of tokens. -1 is any number, until the model ends or the context is full, as for llama.cpp.
pub fn parse_max_tokens(text: &str) -> Result<usize, String> {
    match text {
        "-1" => Ok(usize::MAX),
        text => text.parse().map_err(|_| "expected a number of tokens, or -1 for no limit".into()),
    }
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

    /// The biases by token id. Of a token that is named twice, the last one counts.
    fn biases(&self, llama: &Llama) -> Result<Vec<(u32, f32)>, Failure> {
        let vocab_size = llama.config().vocab_size;
        let mut biases = BTreeMap::new();
        for Bias { token, bias } in &self.logit_bias {
            if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
                let id = token.parse().ok().filter(|id: &u32| (*id as usize) < vocab_size);
                let outside = || {
                    Failure::Usage(format!(
                        "there is no token {token}, which --logit-bias names\n  there are {vocab_size} tokens"
                    ))
                };
                biases.insert(id.ok_or_else(outside)?, *bias);
                continue;
            }
            let tokenizer = llama.tokenizer()?;
            let mut ids: Vec<u32> = tokenizer.id_of(token).into_iter().collect();
            if ids.is_empty() {
                tokenizer.encode_continuation(token, &mut ids);
            }
            biases.extend(ids.into_iter().map(|id| (id, *bias)));
        }
        Ok(biases.into_iter().collect())
    }
}

/// A seed nobody chose. Short, for typing it again; and so that no JSON reader rounds it.
pub fn fresh_seed() -> u64 {
    RandomState::new().hash_one("seed") >> 32
}

/// A model with the way it is to answer.
pub struct Answerer {
    pub llama: Llama,
    /// Whether prompts are written in the chat format.
    pub is_chat: bool,
    pub sampling: SamplingParams,
    pub max_tokens: Option<usize>,
    pub stop: Vec<String>,
    /// What an answer may be.
    pub form: Option<Form>,
    pub verbose: bool,
    /// Whether words are wrapped, where a terminal shows them.
    pub wraps: bool,
    pub interrupt: Interrupt,
}

impl Answerer {
    /// One that answers as the arguments say.
    pub fn new(
        llama: Llama,
        is_chat: bool,
        args: &AnswerArgs,
        max_tokens: Option<usize>,
        interrupt: Interrupt,
    ) -> Result<Answerer, Failure> {
        let defaults = if is_chat { llama.chat_sampling() } else { llama.raw_sampling() };
        let (mut sampling, stop, verbose) = (args.sampling.over(defaults), args.stop.clone(), args.verbose);
        sampling.logit_bias = args.sampling.biases(&llama)?;
        Ok(Answerer {
            llama,
            is_chat,
            sampling,
            max_tokens,
            stop,
            form: None,
            verbose,
            wraps: true,
            interrupt,
        })
    }

    /// How the `n`th answer is made. One seed makes a whole conversation again, without every answer
    /// beginning with the same dice.
    pub fn options(&self, n: u64) -> AnswerOptions {
        let seed = self.sampling.seed.map(|seed| seed.wrapping_add(n));
        let sampling = Some(SamplingParams { seed, ..self.sampling.clone() });
        let (stop, form) = (self.stop.clone(), self.form.clone());
        AnswerOptions { sampling, max_tokens: self.max_tokens, stop, form }
    }

    /// A conversation that has only a system message, if that.
    pub fn chat(&self, system: Option<&str>) -> Result<Chat, Failure> {
        let mut chat = self.llama.chat()?;
        chat.set_system(system);
        chat.options = self.options(0);
        Ok(chat)
    }

    /// The only answer, as text or as `json`. A terminal shows `before` in front of it.
    pub fn print(&self, mut answer: Answer, json: bool, before: &str) -> Result<(), Failure> {
        let generation = self.make(&mut answer, !json, before)?;
        if self.verbose {
            report::verbose(&self.llama, self.is_chat, &self.sampling, &generation);
        }
        if json {
            print_json(&report::json(&self.llama, answer.prompt_ids(), &generation))?;
        }
        // Said at the end, when it is known of all of it.
        self.llama.check_files()?;
        match generation.finish {
            FinishReason::Cancelled => Err(Failure::Interrupted),
            _ => Ok(()),
        }
    }

    /// Makes an answer, streaming it to standard output if `shows`, behind `before` on a terminal. Ctrl-C
    /// stops it.
    pub fn make(&self, answer: &mut Answer, shows: bool, before: &str) -> Result<Generation, Failure> {
        let mut progress = Progress::new("reading the prompt");
        let (mut ends_line, mut has_shown) = (false, false);
        let _quiet = terminal::Quiet::begin();
        let mut wrapper = terminal::Wrapper::default();
        let mut show = |text: &str| match terminal::width().filter(|_| self.wraps) {
            // Controls go before the wrapper's own are put in.
            Some(width) => print_as_it_is(&wrapper.wrap(&without_controls(text), width)),
            None => print_answer(text),
        };
        if shows && terminal::is_shown() {
            show(before)?;
        }
        loop {
            if self.interrupt.is_pressed() {
                answer.stop();
            }
            let event = answer.step().transpose();
            if event.is_err() && has_shown && !ends_line {
                progress.clear();
                print("\n")?;
            }
            match event? {
                None => break,
                Some(Event::Prefill { n_done, n_total }) => progress.show(n_done, n_total),
                Some(Event::Text(text)) => {
                    progress.clear();
                    if !text.is_empty() {
                        ends_line = text.ends_with('\n');
                        has_shown = shows;
                    }
                    if shows {
                        show(&text)?;
                    }
                }
            }
        }
        progress.clear();
        let generation = answer.finish()?;
        if shows && !ends_line {
            print("\n")?;
        }
        if generation.finish == FinishReason::Context && shows {
            let max_seq_len = self.llama.engine().max_seq_len();
            note(&format!("the answer ends here because the context of {max_seq_len} tokens is full"));
        }
        Ok(generation)
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
    let mut picture = picture.map_err(|error| match error {
        puna::Error::Stopped => Failure::Interrupted,
        error => {
            let fact = failure::message(&error);
            Failure::Failed(format!("cannot look at `{}`\n  {fact}", visible_path(path)))
        }
    })?;
    picture.path = Some(path.to_owned());
    Ok(picture)
}
