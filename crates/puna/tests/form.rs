//! Answers of a given form, held against what the form says by rules of the test's own.

mod form_cases;

use std::sync::OnceLock;

use form_cases::{CASES, satisfies};
use puna::{
    AnswerOptions, Constraint, Error, ErrorKind, FinishReason, Form, Llama, PromptTokens, SamplingParams,
};
use serde_json::{Value, json};

/// The built-in model tells stories. It knows nothing of JSON, and goes wrong wherever it may.
fn llama() -> &'static Llama {
    static LLAMA: OnceLock<Llama> = OnceLock::new();
    LLAMA.get_or_init(|| Llama::builtin().unwrap())
}

/// Models with other vocabularies: SentencePiece and byte-level BPE.
fn others() -> Vec<Llama> {
    let fixtures = puna_conformance::fixtures();
    let names = ["models/llama2-gqa-f16", "models/llama3.2-tied"];
    let mut llamas = Vec::new();
    for name in names {
        let path = fixtures.path(name);
        if !path.join("tokenizer.json").is_file() {
            puna_conformance::skip(format!("forms with the vocabulary of {name}"), "there is no tokenizer");
            continue;
        }
        llamas.push(Llama::load(path).unwrap());
    }
    llamas
}

fn in_chat() -> PromptTokens {
    PromptTokens { is_chat: true, ..PromptTokens::default() }
}

fn constraint(llama: &Llama, form: &Form) -> Box<dyn Constraint> {
    llama.constraint(form, &in_chat()).unwrap_or_else(|error| panic!("{form:?}: {error}"))
}

fn allows(words: &[u32], id: u32) -> bool {
    words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
}

/// Whether an answer of exactly these ids is of the form, as masks and as accepted tokens say, which must agree.
fn takes_ids(llama: &Llama, mut constraint: Box<dyn Constraint>, ids: &[u32]) -> bool {
    for id in ids {
        let is_allowed = allows(constraint.allowed().unwrap(), *id);
        let is_accepted = is_allowed && constraint.accept(*id).is_ok();
        assert_eq!(is_allowed, is_accepted, "token {id}");
        if !is_allowed {
            return false;
        }
    }
    let stop_ids = llama.tokenizer().unwrap().stop_ids().to_vec();
    let ends: Vec<bool> = stop_ids.iter().map(|id| allows(constraint.allowed().unwrap(), *id)).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "some ids end it, others do not");
    if ends[0] {
        constraint.accept(stop_ids[0]).unwrap();
        assert!(stop_ids.iter().all(|id| allows(constraint.allowed().unwrap(), *id)));
    }
    ends[0]
}

fn takes(llama: &Llama, form: &Form, text: &str) -> bool {
    let tokenizer = llama.tokenizer().unwrap();
    let mut ids = tokenizer.encode(text, Default::default());
    let in_words = takes_ids(llama, constraint(llama, form), &ids);
    // Byte by byte is another way to write the same.
    ids.clear();
    for byte in text.bytes() {
        let own = (0..tokenizer.vocab_size() as u32).find(|id| tokenizer.decode_bytes(*id) == [byte]);
        ids.push(tokenizer.id_of_byte(byte).or(own).unwrap());
    }
    let in_bytes = takes_ids(llama, constraint(llama, form), &ids);
    if !text.starts_with(' ') {
        assert_eq!(in_words, in_bytes, "{text}");
    }
    in_words
}

fn schema_error(schema: Value) -> String {
    match llama().constraint(&Form::Schema(schema.clone()), &in_chat()) {
        Err(error @ Error::Form { .. }) => {
            assert_eq!(error.kind(), ErrorKind::Request);
            error.to_string()
        }
        Err(error) => panic!("{schema}: {error}"),
        Ok(_) => panic!("{schema} was taken"),
    }
}

