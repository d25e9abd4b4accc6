//! Embeddings of texts, kept on disk, and the states of files that show whether they still hold.

pub(crate) mod file_state;
mod text_cache;

pub use text_cache::TextCache;
