//! Answers of a given form: JSON, JSON of a schema, what an expression or a grammar says, one of several texts.
//!
//! A form is compiled by llguidance, which then says before each token which ones may come. What is ours: schemas are
//! rewritten so that all they say is enforced, or refused by the keyword and its place (`form/schema.rs`); grammars in
//! llama.cpp's form are translated (`form/gbnf.rs`); numbers and nesting end (`form/bounds.rs`); all ids that end an answer
//! are allowed exactly where the form may end; and what compiling takes is bounded, since forms come from strangers.
//!
//! Two things that a form allows are not written. JSON has no white space but one space behind a comma or colon. The
//! properties of an object that its schema names stand in the order in which it names them, before others.

mod bounds;
mod constraint;
mod disjoint;
mod document;
mod gbnf;
mod schema;
mod token_set;
pub(crate) mod vocabulary;
mod weight;
mod words;

use std::sync::Arc;
use std::thread;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, regex_to_lark};
use puna_engine::Constraint;
use serde_json::{Value, json};

use crate::{Error, Llama, PromptTokens};
use constraint::FormConstraint;
use vocabulary::Vocabulary;
use words::{first_line, lark_string, regex_fact};

/// The most bytes of an expression, of a grammar and of all choices.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The most rules of a grammar. Each may lead to the next, and they are compiled by recursion.
const MAX_RULES: usize = 1000;

/// Memory for the stack that a form is compiled on: about 200 kB for each schema in another, 128 kB for each rule. Only what
/// is used is taken.
const STACK_BYTES: usize = 128 << 20;

/// What an answer may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// An object of JSON.
    Object,
    /// JSON that satisfies a JSON schema.
    ///
    /// ```
    /// use puna::{AnswerOptions, FinishReason, Form, Llama, SamplingParams};
    /// use serde_json::{Value, json};
    ///
    /// let llama = Llama::builtin()?;
    /// let schema = json!({
    ///     "type": "object",
    ///     "properties": {"name": {"enum": ["Tom", "Lily"]}, "age": {"type": "integer", "minimum": 3, "maximum": 9}},
    ///     "required": ["name", "age"],
    ///     "additionalProperties": false,
    /// });
    /// let options = AnswerOptions { form: Some(Form::Schema(schema)), ..AnswerOptions::default() };
    /// let answer = llama.complete_with("The child:", &options)?.finish()?;
    /// let child: Value = serde_json::from_str(&answer.text)?;
    /// assert!((3..=9).contains(&child["age"].as_i64().unwrap_or(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Schema(Value),
    /// What an expression, in the syntax of Rust's `regex` without look-around, matches as a whole.
    Regex(String),
    /// What a grammar of Lark's form says, from its rule `start`.
    Lark(String),
    /// What a grammar of llama.cpp's form (GBNF) says, from its rule `root`.
    Gbnf(String),
    /// One of these texts.
    Choice(Vec<String>),
}

impl Form {
    /// The form of a grammar, Lark's or llama.cpp's, told apart by the `::=` that the latter's rules have.
    pub fn of_grammar(grammar: impl Into<String>) -> Form {
        let grammar = grammar.into();
        if gbnf::is_gbnf(&grammar) { Form::Gbnf(grammar) } else { Form::Lark(grammar) }
    }

    /// What it is, in words.
    fn name(&self) -> &'static str {
        match self {
            Form::Object => "an object of JSON",
            Form::Schema(_) => "the schema",
            Form::Regex(_) => "the expression",
            Form::Lark(_) | Form::Gbnf(_) => "the grammar",
            Form::Choice(_) => "the choices",
        }
    }

    fn is_json(&self) -> bool {
        matches!(self, Form::Object | Form::Schema(_))
    }

    /// Refuses what is too large to be looked at.
    fn check_size(&self) -> Result<(), String> {
        let (n_bytes, max_bytes) = match self {
            Form::Object => (0, 0),
            Form::Schema(schema) => (json_bytes(schema, schema::MAX_SCHEMA_BYTES), schema::MAX_SCHEMA_BYTES),
            Form::Regex(text) | Form::Lark(text) | Form::Gbnf(text) => (text.len(), MAX_TEXT_BYTES),
            Form::Choice(texts) => (texts.iter().map(|text| text.len() + 1).sum(), MAX_TEXT_BYTES),
        };
        match n_bytes > max_bytes {
            true => Err(format!("it has more than {max_bytes} bytes")),
            false => Ok(()),
        }
    }

    /// The same in llguidance's form.
    fn grammar(&self) -> Result<TopLevelGrammar, String> {
        Ok(match self {
            Form::Object => TopLevelGrammar::from_json_schema(with_options(json!({"type": "object"}))),
            Form::Schema(schema) => TopLevelGrammar::from_json_schema(with_options(schema::rewrite(schema)?)),
            Form::Regex(text) => TopLevelGrammar::from_lark(lark_of_regex(text)?),
            // Its schema would not be looked at by us.
            Form::Lark(text) if text.contains("%json") => {
                return Err("`%json` is not supported in a grammar; ask for the schema instead".into());
            }
            Form::Lark(text) => lark_grammar(text.clone())?,
            Form::Gbnf(text) => lark_grammar(gbnf::to_lark(text)?)?,
            Form::Choice(texts) => TopLevelGrammar::from_lark(lark_of_choice(texts)?),
        })
    }
}