#[test]
fn documents_of_a_schema_are_allowed_and_others_are_not() {
    for llama in std::iter::once(llama().clone()).chain(others()) {
        for (schema, good, bad) in CASES {
            let schema: Value =
                serde_json::from_str(schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
            let form = Form::Schema(schema.clone());
            for text in *good {
                let value = serde_json::from_str(text).unwrap();
                assert!(satisfies(&schema, &schema, &value), "the case is wrong: {schema} {text}");
                assert!(takes(&llama, &form, text), "{}: {schema} refuses {text}", llama.name());
            }
            for text in *bad {
                let value: Option<Value> = serde_json::from_str(text).ok();
                let fits = value.is_some_and(|value| satisfies(&schema, &schema, &value));
                assert!(!fits, "the case is wrong: {schema} {text}");
                assert!(!takes(&llama, &form, text), "{}: {schema} takes {text}", llama.name());
            }
        }
    }
}

fn answer(
    form: &Form,
    prompt: &str,
    temperature: f64,
    seed: u64,
    max_tokens: usize,
) -> (String, FinishReason) {
    let sampling = SamplingParams { temperature, seed: Some(seed), ..SamplingParams::default() };
    let options = AnswerOptions {
        sampling: Some(sampling),
        max_tokens: Some(max_tokens),
        form: Some(form.clone()),
        ..AnswerOptions::default()
    };
    let generation = llama().complete_with(prompt, &options).unwrap().finish().unwrap();
    (generation.text, generation.finish)
}

#[test]
fn every_answer_satisfies_its_schema() {
    let (mut n_finished, mut n_cut) = (0, 0);
    for (i, (schema, _, _)) in CASES.iter().enumerate() {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let form = Form::Schema(schema.clone());
        for (temperature, seed) in [(0.0, 0), (1.0, i as u64), (1.5, 100 + i as u64)] {
            let prompt = if seed % 2 == 0 { "" } else { "Once upon a time" };
            let (text, finish) = answer(&form, prompt, temperature, seed, 300);
            if finish == FinishReason::Length {
                n_cut += 1;
                continue;
            }
            assert!(matches!(finish, FinishReason::StopId(_)), "{finish:?}");
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}: {text}: {error}"));
            assert!(satisfies(&schema, &schema, &value), "{schema}: {text}");
            n_finished += 1;
        }
    }
    println!("{n_finished} answers finished, {n_cut} were cut");
    assert!(n_finished > 2 * n_cut);
}

#[test]
fn numbers_and_brackets_end() {
    for seed in 0..4 {
        for schema in [
            json!({"type": "integer"}),
            json!({"type": "number"}),
            json!({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}),
        ] {
            for temperature in [0.0, 2.0] {
                let (text, finish) = answer(&Form::Schema(schema.clone()), "1", temperature, seed, 250);
                assert!(matches!(finish, FinishReason::StopId(_)), "{schema}: {text}");
                serde_json::from_str::<Value>(&text)
                    .unwrap_or_else(|error| panic!("{schema}: {text}: {error}"));
            }
        }
    }
    // An array of arrays ends before readers give up; from then on nothing opens.
    let form = Form::Schema(
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}),
    );
    assert!(!takes(llama(), &form, &format!("{}{}", "[".repeat(130), "]".repeat(130))));
    assert!(takes(llama(), &form, &format!("{}{}", "[".repeat(90), "]".repeat(90))));
    let form = Form::Schema(json!({"type": "number"}));
    assert!(takes(llama(), &form, "-0.00012345678901234567e-12"));
    assert!(!takes(llama(), &form, "1e100"));
}

