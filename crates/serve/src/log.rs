//! One line of JSON for each request: what, how long, how many tokens; nothing of its content.

use std::time::Duration;

use puna_wire::Usage;
use serde_json::json;

/// What is said of a request.
#[derive(Debug, Default)]
pub(crate) struct Line<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub time: Duration,
}

/// Says it on standard error.
pub(crate) fn request(line: &Line) {
    let Line { id, method, path, status, time } = line;
    let ms = time.as_secs_f64() * 1e3;
    say(
        &json!({"time": crate::identity::seconds(), "event": "request", "id": id, "method": method, "path": path,
        "status": status, "ms": (ms * 10.0).round() / 10.0}),
    );
}

/// Says how an answer ended.
pub(crate) fn answer(id: &str, model: &str, usage: &Usage, finish: &str) {
    let ms = |ns: u64| (ns as f64 / 1e5).round() / 10.0;
    let mut line = json!({"time": crate::identity::seconds(), "event": "answer", "id": id, "model": model,
        "finish": finish, "prompt": usage.prompt, "cached": usage.cached, "left_at": usage.left_at,
        "made": usage.completion, "prompt_ms": ms(usage.prompt_ns), "made_ms": ms(usage.completion_ns)});
    if usage.stable_heads > 0 {
        line["stable_heads"] = usage.stable_heads.into();
    }
    say(&line);
}

/// Says that a model is loaded or woken (`awake`), `asleep` or `unloaded`.
pub(crate) fn model(name: &str, state: &str) {
    say(&json!({"time": crate::identity::seconds(), "event": "model", "model": name, "state": state}));
}

fn say(value: &serde_json::Value) {
    // Where nobody reads it, it is lost.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{value}");
}
