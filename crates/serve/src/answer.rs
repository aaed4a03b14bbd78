//! One question from its jobs to its last byte: streamed as things happen, or whole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use puna::Tenant;
use puna_wire::{Ask, Encode, Event, Finish, Frames, Identity, Kind, Parts, Problem, Reply, Usage};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::app::App;
use crate::asked::Asked;
use crate::ear::{Backlog, Heard, Made, problem_of};
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
    receiver: UnboundedReceiver<Heard>,
    family: Family,
    pub identity: Identity,
    pub prompts: Vec<Vec<u32>>,
    made: Made,
    backlog: Backlog,
    /// Answers to each prompt.
    n: usize,
    /// Answers that are not over.
    n_left: usize,
    usage: Usage,
    start: Instant,
    finish: Option<Finish>,
    /// What was heard before anybody listened.
    early: VecDeque<Heard>,
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
    pub async fn begin(asked: &Asked, mut ask: Ask) -> Result<Answering, Problem> {
        let app = asked.app.clone();
        let stable_heads = if app.options.stable_heads { stabilise(&mut ask) } else { 0 };
        let loading = Instant::now();
        let loaded = app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
        let load_time = loading.elapsed();
        let mut tenant = asked.tenant.clone();
        if let Some(user) = &ask.tenant {
            tenant.0.push(0);
            tenant.0.extend_from_slice(user.as_bytes());
        }
        let model = ask.model.clone().unwrap_or_else(|| loaded.name.clone());
        let n = ask.n.max(1);
        let identity = Identity { id: app.names.next(), created: crate::identity::seconds(), model };
        let ask = loaded.own.complete(ask);
        let (sender, receiver) = unbounded_channel();
        let Prepared { jobs, prompts, made, backlog } = prepared(asked, &loaded, ask, tenant, sender).await?;
        let n_left = jobs.len();
        jobs.into_iter().for_each(|job| loaded.worker.submit(job));
        let usage = Usage { load_ns: nanoseconds(load_time), stable_heads, ..Usage::default() };
        let mut answering = Answering {
            family: asked.family,
            start: asked.start,
            app,
            loaded,
            receiver,
            identity,
            prompts,
            made,
            backlog,
            n,
            n_left,
            usage,
            finish: None,
            early: VecDeque::new(),
        };
        // Where it takes long, a stream begins, and comments keep its client.
        if let Ok(first) = timeout(answering.app.options.keep_alive, answering.receiver.recv()).await {
            if let Some(Heard::Over(_, Err(error))) = &first {
                return Err(answering.family.words(problem_of(error)));
            }
            answering.early.extend(first);
        }
        Ok(answering)
    }

    /// The ids of the first answer, once it is over.
    pub fn made(&self) -> Made {
        self.made.clone()
    }

    async fn next(&mut self) -> Next {
        if self.n_left == 0 {
            return Next::Over;
        }
        let heard = match self.early.pop_front() {
            Some(heard) => Some(heard),
            None => match timeout(self.app.options.keep_alive, self.receiver.recv()).await {
                Ok(heard) => heard,
                Err(_) => return Next::Quiet,
            },
        };
        if heard.is_some() {
            self.backlog.heard();
        }
        match heard {
            Some(Heard::Read) => Next::Quiet,
            Some(Heard::Event(event)) => {
                if let Event::End { finish, .. } = &event {
                    self.finish = Some(finish.clone());
                }
                Next::Event(event)
            }
            Some(Heard::Over(choice, Ok(usage))) => {
                self.n_left -= 1;
                self.add(choice, &usage);
                if self.n_left == 0 { Next::Over } else { Next::Quiet }
            }
            Some(Heard::Over(_, Err(error))) => Next::Failed(self.family.words(problem_of(&error))),
            Some(Heard::Lost) | None => {
                Next::Failed(Problem::new(Kind::Internal, "the engine failed; ask again"))
            }
        }
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
        own.prompt = self.prompts.iter().map(Vec::len).sum();
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
    pub async fn whole(mut self) -> Result<(Answered, Identity), Problem> {
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
        self,
        encoder: Box<dyn Encode>,
        content_type: &'static str,
        at_end: impl FnOnce(&Parts, &Usage) + Send + 'static,
    ) -> Response {
        let state = Streaming {
            answering: self,
            encoder,
            frames: Frames::default(),
            parts: Parts::default(),
            at_end: Some(Box::new(at_end)),
            is_begun: false,
            is_over: false,
            last_sent: Instant::now(),
        };
        let pieces = futures_util::stream::unfold(state, |mut state| async move {
            let bytes = state.piece().await?;
            Some((Ok::<Bytes, Infallible>(bytes), state))
        });
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")];
        // Proxies that gather answers would spoil them.
        (headers, [("x-accel-buffering", "no")], Body::from_stream(pieces)).into_response()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Prompts are made where a long one holds up nobody.
async fn prepared(
    asked: &Asked,
    loaded: &Arc<Loaded>,
    ask: Ask,
    tenant: Tenant,
    sender: tokio::sync::mpsc::UnboundedSender<Heard>,
) -> Result<Prepared, Problem> {
    let app = &asked.app;
    // What goes behind everybody else's may wait for long.
    let time = if asked.priority > 0 { app.options.batch_time } else { app.options.max_time };
    let common = Common {
        tenant,
        priority: asked.priority,
        deadline: loaded.worker.now() + time,
        context: loaded.own.context().filter(|_| ask.context.is_none()),
        max_tokens: app.options.max_tokens,
        names: app.names.clone(),
    };
    let loaded = loaded.clone();
    let preparing = tokio::task::spawn_blocking(move || prepare(&loaded, &ask, &common, &sender));
    preparing.await.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "making the prompt failed")))
}

type AtEnd = Box<dyn FnOnce(&Parts, &Usage) + Send>;

/// A stream, between two pieces.
struct Streaming {
    answering: Answering,
    encoder: Box<dyn Encode>,
    frames: Frames,
    parts: Parts,
    at_end: Option<AtEnd>,
    is_begun: bool,
    is_over: bool,
    last_sent: Instant,
}

impl Streaming {
    /// The next bytes: all that has happened. `None` after the end.
    async fn piece(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.is_begun {
            self.is_begun = true;
            self.encoder.begin(&mut self.frames);
        }
        while self.frames.is_empty() && !self.is_over {
            let next = self.answering.next().await;
            self.say(next);
        }
        // What else has happened goes along.
        while !self.is_over && (!self.answering.early.is_empty() || !self.answering.receiver.is_empty()) {
            let next = self.answering.next().await;
            self.say(next);
        }
        self.last_sent = Instant::now();
        Some(self.frames.take().into())
    }

    fn say(&mut self, next: Next) {
        match next {
            Next::Event(event) => {
                self.parts.push(&event);
                self.encoder.counted(&self.answering.usage);
                self.encoder.event(&event, &mut self.frames);
            }
            Next::Quiet => {
                if self.last_sent.elapsed() >= self.answering.app.options.keep_alive {
                    self.encoder.keep_alive(&mut self.frames);
                }
            }
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
