//! A request whose body was read: what handlers are given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use futures_util::StreamExt;
use puna::Tenant;
use puna_wire::{Kind, Problem};
use serde_json::Value;

use crate::app::App;
use crate::aside::aside;
use crate::reply::Family;

/// A request whose body was read.
pub(crate) struct Asked {
    pub app: Arc<App>,
    pub tenant: Tenant,
    pub family: Family,
    /// When it came.
    pub start: Instant,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// JSON; null where there is no body.
    pub body: Value,
    /// Whether there is so much of it that it is read where that holds up nobody.
    pub is_large: bool,
    /// 0; larger for what is answered behind everybody else's.
    pub priority: i32,
}

/// Bytes of a body that are read, checked and dropped in a fraction of a millisecond.
const SMALL: usize = 64 << 10;

/// What the gate found out.
#[derive(Clone)]
pub(crate) struct Entered {
    pub tenant: Tenant,
    pub start: Instant,
}

/// What a handler gives.
pub(crate) type Handled = Result<Response, Problem>;

impl FromRequest<Arc<App>> for Asked {
    type Rejection = Response;

    fn from_request(
        request: Request,
        app: &Arc<App>,
    ) -> impl Future<Output = Result<Asked, Response>> + Send {
        // What it takes to read is given back before an answer is waited for.
        Box::pin(read(request, app.clone()))
    }
}

async fn read(request: Request, app: Arc<App>) -> Result<Asked, Response> {
    let (parts, body) = request.into_parts();
    let family = Family::of(parts.uri.path());
    let entered = parts.extensions.get::<Entered>().cloned();
    let Entered { tenant, start } =
        entered.unwrap_or_else(|| Entered { tenant: Tenant::default(), start: Instant::now() });
    let refused = |problem: Problem| family.refuse(&problem);
    let bytes = read_body(body, app.options.max_body_bytes, app.options.read_timeout).await;
    let bytes = bytes.map_err(refused)?;
    let is_large = bytes.len() > SMALL;
    let body = if is_large { aside(move || parse(&bytes)).await } else { parse(&bytes) };
    let (uri, headers, body) = (parts.uri, parts.headers, body.map_err(refused)?);
    Ok(Asked { app, tenant, family, start, uri, headers, body, is_large, priority: 0 })
}

/// All bytes of a body, each part of which must come in time.
async fn read_body(body: Body, max_bytes: usize, time: Duration) -> Result<Vec<u8>, Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        let part = tokio::time::timeout(time, stream.next()).await;
        let late = |_| Problem::new(Kind::Request, "the body did not come in time");
        let Some(part) = part.map_err(late)? else { return Ok(bytes) };
        let part = part.map_err(|_| Problem::new(Kind::Request, "the body broke off"))?;
        if bytes.len() + part.len() > max_bytes {
            let fact =
                format!("the body has more than {max_bytes} bytes, which is what --max-body-bytes allows");
            return Err(Problem::new(Kind::TooLarge, fact));
        }
        bytes.extend_from_slice(&part);
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    let fault = |error| Problem::new(Kind::Request, format!("the body is not JSON: {error}"));
    serde_json::from_slice(bytes).map_err(fault)
}
