//! LeGrad (Bousselham et al., ICCV 2025, arXiv 2404.03214): where more attention would raise the score. Every one of
//! the last blocks is read as if the tower ended there; the gradient of that score with respect to the block's
//! attention, rectified, is averaged over heads and asking tokens, and the blocks' maps are added.
//!
//! The score is that of the authors' code (`legrad/wrapper.py`): the mean of **all** tokens, the class token's
//! included, goes through the last norm and the projection. So is the number of blocks, two; the paper takes all of
//! them, which layer 0 does. A tower with a pooling head is read by it, and the attention is the head's, as their
//! code does for SigLIP; but tokens pass the tower's last norm first, as everywhere else in such a tower, where
//! their code leaves it out. Their correction for SigLIP (zero where the map of "a photo of a" is high) is not made:
//! a rival does it without a threshold. The code scales each map to 0..1 in the end; here it keeps its unit, logits
//! for a whole unit of attention (the code leaves the logit scale out, which changes no proportion).

use candle_core::Tensor;

use super::{Facts, Method, Needs, Targets, Unit};
use fieldmark_model::{
    embed::logit_gradients, error::Result, gradient::LayerTrace, model::config::VisionConfig,
};

/// The blocks, counted from the end, that are read unless the user names the first.
const BLOCKS: usize = 2;

/// M_i = Σ_l mean_hj ReLU(∂S^l/∂A^l_hji).
#[derive(Clone, Copy, Debug, Default)]
pub struct LeGrad;

impl Method for LeGrad {
    fn name(&self) -> &'static str {
        "le-grad"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "where more attention in the last blocks would raise the score",
            unit: Unit::Objective,
            signed: false,
            linear: false,
            discriminative: true,
            cost: Some(1.4),
            paper: "Bousselham et al., ICCV 2025, arXiv 2404.03214",
        }
    }

    fn needs(&self, vision: &VisionConfig, asked: Option<usize>) -> Result<Needs> {
        Ok(Needs::insides(vision, asked, BLOCKS))
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let shape = (targets.rows(), trace.grid()?.cells());
        let mut maps = Tensor::zeros(shape, targets.mixes().dtype(), targets.mixes().device())?;
        for block in trace.layer()..trace.tower().layers() {
            let readout = trace.readout(block)?;
            let directions = logit_gradients(readout.embedding(), targets.mixes(), targets.logit_scale())?;
            let rows: Result<Vec<_>> = (0..targets.rows())
                .map(|row| {
                    let gradient = readout.attention_gradient(&directions.get(row)?)?;
                    trace.patches_of_row(&gradient.relu()?.mean((0, 1))?)
                })
                .collect();
            maps = (maps + Tensor::stack(&rows?, 0)?)?;
        }
        Ok(maps)
    }
}
