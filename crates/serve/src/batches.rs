//! Batches: questions in a file, answered behind everybody else's, a bounded number at a time.
//!
//! What a batch is stands in a file of its own, and each answer goes to a journal beside it as it comes. When all have
//! come, or no more may, they are put in the order of the questions and become files of the owner's. A server that
//! starts again goes on where the journal ends; what was being answered is asked once more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use puna::Tenant;
use puna_wire::openai::batches::{self as wire, BatchAsk, Line};
use puna_wire::openai::files as file_wire;
use puna_wire::{Kind, Problem};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::ServeOptions;
use crate::aside::aside;
use crate::files::{Files, Owner, Room, broken, owner, saved, write_whole};
use crate::identity::seconds;

/// Batches that are kept, the oldest finished ones go first.
const MAX_KEPT: usize = 1000;
/// Faults of an input file that are told.
const MAX_ERRORS: usize = 20;
/// How often a question is asked again that there is no room for.
const MAX_TRIES: usize = 30;

struct Known {
    batch: Value,
    cancel: watch::Sender<bool>,
}

/// All of them.
pub(crate) struct Batches {
    files: Arc<Files>,
    known: Mutex<BTreeMap<(Owner, String), Known>>,
    /// One for each question that is being answered.
    places: Arc<Semaphore>,
    max: usize,
    max_lines: usize,
    max_line_bytes: usize,
    time: Duration,
    /// Whether the server ends: what fails now fails because of that.
    is_ending: AtomicBool,
}

/// Where a question or an answer is in its file.
#[derive(Clone, Copy)]
struct Span {
    at: u64,
    n_bytes: usize,
}

/// Why no more answers come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    All,
    Cancelled,
    Expired,
    Full,
}

/// An answer that is being made: its status and its body.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<(u16, Value), Problem>> + Send>>;

