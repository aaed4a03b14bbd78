//! Each field's range, and each refusal.

use puna_wire::openai::limits::*;
use puna_wire::openai::{Counts, chat, completions};
use puna_wire::{Ask, Format, Input, Problem, Sampling, TextInput, ToolChoice};
use serde_json::{Value, json};

fn with(fields: &Value, own: Value) -> Value {
    let mut body = own;
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn ask_chat(fields: Value) -> Result<Ask, Problem> {
    chat::read(&with(&fields, json!({"messages": [{"role": "user", "content": "hi"}]}))).map(|(ask, _)| ask)
}

fn ask_text(fields: Value) -> Result<Ask, Problem> {
    completions::read(&with(&fields, json!({"prompt": "hi"}))).map(|(ask, _)| ask)
}

#[test]
fn each_field_has_a_range() {
    type Case = (&'static str, Vec<Value>, Vec<Value>);
    let penalty = || {
        (vec![json!(-MAX_PENALTY), json!(0), json!(MAX_PENALTY)], vec![json!(-2.1), json!(2.1), json!("1")])
    };
    let share = || (vec![json!(0), json!(0.5), json!(1)], vec![json!(-0.1), json!(1.1), json!(true)]);
    let repeat = || {
        let good = vec![json!(MIN_REPEAT_PENALTY), json!(1.0), json!(MAX_REPEAT_PENALTY)];
        (good, vec![json!(0), json!(-1), json!(101)])
    };
    let ceiling = || {
        let good = vec![json!(0), json!(1), json!(128000), json!(i64::MAX), json!(-1), json!(512.0)];
        (good, vec![json!(-2), json!(1.5), json!("5")])
    };
    let case = |name, (good, bad)| -> Case { (name, good, bad) };
    let cases: Vec<Case> = vec![
        (
            "temperature",
            vec![json!(0), json!(2), json!(MAX_TEMPERATURE)],
            vec![json!(-0.1), json!(100.5), json!("1")],
        ),
        case("top_p", share()),
        case("min_p", share()),
        ("typical_p", vec![json!(0.1), json!(1)], vec![json!(0), json!(0.0), json!(1.1)]),
        ("top_k", vec![json!(-1), json!(0), json!(40), json!(1e6)], vec![json!(-2), json!(0.5)]),
        case("repeat_penalty", repeat()),
        case("repetition_penalty", repeat()),
        case("presence_penalty", penalty()),
        case("frequency_penalty", penalty()),
        case("max_tokens", ceiling()),
        case("max_completion_tokens", ceiling()),
        case("n_predict", ceiling()),
        (
            "n",
            vec![json!(1), json!(MAX_ANSWERS)],
            vec![json!(0), json!(MAX_ANSWERS + 1), json!(1.5), json!([])],
        ),
        (
            "seed",
            vec![json!(0), json!(-5), json!(i64::MIN), json!(u64::MAX), json!(7.0)],
            vec![json!(1.5), json!("7")],
        ),
        (
            "stop",
            vec![json!("a"), json!([]), json!(["a", "b"]), json!(vec!["x"; MAX_STOPS])],
            vec![json!(vec!["x"; MAX_STOPS + 1]), json!([1]), json!("x".repeat(MAX_STOP_BYTES + 1))],
        ),
        ("stream", vec![json!(true), json!(false)], vec![json!("yes"), json!(1)]),
        ("stream_options", vec![json!({}), json!({"include_usage": true})], vec![json!([]), json!(true)]),
        ("ignore_eos", vec![json!(true)], vec![json!(1)]),
        ("model", vec![json!("a/b"), json!("")], vec![json!(1)]),
        ("user", vec![json!("u")], vec![json!(1)]),
        ("cache_salt", vec![json!("u")], vec![json!(1)]),
        ("num_ctx", vec![json!(1), json!(131072)], vec![json!(0), json!(-1)]),
        (
            "keep_alive",
            vec![json!(-1), json!(0), json!(300), json!("5m"), json!("")],
            vec![json!("soon"), json!([]), json!(1e10)],
        ),
        ("response_format", vec![json!({"type": "text"})], vec![json!({"type": "xml"})]),
    ];
    for (name, good, bad) in cases {
        for ask in [ask_chat, ask_text] {
            assert!(ask(json!({ name: null })).is_ok(), "{name}: null is absent");
            for value in &good {
                assert!(ask(json!({ name: value })).is_ok(), "{name}: {value}");
            }
            for value in &bad {
                let problem = ask(json!({ name: value })).expect_err(name);
                let param = problem.param.unwrap();
                assert!(param == name || param.starts_with(&format!("{name}.")), "{name}: {value}: {param}");
                assert_eq!(problem.message.matches('`').count() % 2, 0, "{}", problem.message);
                assert!(problem.message.contains(name), "{}", problem.message);
            }
        }
    }
}

#[test]
fn fields_are_where_they_belong() {
    let fields = json!({
        "model": "m", "n": 3, "temperature": 0.5, "top_p": 0.9, "top_k": -1, "min_p": 0.1, "typical_p": 0.8,
        "repetition_penalty": 1.1, "presence_penalty": 0.25, "frequency_penalty": -0.5, "seed": -2, "repeat_last_n": 32,
        "logit_bias": {"5": -100, "7": 1.5}, "stop": ["a", ""], "ignore_eos": true, "user": "u",
        "keep_alive": "1m", "num_ctx": 4096, "guided_regex": "a+", "max_tokens": 9,
    });
    let sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(0),
        min_p: Some(0.1),
        typical_p: Some(0.8),
        repeat_penalty: Some(1.1),
        presence_penalty: Some(0.25),
        frequency_penalty: Some(-0.5),
        repeat_last_n: Some(32),
        seed: Some(u64::MAX - 1),
        logit_bias: vec![(5, -100.0), (7, 1.5)],
    };
    for ask in [ask_chat(fields.clone()).unwrap(), ask_text(fields).unwrap()] {
        assert_eq!(ask.sampling, sampling);
        assert_eq!((ask.model.as_deref(), ask.n, ask.max_tokens), (Some("m"), 3, Some(9)));
        assert_eq!((ask.stop.as_slice(), ask.ignore_eos), (["a".to_owned()].as_slice(), true));
        assert_eq!((ask.tenant.as_deref(), ask.keep_alive, ask.context), (Some("u"), Some(60.0), Some(4096)));
        assert_eq!(ask.format, Format::Regex("a+".into()));
    }
    assert_eq!(ask_chat(json!({"user": "u", "cache_salt": "s"})).unwrap().tenant.as_deref(), Some("s"));
    assert_eq!(ask_chat(json!({"seed": -1})).unwrap().sampling.seed, None);
    assert_eq!(ask_chat(json!({"seed": 7.0})).unwrap().sampling.seed, Some(7));
}

#[test]
fn ceilings_have_an_order_and_a_default() {
    for (fields, chat, text) in [
        (json!({}), None, None),
        (json!({"max_tokens": -1}), Some(usize::MAX), Some(usize::MAX)),
        (json!({"max_tokens": 0}), Some(0), Some(0)),
        (json!({"max_tokens": 5, "max_completion_tokens": 7, "n_predict": 9}), Some(7), Some(7)),
        (json!({"max_completion_tokens": null, "max_tokens": 5, "n_predict": 9}), Some(5), Some(5)),
        (json!({"n_predict": 9}), Some(9), Some(9)),
    ] {
        assert_eq!(ask_chat(fields.clone()).unwrap().max_tokens, chat, "{fields}");
        let ask = ask_text(fields.clone()).unwrap();
        assert_eq!((ask.max_tokens, ask.default_max_tokens), (text, Some(completions::DEFAULT_MAX_TOKENS)));
    }
}

#[test]
fn biases_have_two_forms() {
    let of = |value: Value| ask_chat(json!({ "logit_bias": value })).map(|ask| ask.sampling.logit_bias);
    assert_eq!(of(json!([[5, -1], [6, false]])), Ok(vec![(5, -1.0), (6, f32::NEG_INFINITY)]));
    assert_eq!(of(json!({})), Ok(vec![]));
    let many = |n: usize| Value::from_iter((0..n).map(|id| (id.to_string(), json!(1))));
    assert_eq!(of(many(MAX_BIASES)).map(|biases| biases.len()), Ok(MAX_BIASES));
    for (value, param) in [
        (json!("x"), "logit_bias"),
        (json!({"hello": 1}), "logit_bias"),
        (json!({"-1": 1}), "logit_bias"),
        (json!({"5": 100.5}), "logit_bias.5"),
        (json!({"5": "1"}), "logit_bias.5"),
        (json!({"5": true}), "logit_bias.5"),
        (json!({"5": 1, "05": 1}), "logit_bias.5"),
        (json!([[5, 1], [5, 1]]), "logit_bias.5"),
        (json!([5]), "logit_bias"),
        (json!([["a", 1]]), "logit_bias"),
        (json!([[5, 1, 2]]), "logit_bias"),
        (many(MAX_BIASES + 1), "logit_bias"),
    ] {
        assert_eq!(of(value.clone()).unwrap_err().param.as_deref(), Some(param), "{value}");
    }
}

#[test]
fn logprobs_are_a_bool_or_a_number() {
    for (fields, want) in [
        (json!({}), Ok(None)),
        (json!({"logprobs": false, "top_logprobs": 0}), Ok(None)),
        (json!({"logprobs": true}), Ok(Some(0))),
        (json!({"logprobs": true, "top_logprobs": 20}), Ok(Some(MAX_LOGPROBS))),
        (json!({"logprobs": true, "top_logprobs": 21}), Err("top_logprobs")),
        (json!({"top_logprobs": 1}), Err("top_logprobs")),
        (json!({"logprobs": 5}), Err("logprobs")),
    ] {
        let found =
            ask_chat(fields.clone()).map(|ask| ask.logprobs).map_err(|problem| problem.param.unwrap());
        assert_eq!(found, want.map_err(str::to_owned), "{fields}");
    }
    for (value, want) in [
        (json!(null), Ok(None)),
        (json!(0), Ok(Some(0))),
        (json!(20), Ok(Some(20))),
        (json!(true), Ok(Some(0))),
        (json!(21), Err("logprobs")),
        (json!(-1), Err("logprobs")),
    ] {
        let found = ask_text(json!({ "logprobs": value })).map(|ask| ask.logprobs);
        assert_eq!(found.map_err(|problem| problem.param.unwrap()), want.map_err(str::to_owned), "{value}");
    }
}

#[test]
fn what_cannot_be_heeded_is_refused_and_hints_pass() {
    for (name, bad, neutral) in [
        ("best_of", json!(2), json!(1)),
        ("mirostat", json!(2), json!(0)),
        ("store", json!(true), json!(false)),
        ("modalities", json!(["text", "audio"]), json!(["text"])),
        ("audio", json!({"voice": "x"}), json!(null)),
        ("web_search_options", json!({}), json!(null)),
        ("tfs_z", json!(0.5), json!(1)),
        ("stop_token_ids", json!([1]), json!([])),
        ("min_tokens", json!(4), json!(0)),
        ("skip_special_tokens", json!(false), json!(true)),
        ("lora", json!([{"id": 0, "scale": 1}]), json!([])),
    ] {
        for ask in [ask_chat, ask_text] {
            let problem = ask(json!({ name: bad })).expect_err(name);
            assert_eq!((problem.param.as_deref(), problem.code), (Some(name), Some("unsupported_parameter")));
            assert_eq!(problem.status(), 400);
            assert!(ask(json!({ name: neutral })).is_ok(), "{name}");
        }
    }
    assert!(ask_text(json!({"best_of": 3, "n": 3})).is_ok());

    let last_n = |n: i64| ask_chat(json!({"repeat_last_n": n})).map(|ask| ask.sampling.repeat_last_n);
    assert_eq!((last_n(64), last_n(-1)), (Ok(Some(64)), Ok(None)));
    let problem = last_n(-2).unwrap_err();
    assert_eq!(problem.param.as_deref(), Some("repeat_last_n"));
    let hints = json!({"prediction": {"type": "content", "content": "x"}, "reasoning_effort": "high",
        "service_tier": "auto", "metadata": {"a": "b"}, "verbosity": "low", "prompt_cache_key": "k",
        "safety_identifier": "s", "cache_prompt": true, "nobody_knows": [1]});
    assert_eq!(ask_chat(hints.clone()), ask_chat(json!({})));
    assert_eq!(ask_text(hints), ask_text(json!({})));
}

#[test]
fn the_chats_shape_says_what_the_answer_needs() {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"messages": messages, "stream": true, "logprobs": true, "functions": [{"name": "f"}],
        "stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    let (ask, shape) = chat::read(&body).unwrap();
    let counts = Counts { at_end: true, in_each: true };
    assert_eq!(shape, chat::ChatShape { stream: true, counts, logprobs: true, functions: true });
    assert_eq!((ask.tools.offered.len(), ask.tools.choice, ask.n), (1, ToolChoice::Auto, 1));
    let (_, shape) = chat::read(&json!({ "messages": messages })).unwrap();
    assert_eq!(shape, chat::ChatShape::default());
    assert_eq!(chat::read(&json!([])).unwrap_err().status(), 400);
}

#[test]
fn texts_are_continued_or_filled_in() {
    let text = |text: &str| TextInput::Text(text.to_owned());
    for (fields, want) in [
        (json!({"prompt": "a"}), Ok(Input::Texts { texts: vec![text("a")], echo: false })),
        (
            json!({"prompt": ["a", "b"], "echo": true, "suffix": ""}),
            Ok(Input::Texts { texts: vec![text("a"), text("b")], echo: true }),
        ),
        (
            json!({"prompt": [[1, 2]]}),
            Ok(Input::Texts { texts: vec![TextInput::Ids(vec![1, 2])], echo: false }),
        ),
        (
            json!({"prompt": ["a"], "suffix": "z"}),
            Ok(Input::Infill { prefix: "a".into(), suffix: "z".into() }),
        ),
        (json!({"prompt": ["a", "b"], "suffix": "z"}), Err("suffix")),
        (json!({"prompt": [1], "suffix": "z"}), Err("suffix")),
        (json!({"prompt": "a", "suffix": "z", "echo": true}), Err("echo")),
        (json!({"prompt": null}), Err("prompt")),
        (json!({"prompt": vec!["a"; 17], "n": MAX_ANSWERS}), Err("n")),
    ] {
        let found = ask_text(fields.clone()).map(|ask| ask.input).map_err(|problem| problem.param.unwrap());
        assert_eq!(found, want.map_err(str::to_owned), "{fields}");
    }
    assert_eq!(17 * MAX_ANSWERS, MAX_ANSWERS_ALL + MAX_ANSWERS);
}