impl Llama {
    /// Holds the answer to a prompt to a form: for [`Request::constraint`](puna_engine::Request::constraint).
    /// [`AnswerOptions::form`](crate::AnswerOptions::form) does the same. Fails if the form cannot be enforced, and says
    /// which part of it.
    pub fn constraint(&self, form: &Form, prompt: &PromptTokens) -> Result<Box<dyn Constraint>, Error> {
        let tokenizer = self.tokenizer()?;
        let begins = prompt.stands_alone(Some(tokenizer));
        let vocabulary = self.vocabulary(|| Vocabulary::new(tokenizer)).map_err(|fact| {
            Error::Unsupported(format!("`{}` cannot be held to a form\n  {fact}", self.name()))
        })?;
        compile(form, vocabulary, begins)
            .map_err(|fact| Error::Form { what: form.name(), fact })
            .map(|constraint| Box::new(constraint) as Box<dyn Constraint>)
    }
}

/// Compiles a form, on a stack of its own: schemas are trees, and how deep llguidance recurses is not for us to say.
fn compile(form: &Form, vocabulary: Arc<Vocabulary>, begins: bool) -> Result<FormConstraint, String> {
    form.check_size()?;
    let compiling = || {
        let parser = vocabulary.factory.create_parser(form.grammar()?);
        let parser = parser.map_err(|error| first_line(&format!("{error:#}")))?;
        let is_json = form.is_json();
        FormConstraint::new(vocabulary.clone(), Matcher::new(Ok(parser)), is_json, begins)
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("form".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, compiling);
        let thread = thread.map_err(|error| format!("there is no memory to compile it: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("compiling it failed".into()))
    })
}

/// A grammar with so many rules at most.
fn lark_grammar(lark: String) -> Result<TopLevelGrammar, String> {
    // Each rule has a colon, and what else has one is no harm.
    let is_rule = |line: &&str| line.contains(':');
    match lark.lines().filter(is_rule).count() > MAX_RULES || lark.matches(':').count() > 4 * MAX_RULES {
        true => Err(format!("it has more than {MAX_RULES} rules")),
        false => Ok(TopLevelGrammar::from_lark(lark)),
    }
}

/// With what llguidance reads beside a schema: no white space but one space behind a comma or colon, and all escapes.
fn with_options(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        let options = json!({
            "item_separator": ", ?",
            "key_separator": ": ?",
            "whitespace_flexible": false,
            "json_allow_general_unicode_escapes": true,
        });
        map.insert("x-guidance".into(), options);
    }
    schema
}

/// How long a value's text is, counted up to `max` and a little more.
fn json_bytes(value: &Value, max: usize) -> usize {
    let (mut n, mut values) = (0, vec![value]);
    while let Some(value) = values.pop() {
        n += match value {
            Value::String(text) => text.len() + 3,
            Value::Array(list) => {
                values.extend(list);
                2
            }
            Value::Object(map) => {
                values.extend(map.values());
                map.keys().map(|key| key.len() + 4).sum::<usize>() + 2
            }
            _ => 5,
        };
        if n > max {
            break;
        }
    }
    n
}

/// The grammar of what an expression matches as a whole.
fn lark_of_regex(regex: &str) -> Result<String, String> {
    // Anchors say what holds anyway.
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let n_escapes =
        regex.strip_suffix('$').unwrap_or("").bytes().rev().take_while(|byte| *byte == b'\\').count();
    let regex = regex.strip_suffix('$').filter(|_| n_escapes % 2 == 0).unwrap_or(regex);
    if regex.is_empty() {
        return Err("it is empty".into());
    }
    let read = llguidance::derivre::RegexBuilder::new().mk_regex(regex);
    read.map_err(|error| regex_fact(&error.to_string()))?;
    Ok(format!("start: /{}/", regex_to_lark(regex, "")))
}

/// The grammar of one of several texts.
fn lark_of_choice(texts: &[String]) -> Result<String, String> {
    if texts.is_empty() {
        return Err("there are none".into());
    }
    let some: Vec<String> =
        texts.iter().filter(|text| !text.is_empty()).map(|text| lark_string(text)).collect();
    let none = if some.len() < texts.len() { " | \"\"" } else { "" };
    Ok(match some.is_empty() {
        true => "start: \"\"".into(),
        false => format!("start: CHOICE{none}\nCHOICE: {}", some.join(" | ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_of_a_whole_match_are_dropped() {
        assert_eq!(lark_of_regex("^a/b$").unwrap(), r"start: /a\/b/");
        assert_eq!(lark_of_regex(r"a\$").unwrap(), r"start: /a\$/");
        assert_eq!(lark_of_regex(r"a\\$").unwrap(), r"start: /a\\/");
        for wrong in ["", "^$", "(", "a(?=b)", r"(a)\1", "\\"] {
            let error = lark_of_regex(wrong).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{wrong}: {error}");
        }
    }
}
