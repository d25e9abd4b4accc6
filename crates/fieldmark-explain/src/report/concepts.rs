//! The lists of concepts that a result was made with.

use serde::{Deserialize, Serialize};

use crate::{objective::references::By, prompt::ConceptList};

/// Which list of concepts it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListUsed {
    /// The list as it was asked for, by its name or its file; none where it has no name.
    pub list: Option<String>,
    /// The SHA-256 of the list: see [`ConceptList::sha256`].
    pub sha256: String,
}

impl ListUsed {
    /// A list under the name that it was asked for by.
    pub fn new(name: Option<String>, concepts: &ConceptList) -> Self {
        Self { list: name, sha256: concepts.sha256().to_owned() }
    }
}

/// Where rivals were looked for, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RivalsUsed {
    /// Among which concepts.
    #[serde(flatten)]
    pub list: ListUsed,
    /// How they were chosen.
    pub by: By,
    /// How many were asked for.
    pub nearest: usize,
    /// The cosine of texts above which a concept was taken for a synonym.
    pub synonym_threshold: f64,
}

/// Among which concepts the best were looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BestUsed {
    /// Which concepts.
    #[serde(flatten)]
    pub list: ListUsed,
    /// How many of them got a map.
    pub top: usize,
}
