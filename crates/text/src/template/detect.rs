//! Which chat format a checkpoint wants.

use crate::template::{ChatFormat, JinjaTemplate, Message, Prompt, RenderOptions, TemplateError};
use crate::tokenizer::Tokenizer;

/// How a conversation becomes a prompt.
#[derive(Debug)]
pub enum ChatTemplate {
    /// A format this program writes itself.
    BuiltIn(ChatFormat),
    /// The checkpoint's own template.
    Jinja(Box<JinjaTemplate>),
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
}

/// What was found.
#[derive(Debug)]
pub struct Detected {
    /// The template.
    pub template: ChatTemplate,
    /// Why this one.
    pub origin: TemplateOrigin,
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
    /// Chooses by the text of the checkpoint's template, if it has one, and otherwise by the tokenizer's
    /// special tokens. `None` means that nothing speaks for a chat model: its prompts are raw text.
    pub fn detect(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Option<Detected>, TemplateError> {
        if let Some(text) = template {
            let print = fingerprint(text);
            let official = OFFICIAL.iter().find(|(known, _)| *known == print);
            return Ok(Some(match official {
                Some((_, format)) => {
                    Detected { template: ChatTemplate::BuiltIn(*format), origin: TemplateOrigin::Official }
                }
                None => Detected {
                    template: ChatTemplate::Jinja(Box::new(JinjaTemplate::new(text)?)),
                    origin: TemplateOrigin::Checkpoint,
                },
            }));
        }
        let has = |name: &str| tokenizer.id_of(name).is_some_and(|id| tokenizer.is_special(id));
        let format = if has("<|header_start|>") {
            ChatFormat::Llama4
        } else if has("<|start_header_id|>") && has("<|eom_id|>") {
            ChatFormat::Llama31
        } else if has("<|start_header_id|>") {
            ChatFormat::Llama3
        } else {
            return Ok(None);
        };
        let template = ChatTemplate::BuiltIn(format);
        Ok(Some(Detected { template, origin: TemplateOrigin::SpecialTokens }))
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
        }
    }
}

/// FNV-1a, 64 bits, of the text with `\n` line ends and without white space around it. Not a defence: a
/// template that was forged to collide could as well say what it wants openly.
fn fingerprint(text: &str) -> u64 {
    let bytes = text.trim().bytes().filter(|byte| *byte != b'\r');
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
