//! Chat templates that a checkpoint brings along.
//!
//! They run bounded and reach nothing but their variables ([`puna_jinja`]). A template prints one string in
//! which its own special tokens and the users' words stand side by side; of each character it is known who
//! wrote it, so that what users write never becomes a special token, whatever the template does with it.

use std::ops::Range;
use std::time::SystemTime;

use puna_jinja::{Input, Limits, Output, Rows, Template};

use crate::template::message::ArgumentForm;
use crate::template::prompt::{Pieces, Prompt};
use crate::template::{Content, Message, Part, RenderOptions, TemplateError, check_parts};
use crate::tokenizer::Tokenizer;

/// A parsed template.
#[derive(Debug)]
pub struct JinjaTemplate {
    template: Template,
    content: ContentForm,
    /// Types of image parts that it knows beside `image`.
    image_types: Vec<&'static str>,
    /// Further tokens that it may name.
    tokens: Vec<(String, String)>,
    /// BOS and EOS, where they are not the tokenizer's.
    names: Option<SpecialNames>,
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
    /// Parses a template.
    pub fn new(source: &str) -> Result<JinjaTemplate, TemplateError> {
        let template = Template::new(source, Limits::default()).map_err(failure)?;
        let mut template = JinjaTemplate {
            template,
            content: ContentForm::Either,
            image_types: IMAGE_TYPES.to_vec(),
            tokens: Vec::new(),
            names: None,
        };
        template.content = template.probe_content_form();
        template.image_types = IMAGE_TYPES.into_iter().filter(|kind| template.sees_images_as(kind)).collect();
        Ok(template)
    }

    /// The same template, which may name these tokens by variables such as `pad_token`, and BOS and EOS by these
    /// names.
    pub fn with_tokens(self, tokens: &[(String, String)], names: Option<SpecialNames>) -> JinjaTemplate {
        JinjaTemplate { tokens: tokens.to_vec(), names, ..self }
    }

    /// The prompt as the template prints it, as one string. Users' text is not kept apart: for showing,
    /// not for encoding.
    pub fn render_text(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        names: &SpecialNames,
    ) -> Result<String, TemplateError> {
        Ok(self.run(messages, options, names)?.text)
    }

