//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod error;
pub mod device;
pub mod files;
pub mod geometry;
pub mod progress;
pub mod model;
pub mod embed;
pub mod objective;
pub mod gradient;
pub mod attribution;
pub mod regions;
pub mod metric;
pub mod render;

pub use error::{Error, Result};
