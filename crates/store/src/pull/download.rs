//! One file from one address: in ranges side by side, taken up again after anything, checked by its content.
//!
//! The bytes go to a file of our own beside a list of what has come (`NAME.part`, `NAME.part.json`), so that a program
//! that is killed loses at most the last moment. They are hashed in their order while others still come. Whether all is
//! right is decided by the hash alone: what was half written when a machine lost power is found out too, and fetched
//! again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::{Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::check::{Check, Hasher};
use super::client::{Client, Fault, chain, host, said, text};
use super::error::{PullError, PullErrorKind};
use super::object::{Broken, Object};

/// Connections at once.
const CONNECTIONS: usize = 4;
/// The smallest and the largest range.
const RANGE_BYTES: [u64; 2] = [4 << 20, 64 << 20];
/// Between two times that what has come is written down.
const SAVED_EVERY: Duration = Duration::from_millis(500);
/// What is read at once to be hashed.
const HASHED_BYTES: usize = 1 << 20;
/// How often a file is fetched anew that was not what was announced, or changed.
const MAX_RESTARTS: usize = 2;

/// A file that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub url: Url,
    /// What messages call it.
    pub name: String,
    /// Its bytes, where they are known before.
    pub n_bytes: Option<u64>,
    pub check: Check,
    /// What it is in an object store, if it is in one.
    pub object: Option<Object>,
}

impl Wanted {
    /// What stands for this version of it, where that is known before it is asked for.
    pub fn tag(&self) -> Option<String> {
        self.object.as_ref().and_then(|object| object.tag.clone())
    }
}

/// What is told while bytes come: how many more there are now, or fewer where they must come again.
pub(crate) type Tell = Arc<dyn Fn(i64) + Send + Sync>;

/// A file that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub n_bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// Fetches a file to `path`. What of it is there as `path` + `.part` is not fetched again.
pub(crate) async fn download(
    client: &Client,
    wanted: &Wanted,
    path: &Path,
    tell: &Tell,
) -> Result<Fetched, PullError> {
    let part = with_end(path, ".part");
    let disk = |doing: &str, error: &std::io::Error| PullError::disk(doing, &part, error);
    let mut n_restarts = 0;
    loop {
        let identity = identity_of(client, wanted).await?;
        let partial = Arc::new(Partial::open(&part, identity).map_err(|error| disk("write", &error))?);
        // Whoever hashes waits for more until it is over, also where this is dropped.
        let over = Over(partial.clone());
        tell(partial.n_there() as i64);
        let hashing = tokio::task::spawn_blocking({
            let (partial, check) = (partial.clone(), wanted.check.clone());
            move || hash(&partial, &check)
        });
        let mut writing = tokio::task::spawn_blocking({
            let partial = partial.clone();
            move || write_out(&partial)
        });
        let (fetched, written) = tokio::select! {
            fetched = fetch(client, wanted, &partial, tell) => {
                drop(over);
                (Some(fetched), writing.await)
            }
            // Before all is there it ends where the disk fails alone.
            written = &mut writing => {
                drop(over);
                (None, written)
            }
        };
        if let Err(error) = written.map_err(|error| failed(wanted, &error.to_string()))? {
            // Nobody knows what of it is on the disk.
            let _ = partial.forget();
            return Err(disk("write", &error));
        }
        let fetched = fetched.ok_or_else(|| failed(wanted, "it was given up"))?;
        let hashed = hashing.await.map_err(|error| failed(wanted, &error.to_string()))?;
        let why = match fetched {
            Ok(n_bytes) => {
                let (found, sha256) = hashed.map_err(|error| disk("read", &error))?;
                if wanted.check.is_met_by(&found) {
                    partial.file.sync_all().map_err(|error| disk("write", &error))?;
                    std::fs::rename(&part, path).map_err(|error| disk("rename", &error))?;
                    let _ = std::fs::remove_file(&partial.state);
                    return Ok(Fetched { n_bytes, sha256 });
                }
                // What an earlier run left may be what is wrong.
                format!("its {n_bytes} bytes have the hash {found}, and should have {}", wanted.check)
            }
            Err(Broken::Changed(why)) => why,
            Err(Broken::Last(error)) => return Err(error),
            Err(Broken::Passing(why, _)) => return Err(failed(wanted, &why)),
            Err(Broken::NoRanges) => {
                return Err(failed(wanted, "parts of it cannot be asked for, nor all of it"));
            }
        };
        tell(-(partial.n_there() as i64));
        partial.forget().map_err(|error| disk("write", &error))?;
        if n_restarts == MAX_RESTARTS {
            let _ = std::fs::remove_file(&part);
            let _ = std::fs::remove_file(&partial.state);
            let fact = format!("`{}` was asked {} times: {why}", host(&wanted.url), n_restarts + 1);
            let message = format!(
                "cannot fetch `{}`: what comes is not what was announced\n  {fact}\n  nothing of it was kept",
                wanted.name
            );
            return Err(PullError::new(PullErrorKind::Content, message));
        }
        n_restarts += 1;
    }
}

