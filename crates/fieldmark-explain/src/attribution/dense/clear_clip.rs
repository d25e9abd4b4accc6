//! ClearCLIP (Lan et al., ECCV 2024, arXiv 2407.12442): in the last block a token attends to those with a similar query,
//! and only that is left: no residual, no MLP, which carry noise into the patches.

use candle_core::Tensor;

use super::{changed, facts, score_scale, self_attention, similarities};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{error::Result, gradient::LayerTrace, model::config::VisionConfig};

/// In the block: output(softmax(Q Qᵀ c) V).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClearClip;

impl Method for ClearClip {
    fn name(&self) -> &'static str {
        "clear-clip"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; patches attend to like queries only in the last block",
            1.0,
            "Lan et al., ECCV 2024, arXiv 2407.12442",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::inside(vision, asked))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let (block, record) = changed(trace)?;
        let attended = self_attention(&record.query, score_scale(record)?)?.matmul(&record.value)?;
        similarities(trace, &block.attention_output(&attended)?, targets)
    }
}
