//! What one question gave under one setting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Case;
use fieldmark_explain::{attribution::Combination, verdict::Verdict};

/// The same thing of the plain and of the contrasted map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sides<T> {
    /// Of the map at strength 0.
    pub plain: T,
    /// Of the map with the rivals subtracted.
    pub contrasted: T,
}

impl<T> Sides<T> {
    /// Applies the same to both.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Sides<U> {
        Sides { plain: change(self.plain), contrasted: change(self.contrasted) }
    }
}

/// What distinguishes one setting of a run from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Setting {
    /// The method's name.
    pub method: String,
    /// The layer as it was asked for.
    pub layer: i64,
    /// All layers, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<i64>,
    /// How their maps became one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_combine: Option<Combination>,
    /// How much of the rivals was subtracted; 0 is the plain map.
    pub strength: f64,
    /// The objective's name; it has no part in the plain map.
    pub aggregate: String,
}

/// One question under one setting, beside the plain map: a line of `evaluate --rows`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    /// What does not depend on the setting.
    #[serde(flatten)]
    pub case: Case,
    /// How it was asked.
    #[serde(flatten)]
    pub setting: Setting,
    /// What the model says about the concept's presence.
    pub verdict: Sides<Verdict>,
    /// The metrics that have a meaning here, by name.
    pub metrics: BTreeMap<&'static str, Sides<f64>>,
}
