//! The target's probability among its rivals, which CLIP-ES differentiates (Lin et al., CVPR 2023, arXiv 2212.09506,
//! section 3.2: the softmax function in Grad-CAM): what makes a rival likelier counts against the target in proportion
//! to the rival's own probability.
//!
//! Its unit is probability, 0 to 1, not logits. Where the target wins or loses by far the probability is flat, and the
//! maps fade. The references take part whole: strength only says whether they do (above 0) or not. Without them, and
//! at strength 0, the probability would be 1 for any photo; there the objective is the target's logit, as
//! every objective's is.

use super::{Objective, Strength, Unit};
use fieldmark_model::embed;

/// p_target, the softmax over target and references.
#[derive(Clone, Copy, Debug, Default)]
pub struct Softmax;

impl Objective for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn summary(&self) -> &'static str {
        "the target's softmax probability among target and references (CLIP-ES's)"
    }

    fn value(&self, logits: &[f64], strength: Strength) -> f64 {
        match self.unit(logits.len(), strength) {
            Unit::Logits => logits[0],
            Unit::Probability => embed::softmax(logits)[0],
        }
    }

    /// p_target (δ - p).
    fn gradient(&self, logits: &[f64], strength: Strength) -> Vec<f64> {
        let mut gradient = vec![0.0; logits.len()];
        if self.unit(logits.len(), strength) == Unit::Logits {
            gradient[..1].fill(1.0);
            return gradient;
        }
        let probabilities = embed::softmax(logits);
        for (slope, probability) in gradient.iter_mut().zip(&probabilities) {
            *slope = -probabilities[0] * probability;
        }
        // 1 - p_target, without the rounding of a difference.
        gradient[0] = probabilities[0] * probabilities[1..].iter().sum::<f64>();
        gradient
    }

    fn effective_strength(&self, strength: Strength) -> Strength {
        Strength(if strength.get() == 0.0 { 0.0 } else { 1.0 })
    }

    fn unit(&self, competing: usize, strength: Strength) -> Unit {
        if competing < 2 || strength.get() == 0.0 { Unit::Logits } else { Unit::Probability }
    }
}
