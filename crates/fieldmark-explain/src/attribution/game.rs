//! Relevance propagation through attention (Chefer, Gur and Wolf, ICCV 2021, arXiv 2103.15679; GAME, or "generic
//! attention explainability"): the attention of each block counts as far as more of it would raise the score,
//! R ← R + mean_h(ReLU(∂S/∂A ⊙ A)) R, and the class token's row of R says what reached it from each patch.
//!
//! A pooling head is what the paper calls co-attention: its probe is the query, the tokens are the keys. By that rule
//! (equation 10)
//! the probe's relevance is mean_h(ReLU(∂S/∂A ⊙ A)) of the head times the tokens' R. The paper first scales what R gained
//! to sum to 1 a row; the rule for one modality does not, and neither is it done here. Where the mean of the patches is
//! taken, so is the mean of their rows; what each patch is to itself, the same for all, is left out.
//!
//! The paper goes through all blocks; the authors' code for CLIP starts at the **last block** (`start_layer = -1` in
//! `CLIP_explainability.ipynb`), which is the default here, with a pooling head behind it where there is one. Layer 0
//! is the paper's.

use candle_core::Tensor;

use super::{Facts, Method, Needs, Targets, Unit};
use fieldmark_model::{
    error::Result,
    gradient::{AttentionGradient, AttentionLayer, LayerTrace},
    model::config::VisionConfig,
};

/// M = s (R - I), with R = Π_l (I + mean_h(ReLU(∂S/∂A^l ⊙ A^l))), the last block first, and s the pooling weight of
/// each token: 1 for the class token. With a pooling head M = mean_h(ReLU(∂S/∂A ⊙ A)) R.
#[derive(Clone, Copy, Debug, Default)]
pub struct Game;

impl Method for Game {
    fn name(&self) -> &'static str {
        "game"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "attention that raises the score, followed back from the pooled embedding to the patches",
            unit: Unit::None,
            signed: false,
            linear: false,
            discriminative: true,
            cost: Some(1.0),
            paper: "Chefer et al., ICCV 2021, arXiv 2103.15679",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::insides(vision, asked, 1))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let own = trace.fixed_pooling_weights()?;
        let rows: Result<Vec<_>> = (0..targets.rows())
            .map(|row| {
                let mut relevance = own.clone();
                trace.attention_gradients(&targets.directions().get(row)?, |layer, shown| {
                    relevance = match layer {
                        AttentionLayer::Pool => raising(shown)?,
                        AttentionLayer::Block(_) => propagated(&relevance, shown)?,
                    };
                    Ok(())
                })?;
                trace.patches_of_row(&(relevance - &own)?.squeeze(0)?)
            })
            .collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }
}

/// The attention that raises the score: [queries, tokens].
fn raising(shown: &AttentionGradient) -> Result<Tensor> {
    Ok((&shown.attention * &shown.gradient)?.relu()?.mean(0)?)
}

/// The pooled token's row of R, [1, tokens], with one more block behind it. Since the product's first factor is the
/// last block, a vector that passes the blocks backwards is all that is needed of it.
fn propagated(relevance: &Tensor, shown: &AttentionGradient) -> Result<Tensor> {
    let block = raising(shown)?;
    let own = relevance.narrow(1, 0, block.dim(0)?)?.contiguous()?;
    Ok((relevance + own.matmul(&block)?)?)
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
        // In the last block the class token is the only query. The heads give [0.1, 0.3] and, rectified, [0, 0.1].
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