#[test]
fn what_cannot_be_enforced_is_named_with_its_place() {
    let deep = json!({"type": "object", "properties": {"a/b": {"type": "array", "items": {"not": {}}}}});
    assert!(schema_error(deep).ends_with("`not` at `/properties/a~1b/items/not` cannot be enforced"));
    for (schema, fact) in [
        (json!({"type": "array", "uniqueItems": true}), "`uniqueItems` at `/uniqueItems` cannot"),
        (json!({"if": {}, "then": {}}), "`if` at `/if`"),
        (json!({"contains": {}}), "`contains`"),
        (json!({"dependentRequired": {"a": ["b"]}}), "`dependentRequired`"),
        (json!({"dependencies": {"a": ["b"]}}), "`dependencies`"),
        (json!({"allOf": [{}], "unevaluatedProperties": false}), "`unevaluatedProperties`"),
        (json!({"$defs": {"a": {"not": {}}}, "$ref": "#/$defs/a"}), "`not` at `/$defs/a/not`"),
        (json!({"$ref": "https://example.com/schema"}), "outside of the schema"),
        (json!({"$ref": "#/$defs/none"}), "where nothing stands"),
        (json!({"$ref": "#anchor"}), "only `#`"),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            "in a circle",
        ),
        (json!({"$ref": "#"}), "in a circle"),
        (json!({"type": "string", "pattern": "a(?=b)"}), "`pattern` at `/pattern` has an expression"),
        (json!({"patternProperties": {"(": {}}}), "`patternProperties`"),
        (
            json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
            "`oneOf` at `/oneOf` cannot be enforced: branches 0 and 1",
        ),
        (json!({"propertyNames": {"format": "uuid"}}), "`propertyNames`"),
        (json!({"type": "any"}), "`type` at `/type` is `\"any\"`"),
        (json!({"anyOf": []}), "`anyOf` at `/anyOf` has no branches"),
        (json!({"enum": []}), "`enum`"),
        (json!({"properties": []}), "`properties` at `/properties` must be an object"),
        (json!({"properties": {"a": 3}}), "`/properties/a` is no schema"),
        (json!({"const": 9007199254740993i64}), "`const`"),
        (json!({"type": "integer", "multipleOf": 4_294_967_291u32}), "`multipleOf`"),
        (json!({"type": "integer", "multipleOf": 1e-300}), "`multipleOf`"),
        (json!({"minimum": 1e30}), "`minimum`"),
        (json!({"minProperties": 2}), "`minProperties`"),
        (
            json!({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2, "additionalProperties": false}),
            "min/maxProperties",
        ),
        (json!(false), "`false`"),
        (json!({"type": "integer", "minimum": 3, "maximum": 2}), ""),
        (json!({"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5}), ""),
        (json!({"multipleOf": 0}), ""),
        (json!({"type": "string", "minLength": -1}), "minLength"),
        (json!(7), "no schema"),
    ] {
        let error = schema_error(schema.clone());
        assert!(error.starts_with("the answer cannot be held to the schema\n  "), "{error}");
        assert!(error.contains(fact) && error.lines().count() == 2, "{schema}: {error}");
    }
}

/// What says nothing about answers is passed over.
#[test]
fn annotations_are_dropped() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/a", "$comment": "c",
        "title": "T", "description": "d", "type": "object", "default": {}, "examples": [1], "deprecated": true,
        "properties": {
            "a": {"type": "string", "format": "password", "x-order": 1},
            "b": {"type": "integer", "format": "int32"},
            "c": {"$ref": "https://example.com/a#/definitions/c", "description": "beside a reference"},
        },
        "definitions": {"c": {"type": "boolean", "uniqueItems": false}},
        "propertyNames": {"type": "string"}, "required": ["a", "b", "c"], "additionalProperties": false,
        "x-guidance": {"lenient": true}, "unevaluatedProperties": true,
    });
    assert!(takes(llama(), &Form::Schema(schema.clone()), r#"{"a": "x", "b": 3, "c": true}"#));
    assert!(!takes(llama(), &Form::Schema(schema), r#"{"a": "x", "b": 3, "c": 1}"#));
}

/// A schema from a stranger ends in an error or in a constraint, in bounded time and memory.
#[test]
fn hostile_schemas_end() {
    let mut deep = json!({"type": "string"});
    for _ in 0..120 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let mut deeper = deep.clone();
    for _ in 0..2000 {
        deeper = json!({"items": deeper});
    }
    let chain: serde_json::Map<String, Value> = (0..3000)
        .map(|i| (format!("d{i}"), json!({"properties": {"a": {"$ref": format!("#/$defs/d{}", i + 1)}}})))
        .collect();
    let mut short_chain = chain.clone();
    short_chain.insert("d290".into(), json!({}));
    let doubling: serde_json::Map<String, Value> = (0..30)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            (format!("d{i}"), json!({"allOf": [next, next]}))
        })
        .chain([("d30".to_owned(), json!({"anyOf": [{"type": "string"}, {"type": "number"}]}))])
        .collect();
    let branches = |n: usize| -> Vec<Value> {
        (0..n)
            .map(|i| json!({"type": "object", "properties": {format!("p{i}"): {"type": "string"}}}))
            .collect()
    };
    let names = |n: usize| -> Vec<String> { (0..n).map(|i| format!("value number {i}")).collect() };
    let properties: serde_json::Map<String, Value> =
        (0..5000).map(|i| (format!("p{i}"), json!({"type": "integer"}))).collect();
    for (what, schema) in [
        ("deep", deep),
        ("too deep", deeper),
        ("a chain of references", json!({"$defs": chain, "$ref": "#/$defs/d0"})),
        ("a long chain of references", json!({"$defs": short_chain, "$ref": "#/$defs/d0"})),
        ("references that double", json!({"$defs": doubling, "$ref": "#/$defs/d0"})),
        ("a product of branches", json!({"allOf": [{"anyOf": branches(300)}, {"anyOf": branches(300)}]})),
        ("a product of many", json!({"allOf": vec![json!({"anyOf": branches(3)}); 20]})),
        ("many branches", json!({"anyOf": branches(3000)})),
        ("many disjoint branches", json!({"oneOf": branches(3000)})),
        ("an enum", json!({"enum": names(10_000)})),
        ("a huge enum", json!({"type": "string", "enum": names(60_000)})),
        ("two enums", json!({"allOf": [{"enum": names(2000)}, {"enum": names(2000)}]})),
        ("itself", json!({"allOf": [{"$ref": "#"}]})),
        (
            "itself and more",
            json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "anyOf": [{"$ref": "#"}]}),
        ),
        ("always one more", json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})),
        ("many properties", json!({"type": "object", "properties": properties})),
        ("an expression", json!({"type": "string", "pattern": "^(a+)+$"})),
        ("repetitions", json!({"type": "string", "pattern": "(((a{1,1000}){1,1000}){1,1000}){1,1000}"})),
        ("alternatives", json!({"type": "string", "pattern": "(.*a.{20}|.*b.{25}){3}.*(.?.?.?){99}x"})),
        (
            "groups",
            json!({"type": "string", "pattern": format!("{}a{}", "(".repeat(5000), ")".repeat(5000))}),
        ),
        ("lengths", json!({"type": "string", "minLength": 1_000_000_000, "maxLength": 4_000_000_000u32})),
        ("no length", json!({"type": "string", "maxLength": u64::MAX})),
        ("items", json!({"type": "array", "minItems": 1_000_000_000, "items": {"type": "string"}})),
        ("multiples", json!({"type": "integer", "multipleOf": 4_294_967_291u32})),
        ("small multiples", json!({"type": "number", "multipleOf": 1e-300})),
        ("small bounds", json!({"type": "number", "minimum": 1e-300, "maximum": 2e-300})),
        ("all integers", json!({"type": "integer", "minimum": i64::MIN, "maximum": u64::MAX})),
        ("all numbers", json!({"type": "number", "minimum": -1.7e308, "maximum": 1.7e308})),
        (
            "a deep value",
            serde_json::from_str(&format!("{{\"const\":{}{}}}", "[".repeat(100), "]".repeat(100))).unwrap(),
        ),
        ("a long name", json!({"properties": {"a".repeat(200_000): {"type": "string"}}})),
        ("patterns", json!({"patternProperties": {"^a.*b.*c.*d.{9}": {}, "^.*e.{9}f.*": {}}})),
        ("many patterns", {
            let patterns: serde_json::Map<String, Value> =
                (0..300).map(|i| (format!("^{i}_.*"), json!({}))).collect();
            json!({"patternProperties": patterns})
        }),
    ] {
        let start = std::time::Instant::now();
        let result = llama().constraint(&Form::Schema(schema), &in_chat());
        let said = match result {
            Err(error) => error.to_string().lines().nth(1).unwrap().chars().take(110).collect(),
            Ok(mut constraint) => match constraint.allowed() {
                Ok(_) => "taken".to_owned(),
                Err(error) => error,
            },
        };
        println!("{what}: {said} ({:.0?})", start.elapsed());
        assert!(start.elapsed().as_secs() < 20, "{what}");
        assert!(!said.contains("panic"), "{what}: {said}");
    }
}

