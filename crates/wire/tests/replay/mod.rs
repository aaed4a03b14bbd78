//! What tests of several APIs need: recorded requests, made-up answers, and frames as clients read them.

use puna_wire::{Encode, Event, Finish, Frames, Identity, Token, Usage};
use serde_json::Value;

/// A request that a client was seen to send.
pub struct Recorded {
    /// The file.
    pub file: String,
    /// The body.
    pub body: Value,
}

/// The recorded requests to a path.
pub fn recorded(path: &str) -> Vec<Recorded> {
    let recordings = puna_conformance::recordings(&format!("recorded requests to {path}"));
    let mut found = Vec::new();
    for (file, recording) in &recordings {
        for request in recording["requests"].as_array().unwrap() {
            let asked = request["path"].as_str().unwrap().split('?').next().unwrap();
            if request["method"] == "POST" && asked == path {
                found.push(Recorded { file: format!("{file}.json"), body: request["body"].clone() });
            }
        }
    }
    assert_eq!(found.is_empty(), recordings.is_empty(), "no request to {path} is recorded");
    found
}

/// Random numbers (xorshift64).
pub struct Random(pub u64);

impl Random {
    /// One below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// One of some.
    pub fn of<T: Clone>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize].clone()
    }
}

/// An answer's events: texts and calls in any order, in pieces, with the odd empty one, and an end.
pub fn events(random: &mut Random, with_tokens: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut n_calls = 0;
    for _ in 0..random.below(6) {
        if random.below(3) > 0 {
            for _ in 0..random.below(4) {
                let text = random.of(&["", "a", " b\n", "ü\u{2028}", "\"}"]).to_owned();
                let tokens = if with_tokens { vec![token(random)] } else { Vec::new() };
                events.push(Event::Text { choice: 0, text, tokens });
            }
        } else {
            let (id, name) = (format!("{n_calls}x"), random.of(&["f", "g"]).to_owned());
            events.push(Event::Call { choice: 0, index: n_calls, id, name });
            let arguments = random.of(&["{}", "{\"a\": [1, \"ü\"]}", "", "{\"a\": 1"]);
            let cut = arguments.len() / 2;
            for text in [&arguments[..cut], &arguments[cut..]] {
                events.push(Event::Arguments { choice: 0, index: n_calls, text: text.to_owned() });
            }
            n_calls += 1;
        }
    }
    let ends =
        [Finish::Stop, Finish::StopString("END".to_owned()), Finish::Length, Finish::Calls, Finish::Filtered];
    events.push(Event::End { choice: 0, finish: random.of(&ends) });
    events
}

fn token(random: &mut Random) -> Token {
    let id = random.below(1000) as u32;
    Token {
        id,
        bytes: vec![b'a' + (id % 26) as u8],
        logprob: Some(-0.25),
        top: vec![(7, b"h".to_vec(), -0.125)],
    }
}

/// Who answers in tests.
pub fn identity() -> Identity {
    Identity { id: "1a2b".to_owned(), created: 1_700_000_000, model: "llama".to_owned() }
}

/// Tokens of an answer in tests.
pub fn usage() -> Usage {
    Usage { prompt: 20, cached: 8, completion: 5, total_ns: 2_500_000_000, ..Usage::default() }
}

/// The frames of an answer: names and data.
pub fn frames(encoder: &mut dyn Encode, events: &[Event], usage: &Usage) -> Vec<(String, Value)> {
    let mut out = Frames::default();
    encoder.begin(&mut out);
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(usage, &mut out);
    parsed(&mut out)
}

/// Frames as clients read them: each has a name, and says it again as its type.
pub fn parsed(out: &mut Frames) -> Vec<(String, Value)> {
    let text = String::from_utf8(out.take()).unwrap();
    assert!(text.ends_with("\n\n"), "the last frame is not ended");
    let mut frames = Vec::new();
    for frame in text.split_terminator("\n\n") {
        let (name, data) = frame.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], name.as_str());
        frames.push((name, data));
    }
    frames
}

/// Adds a text to a text.
pub fn append(to: &mut Value, more: &Value) {
    *to = format!("{}{}", to.as_str().unwrap(), more.as_str().unwrap()).into();
}