/// What batches need of the server around them, which has them.
pub(crate) trait Around: Send + Sync {
    /// The batches.
    fn batches(&self) -> Option<&Batches>;
    /// Everybody who may have some.
    fn tenants(&self) -> Vec<Tenant>;
    /// A name that nobody else has.
    fn new_name(&self) -> String;
    /// Answers a question as its endpoint would, behind everybody else's.
    fn answer(self: Arc<Self>, tenant: Tenant, endpoint: &'static str, body: Value) -> Answering;
}

impl Batches {
    /// Those that lie in the folder of the files.
    pub fn open(files: Arc<Files>, options: &ServeOptions) -> Result<Batches, String> {
        let found = saved(&files.folder().join("batches"));
        let found = found.map_err(|error| format!("cannot read batches: {error}"))?;
        let known = found.into_iter().map(|(owner, id, batch)| {
            let cancel = watch::Sender::new(batch["status"] == "cancelling");
            ((owner, id), Known { batch, cancel })
        });
        Ok(Batches {
            known: Mutex::new(known.collect()),
            files,
            places: Arc::new(Semaphore::new(options.max_batch_running.max(1))),
            max: options.max_batches,
            max_lines: options.max_batch_lines,
            max_line_bytes: options.max_body_bytes,
            time: options.batch_time,
            is_ending: AtomicBool::new(false),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<(Owner, String), Known>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self, owner: &str, id: &str, extension: &str) -> PathBuf {
        self.files.folder().join("batches").join(owner).join(id).with_extension(extension)
    }

    /// Changes what is said of a batch, here and on disk.
    fn change(&self, owner: &str, id: &str, f: impl FnOnce(&mut Value)) -> Result<Value, Problem> {
        self.with(|known| {
            let own = known.get_mut(&(owner.to_owned(), id.to_owned())).ok_or_else(|| missing(id))?;
            f(&mut own.batch);
            let partial = self.files.partial(&format!("{id}.json"));
            let text = own.batch.to_string();
            write_whole(&self.path(owner, id, "json"), &partial.0, text.as_bytes()).map_err(broken)?;
            Ok(own.batch.clone())
        })
    }

    /// A batch.
    pub fn get(&self, owner: &str, id: &str) -> Result<Value, Problem> {
        let found = self.with(|known| Some(known.get(&(owner.to_owned(), id.to_owned()))?.batch.clone()));
        found.ok_or_else(|| missing(id))
    }

    /// All of an owner's, the newest first.
    pub fn all(&self, owner: &str) -> Vec<Value> {
        let mut all: Vec<Value> = self.with(|known| {
            known.iter().filter(|((of, _), _)| of == owner).map(|(_, own)| own.batch.clone()).collect()
        });
        all.sort_by_key(|batch| std::cmp::Reverse(batch["created_at"].as_u64()));
        all
    }

    /// Lets no more answers of a batch come.
    pub fn cancel(&self, owner: &str, id: &str) -> Result<Value, Problem> {
        let batch = self.get(owner, id)?;
        if wire::is_over(&batch["status"]) || batch["status"] == "finalizing" {
            let fact = format!("the batch is {}, and cannot be cancelled", batch["status"]);
            return Err(Problem::new(Kind::Request, fact));
        }
        let batch = self.change(owner, id, |batch| {
            batch["status"] = json!("cancelling");
            batch["cancelling_at"] = json!(seconds());
        })?;
        self.with(|known| {
            if let Some(own) = known.get(&(owner.to_owned(), id.to_owned())) {
                own.cancel.send_replace(true);
            }
        });
        Ok(batch)
    }

    /// Begins one.
    pub fn create(&self, app: Arc<dyn Around>, tenant: &Tenant, ask: &BatchAsk) -> Result<Value, Problem> {
        let owner = owner(tenant);
        if self.files.get(&owner, &ask.input_file_id)?["purpose"] != "batch" {
            let fact = "the file's `purpose` is not \"batch\"";
            return Err(Problem::field("input_file_id", fact));
        }
        let id = format!("batch_{}", app.new_name());
        let batch = wire::body(&id, ask, seconds(), self.time.as_secs());
        let forgotten = self.with(|known| {
            let n = known.values().filter(|own| !wire::is_over(&own.batch["status"])).count();
            if n >= self.max {
                let fact =
                    format!("there are {n} batches that are not over, which is what --max-batches allows");
                return Err(Problem { retry_after: Some(60), ..Problem::new(Kind::Busy, fact) });
            }
            let over = known.iter().filter(|(_, own)| wire::is_over(&own.batch["status"]));
            let oldest =
                over.min_by_key(|(_, own)| own.batch["created_at"].as_u64()).map(|(key, _)| key.clone());
            let oldest = oldest.filter(|_| known.len() >= MAX_KEPT);
            if let Some(oldest) = &oldest {
                known.remove(oldest);
            }
            let own = Known { batch, cancel: watch::Sender::new(false) };
            known.insert((owner.clone(), id.clone()), own);
            Ok(oldest)
        })?;
        if let Some((owner, id)) = forgotten {
            // What cannot be removed is found again at the next start.
            let _ = std::fs::remove_file(self.path(&owner, &id, "json"));
        }
        let folder = self.files.folder().join("batches").join(&owner);
        let begun = std::fs::create_dir_all(folder).map_err(broken);
        let begun = begun.and_then(|()| self.change(&owner, &id, |_| ()));
        if begun.is_err() {
            self.with(|known| known.remove(&(owner.clone(), id.clone())));
        }
        let begun = begun?;
        tokio::spawn(run(app, tenant.clone(), id));
        Ok(begun)
    }

    /// Leaves what is not over as it is, for the next start. To be called before threads and models go.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    /// Goes on with what was not over when the program ended. Those of keys that are no longer known stay as they are.
    pub fn resume(&self, app: Arc<dyn Around>) {
        for tenant in app.tenants() {
            let owner = owner(&tenant);
            for batch in self.all(&owner) {
                if let Some(id) = batch["id"].as_str().filter(|_| !wire::is_over(&batch["status"])) {
                    tokio::spawn(run(app.clone(), tenant.clone(), id.to_owned()));
                }
            }
        }
    }
}

fn missing(id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no batch {}", Value::from(id)))
}

/// Answers all questions of a batch.
async fn run(app: Arc<dyn Around>, tenant: Tenant, id: String) {
    let Some(batches) = app.batches() else { return };
    let owner = owner(&tenant);
    let work = Work { app: &app, batches, tenant, owner: owner.clone(), id: id.clone() };
    let ended = work.run().await;
    if batches.is_ending.load(Ordering::SeqCst) {
        return;
    }
    if let Err(errors) = ended {
        let failed = batches.change(&owner, &id, |batch| {
            batch["status"] = json!("failed");
            batch["failed_at"] = json!(seconds());
            batch["errors"] = json!({"object": "list", "data": errors});
        });
        if let Err(problem) = failed {
            eprintln!("error: batch {id}: {}", problem.message);
        }
        // Nobody can ask for what it has; mostly there is none.
        let _ = std::fs::remove_file(batches.path(&owner, &id, "journal"));
    }
}

/// A batch that is being answered.
struct Work<'a> {
    app: &'a Arc<dyn Around>,
    batches: &'a Batches,
    tenant: Tenant,
    owner: Owner,
    id: String,
}

/// Waits until a batch is cancelled.
async fn over(cancel: &mut watch::Receiver<bool>) {
    // The batch is known as long as it is not over.
    let _ = cancel.wait_for(|is_over| *is_over).await;
}

impl Work<'_> {
    async fn run(&self) -> Result<(), Vec<Value>> {
        let of = |problem: Problem| vec![wire::error(&problem, None)];
        let batch = self.batches.get(&self.owner, &self.id).map_err(of)?;
        let endpoint = wire::endpoint(batch["endpoint"].as_str().unwrap_or_default()).map_err(of)?;
        let input_id = batch["input_file_id"].as_str().unwrap_or_default();
        let input = self.batches.files.open_file(&self.owner, input_id).map_err(of)?;
        let (max_lines, max_bytes) = (self.batches.max_lines, self.batches.max_line_bytes);
        let read = aside(move || Ok(lines(input, endpoint, max_lines, max_bytes)));
        let lines = read.await.map_err(of)??;
        let n = lines.len();
        self.batches
            .change(&self.owner, &self.id, |batch| {
                batch["request_counts"]["total"] = json!(n);
                if batch["status"] == "validating" {
                    batch["status"] = json!("in_progress");
                    batch["in_progress_at"] = json!(seconds());
                }
            })
            .map_err(of)?;
        let expires = batch["expires_at"].as_u64().unwrap_or(0);
        let (end, journal) = self.answer_all(&lines, endpoint, input_id, expires).await.map_err(of)?;
        self.finish(end, &lines, journal, endpoint, input_id).await.map_err(of)
    }