    /// The prompt as pieces, safe to encode.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Prompt, TemplateError> {
        let names = self.names.clone().unwrap_or_else(|| SpecialNames::of(tokenizer));
        let output = self.run(messages, options, &names)?;
        let mut pieces = Pieces::default();
        // Neighbouring stretches of the template's own are one: a special token may lie across them.
        let mut begin = 0;
        let mut of_template = 0..0;
        let mut generated: Vec<Range<usize>> = Vec::new();
        for (text, mark) in output.runs() {
            let end = begin + text.len();
            if mark.is_generated {
                match generated.last_mut() {
                    Some(last) if last.end == begin => last.end = end,
                    _ => generated.push(begin..end),
                }
            }
            if mark.is_input {
                push_template_text(&mut pieces, &output.text[of_template.clone()], tokenizer);
                pieces.text(text.len());
                of_template = end..end;
            } else {
                of_template.end = end;
            }
            begin = end;
        }
        push_template_text(&mut pieces, &output.text[of_template], tokenizer);
        Ok(Prompt::of_pieces(output.text, pieces).with_generated(generated))
    }

    /// Renders the messages as they were sent. Where the template then fails or prints nonsense, it is given
    /// them in other words that say the same: an empty text for no content, the arguments of tool calls as
    /// objects or as texts of JSON.
    fn run(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        names: &SpecialNames,
    ) -> Result<Output, TemplateError> {
        check_parts(messages)?;
        let as_sent = self.run_as_they_are(messages, options, names);
        let has_null = messages.iter().any(|message| message.content.is_none());
        let has_calls = messages.iter().any(|message| !message.tool_calls().is_empty());
        if !has_null && !has_calls || is_sensible(&as_sent, messages) {
            return as_sent;
        }
        let texts: &[bool] = if has_null { &[false, true] } else { &[false] };
        let forms = [None, Some(ArgumentForm::Object), Some(ArgumentForm::Text)];
        let forms = if has_calls { &forms[..] } else { &forms[..1] };
        let ways = forms.iter().flat_map(|form| texts.iter().map(move |text| (*form, *text)));
        // The first of them is as they were sent.
        for (form, has_text) in ways.skip(1) {
            let messages: Vec<Message> =
                messages.iter().map(|message| message.reworded(has_text, form)).collect();
            let reworded = self.run_as_they_are(&messages, options, names);
            if is_sensible(&reworded, &messages) {
                return reworded;
            }
        }
        as_sent
    }

    fn run_as_they_are(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        names: &SpecialNames,
    ) -> Result<Output, TemplateError> {
        let messages = MessageRows { messages, content: self.content, image_types: &self.image_types };
        fn list_or_none(items: Vec<Input<'_>>) -> Input<'_> {
            if items.is_empty() { Input::None } else { Input::List(items) }
        }
        let mut variables: Vec<(&str, Input)> = vec![
            ("messages", Input::Rows(&messages)),
            ("add_generation_prompt", Input::Bool(options.add_generation_prompt)),
            ("bos_token", Input::Trusted(&names.bos)),
            ("eos_token", Input::Trusted(&names.eos)),
            // As in transformers, these are there without a value, where there are none.
            ("tools", list_or_none(options.tools.iter().map(Input::Json).collect())),
            ("documents", Input::None),
        ];
        for (name, token) in &self.tokens {
            if !variables.iter().any(|(known, _)| known == name) {
                variables.push((name, Input::Trusted(token)));
            }
        }
        if !options.builtin_tools.is_empty() {
            let tools = options.builtin_tools.iter().map(|tool| Input::Text(tool)).collect();
            variables.push(("builtin_tools", Input::List(tools)));
        }
        if let Some(date) = &options.date_string {
            variables.push(("date_string", Input::Text(date)));
        }
        if let Some(place) = options.tools_in_user_message {
            variables.push(("tools_in_user_message", Input::Bool(place)));
        }
        for (name, value) in &options.extra {
            variables.retain(|(known, _)| *known != name.as_str() || *known == "messages");
            variables.push((name, Input::Json(value)));
        }
        let now = options.now.unwrap_or_else(SystemTime::now);
        self.template.render(&variables, now).map_err(failure)
    }

    /// What the template prints of one message with this content; `None` where it fails.
    fn tried(&self, content: Content) -> Option<String> {
        let message = Message::with_content("user", content);
        let options = RenderOptions { now: Some(SystemTime::UNIX_EPOCH), ..RenderOptions::answer() };
        self.render_text(&[message], &options, &SpecialNames::default()).ok()
    }

    /// Finds out by trying whether the template prints something for images of this type.
    fn sees_images_as(&self, kind: &str) -> bool {
        let text = Part::Text("a".to_owned());
        let image = Part::Image(serde_json::json!({"type": kind, kind: {"url": "b"}}));
        let with_image = self.tried(Content::Parts(vec![image, text.clone()]));
        with_image.is_some() && with_image != self.tried(Content::Parts(vec![text]))
    }

    /// Finds out by trying which form of contents comes through.
    fn probe_content_form(&self) -> ContentForm {
        const WORD: &str = "qprobeq";
        // A list that was printed as a list did not come through.
        let comes_through = |content: Content| {
            let is_through = |output: &String| {
                output.contains(WORD) && !output.contains("\"text\"") && !output.contains("'text'")
            };
            self.tried(content).as_ref().is_some_and(is_through)
        };
        let string = comes_through(Content::Text(WORD.to_owned()));
        let list = comes_through(Content::Parts(vec![Part::Text(WORD.to_owned())]));
        match (string, list) {
            (true, false) => ContentForm::StringOnly,
            (false, true) => ContentForm::ListOnly,
            _ => ContentForm::Either,
        }
    }
}

/// Whether a prompt says what the messages say: no `None` for an absent content, no dictionary as Python writes
/// it, and arguments that were sent as a text of JSON word for word.
fn is_sensible(output: &Result<Output, TemplateError>, messages: &[Message]) -> bool {
    let Ok(output) = output else { return false };
    let says_null = output.printed_none && messages.iter().any(|message| message.content.is_none());
    let mut calls = messages.iter().flat_map(Message::tool_calls);
    let misses_call = calls.any(|call| match call.arguments_text() {
        Some(text) => !output.text.contains(text.trim()),
        None => output.printed_container && call.has_object(),
    });
    !says_null && !misses_call
}

/// Text that the template wrote: what looks like a special token is one.
fn push_template_text(pieces: &mut Pieces, text: &str, tokenizer: &Tokenizer) {
    for (text, is_special) in tokenizer.split_at_special(text) {
        if is_special {
            pieces.special(text.len());
        } else {
            pieces.text(text.len());
        }
    }
}

/// How clients call parts that are images, beside `image`, which templates do not all know.
const IMAGE_TYPES: [&str; 2] = ["image_url", "input_image"];

/// Messages as a template wants them: contents in the form it understands, and images by a name that it knows.
struct MessageRows<'a> {
    messages: &'a [Message],
    content: ContentForm,
    image_types: &'a [&'static str],
}