fn failed(wanted: &Wanted, why: &str) -> PullError {
    let message = format!(
        "cannot fetch `{}` from `{}`\n  {why}\n  what came is kept, and the same command goes on with it",
        wanted.name,
        host(&wanted.url)
    );
    PullError::new(PullErrorKind::Network, message)
}

/// What tells a file from another of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// Its checksum, or its address where it has none.
    check: String,
    /// How many bytes it has; `None` where the other side does not say.
    n_bytes: Option<u64>,
    /// What the other side calls this version of it, where there is no checksum.
    tag: Option<String>,
}

impl Identity {
    fn json(&self) -> Value {
        json!({"check": self.check, "n_bytes": self.n_bytes, "tag": self.tag})
    }
}

/// Asks for what is not known.
async fn identity_of(client: &Client, wanted: &Wanted) -> Result<Identity, PullError> {
    let check = match &wanted.check {
        Check::Unknown => wanted.url.to_string(),
        check => check.to_string(),
    };
    if wanted.n_bytes.is_some() && wanted.check != Check::Unknown {
        return Ok(Identity { check, n_bytes: wanted.n_bytes, tag: None });
    }
    if wanted.object.is_some() {
        return Ok(Identity { check, n_bytes: wanted.n_bytes, tag: wanted.tag() });
    }
    let answer = match client.get(&wanted.url, "*/*").await {
        Ok(answer) => answer,
        Err(super::client::Failure::Network(why)) => return Err(failed(wanted, &why)),
        Err(super::client::Failure::Status(status, headers)) => {
            return Err(refused(wanted, status, &headers));
        }
    };
    let tag = tag_of(&answer).filter(|_| wanted.check == Check::Unknown);
    Ok(Identity { check, n_bytes: wanted.n_bytes.or(answer.content_length()), tag })
}

/// A name that stands for this version of a file.
fn tag_of(answer: &Response) -> Option<String> {
    let headers = answer.headers();
    let tag = text(headers, "etag").filter(|tag| !tag.starts_with("W/"));
    tag.or(text(headers, "last-modified")).map(str::to_owned)
}

/// Why a file is not given.
fn refused(wanted: &Wanted, status: StatusCode, headers: &reqwest::header::HeaderMap) -> PullError {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PullErrorKind::NoAccess,
        StatusCode::NOT_FOUND | StatusCode::GONE => PullErrorKind::NotFound,
        _ => PullErrorKind::Network,
    };
    let mut message =
        format!("cannot fetch `{}`\n  `{}` answered {}", wanted.name, host(&wanted.url), said(status));
    if let Some(word) = text(headers, "x-error-message") {
        message += &format!(": {}", word.chars().filter(|c| !c.is_control()).take(300).collect::<String>());
    }
    if kind == PullErrorKind::NoAccess && wanted.url.query().is_some() {
        message += "\n  signed links end after a while: ask for a new one";
    }
    PullError::new(kind, message)
}

/// What has come, and what is being fetched.
#[derive(Default)]
struct Spans {
    /// Ranges that are there, in order, none touching another.
    done: Vec<Range<u64>>,
    /// Those that are being fetched, and how far they are.
    open: Vec<(Range<u64>, Arc<AtomicU64>)>,
}

impl Spans {
    fn add(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        self.done.push(new);
        self.done.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in self.done.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        self.done = merged;
    }

    /// All that is there, also of what is being fetched.
    fn there(&self) -> Vec<Range<u64>> {
        let mut all = Spans { done: self.done.clone(), open: Vec::new() };
        self.open.iter().for_each(|(range, at)| all.add(range.start..at.load(Ordering::Acquire)));
        all.done
    }

