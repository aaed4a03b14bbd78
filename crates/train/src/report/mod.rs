//! A run on one page: an HTML file with its curves, settings and samples, which needs nothing else and runs nothing.
//!
//! It is made of `metrics.jsonl` alone and of facts in words, so it can be made again. Colours follow the reader's
//! choice of light or dark.

mod chart;

use serde_json::Value;

use chart::{Chart, Curve};

/// What the page says besides its curves.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The model's name.
    pub name: String,
    /// The first line: what it is.
    pub about: String,
    /// Facts of the run: what and how much.
    pub facts: Vec<(String, String)>,
    /// Settings: key and value.
    pub settings: Vec<(String, String)>,
}

impl Report {
    /// The page for a run with these metrics.
    pub fn page(&self, metrics: &[Value]) -> String {
        let mut body = String::new();
        body += &format!("<h1>{}</h1>\n<p>{}</p>\n", escape(&self.name), escape(&self.about));
        body += &table("facts", &self.facts);
        body += "<section class=\"charts\">\n";
        charts(metrics).iter().for_each(|chart| body += &chart.svg());
        body += "</section>\n";
        body += &samples(metrics);
        body += &notes(metrics);
        body += &format!("<h2>Settings</h2>\n{}", table("settings", &self.settings));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
            escape(&self.name)
        )
    }
}

fn curve(metrics: &[Value], key: &str, name: &'static str) -> Curve {
    let points = metrics.iter().filter_map(|line| Some((line["step"].as_f64()?, line[key].as_f64()?)));
    Curve { name, points: points.collect() }
}

fn charts(metrics: &[Value]) -> Vec<Chart> {
    let chart = |title, curves: Vec<Curve>| Chart { title, curves };
    let all = vec![
        chart(
            "Loss, nats per token",
            vec![curve(metrics, "loss", "training"), curve(metrics, "valid_loss", "validation")],
        ),
        chart(
            "Bits per byte",
            vec![
                curve(metrics, "bits_per_byte", "training"),
                curve(metrics, "valid_bits_per_byte", "validation"),
            ],
        ),
        chart("Gradient norm", vec![curve(metrics, "grad_norm", "before clipping")]),
        chart("Learning rate", vec![curve(metrics, "lr", "learning rate")]),
        chart("Tokens a second", vec![curve(metrics, "tokens_per_s", "tokens a second")]),
    ];
    all.into_iter().filter(|chart| chart.curves.iter().any(|curve| !curve.points.is_empty())).collect()
}

/// The last samples first, one page of text for each step.
fn samples(metrics: &[Value]) -> String {
    let mut out = String::new();
    let mut last = None;
    for line in metrics.iter().rev().filter(|line| line["text"].is_string()) {
        let (prompt, text) = (line["prompt"].as_str().unwrap_or(""), line["text"].as_str().unwrap_or(""));
        let step = line["step"].as_u64().unwrap_or(0);
        if last != Some(step) {
            out += &format!("<h3>Step {step}</h3>\n");
            last = Some(step);
        }
        out += &format!("<blockquote><b>{}</b>{}</blockquote>\n", escape(prompt), escape(text));
    }
    if out.is_empty() { out } else { format!("<h2>Samples</h2>\n{out}") }
}

fn notes(metrics: &[Value]) -> String {
    let notes = metrics.iter().filter_map(|line| line["note"].as_str());
    let items: String = notes.map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    if items.is_empty() { items } else { format!("<h2>What happened</h2>\n<ul>\n{items}</ul>\n") }
}

fn table(class: &str, rows: &[(String, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(what, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(what), escape(value)))
        .collect();
    format!("<table class=\"{class}\">\n{rows}</table>\n")
}

/// Text that is shown as it is, whatever it holds.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2328; --faint: #6b7280; --line: #d9dde3; --paper: #ffffff; --card: #f6f7f9;
  --first: #2563eb; --second: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --faint: #9aa2ad; --line: #363c45; --paper: #14171b;
  --card: #1d2127; --first: #7aa7ff; --second: #ffa066; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem; margin: 0 auto;
  padding: 1.5rem; }
h1 { margin: 0; } h2 { margin: 2rem 0 .5rem; } h3 { margin: 1rem 0 .25rem; font-size: 1rem; color: var(--faint); }
table { border-collapse: collapse; } th { text-align: left; font-weight: normal; color: var(--faint); padding: .1rem 1.5rem .1rem 0;
  vertical-align: top; } td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.settings { font-size: .875rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; margin-top: 1.5rem; }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .75rem; } figcaption { font-weight: 600; }
.key { color: var(--faint); font-weight: normal; font-size: .875rem; } .key b { margin-left: .75rem; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif; fill: var(--faint); }
.grid { stroke: var(--line); stroke-width: 1; } .curve { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
.c0 { stroke: var(--first); } .c1 { stroke: var(--second); } b.c0 { color: var(--first); } b.c1 { color: var(--second); }
blockquote { margin: .25rem 0; padding: .5rem .75rem; background: var(--card); border-radius: .5rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_holds_all_and_runs_nothing() {
        let mut metrics: Vec<Value> =
            (1..=3000).map(|step| json!({"step": step, "loss": 5.0 / f64::from(step), "lr": 1e-3})).collect();
        metrics.push(json!({"step": 3000, "valid_loss": 2.0}));
        metrics.push(json!({"step": 3000, "prompt": "<script>alert(1)</script>", "text": "a & b"}));
        metrics.push(json!({"step": 3000, "note": "a batch was passed over"}));
        let report = Report {
            name: "a <b> name".into(),
            facts: vec![("steps".into(), "3,000".into())],
            ..Report::default()
        };
        let page = report.page(&metrics);
        assert!(
            !page.contains("<script")
                && page.contains("&lt;script&gt;alert(1)")
                && page.contains("a &amp; b")
        );
        assert!(page.contains("a &lt;b&gt; name") && page.contains("a batch was passed over"));
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.len() < 60_000, "{}", page.len());
        assert!(!Report::default().page(&[]).contains("<svg"));
    }
}
