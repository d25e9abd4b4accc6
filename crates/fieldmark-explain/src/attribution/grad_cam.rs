//! Grad-CAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391) on tokens, as pytorch-grad-cam computes it: the
//! weight of a channel is its gradient's mean over the patches (the class token is left out), and the map is
//! the weighted sum of the channels. It is linear in the gradient. The paper rectifies the map at once; here it
//! keeps its sign.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// M_i = Σ_k mean_j(G_jk) A_ik.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradCam;

impl Method for GradCam {
    fn name(&self) -> &'static str {
        "grad-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations, weighted by their gradient's mean over the patches",
            unit: Unit::Objective,
            signed: true,
            linear: true,
            discriminative: true,
            cost: Some(1.0),
            paper: "Selvaraju et al., ICCV 2017, arXiv 1610.02391",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let weights = trace.mean_gradients(targets.directions())?;
        trace.weighted_activations(&weights)
    }
}
