//! What one question gave under one setting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{attribution::Combination, verdict::Verdict};

/// The same thing of the plain and of the contrasted map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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

/// What tells one setting of a run from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
pub struct Row {
    /// The data set's line that asks.
    pub line: usize,
    /// The data set's name for it.
    pub id: Option<String>,
    /// The picture as the data set names it.
    pub image: String,
    /// The concept.
    pub prompt: String,
    /// The data set's own name of the concept.
    pub label: Option<String>,
    /// Its rivals.
    pub against: Vec<String>,
    /// The label of what is pointed at.
    pub part: Option<String>,
    /// Whether the concept is in the picture, as the data set says.
    pub present: bool,
    /// How it was asked.
    #[serde(flatten)]
    pub setting: Setting,
    /// The cosine of picture and prompt, from -1 to 1.
    pub similarity: f64,
    /// The softmax over prompt and rivals, from 0 to 1.
    pub probability: f64,
    /// Whether the prompt is more similar to the picture than each of its rivals; `null` where there is none, or the
    /// concept is not in the picture.
    pub beats_rivals: Option<bool>,
    /// What the model says about the concept's presence.
    pub verdict: Sides<Verdict>,
    /// The metrics that have a meaning here, by name.
    pub metrics: BTreeMap<&'static str, Sides<f64>>,
}
