//! LOAD: a checkpoint's files become a model that is ready to run.

pub mod catalogue;
pub mod hub;
pub mod inspect;
pub mod network;

mod build;
mod cache;
mod formats;
mod miniature;
#[allow(clippy::module_inception, reason = "a type lives in the file of its name")]
mod model;
mod pixels;
mod text;

pub use cache::TextCache;
pub use formats::{config, weights};
#[doc(hidden)]
pub use hub as source;
pub use model::Model;
#[doc(hidden)]
pub use network as nn;
pub use pixels::preprocess;
pub use text::tokenizer;
