//! Ways to create and pull models, and to upload, copy and delete them: Ollama's, and those beside OpenAI's list.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use puna_wire::ollama::manage::{self, Create};
use puna_wire::ollama::models::status;
use puna_wire::ollama::name;
use puna_wire::openai::models;
use puna_wire::{Frames, Kind, Problem};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::files::{Uploading, next_of};
use super::ollama::LINES;
use crate::answer::{EVENTS, json, streamed};
use crate::app::App;
use crate::aside::aside;
use crate::asked::{Asked, Handled};
use crate::files::broken;
use crate::library::{Library, check_size, format_of, not_found};
use crate::loading::hex;
use crate::models::Origin;
use crate::pulled::elsewhere;
use crate::pulling::{Line, Pulling};
use crate::reply::Family;

/// The folder of models, if the server keeps any.
fn library(app: &App) -> Result<&Arc<Library>, Problem> {
    let hint = "this server keeps no models that clients create; start it with --models-dir DIR";
    app.library.as_ref().ok_or_else(|| Problem::new(Kind::Request, hint))
}

/// Changes models when it is our turn, where it holds up nobody. Who waits takes no thread.
async fn change<T: Send + 'static>(
    library: Arc<Library>,
    task: impl FnOnce(&Library) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = library.turn().await;
    let changing = move || {
        let _turn = turn;
        task(&library)
    };
    aside(changing).await
}

/// Refuses what no model here can be made of.
fn check(create: &Create) -> Result<(), Problem> {
    if let Some(quantize) = &create.quantize {
        let fact = format!(
            "`quantize` is {}, which is not supported: nothing is quantised here; upload files that are",
            Value::from(quantize.as_str())
        );
        return Err(Problem::unsupported("quantize", fact));
    }
    if !create.adapters.is_empty() {
        let fact = "`adapters` are not supported: upload a model that an adapter was merged into";
        return Err(Problem::unsupported("adapters", fact));
    }
    if create.from.is_some() && !create.files.is_empty() {
        let fact = "`from` and `files` both say what the model is made of; send one of them";
        return Err(Problem::field("files", fact));
    }
    // At once: those that wait for their turn are not to fill the memory.
    check_size(&create.model.to_string(), create.body().to_string().len() as u64)?;
    create.template.as_deref().map_or(Ok(()), |template| format_of(template).map(drop))
}

pub(super) async fn create(asked: Asked) -> Handled {
    let create = manage::read_create(&asked.body)?;
    let library = library(&asked.app)?.clone();
    check(&create)?;
    for (_, digest) in &create.files {
        if !library.has(digest) {
            let fact =
                format!("`files` names {digest}, which is not here; upload it to /api/blobs/{digest} first");
            return Err(Problem::field("files", fact));
        }
    }
    if let Some(from) = &create.from {
        asked.app.models.find(Some(from))?;
    }
    let (app, is_stream) = (asked.app.clone(), create.stream);
    let (sender, mut receiver) = unbounded_channel();
    let telling = sender.clone();
    let creating = change(library, move |library| {
        library.create(create, &app.models, |line| tell(&telling, &status(line)))
    });
    if !is_stream {
        creating.await?;
        return Ok(json(&status("success")));
    }
    // It goes on although its client may leave.
    tokio::spawn(async move {
        match creating.await {
            Ok(()) => tell(&sender, &status("success")),
            Err(problem) => tell(&sender, &problem.ollama()),
        }
    });
    let lines = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    Ok(streamed(LINES, Body::from_stream(lines)))
}

/// Says a line to whoever listens.
fn tell(sender: &UnboundedSender<Result<Bytes, Infallible>>, line: &Value) {
    let _ = sender.send(Ok(format!("{line}\n").into()));
}

/// How those who pull are told how far it is.
struct Telling {
    content_type: &'static str,
    put: fn(&mut Frames, &Value),
    problem: fn(&Problem) -> Value,
}

