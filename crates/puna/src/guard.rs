//! Llama Guard: whether the last message of a conversation is safe.

use puna_text::template::{
    ChatTemplate, GuardCategory, GuardVersion, Message, RenderOptions, TemplateOrigin,
};

use puna_engine::Tokens;
use puna_formats::quote;

use crate::{Error, Llama, Picture, PromptTokens};

/// What to ask a guard.
#[derive(Clone, Debug, Default)]
pub struct GuardOptions {
    /// The generation; told by the tokenizer and the checkpoint's name if `None`. With one, any model counts
    /// as a guard.
    pub version: Option<GuardVersion>,
    /// The categories; those of the version if `None`.
    pub categories: Option<Vec<GuardCategory>>,
    /// Codes of categories that are left out.
    pub exclude: Vec<String>,
}

/// A guard's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether it said `safe` (or `unsafe`); `None` if it said neither: then there is no verdict, and what was
    /// judged must not pass.
    pub is_safe: Option<bool>,
    /// The categories that it named, those that are known first.
    pub categories: Vec<GuardCategory>,
    /// The probability of `unsafe` where the verdict's first token is chosen, among all tokens; `None` if no
    /// verdict's first token was chosen.
    pub p_unsafe: Option<f64>,
    /// The answer.
    pub text: String,
    /// The generation whose prompt was used.
    pub version: GuardVersion,
}

/// The most tokens of an answer: a verdict and all codes.
const MAX_TOKENS: usize = 64;
/// The most tokens of blank space before the verdict.
const MAX_BLANK: usize = 4;

impl Llama {
    /// Whether the checkpoint says that it is a Llama Guard: by its name, or by a chat template that asks for
    /// unsafe content.
    pub fn is_guard(&self) -> bool {
        let path = std::path::absolute(self.path()).unwrap_or_else(|_| self.path().to_owned());
        let said = self.checkpoint_name().is_some_and(|name| names_a_guard(&name));
        said || names_a_guard(&path.to_string_lossy()) || self.text().judges()
    }

    /// Judges the last of `messages`; `pictures` are those of their image parts, in order.
    ///
    /// A model that is not a guard is refused, unless the options say which generation it is. A guard's answer
    /// may still be no verdict ([`Verdict::is_safe`]).
    pub fn guard(
        &self,
        messages: &[Message],
        pictures: &[Picture],
        options: &GuardOptions,
    ) -> Result<Verdict, Error> {
        if options.version.is_none() && !self.is_guard() {
            return Err(Error::NotAGuard { path: self.path().to_owned() });
        }
        let tokenizer = self.tokenizer()?;
        let version = options.version.unwrap_or_else(|| self.guard_version());
        let mut categories = options.categories.clone().unwrap_or_else(|| version.categories());
        if let Some(unknown) =
            options.exclude.iter().find(|code| !categories.iter().any(|c| c.code == **code))
        {
            let known: Vec<&str> = categories.iter().map(|c| c.code.as_str()).collect();
            return Err(Error::Request(format!(
                "there is no category {}\n  there are {}",
                quote(unknown),
                known.join(", ")
            )));
        }
        categories.retain(|category| !options.exclude.contains(&category.code));
        let prompt = match self.own_guard_template(version, options) {
            true => self.chat_prompt(messages, pictures, &RenderOptions::answer())?,
            false => self.rendered_prompt(&version.render(messages, &categories)?, pictures)?,
        };
        // A verdict's first token, `safe` or `unsafe`: the words as they continue a text, and as they begin one,
        // which where words begin with a blank is another token.
        let continuing = ["safe", "unsafe"].map(|word| {
            let mut ids = Vec::new();
            tokenizer.encode_continuation(word, &mut ids);
            ids.first().copied()
        });
        let beginning =
            ["safe", "unsafe"].map(|word| tokenizer.encode(word, Default::default()).first().copied());
        let verdicts = [continuing, beginning].map(|[safe, not_safe]| safe.zip(not_safe));
        let verdicts: Vec<(u32, u32)> =
            verdicts.into_iter().flatten().filter(|(safe, not_safe)| safe != not_safe).collect();
        if verdicts.is_empty() {
            return Err(Error::Unsupported("the tokenizer cannot write `safe`".into()));
        }
        let engine = self.engine();
        let mut past = engine.empty_past();
        let PromptTokens { ids, images, .. } = prompt;
        let mut logits = engine.extend(&mut past, Tokens { ids: &ids, images: &images })?;
        let mut ids: Vec<u32> = Vec::new();
        // Of the first token that is not blank, and nothing if it begins no verdict.
        let mut p_unsafe: Option<Option<f64>> = None;
        while ids.len() < MAX_TOKENS {
            let next =
                largest(&logits).ok_or_else(|| self.damaged("the model's output is not a number".into()))?;
            let is_blank = tokenizer.decode_continuation(&[next]).trim().is_empty();
            let begun = verdicts.iter().find(|(safe, not_safe)| next == *safe || next == *not_safe);
            if p_unsafe.is_none() && (!is_blank || ids.len() >= MAX_BLANK || begun.is_some()) {
                p_unsafe = Some(begun.map(|(_, not_safe)| probability(&logits, *not_safe as usize)));
            }
            if self.stop_ids().contains(&next) {
                break;
            }
            ids.push(next);
            logits = engine.extend(&mut past, &[next])?;
        }
        let text = tokenizer.decode_continuation(&ids).trim().to_owned();
        let (is_safe, codes) = parse(&text);
        let known = |code: &String| {
            let category = categories.iter().find(|category| category.code.eq_ignore_ascii_case(code));
            category.cloned().unwrap_or_else(|| GuardCategory { code: code.clone(), text: String::new() })
        };
        Ok(Verdict {
            is_safe,
            categories: codes.iter().map(known).collect(),
            p_unsafe: p_unsafe.flatten().filter(|_| is_safe.is_some()),
            text,
            version,
        })
    }

