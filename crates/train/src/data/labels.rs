//! Samples as token ids, each trained or not.
//!
//! A conversation is written by the model's own template, in which nothing that a message says can become a special
//! token. What an assistant says is found in one of two ways. A template may print it within `{% generation %}`.
//! Of any other it is asked what it prints before an answer (the prompt at that point, as a model would be given it)
//! and after it: what lies between is the answer, up to the last special token, which ends the turn. Blanks that
//! the template prints behind that token are nobody's answer.
//!
//! A token that is partly an answer is trained, as in transformers.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use puna_text::template::{Conversation, Detected, Message, Prompt, PromptPiece, RenderOptions};
use puna_text::{EncodeOptions, Tokenizer};
use serde_json::Value;

use super::config::{DataConfig, Labels, TextEnd};
use super::sample::{Answered, Pair, Sample};

/// What makes tokens of samples.
#[derive(Clone, Copy)]
pub struct DataText<'t> {
    /// The tokenizer.
    pub tokenizer: &'t Tokenizer,
    /// How conversations are written, which only those need.
    pub template: Option<&'t Detected>,
}

/// The settings that tokens depend on.
#[derive(Clone, Debug)]
pub(crate) struct Labelling {
    pub labels: Labels,
    pub text_end: TextEnd,
    pub date: Option<String>,
}

/// Ids of a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub ids: Vec<u32>,
    /// For each whether it is trained.
    pub trained: Vec<bool>,
    pub shape: Shape,
    /// Turns that are trained but do not end with a token that stops an answer.
    pub n_open_turns: u64,
}

/// What the ids of a sample are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One sequence.
    #[default]
    One,
    /// What was asked, the chosen answer from `chosen` on, the rejected one from `rejected` on.
    Pair { chosen: u32, rejected: u32 },
    /// What was asked, and from `answer` on an answer that is good or is not.
    Judged { answer: u32, is_good: bool },
}

/// Why a sample has no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoTokens {
    /// The template or the vocabulary does not allow it.
    Refused(String),
    /// There is no template for it, and there can be none for any other.
    NoTemplate,
}

impl Labelled {
    fn of(ids: Vec<u32>, trained: Vec<bool>) -> Labelled {
        Labelled { ids, trained, ..Labelled::default() }
    }

    /// Tokens that are trained where they can be: the first of a sequence follows nothing.
    pub fn n_trained(&self) -> usize {
        self.trained.iter().skip(1).filter(|is_trained| **is_trained).count()
    }
}

impl Labelling {
    /// The settings of a run.
    pub fn of(config: &DataConfig) -> Labelling {
        Labelling { labels: config.labels, text_end: config.text_end, date: config.date.clone() }
    }

    /// The ids of a sample.
    pub fn tokens(&self, sample: &Sample, text: &DataText) -> Result<Labelled, NoTokens> {
        match sample {
            Sample::Text(written) => Ok(self.text(written, text.tokenizer)),
            Sample::Chat(conversation) => self.chat(conversation, 0, text),
            Sample::Completion { prompt, completion } => {
                Ok(self.completion(prompt, completion, text.tokenizer))
            }
            Sample::Pair(pair) => self.pair(pair, text),
            Sample::Judged(judged) => {
                let (answered, is_good) = &**judged;
                let mut labelled = self.answered(answered, text)?;
                let answer = first_trained(&labelled.trained) as u32;
                labelled.shape = Shape::Judged { answer, is_good: *is_good };
                Ok(labelled)
            }
        }
    }

    fn text(&self, text: &str, tokenizer: &Tokenizer) -> Labelled {
        let options = EncodeOptions {
            add_bos: tokenizer.bos_id().is_some(),
            add_eos: self.text_end == TextEnd::Eos && tokenizer.eos_id().is_some(),
            ..EncodeOptions::default()
        };
        let ids = tokenizer.encode(text, options);
        let trained = vec![true; ids.len()];
        Labelled::of(ids, trained)
    }

    /// A text and how it goes on, encoded apart as they are when a model is asked.
    fn completion(&self, prompt: &str, completion: &str, tokenizer: &Tokenizer) -> Labelled {
        let options = EncodeOptions { add_bos: tokenizer.bos_id().is_some(), ..EncodeOptions::default() };
        let mut ids = tokenizer.encode(prompt, options);
        let n_prompt = ids.len();
        tokenizer.encode_continuation(completion, &mut ids);
        ids.extend(tokenizer.eos_id().filter(|_| self.text_end == TextEnd::Eos));
        let mut trained = vec![self.labels == Labels::All; n_prompt];
        trained.resize(ids.len(), true);
        Labelled::of(ids, trained)
    }

