//! Figures for Prometheus, under vLLM's names where they mean the same: dashboards and scalers know them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use puna_wire::Usage;

use crate::models::{Models, State};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    model_name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Finished {
    model_name: String,
    finished_reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    handler: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SleepState {
    model_name: String,
    sleep_state: &'static str,
}

const SLEEP_STATES: [(&str, State); 3] =
    [("awake", State::Awake), ("weights_offloaded", State::Asleep), ("discard_all", State::Unloaded)];

type Gauges = Family<OfModel, Gauge>;
type Times = Family<OfModel, Histogram>;

/// Why answers end.
const FINISHED: [&str; 5] = ["stop", "length", "tool_calls", "content_filter", "abort"];

/// All of them.
pub(crate) struct Metrics {
    registry: Registry,
    /// Models that figures were told of.
    names: Mutex<HashSet<String>>,
    answered: Mutex<HashMap<String, Answered>>,
    requests: Family<Request, Counter>,
    finished: Family<Finished, Counter>,
    prompt_tokens: Family<OfModel, Counter>,
    cached_tokens: Family<OfModel, Counter>,
    made_tokens: Family<OfModel, Counter>,
    guessed_tokens: Gauges,
    proposed_tokens: Gauges,
    preemptions: Gauges,
    first_token: Times,
    between_tokens: Times,
    whole: Times,
    running: Gauges,
    waiting: Gauges,
    cache_usage: Family<OfModel, Gauge<f64, AtomicU64>>,
    sleep_state: Family<SleepState, Gauge>,
}

/// Tokens of a model's prompts, of those that were known, and of its answers.
pub(crate) struct Tokens {
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
}

/// How long a model's answers took. Histograms do not tell their sums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    pub answers: u64,
    /// Of all answers together.
    first_token_s: f64,
    /// Between the first and the last token of all answers together, and how many tokens came after a first one.
    after_first_s: f64,
    after_first: u64,
}

impl Answered {
    /// Seconds from a request to its first token: the mean, if anything was answered.
    pub fn time_to_first_token(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.first_token_s / self.answers as f64)
    }

    /// Seconds from a token to the next: the mean.
    pub fn time_between_tokens(&self) -> Option<f64> {
        (self.after_first > 0).then(|| self.after_first_s / self.after_first as f64)
    }
}

