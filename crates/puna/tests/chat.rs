//! Conversations: what is reused changes nothing, what fails or is broken off leaves them sound.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use puna::text::template::Message;
use puna::{Chat, Event, FinishReason, GenerateOptions, Llama, Options, SamplingParams};

/// The chat models among the fixtures' text models; nothing where the fixtures may be absent.
fn chat_models() -> Vec<Llama> {
    let fixtures = puna_conformance::fixtures();
    let Some(manifest) = fixtures.json("golden/manifest.text.json") else { return Vec::new() };
    let mut models = Vec::new();
    for entry in manifest.as_object().unwrap().values() {
        let dir = fixtures.path(entry["model_dir"].as_str().unwrap());
        let options = Options { n_threads: Some(2), max_seq_len: Some(400), ..Options::default() };
        let llama = Llama::load(&dir, &options).unwrap();
        if llama.is_chat_model() {
            models.push(llama);
        }
    }
    models
}

fn options() -> GenerateOptions<'static> {
    GenerateOptions {
        sampling: SamplingParams { temperature: 0.7, seed: Some(3), ..SamplingParams::default() },
        max_tokens: Some(12),
        ..GenerateOptions::default()
    }
}

fn ignore(_: Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn conformance_later_turns_reuse_and_equal_fresh_ones() {
    for llama in chat_models() {
        // Layers that see chunks keep the last one alone, so that what is reused ends where a chunk does.
        let config = puna_conformance::read_json(&llama.path().join("config.json"));
        let chunk = config["attention_chunk_size"].as_u64().unwrap_or(0) as usize;
        let mut chat = Chat::new(&llama).unwrap();
        chat.set_system(Some("Be brief."));
        let first = chat.send("hi", &options(), ignore).unwrap();
        assert_eq!(first.n_reused, 0);
        for turn in 1..3 {
            let mut fresh = Chat::new(&llama).unwrap();
            chat.messages().iter().for_each(|message| fresh.push(message.clone()));
            let got = chat.send("more", &options(), ignore).unwrap();
            let want = fresh.send("more", &options(), ignore).unwrap();
            let least = (first.n_prompt - 5).saturating_sub(chunk);
            assert!(got.n_reused >= least, "{} of {}", got.n_reused, got.n_prompt);
            assert_eq!(
                (got.ids, got.text),
                (want.ids, want.text),
                "turn {turn} of {}",
                llama.path().display()
            );
            assert_eq!(chat.messages(), fresh.messages());
        }
    }
}

#[test]
fn conformance_saved_conversations_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("talk.json");
    for llama in chat_models() {
        let mut chat = Chat::new(&llama).unwrap();
        chat.set_system(Some("S"));
        chat.send("hi\n\u{1F642}", &options(), ignore).unwrap();
        chat.save(&path).unwrap();
        let mut loaded = Chat::new(&llama).unwrap();
        loaded.load(&path).unwrap();
        assert_eq!(loaded.messages(), chat.messages());
        assert_eq!(loaded.system().as_deref(), Some("S"));
        let both = [&mut chat, &mut loaded].map(|chat| chat.send("more", &options(), ignore).unwrap().ids);
        assert_eq!(both[0], both[1]);
        chat.clear();
        assert_eq!(chat.messages(), [Message::new("system", "S")]);
        chat.set_system(None);
        assert!(chat.messages().is_empty());
    }
    let Some(llama) = chat_models().pop() else { return };
    std::fs::write(&path, "[1]").unwrap();
    let mut chat = Chat::new(&llama).unwrap();
    chat.push(Message::new("user", "kept"));
    assert!(chat.load(&path).unwrap_err().to_string().contains("message 0"));
    assert_eq!(chat.messages().len(), 1);
}

#[test]
fn conformance_broken_off_answers_stay_and_failed_ones_go() {
    for llama in chat_models() {
        let mut chat = Chat::new(&llama).unwrap();
        let mut n_events = 0;
        let broken_off = chat.send("hi", &options(), |event| {
            n_events += usize::from(matches!(event, Event::Text(_)));
            if n_events == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let broken_off = broken_off.unwrap();
        if broken_off.ids.len() < 12 && n_events >= 3 {
            assert_eq!(broken_off.finish, FinishReason::Cancelled);
        }
        assert_eq!(chat.messages()[1], Message::new("assistant", broken_off.text.as_str()));

        let error = chat.send(&"long ".repeat(1000), &options(), ignore).unwrap_err().to_string();
        assert!(error.contains("the context has 400"), "{error}");
        assert_eq!(chat.messages().len(), 2);
        chat.send("and on", &options(), ignore).unwrap();

        let cancel = AtomicBool::new(true);
        let cancelled =
            chat.send("x", &GenerateOptions { cancel: Some(&cancel), ..options() }, ignore).unwrap();
        assert_eq!((cancelled.finish, cancelled.ids.len()), (FinishReason::Cancelled, 0));
    }
}

#[test]
fn a_base_model_has_no_chat() {
    let llama = Llama::builtin(&Options::default()).unwrap();
    assert!(Chat::new(&llama).err().unwrap().to_string().contains("no chat template"));
}

#[test]
fn a_model_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let llama = Llama::builtin(&Options::default()).unwrap();
    shared(&llama);
    let prompt = llama.encode("Once upon a time").unwrap();
    let alone = llama.generate(&prompt, &options(), ignore).unwrap().ids;
    std::thread::scope(|scope| {
        let answers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| llama.generate(&prompt, &options(), ignore).unwrap().ids))
            .collect();
        answers.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), alone));
    });
}
