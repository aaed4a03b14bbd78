//! `/v1/models` for Anthropic's clients, which are told by their header `anthropic-version`.

use serde_json::{Value, json};

use crate::time::date_time;

/// A model that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Its name, which is also the name for people.
    pub id: String,
    /// Seconds since 1970 when it was made or came here.
    pub created: u64,
    /// The most tokens of prompt and answer together, where that is known.
    pub context: Option<usize>,
}

/// One model.
pub fn body(model: &Model) -> Value {
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": timestamp(model.created),
        "lifecycle": "active",
        "max_input_tokens": model.context,
        "max_tokens": model.context,
    })
}

/// All models, on one page.
pub fn list(models: &[Model]) -> Value {
    json!({
        "data": models.iter().map(body).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": models.first().map(|model| &model.id),
        "last_id": models.last().map(|model| &model.id),
    })
}

fn timestamp(seconds: u64) -> String {
    date_time(seconds) + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), date);
        }
    }

    #[test]
    fn models_are_listed() {
        let model = |id: &str| Model { id: id.to_owned(), created: 0, context: Some(8192) };
        let list = list(&[model("a"), model("b")]);
        assert_eq!((&list["first_id"], &list["last_id"]), (&json!("a"), &json!("b")));
        assert_eq!(list["data"][1]["id"], "b");
        assert_eq!(super::list(&[])["first_id"], Value::Null);
    }
}
