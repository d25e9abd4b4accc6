//! Prompts become tokens, cleaned and split as the checkpoint's training did it.

pub mod tokenizer;

pub(crate) mod cleaning;
