//! Several prompts on one photo.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{BestTile, BestUsed, Drawn, Evidence, Origin, Pair, Ranked, Score, Seconds, Setup, files, image};
use crate::regions::Place;
use fieldmark_model::model::config::ProbabilityKind;

/// One of several prompts that were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
    /// Its words that the checkpoint cannot know, where its configuration lists all that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_words: Vec<String>,
    /// The tile that fits it best, if there are tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_tile: Option<BestTile>,
    /// The value of the objective that its map explains.
    pub objective: f64,
    /// How much speaks for and against.
    pub evidence: Evidence,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The files that were written for it alone, by kind.
    #[serde(flatten, with = "files")]
    #[cfg_attr(feature = "schema", schemars(with = "files::Fields"))]
    pub files: BTreeMap<String, PathBuf>,
}

/// Several prompts on one photo: a line of `compare --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Comparison {
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
    /// How.
    #[serde(flatten)]
    pub setup: Setup,
    /// The prompts that have a map: those asked, in their order, then the best of the list of concepts.
    pub prompts: Vec<Compared>,
    /// All prompts that competed, the highest logit first.
    pub ranking: Vec<Ranked>,
    /// Every prompt that has a map against every other, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<Pair>,
    /// The scale of the prompts' pictures, if any were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Drawn>,
    /// The files that were written, by kind.
    #[serde(flatten, with = "files")]
    #[cfg_attr(feature = "schema", schemars(with = "files::Fields"))]
    pub files: BTreeMap<String, PathBuf>,
    /// Where the time went.
    pub seconds: Seconds,
    /// The list of concepts that competed, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concepts: Option<BestUsed>,
    /// What it came from.
    #[serde(flatten)]
    pub origin: Origin,
}
