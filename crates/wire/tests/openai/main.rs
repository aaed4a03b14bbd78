//! OpenAI's API as clients meet it: what they send, what is refused, and streams that say the same as whole answers.

mod recorded;
mod requests;
mod streams;
