//! SCLIP (Wang, Mei and Yuille, ECCV 2024, arXiv 2312.01597): in the last block a token attends to those with a similar
//! query and to those with a similar key ("correlative self-attention").
//!
//! As in their code the two attentions are added, so that rows sum to 2; residual and MLP stay. Their sliding window
//! and the refinement of masks are not part of the map.

use candle_core::Tensor;

use super::{changed, facts, score_scale, self_attention, similarities};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{error::Result, gradient::LayerTrace, model::config::VisionConfig};

/// In the block: u = x + output((softmax(Q Qᵀ c) + softmax(K Kᵀ c)) V), u + mlp(ln_2(u)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sclip;

impl Method for Sclip {
    fn name(&self) -> &'static str {
        "sclip"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; last block attends to like queries and like keys",
            1.1,
            "Wang et al., ECCV 2024, arXiv 2312.01597",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::inside(vision, asked))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let (block, record) = changed(trace)?;
        let scale = score_scale(record)?;
        let shares = (self_attention(&record.query, scale)? + self_attention(&record.key, scale)?)?;
        let attended = shares.matmul(&record.value)?;
        similarities(trace, &block.after_attention(&record.hidden, &attended)?.output, targets)
    }
}
