//! What one question gave under every setting of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Curve, Metric, Row, Setting, Sides};
use crate::dataset::{Picture, Question};
use fieldmark_explain::{explain::Found, verdict::Verdict};

/// One question, and the model's scores for it, which are the same under every setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Case {
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
    /// Its rivals: those of the data set, or those that were found.
    pub against: Vec<String>,
    /// What is pointed at.
    pub part: Option<String>,
    /// Whether the concept is in the picture, as the data set says.
    pub present: bool,
    /// The cosine of picture and prompt, from -1 to 1.
    pub similarity: f64,
    /// The softmax over prompt and rivals, from 0 to 1.
    pub probability: f64,
    /// Whether the prompt is more similar to the picture than each of its rivals; none where there is none, or the
    /// concept is not in the picture.
    pub beats_rivals: Option<bool>,
}

/// One question, and what every setting gave for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What does not depend on the setting.
    #[serde(flatten)]
    pub case: Case,
    /// One for every setting, in the run's order.
    pub outcomes: Vec<Outcome>,
}

/// What one map gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the model says about the concept's presence.
    pub verdict: Verdict,
    /// The metrics that have a meaning here, by name.
    pub metrics: BTreeMap<String, f64>,
    /// The curves that metrics are made of, by name; only those that were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub curves: BTreeMap<String, Curve>,
}

impl Answer {
    /// `first`: the answer under any of the settings; what stands here does not depend on which.
    pub(super) fn new(picture: &Picture, question: &Question, first: &Found, outcomes: Vec<Outcome>) -> Self {
        let (target, against) = (&first.report.target, &first.report.against);
        let beats = against.iter().all(|rival| target.similarity > rival.score.similarity);
        let present = question.truth.is_present();
        let case = Case {
            line: question.line,
            id: question.id.clone(),
            image: picture.name.clone(),
            prompt: question.prompt.clone(),
            label: question.label.clone(),
            against: against.iter().map(|rival| rival.score.prompt.clone()).collect(),
            part: question.part.clone(),
            present,
            similarity: target.similarity,
            probability: target.probability,
            beats_rivals: (present && !against.is_empty()).then_some(beats),
        };
        Self { case, outcomes }
    }

    /// A row for every contrasted map, beside the plain one of the same method and layer. `pairs` are the places of
    /// both among the settings.
    pub fn rows(&self, settings: &[Setting], pairs: &[Sides<usize>]) -> Vec<Row> {
        let row = |pair: &Sides<usize>| {
            let sides = pair.map(|place| self.outcomes.get(place));
            let (plain, contrasted) = (sides.plain?, sides.contrasted?);
            let both = contrasted.metrics.iter().filter_map(|(name, contrasted)| {
                let sides = Sides { plain: *plain.metrics.get(name)?, contrasted: *contrasted };
                Some((name.parse::<Metric>().ok()?.name(), sides))
            });
            Some(Row {
                case: self.case.clone(),
                setting: settings.get(pair.contrasted)?.clone(),
                verdict: Sides { plain: plain.verdict, contrasted: contrasted.verdict },
                metrics: both.collect(),
            })
        };
        pairs.iter().filter_map(row).collect()
    }
}
