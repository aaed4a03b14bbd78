//! Calls of tools in texts of every form, however they are cut, and texts that mean harm.

use std::time::{Duration, Instant};

use puna_wire::tool_calls::{MOST_HELD, Parser};
use puna_wire::{Choice, Event, Reply, ToolChoice, Tools};
use serde_json::{Map, Value, json};

fn tool(name: &str, properties: Value) -> Value {
    let parameters = json!({"type": "object", "properties": properties});
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn tools() -> Tools {
    let (string, integer) = (json!({"type": "string"}), json!({"type": "integer"}));
    let offered = vec![
        tool("trending_songs", json!({"n": integer, "genre": string})),
        tool("get_weather", json!({"city": string, "metric": string})),
        tool("get_user_info", json!({"user_id": integer, "special": {"type": "str"}})),
        tool("get_current_weather", json!({"location": string, "unit": string})),
        tool("brave_search", json!({"query": string})),
        tool("wolfram_alpha", json!({"query": string})),
        tool("f", json!({"a": {}, "n": integer, "x": {"type": "number"}, "b": {"type": "boolean"}})),
        tool("g", json!({})),
    ];
    Tools { offered, ..Tools::default() }
}

fn with_code(mut tools: Tools) -> Tools {
    tools.offered.push(tool("code_interpreter", json!({"code": {"type": "string"}})));
    tools
}

fn parser(tools: &Tools) -> Parser {
    let mut n = 0;
    Parser::new(tools, 0, move || {
        n += 1;
        format!("call{n}")
    })
}

/// What pieces of a text say together. Events are checked as they come.
fn parse_pieces<'t>(tools: &Tools, pieces: impl IntoIterator<Item = &'t str>) -> Choice {
    let (mut parser, mut events) = (parser(tools), Vec::new());
    for piece in pieces {
        parser.push(piece, &mut events);
    }
    let has_calls = parser.finish(&mut events);
    let mut reply = Reply { choices: vec![Choice::default()], ..Reply::default() };
    for event in events {
        match &event {
            Event::Call { index, .. } => assert_eq!(*index, reply.choices[0].calls.len()),
            Event::Arguments { index, text, .. } => {
                assert_eq!(*index + 1, reply.choices[0].calls.len());
                assert!(!text.is_empty());
            }
            Event::Text { text, .. } => assert!(!text.is_empty()),
            Event::End { .. } => panic!("the answer's end is not the parser's to tell"),
        }
        reply.push(event);
    }
    assert_eq!(has_calls, !reply.choices[0].calls.is_empty());
    reply.choices.remove(0)
}

fn parse(tools: &Tools, text: &str) -> Choice {
    parse_pieces(tools, [text])
}

#[test]
fn a_call_is_open_until_its_arguments_are_complete() {
    let tools = tools();
    for (text, is_open) in [
        ("Hi", false),
        ("{\"name\": \"", false),
        ("{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Ber", true),
        ("{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Bern\"}", false),
        ("{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Bern\"}}", false),
        // In this form a call is told as a whole.
        ("[get_weather(city=\"Bern\"), get_weather(city=\"Bern\", ", false),
    ] {
        let (mut parser, mut events) = (parser(&tools), Vec::new());
        parser.push(text, &mut events);
        assert_eq!(parser.is_open(), is_open, "{text}");
    }
}

/// The calls as pairs, and the text. Arguments that are no JSON are a text.
fn said(choice: &Choice) -> (Value, &str) {
    let calls = choice.calls.iter().map(|call| json!([call.name, call.arguments_value()]));
    (calls.collect(), &choice.text)
}

