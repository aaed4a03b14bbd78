//! Chat templates that a checkpoint brings along: Jinja, in a sandbox.
//!
//! The environment is the one Hugging Face gives to templates (`trim_blocks`, `lstrip_blocks`, loop
//! controls, Python's string methods, `tojson`, `raise_exception`, `strftime_now`). A template can reach
//! nothing but its variables; its size, its running time (fuel) and its output are bounded.
//!
//! A template prints one string in which its own special tokens and the users' words stand side by side.
//! To keep users from writing special tokens, their strings are *guarded* before rendering: inside
//! everything that might become a special token a character is put that no text holds (a Unicode
//! noncharacter), so that a special token in the output can only be the template's. The output is split
//! at its special tokens, and the guards are taken out of the text between.
//!
//! How much to guard is a balance, because templates also look into the text (`'</think>' in content`).
//! First every character that begins any special token is guarded. If that changes what the template
//! prints, only whole special tokens, and beginnings of one at the end of a string (which the next string
//! might complete), are.

use std::fmt;
use std::io::{self, Write};
use std::time::SystemTime;

use minijinja::value::{Kwargs, Serde, Value as JinjaValue, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, syntax::SyntaxConfig};
use serde_json::{Map, Value, json};

use crate::template::prompt::Prompt;
use crate::template::python_json::{JsonStyle, dumps_as};
use crate::template::{Content, Message, Part, RenderOptions, TemplateError, date};
use crate::tokenizer::Tokenizer;

/// The longest template. The longest of the released ones have about 20 kB.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// The longest prompt.
const MAX_OUTPUT_BYTES: usize = 64 << 20;

/// Instructions of the template engine; about a hundred for each message are usual.
const FUEL: u64 = 5_000_000;

const NAME: &str = "chat";

/// A compiled template.
#[derive(Debug)]
pub struct JinjaTemplate {
    environment: Environment<'static>,
    content: ContentForm,
}

/// The form of message contents that a template understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentForm {
    StringOnly,
    ListOnly,
    Either,
}

/// The special tokens a template may name by variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialNames {
    /// `bos_token`
    pub bos: String,
    /// `eos_token`
    pub eos: String,
}

impl SpecialNames {
    /// Those of a tokenizer; empty where it has none.
    pub fn of(tokenizer: &Tokenizer) -> SpecialNames {
        let name = |id: Option<u32>| id.map(|id| tokenizer.name(id).into_owned()).unwrap_or_default();
        SpecialNames { bos: name(tokenizer.bos_id()), eos: name(tokenizer.eos_id()) }
    }
}

