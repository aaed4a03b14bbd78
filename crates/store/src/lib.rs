//! Where Llama models come from, and what their licences say.
//!
//! ```
//! use puna_store::licence::{Act, Answer, Licence};
//!
//! let licence = Licence::of_name("llama3.1").unwrap();
//! let teaches = Act::TeachWithOutputs { student: None, name: Some("Llama-Small") };
//! assert_eq!(licence.permits(&teaches).answer, Answer::Yes);
//! ```

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod licence;
pub mod made;
pub mod name;
pub mod openness;
pub mod pull;
pub mod shelf;