/// Texts, the calls in them, and what is left as text.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let none = || json!([]);
    let f1 = || json!([["f", {"a": 1}]]);
    vec![
        // Text.
        ("", none(), ""),
        ("Hello, world", none(), "Hello, world"),
        ("\n Hello < <| <|python <function", none(), "\n Hello < <| <|python <function"),
        (
            "Sure! {\"name\": \"f\", \"parameters\": {}}",
            none(),
            "Sure! {\"name\": \"f\", \"parameters\": {}}",
        ),
        ("f(a=1)", none(), "f(a=1)"),
        ("[1, 2]", none(), "[1, 2]"),
        ("[]", none(), "[]"),
        ("[see here](http://x)", none(), "[see here](http://x)"),
        ("{\"age\": 3} <b>", none(), "{\"age\": 3} <b>"),
        ("{\"name\": \"Bob\", \"parameters\": {}}", none(), "{\"name\": \"Bob\", \"parameters\": {}}"),
        ("{\"name\": \"f\"}", none(), "{\"name\": \"f\"}"),
        ("{\"parameters\": {\"a\": 1}}", none(), "{\"parameters\": {\"a\": 1}}"),
        ("{\"name\": \"f\", \"parameters\": 3}", none(), "{\"name\": \"f\", \"parameters\": 3}"),
        ("[h(a=1)]", none(), "[h(a=1)]"),
        ("[f(a=x)]", none(), "[f(a=x)]"),
        ("<function=h>{}</function>", none(), "<function=h>{}</function>"),
        ("<function=f>x</function>", none(), "<function=f>x</function>"),
        ("<|python_tag|>print(1 < 2)", none(), "print(1 < 2)"),
        ("<|python_start|>Let me see.<|python_end|>", none(), "Let me see."),
        ("{\"name\": \"f\", \"para", none(), "{\"name\": \"f\", \"para"),
        ("[f(a=1", none(), "[f(a=1"),
        // Objects.
        ("{\"name\": \"f\", \"parameters\": {\"a\": 1}}", f1(), ""),
        (" \n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n", f1(), ""),
        ("{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": 1}}", f1(), ""),
        ("{\"parameters\": {\"a\": 1}, \"name\": \"f\"}", f1(), ""),
        ("{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"a\": 1}}}", f1(), ""),
        ("{\"type\": \"function\", \"function\": \"f\", \"parameters\": {\"a\": 1}}", f1(), ""),
        ("{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}", f1(), ""),
        ("{\"arguments\": \"{\\\"a\\\": 1}\", \"name\": \"f\", \"name\": \"g\"}", f1(), ""),
        ("{\"name\": \"g\", \"parameters\": null}", json!([["g", {}]]), ""),
        ("{\"name\": \"g\", \"arguments\": \"\"}", json!([["g", {}]]), ""),
        ("{\"name\": \"g\", \"parameters\": {}}\n\nDone {it}.", json!([["g", {}]]), "Done {it}."),
        (
            "{\"name\": \"f\", \"parameters\": {\"a\": \"}\\\"{\", \"n\": [{}]}}{\"name\": \"g\", \"parameters\": {}}",
            json!([["f", {"a": "}\"{", "n": [{}]}], ["g", {}]]),
            "",
        ),
        (
            "{\"name\": \"g\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}\n{\"name\": \"h\"}",
            json!([["g", {}], ["g", {}]]),
            "{\"name\": \"h\"}",
        ),
        (
            "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}},]",
            json!([["f", {"a": 1}], ["g", {}]]),
            "",
        ),
        ("<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}", f1(), ""),
        ("Yes.<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}", f1(), "Yes."),
        ("<|python_start|><|python_end|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}", f1(), ""),
        (
            "<|python_start|>I look.<|python_end|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
            f1(),
            "I look.",
        ),
        // Types, and what models get wrong.
        (
            "{\"name\": \"f\", \"parameters\": {\"n\": \"10\", \"x\": \"1.5\", \"b\": \"True\", \"a\": \"10\"}}",
            json!([["f", {"n": 10, "x": 1.5, "b": true, "a": "10"}]]),
            "",
        ),
        (
            "{\"name\": \"f\", \"parameters\": {\"a\": True, \"b\": None}}",
            json!([["f", {"a": true, "b": null}]]),
            "",
        ),
        ("{\"name\": \"f\", \"parameters\": {\"a\": \"x\ny\",}}", json!([["f", {"a": "x\ny"}]]), ""),
        // Functions' tags.
        ("<function=f>{\"a\": 1}</function>", f1(), ""),
        ("I call <function=f>{\"a\": 1}</function> now", f1(), "I call now"),
        ("<function=g>{}</function>\n<function=g> {}", json!([["g", {}], ["g", {}]]), ""),
        // Python's calls.
        ("[f(a=1)]", f1(), ""),
        ("<|python_start|>[f(a=1)]<|python_end|>", f1(), ""),
        ("[g(), f(n='3', b='false',)]", json!([["g", {}], ["f", {"n": 3, "b": false}]]), ""),
        ("[f(a='x' , n=1 ) ]", json!([["f", {"a": "x", "n": 1}]]), ""),
        ("[f(1, 2)] and so on", json!([["f", {"a": 1, "n": 2}]]), "and so on"),
        ("[f(a=1), h()]", f1(), ", h()]"),
        ("[f(a=1), g(", f1(), ", g("),
        ("<|python_tag|>f(a=1)", f1(), ""),
        ("<|python_tag|>f.call(a=1)\ng.call()", json!([["f", {"a": 1}], ["g", {}]]), ""),
        (
            "<|python_tag|>brave_search.call(query=\"a \"b\" c\")",
            json!([["brave_search", {"query": "a \"b\" c"}]]),
            "",
        ),
        // Calls that break off stay open, and are no JSON.
        ("{\"name\": \"f\", \"parameters\": {\"a\": 1, \"n\": 2", json!([["f", "{\"a\":1"]]), ""),
        ("{\"name\": \"f\", \"parameters\": {\"a\": 1, oops}}", json!([["f", "{\"a\":1"]]), ", oops}}"),
        ("<function=f>{\"a\": tru}", json!([["f", "{"]]), "\"a\": tru}"),
    ]
}

