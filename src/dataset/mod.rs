//! DATA: pictures with questions whose answers are known, read from files. One layout a file.
//!
//! A data set is read picture by picture, so that its size does not matter. This module knows nothing of models and
//! maps.

mod manifest;
mod truth;

use std::path::PathBuf;

pub use manifest::{FILE_NAME, Manifest, Pictures};
pub use truth::Truth;

/// A picture, and what is asked about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The picture as the data set names it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// At least one question.
    pub questions: Vec<Question>,
}

/// A concept, its rivals, and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The line of the data set's file that asks it; the first is 1.
    pub line: usize,
    /// The data set's own name for it.
    pub id: Option<String>,
    /// The concept.
    pub prompt: String,
    /// Its rivals; none of them is the concept itself.
    pub against: Vec<String>,
    /// A label of what is pointed at, such as `wing`.
    pub part: Option<String>,
    /// Where the concept is.
    pub truth: Truth,
}