/// So do grammars and expressions.
#[test]
fn hostile_texts_end() {
    let rules = |n: usize, sign: &str, end: &str| -> String {
        (0..n).map(|i| format!("r{i} {sign} \"a\" r{}\n", i + 1)).collect::<String>()
            + &format!("r{n} {sign} \"b\" {end}\n")
    };
    let nested_rules = |n: usize| -> String {
        let (open, close) = ("(\"a\" ".repeat(27), ")".repeat(27));
        (0..n).map(|i| format!("r{i}: {open}r{}{close}\n", i + 1)).collect::<String>()
            + &format!("r{n}: \"b\"\n")
    };
    for (what, form) in [
        ("a long expression", Form::Regex("ab".repeat(100_000))),
        ("alternatives", Form::Regex((0..20_000).map(|i| format!("x{i}|")).collect::<String>() + "y")),
        ("repetitions", Form::Regex("((a{0,1000}b?){0,1000}c?){0,1000}".into())),
        ("groups", Form::Regex(format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)))),
        ("choices", Form::Choice((0..50_000).map(|i| format!("choice {i}")).collect())),
        ("a long choice", Form::Choice(vec!["a".repeat(500_000)])),
        ("a chain of rules", Form::Lark("start: r0\n".to_owned() + &rules(990, ":", ""))),
        ("a circle of rules", Form::Lark("start: r0\n".to_owned() + &rules(990, ":", "r0?"))),
        ("a chain of rules in groups", Form::Lark("start: r0\n".to_owned() + &nested_rules(990))),
        ("too many rules", Form::Lark("start: r0\n".to_owned() + &rules(90_000, ":", ""))),
        ("a chain of terminals", Form::Gbnf("root ::= r0\n".to_owned() + &rules(990, "::=", ""))),
        ("a circle of GBNF", Form::Gbnf("root ::= r0\n".to_owned() + &rules(450, "::=", "r0?"))),
        ("too much GBNF", Form::Gbnf("root ::= r0\n".to_owned() + &rules(50_000, "::=", ""))),
        ("ambiguity", Form::Lark("start: a\na: a a | \"x\" |".into())),
        ("groups in Lark", Form::Lark(format!("start: {}\"a\"{}", "(".repeat(10_000), ")".repeat(10_000)))),
        (
            "repetitions in Lark",
            Form::Lark("start: (((\"a\"{0,9999} \"b\"){0,9999} \"c\"){0,9999}){0,9999}".into()),
        ),
        (
            "a nested schema",
            Form::Lark(format!("start: %json {{\"const\": {}{}}}", "[".repeat(5000), "]".repeat(5000))),
        ),
        ("no text", Form::Lark("\u{0}\u{ff}%%%".into())),
    ] {
        let start = std::time::Instant::now();
        let said = match llama().constraint(&form, &in_chat()) {
            Err(error) => error.to_string().lines().nth(1).unwrap().chars().take(110).collect(),
            Ok(mut constraint) => constraint.allowed().map_or_else(|error| error, |_| "taken".to_owned()),
        };
        println!("{what}: {said} ({:.0?})", start.elapsed());
        assert!(start.elapsed().as_secs() < 20, "{what}");
        assert!(!said.contains("panic"), "{what}: {said}");
    }
}