fn times() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0])
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        Metrics {
            requests: register!("http_requests", "Requests", Family::default()),
            finished: register!("vllm:request_success", "Answers that ended", Family::default()),
            prompt_tokens: register!("vllm:prompt_tokens", "Tokens of prompts", Family::default()),
            cached_tokens: register!(
                "vllm:prompt_tokens_cached",
                "Tokens of prompts that were known",
                Family::default()
            ),
            made_tokens: register!("vllm:generation_tokens", "Tokens made", Family::default()),
            guessed_tokens: register!("puna:guessed_tokens", "Tokens guessed rightly", Family::default()),
            proposed_tokens: register!("puna:proposed_tokens", "Tokens guessed", Family::default()),
            preemptions: register!(
                "vllm:num_preemptions",
                "Sequences that gave up their memory",
                Family::default()
            ),
            first_token: register!(
                "vllm:time_to_first_token_seconds",
                "From a request to its first token",
                Times::new_with_constructor(times as fn() -> Histogram)
            ),
            between_tokens: register!(
                "vllm:inter_token_latency_seconds",
                "From a token to the next, the mean of each answer",
                Times::new_with_constructor(times as fn() -> Histogram)
            ),
            whole: register!(
                "vllm:e2e_request_latency_seconds",
                "From a request to its end",
                Times::new_with_constructor(times as fn() -> Histogram)
            ),
            running: register!("vllm:num_requests_running", "Answers being made", Family::default()),
            waiting: register!("vllm:num_requests_waiting", "Answers that wait", Family::default()),
            cache_usage: register!(
                "vllm:kv_cache_usage_perc",
                "Share of the cache in use, of 1",
                Family::default()
            ),
            sleep_state: register!(
                "vllm:engine_sleep_state",
                "1 for what a model is: awake; weights_offloaded, asleep with its keys and values; discard_all, unloaded",
                Family::default()
            ),
            names: Mutex::default(),
            answered: Mutex::default(),
            registry,
        }
    }

    /// Forgets models that are served no more: clients may create any number, one after another.
    pub fn forget_others(&self, models: &Models) {
        let known: HashSet<String> = models.all().iter().map(|served| served.about.name.clone()).collect();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names.difference(&known) {
            let of = OfModel { model_name: name.clone() };
            for gauges in
                [&self.running, &self.waiting, &self.preemptions, &self.proposed_tokens, &self.guessed_tokens]
            {
                gauges.remove(&of);
            }
            for counts in [&self.prompt_tokens, &self.cached_tokens, &self.made_tokens] {
                counts.remove(&of);
            }
            for times in [&self.first_token, &self.between_tokens, &self.whole] {
                times.remove(&of);
            }
            self.cache_usage.remove(&of);
            for finished_reason in FINISHED {
                self.finished.remove(&Finished { model_name: name.clone(), finished_reason });
            }
            for (sleep_state, _) in SLEEP_STATES {
                self.sleep_state.remove(&SleepState { model_name: name.clone(), sleep_state });
            }
        }
        self.all_answered().retain(|name, _| known.contains(name));
        *names = known;
    }

    /// A request was answered.
    pub fn request(&self, handler: &str, method: &str, status: u16) {
        let labels = Request { handler: handler.to_owned(), method: method.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
    }

    /// All answers to a question are over.
    pub fn answered(&self, model: &str, usage: &Usage, finished_reason: &'static str) {
        let of = OfModel { model_name: model.to_owned() };
        self.finished.get_or_create(&Finished { model_name: model.to_owned(), finished_reason }).inc();
        self.prompt_tokens.get_or_create(&of).inc_by(usage.prompt as u64);
        self.cached_tokens.get_or_create(&of).inc_by(usage.cached as u64);
        self.made_tokens.get_or_create(&of).inc_by(usage.completion as u64);
        let seconds = |ns: u64| ns as f64 / 1e9;
        self.first_token
            .get_or_create(&of)
            .observe(seconds(usage.total_ns.saturating_sub(usage.completion_ns)));
        self.whole.get_or_create(&of).observe(seconds(usage.total_ns));
        if usage.completion > 1 {
            let mean = seconds(usage.completion_ns) / (usage.completion - 1) as f64;
            self.between_tokens.get_or_create(&of).observe(mean);
        }
        let mut all = self.all_answered();
        let answered = all.entry(model.to_owned()).or_default();
        answered.answers += 1;
        answered.first_token_s += seconds(usage.total_ns.saturating_sub(usage.completion_ns));
        if usage.completion > 1 {
            answered.after_first += usage.completion as u64 - 1;
            answered.after_first_s += seconds(usage.completion_ns);
        }
    }

    /// A model's tokens since the server started.
    pub fn tokens_of(&self, model: &str) -> Tokens {
        let of = OfModel { model_name: model.to_owned() };
        let count = |counts: &Family<OfModel, Counter>| counts.get(&of).map_or(0, |count| count.get());
        Tokens {
            prompt: count(&self.prompt_tokens),
            cached: count(&self.cached_tokens),
            completion: count(&self.made_tokens),
        }
    }

    /// What was answered by a model since the server started.
    pub fn answered_by(&self, model: &str) -> Answered {
        self.all_answered().get(model).copied().unwrap_or_default()
    }

    fn all_answered(&self) -> MutexGuard<'_, HashMap<String, Answered>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, and how things are now.
    pub fn text(&self, models: &Models) -> String {
        self.forget_others(models);
        for (name, own) in models.states() {
            for (sleep_state, state) in SLEEP_STATES {
                let of = SleepState { model_name: name.clone(), sleep_state };
                self.sleep_state.get_or_create(&of).set(i64::from(own == state));
            }
        }
        for (name, loaded) in models.in_memory() {
            let of = OfModel { model_name: name };
            let counts = loaded.worker.counts();
            self.running.get_or_create(&of).set(counts.running as i64);
            self.waiting.get_or_create(&of).set(counts.waiting as i64);
            self.preemptions.get_or_create(&of).set(counts.preemptions as i64);
            self.proposed_tokens.get_or_create(&of).set(counts.proposed_tokens as i64);
            self.guessed_tokens.get_or_create(&of).set(counts.guessed_tokens as i64);
            self.cache_usage.get_or_create(&of).set(loaded.cache_used());
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(), // Writing to a string does not fail.
        }
    }
}
