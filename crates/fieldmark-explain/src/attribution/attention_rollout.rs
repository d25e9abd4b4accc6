//! Attention rollout (Abnar and Zuidema, ACL 2020, arXiv 2005.00928): how much of each patch reaches the pooled
//! embedding of the photo if attention were all that mixes tokens. A block keeps half of a token and takes half from where
//! it looks, and the blocks are multiplied.
//!
//! The paper pools by the class token. A pooling head's probe is no token of the photo, so all of what it attends to counts
//! and nothing of itself is kept. Where the mean of the patches is taken, it is the mean of their rows.
//!
//! The mean over the heads stands for a block's attention, as in the paper. The prompt plays no part: it is a map of
//! where the model looks, the same for every concept, and rivals change nothing. The layer is the first block.

use candle_core::Tensor;

use super::{Facts, Method, Needs, Targets, Unit};
use fieldmark_model::{
    error::Result,
    gradient::LayerTrace,
    model::{
        config::{VisionConfig, VisionPooling},
        network::Recording,
    },
};

/// M = s Π_l (A^l + I) / 2, the last block first, with s the pooling weight of each token: 1 for the class token.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionRollout;

impl Method for AttentionRollout {
    fn name(&self) -> &'static str {
        "attention-rollout"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "how much of each patch attention brings to the pooled embedding, independent of the prompt",
            unit: Unit::None,
            signed: false,
            linear: false,
            discriminative: false,
            cost: Some(1.6),
            paper: "Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        let (layer, layers) = (asked.unwrap_or(0), vision.tower.layers);
        let insides = match vision.pooling {
            // The probe looks at what leaves the last block.
            VisionPooling::Attention => layers.saturating_sub(1)..layers,
            _ => 0..0,
        };
        Ok(Needs { layer, recording: Recording { attention: layer..layers, insides } })
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let blocks = trace.layer()..trace.tower().layers();
        let attention: candle_core::Result<Vec<_>> =
            blocks.map(|block| trace.recorded().attention(block)).collect();
        let map = trace.patches_of_row(&rollout(&trace.pooling_weights()?, &attention?)?)?;
        Ok(Tensor::stack(&vec![map; targets.rows()], 0)?)
    }
}

/// What reaches the pooled embedding: `[tokens]`, which sums to 1. Only one row of the product is needed, so it is a vector
/// that passes the blocks from the last to the first.
///
/// # Shapes
/// `shares`, the pooling weights of the tokens that leave the last block: [1, tokens].
fn rollout(shares: &Tensor, attention: &[&Tensor]) -> Result<Tensor> {
    let mut row = shares.clone();
    for attention in attention.iter().rev() {
        row = ((row.matmul(attention)? + row)? * 0.5)?;
    }
    Ok(row.squeeze(0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn two_blocks_are_multiplied_by_hand() -> Result<()> {
        let tensor = |rows: [[f32; 2]; 2]| Tensor::new(&rows, &Device::Cpu);
        let (first, last) = (tensor([[1.0, 0.0], [0.0, 1.0]])?, tensor([[0.0, 1.0], [1.0, 0.0]])?);
        let class = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu)?;
        assert_eq!(rollout(&class, &[&last])?.to_vec1::<f32>()?, [0.5, 0.5]);
        assert_eq!(rollout(&class, &[&first, &last])?.to_vec1::<f32>()?, [0.5, 0.5]);
        let uneven = tensor([[0.2, 0.8], [0.6, 0.4]])?;
        let near = |shares: &Tensor, blocks: &[&Tensor], expected: [f32; 2]| -> Result<()> {
            let found = rollout(shares, blocks)?.to_vec1::<f32>()?;
            assert!(
                (found[0] - expected[0]).abs() < 1e-6 && (found[1] - expected[1]).abs() < 1e-6,
                "{found:?}"
            );
            Ok(())
        };
        // [0.6, 0.4] after `uneven`; then (0.6 · [0, 1] + 0.4 · [1, 0] + [0.6, 0.4]) / 2.
        near(&class, &[&last, &uneven], [0.5, 0.5])?;
        // (0.6 · [0.2, 0.8] + 0.4 · [0.6, 0.4] + [0.6, 0.4]) / 2.
        near(&class, &[&uneven, &uneven], [0.48, 0.52])?;
        // A mean of both tokens: (0.5 · [0.2, 0.8] + 0.5 · [0.6, 0.4] + [0.5, 0.5]) / 2.
        near(&Tensor::new(&[[0.5_f32, 0.5]], &Device::Cpu)?, &[&uneven], [0.45, 0.55])
    }
}
