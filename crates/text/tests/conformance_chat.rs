//! Chat prompts against the official templates run by Jinja2 (`chat/jinja.vectors.json`), Meta's own code
//! (`chat/meta_chat_format.vectors.json`), and the examples of Meta's documents.

mod common;

use std::path::Path;

use common::{fixtures, ids, read_json, real_tokenizer};
use puna_conformance::skip;
use puna_text::template::{
    ChatFormat, ChatTemplate, Content, JinjaTemplate, Message, MetaFormat, Part, Prompt, PromptPiece,
    RenderOptions, SpecialNames, TemplateError, TemplateOrigin, TemplateTexts, ToolCallSyntax, llama2,
};
use puna_text::{EncodeOptions, Tokenizer};
use serde_json::Value;

/// A template of the vectors with everything that belongs to it.
struct Official {
    name: String,
    source: String,
    names: SpecialNames,
    cases: Vec<Value>,
}

fn official_templates(fixtures: &Path) -> Vec<Official> {
    let vectors = read_json(&fixtures.join("chat/jinja.vectors.json"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let templates = vectors["templates"].as_object().unwrap().iter().map(|(name, entry)| Official {
        name: name.clone(),
        source: std::fs::read_to_string(fixtures.join(text(&entry["template_file"]))).unwrap(),
        names: SpecialNames {
            bos: text(&entry["special_tokens"]["bos_token"]),
            eos: text(&entry["special_tokens"]["eos_token"]),
        },
        cases: entry["cases"].as_array().unwrap().clone(),
    });
    templates.collect()
}

/// Messages and options of a case. The vectors' own day stands in for today where it shows in the output.
fn inputs(case: &Value) -> (Vec<Message>, RenderOptions) {
    let mut options = case["inputs"].clone();
    let messages = options.as_object_mut().unwrap().remove("messages").unwrap();
    let messages = serde_json::from_value(messages).unwrap();
    let mut options: RenderOptions = serde_json::from_value(options).unwrap();
    if options.date_string.is_none()
        && let Some(rendered) = case["rendered"].as_str()
        && let Some(after) = rendered.split("\nToday Date: ").nth(1)
        && let Some(date) = after.split('\n').next()
        && date != "26 Jul 2024"
    {
        options.date_string = Some(date.to_owned());
    }
    (messages, options)
}

/// All real tokenizers, by name.
fn tokenizers(fixtures: &Path) -> Vec<Tokenizer> {
    let entries = std::fs::read_dir(fixtures.join("tokenizer")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let names = names.iter().filter_map(|name| name.strip_suffix(".tokenizer.model"));
    names.map(|name| real_tokenizer(fixtures, name)).collect()
}

/// The tokenizer a template belongs to, told by its special tokens.
fn tokenizer_for(tokenizers: &[Tokenizer], official: &Official) -> Option<Tokenizer> {
    let names = [&official.names.bos, &official.names.eos];
    let mut fitting =
        tokenizers.iter().filter(|tokenizer| names.iter().all(|name| tokenizer.id_of(name).is_some()));
    let found = fitting.next().cloned();
    if found.is_none() {
        skip(&official.name, "no tokenizer of this set has its special tokens");
    }
    found
}

fn check(name: &str, case: &Value, found: Result<String, TemplateError>) {
    match (case["rendered"].as_str(), found) {
        (Some(rendered), Ok(text)) => assert_eq!(text, rendered, "{name}: {}", case["inputs"]),
        (None, Err(error)) => {
            let said = case["error"].as_str().unwrap();
            let message = said.strip_prefix("TemplateError: ").unwrap_or(said);
            assert!(error.to_string().contains(message), "{name}: {error}, not {said}");
        }
        (expected, found) => panic!("{name}: {} gave {found:?}, not {expected:?}", case["inputs"]),
    }
}

#[test]
fn conformance_jinja_strings() {
    let Some(fixtures) = fixtures() else { return };
    for official in official_templates(&fixtures) {
        let template = JinjaTemplate::new(&official.source).unwrap();
        for case in &official.cases {
            let (messages, options) = inputs(case);
            check(&official.name, case, template.render_text(&messages, &options, &official.names));
        }
    }
}

#[test]
fn conformance_built_in_strings() {
    let Some(fixtures) = fixtures() else { return };
    let tokenizers = tokenizers(&fixtures);
    let mut n_built_in = 0;
    for official in official_templates(&fixtures) {
        let Some(tokenizer) = tokenizer_for(&tokenizers, &official) else { continue };
        let detected = ChatTemplate::detect(&TemplateTexts::one(&official.source), &tokenizer).unwrap();
        // Those that are not built in run as Jinja, which is tested above.
        let ChatTemplate::BuiltIn(format) = detected.template else { continue };
        n_built_in += 1;
        assert_eq!(detected.origin, TemplateOrigin::Official);
        for case in &official.cases {
            let (messages, options) = inputs(case);
            check(&official.name, case, format.render(&messages, &options).map(|prompt| prompt.to_text()));
        }
    }
    assert!(n_built_in > 0);
}

/// The ids of a prompt are those of the rendered string tokenised as a whole with special tokens on, as
/// long as no message holds the name of a special token. Built-in and Jinja prompts are the same.
#[test]
fn conformance_prompt_ids() {
    let Some(fixtures) = fixtures() else { return };
    let tokenizers = tokenizers(&fixtures);
    for official in official_templates(&fixtures) {
        let Some(mut tokenizer) = tokenizer_for(&tokenizers, &official) else { continue };
        let config = puna_text::HfTokenizerConfig {
            bos_token: Some(official.names.bos.clone()),
            eos_token: Some(official.names.eos.clone()),
            ..Default::default()
        };
        tokenizer.configure(&config).unwrap();
        let jinja = JinjaTemplate::new(&official.source).unwrap();
        let detected = ChatTemplate::detect(&TemplateTexts::one(&official.source), &tokenizer).unwrap();
        for case in &official.cases {
            let (messages, options) = inputs(case);
            let Ok(prompt) = jinja.render(&messages, &options, &tokenizer) else { continue };
            let text = prompt.to_text();
            assert_eq!(Some(text.as_str()), case["rendered"].as_str(), "{}", official.name);
            let built_in = detected.template.render(&messages, &options, &tokenizer).unwrap();
            assert!(built_in.pieces().eq(prompt.pieces()), "{}", official.name);

            let found = prompt.to_ids(&tokenizer).unwrap();
            assert_eq!(built_in.to_ids(&tokenizer).unwrap(), found, "{}", official.name);
            let n_bos = found.iter().filter(|id| Some(**id) == tokenizer.bos_id()).count();
            // BOS strings that a message holds are its words, and no tokens.
            let in_words: usize =
                words_of(&prompt).map(|words| words.matches(&official.names.bos).count()).sum();
            let n_bos_expected = text.matches(&official.names.bos).count() - in_words;
            assert_eq!(n_bos, n_bos_expected, "{}", official.name);
            if holds_special_names(&prompt, &tokenizer) {
                continue; // the whole string would be tokenised into forged special tokens
            }
            let options = EncodeOptions { parse_special: true, ..Default::default() };
            assert_eq!(found, tokenizer.encode(&text, options), "{}: {text:?}", official.name);
        }
    }
}

/// The texts of a prompt, without its special tokens.
fn words_of(prompt: &Prompt) -> impl Iterator<Item = &str> {
    prompt.pieces().filter_map(|piece| match piece {
        PromptPiece::Text(text) => Some(text),
        PromptPiece::Special(_) => None,
    })
}

fn holds_special_names(prompt: &Prompt, tokenizer: &Tokenizer) -> bool {
    let special = tokenizer.special_tokens();
    words_of(prompt).any(|words| special.iter().any(|(name, _)| words.contains(name)))
}

/// Whatever users write, they cannot write a special token.
#[test]
fn conformance_prompts_cannot_be_forged() {
    let Some(fixtures) = fixtures() else { return };
    let tokenizers = tokenizers(&fixtures);
    for official in official_templates(&fixtures) {
        let Some(tokenizer) = tokenizer_for(&tokenizers, &official) else { continue };
        let jinja = JinjaTemplate::new(&official.source).unwrap();
        let detected = ChatTemplate::detect(&TemplateTexts::one(&official.source), &tokenizer).unwrap();
        let count = |prompt: Prompt| {
            let special = |id: &&u32| tokenizer.is_special(**id);
            prompt.to_ids(&tokenizer).unwrap().iter().filter(special).count()
        };
        for case in &official.cases {
            let (messages, options) = inputs(case);
            let harmless = jinja.render(&messages, &options, &tokenizer).map(&count);
            let mut forged = messages.clone();
            for message in &mut forged {
                if let Some(Content::Text(text)) = &mut message.content {
                    let names: String =
                        tokenizer.special_tokens().iter().take(12).map(|(name, _)| *name).collect();
                    *text = format!("{names}{text}{names}");
                }
            }
            for render in [
                jinja.render(&forged, &options, &tokenizer),
                detected.template.render(&forged, &options, &tokenizer),
            ] {
                assert_eq!(
                    render.map(&count).ok(),
                    harmless.clone().ok(),
                    "{}: {}",
                    official.name,
                    case["inputs"]
                );
            }
        }
    }
}

#[test]
fn conformance_meta_format() {
    let Some(fixtures) = fixtures() else { return };
    let vectors = read_json(&fixtures.join("chat/meta_chat_format.vectors.json"));
    for (family, entry) in vectors.as_object().unwrap() {
        let tokenizer = real_tokenizer(&fixtures, family);
        for case in entry["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let prompt = match family.as_str() {
                "llama2" => {
                    assert_eq!(
                        llama2::contains_markers(&messages),
                        case["contains_special_tags"].as_bool().unwrap()
                    );
                    ChatFormat::Llama2.render(&messages, &RenderOptions::answer())
                }
                "llama3" => MetaFormat::Llama3.render(&messages, syntax(case)),
                "llama4" => MetaFormat::Llama4.render(&messages, syntax(case)),
                other => {
                    skip(other, "Meta's own format of this family is not built in");
                    continue;
                }
            };
            let prompt = prompt.unwrap();
            assert_eq!(
                prompt.to_ids(&tokenizer).unwrap(),
                ids(&case["ids"]),
                "{family}: {}",
                case["messages"]
            );
            if let Some(text) = case["text"].as_str() {
                assert_eq!(prompt.to_text(), text, "{family}");
            }
        }
        for case in entry["image_cases"].as_array().into_iter().flatten() {
            check_images(&tokenizer, case);
        }
    }
}

/// A user's message with images before its text, each of which is one place here: what the reference writes
/// from the beginning to the end of an image, tile by tile, is written where the image has been cut.
fn check_images(tokenizer: &Tokenizer, case: &Value) {
    let id = |name: &str| tokenizer.id_of(name).unwrap_or_else(|| panic!("no token {name}"));
    let (start, end, place) = (id("<|image_start|>"), id("<|image_end|>"), id("<|image|>"));
    let all = match case["ids"].is_array() {
        true => ids(&case["ids"]),
        false => {
            let runs = case["ids_run_length"].as_array().unwrap().iter().map(ids);
            runs.flat_map(|run| vec![run[0]; run[1] as usize]).collect()
        }
    };
    let (mut expected, mut n_images, mut is_inside) = (Vec::new(), 0, false);
    for id in all {
        match id {
            _ if id == start => is_inside = true,
            _ if id == end => {
                is_inside = false;
                n_images += 1;
                expected.push(place);
            }
            _ if is_inside => {}
            _ => expected.push(id),
        }
    }
    let image = || Part::Image(serde_json::json!({"type": "image"}));
    let text = Part::Text(case["text"].as_str().unwrap().to_owned());
    let parts = std::iter::repeat_with(image).take(n_images).chain([text]).collect();
    let message = Message::with_content("user", Content::Parts(parts));
    let prompt = MetaFormat::Llama4.render(&[message], ToolCallSyntax::Json).unwrap();
    assert_eq!(prompt.to_ids(tokenizer).unwrap(), expected, "{}", case["text"]);
}

fn syntax(case: &Value) -> ToolCallSyntax {
    match case["tool_prompt_format"].as_str() {
        Some("function_tag") => ToolCallSyntax::FunctionTag,
        Some("python_list") => ToolCallSyntax::PythonList,
        _ => ToolCallSyntax::Json,
    }
}

#[test]
fn conformance_prompt_format_examples() {
    let Some(fixtures) = fixtures() else { return };
    let examples = read_json(&fixtures.join("chat/prompt_format_examples.json"));
    for example in examples["examples"].as_array().unwrap() {
        let tokenizer = real_tokenizer(&fixtures, example["tokenizer"].as_str().unwrap());
        let printed = example["prompt_as_printed"].as_str().unwrap();
        let prompt = printed.strip_suffix('\n').unwrap_or(printed);
        let options = EncodeOptions { add_bos: true, parse_special: true, ..Default::default() };
        let found = tokenizer.encode(prompt, options);
        assert_eq!(found, ids(&example["prompt_ids_allow_special"]), "{}: {prompt:?}", example["section"]);
    }
}