#[test]
fn every_form() {
    for (text, calls, rest) in cases() {
        let choice = parse(&tools(), text);
        assert_eq!(said(&choice), (calls, rest), "{text}");
    }
}

#[test]
fn cuts_change_nothing() {
    let mut random = Random(7);
    for tools in [tools(), with_code(tools()), Tools { one_only: true, ..tools() }] {
        for (text, _, _) in cases() {
            let whole = parse(&tools, text);
            let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            for cut in &cuts {
                let (before, after) = text.split_at(*cut);
                assert_eq!(parse_pieces(&tools, [before, after]), whole, "{before}|{after}");
            }
            let chars = text.split_inclusive(|_| true);
            assert_eq!(parse_pieces(&tools, chars), whole, "{text}");
            for _ in 0..20 {
                assert_eq!(parse_pieces(&tools, random.cut(text)), whole, "{text}");
            }
        }
    }
}

#[test]
fn what_is_sure_comes_at_once() {
    let steps = [
        ("Hi <", "Hi "),
        ("b> <fun", "<b> "),
        ("ction=f>", ""),
        ("{\"a\"", "f({"),
        (": \"x", ""),
        ("\"", "\"a\":\"x\""),
        (", \"n\": 12", ""),
        ("}", ",\"n\":12}"),
        ("</function", ""),
        ("> so", "so"),
    ];
    let mut parser = parser(&tools());
    for (piece, wanted) in steps {
        let mut events = Vec::new();
        parser.push(piece, &mut events);
        let told = events.into_iter().map(|event| match event {
            Event::Text { text, .. } | Event::Arguments { text, .. } => text,
            Event::Call { name, .. } => format!("{name}("),
            Event::End { .. } => panic!("no end"),
        });
        assert_eq!(told.collect::<String>(), wanted, "{piece}");
    }
    // An object is text as soon as it is told that it names no tool.
    let mut events = Vec::new();
    let mut parser = self::parser(&tools());
    parser.push("{\"name\": \"Bob", &mut events);
    assert_eq!(events, []);
    parser.push("\",", &mut events);
    assert!(matches!(&events[..], [Event::Text { text, .. }] if text == "{\"name\": \"Bob\","), "{events:?}");
}

