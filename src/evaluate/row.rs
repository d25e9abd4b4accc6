//! What one question gave under one setting.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    attribution::Combination,
    dataset::{Picture, Question},
    pipeline::Found,
    verdict::Verdict,
};

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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The method's name.
    pub method: String,
    /// The layer as it was asked for.
    pub layer: i64,
    /// All layers, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<i64>,
    /// How their maps became one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_combine: Option<Combination>,
    /// The contrasted maps' strength.
    pub strength: f64,
    /// The objective's name.
    pub aggregate: String,
}

/// One question under one setting: a line of `evaluate --rows`.
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

impl Row {
    pub(super) fn new(
        picture: &Picture,
        question: &Question,
        plain: &Found,
        contrasted: &Found,
        metrics: BTreeMap<&'static str, Sides<f64>>,
    ) -> Self {
        let report = &contrasted.report;
        let setup = &report.setup;
        let target = &report.target;
        let beats = report.against.iter().all(|rival| target.similarity > rival.score.similarity);
        let present = question.truth.is_present();
        Self {
            line: question.line,
            id: question.id.clone(),
            image: picture.name.clone(),
            prompt: question.prompt.clone(),
            against: question.against.clone(),
            part: question.part.clone(),
            present,
            setting: Setting {
                method: setup.method.clone(),
                layer: setup.layer,
                layers: setup.layers_combine.map_or(Vec::new(), |_| setup.layers.clone()),
                layers_combine: setup.layers_combine,
                strength: setup.strength,
                aggregate: setup.aggregate.clone(),
            },
            similarity: target.similarity,
            probability: target.probability,
            beats_rivals: (present && !report.against.is_empty()).then_some(beats),
            verdict: Sides { plain, contrasted }.map(|found| found.report.evidence.verdict),
            metrics,
        }
    }
}
