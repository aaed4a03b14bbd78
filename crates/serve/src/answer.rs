//! One question from its jobs to its last byte: streamed as things happen, or whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use puna::Tenant;
use puna_wire::{Ask, Encode, Event, Finish, Frames, Identity, Kind, Parts, Problem, Reply, Usage};
use serde_json::Value;
use tokio::time::{Sleep, sleep, timeout};

use crate::app::App;
use crate::aside::aside;
use crate::asked::Asked;
use crate::ear::{Made, problem_of};
use crate::heard::{Heard, Hearer, Teller, hearing};
use crate::models::Loaded;
use crate::prompt::{Common, Prepared, prepare};
use crate::reply::{self, Family};
use crate::stable_heads::stabilise;

/// What streams of events are.
pub(crate) const EVENTS: &str = "text/event-stream";

/// All answers to a question, once they are over.
pub(crate) struct Answered {
    pub reply: Reply,
    pub parts: Parts,
}

/// Answers while they are made.
pub(crate) struct Answering {
    app: Arc<App>,
    /// Keeps the model in memory.
    loaded: Arc<Loaded>,
    hearer: Hearer,
    family: Family,
    pub identity: Identity,
    /// Until the answer is told.
    pub prompts: Vec<Vec<u32>>,
    /// Tokens of all of them.
    pub n_prompt: usize,
    made: Made,
    /// Answers to each prompt.
    n: usize,
    /// Answers that are not over.
    n_left: usize,
    usage: Usage,
    start: Instant,
    finish: Option<Finish>,
}

/// Who asks, and since when.
struct Asker {
    tenant: Tenant,
    family: Family,
    start: Instant,
    priority: i32,
}

/// What happens next.
enum Next {
    Event(Event),
    Quiet,
    Over,
    Failed(Problem),
}

impl Answering {
    /// Gives a question to the engine, and waits until something happens, so that what is refused has a status of its own.
    ///
    /// Many may wait, for long: nobody keeps the request meanwhile, nor the future that makes its prompt.
    pub fn begin(asked: Asked, ask: Ask) -> impl Future<Output = Result<Box<Answering>, Problem>> + Send {
        let Asked { app, tenant, family, start, priority, .. } = asked;
        let submitting = Box::pin(Answering::submit(app, Asker { tenant, family, start, priority }, ask));
        async move {
            let mut answering = submitting.await?;
            if answering.n_left == 0 {
                return Ok(answering);
            }
            // Where it takes long, a stream begins, and comments keep its client.
            let first = timeout(answering.app.options.keep_alive, answering.hearer.hear()).await;
            let Ok(first) = first else { return Ok(answering) };
            if let Heard::Over(_, result) = &first
                && let Err(error) = &**result
            {
                return Err(answering.family.words(problem_of(error)));
            }
            answering.hearer.put_back(first);
            Ok(answering)
        }
    }

    /// Gives a question to the engine.
    async fn submit(app: Arc<App>, asker: Asker, mut ask: Ask) -> Result<Box<Answering>, Problem> {
        let stable_heads = if app.options.stable_heads { stabilise(&mut ask) } else { 0 };
        let loading = Instant::now();
        let loaded = app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
        let load_time = loading.elapsed();
        let Asker { mut tenant, family, start, priority } = asker;
        if let Some(user) = &ask.tenant {
            tenant.0.push(0);
            tenant.0.extend_from_slice(user.as_bytes());
        }
        let model = ask.model.clone().unwrap_or_else(|| loaded.name.clone());
        let n = ask.n.max(1);
        let identity = Identity { id: app.names.next(), created: crate::identity::seconds(), model };
        let ask = loaded.own.complete(ask);
        let (teller, hearer) = hearing();
        // What goes behind everybody else's may wait for long.
        let time = if priority > 0 { app.options.batch_time } else { app.options.max_time };
        let common = Common {
            tenant,
            priority,
            deadline: loaded.worker.now() + time,
            context: loaded.own.context().filter(|_| ask.context.is_none()),
            max_tokens: app.options.max_tokens,
            names: app.names.clone(),
        };
        let Prepared { jobs, prompts, made } = prepared(loaded.clone(), ask, common, teller).await?;
        let n_left = jobs.len();
        jobs.into_iter().for_each(|job| loaded.worker.submit(job));
        let usage = Usage { load_ns: nanoseconds(load_time), stable_heads, ..Usage::default() };
        Ok(Box::new(Answering {
            family,
            start,
            app,
            loaded,
            hearer,
            identity,
            n_prompt: prompts.iter().map(Vec::len).sum(),
            prompts,
            made,
            n,
            n_left,
            usage,
            finish: None,
        }))
    }

    /// The ids of the first answer, once it is over.
    pub fn made(&self) -> Made {
        self.made.clone()
    }

    /// What something means that was heard.
    fn understand(&mut self, heard: Heard) -> Next {
        match heard {
            Heard::Read => Next::Quiet,
            Heard::Event(event) => {
                if let Event::End { finish, .. } = &event {
                    self.finish = Some(finish.clone());
                }
                Next::Event(event)
            }
            Heard::Over(choice, result) => match *result {
                Ok(usage) => {
                    self.n_left -= 1;
                    self.add(choice, &usage);
                    if self.n_left == 0 { Next::Over } else { Next::Quiet }
                }
                Err(error) => Next::Failed(self.family.words(problem_of(&error))),
            },
            Heard::Lost => Next::Failed(Problem::new(Kind::Internal, "the engine failed; ask again")),
        }
    }

    async fn next(&mut self) -> Next {
        if self.n_left == 0 {
            return Next::Over;
        }
        let heard = self.hearer.hear().await;
        self.understand(heard)
    }

