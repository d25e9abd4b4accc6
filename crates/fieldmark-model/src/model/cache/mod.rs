//! Embeddings of texts and hashes of checkpoints, kept on disk, and the states of files that show whether they still hold.

pub(super) mod content_hash;
pub(crate) mod file_state;
mod text_cache;

pub use text_cache::TextCache;
