//! Conversations: what is reused changes nothing, what fails or is broken off leaves them sound.

use puna::{AnswerOptions, Chat, ErrorKind, Event, FinishReason, Generation, Llama};
use puna::{Message, Options, SamplingParams, WhenFull};

/// The chat models among the fixtures' text models; nothing where the fixtures may be absent.
fn chat_models() -> Vec<Llama> {
    let fixtures = puna_conformance::fixtures();
    let Some(manifest) = fixtures.json("golden/manifest.text.json") else { return Vec::new() };
    let mut models = Vec::new();
    for entry in manifest.as_object().unwrap().values() {
        let dir = fixtures.path(entry["model_dir"].as_str().unwrap());
        let options = Options { n_threads: Some(2), max_seq_len: Some(400), ..Options::default() };
        let llama = Llama::load_with(&dir, &options).unwrap();
        if llama.text().is_chat_model() {
            models.push(llama);
        }
    }
    models
}

fn options() -> AnswerOptions {
    let sampling = SamplingParams { temperature: 0.7, seed: Some(3), ..SamplingParams::default() };
    AnswerOptions { sampling: Some(sampling), max_tokens: Some(12), ..AnswerOptions::default() }
}

fn new_chat(llama: &Llama) -> Chat {
    let mut chat = llama.chat().unwrap();
    chat.options = options();
    chat
}

fn ask(chat: &mut Chat, text: &str) -> Generation {
    chat.ask(text).unwrap().finish().unwrap()
}

#[test]
fn conformance_later_turns_reuse_and_equal_fresh_ones() {
    for llama in chat_models() {
        // Layers that see chunks keep the last one alone, so that what is reused ends where a chunk does.
        let config = puna_conformance::read_json(&llama.path().join("config.json"));
        let chunk = config["attention_chunk_size"].as_u64().unwrap_or(0) as usize;
        let mut chat = new_chat(&llama);
        chat.set_system(Some("Be brief."));
        let first = ask(&mut chat, "hi");
        assert_eq!(first.n_reused, 0);
        for turn in 1..3 {
            let mut fresh = new_chat(&llama);
            chat.messages().iter().for_each(|message| fresh.push(message.clone()));
            let got = ask(&mut chat, "more");
            let want = ask(&mut fresh, "more");
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
        let mut chat = new_chat(&llama);
        chat.set_system(Some("S"));
        ask(&mut chat, "hi\n\u{1F642}");
        chat.save(&path).unwrap();
        let mut loaded = new_chat(&llama);
        loaded.load(&path).unwrap();
        assert_eq!(loaded.messages(), chat.messages());
        assert_eq!(loaded.system().as_deref(), Some("S"));
        let both = [&mut chat, &mut loaded].map(|chat| ask(chat, "more").ids);
        assert_eq!(both[0], both[1]);
        chat.clear();
        assert_eq!(chat.messages(), [Message::new("system", "S")]);
        chat.set_system(None);
        assert!(chat.messages().is_empty());
    }
    let Some(llama) = chat_models().pop() else { return };
    std::fs::write(&path, "[1]").unwrap();
    let mut chat = new_chat(&llama);
    chat.push(Message::new("user", "kept"));
    assert!(chat.load(&path).unwrap_err().to_string().contains("message 1"));
    assert_eq!(chat.messages().len(), 1);
}

#[test]
fn conformance_broken_off_answers_stay_and_failed_ones_go() {
    for llama in chat_models() {
        let mut chat = new_chat(&llama);
        let mut answer = chat.ask("hi").unwrap();
        let n_pieces = answer.by_ref().take(3).map(Result::unwrap).count();
        answer.stop();
        let broken_off = answer.finish().unwrap();
        if broken_off.ids.len() < 12 && n_pieces >= 3 {
            assert_eq!(broken_off.finish, FinishReason::Cancelled);
        }
        drop(answer);
        assert_eq!(chat.messages()[1], Message::new("assistant", broken_off.text.as_str()));

        let error = chat.ask(&"long ".repeat(1000)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TooLong);
        assert!(error.to_string().contains("the context has 400"), "{error}");
        assert_eq!(chat.messages().len(), 2);
        ask(&mut chat, "and on");

        let mut cancelled = chat.ask("x").unwrap();
        cancelled.stop();
        let cancelled = cancelled.finish().unwrap();
        assert_eq!((cancelled.finish, cancelled.ids.len()), (FinishReason::Cancelled, 0));
    }
}

/// Whoever drops an answer keeps what was made of it, and the next turn begins with that.
#[test]
fn conformance_dropped_answers_stay_as_far_as_they_were_made() {
    for llama in chat_models() {
        let mut chat = new_chat(&llama);
        let first = chat.ask("hi").unwrap().next().map(Result::unwrap).unwrap_or_default();
        let [question, answer] = chat.messages() else { panic!("{:?}", chat.messages()) };
        assert_eq!(question, &Message::new("user", "hi"));
        assert!(answer.role == "assistant" && answer.text().starts_with(&first), "{answer:?}");
        assert!(chat.kept().0 > 0);
        // Nothing at all was made of this one.
        drop(chat.ask("again").unwrap());
        assert_eq!(chat.messages()[3], Message::new("assistant", ""));
        // A conversation that was copied goes on by itself.
        let mut copy = chat.clone();
        assert_eq!(ask(&mut copy, "more").ids, ask(&mut chat, "more").ids);
    }
}

#[test]
fn a_base_model_has_no_chat() {
    let error = Llama::builtin().unwrap().chat().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no chat template"));
}

#[test]
fn a_model_may_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send + 'static>(_: &T) {}
    let llama = Llama::builtin().unwrap();
    shared(&llama);
    let alone = llama.complete_with("Once upon a time", &options()).unwrap().finish().unwrap().ids;
    let answers: Vec<_> = (0..4)
        .map(|_| {
            let mut answer = llama.complete_with("Once upon a time", &options()).unwrap();
            sent(&answer);
            std::thread::spawn(move || answer.finish().unwrap().ids)
        })
        .collect();
    drop(llama);
    answers.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), alone));
}

