//! `puna serve`: a server for clients of three APIs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use puna_formats::{quote, visible};
use puna_serve::{PullOptions, ServeOptions, ServedModel, Server};
use puna_store::pull::Places;

use crate::args::{HowArgs, model_path};
use crate::environment::{environment, path, shelf};
use crate::failure::Failure;
use crate::input;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::units::parse_size;

/// Serve models to clients of OpenAI's, Ollama's and Anthropic's APIs.
///
/// Clients use it unchanged: give them http://127.0.0.1:11434/v1 as base URL (OpenAI), http://127.0.0.1:11434 (Ollama,
/// Anthropic), and any key. A server of one model answers with it by whatever name clients call it; of several, by
/// theirs. Only this machine can reach it, unless --host says otherwise, which then needs a key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna serve
  puna serve -m llama-3.2-3b.Q4_K_M.gguf
  puna serve -m big=models/70b.gguf -m small=models/1b.gguf --port 8080
  puna serve -m pirate=pirate/Modelfile
  puna serve -m llama-3.2-3b.Q4_K_M.gguf --models-dir models
  PUNA_KEY=secret puna serve -m model.gguf --host 0.0.0.0
  curl localhost:11434/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}'")]
pub struct Serve {
    /// A model to serve: a GGUF file, a folder, a Modelfile, or a name that `puna list` shows; NAME=PATH says what clients
    /// call it. May be given several times [env: PUNA_MODEL] [default: the built-in model]
    #[arg(short, long = "model", value_name = "[NAME=]PATH")]
    models: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value_t = 11434)]
    port: u16,
    /// A certificate, and those between it and its root, PEM: connections are encrypted. Read again when it is renewed
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A key that each request must give, as `Authorization: Bearer KEY` or `x-api-key: KEY`; may be given several times.
    /// Others can see the arguments of programs: the environment, or --key-file, tells nobody [env: PUNA_KEY]
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// A file with keys, one in each line
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Another name by which clients reach the server; may be given several times
    #[arg(long = "allow-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
    /// A page of another server whose scripts may use this one, as in https://chat.example.org; `*` is all of them
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    /// Answers that are made at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_running: u32,
    /// Answers that wait for that; more are refused for a while (status 429)
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_waiting: u32,
    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_tokens: usize,
    /// Bytes of a request
    #[arg(long, value_name = "N", default_value_t = 64 << 20)]
    max_body_bytes: usize,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_connections: usize,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    max_seconds: u64,
    /// Responses that are kept for later ones (/v1/responses)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_stored: usize,
    /// Memory that all models together may take: weights, what passes compute in, keys and values; as in 12G or 800M
    /// [default: what is free when the server starts, less a sixteenth; limits of containers count]. Before a model is
    /// loaded, those that nobody asks are put to sleep or unloaded, the least recently used first, until it fits. Without
    /// --ctx, a context whose keys and values do not fit is made shorter
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// Seconds after which a model sleeps that nobody asks: it gives back copies of weights (--repack) and what passes
    /// compute in, and keeps keys and values of what was said. The next question wakes it; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    sleep: u64,
    /// Seconds after which a model is unloaded that nobody asks; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle: u64,
    /// A folder where what was computed of prompts is kept, to be found again after a restart
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Bytes of each model's part of that folder
    #[arg(long, value_name = "N", default_value_t = 20 << 30, requires = "cache_dir")]
    max_cache_bytes: u64,
    /// A folder where clients' files and batches are kept (/v1/files, /v1/batches)
    #[arg(long, value_name = "DIR")]
    files_dir: Option<PathBuf>,
    /// Bytes of one of these files
    #[arg(long, value_name = "N", default_value_t = 512 << 20, requires = "files_dir")]
    max_file_bytes: u64,
    /// Bytes of all of them
    #[arg(long, value_name = "N", default_value_t = 20 << 30, requires = "files_dir")]
    max_files_bytes: u64,
    /// How many files there may be
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "files_dir")]
    max_files: usize,
    /// Batches that are not over
    #[arg(long, value_name = "N", default_value_t = 100, requires = "files_dir")]
    max_batches: usize,
    /// Questions of a batch
    #[arg(long, value_name = "N", default_value_t = 50_000, requires = "files_dir")]
    max_batch_lines: usize,
    /// Questions of batches that are answered at the same time, behind everybody else's
    #[arg(long, value_name = "N", default_value_t = 16, requires = "files_dir", value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_batch_running: u32,
    /// A folder where models are kept that clients create (/api/create). Every key may change them, and names count: a
    /// model that is not there is not answered for by another
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Bytes of all files that clients upload for models
    #[arg(long, value_name = "N", default_value_t = 200 << 30, requires = "models_dir")]
    max_models_bytes: u64,
    /// Models that clients create, and as many that they pull
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_models: usize,
    /// Let clients pull models from Hugging Face's hub and Ollama's registry (/api/pull), to where `puna pull` puts them.
    /// Every key may do so, and names count
    #[arg(long)]
    allow_pull: bool,
    /// Accept the licences of models that clients pull
    #[arg(long, visible_alias = "accept-license", requires = "allow_pull")]
    accept_licence: bool,
    /// What all models there may take of the disk, as in 500G
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "200G", requires = "allow_pull")]
    max_pulled: usize,
    /// Prompt tokens read in a step beside answers that are being made: fewer keep those going smoothly, more read
    /// prompts sooner
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mixed_tokens: u32,
    /// What guesses tokens, so that the model checks several in one pass: a smaller model of the same vocabulary, or an
    /// EAGLE-3 head that was made for it
    #[arg(long, value_name = "PATH")]
    draft: Option<PathBuf>,
    /// Do not guess tokens from what was said before. Guesses change nothing but the speed
    #[arg(long)]
    no_guesses: bool,
    /// Take lines that differ in every request out of the beginning of system prompts, so that what follows is found
    /// again instead of being read anew: a bill's line (Claude Code's `x-anthropic-billing-header: …`) is left out; a line
    /// with the time of day (`Current time …`, `System time: …`, `Current date and time …`, `Current datetime …`) goes
    /// to the system prompt's end. The model reads a changed prompt then; log and usage count the lines (`stable_heads`)
    #[arg(long)]
    stable_heads: bool,
    /// Log nothing but what goes wrong
    #[arg(long)]
    quiet: bool,
}

