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
//! - The layer is one block, whose class token is explained; their notebook adds the last n blocks' rectified maps.
//! - Where all cosines are alike, scaling them says nothing (0/0 in the code), and every weight is 1.
//!
//! The authors know towers that end in their class token only. A pooling head gathers the photo by the attention of its
//! probe, which takes the class token's place: its query, the head's keys, values and output. The layer then is the
//! block whose tokens the head reads, as if the tower ended there. Where the mean of the patches is taken, every patch asks
//! in the block, each with cosines and a scale of its own, and what a patch adds to all of them is summed.

use std::ops::Range;

use candle_core::{D, Tensor};

use super::{Facts, Method, Needs, Targets, Unit, dense::unit};
use fieldmark_model::{
    embed::logit_gradients,
    error::{Error, Result},
    gradient::{AttentionLayer, LayerTrace, Readout},
    model::{
        config::{VisionConfig, VisionPooling},
        network::merge_heads,
    },
};

/// M_i = Σ_j λ_ji Σ_d ∂S/∂O_jd V_id, with O the attention output of the queries j: the class token alone, where
/// there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradEclip;

impl Method for GradEclip {
    fn name(&self) -> &'static str {
        "grad-eclip"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "what a patch's value adds to the pooled embedding, weighted by query-key similarity",
            unit: Unit::Objective,
            signed: true,
            linear: true,
            discriminative: true,
            cost: Some(1.0),
            paper: "Zhao et al., ICML 2024, arXiv 2502.18816",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::insides(vision, asked, 1))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let pooled = match trace.tower().pooling() {
            VisionPooling::Attention => Some(trace.readout(trace.layer())?),
            _ => None,
        };
        let weights = match pooled.as_ref().and_then(Readout::probe) {
            Some((query, key)) => loose_attention(query, key)?,
            None => {
                let (record, patches) = (trace.recorded().inside(trace.layer())?, patches(trace)?);
                let queries = queries(trace)?;
                let query = record.query.narrow(1, queries.start, queries.len())?;
                loose_attention(&query, &record.key.narrow(1, patches.start, patches.len())?)?
            }
        };
        let added = match &pooled {
            Some(readout) => added_to_probe(readout, targets)?,
            None => added_in_block(trace, targets)?,
        };
        let maps: Result<Vec<_>> = added.iter().map(|added| Ok((added * &weights)?.sum(0)?)).collect();
        Ok(Tensor::stack(&maps?, 0)?)
    }
}

/// The places of the patches among the tokens.
fn patches(trace: &LayerTrace) -> Result<Range<usize>> {
    let prefix = trace.tower().prefix_tokens();
    Ok(prefix..prefix + trace.grid()?.cells())
}

/// The places of the tokens whose attention is explained in a block: of those that the pooled embedding is made of.
fn queries(trace: &LayerTrace) -> Result<Range<usize>> {
    match trace.tower().pooling() {
        VisionPooling::ClassToken => Ok(0..1),
        _ => patches(trace),
    }
}

/// What each patch's value adds to the score by way of the probe, for every target: [1, cells]. ∂S/∂A is ∂S/∂O Vᵀ in
/// every head.
fn added_to_probe(readout: &Readout, targets: &Targets) -> Result<Vec<Tensor>> {
    let directions = logit_gradients(readout.embedding(), targets.mixes(), targets.logit_scale())?;
    (0..targets.rows()).map(|row| Ok(readout.attention_gradient(&directions.get(row)?)?.sum(0)?)).collect()
}

/// What each patch's value adds to the score by way of each query in the trace's block, for every target:
/// [queries, cells].
fn added_in_block(trace: &LayerTrace, targets: &Targets) -> Result<Vec<Tensor>> {
    let (queries, patches) = (queries(trace)?, patches(trace)?);
    let of_row = |row: usize| {
        let mut added = None;
        trace.attention_gradients(&targets.directions().get(row)?, |layer, shown| {
            if layer == AttentionLayer::Block(trace.layer()) {
                let gradient = shown.gradient.narrow(1, queries.start, queries.len())?;
                added = Some(gradient.narrow(2, patches.start, patches.len())?.sum(0)?);
            }
            Ok(())
        })?;
        added.ok_or(Error::Numeric { what: "gradient", reason: "the layer's block was not reached".into() })
    };
    (0..targets.rows()).map(of_row).collect()
}

/// The cosines of queries and keys over the whole width, for every query scaled to 0..1 over the keys.
///
/// # Shapes
/// `query`: [heads, queries, head width]; `key`: [heads, cells, head width]; returns [queries, cells].
fn loose_attention(query: &Tensor, key: &Tensor) -> Result<Tensor> {
    let cosines = unit(&merge_heads(query)?)?.matmul(&unit(&merge_heads(key)?)?.t()?)?;
    let low = cosines.min_keepdim(D::Minus1)?;
    let span = (cosines.max_keepdim(D::Minus1)? - &low)?;
    let scaled = cosines.broadcast_sub(&low)?.broadcast_div(&span)?;
    let differ = span.gt(0.0)?.broadcast_as(cosines.shape())?;
    Ok(differ.where_cond(&scaled, &cosines.ones_like()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tokens<const N: usize>(rows: [[f32; 2]; N]) -> Result<Tensor> {
        Ok(Tensor::new(&[rows], &Device::Cpu)?)
    }

    #[test]
    fn cosines_are_scaled_over_the_patches_by_hand() -> Result<()> {
        // The cosines are 1, 0 and -1, and for the other query 0, 1 and 0; lengths play no part.
        let keys = tokens([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])?;
        let found = loose_attention(&tokens([[3.0, 0.0], [0.0, 0.5]])?, &keys)?;
        assert_eq!(found.to_vec2::<f32>()?, [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]]);
        Ok(())
    }

    #[test]
    fn cosines_that_are_all_alike_weigh_nothing() -> Result<()> {
        let found = loose_attention(&tokens([[1.0, 0.0]])?, &tokens([[2.0, 0.0], [2.0, 0.0]])?)?;
        assert_eq!(found.to_vec2::<f32>()?, [[1.0, 1.0]]);
        Ok(())
    }
}
