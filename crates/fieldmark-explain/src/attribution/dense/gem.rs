//! GEM, the grounding-everything module (Bousselham et al., CVPR 2024, arXiv 2312.00878): over the last blocks a second
//! path runs beside the tower's own, on which tokens attend to their like, and gather into groups: by queries, by
//! keys and by values, averaged.
//!
//! As in the authors' code (`gem/gem_utils.py`): six blocks (its `depth = 7` counts one more), unit vectors, one
//! iteration of grouping before the values are taken, no MLPs, and a temperature of its own for every block, one over
//! the tokens' mean length behind `ln_1` times head width^-½. The layer is the first of the blocks.

use candle_core::{D, Tensor};

use super::{facts, parallel_path, score_scale, self_attention, similarities, unit};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{
    error::Result,
    gradient::LayerTrace,
    model::{
        config::VisionConfig,
        network::{Block, BlockRecord},
    },
};

/// The blocks, counted from the end, that the second path runs along unless the user names the first.
const BLOCKS: usize = 6;

/// x ← x + output(mean over X in {Q, K, V} of softmax(X'' X''ᵀ β) V), with X' = unit(X) and X'' =
/// unit(softmax(X' X'ᵀ β) X').
#[derive(Clone, Copy, Debug, Default)]
pub struct Gem;

impl Method for Gem {
    fn name(&self) -> &'static str {
        "gem"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; patches are grouped by likeness in the last blocks",
            1.8,
            "Bousselham et al., CVPR 2024, arXiv 2312.00878",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::insides(vision, asked, BLOCKS))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        similarities(trace, &parallel_path(trace, grouped)?, targets)
    }
}

/// The values as the three kinds of likeness bring them together: [heads, tokens, head width].
fn grouped(block: &Block, record: &BlockRecord) -> Result<Tensor> {
    let lengths = block.pre_attention_norm(&record.hidden)?.sqr()?.sum(D::Minus1)?.sqrt()?;
    let inverse_temperature = f64::from(lengths.mean_all()?.to_scalar::<f32>()?) * score_scale(record)?;
    let by = |tokens: &Tensor| -> Result<Tensor> {
        let tokens = unit(tokens)?;
        let groups = unit(&self_attention(&tokens, inverse_temperature)?.matmul(&tokens)?)?;
        Ok(self_attention(&groups, inverse_temperature)?.matmul(&record.value)?)
    };
    Ok(((by(&record.query)? + by(&record.key)?)? + by(&record.value)?)?.affine(1.0 / 3.0, 0.0)?)
}
