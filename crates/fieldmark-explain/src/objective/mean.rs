//! Finer-CAM's contrast as in the paper (Zhang et al., CVPR 2025, arXiv 2501.11309, section 3): the
//! target's logit minus the strength times the mean of the references' logits. Without references, or at
//! strength 0, it is the target's logit alone, which gives the plain map.

use super::{Objective, Strength};

/// y_target - γ · mean(y_reference).
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean;

impl Objective for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn summary(&self) -> &'static str {
        "the target's logit minus strength times the mean of the references' (the paper's)"
    }

    fn value(&self, logits: &[f64], strength: Strength) -> f64 {
        let weights = self.gradient(logits, strength);
        logits.iter().zip(weights).map(|(logit, weight)| logit * weight).sum()
    }

    fn gradient(&self, logits: &[f64], strength: Strength) -> Vec<f64> {
        let references = logits.len().saturating_sub(1);
        let mut weights = vec![-strength.get() / references.max(1) as f64; logits.len()];
        weights[..1].fill(1.0);
        weights
    }
}
