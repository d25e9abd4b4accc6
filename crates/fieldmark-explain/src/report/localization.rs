//! One target on one photo.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{BestTile, Drawn, Evidence, Origin, Reference, RivalsUsed, Score, Seconds, Setup, files, image};
use crate::{objective::references::PassedOver, regions::Place};
use fieldmark_model::model::config::ProbabilityKind;

/// One target on one photo: a line of `localize --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Localization {
    /// The photo's file.
    #[serde(flatten, with = "image")]
    #[cfg_attr(feature = "schema", schemars(with = "super::Image"))]
    pub image: PathBuf,
    /// Its width and height.
    pub image_size: [u32; 2],
    /// The checkpoint as it was asked for; what is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form ([`escaped`](fieldmark_model::files::escaped)) of such a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    /// What the probabilities mean.
    pub probability_kind: ProbabilityKind,
    /// What was asked about.
    #[serde(flatten)]
    pub target: Score,
    /// Words of the target that the checkpoint cannot know, where its configuration lists all that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_words: Vec<String>,
    /// How.
    #[serde(flatten)]
    pub setup: Setup,
    /// The tile that fits the target best, if there are tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_tile: Option<BestTile>,
    /// The rivals.
    pub against: Vec<Reference>,
    /// Concepts that would have been rivals, but are taken for the target in other words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// The value of the objective that the map explains.
    pub objective: f64,
    /// How much speaks for and against.
    pub evidence: Evidence,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The scale of the pictures, if any were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Drawn>,
    /// The files that were written, by kind.
    #[serde(flatten, with = "files")]
    #[cfg_attr(feature = "schema", schemars(with = "files::Fields"))]
    pub files: BTreeMap<String, PathBuf>,
    /// Where the time went.
    pub seconds: Seconds,
    /// How rivals were looked for in a list, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concepts: Option<RivalsUsed>,
    /// What it came from.
    #[serde(flatten)]
    pub origin: Origin,
}