/// Pieces are the text, passes are the pieces, and after the end there is nothing.
#[test]
fn an_answer_may_be_taken_by_pieces_or_by_passes() {
    let llama = Llama::builtin().unwrap();
    let answer = || llama.complete_with("Once upon a time", &options()).unwrap();
    let mut whole = answer().finish().unwrap();
    assert_eq!(answer().collect::<Result<String, _>>().unwrap(), whole.text);
    let mut by_passes = answer();
    let (mut text, mut n_passes) = (String::new(), 0);
    assert_eq!(by_passes.finish_reason(), None);
    while let Some(event) = by_passes.step() {
        match event.unwrap() {
            Event::Prefill { .. } => assert_eq!(text, ""),
            Event::Text(piece) => text += &piece,
        }
        n_passes += 1;
        assert_eq!(by_passes.text(), text);
    }
    assert!(n_passes >= 12 && by_passes.next().is_none() && by_passes.step().is_none());
    assert_eq!(by_passes.finish_reason(), Some(FinishReason::Length));
    assert_eq!(by_passes.prompt_ids(), llama.encode("Once upon a time").unwrap());
    let again = by_passes.finish().unwrap();
    whole.timings = again.timings;
    assert_eq!(again, whole);
}

/// What the model's own sampling and length are, where nobody says otherwise.
#[test]
fn a_completion_has_an_end() {
    let llama = Llama::builtin_with(&Options { n_threads: Some(2), ..Options::default() }).unwrap();
    let answer: Generation = llama.complete("Once upon a time").unwrap().finish().unwrap();
    assert!(answer.ids.len() <= puna::COMPLETION_TOKENS && !answer.text.is_empty());
    let greedy = SamplingParams { temperature: -1.0, ..llama.raw_sampling() };
    let options = AnswerOptions { sampling: Some(greedy), ..AnswerOptions::default() };
    let refused: Option<puna::Error> = llama.complete_with("a", &options).err();
    assert_eq!(refused.unwrap().kind(), ErrorKind::Request);
    let options = AnswerOptions { stop: vec![String::new()], ..AnswerOptions::default() };
    assert_eq!(llama.complete_with("a", &options).err().unwrap().kind(), ErrorKind::Request);
}

/// A conversation of so many turns, each a question of about twenty tokens.
fn long_chat(llama: &Llama, n_turns: usize, when_full: WhenFull) -> Chat {
    let mut chat = new_chat(llama);
    chat.set_system(Some("Be brief."));
    chat.when_full = when_full;
    for n in 0..n_turns {
        chat.push(Message::new("user", format!("Question {n}: what is the number {n} good for, in short?")));
        chat.push(Message::new("assistant", format!("Answer {n}.")));
    }
    chat
}

