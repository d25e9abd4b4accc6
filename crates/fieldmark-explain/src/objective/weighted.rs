//! Finer-CAM's contrast as in pytorch-grad-cam (`FinerWeightedTarget`): each reference's difference to the
//! target counts by the reference's softmax probability, so that the strongest rival dominates.
//!
//! The probabilities are not constants: the gradient flows through them too, as in the reference code. The
//! softmax is over the target and the references, and the reference code's 1e-9 in the denominator is kept, so
//! where no reference has any probability the objective fades to 0 there and here.

use super::{Objective, Strength};

/// What the reference code adds to the sum of the references' probabilities.
const FLOOR: f64 = 1e-9;

/// Σ p_i (y_target - γ y_i) / (Σ p_i + 1e-9), with p the softmax over target and references.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weighted;

impl Objective for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn summary(&self) -> &'static str {
        "the differences to the references, weighted by their softmax probability (pytorch-grad-cam's)"
    }

    fn value(&self, logits: &[f64], strength: Strength) -> f64 {
        match logits {
            [target] => *target,
            _ => Parts::new(logits, strength).value(),
        }
    }

    fn gradient(&self, logits: &[f64], strength: Strength) -> Vec<f64> {
        match logits {
            [_] => vec![1.0],
            _ => Parts::new(logits, strength).gradient(strength),
        }
    }
}

/// The quotient's parts, with p over all logits and sums over the references only.
struct Parts {
    /// p of the target and of the references.
    probabilities: Vec<f64>,
    /// y_target - γ y_i, for the references.
    differences: Vec<f64>,
}

impl Parts {
    fn new(logits: &[f64], strength: Strength) -> Self {
        let differences = logits[1..].iter().map(|logit| logits[0] - strength.get() * logit).collect();
        Self { probabilities: fieldmark_model::embed::softmax(logits), differences }
    }

    fn weight(&self) -> f64 {
        self.probabilities[1..].iter().sum::<f64>() + FLOOR
    }

    fn value(&self) -> f64 {
        let sum: f64 = self.probabilities[1..].iter().zip(&self.differences).map(|(p, d)| p * d).sum();
        sum / self.weight()
    }

    /// The quotient rule, with ∂p_i/∂y_j = p_i (δ_ij - p_j).
    fn gradient(&self, strength: Strength) -> Vec<f64> {
        let (weight, value) = (self.weight(), self.value());
        // The derivative of the quotient with respect to p_i is (d_i - value) / weight.
        let pulls: Vec<f64> = self.differences.iter().map(|d| (d - value) / weight).collect();
        let references = &self.probabilities[1..];
        let along: f64 = references.iter().zip(&pulls).map(|(p, pull)| p * pull).sum();
        let total: f64 = references.iter().sum();
        let target = total / weight - self.probabilities[0] * along;
        let rest = references.iter().zip(&pulls);
        let rest = rest.map(|(p, pull)| p * (pull - along) - strength.get() * p / weight);
        std::iter::once(target).chain(rest).collect()
    }
}
