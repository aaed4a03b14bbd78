//! What is said about an answer: to people with -v, to programs with --json.

use std::io::Write;

use puna::{Generation, Llama, SamplingParams};
use puna_formats::visible_path;
use serde_json::{Value, json};

use crate::units::{self, duration};

/// The object that --json prints.
pub fn json(llama: &Llama, prompt_ids: &[u32], generation: &Generation) -> Value {
    let timings = &generation.timings;
    json!({
        "text": generation.text,
        "ids": generation.ids,
        "prompt_ids": prompt_ids,
        "finish_reason": generation.finish.name(),
        "counts": {
            "prompt": generation.n_prompt,
            "completion": generation.ids.len(),
            "total": generation.n_prompt + generation.ids.len(),
        },
        "seed": generation.seed,
        "timings": {
            "load_s": llama.load_time().as_secs_f64(),
            "first_token_s": timings.first_token.as_secs_f64(),
            "decode_s": timings.decode.as_secs_f64(),
            "prefill_tokens_per_s": timings.prefill_tokens_per_s(),
            "decode_tokens_per_s": timings.decode_tokens_per_s(),
        },
    })
}

/// Prints how an answer of a chat went, on one line of standard error.
pub fn one_line(llama: &Llama, generation: &Generation) {
    let timings = &generation.timings;
    let speed = |speed: Option<f64>| speed.map_or("-".into(), units::measured);
    let line = format!(
        "{} tokens, {} tokens/s; prompt {} tokens, {} known before, first token after {}; context {} of {}; {}; seed {}",
        generation.ids.len(),
        speed(timings.decode_tokens_per_s()),
        generation.n_prompt,
        generation.n_reused,
        duration(timings.first_token),
        generation.n_prompt + generation.ids.len(),
        llama.engine().max_seq_len(),
        generation.finish.name(),
        generation.seed,
    );
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints how it went on standard error.
pub fn verbose(llama: &Llama, is_chat: bool, sampling: &SamplingParams, generation: &Generation) {
    let (cpu, timings) = (llama.engine().cpu(), &generation.timings);
    let speed = |speed: Option<f64>| speed.map_or("-".into(), units::measured);
    let weight_bytes = llama.engine().model().weights.all().iter().map(|w| w.n_bytes() as u64).sum();
    let lines = [
        format!(
            "model    {} ({} parameters), {}",
            visible_path(llama.path()),
            units::count(llama.config().n_params()),
            if is_chat { "chat" } else { "raw text" },
        ),
        format!("machine  {}, {} threads", cpu.isa.name(), cpu.pool.n_threads()),
        format!(
            "memory   weights {}, keys and values {} ({}){}",
            units::bytes(weight_bytes),
            units::bytes(generation.kv_bytes as u64),
            llama.engine().kv_dtype().name().to_lowercase(),
            puna::resident_bytes()
                .map(|n| format!(", resident {}", units::bytes(n as u64)))
                .unwrap_or_default(),
        ),
        format!(
            "prompt   {} tokens, {} of them known before; load {}, first token after {} ({} tokens/s)",
            generation.n_prompt,
            generation.n_reused,
            duration(llama.load_time()),
            duration(timings.first_token),
            speed(timings.prefill_tokens_per_s()),
        ),
        format!(
            "answer   {} tokens in {} ({} tokens/s), ended: {}",
            generation.ids.len(),
            duration(timings.first_token + timings.decode),
            speed(timings.decode_tokens_per_s()),
            generation.finish.name(),
        ),
        format!(
            "sampling temperature {}, top-k {}, top-p {}, min-p {}, seed {}",
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            sampling.seed.unwrap_or(generation.seed),
        ),
    ];
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}
