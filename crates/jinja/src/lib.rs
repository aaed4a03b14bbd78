//! Chat templates: Jinja as transformers runs it, bounded, each character of the result knowing who wrote it.
//!
//! A template comes with a model, from anybody. Nothing it says can take more than its [`Limits`]: the depth
//! of its text and of its values, the steps it takes, and the bytes of everything it makes are bounded before
//! and while they happen, on a stack whose size is known. It can reach nothing but its input.
//!
//! Jinja is what transformers makes of Jinja2: `trim_blocks` and `lstrip_blocks`, loop controls,
//! `{% generation %}`, `tojson` as `json.dumps` writes it, `raise_exception`, `strftime_now`, Python's string
//! methods, lists and dictionaries that do not change.
//!
//! Known to differ: integers beyond 128 bits and roots of negative numbers are errors. What `escape` and `safe`
//! give is a string like any other, so that `+` and a second `escape` escape it as one. Views of a dictionary
//! and ranges are lists, arguments of Python's methods may have names. Where a loop, a macro or a block reads a
//! name that the body around it sets only later, it gets the caller's variable, not an undefined one.
//!
//! ```
//! use puna_jinja::{Limits, Mark, Template};
//!
//! let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}";
//! let template = Template::new(source, Limits::default())?;
//! let messages = serde_json::json!([{"role": "user", "content": " <user> "}]);
//! let output = template.render(&[("messages", (&messages).into())], std::time::SystemTime::now())?;
//! assert_eq!(output.text, "<user><user>");
//! // Who wrote which of them is known.
//! let written: Vec<(&str, bool)> = output.runs().map(|(text, mark)| (text, mark.is_input)).collect();
//! assert_eq!(written, [("<", false), ("user", true), (">", false), ("<user>", true)]);
//! # Ok::<(), puna_jinja::Error>(())
//! ```

#![forbid(unsafe_code)]

mod ast;
mod checks;
mod date;
mod error;
mod eval;
mod filters;
mod format;
mod globals;
mod input;
mod lexer;
mod limits;
mod methods;
mod operators;
mod parser;
mod print;
mod render;
mod scoping;
mod text;
mod value;

use std::time::SystemTime;

pub use date::strftime;
pub use error::Error;
pub use input::{Input, Rows};
pub use limits::Limits;
pub use print::float_repr;
pub use text::Mark;

use render::Renderer;
use text::Run;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    parsed: parser::Parsed,
    limits: Limits,
}

/// Levels of statements, expressions and calls within each other on the caller's stack. Usual templates need
/// less than half of them.
const SHALLOW: usize = 60;

/// The same on a stack of our own.
const DEEP: usize = 1500;

/// Bytes of that stack: several times what so many levels take without optimisation.
const STACK_BYTES: usize = 64 << 20;

/// Steps for each row of the input, beside [`Limits::steps`].
const STEPS_PER_ROW: u64 = 500;

impl Template {
    /// Parses a template.
    pub fn new(source: &str, limits: Limits) -> Result<Template, Error> {
        if source.len() > limits.template_bytes {
            let (n, most) = (source.len(), limits.template_bytes);
            return Err(Error::Limit(format!("its text has {n} bytes, at most {most} are read")));
        }
        Ok(Template { parsed: parser::parse(source)?, limits })
    }

    /// What the template prints with these variables, at the time `now`.
    pub fn render(&self, variables: &[(&str, Input)], now: SystemTime) -> Result<Output, Error> {
        match self.render_within(variables, now, SHALLOW) {
            // Nothing has happened yet that could not happen again.
            Err(Error::Deep(_)) => std::thread::scope(|scope| {
                let run = || self.render_within(variables, now, DEEP);
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
                let thread =
                    thread.map_err(|error| Error::failed(format!("no thread to run it on: {error}")))?;
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
            done => done,
        }
    }

    fn render_within(
        &self,
        variables: &[(&str, Input)],
        now: SystemTime,
        max_depth: usize,
    ) -> Result<Output, Error> {
        let n_rows: usize = variables.iter().map(|(_, input)| input.n_rows()).sum();
        let steps = self.limits.steps.saturating_add(STEPS_PER_ROW.saturating_mul(n_rows as u64));
        let renderer = Renderer::new(&self.parsed.names, Limits { steps, ..self.limits }, now, max_depth)?;
        let out = renderer.render(&self.parsed.body, |renderer| {
            let mut values = Vec::with_capacity(variables.len());
            for (name, input) in variables {
                values.push((*name, input::to_value(&renderer.meter, input)?));
            }
            Ok(values)
        })?;
        let (text, runs) = out.into_parts();
        let (printed_none, printed_container) =
            (renderer.printed_none.get(), renderer.printed_container.get());
        Ok(Output { text, runs, printed_none, printed_container })
    }
}

/// What a template printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The text.
    pub text: String,
    /// Whether `None` was made a text. Hardly any template means to say that.
    pub printed_none: bool,
    /// Whether a list or dictionary was made a text, as Python's `str` does it.
    pub printed_container: bool,
    runs: Vec<Run>,
}

impl Output {
    /// Its stretches in order, neighbours with different marks.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Mark)> {
        let begins = std::iter::once(0).chain(self.runs.iter().map(Run::end));
        begins.zip(&self.runs).map(|(begin, run)| (&self.text[begin..run.end()], run.mark))
    }
}
