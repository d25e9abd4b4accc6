//! A prompt becomes token ids, as transformers' tokenizer for the checkpoint makes them, or open_clip's.

mod byte_pairs;
mod claims;
mod facts;
mod file;
mod lazy;
mod limits;
mod normalizer;
mod pattern;
mod pieces;
mod prompt_tokenizer;
mod settings;
mod words;

pub use facts::TokenizerFacts;
pub(crate) use lazy::LazyTokenizer;
pub use prompt_tokenizer::{PromptTokenizer, Tokens};
