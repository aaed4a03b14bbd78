//! The paths, and what every request passes before its handler.

mod anthropic;
mod batches;
mod files;
mod manage;
mod moderations;
mod ollama;
mod openai;
mod openapi;
mod page;
mod responses;
mod state;
mod tokens;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, head, post};
use futures_util::FutureExt;
use futures_util::future::Either;
use puna::Tenant;
use puna_wire::{Kind, Problem};
use serde_json::Value;

use crate::app::App;
use crate::aside::aside;
use crate::asked::{Asked, Entered, Handled};
use crate::batches::{Answering, Around, Batches};
use crate::reply::{self, Family};

/// The priority of batches.
const BEHIND: i32 = 1;

impl Around for App {
    fn batches(&self) -> Option<&Batches> {
        self.batches.as_ref()
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.gate.tenants()
    }

    fn new_name(&self) -> String {
        self.names.next()
    }

    fn answer(self: Arc<Self>, tenant: Tenant, endpoint: &'static str, body: Value) -> Answering {
        Box::pin(async move { answer(&self, &tenant, endpoint, &body).await })
    }
}

/// Answers a question of a batch: as its endpoint would, behind everybody else's.
async fn answer(
    app: &Arc<App>,
    tenant: &Tenant,
    endpoint: &'static str,
    body: &Value,
) -> Result<(u16, Value), Problem> {
    if body["stream"] == true {
        return Err(Problem::unsupported("stream", "`stream` is true, and batches have no streams"));
    }
    let asked = Asked {
        app: app.clone(),
        tenant: tenant.clone(),
        family: Family::OpenAi,
        start: Instant::now(),
        uri: Uri::from_static(endpoint),
        headers: HeaderMap::new(),
        body: body.clone(),
        is_large: false,
        priority: BEHIND,
    };
    let response = match endpoint {
        "/v1/chat/completions" => openai::chat(asked).await?,
        "/v1/completions" => openai::completions(asked).await?,
        "/v1/embeddings" => openai::embeddings(asked).await?,
        "/v1/responses" => responses::create(asked).await?,
        _ => return Err(Problem::new(Kind::NotFound, "batches have no such endpoint")),
    };
    let status = response.status().as_u16();
    let lost = || Problem::new(Kind::Internal, "the answer cannot be read");
    // It is in memory already.
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.map_err(|_| lost())?;
    Ok((status, serde_json::from_slice(&bytes).map_err(|_| lost())?))
}

/// A handler of requests, whose problems are said in the API's own shape.
fn handled<F>(asked: Asked, handler: fn(Asked) -> F) -> impl Future<Output = Response> + Send
where
    F: Future<Output = Handled> + Send + 'static,
{
    let family = asked.family;
    // A block of `async` would have the future twice.
    let handling = match asked.is_large {
        true => Either::Left(Box::pin(begun_aside(handler(asked)))),
        false => Either::Right(handler(asked)),
    };
    handling.map(move |handled| handled.unwrap_or_else(|problem| family.refuse(&family.words(problem))))
}

/// The handler of a large body: all that it does until it waits for somebody is done where that holds up nobody.
async fn begun_aside(handling: impl Future<Output = Handled> + Send + 'static) -> Handled {
    let mut handling = Box::pin(handling);
    let begun = aside(move || {
        let begun = handling.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        Ok((handling, begun))
    });
    match begun.await? {
        (_, Poll::Ready(handled)) => handled,
        (handling, Poll::Pending) => handling.await,
    }
}

/// Handlers by their methods and paths.
#[derive(Default)]
struct Routes {
    router: Router<Arc<App>>,
    all: Vec<(Method, &'static str)>,
}

impl Routes {
    fn route(mut self, method: Method, path: &'static str, handler: MethodRouter<Arc<App>>) -> Routes {
        self.router = self.router.route(path, handler);
        self.all.push((method, path));
        self
    }

