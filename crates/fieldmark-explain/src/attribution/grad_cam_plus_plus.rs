//! Grad-CAM++ (Chattopadhyay et al., WACV 2018, arXiv 1710.11063), equation 19 as pytorch-grad-cam computes it: a
//! channel's weight is the sum of its positive gradients, each times a coefficient a of its own.
//!
//! The coefficient comes from the powers of the gradient that an exponential of the score would have as its
//! derivatives. It presumes activations that are not negative. Behind a layer norm their sum can be negative, and then
//! the denominator can be near zero and single cells count enormously; like the reference this keeps the formula, and
//! takes a = 0 where the gradient or the denominator is zero. The 1e-6 in the denominator is the reference's too: with
//! gradients of that size the map depends on the objective's scale. The sign is kept where the paper rectifies.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{error::Result, gradient::LayerTrace};

/// What the reference adds to the coefficient's denominator.
const FLOOR: f64 = 1e-6;

/// M_i = Σ_k w_k A_ik with w_k = Σ_j max(G_jk, 0) a_jk and a = G² / (2 G² + (Σ_j A_jk) G³ + 1e-6).
#[derive(Clone, Copy, Debug, Default)]
pub struct GradCamPlusPlus;

impl Method for GradCamPlusPlus {
    fn name(&self) -> &'static str {
        "grad-cam-plus-plus"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations, weighted by their positive gradients' weighted sum",
            unit: Unit::None,
            signed: true,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "Chattopadhyay et al., WACV 2018, arXiv 1710.11063",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let activations = trace.patch_activations()?;
        let sums = activations.sum_keepdim(0)?;
        let weights = trace.each_gradient(targets.directions(), |gradients| {
            Ok((gradients.relu()? * coefficients(&gradients, &sums)?)?.sum(0)?)
        })?;
        trace.weighted_activations(&weights)
    }
}

/// # Shapes
/// `gradients`: [cells, width]; `sums`, of the activations: [1, width]; returns [cells, width].
fn coefficients(gradients: &Tensor, sums: &Tensor) -> Result<Tensor> {
    let squares = gradients.sqr()?;
    let cubes = (&squares * gradients)?.broadcast_mul(sums)?;
    let denominators = (((&squares * 2.0)? + cubes)? + FLOOR)?;
    let quotients = (squares / &denominators)?;
    Ok(denominators.ne(0.0)?.where_cond(&quotients, &quotients.zeros_like()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn coefficients_by_hand_and_none_where_the_denominator_vanishes() -> Result<()> {
        // 4 / (8 + 3 · 8 + 1e-6), 1 / (2 + 3 · 1 + 1e-6), and 0 / 1e-6.
        let gradients = Tensor::new(&[[2.0_f32], [1.0], [0.0]], &Device::Cpu)?;
        let found = coefficients(&gradients, &Tensor::new(&[[3.0_f32]], &Device::Cpu)?)?;
        let expected = [0.125, 0.2, 0.0];
        for (found, expected) in found.flatten_all()?.to_vec1::<f32>()?.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
        // 2 G² + s G³ is minus the floor to the last bit.
        let gradient = 2.0_f32.powi(-11);
        let sum = -(FLOOR as f32 + 2.0 * gradient * gradient) / gradient.powi(3);
        let vanishing = Tensor::new(&[[gradient]], &Device::Cpu)?;
        let found = coefficients(&vanishing, &Tensor::new(&[[sum]], &Device::Cpu)?)?;
        assert_eq!(found.to_vec2::<f32>()?, [[0.0]]);
        Ok(())
    }
}
