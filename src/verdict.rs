//! Is the concept there at all? A map alone cannot say: scaled, every map has a brightest place.
//!
//! What decides, in this order:
//!
//! 1. A map without any positive evidence is [`Verdict::Absent`].
//! 2. A checkpoint that was trained with a sigmoid knows by itself: the probability that the concept is there
//!    is sigmoid(logit + bias). From [`PRESENT`] on it is present, below [`ABSENT`] absent, between them weak.
//! 3. Any other checkpoint only knows what fits *better*. The prompt is compared with the neutral prompt
//!    [`NEUTRAL`], which fits every photograph: a similarity higher by at least [`MARGIN`] is present, one
//!    lower by at least as much absent, between them weak. And a concept whose rival fits better is at most weak.
//!
//! Rule 3 is a rule of thumb: it is not calibrated, and it is as good as the checkpoint's idea of "a photo".

use serde::{Deserialize, Serialize};

/// Fits every photograph.
pub const NEUTRAL: &str = "a photo";

/// The difference of similarities that counts; for most checkpoints it is one logit.
pub const MARGIN: f64 = 0.01;

/// From this probability on, a checkpoint trained with a sigmoid calls a concept present.
pub const PRESENT: f64 = 0.5;

/// Below this probability, a checkpoint trained with a sigmoid calls a concept absent. Chosen on drawn scenes (the
/// miniature's world, seed 9001) so that of the concepts that are there one in forty falls below.
pub const ABSENT: f64 = 0.3;

/// Whether the model sees the concept in the photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Present,
    /// It may.
    Weak,
    /// It does not: the map shows where the concept would be looked for, not where it is.
    Absent,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Present => "present",
            Self::Weak => "weak",
            Self::Absent => "absent",
        })
    }
}

/// How the checkpoint can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Presence {
    /// It was trained with a sigmoid.
    Sigmoid {
        /// sigmoid(logit + bias), from 0 to 1.
        probability: f64,
    },
    /// It was trained with a softmax.
    Neutral {
        /// The target's similarity minus the neutral prompt's, from -2 to 2.
        margin: f64,
        /// Whether a reference has a higher logit than the target.
        rival_fits_better: bool,
    },
}

/// The verdict on a map whose positive evidence sums to `positive`.
pub fn verdict(positive: f64, presence: Presence) -> Verdict {
    if positive <= 0.0 {
        return Verdict::Absent;
    }
    match presence {
        Presence::Sigmoid { probability } if probability >= PRESENT => Verdict::Present,
        Presence::Sigmoid { probability } if probability >= ABSENT => Verdict::Weak,
        Presence::Sigmoid { .. } => Verdict::Absent,
        Presence::Neutral { margin, .. } if margin <= -MARGIN => Verdict::Absent,
        Presence::Neutral { margin, rival_fits_better: false } if margin >= MARGIN => Verdict::Present,
        Presence::Neutral { .. } => Verdict::Weak,
    }
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_positive_evidence_it_is_absent() {
        assert_eq!(verdict(0.0, Presence::Sigmoid { probability: 1.0 }), Verdict::Absent);
    }

    #[test]
    fn a_sigmoid_decides_by_its_probability() {
        let by = |probability| verdict(1.0, Presence::Sigmoid { probability });
        assert_eq!(
            [0.9, 0.5, 0.3, 0.2].map(by),
            [Verdict::Present, Verdict::Present, Verdict::Weak, Verdict::Absent]
        );
    }

    #[test]
    fn a_softmax_decides_by_the_neutral_prompt_and_the_rivals() {
        let by = |margin, rival_fits_better| verdict(1.0, Presence::Neutral { margin, rival_fits_better });
        assert_eq!(by(0.05, false), Verdict::Present);
        assert_eq!(by(0.05, true), Verdict::Weak);
        assert_eq!(by(0.0, false), Verdict::Weak);
        assert_eq!(by(-0.05, false), Verdict::Absent);
    }
}
