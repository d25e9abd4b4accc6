//! HiResCAM (Draelos and Carin, arXiv 2011.08891): gradients times activations, element by element, summed over
//! the channels. Nothing is averaged, so the map is what the patches contribute to the objective to first
//! order. It is linear in the gradient and keeps its sign.

use candle_core::Tensor;

use super::{Method, Targets};
use crate::{error::Result, gradient::LayerTrace};

/// M_i = Σ_k G_ik A_ik.
#[derive(Clone, Copy, Debug, Default)]
pub struct HiResCam;

impl Method for HiResCam {
    fn name(&self) -> &'static str {
        "hires-cam"
    }

    fn summary(&self) -> &'static str {
        "activations times gradients, patch by patch"
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        trace.gradients_times_activations(targets.directions())
    }
}
