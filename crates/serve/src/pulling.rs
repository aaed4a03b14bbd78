//! Pulling a model for a client, on a thread of its own: what comes is hashed and written there, and holds up nobody's
//! tokens. It ends when the client leaves; what came is kept, and the next pull goes on with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use puna_store::name::ModelName;
use puna_store::pull::{Agreement, Asker, Event, PullError, PullErrorKind, Pulled, pull};
use puna_wire::ollama::models::{progress, status};
use puna_wire::{Kind, Problem};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::app::App;
use crate::pulled::PulledModels;

/// How often a client is told of a file.
const EACH: Duration = Duration::from_millis(100);

/// Lines that wait for a client to read them; more are left out.
const MAX_LINES: usize = 256;

/// What a client is told.
pub(crate) enum Line {
    /// How far it is.
    Status(Value),
    /// It is over.
    Over(Result<(), Problem>),
}

/// A pull that goes on as long as this is.
pub(crate) struct Pulling {
    lines: mpsc::Receiver<Line>,
    _goes_on: oneshot::Sender<()>,
}

impl Pulling {
    /// Begins to pull `source`, which will be served by `name`.
    pub fn start(
        app: Arc<App>,
        pulled: Arc<PulledModels>,
        name: String,
        source: ModelName,
        place: OwnedSemaphorePermit,
    ) -> Result<Pulling, Problem> {
        let (sender, lines) = mpsc::channel(MAX_LINES);
        let (goes_on, is_left) = oneshot::channel();
        let work = move || {
            let _ = sender.try_send(Line::Status(status("pulling manifest")));
            let teller = Arc::new(Teller {
                lines: sender.clone(),
                accepts: pulled.options.accepts_licences,
                known: Mutex::default(),
            });
            let result = run(&app, &pulled, &name, source, &teller, is_left);
            // Before a client that does not read is waited for.
            drop(place);
            if let Some(result) = result {
                let _ = sender.blocking_send(Line::Over(result));
            }
        };
        let thread = std::thread::Builder::new().name("pull".into()).spawn(work);
        thread.map_err(|_| Problem::new(Kind::Unavailable, "there are too many threads; ask again later"))?;
        Ok(Pulling { lines, _goes_on: goes_on })
    }

    /// The next line. As a method it takes all of this along, wherever it is asked for.
    pub fn poll_line(&mut self, context: &mut Context) -> Poll<Option<Line>> {
        self.lines.poll_recv(context)
    }
}

/// Pulls, and serves what came. Nothing, if the client left.
fn run(
    app: &App,
    pulled: &PulledModels,
    name: &str,
    source: ModelName,
    teller: &Arc<Teller>,
    is_left: oneshot::Receiver<()>,
) -> Option<Result<(), Problem>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        return Some(Err(Problem::new(Kind::Unavailable, "there are too many threads; ask again later")));
    };
    let options = &pulled.options;
    let result = runtime.block_on(async {
        tokio::select! {
            result = pull(&options.shelf, &options.places, &source, teller.clone()) => Some(result),
            _ = is_left => None,
        }
    });
    // What is being hashed is not waited for.
    runtime.shutdown_background();
    let Pulled { path, was_known, .. } = match result? {
        Ok(pulled) => pulled,
        Err(error) => return Some(Err(problem_of(name, error))),
    };
    let _ = teller.lines.try_send(Line::Status(status("writing manifest")));
    Some(pulled.adopt(name, &teller.source(source), &path, was_known, &app.models))
}

/// What a client is told of a failure.
fn problem_of(name: &str, error: PullError) -> Problem {
    let kind = match error.kind {
        PullErrorKind::NotFound => Kind::NotFound,
        PullErrorKind::NoAccess => Kind::Forbidden,
        PullErrorKind::Full => Kind::TooLarge,
        PullErrorKind::Unusable | PullErrorKind::Content | PullErrorKind::Offline => Kind::Request,
        PullErrorKind::Network | PullErrorKind::Busy => Kind::Unavailable,
        PullErrorKind::Disk => {
            // It may name folders, which are nobody's business.
            eprintln!("error: {error}");
            let fact = format!("cannot pull `{name}`\n  the disk did not take it; the server's log says why");
            return Problem::new(Kind::Internal, fact);
        }
    };
    Problem { retry_after: (kind == Kind::Unavailable).then_some(5), ..Problem::new(kind, error.message) }
}

/// Tells a client how far it is.
struct Teller {
    lines: mpsc::Sender<Line>,
    accepts: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    pick: Option<String>,
    files: BTreeMap<usize, File>,
}

struct File {
    digest: String,
    n_bytes: Option<u64>,
    n_here: u64,
    told: Instant,
}

impl File {
    fn line(&self) -> Value {
        let short: String = self.digest.chars().skip_while(|c| *c != ':').skip(1).take(12).collect();
        let short = if short.is_empty() { &self.digest } else { &short };
        let total = self.n_bytes.unwrap_or(self.n_here);
        progress(&format!("pulling {short}"), &self.digest, total, self.n_here.min(total))
    }
}

impl Teller {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was pulled: of several quantisations, the one that was taken.
    fn source(&self, source: ModelName) -> ModelName {
        match source {
            ModelName::Hub { repository, revision, pick: None } => {
                ModelName::Hub { repository, revision, pick: self.known().pick.clone() }
            }
            source => source,
        }
    }
}

impl Asker for Teller {
    fn tell(&self, event: Event) {
        let mut known = self.known();
        let line = match event {
            Event::Found { pick, .. } => {
                known.pick = pick;
                return;
            }
            Event::File { index, name, n_bytes } => {
                let digest = name.replacen("sha256-", "sha256:", 1);
                let file = File { digest, n_bytes, n_here: 0, told: Instant::now() };
                let line = file.line();
                known.files.insert(index, file);
                line
            }
            Event::Bytes { index, n } => {
                let Some(file) = known.files.get_mut(&index) else { return };
                file.n_here = file.n_here.saturating_add_signed(n);
                let is_whole = Some(file.n_here) == file.n_bytes;
                if !is_whole && file.told.elapsed() < EACH {
                    return;
                }
                file.told = Instant::now();
                file.line()
            }
            Event::Checked => status("verifying sha256 digest"),
        };
        let _ = self.lines.try_send(Line::Status(line));
    }

    fn accepts(&self, agreement: &Agreement) -> Result<(), String> {
        if self.accepts {
            return Ok(());
        }
        Err(format!(
            "its licence, {}, was not accepted here: whoever runs the server pulls the model once where it runs, or starts \
             it with --accept-licence",
            agreement.title
        ))
    }
}
