//! Photos, checkpoints of the CLIP family, embeddings and gradients: everything below a map.
//!
//! Most users want the crate `fieldmark`, which exports these modules.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod error;
pub mod named;
mod setters;
pub mod guard;
pub mod digest;
pub mod json;
pub mod device;
pub mod files;
pub mod geometry;
pub mod progress;
pub mod random;
pub mod photo;
pub mod folder;
pub mod model;
pub mod embed;
pub mod feature;
pub mod targets;
pub mod numpy;
pub mod head;
pub mod gradient;

pub use error::{Error, Result};
pub use photo::{Photo, PhotoOptions};