/// A line for each step.
pub(super) async fn pull(asked: Asked) -> Handled {
    let put = |frames: &mut Frames, line: &Value| frames.line(line);
    told_of_pull(asked, Telling { content_type: LINES, put, problem: Problem::ollama }).await
}

/// An event for each step, which says the same.
pub(super) async fn pull_in_events(asked: Asked) -> Handled {
    let put = |frames: &mut Frames, line: &Value| frames.data(line);
    told_of_pull(asked, Telling { content_type: EVENTS, put, problem: Problem::openai }).await
}

async fn told_of_pull(asked: Asked, telling: Telling) -> Handled {
    let ask = manage::read_about(&asked.body)?;
    let begun = begin_pull(asked.app, &ask)?;
    let Telling { content_type, put, problem } = telling;
    let frame = move |line: &Value| {
        let mut frames = Frames::default();
        put(&mut frames, line);
        Bytes::from(frames.take())
    };
    let Some(mut pulling) = begun else {
        let line = status("success");
        return Ok(if ask.stream { streamed(content_type, Body::from(frame(&line))) } else { json(&line) });
    };
    let mut lines = futures_util::stream::poll_fn(move |context| pulling.poll_line(context));
    if !ask.stream {
        while let Some(line) = lines.next().await {
            if let Line::Over(result) = line {
                return result.map(|()| json(&status("success")));
            }
        }
        return Err(Problem::new(Kind::Internal, "the pull failed under us; ask again"));
    }
    let lines = lines.map(move |line| {
        let line = match line {
            Line::Status(line) => line,
            Line::Over(Ok(())) => status("success"),
            Line::Over(Err(why)) => problem(&why),
        };
        Ok::<_, Infallible>(frame(&line))
    });
    Ok(streamed(content_type, Body::from_stream(lines)))
}

/// Begins to fetch a model where whoever runs the server allows it. Nothing, if it is here already.
fn begin_pull(app: Arc<App>, ask: &manage::About) -> Result<Option<Pulling>, Problem> {
    let name = &ask.model;
    if ask.insecure {
        let fact = "`insecure` is not supported: models come over connections that are encrypted";
        return Err(Problem::unsupported("insecure", fact));
    }
    let here = app.models.find(Some(name));
    if here.as_ref().is_ok_and(|served| served.origin != Origin::Pulled) {
        return Ok(None);
    }
    let Some(pulled) = app.pulled.clone() else {
        let fact = here.map_or_else(|problem| problem.message, |_| String::new());
        let fact = format!("{fact}; this server fetches no models; start it with --allow-pull");
        return Err(Problem { message: fact, ..Problem::new(Kind::NotFound, "") });
    };
    let source = elsewhere(name)?;
    pulled.check(name, &app.models)?;
    let Ok(place) = pulled.places.clone().try_acquire_owned() else {
        let fact = "other models are being pulled; ask again later";
        return Err(Problem { retry_after: Some(30), ..Problem::new(Kind::Busy, fact) });
    };
    Pulling::start(app, pulled, name.clone(), source, place).map(Some)
}

pub(super) async fn copy(asked: Asked) -> Handled {
    let copy = manage::read_copy(&asked.body)?;
    copy_model(&asked.app, copy).await?;
    Ok(StatusCode::OK.into_response())
}

/// The same, and tells of the copy.
pub(super) async fn copy_told(asked: Asked) -> Handled {
    let copy = manage::read_copy(&asked.body)?;
    let name = copy.destination.to_string();
    copy_model(&asked.app, copy).await?;
    let served = asked.app.models.find(Some(&name))?;
    Ok(json(&models::one(&super::openai::info(&served.about))))
}

async fn copy_model(app: &Arc<App>, copy: manage::Copy) -> Result<(), Problem> {
    let manage::Copy { source, destination } = copy;
    let own = app.clone();
    if let Some(pulled) = app.pulled.clone().filter(|pulled| pulled.has(&source, &app.models)) {
        return aside(move || pulled.copy(&source, &destination, &own.models)).await;
    }
    let library = library(app)?.clone();
    change(library, move |library| library.copy(&source, &destination, &own.models)).await
}