    fn post<F>(self, path: &'static str, handler: fn(Asked) -> F) -> Routes
    where
        F: Future<Output = Handled> + Send + 'static,
    {
        self.route(Method::POST, path, post(move |asked: Asked| handled(asked, handler)))
    }

    fn get<F>(self, path: &'static str, handler: fn(Asked) -> F) -> Routes
    where
        F: Future<Output = Handled> + Send + 'static,
    {
        self.route(Method::GET, path, get(move |asked: Asked| handled(asked, handler)))
    }

    fn delete<F>(self, path: &'static str, handler: fn(Asked) -> F) -> Routes
    where
        F: Future<Output = Handled> + Send + 'static,
    {
        self.route(Method::DELETE, path, delete(move |asked: Asked| handled(asked, handler)))
    }

    /// All of them. Each is described in the folder `openapi`.
    fn all() -> Routes {
        Routes::default().openai().others().ollama()
    }

    fn openai(self) -> Routes {
        self.post("/v1/chat/completions", openai::chat)
            .post("/chat/completions", openai::chat)
            .post("/v1/completions", openai::completions)
            .post("/completions", openai::completions)
            .post("/v1/embeddings", openai::embeddings)
            .post("/embeddings", openai::embeddings)
            .get("/v1/models", openai::models)
            .get("/models", openai::models)
            .get("/v1/models/{*id}", openai::model)
            .delete("/v1/models/{*id}", manage::delete_named)
            .post("/v1/models:pull", manage::pull_in_events)
            .post("/v1/models:copy", manage::copy_told)
            .post("/v1/responses", responses::create)
            .post("/v1/responses/input_tokens", responses::input_tokens)
            .get("/v1/responses/{id}", responses::get)
            .delete("/v1/responses/{id}", responses::delete)
            .post("/v1/responses/{id}/cancel", responses::cancel)
            .get("/v1/responses/{id}/input_items", responses::input_items)
            .post("/v1/batches", batches::create)
            .get("/v1/batches", batches::list)
            .get("/v1/batches/{id}", batches::get)
            .post("/v1/batches/{id}/cancel", batches::cancel)
            .get("/v1/files", files::list)
            .route(Method::POST, "/v1/files", post(files::upload))
            .get("/v1/files/{id}", files::get)
            .delete("/v1/files/{id}", files::delete)
            .get("/v1/files/{id}/content", files::content)
            .post("/v1/moderations", moderations::create)
            .post("/moderations", moderations::create)
            .post("/v1/rerank", openai::rerank)
            .post("/rerank", openai::rerank)
            .post("/v2/rerank", openai::rerank)
    }

    fn others(self) -> Routes {
        self.post("/v1/messages", anthropic::messages)
            .post("/v1/messages/count_tokens", anthropic::count_tokens)
            .post("/infill", tokens::infill)
            .post("/tokenize", tokens::tokenize)
            .post("/detokenize", tokens::detokenize)
            .get("/tokenizer_info", tokens::tokenizer_info)
            .post("/apply-template", tokens::apply_template)
            .get("/health", state::health)
            .get("/v1/health", state::health)
            .get("/ready", state::health)
            .get("/metrics", state::metrics)
            .get("/state", state::state)
            .get("/page/{*file}", page::get)
            .post("/page/key", page::key)
            .get("/openapi.json", openapi::get)
            .get("/", state::root)
            .post("/", state::root_post)
    }

    fn ollama(self) -> Routes {
        self.post("/api/generate", ollama::generate)
            .post("/api/chat", ollama::chat)
            .post("/api/embed", ollama::embed)
            .post("/api/embeddings", ollama::embeddings)
            .get("/api/tags", ollama::tags)
            .get("/api/ps", ollama::ps)
            .post("/api/show", ollama::show)
            .get("/api/version", ollama::version)
            .post("/api/pull", manage::pull)
            .post("/api/create", manage::create)
            .post("/api/copy", manage::copy)
            .delete("/api/delete", manage::delete)
            .route(Method::HEAD, "/api/blobs/{digest}", head(manage::has_blob))
            .route(Method::POST, "/api/blobs/{digest}", post(manage::upload))
    }
}

/// All paths.
pub(crate) fn router(app: Arc<App>) -> Router {
    Routes::all()
        .router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), enter))
        .with_state(app)
}

async fn nothing_here(uri: Uri) -> Response {
    let fact = format!("there is nothing at {}", Value::from(uri.path()));
    Family::of(uri.path()).refuse(&Problem::new(Kind::NotFound, fact))
}

async fn wrong_method(uri: Uri) -> Response {
    let fact = format!("{} does not know this method", Value::from(uri.path()));
    Family::of(uri.path()).refuse(&Problem::new(Kind::Method, fact))
}

/// Checks a request, gives it a name, and notes how it was answered.
async fn enter(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    let start = Instant::now();
    let method = request.method().clone();
    let path = app.options.log.then(|| request.uri().path().to_owned());
    let family = Family::of(request.uri().path());
    // Figures are kept by handlers and well-known methods: anybody can think of any number of others.
    let handler = request.extensions().get::<MatchedPath>().cloned();
    // What a request says lies in a buffer of the connection, and a copy of a part lets that go.
    let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
    let given = request.headers().get(REQUEST_ID).or(request.headers().get("x-client-request-id"));
    let id = given.filter(|id| id.len() <= 200).and_then(copied);
    let id = id.or_else(|| HeaderValue::from_str(&format!("req_{}", app.names.next())).ok());
    let origin = request.headers().get(ORIGIN).filter(|origin| app.gate.allows(origin.as_bytes()));
    let origin = origin.and_then(copied);
    let mut response = match app.gate.check(&method, request.uri(), request.headers()) {
        Err(problem) => family.refuse(&problem),
        Ok(_) if method == Method::OPTIONS => preflight(request.headers(), origin.is_some()),
        Ok(tenant) => {
            request.extensions_mut().insert(Entered { tenant, start });
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Some(id) = &id {
        headers.insert(REQUEST_ID, id.clone());
        if family == Family::Anthropic {
            headers.insert("request-id", id.clone());
        }
    }
    let status = response.status().as_u16();
    let known = [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS];
    let of_method = if known.contains(&method) { method.as_str() } else { "other" };
    app.metrics.request(handler.as_ref().map_or("other", MatchedPath::as_str), of_method, status);
    if let Some(path) = path {
        let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        let (method, time) = (method.as_str(), start.elapsed());
        crate::log::request(&crate::log::Line { id, method, path: &path, status, time });
    }
    response
}

/// The answer to a browser that asks what a page may send.
fn preflight(headers: &HeaderMap, is_allowed: bool) -> Response {
    let mut response = reply::text(204, "text/plain", String::new());
    if is_allowed {
        let methods = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = openapi::document().unwrap();
        let mut described: Vec<String> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|name| openapi::is_method(name));
            described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
        }
        let routes = Routes::all().all;
        // A parameter that may have slashes is one like others there.
        let mut routed: Vec<String> =
            routes.iter().map(|(method, path)| format!("{method} {}", path.replace("{*", "{"))).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }
}
