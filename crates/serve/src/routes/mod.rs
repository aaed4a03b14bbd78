//! The paths, and what every request passes before its handler.

mod anthropic;
mod batches;
mod files;
mod moderations;
mod ollama;
mod openai;
mod responses;
mod state;
mod tokens;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use puna::Tenant;
use puna_wire::{Kind, Problem};
use serde_json::Value;

use crate::app::App;
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
async fn handled<F: Future<Output = Handled>>(asked: Asked, handler: fn(Asked) -> F) -> Response {
    let family = asked.family;
    handler(asked).await.unwrap_or_else(|problem| family.refuse(&family.words(problem)))
}

fn on_post<F: Future<Output = Handled> + Send + 'static>(handler: fn(Asked) -> F) -> MethodRouter<Arc<App>> {
    post(move |asked: Asked| handled(asked, handler))
}

fn on_get<F: Future<Output = Handled> + Send + 'static>(handler: fn(Asked) -> F) -> MethodRouter<Arc<App>> {
    get(move |asked: Asked| handled(asked, handler))
}

fn on_delete<F: Future<Output = Handled> + Send + 'static>(
    handler: fn(Asked) -> F,
) -> MethodRouter<Arc<App>> {
    delete(move |asked: Asked| handled(asked, handler))
}

/// All paths.
pub(crate) fn router(app: Arc<App>) -> Router {
    let openai = Router::new()
        .route("/v1/chat/completions", on_post(openai::chat))
        .route("/chat/completions", on_post(openai::chat))
        .route("/v1/completions", on_post(openai::completions))
        .route("/completions", on_post(openai::completions))
        .route("/v1/embeddings", on_post(openai::embeddings))
        .route("/embeddings", on_post(openai::embeddings))
        .route("/v1/models", on_get(openai::models))
        .route("/models", on_get(openai::models))
        .route("/v1/models/{*id}", on_get(openai::model))
        .route("/v1/responses", on_post(responses::create))
        .route("/v1/responses/input_tokens", on_post(responses::input_tokens))
        .route("/v1/responses/{id}", on_get(responses::get).merge(on_delete(responses::delete)))
        .route("/v1/responses/{id}/cancel", on_post(responses::cancel))
        .route("/v1/responses/{id}/input_items", on_get(responses::input_items))
        .route("/v1/batches", on_post(batches::create).merge(on_get(batches::list)))
        .route("/v1/batches/{id}", on_get(batches::get))
        .route("/v1/batches/{id}/cancel", on_post(batches::cancel))
        .route("/v1/files", post(files::upload).merge(on_get(files::list)))
        .route("/v1/files/{id}", on_get(files::get).merge(on_delete(files::delete)))
        .route("/v1/files/{id}/content", on_get(files::content))
        .route("/v1/moderations", on_post(moderations::create))
        .route("/moderations", on_post(moderations::create))
        .route("/v1/rerank", on_post(openai::rerank))
        .route("/rerank", on_post(openai::rerank))
        .route("/v2/rerank", on_post(openai::rerank));
    let others = Router::new()
        .route("/v1/messages", on_post(anthropic::messages))
        .route("/v1/messages/count_tokens", on_post(anthropic::count_tokens))
        .route("/infill", on_post(tokens::infill))
        .route("/tokenize", on_post(tokens::tokenize))
        .route("/detokenize", on_post(tokens::detokenize))
        .route("/tokenizer_info", on_get(tokens::tokenizer_info))
        .route("/apply-template", on_post(tokens::apply_template))
        .route("/health", on_get(state::health))
        .route("/v1/health", on_get(state::health))
        .route("/ready", on_get(state::health))
        .route("/metrics", on_get(state::metrics))
        .route("/", on_get(state::root).merge(on_post(state::root_post)));
    let ollama = Router::new()
        .route("/api/generate", on_post(ollama::generate))
        .route("/api/chat", on_post(ollama::chat))
        .route("/api/embed", on_post(ollama::embed))
        .route("/api/embeddings", on_post(ollama::embeddings))
        .route("/api/tags", on_get(ollama::tags))
        .route("/api/ps", on_get(ollama::ps))
        .route("/api/show", on_post(ollama::show))
        .route("/api/version", on_get(ollama::version))
        .route("/api/pull", on_post(ollama::pull));
    openai
        .merge(others)
        .merge(ollama)
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
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let family = Family::of(&path);
    let given = request.headers().get(REQUEST_ID).or(request.headers().get("x-client-request-id")).cloned();
    let id = given.filter(|id| id.len() <= 200);
    let id = id.or_else(|| HeaderValue::from_str(&format!("req_{}", app.names.next())).ok());
    let origin = request.headers().get(ORIGIN).filter(|origin| app.gate.allows(origin.as_bytes())).cloned();
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
    let shown = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id.clone());
        if family == Family::Anthropic {
            headers.insert("request-id", id);
        }
    }
    let status = response.status().as_u16();
    // What nobody serves has no name of its own: it could be anything.
    let handler = if status == 404 { "other" } else { path.as_str() };
    app.metrics.request(handler, method.as_str(), status);
    if app.options.log {
        let (method, path, time) = (method.as_str(), path.as_str(), start.elapsed());
        crate::log::request(&crate::log::Line { id: &shown, method, path, status, time });
    }
    response
}

/// The answer to a browser that asks what a page may send.
fn preflight(headers: &HeaderMap, is_allowed: bool) -> Response {
    let mut response = reply::text(204, "text/plain", String::new());
    if is_allowed {
        let methods = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
    response
}
