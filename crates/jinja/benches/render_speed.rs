//! How long a conversation of ten messages takes to render, in the manner of Llama 3.1's template.
//!
//!     cargo bench -p puna-jinja --bench render_speed

use std::time::{Instant, UNIX_EPOCH};

use puna_jinja::{Input, Limits, Template};
use serde_json::json;

const TEMPLATE: &str = "{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools is not none %}{{- 'Environment: ipython\\n' }}{%- endif %}
{{- system_message }}{{- '<|eot_id|>' }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{\"name\": \"' + call.name + '\", \"parameters\": ' }}{{- call.arguments | tojson }}{{- '}' }}
        {{- '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}";

fn main() {
    let mut messages = vec![json!({"role": "system", "content": "Answer in one sentence, and be kind."})];
    for n in 0..3 {
        messages.extend([
            json!({"role": "user", "content": format!("What is the weather like in city number {n} today?")}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "weather",
                "arguments": {"city": format!("number {n}"), "days": [1, 2, 3], "unit": "C"}}}]}),
            json!({"role": "tool", "content": "{\"temperature\": 21.5, \"sky\": \"clear\"}"}),
        ]);
    }
    let (messages, n) = (json!(messages), 20_000);
    let variables = [
        ("messages", Input::Json(&messages)),
        ("tools", Input::None),
        ("bos_token", Input::Trusted("<|begin_of_text|>")),
        ("add_generation_prompt", Input::Bool(true)),
    ];
    let template = Template::new(TEMPLATE, Limits::default()).unwrap();
    let mut times: Vec<f64> = (0..n)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(template.render(&variables, UNIX_EPOCH).unwrap());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.1} us ({:.1} to {:.1}), {n} renderings", times[n / 2], times[n / 20], times[n - n / 20]);
}
