//! What a method needs of an image's pass through the vision tower.

use fieldmark_model::model::{config::VisionConfig, network::Recording};

/// What a method needs of an image's pass through the vision tower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The block that the method explains, or the first of those; counted from 0.
    pub layer: usize,
    /// What is kept of the blocks.
    pub recording: Recording,
}

impl Needs {
    /// The activations of one block and the gradients there: the one that was asked for, else the last.
    pub fn activations(vision: &VisionConfig, asked: Option<usize>) -> Self {
        let layer = asked.unwrap_or_else(|| last(vision));
        Self { layer, recording: Recording::default() }
    }

    /// The insides of all blocks from one on: the one that was asked for, else the `count`th from the end.
    pub fn insides(vision: &VisionConfig, asked: Option<usize>, count: usize) -> Self {
        let layers = vision.tower.layers;
        let layer = asked.unwrap_or_else(|| layers.saturating_sub(count));
        Self { layer, recording: Recording { insides: layer..layers, ..Recording::default() } }
    }

    /// The inside of one block: the one that was asked for, else the last.
    pub fn inside(vision: &VisionConfig, asked: Option<usize>) -> Self {
        let layer = asked.unwrap_or_else(|| last(vision));
        Self { layer, recording: Recording { insides: layer..layer + 1, ..Recording::default() } }
    }
}

fn last(vision: &VisionConfig) -> usize {
    vision.tower.layers.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::METHODS;
    use fieldmark_model::{
        error::Result,
        model::config::{Activation, PositionResampling, Projection, TowerConfig, VisionPooling},
    };

    fn vision(pooling: VisionPooling, layers: usize) -> VisionConfig {
        VisionConfig {
            tower: TowerConfig {
                width: 8,
                mlp_width: 16,
                layers,
                heads: 2,
                activation: Activation::Gelu,
                epsilon: 1e-5,
                layer_scale: false,
                gated: false,
            },
            image_size: 32,
            patch: 8,
            class_token: pooling == VisionPooling::ClassToken,
            registers: 0,
            class_position: true,
            position_resampling: PositionResampling::Bicubic,
            patch_bias: false,
            pre_norm: true,
            pooling,
            projection: Projection::Linear,
        }
    }

    fn recording(method: &str, layers: usize, asked: Option<usize>) -> Result<Recording> {
        let method = crate::attribution::method(method)?;
        Ok(method.needs(&vision(VisionPooling::ClassToken, layers), asked)?.recording)
    }

    #[test]
    fn blocks_are_counted_from_the_end_and_never_more_than_there_are() -> Result<()> {
        assert_eq!(recording("le-grad", 12, None)?.insides, 10..12);
        assert_eq!(recording("gem", 12, None)?.insides, 6..12);
        assert_eq!(recording("gem", 4, None)?.insides, 0..4);
        assert_eq!(recording("game", 12, Some(0))?.insides, 0..12);
        assert_eq!(recording("attention-rollout", 12, None)?.attention, 0..12);
        assert_eq!(recording("na-clip", 12, None)?.insides, 11..12);
        assert_eq!(recording("na-clip", 12, Some(3))?.insides, 3..4);
        Ok(())
    }

    #[test]
    fn every_method_explains_every_tower_and_block() -> Result<()> {
        let poolings = [
            VisionPooling::ClassToken,
            VisionPooling::Attention,
            VisionPooling::MeanOfPatches,
            VisionPooling::MeanBeforeNorm,
        ];
        for (method, pooling) in METHODS.iter().flat_map(|method| poolings.map(|pooling| (method, pooling))) {
            for layer in 0..3 {
                let needs = method.needs(&vision(pooling, 3), Some(layer))?;
                assert_eq!(needs.layer, layer, "{}", method.name());
            }
        }
        Ok(())
    }
}