pub(super) async fn delete(asked: Asked) -> Handled {
    let name = manage::read_about(&asked.body)?.model;
    delete_model(&asked.app, name).await?;
    Ok(StatusCode::OK.into_response())
}

/// The same of the model that the path names, as OpenAI's clients delete theirs.
pub(super) async fn delete_named(asked: Asked) -> Handled {
    let name = super::openai::model_of(&asked);
    delete_model(&asked.app, name.clone()).await?;
    Ok(json(&models::deleted(&name)))
}

async fn delete_model(app: &Arc<App>, name: String) -> Result<(), Problem> {
    let own = app.clone();
    if let Some(pulled) = app.pulled.clone().filter(|pulled| pulled.has(&name, &app.models)) {
        return aside(move || pulled.delete(&name, &own.models)).await;
    }
    if app.pulled.is_some() && app.models.exact(&name).is_none() {
        return Err(not_found(&name));
    }
    let library = library(app)?.clone();
    change(library, move |library| library.delete(&name, &own.models)).await
}

/// The digest in a path.
fn digest_of(path: &str) -> Result<String, Problem> {
    let digest = path.rsplit('/').next().unwrap_or_default();
    name::digest(digest, "digest").map(|digest| digest.replace('-', ":"))
}

pub(super) async fn has_blob(uploading: Uploading) -> Response {
    let has = || -> Result<bool, Problem> { Ok(library(&uploading.app)?.has(&digest_of(&uploading.path)?)) };
    match has() {
        Ok(true) => StatusCode::OK.into_response(),
        Ok(false) => StatusCode::NOT_FOUND.into_response(),
        Err(problem) => Family::Ollama.refuse(&problem),
    }
}

pub(super) async fn upload(uploading: Uploading) -> Response {
    receive(uploading).await.unwrap_or_else(|problem| Family::Ollama.refuse(&problem))
}

/// Writes a body down while its digest is computed, and makes a blob of it if it is the one that was promised.
async fn receive(uploading: Uploading) -> Handled {
    let Uploading { app, path, body, .. } = uploading;
    let library = library(&app)?;
    let digest = digest_of(&path)?;
    if library.has(&digest) {
        return Ok(StatusCode::OK.into_response());
    }
    let partial = library.partial(&app.names.next());
    let mut room = library.room();
    let mut file = tokio::fs::File::create(&partial.0).await.map_err(broken)?;
    let (mut hasher, mut n_bytes) = (Sha256::new(), 0);
    let mut stream = body.into_data_stream();
    while let Some(bytes) = next_of(&mut stream, app.options.read_timeout).await? {
        library.take(&mut room, bytes.len() as u64)?;
        n_bytes += bytes.len() as u64;
        hasher.update(&bytes);
        file.write_all(&bytes).await.map_err(broken)?;
    }
    file.flush().await.map_err(broken)?;
    file.sync_all().await.map_err(broken)?;
    drop(file);
    let found = format!("sha256:{}", hex(&hasher.finalize()));
    if found != digest {
        let fact =
            format!("the body of {n_bytes} bytes has the digest {found}, and not {digest}; send it again");
        return Err(Problem::field("digest", fact));
    }
    library.adopt(&digest, &partial, n_bytes, room)?;
    Ok(StatusCode::CREATED.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServeOptions;

    #[test]
    fn who_waits_for_a_turn_takes_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(folder.path(), &ServeOptions::default()).unwrap());
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let turn = library.turn().await;
            let changes: Vec<_> =
                (0..3).map(|i| tokio::spawn(change(library.clone(), move |_| Ok(i)))).collect();
            tokio::task::yield_now().await;
            let other = tokio::task::spawn_blocking(|| 7);
            let other = tokio::time::timeout(std::time::Duration::from_secs(10), other).await;
            assert_eq!(other.unwrap().unwrap(), 7);
            drop(turn);
            for (i, change) in changes.into_iter().enumerate() {
                assert_eq!(change.await.unwrap(), Ok(i));
            }
        });
    }
}
