//! How a map was made: the settings, and what followed from them.

use serde::{Deserialize, Serialize};

use crate::{
    attribution::{self, Combination},
    objective,
    prompt::Template,
    refine::{Artifacts, Refinement, Tiles},
    regions::Threshold,
    verdict::Verdict,
};
use fieldmark_model::{
    device::Precision,
    geometry::{Fit, Placement},
    named,
};

/// What a map's values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapUnit {
    /// Logits: similarities times the checkpoint's logit scale.
    Logits,
    /// Probability, of an objective that is one.
    Probability,
    /// What the activations count, which has no name.
    Activations,
    /// Nothing: values compare within one map only.
    None,
}

named!(MapUnit, "unit",
    Logits => "logits",
    Probability => "probability",
    Activations => "activations",
    None => "none",
);

impl MapUnit {
    /// The unit of a method's maps under an objective, at one layer or several.
    pub(crate) fn new(
        method: attribution::Unit,
        objective: objective::Unit,
        combination: Option<Combination>,
    ) -> Self {
        match (combination, method, objective) {
            (Some(Combination::Product), ..) | (_, attribution::Unit::None, _) => Self::None,
            (_, attribution::Unit::Activations, _) => Self::Activations,
            (_, attribution::Unit::Objective, objective::Unit::Logits) => Self::Logits,
            (_, attribution::Unit::Objective, objective::Unit::Probability) => Self::Probability,
        }
    }

    /// The unit in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "no unit",
            _ => self.name(),
        }
    }
}

/// The tiles that a photo was looked at in, beside the look at the whole of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Tiling {
    /// Rows of tiles.
    pub rows: usize,
    /// Columns of tiles.
    pub columns: usize,
    /// The side of every tile, in pixels of the photo.
    pub side: u32,
    /// How many tokens of all tiles were artefacts.
    pub artifacts: usize,
}

/// The tile that fits a prompt best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BestTile {
    /// Pixels of the photo to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// The cosine of tile and prompt, from -1 to 1.
    pub similarity: f64,
    /// The similarity times the checkpoint's logit scale.
    pub logit: f64,
    /// Whether the model sees the concept in the tile. It is the best of several chances: where the concept is not
    /// there, many tiles are more easily wrong than one photo.
    pub verdict: Verdict,
}

/// Tokens that do not describe their place, and how their evidence was handled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Outliers {
    /// How it was handled.
    pub handling: Artifacts,
    /// How many there are.
    pub count: usize,
    /// The row and the column of each, on the grid of the look at the whole photo.
    pub cells: Vec<[usize; 2]>,
}

/// The settings that a result was made with, and the geometry that followed from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setup {
    /// The method's name.
    pub method: String,
    /// The layer as it was asked for, negative counts from the end; where none was, the method's own.
    pub layer: i64,
    /// All layers, in the order asked for.
    pub layers: Vec<i64>,
    /// How the maps of several layers became one; none where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_combine: Option<Combination>,
    /// How much of the references was subtracted.
    pub strength: f64,
    /// The objective's name.
    pub aggregate: String,
    /// What the objective counts.
    pub objective_unit: objective::Unit,
    /// What the map's values count.
    pub unit: MapUnit,
    /// Whether the map of a contrast is the same contrast of plain maps, so that strengths and rivals can be changed
    /// without the model.
    pub linear: bool,
    /// With how many digits the trunk multiplied.
    pub precision: Precision,
    /// How the photo was fitted to the model.
    pub fit: Fit,
    /// Rows and columns of the map.
    pub grid: [usize; 2],
    /// The rectangle of the photo that the map describes: x0, y0, x1, y1.
    pub covers: [f64; 4],
    /// The tiles, if it was looked at in some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiling>,
    /// The artefacts, if there are any or they were to be suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Outliers>,
    /// How the map was refined. It stays in logits, but is no longer what the method alone says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refined: Vec<Refinement>,
    /// Which evidence is strong enough for a region.
    pub threshold: Threshold,
    /// How many times the trained resolution [`Fit::Whole`] used along each side.
    #[serde(default = "once")]
    pub detail: f64,
    /// The tiles as they were asked for.
    #[serde(default)]
    pub tiles_asked: Tiles,
    /// How prompts were phrased.
    #[serde(default = "as_they_are")]
    pub templates: Vec<Template>,
}

/// The detail of records that do not say it.
fn once() -> f64 {
    1.0
}

/// The templates of records that name none.
fn as_they_are() -> Vec<Template> {
    vec![Template::default()]
}

impl Setup {
    /// What a picture of the map has to say of how it was made, a line each: nothing of a plain map.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(Tiling { rows, columns, .. }) = self.tiles {
            remarks.push(format!("{rows} × {columns} tiles and the whole"));
        }
        if !self.refined.is_empty() {
            let names: Vec<_> = self.refined.iter().map(|refinement| refinement.name()).collect();
            remarks.push(format!("refined: {}", names.join(", ")));
        }
        remarks
    }

    /// Takes over the geometry.
    pub(crate) fn place(mut self, placement: &Placement) -> Self {
        let covers = placement.covers;
        self.grid = [placement.grid.rows, placement.grid.columns];
        self.covers = [covers.x0, covers.y0, covers.x1, covers.y1];
        self
    }
}
