//! Which chat format a checkpoint wants.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::error::shown;
use crate::template::{
    ChatFormat, JinjaTemplate, Message, Prompt, PromptPiece, RenderOptions, SpecialNames, TemplateError,
};
use crate::tokenizer::Tokenizer;

/// The template texts that a checkpoint brings, by name, and the tokens that they may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateTexts {
    texts: BTreeMap<String, String>,
    /// Variables such as `pad_token`, and the token that each names.
    pub tokens: Vec<(String, String)>,
    /// What `bos_token` and `eos_token` name, where the files say it apart from the tokenizer.
    pub names: Option<SpecialNames>,
}

/// The name of the template that is meant where none is named.
const DEFAULT: &str = "default";

/// The name of the template for conversations with tools, where there is one.
const TOOL_USE: &str = "tool_use";

impl TemplateTexts {
    /// One template.
    pub fn one(text: impl Into<String>) -> TemplateTexts {
        let mut texts = TemplateTexts::default();
        texts.insert_default(text);
        texts
    }

    /// Adds the template that is meant where none is named.
    pub fn insert_default(&mut self, text: impl Into<String>) {
        self.insert(DEFAULT, text);
    }

    /// Adds a template in the place of one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.texts.insert(name.into(), text.into());
    }

    /// The template that is meant where none is named.
    pub fn default_text(&self) -> Option<&str> {
        self.texts.get(DEFAULT).map(String::as_str)
    }
}

/// How a conversation becomes a prompt.
#[derive(Debug)]
pub enum ChatTemplate {
    /// A format this program writes itself.
    BuiltIn(ChatFormat),
    /// The checkpoint's own template.
    Jinja(Box<JinjaTemplate>),
    /// The checkpoint has a template that cannot be used, for this reason.
    Unusable(TemplateError),
}

/// Where a [`ChatTemplate`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateOrigin {
    /// The checkpoint's template is one of the official ones.
    Official,
    /// The checkpoint's template is another.
    Checkpoint,
    /// The checkpoint has none; the tokenizer has the special tokens of a chat format. Base models of
    /// Llama 3 and 4 have them as well.
    SpecialTokens,
    /// Whoever loads the checkpoint said which one.
    Given,
}

/// What was found.
#[derive(Debug)]
pub struct Detected {
    /// The template.
    pub template: ChatTemplate,
    /// The template for conversations with tools, where the checkpoint has one of its own for them.
    pub with_tools: Option<ChatTemplate>,
    /// Why this one.
    pub origin: TemplateOrigin,
}

/// What ends an assistant's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOfTurn {
    /// A token.
    Token(u32),
    /// A text such as `<|im_end|>`, which looks like a token that the vocabulary does not have.
    Text(String),
}

/// Fingerprints of the official templates' texts, as in [`fingerprint`]. A template that is not here,
/// if only by a blank, runs as Jinja, with the same result.
const OFFICIAL: [(u64, ChatFormat); 6] = [
    (0xf344eecf1bd3a427, ChatFormat::Llama2),
    (0x0e60067a5537498e, ChatFormat::Llama3),
    (0xcc0368e1ffb6b958, ChatFormat::Llama31),
    (0x368f4c34b8554414, ChatFormat::Llama32),
    (0x5c6c7a0403dd1903, ChatFormat::Llama32Vision),
    (0xa1a2acc6bad590c0, ChatFormat::Llama4),
];

impl ChatTemplate {
    /// Chooses by the texts of the checkpoint's templates, if it has any, and otherwise by the tokenizer's
    /// special tokens. `None` means that nothing speaks for a chat model: its prompts are raw text.
    pub fn detect(texts: &TemplateTexts, tokenizer: &Tokenizer) -> Option<Detected> {
        let with_tools = texts.texts.get(TOOL_USE).map(|text| ChatTemplate::of_text(text, texts, tokenizer));
        if let Some(text) = texts.default_text() {
            let template = ChatTemplate::of_text(text, texts, tokenizer);
            let origin = match template {
                ChatTemplate::BuiltIn(_) => TemplateOrigin::Official,
                _ => TemplateOrigin::Checkpoint,
            };
            return Some(Detected { template, with_tools, origin });
        }
        if !texts.texts.is_empty() {
            let names = texts.texts.keys().map(|name| format!("`{}`", shown(name)));
            let none = TemplateError::NoDefault(names.collect::<Vec<_>>().join(", "));
            let template = ChatTemplate::Unusable(none);
            return Some(Detected { template, with_tools, origin: TemplateOrigin::Checkpoint });
        }
        let has = |name: &str| tokenizer.id_of(name).is_some_and(|id| tokenizer.is_special(id));
        let format = if has("<|header_start|>") {
            ChatFormat::Llama4
        } else if has("<|start_header_id|>") && has("<|eom_id|>") {
            ChatFormat::Llama31
        } else if has("<|start_header_id|>") {
            ChatFormat::Llama3
        } else {
            return None;
        };
        let template = ChatTemplate::BuiltIn(format);
        Some(Detected { template, with_tools: None, origin: TemplateOrigin::SpecialTokens })
    }

