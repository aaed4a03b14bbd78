//! `/v1/moderations`: a guard judges, and what was not judged does not pass.

mod common;
#[path = "../../cli/tests/common/tiny.rs"]
mod tiny;

use common::Running;
use puna_serve::{ServeOptions, ServedModel};
use serde_json::{Value, json};

/// A server of the built-in model and of a guard that always gives this answer.
fn with_guard(answer: &[&str]) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny::write(&folder.path().join("llama-guard.gguf"), answer, &[]);
    let mut models = common::builtin();
    let options = models[0].options.clone();
    models.push(ServedModel { name: Some("guard".into()), path: Some(path.into()), options, own: None });
    (Running::with(models, ServeOptions { idle: None, ..ServeOptions::default() }), folder)
}

#[test]
fn a_guard_judges_each_text() {
    let (server, _folder) = with_guard(&["▁unsafe", "\nO3, O1"]);
    let two =
        server.post("/v1/moderations", &json!({"input": ["a", "b"], "model": "omni-moderation-latest"})).ok();
    assert_eq!(two["model"], "guard");
    assert!(two["id"].as_str().unwrap().starts_with("modr-"));
    let results = two["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result["flagged"], true);
        let categories = result["categories"].as_object().unwrap();
        let named: Vec<&str> = categories
            .iter()
            .filter(|(_, flagged)| **flagged == true)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(named, ["hate", "illicit", "violence"]);
        let score = |name: &str| result["category_scores"][name].as_f64().unwrap();
        assert!(score("hate") > 0.0 && score("sexual") == 0.0);
        assert_eq!(result["category_applied_input_types"]["hate"], json!(["text"]));
        let codes: Vec<&Value> =
            result["guard"]["categories"].as_array().unwrap().iter().map(|own| &own["code"]).collect();
        assert_eq!(codes, ["O3", "O1"]);
    }
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let one = server.post("/v1/moderations", &json!({"input": parts, "model": "guard"})).ok();
    assert_eq!(one["results"].as_array().unwrap().len(), 1);
    // The other model is no guard, and too long a text is not judged in part.
    let model = server.get("/v1/models").ok()["data"][0]["id"].clone();
    assert_eq!(server.post("/v1/moderations", &json!({"input": "a", "model": model})).status, 400);
    assert_eq!(server.post("/v1/moderations", &json!({"input": "a b ".repeat(9000)})).status, 400);
}

#[test]
fn safe_texts_pass_and_unclear_ones_do_not() {
    let (server, _folder) = with_guard(&["▁safe"]);
    let result = server.post("/v1/moderations", &json!({"input": "a"})).ok()["results"][0].clone();
    assert_eq!(result["flagged"], false);
    assert!(result["categories"].as_object().unwrap().values().all(|flagged| *flagged == false));
    let (server, _folder) = with_guard(&["▁s", "a"]);
    let unclear = server.post("/v1/moderations", &json!({"input": "a"}));
    assert_eq!(unclear.status, 500, "{}", unclear.text);
    assert!(unclear.text.contains("no verdict"));
}

#[test]
fn without_a_guard_nothing_is_judged() {
    let answer = Running::start().post("/v1/moderations", &json!({"input": "a"}));
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("-m guard=PATH"));
}