    fn add(&mut self, choice: usize, usage: &Usage) {
        let own = &mut self.usage;
        // Of several answers to a prompt the first tells what was known before.
        if choice.is_multiple_of(self.n) {
            own.cached += usage.cached;
        }
        if choice == 0 {
            own.left_at = usage.left_at;
        }
        own.prompt_ns = own.prompt_ns.max(usage.prompt_ns);
        own.completion += usage.completion;
        own.completion_ns = own.completion_ns.max(usage.completion_ns);
        own.prompt = self.n_prompt;
        own.total_ns = nanoseconds(self.start.elapsed());
    }

    /// Says in log and metrics that it is over.
    fn note_end(&self) {
        let reason = match &self.finish {
            Some(Finish::Stop | Finish::StopString(_)) => "stop",
            Some(Finish::Length) => "length",
            Some(Finish::Calls) => "tool_calls",
            Some(Finish::Filtered) => "content_filter",
            None => "abort",
        };
        self.app.metrics.answered(&self.loaded.name, &self.usage, reason);
        if self.app.options.log {
            crate::log::answer(&self.identity.id, &self.loaded.name, &self.usage, reason);
        }
    }

    /// All of it.
    pub async fn whole(mut self: Box<Self>) -> Result<(Answered, Identity), Problem> {
        let (mut reply, mut parts) = (Reply::default(), Parts::default());
        loop {
            match self.next().await {
                Next::Event(event) => {
                    parts.push(&event);
                    reply.push(event);
                }
                Next::Quiet => {}
                Next::Over => break,
                Next::Failed(problem) => return Err(problem),
            }
        }
        self.note_end();
        reply.usage = self.usage.clone();
        Ok((Answered { reply, parts }, self.identity.clone()))
    }

    /// A body that says things as they happen. `at_end` is told all of them.
    pub fn stream(
        mut self: Box<Self>,
        encoder: Box<dyn Encode>,
        content_type: &'static str,
        at_end: impl FnOnce(&Parts, &Usage) + Send + 'static,
    ) -> Response {
        self.prompts = Vec::new();
        let pieces = Streaming {
            silence: Box::pin(sleep(self.app.options.keep_alive)),
            answering: self,
            encoder,
            frames: Frames::default(),
            parts: Parts::default(),
            at_end: Some(Box::new(at_end)),
            is_begun: false,
            is_over: false,
            last_sent: Instant::now(),
        };
        streamed(content_type, Body::from_stream(pieces))
    }
}

/// What is sent while it is made. Proxies that gather answers would spoil it.
pub(crate) fn streamed(content_type: &'static str, body: Body) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")];
    (headers, [("x-accel-buffering", "no")], body).into_response()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Prompts are made where a long one holds up nobody.
async fn prepared(
    loaded: Arc<Loaded>,
    ask: Ask,
    common: Common,
    teller: Teller,
) -> Result<Prepared, Problem> {
    aside(move || prepare(&loaded, &ask, &common, &teller)).await
}

type AtEnd = Box<dyn FnOnce(&Parts, &Usage) + Send>;

/// A stream, between two pieces.
struct Streaming {
    answering: Box<Answering>,
    encoder: Box<dyn Encode>,
    frames: Frames,
    parts: Parts,
    at_end: Option<AtEnd>,
    is_begun: bool,
    is_over: bool,
    last_sent: Instant,
    /// Ends when nothing was sent for too long; it may end sooner.
    silence: Pin<Box<Sleep>>,
}

/// Pieces are all that has happened since the last one.
impl Stream for Streaming {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        if !this.is_begun {
            this.is_begun = true;
            this.encoder.begin(&mut this.frames);
        }
        if this.answering.n_left == 0 {
            this.say(Next::Over);
        }
        while !this.is_over {
            if !this.frames.is_empty() {
                // What else has happened goes along.
                let Some(heard) = this.answering.hearer.try_hear() else { break };
                this.hear(heard);
            } else if let Poll::Ready(heard) = this.answering.hearer.poll_hear(context) {
                this.hear(heard);
            } else if this.is_silent(context) {
                this.encoder.keep_alive(&mut this.frames);
            } else {
                return Poll::Pending;
            }
        }
        this.last_sent = Instant::now();
        Poll::Ready(Some(Ok(this.frames.take().into())))
    }
}

impl Streaming {
    /// Whether nothing was sent for so long that a comment must say that it goes on. The task is woken when that is so.
    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        while self.silence.as_mut().poll(context).is_ready() {
            let keep_alive = self.answering.app.options.keep_alive;
            // It is not set with each piece: that would take longer than what is sent.
            let now = Instant::now();
            let end = self.last_sent + keep_alive;
            let is_over = end <= now;
            let next = if is_over { now + keep_alive } else { end };
            self.silence.as_mut().reset(next.into());
            if is_over {
                return true;
            }
        }
        false
    }

    fn hear(&mut self, heard: Heard) {
        let next = self.answering.understand(heard);
        self.say(next);
    }

    fn say(&mut self, next: Next) {
        match next {
            Next::Event(event) => {
                self.parts.push(&event);
                self.encoder.counted(&self.answering.usage);
                self.encoder.event(&event, &mut self.frames);
            }
            Next::Quiet => {}
            Next::Over => {
                self.is_over = true;
                self.answering.note_end();
                self.encoder.end(&self.answering.usage, &mut self.frames);
                if let Some(at_end) = self.at_end.take() {
                    at_end(&self.parts, &self.answering.usage);
                }
            }
            Next::Failed(problem) => {
                self.is_over = true;
                self.encoder.fail(&problem, &mut self.frames);
            }
        }
    }
}

/// A body of JSON.
pub(crate) fn json(value: &Value) -> Response {
    reply::json(200, value)
}