    /// Asks what was not answered, until no more may come.
    async fn answer_all(
        &self,
        lines: &[Span],
        endpoint: &'static str,
        input_id: &str,
        expires: u64,
    ) -> Result<(End, Journal), Problem> {
        let (path, n) = (self.batches.path(&self.owner, &self.id, "journal"), lines.len());
        let mut room = self.batches.files.room();
        let mut journal = aside(move || Journal::open(&path, n).map_err(broken)).await?;
        let mut end = match room.take(journal.n_bytes) {
            false => End::Full,
            true if expires <= seconds() => End::Expired,
            true => End::All,
        };
        journal.room = Some(room);
        let mut file =
            tokio::fs::OpenOptions::new().append(true).open(&journal.path).await.map_err(broken)?;
        self.count(&journal);
        let mut todo =
            (0..n).filter(|i| !journal.spans.contains_key(i)).collect::<Vec<_>>().into_iter().peekable();
        let mut cancel = self.batches.with(|known| {
            known.get(&(self.owner.clone(), self.id.clone())).map(|own| own.cancel.subscribe())
        });
        let cancel = cancel.as_mut().ok_or_else(|| missing(&self.id))?;
        let late = tokio::time::sleep(Duration::from_secs(expires.saturating_sub(seconds())));
        tokio::pin!(late);
        let mut asked: JoinSet<(usize, Value, bool)> = JoinSet::new();
        while end == End::All && (todo.peek().is_some() || !asked.is_empty()) {
            tokio::select! {
                biased;
                () = over(cancel) => end = End::Cancelled,
                () = &mut late => end = End::Expired,
                Some(answered) = asked.join_next(), if !asked.is_empty() => {
                    // One that failed under us is told as such at the end.
                    let Ok((i, line, is_right)) = answered else { continue };
                    let record = json!({"i": i, "ok": is_right, "line": line}).to_string() + "\n";
                    if !journal.take(record.len()) {
                        end = End::Full;
                        continue;
                    }
                    file.write_all(record.as_bytes()).await.map_err(broken)?;
                    file.flush().await.map_err(broken)?;
                    journal.note(i, is_right, record.len());
                    self.count(&journal);
                }
                place = self.batches.places.clone().acquire_owned(), if todo.peek().is_some() => {
                    let (Ok(place), Some(i)) = (place, todo.next()) else { continue };
                    let input = self.batches.files.open_file(&self.owner, input_id)?;
                    let span = lines[i];
                    let line = aside(move || read_line(input, span, endpoint)).await?;
                    let (app, tenant) = (self.app.clone(), self.tenant.clone());
                    asked.spawn(async move {
                        let _place = place;
                        let (line, is_right) = answer(&app, tenant, endpoint, line).await;
                        (i, line, is_right)
                    });
                }
            }
        }
        // Those that are being answered end here.
        Ok((end, journal))
    }

    fn count(&self, journal: &Journal) {
        self.batches.with(|known| {
            if let Some(own) = known.get_mut(&(self.owner.clone(), self.id.clone())) {
                own.batch["request_counts"]["completed"] = json!(journal.n_right);
                own.batch["request_counts"]["failed"] = json!(journal.spans.len() - journal.n_right);
            }
        });
    }

