//! `puna embed`: texts to vectors.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use puna::{EmbedOptions, Pooling};
use serde_json::{Value, json};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::input;
use crate::model_word::check_is_no_path;
use crate::output::print_json;

/// Turn texts into vectors that are near each other where the texts are.
///
/// Prints one JSON object: "embeddings" holds a list of numbers for each text, of length 1 (so that the sum of
/// products of two says how near they are). Hidden states of a text's tokens are pooled as the model's files say;
/// without a word there the last token's count, or the mean of all where tokens attend to later ones.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna embed \"The dog ran.\" \"A red balloon\"
  puna embed -m llama-embed/ --file lines.txt > vectors.json
  puna embed -m model.gguf --pooling mean < lines.txt")]
pub struct Embed {
    /// The texts [default: the lines of standard input]
    #[arg(conflicts_with = "file", value_name = "TEXT")]
    texts: Vec<String>,
    #[command(flatten)]
    model: RunArgs,
    /// Read texts from a file, one in each line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How the tokens of a text become one vector [default: as the model's files say]
    #[arg(long, value_enum)]
    pooling: Option<PoolingArg>,
    /// The instruction before each text, by its name in the model's files [default: as they say]
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,
    /// Leave the vectors as long as they are
    #[arg(long)]
    no_normalize: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PoolingArg {
    /// The mean of all tokens
    Mean,
    /// The last token
    Last,
    /// The first token
    First,
}

impl Embed {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let texts = match &self.texts[..] {
            [] => input::read_text(self.file.as_deref().unwrap_or(Path::new("-")))?
                .lines()
                .map(str::to_owned)
                .collect(),
            texts => texts.to_vec(),
        };
        if texts.is_empty() {
            return Err(Failure::Failed(
                "there are no texts\n  give TEXT, or lines in a file or on standard input".into(),
            ));
        }
        self.texts.iter().try_for_each(|text| check_is_no_path(text, "--file takes its lines as texts"))?;
        let llama = self.model.load()?;
        let pooling = match self.pooling {
            Some(PoolingArg::Mean) => Pooling::Mean,
            Some(PoolingArg::Last) => Pooling::Last,
            Some(PoolingArg::First) => Pooling::First,
            None => llama.pooling()?,
        };
        let options = EmbedOptions {
            pooling: Some(pooling),
            normalize: !self.no_normalize,
            prompt_name: self.prompt_name.clone(),
        };
        let vectors = texts.iter().map(|text| llama.embed_with(text, &options));
        let vectors: Vec<Vec<f32>> = vectors.collect::<Result<_, _>>()?;
        // Numbers of a model that changed are none.
        llama.check_files()?;
        // In f32's digits.
        let number = |x: &f32| json!(x.to_string().parse::<f64>().unwrap_or_default());
        let numbers = vectors.iter().map(|vector| Value::from_iter(vector.iter().map(number)));
        let name = match pooling {
            Pooling::Mean => "mean",
            Pooling::Last => "last",
            Pooling::First => "first",
        };
        print_json(&json!({
            "pooling": name,
            "dim": llama.config().dim,
            "embeddings": Value::from_iter(numbers),
        }))
    }
}