#[test]
fn conformance_a_full_context_stops_or_leaves_out_turns() {
    for llama in chat_models() {
        let max = llama.engine().max_seq_len();
        let refused = long_chat(&llama, 60, WhenFull::Stop).ask("more").err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::TooLong, "{}", llama.path().display());
        for when_full in [WhenFull::DropOldest, WhenFull::DropMiddle] {
            let mut chat = long_chat(&llama, 60, when_full);
            let mut answer = chat.ask("more").unwrap();
            let n_left_out = answer.n_left_out();
            let prompt = answer.prompt_ids().to_vec();
            answer.finish().unwrap();
            drop(answer);
            // Whole turns, and so many that the next questions have room.
            assert!(
                n_left_out >= 2 && n_left_out.is_multiple_of(2) && prompt.len() <= max / 2,
                "{n_left_out}"
            );
            assert_eq!(chat.messages().len(), 1 + 2 * 60 + 2);
            // The prompt is that of the messages that stay.
            let first = if when_full == WhenFull::DropOldest { 1 } else { 3 };
            let mut rest = new_chat(&llama);
            let stays = |n: &usize| !(first..first + n_left_out).contains(n);
            (0..chat.messages().len() - 1).filter(stays).for_each(|n| rest.push(chat.messages()[n].clone()));
            assert_eq!(rest.prompt().unwrap().ids, prompt);
            // The next question fits without leaving out more.
            let mut answer = chat.ask("more").unwrap();
            assert_eq!(answer.n_left_out(), n_left_out);
            assert!(answer.finish().unwrap().n_reused > 0);
        }
        // By hand.
        let mut chat = long_chat(&llama, 4, WhenFull::Stop);
        assert_eq!([chat.leave_out(1), chat.leave_out(1), chat.leave_out(9)], [2, 4, 6]);
        assert_eq!(chat.n_left_out(), 6);
        chat.set_system(None);
        assert_eq!((chat.n_left_out(), chat.prompt().unwrap().ids.is_empty()), (6, false));
        // The question that becomes the last one is left in.
        while chat.undo() > 0 {
            assert!(chat.messages().is_empty() || chat.n_left_out() < chat.messages().len());
            if chat.last_question().is_some() {
                chat.prompt().unwrap();
                assert!(chat.retry().unwrap().finish().is_ok());
            }
        }
        chat.clear();
        assert_eq!(chat.n_left_out(), 0);
    }
}

#[test]
fn conformance_turns_are_taken_back_and_answered_again() {
    for llama in chat_models() {
        let mut chat = new_chat(&llama);
        assert!(chat.retry().is_err() && chat.undo() == 0 && chat.last_question().is_none());
        let first = ask(&mut chat, "hi");
        let again = chat.retry().unwrap().finish().unwrap();
        assert_eq!((&again.ids, again.n_prompt), (&first.ids, first.n_prompt));
        assert_eq!(chat.messages().len(), 2);
        ask(&mut chat, "more");
        assert_eq!(chat.last_question().unwrap().0, "more");
        assert_eq!((chat.undo(), chat.messages().len()), (2, 2));
        // An answer that cannot begin leaves the old one.
        chat.set_context(first.n_prompt - 1).unwrap();
        assert!(chat.retry().is_err());
        assert_eq!(chat.messages().len(), 2);
        chat.set_context(llama.engine().max_seq_len()).unwrap();
        assert_eq!(chat.retry().unwrap().finish().unwrap().ids, first.ids);
    }
}

#[test]
fn models_may_share_threads_and_have_a_limit() {
    let first = Llama::builtin_with(&Options { n_threads: Some(2), ..Options::default() }).unwrap();
    let beside = Options { beside: Some(first.clone()), kv_bytes: Some(100), ..Options::default() };
    let second = Llama::builtin_with(&beside).unwrap();
    assert!(std::sync::Arc::ptr_eq(first.engine().cpu(), second.engine().cpu()));
    assert!(first.complete("Once").unwrap().finish().is_ok());
    let refused = second.complete("Once").and_then(|mut answer| answer.finish()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoRoom, "{refused}");
}

/// What was stopped before there was a word leaves nothing.
#[test]
fn conformance_a_question_that_got_no_word_is_not_kept() {
    for llama in chat_models() {
        let mut chat = new_chat(&llama);
        ask(&mut chat, "hi");
        let mut answer = chat.ask("more").unwrap();
        answer.stop();
        answer.finish().unwrap();
        drop(answer);
        assert_eq!(chat.messages().len(), 2);
    }
}
