//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod attribution;
pub mod error;
pub mod geometry;
pub mod model;
pub mod photo;
pub mod progress;

pub use error::{Error, Result};
pub use photo::{Photo, PhotoOptions};
