//! Turns a model's name into a directory with its files: a local one as it is, or one of the Hub's by way of the
//! cache that all Hugging Face libraries share.

#[cfg(feature = "hub")]
mod answer;
#[cfg(feature = "hub")]
mod body;
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod connection;
#[cfg(feature = "hub")]
mod fetch;
mod links;
mod local;
mod locate;
#[cfg(feature = "hub")]
mod open;
mod options;
#[cfg(feature = "hub")]
mod patience;
#[cfg(feature = "hub")]
mod proxy;
#[cfg(feature = "hub")]
mod repair;
mod selection;
#[cfg(feature = "hub")]
mod shared;
mod spec;
#[cfg(feature = "hub")]
mod store;
#[cfg(feature = "hub")]
mod transfer;
#[cfg(feature = "hub")]
mod verify;
#[cfg(feature = "hub")]
mod xet;

pub(super) use links::refuse_links_out;
pub(super) use local::listing;
pub use locate::{Cached, ModelFile, ModelFiles, cached, download, locate};
pub use options::HubOptions;
pub(super) use selection::{
    CONFIG, OPEN_CLIP_CONFIGS, OPEN_CLIP_WEIGHTS, WEIGHTS, layout, layouts, other_weights, weights,
};
pub use selection::{Lack, Layout, Selection, needed, shards};
pub(super) use spec::BUILTIN;
use spec::DEFAULT_REVISION;
pub use spec::ModelSpec;
