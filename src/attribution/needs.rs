//! What a method needs of an image's pass through the vision tower, and which towers it can explain.

use crate::{
    error::{Error, Result},
    model::{
        config::{VisionConfig, VisionPooling},
        nn::Recording,
    },
};

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
    pub(super) fn insides(vision: &VisionConfig, asked: Option<usize>, count: usize) -> Self {
        let layers = vision.tower.layers;
        let layer = asked.unwrap_or_else(|| layers.saturating_sub(count));
        Self { layer, recording: Recording { insides: layer..layers, ..Recording::default() } }
    }

    /// The inside of the last block, which is the only one that the method looks at.
    pub(super) fn last_inside(method: &str, vision: &VisionConfig, asked: Option<usize>) -> Result<Self> {
        match asked {
            Some(layer) if layer != last(vision) => {
                let last = last(vision);
                let reason = format!(
                    "{method} looks at the last block only: expected -1 or {last}, found block {layer}"
                );
                Err(Error::Option { option: "layer", reason })
            }
            _ => Ok(Self::insides(vision, None, 1)),
        }
    }
}

/// Refuses towers whose embedding is not their class token's.
pub(super) fn require_class_token(method: &str, vision: &VisionConfig) -> Result<()> {
    let found = match vision.pooling {
        VisionPooling::ClassToken => return Ok(()),
        VisionPooling::Attention => "one that pools its patches by attention",
        VisionPooling::MeanOfPatches | VisionPooling::MeanBeforeNorm => {
            "one that takes the mean of its patches"
        }
    };
    let reason = format!("{method} expects a vision tower that ends in its class token, found {found}");
    Err(Error::Option { option: "method", reason })
}

fn last(vision: &VisionConfig) -> usize {
    vision.tower.layers.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attribution::METHODS,
        model::config::{Activation, Projection, TowerConfig},
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
            },
            image_size: 32,
            patch: 8,
            class_token: pooling == VisionPooling::ClassToken,
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
        assert_eq!(recording("na-clip", 12, Some(11))?.insides, 11..12);
        assert!(recording("na-clip", 12, Some(10)).is_err());
        Ok(())
    }

    #[test]
    fn towers_without_a_class_token_are_refused_by_name() {
        let refusal = |pooling| {
            let refused: Vec<String> = METHODS
                .iter()
                .filter_map(|method| method.needs(&vision(pooling, 12), None).err())
                .map(|error| error.to_string())
                .collect();
            refused
        };
        assert_eq!(refusal(VisionPooling::ClassToken), [""; 0]);
        let refused = refusal(VisionPooling::Attention);
        assert_eq!(refused.len(), 9);
        assert_eq!(
            refused[0],
            "method: grad-eclip expects a vision tower that ends in its class token, found one that pools its \
             patches by attention"
        );
        assert_eq!(refusal(VisionPooling::MeanOfPatches).len(), 9);
    }
}
