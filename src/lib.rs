//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod attribution;
pub mod error;
pub mod files;
pub mod geometry;
pub mod progress;
pub mod regions;
pub mod render;

pub use error::{Error, Result};