    /// By the tokenizer: that of Llama 2 is the first guard's, that of Llama 4 the fourth's; of Llama 3 there
    /// are two, which the name tells.
    fn guard_version(&self) -> GuardVersion {
        let has = |name| self.tokenizer().is_ok_and(|tokenizer| tokenizer.id_of(name).is_some());
        let name = self.path().to_string_lossy().to_lowercase();
        let is_second = ["guard-2", "guard2", "guard_2"].iter().any(|word| name.contains(word));
        match () {
            _ if has("<|header_start|>") => GuardVersion::V4,
            _ if has("<|start_header_id|>") && is_second => GuardVersion::V2,
            _ if has("<|start_header_id|>") => GuardVersion::V3,
            _ => GuardVersion::V1,
        }
    }

    /// Whether the checkpoint's own template is used: the first two guards' hold the policies that they were
    /// trained on.
    fn own_guard_template(&self, version: GuardVersion, options: &GuardOptions) -> bool {
        let plain = options.categories.is_none() && options.exclude.is_empty();
        let old = matches!(version, GuardVersion::V1 | GuardVersion::V2);
        let own = self.text().chat.as_ref().is_some_and(|found| {
            found.origin == TemplateOrigin::Checkpoint && matches!(found.template, ChatTemplate::Jinja(_))
        });
        old && plain && own
    }
}

/// Whether a name or path has the word `guard`: `Llama-Guard-3-8B`, `LlamaGuard-7b`, `my_guard2.gguf`.
fn names_a_guard(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        matches!(word, "guard" | "llamaguard")
    })
}

/// The place of the largest logit; `None` if one is no number.
fn largest(logits: &[f32]) -> Option<u32> {
    if logits.iter().any(|x| x.is_nan()) {
        return None;
    }
    let best = (0..logits.len()).reduce(|best, i| if logits[i] > logits[best] { i } else { best })?;
    Some(best as u32)
}

/// The softmax of logit `i`.
fn probability(logits: &[f32], i: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|x| (*x as f64 - max).exp()).sum();
    (logits[i] as f64 - max).exp() / sum
}

/// What an answer says, and the codes on its second line. Only the word itself is `safe`; what begins with
/// `unsafe` is that.
fn parse(text: &str) -> (Option<bool>, Vec<String>) {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().to_lowercase();
    let mut words = first.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_safe = match (words.next(), words.next()) {
        (Some("unsafe"), _) => Some(false),
        (Some("safe"), None) => Some(true),
        _ => None,
    };
    let second = lines.next().filter(|_| is_safe == Some(false)).unwrap_or_default();
    let codes = second.split(',').map(|code| code.trim().to_uppercase()).filter(|code| !code.is_empty());
    (is_safe, codes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        assert_eq!(parse("\n\nsafe"), (Some(true), vec![]));
        assert_eq!(parse("unsafe\nS1, s10"), (Some(false), vec!["S1".to_owned(), "S10".to_owned()]));
        assert_eq!(parse("Unsafe"), (Some(false), vec![]));
        assert_eq!(parse("safe."), (Some(true), vec![]));
        for none in ["I cannot", "safety first", "safe to say, it is not", "saf", "is unsafe", "unsafely"] {
            assert_eq!(parse(none), (None, vec![]), "{none}");
        }
        assert_eq!(parse(""), (None, vec![]));
    }

    #[test]
    fn guards_are_known_by_their_names() {
        for name in ["Llama-Guard-3-8B", "/m/LlamaGuard-7b/model.gguf", "meta_llama_guard2.gguf", "guard"] {
            assert!(names_a_guard(name), "{name}");
        }
        for name in ["/home/guardian/llama.gguf", "vanguard-8b", "safeguards", ""] {
            assert!(!names_a_guard(name), "{name}");
        }
    }

    /// A model that is not a guard is refused before it is asked; called one, it answers something, which is
    /// no verdict and has no probability.
    #[test]
    fn only_guards_judge() {
        let llama = Llama::builtin().unwrap();
        let messages = [Message::new("user", "Tell me a story.")];
        let error = llama.guard(&messages, &[], &GuardOptions::default()).unwrap_err();
        assert!(
            matches!(&error, Error::NotAGuard { .. }) && error.to_string().contains("built-in"),
            "{error}"
        );
        let options = GuardOptions { version: Some(GuardVersion::V1), ..GuardOptions::default() };
        let verdict = llama.guard(&messages, &[], &options).unwrap();
        assert_eq!((verdict.version, verdict.is_safe), (GuardVersion::V1, None));
        assert_eq!(verdict.p_unsafe, None);
        assert!(!verdict.text.is_empty());
        let excluding = GuardOptions { exclude: vec!["S99".into()], ..options.clone() };
        assert!(llama.guard(&messages, &[], &excluding).unwrap_err().to_string().contains("S99"));
        assert!(llama.guard(&[], &[], &options).is_err());
        assert!((probability(&[0.0, 2f32.ln()], 1) - 2.0 / 3.0).abs() < 1e-6);
    }
}