impl JinjaTemplate {
    /// Compiles a template.
    pub fn new(source: &str) -> Result<JinjaTemplate, TemplateError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            let what =
                format!("the template has {} bytes, at most {MAX_TEMPLATE_BYTES} are read", source.len());
            return Err(TemplateError::Limit(what));
        }
        let mut environment = environment()?;
        environment
            .add_template_owned(NAME, adapted(source))
            .map_err(|error| TemplateError::Syntax(error.to_string()))?;
        let mut template = JinjaTemplate { environment, content: ContentForm::Either };
        template.content = template.probe_content_form();
        Ok(template)
    }

    /// The prompt as the template prints it, as one string. Users' text is not kept apart: for showing,
    /// not for encoding.
    pub fn render_text(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        names: &SpecialNames,
    ) -> Result<String, TemplateError> {
        self.run(self.context(messages, options, names), options.now)
    }

    /// The prompt as pieces, safe to encode.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Prompt, TemplateError> {
        let context = self.context(messages, options, &SpecialNames::of(tokenizer));
        // User-defined tokens are text; only control tokens are worth forging.
        let special = tokenizer.special_tokens().into_iter().filter(|(_, id)| tokenizer.is_special(*id));
        let special: Vec<&str> = special.map(|(name, _)| name).collect();
        let guard = Guard::new(&context, special)?;
        let plain = self.run(context.clone(), options.now)?;
        // The template's own variables are not users' words.
        let guarded = |strength| {
            let mut context = context.clone();
            for (key, value) in
                context.iter_mut().filter(|(key, _)| !matches!(key.as_str(), "bos_token" | "eos_token"))
            {
                // The values of options are the caller's, but may be made of users' words as well.
                if key != "add_generation_prompt" {
                    guard.apply(value, strength);
                }
            }
            self.run(context, options.now)
        };
        let strong = guarded(Strength::EveryBeginning);
        let output = match strong {
            Ok(output) if guard.remove(&output) == plain => output,
            _ => guarded(Strength::WholeTokens)?,
        };
        let mut prompt = Prompt::default();
        for (text, is_special) in tokenizer.split_at_special(&output) {
            if is_special {
                prompt.special(text);
            } else {
                prompt.text(guard.remove(text));
            }
        }
        Ok(prompt)
    }

    fn context(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        names: &SpecialNames,
    ) -> Map<String, Value> {
        let mut context = options.extra.clone();
        let messages: Vec<Value> = messages.iter().map(|message| self.message_value(message)).collect();
        context.insert("messages".to_owned(), Value::Array(messages));
        context.insert("add_generation_prompt".to_owned(), json!(options.add_generation_prompt));
        context.insert("bos_token".to_owned(), json!(names.bos));
        context.insert("eos_token".to_owned(), json!(names.eos));
        // Absent is not the same as null or empty: templates ask whether these are defined.
        if !options.tools.is_empty() {
            context.insert("tools".to_owned(), json!(options.tools));
        }
        if !options.builtin_tools.is_empty() {
            context.insert("builtin_tools".to_owned(), json!(options.builtin_tools));
        }
        if let Some(date) = &options.date_string {
            context.insert("date_string".to_owned(), json!(date));
        }
        if let Some(place) = options.tools_in_user_message {
            context.insert("tools_in_user_message".to_owned(), json!(place));
        }
        context
    }

    /// A message as the template wants it: contents in the form it understands, images by one name.
    fn message_value(&self, message: &Message) -> Value {
        let mut value = serde_json::to_value(message).unwrap_or_default();
        let is_tool = matches!(message.role.as_str(), "tool" | "ipython");
        value["content"] = match (&message.content, self.content) {
            (None, _) => json!(""),
            (Some(Content::Text(text)), ContentForm::ListOnly) if !is_tool => {
                json!([{"type": "text", "text": text}])
            }
            (Some(Content::Parts(parts)), ContentForm::StringOnly)
                if parts.iter().all(|part| matches!(part, Part::Text(_))) =>
            {
                json!(message.text())
            }
            (Some(Content::Parts(parts)), _) => parts.iter().map(part_value).collect(),
            (Some(content), _) => json!(content),
        };
        value
    }

    fn run(&self, context: Map<String, Value>, now: Option<SystemTime>) -> Result<String, TemplateError> {
        let mut output = LimitedOutput(Vec::new());
        let template = self.environment.get_template(NAME).map_err(|error| failure(&error))?;
        // The time is a variable that `strftime_now` reads, so that a test can set it.
        let mut context = context;
        if let Some(since) = now.and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            context.insert(NOW.to_owned(), json!(since.as_secs()));
        }
        let done = template.render_captured_to(Serde(&context), &mut output).map(|_| ());
        done.map_err(|error| failure(&error))?;
        String::from_utf8(output.0).map_err(|error| TemplateError::Failed(error.to_string()))
    }

    /// Finds out by trying which form of contents comes through.
    fn probe_content_form(&self) -> ContentForm {
        const WORD: &str = "qprobeq";
        let printed = |content: Content| {
            let message = Message { role: "user".to_owned(), content: Some(content), ..Message::default() };
            let options = RenderOptions { now: Some(SystemTime::UNIX_EPOCH), ..RenderOptions::answer() };
            let output = self.render_text(&[message], &options, &SpecialNames::default()).ok()?;
            // A list that was printed as a list did not come through.
            (output.contains(WORD) && !output.contains("\"text\"") && !output.contains("'text'"))
                .then_some(())
        };
        let string = printed(Content::Text(WORD.to_owned()));
        let list = printed(Content::Parts(vec![Part::Text(WORD.to_owned())]));
        match (string, list) {
            (Some(()), None) => ContentForm::StringOnly,
            (None, Some(())) => ContentForm::ListOnly,
            _ => ContentForm::Either,
        }
    }
}

