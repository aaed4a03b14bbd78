//! `/v1/rerank`, `/rerank` (Jina's, Cohere's first, vLLM's) and `/v2/rerank` (Cohere's): documents by how well they
//! answer a query.

use serde_json::{Value, json};

use super::limits::MAX_DOCUMENTS;
use super::settings;
use crate::fields::wrong;
use crate::{Fields, Identity, Problem};

/// A request for a ranking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RerankAsk {
    /// The model, as the client names it.
    pub model: Option<String>,
    /// What is looked for.
    pub query: String,
    /// Where.
    pub documents: Vec<String>,
    /// How many are told; all if `None`.
    pub top_n: Option<usize>,
    /// Whether their texts are told too.
    pub return_documents: bool,
    /// Who asks, as in [`Ask`](crate::Ask::tenant).
    pub tenant: Option<String>,
}

/// Which of the two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// That of `/rerank` and `/v1/rerank`.
    V1,
    /// That of `/v2/rerank`.
    V2,
}

/// Reads a request, which is the same for both.
///
/// # Errors
/// A field that is not as it must be, or that cannot be heeded.
pub fn read(body: &Value) -> Result<RerankAsk, Problem> {
    let fields = Fields::of_body(body)?;
    fields.required("documents")?;
    let list = fields.list("documents")?;
    if list.is_empty() || list.len() > MAX_DOCUMENTS {
        let n = list.len();
        return Err(Problem::field(
            "documents",
            format!("`documents` has {n} documents; from 1 to {MAX_DOCUMENTS} are allowed"),
        ));
    }
    let is_text = |value: &Value| value == &json!(["text"]);
    fields.refuse("rank_fields", is_text, "documents are ranked by their `text`")?;
    for name in ["max_chunks_per_doc", "max_tokens_per_doc", "truncate_prompt_tokens"] {
        fields.refuse(name, |_| false, "documents are neither cut nor divided")?;
    }
    Ok(RerankAsk {
        model: settings::text(&fields, "model")?,
        query: fields.required_str("query")?.to_owned(),
        documents: list.iter().enumerate().map(document).collect::<Result<_, _>>()?,
        top_n: fields.count("top_n", 1..=usize::MAX)?,
        return_documents: fields.bool("return_documents", false)?,
        tenant: settings::tenant(&fields)?,
    })
}

/// A text, or an object that has one.
fn document((i, value): (usize, &Value)) -> Result<String, Problem> {
    let text = value.as_str().or_else(|| value.get("text")?.as_str());
    let want = || wrong(&format!("documents[{i}]"), value, "a string, or an object with a `text`");
    text.map(str::to_owned).ok_or_else(want)
}

/// The answer: the best first. `scores` has one for each document; all documents and queries had so many tokens.
pub fn body(
    identity: &Identity,
    ask: &RerankAsk,
    scores: &[f32],
    n_tokens: usize,
    version: Version,
) -> Value {
    let mut ranked: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    ranked.truncate(ask.top_n.unwrap_or(usize::MAX));
    let result = |(index, score): &(usize, f32)| {
        let mut result = json!({"index": index, "relevance_score": score});
        if let Some(text) = ask.documents.get(*index).filter(|_| ask.return_documents) {
            result["document"] = json!({ "text": text });
        }
        result
    };
    let results: Vec<Value> = ranked.iter().map(result).collect();
    let id = format!("rerank-{}", identity.id);
    match version {
        Version::V1 => json!({
            "id": id,
            "object": "list",
            "model": identity.model,
            "results": results,
            "usage": super::usage::prompt_only(n_tokens),
            "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        }),
        Version::V2 => json!({
            "id": id,
            "results": results,
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"search_units": 1},
                "tokens": {"input_tokens": n_tokens},
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first() {
        let identity = Identity { id: "x".into(), created: 0, model: "m".into() };
        let mut ask =
            read(&json!({"model": "m", "query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2,
            "return_documents": true}))
            .unwrap();
        let found = body(&identity, &ask, &[0.25, 0.75, 0.5], 9, Version::V1);
        let want = json!([
            {"index": 1, "relevance_score": 0.75, "document": {"text": "b"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "c"}},
        ]);
        assert_eq!((&found["results"], &found["usage"]["total_tokens"]), (&want, &json!(9)));
        (ask.top_n, ask.return_documents) = (None, false);
        let found = body(&identity, &ask, &[0.25, 0.75, 0.75], 9, Version::V2);
        let order: Vec<&Value> = found["results"].as_array().unwrap().iter().map(|r| &r["index"]).collect();
        assert_eq!(order, [1, 2, 0]); // of equals, the first
        assert_eq!(found["results"][0], json!({"index": 1, "relevance_score": 0.75}));
    }

    #[test]
    fn what_cannot_be_ranked_is_named() {
        for (field, value, param) in [
            ("query", json!(null), "query"),
            ("documents", json!(null), "documents"),
            ("documents", json!([]), "documents"),
            ("documents", json!(vec!["d"; MAX_DOCUMENTS + 1]), "documents"),
            ("documents", json!(["a", {"title": "b"}]), "documents[1]"),
            ("top_n", json!(0), "top_n"),
            ("return_documents", json!(1), "return_documents"),
            ("rank_fields", json!(["title"]), "rank_fields"),
            ("max_tokens_per_doc", json!(10), "max_tokens_per_doc"),
        ] {
            let mut body = json!({"query": "q", "documents": ["a"]});
            body[field] = value;
            assert_eq!(read(&body).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
