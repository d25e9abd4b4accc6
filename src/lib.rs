//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod attribution;
pub mod device;
pub mod embed;
pub mod error;
pub mod geometry;
pub mod gradient;
pub mod model;
pub mod objective;
pub mod progress;

pub use error::{Error, Result};
