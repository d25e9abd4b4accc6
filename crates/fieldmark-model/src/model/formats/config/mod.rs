//! A checkpoint's own configuration becomes one checked [`ClipConfig`], for all libraries that write one.
//!
//! The types here describe towers neutrally: what is there, not what a library calls it. One file a format says how
//! its words become these types; values that describe something that is not supported are refused, and nothing is
//! guessed.

mod activation;
mod classifier;
mod clip_config;
mod open_clip;
mod section;
mod side;
mod text;
mod timm;
mod tower;
mod timm_classifier;
mod transformers;
mod transformers_vit;
mod vision;
mod vocabulary;

pub use super::names::{OpenClipNames, TensorNames, TimmNames, VisionNames, VitFamily, VitNames};
pub use crate::model::text::cleaning::Cleaning;
pub use activation::Activation;
pub use classifier::ClassifierConfig;
pub(crate) use clip_config::is_foreign;
pub use clip_config::{ClipConfig, PresenceBounds, ProbabilityKind};
pub use open_clip::OpenClipConfig;
pub(crate) use section::Section;
pub use text::{EndOfText, Splitter, TextAttention, TextConfig, TextPooling};
pub(crate) use timm_classifier::TimmClassifier;
pub use tower::{Projection, TowerConfig};
pub use vision::{PositionResampling, VisionConfig, VisionPooling};
pub use vocabulary::ClosedVocabulary;