    /// The next bytes that nobody fetches, at most `most`.
    fn take(&mut self, n_bytes: u64, most: u64) -> Option<(Range<u64>, Arc<AtomicU64>)> {
        let mut taken: Vec<Range<u64>> =
            self.done.iter().chain(self.open.iter().map(|(range, _)| range)).cloned().collect();
        taken.sort_by_key(|range| range.start);
        let (mut start, mut end) = (0, n_bytes);
        for range in taken {
            if range.start > start {
                end = range.start;
                break;
            }
            start = start.max(range.end);
        }
        let range = start..end.min(start.saturating_add(most));
        if range.is_empty() {
            return None;
        }
        let at = Arc::new(AtomicU64::new(range.start));
        self.open.push((range.clone(), at.clone()));
        Some((range, at))
    }

    /// Ends the fetching of a range, or of all.
    fn close(&mut self, which: Option<&Range<u64>>) {
        let (closed, open) =
            self.open.drain(..).partition(|(range, _)| which.is_none_or(|which| which == range));
        self.open = open;
        let closed: Vec<(Range<u64>, Arc<AtomicU64>)> = closed;
        closed.into_iter().for_each(|(range, at)| self.add(range.start..at.load(Ordering::Acquire)));
    }
}

/// A file on its way.
struct Partial {
    file: File,
    path: PathBuf,
    state: PathBuf,
    identity: Identity,
    spans: Mutex<Spans>,
    /// Counts how often all was forgotten.
    generation: AtomicU64,
    /// Whether no more comes.
    is_over: AtomicBool,
}

impl Partial {
    /// What came of the same file before is there still.
    fn open(path: &Path, identity: Identity) -> std::io::Result<Partial> {
        let state = with_end(path, ".json");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let len = file.metadata()?.len();
        let said = std::fs::read(&state).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        // Without a name for the version nobody knows whether it is the same still.
        let is_known = identity.tag.is_some() || !identity.check.contains("://");
        let said = said.filter(|said| is_known && said["identity"] == identity.json()).unwrap_or_default();
        let mut spans = Spans::default();
        for pair in said["done"].as_array().into_iter().flatten() {
            if let (Some(start), Some(end)) = (pair[0].as_u64(), pair[1].as_u64())
                && start < end
                && end <= len.min(identity.n_bytes.unwrap_or(0))
            {
                spans.add(start..end);
            }
        }
        Ok(Partial {
            file,
            path: path.to_owned(),
            state,
            identity,
            spans: Mutex::new(spans),
            generation: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Spans) -> T) -> T {
        f(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes that are there.
    fn n_there(&self) -> u64 {
        self.with(|spans| spans.there()).iter().map(|range| range.end - range.start).sum()
    }

    /// How far it is there without a gap.
    fn front(&self) -> u64 {
        let there = self.with(|spans| spans.there());
        there.first().filter(|range| range.start == 0).map_or(0, |range| range.end)
    }

    /// Forgets all that has come.
    fn forget(&self) -> std::io::Result<()> {
        self.with(|spans| *spans = Spans::default());
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.file.set_len(0)?;
        self.save()
    }

    /// Writes down what has come.
    fn save(&self) -> std::io::Result<()> {
        let there = self.with(|spans| spans.there());
        let done: Vec<[u64; 2]> = there.iter().map(|range| [range.start, range.end]).collect();
        let text = json!({"identity": self.identity.json(), "done": done}).to_string();
        let fresh = with_end(&self.state, ".new");
        File::create(&fresh)?.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, &self.state)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], at: u64) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, at)
    }

    #[cfg(windows)]
    fn write_at(&self, mut bytes: &[u8], mut at: u64) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let n = std::os::windows::fs::FileExt::seek_write(&self.file, bytes, at)?;
            (bytes, at) = (&bytes[n..], at + n as u64);
        }
        Ok(())
    }
}

