//! Grad-ECLIP (Zhao et al., ICML 2024, arXiv 2502.18816): what each patch's value adds to the score through the class
//! token's attention output, with a looser weight in the place of the softmax, which is too sparse: the cosine of the
//! class token's query and the patch's key, scaled to 0..1 over the photo.
//!
//! Where the authors differ from themselves, this is chosen:
//! - Their code recomputes the last block with **one head** (`num_heads=1`, the true count commented out in
//!   `generate_emap.py`), so that it differentiates another network than the one that is explained. Here the model's
//!   own heads attend; only the cosine runs over the whole width at once, as in the paper, which knows no heads.
//! - The cosine is that of queries and keys as they are (paper, notebook); the script sends both through the output
//!   layer first.
//! - The map keeps its sign; they rectify it, which here is the drawing's affair. It is in logits.
//! - `--layer` names one block, whose class token is explained; their notebook adds the last n blocks' rectified maps.
//! - Where all cosines are alike, scaling them says nothing (0/0 in the code), and every weight is 1.

use candle_core::{D, Tensor};

use super::{Facts, Method, Needs, Targets, Unit, needs::require_class_token};
use crate::{error::Result, gradient::LayerTrace, model::config::VisionConfig, model::nn::BlockRecord};

/// M_i = λ_i Σ_d ∂S/∂O_d V_id, with O the class token's attention output.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradEclip;

impl Method for GradEclip {
    fn name(&self) -> &'static str {
        "grad-eclip"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "what a patch's value adds to the class token, weighted by query-key similarity",
            unit: Unit::Objective,
            signed: true,
            linear: true,
            discriminative: true,
            cost: Some(1.1),
            paper: "Zhao et al., ICML 2024, arXiv 2502.18816",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        require_class_token(self.name(), vision)?;
        Ok(Needs::insides(vision, asked, 1))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let weights = loose_attention(trace.recorded().inside(trace.layer())?)?;
        let rows: Result<Vec<_>> = (0..targets.rows())
            .map(|row| {
                let mut map = weights.zeros_like()?;
                trace.attention_gradients(&targets.directions().get(row)?, |block, shown| {
                    if block == trace.layer() {
                        // ∂S/∂A is ∂S/∂O Vᵀ in every head; the class token is the first that asks.
                        let added = shown.gradient.narrow(1, 0, 1)?.squeeze(1)?.sum(0)?;
                        map = (trace.patches_of_row(&added)? * &weights)?;
                    }
                    Ok(())
                })?;
                Ok(map)
            })
            .collect();
        Ok(Tensor::stack(&rows?, 0)?)
    }
}

/// The cosines of the class token's query and the patches' keys, scaled to 0..1: `[cells]`.
fn loose_attention(record: &BlockRecord) -> Result<Tensor> {
    let cells = record.key.dim(1)? - 1;
    let query = record.query.narrow(1, 0, 1)?;
    let keys = record.key.narrow(1, 1, cells)?;
    let products = keys.broadcast_mul(&query)?.sum((0, 2))?;
    let lengths = keys.sqr()?.sum((0, 2))?.sqrt()?.broadcast_mul(&query.sqr()?.sum_all()?.sqrt()?)?;
    let cosines = (products / lengths)?;
    let low = cosines.min(D::Minus1)?.to_scalar::<f32>()?;
    let high = cosines.max(D::Minus1)?.to_scalar::<f32>()?;
    match high > low {
        true => Ok(((cosines - f64::from(low))? / f64::from(high - low))?),
        false => Ok(cosines.ones_like()?),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn record<const N: usize>(query: [f32; 2], keys: [[f32; 2]; N]) -> Result<BlockRecord> {
        let mut queries = [[0.0; 2]; N];
        queries[0] = query;
        let hidden = Tensor::new(&queries, &Device::Cpu)?;
        let (query, key) = (hidden.unsqueeze(0)?, Tensor::new(&[keys], &Device::Cpu)?);
        Ok(BlockRecord { hidden, query, value: key.clone(), key, after: None })
    }

    #[test]
    fn cosines_are_scaled_over_the_patches_by_hand() -> Result<()> {
        // The class token's own key does not count. The cosines are 1, 0 and -1; lengths play no part.
        let keys = [[9.0, 9.0], [2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]];
        assert_eq!(loose_attention(&record([3.0, 0.0], keys)?)?.to_vec1::<f32>()?, [1.0, 0.5, 0.0]);
        Ok(())
    }

    #[test]
    fn cosines_that_are_all_alike_weigh_nothing() -> Result<()> {
        let keys = [[1.0, 0.0], [2.0, 0.0], [2.0, 0.0]];
        assert_eq!(loose_attention(&record([1.0, 0.0], keys)?)?.to_vec1::<f32>()?, [1.0, 1.0]);
        Ok(())
    }
}
