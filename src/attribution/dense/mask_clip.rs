//! MaskCLIP (Zhou, Loy and Dai, ECCV 2022, arXiv 2112.01071): in the last block every patch keeps its own value
//! instead of attending.
//!
//! For a ViT their code (`mmseg/models/backbones/vit.py`) sends the values through the block's output layer, adds the
//! residual, and applies the MLP as ever. Their optional refinements, key smoothing and prompt denoising, are off by
//! default there and are not made here.

use candle_core::Tensor;

use super::{facts, last, similarities};
use crate::{
    attribution::{Facts, Method, Needs, Targets, needs::require_class_token},
    error::Result,
    gradient::LayerTrace,
    model::config::VisionConfig,
};

/// Last block: u = x + output(V), u + mlp(ln_2(u)).
#[derive(Clone, Copy, Debug, Default)]
pub struct MaskClip;

impl Method for MaskClip {
    fn name(&self) -> &'static str {
        "mask-clip"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; patches keep their own values in the last block",
            1.2,
            "Zhou et al., ECCV 2022, arXiv 2112.01071",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        require_class_token(self.name(), vision)?;
        Needs::last_inside(self.name(), vision, asked)
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let (block, record) = last(trace)?;
        similarities(trace, &block.after_attention(&record.hidden, &record.value)?.output, targets)
    }
}