    fn of_text(text: &str, texts: &TemplateTexts, tokenizer: &Tokenizer) -> ChatTemplate {
        let print = fingerprint(text);
        let official = OFFICIAL.iter().find(|(known, _)| *known == print);
        // The official template in a checkpoint that calls its tokens otherwise says those names.
        let names = texts.names.clone().unwrap_or_else(|| SpecialNames::of(tokenizer));
        match official.filter(|(_, format)| writes_names(*format, &names)) {
            Some((_, format)) => ChatTemplate::BuiltIn(*format),
            None => match JinjaTemplate::new(text) {
                Ok(template) => {
                    ChatTemplate::Jinja(Box::new(template.with_tokens(&texts.tokens, texts.names.clone())))
                }
                Err(error) => ChatTemplate::Unusable(error),
            },
        }
    }

    /// The prompt for `messages`.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Prompt, TemplateError> {
        match self {
            ChatTemplate::BuiltIn(format) => format.render(messages, options),
            ChatTemplate::Jinja(template) => template.render(messages, options, tokenizer),
            ChatTemplate::Unusable(error) => Err(error.clone()),
        }
    }
}

impl Detected {
    /// A format that whoever loads the checkpoint chose. `None` where the tokenizer does not have the tokens that it
    /// writes.
    pub fn given(format: ChatFormat, tokenizer: &Tokenizer) -> Option<Detected> {
        let has = |name: &str| tokenizer.id_of(name).is_some_and(|id| tokenizer.is_special(id));
        let is_writable = match format {
            ChatFormat::Llama2 => writes_names(format, &SpecialNames::of(tokenizer)),
            ChatFormat::Llama3 | ChatFormat::Llama31 | ChatFormat::Llama32 | ChatFormat::Llama32Vision => {
                has("<|start_header_id|>") && has("<|end_header_id|>") && has("<|eot_id|>")
            }
            ChatFormat::Llama4 => has("<|header_start|>") && has("<|header_end|>") && has("<|eot|>"),
        };
        let template = ChatTemplate::BuiltIn(format);
        is_writable.then_some(Detected { template, with_tools: None, origin: TemplateOrigin::Given })
    }

    /// The prompt for `messages`.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Prompt, TemplateError> {
        let with_tools = self.with_tools.as_ref().filter(|_| !options.tools.is_empty());
        with_tools.unwrap_or(&self.template).render(messages, options, tokenizer)
    }

    /// How the template ends an assistant's message: by this token, or by this text, which looks like one but
    /// has none.
    pub fn end_of_turn(&self, tokenizer: &Tokenizer) -> Option<EndOfTurn> {
        const WORD: &str = "qanswerq";
        let ChatTemplate::Jinja(_) = self.template else { return None };
        let options = RenderOptions { now: Some(SystemTime::UNIX_EPOCH), ..RenderOptions::default() };
        let (question, answer) = (Message::new("user", "q"), Message::new("assistant", WORD));
        // Some print the end only where something follows.
        let conversations = [
            vec![question.clone(), answer.clone()],
            vec![answer.clone()],
            vec![question.clone(), answer, question],
        ];
        conversations.iter().find_map(|messages| {
            let prompt = self.template.render(messages, &options, tokenizer).ok()?;
            end_after(WORD, &prompt, tokenizer)
        })
    }
}

/// What follows a word in a prompt, if that is a token, or looks like one.
fn end_after(word: &str, prompt: &Prompt, tokenizer: &Tokenizer) -> Option<EndOfTurn> {
    let says_it = |piece: &PromptPiece| matches!(piece, PromptPiece::Text(text) if text.contains(word));
    let mut pieces = prompt.pieces().skip_while(|piece| !says_it(piece));
    let PromptPiece::Text(text) = pieces.next()? else { return None };
    let after = text.rsplit_once(word)?.1.trim_start();
    if after.is_empty() {
        return match pieces.next()? {
            PromptPiece::Special(name) => tokenizer.id_of(name).map(EndOfTurn::Token),
            PromptPiece::Text(_) => None,
        };
    }
    let marker = &after[..=after.find('>')?];
    let is_marker = marker.starts_with('<') && !marker.contains(char::is_whitespace);
    is_marker.then(|| match tokenizer.id_of(marker) {
        Some(id) => EndOfTurn::Token(id),
        None => EndOfTurn::Text(marker.to_owned()),
    })
}

/// Whether a format of ours writes these names where the template has variables.
fn writes_names(format: ChatFormat, names: &SpecialNames) -> bool {
    match format {
        ChatFormat::Llama2 => names.bos == "<s>" && names.eos == "</s>",
        _ => names.bos == "<|begin_of_text|>",
    }
}

