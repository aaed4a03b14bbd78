//! What is kept of responses: looking it up, listing it, deleting it.

use serde_json::{Value, json};

use crate::fields::wrong;
use crate::{Identity, Problem};

/// The most items of a page.
const PAGE: usize = 100;

/// Responses that are kept for the one who asks.
pub trait Earlier {
    /// A response's input and output, in order.
    fn response(&self, id: &str) -> Option<Vec<Value>>;
    /// An item of any of them.
    fn item(&self, id: &str) -> Option<Value>;
}

/// None are kept.
impl Earlier for () {
    fn response(&self, _: &str) -> Option<Vec<Value>> {
        None
    }

    fn item(&self, _: &str) -> Option<Value> {
        None
    }
}

/// An item as it is kept, the `n`th of a response's input: with an id, and a message's content as a list.
pub(super) fn with_id(item: &Value, identity: &Identity, n: usize) -> Value {
    let mut item = item.clone();
    if item["type"] == "message"
        && let Some(text) = item["content"].as_str()
    {
        let kind = if item["role"] == "assistant" { "output_text" } else { "input_text" };
        item["content"] = json!([{"type": kind, "text": text}]);
    }
    if item["id"].is_null() {
        let prefix = match item["type"].as_str() {
            Some("message") => "msg",
            Some("function_call") => "fc",
            Some("function_call_output") => "fco",
            Some("reasoning") => "rs",
            _ => "item",
        };
        item["id"] = format!("{prefix}_{}_in{n}", identity.id).into();
    }
    item
}

/// Which part of a list a client wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The most items.
    pub limit: usize,
    /// The item before the first one.
    pub after: Option<String>,
    /// Whether the oldest one comes first.
    pub is_ascending: bool,
}

impl Page {
    /// From the fields of a query: `limit`, `order` and `after`; others are passed over.
    pub fn read<'q>(query: impl IntoIterator<Item = (&'q str, &'q str)>) -> Result<Page, Problem> {
        let mut page = Page { limit: 20, after: None, is_ascending: false };
        for (name, value) in query {
            match name {
                "limit" => {
                    let n = value.parse().ok().filter(|n| (1..=PAGE).contains(n));
                    let want = format!("a whole number from 1 to {PAGE}");
                    page.limit = n.ok_or_else(|| wrong("limit", &value.into(), &want))?;
                }
                "order" if value == "asc" || value == "desc" => page.is_ascending = value == "asc",
                "order" => return Err(wrong("order", &value.into(), "\"asc\" or \"desc\"")),
                "after" => page.after = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// The answer of `/v1/responses/{id}/input_items`, from what is kept of its input.
pub fn input_items(items: &[Value], page: &Page) -> Result<Value, Problem> {
    let mut ordered: Vec<&Value> = items.iter().collect();
    if !page.is_ascending {
        ordered.reverse();
    }
    let from = match &page.after {
        None => 0,
        Some(id) => {
            let place = ordered.iter().position(|item| item["id"] == id.as_str());
            place.ok_or_else(|| wrong("after", &id.as_str().into(), "the id of an item"))? + 1
        }
    };
    let rest = &ordered[from..];
    let shown = &rest[..rest.len().min(page.limit)];
    Ok(json!({
        "object": "list",
        "data": shown,
        "first_id": shown.first().map(|item| &item["id"]),
        "last_id": shown.last().map(|item| &item["id"]),
        "has_more": shown.len() < rest.len(),
    }))
}

/// The answer of `DELETE /v1/responses/{id}`.
pub fn deleted(id: &str) -> Value {
    json!({"id": id, "object": "response", "deleted": true})
}

/// The answer of `/v1/responses/input_tokens`.
pub fn input_tokens(n: usize) -> Value {
    json!({"object": "response.input_tokens", "input_tokens": n})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let items: Vec<_> = ["a", "b", "c"].map(|id| json!({"type": "message", "id": id})).to_vec();
        let ids = |query: &[(&str, &str)]| {
            let list = input_items(&items, &Page::read(query.iter().copied()).unwrap()).unwrap();
            let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
            let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(id).collect();
            assert_eq!(list["first_id"], json!(ids.first()));
            assert_eq!(list["last_id"], json!(ids.last()));
            (ids.concat(), list["has_more"] == true)
        };
        assert_eq!(ids(&[]), ("cba".to_owned(), false));
        assert_eq!(ids(&[("order", "asc"), ("limit", "2")]), ("ab".to_owned(), true));
        assert_eq!(ids(&[("order", "asc"), ("after", "b"), ("include", "x")]), ("c".to_owned(), false));
        assert_eq!(ids(&[("after", "a")]), (String::new(), false));
        for query in [("limit", "0"), ("limit", "101"), ("limit", "x"), ("order", "up")] {
            assert_eq!(Page::read([query]).unwrap_err().param.as_deref(), Some(query.0));
        }
        let unknown = Page { after: Some("z".to_owned()), ..Page::read([]).unwrap() };
        assert_eq!(input_items(&items, &unknown).unwrap_err().param.as_deref(), Some("after"));
    }

    #[test]
    fn what_is_kept_has_an_id() {
        let identity = Identity { id: "7".to_owned(), ..Identity::default() };
        let said = json!({"type": "message", "role": "user", "content": "hi"});
        let content = json!([{"type": "input_text", "text": "hi"}]);
        let kept = json!({"type": "message", "role": "user", "content": content, "id": "msg_7_in0"});
        assert_eq!(with_id(&said, &identity, 0), kept);
        assert_eq!(with_id(&kept, &identity, 5), kept);
        let output = json!({"type": "function_call_output", "call_id": "c", "output": "2"});
        assert_eq!(with_id(&output, &identity, 2)["id"], "fco_7_in2");
    }
}
