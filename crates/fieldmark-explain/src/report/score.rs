//! What the model says of prompts.

use serde::{Deserialize, Serialize};

use crate::{objective::references::Chosen, regions::Peak, verdict::Verdict};
use fieldmark_model::model::config::ProbabilityKind;

/// What the model says of one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Score {
    /// The prompt as it was given.
    pub prompt: String,
    /// The cosine of image and prompt, from -1 to 1.
    pub similarity: f64,
    /// The similarity times the checkpoint's logit scale, plus its bias where it has one.
    pub logit: f64,
    /// From 0 to 1; the record's `probability_kind` says what it means.
    pub probability: f64,
}

impl Score {
    /// The probability for people, in percent. A sigmoid's is often small and says something all the same, so it
    /// keeps two digits down to a millionth.
    pub fn percent(&self, kind: ProbabilityKind) -> String {
        let percent = self.probability * 100.0;
        match kind {
            ProbabilityKind::Sigmoid if percent < 1e-4 => "< 0.0001 %".into(),
            ProbabilityKind::Sigmoid if percent < 0.95 => {
                let decimals = (1.0 - percent.log10().floor()) as usize;
                format!("{percent:.decimals$} %")
            }
            _ => format!("{percent:.1} %"),
        }
    }
}

/// What the model says of a rival, and how it became one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Reference {
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
    /// Why it was chosen; none if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// A prompt's place among all that competed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Ranked {
    /// From 1, the highest logit first.
    pub rank: usize,
    /// What the model says of it.
    #[serde(flatten)]
    pub score: Score,
}

/// The difference between two prompts: the plain map of the one minus the plain map of the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Pair {
    /// The one.
    pub prompt: String,
    /// The other.
    pub against: String,
    /// The logit of the one minus that of the other.
    pub difference: f64,
    /// The sum of the positive values of the difference of their maps, in logits: what speaks for the one and not for
    /// the other.
    pub positive: f64,
    /// The pixel where most does; none where nothing does.
    pub peak: Option<Peak>,
}

/// How much speaks for and against the concept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The sum of the map's positive values, in the map's unit.
    pub positive: f64,
    /// The sum of the map's negative values, in the map's unit; it is not above 0.
    pub negative: f64,
    /// Whether the model sees the concept at all; [`crate::verdict`] says what decides.
    pub verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_probabilities_of_a_sigmoid_keep_their_digits() {
        let percent = |probability: f64, kind| {
            Score { prompt: String::new(), similarity: 0.0, logit: 0.0, probability }.percent(kind)
        };
        let sigmoid = |probability| percent(probability, ProbabilityKind::Sigmoid);
        assert_eq!([0.5, 0.0123, 0.00123, 0.0000456].map(sigmoid), ["50.0 %", "1.2 %", "0.12 %", "0.0046 %"]);
        assert_eq!(
            [0.0, 1e-12, 1.2e-6, 1.0].map(sigmoid),
            ["< 0.0001 %", "< 0.0001 %", "0.00012 %", "100.0 %"]
        );
        assert_eq!(percent(0.00123, ProbabilityKind::Softmax), "0.1 %");
    }
}
