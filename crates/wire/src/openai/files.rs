//! `/v1/files`: what is said of files.

use serde_json::{Value, json};

use crate::fields::wrong;
use crate::{Kind, Problem};

/// What a file may be for. Only `batch` is done something with.
const PURPOSES: [&str; 6] = ["batch", "assistants", "fine-tune", "vision", "user_data", "evals"];
/// The most characters of a file's name.
const MAX_NAME: usize = 512;
/// The most characters of an id.
const MAX_ID: usize = 100;

/// Reads what a file is for.
///
/// # Errors
/// It is nothing that is known.
pub fn purpose(text: &str) -> Result<String, Problem> {
    match PURPOSES.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(wrong("purpose", &text.into(), &format!("one of {}", PURPOSES.join(", ")))),
    }
}

/// A file's name: the last part of what was given, without what a terminal would obey.
pub fn filename(given: Option<&str>) -> String {
    let last = given.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

/// Whether it can be the id of a file or a batch: letters, digits, `_` and `-`, so that it leads nowhere else.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(fits)
}

/// A file.
pub fn body(id: &str, n_bytes: u64, created: u64, filename: &str, purpose: &str) -> Value {
    json!({
        "id": id,
        "object": "file",
        "bytes": n_bytes,
        "created_at": created,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
    })
}

/// That it is gone.
pub fn deleted(id: &str) -> Value {
    json!({"id": id, "object": "file", "deleted": true})
}

/// A page of files or batches, which are given with the newest first.
///
/// # Errors
/// A parameter of the query that is not as it must be.
pub fn list(mut all: Vec<Value>, query: &str, max: usize) -> Result<Value, Problem> {
    let (mut limit, mut after) = (max, None);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "limit" => {
                let n = value.parse::<usize>().ok().filter(|n| (1..=max).contains(n));
                limit = n.ok_or_else(|| {
                    wrong("limit", &value.into(), &format!("a whole number from 1 to {max}"))
                })?;
            }
            "order" => match value {
                "desc" => {}
                "asc" => all.reverse(),
                other => return Err(wrong("order", &other.into(), "\"asc\" or \"desc\"")),
            },
            "after" if !value.is_empty() => after = Some(value),
            "purpose" if !value.is_empty() => all.retain(|item| item["purpose"] == value),
            _ => {}
        }
    }
    if let Some(after) = after {
        let at = all.iter().position(|item| item["id"] == after);
        let at = at.ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("there is no {} to list after", json!(after)))
        })?;
        all.drain(..=at);
    }
    let has_more = all.len() > limit;
    all.truncate(limit);
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    Ok(json!({
        "object": "list",
        "first_id": id(all.first()),
        "last_id": id(all.last()),
        "has_more": has_more,
        "data": all,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_lead_nowhere() {
        assert_eq!(filename(Some("/etc/pass\u{1b}wd")), "passwd");
        assert_eq!(filename(Some("C:\\a\\b.jsonl")), "b.jsonl");
        assert_eq!((filename(None), filename(Some("a/"))), ("file".into(), "file".into()));
        assert!(is_id("file-a_B9"));
        for id in ["", "..", "a/b", "a.b", "%2e", "ä", &"x".repeat(MAX_ID + 1)] {
            assert!(!is_id(id), "{id}");
        }
        assert!(purpose("batch").is_ok() && purpose("batch_output").is_err());
    }

    #[test]
    fn pages() {
        let all = || -> Vec<Value> {
            ["c", "b", "a"].map(|id| body(id, 1, 2, "f", if id == "b" { "vision" } else { "batch" })).into()
        };
        let ids = |query: &str| -> Result<String, Problem> {
            let page = list(all(), query, 100)?;
            Ok(page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect())
        };
        assert_eq!(ids(""), Ok("cba".into()));
        assert_eq!(ids("limit=2&order=asc"), Ok("ab".into()));
        assert_eq!(ids("after=c&purpose=batch"), Ok("a".into()));
        assert_eq!(list(all(), "limit=2", 100).unwrap()["has_more"], true);
        for query in ["limit=0", "limit=x", "order=up", "after=zz"] {
            assert!(ids(query).is_err(), "{query}");
        }
    }
}
