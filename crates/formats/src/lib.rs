//! (in preparation)

#![forbid(unsafe_code)]
