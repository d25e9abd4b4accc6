//! NACLIP (Hajimiri, Ben Ayed and Dolz, WACV 2025, arXiv 2404.08181): in the last block a patch attends to those with a
//! similar key and to its neighbours; no residual, no MLP (their "reduced" architecture, the default).
//!
//! To the scores a Gaussian of the distance on the grid is added, one on the spot, with a standard deviation of 5
//! patches; it knows nothing of the class token. Their refinement of masks (PAMR) is not part of the map.

use candle_core::{Device, Tensor};

use super::{changed, facts, score_scale, similarities};
use crate::attribution::{Facts, Method, Needs, Targets};
use fieldmark_model::{
    error::Result,
    geometry::Grid,
    gradient::LayerTrace,
    model::{config::VisionConfig, network::softmax},
};

/// The Gaussian's standard deviation, in patches.
const DEVIATION: f64 = 5.0;

/// In the block: output(softmax(K Kᵀ c + ω) V).
#[derive(Clone, Copy, Debug, Default)]
pub struct NaClip;

impl Method for NaClip {
    fn name(&self) -> &'static str {
        "na-clip"
    }

    fn facts(&self) -> Facts {
        facts(
            "similarity above the photo's mean; last block attends to like keys and to neighbours",
            1.0,
            "Hajimiri et al., WACV 2025, arXiv 2404.08181",
        )
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::inside(vision, asked))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let (block, record) = changed(trace)?;
        let scores = (&record.key * score_scale(record)?)?.matmul(&record.key.t()?)?;
        let nearness = nearness(trace.grid()?, trace.tower().prefix_tokens(), scores.device())?;
        let attended = softmax(&scores.broadcast_add(&nearness)?)?.matmul(&record.value)?;
        similarities(trace, &block.attention_output(&attended)?, targets)
    }
}

/// exp(-distance² / (2 · deviation²)) of every two patches, and 0 for tokens that are none: [tokens, tokens].
fn nearness(grid: Grid, prefix: usize, device: &Device) -> Result<Tensor> {
    let cells = grid.cells();
    let along = |one: usize, other: usize| one.abs_diff(other).pow(2) as f64;
    let near = |index: usize| {
        let (one, other) = (index / cells, index % cells);
        let square =
            along(one / grid.columns, other / grid.columns) + along(one % grid.columns, other % grid.columns);
        (-square / (2.0 * DEVIATION * DEVIATION)).exp() as f32
    };
    let patches = Tensor::from_iter((0..cells * cells).map(near), device)?.reshape((cells, cells))?;
    Ok(patches.pad_with_zeros(0, prefix, 0)?.pad_with_zeros(1, prefix, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_falls_with_the_distance_by_hand() -> Result<()> {
        let found = nearness(Grid::new(2, 2), 1, &Device::Cpu)?.to_vec2::<f32>()?;
        let (beside, diagonal) = ((-1.0_f32 / 50.0).exp(), (-2.0_f32 / 50.0).exp());
        let expected = [
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, beside, beside, diagonal],
            [0.0, beside, 1.0, diagonal, beside],
            [0.0, beside, diagonal, 1.0, beside],
            [0.0, diagonal, beside, beside, 1.0],
        ];
        for (found, expected) in found.concat().into_iter().zip(expected.concat()) {
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
        Ok(())
    }
}
