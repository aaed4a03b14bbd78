//! Files: kept, listed, given back, removed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use puna::Tenant;
use puna_wire::multipart::Piece;
use puna_wire::openai::files as wire;
use puna_wire::{Kind, Multipart, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::answer::json;
use crate::app::App;
use crate::asked::{Asked, Entered, Handled};
use crate::files::{Files, Owner, Room, broken, owner};
use crate::reply::Family;

/// The most bytes of a field that is not the file.
const MAX_FIELD_BYTES: usize = 1024;
/// Bytes of a file that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// The most files of a page.
const MAX_PAGE: usize = 10_000;

/// A request whose body is still to come.
pub(super) struct Uploading {
    pub app: Arc<App>,
    pub path: String,
    tenant: Tenant,
    headers: HeaderMap,
    pub body: Body,
}

impl FromRequest<Arc<App>> for Uploading {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Uploading, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let tenant = parts.extensions.get::<Entered>().map(|entered| entered.tenant.clone());
        let path = parts.uri.path().to_owned();
        Ok(Uploading {
            app: app.clone(),
            path,
            tenant: tenant.unwrap_or_default(),
            headers: parts.headers,
            body,
        })
    }
}

pub(super) async fn upload(uploading: Uploading) -> Response {
    receive(uploading).await.unwrap_or_else(|problem| Family::OpenAi.refuse(&problem))
}

/// The files, if the server keeps any.
pub(super) fn files(app: &App) -> Result<&Files, Problem> {
    let hint = "this server keeps no files; start it with --files-dir DIR";
    app.files.as_deref().ok_or_else(|| Problem::new(Kind::Request, hint))
}

/// A file that is being received.
struct Received {
    file: tokio::fs::File,
    room: Room,
    n_bytes: u64,
}

/// What of the form was understood so far.
#[derive(Default)]
struct Form {
    /// The field that is being read.
    field: String,
    purpose: Option<Vec<u8>>,
    filename: Option<String>,
    file: Option<Received>,
}

async fn receive(uploading: Uploading) -> Handled {
    let Uploading { app, tenant, headers, body, .. } = uploading;
    let files = files(&app)?;
    files.check_count()?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut multipart = Multipart::new(content_type)?;
    let id = format!("file-{}", app.names.next());
    let partial = files.partial(&id);
    let mut form = Form::default();
    let mut stream = body.into_data_stream();
    while let Some(bytes) = next_of(&mut stream, app.options.read_timeout).await? {
        let mut pieces = Vec::new();
        multipart.push(&bytes, &mut pieces)?;
        for piece in pieces {
            form.read(piece, files, &partial.0).await?;
        }
    }
    multipart.finish()?;
    let absent = |name: &str| Problem::field(name, format!("the form has no `{name}`"));
    let purpose = form.purpose.ok_or_else(|| absent("purpose"))?;
    let purpose = wire::purpose(&String::from_utf8_lossy(&purpose))?;
    let Received { mut file, room, n_bytes } = form.file.ok_or_else(|| absent("file"))?;
    file.flush().await.map_err(broken)?;
    file.sync_all().await.map_err(broken)?;
    let filename = wire::filename(form.filename.as_deref());
    let known = wire::body(&id, n_bytes, crate::identity::seconds(), &filename, &purpose);
    Ok(json(&files.adopt(&owner(&tenant), partial, known, Some(room))?))
}

/// The next bytes of a body, which must come in time.
pub(super) async fn next_of(stream: &mut BodyDataStream, time: Duration) -> Result<Option<Bytes>, Problem> {
    let late = |_| Problem::new(Kind::Request, "the body did not come in time");
    let next = tokio::time::timeout(time, stream.next()).await.map_err(late)?;
    next.transpose().map_err(|_| Problem::new(Kind::Request, "the body broke off"))
}

impl Form {
    async fn read(&mut self, piece: Piece, files: &Files, path: &std::path::Path) -> Result<(), Problem> {
        match piece {
            Piece::Part { name, filename } => {
                match name.as_str() {
                    "file" if self.file.is_none() => {
                        let file = tokio::fs::File::create(path).await.map_err(broken)?;
                        self.file = Some(Received { file, room: files.room(), n_bytes: 0 });
                        self.filename = filename;
                    }
                    "purpose" if self.purpose.is_none() => self.purpose = Some(Vec::new()),
                    "file" | "purpose" => {
                        return Err(Problem::field(&name, format!("the form has `{name}` twice")));
                    }
                    name if name.starts_with("expires_after") => {
                        let fact = "`expires_after` is not supported: files are kept until they are deleted";
                        return Err(Problem::unsupported("expires_after", fact));
                    }
                    _ => {}
                }
                self.field = name;
            }
            Piece::Data(bytes) => match (self.field.as_str(), &mut self.file, &mut self.purpose) {
                ("file", Some(received), _) => received.write(&bytes, files).await?,
                ("purpose", _, Some(purpose)) => {
                    if purpose.len() + bytes.len() > MAX_FIELD_BYTES {
                        let fact = format!("`purpose` has more than {MAX_FIELD_BYTES} bytes");
                        return Err(Problem::field("purpose", fact));
                    }
                    purpose.extend_from_slice(&bytes);
                }
                _ => {}
            },
            Piece::End => {}
        }
        Ok(())
    }
}

impl Received {
    async fn write(&mut self, bytes: &[u8], files: &Files) -> Result<(), Problem> {
        self.n_bytes += bytes.len() as u64;
        let max = files.max_file_bytes();
        if self.n_bytes > max {
            let fact = format!("the file has more than {max} bytes, which is what --max-file-bytes allows");
            return Err(Problem::new(Kind::TooLarge, fact));
        }
        if !self.room.take(bytes.len() as u64) {
            return Err(files.full());
        }
        self.file.write_all(bytes).await.map_err(broken)
    }
}

/// Whose the request is, and the id in its path.
pub(super) fn named(asked: &Asked) -> (Owner, String) {
    (owner(&asked.tenant), asked.uri.path().split('/').nth(3).unwrap_or_default().to_owned())
}

pub(super) async fn list(asked: Asked) -> Handled {
    let all = files(&asked.app)?.all(&owner(&asked.tenant));
    Ok(json(&wire::list(all, asked.uri.query().unwrap_or_default(), MAX_PAGE)?))
}

pub(super) async fn get(asked: Asked) -> Handled {
    let (owner, id) = named(&asked);
    Ok(json(&files(&asked.app)?.get(&owner, &id)?))
}

pub(super) async fn delete(asked: Asked) -> Handled {
    let (owner, id) = named(&asked);
    files(&asked.app)?.remove(&owner, &id)?;
    Ok(json(&wire::deleted(&id)))
}

pub(super) async fn content(asked: Asked) -> Handled {
    let (owner, id) = named(&asked);
    let files = files(&asked.app)?;
    let n_bytes = files.get(&owner, &id)?["bytes"].as_u64().unwrap_or(0);
    let file = tokio::fs::File::from_std(files.open_file(&owner, &id)?);
    let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let n = file.read(&mut piece).await?;
        piece.truncate(n);
        Ok::<_, std::io::Error>((n > 0).then(|| (Bytes::from(piece), file)))
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, n_bytes.to_string()),
        // Never shown as a page of this server.
        (CONTENT_DISPOSITION, "attachment".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
