//! What a file of data holds at one place, not looked into.

/// What a file holds at one place.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    /// The line where it begins, from 1; of an array the element, of a table the row.
    pub line: u64,
    pub body: Body,
    /// Whether it is the beginning of a text that was too large for one.
    pub is_cut: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    Text(String),
    /// JSON that is not parsed yet, and not known to be any.
    Json(Vec<u8>),
    #[cfg(feature = "parquet")]
    Row(serde_json::Value),
}

impl Record {
    /// About how much memory it takes.
    pub fn n_bytes(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Json(json) => json.len(),
            // A row's size is not known; rows of a kilobyte are usual.
            #[cfg(feature = "parquet")]
            Body::Row(_) => 1 << 10,
        }
    }
}