    /// Makes files of the answers.
    async fn finish(
        &self,
        end: End,
        lines: &[Span],
        journal: Journal,
        endpoint: &'static str,
        input_id: &str,
    ) -> Result<(), Problem> {
        let (owner, id, batches) = (&self.owner, &self.id, self.batches);
        if end == End::All {
            batches.change(owner, id, |batch| {
                batch["status"] = json!("finalizing");
                batch["finalizing_at"] = json!(seconds());
            })?;
        }
        let input = batches.files.open_file(owner, input_id)?;
        // The same names after a restart, so that nothing is there twice.
        let suffix = id.trim_start_matches("batch_");
        let names = [("output", true), ("errors", false)];
        let mut ids = [Value::Null, Value::Null];
        let mut sorted = Sorted { input, lines: lines.to_vec(), endpoint, journal, end, n_unanswered: 0 };
        for ((name, is_right), told) in names.into_iter().zip(&mut ids) {
            let file_id = format!("file-{suffix}-{name}");
            let partial = batches.files.partial(&file_id);
            let path = partial.0.clone();
            let (own, n_bytes) = aside(move || {
                let n_bytes = sorted.write(&path, is_right).map_err(broken)?;
                Ok((sorted, n_bytes))
            })
            .await?;
            sorted = own;
            if n_bytes > 0 {
                let filename = format!("{id}_{name}.jsonl");
                let known = file_wire::body(&file_id, n_bytes, seconds(), &filename, "batch_output");
                batches.files.adopt(owner, partial, known, None)?;
                *told = json!(file_id);
            }
        }
        let (status, at) = match end {
            End::All => ("completed", "completed_at"),
            End::Cancelled => ("cancelled", "cancelled_at"),
            End::Expired => ("expired", "expired_at"),
            End::Full => ("failed", "failed_at"),
        };
        let n_unanswered = sorted.n_unanswered;
        let full = wire::error(&batches.files.full(), None);
        batches.change(owner, id, |batch| {
            batch["status"] = json!(status);
            batch[at] = json!(seconds());
            let [output, errors] = ids;
            batch["output_file_id"] = output;
            batch["error_file_id"] = errors;
            let n_failed = batch["request_counts"]["failed"].as_u64().unwrap_or(0) as usize;
            batch["request_counts"]["failed"] = json!(n_failed + n_unanswered);
            if end == End::Full {
                batch["errors"] = json!({"object": "list", "data": [full]});
            }
        })?;
        std::fs::remove_file(&sorted.journal.path).map_err(broken)
    }
}

/// The answers that have come, in the order in which they came.
struct Journal {
    path: PathBuf,
    spans: HashMap<usize, (Span, bool)>,
    /// How many of them are answers, and not why there is none.
    n_right: usize,
    n_bytes: u64,
    room: Option<Room>,
}

impl Journal {
    /// What was written before. A last line that is not whole is cut off.
    fn open(path: &Path, n_lines: usize) -> std::io::Result<Journal> {
        let mut journal =
            Journal { path: path.to_owned(), spans: HashMap::new(), n_right: 0, n_bytes: 0, room: None };
        let file = File::options().create(true).append(true).read(true).open(path)?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let record: Option<Value> = serde_json::from_slice(&line).ok();
            let i = record.as_ref().and_then(|record| usize::try_from(record["i"].as_u64()?).ok());
            let (Some(record), Some(i), true) = (&record, i, line.ends_with(b"\n")) else { break };
            if i < n_lines {
                journal.note(i, record["ok"] == true, line.len());
            }
            line.clear();
        }
        file.set_len(journal.n_bytes)?;
        Ok(journal)
    }

    /// Whether there is room for more.
    fn take(&mut self, n_bytes: usize) -> bool {
        self.room.as_mut().is_none_or(|room| room.take(n_bytes as u64))
    }

    fn note(&mut self, i: usize, is_right: bool, n_bytes: usize) {
        let before = self.spans.insert(i, (Span { at: self.n_bytes, n_bytes }, is_right));
        self.n_right -= usize::from(before.is_some_and(|(_, was_right)| was_right));
        self.n_right += usize::from(is_right);
        self.n_bytes += n_bytes as u64;
    }
}

/// Answers on their way into the order of their questions.
struct Sorted {
    input: File,
    lines: Vec<Span>,
    endpoint: &'static str,
    journal: Journal,
    end: End,
    n_unanswered: usize,
}