/// Says that no more of a file comes, when it goes.
struct Over(Arc<Partial>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Hashes a file in its order while it comes: by its check, and by SHA-256.
fn hash(partial: &Partial, check: &Check) -> std::io::Result<(String, String)> {
    // A handle of its own, since a place to read from belongs to the handle.
    let mut file = File::open(&partial.path)?;
    let mut buffer = vec![0; HASHED_BYTES];
    'anew: loop {
        let generation = partial.generation.load(Ordering::Acquire);
        let mut hasher = Hasher::new(check, partial.identity.n_bytes);
        let mut at = 0;
        file.seek(SeekFrom::Start(0))?;
        loop {
            let is_over = partial.is_over.load(Ordering::Acquire);
            let front = partial.front();
            if partial.generation.load(Ordering::Acquire) != generation {
                continue 'anew;
            }
            if at == front {
                if is_over {
                    return Ok(hasher.finish());
                }
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            let most = HASHED_BYTES.min(usize::try_from(front - at).unwrap_or(HASHED_BYTES));
            let n = file.read(&mut buffer[..most])?;
            if n == 0 {
                continue 'anew; // It was cut short under us.
            }
            hasher.update(&buffer[..n]);
            at += n as u64;
        }
    }
}

/// Brings a file to its disk while it comes, so that little of it is left to wait for at the end.
fn write_out(partial: &Partial) -> std::io::Result<()> {
    const STEP: u64 = 64 << 20;
    let mut n_written = partial.n_there();
    while !partial.is_over.load(Ordering::Acquire) {
        let n_there = partial.n_there();
        n_written = n_written.min(n_there);
        if n_there - n_written < STEP {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        partial.file.sync_data()?;
        n_written = n_there;
    }
    Ok(())
}

/// Fetches what is not there, tries again after what passes, and says how many bytes the file has.
async fn fetch(client: &Client, wanted: &Wanted, partial: &Arc<Partial>, tell: &Tell) -> Result<u64, Broken> {
    let disk = |error| Broken::Last(PullError::disk("write", &partial.path, &error));
    let (mut waits_left, mut has_ranges) = (client.waits(), partial.identity.n_bytes.is_some());
    loop {
        let before = partial.n_there();
        let broken = match attempt(client, wanted, partial, has_ranges, tell).await {
            Ok(n_bytes) => return Ok(n_bytes),
            Err(broken) => broken,
        };
        partial.with(|spans| spans.close(None));
        partial.save().map_err(disk)?;
        match broken {
            Broken::NoRanges if has_ranges => has_ranges = false,
            Broken::Passing(why, asked) => {
                if partial.n_there() > before {
                    waits_left = client.waits();
                }
                let Some(wait) = waits_left.next() else { return Err(Broken::Passing(why, None)) };
                tokio::time::sleep(asked.unwrap_or(wait)).await;
            }
            broken => return Err(broken),
        }
        if !has_ranges {
            tell(-(partial.n_there() as i64));
            partial.forget().map_err(disk)?;
        }
    }
}

/// Fetches what is not there.
async fn attempt(
    client: &Client,
    wanted: &Wanted,
    partial: &Arc<Partial>,
    has_ranges: bool,
    tell: &Tell,
) -> Result<u64, Broken> {
    let disk = |error| Broken::Last(PullError::disk("write", &partial.path, &error));
    let n_bytes = partial.identity.n_bytes;
    if let Some(n_bytes) = n_bytes {
        partial.file.set_len(n_bytes).map_err(disk)?;
    }
    let end = n_bytes.unwrap_or(u64::MAX);
    let (n_connections, most) = match has_ranges {
        true => (CONNECTIONS, (end / 16).clamp(RANGE_BYTES[0], RANGE_BYTES[1])),
        false => (1, u64::MAX),
    };
    let mut tasks = JoinSet::new();
    let mut next_save = tokio::time::Instant::now() + SAVED_EVERY;
    let mut failed = None;
    loop {
        while failed.is_none()
            && tasks.len() < n_connections
            && let Some((range, at)) = partial.with(|spans| spans.take(end, most))
        {
            let (client, url) = (client.clone(), wanted.clone());
            let (partial, tell) = (partial.clone(), tell.clone());
            tasks.spawn(async move {
                let result = range_of(&client, &url, &partial, range.clone(), &at, has_ranges, &tell).await;
                (range, result)
            });
        }
        tokio::select! {
            joined = tasks.join_next() => match joined {
                None => break,
                Some(Err(error)) => return Err(Broken::Passing(error.to_string(), None)),
                Some(Ok((range, result))) => {
                    let is_all = n_bytes.is_none() && result.is_ok();
                    partial.with(|spans| spans.close(Some(&range)));
                    match result {
                        Ok(()) => {}
                        // What others fetch is not thrown away for it.
                        Err(broken @ Broken::Passing(..)) => failed = Some(broken),
                        Err(broken) => return Err(broken),
                    }
                    if is_all {
                        break;
                    }
                }
            },
            () = tokio::time::sleep_until(next_save) => {
                partial.save().map_err(disk)?;
                next_save = tokio::time::Instant::now() + SAVED_EVERY;
            }
        }
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    let n_bytes = n_bytes.unwrap_or(partial.front());
    partial.file.set_len(n_bytes).map_err(disk)?;
    Ok(n_bytes)
}

/// Fetches a range, or all of a file.
async fn range_of(
    client: &Client,
    wanted: &Wanted,
    partial: &Partial,
    range: Range<u64>,
    at: &AtomicU64,
    has_ranges: bool,
    tell: &Tell,
) -> Result<(), Broken> {
    let n_bytes = partial.identity.n_bytes;
    let mut chunks = match &wanted.object {
        Some(object) => object.bytes(has_ranges.then(|| range.clone())).await?,
        None => chunks_of(client, wanted, partial, &range, has_ranges).await?,
    };
    let mut place = range.start;
    while let Some(chunk) = chunks.try_next().await? {
        let room = usize::try_from(range.end - place).unwrap_or(usize::MAX);
        if chunk.len() > room {
            return Err(Broken::Changed("more bytes come than were announced".into()));
        }
        partial
            .write_at(&chunk, place)
            .map_err(|error| Broken::Last(PullError::disk("write", &partial.path, &error)))?;
        place += chunk.len() as u64;
        at.store(place, Ordering::Release);
        tell(chunk.len() as i64);
    }
    if n_bytes.is_some() && place < range.end {
        let fact =
            format!("the answer ended after {} of {} bytes", place - range.start, range.end - range.start);
        return Err(Broken::Passing(fact, None));
    }
    Ok(())
}

/// The bytes of a range, or of all of a file, from the web.
async fn chunks_of(
    client: &Client,
    wanted: &Wanted,
    partial: &Partial,
    range: &Range<u64>,
    has_ranges: bool,
) -> Result<BoxStream<'static, Result<Bytes, Broken>>, Broken> {
    let n_bytes = partial.identity.n_bytes;
    let asked = has_ranges.then(|| format!("bytes={}-{}", range.start, range.end - 1));
    let (answer, _) = match client.once(&wanted.url, "*/*", asked.as_deref()).await {
        Ok(answer) => answer,
        Err(Fault::Passing(why, wait)) => return Err(Broken::Passing(why, wait)),
        Err(Fault::Last(why)) => return Err(Broken::Last(failed(wanted, &why))),
    };
    if let Some(fault) = Fault::of(&answer) {
        return Err(match fault {
            Fault::Passing(why, wait) => Broken::Passing(why, wait),
            Fault::Last(why) => Broken::Last(failed(wanted, &why)),
        });
    }
    if partial.identity.tag.is_some() && tag_of(&answer) != partial.identity.tag {
        return Err(Broken::Changed("it was replaced while it was fetched".into()));
    }
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if has_ranges => {
            let told = text(answer.headers(), "content-range").and_then(content_range);
            let Some((start, total)) = told else { return Err(Broken::NoRanges) };
            if total.is_some_and(|total| Some(total) != n_bytes) {
                let (total, n_bytes) = (total.unwrap_or(0), n_bytes.unwrap_or(0));
                return Err(Broken::Changed(format!("it has {total} bytes, and {n_bytes} were announced")));
            }
            if start != range.start {
                return Err(Broken::NoRanges);
            }
        }
        StatusCode::OK if !has_ranges || n_bytes == Some(range.end - range.start) => {
            if let (Some(found), Some(n_bytes)) = (answer.content_length(), n_bytes)
                && found != n_bytes
            {
                return Err(Broken::Changed(format!("it has {found} bytes, and {n_bytes} were announced")));
            }
        }
        StatusCode::OK => return Err(Broken::NoRanges),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(Broken::Changed("it has fewer bytes than were announced".into()));
        }
        status => return Err(Broken::Last(refused(wanted, status, answer.headers()))),
    }
    let broken = |error| Broken::Passing(chain(&error), None);
    Ok(answer.bytes_stream().map_err(broken).boxed())
}

/// `bytes 0-99/1000`: where it starts, and how many bytes there are in all.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    match total {
        "*" => Some((start, None)),
        total => Some((start, Some(total.parse().ok()?))),
    }
}
