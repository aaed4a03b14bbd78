//! Limits of the server, and who may use it.

use std::path::PathBuf;
use std::time::Duration;

use puna::SchedulerOptions;
use puna_store::pull::Places;
use puna_store::shelf::Shelf;

use crate::invitations::Invitations;

/// What clients may pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Where models are put.
    pub shelf: Shelf,
    /// Where they come from, and how large all may be.
    pub places: Places,
    /// Whether licences that were not accepted before are accepted in the name of whoever runs the server.
    pub accepts_licences: bool,
}

/// How a server is run. Every limit has a name here.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address to listen on, for example `127.0.0.1` or `0.0.0.0`.
    pub host: String,
    /// The port; 0 takes one that is free.
    pub port: u16,
    /// The files of a certificate, with those between it and its root, and of its key, both PEM: connections are
    /// encrypted.
    pub tls: Option<[PathBuf; 2]>,
    /// Keys of which each request must give one. Without any, the address must be one of this machine alone.
    pub keys: Vec<String>,
    /// Links that let browsers in; [`Invitations::key`] is one of `keys` then.
    pub invitations: Option<Invitations>,
    /// Names under which browsers and proxies may reach the server, beside `localhost` and its address.
    pub allowed_hosts: Vec<String>,
    /// Pages of other servers whose scripts may use this one, for example `https://chat.example.org`; `*` is all.
    pub allowed_origins: Vec<String>,
    /// The most bytes of a request's body.
    pub max_body_bytes: usize,
    /// The most bytes of a request's headers.
    pub max_header_bytes: usize,
    /// The most connections.
    pub max_connections: usize,
    /// How long a client may take to send its headers, and then each part of its body.
    pub read_timeout: Duration,
    /// How long a request may take altogether.
    pub max_time: Duration,
    /// The most tokens of an answer.
    pub max_tokens: usize,
    /// How long a stream may be silent before a comment says that it goes on.
    pub keep_alive: Duration,
    /// How long a model stays loaded that nobody asks; for ever if `None`.
    pub idle: Option<Duration>,
    /// After how long such a model sleeps: it gives back copies of weights and what it computes in, and keeps its file in
    /// the memory map and keys and values; never if `None`.
    pub sleep: Option<Duration>,
    /// The most bytes that all models together take; what is available when the server starts, less a margin, if `None`.
    pub memory: Option<usize>,
    /// How long answers may go on when the server is told to end.
    pub drain: Duration,
    /// How many responses are kept to be asked for again (`/v1/responses`).
    pub max_stored: usize,
    /// Whether each request is logged.
    pub log: bool,
    /// Whether lines of the system prompt that differ in every request are left out or moved to its end, so that prompts
    /// begin alike. It changes what the model reads.
    pub stable_heads: bool,
    /// A smaller model of the same vocabulary, which guesses tokens: guesses change nothing but the speed.
    pub draft: Option<PathBuf>,
    /// A folder where what was computed of prompts is kept beyond memory, and beyond the program.
    pub cache_dir: Option<PathBuf>,
    /// The most bytes of each model's part of it.
    pub max_cache_bytes: u64,
    /// A folder where clients' files and batches are kept (`/v1/files`, `/v1/batches`); none are if `None`.
    pub files_dir: Option<PathBuf>,
    /// The most bytes of one of these files.
    pub max_file_bytes: u64,
    /// The most bytes of all of them, results of batches that are not finished included.
    pub max_files_bytes: u64,
    /// The most files.
    pub max_files: usize,
    /// The most batches that are not over.
    pub max_batches: usize,
    /// The most questions of a batch.
    pub max_batch_lines: usize,
    /// The most questions of batches that are answered at the same time.
    pub max_batch_running: usize,
    /// How long a batch may take; what is not answered by then is not answered.
    pub batch_time: Duration,
    /// A folder where models are kept that clients create (`/api/create`); none are if `None`.
    pub models_dir: Option<PathBuf>,
    /// Models that clients pull (`/api/pull`); none are if `None`.
    pub pulls: Option<PullOptions>,
    /// The most bytes of all files that clients upload for them, and of what is said of them.
    pub max_models_bytes: u64,
    /// The most models that clients create, and as many that they pull.
    pub max_models: usize,
    /// How many sequences run and wait.
    pub scheduler: SchedulerOptions,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            host: "127.0.0.1".into(),
            port: 11434,
            tls: None,
            keys: Vec::new(),
            invitations: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 64 << 20,
            max_header_bytes: 64 << 10,
            max_connections: 4096,
            read_timeout: Duration::from_secs(30),
            max_time: Duration::from_secs(3600),
            max_tokens: 1 << 20,
            keep_alive: Duration::from_secs(10),
            idle: Some(Duration::from_secs(300)),
            sleep: None,
            memory: None,
            drain: Duration::from_secs(30),
            max_stored: 1000,
            log: true,
            stable_heads: false,
            draft: None,
            cache_dir: None,
            max_cache_bytes: 20 << 30,
            files_dir: None,
            max_file_bytes: 512 << 20,
            max_files_bytes: 20 << 30,
            max_files: 10_000,
            max_batches: 100,
            max_batch_lines: 50_000,
            max_batch_running: 16,
            batch_time: Duration::from_secs(24 * 3600),
            models_dir: None,
            pulls: None,
            max_models_bytes: 200 << 30,
            max_models: 1000,
            scheduler: SchedulerOptions::default(),
        }
    }
}
