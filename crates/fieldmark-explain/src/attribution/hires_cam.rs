//! HiResCAM (Draelos and Carin, arXiv 2011.08891): gradients times activations, element by element, summed over
//! the channels. Nothing is averaged, so the map is what the patches contribute to the objective to first
//! order. It is linear in the gradient and keeps its sign.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// M_i = Σ_k G_ik A_ik.
#[derive(Clone, Copy, Debug, Default)]
pub struct HiResCam;

impl Method for HiResCam {
    fn name(&self) -> &'static str {
        "hires-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations times their gradients, patch by patch",
            unit: Unit::Objective,
            signed: true,
            linear: true,
            discriminative: true,
            cost: Some(1.0),
            paper: "Draelos and Carin, 2020, arXiv 2011.08891",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        trace.gradients_times_activations(targets.directions())
    }
}
