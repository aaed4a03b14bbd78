//! Chat prompts.
