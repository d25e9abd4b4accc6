//! A photo in, the numbers that a model expects out, with the place of every patch on the photo.

mod fields;
mod open_clip;
mod request;
mod timm;
mod transform;
mod transformers;

use super::resample;

pub use request::{FitRequest, Prepared};
pub use resample::Resample;
pub use transform::{
    CLIP_MEAN, CLIP_STD, CenterCrop, CropRounding, IMAGENET_MEAN, IMAGENET_STD, Preprocess, ProcessorKind,
    Resize,
};
