//! Attention rollout (Abnar and Zuidema, ACL 2020, arXiv 2005.00928): how much of each patch reaches the class token
//! if attention were all that mixes tokens. A block keeps half of a token and takes half from where it looks, and the
//! blocks are multiplied.
//!
//! The mean over the heads stands for a block's attention, as in the paper. The prompt plays no part: it is a map of
//! where the model looks, the same for every concept, and rivals change nothing. `--layer` names the first block.

use candle_core::Tensor;

use super::{Facts, Method, Needs, Targets, Unit, needs::require_class_token};
use crate::{
    error::Result,
    gradient::LayerTrace,
    model::{config::VisionConfig, nn::Recording},
};

/// M = first row of Π_l (A^l + I) / 2, the last block first.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionRollout;

impl Method for AttentionRollout {
    fn name(&self) -> &'static str {
        "attention-rollout"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "how much of each patch attention brings to the class token, whatever the prompt",
            unit: Unit::None,
            signed: false,
            linear: false,
            discriminative: false,
            cost: Some(1.5),
            paper: "Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        require_class_token(self.name(), vision)?;
        let layer = asked.unwrap_or(0);
        let recording = Recording { attention: layer..vision.tower.layers, ..Recording::default() };
        Ok(Needs { layer, recording })
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let blocks = trace.layer()..trace.tower().layers();
        let attention: candle_core::Result<Vec<_>> =
            blocks.map(|block| trace.recorded().attention(block)).collect();
        let map = trace.patches_of_row(&rollout(&attention?)?)?;
        Ok(Tensor::stack(&vec![map; targets.rows()], 0)?)
    }
}

/// What reaches the first token: `[tokens]`, which sums to 1. Only its row of the product is needed, so it is a
/// vector that passes the blocks from the last to the first.
fn rollout(attention: &[&Tensor]) -> Result<Tensor> {
    let Some((last, before)) = attention.split_last() else {
        let reason = "expected at least one block, found none".into();
        return Err(crate::Error::Numeric { what: "attention", reason });
    };
    let tokens = last.dim(0)?;
    let own = Tensor::ones((1, 1), last.dtype(), last.device())?.pad_with_zeros(1, 0, tokens - 1)?;
    let through = |row: &Tensor, attention: &Tensor| (row.matmul(attention)? + row)? * 0.5;
    let mut row = through(&own, last)?;
    for attention in before.iter().rev() {
        row = through(&row, attention)?;
    }
    Ok(row.squeeze(0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn two_blocks_are_multiplied_by_hand() -> Result<()> {
        let first = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0]], &Device::Cpu)?;
        let last = Tensor::new(&[[0.0_f32, 1.0], [1.0, 0.0]], &Device::Cpu)?;
        assert_eq!(rollout(&[&last])?.to_vec1::<f32>()?, [0.5, 0.5]);
        assert_eq!(rollout(&[&first, &last])?.to_vec1::<f32>()?, [0.5, 0.5]);
        let uneven = Tensor::new(&[[0.2_f32, 0.8], [0.6, 0.4]], &Device::Cpu)?;
        // [0.6, 0.4] after `uneven`; then (0.6 · [0, 1] + 0.4 · [1, 0] + [0.6, 0.4]) / 2.
        let found = rollout(&[&last, &uneven])?.to_vec1::<f32>()?;
        assert!(found.iter().all(|share| (share - 0.5).abs() < 1e-6), "{found:?}");
        let found = rollout(&[&uneven, &uneven])?.to_vec1::<f32>()?;
        // (0.6 · [0.2, 0.8] + 0.4 · [0.6, 0.4] + [0.6, 0.4]) / 2.
        assert!((found[0] - 0.48).abs() < 1e-6 && (found[1] - 0.52).abs() < 1e-6, "{found:?}");
        assert!(rollout(&[]).is_err());
        Ok(())
    }
}
