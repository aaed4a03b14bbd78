//! OpenAI's Responses API: what is asked, the whole answer, the answer in frames, and what is kept of it.
//!
//! A response may be kept, and a later request may name it, or an item of it. Keeping is the server's: it looks into
//! its store as [`Earlier`], and stores [`Shape::items_of`] with the response. Conversations, responses in the
//! background, prompt templates and files are refused by name. Tools of kinds that are not functions are passed over,
//! since clients always send some; no answer calls them.

mod items;
mod request;
mod response;
mod stored;
mod stream;
mod tools;

pub use request::{Shape, read};
pub use response::body;
pub use stored::{Earlier, Page, deleted, input_items, input_tokens};
pub use stream::Encoder;
