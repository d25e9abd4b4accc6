//! The checkpoint that ships: its files are part of the program, so it is there without network and directory.
//! `weights/miniature/README.md` says what it was trained on and what it can do.

use std::path::Path;

use candle_core::Device;
use fieldmark_miniature::{CONFIG, PREPROCESSOR, TOKENIZER, WEIGHTS};
use serde_json::Value;

use super::{
    Model,
    config::ClipConfig,
    preprocess::{Preprocess, ProcessorKind},
    tokenizer::{LazyTokenizer, PromptTokenizer},
    weights::Weights,
};
use crate::error::{Error, Result};

/// Opens the checkpoint from the program's own bytes.
pub(super) fn open(device: Device) -> Result<Model> {
    let (config, weights, preprocess, tokenizer) = parts()?;
    let tokenizer = config.text.as_ref().map(|text| LazyTokenizer::parsed(tokenizer, text));
    Model::assemble(config, weights, tokenizer, preprocess, device)
}

/// What the checkpoint is made of.
pub(super) fn parts() -> Result<(ClipConfig, Weights, Preprocess, PromptTokenizer)> {
    // The paths are only named in errors.
    let config = ClipConfig::parse(CONFIG, Path::new("miniature/config.json"))?;
    let text = config.text.as_ref().ok_or(Error::NoTextTower)?;
    let tokenizer = PromptTokenizer::parse(TOKENIZER, Path::new("miniature/tokenizer.json"), text)?;
    let weights = Weights::built_in(WEIGHTS, "miniature/model.safetensors")?;
    let path = Path::new("miniature/preprocessor_config.json");
    let processor: Value = serde_json::from_slice(PREPROCESSOR)
        .map_err(|error| Error::Config { path: path.into(), reason: format!("not valid JSON: {error}") })?;
    let preprocess = Preprocess::from_transformers(path, &processor, ProcessorKind::Clip)?;
    Ok((config, weights, preprocess, tokenizer))
}