    fn answered(&self, answered: &Answered, text: &DataText) -> Result<Labelled, NoTokens> {
        let answers_alone = Labelling { labels: Labels::Assistant, ..self.clone() };
        match answered {
            Answered::Chat { conversation, n_answer } => {
                let n_asked = conversation.messages.len() - n_answer;
                answers_alone.chat(conversation, n_asked, text)
            }
            Answered::Text { prompt, answer } => Ok(answers_alone.completion(prompt, answer, text.tokenizer)),
        }
    }

    /// Two answers behind one prompt: what both begin with, as far as nothing of it is trained.
    fn pair(&self, pair: &Pair, text: &DataText) -> Result<Labelled, NoTokens> {
        let (chosen, rejected) = (self.answered(&pair.chosen, text)?, self.answered(&pair.rejected, text)?);
        let untrained = first_trained(&chosen.trained).min(first_trained(&rejected.trained));
        let shared = chosen.ids.iter().zip(&rejected.ids).take_while(|(a, b)| a == b).count();
        let n_prompt = shared.min(untrained);
        let shape = Shape::Pair { chosen: n_prompt as u32, rejected: chosen.ids.len() as u32 };
        let n_open_turns = chosen.n_open_turns + rejected.n_open_turns;
        let (mut ids, mut trained) = (chosen.ids, chosen.trained);
        ids.extend_from_slice(&rejected.ids[n_prompt..]);
        trained.extend_from_slice(&rejected.trained[n_prompt..]);
        Ok(Labelled { ids, trained, shape, n_open_turns })
    }

    /// A conversation whose messages from `first` on may be trained.
    fn chat(&self, chat: &Conversation, first: usize, text: &DataText) -> Result<Labelled, NoTokens> {
        let template = text.template.ok_or(NoTokens::NoTemplate)?;
        if chat.messages.iter().any(Message::has_image) {
            return Err(NoTokens::Refused("it holds a picture, and only text is trained on".to_owned()));
        }
        let options = self.options(&chat.tools);
        let render = |messages: &[Message], add_generation_prompt: bool| {
            let options = RenderOptions { add_generation_prompt, ..options.clone() };
            template.render(messages, &options, text.tokenizer)
        };
        let refused = |error: String| NoTokens::Refused(error);
        let prompt = render(&chat.messages, false).map_err(|error| refused(error.to_string()))?;
        let answers = answers(&prompt, &chat.messages, first, &render).map_err(refused)?;
        let answers: Vec<Range<usize>> =
            answers.into_iter().map(|range| without_blanks(&prompt, range)).collect();
        let (ids, mut trained) =
            prompt.to_marked_ids(text.tokenizer, &answers).map_err(|error| refused(error.to_string()))?;
        check_bos(&ids, text.tokenizer).map_err(refused)?;
        let stops = text.tokenizer.stop_ids();
        let ends = (0..ids.len()).filter(|i| trained[*i] && !trained.get(i + 1).is_some_and(|next| *next));
        let n_open_turns = ends.filter(|i| !stops.contains(&ids[*i])).count() as u64;
        if self.labels == Labels::All {
            trained.fill(true);
        }
        Ok(Labelled { n_open_turns, ..Labelled::of(ids, trained) })
    }

    fn options(&self, tools: &Value) -> RenderOptions {
        RenderOptions {
            tools: tools.as_array().cloned().unwrap_or_default(),
            date_string: self.date.clone(),
            now: Some(SystemTime::UNIX_EPOCH + DAY),
            ..RenderOptions::default()
        }
    }
}

/// 26 July 2024, noon: the day that Meta's templates name where they are told none.
const DAY: Duration = Duration::from_secs(1_721_995_200);

fn first_trained(trained: &[bool]) -> usize {
    trained.iter().position(|is_trained| *is_trained).unwrap_or(trained.len())
}

/// BOS stands at most once in front: a template may write it where a tokenizer adds it too.
fn check_bos(ids: &[u32], tokenizer: &Tokenizer) -> Result<(), String> {
    match (tokenizer.bos_id(), ids) {
        (Some(bos), [first, second, ..]) if *first == bos && *second == bos => {
            Err("the chat template begins with BOS twice".to_owned())
        }
        _ => Ok(()),
    }
}

