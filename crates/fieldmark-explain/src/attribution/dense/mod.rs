//! Dense similarities: every patch gets an embedding of its own, and the map is its similarity with the prompts.
//!
//! The class token's way through the tower makes it comparable with texts; patches are not trained for that, and
//! attention mixes them with what the class token needs. The methods here differ in what they put in the place of
//! the last blocks' attention, so that a patch stays with its like. None of them needs a gradient. What a method
//! does to the tokens, what follows is shared: last norm, projection, unit vectors, and cosines times the
//! checkpoint's logit scale, so that maps are in logits. They are linear in the mix of prompts: a contrast is the same
//! contrast of plain maps, exactly.
//!
//! The authors all begin with towers that end in a class token, in whose place each patch is read. Other towers pool
//! their tokens, and each patch is read as if it alone were pooled. Of a mean nothing is left then but the norm. A pooling
//! head has nothing else to attend to than this patch: its value passes the head's output layer and MLP, and the probe
//! plays no part. That is MaskCLIP's idea, applied to the attention that gathers the photo. Neither
//! gem-torch nor the authors' other code supports such towers.
//!
//! The layer is for some methods the first block of a second path that runs to the end. The others change **one**
//! block, the last unless another is named; what that block gives is then read as if the tower ended there, as LeGrad
//! reads earlier blocks. The authors know the last block only.
//!
//! A cosine of CLIP has no zero that means anything: pictures and texts lie in two cones, and every patch may be at
//! 0.2 of every prompt. The projects therefore scale maps to 0..1 over the photo, or only compare classes. Here zero is
//! **the photo's mean**: a patch above it fits the prompt better than the photo's patches do on average. It keeps unit
//! and order, it is linear too, and "more than the mean" is how the field cuts such maps into foreground and background
//! (the protocol of ImageNet-Segmentation). [`ClipSurgery`] needs none of it: it takes a zero of its own.

mod clear_clip;
mod clip_surgery;
mod gem;
mod mask_clip;
mod na_clip;
mod sclip;

use candle_core::{D, Tensor};

pub use clear_clip::ClearClip;
pub use clip_surgery::ClipSurgery;
pub use gem::Gem;
pub use mask_clip::MaskClip;
pub use na_clip::NaClip;
pub use sclip::Sclip;

use super::{Facts, Targets, Unit};
use fieldmark_model::{
    error::Result,
    gradient::LayerTrace,
    model::network::{Block, BlockRecord, softmax},
};

/// The facts that the methods here share.
fn facts(measures: &'static str, cost: f64, paper: &'static str) -> Facts {
    Facts {
        measures,
        unit: Unit::Objective,
        signed: true,
        linear: true,
        discriminative: true,
        cost: Some(cost),
        paper,
    }
}

/// Every patch's embedding, as if it alone were the pooled embedding of the photo: unit vectors.
///
/// # Shapes
/// `tokens`, before the last norm: [tokens, width]; returns [cells, embedding].
fn patch_embeddings(trace: &LayerTrace, tokens: &Tensor) -> Result<Tensor> {
    let tower = trace.tower();
    let count = tokens.dim(0)?;
    let patches = tokens.narrow(0, tower.prefix_tokens(), count - tower.prefix_tokens())?;
    unit(&tower.embed_each(&patches)?)
}

/// How much more similar each patch is to the mixes of prompts than the photo's patches are on average, in logits:
/// [rows, cells].
fn similarities(trace: &LayerTrace, tokens: &Tensor, targets: &Targets) -> Result<Tensor> {
    let embeddings = patch_embeddings(trace, tokens)?;
    let above_mean = embeddings.broadcast_sub(&embeddings.mean_keepdim(0)?)?;
    Ok((targets.mixes().matmul(&above_mean.t()?)? * targets.logit_scale())?)
}

/// The block that is changed, and its record.
fn changed<'t>(trace: &'t LayerTrace) -> Result<(&'t Block, &'t BlockRecord)> {
    let index = trace.layer();
    Ok((&trace.tower().blocks()[index], trace.recorded().inside(index)?))
}

/// A second residual stream beside the tower's own: it begins with what enters the trace's layer, and every block
/// from there on adds what `attended` gives for it. It skips the MLPs, and the tower's own stream does not see it.
///
/// # Shapes
/// `attended` returns [heads, tokens, head width]; returns [tokens, width].
fn parallel_path(
    trace: &LayerTrace,
    attended: impl Fn(&Block, &BlockRecord) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut path = trace.recorded().inside(trace.layer())?.hidden.clone();
    for (index, block) in trace.tower().blocks().iter().enumerate().skip(trace.layer()) {
        let record = trace.recorded().inside(index)?;
        path = (path + block.attention_output(&attended(block, record)?)?)?;
    }
    Ok(path)
}

/// softmax(x xᵀ · inverse temperature): every token attends to its like.
///
/// # Shapes
/// `tokens`: [heads, tokens, head width]; returns [heads, tokens, tokens].
fn self_attention(tokens: &Tensor, inverse_temperature: f64) -> Result<Tensor> {
    Ok(softmax(&(tokens * inverse_temperature)?.matmul(&tokens.t()?)?)?)
}

/// The scale of attention scores: head width^-½.
fn score_scale(record: &BlockRecord) -> Result<f64> {
    Ok(1.0 / (record.value.dim(D::Minus1)? as f64).sqrt())
}

/// Vectors along the last dimension become unit vectors; those of length 0 stay as they are.
pub(super) fn unit(vectors: &Tensor) -> Result<Tensor> {
    let lengths = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    Ok(vectors.broadcast_div(&lengths.maximum(f64::from(f32::MIN_POSITIVE))?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn vectors_become_unit_vectors_and_zero_stays() -> Result<()> {
        let vectors = Tensor::new(&[[3.0_f32, 4.0], [0.0, 0.0]], &Device::Cpu)?;
        assert_eq!(unit(&vectors)?.to_vec2::<f32>()?, [[0.6, 0.8], [0.0, 0.0]]);
        Ok(())
    }

    #[test]
    fn tokens_attend_to_their_like_by_hand() -> Result<()> {
        // x·x is 1 on the diagonal and 0 beside it; at ln 3 a token takes three quarters from itself.
        let tokens = Tensor::new(&[[[1.0_f32, 0.0], [0.0, 1.0]]], &Device::Cpu)?;
        let shares = self_attention(&tokens, 3.0_f64.ln())?.get(0)?.to_vec2::<f32>()?;
        for (found, expected) in shares.concat().into_iter().zip([0.75, 0.25, 0.25, 0.75]) {
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
        Ok(())
    }
}
