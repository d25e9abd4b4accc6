//! Element-wise Grad-CAM, as in pytorch-grad-cam (`GradCAMElementWise`): the positive ones of the products of
//! activations and gradients. What speaks against the objective in one channel takes nothing from another.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// M_i = Σ_k max(G_ik A_ik, 0).
#[derive(Clone, Copy, Debug, Default)]
pub struct GradCamElementwise;

impl Method for GradCamElementwise {
    fn name(&self) -> &'static str {
        "grad-cam-elementwise"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "the positive products of activations and gradients",
            unit: Unit::Objective,
            signed: false,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "pytorch-grad-cam, GradCAMElementWise",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let activations = trace.patch_activations()?;
        trace.each_gradient(targets.directions(), |gradients| {
            Ok((gradients * &activations)?.relu()?.sum(1)?)
        })
    }
}
