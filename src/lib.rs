//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod error;
pub mod geometry;
pub mod progress;
pub mod model;
pub mod attribution;

pub use error::{Error, Result};