/// FNV-1a, 64 bits, of the text with `\n` line ends and without white space around it. Not a defence: a
/// template that was forged to collide could as well say what it wants openly.
fn fingerprint(text: &str) -> u64 {
    fnv1a(text.trim().bytes().filter(|byte| *byte != b'\r'))
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train_bpe::train_bpe;
    use serde_json::json;

    fn tokenizer(special: &[&str]) -> Tokenizer {
        train_bpe(["a"], 256 + special.len(), special).unwrap().to_tokenizer().unwrap()
    }

    fn printed(texts: &TemplateTexts, options: &RenderOptions) -> Result<String, TemplateError> {
        let tokenizer = tokenizer(&[]);
        let detected = ChatTemplate::detect(texts, &tokenizer).unwrap();
        let prompt = detected.render(&[Message::new("user", "q")], options, &tokenizer);
        prompt.map(|prompt| prompt.to_text())
    }

    #[test]
    fn the_template_for_tools_is_taken_with_tools() {
        let plain = RenderOptions::answer();
        let with_tools = RenderOptions { tools: vec![json!({"type": "function"})], ..plain.clone() };
        let mut texts = TemplateTexts::one("D{{ messages[0].content }}");
        texts.insert("rag", "R");
        assert_eq!(printed(&texts, &with_tools).unwrap(), "Dq");
        texts.insert("tool_use", "T{{ messages[0].content }}");
        assert_eq!(printed(&texts, &with_tools).unwrap(), "Tq");
        assert_eq!(printed(&texts, &plain).unwrap(), "Dq");
        // Without a default nobody knows what is meant.
        let mut unclear = TemplateTexts::default();
        unclear.insert("rag", "R");
        unclear.insert("tool_use", "T");
        assert_eq!(printed(&unclear, &with_tools).unwrap(), "T");
        let error = printed(&unclear, &plain).unwrap_err().to_string();
        assert!(error.contains("`rag`, `tool_use`"), "{error}");
    }

    #[test]
    fn a_broken_template_is_said_when_it_is_used() {
        let texts = TemplateTexts::one("{% if %}");
        assert!(matches!(printed(&texts, &RenderOptions::answer()), Err(TemplateError::Syntax(_))));
    }

    #[test]
    fn further_tokens_have_variables() {
        let mut texts = TemplateTexts::one("{{ pad_token }}{{ sep_token }}{{ bos_token }}");
        texts.tokens = vec![("pad_token".into(), "<p>".into()), ("bos_token".into(), "no".into())];
        assert_eq!(printed(&texts, &RenderOptions::answer()).unwrap(), "<p>");
    }

    #[test]
    fn the_end_of_a_turn_is_what_the_template_writes() {
        let tokenizer = tokenizer(&["<|end_of_text|>", "<|fin|>", "<|next|>"]);
        let end = |source: &str| {
            let detected = ChatTemplate::detect(&TemplateTexts::one(source), &tokenizer).unwrap();
            detected.end_of_turn(&tokenizer)
        };
        let token = |name: &str| tokenizer.id_of(name).map(EndOfTurn::Token);
        let each = |before: &str, after: &str| {
            format!("{{% for m in messages %}}{before}{{{{ m.content }}}}{after}{{% endfor %}}")
        };
        assert_eq!(end(&each("", "<|fin|>")), token("<|fin|>"));
        assert_eq!(end(&each("<|next|>", "\n <|fin|>\n")), token("<|fin|>"));
        // The turn ends where the next one begins.
        assert_eq!(end(&each("<|next|>", "")), token("<|next|>"));
        assert_eq!(end(&each("", "<|im_end|>\n")), Some(EndOfTurn::Text("<|im_end|>".to_owned())));
        for none in ["", "\n\n", " ### Instruction: <|fin|>", "a > b", "<not a marker>"] {
            assert_eq!(end(&each("", none)), None, "{none}");
        }
        assert_eq!(end("{{ raise_exception('no') }}"), None);
        assert_eq!(end("{% if %}"), None);
        let between =
            "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|fin|>{% endif %}{% endfor %}";
        assert_eq!(end(between), token("<|fin|>"));
        // One that wants a conversation to begin with the assistant, or the user.
        let picky = "{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}";
        assert_eq!(end(&(picky.to_owned() + &each("", "<|fin|>"))), token("<|fin|>"));
    }

    #[test]
    fn an_official_template_writes_the_names_of_its_checkpoint() {
        let names = |bos: &str, eos: &str| SpecialNames { bos: bos.into(), eos: eos.into() };
        assert!(writes_names(ChatFormat::Llama31, &names("<|begin_of_text|>", "<|eot_id|>")));
        assert!(writes_names(ChatFormat::Llama2, &names("<s>", "</s>")));
        for (format, bos, eos) in [
            (ChatFormat::Llama31, "<BOS>", "<|eot_id|>"),
            (ChatFormat::Llama31, "", ""),
            (ChatFormat::Llama2, "<s>", "<|im_end|>"),
        ] {
            assert!(!writes_names(format, &names(bos, eos)));
        }
        let mut texts = TemplateTexts::one("[{{ bos_token }}{{ eos_token }}]");
        texts.names = Some(names("<s>", ""));
        assert_eq!(printed(&texts, &RenderOptions::answer()).unwrap(), "[<s>]");
    }
}
