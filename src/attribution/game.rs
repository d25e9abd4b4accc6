//! Relevance propagation through attention (Chefer, Gur and Wolf, ICCV 2021, arXiv 2103.15679; GAME, or "generic
//! attention explainability"): the attention of each block counts as far as more of it would raise the score,
//! R ← R + mean_h(ReLU(∂S/∂A ⊙ A)) R, and the class token's row of R says what reached it from each patch.
//!
//! The paper goes through all blocks; the authors' code for CLIP starts at the **last block** (`start_layer = -1` in
//! `CLIP_explainability.ipynb`), which is the default here. `--layer 0` is the paper's.

use candle_core::Tensor;

use super::{Facts, Method, Needs, Targets, Unit, needs::require_class_token};
use crate::{
    error::Result,
    gradient::{AttentionGradient, LayerTrace},
    model::config::VisionConfig,
};

/// M = R_class, with R = Π_l (I + mean_h(ReLU(∂S/∂A^l ⊙ A^l))), the last block first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Game;

impl Method for Game {
    fn name(&self) -> &'static str {
        "game"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "attention that raises the score, followed back from the class token to the patches",
            unit: Unit::None,
            signed: false,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "Chefer et al., ICCV 2021, arXiv 2103.15679",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        require_class_token(self.name(), vision)?;
        Ok(Needs::insides(vision, asked, 1))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let record = trace.recorded().inside(trace.layer())?;
        let tokens = record.key.dim(1)?;
        let own = Tensor::ones((1, 1), record.key.dtype(), record.key.device())?;
        let own = own.pad_with_zeros(1, 0, tokens - 1)?;
        let rows: Result<Vec<_>> = (0..targets.rows())
            .map(|row| {
                let mut relevance = own.clone();
                trace.attention_gradients(&targets.directions().get(row)?, |_, shown| {
                    relevance = propagated(&relevance, shown)?;
                    Ok(())
                })?;
                trace.patches_of_row(&relevance.squeeze(0)?)
            })
            .collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }
}

/// The class token's row of R, [1, tokens], with one more block behind it. Since the product's first factor is the
/// last block, a vector that passes the blocks backwards is all that is needed of it.
fn propagated(relevance: &Tensor, shown: &AttentionGradient) -> Result<Tensor> {
    let block = (&shown.attention * &shown.gradient)?.relu()?.mean(0)?;
    let asking = relevance.narrow(1, 0, block.dim(0)?)?.contiguous()?;
    Ok((relevance + asking.matmul(&block)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor<const N: usize, const M: usize, const H: usize>(heads: &[[[f32; N]; M]; H]) -> Result<Tensor> {
        Ok(Tensor::new(heads, &Device::Cpu)?)
    }

    #[test]
    fn relevance_passes_two_blocks_by_hand() -> Result<()> {
        // In the last block the class token asks alone. The heads give [0.1, 0.3] and, rectified, [0, 0.1].
        let last = AttentionGradient {
            attention: tensor(&[[[0.5, 0.5]], [[0.5, 0.5]]])?,
            gradient: tensor(&[[[0.2, 0.6]], [[-2.0, 0.2]]])?,
        };
        let relevance = propagated(&Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu)?, &last)?;
        let found = relevance.get(0)?.to_vec1::<f32>()?;
        assert!((found[0] - 1.05).abs() < 1e-6 && (found[1] - 0.2).abs() < 1e-6, "{found:?}");
        let before = AttentionGradient {
            attention: tensor(&[[[1.0, 0.0], [0.5, 0.5]]])?,
            gradient: tensor(&[[[1.0, 1.0], [0.0, 2.0]]])?,
        };
        // [1.05, 0.2] · [[1, 0], [0, 1]] is added.
        let found = propagated(&relevance, &before)?.get(0)?.to_vec1::<f32>()?;
        assert!((found[0] - 2.1).abs() < 1e-6 && (found[1] - 0.4).abs() < 1e-6, "{found:?}");
        Ok(())
    }

    #[test]
    fn a_gradient_of_zero_leaves_nothing_beside_the_class_token() -> Result<()> {
        let nothing =
            AttentionGradient { attention: tensor(&[[[0.5, 0.5]]])?, gradient: tensor(&[[[0.0, 0.0]]])? };
        let own = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu)?;
        assert_eq!(propagated(&own, &nothing)?.get(0)?.to_vec1::<f32>()?, [1.0, 0.0]);
        Ok(())
    }
}
