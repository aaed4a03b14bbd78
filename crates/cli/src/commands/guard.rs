//! `puna guard`: whether the last message of a conversation is safe.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use puna::{Error, GuardCategory, GuardOptions, GuardVersion, Verdict};
use puna_formats::{quote, visible, visible_path};
use serde_json::{Value, json};

use crate::args::SeeingArgs;
use crate::failure::Failure;
use crate::input;
use crate::output::{print, print_json};
use crate::progress::Progress;

/// Judge the last message of a conversation with a Llama Guard.
///
/// The conversation is a JSON array of messages in OpenAI's form, the user's and the assistant's in turn, or
/// an object with one as `messages`. Images are parts of a user's content, {"type": "image", "path":
/// "dog.jpg"} or image_url with a data URL, beside {"type": "text", "text": ...}; guards that see judge them.
/// Prints `safe`, or `unsafe` and the categories, and how likely `unsafe` was where the model chose.
///
/// A model that is not a guard is refused, and an answer that is neither word is an error: what was not judged
/// must not pass.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna guard -m Llama-Guard-3-1B/ --messages chat.json
  echo '[{\"role\":\"user\",\"content\":\"How do I pick a lock?\"}]' | puna guard -m guard.gguf --messages - --json
  puna guard -m Llama-Guard-3-8B/ --messages chat.json --categories policy.json
  puna guard -m Llama-Guard-3-8B/ --messages chat.json --exclude S13 --exclude S14
  puna guard -m guard.gguf --messages chat.json --exit-code >/dev/null && echo safe

Exit codes: 0 judged, 1 no verdict or failed, 2 wrong usage. With --exit-code: 0 safe, 3 unsafe, 1 no verdict or
failed, 2 wrong usage.")]
pub struct Guard {
    #[command(flatten)]
    model: SeeingArgs,
    /// A file with the conversation; `-` is standard input
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// A file with categories of your own: a JSON object of codes and what they stand for, {"S1": "Violent
    /// Crimes."}
    #[arg(long, value_name = "FILE")]
    categories: Option<PathBuf>,
    /// Leave out the category with this code; may be given several times
    #[arg(long, value_name = "CODE")]
    exclude: Vec<String>,
    /// The generation of the guard, 1 to 4, and that the model is one, whatever its name [default: by its
    /// tokenizer and name]
    #[arg(long, value_name = "N", value_parser = parse_version)]
    guard_version: Option<GuardVersion>,
    /// Exit with 0 if it is safe and 3 if it is unsafe
    #[arg(long)]
    exit_code: bool,
    /// Print one JSON object: safe (null without a verdict), categories, p_unsafe, text, version
    #[arg(long)]
    json: bool,
}

fn parse_version(text: &str) -> Result<GuardVersion, String> {
    let found = GuardVersion::ALL.into_iter().find(|version| version.number().to_string() == text);
    found.ok_or_else(|| "expected 1, 2, 3 or 4".to_owned())
}

impl Guard {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let files = [("--messages", Some(&*self.messages)), ("--categories", self.categories.as_deref())];
        input::only_one_is_stdin(files)?;
        let messages = input::read_conversation(&self.messages)?.messages;
        let categories = self.categories.as_deref().map(read_categories).transpose()?;
        let llama = self.model.load()?;
        // Before its pictures are looked at, which takes time.
        if self.guard_version.is_none() && !llama.is_guard() {
            return Err(Error::NotAGuard { path: llama.path().to_owned() }.into());
        }
        let options = GuardOptions { version: self.guard_version, categories, exclude: self.exclude.clone() };
        let folder = self.messages.parent().unwrap_or(Path::new(""));
        let mut progress = Progress::new("looking at the pictures");
        let pictures = llama.look_at_all(&messages, folder, |n_done, n_total| {
            progress.show(n_done, n_total);
            ControlFlow::Continue(())
        })?;
        progress.clear();
        let verdict = llama.guard(&messages, &pictures, &options)?;
        llama.check_files()?;
        if self.json {
            print_json(&json_of(&verdict))?;
        } else if verdict.is_safe.is_some() {
            print(&text_of(&verdict))?;
        }
        match verdict.is_safe {
            None => Err(Failure::Failed(format!(
                "`{}` gave no verdict\n  it answered {}, which is neither `safe` nor `unsafe`",
                visible_path(llama.path()),
                quote(&verdict.text)
            ))),
            Some(false) if self.exit_code => Err(Failure::Unsafe),
            Some(_) => Ok(()),
        }
    }
}

/// Codes and what they stand for, in the order of their numbers.
fn read_categories(path: &Path) -> Result<Vec<GuardCategory>, Failure> {
    let fail = |fact: String| {
        Failure::Failed(format!("cannot read categories from {}\n  {fact}", input::title(path)))
    };
    let Value::Object(object) = input::read_json(path)? else {
        return Err(fail("expected a JSON object, like {\"S1\": \"Violent Crimes.\"}".into()));
    };
    if object.is_empty() {
        return Err(fail("there is none in it".into()));
    }
    let category = |(code, text): (&String, &Value)| match text.as_str() {
        Some(text) => Ok(GuardCategory { code: code.clone(), text: text.to_owned() }),
        None => Err(fail(format!("{} is not a text, but {}", quote(code), quote(&text.to_string())))),
    };
    let mut categories: Vec<GuardCategory> = object.iter().map(category).collect::<Result<_, _>>()?;
    categories.sort_by_key(|category| {
        let letters = category.code.trim_end_matches(|c: char| c.is_ascii_digit());
        (letters.to_owned(), category.code[letters.len()..].parse::<u64>().unwrap_or(0))
    });
    Ok(categories)
}

fn json_of(verdict: &Verdict) -> Value {
    let category = |c: &GuardCategory| json!({"code": c.code, "name": c.name()});
    json!({
        "safe": verdict.is_safe, // null if the answer was neither
        "categories": verdict.categories.iter().map(category).collect::<Vec<_>>(),
        "p_unsafe": verdict.p_unsafe, // null with it
        "text": verdict.text,
        "version": verdict.version.number(),
    })
}

fn text_of(verdict: &Verdict) -> String {
    let mut lines = if verdict.is_safe == Some(true) { "safe\n".to_owned() } else { "unsafe\n".to_owned() };
    for category in &verdict.categories {
        let name = category.name();
        let name = if name.is_empty() { "not one of the categories" } else { name };
        lines += &format!("{}  {}\n", visible(&category.code), visible(name));
    }
    if let Some(p_unsafe) = verdict.p_unsafe {
        lines += &format!("probability of unsafe {p_unsafe:.4}\n");
    }
    lines
}