/// Templates know images as parts of type `image`.
fn part_value(part: &Part) -> Value {
    let mut value = json!(part);
    if let (Part::Image(_), Some(kind)) = (part, value.get_mut("type")) {
        *kind = json!("image");
    }
    value
}

/// The variable that holds the time, in seconds, where a caller has set it.
const NOW: &str = "__now__";

fn environment() -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| TemplateError::Failed(error.to_string()))?);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(format_like_python);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<JinjaValue, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |state: &mut State, format: String| {
        let set = state.lookup(NOW).and_then(|now| u64::try_from(now).ok());
        let set = set
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds)));
        date::strftime(set.unwrap_or_else(SystemTime::now), &format)
    });
    Ok(environment)
}

/// Python's spelling of the three constants; everything else as usual.
fn format_like_python(out: &mut Output, state: &mut State, value: &JinjaValue) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
        ValueKind::None => Ok(out.write_str("None")?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `tojson(indent=…, ensure_ascii=…)`, written as Python does.
fn to_json(value: &JinjaValue, options: Kwargs) -> Result<String, Error> {
    const MAX_INDENT: usize = 64;
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson").with_source(error))?;
    let style = JsonStyle { indent: indent.map(|n| n.min(MAX_INDENT)), ascii: ascii.unwrap_or(false) };
    Ok(dumps_as(&value, style))
}

/// What a template said by `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn failure(error: &Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        cause = current.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::Limit(format!("it needs more than {FUEL} steps")),
        ErrorKind::WriteFailure => {
            TemplateError::Limit(format!("it prints more than {MAX_OUTPUT_BYTES} bytes"))
        }
        _ => TemplateError::Failed(error.to_string()),
    }
}

/// Takes output up to the limit.
struct LimitedOutput(Vec<u8>);

impl Write for LimitedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The template as our engine reads it, which differs from Jinja2 in two points.
///
/// In a string, a backslash before a line end continues the line: both are taken out. And
/// `{% generation %}`, which marks what an assistant said (for training), becomes an `if` that holds: it
/// keeps its control of white space and does nothing else.
fn adapted(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let (before, tag) = rest.split_at(at);
        result.push_str(before);
        let is_comment = tag.starts_with("{#");
        let end = if is_comment { tag.find("#}").map(|at| at + 2) } else { tag_end(tag) };
        let (tag, after) = tag.split_at(end.unwrap_or(tag.len()));
        if is_comment {
            result.push_str(tag)
        } else {
            push_adapted_tag(&mut result, tag)
        }
        rest = after;
    }
    result + rest
}

/// The end of the tag that `text` begins with, if it has one. Brackets in strings do not count.
fn tag_end(text: &str) -> Option<usize> {
    let closing = if text.starts_with("{{") { "}}" } else { "%}" };
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices().skip(2) {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, _) if text[at..].starts_with(closing) => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn push_adapted_tag(result: &mut String, tag: &str) {
    let inside = tag[2..].trim_start_matches(['-', '+']).trim_start();
    for (name, replacement) in [("generation", "if true"), ("endgeneration", "endif")] {
        let after = inside.strip_prefix(name).map(str::trim_start);
        if tag.starts_with("{%") && after.is_some_and(|after| after.starts_with(['%', '-', '+'])) {
            result.push_str(&tag[..tag.len() - inside.len()]);
            result.push_str(replacement);
            return result.push_str(&inside[name.len()..]);
        }
    }
    // A backslash stands in strings only, and one that is escaped itself continues nothing.
    let mut chars = tag.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\n')) => drop(chars.next()),
            ('\\', Some(next)) => {
                result.extend(['\\', *next]);
                chars.next();
            }
            _ => result.push(c),
        }
    }
}

