//! From a picture's file to the reference's tokens: decoding, cutting, encoding, prompting and generating
//! together.

use std::ops::ControlFlow;
use std::path::Path;

use puna::{AnswerOptions, ContentPart, GuardOptions, GuardVersion, Llama, Picture, PromptTokens};
use puna::{Content, ErrorKind, Generation, Message, Past, SamplingParams};
use puna_conformance::{Fixtures, fixtures, read_json};
use puna_engine::SequenceImage;
use puna_formats::safetensors;
use serde_json::{Value, json};

fn load(path: &Path) -> Llama {
    Llama::load(path).unwrap()
}

fn look(llama: &Llama, fixtures: &Fixtures, file: &Value) -> Picture {
    llama.look_at_file(fixtures.path(file.as_str().unwrap())).unwrap()
}

fn ids(golden: &safetensors::SafetensorsFile, name: &str) -> Vec<u32> {
    let data = &golden.tensors.get(name).unwrap().data;
    data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect()
}

fn greedy(max_tokens: usize) -> AnswerOptions {
    let sampling = Some(SamplingParams { temperature: 0.0, ..SamplingParams::default() });
    AnswerOptions { sampling, max_tokens: Some(max_tokens), ..AnswerOptions::default() }
}

/// The vision cases of the manifest: model, entry, golden values.
fn cases(fixtures: &Fixtures) -> Vec<(Llama, Value, safetensors::SafetensorsFile)> {
    let Some(manifest) = fixtures.json("golden/manifest.vision.json") else { return Vec::new() };
    let case = |(name, entry): (&String, &Value)| {
        let golden = safetensors::open(&fixtures.path(&format!("golden/{name}.safetensors"))).unwrap();
        (load(&fixtures.path(entry["model_dir"].as_str().unwrap())), entry.clone(), golden)
    };
    manifest.as_object().unwrap().iter().map(case).collect()
}

/// The vectors of a picture at the tokens of a reference prompt that stand for it.
fn placed(llama: &Llama, ids: &[u32], vectors: &SequenceImage) -> PromptTokens {
    let image_token = llama.config().vision.as_ref().unwrap().image_token;
    let positions = (0..ids.len()).filter(|i| ids[*i] == image_token).collect();
    let images = vec![SequenceImage { positions, ..vectors.clone() }];
    PromptTokens { ids: ids.to_vec(), images, ..PromptTokens::default() }
}

/// A folder like a model's, whose tokenizer, if it is of Llama 4, has the tokens that are written around
/// tiles.
fn with_tile_tokens(model: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = read_json(&model.join("config.json"));
    if config["model_type"] != "llama4" {
        return dir;
    }
    let mut tokenizer = read_json(&model.join("tokenizer.json"));
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    // Those that have an id of their own, and those that take the place of tokens that no prompt here needs.
    for (name, id) in [
        ("<|image_start|>", config["boi_token_index"].as_u64()),
        ("<|image_end|>", config["eoi_token_index"].as_u64()),
        ("<|patch|>", config["image_token_index"].as_u64()),
        ("<|tile_x_separator|>", None),
        ("<|tile_y_separator|>", None),
    ] {
        if added.iter().any(|token| token["content"] == name) {
            continue;
        }
        let is_its_place = |token: &Value| match id {
            Some(id) => token["id"] == id,
            None => !NEEDED.iter().any(|needed| token["content"] == *needed),
        };
        match added.iter().position(is_its_place) {
            Some(place) => added[place]["content"] = json!(name),
            None => {
                let mut token = added[0].clone();
                (token["id"], token["content"]) = (json!(id.unwrap()), json!(name));
                added.push(token);
            }
        }
    }
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    dir
}

/// The tokens of a prompt of Llama 4 with pictures.
const NEEDED: [&str; 12] = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eom|>",
    "<|eot|>",
    "<|image|>",
    "<|image_start|>",
    "<|image_end|>",
    "<|patch|>",
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
];

/// The reference's greedy continuation, from the picture's file.
#[test]
fn conformance_pictures_from_their_files() {
    let fixtures = fixtures();
    for (llama, entry, golden) in cases(&fixtures) {
        let greedy_case = &entry["greedy"]["image"];
        let file = &entry["image_processing"][greedy_case.as_str().unwrap()]["file"];
        let picture = look(&llama, &fixtures, file);
        let prompt = ids(&golden, "greedy.prompt_ids");
        let want = ids(&golden, "greedy.continuation_ids");
        let dir = with_tile_tokens(llama.path());
        let seeing =
            if llama.config().cross_layers.is_empty() { load(dir.path()) } else { load(llama.path()) };
        let placeholder = seeing.tokenizer().unwrap().id_of("<|image|>").unwrap();
        let written = seeing.with_pictures(vec![placeholder], &[picture]).unwrap();
        let prompt = placed(&llama, &prompt, &written.images[0]);
        let answer = llama.generate(prompt, &greedy(want.len())).unwrap().finish().unwrap();
        // Some stop id may end it before the reference's.
        assert!(want.starts_with(&answer.ids) && !answer.ids.is_empty(), "{:?} {want:?}", answer.ids);
    }
}

