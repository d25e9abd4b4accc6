//! CLIP Surgery (Li et al., Pattern Recognition 2025, arXiv 2304.05653). Architecture: over the last six blocks a second
//! path runs beside the tower's own, without MLPs, on which tokens attend to those with similar values. Features: what
//! all labels have in common in a patch is redundant and is taken out.
//!
//! The labels are the prompts that count in a mix, a target and its rivals; a prompt alone is compared with the empty
//! text, phrased by the same templates (85 in the paper). With labels, as in the authors' current code, the class
//! token's own similarity decides how much each label weighs; an older version weighed them patch by patch.
//!
//! Over a set of labels the surgery is a contrast by itself: its maps sum to 0, so that subtracting rivals only
//! scales the target's map, and strength changes no proportion. For the same reason the contrast is not that of plain
//! maps. Maps are in logits; the layer is the first block of the second path.

use candle_core::{D, Tensor};

use super::{facts, parallel_path, patch_embeddings, score_scale, self_attention, unit};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{
    error::{Error, Result},
    gradient::LayerTrace,
    model::config::VisionConfig,
};

/// The blocks, counted from the end, that the second path runs along unless the user names the first.
const BLOCKS: usize = 6;

/// What similarities with the class token are multiplied by before the softmax that weighs the labels.
const SHARPNESS: f64 = 2.0;

/// M_i = Σ_c a_c (w_c F_i·t_c - mean_k w_k F_i·t_k) over labels c of weight a_c, with w = softmax(2 F_class·t) over its
/// mean; for a prompt alone a (F_i·t - F_i·t_empty).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClipSurgery;

impl Method for ClipSurgery {
    fn name(&self) -> &'static str {
        "clip-surgery"
    }

    fn facts(&self) -> Facts {
        let measures = "similarity less what all prompts share; the last blocks attend to like values";
        Facts {
            linear: false,
            ..facts(measures, 1.4, "Li et al., Pattern Recognition 2025, arXiv 2304.05653")
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::insides(vision, asked, BLOCKS))
    }

    fn extra_prompts(&self) -> &'static [&'static str] {
        &[""]
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let path = parallel_path(trace, |_, record| {
            Ok(self_attention(&record.value, score_scale(record)?)?.matmul(&record.value)?)
        })?;
        let patches = patch_embeddings(trace, &path)?;
        let class = unit(&trace.embedding()?.unsqueeze(0)?)?;
        let weights = targets.weights().to_vec2::<f32>()?;
        let rows: Result<Vec<_>> = weights.iter().map(|row| surgical_mix(&class, targets, row)).collect();
        let mixes = Tensor::stack(&rows?, 0)?;
        Ok((mixes.matmul(&patches.t()?)? * targets.logit_scale())?)
    }
}

/// The surgery is linear in the patches' embeddings, so that it too is one virtual prompt: `[embedding]`.
///
/// # Shapes
/// `class`, the image's unit embedding: [1, embedding]; `weights`, how much every prompt counts: `[prompts]`.
fn surgical_mix(class: &Tensor, targets: &Targets, weights: &[f32]) -> Result<Tensor> {
    let (labels, shares): (Vec<u32>, Vec<f32>) = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(index, weight)| (index as u32, *weight))
        .unzip();
    let device = class.device();
    let texts = targets.texts();
    match labels[..] {
        [] => Ok(class.get(0)?.zeros_like()?),
        [label] => {
            let Some(extra) = targets.extra() else {
                let reason = "expected the embedding of the empty text beside the prompts, found none".into();
                return Err(Error::Option { option: "method", reason });
            };
            Ok(((texts.get(label as usize)? - extra.get(0)?)? * f64::from(shares[0]))?)
        }
        _ => {
            let labels = texts.index_select(&Tensor::new(labels, device)?, 0)?;
            let obvious = candle_nn::ops::softmax(&(class.matmul(&labels.t()?)? * SHARPNESS)?, D::Minus1)?;
            let obvious = obvious.broadcast_div(&obvious.mean_keepdim(D::Minus1)?)?;
            let weighted = labels.broadcast_mul(&obvious.t()?)?;
            let centred = weighted.broadcast_sub(&weighted.mean_keepdim(0)?)?;
            let count = shares.len();
            Ok(Tensor::from_vec(shares, (1, count), device)?.matmul(&centred)?.squeeze(0)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn targets(weights: [f32; 2]) -> Result<Targets> {
        let image = Tensor::new(&[2.0_f32, 0.0], &Device::Cpu)?;
        let texts = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0]], &Device::Cpu)?;
        let extra = Tensor::new(&[[0.6_f32, 0.8]], &Device::Cpu)?;
        let weights = Tensor::new(&[weights], &Device::Cpu)?;
        Ok(Targets::new(&image, &texts, &weights, 10.0)?.with_extra(Some(extra)))
    }

    fn mix(weights: [f32; 2]) -> Result<Vec<f32>> {
        let class = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu)?;
        Ok(surgical_mix(&class, &targets(weights)?, &weights)?.to_vec1::<f32>()?)
    }

    #[test]
    fn a_prompt_alone_is_compared_with_the_empty_text_by_hand() -> Result<()> {
        for (found, expected) in mix([2.0, 0.0])?.into_iter().zip([0.8, -1.6]) {
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
        assert_eq!(mix([0.0, 0.0])?, [0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn labels_are_weighed_by_the_class_token_by_hand() -> Result<()> {
        // softmax(2, 0) over its mean is 2 e² / (e² + 1) and 2 / (e² + 1). Less the mean of both labels, the first
        // keeps half of its own and loses half of the other's.
        let total = 2.0_f32.exp() + 1.0;
        let (first, second) = (2.0_f32.exp() / total, 1.0 / total);
        for (strength, scale) in [(0.5, 1.5), (1.0, 2.0)] {
            let expected = [first * scale, -second * scale];
            for (found, expected) in mix([1.0, -strength])?.into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
            }
        }
        Ok(())
    }

    #[test]
    fn without_the_empty_text_a_prompt_alone_is_refused() -> Result<()> {
        let class = Tensor::new(&[[1.0_f32, 0.0]], &Device::Cpu)?;
        let targets = targets([1.0, 0.0])?.with_extra(None);
        assert!(surgical_mix(&class, &targets, &[1.0, 0.0]).is_err());
        Ok(())
    }
}
