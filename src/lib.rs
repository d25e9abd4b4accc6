//! Shows where in a photograph a CLIP-family model sees a concept, and what tells it from its rivals.

pub mod error;
pub mod device;
pub mod files;
pub mod geometry;
pub mod progress;
pub mod photo;
pub mod model;
pub mod prompt;
pub mod embed;
pub mod objective;
pub mod gradient;
pub mod attribution;
pub mod regions;
pub mod metric;
pub mod dataset;
pub mod verdict;
pub mod render;
pub mod report;
pub mod pipeline;
pub mod evaluate;

pub use error::{Error, Result};
pub use photo::{Photo, PhotoOptions};
pub use pipeline::{Explainer, Query, Settings};
