//! What Jinja2 prints in transformers' environment, and what this crate prints.

use puna_jinja::{Limits, Template};
use serde_json::Value;

#[test]
fn prints_what_jinja2_prints() {
    let known: Value = serde_json::from_str(include_str!("known_output.json")).unwrap();
    let variables = known["variables"].as_object().unwrap();
    let variables: Vec<(&str, _)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
    let mut faults = Vec::new();
    let cases = known["cases"].as_array().unwrap();
    for case in cases {
        let source = case["template"].as_str().unwrap();
        let printed = Template::new(source, Limits::default())
            .and_then(|template| template.render(&variables, std::time::UNIX_EPOCH));
        match (&printed, case["expected"].as_str()) {
            (Ok(output), Some(expected)) if output.text == expected => {}
            (Err(_), None) => {}
            (printed, expected) => {
                let printed = printed.as_ref().map(|output| &output.text);
                faults.push(format!("{source}\n  expected {expected:?}\n  printed  {printed:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