#[test]
fn one_call_only_and_none() {
    let text = "[f(a=1), g()]";
    let one = parse(&Tools { one_only: true, ..tools() }, text);
    assert_eq!(said(&one), (json!([["f", {"a": 1}]]), ""));
    assert_eq!(one.calls[0].id, "call1");
    let text = "{\"name\": \"g\", \"parameters\": {}}{\"name\": \"f\", \"parameters\": {\"a\": 1}} x";
    assert_eq!(said(&parse(&Tools { one_only: true, ..tools() }, text)), (json!([["g", {}]]), "x"));
    for tools in [Tools { choice: ToolChoice::Nothing, ..tools() }, Tools::default()] {
        let text = "<|python_tag|>{\"name\": \"g\", \"parameters\": {}}";
        assert_eq!(said(&parse(&tools, text)), (json!([]), text));
    }
}

#[test]
fn code_is_the_interpreters() {
    let code = "def f(n):\n    return n < 2 or {\"a\": [1]}\n\nprint(f(1))";
    let tools = with_code(tools());
    let wanted = json!([["code_interpreter", {"code": code}]]);
    assert_eq!(said(&parse(&tools, &format!("<|python_tag|>{code}\n"))), (wanted.clone(), ""));
    let tagged = format!("So:<|python_start|>{code}<|python_end|> there");
    assert_eq!(said(&parse(&tools, &tagged)), (wanted, "So: there"));
    assert_eq!(said(&parse(&tools, code)), (json!([]), code));
    let wanted = json!([["code_interpreter", {"code": "{\"a\": 1}"}]]);
    assert_eq!(said(&parse(&tools, "<|python_tag|>{\"a\": 1}")), (wanted, ""));
    assert_eq!(said(&parse(&tools, "<|python_tag|>g()")), (json!([["g", {}]]), ""));
}

/// What Meta's documents show that the models write, without the token that ends it.
#[test]
fn the_examples_of_metas_documents() {
    let Some(examples) = puna_conformance::fixtures().json("chat/prompt_format_examples.json") else {
        return;
    };
    let songs = |n: u32| json!([["trending_songs", {"n": n}]]);
    let wanted = [
        ("brave_search", json!([["brave_search", {"query": "latest price of 1oz gold"}]])),
        ("\"genre\": \"all\"", json!([["trending_songs", {"n": 10, "genre": "all"}]])),
        ("<function=", songs(10)),
        ("user_id=7890", json!([["get_user_info", {"user_id": 7890, "special": "black"}]])),
        (
            "[get_weather(city='",
            json!([
                ["get_weather", {"city": "San Francisco", "metric": "celsius"}],
                ["get_weather", {"city": "Seattle", "metric": "celsius"}],
            ]),
        ),
        (
            "[get_weather(city=\"",
            json!([["get_weather", {"city": "San Francisco"}], ["get_weather", {"city": "Seattle"}]]),
        ),
    ];
    let mut n_calls = 0;
    for example in examples["examples"].as_array().unwrap() {
        let response = example["response"].as_str().unwrap_or_default();
        let response = ["<|eot_id|>", "<|eom_id|>", "<|eot|>"]
            .iter()
            .fold(response, |text, end| text.trim_end_matches(end));
        let choice = parse(&with_code(tools()), response);
        let code = response.strip_prefix("<|python_tag|>def").map(|code| format!("def{code}"));
        let calls = match (&code, wanted.iter().find(|(word, _)| response.contains(word))) {
            (Some(code), _) => json!([["code_interpreter", {"code": code}]]),
            (None, Some((_, calls))) => calls.clone(),
            (None, None) => json!([]),
        };
        n_calls += calls.as_array().unwrap().len();
        let rest = if calls == json!([]) { response } else { "" };
        assert_eq!(said(&choice), (calls, rest), "{response}");
    }
    assert!(n_calls >= 15, "only {n_calls} calls");
}

