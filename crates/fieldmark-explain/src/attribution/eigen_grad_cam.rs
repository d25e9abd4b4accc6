//! Eigen-Grad-CAM, as in pytorch-grad-cam (`EigenGradCAM`): the products of activations and gradients on their
//! first principal component over the patches.
//!
//! The component's arbitrary sign is settled as in [`EigenCam`](super::EigenCam), but by the products' own sum over
//! the channels, which is HiResCAM's map: the positive end is where there is evidence for the target.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit, eigen_cam::turned, principal::projection};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// M_i = ± Σ_k (X_ik - mean_j X_jk) v_k, v the first right singular vector of the centred X = G ⊙ A.
#[derive(Clone, Copy, Debug, Default)]
pub struct EigenGradCam;

impl Method for EigenGradCam {
    fn name(&self) -> &'static str {
        "eigen-grad-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "the first principal component of activations times gradients",
            unit: Unit::Objective,
            signed: true,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "pytorch-grad-cam, EigenGradCAM, after arXiv 2008.00299",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let activations = trace.patch_activations()?;
        trace.each_gradient(targets.directions(), |gradients| {
            let products = (gradients * &activations)?;
            turned(&projection(&products)?, &products.sum(1)?)
        })
    }
}
