//! What decides the rows of a run, as results record it: two runs with the same record give the same rows.

use serde::{Deserialize, Serialize};

use super::{Better, CURVES, CurveKind, Faithfulness, Metric, Options, Sanity, Setting, Tolerance};
use fieldmark_explain::{
    explain::Rivals,
    objective::references::By,
    prompt::Template,
    refine::{Artifacts, Refinement, Tiles},
};
use fieldmark_model::{device::Precision, geometry::Fit};

/// What all settings of a run have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Plan {
    /// The checkpoint as it was asked for; what is not UTF-8 of a path is U+FFFD.
    pub model: String,
    /// The escaped form ([`escaped`](fieldmark_model::files::escaped)) of such a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_bytes: Option<String>,
    /// The precision of the trunk.
    pub precision: Precision,
    /// How photos were fitted to the model.
    pub fit: Fit,
    /// How many times the trained resolution [`Fit::Whole`] used along each side.
    pub detail: f64,
    /// Whether photos were looked at in tiles, too.
    pub tiles: Tiles,
    /// How evidence on tokens that do not describe their place was handled.
    pub artifacts: Artifacts,
    /// What was done with finished maps.
    pub refine: Vec<Refinement>,
    /// How prompts were phrased.
    pub templates: Vec<Template>,
    /// By which rivals were found; none where they are those of the data set.
    pub rivals: Option<RivalsPlan>,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// How faithfulness was measured, if it was.
    pub faithfulness: Option<Faithfulness>,
    /// How sanity was checked, if it was.
    pub sanity: Option<Sanity>,
    /// How far beside the truth the pointing game counted a hit, in pixels of the photo.
    pub tolerance: Tolerance,
    /// The most pixels that a photo may have.
    pub pixel_limit: u64,
}

/// How rivals were found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RivalsPlan {
    /// The list's concepts, in its order.
    pub concepts: Vec<String>,
    /// How they were chosen.
    pub by: By,
    /// How many.
    pub nearest: usize,
    /// The cosine of texts above which a concept was taken for a synonym.
    pub synonym_threshold: f64,
}

/// A run: its plan and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Record {
    /// What all settings have in common.
    #[serde(flatten)]
    pub plan: Plan,
    /// The settings, in the order of a question's rows.
    pub settings: Vec<Setting>,
}

impl Plan {
    /// What these options decide.
    pub(super) fn new(model: &str, precision: Precision, options: &Options) -> Self {
        let settings = &options.settings;
        Self {
            model: model.into(),
            model_bytes: None,
            precision,
            fit: settings.fit,
            detail: settings.detail,
            tiles: settings.tiles,
            artifacts: settings.artifacts,
            refine: settings.refine.clone(),
            templates: settings.templates.clone(),
            rivals: options.rivals.as_ref().map(RivalsPlan::new),
            metrics: options.metrics.clone(),
            faithfulness: options.asked_faithfulness(),
            sanity: options.asked_sanity(),
            tolerance: options.tolerance,
            pixel_limit: options.photo.pixel_limit,
        }
    }

    /// The curves that the metrics are made of.
    pub fn curves(&self) -> impl Iterator<Item = &'static CurveKind> + '_ {
        CURVES.iter().filter(|curve| curve.belongs_to(&self.metrics))
    }

    /// Which direction of a metric is better.
    pub fn better(&self, metric: Metric) -> Better {
        self.faithfulness.as_ref().map_or(metric.better(), |faithfulness| faithfulness.better(metric))
    }
}

impl RivalsPlan {
    fn new(rivals: &Rivals) -> Self {
        Self {
            concepts: rivals.concepts.names(),
            by: rivals.by,
            nearest: rivals.count,
            synonym_threshold: rivals.synonym_threshold,
        }
    }
}