/// What the official templates write of an assistant's calls is read back as these calls.
#[test]
fn what_templates_write_is_read_back() {
    let Some(vectors) = puna_conformance::fixtures().json("chat/jinja.vectors.json") else { return };
    let mut n_read = 0;
    for (name, template) in vectors["templates"].as_object().unwrap() {
        for case in template["cases"].as_array().unwrap() {
            let Some(rendered) = case["rendered"].as_str() else { continue };
            let messages = case["inputs"]["messages"].as_array().unwrap();
            for message in messages.iter().filter(|message| message["tool_calls"].is_array()) {
                let call = &message["tool_calls"][0]["function"];
                let heads = [
                    "<|start_header_id|>assistant<|end_header_id|>",
                    "<|header_start|>assistant<|header_end|>",
                ];
                let mut answers = heads.iter().flat_map(|head| rendered.split(head).skip(1));
                let answer = answers.find(|text| text.contains(call["name"].as_str().unwrap())).unwrap();
                let end =
                    ["<|eot_id|>", "<|eom_id|>", "<|eot|>"].iter().filter_map(|end| answer.find(end)).min();
                let choice = parse(&tools(), &answer[..end.unwrap()]);
                assert_eq!(
                    said(&choice),
                    (json!([[call["name"], call["arguments"]]]), ""),
                    "{name}: {answer}"
                );
                n_read += 1;
            }
        }
    }
    assert!(n_read >= 20, "only {n_read}");
}

/// Numbers that are the same every time: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % n as u64).unwrap()
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    fn cut<'t>(&mut self, text: &'t str) -> Vec<&'t str> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let mut at = (1 + self.below(9)).min(rest.len());
            while !rest.is_char_boundary(at) {
                at += 1;
            }
            let (piece, others) = rest.split_at(at);
            pieces.push(piece);
            rest = others;
        }
        pieces
    }

    fn string(&mut self) -> String {
        let pieces = ["a", " ", "\"", "\\", "'", "\n", "é", "😀", "{", "}]", "<", "</function>", ";", "True"];
        (0..self.below(6)).map(|_| *self.pick(&pieces)).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth < 3 { 7 } else { 5 }) {
            0 => Value::Null,
            1 => (self.below(2) == 0).into(),
            2 => json!(self.below(2000) as i64 - 1000),
            3 => json!(self.below(2000) as f64 / 16.0),
            4 => self.string().into(),
            5 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            _ => Value::Object((0..self.below(4)).map(|_| (self.string(), self.value(depth + 1))).collect()),
        }
    }
}

/// A value as Python writes it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{}: {}", json!(key), python(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn random_calls_in_every_form() {
    let mut random = Random(3);
    let tools = tools();
    for _ in 0..1500 {
        let keys = ["a", "b2", "c_c", "d"];
        let n = random.below(4);
        let arguments: Map<String, Value> = (0..n).map(|at| (keys[at].to_owned(), random.value(0))).collect();
        let json = Value::Object(arguments.clone());
        let pairs: Vec<String> =
            arguments.iter().map(|(key, value)| format!("{key}={}", python(value))).collect();
        // A mark with a comma or bracket after it ends a string of Python's here, which none of JSON's is.
        let pairs = pairs.join(", ");
        let is_plain = !["\\\"", "\\\\"].iter().any(|mark| pairs.contains(mark));
        let mut texts = vec![
            format!("{{\"name\": \"f\", \"parameters\": {json}}}"),
            format!("<|python_tag|>{{\"type\": \"function\", \"name\": \"f\", \"arguments\": {json:#}}}"),
            format!("[{{\"arguments\": {json}, \"name\": \"f\"}}]"),
            format!("{{\"function\": {{\"name\": \"f\", \"arguments\": {}}}}}", json!(json.to_string())),
            format!("<function=f>{json}</function>"),
        ];
        if is_plain {
            texts.push(format!("[f({pairs})]"));
            texts.push(format!("<|python_tag|>f.call({pairs})"));
        }
        for text in texts {
            let choice = parse_pieces(&tools, random.cut(&text));
            assert_eq!(said(&choice), (json!([["f", json]]), ""), "{text}");
        }
    }
}

