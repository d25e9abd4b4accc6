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
        VisionPooling::MeanOfPatches => "one that takes the mean of its patches",
    };
    let reason = format!("{method} expects a vision tower that ends in its class token, found {found}");
    Err(Error::Option { option: "method", reason })
}

fn last(vision: &VisionConfig) -> usize {
    vision.tower.layers.saturating_sub(1)
}
