//! Score-CAM (Wang et al., CVPR workshops 2020, arXiv 1910.01279), as pytorch-grad-cam computes it, and gScoreCAM
//! (Chen et al., ACCV 2022), which asks only of the channels that the gradient names.
//!
//! A channel's weight is the softmax, over the channels, of what the model scores when it sees the photo through that
//! channel alone ([`LayerTrace::masked_embeddings`]). No gradient is needed for that, but a pass through the whole
//! tower for every channel, 768 of them in ViT-B/16. They are shared by all prompts, and by both methods.
//!
//! The score is that of the objective with its weights as they are on the whole photo: exact for `mean`, which is linear
//! in the logits. The paper subtracts the score of a blank photo from each; a softmax does not notice. The sign of the
//! map is that of the activations, which behind a layer norm are negative too; the weights are positive.

use candle_core::Tensor;

use super::{Facts, Method, Targets, Unit};
use fieldmark_model::{embed::softmax, error::Result, gradient::LayerTrace};

/// M_i = Σ_k w_k A_ik, w the softmax over the channels of S(photo seen through channel k).
#[derive(Clone, Copy, Debug, Default)]
pub struct ScoreCam;

impl Method for ScoreCam {
    fn name(&self) -> &'static str {
        "score-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "activations, weighted by the score of the photo seen through each channel",
            unit: Unit::Activations,
            signed: true,
            linear: false,
            discriminative: true,
            cost: Some(645.0),
            paper: "Wang et al., CVPR workshops 2020, arXiv 1910.01279",
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let width = trace.patch_activations()?.dim(1)?;
        let channels: Vec<Vec<usize>> = vec![(0..width).collect(); targets.rows()];
        weighted_by_score(trace, targets, &channels)
    }
}

/// [`ScoreCam`] over the channels whose gradient has the largest means over the patches.
///
/// The other channels have no weight. The authors' code gives their score as 0 before the softmax, which is next to
/// no weight for a logit of 25 and much for a contrast near 0.
#[derive(Clone, Copy, Debug)]
pub struct GScoreCam {
    /// How many channels take part; all of them where there are no more.
    pub channels: usize,
}

impl GScoreCam {
    /// The authors' number of channels.
    pub const AUTHORS: Self = Self { channels: 300 };
}

impl Method for GScoreCam {
    fn name(&self) -> &'static str {
        "gscore-cam"
    }

    fn facts(&self) -> Facts {
        Facts {
            measures: "score-cam over the 300 channels with the largest mean gradient",
            cost: Some(250.0),
            paper: "Chen et al., ACCV 2022, gScoreCAM",
            ..ScoreCam.facts()
        }
    }

    fn maps(&self, trace: &LayerTrace, targets: &Targets) -> Result<Tensor> {
        let means = trace.mean_gradients(targets.directions())?.to_vec2::<f32>()?;
        let channels: Vec<Vec<usize>> = means.iter().map(|means| largest(means, self.channels)).collect();
        weighted_by_score(trace, targets, &channels)
    }
}

/// The indices of the largest values, in ascending order; of equal values the first ones.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order.truncate(count.max(1));
    order.sort_unstable();
    order
}

/// Each row's channels, weighted by the softmax of their scores.
///
/// # Shapes
/// `channels`: a row each; returns [rows, cells].
fn weighted_by_score(trace: &LayerTrace, targets: &Targets, channels: &[Vec<usize>]) -> Result<Tensor> {
    let activations = trace.patch_activations()?;
    let mut asked: Vec<usize> = channels.iter().flatten().copied().collect();
    asked.sort_unstable();
    asked.dedup();
    let scores = targets.scores(&trace.masked_embeddings(&asked)?)?.to_vec2::<f32>()?;
    let mut weights = vec![0.0_f32; channels.len() * activations.dim(1)?];
    let rows = weights.chunks_exact_mut(activations.dim(1)?.max(1));
    for ((row, channels), scores) in rows.zip(channels).zip(&scores) {
        let chosen = asked.iter().zip(scores).filter(|(channel, _)| channels.binary_search(channel).is_ok());
        let chosen: Vec<f64> = chosen.map(|(_, score)| f64::from(*score)).collect();
        for (channel, weight) in channels.iter().zip(softmax(&chosen)) {
            row[*channel] = weight as f32;
        }
    }
    let weights = Tensor::from_vec(weights, (channels.len(), activations.dim(1)?), activations.device())?;
    trace.weighted_activations(&weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_are_named_in_order() {
        assert_eq!(largest(&[1.0, -5.0, 3.0, 3.0, 2.0], 2), [2, 3]);
        assert_eq!(largest(&[1.0, -5.0, 3.0, 3.0, 2.0], 3), [2, 3, 4]);
        assert_eq!(largest(&[1.0, 2.0], 300), [0, 1]);
    }
}