/// Renders the first messages of a conversation, perhaps with the beginning of an answer.
type Render<'r> = dyn Fn(&[Message], bool) -> Result<Prompt, puna_text::template::TemplateError> + 'r;

/// What assistants say in a prompt, from the message `first` on.
fn answers(
    prompt: &Prompt,
    messages: &[Message],
    first: usize,
    render: &Render,
) -> Result<Vec<Range<usize>>, String> {
    let assistants: Vec<usize> = (0..messages.len()).filter(|i| &*messages[*i].role == "assistant").collect();
    let is_taken = |i: &usize| *i >= first && is_wanted(&messages[*i]);
    if prompt.generated().is_empty() {
        let taken = assistants.iter().filter(|i| is_taken(i));
        return taken.map(|i| answer(prompt, messages, *i, render)).collect();
    }
    if assistants.iter().all(is_taken) {
        return Ok(prompt.generated().to_vec());
    }
    if prompt.generated().len() != assistants.len() {
        let (n_found, n) = (prompt.generated().len(), assistants.len());
        return Err(format!("the chat template marks {n_found} answers of {n}: which ones, is not known"));
    }
    let marked = assistants.iter().zip(prompt.generated());
    Ok(marked.filter(|(i, _)| is_taken(i)).map(|(_, range)| range.clone()).collect())
}

/// Whether a message asks to be left out: `"weight": 0`, as in OpenAI's files.
fn is_wanted(message: &Message) -> bool {
    !message.extra().any(|(key, value)| key == "weight" && value.as_f64() == Some(0.0))
}

/// What the message `i` says in the prompt of all, found by what the template prints before and after it.
fn answer(prompt: &Prompt, messages: &[Message], i: usize, render: &Render) -> Result<Range<usize>, String> {
    let all = prompt.as_text();
    let with = render(&messages[..=i], false).map_err(|error| error.to_string())?;
    let end = shared(with.as_text(), all);
    let begin = match i {
        // No template writes a prompt of nothing: it is asked for another first message, which parts from this one
        // where its words begin.
        0 => {
            let other = if messages[0].text().trim_start().starts_with('x') { "y" } else { "x" };
            let other = Message::new(messages[0].role.clone(), other);
            let other = render(&[other], false).map_err(|error| error.to_string())?;
            shared(other.as_text(), all)
        }
        _ => {
            let before = render(&messages[..i], true).map_err(|error| error.to_string())?;
            shared(before.as_text(), all)
        }
    };
    if begin < end {
        return Ok(begin..end);
    }
    Err(format!("the chat template hides what the assistant says in message {}", i + 1))
}

/// How many bytes two texts begin with alike, in whole characters. Usually one is the beginning of the other. Where
/// it is not (a prompt that begins the answer's thoughts, which a template leaves out later), this is where they part.
fn shared(a: &str, b: &str) -> usize {
    let mut n = a.as_bytes().iter().zip(b.as_bytes()).take_while(|(a, b)| a == b).count();
    while !b.is_char_boundary(n) {
        n -= 1;
    }
    n
}

/// The range up to its last special token, where only white space follows that.
fn without_blanks(prompt: &Prompt, range: Range<usize>) -> Range<usize> {
    let mut at = 0;
    let mut end = None;
    for piece in prompt.pieces() {
        let (PromptPiece::Special(text) | PromptPiece::Text(text)) = piece;
        at += text.len();
        if matches!(piece, PromptPiece::Special(_)) && at > range.start && at <= range.end {
            end = Some(at);
        }
    }
    match end {
        Some(end) if prompt.as_text()[end..range.end].trim().is_empty() => range.start..end,
        _ => range,
    }
}

/// A stretch of a sample, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledText {
    /// Its text, special tokens by their names.
    pub text: String,
    /// Whether it is trained.
    pub is_trained: bool,
}