impl Rows for MessageRows<'_> {
    fn n_rows(&self) -> usize {
        self.messages.len()
    }

    fn row(&self, n: usize) -> Input<'_> {
        let message = &self.messages[n];
        let is_tool = matches!(&*message.role, "tool" | "ipython");
        let part_of = |text| Input::Dict(vec![("type", Input::Text("text")), ("text", Input::Text(text))]);
        let content = match (&message.content, self.content) {
            (None, _) => Input::None,
            (Some(Content::Text(text)), ContentForm::ListOnly) if !is_tool => {
                Input::List(vec![part_of(text)])
            }
            (Some(Content::Text(text)), _) => Input::Text(text),
            (Some(Content::Parts(parts)), ContentForm::StringOnly) if parts.iter().all(Part::is_text) => {
                let texts = parts.iter().map(|part| if let Part::Text(text) = part { text } else { "" });
                Input::Texts(texts.collect())
            }
            (Some(Content::Parts(parts)), _) => Input::List(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => part_of(text),
                        Part::Image(value) => image_part(value, self.image_types),
                        Part::Other(value) => Input::Json(value),
                    })
                    .collect(),
            ),
            (Some(Content::Json(value)), _) => Input::Json(value),
        };
        let mut entries = vec![("role", Input::Text(&message.role))];
        if !message.lacks_content() || message.content.is_some() {
            entries.push(("content", content));
        }
        if !message.tool_calls().is_empty() {
            let calls = message.tool_calls().iter().map(|call| Input::Json(call.as_json()));
            entries.push(("tool_calls", Input::List(calls.collect())));
        }
        let texts = [("tool_call_id", message.tool_call_id()), ("name", message.name())];
        entries.extend(texts.into_iter().filter_map(|(key, text)| Some((key, Input::Text(text?)))));
        entries.extend(message.extra().map(|(key, value)| (key, Input::Json(value))));
        Input::Dict(entries)
    }
}

/// An image as it was sent, or of the type `image` where the template does not know its own.
fn image_part<'a>(value: &'a serde_json::Value, known: &[&str]) -> Input<'a> {
    let Some(entries) = value.as_object().filter(|_| !known.iter().any(|kind| value["type"] == *kind)) else {
        return Input::Json(value);
    };
    let entry = |(key, value)| match key {
        "type" => (key, Input::Text("image")),
        key => (key, Input::Json(value)),
    };
    Input::Dict(entries.iter().map(|(key, value)| entry((key.as_str(), value))).collect())
}

