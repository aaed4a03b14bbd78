//! `/v1/moderations`: a Llama Guard says which texts are unsafe, under OpenAI's names of categories.
//!
//! A guard gives one verdict, the codes of its own categories and one probability. OpenAI's categories are those that
//! mean the same; a guard's category that has none there is told in `guard` alone, and the text is flagged all the same.

use serde_json::{Map, Value, json};

use super::limits::MAX_TEXTS;
use super::settings;
use crate::fields::wrong;
use crate::{Fields, Identity, Problem};

/// OpenAI's categories.
pub const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// What each of the guards' categories is called there. What is not here has no name there.
const NAMES: [(&str, &[&str]); 14] = [
    ("Violent Crimes", &["violence", "illicit", "illicit/violent"]),
    ("Non-Violent Crimes", &["illicit"]),
    ("Sex Crimes", &["sexual", "illicit"]),
    ("Child Exploitation", &["sexual", "sexual/minors"]),
    ("Defamation", &["harassment"]),
    ("Indiscriminate Weapons", &["illicit", "illicit/violent"]),
    ("Hate", &["hate"]),
    ("Self-Harm", &["self-harm"]),
    ("Sexual Content", &["sexual"]),
    ("Code Interpreter Abuse", &["illicit"]),
    // The first guard's.
    ("Violence and Hate", &["violence", "hate"]),
    ("Criminal Planning", &["illicit"]),
    ("Guns and Illegal Weapons", &["illicit", "illicit/violent"]),
    ("Regulated or Controlled Substances", &["illicit"]),
];

/// A request to judge texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModerationAsk {
    /// The guard, as the client names it.
    pub model: Option<String>,
    /// The texts, each of which has a verdict of its own.
    pub texts: Vec<String>,
}

/// A guard's verdict of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Whether it must not pass.
    pub is_unsafe: bool,
    /// How probable that was, of 1, if the guard said so.
    pub p_unsafe: Option<f64>,
    /// The guard's categories: codes and names.
    pub categories: Vec<(String, String)>,
}

const WANT: &str = "a string, a list of strings, or a list of parts with text";

/// Reads a request.
///
/// # Errors
/// A field that is not as it must be; and a part that is no text, for a guard of texts would pass over it.
pub fn read(body: &Value) -> Result<ModerationAsk, Problem> {
    let fields = Fields::of_body(body)?;
    let input = fields.required("input")?;
    let texts = match input {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) if items.len() > MAX_TEXTS => {
            let fact = format!("`input` has {} items; at most {MAX_TEXTS} are allowed", items.len());
            return Err(Problem::field("input", fact));
        }
        Value::Array(items) if items.first().is_some_and(Value::is_string) => {
            let text = |(i, item): (usize, &Value)| {
                let text = item.as_str().map(str::to_owned);
                text.ok_or_else(|| wrong(&format!("input[{i}]"), item, "a string"))
            };
            items.iter().enumerate().map(text).collect::<Result<_, _>>()?
        }
        // Parts are one text together.
        Value::Array(items) if !items.is_empty() => vec![of_parts(items)?],
        _ => return Err(wrong("input", input, WANT)),
    };
    Ok(ModerationAsk { model: settings::text(&fields, "model")?, texts })
}

fn of_parts(items: &[Value]) -> Result<String, Problem> {
    let mut texts = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = format!("input[{i}]");
        let part = Fields::within(item, &path)?;
        match part.required_str("type")? {
            "text" => texts.push(part.required_str("text")?),
            "image_url" => {
                return Err(Problem::unsupported(
                    &path,
                    format!("`{path}` is a picture; only texts are judged here"),
                ));
            }
            other => return Err(wrong(&part.path("type"), &other.into(), "\"text\"")),
        }
    }
    Ok(texts.join("\n"))
}

/// The answer: a verdict of each text, in order.
pub fn body(identity: &Identity, judged: &[Judged]) -> Value {
    json!({
        "id": format!("modr-{}", identity.id),
        "model": identity.model,
        "results": judged.iter().map(result).collect::<Vec<_>>(),
    })
}

fn result(judged: &Judged) -> Value {
    let of_name = |name: &str| NAMES.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    let meant: Vec<&str> = judged
        .categories
        .iter()
        .filter_map(|(_, name)| of_name(name))
        .flat_map(|(_, theirs)| theirs.iter().copied())
        .collect();
    let is_meant = |category: &str| judged.is_unsafe && meant.contains(&category);
    // The guard tells one probability: that of the categories it named.
    let p_unsafe = judged.p_unsafe.unwrap_or(1.0);
    let all = |value: &dyn Fn(&str) -> Value| -> Map<String, Value> {
        CATEGORIES.iter().map(|category| ((*category).to_owned(), value(category))).collect()
    };
    let own = judged.categories.iter().map(|(code, name)| json!({"code": code, "name": name}));
    json!({
        "flagged": judged.is_unsafe,
        "categories": all(&|category| is_meant(category).into()),
        "category_scores": all(&|category| if is_meant(category) { p_unsafe } else { 0.0 }.into()),
        "category_applied_input_types": all(&|_| json!(["text"])),
        "guard": {
            "safe": !judged.is_unsafe,
            "p_unsafe": judged.p_unsafe,
            "categories": own.collect::<Vec<_>>(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read() {
        let texts = |input: Value| read(&json!({ "input": input })).map(|ask| ask.texts);
        assert_eq!(texts(json!("a")), Ok(vec!["a".to_owned()]));
        assert_eq!(texts(json!(["a", "b"])), Ok(vec!["a".to_owned(), "b".to_owned()]));
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(texts(parts), Ok(vec!["a\nb".to_owned()]));
        let picture =
            json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}]);
        assert_eq!(texts(picture).unwrap_err().param.as_deref(), Some("input[1]"));
        for wrong in [json!([]), json!(5), json!({}), json!(["a", 5]), json!([{"type": "x"}]), json!([[1]])] {
            assert!(texts(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(texts(json!(vec!["a"; MAX_TEXTS + 1])).is_err());
        assert!(read(&json!({})).is_err());
    }

    #[test]
    fn verdicts_have_openais_names() {
        let pair = |code: &str, name: &str| (code.to_owned(), name.to_owned());
        let identity = Identity { id: "x".into(), created: 1, model: "guard".into() };
        let judged = [
            Judged {
                is_unsafe: true,
                p_unsafe: Some(0.75),
                categories: vec![pair("S10", "Hate"), pair("S13", "Elections")],
            },
            Judged { is_unsafe: true, p_unsafe: None, categories: vec![pair("S99", "")] },
            Judged { p_unsafe: Some(0.1), ..Judged::default() },
        ];
        let body = body(&identity, &judged);
        assert_eq!(body["id"], "modr-x");
        let results = body["results"].as_array().unwrap();
        assert_eq!((&results[0]["flagged"], &results[0]["categories"]["hate"]), (&json!(true), &json!(true)));
        assert_eq!(results[0]["category_scores"]["hate"], 0.75);
        assert_eq!(results[0]["category_scores"]["violence"], 0.0);
        assert_eq!(results[0]["guard"]["categories"][1]["code"], "S13");
        assert_eq!((&results[1]["flagged"], &results[2]["flagged"]), (&json!(true), &json!(false)));
        for (_, theirs) in NAMES {
            assert!(theirs.iter().all(|category| CATEGORIES.contains(category)));
        }
    }
}
