//! XGrad-CAM (Fu et al., BMVC 2020, arXiv 2008.02312), as pytorch-grad-cam computes it: a channel's weight is its
//! gradients' mean, each counted by its activation's share of the channel's sum.
//!
//! The paper's activations are not negative. Behind a layer norm a channel's sum can be near zero, and then its weight
//! is large for any gradient; like the reference this keeps the formula. It is linear in the gradient and
//! keeps its sign.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// What the reference adds to a channel's sum before it divides by it.
const FLOOR: f64 = 1e-7;

/// M_i = Σ_k w_k A_ik with w_k = Σ_j G_jk A_jk / (Σ_j A_jk + 1e-7).
#[derive(Clone, Copy, Debug, Default)]
pub struct XGradCam;

impl Method for XGradCam {
    fn name(&self) -> &'static str {
        "xgrad-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations, weighted by their gradients' activation-weighted mean",
            unit: Unit::Objective,
            signed: true,
            linear: true,
            discriminative: true,
            cost: Some(1.0),
            paper: "Fu et al., BMVC 2020, arXiv 2008.02312",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let activations = trace.patch_activations()?;
        let sums = (activations.sum(0)? + FLOOR)?;
        // A sum of exactly minus the floor has no share to give.
        let usable = sums.ne(0.0)?;
        let nothing = sums.zeros_like()?;
        let weights = trace.each_gradient(targets.directions(), |gradients| {
            let weights = ((gradients * &activations)?.sum(0)? / &sums)?;
            Ok(usable.where_cond(&weights, &nothing)?)
        })?;
        trace.weighted_activations(&weights)
    }
}