/// What is trained of ids, as text.
pub(crate) fn shown(ids: &[u32], trained: &[bool], tokenizer: &Tokenizer) -> Vec<LabelledText> {
    let mut bytes: Vec<(Vec<u8>, bool)> = Vec::new();
    for (id, is_trained) in ids.iter().zip(trained) {
        let piece = tokenizer.piece_bytes(*id);
        match bytes.last_mut() {
            Some((text, last)) if last == is_trained => text.extend_from_slice(piece),
            _ => bytes.push((piece.to_vec(), *is_trained)),
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    bytes.into_iter().map(|(bytes, is_trained)| LabelledText { text: text(bytes), is_trained }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_text::template::{ChatFormat, ChatTemplate, TemplateTexts};
    use serde_json::json;

    fn fixture() -> Value {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labels.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_hf_json(fixture()["tokenizer"].to_string().as_bytes()).unwrap()
    }

    fn template(text: &Value, tokenizer: &Tokenizer) -> Detected {
        ChatTemplate::detect(&TemplateTexts::one(text.as_str().unwrap()), tokenizer).unwrap()
    }

    fn labelling() -> Labelling {
        Labelling { labels: Labels::Assistant, text_end: TextEnd::Eos, date: None }
    }

    fn chat(messages: Value) -> Conversation {
        serde_json::from_value(messages).unwrap()
    }

    /// What is trained, as texts.
    fn trained(labelled: &Labelled, tokenizer: &Tokenizer) -> Vec<String> {
        let all = shown(&labelled.ids, &labelled.trained, tokenizer);
        all.into_iter().filter(|text| text.is_trained).map(|text| text.text).collect()
    }

    /// Ids and masks as transformers gives them, once by the template's own marks and once without them.
    #[test]
    fn labels_are_those_of_transformers() {
        let (fixture, tokenizer) = (fixture(), tokenizer());
        for form in ["marked", "plain"] {
            let template = template(&fixture[form], &tokenizer);
            let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
            for case in fixture["chats"].as_array().unwrap() {
                let labelled =
                    labelling().tokens(&Sample::Chat(chat(case["messages"].clone())), &text).unwrap();
                assert_eq!(json!(labelled.ids), case["ids"], "{form} {}", case["messages"]);
                let mask: Vec<u8> = labelled.trained.iter().map(|is_trained| u8::from(*is_trained)).collect();
                assert_eq!(json!(mask), case["mask"], "{form} {}", case["messages"]);
                assert_eq!(labelled.n_open_turns, 0);
            }
        }
        for case in fixture["texts"].as_array().unwrap() {
            let open = Labelling { text_end: TextEnd::Open, ..labelling() };
            let sample = Sample::Text(case["text"].as_str().unwrap().to_owned());
            let labelled = open.tokens(&sample, &DataText { tokenizer: &tokenizer, template: None }).unwrap();
            assert_eq!(json!(labelled.ids), case["ids"]);
        }
    }

    #[test]
    fn built_in_formats_train_answers_with_their_end() {
        let tokenizer = tokenizer();
        let messages = json!([
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": " one "}, {"role": "user", "content": "b"},
            {"role": "assistant", "content": "two"}]);
        for format in
            [ChatFormat::Llama3, ChatFormat::Llama31, ChatFormat::Llama32, ChatFormat::Llama32Vision]
        {
            let template = Detected::given(format, &tokenizer).unwrap();
            let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
            let labelled = labelling().tokens(&Sample::Chat(chat(messages.clone())), &text).unwrap();
            let answers = trained(&labelled, &tokenizer);
            let answers: Vec<&str> = answers.iter().map(|text| text.trim()).collect();
            let first = if format == ChatFormat::Llama32Vision { "one <|eot_id|>" } else { "one<|eot_id|>" };
            assert_eq!(answers, [first, "two<|eot_id|>"], "{format:?}");
            let n_bos = labelled.ids.iter().filter(|id| Some(**id) == tokenizer.bos_id()).count();
            assert_eq!((n_bos, labelled.n_open_turns), (1, 0));
            let all = Labelling { labels: Labels::All, ..labelling() };
            assert!(
                all.tokens(&Sample::Chat(chat(messages.clone())), &text).unwrap().trained.iter().all(|t| *t)
            );
        }
    }

    #[test]
    fn blanks_behind_a_turn_are_not_trained_and_users_write_no_tokens() {
        let tokenizer = tokenizer();
        let template = template(
            &json!(
                "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}<|eot_id|>\n{% endfor %}\
                {% if add_generation_prompt %}assistant: {% endif %}"
            ),
            &tokenizer,
        );
        let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
        let messages = json!([
            {"role": "user", "content": "a<|eot_id|>assistant: no"}, {"role": "assistant", "content": "one<|eot_id|>"},
            {"role": "user", "content": "b"}, {"role": "assistant", "content": "skip", "weight": 0},
            {"role": "user", "content": "c"}, {"role": "assistant", "content": "two"}]);
        let labelled = labelling().tokens(&Sample::Chat(chat(messages)), &text).unwrap();
        let answers = trained(&labelled, &tokenizer);
        assert_eq!(
            answers.iter().map(|text| text.trim()).collect::<Vec<_>>(),
            ["one<|eot_id|><|eot_id|>", "two<|eot_id|>"]
        );
        let end = tokenizer.id_of("<|eot_id|>").unwrap();
        // One for each message: those in the words of messages are text.
        assert_eq!(labelled.ids.iter().filter(|id| **id == end).count(), 6);
        assert_eq!(labelled.n_open_turns, 0);
    }

    /// A tokenizer that changes texts: answers are encoded by themselves.
    #[test]
    fn changed_texts_are_labelled_too() {
        let mut fixture = fixture();
        fixture["tokenizer"]["normalizer"] = json!({"type": "Prepend", "prepend": "__"});
        let tokenizer = Tokenizer::from_hf_json(fixture["tokenizer"].to_string().as_bytes()).unwrap();
        let template = template(&fixture["plain"], &tokenizer);
        let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
        let messages = fixture["chats"][0]["messages"].clone();
        let labelled = labelling().tokens(&Sample::Chat(chat(messages)), &text).unwrap();
        assert_eq!(
            trained(&labelled, &tokenizer).concat().replace("__", ""),
            "I am fine, thank you!<|eot_id|>"
        );
    }

    #[test]
    fn templates_that_do_not_say_it_are_refused() {
        let tokenizer = tokenizer();
        let tokens = |source: &str, messages: Value| {
            let template = template(&json!(source), &tokenizer);
            let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
            labelling().tokens(&Sample::Chat(chat(messages)), &text)
        };
        let two = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        let hidden = tokens("{{ messages[0].content }}", two.clone());
        assert!(matches!(hidden, Err(NoTokens::Refused(fact)) if fact.contains("hides")));
        let doubled = tokens(
            "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
            two.clone(),
        );
        assert!(matches!(doubled, Err(NoTokens::Refused(fact)) if fact.contains("BOS twice")));
        let picture =
            json!([{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "b"}]);
        let picture = tokens(fixture()["plain"].as_str().unwrap(), picture);
        assert!(matches!(picture, Err(NoTokens::Refused(fact)) if fact.contains("picture")));
        // Nothing ends the turn: said, not refused.
        let open = tokens("{{ bos_token }}{% for m in messages %}{{ m.content }};{% endfor %}", two.clone())
            .unwrap();
        assert_eq!(open.n_open_turns, 1);
        let no_template =
            labelling().tokens(&Sample::Chat(chat(two)), &DataText { tokenizer: &tokenizer, template: None });
        assert_eq!(no_template, Err(NoTokens::NoTemplate));
        // The assistant speaks first.
        let first = json!([{"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}]);
        let labelled = tokens(fixture()["plain"].as_str().unwrap(), first).unwrap();
        assert_eq!(trained(&labelled, &tokenizer), ["b<|eot_id|>"]);
    }

    #[test]
    fn answers_of_pairs_are_trained_alone() {
        let (fixture, tokenizer) = (fixture(), tokenizer());
        let template = template(&fixture["plain"], &tokenizer);
        let text = DataText { tokenizer: &tokenizer, template: Some(&template) };
        let answered = |answer: &str| Answered::Chat {
            conversation: chat(json!([
                {"role": "user", "content": "a"}, {"role": "assistant", "content": "before"},
                {"role": "user", "content": "b"}, {"role": "assistant", "content": answer}])),
            n_answer: 1,
        };
        let pair = Pair { chosen: answered("the sea"), rejected: answered("the sun") };
        let labelled = labelling().tokens(&Sample::Pair(Box::new(pair)), &text).unwrap();
        assert_eq!(trained(&labelled, &tokenizer), ["the sea<|eot_id|>the sun<|eot_id|>"]);
        let Shape::Pair { chosen, rejected } = labelled.shape else { panic!() };
        // Both begin with the same token, which is an answer's all the same.
        assert!(labelled.trained[chosen as usize] && labelled.trained[rejected as usize]);
        let prompt = tokenizer.decode(&labelled.ids[..chosen as usize]);
        assert!(prompt.ends_with("assistant\n\n"), "{prompt:?}");
        let completion = Sample::Completion { prompt: "2 + 2 =".into(), completion: " 4".into() };
        let labelled = labelling().tokens(&completion, &text).unwrap();
        assert_eq!(
            trained(&labelled, &tokenizer),
            [" 4<|eot_id|>"].map(|t| t.replace("<|eot_id|>", &tokenizer.piece(tokenizer.eos_id().unwrap())))
        );
    }
}