fn failure(error: puna_jinja::Error) -> TemplateError {
    match error {
        puna_jinja::Error::Raised(message) => TemplateError::Refused(message),
        puna_jinja::Error::Syntax { .. } => TemplateError::Syntax(error.to_string()),
        puna_jinja::Error::Failed { .. } => TemplateError::Failed(error.to_string()),
        puna_jinja::Error::Limit(_) | puna_jinja::Error::Deep(_) => TemplateError::Limit(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train_bpe::train_bpe;
    use serde_json::json;

    fn tokenizer() -> Tokenizer {
        let special = ["<|begin_of_text|>", "<|eot_id|>", "<|image|>"];
        train_bpe([""], 259, &special).unwrap().to_tokenizer().unwrap()
    }

    fn special_names(prompt: &Prompt) -> Vec<String> {
        let special = |piece| match piece {
            crate::template::PromptPiece::Special(name) => Some(name.to_owned()),
            crate::template::PromptPiece::Text(_) => None,
        };
        prompt.pieces().filter_map(special).collect()
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
            let message = Message::with_content("user", content);
            let prompt = template.render(&[message], &RenderOptions::answer(), &tokenizer()).unwrap();
            assert_eq!(special_names(&prompt), ["<|begin_of_text|>", "<|eot_id|>"], "{parts:?}");
            let expected: String = parts.iter().map(|part| part.trim()).collect();
            assert_eq!(prompt.to_text(), format!("<|begin_of_text|>{expected}<|eot_id|>"));
        }
    }

    /// What a template prints of a conversation as a client writes it.
    fn printed(source: &str, messages: serde_json::Value) -> String {
        let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
        let template = JinjaTemplate::new(source).unwrap();
        let options = RenderOptions::default();
        template.render_text(&messages, &options, &SpecialNames::default()).unwrap()
    }

    #[test]
    fn calls_arrive_as_they_were_sent_unless_that_makes_no_sense() {
        let calls = |arguments: serde_json::Value| {
            json!([
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "x",
                 "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
            ])
        };
        let each = |print: &str| {
            format!(
                "{{% for m in messages %}}{{% for t in m.tool_calls or [] %}}{print}{{% endfor %}}{{% endfor %}}"
            )
        };
        let (text, object) = (json!("{\"a\":1}"), json!({"a": 1}));
        for (print, of_text, of_object) in [
            ("{{ 'f' + t.function.arguments }}", "f{\"a\":1}", "f{\"a\": 1}"),
            ("{{ 'f' ~ t.function.arguments }}", "f{\"a\":1}", "f{\"a\": 1}"),
            ("{{ t.function.arguments }}", "{\"a\":1}", "{\"a\": 1}"),
            ("{{ t.function.arguments | tojson }}", "{\"a\": 1}", "{\"a\": 1}"),
            ("{% for k, v in t.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}", "a=1", "a=1"),
            (
                "{% for k in t.function.arguments %}{{ k }}={{ t.function.arguments[k] }}{% endfor %}",
                "a=1",
                "a=1",
            ),
            ("{% if t.function.arguments is string %}s{% else %}o{% endif %}", "o", "o"),
            ("{{ raise_exception('no text') if t.function.arguments is string else 'o' }}", "o", "o"),
            ("{{ t.function.name }}", "f", "f"),
            ("{{ t.id }}{{ t.type }}", "1function", "1function"),
        ] {
            assert_eq!(printed(&each(print), calls(text.clone())), of_text, "{print}");
            assert_eq!(printed(&each(print), calls(object.clone())), of_object, "{print}");
        }
        // Arguments that are no object are what they are.
        assert_eq!(printed(&each("{{ t.function.arguments }}"), calls(json!("{"))), "{");
        // A template that fails in every form says why it failed at first.
        let template = JinjaTemplate::new(&each("{{ t.function.arguments.x.y }}")).unwrap();
        let messages: Vec<Message> = serde_json::from_value(calls(text)).unwrap();
        let failed = template.render_text(&messages, &RenderOptions::default(), &SpecialNames::default());
        assert!(matches!(failed, Err(TemplateError::Failed(_))));
    }

    #[test]
    fn images_keep_their_type_where_the_template_knows_it() {
        let message = json!([{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What?"}]}]);
        let each = |print: &str| {
            format!("{{% for m in messages %}}{{% for p in m.content %}}{print}{{% endfor %}}{{% endfor %}}")
        };
        let only = |kind: &str| {
            each(&format!("{{% if p.type == '{kind}' %}}[{kind}]{{% else %}}{{{{ p.text }}}}{{% endif %}}"))
        };
        assert_eq!(printed(&only("image"), message.clone()), "[image]What?");
        assert_eq!(printed(&only("image_url"), message.clone()), "[image_url]What?");
        let either =
            each("{% if 'image' in p or 'image_url' in p %}[{{ p.type }}]{% else %}{{ p.text }}{% endif %}");
        assert_eq!(printed(&either, message), "[image_url]What?");
    }

    #[test]
    fn no_content_is_none_unless_that_makes_no_sense() {
        let null = json!([{"role": "assistant", "content": null, "tool_calls": null}]);
        let absent = json!([{"role": "assistant"}]);
        let of = |print: &str| format!("{{% for m in messages %}}{print}{{% endfor %}}");
        for (print, of_null, of_absent) in [
            ("{{ m.content }}.", ".", "."),
            ("{{ m.content + '' }}.", ".", "."),
            ("{{ m['content'] | trim }}.", ".", "."),
            ("{{ m.content is none }}", "True", "False"),
            ("{{ 'content' in m }}", "True", "False"),
            ("{% if m.content is none %}-{% else %}{{ m.content }}{% endif %}", "-", ""),
            ("{{ 'tool_calls' in m }}", "False", "False"),
        ] {
            assert_eq!(printed(&of(print), null.clone()), of_null, "{print}");
            assert_eq!(printed(&of(print), absent.clone()), of_absent, "{print}");
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
        let long = "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}";
        assert!(matches!(render(long), Err(TemplateError::Limit(_))));
        assert!(matches!(render(&" ".repeat((1 << 20) + 1)), Err(TemplateError::Limit(_))));
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
    fn contents_take_the_form_the_template_understands() {
        let list_only = JinjaTemplate::new(JOINING).unwrap();
        assert_eq!(list_only.content, ContentForm::ListOnly);
        let string_only =
            JinjaTemplate::new("{% for m in messages %}{{ m.content | trim }}{% endfor %}").unwrap();
        assert_eq!(string_only.content, ContentForm::StringOnly);
        let parts = Content::Parts(vec![Part::Text("a".to_owned()), Part::Text("b ".to_owned())]);
        let message = Message::with_content("user", parts);
        let text = string_only.render_text(&[message], &RenderOptions::answer(), &SpecialNames::default());
        assert_eq!(text.unwrap(), "ab");
    }
}