impl Sorted {
    /// Writes those that are right, or the others and what was not answered; says how many bytes they have.
    fn write(&mut self, path: &Path, is_right: bool) -> std::io::Result<u64> {
        let mut writer = BufWriter::new(File::create(path)?);
        let mut journal = File::open(&self.journal.path)?;
        let mut n_bytes = 0;
        for i in 0..self.lines.len() {
            let line = match self.journal.spans.get(&i) {
                Some((span, own)) if *own == is_right => {
                    let record: Value = serde_json::from_slice(&bytes_of(&mut journal, *span)?)?;
                    record["line"].to_string()
                }
                None if !is_right => self.unanswered(i)?,
                _ => continue,
            };
            writer.write_all(line.as_bytes())?;
            writer.write_all(b"\n")?;
            n_bytes += line.len() as u64 + 1;
        }
        writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(n_bytes)
    }

    fn unanswered(&mut self, i: usize) -> std::io::Result<String> {
        self.n_unanswered += 1;
        let bytes = bytes_of(&mut self.input, self.lines[i])?;
        let custom_id = wire::read_line(&bytes, self.endpoint).map(|line| line.custom_id).unwrap_or_default();
        let (code, message) = match self.end {
            End::All => ("internal_error", "This request failed for a reason that is not its own."),
            End::Cancelled => {
                ("batch_cancelled", "The batch was cancelled before this request was answered.")
            }
            End::Expired => ("batch_expired", "The batch expired before this request was answered."),
            End::Full => ("files_full", "There was no room for more answers in the server's files."),
        };
        Ok(wire::unanswered(&i.to_string(), &custom_id, code, message).to_string())
    }
}

fn bytes_of(file: &mut File, span: Span) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; span.n_bytes];
    file.seek(SeekFrom::Start(span.at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_line(mut input: File, span: Span, endpoint: &str) -> Result<Line, Problem> {
    wire::read_line(&bytes_of(&mut input, span).map_err(broken)?, endpoint)
}

/// Where the questions of a file are, or what is wrong with them.
fn lines(input: File, endpoint: &str, max_lines: usize, max_bytes: usize) -> Result<Vec<Span>, Vec<Value>> {
    let mut reader = BufReader::new(input);
    let (mut spans, mut errors, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    let (mut at, mut line) = (0, Vec::new());
    let whole = |fact: String| vec![wire::error(&Problem::new(Kind::Request, fact), None)];
    for number in 1.. {
        line.clear();
        let most = max_bytes as u64 + 1;
        let read = reader.by_ref().take(most).read_until(b'\n', &mut line);
        let n = read.map_err(|error| vec![wire::error(&broken(error), None)])?;
        if n == 0 {
            break;
        }
        if n > max_bytes {
            let fact = format!(
                "line {number} has more than {max_bytes} bytes, which is what --max-body-bytes allows"
            );
            return Err(whole(fact));
        }
        let span = Span { at, n_bytes: n };
        at += n as u64;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if spans.len() == max_lines {
            return Err(whole(format!(
                "there are more than {max_lines} lines, which is what --max-batch-lines allows"
            )));
        }
        spans.push(span);
        let twice = || Problem::field("custom_id", "`custom_id` is that of an earlier line");
        let read = wire::read_line(&line, endpoint);
        let read = read.and_then(|line| if names.insert(line.custom_id) { Ok(()) } else { Err(twice()) });
        if let Err(problem) = read {
            errors.push(wire::error(&problem, Some(number)));
            if errors.len() == MAX_ERRORS {
                break;
            }
        }
    }
    match (errors.is_empty(), spans.is_empty()) {
        (false, _) => Err(errors),
        (true, true) => Err(whole("the file is empty".into())),
        (true, false) => Ok(spans),
    }
}

/// A question's answer as a line of the output, and whether it is one.
async fn answer(app: &Arc<dyn Around>, tenant: Tenant, endpoint: &'static str, line: Line) -> (Value, bool) {
    let name = app.new_name();
    let mut n_tries = 0;
    let (status, body) = loop {
        match app.clone().answer(tenant.clone(), endpoint, line.body.clone()).await {
            Ok(answer) => break answer,
            Err(problem) => {
                n_tries += usize::from(problem.kind == Kind::Unavailable);
                let is_later = matches!(problem.kind, Kind::Busy | Kind::Unavailable) && n_tries < MAX_TRIES;
                if !is_later {
                    break (problem.status(), problem.openai());
                }
                tokio::time::sleep(Duration::from_secs(problem.retry_after.unwrap_or(2).into())).await;
            }
        }
    };
    (wire::answered(&name, &line.custom_id, status, body), status < 400)
}