#[test]
fn a_text_is_one_of_several() {
    let form = Form::Choice(vec!["yes".into(), "yes, but".into(), "no\n\"maybe\"".into(), "né€🦙".into()]);
    for llama in std::iter::once(llama().clone()).chain(others()) {
        for good in ["yes", "yes, but", "no\n\"maybe\"", "né€🦙"] {
            assert!(takes(&llama, &form, good), "{good}");
        }
        for bad in ["", "y", "yes,", "yes yes", "no", " no", "maybe"] {
            assert!(!takes(&llama, &form, bad), "{bad}");
        }
    }
    assert!(takes(llama(), &Form::Choice(vec!["".into(), "a".into()]), ""));
    for seed in 0..10 {
        let (text, _) = answer(&form, "", 1.5, seed, 50);
        assert!(["yes", "yes, but", "no\n\"maybe\"", "né€🦙"].contains(&&*text), "{text:?}");
    }
    assert!(llama().constraint(&Form::Choice(vec![]), &in_chat()).is_err());
}

#[test]
fn an_expression_is_matched_as_a_whole() {
    let form = Form::Regex(r"^(\d{3}-)+[a-c/\\]*$".into());
    for llama in std::iter::once(llama().clone()).chain(others()) {
        for good in ["123-", "123-456-abc", "000-/\\"] {
            assert!(takes(&llama, &form, good), "{good}");
        }
        for bad in ["", "12", "123", "123-d", "123-456", " 123-"] {
            assert!(!takes(&llama, &form, bad), "{bad}");
        }
    }
    let pattern = regex::Regex::new(r"^([A-Z][a-z]{1,8} ){2,4}!$").unwrap();
    for seed in 0..8 {
        let (text, finish) =
            answer(&Form::Regex(pattern.as_str().into()), ["", "Once"][seed as usize % 2], 1.0, seed, 99);
        assert!(matches!(finish, FinishReason::StopId(_)));
        // A text that is continued may begin with the space between words.
        assert!(pattern.is_match(&text), "{text:?}");
    }
}