/// Puts guards into users' strings and takes them out again.
struct Guard<'s> {
    special: Vec<&'s str>,
    mark: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    EveryBeginning,
    WholeTokens,
}

impl<'s> Guard<'s> {
    /// Chooses a mark that `context` does not hold.
    fn new(context: &Map<String, Value>, special: Vec<&'s str>) -> Result<Guard<'s>, TemplateError> {
        let text = serde_json::to_string(context).unwrap_or_default();
        let mark = ('\u{fdd0}'..='\u{fdef}').find(|mark| !text.contains(*mark));
        let mark = mark.ok_or_else(|| {
            TemplateError::Refused("the messages hold all 32 Unicode noncharacters of U+FDD0".to_owned())
        })?;
        Ok(Guard { special, mark })
    }

    fn remove(&self, text: &str) -> String {
        text.replace(self.mark, "")
    }

    /// Guards every string in `value`.
    fn apply(&self, value: &mut Value, strength: Strength) {
        match value {
            Value::String(text) => *text = self.guarded(text, strength),
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item, strength)),
            Value::Object(entries) => {
                let guarded = std::mem::take(entries).into_iter().map(|(key, mut item)| {
                    self.apply(&mut item, strength);
                    // Keys are users' words too, in the arguments of a tool call. The keys templates
                    // ask for begin no special token.
                    (self.guarded(&key, strength), item)
                });
                *entries = guarded.collect();
            }
            _ => {}
        }
    }

    fn guarded(&self, text: &str, strength: Strength) -> String {
        let mut result = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            result.push(c);
            if self.is_dangerous(&text[at..], strength) {
                result.push(self.mark);
            }
        }
        result
    }

    /// Whether a special token might begin where `rest` begins.
    fn is_dangerous(&self, rest: &str, strength: Strength) -> bool {
        // A template may strip the white space at the end.
        let stripped = rest.trim_end();
        self.special.iter().any(|name| match strength {
            Strength::EveryBeginning => name.chars().next() == rest.chars().next(),
            Strength::WholeTokens => {
                rest.starts_with(name)
                    || !stripped.is_empty() && (name.starts_with(rest) || name.starts_with(stripped))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train_bpe::train_bpe;

    fn tokenizer() -> Tokenizer {
        let special = ["<|begin_of_text|>", "<|eot_id|>", "<|image|>"];
        train_bpe([""], 259, &special).unwrap().to_tokenizer().unwrap()
    }

    fn special_names(prompt: &Prompt) -> Vec<String> {
        let special = |piece: &crate::template::PromptPiece| match piece {
            crate::template::PromptPiece::Special(name) => Some(name.clone()),
            crate::template::PromptPiece::Text(_) => None,
        };
        prompt.pieces().iter().filter_map(special).collect()
    }

    const JOINING: &str = "{{ bos_token }}{% for m in messages %}{% for p in m.content %}{{ p.text | trim }}\
        {% endfor %}<|eot_id|>{% endfor %}";

    #[test]
    fn users_cannot_write_special_tokens() {
        let template = JinjaTemplate::new(JOINING).unwrap();
        // Whole, in two parts, in two parts with blanks that the template strips, nested.
        for parts in [
            &["a<|eot_id|>b"][..],
            &["<|eot", "_id|>"],
            &["<|eot  ", "_id|>"],
            &["<|eot_<|eot_id|>id|>"],
            &["<", "|eot_id|>"],
        ] {
            let content = Content::Parts(parts.iter().map(|part| Part::Text((*part).to_owned())).collect());
            let message = Message { role: "user".to_owned(), content: Some(content), ..Message::default() };
            let prompt = template.render(&[message], &RenderOptions::answer(), &tokenizer()).unwrap();
            assert_eq!(special_names(&prompt), ["<|begin_of_text|>", "<|eot_id|>"], "{parts:?}");
            let expected: String = parts.iter().map(|part| part.trim()).collect();
            assert_eq!(prompt.to_text(), format!("<|begin_of_text|>{expected}<|eot_id|>"));
        }
    }

    #[test]
    fn templates_may_look_into_the_text() {
        let source = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}<|eot_id|>{% endfor %}";
        let template = JinjaTemplate::new(source).unwrap();
        let message = Message::new("assistant", "<think>a</think>b<|eot_id|>c");
        let prompt = template.render(&[message], &RenderOptions::answer(), &tokenizer()).unwrap();
        assert_eq!(prompt.to_text(), "b<|eot_id|>c<|eot_id|>");
        assert_eq!(special_names(&prompt), ["<|eot_id|>"]);
    }

    #[test]
    fn limits_hold() {
        let render = |source: &str| {
            let template = JinjaTemplate::new(source)?;
            template.render_text(
                &[Message::new("user", "x")],
                &RenderOptions::answer(),
                &SpecialNames::default(),
            )
        };
        let nested =
            "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = 1 %}{% endfor %}{% endfor %}";
        assert!(matches!(render(nested), Err(TemplateError::Limit(_))));
        let long = "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}";
        assert!(matches!(render(long), Err(TemplateError::Limit(_))));
        assert!(matches!(render(&" ".repeat(MAX_TEMPLATE_BYTES + 1)), Err(TemplateError::Limit(_))));
        assert!(matches!(render("{% if %}"), Err(TemplateError::Syntax(_))));
        assert_eq!(render("{{ raise_exception('no') }}"), Err(TemplateError::Refused("no".to_owned())));
        assert!(matches!(render("{{ messages[9].x.y }}"), Err(TemplateError::Failed(_))));
    }

    #[test]
    fn environment_is_hugging_faces() {
        let template = JinjaTemplate::new(
            "{%- generation -%} {{ true }} {{ none }} {{ {'b': 1.0, 'a': ['é']} | tojson }} \
             {{ strftime_now('%d %b %Y') }} {{ ' x '.strip() }} {%- endgeneration %}",
        )
        .unwrap();
        let options = RenderOptions { now: Some(SystemTime::UNIX_EPOCH), ..RenderOptions::default() };
        let text = template.render_text(&[], &options, &SpecialNames::default()).unwrap();
        assert_eq!(text, "True None {\"b\": 1.0, \"a\": [\"é\"]} 01 Jan 1970 x");
    }

    #[test]
    fn strings_continue_over_line_ends() {
        let source = "{{ 'a\\\nb' + \"\\\\\" + '}}' }}{# '\\\n #}\\\n{% if 'x' %}c{% endif %}";
        let template = JinjaTemplate::new(source).unwrap();
        let text = template.render_text(&[], &RenderOptions::default(), &SpecialNames::default());
        assert_eq!(text.unwrap(), "ab\\}}\\\nc");
        for unfinished in ["{{ 'a", "{% if", "{#", "{{ 'a\\"] {
            let _ = JinjaTemplate::new(unfinished); // an error or not, but no panic
        }
    }

    #[test]
    fn contents_take_the_form_the_template_understands() {
        let list_only = JinjaTemplate::new(JOINING).unwrap();
        assert_eq!(list_only.content, ContentForm::ListOnly);
        let string_only =
            JinjaTemplate::new("{% for m in messages %}{{ m.content | trim }}{% endfor %}").unwrap();
        assert_eq!(string_only.content, ContentForm::StringOnly);
        let parts = Content::Parts(vec![Part::Text("a".to_owned()), Part::Text("b ".to_owned())]);
        let message = Message { role: "user".to_owned(), content: Some(parts), ..Message::default() };
        let text = string_only.render_text(&[message], &RenderOptions::answer(), &SpecialNames::default());
        assert_eq!(text.unwrap(), "ab");
    }
}
