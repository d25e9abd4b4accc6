//! LayerCAM (Jiang et al., IEEE TIP 2021, doi 10.1109/TIP.2021.3089943): each activation counts by its own
//! gradient, where that is positive. The paper multiplies maps of several layers' positive parts; this is one layer's
//! map, with its sign: behind a layer norm activations are negative too, which the paper's networks do not have.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// M_i = Σ_k max(G_ik, 0) A_ik.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerCam;

impl Method for LayerCam {
    fn name(&self) -> &'static str {
        "layer-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations times their positive gradients, patch by patch",
            unit: Unit::Objective,
            signed: true,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "Jiang et al., IEEE TIP 2021, doi 10.1109/TIP.2021.3089943",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let activations = trace.patch_activations()?;
        trace.each_gradient(targets.directions(), |gradients| Ok((gradients.relu()? * &activations)?.sum(1)?))
    }
}
