//! `puna licence`: what a licence grants, and what it asks for.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::Args;
use puna::{Description, Llama, Options};
use puna_formats::{quote, visible, visible_path};
use puna_store::licence::{Act, Answer, Found, Licence, Permission};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::model_word::model_of;
use crate::names::models;
use crate::output::{note, print, print_json};

/// Say in plain words what a licence of Meta's grants and asks for.
///
/// Of a model, the text in its folder tells which licence it has, or else its model card or GGUF file. A summary is no
/// legal advice: the text counts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna licence                            the licences that are known
  puna licence llama3.1
  puna licence Llama-3.2-1B-Instruct/
  puna licence Llama-3.2-1B-Instruct/ --text | less")]
pub struct LicenceOf {
    /// A licence: its name (`llama3.1`) or a file with its text; or a model: a file, a folder, or a name that
    /// `puna list` shows
    #[arg(value_name = "LICENCE|MODEL", add = models())]
    what: Option<String>,
    /// Print the text that came with the model instead
    #[arg(long, requires = "what")]
    text: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "text")]
    json: bool,
}

/// The most bytes of a text: those of Meta's have twenty thousand.
const MAX_TEXT_BYTES: u64 = 1 << 20;

impl LicenceOf {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let Some(what) = &self.what else {
            return match self.json {
                true => print_json(&Licence::ALL.map(facts_of)),
                false => print(&known()),
            };
        };
        let path = Path::new(what);
        let named = if path.exists() { None } else { Licence::of_name(what) };
        if let Some(licence) = named {
            if self.text {
                return Err(Failure::Usage(format!(
                    "the text of {} is not in this program\n  every copy of a model comes with it: name one",
                    licence.title()
                )));
            }
            return match self.json {
                true => print_json(&facts_of(licence)),
                false => print(&summary(licence)),
            };
        }
        let model = match model_of(OsStr::new(what), true) {
            Err(_) if path.is_file() => return self.of_text(path),
            model => model?,
        };
        let Some(path) = model else {
            let ids = Licence::ALL.map(Licence::id).join(", ");
            return Err(Failure::Usage(format!(
                "there is no licence and no model {}\n  the licences are {ids}\n  `puna list` shows the models",
                quote(what)
            )));
        };
        self.of_model(&path)
    }

    /// Of a file that is no model: it may be the text itself.
    fn of_text(&self, path: &Path) -> Result<(), Failure> {
        let text = read(path)?;
        let Some(found) = Licence::of_text(&text) else {
            return Err(Failure::Usage(format!(
                "`{}` is neither the text of one of Meta's licences nor a model\n  `puna licence` lists the licences",
                visible_path(path)
            )));
        };
        match (self.text, self.json) {
            (true, _) => print(&text),
            (_, true) => {
                let mut facts = facts_of(found.licence);
                facts["is_verbatim"] = json!(found.is_verbatim);
                print_json(&facts)
            }
            _ => print(&format!("{}\n\n{}", source(None, Some(found), Some(path)), summary(found.licence))),
        }
    }

    fn of_model(&self, path: &Path) -> Result<(), Failure> {
        let options = Options { n_threads: Some(1), ..Options::default() };
        let description = Llama::load_with(path, &options)?.describe();
        let text = description.license_text.as_deref().map(read).transpose()?;
        if self.text {
            let missing = || {
                Failure::Failed(format!(
                    "there is no licence's text with `{}`\n  it was looked for as LICENSE, LICENSE.txt and LICENSE.md \
                     in the model's folder",
                    visible_path(path)
                ))
            };
            return print(&text.ok_or_else(missing)?);
        }
        let found = text.as_deref().and_then(Licence::of_text);
        let said = description.license.as_deref();
        let licence = found.map(|found| found.licence).or_else(|| said.and_then(Licence::of_name));
        let source = source(said, found, description.license_text.as_deref());
        if let (Some(found), Some(named)) = (found, said.and_then(Licence::of_name))
            && found.licence != named
        {
            let (text, card) = (found.licence.title(), named.title());
            note(&format!("the text is the {text}, but the model says that it has the {card}"));
        }
        if self.json {
            let mut facts = licence.map_or_else(|| json!({}), facts_of);
            facts["model"] = json!(path.display().to_string());
            facts["named"] = json!(said);
            facts["text"] = json!(description.license_text.as_ref().map(|path| path.display().to_string()));
            facts["is_verbatim"] = json!(found.map(|found| found.is_verbatim));
            return print_json(&facts);
        }
        let head = format!("{}: {source}\n", visible_path(path));
        match licence {
            Some(licence) => print(&format!("{head}\n{}", summary(licence))),
            None => print(&head),
        }
    }
}

