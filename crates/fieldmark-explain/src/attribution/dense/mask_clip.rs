//! MaskCLIP (Zhou, Loy and Dai, ECCV 2022, arXiv 2112.01071): in the last attention every patch keeps its own value
//! instead of attending.
//!
//! For a ViT their code (`mmseg/models/backbones/vit.py`) sends the values through the block's output layer, adds the
//! residual, and applies the MLP as ever. Their optional refinements, key smoothing and prompt denoising, are off by
//! default there and are not made here.
//!
//! For a ResNet they do so in the attention that pools the photo. A pooling head is the same, and the last attention of
//! its tower; so there the blocks stay as they are, and each patch keeps its value in the head alone.

use candle_core::Tensor;

use super::{changed, facts, similarities};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{
    error::Result,
    gradient::LayerTrace,
    model::config::{VisionConfig, VisionPooling},
};

/// In the block: u = x + output(V), u + mlp(ln_2(u)). With a pooling head: v = output(V), v + mlp(norm(v)) there.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaskClip;

impl Method for MaskClip {
    fn name(&self) -> &'static str {
        "mask-clip"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; patches keep their own values in the last attention",
            1.1,
            "Zhou et al., ECCV 2022, arXiv 2112.01071",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::inside(vision, asked))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let (block, record) = changed(trace)?;
        let after = match trace.tower().pooling() {
            VisionPooling::Attention => record.after(block, record.tokens()?)?,
            _ => block.after_attention(&record.hidden, &record.value)?,
        };
        similarities(trace, &after.output, targets)
    }
}