#[test]
fn hostile_texts_do_no_harm() {
    let mut random = Random(11);
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "\\",
        ":",
        ",",
        "f(",
        ")",
        "=",
        "<",
        "<function=f>",
        "<|python_tag|>",
    ];
    let cases = cases();
    let choices = [tools(), with_code(tools())];
    for round in 0..20_000 {
        let mut chars: Vec<char> = random.pick(&cases).0.chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(chars.len() + 1);
            match random.below(3) {
                0 => drop(chars.drain(at..(at + random.below(5)).min(chars.len()))),
                1 => drop(chars.splice(at..at, random.pick(&words).chars())),
                _ => {
                    let from = random.below(chars.len() + 1);
                    let copy: Vec<char> = chars[from.min(at)..from.max(at)].to_vec();
                    drop(chars.splice(at..at, copy));
                }
            }
        }
        let text: String = chars.into_iter().collect();
        let tools = &choices[round % 2];
        let whole = parse(tools, &text);
        assert_eq!(parse_pieces(tools, random.cut(&text)), whole, "{text}");
        // What breaks off lacks its end, and nothing else.
        for call in &whole.calls {
            let is_object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
            let (arguments, closed) = (&call.arguments, format!("{}}}", call.arguments));
            assert!(is_object(arguments) || is_object(&closed), "{text}: {call:?}");
        }
    }
}

#[test]
fn long_and_deep_texts_take_linear_time() {
    let n = 100_000;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(n), close.repeat(n));
    let begun = "{\"name\": \"f\", \"parameters\": {\"a\": ";
    let texts = [
        "[".repeat(n),
        "{".repeat(n),
        "<".repeat(n),
        "<function=".repeat(n),
        "<|python_tag|>".repeat(n),
        "[f(".repeat(n),
        format!("{begun}{}}}}}", deep("[", "]")),
        format!("{begun}{}", deep("{\"a\":", "}")),
        format!("[f(a={})]", deep("[", "]")),
        format!("[f(a={})]", deep("(", ")")),
        format!("[f(a={})]", deep("{1:", "}")),
        format!("[f(a=\"{})]", "\" ".repeat(n)),
        format!("[f(a=\"{}\")]", " ".repeat(n)),
        format!("{begun}\"{}", "\\".repeat(n)),
        format!("{begun}\"{}", "x".repeat(2 * MOST_HELD)),
        format!("{{\"x\": \"{}", "x".repeat(2 * MOST_HELD)),
        format!("[f({})]", "a=1,".repeat(n)),
        format!("{begun}1{}}}}}", ",\"a\": 1".repeat(n)),
        format!("{{\"parameters\": {{\"a\": 1{}}}, \"name\": \"f\"}}", ",\"a\": 1".repeat(n / 10)),
        "{\"name\": \"f\", \"parameters\": {}}".repeat(n / 10),
        format!("<|python_tag|>{}", "f(a=1)\n".repeat(n / 10)),
        format!("<|python_tag|>{}", "é".repeat(MOST_HELD)),
        " ".repeat(2 * MOST_HELD),
    ];
    let start = Instant::now();
    for text in texts {
        for tools in [tools(), with_code(tools())] {
            let whole = parse(&tools, &text);
            let pieces = text.as_bytes().chunks(1000).map(|chunk| std::str::from_utf8(chunk));
            if let Ok(pieces) = pieces.collect::<Result<Vec<_>, _>>() {
                let cut = parse_pieces(&tools, pieces);
                assert!(cut == whole, "{}", &text[..40]);
            }
        }
    }
    // Some ten million characters take a second or two; what is quadratic takes minutes.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn what_is_too_long_to_be_held_is_text() {
    let long = "x".repeat(MOST_HELD);
    let text = format!("{{\"x\": \"{long}\", \"name\": \"f\", \"parameters\": {{}}}}");
    let choice = parse(&tools(), &text);
    assert!(choice.calls.is_empty() && choice.text == text);
}
