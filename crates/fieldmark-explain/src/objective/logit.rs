//! The target's logit alone: what Grad-CAM and the methods after it explain (Selvaraju et al., ICCV 2017, arXiv
//! 1610.02391, where it is the class score before the softmax).
//!
//! References take nothing out of it. They compete for the probability and the verdict only, and there is nothing for
//! strength to weigh, so that results record it as 0.

use super::{Objective, Strength};

/// y_target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logit;

impl Objective for Logit {
    fn name(&self) -> &'static str {
        "logit"
    }

    fn summary(&self) -> &'static str {
        "the target's logit; references only compete for the probability and the verdict"
    }

    fn value(&self, logits: &[f64], _strength: Strength) -> f64 {
        logits[0]
    }

    fn gradient(&self, logits: &[f64], _strength: Strength) -> Vec<f64> {
        let mut weights = vec![0.0; logits.len()];
        weights[..1].fill(1.0);
        weights
    }

    fn effective_strength(&self, _strength: Strength) -> Strength {
        Strength(0.0)
    }
}