const ARITHMETIC_GBNF: &str = r#"
# llama.cpp's example, and a rule that leads back to itself
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t]*
"#;

const ARITHMETIC_LARK: &str = r#"
start: (expr "=" WS? term "\n")+
expr: term (/[-+*\/]/ WS? term)*
term: IDENT WS? | NUM WS? | "(" WS? expr ")" WS?
IDENT: /[a-z][a-z0-9_]*/
NUM: /[0-9]+/
WS: /[ \t]+/
"#;

#[test]
fn a_grammar_of_either_form() {
    for grammar in [ARITHMETIC_GBNF, ARITHMETIC_LARK] {
        let form = Form::of_grammar(grammar);
        assert_eq!(matches!(form, Form::Gbnf(_)), grammar == ARITHMETIC_GBNF);
        for llama in std::iter::once(llama().clone()).chain(others()) {
            for good in ["a=1\n", "( a_1 +22*(b/3) )=c\nd= 4\n", "((((1))))=2\n"] {
                assert!(takes(&llama, &form, good), "{good}");
            }
            for bad in ["", "a=1", "a=1\nb", "(a=1\n", "=1\n", "A=1\n", "a++b=1\n"] {
                assert!(!takes(&llama, &form, bad), "{bad}");
            }
        }
    }
}

/// llama.cpp's grammars: what is regular is exact, whatever borders there are between its parts.
#[test]
fn a_grammar_is_one_of_characters() {
    let form = Form::of_grammar("root ::= [a-z]+ \"foo\" | \"x\" item{2,3}\nitem ::= \"ab\"? \"a\"");
    for good in ["afoo", "foxfoo", "foofoo", "xaa", "xabaa", "xaabaa"] {
        assert!(takes(llama(), &form, good), "{good}");
    }
    for bad in ["foo", "foxfo", "xa", "xaaaa", "xab"] {
        assert!(!takes(llama(), &form, bad), "{bad}");
    }
}

#[test]
fn mistakes_in_expressions_and_grammars_are_named() {
    for (form, fact) in [
        (Form::Regex("(".into()), "unclosed group"),
        (Form::Regex("a(?!b)".into()), "look"),
        (Form::Regex(String::new()), "empty"),
        (Form::Lark("start: \"a\" nothing".into()), "nothing"),
        (Form::Lark("begin: \"a\"".into()), "start"),
        (Form::Lark("start: (".into()), ""),
        (Form::Lark("start: <|no_such_token|>".into()), "no_such_token"),
        (Form::Lark("start: start".into()), ""),
        (Form::Lark(String::new()), "start"),
        (Form::Gbnf("root ::= nothing".into()), "line 1: there is no rule `nothing`"),
        (Form::Gbnf("root ::= root".into()), ""),
        (Form::Gbnf(format!("root ::= \"{}", "a".repeat(2 << 20))), "more than"),
    ] {
        let error = match llama().constraint(&form, &in_chat()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{form:?} was taken"),
        };
        assert!(
            error.starts_with("the answer cannot be held to the ") && error.lines().count() == 2,
            "{error}"
        );
        assert!(error.contains(fact) && !error.contains("panic"), "{form:?}: {error}");
    }
}

#[test]
fn an_object_of_json() {
    for good in [r#"{}"#, r#"{"a": [1, {"b": null}], "c": "\u00e9é\n"}"#] {
        assert!(takes(llama(), &Form::Object, good), "{good}");
    }
    for bad in ["", "[]", "1", "{}}", "{\"a\"}", "{\n}", "{\"a\":\n1}", "{'a': 1}"] {
        assert!(!takes(llama(), &Form::Object, bad), "{bad}");
    }
    for seed in 0..6 {
        let (text, finish) = answer(&Form::Object, "", 1.0, seed, 400);
        if matches!(finish, FinishReason::StopId(_)) {
            assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
        }
    }
}
