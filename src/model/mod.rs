//! LOAD: a checkpoint's files become a model that is ready to run.

pub mod config;
pub mod nn;
pub mod preprocess;
pub mod source;
pub mod tokenizer;
pub mod weights;

mod build;
mod miniature;
mod names;
mod resample;

use std::{path::Path, sync::OnceLock};

use candle_core::{Device, Tensor};

use crate::{
    error::{Error, Result},
    files::read_bounded,
    progress::ProgressHandler,
};
use config::ClipConfig;
use nn::{Linear, TextTower, VisionTower};
use preprocess::Preprocess;
use source::{HubOptions, ModelSpec};
use tokenizer::{PromptTokenizer, Tokens};
use weights::Weights;

const CONFIG: &str = "config.json";

/// A configuration or tokenizer file larger than this is refused: the largest real ones have some 35 MB.
const LARGEST_TEXT_FILE: u64 = 128 << 20;

/// A CLIP checkpoint: its towers are loaded when they are first needed.
pub struct Model {
    config: ClipConfig,
    weights: Weights,
    tokenizer: PromptTokenizer,
    preprocess: Preprocess,
    device: Device,
    logit_scale: f64,
    logit_bias: f64,
    vision: OnceLock<VisionTower>,
    text: OnceLock<(TextTower, Option<Linear>)>,
}

impl Model {
    /// Finds a checkpoint, fetching from the Hub what is missing, and opens it.
    ///
    /// # Errors
    /// If it is not found or cannot be fetched, and as [`Model::open`].
    pub fn load(
        spec: &ModelSpec,
        hub: &HubOptions,
        device: Device,
        progress: &dyn ProgressHandler,
    ) -> Result<Self> {
        match spec {
            ModelSpec::Builtin => miniature::open(device),
            _ => Self::open(&source::locate(spec, hub, progress)?.directory, device),
        }
    }

    /// Opens the checkpoint in a directory and checks that its files fit each other.
    ///
    /// # Errors
    /// If a file is missing or broken, or if the weights are not those that the configuration describes.
    pub fn open(directory: &Path, device: Device) -> Result<Self> {
        let file = directory.join(CONFIG);
        if !file.exists() {
            let reason = format!("{CONFIG} is not there");
            return Err(Error::ModelNotFound { model: directory.display().to_string(), reason });
        }
        let config = ClipConfig::read(&file)?;
        let weights = Weights::open(directory)?;
        // Weights that do not fit are told before a tokenizer that is missing: they are the larger mistake.
        weights.check(&build::expected(&config))?;
        let tokenizer = PromptTokenizer::open(directory, &config.text)?;
        let preprocess = Preprocess::from_directory(directory, config.vision.image_size as u32)?;
        Self::assemble(config, weights, tokenizer, preprocess, device)
    }

    fn assemble(
        config: ClipConfig,
        weights: Weights,
        tokenizer: PromptTokenizer,
        preprocess: Preprocess,
        device: Device,
    ) -> Result<Self> {
        let (scale, logit_bias) = build::logit_numbers(&weights, &config)?;
        let logit_scale = scale.exp();
        for (name, number) in [("logit_scale", logit_scale), ("logit_bias", logit_bias)] {
            if !number.is_finite() {
                let reason = format!("tensor {name}: expected a finite number, found another");
                return Err(Error::Weights { path: weights.path().into(), reason });
            }
        }
        let (vision, text) = (OnceLock::new(), OnceLock::new());
        Ok(Self { config, weights, tokenizer, preprocess, device, logit_scale, logit_bias, vision, text })
    }

    /// What `config.json` says.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The checkpoint's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// How the checkpoint wants its pixels.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What similarities are multiplied with to become logits.
    pub fn logit_scale(&self) -> f64 {
        self.logit_scale
    }

    /// What is added to every logit: 0 unless the checkpoint was trained with a sigmoid, as SigLIP was.
    pub fn logit_bias(&self) -> f64 {
        self.logit_bias
    }

    /// Splits a prompt as the checkpoint's tokenizer does.
    ///
    /// # Errors
    /// [`Error::Prompt`] if the prompt is empty; [`Error::Tokenizer`] if the tokenizer does not fit the model.
    pub fn tokenize(&self, prompt: &str) -> Result<Tokens> {
        self.tokenizer.tokenize(prompt)
    }

    /// The vision tower, loaded at the first call.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub fn vision(&self) -> Result<&VisionTower> {
        loaded(&self.vision, || build::vision_tower(&self.weights, &self.config, &self.device))
    }

    /// The embeddings of texts, each a unit vector. The text tower is loaded at the first call.
    ///
    /// # Shapes
    /// Returns [texts, embedding].
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read, [`Error::Numeric`] if an embedding is not finite.
    pub fn embed_texts(&self, texts: &[Tokens]) -> Result<Tensor> {
        let (tower, projection) =
            loaded(&self.text, || build::text_tower(&self.weights, &self.config, &self.device))?;
        let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let padded = texts.iter().flat_map(|text| {
            text.ids.iter().copied().chain(std::iter::repeat_n(0, longest - text.ids.len()))
        });
        let ids = Tensor::from_iter(padded, &self.device)?.reshape((texts.len(), longest))?;
        let hidden = tower.forward(&ids)?;
        let rows = texts.iter().enumerate().map(|(index, text)| hidden.get(index)?.get(text.end));
        let ends = Tensor::stack(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let embeddings = match projection {
            Some(projection) => projection.forward(&ends)?,
            None => ends,
        };
        self.unit(&embeddings, "text embedding")
    }

    /// Makes every row a unit vector.
    ///
    /// # Shapes
    /// `rows`: [count, embedding]; returns the same.
    ///
    /// # Errors
    /// [`Error::Numeric`] if a row has no direction, naming the broken tensors of the checkpoint if there are
    /// any.
    pub(crate) fn unit(&self, rows: &Tensor, what: &'static str) -> Result<Tensor> {
        let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?;
        let usable = |length: &f32| length.is_finite() && *length > 0.0;
        if lengths.flatten_all()?.to_vec1::<f32>()?.iter().all(usable) {
            return Ok(rows.broadcast_div(&lengths)?);
        }
        match self.weights.not_finite()?.as_slice() {
            [] => Err(Error::Numeric { what, reason: "it is zero or not finite".into() }),
            [first, rest @ ..] => {
                let others =
                    if rest.is_empty() { String::new() } else { format!(" and {} others", rest.len()) };
                let reason =
                    format!("tensor {first}{others}: expected finite numbers, found NaN or infinity");
                Err(Error::Weights { path: self.weights.path().into(), reason })
            }
        }
    }
}

/// The value in the cell, made at the first call.
fn loaded<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// Reads a configuration, a tokenizer or another text file of a checkpoint.
pub(crate) fn read_text_file(path: &Path) -> Result<Vec<u8>> {
    read_bounded(path, LARGEST_TEXT_FILE)
}