/// Runs a server until Ctrl-C, and answers to their end.
pub(super) fn run_until(server: Server, interrupt: Interrupt) -> Result<(), Failure> {
    let stopper = server.stopper();
    spawn("interrupt", move || {
        while !interrupt.is_pressed() {
            std::thread::sleep(Duration::from_millis(50));
        }
        note("answers that were begun are finished; Ctrl-C ends them too");
        stopper.stop();
    })?;
    server.run();
    Ok(())
}

/// Starts a thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))
}

impl Serve {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let interrupt = Interrupt::catch();
        interrupt.catch_term();
        let models = self.served_models()?;
        let server =
            Server::new(models, self.options()?).map_err(|error| Failure::Failed(error.to_string()))?;
        let address = server.address().map_err(|error| Failure::Failed(error.to_string()))?;
        let scheme = if server.is_encrypted() { "https" } else { "http" };
        if !address.ip().is_loopback() && !server.is_encrypted() {
            note("keys and texts go over the network as they are; --tls-cert encrypts them");
        }
        server.notes().iter().for_each(|text| note(text));
        for (name, can_chat) in server.models() {
            let name = visible(&name).into_owned();
            eprintln!("{name} is served at {scheme}://{address}");
            if !can_chat {
                note(&format!(
                    "{} has no chat format: it goes on with a conversation's texts instead of answering them",
                    quote(&name)
                ));
            }
        }
        run_until(server, interrupt)
    }

    fn served_models(&self) -> Result<Vec<ServedModel>, Failure> {
        let options = self.how.options()?;
        let mut named = self.models.clone();
        if named.is_empty() {
            named.extend(environment("PUNA_MODEL").and_then(|path| path.into_string().ok()));
        }
        if named.is_empty() {
            return Ok(vec![ServedModel { options, ..ServedModel::default() }]);
        }
        let served = named.iter().map(|text| {
            // A path may hold the sign too.
            let (name, path) = match text.split_once('=') {
                Some((name, path)) if !std::path::Path::new(text).exists() => (Some(name.to_owned()), path),
                _ => (None, text.as_str()),
            };
            let path = std::path::Path::new(path);
            let options = options.clone();
            if ServedModel::is_modelfile(path) {
                let text = input::read_text(path)?;
                let model = ServedModel::of_modelfile(&text, path, options).map_err(Failure::Failed)?;
                let path = model.path.as_deref().map(model_path).transpose()?;
                return Ok(ServedModel { name, path, ..model });
            }
            Ok(ServedModel { name, path: Some(model_path(path)?), options, ..ServedModel::default() })
        });
        served.collect()
    }

    fn pulls(&self) -> Result<Option<PullOptions>, Failure> {
        if !self.allow_pull {
            return Ok(None);
        }
        let places = Places { max_bytes: Some(self.max_pulled as u64), ..Places::of_environment(path) };
        Ok(Some(PullOptions { shelf: shelf()?, places, accepts_licences: self.accept_licence }))
    }

    fn options(&self) -> Result<ServeOptions, Failure> {
        let mut keys = self.keys.clone();
        keys.extend(environment("PUNA_KEY").and_then(|key| key.into_string().ok()));
        if let Some(file) = &self.key_file {
            let text = input::read_text(file)?;
            keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        let default = ServeOptions::default();
        Ok(ServeOptions {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls_cert.clone().zip(self.tls_key.clone()).map(<[PathBuf; 2]>::from),
            keys,
            allowed_hosts: self.allowed_hosts.clone(),
            allowed_origins: self.allowed_origins.clone(),
            max_body_bytes: self.max_body_bytes,
            max_connections: self.max_connections,
            max_time: Duration::from_secs(self.max_seconds),
            max_tokens: self.max_tokens,
            memory: self.memory,
            sleep: (self.sleep > 0).then(|| Duration::from_secs(self.sleep)),
            idle: (self.idle > 0).then(|| Duration::from_secs(self.idle)),
            max_stored: self.max_stored,
            log: !self.quiet,
            stable_heads: self.stable_heads,
            draft: self.draft.as_deref().map(model_path).transpose()?,
            cache_dir: self.cache_dir.clone(),
            max_cache_bytes: self.max_cache_bytes,
            files_dir: self.files_dir.clone(),
            max_file_bytes: self.max_file_bytes,
            max_files_bytes: self.max_files_bytes,
            max_files: self.max_files,
            max_batches: self.max_batches,
            max_batch_lines: self.max_batch_lines,
            max_batch_running: self.max_batch_running as usize,
            models_dir: self.models_dir.clone(),
            max_models_bytes: self.max_models_bytes,
            max_models: self.max_models,
            pulls: self.pulls()?,
            scheduler: puna::SchedulerOptions {
                max_running: self.max_running as usize,
                max_waiting: self.max_waiting as usize,
                mixed_tokens: self.mixed_tokens as usize,
                ngrams: !self.no_guesses,
                ..default.scheduler.clone()
            },
            ..default
        })
    }
}