/// Which of Meta's licences a model has, if any, and how else its files name the one that it has.
pub fn licence_of(description: &Description) -> (Option<Licence>, Option<&str>) {
    let text = description.license_text.as_deref().and_then(|path| read(path).ok());
    let found = text.as_deref().and_then(Licence::of_text).map(|found| found.licence);
    let said = description.license.as_deref().filter(|said| !said.starts_with("see "));
    (found.or_else(|| said.and_then(Licence::of_name)), said)
}

/// A licence's text.
fn read(path: &Path) -> Result<String, Failure> {
    let failed =
        |error| Failure::Failed(format!("cannot read the licence `{}`\n  {error}", visible_path(path)));
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_TEXT_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How a model's licence is known.
fn source(said: Option<&str>, found: Option<Found>, text: Option<&Path>) -> String {
    let file = text.and_then(Path::file_name).map(|name| visible(&name.to_string_lossy()).into_owned());
    match (found, file) {
        (Some(found), Some(file)) => {
            let title = found.licence.title();
            match found.is_verbatim {
                true => format!("{file} is the {title}, as it was published"),
                false => format!("{file} has the title of the {title}, but not its words: read it"),
            }
        }
        (_, file) => match (said.filter(|said| !said.starts_with("see ")), file) {
            (Some(said), _) if Licence::of_name(said).is_some() => {
                format!("its files name the licence {}", visible(said))
            }
            (Some(said), _) => {
                format!("its files name the licence {}, which is none of Meta's", visible(said))
            }
            (None, Some(file)) => format!("{file} in its folder is none of Meta's licences"),
            (None, None) => "its files name no licence\n  where it came from may tell".to_owned(),
        },
    }
}

/// A table of the known ones.
fn known() -> String {
    let mut out = String::new();
    let width = Licence::ALL.iter().map(|licence| licence.title().len()).max().unwrap_or(0);
    for licence in Licence::ALL {
        let _ = writeln!(out, "{:9} {:width$}  {}", licence.id(), licence.title(), licence.date());
    }
    out.push_str("\n`puna licence llama3.1` says what that grants and asks for.\n");
    out
}

/// What it grants and asks for.
pub fn summary(licence: Licence) -> String {
    let mut out = format!("{} ({})\n", licence.title(), licence.date());
    for (_, title, act) in ACTS {
        let Permission { answer, reasons } = licence.permits(&act);
        let condition = if answer == Answer::If { "yes, " } else { "" };
        let _ = writeln!(out, "\n{title}: {condition}{}", word(answer));
        for reason in reasons {
            wrap(&mut out, &format!("{} ({})", reason.says, reason.section));
        }
    }
    out.push_str("\nA summary, and no legal advice: the text counts.\n");
    out
}

/// What people do with models: in JSON, in words, and for the licence.
const ACTS: [(&str, &str, Act); 4] = [
    ("use", "Use it, also in a product", Act::Use { sees_pictures: true }),
    ("pass_on", "Pass it on, as it is, converted or quantised", Act::PassOn),
    ("derive", "Fine-tune or merge it", Act::Derive { name: None }),
    (
        "teach_with_outputs",
        "Train models of other families with its outputs",
        Act::TeachWithOutputs { student: None, name: None },
    ),
];

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::If => "if",
        Answer::No => "no",
    }
}

/// Adds a point of a list, in lines that are not too long.
fn wrap(out: &mut String, text: &str) {
    const WIDTH: usize = 88;
    let mut line = String::from("  -");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn facts_of(licence: Licence) -> Value {
    let permits = ACTS.map(|(name, _, act)| {
        let Permission { answer, reasons } = licence.permits(&act);
        let reasons: Vec<Value> =
            reasons.iter().map(|reason| json!({"section": reason.section, "says": reason.says})).collect();
        (name.to_owned(), json!({"answer": word(answer), "reasons": reasons}))
    });
    let permits = serde_json::Map::from_iter(permits);
    json!({
        "licence": licence.id(),
        "title": licence.title(),
        "date": licence.date(),
        "notice": licence.notice(),
        "shown": licence.shown(),
        "name_prefix": licence.name_prefix(),
        "policy": licence.policy(),
        "permits": permits,
    })
}
