//! Llama 2 chat, and Code Llama Instruct up to 34B: `[INST]` blocks.
//!
//! The markers are ordinary text for the tokenizer, so a user who writes them can forge a turn;
//! [`contains_markers`] tells, and Meta's own code refuses such prompts. Each block is one text for
//! SentencePiece, with BOS and EOS around it as ids.

use crate::template::prompt::Prompt;
use crate::template::{Message, RenderOptions, TemplateError, python_strip};

const BOS: &str = "<s>";
const EOS: &str = "</s>";

/// Whether any message holds one of the format's own markers.
pub fn contains_markers(messages: &[Message]) -> bool {
    let markers = ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"];
    messages.iter().any(|message| {
        let text = message.text();
        markers.iter().any(|marker| text.contains(marker))
    })
}

/// The prompt for `messages`. The format has no generation header, and no tools.
pub(crate) fn render(messages: &[Message], _options: &RenderOptions) -> Result<Prompt, TemplateError> {
    let (system, turns) = match messages.split_first() {
        Some((first, rest)) if first.role == "system" => (Some(first.text()), rest),
        Some(_) => (None, messages),
        None => return Err(TemplateError::no_messages()),
    };
    let mut prompt = Prompt::of_separate_texts();
    for (n, message) in turns.iter().enumerate() {
        if (message.role == "user") != n.is_multiple_of(2) {
            let what = "Conversation roles must alternate user/assistant/user/assistant/...";
            return Err(TemplateError::Refused(what.to_owned()));
        }
        if message.has_image() {
            return Err(TemplateError::Refused("Llama 2 cannot see images".to_owned()));
        }
        let text = match system.as_ref().filter(|_| n == 0) {
            Some(system) => format!("<<SYS>>\n{system}\n<</SYS>>\n\n{}", message.text()),
            None => message.text(),
        };
        let text = python_strip(&text);
        match &*message.role {
            "user" => prompt.special(BOS).text(format!("[INST] {text} [/INST]")),
            "assistant" => prompt.text(format!(" {text} ")).special(EOS),
            _ => &mut prompt,
        };
    }
    Ok(prompt)
}