/// A conversation about pictures: what is known from before is used, unless it is another picture's.
#[test]
fn conformance_conversations_about_pictures() {
    let fixtures = fixtures();
    for (llama, entry, _) in cases(&fixtures) {
        let dir = with_tile_tokens(llama.path());
        let llama = load(dir.path());
        let files: Vec<&Value> =
            entry["image_processing"].as_object().unwrap().values().map(|image| &image["file"]).collect();
        let [dog, pasta] = [0, 1].map(|i| look(&llama, &fixtures, files[i]));

        // The same words about two pictures.
        let ask = |past: Option<Past>, picture: &Picture| -> (Generation, Option<Past>) {
            let prompt = llama.text_prompt("abc", std::slice::from_ref(picture)).unwrap();
            let mut answer = llama.generate_after(past, prompt, &greedy(6)).unwrap();
            (answer.finish().unwrap(), Some(answer.into_past()))
        };
        let (first, past) = ask(None, &dog);
        let (again, past) = ask(past, &dog);
        assert!(again.ids == first.ids && again.n_reused > 1);
        let (other, _) = ask(past, &pasta);
        let (fresh, _) = ask(None, &pasta);
        assert_eq!(other.ids, fresh.ids);
        // The picture's first token may be known (of Llama 4 it is `<|image_start|>`), the picture never.
        assert!(other.n_reused < again.n_reused && other.n_reused <= 2, "{}", other.n_reused);

        // A chat whose second question needs the picture of the first.
        let mut chat = llama.chat().unwrap();
        chat.options = greedy(4);
        chat.ask_about(std::slice::from_ref(&dog), "abc").unwrap().finish().unwrap();
        let second = chat.ask("def").unwrap().finish().unwrap();
        let tokens = chat.prompt().unwrap();
        assert_eq!(tokens.images.len(), 1);
        assert!(second.n_reused > tokens.images[0].positions[0], "{}", second.n_reused);
        // Saved and read back, the picture is looked at again.
        let saved = dir.path().join("chat.json");
        chat.save(&saved).unwrap();
        let mut loaded = llama.chat().unwrap();
        loaded.load(&saved).unwrap();
        assert_eq!(loaded.messages(), chat.messages());
        assert_eq!(loaded.prompt().unwrap().images[0].id, tokens.images[0].id);
        // Forgotten with the conversation.
        chat.clear();
        chat.push(Message::new("user", "ghi"));
        assert!(chat.prompt().unwrap().images.is_empty());

        // Guards judge them.
        let version = if llama.config().cross_layers.is_empty() { 4 } else { 3 };
        let version = GuardVersion::ALL.into_iter().find(|v| v.number() == version);
        // One category: the context of these models is short.
        let categories = version.map(|version| version.categories()[..1].to_vec());
        let options = GuardOptions { version, categories, ..GuardOptions::default() };
        let image = ContentPart::Image(json!({"type": "image"}));
        let content = Content::Parts(vec![image, ContentPart::Text("abc".into())]);
        let message = Message::with_content("user", content);
        let verdict = llama.guard(std::slice::from_ref(&message), &[dog], &options).unwrap();
        assert!(verdict.p_unsafe.is_none_or(|p| (0.0..=1.0).contains(&p)));
        let error = llama.guard(&[message], &[], &options).unwrap_err().to_string();
        assert!(error.contains("1 places for 0 pictures"), "{error}");
    }
}

#[test]
fn conformance_what_cannot_be_seen_is_named() {
    let fixtures = fixtures();
    let builtin = Llama::builtin().unwrap();
    for (llama, entry, _) in cases(&fixtures) {
        let file = &entry["image_processing"].as_object().unwrap().values().next().unwrap()["file"];
        let bytes = std::fs::read(fixtures.path(file.as_str().unwrap())).unwrap();
        let go_on = |_, _| ControlFlow::Continue(());
        let error = builtin.look_at(&bytes, go_on).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("cannot see pictures"), "{error}");
        for (bytes, word) in
            [(&bytes[..bytes.len() / 2], "ends early"), (b"hello", "not a JPEG"), (b"", "empty")]
        {
            let error = llama.look_at(bytes, go_on).err().unwrap().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(matches!(llama.look_at(&bytes, |_, _| ControlFlow::Break(())), Err(puna::Error::Stopped)));
        // In a message: which one, which file, and nothing of what is in it.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.png"), b"secret words").unwrap();
        let url =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,c2VjcmV0IHdvcmRz"}});
        for (image, word) in [(json!({"type": "image", "path": "a.png"}), "`a.png`"), (url, "the data URL")] {
            let content = Content::Parts(vec![ContentPart::Image(image)]);
            let message = Message::with_content("user", content);
            let messages = [Message::new("system", "abc"), message];
            let error = llama.look_at_all(&messages, dir.path(), go_on).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let error = error.to_string();
            assert!(error.contains(word) && error.contains("of message 2"), "{error}");
            assert!(error.contains("begins like text") && !error.contains("secret"), "{error}");
        }
        // More pictures than places, and fewer.
        let picture = llama.look_at(&bytes, go_on).unwrap();
        let placeholder = llama.tokenizer().unwrap().id_of("<|image|>").unwrap();
        for (n_places, n_pictures) in [(0, 1), (1, 2), (2, 1)] {
            let pictures = vec![picture.clone(); n_pictures];
            let error = llama.with_pictures(vec![placeholder; n_places], &pictures).err().unwrap();
            assert!(error.to_string().contains(&format!("{n_places} places for {n_pictures}")), "{error}");
        }
    }
}
